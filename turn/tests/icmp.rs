//! What a client is told of ICMP errors about what it has sent (RFC 8656 §11.5).

mod support;

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use moznods_turn::net::{Listeners, Relay};
use moznods_turn::server::{AllocationId, FiveTuple, IcmpError};
use moznods_turn::stats::Dropped;
use moznods_turn::wire::{Method, attr};
use support::bench::{Bench, PEER, addr, allocated, tcp, udp};
use support::sockets::{Caller, Files, PATIENCE, serve, start};
use support::{channel_data, permit, told, udp_transport};

/// An allocation whose client may send to `peers`.
fn permitted(bench: &mut Bench, tuple: FiveTuple, peers: &[SocketAddr]) -> AllocationId {
    let (mut client, _) = allocated(bench, "alice", tuple);
    let answer = bench.ask(&mut client, tuple, Method::CreatePermission, |m| {
        permit(peers)(m)
    });
    assert_eq!(answer.code, 0);
    *bench.live.last().unwrap()
}

fn tell(
    bench: &mut Bench,
    allocation: AllocationId,
    peer: &str,
    (kind, code, mtu): (u8, u8, u32),
) -> Option<(FiveTuple, (SocketAddr, u8, u16, u32))> {
    let error = IcmpError {
        peer: addr(peer),
        kind,
        code,
        mtu,
    };
    let tuple = bench.server.handle_icmp(bench.now, allocation, error)?;
    Some((tuple, told(bench.server.answer()).unwrap()))
}

/// Of an ICMP error the client is told with XOR-PEER-ADDRESS and ICMP; its error data is zero unless a datagram was too large (§18.13).
#[test]
fn rfc8656_s11_5_the_client_is_told_which_peer_and_why() {
    for tuple in [udp(1), tcp(1)] {
        let mut bench = Bench::new();
        let id = permitted(&mut bench, tuple, &[addr(PEER)]);
        // Only where the datagram is too large is there data.
        for (error, data) in [
            ((3, 3, 99), 0),
            ((3, 0, 99), 0),
            ((3, 4, 1280), 1280),
            ((11, 0, 99), 0),
        ] {
            let (to, said) = tell(&mut bench, id, PEER, error).unwrap();
            let (kind, code, _) = error;
            assert_eq!(
                (to, said),
                (tuple, (addr(PEER), kind, u16::from(code), data))
            );
        }
        // Any port of the permitted address, RFC 8656 §11.5.
        let (_, said) = tell(&mut bench, id, "8.8.8.8:9", (3, 3, 0)).unwrap();
        assert_eq!(said.0, addr("8.8.8.8:9"));
    }
}

/// Of ICMPv6 the types 1, 2 and 3 are told, and no others.
#[test]
fn rfc8656_s11_5_icmpv6_has_its_own_types() {
    let mut bench = Bench::new();
    let peer = "[2606:4700::1111]:9";
    let mut client = support::Client::new("alice");
    let answer = bench.ask(&mut client, udp(1), Method::Allocate, |message| {
        udp_transport(message);
        message.attribute(attr::REQUESTED_ADDRESS_FAMILY, &[2, 0, 0, 0]);
    });
    assert_eq!(answer.code, 0);
    let peers = [addr(peer)];
    bench.ask(&mut client, udp(1), Method::CreatePermission, |m| {
        permit(&peers)(m)
    });
    let id = *bench.live.last().unwrap();
    for (error, data) in [((1, 4, 99), 0), ((2, 0, 1280), 1280), ((3, 1, 99), 0)] {
        let (_, said) = tell(&mut bench, id, peer, error).unwrap();
        assert_eq!(said, (addr(peer), error.0, error.1.into(), data));
    }
    for kind in [0, 4, 11, 128, 255] {
        assert_eq!(tell(&mut bench, id, peer, (kind, 0, 0)), None, "{kind}");
    }
}

/// What counts is whether the address that the datagram was sent to has a permission, not the one that the ICMP error came from; of other types nobody is told.
#[test]
fn rfc8656_s11_5_only_what_concerns_a_permitted_peer_is_told() {
    let mut bench = Bench::new();
    let id = permitted(&mut bench, udp(1), &[addr(PEER)]);
    for kind in [0, 1, 2, 4, 5, 8, 12, 128, 255] {
        assert_eq!(tell(&mut bench, id, PEER, (kind, 0, 0)), None, "{kind}");
    }
    assert_eq!(bench.dropped(Dropped::NotForServers), 9);
    assert_eq!(tell(&mut bench, id, "8.8.4.4:4000", (3, 3, 0)), None);
    bench.pass(301);
    assert_eq!(
        tell(&mut bench, id, PEER, (3, 3, 0)),
        None,
        "the permission has ended"
    );
    bench.pass(600);
    assert!(bench.live.is_empty());
    assert_eq!(
        tell(&mut bench, id, PEER, (3, 3, 0)),
        None,
        "the allocation has ended"
    );
    assert_eq!(bench.dropped(Dropped::NoPermission), 3);
    assert_eq!(bench.server.stats().icmp.load(Relaxed), 0);
}

