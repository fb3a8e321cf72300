//! Dual allocations: an IPv4 and an IPv6 relayed address in one (RFC 8656 §7.2, §8).

mod support;

use std::net::{IpAddr, UdpSocket};
use std::sync::Arc;

use moznods_turn::net::{Listeners, Relay};
use moznods_turn::server::{Event, FiveTuple, Verdict};
use moznods_turn::wire::{Builder, Method, attr};
use support::bench::{Bench, PEER, addr, udp};
use support::sockets::{Caller, PATIENCE, wait_until};
use support::{Answer, Client, Users, bind, channel_data, permit, udp_transport};

const PEER_V6: &str = "[2606:4700::1]:4000";

fn dual(message: &mut Builder<'_>) {
    udp_transport(message);
    message.attribute(attr::ADDITIONAL_ADDRESS_FAMILY, &[2, 0, 0, 0]);
}

/// A bench with a client who has a dual allocation and a permission for a peer of each family.
fn prepared() -> (Bench, Client, FiveTuple) {
    let mut bench = Bench::new();
    let mut client = Client::new("alice");
    let answer = bench.ask(&mut client, udp(1), Method::Allocate, dual);
    assert_eq!(answer.code, 0);
    let peers = [addr(PEER), addr(PEER_V6)];
    let answer = bench.ask(&mut client, udp(1), Method::CreatePermission, |m| {
        permit(&peers)(m)
    });
    assert_eq!(answer.code, 0);
    (bench, client, udp(1))
}

fn refresh(bench: &mut Bench, client: &mut Client, family: Option<u8>, lifetime: u32) -> Answer {
    bench.ask(client, udp(1), Method::Refresh, |m| {
        m.u32(attr::LIFETIME, lifetime);
        if let Some(family) = family {
            m.attribute(attr::REQUESTED_ADDRESS_FAMILY, &[family, 0, 0, 0]);
        }
    })
}

fn reaches(bench: &mut Bench, client: &mut Client, peer: &str) -> bool {
    let bytes = client.send_indication(addr(peer), b"data");
    matches!(bench.verdict(udp(1), &bytes), Verdict::ToPeer { .. })
}

#[test]
fn both_families_are_relayed_by_one_allocation() {
    let (mut bench, mut client, tuple) = prepared();
    let answer = bench.ask(&mut client, tuple, Method::Refresh, |_| {});
    assert_eq!(answer.code, 0);
    let Some(Event::Allocated { relays, .. }) = bench.events.first() else {
        panic!("{:?}", bench.events)
    };
    assert!(relays[0].is_ipv4() && relays[1].is_ipv6() && relays.len() == 2);
    assert_eq!(relays[0].port(), relays[1].port());
    for (number, peer) in [(0x4000, PEER), (0x4001, PEER_V6)] {
        assert!(reaches(&mut bench, &mut client, peer));
        let (_, bytes) = bench.peer_sends(peer, b"back").unwrap();
        assert!(bytes.ends_with(b"back"));
        let answer = bench.ask(&mut client, tuple, Method::ChannelBind, |m| {
            bind(number, addr(peer))(m)
        });
        assert_eq!(answer.code, 0);
        let verdict = bench.verdict(tuple, &channel_data(number, b"data"));
        assert!(matches!(verdict, Verdict::ToPeer { peer: to, .. } if to == addr(peer)));
    }
}

/// The answer to an Allocate for both families has two XOR-RELAYED-ADDRESS, and is the same when the request comes again.
#[test]
fn rfc8656_s7_2_a_dual_allocation_is_told_with_both_addresses() {
    let mut bench = Bench::new();
    let mut client = Client::new("alice");
    bench.ask(&mut client, udp(1), Method::Refresh, |_| {});
    let request = client.request(Method::Allocate, dual);
    let first = bench.send(udp(1), &request).unwrap();
    assert_eq!(bench.send(udp(1), &request).unwrap(), first);
    let answer = client.read(&first);
    let relays = answer.addresses(attr::XOR_RELAYED_ADDRESS);
    assert!(relays[0].is_ipv4() && relays[1].is_ipv6() && relays.len() == 2);
    assert_eq!(answer.get(attr::ADDRESS_ERROR_CODE), None);
}

