//! What each fuzz target does with its bytes, and what must hold whatever they are. libFuzzer calls these (`fuzz_targets`),
//! and so does a plain test, with the corpus and mutations of it (`tests/fuzz.rs`). Both bring `crate::support`.

pub mod framer;
pub mod peer;
pub mod raw;
pub mod signed;
pub mod stateful;

use std::net::SocketAddr;

use moznods_turn::server::{FiveTuple, Transport, Verdict};
use moznods_turn::wire::{Class, Message};

use crate::support::Client;
use crate::support::bench::{Bench, addr, allocated};

/// A target: its name, and what it does.
type Target = (&'static str, fn(&[u8]));

pub const TARGETS: [Target; 5] = [
    ("framer", framer::run),
    ("raw", raw::run),
    ("signed", signed::run),
    ("peer", peer::run),
    ("stateful", stateful::run),
];

/// Reads decisions from bytes; when they are used up, every decision is the first one.
pub struct Choices<'a> {
    bytes: &'a [u8],
}

impl<'a> Choices<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Choices { bytes }
    }

    pub fn is_over(&self) -> bool {
        self.bytes.is_empty()
    }

    pub fn byte(&mut self) -> u8 {
        let (first, rest) = self.bytes.split_first().unwrap_or((&0, &[]));
        self.bytes = rest;
        *first
    }

    /// A number below `limit`, which is at most 256.
    pub fn below(&mut self, limit: usize) -> usize {
        usize::from(self.byte()) % limit
    }

    /// At most this many of the next bytes.
    pub fn take(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.bytes.split_at(len.min(self.bytes.len()));
        self.bytes = rest;
        taken
    }
}

/// Peers of the clients in [`prepare`]: one with a channel and a permission, one with a permission alone, and others with
/// neither, of which the last can have none.
pub const PEERS: [&str; 5] = [
    "8.8.8.8:4000",
    "8.8.4.4:53",
    "9.9.9.9:9",
    "[2606:4700::1]:9",
    "127.0.0.1:80",
];
pub const CHANNEL: u16 = 0x4000;

/// Gives `alice` an allocation on this 5-tuple, a channel to the first of [`PEERS`] and a permission for the second.
pub fn prepare(bench: &mut Bench, tuple: FiveTuple) -> Client {
    let (mut client, _) = allocated(bench, "alice", tuple);
    assert_eq!(
        bench.bind(&mut client, tuple, CHANNEL, addr(PEERS[0])).code,
        0
    );
    assert_eq!(bench.permit(&mut client, tuple, &[addr(PEERS[1])]).code, 0);
    client
}

/// Whether the server lets data go to this peer for a client of [`prepare`].
pub fn is_permitted(peer: SocketAddr) -> bool {
    PEERS[..2].iter().any(|text| addr(text).ip() == peer.ip())
}

/// What came of a client's bytes.
#[derive(Default)]
pub struct Outcome {
    pub answer: Option<Vec<u8>>,
    /// To whom payload went.
    pub peer: Option<SocketAddr>,
}

/// Handles bytes of a client and checks what must hold for any of them.
pub fn handle(bench: &mut Bench, tuple: FiveTuple, bytes: &[u8]) -> Outcome {
    let mut peer = None;
    let answer = match bench.verdict(tuple, bytes) {
        Verdict::Done => bench.outputs(),
        Verdict::Answer | Verdict::AnswerTo(_) => Some(bench.server.answer().to_vec()),
        Verdict::ToPeer {
            peer: to, payload, ..
        } => {
            assert!(payload.end <= bytes.len());
            peer = Some(to);
            None
        }
        Verdict::ToRelay { to, payload, .. } => {
            assert!(payload.end <= bytes.len());
            peer = Some(to);
            None
        }
        Verdict::Bind { .. } => Some(bench.server.answer().to_vec()),
        Verdict::Forward { .. } | Verdict::HandOver { .. } => None,
    };
    bench.outputs();
    if let Some(answer) = &answer {
        let asked = Message::parse(bytes).expect("only STUN is answered");
        let answered = Message::parse(answer).expect("an answer is STUN");
        assert_eq!(asked.class(), Class::Request, "no answer to an answer");
        assert!(matches!(answered.class(), Class::Success | Class::Error));
        assert_eq!(asked.method(), answered.method());
        assert_eq!(asked.transaction_id(), answered.transaction_id());
    }
    Outcome { answer, peer }
}

/// An answer to somebody who has proven nothing is at most three times as long as what he sent.
pub fn check_amplification(tuple: FiveTuple, bytes: &[u8], answer: &[u8]) {
    let unproven = tuple.transport == Transport::Udp;
    assert!(!unproven || answer.len() <= 3 * bytes.len());
}
