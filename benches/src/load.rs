//! Traffic over UDP: who sends which packets, who receives them, and a loop that sends as fast as they arrive. All is
//! made before it begins; the loop itself allocates nothing.

use std::io::{self, ErrorKind, IoSlice};
use std::net::UdpSocket;
use std::time::{Duration, Instant};

use socket2::{SockAddr, SockRef};

use crate::sys::{self, Outgoing, Received, Receiver, Sender};

/// Messages read by one call.
const BATCH: usize = 64;
/// What is still on its way when nothing has arrived for so long is lost.
pub(crate) const LOST_AFTER: Duration = Duration::from_millis(50);
/// The same once nothing more is sent, when it delays nobody.
pub(crate) const LOST_AT_LAST: Duration = Duration::from_secs(1);
/// Bytes of the largest message that the kernel hands over, and some more, so that buffers do not begin at addresses that
/// share a place in the processor's cache.
const LARGEST: usize = 65_536 + 34 * 64;

/// Sends messages that are ready beforehand, all by one call.
#[derive(Debug)]
pub struct Source {
    socket: UdpSocket,
    messages: Vec<Packet>,
}

/// One message of a [`Source`]: a datagram or a burst of them.
#[derive(Debug, Clone)]
pub struct Packet {
    /// `None`: the socket is connected.
    pub to: Option<SockAddr>,
    /// A datagram, or several of one length.
    pub bytes: Vec<u8>,
    /// Bytes of each datagram, where there are several.
    pub segment: Option<u16>,
}

impl Packet {
    /// One datagram, or a burst of `count` of them, all the same.
    pub fn burst(to: Option<SockAddr>, datagram: &[u8], count: usize) -> Self {
        Packet {
            to,
            bytes: datagram.repeat(count),
            segment: (count > 1).then_some(datagram.len() as u16),
        }
    }

    fn datagrams(&self) -> u64 {
        match self.segment {
            Some(size) => self.bytes.len().div_ceil(usize::from(size)) as u64,
            None => 1,
        }
    }
}

impl Source {
    /// `messages`: what one turn of this source sends.
    pub fn new(socket: UdpSocket, messages: Vec<Packet>) -> Self {
        Source { socket, messages }
    }
}

/// Packets from some sockets to others, by way of whatever is measured.
#[derive(Debug)]
pub struct Flow {
    /// They take turns.
    pub sources: Vec<Source>,
    /// Where packets arrive.
    pub sinks: Vec<UdpSocket>,
    /// Bytes of each datagram as it arrives; others are not counted.
    pub length: usize,
    /// Most datagrams on their way at a time.
    pub window: u64,
    /// Whether what arrives is only counted, by the kernel, which drops it: where the load is to cost little.
    pub dropped: bool,
    /// Sleep after each look at the sinks; zero where the load has a core of its own.
    pub pause: Duration,
}

/// What became of a flow's datagrams.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Delivered {
    /// Datagrams that left.
    pub sent: u64,
    /// Datagrams that arrived in the time that was measured.
    pub received: u64,
    /// All that arrived, also while those on their way at the end were waited for.
    pub arrived: u64,
    /// What was measured, in seconds.
    pub seconds: f64,
}

impl Delivered {
    /// Share of the datagrams that never arrived, from 0 to 1.
    pub fn loss(&self) -> f64 {
        match self.sent {
            0 => 0.0,
            sent => 1.0 - self.arrived.min(sent) as f64 / sent as f64,
        }
    }
}

impl Flow {
    /// Runs for `warm_up`, calls `begin`, runs for `measured`, calls `end`, and waits for what is on its way.
    pub fn run(
        &self,
        warm_up: Duration,
        measured: Duration,
        begin: impl FnOnce(),
        end: impl FnOnce(),
    ) -> io::Result<Delivered> {
        let mut run = Run::new(self)?;
        run.until(Instant::now() + warm_up)?;
        begin();
        let (before, started) = (run.arrived, Instant::now());
        run.until(started + measured)?;
        end();
        let (received, seconds) = (run.arrived - before, started.elapsed().as_secs_f64());
        run.finish()?;
        Ok(Delivered {
            sent: run.sent,
            received,
            arrived: run.arrived,
            seconds,
        })
    }
}

