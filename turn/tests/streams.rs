//! Streams that bring nothing, or never all of it: the bounds hold, and others get in.

mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use moznods_turn::auth::Key;
use moznods_turn::net::{Listeners, Relay, raise_file_limit};
use moznods_turn::stats::Dropped;
use moznods_turn::wire::{Method, attr};
use support::sockets::{
    Caller, Files, PATIENCE, Wire, config, connect_from, dropped, live, serve, wait_until,
};
use support::{Client, Users, example, udp_transport};

/// With one worker, so that its bounds are the relay's.
fn start(files: &Files) -> Relay {
    serve(listeners(files), Arc::default(), "127.0.0.1", &[])
}

fn listeners(files: &Files) -> Listeners {
    let address = "127.0.0.1:0".parse().unwrap();
    let listeners = Listeners::bind(address, 1).unwrap();
    listeners.with_tls(address, &files.certificate()).unwrap()
}

/// A host of this network, a /24 of loopback.
fn host(network: u8) -> IpAddr {
    Ipv4Addr::new(127, 0, network, 9).into()
}

fn caller_from(network: u8, address: SocketAddr, username: &'static str) -> Caller {
    Caller::over(Wire::Tcp(connect_from(host(network), address)), username)
}

fn is_closed(stream: &mut TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    loop {
        match stream.read(&mut [0; 1000]) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() != ErrorKind::WouldBlock,
        }
    }
}

fn closed(streams: &mut [TcpStream]) -> usize {
    streams
        .iter_mut()
        .map(|stream| usize::from(is_closed(stream)))
        .sum()
}

