//! TCP allocations (RFC 6062): which connections there are between an allocation and its peers, and until when
//! each waits for the peer or for the client. Their bytes are left to the driver.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand::RngExt;

use super::allocation::Allocation;
use super::authenticate::{Proven, Signature};
use super::request::Code;
use super::{AllocationId, FiveTuple, Now, Output, Server, Transport, Verdict};
use crate::policy::Peer;
use crate::stats::Dropped;
use crate::wire::integrity::Integrity;
use crate::wire::{Builder, Class, Message, Method, TransactionId, attr};

/// RFC 6062 §5.2: at least 30 seconds for a peer to accept.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// RFC 6062 §5.2, §5.3: a connection for which no ConnectionBind comes is closed.
const BIND_TIMEOUT: Duration = Duration::from_secs(30);

/// Names a connection with a peer, as CONNECTION-ID does (RFC 6062 §6.2.1): among those of all servers that share
/// a [`Common`](super::Common), since the upper eight bits are the server's index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(u32);

impl ConnectionId {
    /// Any, for tests of the driver.
    #[cfg(test)]
    pub(crate) fn any() -> Self {
        ConnectionId(7)
    }

    /// Index of the server that knows it.
    pub fn worker(self) -> u8 {
        (self.0 >> 24) as u8
    }
}

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the peer.
    ToPeer,
    /// From the peer to the client.
    ToClient,
}

/// All connections with peers that one server knows.
#[derive(Default)]
pub(super) struct Connections {
    by_id: HashMap<ConnectionId, Connection>,
    /// Until when those that are not in use yet are waited for.
    deadlines: BTreeSet<(Instant, ConnectionId)>,
}

struct Connection {
    allocation: AllocationId,
    peer: SocketAddr,
    stage: Stage,
}

enum Stage {
    /// The peer has not accepted yet.
    Connecting {
        until: Instant,
        asked: Box<Asked>,
    },
    /// The client has not bound it yet.
    Unbound {
        until: Instant,
    },
    Bound,
}

/// A Connect that waits for the peer.
struct Asked {
    transaction: TransactionId,
    signature: Signature,
}

impl Connections {
    pub fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    fn insert(&mut self, id: ConnectionId, connection: Connection) {
        if let Some(until) = connection.stage.until() {
            self.deadlines.insert((until, id));
        }
        self.by_id.insert(id, connection);
    }

    fn remove(&mut self, id: ConnectionId) -> Option<Connection> {
        let connection = self.by_id.remove(&id)?;
        if let Some(until) = connection.stage.until() {
            self.deadlines.remove(&(until, id));
        }
        Some(connection)
    }
}

impl Stage {
    fn until(&self) -> Option<Instant> {
        match self {
            Stage::Connecting { until, .. } | Stage::Unbound { until } => Some(*until),
            Stage::Bound => None,
        }
    }
}

/// Of a message that names one.
fn connection_id(message: &Message<'_>) -> Option<ConnectionId> {
    let value = message.get(attr::CONNECTION_ID)?;
    Some(ConnectionId(u32::from_be_bytes(value.try_into().ok()?)))
}

/// What RFC 6062 §5.1 refuses of an Allocate for TCP.
pub(super) fn check_allocate(transport: Transport, message: &Message<'_>) -> Result<(), Code> {
    let of_udp = [
        attr::EVEN_PORT,
        attr::RESERVATION_TOKEN,
        attr::DONT_FRAGMENT,
    ];
    let asks_for = |kind: &u16| message.get(*kind).is_some();
    if transport == Transport::Udp || of_udp.iter().any(asks_for) {
        return Err(Code::BadRequest);
    }
    Ok(())
}

