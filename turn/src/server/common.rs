//! What the servers of all threads share: settings, the authenticator, ports and quotas. Locks are taken when
//! an allocation is made or ends, never for a packet.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rand::RngExt;
use rand::rngs::StdRng;

use super::meter::Meter;
use crate::auth::{Authenticator, Owner};
use crate::nonce::Nonces;
use crate::policy::{Peer, PeerPolicy};

/// An address from which peers are relayed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RelayAddress {
    /// As clients and peers see it.
    pub public: IpAddr,
    /// To bind; another one than `public` behind 1:1 NAT.
    pub local: IpAddr,
}

/// Settings of a relay.
#[derive(Debug, Clone)]
pub struct Config {
    /// RFC 8489 §14.9; at most [`Config::REALM_MAX`] bytes.
    pub realm: String,
    /// Value of SOFTWARE (RFC 8489 §14.14).
    pub software: String,
    /// At least one, at most one per address family.
    pub relay: Vec<RelayAddress>,
    pub relay_ports: RangeInclusive<u16>,
    /// At the start; [`Common::set_policy`] sets another.
    pub policy: PeerPolicy,
    /// Whether channels of RFC 5766 (0x5000–0x7FFF) may be bound beside those of RFC 8656.
    pub legacy_channels: bool,
    pub limits: Limits,
}

impl Config {
    /// Bytes of a realm: a longer one would make the 401 to an Allocate of usual size more than three times
    /// as large as it, and so none would be sent.
    pub const REALM_MAX: usize = 28;

    fn check(&self) -> Result<(), BadConfig> {
        if self.realm.len() > Self::REALM_MAX {
            return Err(BadConfig::Realm);
        }
        if self.relay.is_empty() {
            return Err(BadConfig::NoRelay);
        }
        let unspecified =
            |relay: &&RelayAddress| relay.public.is_unspecified() || relay.local.is_unspecified();
        if let Some(relay) = self.relay.iter().find(unspecified) {
            return Err(BadConfig::Unspecified(relay.public));
        }
        Ok(())
    }
}

/// Settings that no relay can be run with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadConfig {
    #[error("the realm is longer than {} bytes", Config::REALM_MAX)]
    Realm,
    #[error("there is no address to relay from")]
    NoRelay,
    #[error("no address of this machine is known for relaying as {0}")]
    Unspecified(IpAddr),
}

/// Bounds; each says what is refused beyond it.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Live allocations and reserved ports of one owner (486); 0: no limit.
    pub allocations_per_owner: u32,
    /// Payload relayed for one owner per second, both ways together (dropped beyond); 0: no limit.
    pub bytes_per_second_per_owner: u64,
    /// Permissions of one allocation (508).
    pub permissions: usize,
    /// Channels of one allocation (508).
    pub channels: usize,
    /// Requests without valid credentials per second, worker and source prefix, /24 or /56 (no answer); 0: no
    /// limit.
    pub unauthenticated_per_second: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            allocations_per_owner: 64,
            bytes_per_second_per_owner: 0,
            permissions: 128,
            channels: 128,
            unauthenticated_per_second: 200,
        }
    }
}

/// Shared by the servers of one relay.
pub struct Common {
    config: Config,
    pub(super) nonces: Nonces,
    pub(super) authenticator: Arc<dyn Authenticator>,
    table: Mutex<Table>,
    policy: Mutex<Arc<PeerPolicy>>,
    draining: AtomicBool,
    /// A bit for each port: whether an allocation has it.
    live: Box<[AtomicU64]>,
}

impl std::fmt::Debug for Common {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Common")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

struct Table {
    ports: Ports,
    owners: HashMap<Owner, Holding>,
    reservations: HashMap<[u8; 8], Reservation>,
    /// When owners without anything were last forgotten.
    swept: Option<Instant>,
}

/// What one owner has.
struct Holding {
    /// Allocations and reserved ports.
    count: u32,
    meter: Option<Arc<Meter>>,
}

/// A port kept for the one who has its token (RFC 8656 §7.2, EVEN-PORT).
struct Reservation {
    port: u16,
    relay: usize,
    owner: Owner,
    expires: Instant,
}

/// RFC 8656 §7.2: at least 30 seconds.
const RESERVATION_LIFETIME: Duration = Duration::from_secs(30);

const SWEEP: Duration = Duration::from_secs(1);

/// What an Allocate asks of the port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PortWish {
    Any,
    /// EVEN-PORT; with `reserve_next`, the port above is kept for a later Allocate.
    Even {
        reserve_next: bool,
    },
    /// RESERVATION-TOKEN
    Reserved([u8; 8]),
}

