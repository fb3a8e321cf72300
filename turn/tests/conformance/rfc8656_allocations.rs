//! RFC 8656 §5 to §8: whose an allocation is, how one is made, refreshed and ended.

use std::collections::HashSet;
use std::net::IpAddr;

use moznods_turn::server::{Ended, Event, FiveTuple, Limits, Verdict};
use moznods_turn::wire::{Builder, Method, attr};

use crate::support::bench::{Bench, PEER, PUBLIC, addr, allocated, tcp, udp};
use crate::support::{Answer, Client, channel_data, udp_transport};

/// An Allocate for UDP with one more attribute.
fn allocate_with(bench: &mut Bench, port: u16, kind: u16, value: &[u8]) -> Answer {
    let mut client = Client::new("alice");
    bench.ask(&mut client, udp(port), Method::Allocate, |message| {
        udp_transport(message);
        message.attribute(kind, value);
    })
}

fn relay_port(answer: &Answer) -> u16 {
    answer.address(attr::XOR_RELAYED_ADDRESS).unwrap().port()
}

/// The long-term credential mechanism is there: with a password one gets what one does not get without.
#[test]
fn rfc8656_s5_long_term_credentials_open_the_door() {
    let mut bench = Bench::new();
    let bytes = Client::new("alice").bare(Method::Allocate, udp_transport);
    let answer = bench.send(udp(1), &bytes).unwrap();
    assert_eq!(Client::new("alice").read(&answer).code, 401);
    assert_eq!(bench.allocate(&mut Client::new("alice"), udp(1)).code, 0);
}

/// A request about an allocation by another user than the one who made it is refused with 441, however well it is
/// signed.
#[test]
fn rfc8656_s5_another_users_allocation_is_out_of_reach() {
    let mut bench = Bench::new();
    allocated(&mut bench, "alice", udp(1));
    let mut bob = Client::new("bob");
    let peer = addr(PEER);
    let answers = [
        bench.refresh(&mut bob, udp(1), Some(0)),
        bench.refresh(&mut bob, udp(1), None),
        bench.permit(&mut bob, udp(1), &[peer]),
        bench.bind(&mut bob, udp(1), 0x4000, peer),
    ];
    assert!(
        answers
            .iter()
            .all(|answer| answer.code == 441 && answer.signed)
    );
    assert_eq!(bench.peer_sends(PEER, b"x"), None, "nothing was permitted");
    assert_eq!(bench.live.len(), 1);
}

/// Without an allocation, every request but Allocate is refused with 437, and indications and ChannelData are passed
/// over in silence.
#[test]
fn rfc8656_s5_nothing_is_done_without_an_allocation() {
    let mut bench = Bench::new();
    allocated(&mut bench, "alice", udp(1));
    let mut client = Client::new("alice");
    let others = [
        udp(2),
        tcp(1),
        FiveTuple {
            server: addr("198.51.100.7:3479"),
            ..udp(1)
        },
    ];
    for tuple in others {
        let answers = [
            bench.refresh(&mut client, tuple, None),
            bench.permit(&mut client, tuple, &[addr(PEER)]),
            bench.bind(&mut client, tuple, 0x4000, addr(PEER)),
        ];
        assert!(answers.iter().all(|answer| answer.code == 437));
        let data = client.send_indication(addr(PEER), b"x");
        assert_eq!(bench.verdict(tuple, &data), Verdict::Done);
        assert_eq!(
            bench.verdict(tuple, &channel_data(0x4000, b"x")),
            Verdict::Done
        );
        client.nonce.clear();
    }
}

/// UDP is there between client and server.
#[test]
fn rfc8656_s5_clients_come_over_udp() {
    let (_, relay) = allocated(&mut Bench::new(), "alice", udp(1));
    assert_eq!(relay.ip().to_string(), PUBLIC);
}

/// No two allocations have the same relayed address at a time, and every port comes into use.
#[test]
fn rfc8656_s6_relayed_addresses_are_unique() {
    let mut bench = Bench::new();
    let mut seen = HashSet::new();
    for port in 0..100 {
        let name = ["alice", "bob"][usize::from(port) % 2];
        let (_, relay) = allocated(&mut bench, name, udp(port));
        assert!(seen.insert(relay), "{relay}");
    }
}

