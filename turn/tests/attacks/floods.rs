//! More than is fair: reflection, loops, floods, one user who wants everything, streams that do not get on.

use std::collections::HashMap;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use moznods_turn::net::{Listeners, Relay, raise_file_limit};
use moznods_turn::server::Config;
use moznods_turn::stats::Dropped;
use moznods_turn::wire::{Builder, Class, Message, Method, attr};

use crate::forged::Forger;
use crate::patient::Patient;
use crate::support::memory::{open_files, resident, settle};
use crate::support::sockets::{
    Caller, Files, PATIENCE, config, dropped, live, serve, start, total, wait_until,
};
use crate::support::{Client, Users, bind, channel_data, namespace, udp_transport};

fn start_with(listen: &str, workers: usize, change: impl FnOnce(&mut Config)) -> Relay {
    let listen: SocketAddr = listen.parse().unwrap();
    let mut config = config(&listen.ip().to_string(), &["127.0.0.0/8"]);
    change(&mut config);
    let listeners = Listeners::bind(listen, workers).unwrap();
    Relay::start(listeners, config, Arc::new(Users::default())).unwrap()
}

/// A seeded generator of numbers.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }
}

/// Any message, of any method and class, with attributes that make a server talk.
fn any_message(random: &mut Random, number: u32) -> (Class, Vec<u8>) {
    let methods = [
        Method::Binding,
        Method::Allocate,
        Method::Refresh,
        Method::CreatePermission,
        Method::ChannelBind,
        Method::Send,
        Method::Data,
        Method::Other(random.below(0x1000) as u16),
    ];
    let class = match random.below(8) {
        0 => Class::Indication,
        1 => Class::Success,
        2 => Class::Error,
        _ => Class::Request,
    };
    let mut id = [0xAB; 12];
    id[..4].copy_from_slice(&number.to_be_bytes());
    let mut out = Vec::new();
    let mut message = Builder::new(&mut out, methods[random.below(methods.len())], class, id);
    let longest = [0, 4, 20, 60, 200, 1400][random.below(6)];
    let mut length = 0;
    while length < longest {
        let kind = [
            attr::USERNAME,
            attr::REALM,
            attr::NONCE,
            attr::REQUESTED_TRANSPORT,
            attr::SOFTWARE,
            attr::XOR_PEER_ADDRESS,
            attr::MESSAGE_INTEGRITY,
            // Unknown ones, which a 420 names.
            random.below(0x8000) as u16,
            0x7F00 + random.below(256) as u16,
            // Of RFC 5780: they ask for more in the answer.
            0x0003,
            0x0026,
            0x0027,
        ][random.below(12)];
        let value = vec![b'x'; [0, 0, 1, 4, 8, 20][random.below(6)]];
        message.attribute(kind, &value);
        length += 4 + value.len().next_multiple_of(4);
    }
    match random.below(4) {
        0 => message.integrity(&Client::new("alice").key),
        1 => message.fingerprint(),
        _ => {}
    }
    (class, out)
}

#[test]
fn no_answer_to_the_unproven_is_more_than_three_times_what_they_sent() {
    const MESSAGES: u32 = 30_000;
    let relay = start_with("127.0.0.1:0", 1, |config| {
        config.realm = "r".repeat(Config::REALM_MAX);
        config.software = "s".repeat(100);
        config.limits.unauthenticated_per_second = 0;
    });
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(relay.address()).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut random = Random(7);
    let mut asked: HashMap<[u8; 12], (Class, Vec<u8>)> = HashMap::new();
    let (mut answers, mut largest) = (0, 0.0_f64);
    for number in 0..MESSAGES {
        let (class, bytes) = any_message(&mut random, number);
        socket.send(&bytes).unwrap();
        let id = Message::parse(&bytes).unwrap().transaction_id();
        asked.insert(id, (class, bytes));
        if number % 32 != 0 && number + 1 != MESSAGES {
            continue;
        }
        let mut fence = Vec::new();
        Builder::new(&mut fence, Method::Binding, Class::Request, [0xFE; 12]);
        socket.send(&fence).unwrap();
        let mut buffer = [0; 4096];
        loop {
            let count = socket.recv(&mut buffer).unwrap();
            let answer = Message::parse(&buffer[..count]).unwrap();
            if answer.transaction_id() == [0xFE; 12] {
                break;
            }
            // Each is answered at most once.
            let (class, request) = asked.remove(&answer.transaction_id()).expect("a request");
            assert_eq!(class, Class::Request, "{request:02x?}");
            assert!(count <= 3 * request.len(), "{count} for {request:02x?}");
            largest = largest.max(count as f64 / request.len() as f64);
            answers += 1;
        }
        asked.clear();
    }
    println!("{answers} answers to {MESSAGES} messages, at most {largest:.2} times as large");
    assert!(answers > MESSAGES / 4, "{answers} answers");
    assert!(dropped(&relay, Dropped::Amplification) > 0);
}

