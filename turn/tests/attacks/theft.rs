//! What is another's: allocations, channels, nonces, reservations, whole requests, passwords.

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use moznods_turn::auth::Key;
use moznods_turn::stats::Dropped;
use moznods_turn::wire::{Builder, Method, attr};

use crate::patient::Patient;
use crate::support::bench::{Bench, udp};
use crate::support::sockets::{Caller, PATIENCE, dropped, live, start};
use crate::support::{Client, bind, channel_data, key_of, permit, udp_transport};
use crate::victim::FENCE;

const ALLOWED: &[&str] = &["127.0.0.0/8"];

fn peer() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.2:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

fn hears(socket: &UdpSocket) -> Vec<u8> {
    let mut buffer = [0; 1500];
    let count = socket.recv(&mut buffer).expect("a datagram");
    buffer[..count].to_vec()
}

/// The code of the answer to these very bytes.
fn code(caller: &mut Caller, bytes: &[u8]) -> u16 {
    caller.send(bytes);
    let answer = caller.receive();
    // Whoever sends what another has signed does not take over what the answer says.
    Client::new("nobody").read(&answer).code
}

#[test]
fn another_users_credentials_do_nothing_to_an_allocation() {
    let relay = start("127.0.0.1", ALLOWED);
    for connect in [Caller::udp, Caller::tcp] {
        let peer = peer();
        let to = peer.local_addr().unwrap();
        let mut alice = connect(&relay, "alice");
        let relayed = alice.allocate();
        alice.bind(0x4000, to);
        // Bob sends from alice's very address: a forged one, or behind the same NAT after her.
        let mut bob = Client::new("bob");
        bob.nonce.clone_from(&alice.client.nonce);
        let attempts = [
            bob.request(Method::Refresh, |m| m.u32(attr::LIFETIME, 0)),
            bob.request(Method::CreatePermission, permit(&[to])),
            bob.request(Method::ChannelBind, bind(0x4001, to)),
        ];
        for attempt in attempts {
            // RFC 8656 §5, §19: Wrong Credentials.
            assert_eq!(code(&mut alice, &attempt), 441);
        }
        let again = bob.request(Method::Allocate, udp_transport);
        assert_eq!(code(&mut alice, &again), 437);
        alice.send(&channel_data(0x4001, b"by bob's channel"));
        alice.send(&channel_data(0x4000, FENCE));
        assert_eq!(hears(&peer), FENCE);
        peer.send_to(b"back", relayed).unwrap();
        assert_eq!(alice.receive(), channel_data(0x4000, b"back"));
    }
}

#[test]
fn channels_and_permissions_are_of_one_five_tuple() {
    let relay = start("127.0.0.1", ALLOWED);
    let peer = peer();
    let to = peer.local_addr().unwrap();
    let mut alice = Caller::udp(&relay, "alice");
    let relayed = alice.allocate();
    alice.bind(0x4000, to);
    let mut without = Caller::udp(&relay, "bob");
    let mut with = Caller::udp(&relay, "bob");
    with.allocate();
    // The same user from elsewhere is no better, nor is the same address by another transport.
    let mut herself = Caller::udp(&relay, "alice");
    herself.allocate();
    let mut by_tcp = Caller::tcp(&relay, "alice");
    for thief in [&mut without, &mut with, &mut herself, &mut by_tcp] {
        let before = dropped(&relay, Dropped::NoPermission);
        thief.send(&channel_data(0x4000, b"stolen channel"));
        let data = thief.client.send_indication(to, b"stolen permission");
        thief.send(&data);
        let binding = thief.client.bare(Method::Binding, |_| {});
        assert_eq!(code(thief, &binding), 0);
        assert_eq!(dropped(&relay, Dropped::NoPermission), before + 2);
    }
    // Nor can others reach her by her relay address.
    let stranger = UdpSocket::bind("127.0.0.3:0").unwrap();
    let before = dropped(&relay, Dropped::NoPermission);
    stranger.send_to(b"from a stranger", relayed).unwrap();
    peer.send_to(b"from the peer", relayed).unwrap();
    assert_eq!(alice.receive(), channel_data(0x4000, b"from the peer"));
    assert_eq!(dropped(&relay, Dropped::NoPermission), before + 1);
    alice.send(&channel_data(0x4000, FENCE));
    assert_eq!(hears(&peer), FENCE);
}

#[test]
fn a_nonce_is_of_one_address_and_one_server() {
    let relay = start("127.0.0.1", ALLOWED);
    let mut alice = Caller::udp(&relay, "alice");
    alice.allocate();
    let mut bob = Caller::udp(&relay, "bob");
    let own = bob.client.bare(Method::Allocate, udp_transport);
    assert_eq!(code(&mut bob, &own), 401);
    bob.client.nonce.clone_from(&alice.client.nonce);
    let answer = bob.ask(Method::Allocate, udp_transport);
    assert_eq!((answer.code, answer.signed), (438, false));
    assert_ne!(bob.client.nonce, alice.client.nonce, "he is given his own");
    assert_eq!(bob.ask(Method::Allocate, udp_transport).code, 0);

    let elsewhere = start("127.0.0.1", ALLOWED);
    let mut carol = Caller::udp(&elsewhere, "alice");
    carol.client.nonce.clone_from(&alice.client.nonce);
    assert_eq!(carol.ask(Method::Allocate, udp_transport).code, 438);
}

