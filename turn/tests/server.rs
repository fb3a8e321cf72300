//! The core without sockets, under a clock that the test moves.

mod support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use moznods_turn::auth::{Key, Owner};
use moznods_turn::server::{
    BadConfig, Common, Config, Ended, Event, FiveTuple, HEADROOM, Limits, Now, Output, Verdict,
};
use moznods_turn::stats::Dropped;
use moznods_turn::wire::{Builder, Class, Message, Method, attr, channel};
use support::bench::{Bench, LOCAL, PEER, PUBLIC, addr, allocated, config, tcp, udp};
use support::{Client, OTHER_PASSWORD, REALM, Users, bind, channel_data, permit, udp_transport};

#[test]
fn a_send_indication_may_forbid_fragments() {
    let mut bench = Bench::new();
    let mut client = Client::new("alice");
    let answer = bench.ask(&mut client, udp(1), Method::Allocate, |message| {
        udp_transport(message);
        message.attribute(attr::DONT_FRAGMENT, &[]);
    });
    assert_eq!(answer.code, 0, "RFC 8656 §7.2, step 4");
    let peers = [addr(PEER)];
    let permitted = bench.ask(&mut client, udp(1), Method::CreatePermission, |m| {
        permit(&peers)(m)
    });
    assert_eq!(permitted.code, 0);

    let forbids = |bench: &mut Bench, data: &[u8]| match bench.verdict(udp(1), data) {
        Verdict::ToPeer { dont_fragment, .. } => dont_fragment,
        verdict => panic!("not sent: {verdict:?}"),
    };
    let data = client.send_indication(peers[0], b"x");
    assert!(!forbids(&mut bench, &data));
    let mut data = Vec::new();
    let mut message = Builder::new(&mut data, Method::Send, Class::Indication, [1; 12]);
    message.xor_address(attr::XOR_PEER_ADDRESS, peers[0]);
    message.attribute(attr::DONT_FRAGMENT, &[]);
    message.attribute(attr::DATA, b"x");
    assert!(forbids(&mut bench, &data));
}

#[test]
fn allocate_gives_a_relay_address_behind_the_nat() {
    let mut bench = Bench::new();
    let mut client = Client::new("alice");
    let answer = bench.allocate(&mut client, udp(1000));
    assert_eq!((answer.code, answer.signed), (0, true));
    let relay = answer.address(attr::XOR_RELAYED_ADDRESS).unwrap();
    assert_eq!(relay.ip().to_string(), PUBLIC);
    assert!((50000..=50099).contains(&relay.port()));
    assert_eq!(
        answer.address(attr::XOR_MAPPED_ADDRESS),
        Some(udp(1000).client)
    );
    assert_eq!(answer.u32(attr::LIFETIME), Some(600));
    assert!(matches!(
        bench.events[..],
        [Event::Allocated {
            owner: Owner(1),
            ..
        }]
    ));
}

#[test]
fn the_key_that_proves_a_request_decides_whose_it_is() {
    let mut bench = Bench::new();
    let mut client = Client::new("bob");
    client.key = Key::long_term("bob", REALM, OTHER_PASSWORD);
    let answer = bench.allocate(&mut client, udp(1));
    assert_eq!((answer.code, answer.signed), (0, true));
    assert!(matches!(
        bench.events[..],
        [Event::Allocated {
            owner: Owner(22),
            ..
        }]
    ));
    // He may have one allocation, whatever others may have.
    let mut again = Client::new("bob");
    again.key = client.key;
    assert_eq!(bench.allocate(&mut again, udp(2)).code, 486);
    // The same name, and not the same owner.
    let mut other = Client::new("bob");
    assert_eq!(
        bench.ask(&mut other, udp(1), Method::Refresh, |_| {}).code,
        441
    );
    client.key = support::key_of("alice");
    assert_eq!(
        bench.ask(&mut client, udp(1), Method::Refresh, |_| {}).code,
        401
    );
}

#[test]
fn a_credential_that_expires_ends_no_running_allocation() {
    let mut bench = Bench::new();
    let (mut client, _) = allocated(&mut bench, "late", udp(1));
    bench.pass(101);
    assert_eq!(
        bench.ask(&mut client, udp(1), Method::Refresh, |_| {}).code,
        0
    );
    assert_eq!(bench.allocate(&mut Client::new("late"), udp(2)).code, 401);
}

