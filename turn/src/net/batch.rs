//! What one turn of a worker reads and sends: datagrams lie where the kernel has put them until they are sent on, each
//! behind a header of its own, and those of one socket go by one call. What is to be sent is left to `worker`.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::os::fd::AsRawFd;

use super::mmsg::{self, MESSAGES, Received, SEGMENTS, Sending};
use super::sys;
use crate::server::{AllocationId, HEADROOM};

/// Bytes of the largest datagram, or of several of one sender that the kernel hands over as one.
const DATAGRAM: usize = 65_536;
/// From one to the next: not a power of two, or all would begin in the same set of a cache.
const STRIDE: usize = HEADROOM + DATAGRAM + 144;
/// Datagrams, or several of one sender, that one turn reads before it sends them on.
const SLOTS: usize = 256;
/// Bytes after which it reads no more before that.
const ENOUGH: usize = 1 << 20;
/// The least that is asked for at once.
const LEAST: usize = 4;
/// Datagrams that wait to be sent.
const MAX_ENTRIES: usize = 1024;
/// Bytes of those that are copied because what they came in does not stay.
const MAX_COPIED: usize = 256 << 10;
/// Tries to send one message, where errors about earlier ones are in its way.
pub(super) const ATTEMPTS: usize = 3;
pub(super) const ZEROS: [u8; 3] = [0; 3];

/// What was read and not yet sent on.
pub(super) struct Inbox {
    bytes: Box<[u8]>,
    trains: Vec<Received>,
    /// Bytes of them.
    held: usize,
}

impl Inbox {
    pub fn new() -> Self {
        Inbox {
            bytes: vec![0; SLOTS * STRIDE].into_boxed_slice(),
            trains: Vec::with_capacity(SLOTS),
            held: 0,
        }
    }

    /// Reads from a socket: which trains are new, and whether there may be more. `ask` is how many to ask for; it adapts
    /// itself to what comes. There must be room for [`LEAST`](Inbox::is_full).
    pub fn receive(
        &mut self,
        socket: &impl AsRawFd,
        ask: &mut Ask,
    ) -> io::Result<(Range<usize>, bool)> {
        let begin = self.trains.len();
        let asked = usize::from(ask.0).clamp(LEAST, (SLOTS - begin).min(MESSAGES));
        let free = self.bytes.get_mut(begin * STRIDE..).unwrap_or_default();
        let buffers = free.chunks_exact_mut(STRIDE).take(asked);
        let datagrams = buffers.filter_map(|buffer| buffer.get_mut(HEADROOM..HEADROOM + DATAGRAM));
        let (trains, held) = (&mut self.trains, &mut self.held);
        let count = mmsg::receive(socket, datagrams, |received| {
            *held += received.len;
            trains.push(received);
        })?;
        ask.0 = (2 * count).min(MESSAGES) as u8;
        Ok((begin..begin + count, count == asked))
    }

    /// Whether what is there must be sent on before more is read.
    pub fn is_full(&self) -> bool {
        self.trains.len() + LEAST > SLOTS || self.held >= ENOUGH
    }

    /// Forgets all that was read: nothing that waits may lie there.
    pub fn clear(&mut self) {
        self.trains.clear();
        self.held = 0;
    }

    pub fn train(&self, index: usize) -> Option<Received> {
        self.trains.get(index).copied()
    }

    pub fn bytes(&self, piece: Piece) -> &[u8] {
        self.bytes.get(piece.range()).unwrap_or_default()
    }

    /// Writes a header where nothing lies before the piece that is needed any more, and has it begin there; `None`: the
    /// room is too small.
    pub fn prepend(&mut self, piece: Piece, header: &[u8]) -> Option<Piece> {
        if header.len() > usize::from(piece.room) {
            return None;
        }
        let len = header.len() as u32;
        let longer = Piece {
            begin: piece.begin.checked_sub(len)?,
            len: piece.len + len,
            room: piece.room - len as u16,
            ..piece
        };
        let bytes = self.bytes.get_mut(longer.range())?;
        bytes.get_mut(..header.len())?.copy_from_slice(header);
        Some(longer)
    }
}

/// How many datagrams to ask a socket for: twice as many as there were.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Ask(u8);

