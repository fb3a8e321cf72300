//! How many packets pass per second of the server's CPU time: single ones and bursts, towards peers, from peers, and
//! between two clients of one server.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use moznods_bench::client::{Client, Link};
use moznods_bench::load::{Flow, Packet, Source};
use moznods_turn::wire::channel;
use socket2::SockAddr;

use super::{Case, Settings};
use crate::forward::{Destinations, Engine, FIRST_CHANNEL, Forwarder, Sockets, Way};
use crate::report::{Bound, CaseResult, Rounds};
use crate::servers::{self, BenchError, CLIENTS, Floor, Kind, PEERS, Process, SERVER, Server};

pub const FLOOR: &str = "forwarder";
const FLOOR_EACH: &str = "forwarder, socket per client";

/// Single datagrams of one peer socket that leave by one call.
const PEER_BATCH: usize = 10;

/// The traffic of a case.
#[derive(Debug, Clone, Copy)]
pub struct Traffic {
    pub way: Way,
    pub clients: usize,
    /// Bytes of payload.
    pub size: usize,
    /// Datagrams that leave at a time, by GSO when there are several.
    pub burst: usize,
    /// Datagrams on their way.
    pub window: u64,
    /// Clients beside these, with a channel and nothing to say.
    pub idle: usize,
}

impl Traffic {
    /// Single packets of 50 clients.
    pub fn single(way: Way, size: usize) -> Self {
        Traffic {
            way,
            clients: 50,
            size,
            burst: 1,
            window: 512,
            idle: 0,
        }
    }
}

/// What a server's clients have, and what is sent through it.
pub struct Relayed {
    pub server: Server,
    pub flow: Flow,
    // Whose sockets the flow shares.
    _clients: Vec<Client>,
}

/// Whom the traffic goes through.
pub enum Subject {
    Server(Relayed),
    Floor { floor: Floor, flow: Flow },
}

impl Subject {
    pub fn parts(&self) -> (&Process, &Flow) {
        match self {
            Subject::Server(relayed) => (&relayed.server.process, &relayed.flow),
            Subject::Floor { floor, flow } => (&floor.process, flow),
        }
    }
}

const WAYS: [(Way, &str, &str); 3] = [
    (Way::Out, "client-peer", "from clients to peers"),
    (Way::In, "peer-client", "from peers to clients"),
    (Way::Across, "relayed", "both callers relayed here"),
];

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (way, name, title) in WAYS {
        for size in [160, 1200] {
            let traffic = Traffic::single(way, size);
            cases.push(Case {
                name: format!("{name}-{size}"),
                run: Box::new(move |settings| {
                    let name = format!("{name}-{size}");
                    let title = format!("{title}, single packets of {size} bytes");
                    single(settings, name, title, traffic)
                }),
            });
        }
    }
    for (way, name, title) in WAYS {
        for burst in [8, 32] {
            let traffic = Traffic {
                burst,
                window: 1024,
                ..Traffic::single(way, 1200)
            };
            cases.push(Case {
                name: format!("{name}-burst-{burst}"),
                run: Box::new(move |settings| {
                    let name = format!("{name}-burst-{burst}");
                    let title = format!("{title}, bursts of {burst} packets of 1200 bytes");
                    bursts(settings, name, title, traffic)
                }),
            });
        }
    }
    cases
}

fn bursts(
    settings: &Settings,
    name: String,
    title: String,
    traffic: Traffic,
) -> Result<CaseResult, BenchError> {
    let ours = Kind::Ours { workers: 1 };
    let mut subjects = vec![
        ("moznods", relayed(ours, settings, traffic)?),
        ("coturn", relayed(Kind::Coturn, settings, traffic)?),
        (FLOOR, floor(Engine::Gso, Sockets::One, traffic)?),
    ];
    if traffic.way != Way::Across {
        subjects.push((FLOOR_EACH, floor(Engine::Gso, Sockets::Each, traffic)?));
    }
    let mut result = measure(settings, name, title, subjects)?;
    let coturn = if traffic.burst >= 32 { 10.0 } else { 3.0 };
    result.hold_against("coturn", Bound::AtLeast(coturn));
    result.hold_against(FLOOR, Bound::AtLeast(0.5));
    Ok(result)
}

fn single(
    settings: &Settings,
    name: String,
    title: String,
    traffic: Traffic,
) -> Result<CaseResult, BenchError> {
    let mut subjects = vec![
        (
            "moznods",
            relayed(Kind::Ours { workers: 1 }, settings, traffic)?,
        ),
        ("coturn", relayed(Kind::Coturn, settings, traffic)?),
        (FLOOR, floor(Engine::Mmsg, Sockets::One, traffic)?),
    ];
    if traffic.way != Way::Across {
        subjects.push((FLOOR_EACH, floor(Engine::Mmsg, Sockets::Each, traffic)?));
    }
    let mut result = measure(settings, name, title, subjects)?;
    let (coturn, forwarder) = match traffic.way {
        Way::Out => (1.25, 0.88),
        Way::In => (1.45, 0.88),
        Way::Across => (2.8, 0.90),
    };
    result.hold_against("coturn", Bound::AtLeast(coturn));
    result.hold_against(FLOOR, Bound::AtLeast(forwarder));
    Ok(result)
}

