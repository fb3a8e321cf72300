//! The relay's core: datagrams and the time go in, verdicts and outputs come out.
//!
//! One [`Server`] belongs to one thread. A driver gives it each datagram of a client ([`Server::handle`]) and
//! of a peer ([`Server::handle_peer`]), does what the verdict says, then takes what is due from
//! [`Server::poll_output`], and calls [`Server::handle_timeout`] when [`Server::poll_timeout`] has passed.
//! Payload is never copied: a verdict names the range to send of the buffer that came in.

mod allocate;
mod allocation;
mod authenticate;
mod binding;
mod common;
mod data;
mod icmp;
mod limiter;
mod listing;
mod meter;
mod mobility;
mod outcome;
mod permit;
mod ports;
mod reports;
mod request;
mod settings;
mod shrink;
mod tcp;
mod usage;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::hash::{Hash, Hasher};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use foldhash::fast::RandomState;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use slab::Slab;

use crate::policy::PeerPolicy;
use crate::stats::{Dropped, Stats};
use crate::wire::build::DATA_INDICATION_HEADROOM;
use crate::wire::{self, Class, Message, Method, channel};

use allocation::Allocation;
pub use binding::Discovery;
pub use common::Common;
pub use data::ToClient;
pub use icmp::IcmpError;
pub(crate) use limiter::prefix;
use limiter::{Address, Limiter};
pub use listing::{AllocationInfo, AllocationName, BadName, Traffic, Which};
use mobility::{Elsewhere, Ticket};
pub use outcome::{Ended, Event, Output, Protocol, Verdict};
use reports::Reports;
pub use settings::{BadConfig, Config, Limits, RelayAddress};
use tcp::Connections;
pub use tcp::{ConnectionId, Direction};
pub use usage::Usage;

/// How a client reaches the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Transport {
    /// UDP, each datagram one message.
    Udp,
    /// TCP.
    Tcp,
    /// TLS over TCP.
    Tls,
}

impl Transport {
    /// Name for a listing.
    pub fn as_str(self) -> &'static str {
        match self {
            Transport::Udp => "udp",
            Transport::Tcp => "tcp",
            Transport::Tls => "tls",
        }
    }
}

/// Whose traffic: an allocation is tied to one (RFC 8656 §2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FiveTuple {
    /// Between the two.
    pub transport: Transport,
    /// The client, as it is seen from here: behind its NATs.
    pub client: SocketAddr,
    /// Where it arrived.
    pub server: SocketAddr,
}

/// Of the client alone, and so that no part of it takes a step of its own: this is done for each packet. Few clients
/// come to several of the server's addresses from the same one of theirs.
impl Hash for FiveTuple {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let port = u64::from(self.client.port()) << 8 | self.transport as u64;
        match self.client.ip() {
            IpAddr::V4(ip) => state.write_u64(u64::from(ip.to_bits()) << 32 | port),
            IpAddr::V6(ip) => {
                state.write_u128(ip.to_bits());
                state.write_u64(port);
            }
        }
    }
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

/// Bytes of the largest header that goes before data for a client.
pub const HEADROOM: usize = DATA_INDICATION_HEADROOM;

/// Outputs for which room is kept while there are none.
const MAX_SPARE_OUTPUTS: usize = 256;

/// A TURN server without sockets.
pub struct Server {
    worker: u8,
    common: Arc<Common>,
    policy: Arc<PeerPolicy>,
    stats: Arc<Stats>,
    rng: StdRng,
    limits: Limits,
    limiter: Limiter,
    /// Each in a box, beside its permissions and channels in memory, which goes back to the system without the others'.
    allocations: Slab<Box<Allocation>>,
    /// As many as there were at once since the tables were last made smaller.
    most: usize,
    generation: u64,
    by_tuple: HashMap<FiveTuple, u32, RandomState>,
    by_ticket: HashMap<Ticket, u32>,
    elsewhere: Elsewhere,
    /// When the last message came, and from whom.
    handling: Option<(Instant, SocketAddr)>,
    reports: Reports,
    /// When each allocation ends.
    timers: BTreeSet<(Instant, AllocationId)>,
    connections: Connections,
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
    /// `worker` tells it apart from the others that share `common`. `seed` decides ports, tokens and transaction ids: from the system's generator, except in tests.
    pub fn new(common: Arc<Common>, worker: u8, seed: [u8; 32]) -> Self {
        let mut rng = StdRng::from_seed(seed);
        let limits = common.limits();
        let limiter = Limiter::new(limits.unauthenticated_per_second, rng.random());
        common.add_server(worker);
        Server {
            worker,
            policy: common.policy(),
            common,
            stats: Arc::default(),
            rng,
            limits,
            limiter,
            allocations: Slab::new(),
            most: 0,
            generation: 0,
            by_tuple: HashMap::default(),
            by_ticket: HashMap::new(),
            elsewhere: Elsewhere::default(),
            handling: None,
            reports: Reports::default(),
            timers: BTreeSet::new(),
            connections: Connections::default(),
            outputs: VecDeque::new(),
            answer: Vec::with_capacity(256),
        }
    }

