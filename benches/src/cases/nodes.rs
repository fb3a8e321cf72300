//! What it costs to tell all who listen to a room when they are at several nodes, held against one that has no other.

use std::time::Duration;

use super::Settings;
use super::room::{self, Room};
use crate::chat::Chat;
use crate::postgres::Postgres;
use crate::redis::Redis;
use crate::report::{Bound, CaseResult, Rounds};
use crate::servers::{self, BenchError};

const MOST: usize = 3;
/// One at a time: of several who write at once a node alone tells each socket by one write, as their messages are committed
/// together, and with other nodes' in between it does so less.
const SENDERS: usize = 1;

pub fn run(settings: &Settings) -> Result<CaseResult, BenchError> {
    // On the core of the load.
    let postgres = Postgres::start(servers::free_port(servers::FIRST_PORT)?);
    let redis = Redis::start(servers::free_port(servers::FIRST_PORT)?);
    let alone = vec![Chat::start(&settings.binary, &["--turn-enabled=false"])?];
    let mut subjects = vec![(
        Rounds::of("one node, nothing shared"),
        room::over(alone, SENDERS)?.0,
    )];
    for count in 1..=MOST {
        let database = format!("--storage-database-url={}", postgres.database());
        let bus = format!("--storage-redis-url={}", redis.url());
        let start = |_| Chat::start(&settings.binary, &["--turn-enabled=false", &database, &bus]);
        let nodes = (0..count).map(start).collect::<Result<_, _>>()?;
        let name = match count {
            1 => "one node".to_owned(),
            count => format!("{count} nodes"),
        };
        subjects.push((Rounds::of(name), room::over(nodes, SENDERS)?.0));
    }
    for round in 0..settings.rounds {
        for turn in 0..subjects.len() {
            let index = (turn + round) % subjects.len();
            let (rounds, room): &mut (Rounds, Room) = &mut subjects[index];
            room.measure(settings, rounds)?;
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    let mut result = CaseResult {
        name: "nodes".to_owned(),
        title: "a room of 1000 sockets at several nodes with PostgreSQL and Redis".to_owned(),
        unit: "deliveries per CPU-second of all nodes",
        subjects: subjects
            .into_iter()
            .map(|(rounds, _)| rounds.subject())
            .collect(),
        goals: Vec::new(),
    };
    for count in 2..=MOST {
        let name = format!("{count} nodes");
        let cost = result.median("one node, nothing shared") / result.median(&name);
        let what = format!("cost of a delivery at {name}, through one alone:");
        result.hold(what, cost, Bound::AtMost(1.5));
    }
    Ok(result)
}