impl Flow {
    /// Datagrams that the kernel has dropped at the sinks; it counts round.
    fn dropped_so_far(&self) -> io::Result<u32> {
        if !self.dropped {
            return Ok(0);
        }
        let mut drops = self.sinks.iter().map(sys::drops);
        drops.try_fold(0_u32, |sum, drops| Ok(sum.wrapping_add(drops?)))
    }
}

/// Bytes of the time at the end of each datagram of [`Flow::pace`].
const STAMP: usize = 8;

impl Flow {
    /// One datagram of each source in turn, one every `interval`, for so long; the sink of the same index is where it
    /// arrives. Calls `begin` and `end` around it, and waits for what is on its way. Returns how many left, and of those
    /// that arrived how long each was on its way, in nanoseconds: the same thread sends, then waits without sleeping.
    pub fn pace(
        &self,
        interval: Duration,
        measured: Duration,
        begin: impl FnOnce(),
        end: impl FnOnce(),
    ) -> io::Result<(u64, Vec<u64>)> {
        for sink in &self.sinks {
            sink.set_nonblocking(true)?;
        }
        let base = Instant::now();
        let now = || base.elapsed().as_nanos() as u64;
        let expected = measured.as_nanos() / interval.as_nanos().max(1);
        let mut delays = Vec::with_capacity(expected as usize + self.sinks.len());
        let mut datagram = [0; 2048];
        let mut sent = 0;
        // Of what is on its way: at which sink it will arrive, and since when. Only there is looked.
        let mut waiting: Vec<(usize, Instant)> = Vec::with_capacity(self.sinks.len());
        let mut look = |waiting: &mut Vec<(usize, Instant)>, patience: Duration| {
            let mut received = [0; 2048];
            waiting.retain(|(sink, since)| {
                let Ok(length) = self.sinks[*sink].recv(&mut received) else {
                    return since.elapsed() < patience;
                };
                let arrived = now();
                let stamp = received[..length].last_chunk::<STAMP>();
                let stamp = stamp.filter(|_| length == self.length);
                delays.extend(stamp.map(|at| arrived.saturating_sub(u64::from_be_bytes(*at))));
                stamp.is_none()
            });
        };
        begin();
        let mut due = Instant::now();
        let deadline = due + measured;
        while due < deadline {
            let index = sent as usize % self.sources.len();
            let source = &self.sources[index];
            let Some(message) = source.messages.first() else {
                break;
            };
            let length = message.bytes.len().min(datagram.len());
            datagram[..length].copy_from_slice(&message.bytes[..length]);
            while Instant::now() < due {
                std::hint::spin_loop();
            }
            datagram[length - STAMP..length].copy_from_slice(&now().to_be_bytes());
            let outcome = match &message.to {
                Some(to) => SockRef::from(&source.socket).send_to(&datagram[..length], to),
                None => source.socket.send(&datagram[..length]),
            };
            match outcome {
                Err(error) if !is_passing(&error) => return Err(error),
                _ => sent += 1,
            }
            due += interval;
            if index < self.sinks.len() {
                waiting.push((index, Instant::now()));
            }
            while Instant::now() < due {
                look(&mut waiting, LOST_AT_LAST);
            }
        }
        end();
        while !waiting.is_empty() {
            look(&mut waiting, LOST_AT_LAST);
        }
        Ok((sent, delays))
    }
}

struct Run<'a> {
    flow: &'a Flow,
    /// By source, by message.
    parts: Vec<Vec<IoSlice<'a>>>,
    /// By source: datagrams of one turn.
    turns: Vec<u64>,
    sender: Sender,
    receiver: Receiver,
    next: usize,
    sent: u64,
    arrived: u64,
    /// Datagrams that are on their way as far as is known.
    under_way: u64,
    last: Instant,
    /// What all sinks had dropped at the last look.
    dropped: u32,
}

