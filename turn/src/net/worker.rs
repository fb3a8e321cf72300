//! One thread of the relay: waits for its sockets, hands what they receive to its server, and does what the
//! server says.

use std::collections::{BTreeSet, HashMap};
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mio::net::{TcpListener, UdpSocket};
use mio::{Events, Interest, Poll, Registry, Token, Waker};
use quinn_udp::{RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use rustls::ServerConfig;
use slab::Slab;
use socket2::SockRef;

use super::listen::{self, WorkerSockets};
use super::stream::Connection;
use super::sys;
use super::tls::Link;
use crate::server::{
    AllocationId, Common, Event, FiveTuple, HEADROOM, Now, Output, Server, TAILROOM, Transport,
    Verdict, prefix,
};
use crate::stats::Stats;

/// Bytes of the largest datagram, or of several of one sender that the kernel hands over as one.
const DATAGRAM: usize = 65_536;
/// Buffers filled by one read of a listening socket.
const BATCH: usize = 8;
/// Reads of one socket before the others have their turn.
const TURNS: usize = 16;
/// Likewise of a stream, whose reads may bring hundreds of messages.
const STREAM_TURNS: usize = 2;
/// Streams of one worker. When there are more, the one that has been longest without an allocation is closed.
const MAX_STREAMS: usize = 8192;
/// Streams of one worker from one network, /24 or /56; more are closed at once.
const MAX_STREAMS_PER_PREFIX: u32 = 512;
/// How long a stream may be without an allocation.
const IDLE: Duration = Duration::from_secs(30);
/// How often idle streams are looked for, and a listener that ran out of files is tried again.
const SWEEP: Duration = Duration::from_secs(1);

/// What a token stands for: a kind in the upper bits and an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Waker,
    Udp(usize),
    Tcp(usize),
    Relay(usize),
    Stream(usize),
}

const KIND_SHIFT: u32 = usize::BITS - 3;

impl Place {
    fn token(self) -> Token {
        let (kind, index) = match self {
            Place::Waker => (0, 0),
            Place::Udp(index) => (1, index),
            Place::Tcp(index) => (2, index),
            Place::Relay(index) => (3, index),
            Place::Stream(index) => (4, index),
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
            _ => Place::Waker,
        }
    }
}

/// A socket at which clients arrive over UDP.
struct Listener {
    socket: UdpSocket,
    state: UdpSocketState,
    address: SocketAddr,
}

/// A socket of one allocation.
struct RelaySocket {
    allocation: AllocationId,
    socket: UdpSocket,
}

pub(super) struct Worker {
    poll: Poll,
    waker: Arc<Waker>,
    review: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
    server: Server,
    io: Io,
    /// Sockets that have more to read.
    again: BTreeSet<Place>,
    /// Sockets that failed, for want of files or memory, to be tried again at the next sweep.
    starved: BTreeSet<Place>,
    swept: Instant,
    received: Vec<Box<[u8]>>,
    from_peer: Box<[u8]>,
}

/// The sockets: apart from the server, so that an answer can be borrowed while it is sent.
struct Io {
    registry: Registry,
    udp: Vec<Listener>,
    /// With what they need for TLS, where that is spoken.
    tcp: Vec<(TcpListener, Option<Arc<ServerConfig>>)>,
    /// By slot of the allocation.
    relays: Vec<Option<RelaySocket>>,
    streams: Slab<Connection>,
    by_tuple: HashMap<FiveTuple, usize>,
    /// Streams by network.
    by_prefix: HashMap<u64, u32>,
}

