//! Letters to workers, from the relay's owner and from one worker to another. What a letter asks for is done in
//! `worker`, between two waits for its sockets.

use std::fmt;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mio::Waker;

use super::lanes::Exit;
use super::stream::Connection;
use crate::server::{AllocationInfo, Which};

/// Letters that wait for one worker; it takes all of them at each turn.
const MAX_WAITING: usize = 1024;

/// What a worker is to do.
#[derive(Debug)]
pub(super) enum Letter {
    /// Take over what has changed in [`crate::server::Common`] and in who may relay.
    Review,
    /// Say that the worker still turns.
    Answer(Sender<()>),
    /// Say which allocations there are.
    List(Sender<Vec<AllocationInfo>>),
    /// Enter what live allocations have used into the ledger of [`crate::server::Common`].
    Tally(Sender<()>),
    /// End allocations and say how many.
    Kill(Which, Sender<usize>),
    /// Serve this stream: what it asks for is about this worker's connections.
    Stream(Box<Connection>),
    /// Take what comes by this lane.
    Lane(Box<Exit>),
}

/// The letter boxes of all workers, by their index.
#[derive(Clone)]
pub(super) struct Post {
    boxes: Arc<[LetterBox]>,
}

struct LetterBox {
    waker: Waker,
    letters: Mutex<Vec<Letter>>,
}

impl Post {
    /// Each waker is that of one worker's event queue.
    pub fn new(wakers: impl IntoIterator<Item = Waker>) -> Self {
        let one = |waker| LetterBox {
            waker,
            letters: Mutex::default(),
        };
        Post {
            boxes: wakers.into_iter().map(one).collect(),
        }
    }

    /// Gives the letter back when there is no such worker, or it has not taken its mail for too long.
    pub fn send(&self, worker: usize, letter: Letter) -> Result<(), Letter> {
        let Some(to) = self.boxes.get(worker) else {
            return Err(letter);
        };
        let mut letters = to.lock();
        if letters.len() >= MAX_WAITING {
            return Err(letter);
        }
        letters.push(letter);
        drop(letters);
        to.wake();
        Ok(())
    }

    /// Has all workers review; this is never lost, and once for several that wait is enough.
    pub fn review(&self) {
        for to in &*self.boxes {
            let mut letters = to.lock();
            if !letters.iter().any(|l| matches!(l, Letter::Review)) {
                letters.push(Letter::Review);
            }
            drop(letters);
            to.wake();
        }
    }

    /// Wakes a worker, for what has entered its lanes.
    pub fn wake_one(&self, worker: usize) {
        if let Some(to) = self.boxes.get(worker) {
            to.wake();
        }
    }

    /// Wakes all workers, for what they look at by themselves.
    pub fn wake(&self) {
        self.boxes.iter().for_each(LetterBox::wake);
    }

    /// All that waits for a worker, in order.
    pub fn take(&self, worker: usize) -> Vec<Letter> {
        let own = self.boxes.get(worker);
        own.map_or_else(Vec::new, |own| std::mem::take(&mut *own.lock()))
    }
}

impl LetterBox {
    fn lock(&self) -> MutexGuard<'_, Vec<Letter>> {
        self.letters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self) {
        // It fails only when the worker's event queue is gone, and the worker with it.
        let _ = self.waker.wake();
    }
}

impl fmt::Debug for Post {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Post({})", self.boxes.len())
    }
}
