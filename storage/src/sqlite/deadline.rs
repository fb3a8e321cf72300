//! Queries that may take only so long: those that read look now and then whether their time is over.

use std::cell::Cell;
use std::time::{Duration, Instant};

thread_local! {
    /// Of the query that this thread is at.
    static DEADLINE: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Interrupts what this thread reads once `time` is over, until it is dropped.
pub(super) struct Deadline(Instant);

impl Deadline {
    pub(super) fn after(time: Duration) -> Self {
        let end = Instant::now() + time;
        DEADLINE.set(Some(end));
        Deadline(end)
    }

    /// As SQLite itself ends what takes too long.
    pub(super) fn check(&self) -> rusqlite::Result<()> {
        if Instant::now() < self.0 {
            return Ok(());
        }
        let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_INTERRUPT);
        Err(rusqlite::Error::SqliteFailure(code, None))
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        DEADLINE.set(None);
    }
}

/// For SQLite, which asks now and then.
pub(super) fn has_passed() -> bool {
    DEADLINE.get().is_some_and(|end| Instant::now() >= end)
}