/// Bytes of what was read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Piece {
    train: u8,
    /// Bytes before it that a header may be written over.
    room: u16,
    /// Within what belongs to the train.
    begin: u32,
    len: u32,
}

impl Piece {
    /// One datagram of a train.
    pub fn new(train: usize, begin: usize, len: usize) -> Self {
        Piece {
            train: train as u8,
            room: if begin == 0 { HEADROOM as u16 } else { 0 },
            begin: (HEADROOM + begin) as u32,
            len: len as u32,
        }
    }

    /// A part of it; what comes before that is needed no more.
    pub fn part(self, range: &Range<usize>) -> Self {
        let begin = (range.start as u32).min(self.len);
        Piece {
            room: self.room.saturating_add(begin as u16),
            begin: self.begin + begin,
            len: (range.len() as u32).min(self.len - begin),
            ..self
        }
    }

    fn range(self) -> Range<usize> {
        let begin = usize::from(self.train) * STRIDE + self.begin as usize;
        begin..begin + self.len as usize
    }
}

/// Where a datagram's payload lies.
#[derive(Debug, Clone, Copy)]
pub(super) enum Payload<'a> {
    Read(Piece),
    /// Does not stay there until it is sent.
    Passing(&'a [u8]),
}

impl<'a> Payload<'a> {
    pub fn part(self, range: &Range<usize>) -> Self {
        match self {
            Payload::Read(piece) => Payload::Read(piece.part(range)),
            Payload::Passing(bytes) => {
                Payload::Passing(bytes.get(range.clone()).unwrap_or_default())
            }
        }
    }

    pub fn len(self) -> usize {
        match self {
            Payload::Read(piece) => piece.len as usize,
            Payload::Passing(bytes) => bytes.len(),
        }
    }

    pub fn bytes<'b>(self, inbox: &'b Inbox) -> &'b [u8]
    where
        'a: 'b,
    {
        match self {
            Payload::Read(piece) => inbox.bytes(piece),
            Payload::Passing(bytes) => bytes,
        }
    }
}

/// What is to be sent.
pub(super) struct Datagram<'a> {
    pub to: SocketAddr,
    /// The address of this machine to send it from, where it has several.
    pub from: Option<IpAddr>,
    /// Bytes of [`Outbox::head`] that go before the payload.
    pub header: usize,
    pub payload: Payload<'a>,
    /// Zeros that go behind it.
    pub padding: usize,
}

/// Where datagrams wait to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// To the client of this allocation.
    Client(AllocationId),
    /// To peers, by the socket of this allocation.
    Relay {
        allocation: AllocationId,
        ipv4: bool,
    },
}

/// What waits to go one way, in order: the first and the last of [`Outbox::entries`], counted from 1.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Queue {
    first: u16,
    last: u16,
}

/// One datagram that waits.
struct Entry {
    to: SocketAddr,
    from: Option<IpAddr>,
    /// Bytes at the end of its head.
    header: u8,
    padding: u8,
    payload: Kept,
    next: u16,
}

#[derive(Clone, Copy)]
enum Kept {
    Read(Piece),
    Copied { begin: u32, len: u32 },
}

/// Several datagrams that leave as one.
#[derive(Clone, Copy)]
struct Train {
    first: u16,
    count: u16,
    segment: usize,
}

/// What waits to be sent.
pub(super) struct Outbox {
    entries: Vec<Entry>,
    heads: Box<[[u8; HEADROOM]]>,
    copied: Vec<u8>,
    ways: Vec<Way>,
    /// Of the queue that is being sent.
    trains: Vec<Train>,
    /// Bytes of the largest segment that several may be sent of as one: less than what some path's MTU takes.
    largest_segment: usize,
}

impl Outbox {
    pub fn new() -> Self {
        Outbox {
            entries: Vec::with_capacity(MAX_ENTRIES),
            heads: vec![[0; HEADROOM]; MAX_ENTRIES].into_boxed_slice(),
            copied: Vec::with_capacity(MAX_COPIED),
            ways: Vec::with_capacity(MAX_ENTRIES),
            trains: Vec::with_capacity(MESSAGES),
            largest_segment: DATAGRAM,
        }
    }

