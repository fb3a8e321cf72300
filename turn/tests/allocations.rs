//! What the path of a packet asks of the allocator: nothing, once traffic flows. The counts are of the whole process, so
//! while they are taken the test itself allocates nothing either: all that is sent is made before, and this is the only
//! test here.

mod support;

use std::alloc::System;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use moznods_turn::net::{Listeners, Relay};
use moznods_turn::stats::Stats;
use moznods_turn::wire::{Message, Method, attr};
use rustls::ClientConnection;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use support::sockets::{Caller, Files, PATIENCE, Wire, serve};
use support::{channel_data, permit};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Steps until all that grows has grown, and those that are counted then.
const WARM_UP: usize = 300;
const COUNTED: usize = 500;
/// Packets of one step, which are on their way together.
const BURST: usize = 8;
const PAYLOAD: usize = 500;
const CHANNEL: u16 = 0x4000;
/// What TLS 1.3 puts around the data of a record: header, type, tag (RFC 8446 §5.2).
const AROUND: usize = 5 + 1 + 16;

/// Where packets leave.
enum Source {
    Udp(UdpSocket, Option<SocketAddr>),
    /// Each step in so many writes.
    Stream(TcpStream, usize),
}

/// Where they arrive.
enum Sink {
    Udp(UdpSocket),
    /// In Data indications.
    Data(UdpSocket),
    Tcp(TcpStream),
    /// What has come, as it came.
    Tls(TcpStream, Box<ClientConnection>, Vec<u8>),
}

/// Packets on one way: what each step sends, and what arrives of it.
struct Way {
    name: &'static str,
    source: Source,
    /// Of each step, or of all.
    steps: Vec<Vec<Vec<u8>>>,
    sink: Sink,
    /// Of each packet of a step.
    arrives: Vec<Vec<u8>>,
    /// Records of TLS by which a step comes or goes, at most.
    records: usize,
    buffer: Vec<u8>,
}

impl Way {
    fn step(&mut self, index: usize) {
        let packets = &self.steps[index % self.steps.len()];
        match &mut self.source {
            Source::Udp(socket, to) => {
                for packet in packets {
                    let sent = match to {
                        Some(to) => socket.send_to(packet, *to),
                        None => socket.send(packet),
                    };
                    assert_eq!(sent.unwrap(), packet.len());
                }
            }
            Source::Stream(stream, writes) => {
                for packet in packets {
                    for part in packet.chunks(packet.len().div_ceil(*writes)) {
                        stream.write_all(part).unwrap();
                    }
                }
            }
        }
        match &mut self.sink {
            Sink::Udp(socket) => {
                for wanted in &self.arrives {
                    let count = socket.recv(&mut self.buffer).expect(self.name);
                    assert!(self.buffer[..count] == wanted[..], "{}", self.name);
                }
            }
            Sink::Data(socket) => {
                for wanted in &self.arrives {
                    let count = socket.recv(&mut self.buffer).expect(self.name);
                    let message = Message::parse(&self.buffer[..count]).unwrap();
                    let data = message.get(attr::DATA);
                    assert!(data == Some(&wanted[..]), "{}", self.name);
                }
            }
            Sink::Tcp(stream) => {
                for wanted in &self.arrives {
                    let room = &mut self.buffer[..wanted.len()];
                    stream.read_exact(room).expect(self.name);
                    assert!(room == wanted, "{}", self.name);
                }
            }
            Sink::Tls(stream, _, came) => {
                let mut left: usize = self.arrives.iter().map(Vec::len).sum();
                while left > 0 {
                    stream.read_exact(&mut self.buffer[..5]).expect(self.name);
                    let len = usize::from(u16::from_be_bytes([self.buffer[3], self.buffer[4]]));
                    stream.read_exact(&mut self.buffer[5..5 + len]).unwrap();
                    came.extend_from_slice(&self.buffer[..5 + len]);
                    left -= 5 + len - AROUND;
                }
            }
        }
    }

    /// What the allocator was asked for by the steps that count.
    fn run(mut self) -> Result<(), String> {
        (0..WARM_UP).for_each(|index| self.step(index));
        let region = Region::new(ALLOCATOR);
        (WARM_UP..WARM_UP + COUNTED).for_each(|index| self.step(index));
        let change = region.change();
        let count = change.allocations + change.reallocations;
        if let Sink::Tls(_, connection, came) = &mut self.sink {
            let wanted = self.arrives.concat().repeat(WARM_UP + COUNTED);
            assert!(opened(connection, came) == wanted, "{}", self.name);
        }
        let most = self.records * COUNTED;
        match count {
            count if count <= most => Ok(()),
            count => Err(format!("{}: {count} and not {most} at most", self.name)),
        }
    }
}

