//! Mobility (RFC 8016): an allocation that follows its client to another address.
//!
//! A client that may move has a ticket, which names the server that has its allocation. Its Refresh from a new address
//! may arrive at another server: a stream is handed over whole, and datagrams from that address are passed on from
//! then on ([`Verdict::Forward`]), while answers leave from any of the sockets that share the listening address.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::RngExt;
use rand::rngs::StdRng;
use ring::hmac;
use subtle::ConstantTimeEq;

use super::authenticate::Proven;
use super::limiter::Address;
use super::request::Code;
use super::{AllocationId, FiveTuple, Now, Server, Transport, Verdict};
use crate::stats::Dropped;
use crate::wire::{Message, Method, TransactionId, attr};

/// How long a Refresh with a ticket that has been replaced is known as sent again (RFC 8016 §3.2.2).
const OLD_TICKET_LIFETIME: Duration = Duration::from_secs(30);
/// How long an allocation whose stream was lost waits for its client.
const AWAY: Duration = Duration::from_secs(60);

/// Of one server; in place of the longest silent one another is taken.
const MAX_ELSEWHERE: usize = 4096;

const NAME_LEN: usize = 12;
const MAC_LEN: usize = 12;
const RAW_LEN: usize = NAME_LEN + MAC_LEN;

/// What a client shows to be known again: the server's index, random bytes, and a MAC over both, as text, for coturn's
/// client takes it for a string of at most 32 characters.
pub(super) type Ticket = [u8; RAW_LEN / 3 * 4];

/// Makes tickets and knows its own.
pub(super) struct Tickets(hmac::Key);

impl Tickets {
    pub fn new(key: &[u8; 32]) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, key);
        let derived = hmac::sign(&key, b"mobility tickets");
        Tickets(hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref()))
    }

    fn make(&self, worker: u8, rng: &mut StdRng) -> Ticket {
        let mut raw: [u8; RAW_LEN] = rng.random();
        raw[0] = worker;
        let (name, mac) = raw.split_at_mut(NAME_LEN);
        let signed = hmac::sign(&self.0, name);
        mac.iter_mut()
            .zip(signed.as_ref())
            .for_each(|(to, from)| *to = *from);
        let mut ticket = Ticket::default();
        // The buffer has the exact length of the encoding, so this cannot fail.
        let _ = URL_SAFE_NO_PAD.encode_slice(raw, &mut ticket);
        ticket
    }

    /// The ticket in these bytes and the server that it names, if it was made here.
    fn read(&self, value: &[u8]) -> Option<(Ticket, u8)> {
        let ticket: Ticket = value.try_into().ok()?;
        let mut raw = [0; RAW_LEN];
        let decoded = URL_SAFE_NO_PAD.decode_slice(ticket, &mut raw).ok()?;
        let (name, mac) = raw.get(..decoded)?.split_at_checked(NAME_LEN)?;
        let signed = hmac::sign(&self.0, name);
        let right: bool = signed.as_ref().get(..MAC_LEN)?.ct_eq(mac).into();
        right.then_some((ticket, raw[0]))
    }
}

/// What an allocation has that may move.
pub(super) struct Mobility {
    pub ticket: Ticket,
    previous: Option<Previous>,
    /// From where its client has shown its ticket, but sent no data yet.
    next: Option<FiveTuple>,
    /// Whether the stream of its 5-tuple was lost: that may be another client's by now.
    pub away: bool,
}

/// A ticket that has been replaced.
struct Previous {
    ticket: Ticket,
    transaction: TransactionId,
    tuple: FiveTuple,
    until: Instant,
}

/// Clients whose datagrams belong to other servers, since they have shown a ticket.
#[derive(Default)]
pub(super) struct Elsewhere {
    servers: HashMap<FiveTuple, (u8, Instant)>,
}

impl Elsewhere {
    /// The server to which what this client sends belongs, if it is another one.
    pub fn server_of(&mut self, now: Instant, tuple: FiveTuple) -> Option<u8> {
        if self.servers.is_empty() {
            return None;
        }
        let (worker, seen) = self.servers.get_mut(&tuple)?;
        *seen = now;
        Some(*worker)
    }

