//! One allocation: its lifetime, permissions and channels. What may be in them is left to `request`.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::authenticate::Signature;
use super::common::PortWish;
use super::icmp::Told;
use super::meter::Meter;
use super::mobility::Mobility;
use super::request::Code;
use super::{
    AllocationId, ConnectionId, FiveTuple, Output, Protocol, RelayAddress, Traffic, Usage,
};
use crate::auth::Owner;
use crate::policy::Peer;
use crate::wire::TransactionId;

/// RFC 8656 §9.
pub(super) const PERMISSION_LIFETIME: Duration = Duration::from_secs(300);
/// RFC 8656 §12.
pub(super) const CHANNEL_LIFETIME: Duration = Duration::from_secs(600);

pub(super) struct Allocation {
    pub id: AllocationId,
    /// To where data for its client goes.
    pub tuple: FiveTuple,
    pub mobility: Option<Box<Mobility>>,
    pub owner: Owner,
    /// Of the credential it was made with.
    pub epoch: u64,
    /// Later requests must carry it (RFC 8656 §5: 441).
    pub username: Box<str>,
    /// Of all its relayed transport addresses.
    pub port: u16,
    pub legs: Legs,
    pub made: Instant,
    /// When the first of its legs expires.
    pub timer: Instant,
    /// The Allocate that made it, and what it was granted: a retransmission is answered the same
    /// (RFC 8656 §7.2).
    pub transaction: TransactionId,
    pub granted: u32,
    pub token: Option<[u8; 8]>,
    /// Why there is no leg of the additional family that the client asked for.
    pub lacking: Option<Code>,
    /// Until the relay socket is bound.
    pub pending: Option<Box<Pending>>,
    /// Counts the traffic of its owner, where that is limited.
    pub meter: Option<Arc<Meter>>,
    pub to_peer: Traffic,
    pub to_client: Traffic,
    pub icmp: Told,
    /// What of it is in the ledger already.
    pub entered: Usage,
    pub peers: Peers,
    /// Of one that relays over TCP (RFC 6062): the connections with its peers.
    pub connections: Option<Vec<ConnectionId>>,
}

/// An Allocate that waits for its socket.
pub(super) struct Pending {
    pub signature: Signature,
    pub wish: PortWish,
    /// Ports that could not be bound: other programs'.
    pub failed: Vec<u16>,
}

/// A relayed transport address without its port.
#[derive(Debug, Clone, Copy)]
pub(super) struct Leg {
    pub relay: RelayAddress,
    pub expires: Instant,
}

/// One or, of a dual allocation, both address families (RFC 8656 §6).
#[derive(Debug, Default)]
pub(super) struct Legs([Option<Leg>; 2]);

impl Legs {
    pub fn add(&mut self, leg: Leg) {
        if let Some(place) = self.0.get_mut(usize::from(leg.relay.public.is_ipv6())) {
            *place = Some(leg);
        }
    }

    /// IPv4 first.
    pub fn iter(&self) -> impl Iterator<Item = &Leg> {
        self.0.iter().flatten()
    }

    pub fn of(&self, ipv4: bool) -> Option<&Leg> {
        self.iter().find(|leg| leg.relay.public.is_ipv4() == ipv4)
    }

    /// Sets the expiry of one family, or of all there are.
    pub fn extend(&mut self, ipv4: Option<bool>, expires: Instant) {
        let asked = |leg: &&mut Leg| ipv4.is_none_or(|v4| v4 == leg.relay.public.is_ipv4());
        let legs = self.0.iter_mut().flatten().filter(asked);
        legs.for_each(|leg| leg.expires = expires);
    }

    /// Has all expire by then.
    pub fn shorten(&mut self, expires: Instant) {
        let legs = self.0.iter_mut().flatten();
        legs.for_each(|leg| leg.expires = leg.expires.min(expires));
    }

    /// When the first expires.
    pub fn next_expiry(&self) -> Option<Instant> {
        self.iter().map(|leg| leg.expires).min()
    }

    /// How long the last has left.
    pub fn remaining(&self, now: Instant) -> Duration {
        let last = self.iter().map(|leg| leg.expires).max();
        last.map_or(Duration::ZERO, |last| last.saturating_duration_since(now))
    }

