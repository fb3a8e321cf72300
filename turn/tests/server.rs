//! The core without sockets, under a clock that the test moves.

mod support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use moznods_turn::auth::{Key, Owner};
use moznods_turn::server::{
    BadConfig, Common, Config, Ended, Event, FiveTuple, HEADROOM, Limits, Now, Output, TAILROOM,
    Verdict,
};
use moznods_turn::stats::Dropped;
use moznods_turn::wire::{Builder, Class, Message, Method, attr, channel};
use support::bench::{Bench, LOCAL, PEER, PUBLIC, addr, allocated, config, tcp, udp};
use support::{Client, OTHER_PASSWORD, REALM, Users, bind, channel_data, permit, udp_transport};

#[test]
fn binding_tells_the_address_and_needs_no_credentials() {
    let mut bench = Bench::new();
    let mut client = Client::new("alice");
    for tuple in [
        udp(1000),
        FiveTuple {
            client: addr("[2606:4700::9]:77"),
            ..udp(1)
        },
    ] {
        let bytes = client.bare(Method::Binding, |_| {});
        let answer = bench.send(tuple, &bytes).unwrap();
        assert!(answer.len() <= 3 * bytes.len());
        let answer = client.read(&answer);
        assert_eq!(answer.code, 0);
        assert_eq!(answer.address(attr::XOR_MAPPED_ADDRESS), Some(tuple.client));
    }
}

#[test]
fn fingerprint_is_checked_and_returned() {
    let mut bench = Bench::new();
    let mut client = Client::new("alice");
    let mut bytes = client.bare(Method::Binding, |message| message.fingerprint());
    let answer = bench.send(udp(1), &bytes).unwrap();
    let message = Message::parse(&answer).unwrap();
    assert!(message.find(attr::FINGERPRINT).is_some());
    assert!(moznods_turn::wire::integrity::fingerprint_fits(&message));
    *bytes.last_mut().unwrap() ^= 1;
    assert_eq!(bench.send(udp(1), &bytes), None);
}