    /// Counters, to be read by any thread.
    pub fn stats(&self) -> &Arc<Stats> {
        &self.stats
    }

    /// The bytes that [`Verdict::Answer`] speaks of.
    pub fn answer(&self) -> &[u8] {
        &self.answer
    }

    /// One datagram, or one message of a stream, from a client.
    pub fn handle(&mut self, now: Now, tuple: FiveTuple, bytes: &[u8]) -> Verdict {
        self.handling = Some((now.instant, tuple.client));
        if let Some(worker) = self.elsewhere.server_of(now.instant, tuple) {
            return Verdict::Forward { worker };
        }
        match bytes.first() {
            Some(&first) if channel::is_channel_data(first) => self.channel_data(now, tuple, bytes),
            Some(_) => match Message::parse(bytes) {
                Ok(message) => self.message(now, tuple, message),
                Err(_) => self.discard(Dropped::Malformed),
            },
            None => self.discard(Dropped::Malformed),
        }
    }

    /// The outcome of [`Output::Bind`]: all are bound or none. `Some`: send [`Server::answer`] there.
    pub fn bound(
        &mut self,
        now: Now,
        id: AllocationId,
        outcome: io::Result<()>,
    ) -> Option<FiveTuple> {
        match outcome {
            Ok(()) => self.finish_allocate(id),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => self.try_other_port(now, id),
            Err(_) => self.bind_failed(now, id),
        }
    }

    /// What the driver is to do, in order; `None` when there is nothing more.
    pub fn poll_output(&mut self) -> Option<Output> {
        let output = self.outputs.pop_front();
        if output.is_none() && self.outputs.capacity() > MAX_SPARE_OUTPUTS {
            self.outputs = VecDeque::new();
        }
        output
    }

