//! Conversations of several clients, with time passing between, held against a model of what the RFC says is there.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use crate::support::bench::{Bench, addr, tcp, udp};
use crate::support::{Answer, Client, bind, channel_data, permit, udp_transport};
use moznods_turn::auth::Owner;
use moznods_turn::server::{FiveTuple, HEADROOM, Limits, Verdict};
use moznods_turn::wire::{Builder, Method, attr};

use super::Choices;

const PORTS: std::ops::RangeInclusive<u16> = 50000..=50015;
const CLIENTS: u16 = 6;

/// What should be there for one client.
struct Expected {
    expires: Instant,
    relay: SocketAddr,
    permissions: HashMap<SocketAddr, Instant>,
    channels: HashMap<u16, (SocketAddr, Instant)>,
}

fn tuple(client: u16) -> FiveTuple {
    if client.is_multiple_of(2) {
        udp(client)
    } else {
        tcp(client)
    }
}

/// Different addresses, so that a permission is for one alone.
fn peer(choices: &mut Choices<'_>) -> SocketAddr {
    addr(["8.8.8.1:1", "8.8.8.2:2", "8.8.8.3:3"][choices.below(3)])
}

/// Each few bytes are what one client does next, or time that passes.
pub fn run(data: &[u8]) {
    let mut choices = Choices::new(data);
    let limits = Limits {
        unauthenticated_per_second: 0,
        ..Limits::default()
    };
    let mut bench = Bench::with(limits, PORTS);
    let names = ["alice", "bob"];
    let mut clients: Vec<Client> = (0..CLIENTS)
        .map(|client| Client::new(names[usize::from(client) % 2]))
        .collect();
    let mut model: HashMap<u16, Expected> = HashMap::new();

    while !choices.is_over() {
        let number = choices.below(CLIENTS.into()) as u16;
        let client = &mut clients[usize::from(number)];
        let (tuple, now) = (tuple(number), bench.now.instant);
        match choices.below(10) {
            0 | 1 => {
                let asked = [0, 600, 1000, 9000][choices.below(4)];
                bench.taken = (0..choices.below(4))
                    .map(|_| 50000 + choices.below(16) as u16)
                    .collect();
                let answer = fresh(&mut bench, client, tuple, Method::Allocate, |message| {
                    udp_transport(message);
                    message.u32(attr::LIFETIME, asked);
                });
                bench.taken.clear();
                if model.contains_key(&number) {
                    assert_eq!(answer.code, 437);
                } else {
                    assert_eq!(answer.code, 0, "there are ports enough");
                    let granted = answer.u32(attr::LIFETIME).unwrap();
                    assert_eq!(granted, asked.clamp(600, 3600));
                    let expected = Expected {
                        expires: now + Duration::from_secs(granted.into()),
                        relay: answer.address(attr::XOR_RELAYED_ADDRESS).unwrap(),
                        permissions: HashMap::new(),
                        channels: HashMap::new(),
                    };
                    let others = model.values().map(|other| other.relay);
                    assert!(others.into_iter().all(|relay| relay != expected.relay));
                    model.insert(number, expected);
                }
            }
            2 => {
                let lifetime = [0, 600, 2000][choices.below(3)];
                let answer = fresh(&mut bench, client, tuple, Method::Refresh, |message| {
                    message.u32(attr::LIFETIME, lifetime);
                });
                match model.get_mut(&number) {
                    None => assert_eq!(answer.code, 437),
                    Some(_) if lifetime == 0 => {
                        assert_eq!(answer.code, 0);
                        model.remove(&number);
                    }
                    Some(expected) => {
                        assert_eq!(answer.code, 0);
                        expected.expires = now + Duration::from_secs(lifetime.into());
                    }
                }
            }
            3 => {
                let peers = [peer(&mut choices), peer(&mut choices)];
                let answer = fresh(&mut bench, client, tuple, Method::CreatePermission, |m| {
                    permit(&peers)(m)
                });
                let Some(expected) = model.get_mut(&number) else {
                    assert_eq!(answer.code, 437);
                    continue;
                };
                assert_eq!(answer.code, 0);
                for peer in peers {
                    expected
                        .permissions
                        .insert(peer, now + Duration::from_secs(300));
                }
            }
            4 => {
                let (channel, peer) = (0x4000 + choices.below(4) as u16, peer(&mut choices));
                let answer = fresh(&mut bench, client, tuple, Method::ChannelBind, |m| {
                    bind(channel, peer)(m)
                });
                let Some(expected) = model.get_mut(&number) else {
                    assert_eq!(answer.code, 437);
                    continue;
                };
                expected.channels.retain(|_, (_, expires)| *expires > now);
                let bound = expected.channels.get(&channel).map(|(peer, _)| *peer);
                let elsewhere = expected
                    .channels
                    .iter()
                    .any(|(other, (bound, _))| *bound == peer && *other != channel);
                if bound.is_some_and(|bound| bound != peer) || elsewhere {
                    assert_eq!(answer.code, 400);
                } else {
                    assert_eq!(answer.code, 0);
                    let lasts = |seconds| now + Duration::from_secs(seconds);
                    expected.channels.insert(channel, (peer, lasts(600)));
                    expected.permissions.insert(peer, lasts(300));
                }
            }
            5 => {
                let channel = 0x4000 + choices.below(4) as u16;
                let expected = model.get(&number).and_then(|expected| {
                    let (peer, expires) = expected.channels.get(&channel)?;
                    let permitted = expected.permissions.get(peer).is_some_and(|at| *at > now);
                    (*expires > now && permitted).then_some(*peer)
                });
                assert_eq!(
                    sent_to(bench.verdict(tuple, &channel_data(channel, b"x"))),
                    expected
                );
            }
            6 => {
                let peer = peer(&mut choices);
                let data = client.send_indication(peer, b"x");
                let permitted = permitted(&model, number, peer, now);
                assert_eq!(
                    sent_to(bench.verdict(tuple, &data)),
                    permitted.then_some(peer)
                );
            }
            7 => {
                let Some(expected) = model.get(&number) else {
                    continue;
                };
                let allocation = bench
                    .live
                    .iter()
                    .copied()
                    .find(|id| bench.relay_of(*id) == expected.relay);
                let peer = peer(&mut choices);
                let mut head = [0; HEADROOM];
                let passed =
                    bench
                        .server
                        .handle_peer(bench.now, allocation.unwrap(), peer, b"x", &mut head);
                assert_eq!(
                    passed.map(|to| to.tuple),
                    permitted(&model, number, peer, now).then_some(tuple)
                );
            }
            8 => {
                bench.pass([1, 50, 299, 301, 700][choices.below(5)]);
                let now = bench.now.instant;
                model.retain(|_, expected| expected.expires > now);
            }
            _ if choices.below(20) == 0 => {
                bench.users.revoked.lock().unwrap().insert(Owner(1));
                bench.server.review(bench.now);
                bench.users.revoked.lock().unwrap().clear();
                model.retain(|number, _| !number.is_multiple_of(2));
                bench.outputs();
            }
            _ => {
                if choices.below(4) == 0 {
                    bench.server.disconnected(bench.now, tuple);
                    model.remove(&number);
                    bench.outputs();
                }
            }
        }
        for number in 0..CLIENTS {
            let there = bench.server.has_allocation(self::tuple(number));
            assert_eq!(there, model.contains_key(&number), "client {number}");
        }
        assert_eq!(bench.live.len(), model.len());
        assert_eq!(
            bench.server.stats().allocations.load(Relaxed),
            model.len() as u64
        );
    }

    // All has ended; every port can be had again.
    bench.pass(3601);
    assert_eq!(bench.server.poll_timeout(), None);
    for port in PORTS {
        let answer = bench.allocate(&mut Client::new("alice"), udp(port));
        assert_eq!(answer.code, 0, "a port has leaked");
    }
}

/// Asks, and asks again where the nonce has become stale.
fn fresh(
    bench: &mut Bench,
    client: &mut Client,
    tuple: FiveTuple,
    method: Method,
    fill: impl Fn(&mut Builder<'_>),
) -> Answer {
    let answer = bench.ask(client, tuple, method, &fill);
    if answer.code == 438 {
        return bench.ask(client, tuple, method, &fill);
    }
    answer
}

fn permitted(model: &HashMap<u16, Expected>, number: u16, peer: SocketAddr, now: Instant) -> bool {
    let permission = model
        .get(&number)
        .and_then(|expected| expected.permissions.get(&peer));
    permission.is_some_and(|expires| *expires > now)
}

fn sent_to(verdict: Verdict) -> Option<SocketAddr> {
    match verdict {
        Verdict::ToPeer { peer, .. } => Some(peer),
        _ => None,
    }
}
