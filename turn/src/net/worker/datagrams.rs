//! Datagrams of clients and of peers: what is read is handled where it lies, and queued for the socket it leaves by
//! until the turn ends.

use std::io;
use std::net::{IpAddr, SocketAddr};

use mio::net::UdpSocket;

use super::{Io, Place, TURNS, Worker, relay_index};
use crate::net::batch::{self, Ask, Datagram, Payload, Piece, Queue, Way, ZEROS};
use crate::net::relay::{RelaySocket, RelaySockets};
use crate::net::sys;
use crate::server::{AllocationId, FiveTuple, Now, ToClient, Transport};

/// A socket at which clients arrive over UDP.
pub(super) struct Listener {
    pub socket: UdpSocket,
    pub address: SocketAddr,
    pub ask: Ask,
    pub queue: Queue,
}

impl Listener {
    /// The address to name as the sender's, for an answer from there: this machine may have several.
    pub fn sender(&self, server: SocketAddr) -> Option<IpAddr> {
        let ip = server.ip();
        (ip != self.address.ip() && !ip.is_unspecified()).then_some(ip)
    }
}

impl Worker {
    /// Reads datagrams of clients; true when there may be more.
    pub(super) fn serve_udp(&mut self, now: Now, index: usize) -> bool {
        for _ in 0..TURNS {
            self.make_inbox_room();
            let Some(listener) = self.io.udp.get_mut(index) else {
                return false;
            };
            let address = listener.address;
            let outcome = self.inbox.receive(&listener.socket, &mut listener.ask);
            let (trains, more) = match outcome {
                Ok(received) => received,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                Err(error) => {
                    tracing::debug!(%error, "reading from the relay's UDP socket failed");
                    self.starved.insert(Place::Udp(index));
                    return false;
                }
            };
            for train in trains {
                let Some(received) = self.inbox.train(train) else {
                    break;
                };
                // Nobody can be answered there.
                if received.from.port() == 0 {
                    continue;
                }
                let ip = received.to.unwrap_or(address.ip());
                let tuple = FiveTuple {
                    transport: Transport::Udp,
                    client: received.from,
                    server: SocketAddr::new(ip, address.port()),
                };
                for (begin, len) in received.datagrams() {
                    let datagram = Payload::Read(Piece::new(train, begin, len));
                    // Only a stream goes anywhere.
                    let _ = self.handle(now, tuple, datagram);
                }
            }
            if !more {
                return false;
            }
        }
        true
    }

    /// Reads datagrams of peers; true when there may be more.
    pub(super) fn serve_relay(&mut self, now: Now, index: usize) -> bool {
        for _ in 0..TURNS {
            self.make_inbox_room();
            let Some((allocation, relay)) = self.io.relay_at(index) else {
                return false;
            };
            let (trains, more) = match self.inbox.receive(&relay.socket, &mut relay.ask) {
                Ok(received) => received,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                // Of an earlier datagram; it is read elsewhere, and has made room for what has arrived.
                Err(error) if sys::is_of_icmp(&error) => continue,
                Err(error) => {
                    tracing::debug!(%error, "reading from a relay port failed");
                    self.starved.insert(Place::Relay(index));
                    return false;
                }
            };
            for train in trains {
                let Some(received) = self.inbox.train(train) else {
                    break;
                };
                for (begin, len) in received.datagrams() {
                    let payload = Payload::Read(Piece::new(train, begin, len));
                    self.make_outbox_room(payload);
                    let Some(head) = self.outbox.head() else {
                        break;
                    };
                    let bytes = payload.bytes(&self.inbox);
                    let peer = received.from;
                    let passed = self.server.handle_peer(now, allocation, peer, bytes, head);
                    if let Some(to_client) = passed {
                        self.queue_to_client(to_client, payload);
                    }
                }
            }
            if !more {
                return false;
            }
        }
        true
    }

    /// Tells a client of ICMP errors about what it has sent, just now to `peer`. More of them than are read here make
    /// another event.
    pub(super) fn tell_icmp(&mut self, now: Now, index: usize, peer: Option<SocketAddr>) {
        for _ in 0..TURNS {
            let Some((allocation, socket)) = self.io.relay_at(index) else {
                return;
            };
            let Some(mut error) = socket.take_icmp() else {
                return;
            };
            // The kernel leaves the port out where it found a datagram too large by itself.
            if let Some(peer) = peer
                && error.peer == SocketAddr::new(peer.ip(), 0)
            {
                error.peer = peer;
            }
            if let Some(tuple) = self.server.handle_icmp(now, allocation, error) {
                self.answer(tuple);
            }
        }
    }

    /// Hands data from one relayed address to a client of another.
    pub(super) fn relay_here(
        &mut self,
        now: Now,
        from: SocketAddr,
        to: SocketAddr,
        payload: Payload<'_>,
    ) {
        self.make_outbox_room(payload);
        let Some(head) = self.outbox.head() else {
            return;
        };
        let bytes = payload.bytes(&self.inbox);
        if let Some(to_client) = self.server.handle_relayed(now, from, to, bytes, head) {
            self.queue_to_client(to_client, payload);
        }
    }

    pub(super) fn queue_to_peer(
        &mut self,
        allocation: AllocationId,
        peer: SocketAddr,
        payload: Payload<'_>,
    ) {
        self.make_outbox_room(payload);
        let ipv4 = peer.is_ipv4();
        let relay = self.io.relay_of(allocation);
        match relay.and_then(|relay| relay.of(ipv4)) {
            Some(socket) if payload.len() <= batch::largest(peer) => {
                let datagram = Datagram {
                    to: peer,
                    from: None,
                    header: 0,
                    payload,
                    padding: 0,
                };
                let way = Way::Relay { allocation, ipv4 };
                self.outbox.push(way, &mut socket.queue, datagram);
            }
            _ => self.server.count_send_failed(),
        }
    }