/// An Allocate must be authenticated.
#[test]
fn rfc8656_s7_2_an_allocate_without_credentials_makes_nothing() {
    let mut bench = Bench::new();
    let bytes = Client::new("alice").bare(Method::Allocate, udp_transport);
    for tuple in [udp(1), tcp(1)] {
        let answer = bench.send(tuple, &bytes).unwrap();
        assert_eq!(Client::new("alice").read(&answer).code, 401);
        assert!(!bench.server.has_allocation(tuple));
    }
}

/// The mechanism by which it is authenticated is that of long-term credentials: by username, realm and nonce.
#[test]
fn rfc8656_s7_2_an_allocate_is_authenticated_by_the_long_term_mechanism() {
    let mut bench = Bench::new();
    for wrong in 0..4 {
        let mut client = Client::new("alice");
        let bytes = client.bare(Method::Allocate, udp_transport);
        client.read(&bench.send(udp(1), &bytes).unwrap());
        match wrong {
            0 => client.username = "bob",
            1 => client.realm = "another".to_owned(),
            2 => client.nonce = b"another".to_vec(),
            _ => {}
        }
        let bytes = client.request(Method::Allocate, udp_transport);
        let answer = bench.send(udp(1), &bytes).unwrap();
        let expected = [401, 401, 438, 0][wrong];
        assert_eq!(client.read(&answer).code, expected);
    }
}

/// An Allocate that is sent again, because its answer was lost, gets the same answer and makes nothing new.
#[test]
fn rfc8656_s7_2_retransmitted_allocate_gets_same_answer() {
    let mut bench = Bench::new();
    let mut client = Client::new("bob");
    let challenge = client.bare(Method::Allocate, udp_transport);
    client.read(&bench.send(udp(1), &challenge).unwrap());
    let bytes = client.request(Method::Allocate, udp_transport);
    let first = bench.send(udp(1), &bytes).unwrap();
    for _ in 0..3 {
        bench.pass(1);
        assert_eq!(bench.send(udp(1), &bytes).unwrap(), first);
    }
    assert_eq!(bench.live.len(), 1);
}

/// An Allocate on a 5-tuple that has an allocation already is refused with 437; another transport makes another 5-tuple.
#[test]
fn rfc8656_s7_2_a_tuple_has_one_allocation() {
    let mut bench = Bench::new();
    let (mut client, _) = allocated(&mut bench, "alice", udp(1));
    assert_eq!(bench.allocate(&mut client, udp(1)).code, 437);
    assert_eq!(bench.allocate(&mut Client::new("bob"), udp(1)).code, 437);
    allocated(&mut bench, "alice", tcp(1));
}

/// An Allocate without REQUESTED-TRANSPORT, or with a malformed one, is refused with 400.
#[test]
fn rfc8656_s7_2_the_transport_must_be_named() {
    let mut bench = Bench::new();
    let mut client = Client::new("alice");
    for value in [None, Some(&[17][..]), Some(&[]), Some(&[17, 0, 0, 0, 0])] {
        let answer = bench.ask(&mut client, udp(1), Method::Allocate, |message| {
            if let Some(value) = value {
                message.attribute(attr::REQUESTED_TRANSPORT, value);
            }
        });
        assert_eq!(answer.code, 400, "{value:?}");
    }
}

/// A transport that the server does not relay by is refused with 442.
#[test]
fn rfc8656_s7_2_an_unknown_transport_is_refused() {
    let mut bench = Bench::new();
    let mut client = Client::new("alice");
    for protocol in [0, 1, 33, 132, 255] {
        let answer = bench.ask(&mut client, udp(1), Method::Allocate, |message| {
            message.attribute(attr::REQUESTED_TRANSPORT, &[protocol, 0, 0, 0]);
        });
        assert_eq!(answer.code, 442, "{protocol}");
    }
}

