//! The client of librice, which knows SHA-256 and USERHASH, against the core: a client that others wrote, without
//! sockets on either side.

mod support;

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use moznods_turn::server::{FiveTuple, Transport, Verdict};
use moznods_turn::wire::{Builder, Class, Message, attr};
use support::bench::{Bench, PEER, addr, tcp, udp};
use turn_client_proto::api::{TurnConfig, TurnEvent, TurnPollRet, TurnRecvRet};
use turn_client_proto::prelude::*;
use turn_client_proto::stun::agent::Transmit;
use turn_client_proto::stun::auth::Feature;
use turn_client_proto::stun::types::TransportType;
use turn_client_proto::stun::types::message::IntegrityAlgorithm;
use turn_client_proto::tcp::TurnClientTcp;
use turn_client_proto::types::{Instant, TurnCredentials};
use turn_client_proto::udp::TurnClientUdp;

/// A client and the server it talks to.
struct Call<C> {
    bench: Bench,
    client: C,
    tuple: FiveTuple,
    clock: Instant,
    /// What the client sent, and what it got.
    requests: Vec<Vec<u8>>,
    answers: Vec<Vec<u8>>,
    to_peer: Vec<Vec<u8>>,
    /// What somebody on the way does to an answer.
    on_the_way: fn(&[u8]) -> Vec<u8>,
}

impl<C: TurnClientApi> Call<C> {
    fn new(bench: Bench, client: C, tuple: FiveTuple) -> Self {
        let clock = Instant::ZERO;
        Call {
            bench,
            client,
            tuple,
            clock,
            requests: Vec::new(),
            answers: Vec::new(),
            to_peer: Vec::new(),
            on_the_way: <[u8]>::to_vec,
        }
    }

    fn hand(&mut self, bytes: Vec<u8>) -> Option<Vec<u8>> {
        let received = self.client.recv(
            Transmit {
                data: bytes,
                transport: self.client.transport(),
                from: self.tuple.server,
                to: self.tuple.client,
            },
            self.clock,
        );
        match received {
            TurnRecvRet::PeerData(data) => Some(data.data().to_vec()),
            TurnRecvRet::Handled | TurnRecvRet::Ignored(_) => None,
            other => panic!("{other:?}"),
        }
    }

    /// Lets both talk until neither has anything to say. The client leaves milliseconds between its requests.
    fn settle(&mut self) {
        loop {
            let wait = match self.client.poll(self.clock) {
                TurnPollRet::WaitUntil(until) => until - self.clock,
                _ => Duration::ZERO,
            };
            let Some(sent) = self.client.poll_transmit(self.clock) else {
                if wait.is_zero() || wait > Duration::from_millis(100) {
                    return;
                }
                self.clock += wait;
                self.bench.now.instant += wait;
                continue;
            };
            let bytes = sent.data.as_ref().to_vec();
            let verdict = self.bench.verdict(self.tuple, &bytes);
            self.requests.push(bytes);
            let answered =
                (verdict == Verdict::Answer).then(|| self.bench.server.answer().to_vec());
            let answer = self.bench.outputs().or(answered);
            if let Some(answer) = answer {
                let answer = (self.on_the_way)(&answer);
                self.answers.push(answer.clone());
                self.hand(answer);
            }
        }
    }

    fn pass(&mut self, seconds: u64) {
        self.clock += Duration::from_secs(seconds);
        self.bench.pass(seconds);
        self.settle();
    }

    /// The one event that has come since.
    fn event(&mut self) -> TurnEvent {
        let event = self.client.poll_event().expect("an event");
        assert!(self.client.poll_event().is_none());
        event
    }

    fn send(&mut self, payload: &[u8]) {
        let sent = self
            .client
            .send_to(TransportType::Udp, addr(PEER), payload.to_vec(), self.clock)
            .unwrap()
            .unwrap();
        let bytes = sent.data.build();
        match self.bench.verdict(self.tuple, &bytes) {
            Verdict::ToPeer { payload, .. } => self.to_peer.push(bytes[payload].to_vec()),
            verdict => panic!("{verdict:?}"),
        }
    }

    fn hears(&mut self, payload: &[u8]) {
        let (_, bytes) = self.bench.peer_sends(PEER, payload).unwrap();
        assert_eq!(self.hand(bytes).as_deref(), Some(payload));
    }

    /// Everything a client does with an allocation.
    fn runs(&mut self) {
        self.settle();
        assert!(matches!(self.event(), TurnEvent::AllocationCreated(..)));
        let peer = addr(PEER);
        self.client
            .create_permission(TransportType::Udp, peer.ip(), self.clock)
            .unwrap();
        self.settle();
        assert!(matches!(self.event(), TurnEvent::PermissionCreated(..)));
        self.send(b"by indication");
        self.hears(b"and back");
        self.client
            .bind_channel(TransportType::Udp, peer, self.clock)
            .unwrap();
        self.settle();
        assert!(matches!(self.event(), TurnEvent::ChannelCreated(..)));
        // Lengths that need no padding, of which this client does not know on streams (RFC 8656 §12.5).
        self.send(b"by a channel");
        self.hears(b"and back again..");
        // Beyond the life of a nonce: it is told of another one and goes on with that.
        for _ in 0..30 {
            self.pass(60);
        }
        self.send(b"half an hour on.");
        self.hears(b"and back at last");
        let stale = |answer: &Vec<u8>| code(answer) == 438;
        assert!(self.answers.iter().any(stale));
        let expected: [&[u8]; 3] = [b"by indication", b"by a channel", b"half an hour on."];
        assert_eq!(self.to_peer, expected);

        assert_eq!(self.bench.live.len(), 1);
        self.client.delete(self.clock).unwrap();
        self.pass(1);
        assert!(self.bench.live.is_empty());
    }
}

