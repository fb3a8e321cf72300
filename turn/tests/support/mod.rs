//! A small TURN client for tests: builds requests, remembers the nonce, reads answers.
#![allow(dead_code)]

pub mod bench;
#[cfg(not(fuzzing))]
pub mod example;
#[cfg(not(fuzzing))]
pub mod memory;
#[cfg(not(fuzzing))]
pub mod namespace;
#[cfg(not(fuzzing))]
pub mod network;
#[cfg(not(fuzzing))]
pub mod sockets;

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use moznods_turn::auth::{
    Authenticator, Claim, Credential, Key, Loss, Owner, PasswordAlgorithm, Refusal, userhash,
};
use moznods_turn::server::{HEADROOM, ToClient};
use moznods_turn::wire::{Builder, Class, Message, Method, TransactionId, attr, integrity};

pub const REALM: &str = "test";

/// Knows `alice` (owner 1), `bob` (owner 2), `late` (whose credential ends at [`LATE_EXPIRES`]) and `blocked`; a
/// password is the name in upper case.
#[derive(Default)]
pub struct Users {
    pub revoked: Mutex<HashSet<Owner>>,
    pub over_quota: Mutex<HashSet<Owner>>,
    /// Of all credentials; those of an earlier one no longer permit anything.
    pub epoch: AtomicU64,
    /// What has come to nothing: name, client, whether it was of an allocation that runs, and why.
    pub refused: Mutex<Vec<(String, IpAddr, bool, Refusal)>>,
    /// Who was proven.
    pub proven: Mutex<Vec<Owner>>,
    /// Whether those are told nothing.
    pub silent: AtomicBool,
    /// Whether users are to come by USERHASH.
    pub anonymous: AtomicBool,
}

/// By this password, `bob` is owner 22.
pub const OTHER_PASSWORD: &str = "other";

/// Seconds since the Unix epoch.
pub const LATE_EXPIRES: u64 = 1_800_000_100;

impl Authenticator for Users {
    fn credentials(&self, claim: Claim<'_>) -> Result<Vec<Credential>, Refusal> {
        let owner = match claim.username {
            "alice" => Owner(1),
            "bob" => Owner(2),
            "late" => Owner(3),
            "blocked" => return Err(Refusal::Revoked),
            _ => return Err(Refusal::Unknown),
        };
        let epoch = self.epoch.load(Relaxed);
        let mut found = vec![Credential {
            owner,
            key: claim.key(&claim.username.to_uppercase()),
            epoch,
            expires: (claim.username == "late").then_some(LATE_EXPIRES),
            max_allocations: None,
            over_quota: self.over_quota.lock().unwrap().contains(&owner),
        }];
        if claim.username == "bob" {
            found.push(Credential {
                owner: Owner(22),
                key: claim.key(OTHER_PASSWORD),
                epoch,
                expires: None,
                max_allocations: Some(1),
                over_quota: false,
            });
        }
        Ok(found)
    }

    fn proven(&self, _: Claim<'_>, credential: &Credential) {
        self.proven.lock().unwrap().push(credential.owner);
    }

    fn refused(&self, claim: Claim<'_>, refusal: Refusal) -> bool {
        let name = claim.username.to_owned();
        let told = (name, claim.client, claim.is_running, refusal);
        self.refused.lock().unwrap().push(told);
        !self.silent.load(Relaxed)
    }

    fn username(&self, hash: &[u8; 32], realm: &str) -> Option<String> {
        let mut names = ["alice", "bob", "late", "blocked"].into_iter();
        names
            .find(|name| userhash(name, realm) == *hash)
            .map(str::to_owned)
    }

    fn is_anonymous(&self) -> bool {
        self.anonymous.load(Relaxed)
    }

    fn permits(&self, owner: Owner, epoch: u64) -> Result<(), Loss> {
        if epoch != self.epoch.load(Relaxed) || self.revoked.lock().unwrap().contains(&owner) {
            return Err(Loss::Revoked);
        }
        match self.over_quota.lock().unwrap().contains(&owner) {
            true => Err(Loss::OverQuota),
            false => Ok(()),
        }
    }
}