/// A reservation's token together with EVEN-PORT or an address family is refused with 400.
#[test]
fn rfc8656_s7_2_a_token_stands_alone() {
    let mut bench = Bench::new();
    for (kind, value) in [
        (attr::EVEN_PORT, &[0x00][..]),
        (attr::EVEN_PORT, &[0x80]),
        (attr::REQUESTED_ADDRESS_FAMILY, &[1, 0, 0, 0]),
    ] {
        let mut client = Client::new("alice");
        let answer = bench.ask(&mut client, udp(1), Method::Allocate, |message| {
            udp_transport(message);
            message.attribute(attr::RESERVATION_TOKEN, &[1; 8]);
            message.attribute(kind, value);
        });
        assert_eq!(answer.code, 400);
    }
}

/// A token that is nobody's, was used, or is too old is refused with 508.
#[test]
fn rfc8656_s7_2_a_token_that_is_not_valid_is_refused() {
    let mut bench = Bench::new();
    let answer = allocate_with(&mut bench, 1, attr::RESERVATION_TOKEN, &[1; 8]);
    assert_eq!(answer.code, 508, "nobody's");
    let answer = allocate_with(&mut bench, 1, attr::RESERVATION_TOKEN, &[1; 7]);
    assert_eq!(answer.code, 400, "malformed");
    let reserved = allocate_with(&mut bench, 1, attr::EVEN_PORT, &[0x80]);
    let token = reserved.get(attr::RESERVATION_TOKEN).unwrap();
    let answer = allocate_with(&mut bench, 2, attr::RESERVATION_TOKEN, &token);
    assert_eq!(answer.code, 0);
    let answer = allocate_with(&mut bench, 3, attr::RESERVATION_TOKEN, &token);
    assert_eq!(answer.code, 508, "used");
    let reserved = allocate_with(&mut bench, 4, attr::EVEN_PORT, &[0x80]);
    let token = reserved.get(attr::RESERVATION_TOKEN).unwrap();
    bench.pass(31);
    let answer = allocate_with(&mut bench, 5, attr::RESERVATION_TOKEN, &token);
    assert_eq!(answer.code, 508, "too old");
}

/// An address family that the server does not relay from is refused with 440.
#[test]
fn rfc8656_s7_2_a_family_that_is_not_there_is_refused() {
    let mut bench = Bench::configured(|config| config.relay.truncate(1));
    for family in [2, 3, 0] {
        let value = [family, 0, 0, 0];
        let answer = allocate_with(&mut bench, 1, attr::REQUESTED_ADDRESS_FAMILY, &value);
        assert_eq!(answer.code, 440, "{family}");
    }
    let answer = allocate_with(&mut bench, 1, attr::REQUESTED_ADDRESS_FAMILY, &[1]);
    assert_eq!(answer.code, 400, "malformed");
    let answer = allocate_with(&mut bench, 1, attr::REQUESTED_ADDRESS_FAMILY, &[1, 0, 0, 0]);
    assert_eq!(answer.code, 0);
}

/// Where no family is asked for, the relayed address is one of IPv4, by whatever family the client came.
#[test]
fn rfc8656_s7_2_the_relayed_address_is_ipv4_by_default() {
    let mut bench = Bench::new();
    let over_ipv6 = FiveTuple {
        client: addr("[2606:4700::9]:77"),
        ..udp(1)
    };
    for tuple in [udp(1), over_ipv6] {
        let (_, relay) = allocated(&mut bench, "alice", tuple);
        assert!(relay.is_ipv4());
    }
    let answer = allocate_with(&mut bench, 2, attr::REQUESTED_ADDRESS_FAMILY, &[2, 0, 0, 0]);
    assert!(answer.address(attr::XOR_RELAYED_ADDRESS).unwrap().is_ipv6());
}

/// A pair of ports that is not to be had is refused with 508.
#[test]
fn rfc8656_s7_2_a_pair_of_ports_that_is_not_there_is_refused() {
    let mut bench = Bench::with(Limits::default(), 50001..=50002);
    let answer = allocate_with(&mut bench, 1, attr::EVEN_PORT, &[0x80]);
    assert_eq!(answer.code, 508);
    let answer = allocate_with(&mut bench, 1, attr::EVEN_PORT, &[0x00]);
    assert_eq!((answer.code, relay_port(&answer)), (0, 50002));
}

