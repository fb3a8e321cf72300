//! Connections that read beside the writer, on threads that may block.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, Transaction};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::connect::open_reader;
use crate::StorageError;

const READERS: usize = 4;

pub(super) struct Readers {
    idle: Arc<Mutex<Vec<Connection>>>,
    places: Arc<Semaphore>,
}

impl Readers {
    pub(super) fn open(path: &Path) -> Result<Self, StorageError> {
        let idle = (0..READERS)
            .map(|_| open_reader(path))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Readers {
            idle: Arc::new(Mutex::new(idle)),
            places: Arc::new(Semaphore::new(READERS)),
        })
    }

    pub(super) fn gate(&self) -> Gate {
        Gate(Arc::clone(&self.places))
    }

    /// Runs `query` on one snapshot of the database.
    pub(super) async fn read<T, F>(&self, query: F) -> Result<T, StorageError>
    where
        T: Send + 'static,
        F: FnOnce(&Transaction<'_>) -> Result<T, StorageError> + Send + 'static,
    {
        let place = Arc::clone(&self.places)
            .acquire_owned()
            .await
            .map_err(|_| StorageError::Closed)?;
        let idle = Arc::clone(&self.idle);
        let work = move || {
            let _place = place;
            let connection = lock(&idle).pop();
            let mut taken = Taken { connection, idle };
            let connection = taken.connection.as_mut().ok_or(StorageError::Closed)?;
            query(&connection.transaction()?)
        };
        tokio::task::spawn_blocking(work)
            .await
            .map_err(|_| StorageError::Closed)?
    }
}

/// Through which all go who want to read.
pub(super) struct Gate(Arc<Semaphore>);

impl Gate {
    /// Waits, blocking, for those who read to be done, and lets nobody read until what it returns is dropped. `None`: they
    /// took longer than `patience`.
    pub(super) fn close(&self, patience: Duration) -> Option<OwnedSemaphorePermit> {
        // Of this thread, which is none of the program's runtime.
        let clock = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .ok()?;
        let all = u32::try_from(READERS).ok()?;
        let places = Arc::clone(&self.0).acquire_many_owned(all);
        let closed = clock.block_on(async { tokio::time::timeout(patience, places).await });
        closed.ok()?.ok()
    }
}

/// Puts the connection back, after a query that panics too.
struct Taken {
    connection: Option<Connection>,
    idle: Arc<Mutex<Vec<Connection>>>,
}

impl Drop for Taken {
    fn drop(&mut self) {
        lock(&self.idle).extend(self.connection.take());
    }
}

fn lock(idle: &Mutex<Vec<Connection>>) -> std::sync::MutexGuard<'_, Vec<Connection>> {
    idle.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn queries_that_panic_cost_no_connection() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("db");
        Connection::open(&file).unwrap();
        let readers = Readers::open(&file).unwrap();
        for _ in 0..=READERS {
            let panics = readers.read(|_| -> Result<(), _> { panic!("on purpose") });
            assert!(panics.await.is_err());
        }
        readers
            .read(|c| Ok(c.query_row("SELECT 1", [], |_| Ok(()))?))
            .await
            .unwrap();
    }
}
