//! Queries that may take only so long: those that read look now and then whether their time is over.

use std::cell::Cell;
use std::time::{Duration, Instant};

use crate::DatabaseError;

thread_local! {
    /// Of the query that this thread is at.
    static DEADLINE: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Interrupts what this thread reads once `time` is over, until it is dropped.
pub(crate) struct Deadline(Instant);

impl Deadline {
    pub(crate) fn after(time: Duration) -> Self {
        let end = Instant::now() + time;
        DEADLINE.set(Some(end));
        Deadline(end)
    }

    pub(crate) fn check(&self) -> Result<(), DatabaseError> {
        match Instant::now() < self.0 {
            true => Ok(()),
            false => Err(DatabaseError::Interrupted),
        }
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
