//! Requests: errors, and the shape of answers. Who they come from is found in `authenticate`; the rules of each method
//! stand in `allocate`, `permit` and `tcp`.

use super::allocation::Allocation;
use super::authenticate::{Proven, Unproven};
use super::limiter::Address;
use super::{FiveTuple, Now, Server, Verdict};
use crate::stats::Dropped;
use crate::wire::{Builder, Class, Message, Method, attr, padded};

/// Attributes named in one 420.
const UNKNOWN_MAX: usize = 16;
const FINGERPRINT_LEN: usize = 8;

/// Whether a comprehension-required attribute is one that this server does not understand (RFC 8489 §6.3.1).
pub(super) fn is_unknown_required(kind: u16) -> bool {
    kind < 0x8000
        && !matches!(
            kind,
            attr::MAPPED_ADDRESS
                | attr::USERNAME
                | attr::MESSAGE_INTEGRITY
                | attr::MESSAGE_INTEGRITY_SHA256
                | attr::PASSWORD_ALGORITHM
                | attr::USERHASH
                | attr::ERROR_CODE
                | attr::UNKNOWN_ATTRIBUTES
                | attr::CHANNEL_NUMBER
                | attr::LIFETIME
                | attr::XOR_PEER_ADDRESS
                | attr::DATA
                | attr::REALM
                | attr::NONCE
                | attr::XOR_RELAYED_ADDRESS
                | attr::REQUESTED_ADDRESS_FAMILY
                | attr::EVEN_PORT
                | attr::REQUESTED_TRANSPORT
                // In an Allocate it asks whether Send indications may have it (RFC 8656 §7.2, step 4): they may.
                | attr::DONT_FRAGMENT
                | attr::XOR_MAPPED_ADDRESS
                | attr::RESERVATION_TOKEN
                | attr::CONNECTION_ID
        )
}

/// An error that a request is answered with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Code {
    BadRequest = 400,
    Unauthorized = 401,
    Forbidden = 403,
    MobilityForbidden = 405,
    UnknownAttribute = 420,
    AllocationMismatch = 437,
    StaleNonce = 438,
    FamilyNotSupported = 440,
    WrongCredentials = 441,
    UnsupportedTransport = 442,
    PeerFamilyMismatch = 443,
    ConnectionExists = 446,
    ConnectionFailed = 447,
    QuotaReached = 486,
    InsufficientCapacity = 508,
}

impl Code {
    /// RFC 8489 §14.8, RFC 8656 §19, RFC 6062 §6.3.
    pub fn reason(self) -> &'static str {
        match self {
            Code::BadRequest => "Bad Request",
            Code::Unauthorized => "Unauthorized",
            Code::Forbidden => "Forbidden",
            Code::MobilityForbidden => "Mobility Forbidden",
            Code::UnknownAttribute => "Unknown Attribute",
            Code::AllocationMismatch => "Allocation Mismatch",
            Code::StaleNonce => "Stale Nonce",
            Code::FamilyNotSupported => "Address Family not Supported",
            Code::WrongCredentials => "Wrong Credentials",
            Code::UnsupportedTransport => "Unsupported Transport Protocol",
            Code::PeerFamilyMismatch => "Peer Address Family Mismatch",
            Code::ConnectionExists => "Connection Already Exists",
            Code::ConnectionFailed => "Connection Timeout or Failure",
            Code::QuotaReached => "Allocation Quota Reached",
            Code::InsufficientCapacity => "Insufficient Capacity",
        }
    }
}

impl Server {
    pub(super) fn request(&mut self, now: Now, tuple: FiveTuple, message: Message<'_>) -> Verdict {
        let method = message.method();
        if method == Method::Binding {
            return self.binding(now, tuple, message);
        }
        if let Some(worker) = self.other_server(tuple, &message) {
            return Verdict::HandOver { worker };
        }
        if let Some(worker) = self.server_of_ticket(now, tuple, &message) {
            return self.send_elsewhere(now, tuple, worker);
        }
        let proven = match self.authenticate(now, tuple, message) {
            Ok(proven) => proven,
            Err(Unproven::Refused(code, address)) => {
                return self.refuse_unproven(now, tuple, message, code, address);
            }
            Err(Unproven::Wrong(why)) => {
                let username = message.get(attr::USERNAME).map(String::from_utf8_lossy);
                self.report(now.instant, tuple.client, username.as_deref(), why);
                let code = Code::Unauthorized;
                return self.refuse_unproven(now, tuple, message, code, Address::Proven);
            }
            Err(Unproven::RateLimited) => return self.discard(Dropped::RateLimited),
            Err(Unproven::Banned) => {
                // It has cost as much as one that is answered.
                let ip = tuple.client.ip();
                self.limiter.take(ip, Address::Proven, now.instant);
                return self.discard(Dropped::Banned);
            }
        };
        let outcome = if message.protected().any(|a| is_unknown_required(a.kind)) {
            Err(Code::UnknownAttribute)
        } else {
            match method {
                Method::Allocate => self.allocate(now, tuple, &proven),
                Method::Refresh => self.refresh(now, tuple, &proven),
                Method::CreatePermission => self.create_permission(now, tuple, &proven),
                Method::ChannelBind => self.channel_bind(now, tuple, &proven),
                Method::Connect => self.connect(now, tuple, &proven),
                Method::ConnectionBind => self.connection_bind(tuple, &proven),
                _ => Err(Code::BadRequest),
            }
        };
        outcome.unwrap_or_else(|code| {
            let username = Some(&*proven.username);
            self.report(now.instant, tuple.client, username, code.reason());
            self.refuse(&proven, code)
        })
    }

