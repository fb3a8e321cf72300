//! Requests whose signature is right and whose attributes are anything: what stands behind the integrity check.

use std::sync::atomic::Ordering::Relaxed;

use moznods_turn::server::{FiveTuple, Limits};
use moznods_turn::wire::{Builder, Method, attr};

use super::{Choices, PEERS, handle};
use crate::support::bench::{Bench, addr, tcp, udp};
use crate::support::{Answer, Client};

const METHODS: [Method; 8] = [
    Method::Allocate,
    Method::Refresh,
    Method::CreatePermission,
    Method::ChannelBind,
    Method::Binding,
    Method::Send,
    Method::Connect,
    Method::ConnectionBind,
];
/// Attributes that mean something to a request, so that they are found soon.
const KINDS: [u16; 12] = [
    attr::REQUESTED_TRANSPORT,
    attr::LIFETIME,
    attr::XOR_PEER_ADDRESS,
    attr::CHANNEL_NUMBER,
    attr::EVEN_PORT,
    attr::RESERVATION_TOKEN,
    attr::REQUESTED_ADDRESS_FAMILY,
    attr::DONT_FRAGMENT,
    attr::DATA,
    attr::ADDITIONAL_ADDRESS_FAMILY,
    attr::CONNECTION_ID,
    attr::MOBILITY_TICKET,
];

/// Each request: a byte for its method and one for its client, and for what happens afterwards; then its attributes, each
/// a byte for the type, one for the length, and the value, up to one of length 255.
pub fn run(data: &[u8]) {
    let limits = Limits {
        unauthenticated_per_second: 0,
        permissions: 4,
        channels: 4,
        allocations_per_owner: 3,
        ..Limits::default()
    };
    let mut bench = Bench::with(limits, 50000..=50007);
    let mut clients = [
        (udp(1), Client::new("alice")),
        (tcp(2), Client::sha256("alice")),
        (udp(3), Client::new("bob")),
        (tcp(4), Client::sha256("bob")),
        (tcp(5), Client::new("alice")),
        (tcp(6), Client::new("bob")),
    ];
    let mut known = Known::default();
    for (tuple, client) in &mut clients {
        // Long enough for an answer with all that is offered.
        let challenge = client.bare(Method::Refresh, |m| {
            m.attribute(attr::SOFTWARE, &[b'x'; 40])
        });
        let answer = handle(&mut bench, *tuple, &challenge)
            .answer
            .expect("a challenge");
        assert_eq!(client.read(&answer).code, 401);
    }
    let mut choices = Choices::new(data);
    while !choices.is_over() {
        let method = METHODS[choices.below(METHODS.len())];
        let who = choices.byte();
        let (tuple, client) = &mut clients[usize::from(who) % 6];
        let bytes = client.request(method, |message| attributes(&mut choices, &known, message));
        if let Some(answer) = handle(&mut bench, *tuple, &bytes).answer {
            let answer = client.read(&answer);
            known.learn(&answer);
            // Who answers knows the key, as soon as the request shows it whole.
            assert!(
                answer.signed || method == Method::Binding || is_open(answer.code),
                "{answer:?}"
            );
        }
        dial(&mut bench, who);
        if who & 0x80 != 0 {
            bench.pass(u64::from(who & 0x7C) * 10);
            refresh_nonces(&mut bench, &mut clients);
        }
        let stats = bench.server.stats();
        assert_eq!(stats.allocations.load(Relaxed), bench.live.len() as u64);
        for (owned, limit) in [(&clients[..2], 3), (&clients[2..], 3)] {
            let live = owned
                .iter()
                .filter(|(tuple, _)| bench.server.has_allocation(*tuple));
            assert!(live.count() <= limit);
        }
    }
    bench.pass(3601);
    assert!(bench.live.is_empty() && bench.server.poll_timeout().is_none());
}

/// Refusals that come before the request is believed: an attribute of the fuzzer's stands before the client's own.
fn is_open(code: u16) -> bool {
    matches!(code, 400 | 401 | 438)
}

/// Names that the server gave, for a fuzzer cannot guess them.
#[derive(Default)]
struct Known {
    token: Vec<u8>,
    connection: Vec<u8>,
    ticket: Vec<u8>,
}

impl Known {
    fn learn(&mut self, answer: &Answer) {
        for (kind, value) in [
            (attr::RESERVATION_TOKEN, &mut self.token),
            (attr::CONNECTION_ID, &mut self.connection),
            (attr::MOBILITY_TICKET, &mut self.ticket),
        ] {
            if let Some(given) = answer.get(kind) {
                *value = given;
            }
        }
    }
}

/// Connections that were asked for come about, fail, or wait; and peers connect.
fn dial(bench: &mut Bench, how: u8) {
    let now = bench.now;
    for (connection, _, _) in std::mem::take(&mut bench.dials) {
        match how & 0x30 {
            0x00 => bench.server.connected(now, connection, Ok(())),
            0x10 => {
                let refused = std::io::ErrorKind::ConnectionRefused;
                bench.server.connected(now, connection, Err(refused.into()));
            }
            _ => {}
        }
    }
    if how & 0x30 == 0x30
        && let Some(allocation) = bench.live.last()
    {
        let peer = addr(PEERS[usize::from(how & 3)]);
        let _ = bench.server.peer_connected(now, *allocation, peer);
    }
    bench.outputs();
}

fn attributes(choices: &mut Choices<'_>, known: &Known, message: &mut Builder<'_>) {
    for _ in 0..16 {
        let kind = choices.byte();
        if kind == 0xFF {
            return;
        }
        let length = choices.byte();
        let value = choices.take(length.into());
        match KINDS.get(usize::from(kind)) {
            Some(&attr::RESERVATION_TOKEN) if length == 0 => {
                message.attribute(attr::RESERVATION_TOKEN, &known.token);
                continue;
            }
            Some(&attr::CONNECTION_ID) if length == 0 => {
                message.attribute(attr::CONNECTION_ID, &known.connection);
                continue;
            }
            // An empty one asks for a ticket.
            Some(&attr::MOBILITY_TICKET) if length == 1 => {
                message.attribute(attr::MOBILITY_TICKET, &known.ticket);
                continue;
            }
            Some(&attr::XOR_PEER_ADDRESS) if length == 1 => {
                let peer =
                    addr(PEERS[usize::from(value.first().copied().unwrap_or(0)) % PEERS.len()]);
                message.xor_address(attr::XOR_PEER_ADDRESS, peer);
                continue;
            }
            _ => {}
        }
        let kind = match KINDS.get(usize::from(kind)) {
            Some(known) => *known,
            None => u16::from(kind) << 8 | u16::from(length),
        };
        message.attribute(kind, value);
        if length == 0xFF || choices.is_over() {
            return;
        }
    }
}

/// Asks without credentials, as one does whose nonce is too old.
fn refresh_nonces(bench: &mut Bench, clients: &mut [(FiveTuple, Client)]) {
    for (tuple, client) in clients {
        let challenge = client.bare(Method::Refresh, |m| {
            m.attribute(attr::SOFTWARE, &[b'x'; 40])
        });
        if let Some(answer) = handle(bench, *tuple, &challenge).answer {
            client.read(&answer);
        }
    }
}