impl Worker {
    pub fn new(
        sockets: WorkerSockets,
        tls: Option<Arc<ServerConfig>>,
        common: Arc<Common>,
        review: Arc<AtomicBool>,
        stop: Arc<AtomicBool>,
    ) -> io::Result<Self> {
        let poll = Poll::new()?;
        let registry = poll.registry().try_clone()?;
        let waker = Arc::new(Waker::new(&registry, Place::Waker.token())?);
        let mut udp = Vec::new();
        for (index, socket) in sockets.udp.into_iter().enumerate() {
            let address = socket.local_addr()?;
            let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
            sys::allow_fragments(&SockRef::from(&socket), address.is_ipv4())?;
            let mut socket = UdpSocket::from_std(socket);
            registry.register(&mut socket, Place::Udp(index).token(), Interest::READABLE)?;
            udp.push(Listener {
                socket,
                state,
                address,
            });
        }
        let mut tcp = Vec::new();
        let plain = sockets.tcp.into_iter().map(|listener| (listener, None));
        let secure = sockets
            .tls
            .into_iter()
            .map(|listener| (listener, tls.clone()));
        for (index, (listener, tls)) in plain.chain(secure).enumerate() {
            let mut listener = TcpListener::from_std(listener);
            registry.register(&mut listener, Place::Tcp(index).token(), Interest::READABLE)?;
            tcp.push((listener, tls));
        }
        Ok(Worker {
            poll,
            waker,
            review,
            stop,
            server: Server::new(common, rand::random()),
            io: Io {
                registry,
                udp,
                tcp,
                relays: Vec::new(),
                streams: Slab::new(),
                by_tuple: HashMap::new(),
                by_prefix: HashMap::new(),
            },
            again: BTreeSet::new(),
            starved: BTreeSet::new(),
            swept: Instant::now(),
            received: (0..BATCH)
                .map(|_| vec![0; DATAGRAM].into_boxed_slice())
                .collect(),
            from_peer: vec![0; HEADROOM + DATAGRAM + TAILROOM].into_boxed_slice(),
        })
    }

    pub fn waker(&self) -> Arc<Waker> {
        Arc::clone(&self.waker)
    }

    pub fn stats(&self) -> Arc<Stats> {
        Arc::clone(self.server.stats())
    }