#[test]
fn two_servers_do_not_talk_to_each_other() {
    if !namespace::enter("floods::two_servers_do_not_talk_to_each_other") {
        return;
    }
    // No limit could hide an answer to an answer.
    let unlimited = |config: &mut Config| config.limits.unauthenticated_per_second = 0;
    let servers = [
        start_with("9.9.9.1:3478", 1, unlimited),
        start_with("9.9.9.2:3478", 1, unlimited),
    ];
    let forger = Forger::new();
    let SocketAddr::V4(first) = servers[0].address() else {
        panic!("IPv4")
    };
    let mut random = Random(5);
    let mut messages: Vec<Vec<u8>> = (0..2000)
        .map(|number| any_message(&mut random, number).1)
        .collect();
    let mut client = Client::new("alice");
    messages.push(client.bare(Method::Binding, |_| {}));
    messages.push(client.bare(Method::Allocate, udp_transport));
    let answered = |relay: &Relay| {
        total(relay, |stats| {
            let methods = moznods_turn::stats::METHODS;
            let results = moznods_turn::stats::RESULTS;
            let of_method = |method| results.map(|result| stats.requests(method, result));
            methods
                .iter()
                .flat_map(|(method, _)| of_method(*method))
                .sum()
        })
    };
    let mut fences = servers
        .iter()
        .map(|relay| Patient::new(relay, "alice", "9.9.8.1:0"))
        .collect::<Vec<_>>();
    let mut begun = 0;
    for message in &messages {
        let before = [answered(&servers[0]), answered(&servers[1])];
        // As if the first had sent it to the second.
        forger.send(first, servers[1].address(), message);
        // Whatever came of it goes to and fro no more often than this.
        let mut fenced = 0;
        for _ in 0..3 {
            for fence in &mut fences {
                fence.client.nonce.clear();
                let request = fence.client.bare(Method::Binding, |_| {});
                fence.exchange(&request, |answer| {
                    let id = Message::parse(answer).ok()?.transaction_id();
                    (id == Message::parse(&request).unwrap().transaction_id()).then_some(())
                });
            }
            fenced += 1;
        }
        assert_eq!(answered(&servers[0]), before[0] + fenced, "{message:02x?}");
        let second = answered(&servers[1]) - before[1] - fenced;
        assert!(second <= 1, "{message:02x?}");
        begun += second;
    }
    assert!(begun > 0, "the second has answered some");
    assert!(dropped(&servers[0], Dropped::NotForServers) >= begun);
}

#[test]
fn a_caller_of_herself_hears_herself_once() {
    let relay = start("127.0.0.1", &[]);
    let mut alice = Caller::udp(&relay, "alice");
    let own = alice.allocate();
    alice.bind(0x4000, own);
    alice.send(&channel_data(0x4000, b"echo"));
    assert_eq!(alice.receive(), channel_data(0x4000, b"echo"));
    alice.send(&channel_data(0x4000, b"once"));
    assert_eq!(alice.receive(), channel_data(0x4000, b"once"));
}