/// A port granted.
#[derive(Debug)]
pub(super) struct Grant {
    pub port: u16,
    /// Index into [`Config::relay`].
    pub relay: usize,
    pub token: Option<[u8; 8]>,
    /// What its traffic is to be counted by.
    pub meter: Option<Arc<Meter>>,
}

/// Why no port was granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoPort {
    /// 486
    Quota,
    /// 508
    Exhausted,
}

impl Common {
    /// `nonce_key` signs nonces; it may be made anew at each start.
    pub fn new(
        config: Config,
        authenticator: Arc<dyn Authenticator>,
        nonce_key: &[u8; 32],
    ) -> Result<Arc<Self>, BadConfig> {
        config.check()?;
        let policy = Arc::new(config.policy.clone());
        let table = Table {
            ports: Ports::new(config.relay_ports.clone()),
            owners: HashMap::new(),
            reservations: HashMap::new(),
            swept: None,
        };
        Ok(Arc::new(Common {
            config,
            nonces: Nonces::new(nonce_key),
            authenticator,
            table: Mutex::new(table),
            policy: Mutex::new(policy),
            draining: AtomicBool::new(false),
            live: (0..1024).map(|_| AtomicU64::new(0)).collect(),
        }))
    }

    pub fn config(&self) -> &Config {
        &self.config
    }

