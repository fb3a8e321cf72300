//! How many allocations are made per second of the server's CPU time: the request that is answered 401, and the one
//! that is proven.

use std::net::Ipv4Addr;

use moznods_bench::client::Client;

use super::Settings;
use crate::report::{Bound, CaseResult, Rounds};
use crate::servers::{BenchError, Kind, Server};

/// Made in one round, some of them at a time.
const ALLOCATIONS: usize = 2_000;

pub fn run(settings: &Settings) -> Result<CaseResult, BenchError> {
    let start = |kind| Server::start(kind, &settings.binary);
    let servers = [start(Kind::Ours { workers: 1 })?, start(Kind::Coturn)?];
    let mut rounds = servers.each_ref().map(|server| Rounds::of(server.name));
    for round in 0..settings.rounds {
        let ip = Ipv4Addr::new(127, 0, 1, round as u8 + 1).into();
        for (server, rounds) in servers.iter().zip(&mut rounds) {
            let before = server.process.cpu()?;
            let mut clients = server.clients_at(ip, ALLOCATIONS)?;
            let cpu = server.process.cpu()?.saturating_sub(before);
            rounds.add(ALLOCATIONS as f64 / cpu.as_secs_f64(), &[]);
            clients
                .iter_mut()
                .try_for_each(Client::end)
                .map_err(|why| server.failed(why))?;
        }
    }
    let mut result = CaseResult {
        name: "allocate".to_owned(),
        title: "Allocate with authentication, from the 401 on".to_owned(),
        unit: "allocations per CPU-second",
        subjects: rounds.map(Rounds::subject).into(),
        goals: Vec::new(),
    };
    result.hold_against("coturn", Bound::AtLeast(4.0));
    Ok(result)
}
