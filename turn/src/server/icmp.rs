//! ICMP errors about what an allocation has sent: which of them its client is told of, and how often.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand::RngExt;

use super::{AllocationId, FiveTuple, Now, Server};
use crate::stats::Dropped;
use crate::wire::{Builder, Class, Method, attr};

/// Errors that one allocation is told of per second: enough to learn that a peer is gone or a path narrow, and too
/// few to make a flood out of a flood.
const PER_SECOND: u8 = 10;
const SECOND: Duration = Duration::from_secs(1);

/// An ICMP error about a datagram that an allocation has sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IcmpError {
    /// Where the datagram was to go; its family says whose types and codes the others are.
    pub peer: SocketAddr,
    /// Type of ICMP (RFC 792) or ICMPv6 (RFC 4443).
    pub kind: u8,
    /// Code of that type.
    pub code: u8,
    /// Bytes that the next link takes, where the error is that the datagram is larger; else of no meaning.
    pub mtu: u32,
}

impl IcmpError {
    /// That a datagram to `peer` is larger than the `mtu` bytes that the next link takes.
    pub fn too_big(peer: SocketAddr, mtu: u32) -> Self {
        let (kind, code) = match peer {
            SocketAddr::V4(_) => (3, 4),
            SocketAddr::V6(_) => (2, 0),
        };
        IcmpError {
            peer,
            kind,
            code,
            mtu,
        }
    }

    /// RFC 8656 §11.5: destination unreachable and time exceeded, and of ICMPv6 packet too big.
    fn is_to_be_told(&self) -> bool {
        match self.peer {
            SocketAddr::V4(_) => matches!(self.kind, 3 | 11),
            SocketAddr::V6(_) => matches!(self.kind, 1..=3),
        }
    }

    /// RFC 8656 §18.13; the type has seven bits there, and the code nine.
    fn value(&self) -> [u8; 8] {
        let kind_and_code = u16::from(self.kind) << 9 | u16::from(self.code);
        let [high, low] = kind_and_code.to_be_bytes();
        let too_big = Self::too_big(self.peer, self.mtu) == *self;
        let [m0, m1, m2, m3] = if too_big { self.mtu } else { 0 }.to_be_bytes();
        [0, 0, high, low, m0, m1, m2, m3]
    }
}

/// How many errors an allocation has been told of in the second that began with the first of them.
#[derive(Debug, Default)]
pub(super) struct Told {
    since: Option<Instant>,
    count: u8,
}

impl Told {
    fn take(&mut self, now: Instant) -> bool {
        if self.since.is_none_or(|since| now >= since + SECOND) {
            self.since = Some(now);
            self.count = 0;
        }
        self.count = self.count.saturating_add(1);
        self.count <= PER_SECOND
    }
}

impl Server {
    /// An ICMP error about what was sent from an allocation's relay socket. `Some`: send [`Server::answer`] there,
    /// a Data indication that tells the client (RFC 8656 §11.5).
    pub fn handle_icmp(
        &mut self,
        now: Now,
        allocation: AllocationId,
        error: IcmpError,
    ) -> Option<FiveTuple> {
        if !error.is_to_be_told() {
            self.stats.count_dropped(Dropped::NotForServers);
            return None;
        }
        let peer = error.peer;
        let found = Self::find(&mut self.allocations, allocation);
        // The destination has the permission; who complains is of no account.
        let Some(found) =
            found.filter(|found| !found.is_away() && found.peers.permits(peer.ip(), now.instant))
        else {
            self.stats.count_dropped(Dropped::NoPermission);
            return None;
        };
        if !found.icmp.take(now.instant) {
            self.stats.count_dropped(Dropped::RateLimited);
            return None;
        }
        let id = self.rng.random();
        let mut indication = Builder::new(&mut self.answer, Method::Data, Class::Indication, id);
        indication.xor_address(attr::XOR_PEER_ADDRESS, peer);
        indication.attribute(attr::ICMP, &error.value());
        self.stats.count_icmp();
        Some(found.tuple)
    }
}