#[test]
fn forbidden_peers_are_refused_by_every_request() {
    let mut bench = Bench::new();
    let (mut client, _) = allocated(&mut bench, "alice", udp(1));
    for peer in [
        "127.0.0.1:80",
        "0.0.0.0:80",
        "10.1.2.3:80",
        "169.254.169.254:80",
        "255.255.255.255:80",
        "127.0.0.1:50000",
        "10.0.0.7:50000",
        "172.17.0.1:50000",
    ] {
        let peer = addr(peer);
        let peers = [addr(PEER), peer];
        let answer = bench.ask(&mut client, udp(1), Method::CreatePermission, |m| {
            permit(&peers)(m)
        });
        assert_eq!((answer.code, answer.signed), (403, true), "{peer}");
        assert_eq!(
            bench
                .ask(&mut client, udp(1), Method::ChannelBind, |m| bind(
                    0x4000, peer
                )(
                    m
                ))
                .code,
            403
        );
        let data = client.send_indication(peer, b"x");
        assert_eq!(bench.verdict(udp(1), &data), Verdict::Done);
    }
    // Neither was the good one in the same request permitted.
    let data = client.send_indication(addr(PEER), b"x");
    assert_eq!(bench.verdict(udp(1), &data), Verdict::Done);

    let mut v6 = Client::new("bob");
    bench.ask(&mut v6, udp(2), Method::Allocate, |message| {
        udp_transport(message);
        message.attribute(attr::REQUESTED_ADDRESS_FAMILY, &[2, 0, 0, 0]);
    });
    for peer in [
        "[::1]:80",
        "[::]:80",
        "[::ffff:127.0.0.1]:80",
        "[::127.0.0.1]:80",
        "[64:ff9b::7f00:1]:80",
    ] {
        let peers = [addr(peer)];
        assert_eq!(
            bench
                .ask(&mut v6, udp(2), Method::CreatePermission, |m| permit(
                    &peers
                )(
                    m
                ))
                .code,
            403,
            "{peer}"
        );
    }
}

#[test]
fn a_new_policy_ends_what_it_refuses_and_nothing_else() {
    let mut bench = Bench::new();
    let (mut client, _) = allocated(&mut bench, "alice", udp(1));
    let other = addr("9.9.9.9:9");
    for (number, peer) in [(0x4000, addr(PEER)), (0x4001, other)] {
        let bound = bench.ask(&mut client, udp(1), Method::ChannelBind, |m| {
            bind(number, peer)(m)
        });
        assert_eq!(bound.code, 0);
    }
    let mut policy = config().policy;
    policy.own.push(addr(PEER).ip());
    bench.common.set_policy(policy);
    bench.server.review(bench.now);

    let data = client.send_indication(addr(PEER), b"x");
    assert_eq!(bench.verdict(udp(1), &data), Verdict::Done);
    assert_eq!(
        bench.verdict(udp(1), &channel_data(0x4000, b"x")),
        Verdict::Done
    );
    assert_eq!(bench.peer_sends(PEER, b"x"), None);
    let again = bench.ask(&mut client, udp(1), Method::ChannelBind, |m| {
        bind(0x4000, addr(PEER))(m)
    });
    assert_eq!(again.code, 403);
    let to_other = bench.verdict(udp(1), &channel_data(0x4001, b"x"));
    assert!(matches!(to_other, Verdict::ToPeer { .. }));
}

