//! Opening: the data directory and its lock, the file and its mode, connections, migrations.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::functions::FunctionFlags;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::deadline;
use crate::StorageError;
use crate::sql::fold;

const DATABASE: &str = "moznods.db";
const LOCK: &str = "serve.lock";
/// How long a statement waits for another process's transaction.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Bytes that the WAL keeps of the disk once all of it is in the database.
const WAL_KEPT: i64 = 8 * 1024 * 1024;

/// Steps of SQLite after which it is looked whether a reader's time is over.
const PROGRESS: i32 = 1000;

/// Says in the file itself whose it is: "MOzD".
pub(crate) const APPLICATION_ID: i32 = 0x4D4F_7A44;

/// In order; a database's `user_version` is how many of them it has seen.
const MIGRATIONS: &[&str] = &[
    include_str!("migrations/0001_initial.sql"),
    include_str!("migrations/0002_joined_after.sql"),
    include_str!("migrations/0003_relay_secrets.sql"),
    include_str!("migrations/0004_user_epoch.sql"),
    include_str!("migrations/0005_relay_usage.sql"),
    include_str!("migrations/0006_relay_secret_quota.sql"),
    include_str!("migrations/0007_relay_devices.sql"),
    include_str!("migrations/0008_accounts.sql"),
    include_str!("migrations/0009_rooms.sql"),
    include_str!("migrations/0010_messages.sql"),
    include_str!("migrations/0011_files.sql"),
    include_str!("migrations/0012_events.sql"),
    include_str!("migrations/0013_push_bots_audit.sql"),
    include_str!("migrations/0014_search.sql"),
    include_str!("migrations/0015_audit.sql"),
    include_str!("migrations/0016_bots_hooks_pins.sql"),
    include_str!("migrations/0017_messages_gone.sql"),
    include_str!("migrations/0018_imported.sql"),
    include_str!("migrations/0019_expected_blobs.sql"),
];

/// What to do when the data directory or the database is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    Create,
    Refuse,
}

/// Held by the one process that serves from a data directory; others may still open the database.
#[derive(Debug)]
pub struct DirectoryLock {
    directory: PathBuf,
    _file: File,
}

impl DirectoryLock {
    pub(crate) const FILE: &str = LOCK;

    /// Makes the directory (mode 0700) if need be. The lock ends with the value, and with the process.
    pub fn take(directory: &Path) -> Result<Self, StorageError> {
        create_directory(directory)?;
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(directory.join(LOCK))
            .map_err(|error| unusable(directory, &error))?;
        match file.try_lock() {
            Ok(()) => Ok(DirectoryLock {
                directory: directory.to_owned(),
                _file: file,
            }),
            Err(TryLockError::WouldBlock) => Err(StorageError::Locked {
                path: directory.to_owned(),
            }),
            Err(TryLockError::Error(error)) => Err(unusable(directory, &error)),
        }
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }
}

fn create_directory(directory: &Path) -> Result<(), StorageError> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(|error| unusable(directory, &error))
}

fn unusable(directory: &Path, error: &std::io::Error) -> StorageError {
    StorageError::Directory {
        path: directory.to_owned(),
        why: error.to_string(),
    }
}

/// The file of the database in `directory`, made (mode 0600, its WAL inherits that) if allowed.
pub(super) fn database_file(directory: &Path, missing: Missing) -> Result<PathBuf, StorageError> {
    let path = directory.join(DATABASE);
    match missing {
        Missing::Refuse if !path.exists() => Err(StorageError::NoDatabase { path }),
        Missing::Refuse => Ok(path),
        Missing::Create => {
            create_directory(directory)?;
            OpenOptions::new()
                .create(true)
                .truncate(false)
                .write(true)
                .mode(0o600)
                .open(&path)
                .map_err(|error| unusable(directory, &error))?;
            Ok(path)
        }
    }
}

/// The writer's connection, with the schema brought up to date; whoever changes the schema holds what `lock` yields
/// meanwhile.
pub(super) fn open_writer(
    path: &Path,
    lock: impl FnOnce() -> Result<Option<DirectoryLock>, StorageError>,
) -> Result<Connection, StorageError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let foreign = |error: rusqlite::Error| StorageError::Open {
        path: path.to_owned(),
        why: error.to_string(),
    };
    let mut connection = Connection::open_with_flags(path, flags).map_err(foreign)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    // Before anything is written to what may be another program's.
    if !is_ours(&connection).map_err(foreign)? {
        return Err(StorageError::Open {
            path: path.to_owned(),
            why: "it belongs to another program".to_owned(),
        });
    }
    connection
        .pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))
        .map_err(foreign)?;
    // NORMAL may lose the last commits at power loss.
    connection.pragma_update(None, "synchronous", "FULL")?;
    // What a burst has made of the WAL is given back as soon as it begins anew.
    connection.pragma_update_and_check(None, "journal_size_limit", WAL_KEPT, |_| Ok(()))?;
    connection.pragma_update(None, "foreign_keys", true)?;
    keep_statements(&connection)?;
    migrate(&mut connection, path, lock)?;
    Ok(connection)
}

/// An empty one becomes ours.
fn is_ours(connection: &Connection) -> rusqlite::Result<bool> {
    let id: i32 = connection.query_row("PRAGMA application_id", [], |row| row.get(0))?;
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    Ok(id == APPLICATION_ID || id == 0 && tables == 0)
}

/// A statement is parsed and planned once. Without the guarantee it is anew for each value bound to it, as soon as a table of
/// it has a partial index.
fn keep_statements(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_prepared_statement_cache_capacity(256);
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(())
}

pub(super) fn open_reader(path: &Path) -> Result<Connection, StorageError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    keep_statements(&connection)?;
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    connection.progress_handler(PROGRESS, Some(deadline::has_passed))?;
    // SQLite's own knows the case of English letters alone.
    connection.create_scalar_function("fold", 1, flags, |context| {
        Ok(fold(context.get_raw(0).as_str()?))
    })?;
    Ok(connection)
}

fn migrate(
    connection: &mut Connection,
    path: &Path,
    lock: impl FnOnce() -> Result<Option<DirectoryLock>, StorageError>,
) -> Result<(), StorageError> {
    let known = known();
    let found = schema(connection)?;
    let path = path.to_owned();
    if found > known {
        return Err(StorageError::NewerSchema { path, found, known });
    }
    if found == known {
        return Ok(());
    }
    let _lock = lock().map_err(|error| match error {
        StorageError::Locked { .. } => StorageError::OlderSchema { path, found, known },
        error => error,
    })?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Another one may have been quicker.
    let found = schema(&transaction)?;
    for sql in MIGRATIONS
        .iter()
        .skip(usize::try_from(found).unwrap_or(usize::MAX))
    {
        transaction.execute_batch(sql)?;
    }
    transaction.pragma_update(None, "user_version", known)?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.commit()?;
    Ok(())
}

/// The schema of this version.
pub(super) fn known() -> i64 {
    i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX)
}

/// Writes what is there already, the number of the schema: a page that goes to the disk as every change does.
pub(super) fn write_something(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "user_version", schema(connection)?)
}

pub(super) fn schema(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_waits_for_the_disk() {
        let directory = tempfile::tempdir().unwrap();
        let file = database_file(directory.path(), Missing::Create).unwrap();
        let connection = open_writer(&file, || Ok(None)).unwrap();
        let full: i64 = connection
            .query_row("PRAGMA synchronous", [], |row| row.get(0))
            .unwrap();
        assert_eq!(full, 2, "FULL");
    }
}
