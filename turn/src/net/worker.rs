//! One thread of the relay: waits for its sockets, hands what they receive to its server, and does what the
//! server says. How datagrams come and go is left to `datagrams`, which streams there are to `streams`.

mod datagrams;
mod streams;

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ipnet::IpNet;
use mio::net::{TcpListener, UdpSocket};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Registry, Token};
use rustls::ServerConfig;
use slab::Slab;
use socket2::SockRef;

use self::datagrams::{Listener, find_listener};
use self::streams::Unnamed;
use super::alarm::Alarm;
use super::batch::{self, Ask, Inbox, Outbox, Payload, Queue};
use super::lanes::{Lanes, Packet};
use super::listen::WorkerSockets;
use super::mail::{Letter, Post};
use super::mmsg;
use super::relay::RelaySockets;
use super::stream::{Connection, MAX_MESSAGE};
use super::sys::{self, Fragments};
use super::tcp::{PeerConnections, Tokens};
use super::tls::Room;
use crate::server::{
    AllocationId, Common, ConnectionId, Event, FiveTuple, Now, Output, Protocol, Server, Transport,
    Verdict,
};
use crate::stats::Stats;

/// Reads of one socket before the others have their turn.
const TURNS: usize = 16;
/// How often idle streams are looked for, and a listener that ran out of files is tried again.
const SWEEP: Duration = Duration::from_secs(1);

/// What a token stands for: a kind in the upper bits and an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Waker,
    Alarm,
    Udp(usize),
    Tcp(usize),
    /// By [`relay_index`].
    Relay(usize),
    Stream(usize),
    /// Where peers connect to a TCP allocation, by [`relay_index`].
    RelayTcp(usize),
    /// A connection with such a peer, and the client's that is bound to it.
    Peer(usize),
    /// A stream whose balancer has yet to say whose it is.
    Unnamed(usize),
}

/// What becomes of a stream after a message that it brought.
#[derive(Debug, Clone, Copy)]
enum Onward {
    Bind(ConnectionId),
    HandOver(u8),
}

/// What a relay socket or listener goes by: twice the slot of its allocation, and one more for IPv6.
pub(super) fn relay_index(allocation: AllocationId, ipv4: bool) -> usize {
    2 * allocation.slot() + usize::from(!ipv4)
}

const KIND_SHIFT: u32 = usize::BITS - 4;

/// Of what wakes a worker for its mail.
pub(super) const WAKER: Token = Token(0);

impl Place {
    fn token(self) -> Token {
        let (kind, index) = match self {
            Place::Waker => return WAKER,
            Place::Udp(index) => (1, index),
            Place::Tcp(index) => (2, index),
            Place::Relay(index) => (3, index),
            Place::Stream(index) => (4, index),
            Place::RelayTcp(index) => (5, index),
            Place::Peer(index) => (6, index),
            Place::Alarm => (7, 0),
            Place::Unnamed(index) => (8, index),
        };
        Token(kind << KIND_SHIFT | index)
    }

    fn of(token: Token) -> Self {
        let index = token.0 & ((1 << KIND_SHIFT) - 1);
        match token.0 >> KIND_SHIFT {
            1 => Place::Udp(index),
            2 => Place::Tcp(index),
            3 => Place::Relay(index),
            4 => Place::Stream(index),
            5 => Place::RelayTcp(index),
            6 => Place::Peer(index),
            7 => Place::Alarm,
            8 => Place::Unnamed(index),
            _ => Place::Waker,
        }
    }
}

pub(super) struct Worker {
    index: u8,
    poll: Poll,
    alarm: Alarm,
    post: Post,
    stop: Arc<AtomicBool>,
    server: Server,
    io: Io,
    peers: PeerConnections,
    /// Sockets that have more to read, some of them more than once.
    again: Vec<Place>,
    /// Sockets that failed, for want of files or memory, to be tried again at the next sweep.
    starved: BTreeSet<Place>,
    swept: Instant,
    given_back: Instant,
    /// For what streams bring.
    room: Room,
    inbox: Inbox,
    outbox: Outbox,
    /// Whether other threads have left something.
    has_mail: bool,
    lanes: Lanes,
}

