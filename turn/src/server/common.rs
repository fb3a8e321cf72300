//! What the servers of all threads share: settings, the authenticator, ports and quotas. Locks are taken when
//! an allocation is made or ends, never for a packet.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rand::RngExt;
use rand::rngs::StdRng;

use super::meter::Meter;
use super::mobility::Tickets;
use super::ports::Ports;
use super::usage::{Ledger, Usage};
use super::{BadConfig, Config, Limits, RelayAddress};
use crate::auth::{Authenticator, Owner};
use crate::nonce::Nonces;
use crate::policy::{Peer, PeerPolicy};

/// Shared by the servers of one relay.
pub struct Common {
    config: Config,
    pub(super) nonces: Nonces,
    pub(super) tickets: Tickets,
    pub(super) authenticator: Arc<dyn Authenticator>,
    table: Mutex<Table>,
    policy: Mutex<Arc<PeerPolicy>>,
    limits: Mutex<Limits>,
    pub(super) ledger: Ledger,
    draining: AtomicBool,
    /// How many servers share this.
    servers: AtomicUsize,
    /// For each port of the range, by which server and in which slot its UDP allocation is; 0 for none.
    relays: Box<[AtomicU64]>,
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
    /// Connections with peers.
    connections: u32,
    meter: Option<Arc<Meter>>,
}

/// A port kept for the one who has its token (RFC 8656 §7.2, EVEN-PORT).
struct Reservation {
    port: u16,
    relay: RelayAddress,
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
    pub relay: RelayAddress,
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
    /// `nonce_key` signs nonces and tickets; it may be made anew at each start.
    pub fn new(
        config: Config,
        authenticator: Arc<dyn Authenticator>,
        nonce_key: &[u8; 32],
    ) -> Result<Arc<Self>, BadConfig> {
        config.check()?;
        let policy = Arc::new(config.policy.clone());
        let relays = config
            .relay_ports
            .clone()
            .map(|_| AtomicU64::new(0))
            .collect();
        let limits = config.limits;
        let table = Table {
            ports: Ports::new(config.relay_ports.clone()),
            owners: HashMap::new(),
            reservations: HashMap::new(),
            swept: None,
        };
        Ok(Arc::new(Common {
            config,
            nonces: Nonces::new(nonce_key),
            tickets: Tickets::new(nonce_key),
            authenticator,
            table: Mutex::new(table),
            policy: Mutex::new(policy),
            limits: Mutex::new(limits),
            ledger: Ledger::default(),
            draining: AtomicBool::new(false),
            servers: AtomicUsize::new(0),
            relays,
        }))
    }

    /// What it was made with.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// What each owner has used since this was last asked, as far as it has been entered: see
    /// [`Server::tally`](super::Server::tally).
    pub fn take_usage(&self) -> HashMap<Owner, Usage> {
        self.ledger.take()
    }

    /// From now on no allocation is made (508); those there are live on.
    pub fn drain(&self) {
        self.draining.store(true, Relaxed);
    }

    /// Servers are numbered from 0.
    pub(super) fn add_server(&self, index: u8) {
        self.servers.fetch_max(usize::from(index) + 1, Relaxed);
    }

    pub(super) fn has_server(&self, index: u8) -> bool {
        usize::from(index) < self.servers.load(Relaxed)
    }

    /// Whether it has been told to [`drain`](Common::drain).
    pub fn is_draining(&self) -> bool {
        self.draining.load(Relaxed)
    }

    /// Sets another policy; each server takes it over when it is next told to [`review`](super::Server::review).
    pub fn set_policy(&self, policy: PeerPolicy) {
        *self.policy.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(policy);
    }

    /// As [`Common::set_policy`], made of the one there is.
    pub fn change_policy(&self, change: impl FnOnce(&mut PeerPolicy)) {
        change(Arc::make_mut(
            &mut self.policy.lock().unwrap_or_else(PoisonError::into_inner),
        ));
    }

