//! TCP allocations (RFC 6062) on real sockets of loopback, with two workers.

mod support;

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use moznods_turn::auth::Owner;
use moznods_turn::net::{Listeners, Relay};
use moznods_turn::server::{Protocol, Which};
use moznods_turn::stats::Stats;
use moznods_turn::wire::{Message, Method, attr};
use socket2::{Domain, SockRef, Socket, Type};
use support::sockets::{
    Caller, Files, PATIENCE, Wire, config, live, serve, start, start_for, total, wait_until,
};
use support::{Users, key_of, permit, tcp_transport};

const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const LOOPBACK: &[&str] = &["127.0.0.1/32", "::1/128"];
const MEGABYTES_10: usize = 10 << 20;

fn listen(ip: IpAddr) -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((ip, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn accept(listener: &TcpListener) -> TcpStream {
    let (stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn allocate(control: &mut Caller) -> SocketAddr {
    let v6 = match &control.wire {
        Wire::Udp(_) => panic!("not over UDP"),
        Wire::Tcp(stream) => stream.peer_addr().unwrap().is_ipv6(),
        Wire::Tls(stream) => stream.sock.peer_addr().unwrap().is_ipv6(),
    };
    let answer = control.ask(Method::Allocate, |message| {
        tcp_transport(message);
        let family = if v6 { 2 } else { 1 };
        message.attribute(attr::REQUESTED_ADDRESS_FAMILY, &[family, 0, 0, 0]);
    });
    assert_eq!(answer.code, 0);
    answer.address(attr::XOR_RELAYED_ADDRESS).unwrap()
}

fn connect(control: &mut Caller, peer: SocketAddr) -> Result<u32, u16> {
    let answer = control.ask(Method::Connect, |message| {
        message.xor_address(attr::XOR_PEER_ADDRESS, peer);
    });
    match answer.code {
        0 => Ok(answer.u32(attr::CONNECTION_ID).unwrap()),
        code => Err(code),
    }
}

/// Makes a stream the data connection of this id.
fn bind(mut data: Caller, id: u32) -> Wire {
    let answer = data.ask(Method::ConnectionBind, |message| {
        message.u32(attr::CONNECTION_ID, id);
    });
    assert_eq!((answer.code, answer.signed), (0, true));
    data.wire
}

/// An allocation, and a connection to a peer: control, the client's end, the peer's.
fn pair(relay: &Relay) -> (Caller, TcpStream, TcpStream) {
    let (listener, peer) = listen(V4);
    let mut control = Caller::tcp(relay, "alice");
    allocate(&mut control);
    let id = connect(&mut control, peer).unwrap();
    let Wire::Tcp(client) = bind(Caller::tcp(relay, "alice"), id) else {
        unreachable!()
    };
    (control, client, accept(&listener))
}

/// What people are shown.
fn assert_listed(relay: &Relay, client: &TcpStream) {
    let [info] = &relay.list(PATIENCE).unwrap()[..] else {
        panic!("one allocation");
    };
    assert_eq!(info.protocol, Protocol::Tcp);
    assert_ne!(info.tuple.client, client.local_addr().unwrap());
    assert!(info.to_peer.bytes >= 100_000);
}

fn connections(relay: &Relay) -> u64 {
    total(relay, |stats| stats.connections.load(Relaxed))
}

/// The worker at which the last data connection arrived: the one that has challenged more since.
fn arrival(relay: &Relay, before: &[u64]) -> Option<usize> {
    let changed = |(now, before): (u64, &u64)| now != *before;
    challenges(relay).into_iter().zip(before).position(changed)
}

fn challenges(relay: &Relay) -> Vec<u64> {
    let of_one = |stats: &Stats| stats.requests(Method::ConnectionBind, 401);
    relay.stats().map(of_one).collect()
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.0 {
            Wire::Udp(_) => unreachable!(),
            Wire::Tcp(stream) => stream.read(buffer),
            Wire::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.0 {
            Wire::Udp(_) => unreachable!(),
            Wire::Tcp(stream) => stream.write(bytes),
            Wire::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.0 {
            Wire::Udp(_) | Wire::Tcp(_) => Ok(()),
            Wire::Tls(stream) => stream.flush(),
        }
    }
}

/// A data connection's end at the client.
struct Stream(Wire);

impl Stream {
    fn set_nonblocking(&self) {
        match &self.0 {
            Wire::Udp(_) => unreachable!(),
            Wire::Tcp(stream) => stream.set_nonblocking(true).unwrap(),
            Wire::Tls(stream) => stream.sock.set_nonblocking(true).unwrap(),
        }
    }

    /// Sends and receives at once, until as many bytes as were sent have come.
    fn exchange(&mut self, sending: &[u8]) -> Vec<u8> {
        self.set_nonblocking();
        let mut received = Vec::new();
        let mut sent = 0;
        let mut chunk = vec![0; 64 << 10];
        let mut moved = Instant::now();
        while received.len() < sending.len() || sent < sending.len() {
            let mut idle = true;
            let rest = &sending[sent..];
            for outcome in [
                self.write(&rest[..rest.len().min(64 << 10)])
                    .map(|count| sent += count),
                self.read(&mut chunk).map(|count| {
                    assert_ne!(count, 0, "an end after {}", received.len());
                    received.extend_from_slice(&chunk[..count]);
                }),
                self.flush(),
            ] {
                match outcome {
                    Ok(()) => idle = false,
                    Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}"),
                }
            }
            if idle {
                assert!(moved.elapsed() < 4 * PATIENCE, "no byte moves");
                std::thread::yield_now();
            } else {
                moved = Instant::now();
            }
        }
        self.flush().unwrap();
        received
    }
}

/// Bytes that are nowhere the same for long.
fn bytes(count: usize, seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..count).map(|_| next()).collect()
}

/// A peer that sends and receives at once.
fn peer_exchanges(stream: TcpStream, sending: Vec<u8>) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut writer = stream.try_clone().unwrap();
        let count = sending.len();
        let sends = std::thread::spawn(move || writer.write_all(&sending).unwrap());
        let mut received = vec![0; count];
        let mut reader = stream;
        reader.read_exact(&mut received).unwrap();
        sends.join().unwrap();
        received
    })
}