#[test]
fn unknown_required_attributes_are_named_in_a_420() {
    let mut bench = Bench::new();
    let mut client = Client::new("alice");
    let bytes = client.bare(Method::Binding, |message| {
        message.attribute(0x7FFE, &[]);
        message.attribute(0x7FFD, &[]);
        message.attribute(0x8FFF, &[]);
    });
    let answer = client.read(&bench.send(udp(1), &bytes).unwrap());
    assert_eq!(answer.code, 420);
    assert_eq!(
        answer.get(attr::UNKNOWN_ATTRIBUTES).unwrap(),
        [0x7F, 0xFE, 0x7F, 0xFD]
    );

    let answer = bench.ask(&mut client, udp(1), Method::Allocate, |message| {
        udp_transport(message);
        message.attribute(0x001A, &[]); // DONT-FRAGMENT
    });
    assert_eq!((answer.code, answer.signed), (420, true));
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
fn a_retransmitted_allocate_is_answered_the_same_and_another_is_a_mismatch() {
    let mut bench = Bench::new();
    let mut client = Client::new("alice");
    bench.allocate(&mut client, udp(1000));
    let id = [5; 12];
    let mut client2 = Client::new("bob");
    let challenge = client2.bare(Method::Allocate, udp_transport);
    let challenge = bench.send(udp(2000), &challenge).unwrap();
    client2.read(&challenge);
    let bytes = client2.request_as(id, Method::Allocate, udp_transport);
    let first = bench.send(udp(2000), &bytes).unwrap();
    bench.pass(1);
    assert_eq!(bench.send(udp(2000), &bytes).unwrap(), first);
    assert_eq!(
        bench
            .server
            .stats()
            .allocations
            .load(std::sync::atomic::Ordering::Relaxed),
        2
    );
    assert_eq!(bench.allocate(&mut client2, udp(2000)).code, 437);
}

#[test]
fn who_may_not_relay_is_refused() {
    for username in ["nobody", "late", "blocked"] {
        let mut bench = Bench::new();
        bench.pass(101);
        let mut client = Client::new(username);
        let answer = bench.allocate(&mut client, udp(1));
        assert_eq!((answer.code, answer.signed), (401, false), "{username}");
        assert!(answer.get(attr::NONCE).is_some());
        assert!(bench.live.is_empty());
    }
    let mut bench = Bench::new();
    let mut client = Client::new("alice");
    client.key = support::key_of("bob");
    assert_eq!(
        bench.allocate(&mut client, udp(1)).code,
        401,
        "wrong password"
    );
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
fn a_request_that_was_changed_on_its_way_is_refused() {
    let mut bench = Bench::new();
    let (mut client, _) = allocated(&mut bench, "alice", udp(1));
    let bytes = client.request(Method::Refresh, |message| message.u32(attr::LIFETIME, 1200));
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 0x01;
        let Some(answer) = bench.send(udp(1), &changed) else {
            continue;
        };
        let mut reader = Client::new("alice");
        let answer = reader.read(&answer);
        let bound = answer.method == Method::Binding; // which needs no credentials
        assert!(answer.code != 0 || bound, "byte {at}");
    }
    assert_eq!(bench.live.len(), 1);
}

#[test]
fn missing_credentials_and_stale_nonces() {
    let mut bench = Bench::new();
    let (mut client, _) = allocated(&mut bench, "alice", udp(1));
    let mut out = Vec::new();
    let mut message = Builder::new(&mut out, Method::Refresh, Class::Request, [1; 12]);
    message.text(attr::USERNAME, "alice");
    message.integrity(&client.key);
    assert_eq!(client.read(&bench.send(udp(1), &out).unwrap()).code, 400);

    let nonce = client.nonce.clone();
    assert_eq!(
        bench.ask(&mut client, udp(1), Method::Refresh, |_| {}).code,
        0
    );
    assert_eq!(client.nonce, nonce);
    let bytes = client.request(Method::Allocate, udp_transport);
    assert_eq!(
        client.read(&bench.send(udp(2), &bytes).unwrap()).code,
        438,
        "another client's nonce"
    );
    client.nonce = nonce;
    bench.pass(599);
    assert_eq!(
        bench.ask(&mut client, udp(1), Method::Refresh, |_| {}).code,
        0
    );
    bench.pass(2);
    let answer = bench.ask(&mut client, udp(1), Method::Refresh, |_| {});
    assert_eq!((answer.code, answer.signed), (438, false));
    assert_eq!(
        bench.ask(&mut client, udp(1), Method::Refresh, |_| {}).code,
        0,
        "with the new nonce"
    );
}

#[test]
fn allocate_refuses_what_it_cannot_give() {
    let mut bench = Bench::new();
    let mut client = Client::new("alice");
    let mut code = |fill: &dyn Fn(&mut Builder<'_>)| {
        bench.ask(&mut client, udp(1), Method::Allocate, fill).code
    };
    assert_eq!(code(&|_| {}), 400);
    assert_eq!(
        code(&|m| m.attribute(attr::REQUESTED_TRANSPORT, &[17])),
        400
    );
    assert_eq!(
        code(&|m| m.attribute(attr::REQUESTED_TRANSPORT, &[6, 0, 0, 0])),
        442
    );
    let with = |kind: u16, value: &'static [u8]| {
        move |m: &mut Builder<'_>| {
            udp_transport(m);
            m.attribute(kind, value);
        }
    };
    assert_eq!(
        code(&with(attr::REQUESTED_ADDRESS_FAMILY, &[3, 0, 0, 0])),
        440
    );
    assert_eq!(code(&with(attr::REQUESTED_ADDRESS_FAMILY, &[1])), 400);
    assert_eq!(code(&with(attr::LIFETIME, &[1])), 400);
    assert_eq!(code(&with(attr::RESERVATION_TOKEN, &[1; 8])), 508);
    assert_eq!(code(&with(attr::RESERVATION_TOKEN, &[1; 7])), 400);
    assert_eq!(
        code(&|m| {
            with(attr::RESERVATION_TOKEN, &[1; 8])(m);
            m.attribute(attr::EVEN_PORT, &[0]);
        }),
        400
    );
    assert!(bench.live.is_empty());
}