/// Of an error; else 0.
fn code(bytes: &[u8]) -> u16 {
    let message = Message::parse(bytes).unwrap();
    match message.get(attr::ERROR_CODE) {
        Some(&[_, _, class, number, ..]) => u16::from(class) * 100 + u16::from(number),
        _ => 0,
    }
}

fn has(bytes: &[u8], kind: u16) -> bool {
    Message::parse(bytes).unwrap().find(kind).is_some()
}

/// `alice`, who knows these; the first is what such a client knows by default.
fn config(knows: &[IntegrityAlgorithm]) -> TurnConfig {
    let mut config = TurnConfig::new(TurnCredentials::new("alice", "ALICE"));
    config.set_supported_integrity(knows[0]);
    knows[1..]
        .iter()
        .for_each(|more| config.add_supported_integrity(*more));
    config
}

fn over_udp(bench: Bench, config: TurnConfig) -> Call<TurnClientUdp> {
    let tuple = udp(1);
    let client = TurnClientUdp::allocate(tuple.client, tuple.server, config);
    Call::new(bench, client, tuple)
}

fn over_tcp(bench: Bench, config: TurnConfig) -> Call<TurnClientTcp> {
    let tuple = tcp(1);
    let client = TurnClientTcp::allocate(tuple.client, tuple.server, config);
    Call::new(bench, client, tuple)
}

/// By which integrity all was signed, both ways.
fn assert_signed<C>(call: &Call<C>, requests: u16, answers: u16) {
    let proven = |bytes: &&Vec<u8>| has(bytes, attr::USERNAME) || has(bytes, attr::USERHASH);
    assert!(call.requests.iter().filter(proven).count() > 10);
    for bytes in call.requests.iter().filter(proven) {
        assert!(has(bytes, requests));
        assert!(has(bytes, attr::PASSWORD_ALGORITHM));
    }
    let refused = |bytes: &&Vec<u8>| [401, 438].contains(&code(bytes));
    for bytes in call.answers.iter().filter(|bytes| !refused(bytes)) {
        assert!(has(bytes, answers));
        assert!(has(bytes, attr::MESSAGE_INTEGRITY_SHA256));
    }
}

#[test]
fn librice_relays_by_sha256_over_udp_and_tcp() {
    use IntegrityAlgorithm::{Sha1, Sha256};
    let sha256 = attr::MESSAGE_INTEGRITY_SHA256;
    for knows in [&[Sha256][..], &[Sha1, Sha256]] {
        let mut call = over_udp(Bench::new(), config(knows));
        call.runs();
        assert_signed(&call, sha256, sha256);
        let mut call = over_tcp(Bench::new(), config(knows));
        call.runs();
        assert_signed(&call, sha256, sha256);
    }
}

/// As it comes: it chooses MD5 from what is offered, and looks for HMAC-SHA1 in the answers.
#[test]
fn librice_relays_without_sha256() {
    let knows = [IntegrityAlgorithm::Sha1];
    let mut call = over_udp(Bench::new(), config(&knows));
    call.runs();
    assert_signed(&call, attr::MESSAGE_INTEGRITY, attr::MESSAGE_INTEGRITY);
}

#[test]
fn librice_comes_by_userhash_where_anonymity_is_told() {
    let bench = Bench::new();
    bench.users.anonymous.store(true, Relaxed);
    let mut config = config(&[IntegrityAlgorithm::Sha256]);
    config.set_anonymous_username(Feature::Required);
    let mut call = over_udp(bench, config);
    call.runs();
    assert!(!call.requests.iter().any(|bytes| has(bytes, attr::USERNAME)));
}

/// Takes PASSWORD-ALGORITHMS out of a challenge.
fn without_offer(answer: &[u8]) -> Vec<u8> {
    let message = Message::parse(answer).unwrap();
    let mut out = Vec::new();
    let mut changed = Builder::new(
        &mut out,
        message.method(),
        Class::Error,
        message.transaction_id(),
    );
    for attribute in message.attributes() {
        if attribute.kind != attr::PASSWORD_ALGORITHMS {
            changed.attribute(attribute.kind, attribute.value);
        }
    }
    out
}

/// RFC 8489 §9.2.1, as the client sees it.
#[test]
fn librice_sees_that_an_offer_was_taken_away() {
    use IntegrityAlgorithm::{Sha1, Sha256};
    let mut call = over_udp(Bench::new(), config(&[Sha1, Sha256]));
    call.on_the_way = without_offer;
    call.settle();
    assert_eq!(call.requests.len(), 1, "it does not go on");
    assert_eq!(code(&call.answers[0]), 401);
    assert!(call.bench.live.is_empty());
    assert_eq!(call.tuple.transport, Transport::Udp);
}
