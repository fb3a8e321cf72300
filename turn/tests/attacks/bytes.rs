//! What is in the bytes: streams torn anywhere, rubbish of every kind, lengths at their ends, padding.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;

use moznods_turn::net::{Listeners, Relay};
use moznods_turn::wire::{Builder, Class, Message, Method, attr};

use crate::support::memory::{open_files, resident, settle};
use crate::support::sockets::{Caller, Files, PATIENCE, Wire, config, wait_until};
use crate::support::{Client, Users, bind, channel_data, namespace, permit, udp_transport};

/// One worker, so that an answer of its says that what came before has been read.
fn start(ip: &str, files: &Files) -> Relay {
    let address = SocketAddr::new(ip.parse().unwrap(), 0);
    let listeners = Listeners::bind(address, 1).unwrap();
    let listeners = listeners.with_tls(address, &files.certificate()).unwrap();
    let mut config = config(ip, &["127.0.0.0/8", "::1/128"]);
    config.limits.unauthenticated_per_second = 0;
    Relay::start(listeners, config, Arc::new(Users::default())).unwrap()
}

/// Waits until the relay has read what was sent before. Twice, for the first answer may belong to the same round of
/// events.
struct Fence(Caller);

impl Fence {
    fn new(relay: &Relay) -> Self {
        Fence(Caller::udp(relay, "alice"))
    }

    fn wait(&mut self) {
        for _ in 0..2 {
            let request = self.0.client.bare(Method::Binding, |_| {});
            self.0.send(&request);
            let answer = self.0.receive();
            assert_eq!(self.0.client.read(&answer).code, 0);
        }
    }
}

fn padded(mut message: Vec<u8>) -> Vec<u8> {
    message.resize(message.len().next_multiple_of(4), 0);
    message
}

fn write(caller: &mut Caller, bytes: &[u8]) {
    match &mut caller.wire {
        Wire::Tcp(stream) => stream.write_all(bytes).unwrap(),
        Wire::Tls(stream) => {
            stream.write_all(bytes).unwrap();
            stream.flush().unwrap();
        }
        Wire::Udp(_) => panic!("not a stream"),
    }
}

#[test]
fn a_stream_may_be_torn_at_every_byte() {
    let files = Files::new();
    let relay = start("127.0.0.1", &files);
    let mut fence = Fence::new(&relay);
    let peer = UdpSocket::bind("127.0.0.2:0").unwrap();
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    let to = peer.local_addr().unwrap();
    for tls in [false, true] {
        let mut cut = 0;
        loop {
            let mut alice = match tls {
                false => Caller::tcp(&relay, "alice"),
                true => Caller::tls(&relay, &files, "alice"),
            };
            // A nonce is for an address, and so for this stream alone.
            let challenge = alice.client.bare(Method::Allocate, udp_transport);
            write(&mut alice, &challenge);
            let answer = alice.receive();
            assert_eq!(alice.client.read(&answer).code, 401);

            let conversation = [
                alice.client.bare(Method::Binding, |_| {}),
                alice.client.request(Method::Allocate, udp_transport),
                alice
                    .client
                    .request(Method::CreatePermission, permit(&[to])),
                alice.client.request(Method::ChannelBind, bind(0x4000, to)),
                padded(channel_data(0x4000, b"by channel")),
                alice.client.send_indication(to, b"sent"),
                channel_data(0x4000, b""),
                alice.client.request(Method::Refresh, |_| {}),
            ]
            .concat();
            if cut == conversation.len() {
                break;
            }
            write(&mut alice, &conversation[..cut]);
            fence.wait();
            write(&mut alice, &conversation[cut..]);
            let methods = [
                Method::Binding,
                Method::Allocate,
                Method::CreatePermission,
                Method::ChannelBind,
                Method::Refresh,
            ];
            for method in methods {
                let answer = alice.receive();
                let answer = alice.client.read(&answer);
                assert_eq!((answer.method, answer.code), (method, 0), "cut at {cut}");
            }
            for expected in [&b"by channel"[..], b"sent", b""] {
                let mut buffer = [0; 100];
                let count = peer.recv(&mut buffer).unwrap();
                assert_eq!(&buffer[..count], expected, "cut at {cut}");
            }
            // TLS is dearer; its records are torn by their own lengths as well.
            cut += if tls { 7 } else { 1 };
            cut = cut.min(conversation.len());
        }
    }
}

