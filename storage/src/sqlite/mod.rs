//! SQLite behind [`Store`]: which method reads, which writes. The SQL itself stands in the files beside.

mod audit;
mod bots;
mod connect;
mod credentials;
mod deadline;
mod directory;
mod events;
mod files;
mod hooks;
mod import;
mod invitations;
mod messages;
mod moderation;
pub(crate) mod offline;
mod overview;
mod pins;
mod push;
mod readers;
mod relay;
mod rooms;
mod search;
mod sign_ins;
mod users;
mod writer;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::watch;

pub use connect::{DirectoryLock, Missing};

use crate::{StorageError, Store};
use readers::Readers;
use writer::Writer;

type Result<T> = std::result::Result<T, StorageError>;

/// One file in the data directory, one writing thread, a few readers.
pub struct SqliteStore {
    writer: Writer,
    readers: Arc<Readers>,
    unread: messages::Counts,
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore").finish_non_exhaustive()
    }
}

impl SqliteStore {
    /// Opens the database of the server that holds `lock`, makes it if need be, and brings its schema up to date.
    /// Blocks on the disk.
    pub fn open_to_serve(lock: &DirectoryLock) -> Result<Self> {
        let file = connect::database_file(lock.directory(), Missing::Create)?;
        Self::over(&file, || Ok(None))
    }

    /// Opens the database in `directory`, perhaps beside a running server; the schema is brought up to date only
    /// when there is none. Blocks on the disk.
    pub fn open(directory: &Path, missing: Missing) -> Result<Self> {
        let file = connect::database_file(directory, missing)?;
        Self::over(&file, || DirectoryLock::take(directory).map(Some))
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

    fn over(file: &Path, lock: impl FnOnce() -> Result<Option<DirectoryLock>>) -> Result<Self> {
        let connection = connect::open_writer(file, lock)?;
        let readers = Readers::open(file)?;
        let writer = Writer::start(connection, readers.gate())?;
        Ok(SqliteStore {
            writer,
            readers: Arc::new(readers),
            unread: messages::Counts::default(),
        })
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn secret(&self, name: &'static str, fresh: String) -> Result<String> {
        self.writer
            .write(move |c| users::secret(c, name, &fresh))
            .await
    }

    async fn ready(&self) -> Result<()> {
        self.readers
            .read(|c| {
                Ok(c.query_row("SELECT 1 FROM secrets LIMIT 1", [], |_| Ok(()))
                    .or_else(none_is_fine)?)
            })
            .await?;
        self.writer.prove().await
    }

    async fn size(&self) -> Result<i64> {
        self.readers
            .read(|c| {
                let pages =
                    "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()";
                Ok(c.query_row(pages, [], |row| row.get(0))?)
            })
            .await
    }

    async fn settle(&self) -> Result<()> {
        self.writer.checkpoint().await
    }

    fn changed_elsewhere(&self) -> watch::Receiver<u64> {
        self.writer.changed_elsewhere()
    }
}

fn none_is_fine(error: rusqlite::Error) -> rusqlite::Result<()> {
    match error {
        rusqlite::Error::QueryReturnedNoRows => Ok(()),
        error => Err(error),
    }
}

/// A change that must have hit its row.
fn found(rows: usize) -> Result<()> {
    if rows == 0 {
        Err(StorageError::NotFound)
    } else {
        Ok(())
    }
}
