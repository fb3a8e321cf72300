//! The sockets of TCP allocations (RFC 6062): where peers connect, the connections with them, and the passing on of
//! bytes between each and the client's data connection. Which connection may be is `server`'s to say.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry, Token};
use slab::Slab;
use socket2::SockRef;

use super::listen;
use super::stream::Connection;
use super::tls::{Link, Room};
use super::worker::relay_index;
use crate::server::{AllocationId, ConnectionId, Direction, Now, Server};

/// Reads of one connection, each way, before others have their turn.
const TURNS: usize = 16;
/// How long one side may stay open without a byte after the other has ended. A side that was closed altogether looks
/// like one that has only ended.
const HALF_CLOSED: Duration = Duration::from_secs(60);

/// All connections with peers of one worker.
pub(super) struct PeerConnections {
    registry: Registry,
    tokens: Tokens,
    /// By [`relay_index`].
    listeners: HashMap<usize, (AllocationId, TcpListener)>,
    connections: Slab<PeerConnection>,
    by_id: HashMap<ConnectionId, usize>,
    /// Connections that may not be read before then, for the sake of their owner's rate.
    paused: BTreeSet<(Instant, usize)>,
    /// One direction of a connection holds no more than one read brings: nothing is read before it has been passed on.
    room: Room,
}

/// By what the event queue names the sockets.
pub(super) struct Tokens {
    /// By [`relay_index`].
    pub listener: fn(usize) -> Token,
    /// By key of the connection, on both sides.
    pub connection: fn(usize) -> Token,
}

struct PeerConnection {
    id: ConnectionId,
    peer: Link,
    /// Whether the peer has yet to accept.
    connecting: bool,
    /// The client's data connection, once it is bound.
    client: Option<Link>,
    to_peer: Pipe,
    to_client: Pipe,
    paused: Option<Instant>,
    /// When a byte, or an end, was last read.
    moved: Instant,
}

/// One direction of a connection.
#[derive(Debug, Default)]
struct Pipe {
    /// What was read and not passed on yet, from `passed` on.
    waiting: Vec<u8>,
    passed: usize,
    /// Whether the source has ended.
    ended: bool,
    /// Whether the end has been passed on.
    shut: bool,
}

impl PeerConnections {
    pub fn new(registry: Registry, tokens: Tokens) -> Self {
        PeerConnections {
            registry,
            tokens,
            listeners: HashMap::new(),
            connections: Slab::new(),
            by_id: HashMap::new(),
            paused: BTreeSet::new(),
            room: Room::new(0),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }

    /// Listens at all of these addresses, of each family at most one, or at none.
    pub fn listen(&mut self, allocation: AllocationId, addresses: &[SocketAddr]) -> io::Result<()> {
        self.unlisten(allocation);
        let mut opened = Vec::new();
        for address in addresses {
            let mut listener = listen::relay_tcp(*address)?;
            let index = relay_index(allocation, address.is_ipv4());
            let token = (self.tokens.listener)(index);
            self.registry
                .register(&mut listener, token, Interest::READABLE)?;
            opened.push((index, (allocation, listener)));
        }
        self.listeners.extend(opened);
        Ok(())
    }

    pub fn unlisten(&mut self, allocation: AllocationId) {
        for ipv4 in [true, false] {
            self.unlisten_family(allocation, ipv4);
        }
    }

    pub fn unlisten_family(&mut self, allocation: AllocationId, ipv4: bool) {
        let index = relay_index(allocation, ipv4);
        let there = self.listeners.get(&index);
        if there.is_some_and(|(id, _)| *id == allocation) {
            self.listeners.remove(&index);
        }
    }

    /// Takes peers that connect to an allocation; true when there may be more. An error is one of the listener.
    pub fn accept(&mut self, server: &mut Server, now: Now, index: usize) -> io::Result<bool> {
        for _ in 0..TURNS {
            let Some((allocation, listener)) = self.listeners.get(&index) else {
                return Ok(false);
            };
            let (stream, peer) = match listener.accept() {
                Ok(accepted) => accepted,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
                Err(error) => return Err(error),
            };
            // Without what IPv6 adds to an address on its own host.
            let peer = SocketAddr::new(peer.ip(), peer.port());
            // RFC 6062 §5.3: closed at once without a permission.
            let Some(id) = server.peer_connected(now, *allocation, peer) else {
                continue;
            };
            if self.add(id, stream, false, now).is_err() {
                server.connection_closed(id);
            }
        }
        Ok(true)
    }

    /// Begins to connect to a peer; how it ends is reported to the server unless this fails.
    pub fn connect(
        &mut self,
        now: Now,
        id: ConnectionId,
        local: SocketAddr,
        peer: SocketAddr,
    ) -> io::Result<()> {
        let stream = listen::connect(local, peer)?;
        self.add(id, stream, true, now)
    }

    fn add(
        &mut self,
        id: ConnectionId,
        mut stream: TcpStream,
        connecting: bool,
        now: Now,
    ) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let entry = self.connections.vacant_entry();
        let interest = Interest::READABLE | Interest::WRITABLE;
        let token = (self.tokens.connection)(entry.key());
        self.registry.register(&mut stream, token, interest)?;
        self.by_id.insert(id, entry.key());
        entry.insert(PeerConnection {
            id,
            peer: Link::Plain(stream),
            connecting,
            client: None,
            to_peer: Pipe::default(),
            to_client: Pipe::default(),
            paused: None,
            moved: now.instant,
        });
        Ok(())
    }

