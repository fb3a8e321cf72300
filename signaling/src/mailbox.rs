//! What waits for one connection. It costs little while nothing does: most connections are idle most of the time.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::{CloseReason, Queued};

/// Frames that may wait for one connection; of the usual length, they are as many bytes as may wait.
const MAX_FRAMES: usize = 4096;
/// Bytes that may wait for one connection, beside a first frame of any length.
const MAX_BYTES: usize = 1024 * 1024;
/// Places for frames that are kept while none waits.
const KEPT: usize = 4;

#[derive(Default)]
pub(crate) struct Mailbox {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Queued>,
    bytes: usize,
    closed: Option<CloseReason>,
    waiting: Option<Waker>,
}

/// More waits than may.
pub(crate) struct Full;

impl Mailbox {
    /// Whom to wake, which is best done when no lock is held.
    pub fn push(&self, frame: Queued) -> Result<Option<Waker>, Full> {
        let mut state = self.state();
        let fits = state.queue.is_empty()
            || state.queue.len() < MAX_FRAMES
                && state.bytes.saturating_add(frame.bytes.len()) <= MAX_BYTES;
        if !fits {
            return Err(Full);
        }
        state.bytes += frame.bytes.len();
        state.queue.push_back(frame);
        Ok(state.waiting.take())
    }

    pub fn close(&self, reason: CloseReason) -> Option<Waker> {
        let mut state = self.state();
        state.closed = Some(reason);
        state.queue = VecDeque::new();
        state.waiting.take()
    }

    /// The next frame; `Err` as soon as this side has closed the connection, whatever waits.
    pub fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Result<Queued, CloseReason>> {
        let mut state = self.state();
        if let Some(reason) = state.closed {
            return Poll::Ready(Err(reason));
        }
        match state.queue.pop_front() {
            Some(frame) => {
                state.bytes = state.bytes.saturating_sub(frame.bytes.len());
                Poll::Ready(Ok(frame))
            }
            None => {
                state.queue.shrink_to(KEPT);
                state.wait(cx);
                Poll::Pending
            }
        }
    }

    pub fn poll_closed(&self, cx: &mut Context<'_>) -> Poll<CloseReason> {
        let mut state = self.state();
        match state.closed {
            Some(reason) => Poll::Ready(reason),
            None => {
                state.wait(cx);
                Poll::Pending
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn wait(&mut self, cx: &Context<'_>) {
        match &mut self.waiting {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
    }
}
