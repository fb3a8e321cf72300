//! Clients, relays and peers in a network that loses, doubles, delays and reorders what it carries.

mod support;

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use moznods_turn::server::{Ended, Event};
use moznods_turn::wire::{Message, Method, attr};
use support::bench::addr;
use support::network::{Network, Weather};
use support::{Client, bind, channel_data, permit, udp_transport};

const RELAY: &str = "9.9.9.9";
const HOME: &str = "203.0.113.5:40000";
const PEER: &str = "8.8.8.8:4000";
const SEEDS: std::ops::Range<u64> = 0..20;

/// Everything that a client may do in a call.
#[test]
fn a_call_goes_through_in_foul_weather() {
    for seed in SEEDS {
        let mut network = Network::new(seed, Weather::FOUL);
        network.add_relay(RELAY, |_| {});
        let (home, peer) = (addr(HOME), addr(PEER));
        let mut client = Client::new("alice");
        let relay = network.allocate(&mut client, home, 0).expect("an address");
        let permitted = network.ask(&mut client, home, 0, Method::CreatePermission, |m| {
            permit(&[addr("8.8.4.4:1")])(m);
        });
        assert_eq!(permitted.expect("an answer").code, 0);
        let bound = network.ask(&mut client, home, 0, Method::ChannelBind, |m| {
            bind(0x4000, peer)(m);
        });
        assert_eq!(bound.expect("an answer").code, 0);

        const COUNT: u8 = 200;
        let listener = network.relays[0].listener;
        for number in 0..COUNT {
            network.send(home, listener, channel_data(0x4000, &[number]));
            network.send(peer, relay, vec![number]);
            let data = client.send_indication(addr("8.8.4.4:1"), &[number]);
            network.send(home, listener, data);
            network.send(addr("8.8.4.4:1"), relay, vec![number]);
            // Nobody asked this one.
            network.send(addr("1.2.3.4:5"), relay, vec![number]);
            network.pass(Duration::from_millis(20));
        }
        network.pass(Duration::from_secs(10));

        let mut by_channel = HashSet::new();
        let mut by_indication = HashSet::new();
        while let Some((from, bytes)) = network.receive(home) {
            assert_eq!(from, listener);
            if bytes[0] == 0x40 {
                assert_eq!(bytes, channel_data(0x4000, &bytes[4..5]));
                by_channel.insert(bytes[4]);
            } else {
                let message = Message::parse(&bytes).unwrap();
                let from = message.get(attr::XOR_PEER_ADDRESS).unwrap();
                assert_eq!(message.xor_address(from), Some(addr("8.8.4.4:1")));
                by_indication.insert(message.get(attr::DATA).unwrap()[0]);
            }
        }
        let reached = |network: &mut Network, at: SocketAddr| {
            let mut seen = HashSet::new();
            while let Some((from, bytes)) = network.receive(at) {
                assert_eq!((from, bytes.len()), (relay, 1));
                seen.insert(bytes[0]);
            }
            seen.len()
        };
        // Each way is two hops, and 0.8 × 0.8 of what is sent arrives.
        let arrived = [
            by_channel.len(),
            by_indication.len(),
            reached(&mut network, peer),
            reached(&mut network, addr("8.8.4.4:1")),
        ];
        let likely = 90..165;
        assert!(
            arrived.iter().all(|count| likely.contains(count)),
            "{arrived:?}, seed {seed}"
        );
    }
}

#[test]
fn however_often_an_allocate_arrives_there_is_one_allocation_for_it() {
    for seed in SEEDS {
        let mut network = Network::new(seed, Weather::FOUL);
        network.add_relay(RELAY, |_| {});
        let listener = network.relays[0].listener;
        let mut callers = Vec::new();
        for number in 0..20 {
            let home = SocketAddr::new(addr(HOME).ip(), 40000 + number);
            let mut client = Client::new(["alice", "bob"][usize::from(number) % 2]);
            // With a nonce from before, so that all of them ask at once.
            let bytes = client.bare(Method::Allocate, udp_transport);
            network.request(home, listener, bytes.clone());
            while !network.is_over(home, &bytes) && network.step() {}
            client.read(&network.take_answer(home, &bytes).expect("a challenge"));
            let bytes = client.request(Method::Allocate, udp_transport);
            callers.push((home, client, bytes));
        }
        for (home, _, bytes) in &callers {
            network.request(*home, listener, bytes.clone());
        }
        network.pass(Duration::from_secs(60));
        let mut addresses = HashSet::new();
        for (home, client, bytes) in &mut callers {
            let answer = client.read(&network.take_answer(*home, bytes).expect("an answer"));
            assert_eq!((answer.code, answer.signed), (0, true), "seed {seed}");
            addresses.insert(answer.address(attr::XOR_RELAYED_ADDRESS));
        }
        let relay = &network.relays[0];
        assert_eq!(addresses.len(), 20);
        assert_eq!((relay.events.len(), relay.sockets()), (20, 20));
        assert_eq!(relay.server.stats().allocations.load(Relaxed), 20);
    }
}