impl<'a> Run<'a> {
    fn new(flow: &'a Flow) -> io::Result<Self> {
        for source in &flow.sources {
            source.socket.set_nonblocking(true)?;
        }
        for sink in &flow.sinks {
            sink.set_nonblocking(true)?;
            match flow.dropped {
                true => sys::drop_all(sink)?,
                false => sys::set_gro(sink)?,
            }
        }
        let messages = flow.sources.iter().map(|source| source.messages.len());
        Ok(Run {
            flow,
            parts: flow
                .sources
                .iter()
                .map(|source| source.messages.iter().map(|m| IoSlice::new(&m.bytes)))
                .map(Iterator::collect)
                .collect(),
            turns: flow
                .sources
                .iter()
                .map(|source| source.messages.iter().map(Packet::datagrams).sum())
                .collect(),
            sender: Sender::new(messages.max().unwrap_or(0)),
            receiver: Receiver::new(BATCH, LARGEST, true),
            next: 0,
            sent: 0,
            arrived: 0,
            under_way: 0,
            last: Instant::now(),
            dropped: flow.dropped_so_far()?,
        })
    }

    fn until(&mut self, deadline: Instant) -> io::Result<()> {
        loop {
            while self.under_way + self.turns[self.next]
                <= self.flow.window.max(self.turns[self.next])
            {
                self.send()?;
            }
            if !self.flow.pause.is_zero() {
                std::thread::sleep(self.flow.pause);
            }
            let arrived = self.receive()?;
            let now = Instant::now();
            if arrived > 0 {
                self.last = now;
            } else if now.duration_since(self.last) > LOST_AFTER {
                self.under_way = 0;
                self.last = now;
            }
            if now >= deadline {
                return Ok(());
            }
        }
    }

    /// One turn of the next source.
    fn send(&mut self) -> io::Result<()> {
        let source = &self.flow.sources[self.next];
        let parts = &self.parts[self.next];
        let mut done = 0;
        while done < parts.len() {
            let rest = source.messages[done..].iter().zip(&parts[done..]);
            let messages = rest.map(|(message, part)| Outgoing {
                to: message.to.as_ref(),
                parts: std::slice::from_ref(part),
                segment: message.segment,
            });
            match self.sender.send(&source.socket, messages) {
                Ok(count) => done += count,
                // An ICMP error about an earlier packet, or no room in the socket's buffer: it shows as loss.
                Err(error) if is_passing(&error) => done += 1,
                Err(error) => return Err(error),
            }
        }
        let turn = self.turns[self.next];
        self.sent += turn;
        self.under_way += turn;
        self.next = (self.next + 1) % self.flow.sources.len();
        Ok(())
    }

    /// What has arrived at all sinks.
    fn receive(&mut self) -> io::Result<u64> {
        let mut arrived = 0;
        if self.flow.dropped {
            let dropped = self.flow.dropped_so_far()?;
            arrived = dropped.wrapping_sub(self.dropped).into();
            self.dropped = dropped;
        }
        let read = self.flow.sinks.iter().filter(|_| !self.flow.dropped);
        for sink in read {
            loop {
                let count = match self.receiver.receive(sink) {
                    Ok(count) => count,
                    Err(error) if is_passing(&error) => break,
                    Err(error) => return Err(error),
                };
                for index in 0..count {
                    arrived += self.count(self.receiver.message(index));
                }
                if count < BATCH {
                    break;
                }
            }
        }
        self.arrived += arrived;
        self.under_way = self.under_way.saturating_sub(arrived);
        Ok(arrived)
    }

    /// Datagrams of the length that is expected.
    fn count(&self, message: Received<'_>) -> u64 {
        let whole = message.bytes.len() / message.stride;
        match message.stride == self.flow.length {
            true => whole as u64,
            false => 0,
        }
    }

    /// Waits for what is on its way.
    fn finish(&mut self) -> io::Result<()> {
        let mut last = Instant::now();
        while self.arrived < self.sent && last.elapsed() < LOST_AT_LAST {
            if self.receive()? > 0 {
                last = Instant::now();
            }
        }
        Ok(())
    }
}

/// An ICMP error about an earlier packet, or that there is nothing to read or no room to write.
pub(crate) fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::WouldBlock | ErrorKind::ConnectionRefused | ErrorKind::Interrupted
    ) || error.raw_os_error() == Some(libc::ENOBUFS)
}
