//! Packets from one worker to another, without a lock: two that have something to pass have a lane for each direction,
//! made when the first packet needs it. What a packet asks for is done in `worker`; that the other one is woken, by `mail`.

use std::fmt;
use std::net::SocketAddr;

use rtrb::{Consumer, Producer, RingBuffer};

use super::mail::{Letter, Post};
use crate::server::FiveTuple;

/// Packets that wait in one lane; more are lost, as in a socket's buffer.
const PACKETS: usize = 1024;
/// Bytes of them.
const BYTES: usize = 512 << 10;

/// What one worker passes to another for its clients.
#[derive(Debug, Clone, Copy)]
pub(super) enum Packet {
    /// See [`Verdict::ToRelay`](crate::server::Verdict::ToRelay).
    Relayed { from: SocketAddr, to: SocketAddr },
    /// See [`Verdict::Forward`](crate::server::Verdict::Forward).
    OfClient { tuple: FiveTuple },
}

/// A packet, and the length of what belongs to it in the other ring.
type Head = (Packet, usize);

/// The end of a lane where packets enter.
struct Entry {
    heads: Producer<Head>,
    bytes: Producer<u8>,
    /// Whether something has entered of which the other worker has not been told.
    untold: bool,
    /// Whether it has been told in the middle of this turn.
    hurried: bool,
}

/// The end where they leave.
pub(super) struct Exit {
    heads: Consumer<Head>,
    bytes: Consumer<u8>,
    /// For packets that lie around the ring's end.
    joined: Vec<u8>,
}

fn lane() -> (Entry, Exit) {
    let (heads, heads_out) = RingBuffer::new(PACKETS);
    let (bytes, bytes_out) = RingBuffer::new(BYTES);
    let entry = Entry {
        heads,
        bytes,
        untold: false,
        hurried: false,
    };
    let exit = Exit {
        heads: heads_out,
        bytes: bytes_out,
        joined: Vec::new(),
    };
    (entry, exit)
}

impl Entry {
    /// False when there is no room.
    fn push(&mut self, packet: Packet, payload: &[u8]) -> bool {
        if self.heads.is_full() {
            return false;
        }
        if self.bytes.push_entire_slice(payload).is_err() {
            return false;
        }
        // The head last: who sees it finds its bytes.
        let pushed = self.heads.push((packet, payload.len())).is_ok();
        self.untold |= pushed;
        pushed
    }

    fn is_half_full(&self) -> bool {
        self.heads.slots() < PACKETS / 2 || self.bytes.slots() < BYTES / 2
    }
}

impl Exit {
    /// How many packets there are by now.
    pub fn len(&self) -> usize {
        self.heads.slots()
    }

    /// Takes the next packet, if there is one.
    pub fn take(&mut self, handle: impl FnOnce(Packet, &[u8])) {
        let Ok((packet, len)) = self.heads.pop() else {
            return;
        };
        let Ok(chunk) = self.bytes.read_chunk(len) else {
            return;
        };
        match chunk.as_slices() {
            (bytes, []) => handle(packet, bytes),
            (begin, end) => {
                self.joined.clear();
                self.joined.extend_from_slice(begin);
                self.joined.extend_from_slice(end);
                handle(packet, &self.joined);
            }
        }
        chunk.commit_all();
    }
}

impl fmt::Debug for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Exit({})", self.len())
    }
}

/// The lanes of one worker.
#[derive(Default)]
pub(super) struct Lanes {
    /// By index of the worker to whom they lead.
    entries: Vec<Option<Entry>>,
    /// In no order.
    pub exits: Vec<Exit>,
}

impl Lanes {
    /// Passes a packet on; false when there is no such worker, or too much waits for it.
    pub fn pass(&mut self, post: &Post, worker: usize, packet: Packet, payload: &[u8]) -> bool {
        if self.entries.len() <= worker {
            self.entries.resize_with(worker + 1, || None);
        }
        let Some(place) = self.entries.get_mut(worker) else {
            return false;
        };
        if place.is_none() {
            let (entry, exit) = lane();
            if post.send(worker, Letter::Lane(Box::new(exit))).is_err() {
                return false;
            }
            *place = Some(entry);
        }
        let Some(entry) = place else { return false };
        let passed = entry.push(packet, payload);
        // Early enough that it makes room while this turn goes on.
        if !entry.hurried && entry.is_half_full() {
            entry.hurried = true;
            post.wake_one(worker);
        }
        passed
    }

    /// Tells other workers, at the end of a turn, what has been passed to them in it.
    pub fn tell(&mut self, post: &Post) {
        for (worker, entry) in self.entries.iter_mut().enumerate() {
            if let Some(entry) = entry {
                entry.hurried = false;
                if std::mem::take(&mut entry.untold) {
                    post.wake_one(worker);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(id: usize) -> Packet {
        let from = SocketAddr::from(([127, 0, 0, 1], id as u16));
        Packet::Relayed { from, to: from }
    }

    fn payload(id: usize) -> Vec<u8> {
        vec![id as u8; 1 + id * 7919 % 1500]
    }

    fn take(exit: &mut Exit) -> (u16, Vec<u8>) {
        let mut taken = None;
        exit.take(|packet, bytes| {
            let Packet::Relayed { from, .. } = packet else {
                panic!("another")
            };
            taken = Some((from.port(), bytes.to_vec()));
        });
        taken.unwrap()
    }

    #[test]
    fn packets_leave_as_they_entered_also_around_the_end_of_the_ring() {
        let (mut entry, mut exit) = lane();
        for id in 0..20_000 {
            assert!(entry.push(packet(id), &payload(id)));
            if id >= 100 {
                let id = id - 100;
                assert_eq!(take(&mut exit), (id as u16, payload(id)));
            }
        }
        assert_eq!(exit.len(), 100);
    }

    #[test]
    fn a_full_lane_takes_nothing_in_part() {
        for size in [1, 1200, 60_000] {
            let (mut entry, mut exit) = lane();
            let mut passed = 0;
            while entry.push(packet(passed), &vec![passed as u8; size]) {
                passed += 1;
            }
            assert_eq!(passed, PACKETS.min(BYTES / size));
            assert!(entry.is_half_full());
            assert_eq!(exit.len(), passed);
            for id in 0..passed {
                assert_eq!(take(&mut exit), (id as u16, vec![id as u8; size]));
            }
            assert!(entry.push(packet(0), &vec![0; size]));
        }
    }

    #[test]
    fn another_thread_sees_each_packet_whole() {
        let (mut entry, mut exit) = lane();
        let reader = std::thread::spawn(move || {
            let mut next = 0;
            while next < 50_000 {
                for _ in 0..exit.len() {
                    assert_eq!(take(&mut exit), (next as u16, payload(next)));
                    next += 1;
                }
            }
        });
        for id in 0..50_000 {
            while !entry.push(packet(id), &payload(id)) {
                assert!(!reader.is_finished());
                std::thread::yield_now();
            }
        }
        reader.join().unwrap();
    }
}
