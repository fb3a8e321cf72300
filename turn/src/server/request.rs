//! Requests: authentication, the rules of each method, and their answers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::allocation::{Allocation, ChannelConflict, Peers, Pending};
use super::common::{Grant, NoPort, PortWish};
use super::limiter::Address;
use super::{AllocationId, Ended, Event, FiveTuple, Now, Output, Server, Verdict};
use crate::auth::{Claim, Credential, Key};
use crate::policy::Peer;
use crate::stats::Dropped;
use crate::wire::{Builder, Class, Message, Method, attr, channel, integrity, padded};

/// RFC 8656 §7.2: seconds when the client names none, and the least it is given.
const DEFAULT_LIFETIME: u32 = 600;
/// RFC 8656 §7.2 recommends an hour.
const MAX_LIFETIME: u32 = 3600;
/// Ports of other programs passed over in one Allocate.
const BIND_ATTEMPTS: usize = 16;
/// Attributes named in one 420.
const UNKNOWN_MAX: usize = 16;
const FINGERPRINT_LEN: usize = 8;

/// RFC 8656 §18.8 (IANA protocol number).
const PROTOCOL_UDP: u8 = 17;

/// Whether a comprehension-required attribute is one that this server does not understand (RFC 8489 §6.3.1).
pub(super) fn is_unknown_required(kind: u16) -> bool {
    kind < 0x8000
        && !matches!(
            kind,
            attr::MAPPED_ADDRESS
                | attr::USERNAME
                | attr::MESSAGE_INTEGRITY
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
                | attr::XOR_MAPPED_ADDRESS
                | attr::RESERVATION_TOKEN
        )
}

/// An error that a request is answered with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Code {
    BadRequest = 400,
    Unauthorized = 401,
    Forbidden = 403,
    UnknownAttribute = 420,
    AllocationMismatch = 437,
    StaleNonce = 438,
    FamilyNotSupported = 440,
    WrongCredentials = 441,
    UnsupportedTransport = 442,
    PeerFamilyMismatch = 443,
    QuotaReached = 486,
    InsufficientCapacity = 508,
}

impl Code {
    /// RFC 8489 §14.8, RFC 8656 §19.
    fn reason(self) -> &'static str {
        match self {
            Code::BadRequest => "Bad Request",
            Code::Unauthorized => "Unauthorized",
            Code::Forbidden => "Forbidden",
            Code::UnknownAttribute => "Unknown Attribute",
            Code::AllocationMismatch => "Allocation Mismatch",
            Code::StaleNonce => "Stale Nonce",
            Code::FamilyNotSupported => "Address Family not Supported",
            Code::WrongCredentials => "Wrong Credentials",
            Code::UnsupportedTransport => "Unsupported Transport Protocol",
            Code::PeerFamilyMismatch => "Peer Address Family Mismatch",
            Code::QuotaReached => "Allocation Quota Reached",
            Code::InsufficientCapacity => "Insufficient Capacity",
        }
    }
}

/// Why a request counts as nobody's.
enum Unproven {
    Refused(Code, Address),
    /// From where so many wrong ones came that no more are looked at.
    RateLimited,
}

/// A request whose integrity was proven.
struct Proven<'a> {
    message: Message<'a>,
    username: &'a str,
    credential: Credential,
}

impl Proven<'_> {
    /// Whether it comes from the one who made the allocation (RFC 8656 §5).
    fn is_of(&self, allocation: &Allocation) -> bool {
        *allocation.username == *self.username && allocation.owner == self.credential.owner
    }
}

impl Server {
    pub(super) fn request(&mut self, now: Now, tuple: FiveTuple, message: Message<'_>) -> Verdict {
        let method = message.method();
        if method == Method::Binding {
            return self.binding(now, tuple, message);
        }
        let proven = match self.authenticate(now, tuple, message) {
            Ok(proven) => proven,
            Err(Unproven::Refused(code, address)) => {
                return self.refuse_unproven(now, tuple, message, code, address);
            }
            Err(Unproven::RateLimited) => return self.discard(Dropped::RateLimited),
        };
        let outcome = if message.protected().any(|a| is_unknown_required(a.kind)) {
            Err(Code::UnknownAttribute)
        } else {
            match method {
                Method::Allocate => self.allocate(now, tuple, &proven),
                Method::Refresh => self.refresh(now, tuple, &proven),
                Method::CreatePermission => self.create_permission(now, tuple, &proven),
                Method::ChannelBind => self.channel_bind(now, tuple, &proven),
                _ => Err(Code::BadRequest),
            }
        };
        outcome.unwrap_or_else(|code| self.refuse(&proven, code))
    }

