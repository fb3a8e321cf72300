//! One allocation: its lifetime, permissions and channels. What may be in them is left to `request`.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::common::PortWish;
use super::meter::Meter;
use super::{AllocationId, FiveTuple};
use crate::auth::{Key, Owner};
use crate::wire::TransactionId;

/// RFC 8656 §9.
pub(super) const PERMISSION_LIFETIME: Duration = Duration::from_secs(300);
/// RFC 8656 §12.
pub(super) const CHANNEL_LIFETIME: Duration = Duration::from_secs(600);

pub(super) struct Allocation {
    pub id: AllocationId,
    pub tuple: FiveTuple,
    pub owner: Owner,
    /// Later requests must carry it (RFC 8656 §5: 441).
    pub username: Box<str>,
    /// As peers see it.
    pub relay: SocketAddr,
    pub made: Instant,
    pub expires: Instant,
    /// The Allocate that made it, and what it was granted: a retransmission is answered the same
    /// (RFC 8656 §7.2).
    pub transaction: TransactionId,
    pub granted: u32,
    pub token: Option<[u8; 8]>,
    /// Until the relay socket is bound.
    pub pending: Option<Box<Pending>>,
    /// Counts the traffic of its owner, where that is limited.
    pub meter: Option<Arc<Meter>>,
    pub to_peer: u64,
    pub to_client: u64,
    pub peers: Peers,
}

/// An Allocate that waits for its socket.
pub(super) struct Pending {
    pub key: Key,
    /// Whether the request had FINGERPRINT.
    pub fingerprint: bool,
    /// Where to bind.
    pub local: IpAddr,
    pub wish: PortWish,
    /// Ports that could not be bound: other programs'.
    pub failed: Vec<u16>,
}

struct Channel {
    peer: SocketAddr,
    expires: Instant,
}

/// Why a channel cannot be bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ChannelConflict {
    /// The number is bound to another peer, or the peer to another number.
    Bound,
    /// As many as one allocation may have.
    TooMany,
}

impl Allocation {
    /// Whether its owner may have this many more bytes relayed; takes them.
    pub fn may_relay(&self, bytes: usize, now: Instant) -> bool {
        self.meter
            .as_ref()
            .is_none_or(|meter| meter.take(bytes, now))
    }
}

/// With whom an allocation exchanges data. What has expired counts as not there, and is forgotten when room is
/// needed.
#[derive(Default)]
pub(super) struct Peers {
    permissions: HashMap<IpAddr, Instant>,
    channels: HashMap<u16, Channel>,
    numbers: HashMap<SocketAddr, u16>,
}

impl Peers {
    pub fn permits(&self, ip: IpAddr, now: Instant) -> bool {
        self.permissions
            .get(&ip)
            .is_some_and(|expires| *expires > now)
    }

    /// Whether these can be permitted with at most `limit` permissions in all.
    pub fn has_room(&mut self, ips: &[IpAddr], limit: usize, now: Instant) -> bool {
        let after = |permissions: &HashMap<IpAddr, Instant>| {
            permissions.len()
                + ips
                    .iter()
                    .filter(|ip| !permissions.contains_key(ip))
                    .count()
        };
        if after(&self.permissions) > limit {
            self.permissions.retain(|_, expires| *expires > now);
        }
        after(&self.permissions) <= limit
    }

    /// Forgets what is no longer allowed.
    pub fn retain(
        &mut self,
        permitted: impl Fn(IpAddr) -> bool,
        bound: impl Fn(SocketAddr) -> bool,
    ) {
        self.permissions.retain(|ip, _| permitted(*ip));
        self.channels.retain(|_, channel| bound(channel.peer));
        self.numbers.retain(|peer, _| bound(*peer));
    }

    pub fn permit(&mut self, ip: IpAddr, now: Instant) {
        self.permissions.insert(ip, now + PERMISSION_LIFETIME);
    }

    pub fn channel_peer(&self, number: u16, now: Instant) -> Option<SocketAddr> {
        let channel = self.channels.get(&number)?;
        (channel.expires > now).then_some(channel.peer)
    }

    pub fn channel_of(&self, peer: SocketAddr, now: Instant) -> Option<u16> {
        let number = *self.numbers.get(&peer)?;
        self.channel_peer(number, now).map(|_| number)
    }

    /// Whether a number may be bound, or bound again, to a peer (RFC 8656 §12.2).
    pub fn check_channel(
        &mut self,
        number: u16,
        peer: SocketAddr,
        limit: usize,
        now: Instant,
    ) -> Result<(), ChannelConflict> {
        let other_peer = self
            .channel_peer(number, now)
            .is_some_and(|bound| bound != peer);
        let other_number = self
            .channel_of(peer, now)
            .is_some_and(|bound| bound != number);
        if other_peer || other_number {
            return Err(ChannelConflict::Bound);
        }
        if self.channels.len() >= limit && !self.channels.contains_key(&number) {
            self.channels.retain(|_, channel| channel.expires > now);
            let channels = &self.channels;
            self.numbers
                .retain(|_, number| channels.contains_key(number));
            if self.channels.len() >= limit {
                return Err(ChannelConflict::TooMany);
            }
        }
        Ok(())
    }

    pub fn bind_channel(&mut self, number: u16, peer: SocketAddr, now: Instant) {
        let expires = now + CHANNEL_LIFETIME;
        if let Some(old) = self.channels.insert(number, Channel { peer, expires })
            && old.peer != peer
        {
            self.numbers.remove(&old.peer);
        }
        if let Some(old) = self.numbers.insert(peer, number)
            && old != number
        {
            self.channels.remove(&old);
        }
    }
}
