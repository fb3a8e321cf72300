//! Limits that change while the relay runs.

mod support;

use moznods_turn::server::{Limits, Verdict};
use moznods_turn::stats::Dropped;
use moznods_turn::wire::Method;
use support::bench::{Bench, PEER, addr, allocated, udp};
use support::{Client, permit};

fn set(bench: &mut Bench, limits: Limits) {
    bench.common.set_limits(limits, bench.now.instant);
    bench.server.review(bench.now);
    bench.outputs();
}

#[test]
fn a_smaller_quota_ends_nothing_and_a_larger_one_holds_at_once() {
    let mut bench = Bench::new();
    for port in 1..=3 {
        allocated(&mut bench, "alice", udp(port));
    }
    let few = |allocations_per_owner| Limits {
        allocations_per_owner,
        ..Limits::default()
    };
    set(&mut bench, few(2));
    assert_eq!(bench.live.len(), 3);
    let mut alice = Client::new("alice");
    assert_eq!(bench.allocate(&mut alice, udp(4)).code, 486);
    set(&mut bench, few(4));
    assert_eq!(bench.allocate(&mut alice, udp(4)).code, 0);
    let mut again = Client::new("alice");
    assert_eq!(bench.allocate(&mut again, udp(5)).code, 486);
    set(&mut bench, few(0));
    assert_eq!(bench.allocate(&mut again, udp(5)).code, 0);
}

#[test]
fn a_rate_is_set_changed_and_lifted_in_mid_call() {
    let mut bench = Bench::new();
    let (mut alice, _) = allocated(&mut bench, "alice", udp(1));
    bench.ask(&mut alice, udp(1), Method::CreatePermission, |m| {
        permit(&[addr(PEER)])(m)
    });
    // Of 1000 datagrams that come at once, 1000 bytes each.
    let mut passed = |bench: &mut Bench| {
        let pass = |_: &i32| {
            let data = alice.send_indication(addr(PEER), &[0; 1000]);
            let verdict = bench.server.handle(bench.now, udp(1), &data);
            matches!(verdict, Verdict::ToPeer { .. })
        };
        (0..1000).filter(pass).count()
    };
    let rate = |bytes_per_second_per_owner| Limits {
        bytes_per_second_per_owner,
        ..Limits::default()
    };
    assert_eq!(passed(&mut bench), 1000);
    set(&mut bench, rate(200_000));
    assert_eq!(passed(&mut bench), 200);
    assert_eq!(bench.dropped(Dropped::OverQuota), 800);
    set(&mut bench, rate(500_000));
    assert_eq!(passed(&mut bench), 500);
    set(&mut bench, rate(0));
    assert_eq!(passed(&mut bench), 1000);
}

#[test]
fn the_limit_of_strangers_changes_with_the_others() {
    let mut bench = Bench::new();
    let strange = Client::new("alice").bare(Method::Allocate, support::udp_transport);
    let answered = |bench: &mut Bench| {
        let asked = |_: &i32| bench.send(udp(1), &strange).is_some();
        (0..1000).filter(asked).count()
    };
    let limits = |unauthenticated_per_second| Limits {
        unauthenticated_per_second,
        ..Limits::default()
    };
    set(&mut bench, limits(10));
    assert_eq!(answered(&mut bench), 20, "two seconds' worth");
    set(&mut bench, limits(0));
    assert_eq!(answered(&mut bench), 1000);
    set(&mut bench, limits(50));
    assert_eq!(answered(&mut bench), 100);
}
