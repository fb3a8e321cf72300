//! TCP allocations (RFC 6062): the rules, without a socket, under a clock that the test moves.

mod support;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use moznods_turn::auth::Owner;
use moznods_turn::server::{
    AllocationId, ConnectionId, Direction, Ended, Event, FiveTuple, Limits, Output, Protocol,
    Server, Transport, Verdict, Which,
};
use moznods_turn::stats::Dropped;
use moznods_turn::wire::{Builder, Class, Message, Method, attr, integrity};
use support::bench::{Bench, LOCAL, PEER, PUBLIC, addr, tcp, udp};
use support::{Answer, Client, bind, channel_data, permit, tcp_transport, udp_transport};

/// Where the client's data connections come from.
const DATA: u16 = 7000;

fn tls(port: u16) -> FiveTuple {
    FiveTuple {
        transport: Transport::Tls,
        ..tcp(port)
    }
}

/// Alice with a TCP allocation.
fn allocated(bench: &mut Bench) -> (Client, SocketAddr, AllocationId) {
    let mut client = Client::new("alice");
    let answer = bench.ask(&mut client, tcp(5000), Method::Allocate, tcp_transport);
    assert_eq!(answer.code, 0);
    let relay = answer.address(attr::XOR_RELAYED_ADDRESS).unwrap();
    (client, relay, *bench.live.last().unwrap())
}

fn to(peer: &str) -> impl Fn(&mut Builder<'_>) {
    let peer = addr(peer);
    move |message| message.xor_address(attr::XOR_PEER_ADDRESS, peer)
}

fn naming(id: u32) -> impl Fn(&mut Builder<'_>) {
    move |message| message.u32(attr::CONNECTION_ID, id)
}

/// A Connect that is not answered at once.
fn connect(bench: &mut Bench, client: &mut Client, peer: &str) -> ConnectionId {
    let request = client.request(Method::Connect, to(peer));
    let dials = bench.dials.len();
    assert_eq!(
        bench.send(tcp(5000), &request),
        None,
        "not before the peer accepts"
    );
    assert_eq!(bench.dials.len(), dials + 1);
    bench.dials[dials].0
}

/// What the client is told of how a Connect went.
fn outcome(
    bench: &mut Bench,
    client: &mut Client,
    id: ConnectionId,
    outcome: io::Result<()>,
) -> Answer {
    bench.server.connected(bench.now, id, outcome);
    bench.outputs();
    let (tuple, message) = bench.sent.pop().expect("an answer");
    assert_eq!(tuple, tcp(5000));
    client.read(&message)
}

/// A connection that the peer has accepted: how the server and how the client call it.
fn connected(bench: &mut Bench, client: &mut Client, peer: &str) -> (ConnectionId, u32) {
    let id = connect(bench, client, peer);
    let answer = outcome(bench, client, id, Ok(()));
    assert_eq!((answer.method, answer.code), (Method::Connect, 0));
    (id, answer.u32(attr::CONNECTION_ID).unwrap())
}

/// ConnectionBind on a stream of its own: the verdict, and the answer.
fn bind_data(
    bench: &mut Bench,
    username: &'static str,
    tuple: FiveTuple,
    id: u32,
) -> (Verdict, Answer) {
    let mut client = Client::new(username);
    let bare = client.bare(Method::ConnectionBind, naming(id));
    let challenge = bench.send(tuple, &bare).expect("a challenge");
    assert_eq!(client.read(&challenge).code, 401);
    let request = client.request(Method::ConnectionBind, naming(id));
    let verdict = bench.verdict(tuple, &request);
    let answer = bench.server.answer().to_vec();
    (verdict, client.read(&answer))
}

/// ConnectionBind that succeeds.
fn bind_well(bench: &mut Bench, id: u32) {
    let (verdict, answer) = bind_data(bench, "alice", tcp(DATA), id);
    assert!(matches!(verdict, Verdict::Bind { .. }), "{verdict:?}");
    assert_eq!(answer.code, 0);
}

fn live(bench: &Bench) -> u64 {
    bench.server.stats().connections.load(Relaxed)
}

