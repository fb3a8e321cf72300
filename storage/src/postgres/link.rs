//! Whether PostgreSQL can be reached, as those who tried have found; nobody is kept waiting for what has just failed.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::PostgresUrl;
use super::session::{Role, Session};
use crate::DatabaseError;
use crate::sql::SqlResult;

/// How long after a failure there is no other attempt.
const REST: Duration = Duration::from_millis(500);

pub(super) struct Link {
    pub(super) url: PostgresUrl,
    failed: Mutex<Option<(Instant, String)>>,
    /// Why what is there is not to be touched.
    foreign: Mutex<Option<String>>,
}

impl Link {
    pub(super) fn new(url: PostgresUrl) -> Self {
        Link {
            url,
            failed: Mutex::default(),
            foreign: Mutex::default(),
        }
    }

    fn failed(&self) -> MutexGuard<'_, Option<(Instant, String)>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn foreign(&self) -> MutexGuard<'_, Option<String>> {
        self.foreign.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asked before each use of a connection, as another version may have changed the tables while this one was away.
    pub(super) fn is_own(&self) -> SqlResult<()> {
        match &*self.foreign() {
            None => Ok(()),
            Some(why) => Err(DatabaseError::Unavailable(why.clone())),
        }
    }

    /// Told each time that it was looked whether the tables are those that this program knows.
    pub(super) fn note_foreign(&self, why: Option<String>) {
        let mut foreign = self.foreign();
        match &why {
            Some(why) if foreign.is_none() => {
                tracing::error!(%why, "the database is not to be used any more");
            }
            None if foreign.is_some() => {
                tracing::info!(database = %self.url, "the database can be used again");
            }
            _ => {}
        }
        *foreign = why;
    }

    /// Blocks for as long as an attempt takes.
    pub(super) fn open(&self, role: Role, name: &str) -> SqlResult<Session> {
        if let Some((at, why)) = &*self.failed()
            && at.elapsed() < REST
        {
            return Err(DatabaseError::Unavailable(why.clone()));
        }
        let opened = Session::open(&self.url, role, name);
        self.note(opened.as_ref().err());
        opened
    }

    /// Told of each attempt.
    pub(super) fn note(&self, error: Option<&DatabaseError>) {
        let mut failed = self.failed();
        match error {
            None => {
                if failed.take().is_some() {
                    tracing::info!(database = %self.url, "PostgreSQL can be reached again");
                }
            }
            Some(error) => {
                let why = error.to_string();
                if failed.is_none() {
                    tracing::error!(database = %self.url, %why, "PostgreSQL cannot be reached");
                }
                *failed = Some((Instant::now(), why));
            }
        }
    }
}