/// As coturn's client asks.
#[test]
fn the_number_that_a_draft_had_for_the_second_family_is_taken_as_well() {
    let mut bench = Bench::new();
    let mut client = Client::new("alice");
    let answer = bench.ask(&mut client, udp(1), Method::Allocate, |message| {
        udp_transport(message);
        message.attribute(attr::DRAFT_ADDITIONAL_ADDRESS_FAMILY, &[2, 0, 0, 0]);
    });
    assert_eq!(answer.addresses(attr::XOR_RELAYED_ADDRESS).len(), 2);
}

/// Deleting the allocation of one family touches neither permissions nor channels of the other.
#[test]
fn rfc8656_s8_1_one_family_goes_and_the_other_keeps_what_it_has() {
    for (gone, gone_peer, kept, kept_peer) in [(1, PEER, 2, PEER_V6), (2, PEER_V6, 1, PEER)] {
        let (mut bench, mut client, _) = prepared();
        assert_eq!(refresh(&mut bench, &mut client, Some(gone), 0).code, 0);
        assert_eq!(bench.live.len(), 1, "it lives on");
        assert!(!reaches(&mut bench, &mut client, gone_peer));
        assert!(reaches(&mut bench, &mut client, kept_peer));
        assert!(bench.peer_sends(gone_peer, b"back").is_none());
        assert!(bench.peer_sends(kept_peer, b"back").is_some());
        assert_eq!(refresh(&mut bench, &mut client, Some(gone), 600).code, 443);
        let peers = [addr(gone_peer)];
        let answer = bench.ask(&mut client, udp(1), Method::CreatePermission, |m| {
            permit(&peers)(m)
        });
        assert_eq!(answer.code, 443);
        assert_eq!(refresh(&mut bench, &mut client, Some(kept), 0).code, 0);
        assert!(bench.live.is_empty());
        assert_eq!(refresh(&mut bench, &mut client, None, 600).code, 437);
    }
}

#[test]
fn each_family_has_its_own_expiry() {
    let (mut bench, mut client, tuple) = prepared();
    assert_eq!(refresh(&mut bench, &mut client, Some(2), 1200).code, 0);
    bench.pass(599);
    let peers = [addr(PEER), addr(PEER_V6)];
    let answer = bench.ask(&mut client, tuple, Method::CreatePermission, |m| {
        permit(&peers)(m)
    });
    assert_eq!(answer.code, 0);
    assert!(reaches(&mut bench, &mut client, PEER));
    bench.pass(1);
    assert!(!reaches(&mut bench, &mut client, PEER));
    assert!(reaches(&mut bench, &mut client, PEER_V6));
    bench.pass(600);
    assert!(bench.live.is_empty());
    // Without a family it is for both.
    let (mut bench, mut client, _) = prepared();
    assert_eq!(refresh(&mut bench, &mut client, None, 1200).code, 0);
    bench.pass(1199);
    assert_eq!(bench.live.len(), 1);
    client.nonce.clear();
    assert_eq!(refresh(&mut bench, &mut client, None, 0).code, 0);
    assert!(bench.live.is_empty());
}

/// ADDRESS-ERROR-CODE names the family that cannot be had and why, with its reserved bits zero; the other family is given.
#[test]
fn rfc8656_s18_12_a_family_that_cannot_be_had_is_named() {
    let family_and_code = |answer: &Answer| {
        let value = answer.get(attr::ADDRESS_ERROR_CODE).unwrap();
        (value[0], value[1], value[2], value[3])
    };
    let mut bench = Bench::configured(|config| config.relay.truncate(1));
    let mut client = Client::new("alice");
    let answer = bench.ask(&mut client, udp(1), Method::Allocate, dual);
    assert_eq!(answer.addresses(attr::XOR_RELAYED_ADDRESS).len(), 1);
    assert_eq!(family_and_code(&answer), (2, 0, 4, 40));

    let mut bench = Bench::new();
    bench.without_ipv6 = true;
    let mut client = Client::new("alice");
    let answer = bench.ask(&mut client, udp(1), Method::Allocate, dual);
    let relays = answer.addresses(attr::XOR_RELAYED_ADDRESS);
    assert!(relays.len() == 1 && relays[0].is_ipv4());
    assert_eq!(family_and_code(&answer), (2, 0, 5, 8));
    assert_eq!(bench.live.len(), 1);
}