    fn insert(&mut self, tuple: FiveTuple, worker: u8, now: Instant) {
        if self.servers.len() >= MAX_ELSEWHERE
            && let Some(longest) = self.servers.iter().min_by_key(|(_, (_, seen))| *seen)
        {
            let longest = *longest.0;
            self.servers.remove(&longest);
        }
        self.servers.insert(tuple, (worker, now));
    }
}

impl Server {
    /// What an Allocate asks for mobility (RFC 8016 §3.1.2).
    pub(super) fn wants_mobility(&self, message: &Message<'_>) -> Result<bool, Code> {
        match message.get(attr::MOBILITY_TICKET) {
            None => Ok(false),
            Some([]) if self.common.config().mobility => Ok(true),
            Some([]) => Err(Code::MobilityForbidden),
            Some(_) => Err(Code::BadRequest),
        }
    }

    /// A new allocation that may move.
    pub(super) fn make_mobile(&mut self, id: AllocationId) {
        let ticket = self.common.tickets.make(self.worker, &mut self.rng);
        if let Some(allocation) = Self::find(&mut self.allocations, id) {
            self.by_ticket.insert(ticket, id.slot);
            allocation.mobility = Some(Box::new(Mobility {
                ticket,
                previous: None,
                next: None,
                away: false,
            }));
        }
    }

    /// The server to which a Refresh with this ticket belongs, if it is another one.
    pub(super) fn server_of_ticket(
        &self,
        now: Now,
        tuple: FiveTuple,
        message: &Message<'_>,
    ) -> Option<u8> {
        if message.method() != Method::Refresh || self.has_allocation(tuple) {
            return None;
        }
        // From an address that is proven, or it would be remembered for a forged one.
        let nonce = message.get(attr::NONCE)?;
        if !self.common.nonces.accepts(nonce, tuple, now.unix) {
            return None;
        }
        let shown = message.get(attr::MOBILITY_TICKET)?;
        let (_, worker) = self.common.tickets.read(shown)?;
        (worker != self.worker && self.common.has_server(worker)).then_some(worker)
    }

    /// Has what arrives from this client passed on to another server, this message first.
    pub(super) fn send_elsewhere(&mut self, now: Now, tuple: FiveTuple, worker: u8) -> Verdict {
        if tuple.transport != Transport::Udp {
            return Verdict::HandOver { worker };
        }
        // That it has the right is not known here, and its place is kept.
        let ip = tuple.client.ip();
        if !self.limiter.take(ip, Address::Proven, now.instant) {
            return self.discard(Dropped::RateLimited);
        }
        self.elsewhere.insert(tuple, worker, now.instant);
        Verdict::Forward { worker }
    }

    /// A datagram of a client that another server has passed on, as [`Verdict::Forward`] told it; otherwise as
    /// [`handle`](Self::handle).
    pub fn handle_forwarded(&mut self, now: Now, tuple: FiveTuple, bytes: &[u8]) -> Verdict {
        self.elsewhere.servers.remove(&tuple);
        self.handle(now, tuple, bytes)
    }

