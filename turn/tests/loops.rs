//! Two relays that others try to set upon each other: whatever is forged, nothing goes round between them.

mod support;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use moznods_turn::net::{Listeners, Relay};
use moznods_turn::server::Discovery;
use moznods_turn::stats::{Dropped, METHODS, RESULTS};
use moznods_turn::wire::{Builder, Class, Message, Method, attr};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use socket2::{Domain, Socket, Type};
use support::network::{self, Datagram, Weather};
use support::sockets::{Caller, config, dropped, total, wait_until};
use support::{Answer, Client, Users, bind, channel_data, permit, udp_transport};

const ONE: &str = "9.9.9.1:3478";
const TWO: &str = "9.9.9.2:3478";
/// Of each server, so that an allocation that is made again gets the port it had.
const ONLY_PORT: u16 = 50000;
const ATTACKER: &str = "8.8.8.8:4000";
/// Much weather, and no more than a network has on a bad day.
const BAD: Weather = Weather {
    loss: 0.05,
    duplication: 0.05,
    delay: 5..200,
};

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn relay_at(listener: &str) -> SocketAddr {
    SocketAddr::new(addr(listener).ip(), ONLY_PORT)
}

/// The four places of the server at `9.9.9.N`, which has `9.9.8.N` as well (RFC 5780).
fn places(number: u8) -> [SocketAddr; 4] {
    let at = |net, port| SocketAddr::from(([9, 9, net, number], port));
    [at(9, 3478), at(9, 3479), at(8, 3478), at(8, 3479)]
}

/// Two servers, and somebody who hears and forges whatever he likes.
struct Network {
    wire: network::Network,
}

impl Network {
    fn new() -> Self {
        let mut wire = network::Network::new(1, Weather::FAIR);
        for number in [1, 2] {
            let [first, _, second, alternate] = places(number);
            let relay = wire.add_relay(&first.ip().to_string(), |config| {
                config.relay_ports = ONLY_PORT..=ONLY_PORT;
                config.policy.own = vec![first.ip(), second.ip()];
                config.policy.listeners = vec![first.port(), alternate.port()];
                config.discovery = vec![Discovery {
                    addresses: [first.ip().into(), second.ip().into()],
                    ports: [first.port(), alternate.port()],
                }];
            });
            wire.relays[relay].others = places(number)[1..].to_vec();
        }
        wire.tapped = Some(Vec::new());
        Network { wire }
    }

    /// Lets all datagrams arrive that are under way, and those that they cause; these. Gives up when there are more than
    /// `limit`.
    fn settle(&mut self, limit: usize) -> Vec<Datagram> {
        self.wire.tapped = Some(Vec::new());
        // Longer than any datagram takes, and far less than any lifetime.
        while self.wire.is_busy() {
            self.wire.step();
            let sent = self.wire.tapped.as_ref().map_or(0, Vec::len);
            assert!(sent <= limit, "{sent} datagrams: they go round");
        }
        self.wire.tapped.replace(Vec::new()).unwrap()
    }

