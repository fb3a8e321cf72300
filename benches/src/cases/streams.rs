//! How many packets pass per second of the server's CPU time when clients come over TCP or TLS.

use std::time::Duration;

use moznods_bench::client::Client;
use moznods_bench::load::Packet;
use moznods_bench::streams::{StreamFlow, Way};
use moznods_turn::wire::channel;

use super::{Case, Settings};
use crate::forward::FIRST_CHANNEL;
use crate::report::{Bound, CaseResult, Rounds};
use crate::servers::{self, BenchError, Kind, PEERS, Server, Transport};

const CLIENTS: usize = 50;
const SIZE: usize = 1200;
const WINDOW: u64 = 512;

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (transport, short) in [(Transport::Tcp, "tcp"), (Transport::Tls, "tls")] {
        for (out, way) in [(true, "client-peer"), (false, "peer-client")] {
            let name = format!("{short}-{way}");
            let full = name.clone();
            cases.push(Case::new(&name, move |settings| {
                run(settings, &full, transport, out)
            }));
        }
    }
    cases
}

fn run(
    settings: &Settings,
    name: &str,
    transport: Transport,
    out: bool,
) -> Result<CaseResult, BenchError> {
    let mut subjects = Vec::new();
    for kind in [Kind::Ours { workers: 1 }, Kind::Coturn] {
        let (server, flow) = start(kind, settings, transport, out)?;
        subjects.push((Rounds::of(server.name), server, flow));
    }
    for _ in 0..settings.rounds {
        for (rounds, server, flow) in &mut subjects {
            let (mut before, mut after) = (Ok(Duration::ZERO), Ok(Duration::ZERO));
            let delivered = flow.run(
                settings.warm_up,
                settings.measured,
                || before = server.process.cpu(),
                || after = server.process.cpu(),
            )?;
            let cpu = after?.saturating_sub(before?).as_secs_f64();
            let busy = cpu / delivered.seconds;
            rounds.add(
                delivered.received as f64 / cpu,
                &[("busy", busy), ("loss", delivered.loss())],
            );
        }
    }
    let way = if out { "to peers" } else { "from peers" };
    let mut result = CaseResult {
        name: name.to_owned(),
        title: format!("clients over {transport} {way}, packets of {SIZE} bytes"),
        unit: "packets per CPU-second",
        subjects: subjects
            .into_iter()
            .map(|(rounds, ..)| rounds.subject())
            .collect(),
        goals: Vec::new(),
    };
    result.hold_against("coturn", Bound::AtLeast(1.5));
    Ok(result)
}

fn start(
    kind: Kind,
    settings: &Settings,
    transport: Transport,
    out: bool,
) -> Result<(Server, StreamFlow), BenchError> {
    let server = Server::start(kind, &settings.binary)?;
    let (mut peers, addresses) = servers::sockets(PEERS, if out { CLIENTS } else { 1 })?;
    let mut clients = Vec::new();
    for index in 0..CLIENTS {
        let mut client: Client = server.stream_client(transport)?;
        let peer = addresses[index % addresses.len()];
        let bound = client.bind_channel(FIRST_CHANNEL + index as u16, peer);
        bound.map_err(|why| server.failed(why))?;
        clients.push(client);
    }
    let frame = |index: usize| {
        let header = channel::header(FIRST_CHANNEL + index as u16, SIZE);
        let mut frame = header.unwrap_or_default().to_vec();
        frame.resize(channel::padded_len(SIZE), 0xA5);
        frame
    };
    let (way, length) = if out {
        let frames = (0..CLIENTS).map(frame).collect();
        (Way::Out { frames, peers }, SIZE)
    } else {
        let to = |client: &Client| Packet::burst(Some(client.relayed().into()), &[0xA5; SIZE], 1);
        let packets = clients.iter().map(to).collect();
        let peer = peers.remove(0);
        (Way::In { peer, packets }, channel::padded_len(SIZE))
    };
    let flow = StreamFlow::new(clients, way, length, WINDOW)?;
    Ok((server, flow))
}
