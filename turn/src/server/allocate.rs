//! Allocate and Refresh: how allocations come to be, live on and are given up.

use std::time::Duration;

use rand::RngExt;

use super::allocation::{Allocation, Leg, Legs, Peers, Pending};
use super::authenticate::{Proven, Signature};
use super::common::{Grant, NoPort, PortWish};
use super::icmp::Told;
use super::request::Code;
use super::{
    AllocationId, Ended, Event, FiveTuple, Now, Output, Protocol, RelayAddress, Server, Traffic,
    Usage, Verdict, tcp,
};
use crate::auth::Credential;
use crate::policy::is_tunnelled;
use crate::wire::message::{FAMILY_IPV4, FAMILY_IPV6};
use crate::wire::{Builder, Class, Message, Method, attr};

/// RFC 8656 §7.2: seconds when the client names none, and the least it is given.
const DEFAULT_LIFETIME: u32 = 600;
/// RFC 8656 §7.2 recommends an hour.
const MAX_LIFETIME: u32 = 3600;
/// The most by which an allocation's number is above that of the one before: see [`super::AllocationName`].
const NUMBER_STEP: u64 = 1 << 32;
/// Ports of other programs passed over in one Allocate.
const BIND_ATTEMPTS: usize = 16;

/// RFC 8656 §18.8 (IANA protocol number).
const PROTOCOL_UDP: u8 = 17;
/// RFC 6062 §4.1.
const PROTOCOL_TCP: u8 = 6;

