//! Lengths at their ends and the bytes that fill up: nothing is cut off to fit, nothing of others is shown.

use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};

use moznods_turn::stats::Dropped;
use moznods_turn::wire::{Message, Method, attr, channel};

use crate::support::sockets::{Caller, PATIENCE, Wire, dropped, start};
use crate::support::{bind, channel_data, permit, udp_transport};
use crate::victim::FENCE;

const ALLOWED: &[&str] = &["127.0.0.0/8", "::1/128"];
const SECRET: u8 = 0xEE;

fn peer(ip: &str) -> UdpSocket {
    let socket = UdpSocket::bind((ip, 0)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// The largest payload of UDP, over IPv4 and IPv6, and of ChannelData; and what is near them.
const SIZES: &[usize] = &[
    1, 32_767, 32_768, 65_487, 65_488, 65_499, 65_500, 65_503, 65_504, 65_506, 65_507, 65_508,
    65_511, 65_512, 65_526, 65_527, 65_528, 65_531, 65_532, 65_533, 65_535,
];

#[test]
fn what_is_too_long_is_lost_whole_and_never_cut() {
    for (ip, of_peer, largest) in [("127.0.0.1", "127.0.0.2", 65_507), ("::1", "::1", 65_527)] {
        let relay = start(ip, ALLOWED);
        let peer = peer(of_peer);
        let to = peer.local_addr().unwrap();
        let mut alice = Caller::tcp(&relay, "alice");
        let relayed = alice.allocate();
        let answer = alice.ask(Method::CreatePermission, |m| permit(&[to])(m));
        assert_eq!(answer.code, 0);
        let mut buffer = vec![0; 65_536];
        let mut expect = |payload: &[u8]| {
            if payload.len() <= largest {
                let count = peer.recv(&mut buffer).unwrap();
                assert_eq!(count, payload.len());
                assert!(buffer[..count] == *payload);
            }
        };
        for &size in SIZES {
            let payload: Vec<u8> = (0..size).map(|at| (at ^ at >> 8) as u8).collect();
            // Indications first, both ways: an attribute of an IPv6 address leaves less room.
            let overhead = if ip == "::1" { 24 + 4 } else { 12 + 4 };
            let fits = size.next_multiple_of(4) + overhead <= 0xFFFC;
            if fits {
                let data = alice.client.send_indication(to, &payload);
                alice.send(&data);
                expect(&payload);
            }
            if size <= largest {
                let failed = dropped(&relay, Dropped::SendFailed);
                peer.send_to(&payload, relayed).unwrap();
                peer.send_to(b"next", relayed).unwrap();
                let mut message = alice.receive();
                if fits {
                    let data = Message::parse(&message).unwrap();
                    assert!(data.get(attr::DATA) == Some(&payload[..]), "{size}");
                    message = alice.receive();
                }
                let next = Message::parse(&message).unwrap();
                assert_eq!(next.get(attr::DATA), Some(&b"next"[..]), "{size}");
                assert_eq!(dropped(&relay, Dropped::SendFailed), failed);
            }
        }
        alice.bind(0x4000, to);
        for &size in SIZES {
            let payload: Vec<u8> = (0..size).map(|at| (at ^ at >> 8) as u8).collect();
            alice.send(&channel_data(0x4000, &payload));
            expect(&payload);
            if size <= largest {
                peer.send_to(&payload, relayed).unwrap();
                assert!(alice.receive() == channel_data(0x4000, &payload), "{size}");
            }
        }
        // No piece of what was too long has come.
        alice.send(&channel_data(0x4000, FENCE));
        expect(FENCE);
    }
}

/// Whole messages as they stand in the stream, padding with them.
fn read_raw(stream: &mut TcpStream) -> Vec<u8> {
    let mut head = [0; 4];
    stream.read_exact(&mut head).expect("a message");
    let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
    let whole = match head[0] {
        0x00..0x40 => 20 + length,
        _ => channel::padded_len(length),
    };
    let mut message = head.to_vec();
    message.resize(whole, 0);
    stream.read_exact(&mut message[4..]).unwrap();
    message
}

/// What fills up behind the values.
fn padding(message: &[u8]) -> Vec<u8> {
    if message[0] >= 0x40 {
        let length = usize::from(u16::from_be_bytes([message[2], message[3]]));
        return message[4 + length..].to_vec();
    }
    let parsed = Message::parse(message).unwrap();
    let behind = |offset: usize, length: usize| {
        let end = offset + 4 + length;
        message[end..(offset + 4 + length).next_multiple_of(4)].to_vec()
    };
    parsed
        .attributes()
        .flat_map(|a| behind(a.offset, a.value.len()))
        .collect()
}

#[test]
fn padding_shows_nothing_of_what_was_there_before() {
    let relay = start("127.0.0.1", ALLOWED);
    let (peer, other) = (peer("127.0.0.2"), peer("127.0.0.2"));
    let peers = [peer.local_addr().unwrap(), other.local_addr().unwrap()];
    let mut alice = Caller::tcp(&relay, "alice");
    let relayed = alice.allocate();
    alice.bind(0x4000, peers[0]);
    let Wire::Tcp(stream) = &alice.wire else {
        panic!("not TCP")
    };
    let mut stream = stream.try_clone().unwrap();
    let mut seen = 0;
    let mut check = |message: &[u8]| {
        let padding = padding(message);
        assert!(padding.iter().all(|byte| *byte == 0), "{message:02x?}");
        seen += padding.len();
    };
    for size in 0..64 {
        // Secrets in all buffers, both ways, then something shorter. Those of clients end in padding that is not zero.
        let secret = [SECRET; 1400];
        let mut torn = channel_data(0x4000, &secret[..1397]);
        torn.extend_from_slice(&secret[..3]);
        stream.write_all(&torn).unwrap();
        peer.recv(&mut [0; 1500]).unwrap();
        for socket in [&peer, &other] {
            socket.send_to(&secret, relayed).unwrap();
            check(&read_raw(&mut stream));
        }
        let payload = vec![7; size];
        for socket in [&peer, &other] {
            socket.send_to(&payload, relayed).unwrap();
            let message = read_raw(&mut stream);
            if message[0] < 0x40 {
                let data = Message::parse(&message).unwrap();
                assert_eq!(data.get(attr::DATA), Some(&payload[..]));
            } else {
                assert_eq!(message[4..4 + size], payload);
            }
            check(&message);
        }
        let mut short = channel_data(0x4000, &payload);
        short.resize(short.len().next_multiple_of(4), SECRET);
        stream.write_all(&short).unwrap();
        let mut buffer = [0; 1500];
        let count = peer.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..count], payload, "a client's padding goes nowhere");
        // Answers of each kind.
        let requests = [
            alice.client.bare(Method::Binding, |_| {}),
            alice
                .client
                .bare(Method::Binding, |m| m.attribute(0x7F01, &[SECRET; 3])),
            alice.client.bare(Method::Allocate, udp_transport),
            alice.client.request(Method::Allocate, udp_transport),
            alice.client.request(Method::Refresh, |m| {
                m.attribute(attr::SOFTWARE, &secret[..size]);
            }),
            alice
                .client
                .request(Method::ChannelBind, bind(0x4001, peers[0])),
            alice
                .client
                .request(Method::Refresh, |m| m.attribute(0x7F01, &[SECRET; 1])),
        ];
        for request in requests {
            stream.write_all(&request).unwrap();
            check(&read_raw(&mut stream));
        }
    }
    // Over UDP as well.
    let mut bob = Caller::udp(&relay, "bob");
    let relayed = bob.allocate();
    let answer = bob.ask(Method::CreatePermission, |m| permit(&peers)(m));
    assert_eq!(answer.code, 0);
    for size in 0..64 {
        other.send_to(&[SECRET; 1400], relayed).unwrap();
        check(&bob.receive());
        other.send_to(&vec![7; size], relayed).unwrap();
        check(&bob.receive());
    }
    assert!(seen > 1000, "{seen} bytes of padding were looked at");
}

#[test]
fn channel_data_says_how_long_it_is_and_what_lies_about_it_is_dropped() {
    let relay = start("127.0.0.1", ALLOWED);
    let peer = peer("127.0.0.2");
    let mut alice = Caller::udp(&relay, "alice");
    alice.allocate();
    alice.bind(0x4000, peer.local_addr().unwrap());
    for payload in 0..9_usize {
        for length in 0..24_u16 {
            let mut message = channel_data(0x4000, &vec![7; payload]);
            message[2..4].copy_from_slice(&length.to_be_bytes());
            let before = dropped(&relay, Dropped::Malformed);
            alice.send(&message);
            alice.send(&channel_data(0x4000, FENCE));
            let mut buffer = [0; 100];
            let mut count = peer.recv(&mut buffer).unwrap();
            if usize::from(length) <= payload {
                assert_eq!(&buffer[..count], &vec![7; length.into()]);
                count = peer.recv(&mut buffer).unwrap();
                assert_eq!(dropped(&relay, Dropped::Malformed), before);
            } else {
                assert_eq!(dropped(&relay, Dropped::Malformed), before + 1);
            }
            assert_eq!(&buffer[..count], FENCE);
        }
    }
}