    /// What the server answers to a client at this address, who may be anybody: the attacker hears all.
    fn ask(
        &mut self,
        client: &mut Client,
        from: SocketAddr,
        server: &str,
        method: Method,
        fill: impl Fn(&mut Builder<'_>),
    ) -> Answer {
        let mut bytes = client.bare(method, &fill);
        loop {
            self.wire.send(from, addr(server), bytes);
            let sent = self.settle(100);
            let is_answer = |sent: &&Datagram| (sent.from, sent.to) == (addr(server), from);
            let answer = sent.iter().find(is_answer).unwrap();
            let answer = client.read(&answer.bytes);
            if answer.code != 401 {
                return answer;
            }
            bytes = client.request(method, &fill);
        }
    }

    /// An allocation of the only port, for a client at `from`.
    fn allocate(&mut self, from: SocketAddr, server: &str) -> Client {
        let mut client = Client::new("alice");
        let answer = self.ask(&mut client, from, server, Method::Allocate, udp_transport);
        assert_eq!(answer.code, 0);
        let relay = answer.address(attr::XOR_RELAYED_ADDRESS);
        assert_eq!(relay, Some(relay_at(server)));
        client
    }

    fn dropped(&self, reason: Dropped) -> u64 {
        let relays = self.wire.relays.iter();
        relays
            .map(|relay| relay.server.stats().dropped(reason))
            .sum()
    }
}

/// Two allocations, the client of each being the relay of the other, with a channel for the other's server or only a
/// permission.
fn in_a_ring(channels: bool) -> Network {
    let mut network = Network::new();
    // First a usual one, whose relay becomes the client of the other server's.
    let mut first = network.allocate(addr(ATTACKER), ONE);
    let mut second = network.allocate(relay_at(ONE), TWO);
    let release = |m: &mut Builder<'_>| m.u32(attr::LIFETIME, 0);
    let answer = network.ask(&mut first, addr(ATTACKER), ONE, Method::Refresh, release);
    assert_eq!(answer.code, 0);
    // Then the same relay again, for the other one's.
    let mut first = network.allocate(relay_at(TWO), ONE);
    for (client, from, server, other) in [
        (&mut first, relay_at(TWO), ONE, TWO),
        (&mut second, relay_at(ONE), TWO, ONE),
    ] {
        let method = match channels {
            true => Method::ChannelBind,
            false => Method::CreatePermission,
        };
        let answer = network.ask(client, from, server, method, |m| match channels {
            true => bind(0x4000, addr(other))(m),
            false => permit(&[addr(other)])(m),
        });
        assert_eq!(answer.code, 0);
    }
    network
}

#[test]
fn two_relays_that_are_each_others_clients_pass_a_packet_on_a_few_times_and_no_more() {
    for channels in [true, false] {
        let payloads = [
            b"x".to_vec(),
            vec![7; 1200],
            channel_data(0x4000, b"x"),
            Client::new("alice").bare(Method::Binding, |_| {}),
            Client::new("alice").send_indication(relay_at(TWO), b"x"),
        ];
        for bytes in payloads {
            let mut network = in_a_ring(channels);
            let before = network.dropped(Dropped::Looping);
            network.wire.send(addr(TWO), relay_at(ONE), bytes);
            let sent = network.settle(1000).len();
            assert!((1..=3).contains(&sent), "{sent}");
            assert_eq!(network.dropped(Dropped::Looping), before + 1);
        }
    }
}

#[test]
fn a_client_may_reach_a_server_through_another() {
    let mut network = Network::new();
    let mut first = network.allocate(addr(ATTACKER), ONE);
    let mut second = network.allocate(relay_at(ONE), TWO);
    let (client, peer) = (addr(ATTACKER), addr("8.8.4.4:9"));
    network.ask(&mut first, client, ONE, Method::ChannelBind, |m| {
        bind(0x4000, addr(TWO))(m);
    });
    let bound = network.ask(&mut second, relay_at(ONE), TWO, Method::ChannelBind, |m| {
        bind(0x4001, peer)(m);
    });
    assert_eq!(bound.code, 0);
    network.wire.send(peer, relay_at(TWO), b"hello".to_vec());
    let sent = network.settle(10);
    let last = sent.last().unwrap();
    assert_eq!(last.to, client);
    let wrapped = channel_data(0x4000, &channel_data(0x4001, b"hello"));
    assert_eq!(last.bytes, wrapped);
}

/// A datagram such as somebody might forge.
fn forged(random: &mut StdRng, places: &[SocketAddr], client: &mut Client) -> Datagram {
    let mut place = || places[random.random_range(0..places.len())];
    let (from, to, named) = (place(), place(), place());
    let class = [
        Class::Request,
        Class::Indication,
        Class::Success,
        Class::Error,
    ][random.random_range(0..4_usize)];
    let method = [
        Method::Binding,
        Method::Allocate,
        Method::Refresh,
        Method::Send,
        Method::Data,
        Method::CreatePermission,
        Method::ChannelBind,
        Method::Other(0x00F),
    ][random.random_range(0..8_usize)];
    let mut bytes = Vec::new();
    let mut message = Builder::new(&mut bytes, method, class, client.transaction());
    for _ in 0..random.random_range(0..4) {
        match random.random_range(0..9) {
            0 => message.xor_address(attr::XOR_PEER_ADDRESS, named),
            1 => message.attribute(attr::DATA, &channel_data(0x4000, b"x")),
            2 => message.attribute(
                attr::CHANGE_REQUEST,
                &[0, 0, 0, random.random_range(0..8_u8)],
            ),
            3 => message.attribute(attr::RESPONSE_PORT, &named.port().to_be_bytes()),
            4 => message.attribute(attr::PADDING, &vec![0; random.random_range(0..300_usize)]),
            5 => message.error_code(400 + random.random_range(0..100_u16), ""),
            6 => message.attribute(0x7F00, b"unknown"),
            7 => message.xor_address(attr::XOR_MAPPED_ADDRESS, named),
            _ => message.attribute(attr::NONCE, b"nonce"),
        }
    }
    if random.random_range(0..2) == 0 {
        message.fingerprint();
    }
    match random.random_range(0..5) {
        0 => bytes = channel_data(0x4000 + random.random_range(0..3_u16), &bytes),
        1 => bytes.truncate(random.random_range(0..=bytes.len())),
        _ => {}
    }
    Datagram { from, to, bytes }
}

#[test]
fn whatever_is_forged_in_the_name_of_one_costs_the_other_an_answer_at_most() {
    for seed in 0..20 {
        let mut network = in_a_ring(seed % 2 == 0);
        network.wire.weather = BAD;
        let mut random = StdRng::seed_from_u64(seed);
        let relays = [relay_at(ONE), relay_at(TWO), addr(ATTACKER)];
        let places = [&places(1)[..], &places(2), &relays].concat();
        let mut client = Client::new("alice");
        const FORGED: usize = 3000;
        let mut bytes = 0;
        for _ in 0..FORGED {
            let Datagram {
                from,
                to,
                bytes: forged,
            } = forged(&mut random, &places, &mut client);
            bytes += forged.len();
            network.wire.send(from, to, forged);
        }
        // Three for one that goes round as far as it can, and some are doubled on their way.
        let sent = network.settle(4 * FORGED);
        assert!(
            sent.len() > FORGED / 10,
            "they are answered: {}",
            sent.len()
        );
        assert!(sent.len() < FORGED, "{}", sent.len());
        let answered: usize = sent.iter().map(|sent| sent.bytes.len()).sum();
        assert!(answered < 3 * bytes, "{answered} for {bytes}");
        assert!(network.dropped(Dropped::NotForServers) > 0);
    }
}

#[test]
fn nothing_that_a_server_sends_is_answered_by_another() {
    let mut network = in_a_ring(true);
    let mut random = StdRng::seed_from_u64(7);
    let mut client = Client::new("alice");
    for _ in 0..3000 {
        let asked = forged(&mut random, &[addr(ONE), addr(TWO)], &mut client);
        network.wire.send(addr(ATTACKER), asked.to, asked.bytes);
    }
    // What goes to peers is not the servers' own.
    let mut said = network.settle(10_000);
    said.retain(|sent| places(1).contains(&sent.from) || places(2).contains(&sent.from));
    assert!(said.len() > 100, "{}", said.len());
    for sent in said {
        for (from, to) in [(ONE, TWO), (TWO, ONE)] {
            network.wire.send(addr(from), addr(to), sent.bytes.clone());
        }
    }
    assert_eq!(network.settle(10).len(), 0);
}

/// Sends from an address that is another's: of a relay in this process, whose port is shared.
fn forge(from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
    socket.set_reuse_port(true).unwrap();
    socket.bind(&from.into()).unwrap();
    socket.send_to(bytes, &to.into()).unwrap();
}

fn requests(relay: &Relay) -> u64 {
    total(relay, |stats| {
        let of = |method| {
            RESULTS
                .iter()
                .map(move |result| stats.requests(method, *result))
        };
        METHODS.iter().flat_map(|(method, _)| of(*method)).sum()
    })
}

#[test]
fn real_relays_that_are_set_upon_each_other_fall_silent() {
    let allow = &["127.0.0.0/8"];
    let start = |ip: &str| {
        let listeners = Listeners::bind(SocketAddr::new(ip.parse().unwrap(), 0), 2).unwrap();
        let mut config = config(ip, allow);
        config.policy.listeners = vec![listeners.address().port()];
        Relay::start(listeners, config, Arc::new(Users::default())).unwrap()
    };
    let (one, two) = (start("127.0.0.1"), start("127.0.0.2"));
    let mut client = Client::new("alice");
    let kinds: [(Method, u16); 4] = [
        (Method::Binding, 0),
        (Method::Binding, 420),
        (Method::Allocate, 401),
        (Method::CreatePermission, 401),
    ];
    let mut asked = 0;
    let mut round = |asked: &mut u64| {
        for (method, result) in kinds {
            let request = client.bare(method, |m| {
                // So that the challenge is no more than three times as long.
                m.text(attr::SOFTWARE, "a client that says more than it has to");
                if result == 420 {
                    m.attribute(0x7F00, &[]);
                }
            });
            forge(two.address(), one.address(), &request);
            *asked += 1;
        }
    };
    // An answer is lost where the forger's socket still shares the port.
    while dropped(&two, Dropped::NotForServers) == 0 {
        round(&mut asked);
        wait_until("all are answered", || requests(&one) == asked);
    }
    // Through a relay, with a permission for the other's listener.
    let mut alice = Caller::udp(&one, "alice");
    alice.allocate();
    let peers = [two.address()];
    let permitted = alice.ask(Method::CreatePermission, |m| permit(&peers)(m));
    assert_eq!(permitted.code, 0);
    let before = requests(&two);
    let question = alice.client.bare(Method::Binding, |_| {});
    let data = alice.client.send_indication(peers[0], &question);
    alice.send(&data);
    let answer = alice.receive();
    let message = Message::parse(&answer).unwrap();
    let inner = message.get(attr::DATA).unwrap().to_vec();
    assert_eq!(alice.client.read(&inner).code, 0);
    // The answer sent back to the one who gave it, and a last question to know that it has come.
    let ignored = dropped(&two, Dropped::NotForServers);
    let data = alice.client.send_indication(peers[0], &inner);
    alice.send(&data);
    wait_until("it is ignored", || {
        dropped(&two, Dropped::NotForServers) > ignored
    });
    assert_eq!(requests(&two), before + 1);
    assert_eq!(requests(&one), asked + 3, "the caller's own");

    // No relay reaches its own listener, by any name of this machine.
    for ip in ["127.0.0.1", "127.0.0.9"] {
        let own: IpAddr = ip.parse().unwrap();
        let listener = SocketAddr::new(own, one.address().port());
        let bound = alice.ask(Method::ChannelBind, |m| bind(0x4009, listener)(m));
        assert_eq!(bound.code, 403, "{ip}");
    }
}