/// What these records carry.
fn opened(connection: &mut ClientConnection, mut records: &[u8]) -> Vec<u8> {
    let mut data = Vec::new();
    while !records.is_empty() {
        connection.read_tls(&mut records).unwrap();
        connection.process_new_packets().unwrap();
        // An error says that there is no more for now.
        let _ = connection.reader().read_to_end(&mut data);
    }
    data
}

/// Data of a step: each packet another, so that none is taken for its neighbour.
fn payloads() -> Vec<Vec<u8>> {
    (0..BURST).map(|id| vec![id as u8; PAYLOAD]).collect()
}

fn in_channel() -> Vec<Vec<u8>> {
    let packets = payloads();
    packets.iter().map(|p| channel_data(CHANNEL, p)).collect()
}

fn peer() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

fn udp(caller: &Caller) -> UdpSocket {
    let Wire::Udp(socket) = &caller.wire else {
        panic!("not UDP")
    };
    socket.try_clone().unwrap()
}

fn tcp(caller: &Caller) -> TcpStream {
    let Wire::Tcp(stream) = &caller.wire else {
        panic!("not TCP")
    };
    stream.try_clone().unwrap()
}

fn way(name: &'static str, source: Source, step: Vec<Vec<u8>>, sink: Sink) -> Way {
    Way {
        name,
        source,
        steps: vec![step],
        sink,
        arrives: payloads(),
        records: 0,
        buffer: vec![0; 65_536],
    }
}

/// A caller over UDP whom this worker serves.
fn at_worker(relay: &Relay, worker: usize, username: &'static str) -> (Caller, SocketAddr) {
    loop {
        let live = |stats: &Stats| stats.allocations.load(Relaxed);
        let before: Vec<u64> = relay.stats().map(live).collect();
        let mut caller = Caller::udp(relay, username);
        let address = caller.allocate();
        let after: Vec<u64> = relay.stats().map(live).collect();
        if after[worker] > before[worker] {
            return (caller, address);
        }
        let released = caller.ask(Method::Refresh, |m| m.u32(attr::LIFETIME, 0));
        assert_eq!(released.code, 0);
    }
}

/// Both ways between a client and a peer, by channel.
fn by_channel(relay: &Relay) -> [Way; 2] {
    let (peer, address) = peer();
    let mut alice = Caller::udp(relay, "alice");
    let relayed = alice.allocate();
    alice.bind(CHANNEL, address);
    let source = Source::Udp(udp(&alice), None);
    let sink = Sink::Udp(peer.try_clone().unwrap());
    let there = way("to a peer, UDP, channel", source, in_channel(), sink);
    let (source, sink) = (Source::Udp(peer, Some(relayed)), Sink::Udp(udp(&alice)));
    let back = way("from a peer, UDP, channel", source, payloads(), sink);
    let arrives = in_channel();
    [there, Way { arrives, ..back }]
}

fn by_indication(relay: &Relay) -> [Way; 2] {
    let (peer, address) = peer();
    let mut alice = Caller::udp(relay, "alice");
    let relayed = alice.allocate();
    let permitted = alice.ask(Method::CreatePermission, |m| permit(&[address])(m));
    assert_eq!(permitted.code, 0);
    let sent = indications(&mut alice, address);
    let source = Source::Udp(udp(&alice), None);
    let sink = Sink::Udp(peer.try_clone().unwrap());
    let there = way("to a peer, UDP, Send", source, sent, sink);
    let (source, sink) = (Source::Udp(peer, Some(relayed)), Sink::Data(udp(&alice)));
    [
        there,
        way("from a peer, UDP, Data", source, payloads(), sink),
    ]
}

fn indications(client: &mut Caller, peer: SocketAddr) -> Vec<Vec<u8>> {
    let packets = payloads();
    let each = packets
        .iter()
        .map(|packet| client.client.send_indication(peer, packet));
    each.collect()
}