#[test]
fn own_relay_addresses_are_reached_inside_and_listeners_never() {
    let mut bench = Bench::new();
    let (mut alice, alices) = allocated(&mut bench, "alice", udp(1));
    let (bob, bobs) = allocated(&mut bench, "bob", udp(2));
    let peers = [bobs];
    assert_eq!(
        bench
            .ask(&mut alice, udp(1), Method::CreatePermission, |m| permit(
                &peers
            )(
                m
            ))
            .code,
        0
    );
    let data = alice.send_indication(bobs, b"x");
    assert_eq!(bench.hand_on(udp(1), &data), None, "bob permits nobody");
    let (mut bob, alices) = (bob, [alices]);
    let permitted = bench.ask(&mut bob, udp(2), Method::CreatePermission, |m| {
        permit(&alices)(m)
    });
    assert_eq!(permitted.code, 0);
    let (to, bytes) = bench.hand_on(udp(1), &data).unwrap();
    assert_eq!(to, udp(2));
    let message = Message::parse(&bytes).unwrap();
    let from = message.xor_address(message.get(attr::XOR_PEER_ADDRESS).unwrap());
    assert_eq!(
        (from, message.get(attr::DATA)),
        (Some(alices[0]), Some(&b"x"[..]))
    );
    bench.ask(&mut bob, udp(2), Method::ChannelBind, |m| {
        bind(0x4001, alices[0])(m)
    });
    let (_, bytes) = bench.hand_on(udp(1), &data).unwrap();
    assert_eq!(bytes, channel_data(0x4001, b"x"));

    let nobodys = SocketAddr::new(bobs.ip(), bobs.port() ^ 1);
    assert_eq!(
        bench
            .ask(&mut alice, udp(1), Method::ChannelBind, |m| bind(
                0x4000, nobodys
            )(m))
            .code,
        403,
        "a port in the range that no allocation has"
    );

    let listener = SocketAddr::new(bobs.ip(), 3478);
    let data = alice.send_indication(listener, b"x");
    assert_eq!(bench.verdict(udp(1), &data), Verdict::Done);
    assert_eq!(bench.dropped(Dropped::ForbiddenPeer), 1);
    assert_eq!(
        bench
            .ask(&mut alice, udp(1), Method::ChannelBind, |m| bind(
                0x4000, listener
            )(m))
            .code,
        403
    );

    // What comes from outside and claims to be from a relay of this server is not.
    bench.live.retain(|id| id.slot() == 0);
    for ip in [LOCAL, PUBLIC] {
        let from = format!("{ip}:{}", bobs.port());
        assert_eq!(bench.peer_sends(&from, b"y"), None, "{from}");
    }
}

#[test]
fn a_relay_of_this_server_that_has_ended_is_no_longer_a_peer() {
    let mut bench = Bench::new();
    let (mut alice, _) = allocated(&mut bench, "alice", udp(1));
    let (mut bob, bobs) = allocated(&mut bench, "bob", udp(2));
    let bound = bench.ask(&mut alice, udp(1), Method::ChannelBind, |m| {
        bind(0x4000, bobs)(m)
    });
    assert_eq!(bound.code, 0);
    let data = channel_data(0x4000, b"x");
    assert!(matches!(
        bench.verdict(udp(1), &data),
        Verdict::ToRelay { .. }
    ));
    bench.ask(&mut bob, udp(2), Method::Refresh, |m| {
        m.u32(attr::LIFETIME, 0);
    });
    // Its port may be another program's by now.
    assert_eq!(bench.verdict(udp(1), &data), Verdict::Done);
    assert_eq!(bench.dropped(Dropped::ForbiddenPeer), 1);
}

#[test]
fn an_owner_who_loses_the_right_loses_all_allocations_and_nobody_else_does() {
    let mut bench = Bench::new();
    allocated(&mut bench, "alice", udp(1));
    allocated(&mut bench, "alice", tcp(2));
    allocated(&mut bench, "bob", udp(3));
    bench.users.revoked.lock().unwrap().insert(Owner(1));
    bench.server.review(bench.now);
    bench.outputs();
    assert_eq!(bench.live.len(), 1);
    assert!(bench.server.has_allocation(udp(3)));
    let revoked = |event: &&Event| {
        matches!(
            event,
            Event::Ended {
                reason: Ended::Revoked,
                owner: Owner(1),
                ..
            }
        )
    };
    assert_eq!(bench.events.iter().filter(revoked).count(), 2);
}

#[test]
fn an_allocation_lives_as_long_as_the_epoch_of_its_credential() {
    let mut bench = Bench::new();
    let (mut alice, _) = allocated(&mut bench, "alice", udp(1));
    bench
        .users
        .epoch
        .store(1, std::sync::atomic::Ordering::Relaxed);
    allocated(&mut bench, "bob", udp(2));
    // A Refresh by a newer credential does not carry the allocation over.
    assert_eq!(
        bench.ask(&mut alice, udp(1), Method::Refresh, |_| {}).code,
        0
    );
    bench.server.review(bench.now);
    bench.outputs();
    assert!(!bench.server.has_allocation(udp(1)));
    assert!(bench.server.has_allocation(udp(2)));
}