    /// Sets other limits. Whoever has more than they allow keeps it; each server takes them over when it is next told to
    /// [`review`](super::Server::review).
    pub fn set_limits(&self, limits: Limits, now: Instant) {
        let before = {
            let mut current = self.limits.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *current, limits)
        };
        let rate = limits.bytes_per_second_per_owner;
        if before.bytes_per_second_per_owner != rate {
            for holding in self.lock().owners.values_mut() {
                holding.meter = meter(rate, now);
            }
        }
    }

    pub(super) fn limits(&self) -> Limits {
        *self.limits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// By what this owner's traffic is to be counted now.
    pub(super) fn meter_of(&self, owner: Owner) -> Option<Arc<Meter>> {
        let table = self.lock();
        table.owners.get(&owner)?.meter.clone()
    }

    pub(super) fn policy(&self) -> Arc<PeerPolicy> {
        Arc::clone(&self.policy.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What a peer is; a relayed address that nobody has is refused.
    pub(super) fn judge(&self, policy: &PeerPolicy, peer: SocketAddr) -> Peer {
        match policy.judge(peer) {
            Peer::OwnRelay if self.relay_at(peer).is_none() => Peer::Refused,
            judged => judged,
        }
    }

    /// By which server, and in which slot, the allocation is that has this relayed address from
    /// before its client is told of it until it ends.
    pub(super) fn relay_at(&self, address: SocketAddr) -> Option<(u8, u32)> {
        let mut relays = self.config.relay.iter();
        if !relays.any(|relay| relay.public == address.ip()) {
            return None;
        }
        let packed = self.relay_word(address.port())?.load(Relaxed);
        let worker = u8::try_from((packed >> 32).checked_sub(1)?).ok()?;
        Some((worker, packed as u32))
    }

    /// Says which server and slot have the allocation at this port.
    pub(super) fn set_relay(&self, port: u16, at: Option<(u8, u32)>) {
        let packed = at.map_or(0, |(worker, slot)| {
            (u64::from(worker) + 1) << 32 | u64::from(slot)
        });
        if let Some(word) = self.relay_word(port) {
            word.store(packed, Relaxed);
        }
    }

    fn relay_word(&self, port: u16) -> Option<&AtomicU64> {
        let index = port.checked_sub(*self.config.relay_ports.start())?;
        self.relays.get(usize::from(index))
    }

    /// Grants a port and counts it for its owner, who may have `limit` of them, or as many as the settings say; to be given back with [`Common::release`].
    pub(super) fn take(
        &self,
        owner: Owner,
        limit: Option<u32>,
        relay: RelayAddress,
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
        let limits = self.limits();
        let limit = limit.unwrap_or(limits.allocations_per_owner);
        let held = table.owners.get(&owner).map_or(0, |holding| holding.count);
        if limit != 0 && held + needed > limit {
            return Err(NoPort::Quota);
        }
        let port = match wish {
            PortWish::Even { reserve_next } => table.ports.take_even(reserve_next, rng),
            _ => table.ports.take_any(rng),
        };
        let port = port.ok_or(NoPort::Exhausted)?;
        let rate = limits.bytes_per_second_per_owner;
        let holding = table.owners.entry(owner).or_insert_with(|| Holding {
            count: 0,
            connections: 0,
            meter: meter(rate, now),
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

    /// Another port in place of one that another program holds; that one stays with the caller. With the token of a
    /// reservation, which nobody has learned yet, the port above is exchanged as well.
    pub(super) fn take_other(
        &self,
        even: bool,
        token: Option<&[u8; 8]>,
        rng: &mut StdRng,
    ) -> Option<u16> {
        let table = &mut *self.lock();
        match token.and_then(|token| table.reservations.get_mut(token)) {
            Some(reservation) => {
                let port = table.ports.take_even(true, rng)?;
                let above = std::mem::replace(&mut reservation.port, port + 1);
                table.ports.give(above);
                Some(port)
            }
            None if even => table.ports.take_even(false, rng),
            None => table.ports.take_any(rng),
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

    /// Gives back what memory can be spared.
    pub(super) fn shrink(&self) {
        let mut table = self.lock();
        table.owners.shrink_to_fit();
        table.reservations.shrink_to_fit();
    }

    /// Counts a connection with a peer for its owner; false when there are as many as may be. To be given back with
    /// [`Common::release_connection`].
    pub(super) fn take_connection(&self, owner: Owner) -> bool {
        let mut table = self.lock();
        let Some(holding) = table.owners.get_mut(&owner) else {
            return false;
        };
        let room = holding.connections < self.limits().connections_per_owner;
        holding.connections += u32::from(room);
        room
    }

    pub(super) fn release_connection(&self, owner: Owner) {
        if let Some(holding) = self.lock().owners.get_mut(&owner) {
            holding.connections = holding.connections.saturating_sub(1);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        // Nothing here can panic half-way through a change.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `rate` of 0: nothing is to be counted.
fn meter(rate: u64, now: Instant) -> Option<Arc<Meter>> {
    (rate != 0).then(|| Arc::new(Meter::new(rate, now)))
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