#[test]
fn a_flood_without_credentials_shuts_nobody_out() {
    let relay = start("127.0.0.1", &["127.0.0.0/8"]);
    let over = Arc::new(AtomicBool::new(false));
    let flood = |from: &'static str| {
        let (over, to) = (Arc::clone(&over), relay.address());
        std::thread::spawn(move || {
            let socket = UdpSocket::bind((from, 0)).unwrap();
            let bytes = Client::new("alice").bare(Method::Allocate, udp_transport);
            let mut sent = 0_u64;
            while !over.load(Relaxed) {
                sent += u64::from(socket.send_to(&bytes, to).is_ok());
            }
            sent
        })
    };
    let floods = ["127.66.0.1", "127.66.1.1"].map(flood);
    wait_until("the flood is refused", || {
        dropped(&relay, Dropped::RateLimited) > 1000
    });

    let peer = UdpSocket::bind("127.0.0.2:0").unwrap();
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    let to = peer.local_addr().unwrap();
    let mut alice = Patient::new(&relay, "alice", "127.77.0.1:0");
    assert_eq!(alice.ask(Method::Allocate, udp_transport).code, 0);
    let bound = alice.ask(Method::ChannelBind, |m| bind(0x4000, to)(m));
    assert_eq!(bound.code, 0);
    let echo = std::thread::spawn(move || {
        let mut buffer = [0; 100];
        while let Ok((count, from)) = peer.recv_from(&mut buffer) {
            peer.send_to(&buffer[..count], from).unwrap();
            if &buffer[..count] == b"end" {
                return;
            }
        }
    });
    for number in 0..20_u32 {
        let message = channel_data(0x4000, &number.to_be_bytes());
        alice.exchange(&message, |received| (received == message).then_some(()));
    }
    let end = channel_data(0x4000, b"end");
    alice.exchange(&end, |received| (received == end).then_some(()));
    echo.join().unwrap();
    assert_eq!(live(&relay), 1);
    over.store(true, Relaxed);
    // How much of it each has sent is for the scheduler to say.
    let sent: u64 = floods.map(|flood| flood.join().unwrap()).iter().sum();
    assert!(sent > 1000, "{sent}");
    // To the flooders themselves no more than the limit went.
    let refused = total(&relay, |stats| stats.requests(Method::Allocate, 401));
    assert!(refused < dropped(&relay, Dropped::RateLimited), "{refused}");
}

#[test]
fn one_user_cannot_take_all_ports() {
    if !namespace::enter("floods::one_user_cannot_take_all_ports") {
        return;
    }
    let relay = start_with("127.0.0.1:0", 2, |config| {
        // Of the ports that the system gives to sockets which name none, callers would take some.
        config.relay_ports = 61_000..=61_079;
    });
    let take = |username| {
        let mut caller = Caller::udp(&relay, username);
        let code = caller.ask(Method::Allocate, udp_transport).code;
        (caller, code)
    };
    // A port that is reserved counts. First, while two that belong together are sure to be free.
    let mut pair = Caller::udp(&relay, "alice");
    let reserve = |message: &mut Builder<'_>| {
        udp_transport(message);
        message.attribute(attr::EVEN_PORT, &[0x80]);
    };
    assert_eq!(pair.ask(Method::Allocate, reserve).code, 0);
    let mut hers: Vec<Caller> = (0..62).map(|_| take("alice").0).collect();
    assert_eq!(live(&relay), 63);
    for _ in 0..5 {
        assert_eq!(take("alice").1, 486);
        assert_eq!(
            Caller::tcp(&relay, "alice")
                .ask(Method::Allocate, reserve)
                .code,
            486
        );
    }
    let his: Vec<_> = (0..16).map(|_| take("bob")).collect();
    assert!(his.iter().all(|(_, code)| *code == 0));
    assert_eq!(take("bob").1, 508, "no port is left");
    let release = hers[0].ask(Method::Refresh, |m| m.u32(attr::LIFETIME, 0));
    assert_eq!(release.code, 0);
    wait_until("the port is free", || take("bob").1 == 0);
}