#[test]
fn families_are_as_asked() {
    let mut bench = Bench::new();
    let mut client = Client::new("alice");
    let answer = bench.ask(&mut client, udp(1), Method::Allocate, |message| {
        udp_transport(message);
        message.attribute(attr::REQUESTED_ADDRESS_FAMILY, &[2, 0, 0, 0]);
    });
    assert!(answer.address(attr::XOR_RELAYED_ADDRESS).unwrap().is_ipv6());
    let v4 = [addr(PEER)];
    assert_eq!(
        bench
            .ask(&mut client, udp(1), Method::CreatePermission, |m| permit(
                &v4
            )(
                m
            ))
            .code,
        443
    );
    assert_eq!(
        bench
            .ask(&mut client, udp(1), Method::ChannelBind, |m| bind(
                0x4000, v4[0]
            )(
                m
            ))
            .code,
        443
    );
    let answer = bench.ask(&mut client, udp(1), Method::Refresh, |m| {
        m.attribute(attr::REQUESTED_ADDRESS_FAMILY, &[1, 0, 0, 0]);
    });
    assert_eq!(answer.code, 443);
    let v6 = [addr("[2606:4700::1]:9")];
    assert_eq!(
        bench
            .ask(&mut client, udp(1), Method::CreatePermission, |m| permit(
                &v6
            )(
                m
            ))
            .code,
        0
    );
}

