//! What each owner has had relayed, and that he has no more than he may.

mod support;

use std::time::Duration;

use moznods_turn::auth::Owner;
use moznods_turn::server::{Ended, Event, Usage, Verdict};
use moznods_turn::wire::Method;
use support::bench::{Bench, PEER, addr, allocated, tcp, udp};
use support::sockets::{Caller, PATIENCE, live, start, wait_until};
use support::{Client, channel_data, permit};

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Lets the peer hear, `bytes` of the client and then be heard.
fn exchange(bench: &mut Bench, client: &mut Client, bytes: usize) {
    let tuple = udp(1);
    bench.ask(client, tuple, Method::CreatePermission, |m| {
        permit(&[addr(PEER)])(m)
    });
    let data = client.send_indication(addr(PEER), &vec![0; bytes]);
    let verdict = bench.server.handle(bench.now, tuple, &data);
    assert!(matches!(verdict, Verdict::ToPeer { .. }));
    bench.peer_sends(PEER, b"heard").unwrap();
}

#[test]
fn what_is_used_is_counted_once_while_it_lasts_and_when_it_ends() {
    let mut bench = Bench::new();
    let (mut alice, _) = allocated(&mut bench, "alice", udp(1));
    exchange(&mut bench, &mut alice, 100);
    bench.now.instant += seconds(60);
    assert!(
        bench.common.take_usage().is_empty(),
        "nothing is entered yet"
    );
    bench.server.tally(bench.now);
    let mut expected = Usage {
        allocations: 1,
        lasted: seconds(60),
        to_peer: 100,
        to_client: 5,
    };
    let first = bench.common.take_usage();
    assert_eq!(
        first.into_iter().collect::<Vec<_>>(),
        [(Owner(1), expected)]
    );

    exchange(&mut bench, &mut alice, 50);
    allocated(&mut bench, "alice", tcp(2));
    allocated(&mut bench, "bob", udp(3));
    bench.now.instant += seconds(10);
    // Tallied twice, it is counted once.
    bench.server.tally(bench.now);
    bench.server.tally(bench.now);
    bench.now.instant += seconds(1);
    bench.ask(&mut alice, udp(1), Method::Refresh, |m| {
        m.u32(moznods_turn::wire::attr::LIFETIME, 0)
    });
    let second = bench.common.take_usage();
    expected = Usage {
        allocations: 1,
        lasted: seconds(21),
        to_peer: 50,
        to_client: 5,
    };
    assert_eq!(second[&Owner(1)], expected);
    let of_bob = Usage {
        allocations: 1,
        lasted: seconds(10),
        ..Usage::default()
    };
    assert_eq!(second[&Owner(2)], of_bob);
    let stats = bench.server.stats();
    assert_eq!(
        (stats.ended(Ended::Released), stats.ended(Ended::Killed)),
        (1, 0)
    );
}

#[test]
fn who_has_used_up_what_he_may_loses_what_he_has_and_gets_no_more() {
    let mut bench = Bench::new();
    allocated(&mut bench, "alice", udp(1));
    allocated(&mut bench, "bob", udp(2));
    bench.users.over_quota.lock().unwrap().insert(Owner(1));
    bench.server.review(bench.now);
    bench.outputs();
    assert!(!bench.server.has_allocation(udp(1)));
    assert!(bench.server.has_allocation(udp(2)));
    let told = |event: &Event| {
        matches!(
            event,
            Event::Ended {
                reason: Ended::OverQuota,
                owner: Owner(1),
                ..
            }
        )
    };
    assert!(bench.events.iter().any(told));
    let mut alice = Client::new("alice");
    assert_eq!(bench.allocate(&mut alice, udp(3)).code, 486);
    // One who cannot prove who he is does not learn it.
    let mut eve = Client::new("alice");
    eve.key = support::key_of("bob");
    assert_eq!(bench.allocate(&mut eve, udp(4)).code, 401);
    bench.users.over_quota.lock().unwrap().clear();
    assert_eq!(bench.allocate(&mut alice, udp(3)).code, 0);
}

#[test]
fn live_calls_of_all_workers_are_counted() {
    let relay = start("127.0.0.1", &[]);
    let mut callers: Vec<Caller> = (0..8).map(|_| Caller::udp(&relay, "alice")).collect();
    let ports: Vec<_> = callers.iter_mut().map(Caller::allocate).collect();
    let mut bob = Caller::tcp(&relay, "bob");
    let of_bob = bob.allocate();
    for (number, (caller, port)) in (0x4000..).zip(callers.iter_mut().zip(&ports)) {
        bob.bind(number, *port);
        caller.bind(0x4000, of_bob);
        caller.send(&channel_data(0x4000, &[0; 1000]));
        assert_eq!(bob.receive().len(), 1004);
    }
    let used = relay.take_usage(PATIENCE);
    let (of_alice, of_bob) = (used[&Owner(1)], used[&Owner(2)]);
    assert_eq!((of_alice.allocations, of_alice.bytes()), (8, 8000));
    assert_eq!((of_bob.to_peer, of_bob.to_client), (0, 8000));
    drop(bob);
    wait_until("the closed stream is noticed", || live(&relay) == 8);
    let used = relay.take_usage(PATIENCE);
    assert_eq!(
        (used[&Owner(2)].allocations, used[&Owner(2)].bytes()),
        (0, 0)
    );
}
