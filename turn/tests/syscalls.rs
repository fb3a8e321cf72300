//! What the path of a packet asks of the kernel, as `strace` sees it: a few calls for each packet, or for each burst that
//! comes as one, and never to wait for a lock.

mod support;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::path::Path;

use moznods_turn::auth::Key;
use quinn_udp::{Transmit, UdpSockRef, UdpSocketState};
use support::sockets::{Caller, PATIENCE, Wire, connect_from, wait_until};
use support::{channel_data, example};

const PAYLOAD: usize = 1000;
const CHANNEL: u16 = 0x4000;
const BURST: usize = 32;
/// Steps before those that are counted, and these.
const WARM_UP: usize = 20;
const COUNTED: usize = 100;
/// To wait, to read and to send, and once more to wait where an event tells of what has been read already.
const EACH: usize = 4;
/// A burst over TCP may come in two parts.
const EACH_BURST: usize = 2 * EACH;

/// One end of the traffic. What it sends as one arrives as one.
enum End {
    Udp(UdpSocket, UdpSocketState, SocketAddr),
    Tcp(TcpStream),
}

impl End {
    fn udp(socket: UdpSocket, to: SocketAddr) -> Self {
        let state = UdpSocketState::new(UdpSockRef::from(&socket)).unwrap();
        socket.set_nonblocking(false).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        End::Udp(socket, state, to)
    }

    fn of(caller: &Caller, relay: SocketAddr) -> Self {
        match &caller.wire {
            Wire::Udp(socket) => Self::udp(socket.try_clone().unwrap(), relay),
            Wire::Tcp(stream) => End::Tcp(stream.try_clone().unwrap()),
            Wire::Tls(_) => panic!("not seen through"),
        }
    }

    fn send(&mut self, packet: &[u8], count: usize) {
        let contents = &packet.repeat(count);
        match self {
            End::Udp(socket, state, to) => {
                let transmit = Transmit {
                    destination: *to,
                    ecn: None,
                    contents,
                    segment_size: (count > 1).then_some(packet.len()),
                    src_ip: None,
                };
                state
                    .try_send(UdpSockRef::from(&*socket), &transmit)
                    .unwrap();
            }
            End::Tcp(stream) => stream.write_all(contents).unwrap(),
        }
    }

    fn receive(&mut self, packet: &[u8], count: usize) {
        let wanted = packet.repeat(count);
        let mut buffer = vec![0; 65_536];
        let mut came = Vec::new();
        while came.len() < wanted.len() {
            let bytes = match self {
                End::Udp(socket, ..) => socket.recv(&mut buffer),
                End::Tcp(stream) => stream.read(&mut buffer),
            };
            came.extend_from_slice(&buffer[..bytes.expect("in time")]);
        }
        assert!(came == wanted);
    }
}

/// How often each call has been made so far.
fn calls(log: &Path) -> BTreeMap<String, usize> {
    let mut calls = BTreeMap::new();
    for line in std::fs::read_to_string(log).unwrap().lines() {
        // PID NAME(ARGUMENTS...; one that another interrupts is continued on a line that has no name there.
        let call = line.split_once(' ').map(|(_, rest)| rest.trim_start());
        if let Some((name, _)) = call.and_then(|call| call.split_once('('))
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        {
            *calls.entry(name.to_owned()).or_default() += 1;
        }
    }
    calls
}

/// Passes bursts of so many packets from one end to the other; how many calls each takes must be bounded.
fn pass(log: &Path, name: &str, ends: [(&mut End, &[u8]); 2], count: usize) {
    let [(from, sent), (to, arrives)] = ends;
    let mut steps = |steps| {
        for _ in 0..steps {
            from.send(sent, count);
            to.receive(arrives, count);
        }
    };
    steps(WARM_UP);
    let before = calls(log);
    steps(COUNTED);
    let mut made = calls(log);
    made.iter_mut()
        .for_each(|(name, count)| *count -= before.get(name).unwrap_or(&0));
    made.retain(|_, count| *count > 0);
    let all: usize = made.values().sum();
    assert!(all >= 2 * COUNTED, "{name}: not all is seen: {made:?}");
    let most = if count == 1 { EACH } else { EACH_BURST };
    assert!(all <= most * COUNTED, "{name}, {count} at a time: {made:?}");
    assert!(!made.contains_key("futex"), "{name}: {made:?}");
}

#[test]
fn a_packet_costs_few_calls_and_so_does_a_burst() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("strace");
    let (_example, relay) = example::start_traced("secret", &log);
    wait_until("strace writes", || calls(&log).contains_key("epoll_wait"));

    for transport in ["UDP", "TCP"] {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let wire = match transport {
            "UDP" => {
                let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
                socket.connect(relay).unwrap();
                socket.set_read_timeout(Some(PATIENCE)).unwrap();
                Wire::Udp(socket)
            }
            _ => Wire::Tcp(connect_from(relay.ip(), relay)),
        };
        let mut alice = Caller::over(wire, "alice");
        alice.client.key = Key::long_term("alice", example::REALM, "secret");
        let relayed = alice.allocate();
        alice.bind(CHANNEL, socket.local_addr().unwrap());
        let mut client = End::of(&alice, relay);
        let mut peer = End::udp(socket, relayed);
        let payload = vec![7; PAYLOAD];
        let packet = channel_data(CHANNEL, &payload);
        for count in [1, BURST] {
            let there = format!("to a peer, {transport}");
            let ends = [(&mut client, &packet[..]), (&mut peer, &payload[..])];
            pass(&log, &there, ends, count);
            let back = format!("from a peer, {transport}");
            let ends = [(&mut peer, &payload[..]), (&mut client, &packet[..])];
            pass(&log, &back, ends, count);
        }
    }
}