#[test]
fn a_server_that_drains_makes_no_allocation_and_keeps_those_it_has() {
    let mut bench = Bench::new();
    let (mut client, _) = allocated(&mut bench, "alice", udp(1));
    bench.common.drain();
    assert_eq!(bench.allocate(&mut Client::new("bob"), udp(2)).code, 508);
    assert_eq!(
        bench.ask(&mut client, udp(1), Method::Refresh, |_| {}).code,
        0
    );
    let bound = bench.ask(&mut client, udp(1), Method::ChannelBind, |m| {
        bind(0x4000, addr(PEER))(m)
    });
    assert_eq!(bound.code, 0);
    assert!(matches!(
        bench.verdict(udp(1), &channel_data(0x4000, b"x")),
        Verdict::ToPeer { .. }
    ));
}

#[test]
fn quotas_are_per_owner_and_given_back() {
    let limits = Limits {
        allocations_per_owner: 2,
        ..Limits::default()
    };
    let mut bench = Bench::with(limits, 50000..=50099);
    let (mut alice, _) = allocated(&mut bench, "alice", udp(1));
    alice.nonce.clear();
    allocated(&mut bench, "alice", udp(2));
    let mut third = Client::new("alice");
    assert_eq!(bench.allocate(&mut third, udp(3)).code, 486);
    allocated(&mut bench, "bob", udp(4));
    let mut alice = Client::new("alice");
    assert_eq!(
        bench
            .ask(&mut alice, udp(1), Method::Refresh, |m| m
                .u32(attr::LIFETIME, 0))
            .code,
        0
    );
    assert_eq!(bench.allocate(&mut third, udp(3)).code, 0);
}

#[test]
fn the_bytes_of_an_owner_are_limited_over_all_his_allocations_and_both_ways() {
    let limits = Limits {
        bytes_per_second_per_owner: 100_000,
        ..Limits::default()
    };
    let mut bench = Bench::with(limits, 50000..=50099);
    for (name, port) in [("alice", 1), ("bob", 2), ("alice", 3)] {
        let (mut client, _) = allocated(&mut bench, name, udp(port));
        let bound = bench.ask(&mut client, udp(port), Method::ChannelBind, |m| {
            bind(0x4000, addr(PEER))(m)
        });
        assert_eq!(bound.code, 0);
    }
    let data = channel_data(0x4000, &[0; 1000]);
    let sent = |bench: &mut Bench, port| {
        let passes = |_: &u32| matches!(bench.verdict(udp(port), &data), Verdict::ToPeer { .. });
        (0..1000).filter(passes).count()
    };
    assert_eq!(sent(&mut bench, 1), 100);
    assert_eq!(sent(&mut bench, 3), 0);
    assert_eq!(bench.peer_sends(PEER, &[0; 1000]), None);
    assert_eq!(sent(&mut bench, 2), 100, "another's quota is his own");
    bench.pass(1);
    assert!(bench.peer_sends(PEER, &[0; 1000]).is_some());
    assert_eq!(sent(&mut bench, 1), 99);

    // Letting go of all and beginning anew gives no new burst.
    bench.users.revoked.lock().unwrap().insert(Owner(1));
    bench.server.review(bench.now);
    bench.users.revoked.lock().unwrap().clear();
    bench.outputs();
    let (mut client, _) = allocated(&mut bench, "alice", udp(1));
    bench.ask(&mut client, udp(1), Method::ChannelBind, |m| {
        bind(0x4000, addr(PEER))(m)
    });
    assert_eq!(sent(&mut bench, 1), 0);
    assert!(bench.dropped(Dropped::OverQuota) > 2000);
}

/// Another program holds the even one of most pairs.
#[test]
fn a_pair_of_ports_is_exchanged_for_another_when_one_of_it_is_taken() {
    let mut bench = Bench::with(Limits::default(), 50000..=50005);
    bench.taken = vec![50000, 50002];
    let mut alice = Client::new("alice");
    let answer = bench.ask(&mut alice, udp(1), Method::Allocate, |message| {
        udp_transport(message);
        message.attribute(attr::EVEN_PORT, &[0x80]);
    });
    assert_eq!(answer.code, 0);
    let relay = answer.address(attr::XOR_RELAYED_ADDRESS).unwrap();
    assert_eq!(relay.port(), 50004);
    let token = answer.get(attr::RESERVATION_TOKEN).unwrap();
    let answer = bench.ask(&mut Client::new("alice"), udp(2), Method::Allocate, |m| {
        udp_transport(m);
        m.attribute(attr::RESERVATION_TOKEN, &token);
    });
    let relay = answer.address(attr::XOR_RELAYED_ADDRESS).unwrap();
    assert_eq!(relay.port(), 50005);
    // The rest is free: the pairs that were tried, and what was above them.
    bench.taken.clear();
    for client in 3..7 {
        assert_eq!(
            bench.allocate(&mut Client::new("alice"), udp(client)).code,
            0
        );
    }
    assert_eq!(bench.allocate(&mut Client::new("alice"), udp(7)).code, 508);
}

