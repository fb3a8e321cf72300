//! CreatePermission and ChannelBind: with which peers an allocation may exchange data.

use std::net::SocketAddr;
use std::sync::Arc;

use super::allocation::{Allocation, ChannelConflict};
use super::authenticate::Proven;
use super::request::Code;
use super::{FiveTuple, Now, Protocol, Server, Verdict};
use crate::policy::Peer;
use crate::wire::{attr, channel};

impl Server {
    /// RFC 8656 §10.2: all of the addresses or none.
    pub(super) fn create_permission(
        &mut self,
        now: Now,
        tuple: FiveTuple,
        proven: &Proven<'_>,
    ) -> Result<Verdict, Code> {
        let message = proven.message;
        let limit = self.limits.permissions;
        let policy = Arc::clone(&self.policy);
        let allocation = self.own_allocation(tuple, proven)?;
        let mut ips = Vec::new();
        for attribute in message
            .protected()
            .filter(|a| a.kind == attr::XOR_PEER_ADDRESS)
        {
            let peer = message
                .xor_address(attribute.value)
                .ok_or(Code::BadRequest)?;
            check_family(allocation, peer)?;
            let allowed = match policy.judge_ip(peer.ip()) {
                Peer::Allowed => true,
                Peer::OwnRelay => allocation.protocol() == Protocol::Udp,
                Peer::Refused => false,
            };
            if !allowed {
                return Err(Code::Forbidden);
            }
            if !ips.contains(&peer.ip()) {
                ips.push(peer.ip());
            }
            if ips.len() > limit {
                return Err(Code::InsufficientCapacity);
            }
        }
        if ips.is_empty() {
            return Err(Code::BadRequest);
        }
        if !allocation.peers.has_room(&ips, limit, now.instant) {
            return Err(Code::InsufficientCapacity);
        }
        ips.iter()
            .for_each(|ip| allocation.peers.permit(*ip, now.instant));
        Ok(self.succeed(proven, |_| {}))
    }

    /// RFC 8656 §12.2.
    pub(super) fn channel_bind(
        &mut self,
        now: Now,
        tuple: FiveTuple,
        proven: &Proven<'_>,
    ) -> Result<Verdict, Code> {
        let message = proven.message;
        let limits = self.limits;
        let (common, policy) = (Arc::clone(&self.common), Arc::clone(&self.policy));
        let allocation = self.own_allocation(tuple, proven)?;
        if allocation.protocol() == Protocol::Tcp {
            // RFC 6062 names no error; coturn says the same.
            return Err(Code::Forbidden);
        }
        let number = match message.get(attr::CHANNEL_NUMBER) {
            Some(&[n0, n1, _, _]) => u16::from_be_bytes([n0, n1]),
            _ => return Err(Code::BadRequest),
        };
        let peer = message.get(attr::XOR_PEER_ADDRESS);
        let peer = peer
            .and_then(|value| message.xor_address(value))
            .ok_or(Code::BadRequest)?;
        let numbers = match common.config().legacy_channels {
            true => channel::LEGACY_NUMBERS,
            false => channel::NUMBERS,
        };
        if !numbers.contains(&number) {
            return Err(Code::BadRequest);
        }
        check_family(allocation, peer)?;
        let judged = common.judge(&policy, peer);
        if judged == Peer::Refused {
            return Err(Code::Forbidden);
        }
        let checked = allocation
            .peers
            .check_channel(number, peer, limits.channels, now.instant);
        checked.map_err(|conflict| match conflict {
            ChannelConflict::Bound => Code::BadRequest,
            ChannelConflict::TooMany => Code::InsufficientCapacity,
        })?;
        if !allocation
            .peers
            .has_room(&[peer.ip()], limits.permissions, now.instant)
        {
            return Err(Code::InsufficientCapacity);
        }
        allocation
            .peers
            .bind_channel(number, peer, judged, now.instant);
        allocation.peers.permit(peer.ip(), now.instant);
        Ok(self.succeed(proven, |_| {}))
    }
}

fn check_family(allocation: &Allocation, peer: SocketAddr) -> Result<(), Code> {
    if allocation.has_family(peer.is_ipv4()) {
        Ok(())
    } else {
        Err(Code::PeerFamilyMismatch)
    }
}