impl Server {
    /// The outcome of [`Output::Connect`]; the answer to the client is among the outputs.
    pub fn connected(&mut self, now: Now, id: ConnectionId, outcome: io::Result<()>) {
        let waits = |connection: &Connection| matches!(connection.stage, Stage::Connecting { .. });
        if !self.connections.by_id.get(&id).is_some_and(waits) {
            return;
        }
        let Some(mut connection) = self.connections.remove(id) else {
            return;
        };
        let until = now.instant + BIND_TIMEOUT;
        let unbound = Stage::Unbound { until };
        let Stage::Connecting { asked, .. } = std::mem::replace(&mut connection.stage, unbound)
        else {
            return;
        };
        let Some(allocation) = Self::find(&mut self.allocations, connection.allocation) else {
            return;
        };
        let (tuple, transaction) = (allocation.tuple, asked.transaction);
        let mut out = Vec::new();
        let code = match outcome {
            Ok(()) => {
                let mut answer =
                    Builder::new(&mut out, Method::Connect, Class::Success, transaction);
                answer.u32(attr::CONNECTION_ID, id.0);
                asked.signature.close(&mut answer);
                self.connections.insert(id, connection);
                0
            }
            Err(_) => {
                let code = Code::ConnectionFailed;
                let mut answer = Builder::new(&mut out, Method::Connect, Class::Error, transaction);
                answer.error_code(code as u16, code.reason());
                asked.signature.close(&mut answer);
                self.forget_connection(id, &connection);
                code as u16
            }
        };
        self.stats.count_request(Method::Connect, code);
        self.outputs.push_back(Output::Send {
            tuple,
            message: out,
        });
    }

    /// A peer has connected to a TCP allocation's relay address (RFC 6062 §5.3); `None`: close it at once.
    pub fn peer_connected(
        &mut self,
        now: Now,
        allocation: AllocationId,
        peer: SocketAddr,
    ) -> Option<ConnectionId> {
        let limits = self.limits;
        let found = Self::find(&mut self.allocations, allocation);
        let found = found.filter(|found| found.pending.is_none());
        let dropped = match found {
            Some(found) if found.peers.permits(peer.ip(), now.instant) => {
                let held = found.connections.as_ref().map_or(0, Vec::len);
                if self.policy.judge(peer) != Peer::Allowed {
                    Dropped::ForbiddenPeer
                } else if held >= limits.connections || !self.common.take_connection(found.owner) {
                    Dropped::OverQuota
                } else {
                    let tuple = found.tuple;
                    let until = now.instant + BIND_TIMEOUT;
                    let id = self.add_connection(allocation, peer, Stage::Unbound { until });
                    let mut message = Vec::new();
                    let mut indication = Builder::new(
                        &mut message,
                        Method::ConnectionAttempt,
                        Class::Indication,
                        self.rng.random(),
                    );
                    indication.xor_address(attr::XOR_PEER_ADDRESS, peer);
                    indication.u32(attr::CONNECTION_ID, id.0);
                    self.outputs.push_back(Output::Send { tuple, message });
                    return Some(id);
                }
            }
            _ => Dropped::NoPermission,
        };
        self.stats.count_dropped(dropped);
        None
    }

    /// A connection that the driver has closed, or has seen closed, on both sides (RFC 6062 §5.5).
    pub fn connection_closed(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.remove(id) {
            self.forget_connection(id, &connection);
        }
    }

    /// Until when nothing is to be read for this connection, because its owner has had relayed as much as may be;
    /// `None`: it may be read now.
    pub fn must_wait_until(&self, id: ConnectionId, now: Now) -> Option<Instant> {
        let connection = self.connections.by_id.get(&id)?;
        let allocation = self.allocations.get(connection.allocation.slot())?;
        allocation.meter.as_ref()?.full_until(now.instant)
    }

    /// Counts bytes that were read of a connection, to be passed on.
    pub fn count_data(&mut self, now: Now, id: ConnectionId, direction: Direction, bytes: usize) {
        let connection = self.connections.by_id.get(&id);
        let allocation = connection
            .and_then(|connection| Self::find(&mut self.allocations, connection.allocation));
        let Some(allocation) = allocation else { return };
        if let Some(meter) = &allocation.meter {
            meter.charge(bytes, now.instant);
        }
        let (traffic, flow) = match direction {
            Direction::ToPeer => (&mut allocation.to_peer, &self.stats.to_peer),
            Direction::ToClient => (&mut allocation.to_client, &self.stats.to_client),
        };
        traffic.bytes += bytes as u64;
        flow.count_stream(bytes);
    }