#[test]
fn ports_are_used_up_given_back_and_passed_over_when_taken() {
    let mut bench = Bench::with(Limits::default(), 50000..=50003);
    bench.taken = vec![50000, 50001];
    let mut used = Vec::new();
    for port in 1..=2 {
        let (_, relay) = allocated(&mut bench, "alice", udp(port));
        used.push(relay.port());
    }
    used.sort();
    assert_eq!(used, [50002, 50003]);
    let mut client = Client::new("bob");
    let answer = bench.allocate(&mut client, udp(3));
    assert_eq!((answer.code, answer.signed), (508, true));
    assert!(!bench.server.has_allocation(udp(3)));
    bench.taken.clear();
    assert_eq!(
        bench.allocate(&mut client, udp(3)).code,
        0,
        "what was taken comes back"
    );
    assert_eq!(bench.allocate(&mut Client::new("bob"), udp(4)).code, 0);
    assert_eq!(bench.allocate(&mut Client::new("bob"), udp(5)).code, 508);
    bench.pass(601);
    for port in 10..14 {
        allocated(&mut bench, "alice", udp(port));
    }
}

#[test]
fn even_ports_and_their_reservation() {
    let mut bench = Bench::with(Limits::default(), 50000..=50003);
    let mut client = Client::new("alice");
    let even = |message: &mut Builder<'_>| {
        udp_transport(message);
        message.attribute(attr::EVEN_PORT, &[0x80]);
    };
    let answer = bench.ask(&mut client, udp(1), Method::Allocate, even);
    let relay = answer.address(attr::XOR_RELAYED_ADDRESS).unwrap();
    assert_eq!(relay.port() % 2, 0);
    let token = answer.get(attr::RESERVATION_TOKEN).unwrap();
    let claim = |message: &mut Builder<'_>| {
        udp_transport(message);
        message.attribute(attr::RESERVATION_TOKEN, &token);
    };
    let mut bob = Client::new("bob");
    assert_eq!(
        bench.ask(&mut bob, udp(2), Method::Allocate, claim).code,
        508,
        "another user's token"
    );
    let mut second = Client::new("alice");
    let answer = bench.ask(&mut second, udp(3), Method::Allocate, claim);
    assert_eq!(
        answer.address(attr::XOR_RELAYED_ADDRESS).unwrap().port(),
        relay.port() + 1
    );
    let mut third = Client::new("alice");
    assert_eq!(
        bench.ask(&mut third, udp(4), Method::Allocate, claim).code,
        508,
        "a token is good once"
    );

    // One that nobody claims is free again after its time.
    let answer = bench.ask(&mut third, udp(4), Method::Allocate, even);
    assert_eq!(answer.code, 0);
    assert_eq!(bench.allocate(&mut bob, udp(2)).code, 508);
    bench.pass(31);
    assert_eq!(bench.allocate(&mut bob, udp(2)).code, 0);
}

#[test]
fn a_promised_port_is_given_or_refused_and_never_exchanged() {
    let mut bench = Bench::with(Limits::default(), 50000..=50003);
    let mut client = Client::new("alice");
    let even = |message: &mut Builder<'_>| {
        udp_transport(message);
        message.attribute(attr::EVEN_PORT, &[0x80]);
    };
    let answer = bench.ask(&mut client, udp(1), Method::Allocate, even);
    let relay = answer.address(attr::XOR_RELAYED_ADDRESS).unwrap();
    let token = answer.get(attr::RESERVATION_TOKEN).unwrap();
    bench.taken = vec![relay.port() + 1, (relay.port() ^ 2)];
    let mut second = Client::new("alice");
    let answer = bench.ask(&mut second, udp(2), Method::Allocate, |message| {
        udp_transport(message);
        message.attribute(attr::RESERVATION_TOKEN, &token);
    });
    assert_eq!(answer.code, 508);
    // Nor is a pair half given; what was reserved for it is free at once.
    assert_eq!(
        bench.ask(&mut second, udp(2), Method::Allocate, even).code,
        508
    );
    bench.taken.clear();
    for port in 2..5 {
        allocated(&mut bench, "bob", udp(port));
    }
}

