//! The streams by which clients come: taking them, reading their messages, and making room when there are too many.

use std::io::{self, Read};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::Interest;
use mio::net::TcpStream;
use rustls::ServerConfig;

use super::{Io, Onward, Place, TURNS, Worker, is_out_of_files};
use crate::net::batch::Payload;
use crate::net::mail::Letter;
use crate::net::proxied::{self, Found};
use crate::net::stream::{self, Connection, NotTurn};
use crate::net::tls::Link;
use crate::server::{FiveTuple, Now, Transport, prefix};

/// Reads of one stream before the others have their turn: they may bring hundreds of messages.
const STREAM_TURNS: usize = 2;
/// Streams of one worker, some 20 KiB each while they are without an allocation. For one more, that which has been so
/// for longest is closed.
const MAX_STREAMS: usize = 4096;
/// Streams of one worker from one network, /24 or /56. For one more, one of theirs is closed likewise, or it is not taken.
const MAX_STREAMS_PER_PREFIX: u32 = 512;
/// Streams of one worker of which no balancer has yet said whose they are. For one more, the oldest is closed.
const MAX_UNNAMED: usize = 1024;
/// Between two complaints of balancers.
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);
/// How long a stream may be without an allocation.
const IDLE: Duration = Duration::from_secs(30);
/// How long a stream keeps memory that it does not make use of.
const UNUSED: Duration = Duration::from_secs(5);

/// A stream that a balancer has opened, before it has said for whom.
#[derive(Debug)]
pub(super) struct Unnamed {
    socket: TcpStream,
    tls: Option<Arc<ServerConfig>>,
    balancer: SocketAddr,
    since: Instant,
}

impl Worker {
    /// Takes new streams; true when it is to be tried again.
    pub(super) fn accept(&mut self, now: Now, index: usize) -> bool {
        for _ in 0..TURNS {
            let Some((listener, tls)) = self.io.tcp.get(index) else {
                return false;
            };
            let tls = tls.clone();
            let accepted = match listener.accept() {
                Err(error) if is_out_of_files(&error) => self.accept_in_place(now, index),
                outcome => outcome,
            };
            let (stream, client) = match accepted {
                Ok(accepted) => accepted,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
                Err(error) => {
                    tracing::debug!(%error, "a relay connection could not be accepted");
                    self.starved.insert(Place::Tcp(index));
                    return false;
                }
            };
            if self.io.is_balancer(client) {
                let unnamed = Unnamed {
                    socket: stream,
                    tls,
                    balancer: client,
                    since: now.instant,
                };
                if let Err(error) = self.io.add_unnamed(unnamed) {
                    tracing::debug!(%error, "a balancer's connection could not be taken");
                }
                continue;
            }
            self.welcome(now, stream, tls.as_ref(), client);
        }
        true
    }

    /// Takes a stream of this client.
    fn welcome(
        &mut self,
        now: Now,
        stream: TcpStream,
        tls: Option<&Arc<ServerConfig>>,
        client: SocketAddr,
    ) {
        // A handshake costs far more than to ask for it.
        if tls.is_some() && !self.server.admits(now, client) {
            return;
        }
        let Ok(server) = stream.local_addr() else {
            return;
        };
        let tuple = FiveTuple {
            transport: match tls {
                Some(_) => Transport::Tls,
                None => Transport::Tcp,
            },
            client,
            server,
        };
        if !self.make_room(now, tuple) {
            return;
        }
        if let Err(error) = self.io.add_stream(stream, tls, tuple, now.instant) {
            tracing::debug!(%error, "a relay connection could not be taken");
        }
    }