/// As clients of RFC 5389 make it.
pub fn key_of(username: &str) -> Key {
    Key::long_term(username, REALM, &username.to_uppercase())
}

/// One user's side of the conversation.
pub struct Client {
    pub username: &'static str,
    pub key: Key,
    pub realm: String,
    pub nonce: Vec<u8>,
    /// What it chooses where there is a choice; without one it is a client of RFC 5389.
    pub algorithm: Option<PasswordAlgorithm>,
    /// Value of the last PASSWORD-ALGORITHMS that came.
    pub offer: Vec<u8>,
    /// Whether it sends USERHASH.
    pub anonymous: bool,
    next: u32,
}

/// An answer, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub bytes: Vec<u8>,
    pub method: Method,
    /// 0 for success.
    pub code: u16,
    /// Whether the integrity by which it is to be judged was there and right.
    pub signed: bool,
}

impl Client {
    pub fn new(username: &'static str) -> Self {
        Client {
            username,
            key: key_of(username),
            realm: REALM.to_owned(),
            nonce: Vec::new(),
            algorithm: None,
            offer: Vec::new(),
            anonymous: false,
            next: 0,
        }
    }

    /// One of RFC 8489, which uses SHA-256 throughout.
    pub fn sha256(username: &'static str) -> Self {
        let algorithm = PasswordAlgorithm::Sha256;
        let password = username.to_uppercase();
        Client {
            key: Key::new(algorithm, username, REALM, &password),
            algorithm: Some(algorithm),
            ..Self::new(username)
        }
    }

    pub fn transaction(&mut self) -> TransactionId {
        self.next += 1;
        let mut id = [0xC1; 12];
        id[..4].copy_from_slice(&self.next.to_be_bytes());
        id[4] = self.username.as_bytes()[0];
        id
    }