    /// Takes the client's stream for a connection: its key, to be served next.
    pub fn bind(
        &mut self,
        server: &mut Server,
        now: Now,
        id: ConnectionId,
        stream: Connection,
    ) -> Option<usize> {
        let key = *self.by_id.get(&id)?;
        let connection = self.connections.get_mut(key)?;
        let (mut client, early, unsent) = stream.into_data();
        let interest = Interest::READABLE | Interest::WRITABLE;
        let token = (self.tokens.connection)(key);
        let registered = self.registry.reregister(client.socket(), token, interest);
        if registered.is_err() {
            self.abort(id);
            server.connection_closed(id);
            return None;
        }
        server.count_data(now, id, Direction::ToPeer, early.len());
        connection.client = Some(client);
        connection.to_peer.waiting = early;
        // The answer to ConnectionBind, as far as it still waits, goes before what the peer sends.
        connection.to_client.waiting = unsent;
        connection.moved = now.instant;
        Some(key)
    }

    /// Does what can be done for a connection; true when there may be more.
    pub fn serve(&mut self, server: &mut Server, now: Now, key: usize) -> bool {
        let Some(connection) = self.connections.get_mut(key) else {
            return false;
        };
        let id = connection.id;
        if connection.connecting {
            let Some(outcome) = connection.outcome() else {
                return false;
            };
            connection.connecting = false;
            if outcome.is_err() {
                self.remove(id);
            }
            server.connected(now, id, outcome);
            return false;
        }
        match connection.pass_on(server, now, &mut self.room) {
            Ok(Passed::More) => return true,
            Ok(Passed::Waits) => {}
            Ok(Passed::Paused(until)) => {
                connection.paused = Some(until);
                self.paused.insert((until, key));
            }
            Ok(Passed::All) => {
                self.remove(id);
                server.connection_closed(id);
            }
            Err(_) => {
                self.abort(id);
                server.connection_closed(id);
            }
        }
        false
    }

    /// Closes a connection at once, on both sides; what has not been sent yet is lost.
    pub fn abort(&mut self, id: ConnectionId) {
        if let Some(mut connection) = self.remove(id) {
            connection.peer.reset_on_close();
            if let Some(client) = &mut connection.client {
                client.reset_on_close();
            }
        }
    }

    fn remove(&mut self, id: ConnectionId) -> Option<PeerConnection> {
        let key = self.by_id.remove(&id)?;
        let connection = self.connections.try_remove(key)?;
        if let Some(until) = connection.paused {
            self.paused.remove(&(until, key));
        }
        if self.connections.is_empty() {
            self.connections.shrink_to_fit();
        }
        Some(connection)
    }

    /// When the next paused connection may go on.
    pub fn next_resume(&self) -> Option<Instant> {
        self.paused.first().map(|(at, _)| *at)
    }

    /// A connection that may go on by now.
    pub fn resume(&mut self, now: Instant) -> Option<usize> {
        let (at, key) = self.paused.first().copied()?;
        if at > now {
            return None;
        }
        self.paused.pop_first();
        self.connections.get_mut(key)?.paused = None;
        Some(key)
    }

    /// Closes connections that one side has left and the other does not use.
    pub fn sweep(&mut self, server: &mut Server, now: Instant) {
        let left = |connection: &PeerConnection| {
            (connection.to_peer.ended || connection.to_client.ended)
                && now.saturating_duration_since(connection.moved) >= HALF_CLOSED
        };
        let all = self.connections.iter();
        let left: Vec<_> = all.filter(|(_, c)| left(c)).map(|(_, c)| c.id).collect();
        for id in left {
            self.abort(id);
            server.connection_closed(id);
        }
    }
}

/// How far the bytes of a connection have come.
enum Passed {
    /// There may be more to read.
    More,
    /// Nothing to do until a socket has something to read or can be written to.
    Waits,
    /// The owner has had relayed as much as may be until then.
    Paused(Instant),
    /// Both sides have ended.
    All,
}