    /// From now on no allocation is made (508); those there are live on.
    pub fn drain(&self) {
        self.draining.store(true, Relaxed);
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Relaxed)
    }

    /// Sets another policy; each server takes it over when it is next told to [`review`](super::Server::review).
    pub fn set_policy(&self, policy: PeerPolicy) {
        *self.policy.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(policy);
    }

    pub(super) fn policy(&self) -> Arc<PeerPolicy> {
        Arc::clone(&self.policy.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether packets may go to this peer, or come from it.
    pub(super) fn allows(&self, policy: &PeerPolicy, peer: SocketAddr) -> bool {
        match policy.judge(peer) {
            Peer::Refused => false,
            Peer::Allowed => true,
            Peer::OwnRelay => self.is_live(peer.port()),
        }
    }

    fn is_live(&self, port: u16) -> bool {
        let word = self.live.get(usize::from(port / 64));
        word.is_some_and(|word| word.load(Relaxed) & 1 << (port % 64) != 0)
    }

    /// Says whether an allocation has this port.
    pub(super) fn set_live(&self, port: u16, live: bool) {
        if let Some(word) = self.live.get(usize::from(port / 64)) {
            let bit = 1 << (port % 64);
            if live {
                word.fetch_or(bit, Relaxed);
            } else {
                word.fetch_and(!bit, Relaxed);
            }
        }
    }

    /// The address of a peer as others see it: a relay of this server behind 1:1 NAT is seen here by its
    /// local address.
    pub(super) fn as_public(&self, peer: SocketAddr) -> SocketAddr {
        self.translate(peer, |relay| (relay.local, relay.public))
    }

    /// Where to send for a peer: to the local address when it is a relay of this very server.
    pub(super) fn as_local(&self, peer: SocketAddr) -> SocketAddr {
        self.translate(peer, |relay| (relay.public, relay.local))
    }

    fn translate(
        &self,
        peer: SocketAddr,
        pair: impl Fn(&RelayAddress) -> (IpAddr, IpAddr),
    ) -> SocketAddr {
        let mut pairs = self.config.relay.iter().map(pair);
        match pairs.find(|(from, _)| *from == peer.ip()) {
            Some((_, to)) => SocketAddr::new(to, peer.port()),
            None => peer,
        }
    }

    /// Grants a port and counts it for its owner, who may have `limit` of them, or as many as the settings say; to be given back with [`Common::release`].
    pub(super) fn take(
        &self,
        owner: Owner,
        limit: Option<u32>,
        relay: usize,
        wish: PortWish,
        now: Instant,
        rng: &mut StdRng,
    ) -> Result<Grant, NoPort> {
        let mut table = self.lock();
        table.sweep(now);
        // A port reserved is counted already.
        if let PortWish::Reserved(token) = wish {
            return match table.reservations.get(&token) {
                Some(reservation) if reservation.owner == owner => {
                    let (port, relay) = (reservation.port, reservation.relay);
                    table.reservations.remove(&token);
                    let holding = table.owners.get(&owner);
                    Ok(Grant {
                        port,
                        relay,
                        token: None,
                        meter: holding.and_then(|holding| holding.meter.clone()),
                    })
                }
                _ => Err(NoPort::Exhausted),
            };
        }
        let needed = match wish {
            PortWish::Even { reserve_next: true } => 2,
            _ => 1,
        };
        let limit = limit.unwrap_or(self.config.limits.allocations_per_owner);
        let held = table.owners.get(&owner).map_or(0, |holding| holding.count);
        if limit != 0 && held + needed > limit {
            return Err(NoPort::Quota);
        }
        let port = match wish {
            PortWish::Even { reserve_next } => table.ports.take_even(reserve_next, rng),
            _ => table.ports.take_any(rng),
        };
        let port = port.ok_or(NoPort::Exhausted)?;
        let rate = self.config.limits.bytes_per_second_per_owner;
        let holding = table.owners.entry(owner).or_insert_with(|| Holding {
            count: 0,
            meter: (rate != 0).then(|| Arc::new(Meter::new(rate, now))),
        });
        holding.count += needed;
        let meter = holding.meter.clone();
        let token = (needed == 2).then(|| rng.random());
        if let Some(token) = token {
            let reservation = Reservation {
                port: port + 1,
                relay,
                owner,
                expires: now + RESERVATION_LIFETIME,
            };
            table.reservations.insert(token, reservation);
        }
        Ok(Grant {
            port,
            relay,
            token,
            meter,
        })
    }

    /// Another port in place of one that another program holds; that one stays with the caller.
    pub(super) fn take_other(&self, even: bool, rng: &mut StdRng) -> Option<u16> {
        let mut table = self.lock();
        if even {
            table.ports.take_even(false, rng)
        } else {
            table.ports.take_any(rng)
        }
    }

    /// Gives ports back that were taken but never counted.
    pub(super) fn put_back(&self, ports: &[u16]) {
        let mut table = self.lock();
        ports.iter().for_each(|port| table.ports.give(*port));
    }

    /// Forgets a reservation whose token nobody has learned.
    pub(super) fn unreserve(&self, token: &[u8; 8]) {
        let mut table = self.lock();
        if let Some(reservation) = table.reservations.remove(token) {
            table.release(reservation.owner, reservation.port);
        }
    }

    /// Ends what [`Common::take`] began for one port.
    pub(super) fn release(&self, owner: Owner, port: u16) {
        self.lock().release(owner, port);
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        // Nothing here can panic half-way through a change.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn release(&mut self, owner: Owner, port: u16) {
        self.ports.give(port);
        if let Some(holding) = self.owners.get_mut(&owner) {
            holding.count = holding.count.saturating_sub(1);
            // A meter outlives the allocations, or letting go of them would begin a new burst.
            if holding.count == 0 && holding.meter.is_none() {
                self.owners.remove(&owner);
            }
        }
    }

    /// Forgets what has expired.
    fn sweep(&mut self, now: Instant) {
        self.forget_reservations(now);
        if self
            .swept
            .is_some_and(|swept| now.saturating_duration_since(swept) < SWEEP)
        {
            return;
        }
        self.swept = Some(now);
        let busy = |holding: &Holding| {
            holding
                .meter
                .as_ref()
                .is_some_and(|meter| !meter.is_idle(now))
        };
        self.owners
            .retain(|_, holding| holding.count > 0 || busy(holding));
    }

    fn forget_reservations(&mut self, now: Instant) {
        let expired = |(token, reservation): (&[u8; 8], &Reservation)| {
            (reservation.expires <= now).then_some((*token, reservation.owner, reservation.port))
        };
        let gone: Vec<_> = self.reservations.iter().filter_map(expired).collect();
        for (token, owner, port) in gone {
            self.reservations.remove(&token);
            self.release(owner, port);
        }
    }
}

/// The free ones of a range, each found and taken in constant time.
struct Ports {
    first: u16,
    free: Vec<u16>,
    /// Where each port stands in `free`; by distance from `first`.
    places: Vec<Option<u16>>,
}

impl Ports {
    fn new(range: RangeInclusive<u16>) -> Self {
        let first = *range.start();
        let free: Vec<u16> = range.collect();
        let places = (0..free.len())
            .map(|place| u16::try_from(place).ok())
            .collect();
        Ports {
            first,
            free,
            places,
        }
    }

    fn take_any(&mut self, rng: &mut StdRng) -> Option<u16> {
        if self.free.is_empty() {
            return None;
        }
        let place = rng.random_range(0..self.free.len());
        let port = *self.free.get(place)?;
        self.take(port).then_some(port)
    }

    /// An even port; with `next`, the one above it as well.
    fn take_even(&mut self, next: bool, rng: &mut StdRng) -> Option<u16> {
        let right = |port: u16| {
            port.is_multiple_of(2)
                && (!next || port.checked_add(1).is_some_and(|p| self.is_free(p)))
        };
        let begin = if self.free.is_empty() {
            0
        } else {
            rng.random_range(0..self.free.len())
        };
        let (after, before) = self.free.split_at_checked(begin).map(|(a, b)| (b, a))?;
        let port = after
            .iter()
            .chain(before)
            .copied()
            .find(|port| right(*port))?;
        self.take(port);
        if next {
            self.take(port + 1);
        }
        Some(port)
    }

    fn is_free(&self, port: u16) -> bool {
        self.place(port).is_some()
    }

    fn place(&self, port: u16) -> Option<u16> {
        let index = port.checked_sub(self.first)?;
        self.places.get(usize::from(index)).copied().flatten()
    }

    fn set_place(&mut self, port: u16, place: Option<u16>) {
        let cell = port
            .checked_sub(self.first)
            .and_then(|index| self.places.get_mut(usize::from(index)));
        if let Some(cell) = cell {
            *cell = place;
        }
    }

    fn take(&mut self, port: u16) -> bool {
        let Some(place) = self.place(port) else {
            return false;
        };
        self.free.swap_remove(usize::from(place));
        self.set_place(port, None);
        if let Some(&moved) = self.free.get(usize::from(place)) {
            self.set_place(moved, Some(place));
        }
        true
    }

    fn give(&mut self, port: u16) {
        if let (false, Ok(place)) = (self.is_free(port), u16::try_from(self.free.len())) {
            self.free.push(port);
            self.set_place(port, Some(place));
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn every_port_is_given_once_and_comes_back() {
        let mut rng = StdRng::from_seed([1; 32]);
        let mut ports = Ports::new(65500..=65535);
        for _ in 0..3 {
            let mut taken: Vec<u16> = std::iter::from_fn(|| ports.take_any(&mut rng)).collect();
            assert_ne!(
                taken,
                (65500..=65535).collect::<Vec<_>>(),
                "in no order that can be guessed"
            );
            assert!(taken.iter().all(|port| !ports.is_free(*port)));
            taken.iter().for_each(|port| ports.give(*port));
            taken.iter().for_each(|port| ports.give(*port));
            assert_eq!(ports.free.len(), 36, "given back twice counts once");
            taken.sort();
            assert_eq!(taken, (65500..=65535).collect::<Vec<_>>());
        }
    }

    #[test]
    fn even_ports_with_the_one_above() {
        let mut rng = StdRng::from_seed([1; 32]);
        let mut ports = Ports::new(50001..=50008);
        assert!(ports.take(50005));
        let mut pairs: Vec<u16> = std::iter::from_fn(|| ports.take_even(true, &mut rng)).collect();
        pairs.sort();
        assert_eq!(pairs, [50002, 50006]);
        let mut evens: Vec<u16> = std::iter::from_fn(|| ports.take_even(false, &mut rng)).collect();
        evens.sort();
        assert_eq!(evens, [50004, 50008]);
        assert_eq!(ports.take_any(&mut rng), Some(50001));
        assert_eq!(ports.take_any(&mut rng), None);
    }
}
