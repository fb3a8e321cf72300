//! How many connections there may be, counted over those that have not signed in: in all, and from one network.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::error::ApiError;
use super::limit::{Limits, prefix};
use crate::app::Limited;

/// Each may hold some 40 KiB of a request that never ends.
const MAX: usize = 4096;
const MAX_PER_NETWORK: usize = 256;
/// Bits of the address that make a network: what one customer gets.
const NETWORK: (u8, u8) = (24, 56);

pub struct Connections {
    counts: Mutex<Counts>,
    limits: Arc<Limits>,
}

#[derive(Default)]
struct Counts {
    all: usize,
    by_network: HashMap<IpAddr, usize>,
}

/// The place of one connection, up to the end of this value.
pub struct Seat {
    connections: Arc<Connections>,
    network: Option<IpAddr>,
}

impl Connections {
    /// Networks have no share of their own unless there are `limits`.
    pub fn new(limits: Arc<Limits>) -> Arc<Self> {
        Arc::new(Connections {
            counts: Mutex::default(),
            limits,
        })
    }

    /// `Err`: there are too many; perhaps not any more after `wait`. Without an address it counts in no network.
    pub fn seat(
        self: &Arc<Self>,
        address: Option<IpAddr>,
        wait: Duration,
    ) -> Result<Seat, ApiError> {
        let seat = self.free_seat(address);
        seat.ok_or_else(|| self.limits.refuse(Limited::Connections, wait))
    }

    fn free_seat(self: &Arc<Self>, address: Option<IpAddr>) -> Option<Seat> {
        let per_network = match self.limits.are_enabled() {
            true => MAX_PER_NETWORK,
            false => MAX,
        };
        let network = address.map(|address| prefix(address, NETWORK));
        let mut counts = self.counts();
        if counts.all >= MAX {
            return None;
        }
        if let Some(network) = network {
            let count = counts.by_network.entry(network).or_default();
            if *count >= per_network {
                return None;
            }
            *count += 1;
        }
        counts.all += 1;
        Some(Seat {
            connections: Arc::clone(self),
            network,
        })
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut counts = self.connections.counts();
        counts.all -= 1;
        if let Some(network) = self.network
            && let Some(count) = counts.by_network.get_mut(&network)
        {
            *count -= 1;
            if *count == 0 {
                counts.by_network.remove(&network);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::limit::tests::limits;

    #[test]
    fn a_network_has_its_share_and_all_have_theirs() {
        let connections = Connections::new(limits());
        let from = |address: &str| connections.free_seat(Some(address.parse().unwrap()));
        let mut seats: Vec<Seat> = (0..MAX_PER_NETWORK)
            .map(|n| from(&format!("2001:db8::{n:x}")).unwrap())
            .collect();
        assert!(from("2001:db8:0:ff::1").is_none(), "the same /56");
        seats.push(from("2001:db8:0:100::1").unwrap());
        seats.remove(0);
        seats.push(from("2001:db8:0:ff::1").unwrap());

        seats.extend((seats.len()..MAX).map(|_| connections.free_seat(None).unwrap()));
        assert!(connections.free_seat(None).is_none() && from("192.0.2.1").is_none());
        drop(seats);
        assert!(from("192.0.2.1").is_some());
        assert!(connections.counts().by_network.is_empty());
    }
}