    /// Sends payload, with its header in [`Outbox::head`], when this turn ends.
    fn queue_to_client(&mut self, to: ToClient, payload: Payload<'_>) {
        let tuple = to.tuple;
        if tuple.transport != Transport::Udp {
            let header = self.outbox.header(to.header);
            let padding = ZEROS.get(..to.padding).unwrap_or_default();
            let parts = [header, payload.bytes(&self.inbox), padding];
            if !self.io.send_to_stream(tuple, &parts) {
                self.server.count_send_failed();
            }
            return;
        }
        let mut header = to.header;
        let mut payload = payload;
        // In one piece with its payload it costs the kernel less.
        if let Payload::Read(piece) = payload
            && let Some(longer) = self.inbox.prepend(piece, self.outbox.header(header))
        {
            (payload, header) = (Payload::Read(longer), 0);
        }
        let relay = find_relay(&mut self.io.relays, to.allocation);
        let listener = find_listener(&mut self.io.udp, tuple);
        let listener = listener.map(|(index, listener)| (index, listener.sender(tuple.server)));
        let Some((relay, (index, from))) = relay.zip(listener) else {
            return self.server.count_send_failed();
        };
        // A client that has moved may arrive elsewhere now; what was for it before leaves as it would have.
        if relay.listener != index {
            if let Some(before) = self.io.udp.get_mut(relay.listener) {
                self.outbox.append(&mut before.queue, &mut relay.to_client);
            }
            relay.listener = index;
        }
        let datagram = Datagram {
            to: tuple.client,
            from,
            header,
            payload,
            padding: to.padding,
        };
        let way = Way::Client(to.allocation);
        self.outbox.push(way, &mut relay.to_client, datagram);
    }

    /// Sends to a peer what must not be fragmented.
    pub(super) fn send_whole(
        &mut self,
        now: Now,
        allocation: AllocationId,
        peer: SocketAddr,
        payload: Payload<'_>,
    ) {
        self.flush();
        let payload = payload.bytes(&self.inbox);
        let relay = self.io.relay_of(allocation);
        let socket = relay.and_then(|relay| relay.of(peer.is_ipv4()));
        if socket.is_none_or(|socket| socket.send_whole(payload, peer).is_err()) {
            self.server.count_send_failed();
            self.tell_icmp(now, relay_index(allocation, peer.is_ipv4()), Some(peer));
        }
    }

    /// Makes room for what [`Inbox::receive`] is to read.
    fn make_inbox_room(&mut self) {
        if self.inbox.is_full() {
            self.flush();
            self.inbox.clear();
        }
    }

    /// Makes room for one datagram more.
    fn make_outbox_room(&mut self, payload: Payload<'_>) {
        if self.outbox.is_full(payload.len()) {
            self.flush();
        }
    }

    /// Sends all that waits.
    pub(super) fn flush(&mut self) {
        let mut index = 0;
        let mut lost = 0;
        while let Some(way) = self.outbox.way(index) {
            index += 1;
            match way {
                Way::Client(allocation) => {
                    if let Some(relay) = find_relay(&mut self.io.relays, allocation)
                        && let Some(listener) = self.io.udp.get_mut(relay.listener)
                    {
                        self.outbox
                            .append(&mut listener.queue, &mut relay.to_client);
                    }
                }
                Way::Relay { allocation, ipv4 } => {
                    let relay = find_relay(&mut self.io.relays, allocation);
                    if let Some(relay) = relay.and_then(|relay| relay.of(ipv4)) {
                        lost += self
                            .outbox
                            .send(&self.inbox, &relay.socket, &mut relay.queue);
                    }
                }
            }
        }
        for listener in &mut self.io.udp {
            lost += self
                .outbox
                .send(&self.inbox, &listener.socket, &mut listener.queue);
        }
        (0..lost).for_each(|_| self.server.count_send_failed());
        self.outbox.clear();
    }
}

impl Io {
    /// One of an allocation's sockets, by [`relay_index`].
    pub(super) fn relay_at(&mut self, index: usize) -> Option<(AllocationId, &mut RelaySocket)> {
        let relay = self.relays.get_mut(index / 2)?.as_mut()?;
        let allocation = relay.allocation;
        Some((allocation, relay.of(index.is_multiple_of(2))?))
    }

    pub(super) fn relay_of(&mut self, allocation: AllocationId) -> Option<&mut RelaySockets> {
        find_relay(&mut self.relays, allocation)
    }
}

/// An allocation's sockets, by slot and by generation.
fn find_relay(
    relays: &mut [Option<RelaySockets>],
    allocation: AllocationId,
) -> Option<&mut RelaySockets> {
    let relay = relays.get_mut(allocation.slot())?.as_mut();
    relay.filter(|relay| relay.allocation == allocation)
}

/// Where datagrams of this client arrive.
pub(super) fn find_listener(
    listeners: &mut [Listener],
    tuple: FiveTuple,
) -> Option<(usize, &mut Listener)> {
    let server = tuple.server;
    let is_meant = |(_, listener): &(usize, &mut Listener)| {
        let address = listener.address;
        address.port() == server.port() && address.is_ipv4() == server.is_ipv4()
    };
    listeners.iter_mut().enumerate().find(is_meant)
}
