//! The relay's core: datagrams and the time go in, verdicts and outputs come out.
//!
//! One [`Server`] belongs to one thread. A driver gives it each datagram of a client ([`Server::handle`]) and
//! of a peer ([`Server::handle_peer`]), does what the verdict says, then takes what is due from
//! [`Server::poll_output`], and calls [`Server::handle_timeout`] when [`Server::poll_timeout`] has passed.
//! Payload is never copied: a verdict names the range to send of the buffer that came in.

mod allocation;
mod common;
mod limiter;
mod meter;
mod request;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use slab::Slab;

use crate::auth::Owner;
use crate::policy::{Peer, PeerPolicy};
use crate::stats::{Dropped, Stats};
use crate::wire::build::{DATA_INDICATION_HEADROOM, data_indication_header};
use crate::wire::{self, Class, Message, Method, attr, channel};

use allocation::Allocation;
pub use common::{BadConfig, Common, Config, Limits, RelayAddress};
use limiter::Limiter;
pub(crate) use limiter::prefix;

/// How a client reaches the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Transport {
    Udp,
    Tcp,
    /// TLS over TCP.
    Tls,
}

/// Whose traffic: an allocation is tied to one (RFC 8656 §2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FiveTuple {
    pub transport: Transport,
    pub client: SocketAddr,
    pub server: SocketAddr,
}

/// The time, told by the driver.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// For lifetimes.
    pub instant: Instant,
    /// Seconds since the Unix epoch, for nonces and credentials.
    pub unix: u64,
}

/// Names an allocation; never used twice by one server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AllocationId {
    slot: u32,
    generation: u64,
}

impl AllocationId {
    /// A number below the count of live allocations' high-water mark, used again after this one's end: for
    /// tables of the driver.
    pub fn slot(self) -> usize {
        self.slot as usize
    }
}

/// What to do with the datagram just handled.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// Nothing to send now.
    Done,
    /// Send [`Server::answer`] back to where it came from.
    Answer,
    /// Send this range of it from the allocation's relay socket to the peer.
    ToPeer {
        allocation: AllocationId,
        peer: SocketAddr,
        payload: Range<usize>,
    },
}

/// What the driver is to do beside the verdicts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Bind a UDP socket here and report with [`Server::bound`].
    Bind {
        allocation: AllocationId,
        address: SocketAddr,
    },
    /// Close the allocation's socket.
    Close { allocation: AllocationId },
    /// Something to tell.
    Event(Event),
}

/// What happened to an allocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    Allocated {
        owner: Owner,
        tuple: FiveTuple,
        relay: SocketAddr,
    },
    Ended {
        owner: Owner,
        tuple: FiveTuple,
        relay: SocketAddr,
        reason: Ended,
        /// Bytes of payload.
        to_peer: u64,
        to_client: u64,
        lasted: Duration,
    },
}

/// Why an allocation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Its lifetime passed without a Refresh.
    Expired,
    /// The client asked for it.
    Released,
    /// Its owner lost the right to relay.
    Revoked,
    /// The connection it came by was closed.
    Disconnected,
}

/// Bytes that a driver leaves free before a peer's payload, so that a header can be written there.
pub const HEADROOM: usize = DATA_INDICATION_HEADROOM;
/// Bytes that a driver leaves free behind it, for padding.
pub const TAILROOM: usize = 3;

/// A TURN server without sockets.
pub struct Server {
    common: Arc<Common>,
    policy: Arc<PeerPolicy>,
    stats: Arc<Stats>,
    rng: StdRng,
    limiter: Limiter,
    allocations: Slab<Allocation>,
    generation: u64,
    by_tuple: HashMap<FiveTuple, u32>,
    /// When each allocation ends.
    timers: BTreeSet<(Instant, AllocationId)>,
    outputs: VecDeque<Output>,
    answer: Vec<u8>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server")
            .field("allocations", &self.allocations.len())
            .finish_non_exhaustive()
    }
}

impl Server {
    /// `seed` decides ports, tokens and transaction ids: from the system's generator, except in tests.
    pub fn new(common: Arc<Common>, seed: [u8; 32]) -> Self {
        let limiter = Limiter::new(common.config().limits.unauthenticated_per_second);
        Server {
            policy: common.policy(),
            common,
            stats: Arc::default(),
            rng: StdRng::from_seed(seed),
            limiter,
            allocations: Slab::new(),
            generation: 0,
            by_tuple: HashMap::new(),
            timers: BTreeSet::new(),
            outputs: VecDeque::new(),
            answer: Vec::with_capacity(256),
        }
    }

    pub fn stats(&self) -> &Arc<Stats> {
        &self.stats
    }

    /// The bytes that [`Verdict::Answer`] speaks of.
    pub fn answer(&self) -> &[u8] {
        &self.answer
    }