/// Rounds of all subjects in turn.
pub fn measure(
    settings: &Settings,
    name: String,
    title: String,
    subjects: Vec<(&'static str, Subject)>,
) -> Result<CaseResult, BenchError> {
    let mut rounds: Vec<Rounds> = subjects.iter().map(|(name, _)| Rounds::of(*name)).collect();
    for round in 0..settings.rounds {
        // Who comes first changes, so that none always follows the same one.
        for turn in 0..subjects.len() {
            let index = (turn + round) % subjects.len();
            let (process, flow) = subjects[index].1.parts();
            let (mut before, mut after) = (Ok(Default::default()), Ok(Default::default()));
            let delivered = flow.run(
                settings.warm_up,
                settings.measured,
                || before = process.cpu(),
                || after = process.cpu(),
            )?;
            let cpu = after?.saturating_sub(before?).as_secs_f64();
            rounds[index].add(
                delivered.received as f64 / cpu,
                &[
                    ("busy", cpu / delivered.seconds),
                    ("loss", delivered.loss()),
                ],
            );
        }
    }
    Ok(CaseResult {
        name,
        title,
        unit: "packets per CPU-second",
        subjects: rounds.into_iter().map(Rounds::subject).collect(),
        goals: Vec::new(),
    })
}

/// A server with allocations, and traffic through them.
pub fn relayed(kind: Kind, settings: &Settings, traffic: Traffic) -> Result<Subject, BenchError> {
    let server = Server::start(kind, &settings.binary)?;
    let failed = |why| server.failed(why);
    let mut clients = server.clients(traffic.clients + traffic.idle)?;
    let relays: Vec<SocketAddr> = clients.iter().map(Client::relayed).collect();
    let (peer_sockets, peers) = servers::sockets(PEERS, traffic.peers())?;
    for (index, client) in clients.iter_mut().enumerate() {
        let peer = match traffic.way {
            Way::Across => relays[index ^ 1],
            _ => peers[index % peers.len()],
        };
        let number = FIRST_CHANNEL + (index % traffic.clients) as u16;
        client.bind_channel(number, peer).map_err(failed)?;
    }
    let busy = clients.iter().take(traffic.clients);
    let sockets = busy.map(socket).collect::<Result<_, _>>()?;
    let flow = traffic.flow(sockets, peer_sockets, None, &relays)?;
    Ok(Subject::Server(Relayed {
        flow,
        server,
        _clients: clients,
    }))
}

pub fn socket(client: &Client) -> Result<UdpSocket, BenchError> {
    match client.link() {
        Link::Udp(socket) => Ok(socket.try_clone()?),
        Link::Tcp(_) | Link::Tls(_) => {
            Err(std::io::Error::from(std::io::ErrorKind::Unsupported).into())
        }
    }
}

/// A forwarder, and the same traffic through it.
pub fn floor(engine: Engine, sockets: Sockets, traffic: Traffic) -> Result<Subject, BenchError> {
    let (client_sockets, clients) = servers::sockets(CLIENTS, traffic.clients)?;
    let (peer_sockets, peers) = servers::sockets(PEERS, traffic.peers())?;
    let destination = |index: usize| match traffic.way {
        Way::Out => peers[index % peers.len()],
        Way::In => clients[index],
        Way::Across => clients[index ^ 1],
    };
    let what = Forwarder {
        engine,
        sockets,
        way: traffic.way,
        ip: SERVER,
    };
    let destinations = Destinations {
        addresses: (0..clients.len()).map(destination).collect(),
    };
    let floor = Floor::start(what, &destinations)?;
    let listening = &floor.listening;
    let flow = traffic.flow(
        client_sockets,
        peer_sockets,
        Some(listening.clients),
        &listening.peers,
    )?;
    Ok(Subject::Floor { floor, flow })
}

impl Traffic {
    /// One peer sends for all, since that is cheap for the load; there is one to receive for each client.
    fn peers(&self) -> usize {
        match self.way {
            Way::Out => self.clients,
            Way::In => 1,
            Way::Across => 0,
        }
    }

    /// `server`: where clients send to, unless their sockets are connected; `relays`: where the peer of each does.
    fn flow(
        &self,
        clients: Vec<UdpSocket>,
        peers: Vec<UdpSocket>,
        server: Option<SocketAddr>,
        relays: &[SocketAddr],
    ) -> Result<Flow, BenchError> {
        let payload = |index: usize| {
            let mut payload = vec![0xA5; self.size];
            payload[..2].copy_from_slice(&(FIRST_CHANNEL + index as u16).to_be_bytes());
            payload
        };
        let from_client = |index: usize| {
            let header = channel::header(FIRST_CHANNEL + index as u16, self.size);
            let mut datagram = header.unwrap_or_default().to_vec();
            datagram.extend(payload(index));
            Packet::burst(server.map(SockAddr::from), &datagram, self.burst)
        };
        let from_peer =
            |index: usize| Packet::burst(Some(relays[index].into()), &payload(index), self.burst);
        let (sources, sinks) = match self.way {
            Way::In => {
                let batch = match (self.burst, self.window) {
                    (1, 2..) => PEER_BATCH,
                    _ => 1,
                };
                let all: Vec<usize> = (0..clients.len()).collect();
                let sources = all.chunks(batch).map(|chunk| {
                    let messages = chunk.iter().copied().map(from_peer).collect();
                    Ok(Source::new(peers[0].try_clone()?, messages))
                });
                (sources.collect::<std::io::Result<_>>()?, clients)
            }
            _ => {
                let sources = clients.iter().enumerate().map(|(index, client)| {
                    Ok(Source::new(client.try_clone()?, vec![from_client(index)]))
                });
                let sources = sources.collect::<std::io::Result<_>>()?;
                let sinks = if self.way == Way::Out { peers } else { clients };
                (sources, sinks)
            }
        };
        let header = if self.way == Way::Out {
            0
        } else {
            channel::HEADER_LEN
        };
        Ok(Flow {
            sources,
            sinks,
            length: self.size + header,
            window: self.window,
            dropped: false,
            pause: Duration::ZERO,
        })
    }
}