/// An Allocate for TCP gets a TCP relayed transport address, at which connections are accepted.
#[test]
fn rfc6062_s5_1_an_allocation_over_tcp_has_a_tcp_listener() {
    let mut bench = Bench::new();
    for tuple in [tcp(5000), tls(5001)] {
        let mut client = Client::new("alice");
        let bare = client.bare(Method::Allocate, tcp_transport);
        let challenge = bench.send(tuple, &bare).unwrap();
        client.read(&challenge);
        let request = client.request(Method::Allocate, tcp_transport);
        assert_eq!(bench.verdict(tuple, &request), Verdict::Done);
        let Some(Output::Bind {
            allocation,
            protocol,
            addresses,
        }) = bench.server.poll_output()
        else {
            panic!("a listener is wanted");
        };
        assert_eq!(
            (protocol, addresses[0].ip(), addresses.len()),
            (Protocol::Tcp, LOCAL.parse().unwrap(), 1)
        );
        assert_eq!(
            bench.server.bound(bench.now, allocation, Ok(())),
            Some(tuple)
        );
        let answer = bench.server.answer().to_vec();
        bench.outputs();
        let answer = client.read(&answer);
        let relay = answer.address(attr::XOR_RELAYED_ADDRESS).unwrap();
        assert_eq!(
            relay,
            SocketAddr::new(PUBLIC.parse().unwrap(), addresses[0].port())
        );
    }
}

/// The relayed transport address is one that can be had for TCP.
#[test]
fn rfc6062_s5_1_a_port_that_is_taken_is_exchanged_for_another_of_the_same_kind() {
    let mut bench = Bench::with(Limits::default(), 50000..=50001);
    bench.taken = vec![50000];
    let (_, relay, _) = allocated(&mut bench);
    assert_eq!(relay.port(), 50001);
}

/// An Allocate for TCP that comes over UDP, or has EVEN-PORT, RESERVATION-TOKEN or DONT-FRAGMENT, is answered 400; one for another protocol 442.
#[test]
fn rfc6062_s5_1_over_udp_and_with_what_is_for_udp_it_is_refused() {
    let mut bench = Bench::new();
    let mut client = Client::new("alice");
    let over_udp = bench.ask(&mut client, udp(5000), Method::Allocate, tcp_transport);
    assert_eq!(over_udp.code, 400);
    for (kind, value) in [
        (attr::EVEN_PORT, &[0x80][..]),
        (attr::EVEN_PORT, &[0]),
        (attr::RESERVATION_TOKEN, &[1; 8]),
        (attr::DONT_FRAGMENT, &[]),
    ] {
        let mut client = Client::new("alice");
        let answer = bench.ask(&mut client, tcp(5000), Method::Allocate, |message| {
            tcp_transport(message);
            message.attribute(kind, value);
        });
        assert_eq!(answer.code, 400, "{kind:#x}");
    }
    let mut client = Client::new("alice");
    let answer = bench.ask(&mut client, tcp(5000), Method::Allocate, |message| {
        message.attribute(attr::REQUESTED_TRANSPORT, &[132, 0, 0, 0]);
    });
    assert_eq!(answer.code, 442, "neither UDP nor TCP");
    assert!(bench.live.is_empty());
}

/// The rest of an Allocate is as for UDP, the address family among it.
#[test]
fn rfc6062_s5_1_families_are_asked_for_as_over_udp() {
    let mut bench = Bench::new();
    let mut client = Client::new("alice");
    let answer = bench.ask(&mut client, tcp(5000), Method::Allocate, |message| {
        tcp_transport(message);
        message.attribute(attr::REQUESTED_ADDRESS_FAMILY, &[2, 0, 0, 0]);
    });
    assert!(answer.address(attr::XOR_RELAYED_ADDRESS).unwrap().is_ipv6());
    let answer = bench.ask(&mut client, tcp(5000), Method::Connect, to(PEER));
    assert_eq!(answer.code, 443);
    connect(&mut bench, &mut client, "[2606:4700::1111]:80");
}