/// The sockets: apart from the server, so that an answer can be borrowed while it is sent.
struct Io {
    registry: Registry,
    /// Only an open file, to be closed when no more can be had.
    spare: Option<Registry>,
    udp: Vec<Listener>,
    /// With what they need for TLS, where that is spoken.
    tcp: Vec<(TcpListener, Option<Arc<ServerConfig>>)>,
    /// By slot of the allocation.
    relays: Vec<Option<RelaySockets>>,
    streams: Slab<Connection>,
    /// Whose streams begin with a PROXY header.
    balancers: Arc<[IpNet]>,
    unnamed: Slab<Unnamed>,
    /// When it was last said that a balancer does not send what it should.
    complained: Option<Instant>,
    /// Streams for which something was gathered in this turn.
    dirty: Vec<usize>,
    by_tuple: HashMap<FiveTuple, usize>,
    /// Streams by network.
    by_prefix: HashMap<u64, u32>,
}

impl Worker {
    /// `poll` is the one whose waker stands at `index` in the post.
    pub fn new(
        index: u8,
        poll: Poll,
        sockets: WorkerSockets,
        (tls, balancers): (Option<Arc<ServerConfig>>, Arc<[IpNet]>),
        common: Arc<Common>,
        post: Post,
        stop: Arc<AtomicBool>,
    ) -> io::Result<Self> {
        let registry = poll.registry().try_clone()?;
        let mut udp = Vec::new();
        for (listener, socket) in sockets.udp.into_iter().enumerate() {
            let address = socket.local_addr()?;
            sys::set_fragments(
                &SockRef::from(&socket),
                address.is_ipv4(),
                Fragments::Allowed,
            )?;
            mmsg::gather(&socket);
            if address.ip().is_unspecified() {
                mmsg::tell_destination(&socket, address.is_ipv4())?;
            }
            let mut socket = UdpSocket::from_std(socket);
            registry.register(
                &mut socket,
                Place::Udp(listener).token(),
                Interest::READABLE,
            )?;
            udp.push(Listener {
                socket,
                address,
                ask: Ask::default(),
                queue: Queue::default(),
            });
        }
        let mut tcp = Vec::new();
        let plain = sockets.tcp.into_iter().map(|listener| (listener, None));
        let secure = sockets
            .tls
            .into_iter()
            .map(|listener| (listener, tls.clone()));
        for (place, (listener, tls)) in plain.chain(secure).enumerate() {
            let mut listener = TcpListener::from_std(listener);
            registry.register(&mut listener, Place::Tcp(place).token(), Interest::READABLE)?;
            tcp.push((listener, tls));
        }
        let tokens = Tokens {
            listener: |index| Place::RelayTcp(index).token(),
            connection: |key| Place::Peer(key).token(),
        };
        let peers = PeerConnections::new(registry.try_clone()?, tokens);
        let alarm = Alarm::new()?;
        registry.register(
            &mut SourceFd(&alarm.as_raw_fd()),
            Place::Alarm.token(),
            Interest::READABLE,
        )?;
        Ok(Worker {
            index,
            poll,
            alarm,
            post,
            stop,
            server: Server::new(common, index, rand::random()),
            io: Io {
                spare: registry.try_clone().ok(),
                registry,
                udp,
                tcp,
                relays: Vec::new(),
                streams: Slab::new(),
                balancers,
                unnamed: Slab::new(),
                complained: None,
                dirty: Vec::new(),
                by_tuple: HashMap::new(),
                by_prefix: HashMap::new(),
            },
            peers,
            again: Vec::new(),
            starved: BTreeSet::new(),
            swept: Instant::now(),
            given_back: Instant::now(),
            room: Room::new(MAX_MESSAGE),
            inbox: Inbox::new(),
            outbox: Outbox::new(),
            has_mail: false,
            lanes: Lanes::default(),
        })
    }

    pub fn stats(&self) -> Arc<Stats> {
        Arc::clone(self.server.stats())
    }