#[test]
fn a_flood_of_errors_is_told_ten_times_a_second() {
    let mut bench = Bench::new();
    let first = permitted(&mut bench, udp(1), &[addr(PEER)]);
    let second = permitted(&mut bench, udp(2), &[addr(PEER)]);
    for _ in 0..3 {
        let heard = |bench: &mut Bench, id| {
            (0..1000)
                .filter(|_| tell(bench, id, PEER, (3, 3, 0)).is_some())
                .count()
        };
        assert_eq!(heard(&mut bench, first), 10);
        assert_eq!(heard(&mut bench, second), 10, "each allocation for itself");
        bench.pass(1);
    }
    assert_eq!(bench.server.stats().icmp.load(Relaxed), 60);
    assert_eq!(bench.dropped(Dropped::RateLimited), 6 * 990);
}

/// A port of this address that is closed to all, and to be had by nobody as long as the socket lives: it is connected
/// to somebody else.
fn closed_port(ip: &str) -> (UdpSocket, SocketAddr) {
    let ip: IpAddr = ip.parse().unwrap();
    let socket = UdpSocket::bind((ip, 0)).unwrap();
    socket.connect((ip, 9)).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

fn may_send_to(caller: &mut Caller, peers: &[SocketAddr]) {
    let answer = caller.ask(Method::CreatePermission, |m| permit(peers)(m));
    assert_eq!(answer.code, 0);
}

#[test]
fn a_closed_port_is_told_over_each_transport_and_family() {
    let files = Files::new();
    for (ip, unreachable) in [("127.0.0.1", (3, 3)), ("::1", (1, 4))] {
        let address = SocketAddr::new(ip.parse().unwrap(), 0);
        let listeners = Listeners::bind(address, 1).unwrap();
        let listeners = listeners.with_tls(address, &files.certificate()).unwrap();
        let relay = serve(listeners, Arc::default(), ip, &["127.0.0.0/8", "::1/128"]);
        let callers: [&dyn Fn() -> Caller; 3] = [
            &|| Caller::udp(&relay, "alice"),
            &|| Caller::tcp(&relay, "alice"),
            &|| Caller::tls(&relay, &files, "alice"),
        ];
        for caller in callers {
            let mut alice = caller();
            alice.allocate();
            let (_held, gone) = closed_port(ip);
            may_send_to(&mut alice, &[gone]);
            let data = alice.client.send_indication(gone, b"anybody there?");
            alice.send(&data);
            let (kind, code) = unreachable;
            assert_eq!(told(&alice.receive()), Some((gone, kind, code, 0)));
            // And by channel.
            alice.bind(0x4000, gone);
            alice.send(&channel_data(0x4000, b"and now?"));
            assert_eq!(told(&alice.receive()), Some((gone, kind, code, 0)));
        }
    }
}

#[test]
fn a_peer_that_has_closed_its_port_disturbs_no_other() {
    for ip in ["127.0.0.1", "::1"] {
        let relay: Relay = start(ip, &["127.0.0.0/8", "::1/128"]);
        let there = UdpSocket::bind((ip, 0)).unwrap();
        there.set_read_timeout(Some(PATIENCE)).unwrap();
        let (_held, gone) = closed_port(ip);
        let there_at = there.local_addr().unwrap();
        let mut alice = Caller::udp(&relay, "alice");
        let relayed = alice.allocate();
        alice.bind(0x4000, gone);
        alice.bind(0x4001, there_at);
        for number in 0..300_u32 {
            let payload = number.to_be_bytes();
            alice.send(&channel_data(0x4000, &payload));
            alice.send(&channel_data(0x4001, &payload));
            let mut buffer = [0; 10];
            let (count, from) = there.recv_from(&mut buffer).expect("none is lost");
            assert_eq!((&buffer[..count], from), (&payload[..], relayed));
            there.send_to(&payload, relayed).unwrap();
            let answer = loop {
                let bytes = alice.receive();
                if told(&bytes).is_none() {
                    break bytes;
                }
            };
            assert_eq!(answer, channel_data(0x4001, &payload));
        }
        let failed = support::sockets::dropped(&relay, Dropped::SendFailed);
        assert_eq!(failed, 0);
    }
}
