//! Connections that read beside the one that writes, on threads that may block; made when they are needed.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;

use super::link::Link;
use super::session::{Role, Session};
use crate::StorageError;
use crate::sql::{Connection, SqlResult};

/// A node has no more connections than these, one that writes and one that listens.
const READERS: usize = 8;
/// How long one waits for one of them.
const WAIT: Duration = Duration::from_secs(5);

pub(super) struct Readers {
    link: Arc<Link>,
    idle: Arc<Mutex<Vec<Session>>>,
    places: Arc<Semaphore>,
}

impl Readers {
    pub(super) fn new(link: Arc<Link>) -> Self {
        Readers {
            link,
            idle: Arc::default(),
            places: Arc::new(Semaphore::new(READERS)),
        }
    }

    /// Runs `query` on one snapshot of the database.
    pub(super) async fn read<T, F>(&self, query: F) -> Result<T, StorageError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection<'_>) -> Result<T, StorageError> + Send + 'static,
    {
        let place = timeout(WAIT, Arc::clone(&self.places).acquire_owned()).await;
        let busy = |_| StorageError::Unavailable("all connections are busy".to_owned());
        let place = place.map_err(busy)?.map_err(|_| StorageError::Closed)?;
        let (idle, link) = (Arc::clone(&self.idle), Arc::clone(&self.link));
        let (answer, answered) = oneshot::channel();
        tokio::task::spawn_blocking(move || {
            let _place = place;
            // The asking side may have gone away; then nobody reads the answer.
            match take(&idle, &link) {
                Ok(session) => {
                    session.begin_to_read();
                    let _ = answer.send(query(&Connection::Postgres(&session)));
                    // For which nobody waits but the next one.
                    if session.end_of_reading() {
                        lock(&idle).push(session);
                    }
                }
                Err(error) => {
                    let _ = answer.send(Err(error.into()));
                }
            }
        });
        answered.await.map_err(|_| StorageError::Closed)?
    }
}

fn take(idle: &Mutex<Vec<Session>>, link: &Link) -> SqlResult<Session> {
    link.is_own()?;
    loop {
        let Some(session) = lock(idle).pop() else {
            return link.open(Role::Read, "");
        };
        if session.is_alive() {
            return Ok(session);
        }
    }
}

fn lock(idle: &Mutex<Vec<Session>>) -> std::sync::MutexGuard<'_, Vec<Session>> {
    idle.lock().unwrap_or_else(PoisonError::into_inner)
}
