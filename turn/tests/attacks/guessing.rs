//! What an attacker could reckon: ports, nonces, tokens; and an allocator at the end of its range.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;

use moznods_turn::net::{Listeners, Relay};
use moznods_turn::wire::{Builder, Method, attr};

use crate::support::sockets::{Caller, config, live, start, wait_until};
use crate::support::{Users, namespace, udp_transport};

/// The share of all pairs of neighbours in which the second is larger; half of them where there is no order.
fn rising(values: &[u16]) -> f64 {
    let pairs = values.windows(2);
    let count = pairs.len() as f64;
    pairs.filter(|pair| pair[1] > pair[0]).count() as f64 / count
}

#[test]
fn ports_follow_no_order() {
    const PORTS: usize = 1000;
    let relay = start("127.0.0.1", &[]);
    let mut alice = Caller::udp(&relay, "alice");
    let ports: Vec<u16> = (0..PORTS)
        .map(|_| {
            let port = alice.allocate().port();
            alice.ask(Method::Refresh, |m| m.u32(attr::LIFETIME, 0));
            port
        })
        .collect();
    // Each bound is passed by chance less than once in a billion runs.
    let distinct: HashSet<u16> = ports.iter().copied().collect();
    assert!(distinct.len() > PORTS * 9 / 10, "{}", distinct.len());
    let steps: HashSet<i32> = ports
        .windows(2)
        .map(|pair| i32::from(pair[1]) - i32::from(pair[0]))
        .collect();
    assert!(steps.len() > PORTS * 9 / 10, "{} steps", steps.len());
    assert!((0.4..0.6).contains(&rising(&ports)), "{}", rising(&ports));
    // All of the range, each sixteenth as often as another.
    let mut counts = [0.0_f64; 16];
    ports
        .iter()
        .for_each(|port| counts[usize::from(port - 49152) / 1024] += 1.0);
    let expected = PORTS as f64 / 16.0;
    let chi: f64 = counts
        .iter()
        .map(|count| (count - expected).powi(2) / expected)
        .sum();
    assert!(chi < 80.0, "χ² with 15 degrees of freedom: {chi}");
}

#[test]
fn nonces_and_tokens_tell_nothing_of_others() {
    let relay = start("127.0.0.1", &[]);
    // All at once, so that each has an address of its own.
    let mut callers: Vec<_> = (0..200).map(|_| Caller::udp(&relay, "alice")).collect();
    let nonces: Vec<Vec<u8>> = callers
        .iter_mut()
        .map(|caller| {
            assert_eq!(caller.ask(Method::Refresh, |_| {}).code, 437);
            caller.client.nonce.clone()
        })
        .collect();
    let length = nonces[0].len();
    assert!(nonces.iter().all(|nonce| nonce.len() == length));
    // What comes after the time: at least 64 bits that look like chance, in 11 characters before the last, which may not
    // be a whole one.
    let chance = length - 12..length - 1;
    let tails: HashSet<&[u8]> = nonces.iter().map(|nonce| &nonce[chance.clone()]).collect();
    assert_eq!(tails.len(), nonces.len());
    for at in chance.clone() {
        let symbols: HashSet<u8> = nonces.iter().map(|nonce| nonce[at]).collect();
        assert!(symbols.len() > 40, "{} of 64 at {at}", symbols.len());
    }
    let pairs = nonces.windows(2);
    let (count, same) = pairs.fold((0, 0), |(count, same), pair| {
        let equal = pair[0][chance.clone()]
            .iter()
            .zip(&pair[1][chance.clone()])
            .filter(|(a, b)| a == b);
        (count + 11, same + equal.count())
    });
    assert!(same * 20 < count, "{same} of {count} characters as before");

    let mut tokens = HashSet::new();
    for _ in 0..20 {
        let mut caller = Caller::udp(&relay, "alice");
        let answer = caller.ask(Method::Allocate, reserve);
        tokens.insert(answer.get(attr::RESERVATION_TOKEN).unwrap());
    }
    assert_eq!(tokens.len(), 20);
    for at in 0..8 {
        let bytes: HashSet<u8> = tokens.iter().map(|token| token[at]).collect();
        assert!(bytes.len() > 10, "{} of 20 at {at}", bytes.len());
    }
}

fn reserve(message: &mut Builder<'_>) {
    udp_transport(message);
    message.attribute(attr::EVEN_PORT, &[0x80]);
}

fn even(message: &mut Builder<'_>) {
    udp_transport(message);
    message.attribute(attr::EVEN_PORT, &[0x00]);
}

#[test]
fn the_last_port_is_not_followed_by_the_first() {
    if !namespace::enter("guessing::the_last_port_is_not_followed_by_the_first") {
        return;
    }
    let on = |ports: std::ops::RangeInclusive<u16>| {
        let listen: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let mut config = config("127.0.0.1", &[]);
        config.relay_ports = ports;
        let listeners = Listeners::bind(listen, 2).unwrap();
        Relay::start(listeners, config, Arc::new(Users::default())).unwrap()
    };
    let ask = |relay: &Relay, fill: fn(&mut Builder<'_>)| {
        let mut caller = Caller::tcp(relay, "alice");
        let answer = caller.ask(Method::Allocate, fill);
        let relayed = answer.address(attr::XOR_RELAYED_ADDRESS);
        (caller, answer.code, relayed.map(|address| address.port()))
    };
    let last = on(65_535..=65_535);
    for fill in [even, reserve] {
        let (_, code, _) = ask(&last, fill);
        assert_eq!(code, 508);
    }
    let (_held, code, port) = ask(&last, udp_transport);
    assert_eq!((code, port), (0, Some(65_535)));
    let (_, code, _) = ask(&last, udp_transport);
    assert_eq!(code, 508);

    let two = on(65_534..=65_535);
    let (_held, code, port) = ask(&two, reserve);
    assert_eq!((code, port), (0, Some(65_534)));
    for fill in [udp_transport, even, reserve] {
        let (_, code, _) = ask(&two, fill);
        assert_eq!(code, 508, "the other one is reserved");
    }

    drop((last, two));
    // Round and round, each port once at a time.
    let few = on(65_530..=65_535);
    for _ in 0..50 {
        let held: Vec<_> = (0..6).map(|_| ask(&few, udp_transport)).collect();
        let ports: HashSet<u16> = held.iter().filter_map(|(_, _, port)| *port).collect();
        assert_eq!(ports, (65_530..=65_535).collect());
        assert_eq!(ask(&few, udp_transport).1, 508);
        drop(held);
        wait_until("all are given back", || live(&few) == 0);
    }
}