impl PeerConnection {
    /// Whether the peer has accepted; `None` while that is open.
    fn outcome(&mut self) -> Option<io::Result<()>> {
        let socket = self.peer.socket();
        match socket.take_error() {
            Ok(None) => {}
            Ok(Some(error)) | Err(error) => return Some(Err(error)),
        }
        match socket.peer_addr() {
            Ok(_) => Some(Ok(())),
            Err(error) if error.kind() == io::ErrorKind::NotConnected => None,
            Err(error) => Some(Err(error)),
        }
    }

    /// An error ends both sides.
    fn pass_on(&mut self, server: &mut Server, now: Now, room: &mut Room) -> io::Result<Passed> {
        let Some(client) = &mut self.client else {
            // RFC 6062 §5.2, §5.3: until ConnectionBind what the peer sends stays in its socket.
            return match self.peer.socket().take_error()? {
                Some(error) => Err(error),
                None => Ok(Passed::Waits),
            };
        };
        for _ in 0..TURNS {
            if self.paused.is_some() {
                self.to_peer.drain(&mut self.peer)?;
                self.to_client.drain(client)?;
                return Ok(Passed::Waits);
            }
            if let Some(until) = server.must_wait_until(self.id, now) {
                self.to_peer.drain(&mut self.peer)?;
                self.to_client.drain(client)?;
                return Ok(Passed::Paused(until));
            }
            let up = self.to_peer.step(client, &mut self.peer, room)?;
            let down = self.to_client.step(&mut self.peer, client, room)?;
            for (direction, bytes) in [(Direction::ToPeer, up), (Direction::ToClient, down)] {
                if let Some(bytes) = bytes {
                    server.count_data(now, self.id, direction, bytes);
                    self.moved = now.instant;
                }
            }
            if self.to_peer.shut && self.to_client.shut {
                return Ok(Passed::All);
            }
            if up.is_none() && down.is_none() {
                return Ok(Passed::Waits);
            }
        }
        Ok(Passed::More)
    }
}

impl Pipe {
    /// Reads once and passes on; how many bytes were read, `None` when nothing can be done for now.
    fn step(
        &mut self,
        from: &mut Link,
        to: &mut Link,
        room: &mut Room,
    ) -> io::Result<Option<usize>> {
        if !self.drain(to)? || self.ended {
            return Ok(None);
        }
        let count = match from.read(room, 0) {
            Ok(brought) => brought.bytes,
            // TLS that ends without saying so. Whoever could cut it off could cut off the other side, which is
            // mostly without TLS, as well.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => 0,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(Some(0)),
            Err(error) => return Err(error),
        };
        self.ended = count == 0;
        let read = room.plain.get(..count).unwrap_or_default();
        let passed = write_some(to, read)?;
        self.waiting
            .extend_from_slice(read.get(passed..).unwrap_or_default());
        self.drain(to)?;
        Ok(Some(count))
    }

    /// Passes on what waits, the end of the source as well; false when `to` takes no more for now.
    fn drain(&mut self, to: &mut Link) -> io::Result<bool> {
        let waiting = self.waiting.get(self.passed..).unwrap_or_default();
        if !waiting.is_empty() {
            self.passed += write_some(to, waiting)?;
            if self.passed < self.waiting.len() {
                return Ok(false);
            }
            self.waiting = Vec::new();
            self.passed = 0;
        }
        // What TLS has taken it may not have passed on.
        let done = if self.ended && !self.shut {
            to.shutdown()
        } else {
            to.flush()
        };
        match done {
            Ok(()) => self.shut = self.ended,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error),
        }
        Ok(true)
    }
}

/// Writes as many of these bytes as are taken.
fn write_some(to: &mut Link, bytes: &[u8]) -> io::Result<usize> {
    let mut written = 0;
    while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
        match to.write(rest) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => written += count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(written)
}

impl Link {
    /// Has the other side see a reset instead of an end.
    fn reset_on_close(&mut self) {
        // Without it the other side sees an end, which is the best that is left.
        let _ = SockRef::from(&*self.socket()).set_linger(Some(Duration::ZERO));
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream as Blocking;
    use std::sync::Arc;

    use mio::Poll;

    use super::super::tls::READ as CHUNK;
    use super::*;
    use crate::auth::{Authenticator, Claim, Credential, Loss, Owner, Refusal};
    use crate::server::{Common, Config, FiveTuple, Transport};

    struct Nobody;

    impl Authenticator for Nobody {
        fn credentials(&self, _: Claim<'_>) -> Result<Vec<Credential>, Refusal> {
            Err(Refusal::Unknown)
        }

        fn permits(&self, _: Owner, _: u64) -> Result<(), Loss> {
            Err(Loss::Revoked)
        }
    }

    /// A connection with both ends in the test's hands.
    struct Bench {
        _poll: Poll,
        all: PeerConnections,
        server: Server,
        now: Now,
        key: usize,
        client: Blocking,
        peer: Blocking,
    }

    /// The end of the test, and that of the relay.
    fn pair() -> (Blocking, TcpStream) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let ours = Blocking::connect(listener.local_addr().unwrap()).unwrap();
        let (theirs, _) = listener.accept().unwrap();
        theirs.set_nonblocking(true).unwrap();
        ours.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        (ours, TcpStream::from_std(theirs))
    }

