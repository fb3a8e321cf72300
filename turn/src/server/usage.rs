//! What each owner has had relayed: gathered here, kept by whoever takes it.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::allocation::Allocation;
use super::{Now, Server};
use crate::auth::Owner;

/// What was relayed for somebody.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Allocations that were made.
    pub allocations: u64,
    /// How long they lived, all together.
    pub lasted: Duration,
    /// Bytes of payload passed on to peers, without any header.
    pub to_peer: u64,
    /// Likewise to clients.
    pub to_client: u64,
}

impl Usage {
    /// Both together.
    pub fn add(&mut self, other: Usage) {
        self.allocations = self.allocations.saturating_add(other.allocations);
        self.lasted = self.lasted.saturating_add(other.lasted);
        self.to_peer = self.to_peer.saturating_add(other.to_peer);
        self.to_client = self.to_client.saturating_add(other.to_client);
    }

    /// Bytes both ways.
    pub fn bytes(&self) -> u64 {
        self.to_peer.saturating_add(self.to_client)
    }
}

/// By owner, since it was last taken; holds no more owners than have relayed since.
#[derive(Debug, Default)]
pub(super) struct Ledger(Mutex<HashMap<Owner, Usage>>);

impl Ledger {
    pub fn take(&self) -> HashMap<Owner, Usage> {
        std::mem::take(&mut self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Owner, Usage>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn enter(&self, allocation: &mut Allocation, now: Instant) {
        enter(&mut self.lock(), allocation, now);
    }
}

fn enter(ledger: &mut HashMap<Owner, Usage>, allocation: &mut Allocation, now: Instant) {
    let whole = Usage {
        allocations: 1,
        lasted: now.saturating_duration_since(allocation.made),
        to_peer: allocation.to_peer.bytes,
        to_client: allocation.to_client.bytes,
    };
    let before = std::mem::replace(&mut allocation.entered, whole);
    ledger.entry(allocation.owner).or_default().add(Usage {
        allocations: whole.allocations - before.allocations,
        lasted: whole.lasted.saturating_sub(before.lasted),
        to_peer: whole.to_peer - before.to_peer,
        to_client: whole.to_client - before.to_client,
    });
}

impl Server {
    /// Enters what live allocations have used since the last time into the ledger of
    /// [`Common::take_usage`](super::Common::take_usage), where the rest follows when they end.
    pub fn tally(&mut self, now: Now) {
        let mut ledger = self.common.ledger.lock();
        for (_, allocation) in &mut self.allocations {
            if allocation.pending.is_none() {
                enter(&mut ledger, allocation, now.instant);
            }
        }
    }
}