    /// RFC 8489 §12: no credentials needed.
    fn binding(&mut self, now: Now, tuple: FiveTuple, message: Message<'_>) -> Verdict {
        let id = message.transaction_id();
        let address = Address::by_transport(tuple.transport);
        let unknown = unknown_attributes(&message);
        if unknown.is_empty() {
            return self.answer_unproven(now, tuple, message, address, 0, |out| {
                let mut answer = Builder::new(out, Method::Binding, Class::Success, id);
                answer.xor_address(attr::XOR_MAPPED_ADDRESS, tuple.client);
                answer
            });
        }
        let code = Code::UnknownAttribute as u16;
        self.answer_unproven(now, tuple, message, address, code, |out| {
            let mut answer = Builder::new(out, Method::Binding, Class::Error, id);
            answer.error_code(code, "");
            answer.unknown_attributes(&unknown);
            answer
        })
    }

    /// The long-term credential mechanism (RFC 8489 §9.2.4).
    fn authenticate<'a>(
        &mut self,
        now: Now,
        tuple: FiveTuple,
        message: Message<'a>,
    ) -> Result<Proven<'a>, Unproven> {
        let by_transport = Address::by_transport(tuple.transport);
        if message.find(attr::MESSAGE_INTEGRITY).is_none() {
            return Err(Unproven::Refused(Code::Unauthorized, by_transport));
        }
        let text = |kind| {
            message
                .get(kind)
                .and_then(|value| std::str::from_utf8(value).ok())
        };
        let (Some(username), Some(realm), Some(nonce)) = (
            text(attr::USERNAME),
            text(attr::REALM),
            message.get(attr::NONCE),
        ) else {
            return Err(Unproven::Refused(Code::BadRequest, by_transport));
        };
        if !self.common.nonces.accepts(nonce, tuple.client, now.unix) {
            return Err(Unproven::Refused(Code::StaleNonce, by_transport));
        }
        let unauthorized = || Unproven::Refused(Code::Unauthorized, Address::Proven);
        if realm != self.common.config().realm {
            return Err(unauthorized());
        }
        // What follows costs more than to ask for it.
        if !self
            .limiter
            .has(tuple.client.ip(), Address::Proven, now.instant)
        {
            return Err(Unproven::RateLimited);
        }
        let claim = Claim {
            username,
            realm,
            allocating: message.method() == Method::Allocate && !self.has_allocation(tuple),
            unix: now.unix,
        };
        let refused = |why: &str| {
            let username: String = username.chars().take(64).collect();
            tracing::debug!(client = %tuple.client, ?username, why, "relay credential refused");
            unauthorized()
        };
        let candidates = self
            .common
            .authenticator
            .credentials(claim)
            .map_err(|refusal| refused(&refusal.to_string()))?;
        let credential = candidates
            .into_iter()
            .find(|candidate| integrity::verify(&message, &candidate.key))
            .ok_or_else(|| refused("wrong password"))?;
        Ok(Proven {
            message,
            username,
            credential,
        })
    }

    /// RFC 8656 §7.2.
    fn allocate(
        &mut self,
        now: Now,
        tuple: FiveTuple,
        proven: &Proven<'_>,
    ) -> Result<Verdict, Code> {
        let message = proven.message;
        if let Some(id) = self.id_of(tuple) {
            return self.allocate_again(id, proven);
        }
        match message.get(attr::REQUESTED_TRANSPORT) {
            Some(&[PROTOCOL_UDP, _, _, _]) => {}
            Some(&[_, _, _, _]) => return Err(Code::UnsupportedTransport),
            _ => return Err(Code::BadRequest),
        }
        let wish = match (
            message.get(attr::EVEN_PORT),
            message.get(attr::RESERVATION_TOKEN),
        ) {
            (None, None) => PortWish::Any,
            (Some(&[flags]), None) => PortWish::Even {
                reserve_next: flags & 0x80 != 0,
            },
            // RFC 8656 §7.2, step 5: a reserved port has its family already.
            (None, Some(token)) if message.get(attr::REQUESTED_ADDRESS_FAMILY).is_none() => {
                PortWish::Reserved(token.try_into().map_err(|_| Code::BadRequest)?)
            }
            _ => return Err(Code::BadRequest),
        };
        let relay = self.relay_for(&message)?;
        let granted = granted_lifetime(lifetime(&message)?);

        if self.common.is_draining() {
            return Err(Code::InsufficientCapacity);
        }
        let owner = proven.credential.owner;
        let limit = proven.credential.max_allocations;
        let grant = self
            .common
            .take(owner, limit, relay, wish, now.instant, &mut self.rng);
        let Grant {
            port,
            relay,
            token,
            meter,
        } = grant.map_err(|no_port| match no_port {
            NoPort::Quota => Code::QuotaReached,
            NoPort::Exhausted => Code::InsufficientCapacity,
        })?;
        let Some(relay) = self.common.config().relay.get(relay).copied() else {
            return Err(Code::InsufficientCapacity);
        };

        self.generation = self.generation.wrapping_add(1);
        let entry = self.allocations.vacant_entry();
        let id = AllocationId {
            slot: entry.key() as u32,
            generation: self.generation,
        };
        let expires = now.instant + Duration::from_secs(granted.into());
        entry.insert(Allocation {
            id,
            tuple,
            owner,
            username: proven.username.into(),
            relay: SocketAddr::new(relay.public, port),
            made: now.instant,
            expires,
            transaction: message.transaction_id(),
            granted,
            token,
            pending: Some(Box::new(Pending {
                key: proven.credential.key,
                fingerprint: has_fingerprint(&message),
                local: relay.local,
                wish,
                failed: Vec::new(),
            })),
            meter,
            to_peer: 0,
            to_client: 0,
            peers: Peers::default(),
        });
        self.by_tuple.insert(tuple, id.slot);
        self.timers.insert((expires, id));
        self.stats.set_allocations(self.allocations.len());
        self.outputs.push_back(Output::Bind {
            allocation: id,
            address: SocketAddr::new(relay.local, port),
        });
        Ok(Verdict::Done)
    }

    /// An Allocate on a 5-tuple that has an allocation: answered as before when it is the same request sent
    /// again, else 437 (RFC 8656 §7.2, step 2).
    fn allocate_again(&mut self, id: AllocationId, proven: &Proven<'_>) -> Result<Verdict, Code> {
        let allocation = Self::find(&mut self.allocations, id).ok_or(Code::AllocationMismatch)?;
        if allocation.transaction != proven.message.transaction_id() || !proven.is_of(allocation) {
            return Err(Code::AllocationMismatch);
        }
        if allocation.pending.is_some() {
            return Ok(Verdict::Done);
        }
        self.answer_allocate(id, &proven.credential.key, has_fingerprint(&proven.message));
        Ok(Verdict::Answer)
    }

    /// The relay socket of a new allocation is bound.
    pub(super) fn finish_allocate(&mut self, id: AllocationId) -> Option<FiveTuple> {
        let allocation = Self::find(&mut self.allocations, id)?;
        let pending = allocation.pending.take()?;
        let tuple = allocation.tuple;
        self.outputs.push_back(Output::Event(Event::Allocated {
            owner: allocation.owner,
            tuple,
            relay: allocation.relay,
        }));
        self.common.set_live(allocation.relay.port(), true);
        self.common.put_back(&pending.failed);
        self.answer_allocate(id, &pending.key, pending.fingerprint);
        Some(tuple)
    }

    /// The port of a new allocation is another program's: asks for another one, or gives up.
    pub(super) fn try_other_port(&mut self, now: Now, id: AllocationId) -> Option<FiveTuple> {
        let allocation = Self::find(&mut self.allocations, id)?;
        let pending = allocation.pending.as_mut()?;
        // One that was promised, or has a promise above it, cannot be exchanged.
        let even = match pending.wish {
            PortWish::Any => Some(false),
            PortWish::Even { reserve_next } => (!reserve_next).then_some(true),
            PortWish::Reserved(_) => None,
        };
        if pending.failed.len() < BIND_ATTEMPTS
            && let Some(even) = even
            && let Some(port) = self.common.take_other(even, &mut self.rng)
        {
            pending.failed.push(allocation.relay.port());
            allocation.relay.set_port(port);
            let address = SocketAddr::new(pending.local, port);
            self.outputs.push_back(Output::Bind {
                allocation: id,
                address,
            });
            return None;
        }
        self.refuse_allocate(now, id)
    }

    /// A new allocation cannot be had after all.
    pub(super) fn refuse_allocate(&mut self, now: Now, id: AllocationId) -> Option<FiveTuple> {
        let allocation = Self::find(&mut self.allocations, id)?;
        let pending = allocation.pending.as_ref()?;
        if let Some(token) = &allocation.token {
            self.common.unreserve(token);
        }
        let (tuple, transaction) = (allocation.tuple, allocation.transaction);
        let (key, fingerprint) = (pending.key, pending.fingerprint);
        self.end(now, id, Ended::Released);
        let code = Code::InsufficientCapacity;
        let mut answer = Builder::new(
            &mut self.answer,
            Method::Allocate,
            Class::Error,
            transaction,
        );
        answer.error_code(code as u16, code.reason());
        answer.integrity(&key);
        if fingerprint {
            answer.fingerprint();
        }
        self.stats.count_request(Method::Allocate, code as u16);
        Some(tuple)
    }

    fn answer_allocate(&mut self, id: AllocationId, key: &Key, fingerprint: bool) {
        let Some(allocation) = Self::find(&mut self.allocations, id) else {
            return;
        };
        let mut answer = Builder::new(
            &mut self.answer,
            Method::Allocate,
            Class::Success,
            allocation.transaction,
        );
        answer.xor_address(attr::XOR_RELAYED_ADDRESS, allocation.relay);
        answer.u32(attr::LIFETIME, allocation.granted);
        if let Some(token) = allocation.token {
            answer.attribute(attr::RESERVATION_TOKEN, &token);
        }
        answer.xor_address(attr::XOR_MAPPED_ADDRESS, allocation.tuple.client);
        answer.text(attr::SOFTWARE, &self.common.config().software);
        answer.integrity(key);
        if fingerprint {
            answer.fingerprint();
        }
        self.stats.count_request(Method::Allocate, 0);
    }

    /// RFC 8656 §8.2.
    fn refresh(
        &mut self,
        now: Now,
        tuple: FiveTuple,
        proven: &Proven<'_>,
    ) -> Result<Verdict, Code> {
        let message = proven.message;
        let asked = lifetime(&message)?;
        let family = requested_family(&message)?;
        let allocation = self.own_allocation(tuple, proven)?;
        if family.is_some_and(|v4| v4 != allocation.relay.is_ipv4()) {
            return Err(Code::PeerFamilyMismatch);
        }
        let id = allocation.id;
        let granted = match asked {
            Some(0) => 0,
            asked => granted_lifetime(asked),
        };
        if granted == 0 {
            self.end(now, id, Ended::Released);
        } else {
            let expires = now.instant + Duration::from_secs(granted.into());
            let before = std::mem::replace(&mut allocation.expires, expires);
            self.timers.remove(&(before, id));
            self.timers.insert((expires, id));
        }
        Ok(self.succeed(proven, |answer| answer.u32(attr::LIFETIME, granted)))
    }

    /// RFC 8656 §10.2: all of the addresses or none.
    fn create_permission(
        &mut self,
        now: Now,
        tuple: FiveTuple,
        proven: &Proven<'_>,
    ) -> Result<Verdict, Code> {
        let message = proven.message;
        let limit = self.common.config().limits.permissions;
        let policy = Arc::clone(&self.policy);
        let allocation = self.own_allocation(tuple, proven)?;
        let mut ips = Vec::new();
        for attribute in message
            .protected()
            .filter(|a| a.kind == attr::XOR_PEER_ADDRESS)
        {
            let peer = message
                .xor_address(attribute.value)
                .ok_or(Code::BadRequest)?;
            check_family(allocation, peer)?;
            if policy.judge_ip(peer.ip()) == Peer::Refused {
                return Err(Code::Forbidden);
            }
            if !ips.contains(&peer.ip()) {
                ips.push(peer.ip());
            }
            if ips.len() > limit {
                return Err(Code::InsufficientCapacity);
            }
        }
        if ips.is_empty() {
            return Err(Code::BadRequest);
        }
        if !allocation.peers.has_room(&ips, limit, now.instant) {
            return Err(Code::InsufficientCapacity);
        }
        ips.iter()
            .for_each(|ip| allocation.peers.permit(*ip, now.instant));
        Ok(self.succeed(proven, |_| {}))
    }

    /// RFC 8656 §12.2.
    fn channel_bind(
        &mut self,
        now: Now,
        tuple: FiveTuple,
        proven: &Proven<'_>,
    ) -> Result<Verdict, Code> {
        let message = proven.message;
        let limits = self.common.config().limits;
        let (common, policy) = (Arc::clone(&self.common), Arc::clone(&self.policy));
        let allocation = self.own_allocation(tuple, proven)?;
        let number = match message.get(attr::CHANNEL_NUMBER) {
            Some(&[n0, n1, _, _]) => u16::from_be_bytes([n0, n1]),
            _ => return Err(Code::BadRequest),
        };
        let peer = message.get(attr::XOR_PEER_ADDRESS);
        let peer = peer
            .and_then(|value| message.xor_address(value))
            .ok_or(Code::BadRequest)?;
        let numbers = match common.config().legacy_channels {
            true => channel::LEGACY_NUMBERS,
            false => channel::NUMBERS,
        };
        if !numbers.contains(&number) {
            return Err(Code::BadRequest);
        }
        check_family(allocation, peer)?;
        if !common.allows(&policy, peer) {
            return Err(Code::Forbidden);
        }
        let checked = allocation
            .peers
            .check_channel(number, peer, limits.channels, now.instant);
        checked.map_err(|conflict| match conflict {
            ChannelConflict::Bound => Code::BadRequest,
            ChannelConflict::TooMany => Code::InsufficientCapacity,
        })?;
        if !allocation
            .peers
            .has_room(&[peer.ip()], limits.permissions, now.instant)
        {
            return Err(Code::InsufficientCapacity);
        }
        allocation.peers.bind_channel(number, peer, now.instant);
        allocation.peers.permit(peer.ip(), now.instant);
        Ok(self.succeed(proven, |_| {}))
    }

    /// The allocation of this 5-tuple, if it is this user's (RFC 8656 §5).
    fn own_allocation(
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

    /// Index of the relay address to use (RFC 8656 §7.2, step 6).
    fn relay_for(&self, message: &Message<'_>) -> Result<usize, Code> {
        let relays = &self.common.config().relay;
        let wanted = match requested_family(message)? {
            // RFC 8656 §18.6: IPv4 where none is asked for, and what there is where there is no IPv4.
            None => relays
                .iter()
                .position(|relay| relay.public.is_ipv4())
                .or(Some(0)),
            Some(v4) => relays.iter().position(|relay| relay.public.is_ipv4() == v4),
        };
        wanted
            .filter(|index| *index < relays.len())
            .ok_or(Code::FamilyNotSupported)
    }

    fn succeed(&mut self, proven: &Proven<'_>, fill: impl FnOnce(&mut Builder<'_>)) -> Verdict {
        let message = proven.message;
        let id = message.transaction_id();
        let mut answer = Builder::new(&mut self.answer, message.method(), Class::Success, id);
        fill(&mut answer);
        answer.integrity(&proven.credential.key);
        if has_fingerprint(&message) {
            answer.fingerprint();
        }
        self.stats.count_request(message.method(), 0);
        Verdict::Answer
    }

    fn refuse(&mut self, proven: &Proven<'_>, code: Code) -> Verdict {
        let message = proven.message;
        let id = message.transaction_id();
        let mut answer = Builder::new(&mut self.answer, message.method(), Class::Error, id);
        answer.error_code(code as u16, code.reason());
        if code == Code::UnknownAttribute {
            answer.unknown_attributes(&unknown_attributes(&message));
        }
        answer.integrity(&proven.credential.key);
        if has_fingerprint(&message) {
            answer.fingerprint();
        }
        self.stats.count_request(message.method(), code as u16);
        Verdict::Answer
    }

    /// Refuses one whose credentials are missing or wrong: without integrity, for there is no key to go by.
    fn refuse_unproven(
        &mut self,
        now: Now,
        tuple: FiveTuple,
        message: Message<'_>,
        code: Code,
        address: Address,
    ) -> Verdict {
        let common = Arc::clone(&self.common);
        let id = message.transaction_id();
        self.answer_unproven(now, tuple, message, address, code as u16, |out| {
            let mut answer = Builder::new(out, message.method(), Class::Error, id);
            answer.error_code(code as u16, "");
            if code != Code::BadRequest {
                answer.text(attr::REALM, &common.config().realm);
                answer.attribute(attr::NONCE, &common.nonces.make(tuple.client, now.unix));
            }
            answer
        })
    }

    /// Answers an address that has proven nothing: within its rate, and with at most three times the bytes it
    /// sent, so that nobody can aim the server at another with a forged source. What is optional comes in
    /// only as far as there is room. A stream's address is proven by its handshake.
    fn answer_unproven(
        &mut self,
        now: Now,
        tuple: FiveTuple,
        message: Message<'_>,
        address: Address,
        code: u16,
        write: impl FnOnce(&mut Vec<u8>) -> Builder<'_>,
    ) -> Verdict {
        if !self.limiter.take(tuple.client.ip(), address, now.instant) {
            return self.discard(Dropped::RateLimited);
        }
        let limit = match address {
            Address::Unproven => 3 * message.bytes().len(),
            Address::Proven => usize::MAX,
        };
        let software = &self.common.config().software;
        let mut answer = write(&mut self.answer);
        let fingerprint = if has_fingerprint(&message) {
            FINGERPRINT_LEN
        } else {
            0
        };
        if answer.len() + 4 + padded(software.len()) + fingerprint <= limit {
            answer.text(attr::SOFTWARE, software);
        }
        if fingerprint != 0 {
            answer.fingerprint();
        }
        if answer.len() > limit {
            return self.discard(Dropped::Amplification);
        }
        self.stats.count_request(message.method(), code);
        Verdict::Answer
    }
}