    pub fn run(mut self) {
        let mut events = Events::with_capacity(1024);
        let mut now = read_clock();
        let mut again = Vec::new();
        while !self.stop.load(Ordering::Relaxed) {
            let wait = self.wait(now.instant);
            match self.poll.poll(&mut events, wait) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    tracing::error!(%error, "the relay's event queue failed; this worker ends");
                    return;
                }
            }
            now = read_clock();
            std::mem::swap(&mut self.again, &mut again);
            again.sort_unstable();
            again.dedup();
            for event in &events {
                let place = Place::of(event.token());
                if let Place::Relay(index) = place
                    && event.is_error()
                {
                    self.tell_icmp(now, index, None);
                }
                if let Place::Stream(key) = place
                    && (event.is_read_closed() || event.is_error())
                    && let Some(connection) = self.io.streams.get_mut(key)
                {
                    connection.ended = true;
                }
                self.serve(now, place, event.is_writable());
            }
            for place in again.drain(..) {
                self.serve(now, place, false);
            }
            while let Some(key) = self.peers.resume(now.instant) {
                self.serve(now, Place::Peer(key), false);
            }
            if std::mem::take(&mut self.has_mail) {
                self.read_mail(now);
            }
            self.server.handle_timeout(now);
            self.do_outputs(now);
            self.sweep(now);
            self.flush();
            self.flush_streams(now);
            self.lanes.tell(&self.post);
            self.inbox.clear();
        }
    }

    fn read_mail(&mut self, now: Now) {
        for letter in self.post.take(self.index.into()) {
            match letter {
                Letter::Review => self.server.review(now),
                // Who has stopped waiting needs no answer.
                Letter::Answer(answer) => {
                    let _ = answer.send(());
                }
                Letter::List(answer) => {
                    let _ = answer.send(self.server.list(now));
                }
                Letter::Tally(answer) => {
                    self.server.tally(now);
                    let _ = answer.send(());
                }
                Letter::Kill(which, answer) => {
                    let ended = self.server.kill(now, which);
                    self.do_outputs(now);
                    let _ = answer.send(ended);
                }
                Letter::Stream(stream) => self.adopt(now, *stream),
                Letter::Lane(exit) => self.lanes.exits.push(*exit),
            }
        }
        let mut exits = std::mem::take(&mut self.lanes.exits);
        for exit in &mut exits {
            // What comes meanwhile is told of by itself.
            for _ in 0..exit.len() {
                exit.take(|packet, bytes| self.take_packet(now, packet, bytes));
            }
        }
        self.lanes.exits = exits;
    }

    /// Does what another worker has passed on.
    fn take_packet(&mut self, now: Now, packet: Packet, bytes: &[u8]) {
        match packet {
            Packet::Relayed { from, to } => {
                self.relay_here(now, from, to, Payload::Passing(bytes));
            }
            Packet::OfClient { tuple } => {
                let verdict = self.server.handle_forwarded(now, tuple, bytes);
                // Only a stream goes anywhere.
                let _ = self.obey(now, tuple, Payload::Passing(bytes), verdict);
            }
        }
    }

    /// How long to wait for something to happen; of deadlines the alarm tells.
    fn wait(&mut self, now: Instant) -> Option<Duration> {
        if !self.again.is_empty() {
            return Some(Duration::ZERO);
        }
        let sweep =
            (!self.starved.is_empty() || !self.io.has_no_streams() || !self.peers.is_empty())
                .then_some(self.swept + SWEEP);
        let due = [self.server.poll_timeout(), self.peers.next_resume(), sweep];
        let next = due.into_iter().flatten().min()?;
        let failed = self.alarm.set(now, next).is_err();
        failed.then(|| next.saturating_duration_since(now))
    }

    fn serve(&mut self, now: Now, place: Place, writable: bool) {
        let more = match place {
            Place::Alarm => false,
            Place::Waker => {
                self.has_mail = true;
                false
            }
            Place::Udp(index) => self.serve_udp(now, index),
            Place::Tcp(index) => self.accept(now, index),
            Place::Relay(index) => self.serve_relay(now, index),
            Place::Stream(key) => self.serve_stream(now, key, writable),
            Place::RelayTcp(index) => self.accept_peer(now, index),
            Place::Peer(key) => self.peers.serve(&mut self.server, now, key),
            Place::Unnamed(key) => self.read_header(now, key),
        };
        if more {
            self.again.push(place);
        }
    }

    /// One message of a client.
    fn handle(&mut self, now: Now, tuple: FiveTuple, message: Payload<'_>) -> Option<Onward> {
        let bytes = message.bytes(&self.inbox);
        let verdict = self.server.handle(now, tuple, bytes);
        self.obey(now, tuple, message, verdict)
    }

    fn obey(
        &mut self,
        now: Now,
        tuple: FiveTuple,
        message: Payload<'_>,
        verdict: Verdict,
    ) -> Option<Onward> {
        match verdict {
            Verdict::ToPeer {
                allocation,
                peer,
                payload,
                dont_fragment,
            } => {
                let payload = message.part(&payload);
                if dont_fragment {
                    self.send_whole(now, allocation, peer, payload);
                } else {
                    self.queue_to_peer(allocation, peer, payload);
                }
            }
            Verdict::ToRelay {
                worker,
                from,
                to,
                payload,
            } => {
                let payload = message.part(&payload);
                if worker == self.index {
                    self.relay_here(now, from, to, payload);
                } else {
                    self.pass(worker, Packet::Relayed { from, to }, payload);
                }
            }
            Verdict::Answer => self.answer(tuple),
            Verdict::AnswerTo(other) => self.answer(other),
            Verdict::Done => self.do_outputs(now),
            Verdict::Bind { connection } => {
                self.answer(tuple);
                return Some(Onward::Bind(connection));
            }
            Verdict::Forward { worker } => {
                self.pass(worker, Packet::OfClient { tuple }, message);
            }
            Verdict::HandOver { worker } => return Some(Onward::HandOver(worker)),
        }
        None
    }

    /// Gives another worker what is to be done there.
    fn pass(&mut self, worker: u8, packet: Packet, bytes: Payload<'_>) {
        let bytes = bytes.bytes(&self.inbox);
        if !self.lanes.pass(&self.post, worker.into(), packet, bytes) {
            self.server.count_send_failed();
        }
    }

    /// Sends an answer behind what waits.
    fn answer(&mut self, tuple: FiveTuple) {
        self.flush();
        if !self.io.send_to_client(tuple, self.server.answer()) {
            self.server.count_send_failed();
        }
    }

    /// Takes peers that connect to a TCP allocation; true when there may be more.
    fn accept_peer(&mut self, now: Now, index: usize) -> bool {
        let accepted = self.peers.accept(&mut self.server, now, index);
        accepted.unwrap_or_else(|error| {
            tracing::debug!(%error, "a peer's connection could not be accepted");
            self.starved.insert(Place::RelayTcp(index));
            false
        })
    }

    fn open_relay(
        &mut self,
        allocation: AllocationId,
        protocol: Protocol,
        addresses: &[SocketAddr],
    ) -> io::Result<()> {
        match protocol {
            Protocol::Udp => self.io.add_relay(allocation, addresses),
            Protocol::Tcp => self.peers.listen(allocation, addresses),
        }
    }

    fn do_outputs(&mut self, now: Now) {
        let mut shrink = false;
        while let Some(output) = self.server.poll_output() {
            // What waits may be for a socket that is to be closed, or for whom something else goes to now.
            if !matches!(output, Output::Event(_) | Output::Shrink) {
                self.flush();
            }
            match output {
                Output::Bind {
                    allocation,
                    protocol,
                    addresses,
                } => {
                    let mut outcome = self.open_relay(allocation, protocol, &addresses);
                    // Streams that came for nothing do not keep others from relaying.
                    if outcome.as_ref().is_err_and(is_out_of_files)
                        && self.close_longest_idle(now, None)
                    {
                        outcome = self.open_relay(allocation, protocol, &addresses);
                    }
                    if let Err(error) = &outcome {
                        tracing::debug!(?addresses, %error, "a relay port could not be bound");
                    }
                    if let Some(tuple) = self.server.bound(now, allocation, outcome) {
                        self.answer(tuple);
                    }
                }
                Output::CloseFamily { allocation, ipv4 } => {
                    self.peers.unlisten_family(allocation, ipv4);
                    if let Some(relay) = self.io.relay_of(allocation) {
                        relay.close(ipv4);
                    }
                }
                Output::Close { allocation } => {
                    self.io.remove_relay(allocation);
                    self.peers.unlisten(allocation);
                }
                Output::Send { tuple, message } => {
                    if !self.io.send_to_client(tuple, &message) {
                        self.server.count_send_failed();
                    }
                }
                Output::Connect {
                    connection,
                    local,
                    peer,
                } => {
                    let begun = self.peers.connect(now, connection, local, peer);
                    if begun.is_err() {
                        self.server.connected(now, connection, begun);
                    }
                }
                Output::CloseConnection { connection } => self.peers.abort(connection),
                Output::Shrink => shrink = true,
                Output::Event(event) => log(&event),
            }
        }
        if shrink {
            self.io.shrink();
            sys::trim_heap();
        }
    }

    /// Closes idle streams, and tries starved listeners again.
    fn sweep(&mut self, now: Now) {
        if now.instant.saturating_duration_since(self.swept) < SWEEP {
            return;
        }
        self.swept = now.instant;
        self.again.extend(std::mem::take(&mut self.starved));
        self.outbox.retry_segments();
        self.close_idle(now);
        self.give_back(now);
        self.peers.sweep(&mut self.server, now.instant);
    }
}

