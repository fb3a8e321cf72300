//! Counters of one server, written by its own thread and read by whoever shows metrics.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::wire::Method;

/// Why a datagram came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dropped {
    /// Neither STUN nor ChannelData, torn, or from port 0.
    Malformed,
    /// An answer, an indication or a method that this server has no use for; answering could make a loop.
    NotForServers,
    /// Data for an allocation, a channel or a permission that is not there.
    NoPermission,
    /// Data to an address that the peer policy refuses.
    ForbiddenPeer,
    /// More data than its owner may have relayed.
    OverQuota,
    /// More unauthenticated requests than one source may send.
    RateLimited,
    /// The answer would be more than three times as large as the request of an unproven address.
    Amplification,
    /// The socket would not take it.
    SendFailed,
}

impl Dropped {
    pub const ALL: [Dropped; 8] = [
        Dropped::Malformed,
        Dropped::NotForServers,
        Dropped::NoPermission,
        Dropped::ForbiddenPeer,
        Dropped::OverQuota,
        Dropped::RateLimited,
        Dropped::Amplification,
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
            Dropped::Amplification => "amplification",
            Dropped::SendFailed => "send_failed",
        }
    }
}

/// Methods told apart in counters.
pub const METHODS: [(Method, &str); 5] = [
    (Method::Binding, "binding"),
    (Method::Allocate, "allocate"),
    (Method::Refresh, "refresh"),
    (Method::CreatePermission, "create_permission"),
    (Method::ChannelBind, "channel_bind"),
];

/// Outcomes of a request told apart in counters; 0 is success.
pub const RESULTS: [u16; 13] = [
    0, 400, 401, 403, 420, 437, 438, 440, 441, 442, 443, 486, 508,
];

/// Payload that went one way.
#[derive(Debug, Default)]
pub struct Flow {
    pub packets: AtomicU64,
    /// Bytes of payload, without any header.
    pub bytes: AtomicU64,
}

impl Flow {
    pub(crate) fn count(&self, bytes: usize) {
        add(&self.packets, 1);
        add(&self.bytes, bytes as u64);
    }
}

/// Counters of one server since its start.
#[derive(Debug, Default)]
pub struct Stats {
    /// Live allocations.
    pub allocations: AtomicU64,
    pub to_peer: Flow,
    pub to_client: Flow,
    requests: [[AtomicU64; RESULTS.len()]; METHODS.len()],
    dropped: [AtomicU64; Dropped::ALL.len()],
}

impl Stats {
    /// Requests of this method that ended with this result, 0 or an error code.
    pub fn requests(&self, method: Method, result: u16) -> u64 {
        self.cell(method, result)
            .map_or(0, |cell| cell.load(Relaxed))
    }

    pub fn dropped(&self, reason: Dropped) -> u64 {
        self.dropped
            .get(reason as usize)
            .map_or(0, |cell| cell.load(Relaxed))
    }

    pub(crate) fn set_allocations(&self, live: usize) {
        self.allocations.store(live as u64, Relaxed);
    }

    pub(crate) fn count_request(&self, method: Method, result: u16) {
        if let Some(cell) = self.cell(method, result) {
            add(cell, 1);
        }
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