    /// Whether this many bytes more, in one datagram, find no room.
    pub fn is_full(&self, bytes: usize) -> bool {
        self.entries.len() >= MAX_ENTRIES || self.copied.len() + bytes > MAX_COPIED
    }

    /// Where the header of the next datagram is to be written, at the end.
    pub fn head(&mut self) -> Option<&mut [u8; HEADROOM]> {
        self.heads.get_mut(self.entries.len())
    }

    /// The last so many bytes of it.
    pub fn header(&self, len: usize) -> &[u8] {
        let head = self.heads.get(self.entries.len());
        let header = head.and_then(|head| head.get(HEADROOM.checked_sub(len)?..));
        header.unwrap_or_default()
    }

    /// Queues a datagram behind the others of its way, with so many bytes of [`Outbox::head`] before it.
    pub fn push(&mut self, way: Way, queue: &mut Queue, datagram: Datagram<'_>) {
        let payload = match datagram.payload {
            Payload::Read(piece) => Kept::Read(piece),
            Payload::Passing(bytes) => {
                let begin = self.copied.len() as u32;
                self.copied.extend_from_slice(bytes);
                let len = bytes.len() as u32;
                Kept::Copied { begin, len }
            }
        };
        self.entries.push(Entry {
            to: datagram.to,
            from: datagram.from,
            header: datagram.header as u8,
            padding: datagram.padding as u8,
            payload,
            next: 0,
        });
        let number = self.entries.len() as u16;
        match usize::from(queue.last).checked_sub(1) {
            Some(last) => {
                if let Some(last) = self.entries.get_mut(last) {
                    last.next = number;
                }
            }
            None => {
                queue.first = number;
                self.ways.push(way);
            }
        }
        queue.last = number;
    }

    /// The ways that something waits for, each once, in the order of their first.
    pub fn way(&self, index: usize) -> Option<Way> {
        self.ways.get(index).copied()
    }

    /// Puts what one queue holds behind another.
    pub fn append(&mut self, queue: &mut Queue, more: &mut Queue) {
        let more = std::mem::take(more);
        if more.first == 0 {
            return;
        }
        match usize::from(queue.last).checked_sub(1) {
            Some(last) => {
                if let Some(last) = self.entries.get_mut(last) {
                    last.next = more.first;
                }
            }
            None => queue.first = more.first,
        }
        queue.last = more.last;
    }

    /// Sends all that a queue holds, and empties it; returns how many datagrams were lost.
    pub fn send(&mut self, inbox: &Inbox, socket: &impl AsRawFd, queue: &mut Queue) -> usize {
        let mut lost = 0;
        let mut number = std::mem::take(queue).first;
        while number != 0 {
            let mut trains = std::mem::take(&mut self.trains);
            let mut sending = Sending::new();
            while number != 0 && sending.has_room() {
                let train;
                (train, number) = self.couple(inbox, number, &mut sending);
                trains.push(train);
            }
            let mut largest = self.largest_segment;
            let mut first = 0;
            let mut attempts = 0;
            while first < sending.len() {
                let train = trains.get(first).copied();
                let Some(train) = train else { break };
                let error = match sending.send(socket, first) {
                    Ok(count) => {
                        first += count;
                        attempts = 0;
                        continue;
                    }
                    Err(error) => error,
                };
                attempts += 1;
                if error.kind() == io::ErrorKind::WouldBlock {
                    let rest = trains.get(first..).unwrap_or_default();
                    lost += rest.iter().map(|t| usize::from(t.count)).sum::<usize>();
                    break;
                } else if train.count > 1 && is_of_segments(&error) {
                    let failed = self.send_singly(inbox, socket, train);
                    lost += failed;
                    // Otherwise it was not for leaving together.
                    if failed < usize::from(train.count) {
                        largest = largest.min(train.segment - 1);
                    }
                } else if sys::is_of_icmp(&error) && attempts < ATTEMPTS {
                    continue;
                } else {
                    lost += usize::from(train.count);
                }
                first += 1;
                attempts = 0;
            }
            self.largest_segment = largest;
            trains.clear();
            self.trains = trains;
        }
        lost
    }

    /// Has larger segments tried again: what was in their way may be gone, and was on one path of many.
    pub fn retry_segments(&mut self) {
        self.largest_segment = DATAGRAM;
    }