fn wait_until_closed(streams: &mut [TcpStream], wanted: usize) {
    let begun = Instant::now();
    while closed(streams) < wanted {
        assert!(begun.elapsed() < PATIENCE, "{} closed", closed(streams));
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The beginning of a client's handshake: a ClientHello of 64 KiB, in records of 4 KiB.
fn endless_hello() -> Vec<u8> {
    let mut message = vec![1, 0, 0xFF, 0xF0, 3, 3];
    message.resize(60_000, 0);
    let record = |part: &[u8]| {
        let [l0, l1] = (part.len() as u16).to_be_bytes();
        [&[22, 3, 1, l0, l1], part].concat()
    };
    message.chunks(4096).flat_map(record).collect()
}

#[test]
fn a_stream_that_never_comes_to_an_allocation_is_closed_however_busy_it_is() {
    let files = Files::new();
    let relay = start(&files);
    let mut alice = Caller::tls(&relay, &files, "alice");
    alice.allocate();

    let (plain, tls) = (relay.address(), relay.tls_address().unwrap());
    let large_stun = [&[0, 1, 0x0F, 0][..], &[0x21, 0x12, 0xA4, 0x42], &[0; 500]].concat();
    let binding = Client::new("alice").bare(Method::Binding, |_| {});
    let mut shaken = files.connect(tls, &[]);
    while shaken.conn.is_handshaking() {
        shaken.conn.complete_io(&mut shaken.sock).unwrap();
    }
    // What each sends, and how many bytes of it at a time.
    let mut slow: Vec<(TcpStream, Vec<u8>, usize)> = vec![
        (TcpStream::connect(plain).unwrap(), Vec::new(), 1),
        (TcpStream::connect(plain).unwrap(), large_stun, 1),
        (TcpStream::connect(plain).unwrap(), binding.repeat(500), 20),
        (TcpStream::connect(tls).unwrap(), Vec::new(), 1),
        (TcpStream::connect(tls).unwrap(), endless_hello(), 1),
        (shaken.sock, Vec::new(), 1),
    ];
    // Half a minute is what the relay grants.
    let begun = Instant::now();
    while !slow.iter_mut().all(|(stream, ..)| is_closed(stream)) {
        assert!(begun.elapsed() < Duration::from_secs(45));
        for (stream, bytes, step) in &mut slow {
            let step = bytes.len().min(*step);
            // It may be closed already.
            let _ = stream.write_all(&bytes[..step]);
            bytes.drain(..step);
        }
        std::thread::sleep(Duration::from_millis(250));
    }
    assert_eq!(alice.ask(Method::Refresh, |_| {}).code, 0);
}

#[test]
fn one_network_has_its_share_of_streams_and_newcomers_of_it_get_in() {
    let files = Files::new();
    let relay = start(&files);
    raise_file_limit().unwrap();
    let mut alice = caller_from(0, relay.address(), "alice");
    alice.allocate();
    let connect = |_| connect_from(host(0), relay.address());
    let mut streams: Vec<_> = (0..600).map(connect).collect();
    // 512, of which one has an allocation.
    wait_until_closed(&mut streams, 89);
    assert_eq!(closed(&mut streams), 89);
    assert_eq!(closed(&mut streams[200..]), 0, "the oldest go");
    for network in [0, 1] {
        caller_from(network, relay.address(), "bob").allocate();
    }
    assert_eq!(alice.ask(Method::Refresh, |_| {}).code, 0);
}

#[test]
fn all_streams_have_a_bound_and_newcomers_get_in() {
    let files = Files::new();
    let relay = start(&files);
    let open_files = raise_file_limit().unwrap();
    assert!(open_files > 10_000, "too few files for this test");
    let mut alice = caller_from(9, relay.address(), "alice");
    alice.allocate();
    let networks = 10..20;
    let connect = |index: u32| connect_from(host(10 + (index % 10) as u8), relay.address());
    let mut streams: Vec<_> = (0..420 * networks.len() as u32).map(connect).collect();
    // 4096, of which one has an allocation.
    wait_until_closed(&mut streams, 105);
    assert_eq!(closed(&mut streams), 105);
    for network in [8, 10] {
        caller_from(network, relay.address(), "bob").allocate();
    }
    assert_eq!(alice.ask(Method::Refresh, |_| {}).code, 0);
}

fn udp(relay: SocketAddr) -> Wire {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(relay).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    Wire::Udp(socket)
}

/// A caller of the example.
fn its_user(wire: Wire) -> Caller {
    let mut caller = Caller::over(wire, "alice");
    caller.client.key = Key::long_term("alice", example::REALM, "secret");
    caller
}

#[test]
fn streams_that_came_for_nothing_leave_when_files_run_out() {
    let (_example, address) = example::start("secret", Some(100));
    let mut streams: Vec<_> = (0..200)
        .map(|index| connect_from(host(index), address))
        .collect();
    wait_until_closed(&mut streams, 110);
    // Who comes without a stream needs a file for the relay port.
    let mut alice = its_user(udp(address));
    alice.allocate();
    its_user(Wire::Tcp(connect_from(host(250), address))).allocate();
    assert_eq!(alice.ask(Method::Refresh, |_| {}).code, 0);
}

#[test]
fn when_allocations_have_all_files_streams_are_refused_and_the_relay_sleeps() {
    let (example, address) = example::start("secret", Some(50));
    let mut callers = Vec::new();
    loop {
        let mut caller = its_user(udp(address));
        match caller.ask(Method::Allocate, udp_transport).code {
            0 => callers.push(caller),
            code => break assert_eq!(code, 508),
        }
    }
    let mut streams: Vec<_> = (0..50)
        .map(|index| connect_from(host(index), address))
        .collect();
    wait_until_closed(&mut streams, 50);
    let before = example.processor_time();
    // Longer than the relay lets pass between its attempts.
    std::thread::sleep(Duration::from_secs(3));
    let used = example.processor_time() - before;
    assert!(used < 50, "{used} hundredths of a second for nothing");

    for _ in 0..2 {
        let mut done = callers.pop().unwrap();
        let released = done.ask(Method::Refresh, |m| m.u32(attr::LIFETIME, 0));
        assert_eq!(released.code, 0);
    }
    its_user(Wire::Tcp(connect_from(host(0), address))).allocate();
}

#[test]
fn a_handshake_that_only_grows_is_cut_off() {
    let files = Files::new();
    let relay = start(&files);
    let mut stream = TcpStream::connect(relay.tls_address().unwrap()).unwrap();
    // It may be closed before all has been sent.
    let _ = stream.write_all(&endless_hello());
    wait_until_closed(&mut [stream], 1);

    // What comes with the end of a real one is not part of it.
    let mut alice = Caller::tls(&relay, &files, "alice");
    let requests = alice.client.bare(Method::Binding, |_| {}).repeat(3000);
    let Wire::Tls(stream) = &mut alice.wire else {
        panic!("not TLS")
    };
    stream.write_all(&requests).unwrap();
    for _ in 0..100 {
        let answer = alice.receive();
        assert_eq!(alice.client.read(&answer).code, 0);
    }
}

#[test]
fn one_network_cannot_have_the_relay_do_handshakes_alone() {
    let files = Files::new();
    let mut config = config("127.0.0.1", &[]);
    config.limits.unauthenticated_per_second = 5;
    let relay = Relay::start(listeners(&files), config, Arc::new(Users::default())).unwrap();
    let tls = relay.tls_address().unwrap();
    let mut streams = Vec::new();
    while dropped(&relay, Dropped::RateLimited) == 0 {
        streams.push(connect_from(host(0), tls));
        assert!(streams.len() < 1000);
    }
    wait_until_closed(&mut streams, 1);
    let stream = files.over(connect_from(host(1), tls), &[]);
    let mut alice = Caller::over(Wire::Tls(Box::new(stream)), "alice");
    alice.allocate();
}

#[test]
fn an_end_within_a_record_of_tls_ends_the_allocation() {
    let files = Files::new();
    let relay = start(&files);
    // Each in one segment with the end, as one event tells of both.
    for torn in [&[0x17, 3, 3][..], &[0x17, 3, 3, 0, 99, 1, 2, 3]] {
        let mut alice = Caller::tls(&relay, &files, "alice");
        alice.allocate();
        assert_eq!(live(&relay), 1);
        let Wire::Tls(mut stream) = alice.wire else {
            panic!("a caller over TLS");
        };
        stream.sock.write_all(torn).unwrap();
        stream.sock.shutdown(Shutdown::Write).unwrap();
        wait_until("the allocation ends", || live(&relay) == 0);
    }
}
