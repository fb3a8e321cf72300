//! Counters of one server, written by its own thread and read by whoever shows metrics.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::server::Ended;
use crate::wire::Method;

/// Why a datagram, or a peer's connection, came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dropped {
    /// Neither STUN nor ChannelData, torn, or from port 0.
    Malformed,
    /// An answer, an indication, a method or an ICMP error that this server has no use for; answering could make a
    /// loop.
    NotForServers,
    /// Data for an allocation, a channel or a permission that is not there.
    NoPermission,
    /// Data to an address that the peer policy refuses.
    ForbiddenPeer,
    /// More data than its owner may have relayed.
    OverQuota,
    /// More unauthenticated requests than one source may send, or more ICMP errors than one allocation is told of.
    RateLimited,
    /// A request without valid credentials, of one whom the authenticator wants to be told nothing.
    Banned,
    /// The answer would be more than three times as large as the request of an unproven address.
    Amplification,
    /// Data that has come through so many TURN servers that it goes round between them.
    Looping,
    /// The socket would not take it.
    SendFailed,
}

impl Dropped {
    /// Each of them, for those who show all counters.
    pub const ALL: [Dropped; 10] = [
        Dropped::Malformed,
        Dropped::NotForServers,
        Dropped::NoPermission,
        Dropped::ForbiddenPeer,
        Dropped::OverQuota,
        Dropped::RateLimited,
        Dropped::Banned,
        Dropped::Amplification,
        Dropped::Looping,
        Dropped::SendFailed,
    ];

    /// Name for a metric's label.
    pub fn as_str(self) -> &'static str {
        match self {
            Dropped::Malformed => "malformed",
            Dropped::NotForServers => "not_for_servers",
            Dropped::NoPermission => "no_permission",
            Dropped::ForbiddenPeer => "forbidden_peer",
            Dropped::OverQuota => "over_quota",
            Dropped::RateLimited => "rate_limited",
            Dropped::Banned => "banned",
            Dropped::Amplification => "amplification",
            Dropped::Looping => "looping",
            Dropped::SendFailed => "send_failed",
        }
    }
}

/// Methods told apart in counters.
pub const METHODS: [(Method, &str); 7] = [
    (Method::Binding, "binding"),
    (Method::Allocate, "allocate"),
    (Method::Refresh, "refresh"),
    (Method::CreatePermission, "create_permission"),
    (Method::ChannelBind, "channel_bind"),
    (Method::Connect, "connect"),
    (Method::ConnectionBind, "connection_bind"),
];

/// Outcomes of a request told apart in counters; 0 is success.
pub const RESULTS: [u16; 16] = [
    0, 400, 401, 403, 405, 420, 437, 438, 440, 441, 442, 443, 446, 447, 486, 508,
];

/// Payload that went one way.
#[derive(Debug, Default)]
pub struct Flow {
    /// Datagrams.
    pub packets: AtomicU64,
    /// Bytes of payload, without any header.
    pub bytes: AtomicU64,
}

impl Flow {
    pub(crate) fn count(&self, bytes: usize) {
        add(&self.packets, 1);
        add(&self.bytes, bytes as u64);
    }

    /// Bytes of a stream, which has no packets.
    pub(crate) fn count_stream(&self, bytes: usize) {
        add(&self.bytes, bytes as u64);
    }
}

/// Counters of one server since its start.
#[derive(Debug, Default)]
pub struct Stats {
    /// Live allocations.
    pub allocations: AtomicU64,
    /// Live connections with peers of TCP allocations.
    pub connections: AtomicU64,
    /// From clients to peers.
    pub to_peer: Flow,
    /// From peers to clients.
    pub to_client: Flow,
    /// ICMP errors that clients were told of.
    pub icmp: AtomicU64,
    requests: [[AtomicU64; RESULTS.len()]; METHODS.len()],
    dropped: [AtomicU64; Dropped::ALL.len()],
    ended: [AtomicU64; Ended::ALL.len()],
}

impl Stats {
    /// Requests of this method that ended with this result, 0 or an error code.
    pub fn requests(&self, method: Method, result: u16) -> u64 {
        self.cell(method, result)
            .map_or(0, |cell| cell.load(Relaxed))
    }

    /// Datagrams that came to nothing for this reason.
    pub fn dropped(&self, reason: Dropped) -> u64 {
        self.dropped
            .get(reason as usize)
            .map_or(0, |cell| cell.load(Relaxed))
    }

    /// Allocations that ended for this reason.
    pub fn ended(&self, reason: Ended) -> u64 {
        self.ended
            .get(reason as usize)
            .map_or(0, |cell| cell.load(Relaxed))
    }

    pub(crate) fn count_ended(&self, reason: Ended) {
        if let Some(cell) = self.ended.get(reason as usize) {
            add(cell, 1);
        }
    }

    pub(crate) fn set_allocations(&self, live: usize) {
        self.allocations.store(live as u64, Relaxed);
    }

    pub(crate) fn set_connections(&self, live: usize) {
        self.connections.store(live as u64, Relaxed);
    }

    pub(crate) fn count_request(&self, method: Method, result: u16) {
        if let Some(cell) = self.cell(method, result) {
            add(cell, 1);
        }
    }

    pub(crate) fn count_icmp(&self) {
        add(&self.icmp, 1);
    }

    fn cell(&self, method: Method, result: u16) -> Option<&AtomicU64> {
        let row = METHODS.iter().position(|(known, _)| *known == method)?;
        let column = RESULTS.iter().position(|known| *known == result)?;
        self.requests.get(row)?.get(column)
    }

    pub(crate) fn count_dropped(&self, reason: Dropped) {
        if let Some(cell) = self.dropped.get(reason as usize) {
            add(cell, 1);
        }
    }
}

/// Adds to a counter that no other thread writes: cheaper than an atomic addition.
fn add(cell: &AtomicU64, n: u64) {
    cell.store(cell.load(Relaxed).wrapping_add(n), Relaxed);
}