/// One who has as many allocations as he may is refused with 486.
#[test]
fn rfc8656_s7_2_who_has_too_many_is_refused() {
    let limits = Limits {
        allocations_per_owner: 2,
        ..Limits::default()
    };
    let mut bench = Bench::with(limits, 50000..=50099);
    for port in 1..=2 {
        allocated(&mut bench, "alice", udp(port));
    }
    assert_eq!(bench.allocate(&mut Client::new("alice"), udp(3)).code, 486);
    assert_eq!(
        bench.allocate(&mut Client::new("bob"), udp(3)).code,
        0,
        "it goes by the user"
    );
}

/// When all ports are in use, an Allocate is refused with 508.
#[test]
fn rfc8656_s7_2_without_ports_an_allocate_is_refused() {
    let mut bench = Bench::with(Limits::default(), 50000..=50001);
    for port in 1..=2 {
        allocated(&mut bench, "alice", udp(port));
    }
    let answer = bench.allocate(&mut Client::new("bob"), udp(3));
    assert_eq!((answer.code, answer.signed), (508, true));
}

/// A new allocation has neither permissions nor channels, also when one on the same 5-tuple had.
#[test]
fn rfc8656_s7_2_a_new_allocation_is_empty() {
    let mut bench = Bench::new();
    let mut client = Client::new("alice");
    for _ in 0..2 {
        assert_eq!(bench.allocate(&mut client, udp(1)).code, 0);
        assert_eq!(bench.peer_sends(PEER, b"x"), None);
        assert_eq!(bench.relayed(udp(1), &channel_data(0x4000, b"x")), None);
        assert_eq!(bench.bind(&mut client, udp(1), 0x4000, addr(PEER)).code, 0);
        assert_eq!(bench.refresh(&mut client, udp(1), Some(0)).code, 0);
    }
}

/// With a token one gets the port that was reserved, over whatever 5-tuple.
#[test]
fn rfc8656_s7_2_a_token_brings_the_reserved_port() {
    let mut bench = Bench::new();
    let first = allocate_with(&mut bench, 1, attr::EVEN_PORT, &[0x80]);
    let token = first.get(attr::RESERVATION_TOKEN).unwrap();
    let mut client = Client::new("alice");
    let elsewhere = FiveTuple {
        client: addr("203.0.114.9:9"),
        server: addr("198.51.100.7:3479"),
        ..tcp(9)
    };
    let second = bench.ask(&mut client, elsewhere, Method::Allocate, |message| {
        udp_transport(message);
        message.attribute(attr::RESERVATION_TOKEN, &token);
    });
    assert_eq!(relay_port(&second), relay_port(&first) + 1);
}

/// EVEN-PORT brings an even port, and without its bit no token.
#[test]
fn rfc8656_s7_2_an_even_port_is_even() {
    let mut bench = Bench::new();
    for port in 0..40 {
        let answer = allocate_with(&mut bench, port, attr::EVEN_PORT, &[0x00]);
        assert_eq!(relay_port(&answer) % 2, 0);
        assert_eq!(answer.get(attr::RESERVATION_TOKEN), None);
    }
}

/// A reservation is held for at least 30 seconds: nobody else is given its port.
#[test]
fn rfc8656_s7_2_a_reservation_is_held_for_30_seconds() {
    let mut bench = Bench::with(Limits::default(), 50000..=50001);
    let first = allocate_with(&mut bench, 1, attr::EVEN_PORT, &[0x80]);
    let token = first.get(attr::RESERVATION_TOKEN).unwrap();
    bench.pass(29);
    assert_eq!(bench.allocate(&mut Client::new("bob"), udp(2)).code, 508);
    let second = allocate_with(&mut bench, 3, attr::RESERVATION_TOKEN, &token);
    assert_eq!(second.code, 0);
}

/// Ports are those of the range that was set, in no order that could be guessed.
#[test]
fn rfc8656_s7_2_ports_come_from_the_range_in_no_order() {
    let mut bench = Bench::new();
    let ports: Vec<u16> = (0..30)
        .map(|port| allocated(&mut bench, "alice", udp(port)).1.port())
        .collect();
    assert!(ports.iter().all(|port| (50000..=50099).contains(port)));
    assert!(!ports.is_sorted() && !ports.iter().rev().is_sorted());
}

