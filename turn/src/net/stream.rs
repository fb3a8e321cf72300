//! TURN over a stream: taking messages out of it (RFC 8489 §6.2.2, RFC 8656 §12.5) and a connection's queues.

use std::io;
use std::time::Instant;

use mio::net::TcpStream;
use rustls::ServerConnection;

use super::tls::{Link, Room};
use crate::server::FiveTuple;
use crate::wire;

/// Bytes of a message from a client without an allocation; it has no use for more.
const MAX_BEFORE_ALLOCATION: usize = 4096;
/// Bytes of any message: ChannelData of the largest payload, or STUN of the largest length, and padding.
pub(super) const MAX_MESSAGE: usize = wire::HEADER_LEN + u16::MAX as usize + 3;
/// Bytes that wait for a client that reads slowly; beyond them data is lost, as it would be over UDP.
const MAX_QUEUED: usize = 64 << 10;
/// Bytes that are gathered before they are sent: a burst of video, and no more than `rustls` takes at once.
const GATHERED: usize = 64 << 10;

/// What a stream sent cannot be TURN, or is longer than it may be; there is no way to find the next message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotTurn;

/// How long the message is, padding behind ChannelData included, with which these bytes of a stream begin: STUN by its
/// header's length, ChannelData by its own (RFC 8656 §12.5). `None` when it is not all there. A client that is not
/// `allocated` may send 4096 bytes at most.
pub fn message_len(
    bytes: &[u8],
    allocated: impl FnOnce() -> bool,
) -> Result<Option<usize>, NotTurn> {
    let Some(&[first, _, l0, l1]) = bytes.first_chunk::<4>() else {
        return Ok(None);
    };
    let length = usize::from(u16::from_be_bytes([l0, l1]));
    let cookie = bytes.get(4..8);
    let whole = match first {
        0x00..=0x3F if cookie.is_some_and(|c| c != wire::MAGIC_COOKIE.to_be_bytes()) => {
            return Err(NotTurn);
        }
        0x00..=0x3F if length.is_multiple_of(4) => wire::HEADER_LEN + length,
        first if wire::channel::is_channel_data(first) => wire::channel::padded_len(length),
        _ => return Err(NotTurn),
    };
    if whole > MAX_BEFORE_ALLOCATION && !allocated() {
        return Err(NotTurn);
    }
    Ok((bytes.len() >= whole).then_some(whole))
}

/// One client's stream.
#[derive(Debug)]
pub(super) struct Connection {
    link: Link,
    pub tuple: FiveTuple,
    /// Whether it came from another worker, which happens once.
    pub moved: bool,
    /// Since when it has had no allocation.
    pub idle_since: Instant,
    /// Whether the other side has ended it, or it has failed: what is still to be read ends so.
    pub ended: bool,
    /// The beginning of a message, until the rest of it comes.
    held: Reused,
    queue: Reused,
    /// Bytes at the head of the queue that belong to a message of which a part has been taken.
    begun: usize,
    /// Whether the socket takes no more of the queue until it says so.
    blocked: bool,
    /// Whether it is to be flushed at the end of the worker's turn.
    pub dirty: bool,
}

/// Bytes that come and go, in memory that stays as long as it is made use of.
#[derive(Debug, Default)]
struct Reused {
    bytes: Vec<u8>,
    /// The most bytes since memory was last given back.
    most: usize,
}

impl Reused {
    fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.most = self.most.max(self.bytes.len());
    }

    fn give_back(&mut self) {
        if self.bytes.capacity() > 4 * self.most {
            self.bytes.shrink_to(self.most);
        }
        self.most = self.bytes.len();
    }
}

impl Connection {
    pub fn new(link: Link, tuple: FiveTuple, now: Instant) -> Self {
        Connection {
            link,
            tuple,
            moved: false,
            idle_since: now,
            ended: false,
            held: Reused::default(),
            queue: Reused::default(),
            begun: 0,
            blocked: false,
            dirty: false,
        }
    }

    /// One whose handshake somebody else has done.
    pub fn adopted(socket: TcpStream, tls: ServerConnection, tuple: FiveTuple) -> Self {
        let (link, brought) = Link::adopted(socket, tls);
        let mut connection = Connection::new(link, tuple, Instant::now());
        connection.hold(&brought);
        connection
    }

    pub fn socket(&mut self) -> &mut TcpStream {
        self.link.socket()
    }

    /// For a stream that carries no more messages: what it brought behind the last one, and what waits to be sent.
    pub fn into_data(self) -> (Link, Vec<u8>, Vec<u8>) {
        let (mut rest, mut unsent) = (self.held.bytes, self.queue.bytes);
        rest.shrink_to_fit();
        unsent.shrink_to_fit();
        (self.link, rest, unsent)
    }