/// All answers to one request are the same, so that it does not matter which one arrives.
#[test]
fn no_request_has_its_effect_twice() {
    for seed in SEEDS {
        let mut network = Network::new(seed, Weather::FOUL);
        network.add_relay(RELAY, |config| config.relay_ports = 50000..=50001);
        let home = addr(HOME);
        let mut client = Client::new("alice");
        // A pair of ports, all that there are: a second one would be refused.
        let answer = network.ask(&mut client, home, 0, Method::Allocate, |message| {
            udp_transport(message);
            message.attribute(attr::EVEN_PORT, &[0x80]);
        });
        let answer = answer.expect("an answer");
        assert_eq!(answer.code, 0);
        let token = answer.get(attr::RESERVATION_TOKEN).unwrap();
        let second = SocketAddr::new(home.ip(), 40001);
        let mut other = Client::new("alice");
        let answer = network.ask(&mut other, second, 0, Method::Allocate, |message| {
            udp_transport(message);
            message.attribute(attr::RESERVATION_TOKEN, &token);
        });
        assert_eq!(answer.expect("an answer").code, 0, "seed {seed}");
        for asked in [900, 1800, 700] {
            let answer = network.ask(&mut client, home, 0, Method::Refresh, |message| {
                message.u32(attr::LIFETIME, asked);
            });
            assert_eq!(answer.expect("an answer").u32(attr::LIFETIME), Some(asked));
        }
        // Late duplicates of the requests before must not prolong it beyond what was asked last.
        network.pass(Duration::from_secs(699 - 60));
        assert!(network.relays[0].sockets() >= 1);
        let released = network.ask(&mut client, home, 0, Method::Refresh, |message| {
            message.u32(attr::LIFETIME, 0);
        });
        // The first answer may have been lost, and to the request that comes again there is no allocation.
        assert!(matches!(released.expect("an answer").code, 0 | 437));
        network.pass(Duration::from_secs(700));
        assert_eq!(network.relays[0].sockets(), 0);
        let ended = |event: &&Event| matches!(event, Event::Ended { .. });
        assert_eq!(network.relays[0].events.iter().filter(ended).count(), 2);
    }
}

#[test]
fn what_is_not_kept_alive_ends_when_it_should() {
    for seed in SEEDS {
        let mut network = Network::new(seed, Weather::FOUL);
        network.add_relay(RELAY, |_| {});
        for number in 0..10 {
            let home = SocketAddr::new(addr(HOME).ip(), 40000 + number);
            let made = network.allocate(&mut Client::new("alice"), home, 0);
            assert!(made.is_some());
        }
        while network.step() {}
        let relay = &network.relays[0];
        assert_eq!(relay.sockets(), 0);
        assert_eq!(relay.server.poll_timeout(), None);
        let lasted = relay.events.iter().filter_map(|event| match event {
            Event::Ended { reason, lasted, .. } => Some((*reason, *lasted)),
            _ => None,
        });
        let lasted: Vec<_> = lasted.collect();
        assert_eq!(lasted, [(Ended::Expired, Duration::from_secs(600)); 10]);
    }
}

/// Each of two clients has a relay of its own, and their data passes both.
#[test]
fn two_relays_carry_one_call() {
    for seed in SEEDS {
        let mut network = Network::new(seed, Weather::FOUL);
        network.add_relay(RELAY, |_| {});
        network.add_relay("9.9.9.10", |_| {});
        let homes = [addr(HOME), addr("198.18.0.1:40000")];
        let mut clients = [Client::new("alice"), Client::new("bob")];
        let addresses = [0, 1].map(|number| {
            let made = network.allocate(&mut clients[number], homes[number], number);
            made.expect("an address")
        });
        for number in [0, 1] {
            let bound = network.ask(
                &mut clients[number],
                homes[number],
                number,
                Method::ChannelBind,
                |m| bind(0x4000, addresses[1 - number])(m),
            );
            assert_eq!(bound.expect("an answer").code, 0);
        }
        for number in 0..100 {
            let listener = network.relays[0].listener;
            network.send(homes[0], listener, channel_data(0x4000, &[number]));
        }
        network.pass(Duration::from_secs(5));
        let mut seen = HashSet::new();
        while let Some((_, bytes)) = network.receive(homes[1]) {
            assert_eq!(bytes, channel_data(0x4000, &bytes[4..]));
            seen.insert(bytes[4]);
        }
        assert!((25..80).contains(&seen.len()), "{}", seen.len());
    }
}