    /// One datagram, or one message of a stream, from a client.
    pub fn handle(&mut self, now: Now, tuple: FiveTuple, bytes: &[u8]) -> Verdict {
        match bytes.first() {
            Some(&first) if channel::is_channel_data(first) => self.channel_data(now, tuple, bytes),
            Some(_) => match Message::parse(bytes) {
                Ok(message) => self.message(now, tuple, message),
                Err(_) => self.discard(Dropped::Malformed),
            },
            None => self.discard(Dropped::Malformed),
        }
    }

    /// One datagram from a peer, received on an allocation's relay socket: `len` bytes that begin at
    /// [`HEADROOM`] in `buffer`, with [`TAILROOM`] behind them. Returns to whom to send which range.
    pub fn handle_peer(
        &mut self,
        now: Now,
        allocation: AllocationId,
        peer: SocketAddr,
        buffer: &mut [u8],
        len: usize,
    ) -> Option<(FiveTuple, Range<usize>)> {
        let peer = self.common.as_public(peer);
        // RFC 8656 §11.3: without a permission it is discarded.
        let found = Self::find(&mut self.allocations, allocation);
        let Some(found) = found.filter(|found| found.peers.permits(peer.ip(), now.instant)) else {
            self.stats.count_dropped(Dropped::NoPermission);
            return None;
        };
        if !self.common.allows(&self.policy, peer) {
            self.stats.count_dropped(Dropped::ForbiddenPeer);
            return None;
        }
        if !found.may_relay(len, now.instant) {
            self.stats.count_dropped(Dropped::OverQuota);
            return None;
        }
        let stream = found.tuple.transport != Transport::Udp;
        let range = match found.peers.channel_of(peer, now.instant) {
            Some(number) => {
                let begin = HEADROOM - channel::HEADER_LEN;
                let header = channel::header(number, len)?;
                buffer.get_mut(begin..HEADROOM)?.copy_from_slice(&header);
                // RFC 8656 §12.5: padded on streams, and need not be on UDP.
                let end = if stream {
                    begin + channel::padded_len(len)
                } else {
                    HEADROOM + len
                };
                begin..end
            }
            None => {
                let head = buffer.first_chunk_mut::<HEADROOM>()?;
                let begin = data_indication_header(head, self.rng.random(), peer, len)?;
                begin..HEADROOM + wire::padded(len)
            }
        };
        buffer.get_mut(HEADROOM + len..range.end)?.fill(0);
        found.to_client += len as u64;
        self.stats.to_client.count(len);
        Some((found.tuple, range))
    }

    /// The outcome of [`Output::Bind`]. `Some`: send [`Server::answer`] there.
    pub fn bound(
        &mut self,
        now: Now,
        id: AllocationId,
        outcome: io::Result<()>,
    ) -> Option<FiveTuple> {
        match outcome {
            Ok(()) => self.finish_allocate(id),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => self.try_other_port(now, id),
            Err(_) => self.refuse_allocate(now, id),
        }
    }

    /// What the driver is to do, in order; `None` when there is nothing more.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Server::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// Ends what has expired.
    pub fn handle_timeout(&mut self, now: Now) {
        while self.poll_timeout().is_some_and(|at| at <= now.instant) {
            if let Some((_, id)) = self.timers.pop_first() {
                self.end(now, id, Ended::Expired);
            }
        }
    }

    /// Takes over what has changed from outside: the peer policy, which ends permissions and channels that it
    /// refuses, and who may relay, which ends the allocations of those who may not.
    pub fn review(&mut self, now: Now) {
        self.policy = self.common.policy();
        for (_, allocation) in &mut self.allocations {
            let permitted = |ip| self.policy.judge_ip(ip) != Peer::Refused;
            let bound = |peer| self.common.allows(&self.policy, peer);
            allocation.peers.retain(permitted, bound);
        }
        let permits = |owner| self.common.authenticator.permits(owner);
        let lost: Vec<_> = self
            .allocations
            .iter()
            .filter(|(_, allocation)| !permits(allocation.owner))
            .map(|(_, allocation)| allocation.id)
            .collect();
        lost.into_iter()
            .for_each(|id| self.end(now, id, Ended::Revoked));
    }

    /// A stream was closed: its allocation ends with it.
    pub fn disconnected(&mut self, now: Now, tuple: FiveTuple) {
        if let Some(id) = self.id_of(tuple) {
            self.end(now, id, Ended::Disconnected);
        }
    }

    /// Whether this client has an allocation here.
    pub fn has_allocation(&self, tuple: FiveTuple) -> bool {
        self.by_tuple.contains_key(&tuple)
    }

    /// A datagram that the verdict let pass could not be sent.
    pub fn count_send_failed(&mut self) {
        self.stats.count_dropped(Dropped::SendFailed);
    }

    fn channel_data(&mut self, now: Now, tuple: FiveTuple, bytes: &[u8]) -> Verdict {
        let Some((number, payload)) = channel::parse(bytes) else {
            return self.discard(Dropped::Malformed);
        };
        let slot = self.by_tuple.get(&tuple).copied();
        let allocation = slot.and_then(|slot| self.allocations.get(slot as usize));
        match allocation.and_then(|found| found.peers.channel_peer(number, now.instant)) {
            Some(peer) => self.pass_to_peer(now, slot, peer, payload),
            None => self.discard(Dropped::NoPermission),
        }
    }