fn secure(ip: IpAddr, files: &Files) -> Relay {
    let listeners = Listeners::bind((ip, 0).into(), 2).unwrap();
    let listeners = listeners
        .with_tls((ip, 0).into(), &files.certificate())
        .unwrap();
    serve(listeners, Arc::default(), &ip.to_string(), LOOPBACK)
}

#[test]
fn many_connections_on_any_worker_over_tcp_and_tls_and_both_families() {
    let files = Files::new();
    for ip in [V4, Ipv6Addr::LOCALHOST.into()] {
        let relay = secure(ip, &files);
        let caller = |tls: bool| match tls {
            true => Caller::tls(&relay, &files, "alice"),
            false => Caller::tcp(&relay, "alice"),
        };
        let mut handed_over = 0;
        let (listener, peer) = listen(ip);
        for control_tls in [false, true] {
            for data_tls in [false, true] {
                let mut control = caller(control_tls);
                let relayed = allocate(&mut control);
                let mut all = Vec::new();
                for at in 0..12u8 {
                    // One connection to a peer's address at a time: of others the client has to wait for the end.
                    let id = connect(&mut control, peer).unwrap();
                    let before = challenges(&relay);
                    let mut client = Stream(bind(caller(data_tls), id));
                    let arrived = arrival(&relay, &before).unwrap();
                    handed_over += u32::from(arrived != (id >> 24) as usize);
                    let mut other = accept(&listener);
                    assert_eq!(other.peer_addr().unwrap(), relayed);
                    client.write_all(&[at; 1000]).unwrap();
                    let mut received = [0; 1000];
                    other.read_exact(&mut received).unwrap();
                    assert_eq!(received, [at; 1000]);
                    other.write_all(&[!at; 10]).unwrap();
                    let mut answer = [0; 10];
                    client.read_exact(&mut answer).unwrap();
                    assert_eq!(answer, [!at; 10]);
                    assert_eq!(connect(&mut control, peer), Err(446));
                    drop(client);
                    // Its end arrives, and the peer's own end lets another be opened.
                    assert_eq!(other.read(&mut [0]).unwrap(), 0);
                    SockRef::from(&other)
                        .set_linger(Some(Duration::ZERO))
                        .unwrap();
                    drop(other);
                    wait_until("it has ended", || connections(&relay) == 0);
                    all.push(id);
                }
                all.sort();
                all.dedup();
                assert_eq!(all.len(), 12, "each has an id of its own");
            }
        }
        assert!(
            (1..48).contains(&handed_over),
            "{handed_over} of 48 came to the other worker"
        );
    }
}