    impl Bench {
        fn new() -> Self {
            let config = Config::new("test", vec![std::net::IpAddr::from([127, 0, 0, 1]).into()]);
            let common = Common::new(config, Arc::new(Nobody), &[0; 32]).unwrap();
            let mut server = Server::new(common, 0, [0; 32]);
            let poll = Poll::new().unwrap();
            let tokens = Tokens {
                listener: Token,
                connection: Token,
            };
            let mut all = PeerConnections::new(poll.registry().try_clone().unwrap(), tokens);
            let now = Now {
                instant: Instant::now(),
                unix: 0,
            };
            let id = ConnectionId::any();
            let (peer, theirs) = pair();
            all.add(id, theirs, false, now).unwrap();
            let (client, mut theirs) = pair();
            let interest = Interest::READABLE;
            poll.registry()
                .register(&mut theirs, Token(99), interest)
                .unwrap();
            let tuple = FiveTuple {
                transport: Transport::Tcp,
                client: client.local_addr().unwrap(),
                server: client.peer_addr().unwrap(),
            };
            let stream = Connection::new(Link::Plain(theirs), tuple, now.instant);
            let key = all.bind(&mut server, now, id, stream).unwrap();
            Bench {
                _poll: poll,
                all,
                server,
                now,
                key,
                client,
                peer,
            }
        }

        /// As long as it says that there is more.
        fn serve(&mut self) {
            while self.all.serve(&mut self.server, self.now, self.key) {}
        }

        fn pass(&mut self, time: Duration) {
            self.now.instant += time;
            self.all.sweep(&mut self.server, self.now.instant);
        }
    }

    #[test]
    fn a_side_that_nobody_uses_is_closed_a_minute_after_the_other_has_ended() {
        let mut bench = Bench::new();
        bench.pass(10 * HALF_CLOSED);
        assert!(!bench.all.is_empty(), "while both are open");
        bench.client.shutdown(std::net::Shutdown::Write).unwrap();
        // The end may take its time through the kernel.
        bench.peer.set_nonblocking(true).unwrap();
        while bench.peer.read(&mut [0]).is_err() {
            bench.serve();
        }
        bench.pass(HALF_CLOSED - Duration::from_millis(1));
        assert!(!bench.all.is_empty());
        bench.peer.write_all(b"still here").unwrap();
        let mut heard = [0; 10];
        bench.client.set_nonblocking(true).unwrap();
        while bench.client.peek(&mut heard).is_err() {
            bench.serve();
        }
        bench.pass(HALF_CLOSED - Duration::from_millis(1));
        assert!(!bench.all.is_empty());
        bench.pass(Duration::from_millis(1));
        assert!(bench.all.is_empty());
        bench.client.set_nonblocking(false).unwrap();
        // A reset, which may have overtaken what was sent before.
        let end = bench.client.read_exact(&mut heard);
        assert!(end.is_err() || bench.client.read(&mut heard).is_err());
    }

    #[test]
    fn one_direction_holds_a_chunk_at_most_and_nothing_once_it_is_taken() {
        let mut bench = Bench::new();
        bench.client.set_nonblocking(true).unwrap();
        bench.peer.set_nonblocking(true).unwrap();
        let held = |bench: &Bench| {
            let pipe = &bench.all.connections[bench.key].to_peer;
            (pipe.waiting.len() - pipe.passed, pipe.waiting.capacity())
        };
        // Until the peer's kernel, the relay and the client's kernel are full.
        let mut sent = 0;
        let mut refused = 0;
        while refused < 1000 {
            match bench.client.write(&[7; CHUNK]) {
                Ok(count) => (sent, refused) = (sent + count, 0),
                Err(_) => refused += 1,
            }
            bench.serve();
            assert!(held(&bench).1 <= CHUNK);
        }
        assert_ne!(held(&bench).0, 0);
        let mut received = 0;
        let mut chunk = vec![0; 1 << 20];
        while received < sent {
            bench.serve();
            received += bench.peer.read(&mut chunk).unwrap_or(0);
        }
        bench.serve();
        assert_eq!(held(&bench), (0, 0));
    }
}
