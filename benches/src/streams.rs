//! Traffic of clients over TCP or TLS: as in `load`, but one end of each packet's way is a stream.

use std::io::{self, ErrorKind, IoSlice};
use std::net::UdpSocket;
use std::time::{Duration, Instant};

use crate::client::Link;
use crate::load::{Delivered, LOST_AFTER, LOST_AT_LAST, Packet, is_passing};
use crate::sys::{Outgoing, Receiver, Sender};

/// Datagrams that leave or are read by one call.
const BATCH: usize = 10;
/// Bytes read from a stream by one call.
const READ: usize = 65_536;

/// Which way packets go.
#[derive(Debug)]
pub enum Way {
    /// Each client writes its frame, one at a time; peers receive.
    Out {
        /// By client: ChannelData, padded.
        frames: Vec<Vec<u8>>,
        /// Where they arrive.
        peers: Vec<UdpSocket>,
    },
    /// A peer sends to all, and clients read.
    In {
        /// What sends.
        peer: UdpSocket,
        /// To each client's relayed address.
        packets: Vec<Packet>,
    },
}

/// Packets between streams and datagrams.
#[derive(Debug)]
pub struct StreamFlow {
    clients: Vec<Link>,
    way: Way,
    /// Bytes of each packet where it arrives.
    length: usize,
    /// Most packets on their way at a time.
    window: u64,
    /// By client: what could not be written yet.
    pending: Vec<Vec<u8>>,
    sender: Sender,
    receiver: Receiver,
    buffer: Vec<u8>,
    /// Bytes that have been read from streams, all together.
    read: u64,
    next: usize,
    sent: u64,
    arrived: u64,
    under_way: u64,
}

impl StreamFlow {
    /// `length`: bytes of each packet where it arrives, on a stream those of its frame. `window`: most packets on their
    /// way at a time.
    pub fn new(clients: Vec<Link>, way: Way, length: usize, window: u64) -> io::Result<Self> {
        for client in &clients {
            client.set_nonblocking()?;
        }
        match &way {
            Way::Out { peers, .. } => {
                for peer in peers {
                    peer.set_nonblocking(true)?;
                }
            }
            Way::In { peer, .. } => peer.set_nonblocking(true)?,
        }
        Ok(StreamFlow {
            pending: clients.iter().map(|_| Vec::with_capacity(READ)).collect(),
            clients,
            way,
            length,
            window,
            sender: Sender::new(BATCH),
            receiver: Receiver::new(BATCH, 2048, false),
            buffer: vec![0; READ],
            read: 0,
            next: 0,
            sent: 0,
            arrived: 0,
            under_way: 0,
        })
    }

    /// Runs for `warm_up`, calls `begin`, runs for `measured`, calls `end`, and waits for what is on its way.
    pub fn run(
        &mut self,
        warm_up: Duration,
        measured: Duration,
        begin: impl FnOnce(),
        end: impl FnOnce(),
    ) -> io::Result<Delivered> {
        let (sent, arrived) = (self.sent, self.arrived);
        self.until(Instant::now() + warm_up)?;
        begin();
        let (before, started) = (self.arrived, Instant::now());
        self.until(started + measured)?;
        end();
        let (received, seconds) = (self.arrived - before, started.elapsed().as_secs_f64());
        let mut last = Instant::now();
        while self.arrived - arrived < self.sent - sent && last.elapsed() < LOST_AT_LAST {
            self.write_pending()?;
            if self.receive()? > 0 {
                last = Instant::now();
            }
        }
        Ok(Delivered {
            sent: self.sent - sent,
            received,
            arrived: self.arrived - arrived,
            seconds,
        })
    }

    fn until(&mut self, deadline: Instant) -> io::Result<()> {
        let mut last = Instant::now();
        loop {
            while self.under_way < self.window {
                self.send()?;
            }
            self.write_pending()?;
            let arrived = self.receive()?;
            let now = Instant::now();
            if arrived > 0 {
                last = now;
            } else if now.duration_since(last) > LOST_AFTER {
                self.under_way = 0;
                last = now;
            }
            if now >= deadline {
                return Ok(());
            }
        }
    }

    fn send(&mut self) -> io::Result<()> {
        let count = match &self.way {
            Way::Out { frames, .. } => {
                let frame = &frames[self.next];
                let pending = &mut self.pending[self.next];
                let written = match pending.is_empty() {
                    true => taken(self.clients[self.next].write(frame))?,
                    false => 0,
                };
                pending.extend_from_slice(&frame[written..]);
                1
            }
            Way::In { peer, packets } => {
                let rest = &packets[self.next..packets.len().min(self.next + BATCH)];
                let parts: [IoSlice<'_>; BATCH] = std::array::from_fn(|index| {
                    IoSlice::new(rest.get(index).map_or(&[], |packet| &packet.bytes))
                });
                let outgoing = rest.iter().zip(&parts).map(|(packet, part)| Outgoing {
                    to: packet.to.as_ref(),
                    parts: std::slice::from_ref(part),
                    segment: None,
                });
                match self.sender.send(peer, outgoing) {
                    Ok(count) => count,
                    // It shows as loss.
                    Err(error) if is_passing(&error) => 1,
                    Err(error) => return Err(error),
                }
            }
        };
        self.sent += count as u64;
        self.under_way += count as u64;
        self.next = (self.next + count) % self.clients.len();
        Ok(())
    }

    fn write_pending(&mut self) -> io::Result<()> {
        for (client, pending) in self.clients.iter_mut().zip(&mut self.pending) {
            if !pending.is_empty() {
                let written = taken(client.write(pending))?;
                pending.drain(..written);
            }
        }
        Ok(())
    }

    fn receive(&mut self) -> io::Result<u64> {
        let mut arrived = 0;
        match &self.way {
            Way::Out { peers, .. } => {
                for peer in peers {
                    loop {
                        let count = match self.receiver.receive(peer) {
                            Ok(count) => count,
                            Err(error) if is_passing(&error) => break,
                            Err(error) => return Err(error),
                        };
                        let messages = (0..count).map(|index| self.receiver.message(index));
                        let right = messages.filter(|message| message.bytes.len() == self.length);
                        arrived += right.count() as u64;
                        if count < BATCH {
                            break;
                        }
                    }
                }
            }
            Way::In { .. } => {
                let before = self.read / self.length as u64;
                for client in &mut self.clients {
                    match client.read(&mut self.buffer) {
                        Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                        Ok(count) => self.read += count as u64,
                        Err(error) if is_passing(&error) => {}
                        Err(error) => return Err(error),
                    }
                }
                arrived = self.read / self.length as u64 - before;
            }
        }
        self.arrived += arrived;
        self.under_way = self.under_way.saturating_sub(arrived);
        Ok(arrived)
    }
}

/// Bytes that a write has taken, none where the stream is full.
fn taken(written: io::Result<usize>) -> io::Result<usize> {
    match written {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
        other => other,
    }
}