/// The records of TLS itself, torn at every byte: hello, keys and the first request.
#[test]
fn a_handshake_may_be_torn_at_every_byte() {
    let files = Files::new();
    let relay = start("127.0.0.1", &files);
    let mut fence = Fence::new(&relay);
    let mut cut = 0;
    loop {
        let (mut stream, mut torn) = (
            files.connect(relay.tls_address().unwrap(), &[]),
            Torn { sent: 0, cut },
        );
        let request = Client::new("alice").bare(Method::Binding, |_| {});
        stream.conn.writer().write_all(&request).unwrap();
        let mut received = Vec::new();
        while received.len() < 32 {
            while stream.conn.wants_write() {
                let mut bytes = Vec::new();
                stream.conn.write_tls(&mut bytes).unwrap();
                torn.write(&mut stream.sock, &bytes, &mut fence);
            }
            stream.conn.read_tls(&mut stream.sock).unwrap();
            stream.conn.process_new_packets().unwrap();
            let mut buffer = [0; 100];
            if let Ok(count) = stream.conn.reader().read(&mut buffer) {
                received.extend_from_slice(&buffer[..count]);
            }
        }
        let message = Message::parse(&received).unwrap();
        assert_eq!(message.class(), Class::Success, "cut at {cut}");
        if torn.sent <= cut {
            break;
        }
        cut += 1;
    }
    assert!(cut > 300, "{cut}");
}

/// Writes what it is given, with a pause after a number of bytes.
struct Torn {
    sent: usize,
    cut: usize,
}

impl Torn {
    fn write(&mut self, stream: &mut TcpStream, bytes: &[u8], fence: &mut Fence) {
        let before = self.cut.saturating_sub(self.sent).min(bytes.len());
        stream.write_all(&bytes[..before]).unwrap();
        if before < bytes.len() && self.sent <= self.cut {
            fence.wait();
        }
        stream.write_all(&bytes[before..]).unwrap();
        self.sent += bytes.len();
    }
}

struct Random(u64);

impl Random {
    fn next(&mut self) -> u8 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 56) as u8
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next()).collect()
    }
}