    /// Passes payload on where the allocation has a permission for the peer and the policy allows it. A channel
    /// outlives its own permission by five minutes; a permission is for an address, whatever the port; and a relay
    /// of this server may have ended since.
    fn pass_to_peer(
        &mut self,
        now: Now,
        slot: Option<u32>,
        peer: SocketAddr,
        payload: Range<usize>,
    ) -> Verdict {
        let allocation = slot.and_then(|slot| self.allocations.get_mut(slot as usize));
        match allocation.filter(|found| found.peers.permits(peer.ip(), now.instant)) {
            Some(_) if !self.common.allows(&self.policy, peer) => {
                self.discard(Dropped::ForbiddenPeer)
            }
            Some(allocation) if !allocation.may_relay(payload.len(), now.instant) => {
                self.discard(Dropped::OverQuota)
            }
            Some(allocation) => {
                allocation.to_peer += payload.len() as u64;
                self.stats.to_peer.count(payload.len());
                Verdict::ToPeer {
                    allocation: allocation.id,
                    peer: self.common.as_local(peer),
                    payload,
                }
            }
            None => self.discard(Dropped::NoPermission),
        }
    }

    fn message(&mut self, now: Now, tuple: FiveTuple, message: Message<'_>) -> Verdict {
        match (message.class(), message.method()) {
            (Class::Request, Method::Send | Method::Data | Method::Other(_)) => {
                // RFC 8489 §6.3: neither of use nor to be answered.
                self.discard(Dropped::NotForServers)
            }
            (Class::Request, _) if !wire::integrity::fingerprint_fits(&message) => {
                self.discard(Dropped::Malformed)
            }
            (Class::Request, _) => self.request(now, tuple, message),
            (Class::Indication, Method::Send) => self.send_indication(now, tuple, message),
            // RFC 8489 §6.3.2: a keep-alive; nothing is answered.
            (Class::Indication, Method::Binding) => Verdict::Done,
            _ => self.discard(Dropped::NotForServers),
        }
    }

    /// RFC 8656 §11.2.
    fn send_indication(&mut self, now: Now, tuple: FiveTuple, message: Message<'_>) -> Verdict {
        let mut peer = None;
        let mut data = None;
        for attribute in message.attributes() {
            match attribute.kind {
                attr::XOR_PEER_ADDRESS if peer.is_none() => {
                    peer = Some(message.xor_address(attribute.value));
                }
                attr::DATA if data.is_none() => {
                    let begin = attribute.offset + 4;
                    data = Some(begin..begin + attribute.value.len());
                }
                kind if request::is_unknown_required(kind) => {
                    return self.discard(Dropped::Malformed);
                }
                _ => {}
            }
        }
        let (Some(Some(peer)), Some(payload)) = (peer, data) else {
            return self.discard(Dropped::Malformed);
        };
        let slot = self.by_tuple.get(&tuple).copied();
        self.pass_to_peer(now, slot, peer, payload)
    }

    fn find(allocations: &mut Slab<Allocation>, id: AllocationId) -> Option<&mut Allocation> {
        allocations
            .get_mut(id.slot())
            .filter(|allocation| allocation.id == id)
    }

    fn id_of(&self, tuple: FiveTuple) -> Option<AllocationId> {
        let slot = self.by_tuple.get(&tuple)?;
        self.allocations
            .get(*slot as usize)
            .map(|allocation| allocation.id)
    }

    /// Forgets an allocation and gives back what it held.
    fn end(&mut self, now: Now, id: AllocationId, reason: Ended) {
        if Self::find(&mut self.allocations, id).is_none() {
            return;
        }
        let allocation = self.allocations.remove(id.slot());
        self.by_tuple.remove(&allocation.tuple);
        self.timers.remove(&(allocation.expires, id));
        self.stats.set_allocations(self.allocations.len());
        self.common.set_live(allocation.relay.port(), false);
        self.common
            .release(allocation.owner, allocation.relay.port());
        self.outputs.push_back(Output::Close { allocation: id });
        match allocation.pending {
            Some(pending) => self.common.put_back(&pending.failed),
            None => self.outputs.push_back(Output::Event(Event::Ended {
                owner: allocation.owner,
                tuple: allocation.tuple,
                relay: allocation.relay,
                reason,
                to_peer: allocation.to_peer,
                to_client: allocation.to_client,
                lasted: now.instant.saturating_duration_since(allocation.made),
            })),
        }
        // A burst of allocations must not hold its memory for ever.
        if self.allocations.is_empty() {
            self.allocations.shrink_to_fit();
            self.by_tuple.shrink_to_fit();
        }
    }

    fn discard(&mut self, reason: Dropped) -> Verdict {
        self.stats.count_dropped(reason);
        Verdict::Done
    }
}