fn has_fingerprint(message: &Message<'_>) -> bool {
    message.find(attr::FINGERPRINT).is_some()
}

/// Types to name in a 420, each once.
fn unknown_attributes(message: &Message<'_>) -> Vec<u16> {
    let mut kinds = Vec::new();
    for attribute in message.protected().filter(|a| is_unknown_required(a.kind)) {
        if kinds.len() < UNKNOWN_MAX && !kinds.contains(&attribute.kind) {
            kinds.push(attribute.kind);
        }
    }
    kinds
}

/// Seconds that the client asks for; `None` when it does not say.
fn lifetime(message: &Message<'_>) -> Result<Option<u32>, Code> {
    match message.get(attr::LIFETIME) {
        None => Ok(None),
        Some(value) => match value.try_into() {
            Ok(raw) => Ok(Some(u32::from_be_bytes(raw))),
            Err(_) => Err(Code::BadRequest),
        },
    }
}

/// RFC 8656 §7.2, step 9.
fn granted_lifetime(asked: Option<u32>) -> u32 {
    asked
        .unwrap_or(DEFAULT_LIFETIME)
        .clamp(DEFAULT_LIFETIME, MAX_LIFETIME)
}

/// Whether REQUESTED-ADDRESS-FAMILY asks for IPv4, where it stands.
fn requested_family(message: &Message<'_>) -> Result<Option<bool>, Code> {
    match message.get(attr::REQUESTED_ADDRESS_FAMILY) {
        None => Ok(None),
        Some(&[0x01, _, _, _]) => Ok(Some(true)),
        Some(&[0x02, _, _, _]) => Ok(Some(false)),
        Some(&[_, _, _, _]) => Err(Code::FamilyNotSupported),
        Some(_) => Err(Code::BadRequest),
    }
}

fn check_family(allocation: &Allocation, peer: SocketAddr) -> Result<(), Code> {
    if allocation.relay.is_ipv4() == peer.is_ipv4() {
        Ok(())
    } else {
        Err(Code::PeerFamilyMismatch)
    }
}