    /// When [`Server::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let allocation = self.timers.first().map(|(at, _)| *at);
        allocation
            .into_iter()
            .chain(self.connections.next_deadline())
            .min()
    }

    /// Ends what has expired.
    pub fn handle_timeout(&mut self, now: Now) {
        while let Some((at, id)) = self.timers.first().copied()
            && at <= now.instant
        {
            self.timers.pop_first();
            for ipv4 in [true, false] {
                let allocation = Self::find(&mut self.allocations, id);
                let leg = allocation.and_then(|allocation| allocation.legs.of(ipv4));
                if leg.is_some_and(|leg| leg.expires <= now.instant) {
                    self.end_family(now, id, ipv4, Ended::Expired);
                }
            }
            self.set_timer(id);
        }
        self.end_late_connections(now);
    }

    /// Takes over what has changed from outside: the limits; the peer policy, which ends permissions and channels that it
    /// refuses, and who may relay, which ends the allocations of those who may not.
    pub fn review(&mut self, now: Now) {
        let limits = self.common.limits();
        let before = std::mem::replace(&mut self.limits, limits);
        if limits.unauthenticated_per_second != before.unauthenticated_per_second {
            self.limiter = Limiter::new(limits.unauthenticated_per_second, self.rng.random());
        }
        if limits.bytes_per_second_per_owner != before.bytes_per_second_per_owner {
            for (_, allocation) in &mut self.allocations {
                allocation.meter = self.common.meter_of(allocation.owner);
            }
        }
        self.policy = self.common.policy();
        for (_, allocation) in &mut self.allocations {
            let judge_ip = |ip| self.policy.judge_ip(ip);
            let judge = |peer| self.common.judge(&self.policy, peer);
            allocation.peers.review(judge_ip, judge);
        }
        self.review_connections(now);
        let authenticator = &self.common.authenticator;
        let lost: Vec<_> = self
            .allocations
            .iter()
            .filter_map(|(_, allocation)| {
                let loss = authenticator.permits(allocation.owner, allocation.epoch);
                Some((allocation.id, loss.err()?))
            })
            .collect();
        for (id, loss) in lost {
            self.end(now, id, loss.into());
        }
    }

    /// A stream was closed: its allocation ends with it, unless its client may come back from elsewhere (RFC 8016).
    pub fn disconnected(&mut self, now: Now, tuple: FiveTuple) {
        if let Some(id) = self.id_of(tuple)
            && self.leave(now, tuple, id)
        {
            self.end(now, id, Ended::Disconnected);
        }
    }

    /// Whether a client may begin what costs much before it has shown any credentials, such as a TLS handshake: within
    /// [`Limits::unauthenticated_per_second`].
    pub fn admits(&mut self, now: Now, client: SocketAddr) -> bool {
        let admitted = self.limiter.take(client.ip(), Address::Proven, now.instant);
        if !admitted {
            self.stats.count_dropped(Dropped::RateLimited);
        }
        admitted
    }

    /// Whether this client has an allocation here.
    pub fn has_allocation(&self, tuple: FiveTuple) -> bool {
        self.by_tuple.contains_key(&tuple)
    }

    /// A datagram that the verdict let pass could not be sent.
    pub fn count_send_failed(&mut self) {
        self.stats.count_dropped(Dropped::SendFailed);
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

    fn find(allocations: &mut Slab<Box<Allocation>>, id: AllocationId) -> Option<&mut Allocation> {
        allocations
            .get_mut(id.slot())
            .map(Box::as_mut)
            .filter(|allocation| allocation.id == id)
    }

    fn id_of(&self, tuple: FiveTuple) -> Option<AllocationId> {
        let slot = self.by_tuple.get(&tuple)?;
        self.allocations
            .get(*slot as usize)
            .map(|allocation| allocation.id)
    }

    /// Has `handle_timeout` look at an allocation when the first of its legs expires.
    fn set_timer(&mut self, id: AllocationId) {
        if let Some(allocation) = Self::find(&mut self.allocations, id)
            && let Some(expires) = allocation.legs.next_expiry()
        {
            self.timers.remove(&(allocation.timer, id));
            allocation.timer = expires;
            self.timers.insert((expires, id));
        }
    }

    /// Ends one leg of an allocation; with the last the allocation ends.
    fn end_family(&mut self, now: Now, id: AllocationId, ipv4: bool, reason: Ended) {
        let Some(allocation) = Self::find(&mut self.allocations, id) else {
            return;
        };
        if !allocation.has_family(!ipv4) {
            return self.end(now, id, reason);
        }
        allocation.legs.remove(ipv4);
        allocation.peers.forget_family(ipv4);
        self.end_connections_of_family(id, ipv4);
        self.outputs.push_back(Output::CloseFamily {
            allocation: id,
            ipv4,
        });
        self.set_timer(id);
    }

    /// Forgets an allocation and gives back what it held.
    fn end(&mut self, now: Now, id: AllocationId, reason: Ended) {
        if Self::find(&mut self.allocations, id).is_none() {
            return;
        }
        let mut allocation = self.allocations.remove(id.slot());
        self.end_connections(&allocation);
        self.forget_tuple(allocation.tuple, id.slot);
        if let Some(mobility) = &allocation.mobility {
            self.end_mobility(mobility);
        }
        self.timers.remove(&(allocation.timer, id));
        self.stats.set_allocations(self.allocations.len());
        self.common.set_relay(allocation.port, None);
        self.common.release(allocation.owner, allocation.port);
        self.outputs.push_back(Output::Close { allocation: id });
        if let Some(pending) = allocation.pending {
            self.common.put_back(&pending.failed);
        } else {
            self.common.ledger.enter(&mut allocation, now.instant);
            self.stats.count_ended(reason);
            self.outputs.push_back(Output::Event(Event::Ended {
                owner: allocation.owner,
                tuple: allocation.tuple,
                relays: allocation.relays().collect(),
                reason,
                to_peer: allocation.to_peer,
                to_client: allocation.to_client,
                lasted: now.instant.saturating_duration_since(allocation.made),
            }));
        }
        self.shrink();
    }

    /// Drops what is being handled.
    fn discard(&mut self, reason: Dropped) -> Verdict {
        self.stats.count_dropped(reason);
        if let Some((now, client)) = self.handling {
            self.report(now, client, None, reason.as_str());
        }
        Verdict::Done
    }
}