#[test]
fn ten_megabytes_go_both_ways_at_once_unchanged_over_tcp_and_tls() {
    let files = Files::new();
    let relay = secure(V4, &files);
    let (to_peer, to_client) = (bytes(MEGABYTES_10, 1), bytes(MEGABYTES_10, 2));
    for tls in [false, true] {
        let (listener, peer) = listen(V4);
        let mut control = Caller::tcp(&relay, "alice");
        allocate(&mut control);
        let id = connect(&mut control, peer).unwrap();
        let data = match tls {
            true => Caller::tls(&relay, &files, "alice"),
            false => Caller::tcp(&relay, "alice"),
        };
        let mut client = Stream(bind(data, id));
        let exchange = peer_exchanges(accept(&listener), to_client.clone());
        assert!(client.exchange(&to_peer) == to_client, "{tls}");
        assert!(exchange.join().unwrap() == to_peer, "{tls}");
    }
    let bytes = |to_peer: bool| {
        total(&relay, |stats| match to_peer {
            true => stats.to_peer.bytes.load(Relaxed),
            false => stats.to_client.bytes.load(Relaxed),
        })
    };
    let both = 2 * MEGABYTES_10 as u64;
    assert_eq!((bytes(true), bytes(false)), (both, both), "each is counted");
}

/// What a peer sends before ConnectionBind is kept, and goes to the client as it is.
#[test]
fn rfc6062_s5_3_what_a_peer_says_first_waits_for_the_client() {
    let relay = start("127.0.0.1", LOOPBACK);
    let mut control = Caller::tcp(&relay, "alice");
    let relayed = allocate(&mut control);
    let mut uninvited = TcpStream::connect(relayed).unwrap();
    uninvited.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(uninvited.read(&mut [0]).unwrap(), 0, "closed at once");

    let permitted = control.ask(Method::CreatePermission, |message| {
        permit(&[(V4, 0).into()])(message);
    });
    assert_eq!(permitted.code, 0);
    let mut peer = TcpStream::connect(relayed).unwrap();
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    peer.write_all(b"hello before anyone listens").unwrap();
    let message = control.receive();
    let message = Message::parse(&message).unwrap();
    assert_eq!(message.method(), Method::ConnectionAttempt);
    let address = message.get(attr::XOR_PEER_ADDRESS).unwrap();
    assert_eq!(
        message.xor_address(address),
        Some(peer.local_addr().unwrap())
    );
    let id = message.get(attr::CONNECTION_ID).unwrap();
    let id = u32::from_be_bytes(id.try_into().unwrap());

    let mut client = Stream(bind(Caller::tcp(&relay, "alice"), id));
    let mut heard = [0; 27];
    client.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"hello before anyone listens");
    client.write_all(b"and you").unwrap();
    let mut heard = [0; 7];
    peer.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"and you");
}

/// What comes on a data connection goes to its peer as it is.
#[test]
fn rfc6062_s5_4_what_stands_behind_the_connection_bind_goes_to_the_peer() {
    let relay = start("127.0.0.1", LOOPBACK);
    // Often enough that streams come to either worker.
    for _ in 0..8 {
        let (listener, peer) = listen(V4);
        let mut control = Caller::tcp(&relay, "alice");
        allocate(&mut control);
        let id = connect(&mut control, peer).unwrap();
        let mut data = Caller::tcp(&relay, "alice");
        let challenge = data.ask(Method::ConnectionBind, |_| {});
        assert_eq!(challenge.code, 400, "by now it has a nonce");
        let mut segment = data.client.request(Method::ConnectionBind, |message| {
            message.u32(attr::CONNECTION_ID, id);
        });
        // Even if it looks like a message.
        let early = bytes(3000, 3);
        segment.extend_from_slice(&[0, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42]);
        segment.extend_from_slice(&early);
        let Wire::Tcp(stream) = &mut data.wire else {
            unreachable!()
        };
        stream.write_all(&segment).unwrap();
        let mut received = vec![0; 8 + early.len()];
        accept(&listener).read_exact(&mut received).unwrap();
        assert_eq!(received[8..], early);
        let answer = data.receive();
        assert_eq!(data.client.read(&answer).code, 0);
    }
}

