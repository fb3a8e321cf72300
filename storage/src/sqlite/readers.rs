//! Connections that read beside the writer, on threads that may block.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, Transaction};
use tokio::sync::Semaphore;

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