    pub fn remove(&mut self, ipv4: bool) {
        if let Some(place) = self.0.get_mut(usize::from(!ipv4)) {
            *place = None;
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Channel {
    pub number: u16,
    pub peer: SocketAddr,
    /// What the policy says of the peer.
    pub judged: Peer,
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
    pub fn protocol(&self) -> Protocol {
        match self.connections {
            None => Protocol::Udp,
            Some(_) => Protocol::Tcp,
        }
    }

    /// Its relayed transport addresses as peers see them, IPv4 first.
    pub fn relays(&self) -> impl Iterator<Item = SocketAddr> {
        let port = self.port;
        let address = move |leg: &Leg| SocketAddr::new(leg.relay.public, port);
        self.legs.iter().map(address)
    }

    /// What the driver is to bind for it.
    pub fn bind(&self) -> Output {
        let local = |leg: &Leg| SocketAddr::new(leg.relay.local, self.port);
        Output::Bind {
            allocation: self.id,
            protocol: self.protocol(),
            addresses: self.legs.iter().map(local).collect(),
        }
    }

    /// Whether there is nowhere to send data for its client to, until it comes back.
    pub fn is_away(&self) -> bool {
        self.mobility.as_ref().is_some_and(|mobility| mobility.away)
    }

    pub fn has_family(&self, ipv4: bool) -> bool {
        self.legs.of(ipv4).is_some()
    }

    /// Whether its owner may have this many more bytes relayed; takes them.
    pub fn may_relay(&self, bytes: usize, now: Instant) -> bool {
        self.meter
            .as_ref()
            .is_none_or(|meter| meter.take(bytes, now))
    }
}

/// With whom an allocation exchanges data. What has expired counts as not there, and is forgotten when room is
/// needed.
///
/// Most have one or two peers, so these are lists: a packet looks at one place in memory for each, and they are no larger
/// than what is in them.
#[derive(Default)]
pub(super) struct Peers {
    /// In the order of their addresses.
    permissions: Vec<Permission>,
    /// In the order of their numbers.
    channels: Vec<Channel>,
}

#[derive(Clone, Copy)]
struct Permission {
    ip: IpAddr,
    expires: Instant,
}

impl Peers {
    pub fn permits(&self, ip: IpAddr, now: Instant) -> bool {
        let found = self.permission_place(ip).ok();
        let permission = found.and_then(|place| self.permissions.get(place));
        permission.is_some_and(|permission| permission.expires > now)
    }

    /// Where a permission is, or would be.
    fn permission_place(&self, ip: IpAddr) -> Result<usize, usize> {
        self.permissions.binary_search_by(|other| other.ip.cmp(&ip))
    }

    /// Whether these can be permitted with at most `limit` permissions in all.
    pub fn has_room(&mut self, ips: &[IpAddr], limit: usize, now: Instant) -> bool {
        let after = |peers: &Self| {
            let is_new = |ip: &&IpAddr| peers.permission_place(**ip).is_err();
            peers.permissions.len() + ips.iter().filter(is_new).count()
        };
        if after(self) > limit {
            self.permissions
                .retain(|permission| permission.expires > now);
        }
        after(self) <= limit
    }

    /// Forgets what another policy refuses.
    pub fn review(
        &mut self,
        judge_ip: impl Fn(IpAddr) -> Peer,
        judge: impl Fn(SocketAddr) -> Peer,
    ) {
        self.permissions
            .retain(|permission| judge_ip(permission.ip) != Peer::Refused);
        for channel in &mut self.channels {
            channel.judged = judge(channel.peer);
        }
        self.channels
            .retain(|channel| channel.judged != Peer::Refused);
    }

    /// Forgets all peers of one family.
    pub fn forget_family(&mut self, ipv4: bool) {
        self.permissions
            .retain(|permission| permission.ip.is_ipv4() != ipv4);
        self.channels
            .retain(|channel| channel.peer.is_ipv4() != ipv4);
    }

    pub fn permit(&mut self, ip: IpAddr, now: Instant) {
        let expires = now + PERMISSION_LIFETIME;
        put(
            &mut self.permissions,
            Permission { ip, expires },
            |permission| permission.ip,
        );
    }

    pub fn channel(&self, number: u16, now: Instant) -> Option<Channel> {
        let found = self.channel_place(number).ok();
        let channel = found.and_then(|place| self.channels.get(place));
        channel.filter(|channel| channel.expires > now).copied()
    }

    fn channel_place(&self, number: u16) -> Result<usize, usize> {
        self.channels
            .binary_search_by_key(&number, |channel| channel.number)
    }

    /// The one that is bound to this peer: looked for one by one, of [`Limits::channels`](super::Limits::channels) at most.
    pub fn channel_of(&self, peer: SocketAddr, now: Instant) -> Option<Channel> {
        let mut channels = self.channels.iter();
        let channel = channels.find(|channel| channel.peer == peer);
        channel.filter(|channel| channel.expires > now).copied()
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
            .channel(number, now)
            .is_some_and(|bound| bound.peer != peer);
        let other_number = self
            .channel_of(peer, now)
            .is_some_and(|bound| bound.number != number);
        if other_peer || other_number {
            return Err(ChannelConflict::Bound);
        }
        if self.channels.len() >= limit && self.channel_place(number).is_err() {
            self.channels.retain(|channel| channel.expires > now);
            if self.channels.len() >= limit {
                return Err(ChannelConflict::TooMany);
            }
        }
        Ok(())
    }

    /// In place of what the number, or the peer, was bound to.
    pub fn bind_channel(&mut self, number: u16, peer: SocketAddr, judged: Peer, now: Instant) {
        let channel = Channel {
            number,
            peer,
            judged,
            expires: now + CHANNEL_LIFETIME,
        };
        self.channels.retain(|other| other.peer != peer);
        put(&mut self.channels, channel, |channel| channel.number);
    }
}

/// Puts an entry into a list that is in the order of its keys, in place of the one of the same key.
fn put<T, K: Ord>(list: &mut Vec<T>, entry: T, key: impl Fn(&T) -> K) {
    match list.binary_search_by_key(&key(&entry), &key) {
        Ok(place) => {
            if let Some(old) = list.get_mut(place) {
                *old = entry;
            }
        }
        Err(place) => {
            // A list begins with room for four otherwise.
            if list.len() == list.capacity() {
                list.reserve_exact(list.len().max(1));
            }
            list.insert(place, entry);
        }
    }
}