/// 64 KiB of every kind, less the header of UDP where it is to be one datagram.
fn rubbish() -> Vec<(&'static str, Vec<u8>)> {
    const SIZE: usize = 65_507;
    let mut random = Random(1);
    let repeated = |bytes: &[u8]| {
        bytes
            .iter()
            .copied()
            .cycle()
            .take(SIZE)
            .collect::<Vec<u8>>()
    };
    let headed = |head: &[u8], mut rest: Vec<u8>| {
        rest[..head.len()].copy_from_slice(head);
        rest
    };
    let cookie = [0x21, 0x12, 0xA4, 0x42];
    let stun = |kind: [u8; 2], length: u16| {
        let mut head = kind.to_vec();
        head.extend_from_slice(&length.to_be_bytes());
        head.extend_from_slice(&cookie);
        head.extend_from_slice(&[7; 12]);
        head
    };
    let whole = (SIZE - 20) / 4 * 4;
    let attributes = |value: &[u8]| {
        let mut message = stun([0, 3], whole as u16);
        message.extend(value.iter().copied().cycle().take(whole));
        message
    };
    let client = Client::new("alice");
    let mut hostile = vec![
        ("zeros", repeated(&[0])),
        ("ones", repeated(&[0xFF])),
        ("text", repeated(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")),
        ("noise", random.bytes(SIZE)),
        (
            "noise after a STUN header",
            headed(&stun([0, 1], whole as u16), random.bytes(SIZE)),
        ),
        (
            "noise after the longest STUN header",
            headed(&stun([0, 3], 0xFFFC), random.bytes(SIZE)),
        ),
        (
            "an odd length",
            headed(&stun([0, 3], 0xFFFF), repeated(&[0])),
        ),
        ("a short length", headed(&stun([0, 1], 0), repeated(&[0]))),
        ("empty attributes", attributes(&[0, 0, 0, 0])),
        ("unknown attributes", attributes(&[0x7F, 0xFF, 0, 0])),
        ("one attribute too long", attributes(&[0, 6, 0xFF, 0xFF])),
        ("headers alone", repeated(&stun([0, 1], 0))),
        ("answers", repeated(&stun([1, 1], 0))),
        ("indications", repeated(&stun([0, 0x16], 0))),
        ("other methods", repeated(&stun([0x3E, 0xEF], 0))),
        ("empty channel data", repeated(&[0x40, 0, 0, 0])),
        (
            "the longest channel data",
            headed(&[0x40, 0, 0xFF, 0xFF], repeated(&[0xAA])),
        ),
        (
            "the last channel",
            headed(&[0x7F, 0xFF, 0, 1], repeated(&[0x7F, 0xFF, 0, 1])),
        ),
        (
            "a TLS hello",
            headed(
                &[0x16, 3, 1, 0x40, 0, 1, 0, 0x3F, 0xFC, 3, 3],
                random.bytes(SIZE),
            ),
        ),
        (
            "a DTLS hello",
            headed(
                &[0x16, 0xFE, 0xFD, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0],
                random.bytes(SIZE),
            ),
        ),
        ("TLS alerts", repeated(&[0x15, 3, 3, 0, 2, 1, 0])),
        ("change cipher specs", repeated(&[0x14, 3, 3, 0, 1, 1])),
    ];
    let mut long = Vec::new();
    let mut message = Builder::new(&mut long, Method::Allocate, Class::Request, [9; 12]);
    for _ in 0..80 {
        message.text(attr::USERNAME, &"u".repeat(763));
    }
    message.integrity(&client.key);
    hostile.push(("eighty user names", long));
    hostile
}

#[test]
fn rubbish_by_the_64_kib_leaves_nothing_behind() {
    if !namespace::enter("bytes::rubbish_by_the_64_kib_leaves_nothing_behind") {
        return;
    }
    let files = Files::new();
    let relay = start("127.0.0.1", &files);
    let tls = relay.tls_address().unwrap();
    let throw_all = || {
        let mut fence = Fence::new(&relay);
        for (what, bytes) in rubbish() {
            let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
            udp.send_to(&bytes, relay.address()).unwrap();
            fence.wait();
            for address in [relay.address(), tls] {
                let mut stream = TcpStream::connect(address).unwrap();
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                // It may be closed before all is written; it may also wait for the rest of a message.
                let _ = stream.write_all(&bytes);
                let _ = stream.shutdown(std::net::Shutdown::Write);
                let mut answers = Vec::new();
                let _ = stream.read_to_end(&mut answers);
                assert!(answers.len() <= 3 * bytes.len(), "{what}");
            }
            let mut inside = files.connect(tls, &[]);
            let _ = inside.write_all(&bytes);
            inside.conn.send_close_notify();
            let _ = inside.flush();
            let _ = inside.sock.shutdown(std::net::Shutdown::Write);
            let _ = inside.read_to_end(&mut Vec::new());
            fence.wait();
        }
    };
    let serves = || {
        for mut alice in [
            Caller::udp(&relay, "alice"),
            Caller::tcp(&relay, "alice"),
            Caller::tls(&relay, &files, "alice"),
        ] {
            alice.allocate();
            let release = alice.ask(Method::Refresh, |m| m.u32(attr::LIFETIME, 0));
            assert_eq!(release.code, 0);
        }
    };
    throw_all();
    serves();
    let files_before = settle(open_files);
    let before = settle(resident);
    for _ in 0..3 {
        throw_all();
    }
    serves();
    wait_until("all files are closed", || open_files() <= files_before);
    let after = settle(resident);
    assert!(after < before + (4 << 20), "from {before} to {after} bytes");
}
