//! What a second worker on a second core adds. The load runs on these two cores as well, so it must cost little: each
//! client sends bursts by one call, whose packets go to many peers, so that the server has to send each by itself.

use std::net::UdpSocket;
use std::time::Duration;

use moznods_bench::load::{Flow, Packet, Source};
use moznods_turn::wire::channel;

use super::Settings;
use super::packets;
use crate::forward::FIRST_CHANNEL;
use crate::report::{Bound, CaseResult, Rounds};
use crate::servers::{self, BenchError, Kind, PEERS, Server};

/// Many, since it is the kernel that spreads them over the workers.
const CLIENTS: usize = 800;
/// Channels of each client, one after the other in each burst.
const PEERS_EACH: usize = 32;
const SIZE: usize = 160;
/// Packets of a burst for each of the peers.
const TURNS: usize = 2;

pub fn run(settings: &Settings) -> Result<CaseResult, BenchError> {
    let mut subjects = Vec::new();
    for (name, workers) in [("two workers", 2), ("one worker", 1)] {
        subjects.push((Rounds::of(name), start(settings, workers)?));
    }
    for _ in 0..settings.rounds {
        for (rounds, (server, flow)) in &mut subjects {
            let (mut before, mut after) = (Ok(Duration::ZERO), Ok(Duration::ZERO));
            let delivered = servers::with_both_cores(|| {
                flow.run(
                    settings.warm_up,
                    settings.measured,
                    || before = server.process.cpu(),
                    || after = server.process.cpu(),
                )
            })??;
            let cpu = after?.saturating_sub(before?).as_secs_f64() / delivered.seconds;
            rounds.add(
                delivered.received as f64 / delivered.seconds,
                &[("busy", cpu), ("loss", delivered.loss())],
            );
        }
    }
    let mut result = CaseResult {
        name: "two-workers".to_owned(),
        title: format!(
            "two workers on two cores, {CLIENTS} clients whose bursts go to {PEERS_EACH} peers each"
        ),
        unit: "packets per second",
        subjects: subjects
            .into_iter()
            .map(|(rounds, _)| rounds.subject())
            .collect(),
        goals: Vec::new(),
    };
    result.hold_against("one worker", Bound::AtLeast(1.7));
    // The load takes its part of the cores; had they both to themselves, two workers would do this many times as much.
    let per_core = |name| result.median(name) / result.detail(name, "busy");
    let alone = 2.0 * per_core("two workers") / per_core("one worker");
    result.hold(
        "through one worker, core for core",
        alone,
        Bound::AtLeast(1.7),
    );
    Ok(result)
}

fn start(settings: &Settings, workers: usize) -> Result<(Server, Flow), BenchError> {
    let server = Server::start(Kind::Ours { workers }, &settings.binary)?;
    let (sinks, peers) = servers::sockets(PEERS, PEERS_EACH)?;
    let mut clients = server.clients(CLIENTS)?;
    let mut burst = Vec::new();
    for (index, peer) in peers.iter().enumerate() {
        let number = FIRST_CHANNEL + index as u16;
        for client in &mut clients {
            let bound = client.bind_channel(number, *peer);
            bound.map_err(|why| server.failed(why))?;
        }
        burst.extend(channel::header(number, SIZE).unwrap_or_default());
        burst.extend([0xA5; SIZE]);
    }
    let packet = Packet {
        to: None,
        bytes: burst.repeat(TURNS),
        segment: Some((channel::HEADER_LEN + SIZE) as u16),
    };
    let sources = clients.iter().map(packets::socket);
    let sources: Vec<UdpSocket> = sources.collect::<Result<_, _>>()?;
    let flow = Flow {
        sources: sources
            .into_iter()
            .map(|socket| Source::new(socket, vec![packet.clone()]))
            .collect(),
        sinks,
        length: SIZE,
        window: 16_384,
        dropped: true,
        pause: Duration::from_millis(4),
    };
    Ok((server, flow))
}
