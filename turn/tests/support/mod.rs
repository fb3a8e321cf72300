//! A small TURN client for tests: builds requests, remembers the nonce, reads answers.
#![allow(dead_code)]

pub mod bench;

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Mutex;

use moznods_turn::auth::{Authenticator, Claim, Credential, Key, Owner, Refusal};
use moznods_turn::wire::{Builder, Class, Message, Method, TransactionId, attr, integrity};

pub const REALM: &str = "test";

/// Knows `alice` (owner 1), `bob` (owner 2), `late` (whose credential ends at [`LATE_EXPIRES`]) and `blocked`; a
/// password is the name in upper case.
#[derive(Default)]
pub struct Users {
    pub revoked: Mutex<HashSet<Owner>>,
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
            "late" if claim.allocating && claim.unix > LATE_EXPIRES => {
                return Err(Refusal::Expired);
            }
            "late" => Owner(3),
            "blocked" => return Err(Refusal::Revoked),
            _ => return Err(Refusal::Unknown),
        };
        let key = key_of(claim.username);
        let mut found = vec![Credential {
            owner,
            key,
            max_allocations: None,
        }];
        if claim.username == "bob" {
            let key = Key::long_term("bob", REALM, OTHER_PASSWORD);
            let owner = Owner(22);
            found.push(Credential {
                owner,
                key,
                max_allocations: Some(1),
            });
        }
        Ok(found)
    }

    fn permits(&self, owner: Owner) -> bool {
        !self.revoked.lock().unwrap().contains(&owner)
    }
}

pub fn key_of(username: &str) -> Key {
    Key::long_term(username, REALM, &username.to_uppercase())
}

/// One user's side of the conversation.
pub struct Client {
    pub username: &'static str,
    pub key: Key,
    pub realm: String,
    pub nonce: Vec<u8>,
    next: u32,
}

/// An answer, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub bytes: Vec<u8>,
    pub method: Method,
    /// 0 for success.
    pub code: u16,
    /// Whether MESSAGE-INTEGRITY was there and right.
    pub signed: bool,
}

impl Client {
    pub fn new(username: &'static str) -> Self {
        Client {
            username,
            key: key_of(username),
            realm: REALM.to_owned(),
            nonce: Vec::new(),
            next: 0,
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
        message.text(attr::USERNAME, self.username);
        message.text(attr::REALM, &self.realm);
        message.attribute(attr::NONCE, &self.nonce);
        message.integrity(&self.key);
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

    pub fn u32(&self, kind: u16) -> Option<u32> {
        Some(u32::from_be_bytes(self.get(kind)?.try_into().unwrap()))
    }
}

pub fn udp_transport(message: &mut Builder<'_>) {
    message.attribute(attr::REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
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
