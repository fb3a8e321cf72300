//! Data between clients and peers: what passes, and in which wrapping.

use std::net::SocketAddr;
use std::ops::Range;

use rand::RngExt;

use super::allocation::{Allocation, Channel};
use super::{AllocationId, FiveTuple, HEADROOM, Now, Server, Transport, Verdict, request};
use crate::policy::Peer;
use crate::stats::Dropped;
use crate::wire::build::data_indication_header;
use crate::wire::{self, Message, attr, channel};

/// Headers of TURN servers around what a peer sends. A client may reach one server through another; where more follow,
/// the client of each of two allocations is the relay of the other, and what is between them would go round for ever,
/// longer each time.
const MAX_LAYERS: usize = 2;

/// Where data for a client comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    Outside,
    /// Another relayed address of this relay.
    Relay,
}

/// How data goes on to a client: behind a header that was written for it, and before padding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ToClient {
    /// Whose client.
    pub allocation: AllocationId,
    /// To where.
    pub tuple: FiveTuple,
    /// Bytes at the end of the head.
    pub header: usize,
    /// Zeros behind the payload, 3 at most.
    pub padding: usize,
}

impl Server {
    /// One datagram from a peer, received on an allocation's relay socket. What is to go before it is written to the end
    /// of `head`; `None`: it goes nowhere.
    pub fn handle_peer(
        &mut self,
        now: Now,
        allocation: AllocationId,
        peer: SocketAddr,
        payload: &[u8],
        head: &mut [u8; HEADROOM],
    ) -> Option<ToClient> {
        self.pass_to_client(now, allocation.slot(), peer, payload, head, |found| {
            (found.id == allocation).then_some(Origin::Outside)
        })
    }

    /// Data from one relayed address of this relay to another, as [`Verdict::ToRelay`] names them, with the head and the
    /// outcome as in [`handle_peer`](Self::handle_peer).
    pub fn handle_relayed(
        &mut self,
        now: Now,
        from: SocketAddr,
        to: SocketAddr,
        payload: &[u8],
        head: &mut [u8; HEADROOM],
    ) -> Option<ToClient> {
        let slot = match self.common.relay_at(to) {
            Some((worker, slot)) if worker == self.worker => slot as usize,
            _ => usize::MAX,
        };
        self.pass_to_client(now, slot, from, payload, head, |found| {
            let is_meant = found.relays().any(|relay| relay == to);
            is_meant.then_some(Origin::Relay)
        })
    }

    /// Wraps data for the client of the allocation in this slot, if it is the one that is meant.
    fn pass_to_client(
        &mut self,
        now: Now,
        slot: usize,
        peer: SocketAddr,
        payload: &[u8],
        head: &mut [u8; HEADROOM],
        origin: impl Fn(&Allocation) -> Option<Origin>,
    ) -> Option<ToClient> {
        let found = self.allocations.get_mut(slot);
        let Some((found, origin)) = found.and_then(|found| origin(found).map(|at| (found, at)))
        else {
            self.stats.count_dropped(Dropped::NoPermission);
            return None;
        };
        let channel = found.peers.channel_of(peer, now.instant);
        // What claims to come from a relay of this server is forged: that would have come by `handle_relayed`.
        if origin == Origin::Outside {
            let judged = channel.map_or_else(|| self.policy.judge(peer), |channel| channel.judged);
            if judged != Peer::Allowed {
                self.stats.count_dropped(Dropped::ForbiddenPeer);
                return None;
            }
        }
        // RFC 8656 §11.3: without a permission it is discarded.
        if found.is_away() || !found.peers.permits(peer.ip(), now.instant) {
            self.stats.count_dropped(Dropped::NoPermission);
            return None;
        }
        let len = payload.len();
        if wire::layers(payload, MAX_LAYERS + 1) > MAX_LAYERS {
            self.stats.count_dropped(Dropped::Looping);
            return None;
        }
        let (begin, padding) = match channel {
            Some(channel) => {
                let begin = HEADROOM - channel::HEADER_LEN;
                let header = channel::header(channel.number, len)?;
                head.get_mut(begin..)?.copy_from_slice(&header);
                // RFC 8656 §12.5: padded on streams, and need not be on UDP.
                let padding = match found.tuple.transport {
                    Transport::Udp => 0,
                    Transport::Tcp | Transport::Tls => wire::padded(len) - len,
                };
                (begin, padding)
            }
            None => {
                let id = self.rng.random();
                let begin = data_indication_header(head, id, peer, len)?;
                (begin, wire::padded(len) - len)
            }
        };
        if !found.may_relay(len, now.instant) {
            self.stats.count_dropped(Dropped::OverQuota);
            return None;
        }
        found.to_client.count(len);
        self.stats.to_client.count(len);
        Some(ToClient {
            allocation: found.id,
            tuple: found.tuple,
            header: HEADROOM - begin,
            padding,
        })
    }