#[test]
fn an_allocation_that_waits_for_its_socket_can_be_ended() {
    let mut bench = Bench::with(Limits::default(), 50000..=50001);
    let mut client = Client::new("alice");
    let challenge = client.bare(Method::Allocate, udp_transport);
    let challenge = bench.send(tcp(1), &challenge).unwrap();
    client.read(&challenge);
    let bytes = client.request(Method::Allocate, udp_transport);
    assert_eq!(bench.verdict(tcp(1), &bytes), Verdict::Done);
    let Some(Output::Bind { allocation, .. }) = bench.server.poll_output() else {
        panic!("no socket asked for")
    };
    let in_use = std::io::ErrorKind::AddrInUse;
    assert_eq!(
        bench
            .server
            .bound(bench.now, allocation, Err(in_use.into())),
        None
    );
    bench.server.disconnected(bench.now, tcp(1));
    while bench.server.poll_output().is_some() {}
    assert_eq!(bench.server.bound(bench.now, allocation, Ok(())), None);
    assert_eq!(bench.server.poll_timeout(), None);
    for port in 1..=2 {
        allocated(&mut bench, "bob", udp(port));
    }
}

#[test]
fn what_has_ended_leaves_nothing_behind() {
    let mut bench = Bench::new();
    let (mut bob, _) = allocated(&mut bench, "bob", udp(1));
    let mut client = Client::new("alice");
    for _ in 0..100 {
        assert_eq!(bench.allocate(&mut client, udp(2)).code, 0);
        let old = *bench.live.last().unwrap();
        bench.ask(&mut client, udp(2), Method::Refresh, |m| {
            m.u32(attr::LIFETIME, 0);
        });
        // Its slot is used again; its name is not.
        let mut head = [0; HEADROOM];
        allocated(&mut bench, "alice", udp(3));
        assert_eq!(bench.live.last().unwrap().slot(), old.slot());
        let stale = bench
            .server
            .handle_peer(bench.now, old, addr(PEER), b"x", &mut head);
        assert_eq!(stale, None);
        let mut third = Client::new("alice");
        bench.ask(&mut third, udp(3), Method::Refresh, |m| {
            m.u32(attr::LIFETIME, 0);
        });
    }
    // Of all those timers, bob's alone is left, and it is a later one.
    bench.pass(10);
    let (mut last, _) = allocated(&mut bench, "alice", udp(4));
    for (client, port, lifetime) in [(&mut last, 4, 0), (&mut bob, 1, 3600)] {
        bench.ask(client, udp(port), Method::Refresh, |m| {
            m.u32(attr::LIFETIME, lifetime);
        });
    }
    let hour = Duration::from_secs(3600);
    assert_eq!(bench.server.poll_timeout(), Some(bench.now.instant + hour));
    bench.server.handle_timeout(Now {
        instant: bench.now.instant + hour,
        ..bench.now
    });
    assert_eq!(bench.server.poll_timeout(), None);
}

#[test]
fn legacy_channels_are_a_setting() {
    for legacy in [false, true] {
        let mut bench = Bench::configured(|config| config.legacy_channels = legacy);
        let (mut client, _) = allocated(&mut bench, "alice", udp(1));
        let code = bench
            .ask(&mut client, udp(1), Method::ChannelBind, |m| {
                bind(0x7FFF, addr(PEER))(m)
            })
            .code;
        assert_eq!(code, if legacy { 0 } else { 400 });
        let sent = matches!(
            bench.verdict(udp(1), &channel_data(0x7FFF, b"x")),
            Verdict::ToPeer { .. }
        );
        assert_eq!(sent, legacy);
    }
}