/// The lifetime granted is what was asked for, at least 600 and at most 3600 seconds; 600 where nothing was asked.
#[test]
fn rfc8656_s7_2_lifetimes_are_bounded() {
    let mut bench = Bench::new();
    for (asked, granted) in [
        (0, 600),
        (1, 600),
        (601, 601),
        (3600, 3600),
        (u32::MAX, 3600),
    ] {
        let value = u32::to_be_bytes(asked);
        let answer = allocate_with(&mut bench, 1, attr::LIFETIME, &value);
        assert_eq!(answer.u32(attr::LIFETIME), Some(granted));
        bench.pass(u64::from(granted) - 1);
        assert_eq!(bench.live.len(), 1);
        bench.pass(1);
        assert!(bench.live.is_empty());
        let ended = bench.events.last();
        let expired = Ended::Expired;
        assert!(matches!(ended, Some(Event::Ended { reason, .. }) if *reason == expired));
    }
    let answer = bench.allocate(&mut Client::new("alice"), udp(1));
    assert_eq!(answer.u32(attr::LIFETIME), Some(600));
    let answer = allocate_with(&mut bench, 2, attr::LIFETIME, &[1]);
    assert_eq!(answer.code, 400, "malformed");
}

/// The answer has the relayed address, the lifetime and the client's own address.
#[test]
fn rfc8656_s7_2_the_answer_tells_the_addresses_and_the_lifetime() {
    let mut bench = Bench::new();
    for tuple in [udp(1000), tcp(1001)] {
        let answer = bench.allocate(&mut Client::new("alice"), tuple);
        assert_eq!((answer.code, answer.signed), (0, true));
        let relay = answer.address(attr::XOR_RELAYED_ADDRESS).unwrap();
        assert_eq!(relay.ip(), PUBLIC.parse::<IpAddr>().unwrap());
        assert_eq!(answer.u32(attr::LIFETIME), Some(600));
        assert_eq!(answer.address(attr::XOR_MAPPED_ADDRESS), Some(tuple.client));
    }
}

/// A Refresh for another address family than the allocation's is refused with 443.
#[test]
fn rfc8656_s8_2_a_refresh_for_another_family_is_refused() {
    let mut bench = Bench::new();
    let (mut client, _) = allocated(&mut bench, "alice", udp(1));
    let mut refresh = |family: u8| {
        let fill = |message: &mut Builder<'_>| {
            message.attribute(attr::REQUESTED_ADDRESS_FAMILY, &[family, 0, 0, 0]);
        };
        bench.ask(&mut client, udp(1), Method::Refresh, fill).code
    };
    assert_eq!(refresh(2), 443);
    assert_eq!(refresh(1), 0);
}

/// A Refresh sets the time that is left to what is asked for, at least 600 and at most 3600 seconds; 600 where nothing
/// is asked. A shorter one counts as well.
#[test]
fn rfc8656_s8_2_a_refresh_sets_the_lifetime_anew() {
    let mut bench = Bench::new();
    for (asked, granted) in [
        (None, 600),
        (Some(1), 600),
        (Some(2000), 2000),
        (Some(u32::MAX), 3600),
    ] {
        let mut client = Client::new("alice");
        let answer = bench.ask(&mut client, udp(1), Method::Allocate, |message| {
            udp_transport(message);
            message.u32(attr::LIFETIME, 3600);
        });
        assert_eq!(answer.code, 0);
        let answer = bench.refresh(&mut client, udp(1), asked);
        assert_eq!(answer.u32(attr::LIFETIME), Some(granted));
        bench.pass(u64::from(granted) - 1);
        assert_eq!(bench.live.len(), 1);
        bench.pass(1);
        assert!(bench.live.is_empty(), "{asked:?}");
    }
}

/// A Refresh with a lifetime of zero ends the allocation at once.
#[test]
fn rfc8656_s8_2_a_lifetime_of_zero_ends_the_allocation() {
    let mut bench = Bench::new();
    let (mut client, _) = allocated(&mut bench, "alice", udp(1));
    let answer = bench.refresh(&mut client, udp(1), Some(0));
    assert_eq!((answer.code, answer.u32(attr::LIFETIME)), (0, Some(0)));
    assert!(bench.live.is_empty());
    assert_eq!(bench.refresh(&mut client, udp(1), Some(0)).code, 437);
}