    pub(super) fn channel_data(&mut self, now: Now, tuple: FiveTuple, bytes: &[u8]) -> Verdict {
        let Some((number, payload)) = channel::parse(bytes) else {
            return self.discard(Dropped::Malformed);
        };
        let slot = self.slot_of_data(tuple);
        let allocation = slot.and_then(|slot| self.allocations.get(slot as usize));
        match allocation.and_then(|found| found.peers.channel(number, now.instant)) {
            Some(Channel { peer, judged, .. }) => {
                self.pass_to_peer(now, slot, peer, judged, payload, false)
            }
            None => self.discard(Dropped::NoPermission),
        }
    }

    /// Passes payload on where the allocation has a permission for the peer and the policy allows it. A channel
    /// outlives its own permission by five minutes; a permission is for an address, whatever the port; and a relay
    /// of this server may have ended since.
    fn pass_to_peer(
        &mut self,
        now: Now,
        slot: Option<u32>,
        peer: SocketAddr,
        judged: Peer,
        payload: Range<usize>,
        dont_fragment: bool,
    ) -> Verdict {
        let allocation = slot.and_then(|slot| self.allocations.get_mut(slot as usize));
        // RFC 6062: what goes through a TCP allocation goes through its connections.
        let may = |found: &&mut Box<Allocation>| {
            found.connections.is_none() && found.peers.permits(peer.ip(), now.instant)
        };
        let Some(allocation) = allocation.filter(may) else {
            return self.discard(Dropped::NoPermission);
        };
        let relay = self.common.relay_at(peer);
        if judged == Peer::Refused || (judged == Peer::OwnRelay && relay.is_none()) {
            return self.discard(Dropped::ForbiddenPeer);
        }
        if !allocation.may_relay(payload.len(), now.instant) {
            return self.discard(Dropped::OverQuota);
        }
        let own = allocation
            .relays()
            .find(|own| own.is_ipv4() == peer.is_ipv4());
        let Some(from) = own else {
            return self.discard(Dropped::NoPermission);
        };
        allocation.to_peer.count(payload.len());
        self.stats.to_peer.count(payload.len());
        match relay {
            Some((worker, _)) => Verdict::ToRelay {
                worker,
                from,
                to: peer,
                payload,
            },
            None => Verdict::ToPeer {
                allocation: allocation.id,
                peer,
                payload,
                dont_fragment,
            },
        }
    }

    /// RFC 8656 §11.2.
    pub(super) fn send_indication(
        &mut self,
        now: Now,
        tuple: FiveTuple,
        message: Message<'_>,
    ) -> Verdict {
        let mut peer = None;
        let mut data = None;
        let mut dont_fragment = false;
        for attribute in message.attributes() {
            match attribute.kind {
                attr::XOR_PEER_ADDRESS if peer.is_none() => {
                    peer = Some(message.xor_address(attribute.value));
                }
                attr::DATA if data.is_none() => {
                    let begin = attribute.offset + 4;
                    data = Some(begin..begin + attribute.value.len());
                }
                attr::DONT_FRAGMENT => dont_fragment = true,
                kind if request::is_unknown_required(kind) => {
                    return self.discard(Dropped::Malformed);
                }
                _ => {}
            }
        }
        let (Some(Some(peer)), Some(payload)) = (peer, data) else {
            return self.discard(Dropped::Malformed);
        };
        let slot = self.slot_of_data(tuple);
        let judged = self.policy.judge(peer);
        self.pass_to_peer(now, slot, peer, judged, payload, dont_fragment)
    }
}