#[test]
fn permissions_and_channels_are_bounded() {
    let limits = Limits {
        permissions: 2,
        channels: 2,
        ..Limits::default()
    };
    let mut bench = Bench::with(limits, 50000..=50099);
    let (mut client, _) = allocated(&mut bench, "alice", udp(1));
    let peers: Vec<_> = (1..=3)
        .map(|last| addr(&format!("8.8.8.{last}:9")))
        .collect();
    assert_eq!(
        bench
            .ask(&mut client, udp(1), Method::CreatePermission, |m| permit(
                &peers
            )(
                m
            ))
            .code,
        508
    );
    assert_eq!(
        bench
            .ask(&mut client, udp(1), Method::CreatePermission, |m| permit(
                &peers[..2]
            )(
                m
            ))
            .code,
        0
    );
    assert_eq!(
        bench
            .ask(&mut client, udp(1), Method::CreatePermission, |m| permit(
                &peers[..2]
            )(
                m
            ))
            .code,
        0
    );
    assert_eq!(
        bench
            .ask(&mut client, udp(1), Method::CreatePermission, |m| permit(
                &peers[2..]
            )(
                m
            ))
            .code,
        508
    );
    let mut channel = |number, peer| {
        bench
            .ask(&mut client, udp(1), Method::ChannelBind, |m| {
                bind(number, peer)(m)
            })
            .code
    };
    assert_eq!(channel(0x4000, addr("8.8.8.1:1")), 0);
    assert_eq!(channel(0x4001, addr("8.8.8.1:2")), 0);
    assert_eq!(channel(0x4002, addr("8.8.8.1:3")), 508);
    bench.pass(301);
    client.nonce.clear();
    assert_eq!(
        bench
            .ask(&mut client, udp(1), Method::CreatePermission, |m| permit(
                &peers[2..]
            )(
                m
            ))
            .code,
        0
    );
    assert_eq!(
        bench
            .ask(&mut client, udp(1), Method::CreatePermission, |_| {})
            .code,
        400
    );
}

#[test]
fn an_unproven_address_gets_at_most_three_times_what_it_sent() {
    let mut bench = Bench::new();
    let mut client = Client::new("alice");
    let mut answered = 0;
    for (port, padding) in (0..200).enumerate() {
        for method in [
            Method::Binding,
            Method::Allocate,
            Method::Refresh,
            Method::ChannelBind,
        ] {
            let bytes = client.bare(method, |message| {
                if padding > 0 {
                    message.attribute(0x8FFF, &vec![0; padding - 1]);
                }
                if padding % 2 == 0 {
                    message.attribute(0x0FFF, &[]);
                }
                if padding % 3 == 0 {
                    message.fingerprint();
                }
            });
            let mut tuple = udp(port as u16);
            tuple.client.set_ip([203, 0, port as u8, 1].into());
            if let Some(answer) = bench.send(tuple, &bytes) {
                answered += 1;
                assert!(
                    answer.len() <= 3 * bytes.len(),
                    "{method:?} {}: {}",
                    bytes.len(),
                    answer.len()
                );
            }
        }
    }
    assert!(answered > 600, "{answered} of 800");
}

#[test]
fn an_allocate_of_usual_size_is_challenged_under_the_longest_realm() {
    let mut bench = Bench::configured(|config| config.realm = "r".repeat(Config::REALM_MAX));
    let bytes = Client::new("alice").bare(Method::Allocate, udp_transport);
    assert_eq!(bytes.len(), 28);
    assert!(bench.send(udp(1), &bytes).is_some());
}

#[test]
fn settings_that_nothing_could_be_relayed_with_are_refused() {
    let refused = |change: &dyn Fn(&mut Config)| {
        let mut config = config();
        change(&mut config);
        Common::new(config, Arc::new(Users::default()), &[9; 32]).unwrap_err()
    };
    assert_eq!(
        refused(&|config| config.realm = "r".repeat(Config::REALM_MAX + 1)),
        BadConfig::Realm
    );
    assert_eq!(refused(&|config| config.relay.clear()), BadConfig::NoRelay);
    assert_eq!(
        refused(&|config| config.relay[0].local = [0, 0, 0, 0].into()),
        BadConfig::Unspecified(PUBLIC.parse().unwrap())
    );
}

#[test]
fn one_source_cannot_ask_for_ever_and_leaves_others_alone() {
    let limits = Limits {
        unauthenticated_per_second: 10,
        ..Limits::default()
    };
    let mut bench = Bench::with(limits, 50000..=50099);
    let mut client = Client::new("alice");
    let bytes = client.bare(Method::Binding, |_| {});
    let answered = |bench: &mut Bench| {
        (0..100)
            .filter(|port| bench.send(udp(*port), &bytes).is_some())
            .count()
    };
    assert_eq!(answered(&mut bench), 20);
    let mut other = udp(1);
    other.client.set_ip([192, 88, 1, 1].into());
    assert!(bench.send(other, &bytes).is_some());
    // Neither does a forged flood shut out who comes by a stream from the same network.
    assert!(bench.send(tcp(1), &bytes).is_some());
    bench.pass(1);
    assert_eq!(answered(&mut bench), 10);
    assert!(bench.dropped(Dropped::RateLimited) >= 170);
}