    pub fn run(mut self) {
        let mut events = Events::with_capacity(1024);
        while !self.stop.load(Ordering::Relaxed) {
            let wait = self.wait(Instant::now());
            match self.poll.poll(&mut events, wait) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    tracing::error!(%error, "the relay's event queue failed; this worker ends");
                    return;
                }
            }
            let now = read_clock();
            let again = std::mem::take(&mut self.again);
            for event in &events {
                self.serve(now, Place::of(event.token()), event.is_writable());
            }
            for place in again {
                self.serve(now, place, false);
            }
            if self.review.swap(false, Ordering::Acquire) {
                self.server.review(now);
            }
            self.server.handle_timeout(now);
            self.do_outputs(now);
            self.sweep(now);
        }
    }

    fn wait(&self, now: Instant) -> Option<Duration> {
        if !self.again.is_empty() {
            return Some(Duration::ZERO);
        }
        let sweep =
            (!self.starved.is_empty() || !self.io.streams.is_empty()).then_some(self.swept + SWEEP);
        let next = self.server.poll_timeout().into_iter().chain(sweep).min()?;
        // Rounded up: epoll counts in milliseconds, and waking too early would spin.
        Some(next.saturating_duration_since(now) + Duration::from_millis(1))
    }

    fn serve(&mut self, now: Now, place: Place, writable: bool) {
        let more = match place {
            Place::Waker => false,
            Place::Udp(index) => self.serve_udp(now, index),
            Place::Tcp(index) => self.accept(now, index),
            Place::Relay(slot) => self.serve_relay(now, slot),
            Place::Stream(key) => self.serve_stream(now, key, writable),
        };
        if more {
            self.again.insert(place);
        }
    }

    /// Reads datagrams of clients; true when there may be more.
    fn serve_udp(&mut self, now: Now, index: usize) -> bool {
        for _ in 0..TURNS {
            let Some(listener) = self.io.udp.get(index) else {
                return false;
            };
            let mut metas = [RecvMeta::default(); BATCH];
            let mut buffers = self
                .received
                .iter_mut()
                .map(|buffer| IoSliceMut::new(buffer));
            let mut buffers: [IoSliceMut<'_>; BATCH] =
                std::array::from_fn(|_| buffers.next().unwrap_or_else(|| IoSliceMut::new(&mut [])));
            let socket = UdpSockRef::from(&listener.socket);
            let count = match listener.state.recv(socket, &mut buffers, &mut metas) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                Err(error) => {
                    tracing::debug!(%error, "reading from the relay's UDP socket failed");
                    self.starved.insert(Place::Udp(index));
                    return false;
                }
            };
            let address = listener.address;
            let received = std::mem::take(&mut self.received);
            for (meta, buffer) in metas.iter().zip(&received).take(count) {
                let tuple = FiveTuple {
                    transport: Transport::Udp,
                    client: meta.addr,
                    server: SocketAddr::new(meta.dst_ip.unwrap_or(address.ip()), address.port()),
                };
                // Nobody can be answered there.
                if meta.addr.port() == 0 {
                    continue;
                }
                let bytes = buffer.get(..meta.len).unwrap_or_default();
                for datagram in bytes.chunks(meta.stride.max(1)) {
                    self.handle(now, tuple, datagram);
                }
            }
            self.received = received;
        }
        true
    }

    /// One message of a client.
    fn handle(&mut self, now: Now, tuple: FiveTuple, bytes: &[u8]) {
        match self.server.handle(now, tuple, bytes) {
            Verdict::ToPeer {
                allocation,
                peer,
                payload,
            } => {
                let payload = bytes.get(payload).unwrap_or_default();
                if !self.io.send_to_peer(allocation, peer, payload) {
                    self.server.count_send_failed();
                }
            }
            Verdict::Answer => self.answer(tuple),
            Verdict::Done => self.do_outputs(now),
        }
    }

    fn answer(&mut self, tuple: FiveTuple) {
        if !self.io.send_to_client(tuple, self.server.answer()) {
            self.server.count_send_failed();
        }
    }

    /// Reads datagrams of peers; true when there may be more.
    fn serve_relay(&mut self, now: Now, slot: usize) -> bool {
        for _ in 0..TURNS {
            let Some(Some(relay)) = self.io.relays.get(slot) else {
                return false;
            };
            let allocation = relay.allocation;
            let Some(room) = self.from_peer.get_mut(HEADROOM..HEADROOM + DATAGRAM) else {
                return false;
            };
            let (len, peer) = match relay.socket.recv_from(room) {
                Ok(received) => received,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                Err(error) => {
                    tracing::debug!(%error, "reading from a relay port failed");
                    self.starved.insert(Place::Relay(slot));
                    return false;
                }
            };
            let to_client =
                self.server
                    .handle_peer(now, allocation, peer, &mut self.from_peer, len);
            if let Some((tuple, range)) = to_client {
                let bytes = self.from_peer.get(range).unwrap_or_default();
                if !self.io.send_to_client(tuple, bytes) {
                    self.server.count_send_failed();
                }
            }
        }
        true
    }

    /// Takes new streams; true when it is to be tried again.
    fn accept(&mut self, now: Now, index: usize) -> bool {
        for _ in 0..TURNS {
            let Some((listener, tls)) = self.io.tcp.get(index) else {
                return false;
            };
            let tls = tls.clone();
            let (stream, client) = match listener.accept() {
                Ok(accepted) => accepted,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
                Err(error) => {
                    tracing::debug!(%error, "a relay connection could not be accepted");
                    self.starved.insert(Place::Tcp(index));
                    return false;
                }
            };
            if self.io.streams_near(client) >= MAX_STREAMS_PER_PREFIX {
                continue;
            }
            if self.io.streams.len() >= MAX_STREAMS {
                self.close_longest_idle(now);
            }
            let Ok(server) = stream.local_addr() else {
                continue;
            };
            let tuple = FiveTuple {
                transport: match tls {
                    Some(_) => Transport::Tls,
                    None => Transport::Tcp,
                },
                client,
                server,
            };
            // The same client again: its older stream is dead, though nobody has said so yet.
            if let Some(older) = self.io.by_tuple.get(&tuple).copied() {
                self.close(now, older);
            }
            if let Err(error) = self.io.add_stream(stream, tls.as_ref(), tuple, now.instant) {
                tracing::debug!(%error, "a relay connection could not be taken");
            }
        }
        true
    }

    /// Reads messages of a stream; true when there may be more.
    fn serve_stream(&mut self, now: Now, key: usize, writable: bool) -> bool {
        let flushed = match self.io.streams.get_mut(key) {
            Some(connection) if writable => connection.flush(),
            Some(_) => Ok(()),
            None => return false,
        };
        let mut open = flushed.is_ok();
        let mut more = true;
        for _ in 0..STREAM_TURNS {
            if !open || !more {
                break;
            }
            let Some(connection) = self.io.streams.get_mut(key) else {
                return false;
            };
            match connection.read() {
                Ok(true) => open = self.serve_messages(now, key),
                Ok(false) => more = false,
                Err(_) => open = false,
            }
        }
        if !open {
            self.close(now, key);
        }
        open && more
    }

    /// Handles the whole messages that a stream has brought; false when it is not TURN.
    fn serve_messages(&mut self, now: Now, key: usize) -> bool {
        loop {
            let Some(connection) = self.io.streams.get_mut(key) else {
                return false;
            };
            let tuple = connection.tuple;
            let range = match connection.framer.next(self.server.has_allocation(tuple)) {
                Ok(Some(range)) => range,
                Ok(None) => return true,
                Err(_) => return false,
            };
            // Out of the connection for as long as the answer is written into it.
            let framer = std::mem::take(&mut connection.framer);
            let message = framer.bytes().get(range).unwrap_or_default();
            self.handle(now, tuple, message);
            if let Some(connection) = self.io.streams.get_mut(key) {
                connection.framer = framer;
            }
        }
    }

    fn close_longest_idle(&mut self, now: Now) {
        let idle = self
            .io
            .streams
            .iter()
            .filter(|(_, connection)| !self.server.has_allocation(connection.tuple))
            .min_by_key(|(_, connection)| connection.idle_since);
        if let Some((key, _)) = idle {
            self.close(now, key);
        }
    }

    fn close(&mut self, now: Now, key: usize) {
        if let Some(tuple) = self.io.remove_stream(key) {
            self.server.disconnected(now, tuple);
            self.do_outputs(now);
        }
    }

    fn do_outputs(&mut self, now: Now) {
        while let Some(output) = self.server.poll_output() {
            match output {
                Output::Bind {
                    allocation,
                    address,
                } => {
                    let outcome = self.io.add_relay(allocation, address);
                    if let Err(error) = &outcome {
                        tracing::debug!(%address, %error, "a relay port could not be bound");
                    }
                    if let Some(tuple) = self.server.bound(now, allocation, outcome) {
                        self.answer(tuple);
                    }
                }
                Output::Close { allocation } => self.io.remove_relay(allocation),
                Output::Event(event) => log(&event),
            }
        }
    }

    /// Closes streams that have been without an allocation for too long, and tries starved listeners again.
    fn sweep(&mut self, now: Now) {
        if now.instant.saturating_duration_since(self.swept) < SWEEP {
            return;
        }
        self.swept = now.instant;
        self.again.append(&mut self.starved);
        let mut idle = Vec::new();
        for (key, connection) in &mut self.io.streams {
            if self.server.has_allocation(connection.tuple) {
                connection.idle_since = now.instant;
            } else if now.instant.saturating_duration_since(connection.idle_since) >= IDLE {
                idle.push(key);
            }
        }
        idle.into_iter().for_each(|key| self.close(now, key));
    }
}