    /// Reads whose a balancer's stream is, once all of that has come; true when it is to be tried again.
    pub(super) fn read_header(&mut self, now: Now, key: usize) -> bool {
        let Some(unnamed) = self.io.unnamed.get(key) else {
            return false;
        };
        let balancer = unnamed.balancer;
        let mut bytes = [0; proxied::MAX_HEADER];
        // What comes behind it stays where it is. More of it is told of anew.
        let found = match unnamed.socket.peek(&mut bytes) {
            Ok(0) => {
                // Only whether somebody is here was asked.
                self.io.unnamed.remove(key);
                return false;
            }
            Ok(count) => proxied::parse(bytes.get(..count).unwrap_or_default()).ok(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return true,
            Err(_) => {
                self.io.unnamed.remove(key);
                return false;
            }
        };
        let (header, len) = match found {
            Some(Found::Whole(header, len)) => (header, len),
            Some(Found::Missing(_)) => return false,
            None => {
                self.io.unnamed.remove(key);
                self.io.complain(now.instant, balancer);
                return false;
            }
        };
        let mut unnamed = self.io.unnamed.remove(key);
        let read = unnamed
            .socket
            .read(bytes.get_mut(..len).unwrap_or_default());
        let taken = read.is_ok_and(|count| count == len)
            && self.io.registry.deregister(&mut unnamed.socket).is_ok();
        if taken {
            let client = header.client.unwrap_or(balancer);
            self.welcome(now, unnamed.socket, unnamed.tls.as_ref(), client);
        }
        false
    }

    /// Reads messages of a stream; true when there may be more.
    pub(super) fn serve_stream(&mut self, now: Now, key: usize, writable: bool) -> bool {
        if writable
            && let Some(connection) = self.io.streams.get_mut(key)
            && connection.unblock()
        {
            self.io.make_dirty(key);
        }
        let mut room = std::mem::take(&mut self.room);
        let mut more = true;
        for _ in 0..STREAM_TURNS {
            let Some(connection) = self.io.streams.get_mut(key) else {
                more = false;
                break;
            };
            let read = connection.read(&mut room);
            // TLS may have something to say to what it has read.
            if connection.wants_write() {
                self.io.make_dirty(key);
            }
            let open = match read {
                Ok((bytes, drained)) => {
                    more = !drained;
                    let bytes = room.plain.get(..bytes).unwrap_or_default();
                    self.serve_messages(now, key, bytes)
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    more = false;
                    true
                }
                Err(_) => false,
            };
            if !open {
                more = false;
                self.close(now, key);
            }
            if !more {
                break;
            }
        }
        self.room = room;
        more
    }

    /// Handles the whole messages that a stream has brought, and has it keep the rest; false when it is not TURN.
    fn serve_messages(&mut self, now: Now, key: usize, mut bytes: &[u8]) -> bool {
        loop {
            // A message may have closed it.
            let Some(connection) = self.io.streams.get_mut(key) else {
                return true;
            };
            let tuple = connection.tuple;
            let len = match stream::message_len(bytes, || self.server.has_allocation(tuple)) {
                Ok(Some(len)) => len,
                Ok(None) => {
                    connection.hold(bytes);
                    return true;
                }
                Err(NotTurn) => return false,
            };
            let (message, rest) = bytes.split_at_checked(len).unwrap_or_default();
            match self.handle(now, tuple, Payload::Passing(message)) {
                None => bytes = rest,
                Some(onward @ Onward::Bind(_)) => {
                    self.send_onward(now, key, onward, rest);
                    return true;
                }
                // The message that shows where it belongs is for who serves it there.
                Some(onward @ Onward::HandOver(_)) => {
                    self.send_onward(now, key, onward, bytes);
                    return true;
                }
            }
        }
    }

    /// Sends what was gathered for streams in this turn.
    pub(super) fn flush_streams(&mut self, now: Now) {
        let mut next = 0;
        while let Some(key) = self.io.dirty.get(next).copied() {
            next += 1;
            let Some(connection) = self.io.streams.get_mut(key) else {
                continue;
            };
            connection.dirty = false;
            if connection.flush().is_err() {
                self.close(now, key);
            }
        }
        self.io.dirty.clear();
    }

    /// Takes a newcomer when no more files can be had: in place of a stream that came for nothing, or not at all. That there
    /// are none is said even when nobody waits; with the spare one given up, it shows.
    fn accept_in_place(&mut self, now: Now, index: usize) -> io::Result<(TcpStream, SocketAddr)> {
        self.io.spare = None;
        let (listener, _) = self.io.tcp.get(index).ok_or(io::ErrorKind::NotFound)?;
        let mut accepted = listener.accept();
        self.io.keep_spare();
        if accepted.is_ok() && self.io.spare.is_none() {
            if !self.close_longest_idle(now, None) {
                accepted = Err(io::ErrorKind::ConnectionAborted.into());
            }
            self.io.keep_spare();
        }
        accepted
    }

    /// `rest` is what it has brought and has not been handled.
    fn send_onward(&mut self, now: Now, key: usize, onward: Onward, rest: &[u8]) {
        let Some(mut stream) = self.io.remove_stream(key) else {
            return;
        };
        stream.hold(rest);
        match onward {
            Onward::Bind(id) => {
                let bound = self.peers.bind(&mut self.server, now, id, stream);
                self.again.extend(bound.map(Place::Peer));
            }
            Onward::HandOver(worker) => {
                let moved = std::mem::replace(&mut stream.moved, true);
                if !moved && self.io.registry.deregister(stream.socket()).is_ok() {
                    // One that does not read its mail loses the stream, which is closed.
                    let _ = self
                        .post
                        .send(worker.into(), Letter::Stream(Box::new(stream)));
                }
            }
        }
    }

    /// Takes a stream over from another worker.
    pub(super) fn adopt(&mut self, now: Now, mut stream: Connection) {
        if !self.make_room(now, stream.tuple) {
            return;
        }
        let mut room = std::mem::take(&mut self.room);
        let held = stream.release(&mut room);
        let bytes = room.plain.get(..held).unwrap_or_default();
        match self.io.insert_stream(stream) {
            Ok(key) if self.serve_messages(now, key, bytes) => {
                self.again.push(Place::Stream(key));
            }
            Ok(key) => self.close(now, key),
            Err(error) => tracing::debug!(%error, "a relay connection could not be taken over"),
        }
        self.room = room;
    }

    /// Makes room for a stream; false when its network has as many with allocations as it may.
    fn make_room(&mut self, now: Now, tuple: FiveTuple) -> bool {
        // The same client again: its older stream is dead, though nobody has said so yet.
        if let Some(older) = self.io.by_tuple.get(&tuple).copied() {
            self.close(now, older);
        }
        if self.io.streams_near(tuple.client) >= MAX_STREAMS_PER_PREFIX
            && !self.close_longest_idle(now, Some(tuple.client))
        {
            return false;
        }
        if self.io.streams.len() >= MAX_STREAMS {
            self.close_longest_idle(now, None);
        }
        true
    }

    /// Makes room by closing the stream that has been longest without an allocation, of all or of those from the network
    /// of `near`; false when there is none.
    pub(super) fn close_longest_idle(&mut self, now: Now, near: Option<SocketAddr>) -> bool {
        let network = near.map(|client| prefix(client.ip()));
        let is_near = |tuple: FiveTuple| network.is_none_or(|it| it == prefix(tuple.client.ip()));
        let idle = self
            .io
            .streams
            .iter()
            .filter(|(_, connection)| is_near(connection.tuple))
            .filter(|(_, connection)| !self.server.has_allocation(connection.tuple))
            .min_by_key(|(_, connection)| connection.idle_since);
        let Some((key, _)) = idle else {
            return false;
        };
        self.close(now, key);
        true
    }

    fn close(&mut self, now: Now, key: usize) {
        if let Some(stream) = self.io.remove_stream(key) {
            self.server.disconnected(now, stream.tuple);
            self.do_outputs(now);
        }
    }

    /// Closes streams that have been without an allocation for too long, and those of which nobody says whose they are.
    pub(super) fn close_idle(&mut self, now: Now) {
        let is_late = |unnamed: &Unnamed| {
            now.instant.saturating_duration_since(unnamed.since) >= proxied::HEADER_WAIT
        };
        let late = self.io.unnamed.iter().find(|(_, unnamed)| is_late(unnamed));
        if let Some((_, unnamed)) = late {
            let balancer = unnamed.balancer;
            self.io.unnamed.retain(|_, unnamed| !is_late(unnamed));
            self.io.complain(now.instant, balancer);
        }
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

    /// Gives back memory that streams have not made use of for a while.
    pub(super) fn give_back(&mut self, now: Now) {
        if now.instant.saturating_duration_since(self.given_back) >= UNUSED {
            self.given_back = now.instant;
            let all = self.io.streams.iter_mut();
            all.for_each(|(_, connection)| connection.give_back());
        }
    }
}

impl Io {
    fn keep_spare(&mut self) {
        self.spare = self.registry.try_clone().ok();
    }

    pub(super) fn has_no_streams(&self) -> bool {
        self.streams.is_empty() && self.unnamed.is_empty()
    }

    fn is_balancer(&self, client: SocketAddr) -> bool {
        let ip = client.ip().to_canonical();
        self.balancers.iter().any(|net| net.contains(&ip))
    }

    fn add_unnamed(&mut self, mut unnamed: Unnamed) -> io::Result<()> {
        if self.unnamed.len() >= MAX_UNNAMED {
            let oldest = self.unnamed.iter().min_by_key(|(_, other)| other.since);
            if let Some((key, _)) = oldest {
                self.unnamed.remove(key);
            }
        }
        let entry = self.unnamed.vacant_entry();
        let token = Place::Unnamed(entry.key()).token();
        self.registry
            .register(&mut unnamed.socket, token, Interest::READABLE)?;
        entry.insert(unnamed);
        Ok(())
    }

    fn complain(&mut self, now: Instant, balancer: SocketAddr) {
        let is_new = self
            .complained
            .is_none_or(|last| now.saturating_duration_since(last) >= COMPLAIN_EVERY);
        if is_new {
            self.complained = Some(now);
            let balancer = balancer.ip().to_canonical();
            tracing::warn!(
                %balancer,
                "a stream from a balancer does not begin with a PROXY header, and is closed"
            );
        }
    }

    fn add_stream(
        &mut self,
        stream: TcpStream,
        tls: Option<&Arc<ServerConfig>>,
        tuple: FiveTuple,
        now: Instant,
    ) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let link = match tls {
            Some(config) => Link::tls(stream, config).map_err(io::Error::other)?,
            None => Link::Plain(stream),
        };
        self.insert_stream(Connection::new(link, tuple, now))?;
        Ok(())
    }

    /// Queues a message of these parts for a stream; false when it is lost.
    pub(super) fn send_to_stream(&mut self, tuple: FiveTuple, parts: &[&[u8]]) -> bool {
        let Some(key) = self.by_tuple.get(&tuple).copied() else {
            return false;
        };
        // A failure shows at the end of the turn as well, where the stream is closed.
        let connection = self.streams.get_mut(key);
        let taken = connection.is_some_and(|connection| connection.send(parts).unwrap_or(false));
        self.make_dirty(key);
        taken
    }

    /// Has a stream flushed at the end of the turn.
    pub(super) fn make_dirty(&mut self, key: usize) {
        if let Some(connection) = self.streams.get_mut(key)
            && !std::mem::replace(&mut connection.dirty, true)
        {
            self.dirty.push(key);
        }
    }

    fn insert_stream(&mut self, mut stream: Connection) -> io::Result<usize> {
        let tuple = stream.tuple;
        let entry = self.streams.vacant_entry();
        let key = entry.key();
        self.registry.register(
            stream.socket(),
            Place::Stream(key).token(),
            Interest::READABLE | Interest::WRITABLE,
        )?;
        self.by_tuple.insert(tuple, key);
        *self.by_prefix.entry(prefix(tuple.client.ip())).or_default() += 1;
        entry.insert(stream);
        Ok(key)
    }

    fn remove_stream(&mut self, key: usize) -> Option<Connection> {
        let mut stream = self.streams.try_remove(key)?;
        // Its last answers; where that fails nobody reads them.
        let _ = stream.flush();
        stream.dirty = false;
        let tuple = stream.tuple;
        self.by_tuple.remove(&tuple);
        let prefix = prefix(tuple.client.ip());
        if let Some(count) = self.by_prefix.get_mut(&prefix) {
            *count -= 1;
            if *count == 0 {
                self.by_prefix.remove(&prefix);
            }
        }
        Some(stream)
    }

    /// How many streams come from the network of `client`.
    fn streams_near(&self, client: SocketAddr) -> u32 {
        self.by_prefix
            .get(&prefix(client.ip()))
            .copied()
            .unwrap_or(0)
    }
}
