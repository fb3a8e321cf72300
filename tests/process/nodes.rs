//! Several nodes of one server, with a PostgreSQL and a Redis of their own.

use std::path::PathBuf;
use std::sync::OnceLock;

use crate::postgres::server::Postgres;
use crate::redis::Redis;
use crate::support::free_port;

/// Has every [`Server`](crate::support::Server) be so many nodes behind a proxy.
pub const WANTED: &str = "MOZNODS_TEST_NODES";

pub const DATABASE_URL: &str = "MOZNODS_DATABASE_URL";

/// `None`: one node, with SQLite.
pub fn wanted() -> Option<usize> {
    let count = std::env::var(WANTED).ok()?;
    Some(count.parse().expect(WANTED))
}

/// Where nodes find what they share.
pub fn settings(database: String, redis: &Redis) -> Vec<(&'static str, PathBuf)> {
    vec![
        (DATABASE_URL, database.into()),
        ("MOZNODS_REDIS_URL", redis.url().into()),
    ]
}

/// [`settings`] of a new server, whose PostgreSQL and Redis are those of all tests of this process.
pub fn environment() -> Vec<(&'static str, PathBuf)> {
    static SHARED: OnceLock<(Postgres, Redis)> = OnceLock::new();
    let start = || (Postgres::start(free_port()), Redis::start(free_port()));
    let (postgres, redis) = SHARED.get_or_init(start);
    settings(postgres.database(), redis)
}