/// Where no family is asked for and the server has no IPv4, an Allocate is refused with 440.
#[test]
fn rfc8656_s7_2_without_ipv4_a_family_must_be_named() {
    let mut bench = Bench::configured(|config| config.relay = config.relay.split_off(1));
    let mut client = Client::new("alice");
    let answer = bench.ask(&mut client, udp(1), Method::Allocate, udp_transport);
    assert_eq!(answer.code, 440);
    let answer = bench.ask(&mut client, udp(1), Method::Allocate, dual);
    assert_eq!(answer.code, 440);
    let answer = bench.ask(&mut client, udp(1), Method::Allocate, |m| {
        udp_transport(m);
        m.attribute(attr::REQUESTED_ADDRESS_FAMILY, &[2, 0, 0, 0]);
    });
    assert_eq!(answer.code, 0);
}

/// ADDITIONAL-ADDRESS-FAMILY of IPv4, or beside REQUESTED-ADDRESS-FAMILY, a token or a reserving EVEN-PORT, is refused with 400.
#[test]
fn rfc8656_s7_2_contradicting_families_are_bad_requests() {
    let mut bench = Bench::new();
    let mut client = Client::new("alice");
    let contradictions: [(&str, u16, &[u8]); 5] = [
        ("IPv4", attr::ADDITIONAL_ADDRESS_FAMILY, &[1, 0, 0, 0]),
        ("short", attr::ADDITIONAL_ADDRESS_FAMILY, &[2]),
        ("both kinds", attr::REQUESTED_ADDRESS_FAMILY, &[2, 0, 0, 0]),
        ("reserving", attr::EVEN_PORT, &[0x80]),
        ("reserved", attr::RESERVATION_TOKEN, &[0; 8]),
    ];
    for (what, kind, value) in contradictions {
        let answer = bench.ask(&mut client, udp(1), Method::Allocate, |m| {
            udp_transport(m);
            m.attribute(kind, value);
            m.attribute(attr::ADDITIONAL_ADDRESS_FAMILY, &[2, 0, 0, 0]);
        });
        assert_eq!(answer.code, 400, "{what}");
    }
    let answer = bench.ask(&mut client, udp(1), Method::Allocate, |m| {
        dual(m);
        m.attribute(attr::EVEN_PORT, &[0]);
    });
    assert_eq!(answer.code, 0);
    let relays = answer.addresses(attr::XOR_RELAYED_ADDRESS);
    assert!(relays.iter().all(|relay| relay.port() % 2 == 0));
}

/// Over real sockets: a client of IPv4 reaches peers of both families, and they reach it.
#[test]
fn peers_of_both_families_are_reached_over_real_sockets() {
    let listeners = Listeners::bind("127.0.0.1:0".parse().unwrap(), 2).unwrap();
    let mut config = support::sockets::config("127.0.0.1", &["127.0.0.0/8", "::1/128"]);
    let v6 = "::1".parse::<IpAddr>().unwrap().into();
    config.relay.push(v6);
    let relay = Relay::start(listeners, config, Arc::new(Users::default())).unwrap();
    let mut caller = Caller::udp(&relay, "alice");
    let answer = caller.ask(Method::Allocate, dual);
    let relays = answer.addresses(attr::XOR_RELAYED_ADDRESS);
    assert_eq!(relays.len(), 2, "{answer:?}");
    for (number, (ip, from_relay)) in (0x4000..).zip(["127.0.0.1", "::1"].iter().zip(&relays)) {
        let peer = UdpSocket::bind((*ip, 0)).unwrap();
        peer.set_read_timeout(Some(PATIENCE)).unwrap();
        caller.bind(number, peer.local_addr().unwrap());
        caller.send(&channel_data(number, b"there"));
        let mut buffer = [0; 64];
        let (count, from) = peer.recv_from(&mut buffer).unwrap();
        assert_eq!((&buffer[..count], from), (&b"there"[..], *from_relay));
        peer.send_to(b"back", from).unwrap();
        assert_eq!(caller.receive(), channel_data(number, b"back"));
    }
    let answer = caller.ask(Method::Refresh, |m| {
        m.u32(attr::LIFETIME, 0);
        m.attribute(attr::REQUESTED_ADDRESS_FAMILY, &[2, 0, 0, 0]);
    });
    assert_eq!(answer.code, 0);
    let free = || UdpSocket::bind(relays[1]).is_ok();
    wait_until("the IPv6 port is given back", free);
    assert!(UdpSocket::bind(relays[0]).is_err(), "the other is not");
}