    /// The allocation that a Refresh with a ticket is about (RFC 8016 §3.2.2). Unless it is one sent again, the client
    /// may go on from this 5-tuple, with the next ticket.
    pub(super) fn follow(
        &mut self,
        now: Now,
        tuple: FiveTuple,
        proven: &Proven<'_>,
        value: &[u8],
        family: Option<bool>,
    ) -> Result<AllocationId, Code> {
        if !self.common.config().mobility {
            return Err(Code::MobilityForbidden);
        }
        let shown = self.common.tickets.read(value);
        let (ticket, _) = shown.ok_or(Code::BadRequest)?;
        let taken = self.by_tuple.get(&tuple).copied();
        let slot = self.by_ticket.get(&ticket).copied();
        let slot = slot.ok_or(Code::AllocationMismatch)?;
        let allocation = self.allocations.get_mut(slot as usize);
        let allocation = allocation.filter(|allocation| allocation.pending.is_none());
        let allocation = allocation.ok_or(Code::AllocationMismatch)?;
        if !proven.is_of(allocation) {
            return Err(Code::WrongCredentials);
        }
        if family.is_some_and(|ipv4| !allocation.has_family(ipv4)) {
            return Err(Code::PeerFamilyMismatch);
        }
        let id = allocation.id;
        let mobility = allocation
            .mobility
            .as_mut()
            .ok_or(Code::AllocationMismatch)?;
        let transaction = proven.message.transaction_id();
        if let Some(previous) = mobility.previous.as_ref().filter(|p| p.ticket == ticket) {
            let again = previous.transaction == transaction
                && previous.tuple == tuple
                && previous.until > now.instant;
            return again.then_some(id).ok_or(Code::BadRequest);
        }
        match taken {
            Some(own) if own == slot => return Err(Code::BadRequest),
            Some(_) => return Err(Code::AllocationMismatch),
            None => {}
        }
        let new = self.common.tickets.make(self.worker, &mut self.rng);
        mobility.ticket = new;
        let replaced = mobility.previous.replace(Previous {
            ticket,
            transaction,
            tuple,
            until: now.instant + OLD_TICKET_LIFETIME,
        });
        let left = if mobility.away {
            // The connection before was closed, so that nothing holds the client there.
            mobility.away = false;
            allocation.tuple = tuple;
            mobility.next.take()
        } else {
            mobility.next.replace(tuple)
        };
        if let Some(replaced) = replaced {
            self.by_ticket.remove(&replaced.ticket);
        }
        self.by_ticket.insert(new, slot);
        self.by_tuple.insert(tuple, slot);
        if let Some(left) = left {
            self.by_tuple.remove(&left);
        }
        Ok(id)
    }

    /// The slot of the allocation to which data from this 5-tuple belongs. Data from where a client has shown its ticket
    /// says that it has moved there (RFC 8016 §3.2.2).
    pub(super) fn slot_of_data(&mut self, tuple: FiveTuple) -> Option<u32> {
        let slot = *self.by_tuple.get(&tuple)?;
        let allocation = self.allocations.get(slot as usize)?;
        if allocation.tuple != tuple {
            self.settle(slot);
        }
        Some(slot)
    }

    /// The client's next 5-tuple takes the place of the one before.
    fn settle(&mut self, slot: u32) {
        let allocation = self.allocations.get_mut(slot as usize);
        let Some(allocation) = allocation else { return };
        let Some(mobility) = allocation.mobility.as_mut() else {
            return;
        };
        let Some(next) = mobility.next.take() else {
            return;
        };
        if let Some(previous) = mobility.previous.take() {
            self.by_ticket.remove(&previous.ticket);
        }
        mobility.away = false;
        let left = std::mem::replace(&mut allocation.tuple, next);
        self.forget_tuple(left, slot);
    }

    /// A 5-tuple of which an allocation may have been is no more: a stream that was closed. True when the allocation is to
    /// end with it; one that may move waits a while for its client.
    pub(super) fn leave(&mut self, now: Now, tuple: FiveTuple, id: AllocationId) -> bool {
        let Some(allocation) = Self::find(&mut self.allocations, id) else {
            return false;
        };
        let is_current = allocation.tuple == tuple;
        let Some(mobility) = allocation.mobility.as_mut() else {
            return true;
        };
        match (is_current, mobility.next) {
            (true, Some(_)) => self.settle(id.slot),
            (true, None) => mobility.away = true,
            (false, _) => mobility.next = None,
        }
        self.forget_tuple(tuple, id.slot);
        let allocation = Self::find(&mut self.allocations, id);
        if let Some(allocation) = allocation.filter(|allocation| allocation.is_away()) {
            allocation.legs.shorten(now.instant + AWAY);
            self.set_timer(id);
        }
        false
    }

    /// Forgets where the client of this slot was. A stream that was lost may have made room for another client's.
    pub(super) fn forget_tuple(&mut self, tuple: FiveTuple, slot: u32) {
        if self.by_tuple.get(&tuple) == Some(&slot) {
            self.by_tuple.remove(&tuple);
        }
    }

    /// Forgets the tickets of an allocation that has ended, and where its client might have moved.
    pub(super) fn end_mobility(&mut self, mobility: &Mobility) {
        self.by_ticket.remove(&mobility.ticket);
        if let Some(previous) = &mobility.previous {
            self.by_ticket.remove(&previous.ticket);
        }
        if let Some(next) = mobility.next {
            self.by_tuple.remove(&next);
        }
    }
}
