//! Where is kept what all nodes of a server share.

use moznods_signaling::bus::RedisBus;
use moznods_storage::PostgresUrl;

use super::{ConfigError, Secret, Settings};

#[derive(Debug, Clone)]
pub struct Storage {
    /// `None`: SQLite in `data_dir`.
    pub database: Option<PostgresUrl>,
    /// `None`: there is but one node.
    pub redis_url: Option<Secret>,
}

pub(super) fn parse(settings: &Settings) -> Result<Storage, ConfigError> {
    let database = settings.get(
        "storage.database_url",
        |text| match text {
            "" => Some(None),
            url => url.parse().ok().map(Some),
        },
        "postgres://USER:PASSWORD@HOST[:PORT]/DATABASE[?sslmode=disable, prefer, require or verify-full], with @, /, : and ? in the password as %40, %2F, %3A and %3F, or nothing",
    )?;
    let may_be_one = |text: &str| text.is_empty() || database.is_some();
    settings.get(
        "storage.redis_url",
        |text| may_be_one(text).then_some(()),
        "nothing, as only one process can use SQLite; storage.database_url names a PostgreSQL for several",
    )?;
    let redis_url = settings.get(
        "storage.redis_url",
        |text| match text {
            "" => Some(None),
            url => {
                let checked = RedisBus::check_url(url).ok();
                checked.map(|()| Some(Secret::new(url.to_owned())))
            }
        },
        "redis://HOST[:PORT] or rediss://HOST[:PORT], with USER:PASSWORD@ before HOST where Redis asks for them",
    )?;
    Ok(Storage {
        database,
        redis_url,
    })
}