#[test]
fn a_dual_allocation_connects_in_both_families_and_one_ends_with_its_connections() {
    let mut bench = Bench::new();
    let mut client = Client::new("alice");
    let answer = bench.ask(&mut client, tcp(5000), Method::Allocate, |message| {
        tcp_transport(message);
        message.attribute(attr::ADDITIONAL_ADDRESS_FAMILY, &[2, 0, 0, 0]);
    });
    assert_eq!(answer.code, 0);
    let v4 = connect(&mut bench, &mut client, PEER);
    let (v6, _) = connected(&mut bench, &mut client, "[2606:4700::1111]:80");
    let families: Vec<_> = bench.dials.iter().map(|(_, from, _)| from.ip()).collect();
    let expected: [IpAddr; 2] = [LOCAL.parse().unwrap(), "2606:4700::7".parse().unwrap()];
    assert_eq!(families, expected);
    let answer = bench.ask(&mut client, tcp(5000), Method::Refresh, |message| {
        message.u32(attr::LIFETIME, 0);
        message.attribute(attr::REQUESTED_ADDRESS_FAMILY, &[2, 0, 0, 0]);
    });
    assert_eq!(answer.code, 0);
    assert_eq!(bench.closed, [v6]);
    assert_eq!(
        outcome(&mut bench, &mut client, v4, Ok(())).code,
        0,
        "the other goes on"
    );
}

#[test]
fn channels_and_send_are_not_for_tcp_allocations() {
    let mut bench = Bench::new();
    let (mut client, ..) = allocated(&mut bench);
    let peer = addr(PEER);
    let answer = bench.ask(&mut client, tcp(5000), Method::ChannelBind, |m| {
        bind(0x4000, peer)(m)
    });
    assert_eq!(answer.code, 403);
    let answer = bench.ask(&mut client, tcp(5000), Method::CreatePermission, |m| {
        permit(&[peer])(m)
    });
    assert_eq!(answer.code, 0);
    let send = client.send_indication(peer, b"data");
    assert_eq!(bench.verdict(tcp(5000), &send), Verdict::Done);
    let data = channel_data(0x4000, b"data");
    assert_eq!(bench.verdict(tcp(5000), &data), Verdict::Done);
    assert_eq!(bench.dropped(Dropped::NoPermission), 2);
}

#[test]
fn connections_are_not_for_udp_allocations() {
    let mut bench = Bench::new();
    let mut client = Client::new("alice");
    let answer = bench.ask(&mut client, tcp(5000), Method::Allocate, udp_transport);
    assert_eq!(answer.code, 0);
    let answer = bench.ask(&mut client, tcp(5000), Method::Connect, to(PEER));
    assert_eq!(answer.code, 403);
    assert!(bench.dials.is_empty());
}

/// The server opens a connection from the relayed transport address to the peer, and its success response has CONNECTION-ID.
#[test]
fn rfc6062_s5_2_a_connect_goes_out_from_the_relay_address_and_is_answered_when_the_peer_accepts() {
    let mut bench = Bench::new();
    let (mut client, relay, _) = allocated(&mut bench);
    let id = connect(&mut bench, &mut client, PEER);
    let local = SocketAddr::new(LOCAL.parse().unwrap(), relay.port());
    assert_eq!(bench.dials, [(id, local, addr(PEER))]);
    let answer = outcome(&mut bench, &mut client, id, Ok(()));
    assert_eq!((answer.code, answer.signed), (0, true));
    assert!(answer.get(attr::CONNECTION_ID).is_some());
    assert_eq!(live(&bench), 1);
    assert_eq!(bench.server.stats().requests(Method::Connect, 0), 1);
}

/// A Connect without allocation is answered 437, one without a right XOR-PEER-ADDRESS 400, one to a peer with a connection, wanted or there, 446.
#[test]
fn rfc6062_s5_2_what_a_connect_is_refused_for() {
    let mut bench = Bench::new();
    let mut stranger = Client::new("alice");
    let answer = bench.ask(&mut stranger, tcp(5001), Method::Connect, to(PEER));
    assert_eq!(answer.code, 437, "no allocation");
    let (mut client, ..) = allocated(&mut bench);
    let tuple = tcp(5000);
    assert_eq!(
        bench.ask(&mut client, tuple, Method::Connect, |_| {}).code,
        400
    );
    for rubbish in [&[][..], &[0, 1, 2, 3], &[0, 3, 0, 0, 0, 0, 0, 0]] {
        let answer = bench.ask(&mut client, tuple, Method::Connect, |message| {
            message.attribute(attr::XOR_PEER_ADDRESS, rubbish);
        });
        assert_eq!(answer.code, 400, "{rubbish:?}");
    }
    let mut bob = Client::new("bob");
    let answer = bench.ask(&mut bob, tuple, Method::Connect, to(PEER));
    assert_eq!(answer.code, 441, "another's allocation");
    let answer = bench.ask(&mut client, tuple, Method::Connect, to("[2606::1]:1"));
    assert_eq!(answer.code, 443);

    let id = connect(&mut bench, &mut client, PEER);
    let again = |bench: &mut Bench, client: &mut Client| {
        let answer = bench.ask(client, tuple, Method::Connect, to(PEER));
        assert_eq!(answer.code, 446);
    };
    again(&mut bench, &mut client);
    let answer = outcome(&mut bench, &mut client, id, Ok(()));
    again(&mut bench, &mut client);
    let number = answer.u32(attr::CONNECTION_ID).unwrap();
    bind_well(&mut bench, number);
    again(&mut bench, &mut client);
    assert_eq!(bench.dials.len(), 1);
    bench.server.connection_closed(id);
    connect(&mut bench, &mut client, PEER);
}