impl Io {
    /// Sends one message now; false when it is lost.
    fn send_to_client(&mut self, tuple: FiveTuple, message: &[u8]) -> bool {
        if tuple.transport != Transport::Udp {
            return self.send_to_stream(tuple, &[message]);
        }
        find_listener(&mut self.udp, tuple).is_some_and(|(_, listener)| {
            let from = listener.sender(tuple.server);
            batch::send_now(&listener.socket, tuple.client, from, message).is_ok()
        })
    }

    /// Binds all of these or none, in place of what the allocation has.
    fn add_relay(&mut self, allocation: AllocationId, addresses: &[SocketAddr]) -> io::Result<()> {
        let slot = allocation.slot();
        let mut relay = RelaySockets::open(allocation, addresses)?;
        for (socket, ipv4) in relay.sockets.iter_mut().zip([true, false]) {
            if let Some(socket) = socket {
                let token = Place::Relay(relay_index(allocation, ipv4)).token();
                self.registry
                    .register(&mut socket.socket, token, Interest::READABLE)?;
            }
        }
        if self.relays.len() <= slot {
            self.relays.resize_with(slot + 1, || None);
        }
        if let Some(place) = self.relays.get_mut(slot) {
            *place = Some(relay);
        }
        Ok(())
    }

    fn remove_relay(&mut self, allocation: AllocationId) {
        if self.relay_of(allocation).is_some()
            && let Some(place) = self.relays.get_mut(allocation.slot())
        {
            // Closing them takes them out of the event queue.
            *place = None;
        }
        while let Some(None) = self.relays.last() {
            self.relays.pop();
        }
    }