impl Io {
    fn send_to_peer(&self, allocation: AllocationId, peer: SocketAddr, payload: &[u8]) -> bool {
        match self.relays.get(allocation.slot()) {
            Some(Some(relay)) if relay.allocation == allocation => {
                relay.socket.send_to(payload, peer).is_ok()
            }
            _ => false,
        }
    }

    fn send_to_client(&mut self, tuple: FiveTuple, bytes: &[u8]) -> bool {
        match tuple.transport {
            Transport::Udp => {
                let Some(listener) = self
                    .udp
                    .iter()
                    .find(|l| l.address.is_ipv4() == tuple.client.is_ipv4())
                else {
                    return false;
                };
                // From the address that the client knows: this machine may have several.
                let transmit = Transmit {
                    destination: tuple.client,
                    ecn: None,
                    contents: bytes,
                    segment_size: None,
                    src_ip: Some(tuple.server.ip()).filter(|ip| !ip.is_unspecified()),
                };
                let socket = UdpSockRef::from(&listener.socket);
                listener.state.try_send(socket, &transmit).is_ok()
            }
            Transport::Tcp | Transport::Tls => {
                let key = self.by_tuple.get(&tuple).copied();
                let connection = key.and_then(|key| self.streams.get_mut(key));
                // A failure shows at the next read as well, where the stream is closed.
                connection.is_some_and(|connection| connection.send(bytes).unwrap_or(false))
            }
        }
    }

