//! What a server has its driver do, and what it tells.

use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

use super::{AllocationId, ConnectionId, FiveTuple, Traffic};
use crate::auth::{Loss, Owner};

/// What to do with the datagram just handled.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// Nothing to send now.
    Done,
    /// Send [`Server::answer`](super::Server::answer) back to where it came from.
    Answer,
    /// Send [`Server::answer`](super::Server::answer) from the server's address to the client's of this 5-tuple, of which one or both are not
    /// those of the request (RFC 5780 §6.1). Over UDP.
    AnswerTo(FiveTuple),
    /// Send this range of it from the allocation's relay socket to the peer.
    ToPeer {
        /// Whose relay socket.
        allocation: AllocationId,
        /// Where to.
        peer: SocketAddr,
        /// Bytes of what was handled.
        payload: Range<usize>,
        /// Whether it is to be lost rather than fragmented (RFC 8656 §18.10).
        dont_fragment: bool,
    },
    /// Hand this range of it to [`Server::handle_relayed`](super::Server::handle_relayed) of the server that has the allocation: no packet leaves the
    /// process for a peer that is relayed here as well.
    ToRelay {
        /// Whose server, as given to [`Server::new`](super::Server::new).
        worker: u8,
        /// The relayed address of the sender.
        from: SocketAddr,
        /// The relayed address that was meant.
        to: SocketAddr,
        /// Bytes of what was handled.
        payload: Range<usize>,
    },
    /// Send [`Server::answer`](super::Server::answer); whatever the stream brings behind this message are bytes for the peer of this
    /// connection, and what the peer sends goes back on it (RFC 6062 §5.4).
    Bind {
        /// The one that the client has named.
        connection: ConnectionId,
    },
    /// Give this datagram to the server of this index, by [`Server::handle_forwarded`](super::Server::handle_forwarded).
    Forward {
        /// As given to [`Server::new`](super::Server::new).
        worker: u8,
    },
    /// Give the stream, this message first, to the server of this index: it knows what the message is about.
    HandOver {
        /// As given to [`Server::new`](super::Server::new).
        worker: u8,
    },
}

/// How an allocation exchanges data with its peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// By datagrams (RFC 8656).
    Udp,
    /// By connections (RFC 6062).
    Tcp,
}

impl Protocol {
    /// Name for a listing.
    pub fn as_str(self) -> &'static str {
        match self {
            Protocol::Udp => "udp",
            Protocol::Tcp => "tcp",
        }
    }
}

/// What the driver is to do beside the verdicts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Bind UDP sockets or TCP listeners, in place of those that the allocation has, and report with [`Server::bound`](super::Server::bound).
    Bind {
        /// For whom; to be named to [`Server::bound`](super::Server::bound).
        allocation: AllocationId,
        /// Of what kind.
        protocol: Protocol,
        /// One for each socket: an address of this machine and the port. Of each address family at most one.
        addresses: Vec<SocketAddr>,
    },
    /// Close the allocation's socket or listener of one address family.
    CloseFamily {
        /// One that lives on.
        allocation: AllocationId,
        /// Of IPv4, or of IPv6.
        ipv4: bool,
    },
    /// Close the allocation's sockets or listeners.
    Close {
        /// One that has ended.
        allocation: AllocationId,
    },
    /// Send this to a client.
    Send {
        /// Which one.
        tuple: FiveTuple,
        /// One whole message.
        message: Vec<u8>,
    },
    /// Open a TCP connection and report with [`Server::connected`](super::Server::connected).
    Connect {
        /// To be named there.
        connection: ConnectionId,
        /// The allocation's relay address, on this machine.
        local: SocketAddr,
        /// Where to.
        peer: SocketAddr,
    },
    /// Close a connection with a peer, open or not yet, and the client's that is bound to it, at once. It is forgotten
    /// here.
    CloseConnection {
        /// Of [`Output::Connect`] or [`Server::peer_connected`](super::Server::peer_connected).
        connection: ConnectionId,
    },
    /// Give back what memory can be spared: many allocations have ended.
    Shrink,
    /// Something to tell.
    Event(Event),
}

/// What happened to an allocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// It was made, and its client is being told.
    Allocated {
        /// Who made it.
        owner: Owner,
        /// Between its client and this server.
        tuple: FiveTuple,
        /// As peers see them: one, or of a dual allocation two, IPv4 first.
        relays: Vec<SocketAddr>,
        /// Between those and the peers.
        protocol: Protocol,
    },
    /// Its client asked for it to go on, or for one family of a dual one to end.
    Refreshed {
        /// Who made it.
        owner: Owner,
        /// Between its client and this server.
        tuple: FiveTuple,
        /// From now on; zero for a family that has ended.
        lifetime: Duration,
    },
    /// Something of a client was dropped or refused. For each reason and network, /24 or /56, it is told at most once a
    /// second, and never of a first request without credentials or one with a stale nonce, which are as they should be.
    Refused {
        /// From where it came.
        client: SocketAddr,
        /// As it was claimed, or, if the reason lies elsewhere than in the credentials, as it was proven; at most 64
        /// characters.
        username: Option<Box<str>>,
        /// In a few words: the text of an error code, the name of a [`Dropped`](crate::stats::Dropped), or what is wrong
        /// with the credentials.
        why: &'static str,
    },
    /// It is no more.
    Ended {
        /// Who had made it.
        owner: Owner,
        /// Between its client and this server.
        tuple: FiveTuple,
        /// As peers saw those that were left.
        relays: Vec<SocketAddr>,
        /// What ended it.
        reason: Ended,
        /// Payload passed on to peers.
        to_peer: Traffic,
        /// Payload passed on to the client.
        to_client: Traffic,
        /// Since it was made.
        lasted: Duration,
    },
}

/// Why an allocation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Its lifetime passed without a Refresh.
    Expired,
    /// The client asked for it.
    Released,
    /// Its owner lost the right to relay.
    Revoked,
    /// The connection it came by was closed.
    Disconnected,
    /// An administrator asked for it.
    Killed,
    /// Its owner has had as much relayed as he may.
    OverQuota,
}

impl Ended {
    /// All that there are.
    pub const ALL: [Ended; 6] = [
        Ended::Expired,
        Ended::Released,
        Ended::Revoked,
        Ended::Disconnected,
        Ended::Killed,
        Ended::OverQuota,
    ];

    /// Name for a metric's label.
    pub fn as_str(self) -> &'static str {
        match self {
            Ended::Expired => "expired",
            Ended::Released => "released",
            Ended::Revoked => "revoked",
            Ended::Disconnected => "disconnected",
            Ended::Killed => "killed",
            Ended::OverQuota => "over_quota",
        }
    }
}

impl From<Loss> for Ended {
    fn from(loss: Loss) -> Self {
        match loss {
            Loss::Revoked => Ended::Revoked,
            Loss::OverQuota => Ended::OverQuota,
        }
    }
}