/// A Connect that the server's policy forbids is answered 403.
#[test]
fn rfc6062_s5_2_peers_that_the_policy_refuses_are_forbidden_and_own_addresses_always() {
    let mut bench = Bench::configured(|config| {
        config.policy.allow = vec!["203.0.113.77/32".parse().unwrap()];
        config.policy.deny = vec!["8.8.4.0/24".parse().unwrap()];
    });
    let (mut client, relay, _) = allocated(&mut bench);
    let mut other = Client::new("bob");
    bench.ask(&mut other, tcp(5001), Method::Allocate, udp_transport);
    let own_udp = bench.relay_of(*bench.live.last().unwrap());
    for peer in [
        relay,
        own_udp,
        addr("198.51.100.7:3478"),
        addr("10.0.0.7:50000"),
        addr("127.0.0.1:80"),
        addr("0.0.0.0:80"),
        addr("169.254.169.254:80"),
        addr("192.168.0.1:80"),
        addr("8.8.4.4:80"),
        addr("8.8.8.8:0"),
    ] {
        let answer = bench.ask(
            &mut client,
            tcp(5000),
            Method::Connect,
            to(&peer.to_string()),
        );
        assert_eq!(answer.code, 403, "{peer}");
        let answer = bench.ask(&mut client, tcp(5000), Method::CreatePermission, |m| {
            permit(&[peer])(m)
        });
        let expected = if peer == addr("8.8.8.8:0") { 0 } else { 403 };
        assert_eq!(answer.code, expected, "{peer}");
    }
    let mut v6 = Client::new("alice");
    bench.ask(&mut v6, tcp(5002), Method::Allocate, |message| {
        tcp_transport(message);
        message.attribute(attr::REQUESTED_ADDRESS_FAMILY, &[2, 0, 0, 0]);
    });
    for peer in [
        "[::1]:80",
        "[::ffff:127.0.0.1]:80",
        "[64:ff9b::7f00:1]:80",
        "[2002:7f00:1::]:80",
        "[::ffff:198.51.100.7]:50001",
        "[64:ff9b::c633:6407]:50001",
        "[2606:4700::7]:50001",
        "[fe80::1]:80",
    ] {
        let answer = bench.ask(&mut v6, tcp(5002), Method::Connect, to(peer));
        assert_eq!(answer.code, 403, "{peer}");
    }
    assert!(bench.dials.is_empty());
    connect(&mut bench, &mut client, "203.0.113.77:80");
}

/// A connection that fails, or takes longer than a time of at least 30 seconds, is answered 447.
#[test]
fn rfc6062_s5_2_a_peer_that_refuses_or_never_accepts_is_447() {
    let mut bench = Bench::new();
    let (mut client, ..) = allocated(&mut bench);
    let id = connect(&mut bench, &mut client, PEER);
    let refused = Err(io::ErrorKind::ConnectionRefused.into());
    let answer = outcome(&mut bench, &mut client, id, refused);
    assert_eq!((answer.code, answer.signed), (447, true));
    assert_eq!(live(&bench), 0);

    let id = connect(&mut bench, &mut client, PEER);
    bench.pass(29);
    assert!(bench.sent.is_empty() && bench.closed.is_empty());
    bench.pass(1);
    assert_eq!(bench.closed, [id]);
    let (_, message) = bench.sent.pop().expect("an answer");
    assert_eq!(client.read(&message).code, 447);
    assert_eq!(live(&bench), 0);
    bench.server.connected(bench.now, id, Ok(()));
    bench.outputs();
    assert!(bench.sent.is_empty(), "it came too late");
    assert_eq!(bench.server.stats().requests(Method::Connect, 447), 2);
}