    /// To be called once all queues are sent, or what is left of them is forgotten: they hold numbers of what is cleared.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.copied.clear();
        self.ways.clear();
    }

    /// Makes one message of the entry and those behind it that may go with it; returns them, and the next.
    fn couple<'b>(
        &'b self,
        inbox: &'b Inbox,
        number: u16,
        sending: &mut Sending<'b>,
    ) -> (Train, u16) {
        let mut train = Train {
            first: number,
            count: 0,
            segment: 0,
        };
        let Some(leader) = self.entry(number) else {
            return (train, 0);
        };
        let mut next = number;
        let mut total = 0;
        let largest = largest(leader.to);
        while let Some(entry) = self.entry(next) {
            let len = entry.len();
            if train.count == 0 {
                train.segment = len;
            } else if len > train.segment
                || len == 0
                || total + len > largest
                || usize::from(train.count) == SEGMENTS
                || train.segment > self.largest_segment
                || entry.to != leader.to
                || entry.from != leader.from
            {
                break;
            }
            self.add_pieces(inbox, next, entry, sending);
            train.count += 1;
            total += len;
            next = entry.next;
            // Only the last may be shorter.
            if len < train.segment {
                break;
            }
        }
        let segment = (train.count > 1).then_some(train.segment as u16);
        sending.message(leader.to, leader.from, segment);
        (train, next)
    }

    /// Sends the datagrams of a train one by one, where they cannot leave as one; returns how many were lost.
    fn send_singly(&self, inbox: &Inbox, socket: &impl AsRawFd, train: Train) -> usize {
        let mut lost = 0;
        let mut number = train.first;
        for _ in 0..train.count {
            let Some(entry) = self.entry(number) else {
                break;
            };
            let mut sending = Sending::new();
            self.add_pieces(inbox, number, entry, &mut sending);
            sending.message(entry.to, entry.from, None);
            // An error about an earlier one may be in its way.
            let sent = (0..ATTEMPTS).any(|_| sending.send(socket, 0).is_ok());
            lost += usize::from(!sent);
            number = entry.next;
        }
        lost
    }

    fn entry(&self, number: u16) -> Option<&Entry> {
        self.entries.get(usize::from(number).checked_sub(1)?)
    }

    fn add_pieces<'b>(
        &'b self,
        inbox: &'b Inbox,
        number: u16,
        entry: &Entry,
        sending: &mut Sending<'b>,
    ) {
        let head = self.heads.get(usize::from(number).wrapping_sub(1));
        let header = head.and_then(|head| head.get(HEADROOM - usize::from(entry.header)..));
        sending.piece(header.unwrap_or_default());
        sending.piece(match entry.payload {
            Kept::Read(piece) => inbox.bytes(piece),
            Kept::Copied { begin, len } => {
                let begin = begin as usize;
                let range = begin..begin + len as usize;
                self.copied.get(range).unwrap_or_default()
            }
        });
        let padding = ZEROS.get(..entry.padding.into());
        sending.piece(padding.unwrap_or_default());
    }
}

impl Entry {
    fn len(&self) -> usize {
        let payload = match self.payload {
            Kept::Read(piece) => piece.len,
            Kept::Copied { len, .. } => len,
        };
        usize::from(self.header) + payload as usize + usize::from(self.padding)
    }
}

/// Bytes of the largest payload of UDP over IPv4 or IPv6.
pub(super) fn largest(to: SocketAddr) -> usize {
    if to.is_ipv4() { 65_507 } else { 65_527 }
}

/// Whether it may be that datagrams cannot leave as one here: their segments are larger than the MTU, or the device
/// cannot do it.
fn is_of_segments(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EINVAL | libc::EMSGSIZE | libc::EIO | libc::EOPNOTSUPP)
    )
}

/// Sends one datagram now.
pub(super) fn send_now(
    socket: &impl AsRawFd,
    to: SocketAddr,
    from: Option<IpAddr>,
    bytes: &[u8],
) -> io::Result<()> {
    let mut sending = Sending::new();
    sending.piece(bytes);
    sending.message(to, from, None);
    sending.send(socket, 0).map(drop)
}
