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
            let taken = lock(&idle).pop();
            let mut connection = taken.ok_or(StorageError::Closed)?;
            let result = connection
                .transaction()
                .map_err(StorageError::from)
                .and_then(|transaction| query(&transaction));
            lock(&idle).push(connection);
            result
        };
        tokio::task::spawn_blocking(work)
            .await
            .map_err(|_| StorageError::Closed)?
    }
}

fn lock(idle: &Mutex<Vec<Connection>>) -> std::sync::MutexGuard<'_, Vec<Connection>> {
    idle.lock().unwrap_or_else(PoisonError::into_inner)
}