#[test]
fn connections_of_an_allocation_and_of_an_owner_are_bounded() {
    let limits = Limits {
        connections: 2,
        connections_per_owner: 3,
        ..Limits::default()
    };
    let mut bench = Bench::with(limits, 50000..=50099);
    let (mut client, _, first) = allocated(&mut bench);
    let (id, _) = connected(&mut bench, &mut client, "8.8.8.8:1");
    let permitted = bench.ask(&mut client, tcp(5000), Method::CreatePermission, |m| {
        permit(&[addr(PEER)])(m)
    });
    assert_eq!(permitted.code, 0);
    let incoming = bench
        .server
        .peer_connected(bench.now, first, addr("8.8.8.8:9"));
    assert!(incoming.is_some());
    let third = bench.ask(&mut client, tcp(5000), Method::Connect, to("8.8.8.8:3"));
    assert_eq!(third.code, 508);
    let incoming = bench
        .server
        .peer_connected(bench.now, first, addr("8.8.8.8:8"));
    assert_eq!(incoming, None);
    assert_eq!(bench.dropped(Dropped::OverQuota), 1);

    let mut second = Client::new("alice");
    bench.ask(&mut second, tcp(5001), Method::Allocate, tcp_transport);
    let request = second.request(Method::Connect, to("8.8.8.8:1"));
    assert_eq!(bench.send(tcp(5001), &request), None);
    let over = bench.ask(&mut second, tcp(5001), Method::Connect, to("8.8.8.8:2"));
    assert_eq!(over.code, 486);
    bench.server.connection_closed(id);
    let request = second.request(Method::Connect, to("8.8.8.8:2"));
    assert_eq!(bench.send(tcp(5001), &request), None, "there is room again");

    let answer = bench.ask(&mut client, tcp(5000), Method::Refresh, |message| {
        message.u32(attr::LIFETIME, 0);
    });
    assert_eq!(answer.code, 0);
    assert_eq!(live(&bench), 2, "those of the other allocation");
}

/// A peer data connection without ConnectionBind is closed after 30 seconds.
#[test]
fn rfc6062_s5_2_a_connection_that_nobody_binds_is_closed_after_30_seconds() {
    let mut bench = Bench::new();
    let (mut client, _, allocation) = allocated(&mut bench);
    let (unbound, _) = connected(&mut bench, &mut client, PEER);
    let (bound, number) = connected(&mut bench, &mut client, "8.8.8.8:5");
    bench.ask(&mut client, tcp(5000), Method::CreatePermission, |m| {
        permit(&[addr(PEER)])(m)
    });
    let peer = addr("8.8.8.8:6");
    let incoming = bench.server.peer_connected(bench.now, allocation, peer);
    bench.pass(29);
    let (verdict, answer) = bind_data(&mut bench, "alice", tcp(DATA), number);
    assert_eq!(verdict, Verdict::Bind { connection: bound });
    assert_eq!((answer.code, answer.signed), (0, true));
    assert!(bench.closed.is_empty());
    bench.pass(1);
    bench.closed.sort();
    let mut expected = [unbound, incoming.unwrap()];
    expected.sort();
    assert_eq!(bench.closed, expected);
    bench.pass(500);
    assert_eq!(bench.closed.len(), 2, "what is bound stays");
}