impl Server {
    /// RFC 8656 §7.2.
    pub(super) fn allocate(
        &mut self,
        now: Now,
        tuple: FiveTuple,
        proven: &Proven<'_>,
    ) -> Result<Verdict, Code> {
        let message = proven.message;
        if let Some(id) = self.id_of(tuple) {
            return self.allocate_again(id, proven);
        }
        // RFC 8656 §21.4.
        if is_tunnelled(tuple.client.ip()) {
            return Err(Code::Forbidden);
        }
        let protocol = match message.get(attr::REQUESTED_TRANSPORT) {
            Some(&[PROTOCOL_UDP, _, _, _]) => Protocol::Udp,
            Some(&[PROTOCOL_TCP, _, _, _]) => {
                tcp::check_allocate(tuple.transport, &message)?;
                Protocol::Tcp
            }
            Some(&[_, _, _, _]) => return Err(Code::UnsupportedTransport),
            _ => return Err(Code::BadRequest),
        };
        let reserved = message.get(attr::RESERVATION_TOKEN);
        let wish = match (message.get(attr::EVEN_PORT), reserved) {
            (None, None) => PortWish::Any,
            (Some(&[flags]), None) => PortWish::Even {
                reserve_next: flags & 0x80 != 0,
            },
            (None, Some(token)) => {
                PortWish::Reserved(token.try_into().map_err(|_| Code::BadRequest)?)
            }
            _ => return Err(Code::BadRequest),
        };
        let families = self.families_for(&message, wish)?;
        let granted = self.granted_lifetime(now, lifetime(&message)?, &proven.credential);

        let mobile = self.wants_mobility(&message)? && protocol == Protocol::Udp;

        if self.common.is_draining() {
            return Err(Code::InsufficientCapacity);
        }
        if proven.credential.over_quota {
            return Err(Code::QuotaReached);
        }
        let owner = proven.credential.owner;
        let limit = proven.credential.max_allocations;
        let grant = self.common.take(
            owner,
            limit,
            families.relay,
            wish,
            now.instant,
            &mut self.rng,
        );
        let Grant {
            port,
            relay,
            token,
            meter,
        } = grant.map_err(|no_port| match no_port {
            NoPort::Quota => Code::QuotaReached,
            NoPort::Exhausted => Code::InsufficientCapacity,
        })?;
        let expires = now.instant + Duration::from_secs(granted.into());
        let mut legs = Legs::default();
        legs.add(Leg { relay, expires });
        let lacking = match families.additional {
            Some(Ok(relay)) => {
                legs.add(Leg { relay, expires });
                None
            }
            Some(Err(code)) => Some(code),
            None => None,
        };

        let step = self.rng.random_range(1..=NUMBER_STEP);
        self.generation = self.generation.wrapping_add(step);
        let entry = self.allocations.vacant_entry();
        let id = AllocationId {
            slot: entry.key() as u32,
            generation: self.generation,
        };
        let allocation = entry.insert(Box::new(Allocation {
            id,
            tuple,
            mobility: None,
            owner,
            epoch: proven.credential.epoch,
            username: proven.username.as_ref().into(),
            port,
            legs,
            made: now.instant,
            timer: expires,
            transaction: message.transaction_id(),
            granted,
            token,
            lacking,
            pending: Some(Box::new(Pending {
                signature: proven.signature,
                wish,
                failed: Vec::new(),
            })),
            meter,
            to_peer: Traffic::default(),
            to_client: Traffic::default(),
            icmp: Told::default(),
            entered: Usage::default(),
            peers: Peers::default(),
            connections: (protocol == Protocol::Tcp).then(Vec::new),
        }));
        self.outputs.push_back(allocation.bind());
        self.most = self.most.max(self.allocations.len());
        if mobile {
            self.make_mobile(id);
        }
        self.by_tuple.insert(tuple, id.slot);
        self.timers.insert((expires, id));
        self.stats.set_allocations(self.allocations.len());
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
        self.answer_allocate(id, proven.signature);
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
            relays: allocation.relays().collect(),
            protocol: allocation.protocol(),
        }));
        if allocation.protocol() == Protocol::Udp {
            let at = (self.worker, id.slot);
            self.common.set_relay(allocation.port, Some(at));
        }
        self.common.put_back(&pending.failed);
        self.answer_allocate(id, pending.signature);
        Some(tuple)
    }

    /// The port of a new allocation is another program's: asks for another one, or gives up.
    pub(super) fn try_other_port(&mut self, now: Now, id: AllocationId) -> Option<FiveTuple> {
        let allocation = Self::find(&mut self.allocations, id)?;
        let pending = allocation.pending.as_mut()?;
        // One that was promised cannot be exchanged.
        let even = match pending.wish {
            PortWish::Any => Some(false),
            PortWish::Even { .. } => Some(true),
            PortWish::Reserved(_) => None,
        };
        if pending.failed.len() < BIND_ATTEMPTS
            && let Some(even) = even
            && let Some(port) =
                self.common
                    .take_other(even, allocation.token.as_ref(), &mut self.rng)
        {
            pending.failed.push(allocation.port);
            allocation.port = port;
            self.outputs.push_back(allocation.bind());
            return None;
        }
        self.refuse_allocate(now, id)
    }

    /// The port of a new allocation cannot be bound for another reason than that it is taken: of a dual one the
    /// first family may do, else there is none (RFC 8656 §7.2, step 9).
    pub(super) fn bind_failed(&mut self, now: Now, id: AllocationId) -> Option<FiveTuple> {
        let allocation = Self::find(&mut self.allocations, id)?;
        if allocation.has_family(true) && allocation.has_family(false) {
            allocation.legs.remove(false);
            allocation.lacking = Some(Code::InsufficientCapacity);
            self.outputs.push_back(allocation.bind());
            return None;
        }
        self.refuse_allocate(now, id)
    }

    /// A new allocation cannot be had after all.
    fn refuse_allocate(&mut self, now: Now, id: AllocationId) -> Option<FiveTuple> {
        let allocation = Self::find(&mut self.allocations, id)?;
        let pending = allocation.pending.as_ref()?;
        if let Some(token) = &allocation.token {
            self.common.unreserve(token);
        }
        let (tuple, transaction) = (allocation.tuple, allocation.transaction);
        let signature = pending.signature;
        self.end(now, id, Ended::Released);
        let code = Code::InsufficientCapacity;
        let mut answer = Builder::new(
            &mut self.answer,
            Method::Allocate,
            Class::Error,
            transaction,
        );
        answer.error_code(code as u16, code.reason());
        signature.close(&mut answer);
        self.stats.count_request(Method::Allocate, code as u16);
        Some(tuple)
    }

    fn answer_allocate(&mut self, id: AllocationId, signature: Signature) {
        let Some(allocation) = Self::find(&mut self.allocations, id) else {
            return;
        };
        let mut answer = Builder::new(
            &mut self.answer,
            Method::Allocate,
            Class::Success,
            allocation.transaction,
        );
        for relay in allocation.relays() {
            answer.xor_address(attr::XOR_RELAYED_ADDRESS, relay);
        }
        if let Some(code) = allocation.lacking {
            let ipv4 = !allocation.has_family(true);
            answer.address_error_code(ipv4, code as u16, code.reason());
        }
        answer.u32(attr::LIFETIME, allocation.granted);
        if let Some(token) = allocation.token {
            answer.attribute(attr::RESERVATION_TOKEN, &token);
        }
        if let Some(mobility) = &allocation.mobility {
            answer.attribute(attr::MOBILITY_TICKET, &mobility.ticket);
        }
        answer.xor_address(attr::XOR_MAPPED_ADDRESS, allocation.tuple.client);
        answer.text(attr::SOFTWARE, &self.common.config().software);
        signature.close(&mut answer);
        self.stats.count_request(Method::Allocate, 0);
    }

    /// RFC 8656 §8.2.
    pub(super) fn refresh(
        &mut self,
        now: Now,
        tuple: FiveTuple,
        proven: &Proven<'_>,
    ) -> Result<Verdict, Code> {
        let message = proven.message;
        let granted = match lifetime(&message)? {
            Some(0) => 0,
            asked => self.granted_lifetime(now, asked, &proven.credential),
        };
        let family = requested_family(&message)?;
        let ticket = message.get(attr::MOBILITY_TICKET);
        let id = match ticket {
            Some(ticket) => self.follow(now, tuple, proven, ticket, family)?,
            None => self.own_allocation(tuple, proven)?.id,
        };
        let found = Self::find(&mut self.allocations, id);
        let allocation = found.ok_or(Code::AllocationMismatch)?;
        if family.is_some_and(|ipv4| !allocation.has_family(ipv4)) {
            return Err(Code::PeerFamilyMismatch);
        }
        let next = allocation.mobility.as_ref().filter(|_| ticket.is_some());
        let next = next.map(|mobility| mobility.ticket);
        // RFC 8656 §8.1: of a dual allocation one family can be refreshed or deleted, or all.
        match (granted, family) {
            (0, Some(ipv4)) => self.end_family(now, id, ipv4, Ended::Released),
            (0, None) => self.end(now, id, Ended::Released),
            _ => {
                let expires = now.instant + Duration::from_secs(granted.into());
                allocation.legs.extend(family, expires);
                self.set_timer(id);
            }
        }
        if let Some(allocation) = Self::find(&mut self.allocations, id) {
            self.outputs.push_back(Output::Event(Event::Refreshed {
                owner: allocation.owner,
                tuple: allocation.tuple,
                lifetime: Duration::from_secs(granted.into()),
            }));
        }
        Ok(self.succeed(proven, |answer| {
            answer.u32(attr::LIFETIME, granted);
            if let Some(ticket) = next {
                answer.attribute(attr::MOBILITY_TICKET, &ticket);
            }
        }))
    }

    /// RFC 8656 §7.2, step 9.
    fn granted_lifetime(&self, now: Now, asked: Option<u32>, credential: &Credential) -> u32 {
        let granted = asked
            .unwrap_or(DEFAULT_LIFETIME)
            .clamp(DEFAULT_LIFETIME, MAX_LIFETIME);
        match credential.expires_in(now.unix) {
            Some(left) if self.common.config().strict_expiry => {
                granted.min(u32::try_from(left).unwrap_or(u32::MAX))
            }
            _ => granted,
        }
    }

    /// The relay addresses to use (RFC 8656 §7.2, steps 5 to 9).
    fn families_for(&self, message: &Message<'_>, wish: PortWish) -> Result<Families, Code> {
        let relays = &self.common.config().relay;
        let of = |ipv4| {
            let relay = relays.iter().find(|relay| relay.public.is_ipv4() == ipv4);
            relay.copied().ok_or(Code::FamilyNotSupported)
        };
        let requested = requested_family(message)?;
        let additional = message
            .get(attr::ADDITIONAL_ADDRESS_FAMILY)
            .or_else(|| message.get(attr::DRAFT_ADDITIONAL_ADDRESS_FAMILY));
        let additional = match additional {
            None => None,
            Some(&[FAMILY_IPV6, _, _, _]) if requested.is_none() => Some(of(false)),
            Some(_) => return Err(Code::BadRequest),
        };
        match wish {
            // A reserved port has its family already.
            PortWish::Reserved(_) if requested.is_some() || additional.is_some() => {
                return Err(Code::BadRequest);
            }
            PortWish::Even { reserve_next: true } if additional.is_some() => {
                return Err(Code::BadRequest);
            }
            PortWish::Reserved(_) => {
                let any = relays.first().copied();
                let relay = any.ok_or(Code::InsufficientCapacity)?;
                return Ok(Families {
                    relay,
                    additional: None,
                });
            }
            _ => {}
        }
        Ok(Families {
            relay: of(requested.unwrap_or(true))?,
            additional,
        })
    }
}

/// What to relay from.
struct Families {
    relay: RelayAddress,
    /// Of a dual allocation; or why it cannot be had.
    additional: Option<Result<RelayAddress, Code>>,
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

/// Whether REQUESTED-ADDRESS-FAMILY asks for IPv4, where it stands.
fn requested_family(message: &Message<'_>) -> Result<Option<bool>, Code> {
    match message.get(attr::REQUESTED_ADDRESS_FAMILY) {
        None => Ok(None),
        Some(&[FAMILY_IPV4, _, _, _]) => Ok(Some(true)),
        Some(&[FAMILY_IPV6, _, _, _]) => Ok(Some(false)),
        Some(&[_, _, _, _]) => Err(Code::FamilyNotSupported),
        Some(_) => Err(Code::BadRequest),
    }
}