    fn add_relay(&mut self, allocation: AllocationId, address: SocketAddr) -> io::Result<()> {
        let mut socket = listen::relay(address)?;
        let slot = allocation.slot();
        let token = Place::Relay(slot).token();
        self.registry
            .register(&mut socket, token, Interest::READABLE)?;
        if self.relays.len() <= slot {
            self.relays.resize_with(slot + 1, || None);
        }
        if let Some(place) = self.relays.get_mut(slot) {
            *place = Some(RelaySocket { allocation, socket });
        }
        Ok(())
    }

    fn remove_relay(&mut self, allocation: AllocationId) {
        if let Some(place) = self.relays.get_mut(allocation.slot())
            && place
                .as_ref()
                .is_some_and(|relay| relay.allocation == allocation)
        {
            // Closing it takes it out of the event queue.
            *place = None;
        }
        while let Some(None) = self.relays.last() {
            self.relays.pop();
        }
    }

    fn add_stream(
        &mut self,
        mut stream: mio::net::TcpStream,
        tls: Option<&Arc<ServerConfig>>,
        tuple: FiveTuple,
        now: Instant,
    ) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let entry = self.streams.vacant_entry();
        let place = Place::Stream(entry.key());
        self.registry.register(
            &mut stream,
            place.token(),
            Interest::READABLE | Interest::WRITABLE,
        )?;
        let link = match tls {
            Some(config) => Link::tls(stream, config).map_err(io::Error::other)?,
            None => Link::Plain(stream),
        };
        self.by_tuple.insert(tuple, entry.key());
        *self.by_prefix.entry(prefix(tuple.client.ip())).or_default() += 1;
        entry.insert(Connection::new(link, tuple, now));
        Ok(())
    }

    fn remove_stream(&mut self, key: usize) -> Option<FiveTuple> {
        let tuple = self.streams.try_remove(key)?.tuple;
        self.by_tuple.remove(&tuple);
        let prefix = prefix(tuple.client.ip());
        if let Some(count) = self.by_prefix.get_mut(&prefix) {
            *count -= 1;
            if *count == 0 {
                self.by_prefix.remove(&prefix);
            }
        }
        Some(tuple)
    }

    /// How many streams come from the network of `client`.
    fn streams_near(&self, client: SocketAddr) -> u32 {
        self.by_prefix
            .get(&prefix(client.ip()))
            .copied()
            .unwrap_or(0)
    }
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
            relay,
        } => {
            let transport = tuple.transport;
            tracing::debug!(owner = owner.0, client = %tuple.client, ?transport, %relay, "relay allocation made");
        }
        Event::Ended {
            owner,
            tuple,
            relay,
            reason,
            to_peer,
            to_client,
            lasted,
        } => {
            let seconds = lasted.as_secs();
            tracing::debug!(
                owner = owner.0, client = %tuple.client, %relay, ?reason, to_peer, to_client, seconds,
                "relay allocation ended"
            );
        }
    }
}