/// A connection of a peer without permission is closed at once; of others the client is told by ConnectionAttempt with XOR-PEER-ADDRESS and CONNECTION-ID.
#[test]
fn rfc6062_s5_3_a_peer_with_a_permission_is_announced_and_others_are_closed() {
    let mut bench = Bench::new();
    let (mut client, _, allocation) = allocated(&mut bench);
    let arrives = |bench: &mut Bench, peer: &str| {
        let taken = bench
            .server
            .peer_connected(bench.now, allocation, addr(peer));
        bench.outputs();
        taken
    };
    assert_eq!(arrives(&mut bench, PEER), None);
    assert_eq!(bench.dropped(Dropped::NoPermission), 1);
    let answer = bench.ask(&mut client, tcp(5000), Method::CreatePermission, |m| {
        permit(&[addr(PEER)])(m)
    });
    assert_eq!(answer.code, 0);
    assert_eq!(arrives(&mut bench, "8.8.8.9:4000"), None);
    assert!(bench.sent.is_empty(), "nothing is said of them");

    let id = arrives(&mut bench, "8.8.8.8:4001").expect("from any port");
    let (tuple, message) = bench.sent.pop().unwrap();
    assert_eq!(tuple, tcp(5000));
    let message = Message::parse(&message).unwrap();
    assert_eq!(
        (message.method(), message.class()),
        (Method::ConnectionAttempt, Class::Indication)
    );
    let peer = message.get(attr::XOR_PEER_ADDRESS).unwrap();
    assert_eq!(message.xor_address(peer), Some(addr("8.8.8.8:4001")));
    let number = message.get(attr::CONNECTION_ID).unwrap();
    let number = u32::from_be_bytes(number.try_into().unwrap());
    let (verdict, _) = bind_data(&mut bench, "alice", tls(DATA), number);
    assert_eq!(verdict, Verdict::Bind { connection: id });

    bench.pass(300);
    assert_eq!(arrives(&mut bench, PEER), None, "the permission has ended");
    assert!(bench.closed.is_empty(), "and what is connected stays");
}

/// A ConnectionBind over UDP, without CONNECTION-ID, or with one of no pending connection is answered 400; it has the credentials of the control connection.
#[test]
fn rfc6062_s5_4_what_a_connection_bind_is_refused_for() {
    let mut bench = Bench::new();
    let (mut client, ..) = allocated(&mut bench);
    let (id, number) = connected(&mut bench, &mut client, PEER);
    let refused = |bench: &mut Bench, username, tuple, number| {
        let (verdict, answer) = bind_data(bench, username, tuple, number);
        assert_eq!(verdict, Verdict::Answer);
        answer.code
    };
    assert_eq!(
        refused(&mut bench, "alice", udp(DATA), number),
        400,
        "over UDP"
    );
    assert_eq!(refused(&mut bench, "alice", tcp(DATA), number ^ 1), 400);
    assert_eq!(
        refused(&mut bench, "alice", tcp(DATA), number | 0xFF00_0000),
        400,
        "of a server that is not there"
    );
    assert_eq!(
        refused(&mut bench, "bob", tcp(DATA), number),
        441,
        "another's"
    );
    let answer = bench.ask(
        &mut client,
        tcp(5000),
        Method::ConnectionBind,
        naming(number),
    );
    assert_eq!(answer.code, 400, "on the control connection");
    for value in [&[][..], &[1, 2, 3], &[1; 8]] {
        let mut data = Client::new("alice");
        let answer = bench.ask(&mut data, tcp(DATA), Method::ConnectionBind, |message| {
            message.attribute(attr::CONNECTION_ID, value);
        });
        assert_eq!(answer.code, 400, "{value:?}");
    }
    let mut data = Client::new("alice");
    let answer = bench.ask(&mut data, tcp(DATA), Method::ConnectionBind, |_| {});
    assert_eq!(answer.code, 400);

    let waiting = connect(&mut bench, &mut client, "8.8.8.8:9");
    let answer = outcome(&mut bench, &mut client, waiting, Ok(()));
    assert_ne!(answer.u32(attr::CONNECTION_ID), Some(number));
    let (verdict, _) = bind_data(&mut bench, "alice", tcp(DATA), number);
    assert_eq!(verdict, Verdict::Bind { connection: id });
    assert_eq!(
        refused(&mut bench, "alice", tcp(DATA + 1), number),
        400,
        "bound already"
    );
    bench.server.connection_closed(id);
    assert_eq!(
        refused(&mut bench, "alice", tcp(DATA + 2), number),
        400,
        "closed"
    );
}