#[test]
fn a_slow_reader_stops_the_sender_and_loses_nothing() {
    let relay = start("127.0.0.1", LOOPBACK);
    let (_control, mut client, mut peer) = pair(&relay);
    for upwards in [true, false] {
        let (from, to) = match upwards {
            true => (&mut client, &mut peer),
            false => (&mut peer, &mut client),
        };
        from.set_write_timeout(Some(Duration::from_millis(500)))
            .unwrap();
        let all = bytes(1 << 20, 4);
        let mut sent = 0;
        // As much as the kernel's own buffers take.
        loop {
            match from.write(&all[sent % all.len()..]) {
                Ok(count) => sent += count,
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::WouldBlock);
                    break;
                }
            }
            assert!(sent < 256 << 20, "the relay swallows what nobody reads");
        }
        let mut received = 0;
        let mut chunk = vec![0; 1 << 20];
        while received < sent {
            let count = to.read(&mut chunk).unwrap();
            let at = received % all.len();
            let expected = all.iter().cycle().skip(at).take(count);
            assert!(chunk[..count].iter().eq(expected), "at {received}");
            received += count;
        }
        assert_eq!(received, sent);
    }
}

/// When a data connection is closed on one side, the other is closed.
#[test]
fn rfc6062_s5_5_the_end_of_one_side_is_passed_on_and_the_other_goes_on() {
    let files = Files::new();
    let relay = secure(V4, &files);
    let (control, mut client, mut peer) = pair(&relay);
    client.write_all(b"question").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut heard = Vec::new();
    peer.read_to_end(&mut heard).unwrap();
    assert_eq!(heard, b"question");
    let answer = bytes(1 << 20, 5);
    peer.write_all(&answer).unwrap();
    drop(peer);
    let mut heard = Vec::new();
    client.read_to_end(&mut heard).unwrap();
    assert!(heard == answer);
    wait_until("both have ended", || connections(&relay) == 0);
    drop(control);

    // The peer's end first, over TLS.
    let (listener, address) = listen(V4);
    let mut control = Caller::tls(&relay, &files, "alice");
    allocate(&mut control);
    let id = connect(&mut control, address).unwrap();
    let mut client = Stream(bind(Caller::tls(&relay, &files, "alice"), id));
    let mut peer = accept(&listener);
    peer.write_all(&answer).unwrap();
    peer.shutdown(Shutdown::Write).unwrap();
    let mut heard = Vec::new();
    client.read_to_end(&mut heard).expect("TLS says its end");
    assert!(heard == answer);
    client.write_all(b"question").unwrap();
    let Wire::Tls(stream) = &mut client.0 else {
        unreachable!()
    };
    stream.conn.send_close_notify();
    stream.flush().unwrap();
    let mut heard = Vec::new();
    peer.read_to_end(&mut heard).unwrap();
    assert_eq!(heard, b"question");
    wait_until("both have ended", || connections(&relay) == 0);
    assert_eq!(live(&relay), 1, "the allocation lives on");
}

#[test]
fn a_reset_is_passed_on() {
    let relay = start("127.0.0.1", LOOPBACK);
    for of_peer in [true, false] {
        let (_control, client, peer) = pair(&relay);
        let (from, mut to) = if of_peer {
            (peer, client)
        } else {
            (client, peer)
        };
        SockRef::from(&from)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
        drop(from);
        let error = to.read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        wait_until("it has ended", || connections(&relay) == 0);
    }
}

#[test]
fn a_peer_that_refuses_is_447_and_one_that_is_slow_is_waited_for() {
    let relay = start("127.0.0.1", LOOPBACK);
    let mut control = Caller::tcp(&relay, "alice");
    allocate(&mut control);
    let (listener, closed) = listen(V4);
    drop(listener);
    assert_eq!(connect(&mut control, closed), Err(447));

    // A queue that is full takes no one: connections of others wait in it.
    let slow = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    slow.bind(&SocketAddr::from((V4, 0)).into()).unwrap();
    slow.listen(0).unwrap();
    let slow: TcpListener = slow.into();
    let address = slow.local_addr().unwrap();
    let first = TcpStream::connect(address).unwrap();
    let request = control.client.request(Method::Connect, |message| {
        message.xor_address(attr::XOR_PEER_ADDRESS, address);
    });
    control.send(&request);
    assert_eq!(connect(&mut control, address), Err(446), "still connecting");
    drop(accept(&slow));
    drop(first);
    let answer = control.receive();
    assert_eq!(control.client.read(&answer).code, 0);
    accept(&slow);
}

#[test]
fn by_default_nothing_of_this_machine_is_reached() {
    let relay = start("127.0.0.1", &[]);
    let mut control = Caller::tcp(&relay, "alice");
    let relayed = allocate(&mut control);
    let (listener, victim) = listen(V4);
    listener.set_nonblocking(true).unwrap();
    for peer in [victim, relay.address(), relayed] {
        assert_eq!(connect(&mut control, peer), Err(403), "{peer}");
    }
    let heard = listener.accept().unwrap_err();
    assert_eq!(heard.kind(), ErrorKind::WouldBlock);
}