    /// Makes the tables smaller.
    fn shrink(&mut self) {
        self.relays.shrink_to_fit();
        self.streams.shrink_to_fit();
        self.unnamed.shrink_to_fit();
        self.by_tuple.shrink_to_fit();
        self.by_prefix.shrink_to_fit();
    }
}

/// Whether this process, or the machine, has as many open files as it may have.
fn is_out_of_files(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}

fn read_clock() -> Now {
    Now {
        instant: Instant::now(),
        unix: SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs(),
    }
}

/// At a level that is off by default: users decide how often it happens.
fn log(event: &Event) {
    match event {
        Event::Allocated {
            owner,
            tuple,
            relays,
            protocol,
        } => {
            let transport = tuple.transport;
            tracing::debug!(owner = owner.0, client = %tuple.client, ?transport, ?relays, ?protocol, "relay allocation made");
        }
        Event::Refreshed {
            owner,
            tuple,
            lifetime,
        } => {
            let seconds = lifetime.as_secs();
            tracing::debug!(owner = owner.0, client = %tuple.client, seconds, "relay allocation refreshed");
        }
        Event::Refused {
            client,
            username,
            why,
        } => {
            tracing::debug!(%client, ?username, why, "relay request refused");
        }
        Event::Ended {
            owner,
            tuple,
            relays,
            reason,
            to_peer,
            to_client,
            lasted,
        } => {
            let seconds = lasted.as_secs();
            tracing::debug!(
                owner = owner.0, client = %tuple.client, ?relays, ?reason, to_peer = to_peer.bytes,
                to_client = to_client.bytes, seconds,
                "relay allocation ended"
            );
        }
    }
}