#[test]
fn a_reserved_port_is_for_the_one_who_reserved_it() {
    let relay = start("127.0.0.1", ALLOWED);
    let mut alice = Caller::udp(&relay, "alice");
    let answer = alice.ask(Method::Allocate, |message| {
        udp_transport(message);
        message.attribute(attr::EVEN_PORT, &[0x80]);
    });
    let token = answer.get(attr::RESERVATION_TOKEN).unwrap();
    let even = answer.address(attr::XOR_RELAYED_ADDRESS).unwrap();
    let claim = |message: &mut Builder<'_>| {
        udp_transport(message);
        message.attribute(attr::RESERVATION_TOKEN, &token);
    };
    for _ in 0..3 {
        let mut bob = Caller::udp(&relay, "bob");
        assert_eq!(bob.ask(Method::Allocate, claim).code, 508);
    }
    let mut second = Caller::udp(&relay, "alice");
    let answer = second.ask(Method::Allocate, claim);
    let odd = answer.address(attr::XOR_RELAYED_ADDRESS).unwrap();
    assert_eq!(odd, SocketAddr::new(even.ip(), even.port() + 1));
    // Once is enough.
    let mut third = Caller::udp(&relay, "alice");
    assert_eq!(third.ask(Method::Allocate, claim).code, 508);
}

#[test]
fn a_request_overheard_is_of_no_use_elsewhere() {
    let relay = start("127.0.0.1", ALLOWED);
    let victim = peer();
    let to = victim.local_addr().unwrap();
    let mut alice = Caller::udp(&relay, "alice");
    alice.allocate();
    let allocate = alice.client.request(Method::Allocate, udp_transport);
    let overheard = [
        allocate.clone(),
        alice
            .client
            .request(Method::CreatePermission, permit(&[to])),
        alice.client.request(Method::ChannelBind, bind(0x4000, to)),
        alice
            .client
            .request(Method::Refresh, |m| m.u32(attr::LIFETIME, 0)),
    ];
    for connect in [Caller::udp, Caller::tcp] {
        let mut mallory = connect(&relay, "bob");
        for request in &overheard {
            assert_eq!(code(&mut mallory, request), 438);
        }
        mallory.allocate();
        for request in &overheard {
            assert_eq!(code(&mut mallory, request), 438);
        }
        mallory.send(&channel_data(0x4000, b"replayed"));
        assert_eq!(mallory.ask(Method::Refresh, |_| {}).code, 0);
    }
    // She is who she was.
    assert_eq!(alice.ask(Method::Refresh, |_| {}).code, 0);
    alice.bind(0x4000, to);
    alice.send(&channel_data(0x4000, FENCE));
    assert_eq!(hears(&victim), FENCE);
}

#[test]
fn a_request_overheard_is_of_no_use_later() {
    let mut bench = Bench::new();
    let mut alice = Client::new("alice");
    assert_eq!(bench.allocate(&mut alice, udp(1)).code, 0);
    let overheard = [
        alice.request(Method::Allocate, udp_transport),
        alice.request(Method::Refresh, |m| m.u32(attr::LIFETIME, 0)),
        alice.request(
            Method::CreatePermission,
            permit(&["8.8.8.8:1".parse().unwrap()]),
        ),
    ];
    // Her nonce has ended with her allocation.
    bench.pass(601);
    for request in overheard {
        let answer = bench.send(udp(1), &request).unwrap();
        assert_eq!(Client::new("nobody").read(&answer).code, 438);
    }
    assert!(bench.live.is_empty());
}

/// Counts what the relay says at the levels of warnings and errors.
struct Complaints;

static COMPLAINTS: AtomicUsize = AtomicUsize::new(0);

impl tracing::Subscriber for Complaints {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() <= tracing::Level::WARN
    }

    fn event(&self, event: &tracing::Event<'_>) {
        eprintln!("{}", event.metadata().name());
        COMPLAINTS.fetch_add(1, Relaxed);
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

#[test]
fn wrong_passwords_by_the_thousand_get_nowhere_and_nobody_is_shut_out() {
    const ATTEMPTS: u32 = 20_000;
    tracing::subscriber::set_global_default(Complaints).unwrap();
    let relay = start("127.0.0.1", ALLOWED);
    let mut mallory = Patient::new(&relay, "alice", "127.66.0.1:0");
    assert_eq!(
        mallory.ask(Method::Refresh, |_| {}).code,
        437,
        "the nonce is good"
    );
    let guesser = std::thread::spawn(move || {
        mallory.socket.set_nonblocking(true).unwrap();
        let mut answers = Vec::new();
        let mut buffer = [0; 1500];
        for attempt in 0..ATTEMPTS {
            let guess = format!("guess {attempt}");
            mallory.client.key = Key::long_term("alice", &mallory.client.realm, &guess);
            let bytes = mallory.client.request(Method::Allocate, udp_transport);
            let _ = mallory.socket.send(&bytes);
            while let Ok(count) = mallory.socket.recv(&mut buffer) {
                answers.push(mallory.client.read(&buffer[..count]).code);
            }
        }
        mallory.socket.set_nonblocking(false).unwrap();
        (mallory, answers)
    });
    let mut alice = Patient::new(&relay, "alice", "127.77.0.1:0");
    assert_eq!(alice.ask(Method::Allocate, udp_transport).code, 0);
    let (mut mallory, answers) = guesser.join().unwrap();
    assert!(answers.iter().all(|code| *code == 401), "{answers:?}");
    assert!(dropped(&relay, Dropped::RateLimited) > 0);
    assert_eq!(live(&relay), 1, "hers");

    // The right password from where the wrong ones came, when their flood is over.
    mallory.client.key = key_of("alice");
    assert_eq!(mallory.ask(Method::Allocate, udp_transport).code, 0);
    assert_eq!(
        COMPLAINTS.load(Relaxed),
        0,
        "what users do is no error of ours"
    );
}
