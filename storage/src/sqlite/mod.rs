//! What SQLite alone is: one file in the data directory, one thread that writes, a few connections that read.

mod connect;
mod deadline;
pub(crate) mod offline;
mod readers;
mod writer;

use std::path::Path;
use std::sync::Arc;

use tokio::sync::watch;

pub use connect::{DirectoryLock, Missing};
pub(crate) use deadline::Deadline;

use crate::sql::events::Listener;
use crate::sql::{Connection, Pace};
use crate::{SqlStore, StorageError};
use readers::Readers;
use writer::Writer;

type Result<T> = std::result::Result<T, StorageError>;

#[derive(Clone)]
pub(crate) struct Sqlite {
    writer: Writer,
    readers: Arc<Readers>,
}

impl SqlStore {
    /// Opens the database of the server that holds `lock`, makes it if need be, and brings its schema up to date.
    /// Blocks on the disk.
    pub fn open_to_serve(lock: &DirectoryLock) -> Result<Self> {
        let file = connect::database_file(lock.directory(), Missing::Create)?;
        Ok(Sqlite::over(&file, || Ok(None))?.into())
    }

    /// Opens the database in `directory`, perhaps beside a running server; the schema is brought up to date only
    /// when there is none. Blocks on the disk.
    pub fn open(directory: &Path, missing: Missing) -> Result<Self> {
        let file = connect::database_file(directory, missing)?;
        Ok(Sqlite::over(&file, || DirectoryLock::take(directory).map(Some))?.into())
    }

    /// Copies the database of `directory`, as it is at one moment, into a directory without one; nothing where there is
    /// none. Blocks on the disk.
    pub fn copy(directory: &Path, to: &Path) -> Result<()> {
        match connect::database_file(directory, Missing::Refuse) {
            Ok(_) => offline::copy(directory, &connect::database_file(to, Missing::Create)?),
            Err(StorageError::NoDatabase { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

impl Sqlite {
    fn over(file: &Path, lock: impl FnOnce() -> Result<Option<DirectoryLock>>) -> Result<Self> {
        let connection = connect::open_writer(file, lock)?;
        let readers = Readers::open(file)?;
        let writer = Writer::start(connection, readers.gate())?;
        Ok(Sqlite {
            writer,
            readers: Arc::new(readers),
        })
    }

    pub(crate) async fn read<T, F>(&self, query: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection<'_>) -> Result<T> + Send + 'static,
    {
        self.readers
            .read(|transaction| query(&Connection::Sqlite(transaction)))
            .await
    }

    pub(crate) async fn write<T, F>(&self, pace: Pace, change: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection<'_>) -> Result<T> + Send + 'static,
    {
        self.writer
            .ask(pace, |connection| change(&Connection::Sqlite(connection)))
            .await
    }

    pub(crate) fn listener(&self) -> &Listener {
        self.writer.listener()
    }

    pub(crate) async fn prove(&self) -> Result<()> {
        self.writer.prove().await
    }

    pub(crate) async fn checkpoint(&self) -> Result<()> {
        self.writer.checkpoint().await
    }

    pub(crate) fn changed_elsewhere(&self) -> watch::Receiver<u64> {
        self.writer.changed_elsewhere()
    }
}
