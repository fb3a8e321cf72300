//! How many packets pass per second of the server's CPU time when clients come over TCP or TLS.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use moznods_bench::client::{Client, Link};
use moznods_bench::load::Packet;
use moznods_bench::streams::{self as load, StreamFlow};
use moznods_turn::wire::channel::{self, HEADER_LEN};

use super::{Case, Settings};
use crate::forward::{Destinations, FIRST_CHANNEL, Way};
use crate::report::{Bound, CaseResult, Rounds};
use crate::servers::{self, BenchError, Floor, Kind, PEERS, Process, SERVER, Server, Transport};
use crate::stream_forward::StreamForwarder;

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

/// Whom the traffic goes through, of which only the process is looked at.
enum Through {
    Server(Server),
    Floor(Floor),
}

impl Through {
    fn process(&self) -> &Process {
        match self {
            Through::Server(server) => &server.process,
            Through::Floor(floor) => &floor.process,
        }
    }
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
        let rounds = Rounds::of(server.name);
        subjects.push((rounds, Through::Server(server), flow));
    }
    let (floor, flow) = start_floor(out)?;
    let rounds = Rounds::of("forwarder over TCP");
    subjects.push((rounds, Through::Floor(floor), flow));
    for _ in 0..settings.rounds {
        for (rounds, through, flow) in &mut subjects {
            let process = through.process();
            let (mut before, mut after) = (Ok(Duration::ZERO), Ok(Duration::ZERO));
            let delivered = flow.run(
                settings.warm_up,
                settings.measured,
                || before = process.cpu(),
                || after = process.cpu(),
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
    let (peers, addresses) = servers::sockets(PEERS, if out { CLIENTS } else { 1 })?;
    let mut clients = Vec::new();
    let mut relays = Vec::new();
    for index in 0..CLIENTS {
        let mut client: Client = server.stream_client(transport)?;
        let peer = addresses[index % addresses.len()];
        let bound = client.bind_channel(FIRST_CHANNEL + index as u16, peer);
        bound.map_err(|why| server.failed(why))?;
        relays.push(client.relayed());
        clients.push(client.into_link());
    }
    let flow = flow(clients, peers, &relays, channel::padded_len(SIZE), out)?;
    Ok((server, flow))
}

fn start_floor(out: bool) -> Result<(Floor, StreamFlow), BenchError> {
    let (peers, addresses) = servers::sockets(PEERS, CLIENTS)?;
    let what = StreamForwarder {
        way: if out { Way::Out } else { Way::In },
        ip: SERVER,
    };
    let floor = Floor::start_of_streams(what, &Destinations { addresses })?;
    let listening = &floor.listening;
    let connect = |_| Link::tcp(servers::CLIENTS, listening.clients);
    let clients = (0..CLIENTS).map(connect).collect::<Result<_, _>>()?;
    // Its header is that of a frame, without padding, of which there is none here.
    let flow = flow(clients, peers, &listening.peers, HEADER_LEN + SIZE, out)?;
    Ok((floor, flow))
}

/// `frame`: bytes of each packet on a stream.
fn flow(
    clients: Vec<Link>,
    mut peers: Vec<UdpSocket>,
    relays: &[SocketAddr],
    frame: usize,
    out: bool,
) -> Result<StreamFlow, BenchError> {
    let to_peers = |index: usize| {
        let header = channel::header(FIRST_CHANNEL + index as u16, SIZE);
        let mut bytes = header.unwrap_or_default().to_vec();
        bytes.resize(frame, 0xA5);
        bytes
    };
    let (way, length) = if out {
        let frames = (0..CLIENTS).map(to_peers).collect();
        (load::Way::Out { frames, peers }, SIZE)
    } else {
        let to = |relay: &SocketAddr| Packet::burst(Some((*relay).into()), &[0xA5; SIZE], 1);
        let packets = relays.iter().map(to).collect();
        let peer = peers.remove(0);
        (load::Way::In { peer, packets }, frame)
    };
    Ok(StreamFlow::new(clients, way, length, WINDOW)?)
}
