//! TURN over a stream: taking messages out of it (RFC 8489 §6.2.2, RFC 8656 §12.5) and a connection's queues.

use std::io::{self, Read, Write};
use std::ops::Range;
use std::time::Instant;

use super::tls::Link;
use crate::server::FiveTuple;
use crate::wire;

/// Bytes of a message from a client without an allocation; it has no use for more.
const MAX_BEFORE_ALLOCATION: usize = 4096;
/// Bytes of any message: ChannelData of the largest payload, or STUN of the largest length.
const MAX_MESSAGE: usize = wire::HEADER_LEN + u16::MAX as usize;
/// Bytes that wait for a client that reads slowly; beyond them data is lost, as it would be over UDP.
const MAX_QUEUED: usize = 64 << 10;
const READ_CHUNK: usize = 16 << 10;

/// What a stream sent cannot be TURN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NotTurn;

/// Finds where messages begin and end.
#[derive(Debug, Default)]
pub(super) struct Framer {
    buffer: Vec<u8>,
    taken: usize,
}

impl Framer {
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole message, where it lies in [`Framer::bytes`]; `None` until more bytes come.
    pub fn next(&mut self, allocated: bool) -> Result<Option<Range<usize>>, NotTurn> {
        let rest = self.buffer.get(self.taken..).unwrap_or_default();
        let Some(&[first, _, l0, l1]) = rest.first_chunk::<4>() else {
            self.compact();
            return Ok(None);
        };
        let length = usize::from(u16::from_be_bytes([l0, l1]));
        let cookie = rest.get(4..8);
        let whole = match first {
            0x00..=0x3F if cookie.is_some_and(|c| c != wire::MAGIC_COOKIE.to_be_bytes()) => {
                return Err(NotTurn);
            }
            0x00..=0x3F if length.is_multiple_of(4) => wire::HEADER_LEN + length,
            first if wire::channel::is_channel_data(first) => wire::channel::padded_len(length),
            _ => return Err(NotTurn),
        };
        if whole
            > if allocated {
                MAX_MESSAGE + 3
            } else {
                MAX_BEFORE_ALLOCATION
            }
        {
            return Err(NotTurn);
        }
        if rest.len() < whole {
            self.compact();
            return Ok(None);
        }
        let begin = self.taken;
        self.taken += whole;
        Ok(Some(begin..self.taken))
    }

    pub fn bytes(&self) -> &[u8] {
        &self.buffer
    }

    /// Forgets what was taken, and gives back memory that is not needed: there may be many streams.
    fn compact(&mut self) {
        self.buffer.drain(..self.taken);
        self.taken = 0;
        if self.buffer.capacity() > 4 * self.buffer.len() {
            self.buffer.shrink_to_fit();
        }
    }
}

/// One client's stream.
#[derive(Debug)]
pub(super) struct Connection {
    link: Link,
    pub tuple: FiveTuple,
    pub framer: Framer,
    /// Since when it has had no allocation.
    pub idle_since: Instant,
    queue: Vec<u8>,
}

impl Connection {
    pub fn new(link: Link, tuple: FiveTuple, now: Instant) -> Self {
        Connection {
            link,
            tuple,
            framer: Framer::default(),
            idle_since: now,
            queue: Vec::new(),
        }
    }

    /// Reads once. `Ok(false)`: nothing more for now; an end of the stream is an error.
    pub fn read(&mut self) -> io::Result<bool> {
        let mut chunk = [0; READ_CHUNK];
        loop {
            match self.link.read(&mut chunk) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => {
                    self.framer.push(chunk.get(..count).unwrap_or_default());
                    return Ok(true);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Sends a message or queues what the socket does not take. `Ok(false)`: too much is queued already, nothing
    /// of the message was taken.
    pub fn send(&mut self, message: &[u8]) -> io::Result<bool> {
        if self.queue.len() >= MAX_QUEUED {
            return Ok(false);
        }
        self.queue.extend_from_slice(message);
        self.flush()?;
        Ok(true)
    }

    /// Sends what is queued, as far as the socket takes it.
    pub fn flush(&mut self) -> io::Result<()> {
        let mut sent = 0;
        let outcome = loop {
            let rest = self.queue.get(sent..).unwrap_or_default();
            if rest.is_empty() {
                // What TLS has taken it may not have passed on.
                match self.link.flush() {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break Ok(()),
                    outcome => break outcome,
                }
            }
            match self.link.write(rest) {
                Ok(0) => break Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => sent += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break Err(error),
            }
        };
        self.queue.drain(..sent);
        if self.queue.is_empty() {
            self.queue = Vec::new();
        }
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        for chunk in 1..bytes.len() {
            let mut framer = Framer::default();
            let mut found = Vec::new();
            for part in bytes.chunks(chunk) {
                framer.push(part);
                while let Some(range) = framer.next(false).unwrap() {
                    found.push(framer.bytes()[range].to_vec());
                }
            }
            assert_eq!(found, messages, "chunks of {chunk}");
            assert_eq!(
                framer.buffer.capacity(),
                0,
                "nothing is held once all is taken"
            );
        }
    }

    #[test]
    fn a_framer_holds_little_more_than_what_it_waits_for() {
        let (bytes, _) = stream();
        let mut framer = Framer::default();
        for _ in 0..100 {
            framer.push(&bytes);
        }
        framer.push(&bytes[..3]);
        while framer.next(false).unwrap().is_some() {}
        assert_eq!(framer.bytes(), &bytes[..3]);
        assert!(
            framer.buffer.capacity() < 64,
            "{}",
            framer.buffer.capacity()
        );
    }

    #[test]
    fn what_is_not_turn_or_too_large_is_refused_at_its_head() {
        for first in 0x80..=0xFF {
            let mut framer = Framer::default();
            framer.push(&[first, 0, 0, 0]);
            assert_eq!(framer.next(true), Err(NotTurn));
        }
        for not_stun in [&[0x16, 3, 1, 0, 0, 0, 0, 0][..], &[0, 1, 0, 3]] {
            let mut framer = Framer::default();
            framer.push(not_stun);
            assert_eq!(framer.next(true), Err(NotTurn), "{not_stun:?}");
        }
        let mut framer = Framer::default();
        framer.push(&[0, 3, 0xFF, 0xFC]);
        assert_eq!(framer.next(false), Err(NotTurn));
        assert_eq!(framer.next(true), Ok(None));
    }
}
