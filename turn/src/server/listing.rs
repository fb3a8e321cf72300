//! What people may see of live allocations, and how they end one. Who may is left to those who ask.

use std::fmt;
use std::net::SocketAddr;
use std::num::ParseIntError;
use std::str::FromStr;
use std::time::Duration;

use super::{AllocationId, Ended, FiveTuple, Now, Protocol, Server};
use crate::auth::Owner;

/// Names an allocation over all servers that share a [`Common`](super::Common), for as long as it lives and never again
/// in this run. Numbers leave gaps, so that a mistyped name is hardly ever somebody else's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AllocationName {
    worker: u8,
    number: u64,
}

impl fmt::Display for AllocationName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:x}", self.worker, self.number)
    }
}

/// A text that is no [`AllocationName`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not the name of an allocation, such as 0-5f3a9c21d")]
pub struct BadName;

impl FromStr for AllocationName {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        let bad = |_: ParseIntError| BadName;
        let (worker, number) = text.split_once('-').ok_or(BadName)?;
        Ok(AllocationName {
            worker: worker.parse().map_err(bad)?,
            number: u64::from_str_radix(number, 16).map_err(bad)?,
        })
    }
}

/// Payload that went one way, without any header.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Datagrams.
    pub packets: u64,
    /// Bytes of payload.
    pub bytes: u64,
}

impl Traffic {
    pub(super) fn count(&mut self, bytes: usize) {
        self.packets += 1;
        self.bytes += bytes as u64;
    }
}

/// A live allocation as it is at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllocationInfo {
    /// For people, and for [`Server::kill`].
    pub name: AllocationName,
    /// Who made it.
    pub owner: Owner,
    /// By which it was made.
    pub username: Box<str>,
    /// Between its client and this server.
    pub tuple: FiveTuple,
    /// As peers see them.
    pub relays: Vec<SocketAddr>,
    /// Between those and the peers.
    pub protocol: Protocol,
    /// Since it was made.
    pub age: Duration,
    /// Until it ends, unless it is refreshed.
    pub remaining: Duration,
    /// Passed on to peers.
    pub to_peer: Traffic,
    /// Passed on to the client.
    pub to_client: Traffic,
}

/// Which allocations are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// The one of this name.
    One(AllocationName),
    /// All that this owner has.
    AllOf(Owner),
}

impl Server {
    /// All live allocations of this server, in no order.
    pub fn list(&self, now: Now) -> Vec<AllocationInfo> {
        let live = self.allocations.iter().map(|(_, allocation)| allocation);
        live.filter(|allocation| allocation.pending.is_none())
            .map(|allocation| AllocationInfo {
                name: self.name(allocation.id),
                owner: allocation.owner,
                username: allocation.username.clone(),
                tuple: allocation.tuple,
                relays: allocation.relays().collect(),
                protocol: allocation.protocol(),
                age: now.instant.saturating_duration_since(allocation.made),
                remaining: allocation.legs.remaining(now.instant),
                to_peer: allocation.to_peer,
                to_client: allocation.to_client,
            })
            .collect()
    }

    /// Ends allocations, and says how many. Who had them may ask for new ones.
    pub fn kill(&mut self, now: Now, which: Which) -> usize {
        let meant: Vec<AllocationId> = self
            .allocations
            .iter()
            .filter(|(_, allocation)| match which {
                Which::One(name) => name == self.name(allocation.id),
                Which::AllOf(owner) => owner == allocation.owner,
            })
            .map(|(_, allocation)| allocation.id)
            .collect();
        for id in &meant {
            self.end(now, *id, Ended::Killed);
        }
        meant.len()
    }

    fn name(&self, id: AllocationId) -> AllocationName {
        AllocationName {
            worker: self.worker,
            number: id.generation,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for (worker, number) in [(0, 0), (255, u64::MAX), (7, 0x5f3a_9c21)] {
            let name = AllocationName { worker, number };
            assert_eq!(name.to_string().parse(), Ok(name));
        }
        for bad in [
            "",
            "-",
            "1",
            "1-",
            "-1",
            "256-1",
            "1-x",
            "1-1-1",
            "1-11111111111111111",
        ] {
            assert_eq!(bad.parse::<AllocationName>(), Err(BadName), "{bad}");
        }
    }
}