/// From one client to another whom this server relays as well, by channels and by indications.
fn between(relay: &Relay, names: [&'static str; 2], workers: [usize; 2]) -> [Way; 2] {
    let [here, there] = workers;
    let (mut alice, from) = at_worker(relay, here, "alice");
    let (mut bob, to) = at_worker(relay, there, "bob");
    alice.bind(CHANNEL, to);
    bob.bind(CHANNEL, from);
    let (source, sink) = (Source::Udp(udp(&alice), None), Sink::Udp(udp(&bob)));
    let channels = way(names[0], source, in_channel(), sink);
    let arrives = in_channel();
    let channels = Way {
        arrives,
        ..channels
    };

    let (mut alice, from) = at_worker(relay, here, "alice");
    let (mut bob, to) = at_worker(relay, there, "bob");
    for (caller, peer) in [(&mut alice, to), (&mut bob, from)] {
        let permitted = caller.ask(Method::CreatePermission, |m| permit(&[peer])(m));
        assert_eq!(permitted.code, 0);
    }
    let sent = indications(&mut alice, to);
    let (source, sink) = (Source::Udp(udp(&alice), None), Sink::Data(udp(&bob)));
    [channels, way(names[1], source, sent, sink)]
}

fn over_tcp(relay: &Relay) -> [Way; 3] {
    let (peer, address) = peer();
    let mut alice = Caller::tcp(relay, "alice");
    let relayed = alice.allocate();
    alice.bind(CHANNEL, address);
    let sink = || Sink::Udp(peer.try_clone().unwrap());
    let source = Source::Stream(tcp(&alice), 1);
    let whole = way("to a peer, TCP", source, in_channel(), sink());
    let source = Source::Stream(tcp(&alice), 3);
    let torn = way("to a peer, TCP, in parts", source, in_channel(), sink());
    let (source, sink) = (Source::Udp(peer, Some(relayed)), Sink::Tcp(tcp(&alice)));
    let back = way("from a peer, TCP", source, payloads(), sink);
    let arrives = in_channel();
    [whole, torn, Way { arrives, ..back }]
}

/// `rustls` makes one allocation for each record that it reads, and one for each that it writes: what it carries, and
/// the record. How many packets share one is the client's choice, and the turn's of the worker.
fn over_tls(relay: &Relay, files: &Files) -> [Way; 2] {
    let (peer, address) = peer();
    let mut alice = Caller::tls(relay, files, "alice");
    let relayed = alice.allocate();
    alice.bind(CHANNEL, address);
    let Wire::Tls(stream) = alice.wire else {
        panic!("not TLS")
    };
    let (mut connection, stream) = (stream.conn, stream.sock);
    let mut seal = |packet: &Vec<u8>| {
        connection.writer().write_all(packet).unwrap();
        let mut record = Vec::new();
        connection.write_tls(&mut record).unwrap();
        record
    };
    let mut step = |_| in_channel().iter().map(&mut seal).collect();
    let steps: Vec<_> = (0..WARM_UP + COUNTED).map(&mut step).collect();
    let source = Source::Stream(stream.try_clone().unwrap(), 1);
    let sink = Sink::Udp(peer.try_clone().unwrap());
    let there = way("to a peer, TLS", source, Vec::new(), sink);
    let room = (WARM_UP + COUNTED) * BURST * (PAYLOAD + AROUND + 4);
    let sink = Sink::Tls(stream, Box::new(connection), Vec::with_capacity(room));
    let back = way(
        "from a peer, TLS",
        Source::Udp(peer, Some(relayed)),
        payloads(),
        sink,
    );
    let (arrives, records) = (in_channel(), BURST);
    [
        Way {
            steps,
            records,
            ..there
        },
        Way {
            arrives,
            records,
            ..back
        },
    ]
}

#[test]
fn a_packet_costs_no_allocation() {
    let files = Files::new();
    let address = "127.0.0.1:0".parse().unwrap();
    let listeners = Listeners::bind(address, 2).unwrap();
    let listeners = listeners.with_tls(address, &files.certificate()).unwrap();
    let relay = serve(listeners, Arc::default(), "127.0.0.1", &["127.0.0.0/8"]);

    let mut ways: Vec<Way> = Vec::new();
    ways.extend(by_channel(&relay));
    ways.extend(by_indication(&relay));
    let names = ["between clients, channel", "between clients, indications"];
    ways.extend(between(&relay, names, [0, 0]));
    let names = ["between workers, channel", "between workers, indications"];
    ways.extend(between(&relay, names, [0, 1]));
    ways.extend(over_tcp(&relay));
    ways.extend(over_tls(&relay, &files));
    let failed: Vec<String> = ways.into_iter().filter_map(|way| way.run().err()).collect();
    assert!(failed.is_empty(), "{failed:#?}");
}