#[test]
fn lifetimes_are_bounded_and_end() {
    let mut bench = Bench::new();
    let mut client = Client::new("alice");
    for (asked, granted) in [
        (0, 600),
        (1, 600),
        (700, 700),
        (3600, 3600),
        (u32::MAX, 3600),
    ] {
        let answer = bench.ask(&mut client, udp(1), Method::Allocate, |m| {
            udp_transport(m);
            m.u32(attr::LIFETIME, asked);
        });
        assert_eq!(answer.u32(attr::LIFETIME), Some(granted));
        let answer = bench.ask(&mut client, udp(1), Method::Refresh, |m| {
            m.u32(attr::LIFETIME, 0)
        });
        assert_eq!((answer.code, answer.u32(attr::LIFETIME)), (0, Some(0)));
        assert!(bench.live.is_empty());
    }
    bench.allocate(&mut client, udp(1));
    bench.pass(599);
    assert_eq!(bench.live.len(), 1);
    bench.pass(2);
    assert!(bench.live.is_empty());
    assert!(matches!(
        bench.events.last(),
        Some(Event::Ended {
            reason: Ended::Expired,
            ..
        })
    ));
    client.nonce.clear();
    assert_eq!(
        bench.ask(&mut client, udp(1), Method::Refresh, |_| {}).code,
        437
    );

    // Longer, then shorter: the shorter one counts.
    client.nonce.clear();
    bench.allocate(&mut client, udp(1));
    bench.ask(&mut client, udp(1), Method::Refresh, |m| {
        m.u32(attr::LIFETIME, 3600)
    });
    bench.ask(&mut client, udp(1), Method::Refresh, |_| {});
    bench.pass(601);
    assert!(bench.live.is_empty());
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
fn data_flows_only_with_permission_and_for_its_time() {
    let mut bench = Bench::new();
    let (mut client, _) = allocated(&mut bench, "alice", udp(1));
    let peer = [addr(PEER)];
    let data = client.send_indication(peer[0], b"hello");
    assert_eq!(bench.verdict(udp(1), &data), Verdict::Done);
    assert_eq!(bench.peer_sends(PEER, b"hello"), None);
    assert_eq!(bench.dropped(Dropped::NoPermission), 2);

    assert_eq!(
        bench
            .ask(&mut client, udp(1), Method::CreatePermission, |m| permit(
                &peer
            )(
                m
            ))
            .code,
        0
    );
    let Verdict::ToPeer {
        peer: to, payload, ..
    } = bench.verdict(udp(1), &data)
    else {
        panic!("not sent")
    };
    assert_eq!((to, &data[payload]), (peer[0], &b"hello"[..]));

    // Another port of the same address is permitted as well (RFC 8656 §9).
    let (tuple, bytes) = bench.peer_sends("8.8.8.8:5", b"world").unwrap();
    assert_eq!(tuple, udp(1));
    let message = Message::parse(&bytes).unwrap();
    assert_eq!(
        (message.method(), message.class()),
        (Method::Data, Class::Indication)
    );
    assert_eq!(
        message.xor_address(message.get(attr::XOR_PEER_ADDRESS).unwrap()),
        Some(addr("8.8.8.8:5"))
    );
    assert_eq!(message.get(attr::DATA).unwrap(), b"world");
    assert_eq!(&bytes[bytes.len() - 3..], [0, 0, 0], "padding is zero");
    assert_eq!(bench.peer_sends("8.8.4.4:5", b"world"), None);

    bench.pass(301);
    assert_eq!(bench.verdict(udp(1), &data), Verdict::Done);
    assert_eq!(bench.peer_sends(PEER, b"late"), None);
}

#[test]
fn channels_carry_both_ways_and_need_their_permission() {
    let mut bench = Bench::new();
    let (mut client, _) = allocated(&mut bench, "alice", udp(1));
    let data = channel_data(0x4001, b"ping");
    assert_eq!(bench.verdict(udp(1), &data), Verdict::Done);
    assert_eq!(
        bench
            .ask(&mut client, udp(1), Method::ChannelBind, |m| bind(
                0x4001,
                addr(PEER)
            )(
                m
            ))
            .code,
        0
    );
    let Verdict::ToPeer { peer, payload, .. } = bench.verdict(udp(1), &data) else {
        panic!("not sent")
    };
    assert_eq!((peer, &data[payload]), (addr(PEER), &b"ping"[..]));
    let (_, bytes) = bench.peer_sends(PEER, b"pong!").unwrap();
    assert_eq!(bytes, channel_data(0x4001, b"pong!"), "no padding on UDP");

    // The permission ends before the channel.
    bench.pass(301);
    assert_eq!(bench.verdict(udp(1), &data), Verdict::Done);
    assert_eq!(bench.peer_sends(PEER, b"pong"), None);
    let peers = [addr(PEER)];
    assert_eq!(
        bench
            .ask(&mut client, udp(1), Method::CreatePermission, |m| permit(
                &peers
            )(
                m
            ))
            .code,
        0
    );
    assert!(matches!(
        bench.verdict(udp(1), &data),
        Verdict::ToPeer { .. }
    ));
    assert_eq!(
        bench.peer_sends(PEER, b"pong").unwrap().1,
        channel_data(0x4001, b"pong")
    );

    // The channel ends; the permission still lets the data through as an indication.
    bench.ask(&mut client, udp(1), Method::Refresh, |m| {
        m.u32(attr::LIFETIME, 3600)
    });
    bench.pass(299);
    assert_eq!(
        bench
            .ask(&mut client, udp(1), Method::CreatePermission, |m| permit(
                &peers
            )(
                m
            ))
            .code,
        0
    );
    bench.pass(2);
    assert_eq!(bench.verdict(udp(1), &data), Verdict::Done);
    let (_, bytes) = bench.peer_sends(PEER, b"pong").unwrap();
    assert_eq!(Message::parse(&bytes).unwrap().method(), Method::Data);
}

#[test]
fn channel_data_is_padded_on_streams() {
    let mut bench = Bench::new();
    let (mut client, _) = allocated(&mut bench, "alice", tcp(1));
    assert_eq!(
        bench
            .ask(&mut client, tcp(1), Method::ChannelBind, |m| bind(
                0x4001,
                addr(PEER)
            )(
                m
            ))
            .code,
        0
    );
    let (_, bytes) = bench.peer_sends(PEER, b"pong!").unwrap();
    assert_eq!(
        bytes,
        [&channel_data(0x4001, b"pong!")[..], &[0, 0, 0]].concat()
    );
    bench.server.disconnected(bench.now, tcp(1));
    bench.outputs();
    assert!(bench.live.is_empty());
}

#[test]
fn channels_are_bound_once() {
    let mut bench = Bench::new();
    let (mut client, _) = allocated(&mut bench, "alice", udp(1));
    let other = addr("8.8.4.4:1");
    let mut code = |number, peer| {
        bench
            .ask(&mut client, udp(1), Method::ChannelBind, |m| {
                bind(number, peer)(m)
            })
            .code
    };
    assert_eq!(code(0x3FFF, other), 400);
    assert_eq!(code(0x5000, other), 400);
    assert_eq!(code(0x4000, addr(PEER)), 0);
    assert_eq!(code(0x4000, addr(PEER)), 0, "bound again");
    assert_eq!(
        code(0x4000, other),
        400,
        "the number is bound to another peer"
    );
    assert_eq!(
        code(0x4FFF, addr(PEER)),
        400,
        "the peer is bound to another number"
    );
    assert_eq!(code(0x4FFF, other), 0);
    for fill in [
        &(|m: &mut Builder<'_>| m.xor_address(attr::XOR_PEER_ADDRESS, addr(PEER)))
            as &dyn Fn(&mut Builder<'_>),
        &|m: &mut Builder<'_>| m.attribute(attr::CHANNEL_NUMBER, &[0x40, 0, 0, 0]),
    ] {
        assert_eq!(
            bench
                .ask(&mut client, udp(1), Method::ChannelBind, fill)
                .code,
            400
        );
    }
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
fn own_relay_addresses_are_reached_by_the_local_way_and_listeners_never() {
    let mut bench = Bench::new();
    let (mut alice, _) = allocated(&mut bench, "alice", udp(1));
    let (_, bobs) = allocated(&mut bench, "bob", udp(2));
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
    let Verdict::ToPeer { peer, .. } = bench.verdict(udp(1), &data) else {
        panic!("not sent")
    };
    assert_eq!(peer, SocketAddr::new(LOCAL.parse().unwrap(), bobs.port()));

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

    // What comes from a relay is seen by its local address and told by its public one.
    bench.live.retain(|id| id.slot() == 0);
    let from = format!("{LOCAL}:{}", bobs.port());
    let (_, bytes) = bench.peer_sends(&from, b"y").unwrap();
    let message = Message::parse(&bytes).unwrap();
    assert_eq!(
        message.xor_address(message.get(attr::XOR_PEER_ADDRESS).unwrap()),
        Some(bobs)
    );
    assert_eq!(bench.peer_sends(&format!("{LOCAL}:3478"), b"y"), None);
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
        Verdict::ToPeer { .. }
    ));
    bench.ask(&mut bob, udp(2), Method::Refresh, |m| {
        m.u32(attr::LIFETIME, 0);
    });
    // Its port may be another program's by now.
    assert_eq!(bench.verdict(udp(1), &data), Verdict::Done);
    assert_eq!(bench.dropped(Dropped::ForbiddenPeer), 1);
}

#[test]
fn another_users_allocation_is_out_of_reach() {
    let mut bench = Bench::new();
    let (_, _) = allocated(&mut bench, "alice", udp(1));
    let mut bob = Client::new("bob");
    let peers = [addr(PEER)];
    assert_eq!(
        bench
            .ask(&mut bob, udp(1), Method::CreatePermission, |m| permit(
                &peers
            )(
                m
            ))
            .code,
        441
    );
    assert_eq!(
        bench
            .ask(&mut bob, udp(1), Method::ChannelBind, |m| bind(
                0x4000,
                addr(PEER)
            )(m))
            .code,
        441
    );
    assert_eq!(
        bench
            .ask(&mut bob, udp(1), Method::Refresh, |m| m
                .u32(attr::LIFETIME, 0))
            .code,
        441
    );
    assert_eq!(bench.allocate(&mut bob, udp(1)).code, 437);
    assert_eq!(bench.live.len(), 1);
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
        let mut buffer = vec![0; HEADROOM + 1 + TAILROOM];
        allocated(&mut bench, "alice", udp(3));
        assert_eq!(bench.live.last().unwrap().slot(), old.slot());
        let stale = bench
            .server
            .handle_peer(bench.now, old, addr(PEER), &mut buffer, 1);
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
fn nothing_is_answered_that_could_make_a_loop() {
    let mut bench = Bench::new();
    let mut out = Vec::new();
    for class in [Class::Success, Class::Error, Class::Indication] {
        for method in [
            Method::Binding,
            Method::Allocate,
            Method::Data,
            Method::Other(0x123),
        ] {
            Builder::new(&mut out, method, class, [1; 12]).error_code(401, "");
            assert_eq!(
                bench.verdict(udp(1), &out),
                Verdict::Done,
                "{class:?} {method:?}"
            );
        }
    }
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