    /// A request with credentials.
    pub fn request(&mut self, method: Method, fill: impl FnOnce(&mut Builder<'_>)) -> Vec<u8> {
        let id = self.transaction();
        self.request_as(id, method, fill)
    }

    pub fn request_as(
        &self,
        id: TransactionId,
        method: Method,
        fill: impl FnOnce(&mut Builder<'_>),
    ) -> Vec<u8> {
        let mut out = Vec::new();
        let mut message = Builder::new(&mut out, method, Class::Request, id);
        fill(&mut message);
        if self.anonymous {
            let hash = userhash(self.username, &self.realm);
            message.attribute(attr::USERHASH, &hash);
        } else {
            message.text(attr::USERNAME, self.username);
        }
        message.text(attr::REALM, &self.realm);
        message.attribute(attr::NONCE, &self.nonce);
        match self.algorithm {
            None => message.integrity(&self.key),
            Some(algorithm) => {
                message.attribute(attr::PASSWORD_ALGORITHMS, &self.offer);
                message.attribute(attr::PASSWORD_ALGORITHM, &algorithm.value());
                message.integrity_sha256(&self.key);
            }
        }
        out
    }

    pub fn bare(&mut self, method: Method, fill: impl FnOnce(&mut Builder<'_>)) -> Vec<u8> {
        let id = self.transaction();
        let mut out = Vec::new();
        fill(&mut Builder::new(&mut out, method, Class::Request, id));
        out
    }

    pub fn send_indication(&mut self, peer: SocketAddr, data: &[u8]) -> Vec<u8> {
        let id = self.transaction();
        let mut out = Vec::new();
        let mut message = Builder::new(&mut out, Method::Send, Class::Indication, id);
        message.xor_address(attr::XOR_PEER_ADDRESS, peer);
        message.attribute(attr::DATA, data);
        out
    }

    /// Reads an answer and keeps its nonce.
    pub fn read(&mut self, bytes: &[u8]) -> Answer {
        let message = Message::parse(bytes).expect("an answer is a STUN message");
        let code = match message.class() {
            Class::Success => 0,
            Class::Error => {
                let value = message.get(attr::ERROR_CODE).expect("an error has a code");
                u16::from(value[2]) * 100 + u16::from(value[3])
            }
            class => panic!("{class:?} is no answer"),
        };
        if let Some(nonce) = message.get(attr::NONCE) {
            self.nonce = nonce.to_vec();
        }
        if let Some(offer) = message.get(attr::PASSWORD_ALGORITHMS) {
            self.offer = offer.to_vec();
        }
        if let Some(realm) = message.get(attr::REALM) {
            self.realm = String::from_utf8(realm.to_vec()).unwrap();
        }
        Answer {
            bytes: bytes.to_vec(),
            method: message.method(),
            code,
            signed: integrity::verify(&message, &self.key),
        }
    }
}

impl Answer {
    pub fn get(&self, kind: u16) -> Option<Vec<u8>> {
        Message::parse(&self.bytes)
            .unwrap()
            .get(kind)
            .map(<[u8]>::to_vec)
    }

    pub fn address(&self, kind: u16) -> Option<SocketAddr> {
        let message = Message::parse(&self.bytes).unwrap();
        message.xor_address(message.get(kind)?)
    }

    /// All addresses of a kind, in order.
    pub fn addresses(&self, kind: u16) -> Vec<SocketAddr> {
        let message = Message::parse(&self.bytes).unwrap();
        let of_kind = message.attributes().filter(|found| found.kind == kind);
        of_kind
            .map(|found| message.xor_address(found.value).unwrap())
            .collect()
    }

    pub fn u32(&self, kind: u16) -> Option<u32> {
        Some(u32::from_be_bytes(self.get(kind)?.try_into().unwrap()))
    }
}

pub fn udp_transport(message: &mut Builder<'_>) {
    message.attribute(attr::REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
}

/// RFC 6062 §4.1.
pub fn tcp_transport(message: &mut Builder<'_>) {
    message.attribute(attr::REQUESTED_TRANSPORT, &[6, 0, 0, 0]);
}

pub fn bind(number: u16, peer: SocketAddr) -> impl FnOnce(&mut Builder<'_>) {
    move |message| {
        let [n0, n1] = number.to_be_bytes();
        message.attribute(attr::CHANNEL_NUMBER, &[n0, n1, 0, 0]);
        message.xor_address(attr::XOR_PEER_ADDRESS, peer);
    }
}

pub fn permit(peers: &[SocketAddr]) -> impl FnOnce(&mut Builder<'_>) + '_ {
    move |message| {
        for peer in peers {
            message.xor_address(attr::XOR_PEER_ADDRESS, *peer);
        }
    }
}

pub fn channel_data(number: u16, payload: &[u8]) -> Vec<u8> {
    let mut out = moznods_turn::wire::channel::header(number, payload.len())
        .unwrap()
        .to_vec();
    out.extend_from_slice(payload);
    out
}

/// Whom a Data indication with ICMP is about, its type, code and error data; `None` of any other message.
pub fn told(bytes: &[u8]) -> Option<(SocketAddr, u8, u16, u32)> {
    let message = Message::parse(bytes).ok()?;
    let &[0, 0, high, low, ref data @ ..] = message.get(attr::ICMP)? else {
        panic!("the first half is reserved, RFC 8656 §18.13")
    };
    assert_eq!(
        (message.method(), message.class()),
        (Method::Data, Class::Indication)
    );
    assert_eq!(message.get(attr::DATA), None);
    let peer = message.xor_address(message.get(attr::XOR_PEER_ADDRESS)?)?;
    let value = u16::from_be_bytes([high, low]);
    let data = u32::from_be_bytes(data.try_into().unwrap());
    Some((peer, (value >> 9) as u8, value & 0x1FF, data))
}

/// The message to a client that a payload becomes.
pub fn whole(to: ToClient, head: &[u8; HEADROOM], payload: &[u8]) -> Vec<u8> {
    let header = &head[HEADROOM - to.header..];
    [header, payload, &[0; 3][..to.padding]].concat()
}
