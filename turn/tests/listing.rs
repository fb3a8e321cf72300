//! Live allocations as people see them, and their end by somebody's hand.

mod support;

use std::sync::Arc;
use std::time::Duration;

use moznods_turn::auth::Owner;
use moznods_turn::net::Listeners;
use moznods_turn::server::{Ended, Event, Traffic, Verdict, Which};
use moznods_turn::wire::{Method, attr};
use support::bench::{Bench, PEER, addr, allocated, tcp, udp};
use support::sockets::{Caller, Files, PATIENCE, live, serve, wait_until};
use support::{channel_data, permit};

#[test]
fn a_listed_allocation_says_whose_it_is_where_it_leads_and_what_went_through_it() {
    let mut bench = Bench::new();
    let (mut alice, relay) = allocated(&mut bench, "alice", udp(1));
    bench.ask(&mut alice, udp(1), Method::CreatePermission, |m| {
        permit(&[addr(PEER)])(m)
    });
    bench.now.instant += Duration::from_secs(100);
    for payload in [&b"12345"[..], b"6789"] {
        let bytes = alice.send_indication(addr(PEER), payload);
        let verdict = bench.server.handle(bench.now, udp(1), &bytes);
        assert!(matches!(verdict, Verdict::ToPeer { .. }));
    }
    bench.peer_sends(PEER, b"heard").unwrap();

    let [seen] = &bench.server.list(bench.now)[..] else {
        panic!("one allocation");
    };
    assert_eq!((seen.owner, &*seen.username), (Owner(1), "alice"));
    assert_eq!((seen.tuple, &seen.relays[..]), (udp(1), &[relay][..]));
    assert_eq!(seen.age, Duration::from_secs(100));
    assert_eq!(seen.remaining, Duration::from_secs(500));
    assert_eq!(
        seen.to_peer,
        Traffic {
            packets: 2,
            bytes: 9
        }
    );
    assert_eq!(
        seen.to_client,
        Traffic {
            packets: 1,
            bytes: 5
        }
    );

    // Its name stays.
    let name = seen.name;
    bench.ask(&mut alice, udp(1), Method::Refresh, |_| {});
    allocated(&mut bench, "bob", udp(2));
    let again = bench.server.list(bench.now);
    let again = again.iter().find(|listed| listed.name == name).unwrap();
    assert_eq!(again.remaining, Duration::from_secs(600));
    assert_eq!(again.owner, Owner(1));
}

#[test]
fn what_is_killed_ends_and_nothing_else_does() {
    let mut bench = Bench::new();
    for (name, tuple) in [
        ("alice", udp(1)),
        ("alice", tcp(2)),
        ("alice", udp(3)),
        ("bob", udp(4)),
    ] {
        allocated(&mut bench, name, tuple);
    }
    let name_of = |bench: &Bench, tuple| {
        let all = bench.server.list(bench.now);
        all.iter()
            .find(|listed| listed.tuple == tuple)
            .unwrap()
            .name
    };
    let first = name_of(&bench, udp(1));
    assert_eq!(bench.server.kill(bench.now, Which::One(first)), 1);
    assert_eq!(
        bench.server.kill(bench.now, Which::One(first)),
        0,
        "no more"
    );
    bench.outputs();
    assert!(!bench.server.has_allocation(udp(1)));
    assert_eq!(bench.live.len(), 3);

    // The next one in its place has another name, and one who mistypes a digit hits nobody.
    allocated(&mut bench, "alice", udp(1));
    assert_ne!(name_of(&bench, udp(1)), first);
    let text = name_of(&bench, udp(1)).to_string();
    for (at, digit) in text.char_indices().skip(2) {
        for other in "0123456789abcdef".chars().filter(|other| *other != digit) {
            let mut mistyped = text.clone();
            mistyped.replace_range(at..=at, &other.to_string());
            let name = Which::One(mistyped.parse().unwrap());
            assert_eq!(bench.server.kill(bench.now, name), 0, "{mistyped}");
        }
    }

    assert_eq!(bench.server.kill(bench.now, Which::AllOf(Owner(1))), 3);
    bench.outputs();
    assert_eq!(bench.server.list(bench.now).len(), 1);
    assert!(bench.server.has_allocation(udp(4)));
    let killed = |event: &&Event| {
        matches!(
            event,
            Event::Ended {
                reason: Ended::Killed,
                owner: Owner(1),
                ..
            }
        )
    };
    assert_eq!(bench.events.iter().filter(killed).count(), 4);
    // It is no block.
    allocated(&mut bench, "alice", udp(1));
}

#[test]
fn the_allocations_of_all_workers_and_transports_are_listed_and_killed() {
    let files = Files::new();
    let address = "127.0.0.1:0".parse().unwrap();
    let listeners = Listeners::bind(address, 3).unwrap();
    let listeners = listeners.with_tls(address, &files.certificate()).unwrap();
    let relay = serve(listeners, Arc::default(), "127.0.0.1", &[]);
    // So many that hardly ever all are one worker's.
    let mut callers: Vec<Caller> = (0..12).map(|_| Caller::udp(&relay, "alice")).collect();
    callers.extend((0..4).map(|_| Caller::tcp(&relay, "alice")));
    callers.push(Caller::tls(&relay, &files, "alice"));
    let ports: Vec<_> = callers.iter_mut().map(Caller::allocate).collect();
    let mut bob = Caller::udp(&relay, "bob");
    let of_bob = bob.allocate();
    bob.bind(0x4000, ports[0]);
    callers[0].bind(0x4000, of_bob);
    bob.send(&channel_data(0x4000, b"hello"));
    assert_eq!(callers[0].receive(), channel_data(0x4000, b"hello"));

    let listed = relay.list(PATIENCE).unwrap();
    assert_eq!(listed.len(), 18);
    for port in &ports {
        assert!(listed.iter().any(|seen| seen.relays == [*port]), "{port}");
    }
    let of = |relay| listed.iter().find(|seen| seen.relays == [relay]).unwrap();
    let hello = Traffic {
        packets: 1,
        bytes: 5,
    };
    assert_eq!((of(of_bob).to_peer, of(ports[0]).to_client), (hello, hello));

    for port in [ports[3], ports[16]] {
        assert_eq!(relay.kill(Which::One(of(port).name), PATIENCE), Ok(1));
        std::net::UdpSocket::bind(port).expect("its port is free");
    }
    assert_eq!(relay.kill(Which::AllOf(Owner(1)), PATIENCE), Ok(15));
    wait_until("bob's alone is left", || live(&relay) == 1);
    assert_eq!(relay.list(PATIENCE).unwrap()[0].owner, Owner(2));
    // Who is killed is told by what comes next.
    let refresh = callers[1].ask(Method::Refresh, |m| m.u32(attr::LIFETIME, 600));
    assert_eq!(refresh.code, 437);
}