#[test]
fn refusals_are_told_once_a_second_for_each_reason_and_network() {
    let mut bench = Bench::new();
    let told = |bench: &mut Bench| -> Vec<(Option<Box<str>>, &'static str)> {
        bench.outputs();
        let events = std::mem::take(&mut bench.events).into_iter();
        let refused = events.filter_map(|event| match event {
            Event::Refused { username, why, .. } => Some((username, why)),
            _ => None,
        });
        refused.collect()
    };
    // What every client begins with is no refusal.
    let (mut alice, _) = allocated(&mut bench, "alice", udp(1));
    let stale = std::mem::take(&mut alice.nonce);
    bench.now.unix += 601;
    alice.nonce = stale;
    let answer = bench.ask(&mut alice, udp(1), Method::Refresh, |_| {});
    assert_eq!(answer.code, 438);
    assert_eq!(told(&mut bench), []);

    let mut mallory = Client::new("alice");
    mallory.key = Key::long_term("alice", REALM, "guess");
    for port in 2..50 {
        mallory.nonce.clear();
        assert_eq!(bench.allocate(&mut mallory, udp(port)).code, 401);
        assert_eq!(bench.verdict(udp(port), b"rubbish"), Verdict::Done);
    }
    let names = Some("alice".into());
    let expected = [(names.clone(), "wrong password"), (None, "malformed")];
    assert_eq!(told(&mut bench), expected);
    bench.pass(1);
    assert_eq!(bench.verdict(udp(2), b"rubbish"), Verdict::Done);
    assert_eq!(told(&mut bench), [(None, "malformed")]);
    // Another network is told of for itself, and all of them together within a bound.
    for network in 0..1000 {
        let from = FiveTuple {
            client: (
                std::net::Ipv4Addr::from_bits(0x0B00_0000 + (network << 8)),
                5,
            )
                .into(),
            ..udp(1)
        };
        assert_eq!(bench.verdict(from, b"rubbish"), Verdict::Done);
    }
    assert_eq!(told(&mut bench).len(), 63);
    bench.pass(1);
    let answer = bench.ask(&mut alice, udp(1), Method::ChannelBind, |_| {});
    assert_eq!(answer.code, 400);
    assert_eq!(told(&mut bench), [(names, "Bad Request")]);
}

#[test]
fn rubbish_of_every_length_is_survived() {
    let limits = Limits {
        unauthenticated_per_second: 0,
        ..Limits::default()
    };
    let mut bench = Bench::with(limits, 50000..=50099);
    let (mut client, _) = allocated(&mut bench, "alice", udp(1));
    let mut seed = 1_u32;
    let mut random = || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 24) as u8
    };
    let valid = client.request(Method::ChannelBind, bind(0x4000, addr(PEER)));
    for round in 0..30_000 {
        let mut bytes = valid.clone();
        match round % 3 {
            0 => bytes = (0..round % 700).map(|_| random()).collect(),
            1 => {
                for _ in 0..1 + random() % 4 {
                    let at = usize::from(random()) % bytes.len();
                    bytes[at] = random();
                }
                bytes.truncate(bytes.len() - usize::from(random()) % 8);
            }
            _ => {
                // A right header, rubbish behind it.
                bytes.truncate(20);
                bytes.extend((0..usize::from(random()) * 4).map(|_| random()));
                let length = (bytes.len() - 20) as u16;
                bytes[2..4].copy_from_slice(&length.to_be_bytes());
                bytes[1] = [1, 3, 4, 8, 9, 0x16][usize::from(random()) % 6];
            }
        }
        let _ = bench.verdict(udp(1), &bytes);
        bench.outputs();
    }
    let _ = bench.verdict(udp(1), &[0x40; 65_535]);
    let _ = bench.verdict(udp(1), &[]);
    assert!(bench.server.has_allocation(udp(1)));
    assert_eq!(channel::parse(&[0x40, 0, 0, 5, 1, 2, 3, 4]), None);
}
