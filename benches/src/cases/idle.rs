//! What an allocation costs that has a permission and a channel and says nothing, and whether its memory is given back.

use std::thread::sleep;
use std::time::{Duration, Instant};

use moznods_bench::client::Client;

use super::Settings;
use crate::forward::FIRST_CHANNEL;
use crate::report::{Bound, CaseResult, Rounds};
use crate::servers::{self, BenchError, Kind, PEERS, Server};

const ALLOCATIONS: usize = 5_000;
/// KiB for each allocation, at most.
const EACH: f64 = 2.5;
/// Part of the memory that may be kept after all have ended: what allocators and tables round up.
const KEPT: f64 = 0.05;
/// For a server to give memory back.
const PATIENCE: Duration = Duration::from_secs(10);

pub fn run(settings: &Settings) -> Result<CaseResult, BenchError> {
    let mut subjects = Vec::new();
    for (name, kind) in [
        ("moznods", Kind::Ours { workers: 1 }),
        ("coturn", Kind::Coturn),
    ] {
        let server = Server::start(kind, &settings.binary)?;
        let mut rounds = Rounds::of(name);
        measure(&server, &mut rounds)?;
        subjects.push(rounds.subject());
    }
    let mut result = CaseResult {
        name: "idle-memory".to_owned(),
        title: format!("{ALLOCATIONS} idle allocations, resident memory of each"),
        unit: "KiB",
        subjects,
        goals: Vec::new(),
    };
    let (each, kept) = (result.median("moznods"), result.detail("moznods", "kept"));
    result.hold("KiB:", each, Bound::AtMost(EACH));
    result.hold("part kept after they end:", kept, Bound::AtMost(KEPT));
    Ok(result)
}

fn measure(server: &Server, rounds: &mut Rounds) -> Result<(), BenchError> {
    let failed = |why| server.failed(why);
    let (_sockets, peers) = servers::sockets(PEERS, 1)?;
    let before = server.process.resident()? as f64;
    let mut clients = server.clients(ALLOCATIONS)?;
    for client in &mut clients {
        client
            .bind_channel(FIRST_CHANNEL, peers[0])
            .map_err(failed)?;
    }
    let grown = server.process.resident()? as f64 - before;
    clients
        .iter_mut()
        .try_for_each(Client::end)
        .map_err(failed)?;
    let ended = Instant::now();
    let mut kept = 1.0;
    while kept > KEPT && ended.elapsed() < PATIENCE {
        sleep(Duration::from_millis(100));
        kept = (server.process.resident()? as f64 - before) / grown;
    }
    rounds.add(grown / 1024.0 / ALLOCATIONS as f64, &[("kept", kept)]);
    Ok(())
}