    /// RFC 6062 §5.2.
    pub(super) fn connect(
        &mut self,
        now: Now,
        tuple: FiveTuple,
        proven: &Proven<'_>,
    ) -> Result<Verdict, Code> {
        let message = proven.message;
        let limits = self.limits;
        let id = self.own_allocation(tuple, proven)?.id;
        let allocation = self.allocations.get(id.slot());
        let allocation = allocation.ok_or(Code::AllocationMismatch)?;
        // RFC 6062 names no error for a UDP allocation; coturn says the same.
        let held = allocation.connections.as_ref().ok_or(Code::Forbidden)?;
        let peer = message
            .get(attr::XOR_PEER_ADDRESS)
            .and_then(|value| message.xor_address(value))
            .ok_or(Code::BadRequest)?;
        let leg = allocation.legs.of(peer.is_ipv4());
        let leg = leg.ok_or(Code::PeerFamilyMismatch)?;
        let is_to_peer = |id| {
            let connection = self.connections.by_id.get(id);
            connection.is_some_and(|connection| connection.peer == peer)
        };
        if held.iter().any(is_to_peer) {
            return Err(Code::ConnectionExists);
        }
        // This host may trust what comes from its own addresses, so not even its relays are peers over TCP.
        if self.policy.judge(peer) != Peer::Allowed {
            return Err(Code::Forbidden);
        }
        if held.len() >= limits.connections {
            return Err(Code::InsufficientCapacity);
        }
        if !self.common.take_connection(allocation.owner) {
            return Err(Code::QuotaReached);
        }
        let asked = Box::new(Asked {
            transaction: message.transaction_id(),
            signature: proven.signature,
        });
        let local = SocketAddr::new(leg.relay.local, allocation.port);
        let until = now.instant + CONNECT_TIMEOUT;
        let connection = self.add_connection(id, peer, Stage::Connecting { until, asked });
        self.outputs.push_back(Output::Connect {
            connection,
            local,
            peer,
        });
        Ok(Verdict::Done)
    }

    /// The server that knows the connection of a ConnectionBind which arrived here: it alone can say whose it is.
    pub(super) fn other_server(&self, tuple: FiveTuple, message: &Message<'_>) -> Option<u8> {
        let may_be_moved = message.method() == Method::ConnectionBind
            && tuple.transport != Transport::Udp
            && !self.has_allocation(tuple)
            && Integrity::of(message).is_some();
        let worker = connection_id(message).filter(|_| may_be_moved)?.worker();
        (worker != self.worker && self.common.has_server(worker)).then_some(worker)
    }

    /// The control connection of the allocation whose connection a ConnectionBind names. Clients authenticate as they do
    /// there (RFC 6062 §4.3), with the nonce that they were given there, and coturn's can do no other.
    pub(super) fn control_of(&self, message: &Message<'_>) -> Option<FiveTuple> {
        let id = connection_id(message).filter(|_| message.method() == Method::ConnectionBind)?;
        let connection = self.connections.by_id.get(&id)?;
        let allocation = self.allocations.get(connection.allocation.slot())?;
        Some(allocation.tuple)
    }