#[test]
fn who_is_killed_or_loses_the_right_in_mid_transfer_is_cut_off_on_both_sides() {
    let killed: fn(&Relay, &Users) = |relay, _| {
        assert_eq!(relay.kill(Which::AllOf(Owner(1)), PATIENCE).unwrap(), 1);
    };
    let revoked: fn(&Relay, &Users) = |relay, users| {
        users.revoked.lock().unwrap().insert(Owner(1));
        relay.review();
    };
    for end in [killed, revoked] {
        let users = Arc::<Users>::default();
        let relay = start_for(Arc::clone(&users), "127.0.0.1", LOOPBACK);
        let (mut control, mut client, mut peer) = pair(&relay);
        let data = client.try_clone().unwrap();
        let sends = std::thread::spawn(move || {
            loop {
                if let Err(error) = client.write_all(&[7; 10_000]) {
                    return error.kind();
                }
            }
        });
        let mut chunk = vec![0; 100_000];
        peer.read_exact(&mut chunk).unwrap();
        assert_listed(&relay, &data);
        end(&relay, &users);
        let ended = loop {
            match peer.read(&mut chunk) {
                Ok(0) => break ErrorKind::UnexpectedEof,
                Ok(_) => {}
                Err(error) => break error.kind(),
            }
        };
        assert_eq!(ended, ErrorKind::ConnectionReset);
        let ended = sends.join().unwrap();
        assert!(
            matches!(ended, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe),
            "{ended}"
        );
        assert_eq!((live(&relay), connections(&relay)), (0, 0));
        assert_eq!(connect(&mut control, (V4, 9).into()), Err(437));
    }
}

#[test]
fn a_stream_is_sent_to_another_worker_once() {
    let relay = start("127.0.0.1", LOOPBACK);
    let mut caller = Caller::tcp(&relay, "alice");
    caller.ask(Method::ConnectionBind, |_| {});
    caller.client.key = key_of("bob");
    let Wire::Tcp(stream) = &mut caller.wire else {
        unreachable!()
    };
    for worker in [0, 1, 0, 1] {
        let forged = caller.client.request(Method::ConnectionBind, |message| {
            message.u32(attr::CONNECTION_ID, worker << 24 | 5);
        });
        // The last ones may find it closed.
        let _ = stream.write_all(&forged);
    }
    let mut answers = Vec::new();
    let _ = stream.read_to_end(&mut answers);
    let closed = stream.write(&[0]).and_then(|_| stream.read(&mut [0]));
    assert!(!matches!(closed, Ok(1..)), "{closed:?}");
    let refused = total(&relay, |stats| stats.requests(Method::ConnectionBind, 401));
    assert!(refused < 1 + 4, "not all were looked at: {refused}");
}

#[test]
fn an_allocation_s_end_closes_its_listener_and_frees_its_port() {
    let relay = start("127.0.0.1", LOOPBACK);
    let (control, mut client, mut peer) = pair(&relay);
    let mut other = Caller::tcp(&relay, "bob");
    let relayed = allocate(&mut other);
    drop(other);
    wait_until("it is gone", || live(&relay) == 1);
    let refused = TcpStream::connect(relayed).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    TcpListener::bind(relayed).expect("a free port");
    drop(control);
    for end in [&mut client, &mut peer] {
        let error = end.read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
}

#[test]
fn a_rate_slows_a_stream_down_and_loses_nothing() {
    let address = SocketAddr::new(V4, 0);
    let mut config = config("127.0.0.1", LOOPBACK);
    config.limits.bytes_per_second_per_owner = 500_000;
    let listeners = Listeners::bind(address, 2).unwrap();
    let relay = Relay::start(listeners, config, Arc::new(Users::default())).unwrap();
    let (_control, client, peer) = pair(&relay);
    let all = bytes(1_000_000, 6);
    let begun = Instant::now();
    let exchange = peer_exchanges(peer, all.clone());
    let received = Stream(Wire::Tcp(client)).exchange(&all);
    assert!(received == all && exchange.join().unwrap() == all);
    // Two megabytes, of which a second's worth goes at once, and a chunk or two on credit.
    let least = Duration::from_millis(2_700);
    assert!(begun.elapsed() > least, "{:?}", begun.elapsed());
}