#[test]
fn a_hundred_thousand_forged_allocates_cost_no_memory() {
    const FORGED: u32 = 100_000;
    if !namespace::enter("floods::a_hundred_thousand_forged_allocates_cost_no_memory") {
        return;
    }
    let relay = start_with("127.0.0.1:3478", 1, |config| {
        config.limits.unauthenticated_per_second = 0;
    });
    let forger = Forger::new();
    let mut fence = Patient::new(&relay, "alice", "127.0.0.1:0");
    let mut client = Client::new("alice");
    let mut forge = |numbers: std::ops::Range<u32>| {
        for number in numbers {
            // Each from a network of its own.
            let ip = Ipv4Addr::from_bits(0x0100_0001 + (number << 8));
            let from = SocketAddrV4::new(ip, 1024 + (number % 60_000) as u16);
            let bytes = client.bare(Method::Allocate, udp_transport);
            forger.send(from, relay.address(), &bytes);
            if number % 64 == 0 {
                fence.client.nonce.clear();
                assert_eq!(fence.ask(Method::Refresh, |_| {}).code, 437);
            }
        }
    };
    forge(0..1000);
    let before = settle(resident);
    forge(1000..FORGED);
    let after = settle(resident);
    let challenged = total(&relay, |stats| stats.requests(Method::Allocate, 401));
    assert!(challenged > u64::from(FORGED) * 9 / 10, "{challenged}");
    println!("from {before} to {after} bytes");
    assert!(after < before + (1 << 20), "from {before} to {after} bytes");
}

#[test]
fn streams_that_do_not_get_on_take_no_place_from_others() {
    const STREAMS: usize = 1500;
    if !namespace::enter("floods::streams_that_do_not_get_on_take_no_place_from_others") {
        return;
    }
    raise_file_limit().unwrap();
    let files = Files::new();
    let address = "127.0.0.1:0".parse().unwrap();
    let listeners = Listeners::bind(address, 2).unwrap();
    let listeners = listeners.with_tls(address, &files.certificate()).unwrap();
    let relay = serve(listeners, Arc::default(), "127.0.0.1", &[]);
    let works = || {
        for mut alice in [
            Caller::tcp(&relay, "alice"),
            Caller::tls(&relay, &files, "alice"),
            Caller::udp(&relay, "alice"),
        ] {
            alice.allocate();
            let release = alice.ask(Method::Refresh, |m| m.u32(attr::LIFETIME, 0));
            assert_eq!(release.code, 0);
        }
    };
    works();
    let files_before = settle(open_files);
    let request = Client::new("alice").bare(Method::Allocate, udp_transport);
    let hello = [0x16, 3, 1, 2, 0, 1, 0, 1, 0xFC, 3, 3];
    let mut held = Vec::new();
    for number in 0..STREAMS {
        let (address, begun) = match number % 4 {
            0 => (relay.address(), &b""[..]),
            1 => (relay.address(), &request[..request.len() - 1]),
            2 => (relay.tls_address().unwrap(), &b""[..]),
            _ => (relay.tls_address().unwrap(), &hello[..]),
        };
        let mut stream = connect_from("127.66.0.1", address);
        // One too many is closed at once.
        let _ = stream.write_all(begun);
        held.push(stream);
    }
    works();
    assert!(settle(open_files) <= files_before + STREAMS + 2 * 512);
    drop(held);
    wait_until("all streams are closed", || open_files() <= files_before);
    works();
}

fn connect_from(ip: &str, to: SocketAddr) -> TcpStream {
    let socket = socket2::Socket::new(
        socket2::Domain::IPV4,
        socket2::Type::STREAM,
        Some(socket2::Protocol::TCP),
    )
    .unwrap();
    let from: SocketAddr = format!("{ip}:0").parse().unwrap();
    socket.bind(&from.into()).unwrap();
    socket.connect(&to.into()).unwrap();
    socket.into()
}