    /// The allocation of this 5-tuple, if it is this user's (RFC 8656 §5).
    pub(super) fn own_allocation(
        &mut self,
        tuple: FiveTuple,
        proven: &Proven<'_>,
    ) -> Result<&mut Allocation, Code> {
        let allocation = self
            .by_tuple
            .get(&tuple)
            .and_then(|slot| self.allocations.get_mut(*slot as usize))
            .filter(|allocation| allocation.pending.is_none())
            .ok_or(Code::AllocationMismatch)?;
        if !proven.is_of(allocation) {
            return Err(Code::WrongCredentials);
        }
        Ok(allocation)
    }

    pub(super) fn succeed(
        &mut self,
        proven: &Proven<'_>,
        fill: impl FnOnce(&mut Builder<'_>),
    ) -> Verdict {
        let message = proven.message;
        let id = message.transaction_id();
        let mut answer = Builder::new(&mut self.answer, message.method(), Class::Success, id);
        fill(&mut answer);
        proven.signature.close(&mut answer);
        self.stats.count_request(message.method(), 0);
        Verdict::Answer
    }

    fn refuse(&mut self, proven: &Proven<'_>, code: Code) -> Verdict {
        let message = proven.message;
        let id = message.transaction_id();
        let mut answer = Builder::new(&mut self.answer, message.method(), Class::Error, id);
        answer.error_code(code as u16, code.reason());
        if code == Code::UnknownAttribute {
            answer.unknown_attributes(&unknown_attributes(&message, is_unknown_required));
        }
        proven.signature.close(&mut answer);
        self.stats.count_request(message.method(), code as u16);
        Verdict::Answer
    }

    /// Answers an address that has proven nothing: within its rate, and with at most three times the bytes it
    /// sent, so that nobody can aim the server at another with a forged source. What is optional comes in
    /// only as far as there is room. A stream's address is proven by its handshake.
    ///
    /// `write` is told how long the answer may be.
    pub(super) fn answer_unproven(
        &mut self,
        now: Now,
        tuple: FiveTuple,
        message: Message<'_>,
        address: Address,
        code: u16,
        write: impl FnOnce(&mut Vec<u8>, usize) -> Builder<'_>,
    ) -> Verdict {
        if !self.limiter.take(tuple.client.ip(), address, now.instant) {
            return self.discard(Dropped::RateLimited);
        }
        let limit = match address {
            Address::Unproven => 3 * message.bytes().len(),
            Address::Proven => usize::MAX,
        };
        let fingerprint = has_fingerprint(&message);
        let room = limit.saturating_sub(if fingerprint { FINGERPRINT_LEN } else { 0 });
        let software = &self.common.config().software;
        let mut answer = write(&mut self.answer, room);
        if answer.len() + 4 + padded(software.len()) <= room {
            answer.text(attr::SOFTWARE, software);
        }
        if fingerprint {
            answer.fingerprint();
        }
        if answer.len() > limit {
            return self.discard(Dropped::Amplification);
        }
        self.stats.count_request(message.method(), code);
        Verdict::Answer
    }
}

pub(super) fn has_fingerprint(message: &Message<'_>) -> bool {
    message.find(attr::FINGERPRINT).is_some()
}

/// Types to name in a 420, each once.
pub(super) fn unknown_attributes(
    message: &Message<'_>,
    is_unknown: impl Fn(u16) -> bool,
) -> Vec<u16> {
    let mut kinds = Vec::new();
    for attribute in message.protected().filter(|a| is_unknown(a.kind)) {
        if kinds.len() < UNKNOWN_MAX && !kinds.contains(&attribute.kind) {
            kinds.push(attribute.kind);
        }
    }
    kinds
}