    /// Reads once, behind what is held, into the room: how many bytes there are, and whether that was all. An end of the
    /// stream is an error, and that there is nothing for now is one (`WouldBlock`).
    pub fn read(&mut self, room: &mut Room) -> io::Result<(usize, bool)> {
        loop {
            match self.link.read(room, self.held.bytes.len()) {
                Ok(brought) if brought.bytes == 0 => {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                Ok(brought) => {
                    let held = self.release(room);
                    // Of an end nobody says anything once more.
                    return Ok((held + brought.bytes, brought.drained && !self.ended));
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Moves what is held into the room, and says how much that is.
    pub fn release(&mut self, room: &mut Room) -> usize {
        let held = self.held.bytes.len();
        if let Some(begin) = room.plain.get_mut(..held) {
            begin.copy_from_slice(&self.held.bytes);
        }
        self.held.bytes.clear();
        held
    }

    /// Keeps what is not to be handled yet.
    pub fn hold(&mut self, rest: &[u8]) {
        self.held.push(rest);
    }

    /// Takes a message of these parts, to be sent with others by [`flush`](Self::flush). `Ok(false)`: too much waits
    /// already, nothing of the message was taken.
    pub fn send(&mut self, parts: &[&[u8]]) -> io::Result<bool> {
        let gathered = self.queue.bytes.len();
        let len: usize = parts.iter().map(|part| part.len()).sum();
        if gathered > 0 && gathered + len > GATHERED {
            self.flush()?;
        }
        if self.queue.bytes.len() >= MAX_QUEUED {
            return Ok(false);
        }
        parts.iter().for_each(|part| self.queue.push(part));
        Ok(true)
    }

    /// Whether there is something to flush that nobody has sent: a part of TLS.
    pub fn wants_write(&self) -> bool {
        self.link.wants_write()
    }

    /// The socket takes more: true when there is something for it.
    pub fn unblock(&mut self) -> bool {
        std::mem::take(&mut self.blocked)
    }

    /// Sends what waits, as far as the socket takes it.
    pub fn flush(&mut self) -> io::Result<()> {
        let queue = &mut self.queue.bytes;
        let mut sent = 0;
        while !self.blocked {
            let rest = queue.get(sent..).unwrap_or_default();
            let outcome = if rest.is_empty() {
                // What TLS has taken it may not have passed on.
                self.link.flush().map(|()| 0)
            } else {
                // Some clients, coturn's among them, take what one record of TLS brings for one message.
                let next = match (self.begun, self.link.has_records()) {
                    (0, true) => message_len(rest, || true).ok().flatten(),
                    (0, false) => None,
                    (begun, _) => Some(begun),
                };
                let next = next.and_then(|len| rest.get(..len)).unwrap_or(rest);
                let taken = self.link.write(next);
                self.begun = match taken {
                    Ok(count) => next.len() - count,
                    Err(_) => self.begun,
                };
                taken
            };
            match outcome {
                Ok(0) if rest.is_empty() => break,
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => sent += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.blocked = true,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        queue.drain(..sent);
        Ok(())
    }

    /// Gives back memory that has not been made use of since this was last asked: there may be many streams.
    pub fn give_back(&mut self) {
        self.held.give_back();
        self.queue.give_back();
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream as Blocking;

    use super::*;
    use crate::server::Transport;

    /// A client's end, and the relay's.
    fn pair() -> (Blocking, Connection) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let client = Blocking::connect(listener.local_addr().unwrap()).unwrap();
        client.set_nodelay(true).unwrap();
        let (stream, _) = listener.accept().unwrap();
        stream.set_nonblocking(true).unwrap();
        let tuple = FiveTuple {
            transport: Transport::Tcp,
            client: client.local_addr().unwrap(),
            server: client.peer_addr().unwrap(),
        };
        let link = Link::Plain(TcpStream::from_std(stream));
        (client, Connection::new(link, tuple, Instant::now()))
    }

    /// Reads once: the whole messages that there are now.
    fn receive(connection: &mut Connection, room: &mut Room) -> Vec<Vec<u8>> {
        let bytes = loop {
            match connection.read(room) {
                Ok((bytes, _)) => break bytes,
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            }
        };
        let mut rest = &room.plain[..bytes];
        let mut found = Vec::new();
        while let Some(len) = message_len(rest, || false).unwrap() {
            let (message, behind) = rest.split_at(len);
            found.push(message.to_vec());
            rest = behind;
        }
        connection.hold(rest);
        found
    }

    fn stream() -> (Vec<u8>, Vec<Vec<u8>>) {
        let stun = |length: u8, id: u8| {
            let mut message = vec![0, 1, 0, length, 0x21, 0x12, 0xA4, 0x42];
            message.resize(20 + usize::from(length), id);
            message
        };
        let messages = vec![
            stun(0, 1),
            vec![0x40, 0, 0, 3, 7, 7, 7, 0],
            stun(8, 2),
            vec![0x4F, 0xFF, 0, 0],
            stun(200, 3),
        ];
        (messages.concat(), messages)
    }

    #[test]
    fn messages_come_out_whole_wherever_the_stream_is_torn() {
        let (bytes, messages) = stream();
        let mut room = Room::new(MAX_MESSAGE);
        let (mut client, mut connection) = pair();
        for chunk in 1..bytes.len() {
            let mut found = Vec::new();
            for part in bytes.chunks(chunk) {
                client.write_all(part).unwrap();
                found.extend(receive(&mut connection, &mut room));
            }
            assert_eq!(found, messages, "chunks of {chunk}");
            assert_eq!(connection.held.bytes, [], "chunks of {chunk}");
        }
        // The first time it has just been made use of.
        connection.give_back();
        connection.give_back();
        assert_eq!(connection.held.bytes.capacity(), 0, "nothing is held");
    }

    #[test]
    fn a_connection_holds_little_more_than_what_it_waits_for() {
        let (bytes, messages) = stream();
        let mut room = Room::new(MAX_MESSAGE);
        let (mut client, mut connection) = pair();
        let sent = [&bytes.repeat(100), &bytes[..3]].concat();
        client.write_all(&sent).unwrap();
        let mut found = 0;
        while found < 100 * messages.len() || connection.held.bytes.len() < 3 {
            found += receive(&mut connection, &mut room).len();
        }
        assert_eq!(connection.held.bytes, bytes[..3]);
        connection.give_back();
        connection.give_back();
        let capacity = connection.held.bytes.capacity();
        assert!(capacity < 64, "{capacity}");
    }

    #[test]
    fn the_last_read_says_that_there_is_no_more_unless_there_is_an_end() {
        let mut room = Room::new(MAX_MESSAGE);
        let (mut client, mut connection) = pair();
        client.write_all(&[7; 100]).unwrap();
        assert_eq!(connection.read(&mut room).unwrap(), (100, true));
        client.write_all(&[7; 100]).unwrap();
        connection.ended = true;
        assert_eq!(connection.read(&mut room).unwrap(), (100, false));
    }

    #[test]
    fn messages_of_one_turn_leave_together_in_order_and_none_in_part() {
        let (mut client, mut connection) = pair();
        client.set_nonblocking(true).unwrap();
        for id in 0..10 {
            assert!(connection.send(&[&[id; 100]]).unwrap());
        }
        let mut heard = vec![0; 1 << 20];
        assert!(client.read(&mut heard).is_err(), "not yet");
        connection.flush().unwrap();
        let count = client.read(&mut heard).unwrap();
        let wanted: Vec<u8> = (0..10).flat_map(|id| [id; 100]).collect();
        assert_eq!(heard[..count], wanted);

        // Until the kernel's room for a client that does not read is full, and the relay's.
        let mut sent = 0u32;
        while connection.send(&[&sent.to_be_bytes().repeat(250)]).unwrap() {
            sent += 1;
        }
        assert!(connection.blocked);
        assert!(connection.queue.bytes.len() < MAX_QUEUED + 1000);
        let mut received = Vec::new();
        while received.len() < 1000 * sent as usize {
            connection.unblock();
            connection.flush().unwrap();
            let count = client.read(&mut heard).unwrap_or(0);
            received.extend_from_slice(&heard[..count]);
        }
        for (message, id) in received.chunks(1000).zip(0..sent) {
            assert_eq!(message, id.to_be_bytes().repeat(250));
        }
        connection.give_back();
        connection.give_back();
        assert_eq!(connection.queue.bytes.capacity(), 0);
    }

    #[test]
    fn what_is_not_turn_or_too_large_is_refused_at_its_head() {
        for first in 0x80..=0xFF {
            assert_eq!(message_len(&[first, 0, 0, 0], || true), Err(NotTurn));
        }
        for not_stun in [&[0x16, 3, 1, 0, 0, 0, 0, 0][..], &[0, 1, 0, 3]] {
            assert_eq!(message_len(not_stun, || true), Err(NotTurn), "{not_stun:?}");
        }
        let large = [0, 3, 0xFF, 0xFC];
        assert_eq!(message_len(&large, || false), Err(NotTurn));
        assert_eq!(message_len(&large, || true), Ok(None));
    }
}