    /// RFC 6062 §5.4.
    pub(super) fn connection_bind(
        &mut self,
        tuple: FiveTuple,
        proven: &Proven<'_>,
    ) -> Result<Verdict, Code> {
        let id = connection_id(&proven.message).ok_or(Code::BadRequest)?;
        // A stream that controls an allocation cannot be a data connection as well.
        if tuple.transport == Transport::Udp || self.has_allocation(tuple) {
            return Err(Code::BadRequest);
        }
        let connection = self.connections.by_id.get_mut(&id);
        let Some(connection) = connection else {
            return Err(Code::BadRequest);
        };
        let Stage::Unbound { until } = connection.stage else {
            return Err(Code::BadRequest);
        };
        let allocation = Self::find(&mut self.allocations, connection.allocation);
        // RFC 6062 §4.3: with the credentials of the control connection.
        if !allocation.is_some_and(|allocation| proven.is_of(allocation)) {
            return Err(Code::WrongCredentials);
        }
        connection.stage = Stage::Bound;
        self.connections.deadlines.remove(&(until, id));
        // The answer; what to do with the stream is the verdict.
        let _ = self.succeed(proven, |_| {});
        Ok(Verdict::Bind { connection: id })
    }

    /// Closes connections for which nobody came in time.
    pub(super) fn end_late_connections(&mut self, now: Now) {
        while let Some((at, id)) = self.connections.deadlines.first().copied()
            && at <= now.instant
        {
            self.outputs
                .push_back(Output::CloseConnection { connection: id });
            // Of a Connect the client is told.
            self.connected(now, id, Err(io::ErrorKind::TimedOut.into()));
            self.connection_closed(id);
        }
    }

    /// Closes connections with peers that the policy refuses by now.
    pub(super) fn review_connections(&mut self, now: Now) {
        let refused = |connection: &Connection| self.policy.judge(connection.peer) != Peer::Allowed;
        let all = self.connections.by_id.iter();
        let refused: Vec<_> = all
            .filter(|(_, connection)| refused(connection))
            .map(|(id, _)| *id)
            .collect();
        for id in refused {
            self.outputs
                .push_back(Output::CloseConnection { connection: id });
            self.connected(now, id, Err(io::ErrorKind::PermissionDenied.into()));
            self.connection_closed(id);
        }
    }

    /// Closes all connections of an allocation that ends (RFC 6062 §5.5).
    pub(super) fn end_connections(&mut self, allocation: &Allocation) {
        for id in allocation.connections.iter().flatten() {
            self.connections.remove(*id);
            self.common.release_connection(allocation.owner);
            self.outputs
                .push_back(Output::CloseConnection { connection: *id });
        }
        self.stats.set_connections(self.connections.by_id.len());
    }

    /// Closes those of an allocation with peers of one address family.
    pub(super) fn end_connections_of_family(&mut self, allocation: AllocationId, ipv4: bool) {
        let all = self.connections.by_id.iter();
        let ended: Vec<_> = all
            .filter(|(_, c)| c.allocation == allocation && c.peer.is_ipv4() == ipv4)
            .map(|(id, _)| *id)
            .collect();
        for id in ended {
            self.outputs
                .push_back(Output::CloseConnection { connection: id });
            self.connection_closed(id);
        }
    }

    fn add_connection(
        &mut self,
        allocation: AllocationId,
        peer: SocketAddr,
        stage: Stage,
    ) -> ConnectionId {
        let id = loop {
            let random = self.rng.random::<u32>() >> 8;
            let id = ConnectionId(u32::from(self.worker) << 24 | random);
            if !self.connections.by_id.contains_key(&id) {
                break id;
            }
        };
        let connection = Connection {
            allocation,
            peer,
            stage,
        };
        self.connections.insert(id, connection);
        let found = Self::find(&mut self.allocations, allocation);
        if let Some(held) = found.and_then(|found| found.connections.as_mut()) {
            held.push(id);
        }
        self.stats.set_connections(self.connections.by_id.len());
        id
    }

    /// Takes one that is no longer known off its allocation.
    fn forget_connection(&mut self, id: ConnectionId, connection: &Connection) {
        if let Some(allocation) = Self::find(&mut self.allocations, connection.allocation) {
            if let Some(held) = &mut allocation.connections {
                held.retain(|held| *held != id);
            }
            self.common.release_connection(allocation.owner);
        }
        self.stats.set_connections(self.connections.by_id.len());
    }
}