#[test]
fn a_connection_that_another_server_knows_is_handed_over() {
    let mut bench = Bench::new();
    let (mut client, ..) = allocated(&mut bench);
    let (id, number) = connected(&mut bench, &mut client, PEER);
    assert_eq!(id.worker(), 0);
    let mut other = Server::new(Arc::clone(&bench.common), 1, [4; 32]);

    let mut data = Client::new("alice");
    let bare = data.bare(Method::ConnectionBind, naming(number));
    assert_eq!(other.handle(bench.now, tcp(DATA), &bare), Verdict::Answer);
    assert_eq!(data.read(other.answer()).code, 401);
    let mut liar = Client::new("alice");
    liar.nonce = data.nonce.clone();
    liar.key = support::key_of("bob");
    let forged = liar.request(Method::ConnectionBind, naming(number));
    let handed = other.handle(bench.now, tcp(DATA), &forged);
    assert_eq!(handed, Verdict::HandOver { worker: 0 });
    assert_eq!(bench.verdict(tcp(DATA), &forged), Verdict::Answer);
    assert_eq!(
        liar.read(bench.server.answer()).code,
        401,
        "there it is looked at"
    );
    let elsewhere = other.handle(bench.now, udp(DATA), &forged);
    assert_eq!(
        elsewhere,
        Verdict::Answer,
        "a datagram is nothing to hand over"
    );

    let request = data.request(Method::ConnectionBind, naming(number));
    let verdict = other.handle(bench.now, tcp(DATA), &request);
    assert_eq!(verdict, Verdict::HandOver { worker: 0 });
    let verdict = bench.verdict(tcp(DATA), &request);
    assert_eq!(verdict, Verdict::Bind { connection: id });
    let message = bench.server.answer().to_vec();
    assert!(integrity::verify(
        &Message::parse(&message).unwrap(),
        &data.key
    ));
    // And the other way round.
    let request = data.request(Method::ConnectionBind, naming(number | 1 << 24));
    let verdict = bench.verdict(tcp(DATA + 1), &request);
    assert_eq!(verdict, Verdict::HandOver { worker: 1 });
}

/// A ConnectionBind may come with the nonce of the control connection: it is authenticated as that is.
#[test]
fn rfc6062_s4_3_the_nonce_of_the_control_connection_is_taken_on_its_data_connections() {
    let mut bench = Bench::new();
    let (mut client, ..) = allocated(&mut bench);
    let (id, number) = connected(&mut bench, &mut client, PEER);
    let mut other = Client::new("alice");
    bench.ask(&mut other, tcp(5001), Method::Allocate, udp_transport);
    let foreign = other.request(Method::ConnectionBind, naming(number));
    assert_eq!(bench.verdict(tcp(DATA), &foreign), Verdict::Answer);
    assert_eq!(other.read(bench.server.answer()).code, 438);
    let elsewhere = client.request(Method::Allocate, tcp_transport);
    assert_eq!(bench.verdict(tcp(DATA), &elsewhere), Verdict::Answer);
    let mut copy = Client::new("alice");
    assert_eq!(copy.read(bench.server.answer()).code, 438);

    let request = client.request(Method::ConnectionBind, naming(number));
    let verdict = bench.verdict(tcp(DATA), &request);
    assert_eq!(verdict, Verdict::Bind { connection: id });
    assert_eq!(client.read(bench.server.answer()).code, 0);
}

#[test]
fn a_datagram_with_the_nonce_of_a_control_connection_proves_no_address() {
    let mut bench = Bench::new();
    let (mut client, ..) = allocated(&mut bench);
    let (_, number) = connected(&mut bench, &mut client, PEER);
    let request = client.request(Method::ConnectionBind, naming(number));
    assert_eq!(bench.verdict(udp(DATA), &request), Verdict::Answer);
    assert_eq!(client.read(bench.server.answer()).code, 438);
}

