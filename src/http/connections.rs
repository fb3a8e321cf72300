//! How many connections there may be, counted over those that have not signed in: in all, and from one network.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::limit::prefix;

/// Each may hold some 40 KiB of a request that never ends.
const MAX: usize = 4096;
const MAX_PER_NETWORK: usize = 256;
/// Bits of the address that make a network: what one customer gets.
const NETWORK: (u8, u8) = (24, 56);

pub struct Connections {
    counts: Mutex<Counts>,
    per_network: usize,
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
    /// Networks have no share of their own unless they are `limited`.
    pub fn new(limited: bool) -> Arc<Self> {
        Arc::new(Connections {
            counts: Mutex::default(),
            per_network: if limited { MAX_PER_NETWORK } else { MAX },
        })
    }

    /// `None`: there are too many. Without an address it counts in no network.
    pub fn seat(self: &Arc<Self>, address: Option<IpAddr>) -> Option<Seat> {
        let network = address.map(|address| prefix(address, NETWORK));
        let mut counts = self.counts();
        if counts.all >= MAX {
            return None;
        }
        if let Some(network) = network {
            let count = counts.by_network.entry(network).or_default();
            if *count >= self.per_network {
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

    #[test]
    fn a_network_has_its_share_and_all_have_theirs() {
        let connections = Connections::new(true);
        let from = |address: &str| connections.seat(Some(address.parse().unwrap()));
        let mut seats: Vec<Seat> = (0..MAX_PER_NETWORK)
            .map(|n| from(&format!("2001:db8::{n:x}")).unwrap())
            .collect();
        assert!(from("2001:db8:0:ff::1").is_none(), "the same /56");
        seats.push(from("2001:db8:0:100::1").unwrap());
        seats.remove(0);
        seats.push(from("2001:db8:0:ff::1").unwrap());

        seats.extend((seats.len()..MAX).map(|_| connections.seat(None).unwrap()));
        assert!(connections.seat(None).is_none() && from("192.0.2.1").is_none());
        drop(seats);
        assert!(from("192.0.2.1").is_some());
        assert!(connections.counts().by_network.is_empty());
    }
}