/// When the allocation ends, its data connections are closed.
#[test]
fn rfc6062_s5_5_with_the_allocation_all_its_connections_end() {
    type End = fn(&mut Bench, &mut Client);
    let released: End = |bench, client| {
        let answer = bench.ask(client, tcp(5000), Method::Refresh, |message| {
            message.u32(attr::LIFETIME, 0);
        });
        assert_eq!(answer.code, 0);
    };
    let expired: End = |bench, _| bench.pass(600);
    let disconnected: End = |bench, _| bench.server.disconnected(bench.now, tcp(5000));
    let revoked: End = |bench, _| {
        bench.users.revoked.lock().unwrap().insert(Owner(1));
        bench.server.review(bench.now);
    };
    let killed: End = |bench, _| {
        assert_eq!(bench.server.kill(bench.now, Which::AllOf(Owner(1))), 1);
    };
    for (end, reason) in [
        (killed, Ended::Killed),
        (released, Ended::Released),
        (expired, Ended::Expired),
        (disconnected, Ended::Disconnected),
        (revoked, Ended::Revoked),
    ] {
        let mut bench = Bench::new();
        let (mut client, ..) = allocated(&mut bench);
        let (bound, number) = connected(&mut bench, &mut client, PEER);
        bind_well(&mut bench, number);
        bench
            .server
            .count_data(bench.now, bound, Direction::ToPeer, 70);
        bench
            .server
            .count_data(bench.now, bound, Direction::ToClient, 7);
        if reason != Ended::Expired {
            connected(&mut bench, &mut client, "8.8.8.8:5");
            connect(&mut bench, &mut client, "8.8.8.8:6");
        }
        let all = bench.dials.len();
        end(&mut bench, &mut client);
        bench.outputs();
        assert_eq!(bench.closed.len(), all, "{reason:?}");
        assert_eq!(live(&bench), 0);
        let ended = bench.events.last().unwrap();
        let Event::Ended {
            reason: told,
            to_peer,
            to_client,
            ..
        } = ended
        else {
            panic!("{ended:?}");
        };
        assert_eq!((*told, to_peer.bytes, to_client.bytes), (reason, 70, 7));
        bench.pass(60);
        assert_eq!(bench.closed.len(), all, "nothing is left to end");
    }
}

#[test]
fn another_policy_ends_the_connections_that_it_refuses() {
    let mut bench = Bench::new();
    let (mut client, ..) = allocated(&mut bench);
    let (denied, number) = connected(&mut bench, &mut client, PEER);
    bind_well(&mut bench, number);
    let dialled = connect(&mut bench, &mut client, "8.8.8.8:99");
    let (kept, _) = connected(&mut bench, &mut client, "9.9.9.9:99");
    let mut policy = bench.common.config().policy.clone();
    policy.deny = vec!["8.8.8.0/24".parse().unwrap()];
    bench.common.set_policy(policy);
    bench.server.review(bench.now);
    bench.outputs();
    bench.closed.sort();
    let mut expected = [denied, dialled];
    expected.sort();
    assert_eq!(bench.closed, expected);
    let (_, message) = bench.sent.pop().unwrap();
    assert_eq!(client.read(&message).code, 447);
    assert_eq!(live(&bench), 1, "{kept:?} stays");
}

#[test]
fn an_owner_s_rate_holds_streams_up_and_loses_nothing() {
    let limits = Limits {
        bytes_per_second_per_owner: 100_000,
        ..Limits::default()
    };
    let mut bench = Bench::with(limits, 50000..=50099);
    let (mut client, ..) = allocated(&mut bench);
    let (id, _) = connected(&mut bench, &mut client, PEER);
    let waits = |bench: &Bench| bench.server.must_wait_until(id, bench.now);
    assert_eq!(waits(&bench), None);
    let now = bench.now;
    bench.server.count_data(now, id, Direction::ToPeer, 60_000);
    assert_eq!(waits(&bench), None);
    bench
        .server
        .count_data(now, id, Direction::ToClient, 90_000);
    assert_eq!(
        waits(&bench),
        Some(now.instant + Duration::from_millis(500)),
        "what is more than a second's worth"
    );
    bench.pass(1);
    assert_eq!(waits(&bench), None);
    let stats = bench.server.stats();
    assert_eq!(stats.to_peer.bytes.load(Relaxed), 60_000);
    assert_eq!(stats.to_client.bytes.load(Relaxed), 90_000);
}

#[test]
fn a_tcp_relay_s_port_is_no_peer_of_others_over_udp() {
    let mut bench = Bench::new();
    let (_, relay, _) = allocated(&mut bench);
    let mut bob = Client::new("bob");
    bench.ask(&mut bob, udp(5001), Method::Allocate, udp_transport);
    let answer = bench.ask(&mut bob, udp(5001), Method::ChannelBind, |m| {
        bind(0x4000, relay)(m)
    });
    assert_eq!(answer.code, 403);
}
