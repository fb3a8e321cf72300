//! The database as a file, for what needs no server and brings no schema up to date: copies, and whether it is sound.

use std::path::Path;

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, ErrorCode, OptionalExtension};

use super::Result;
use super::connect::{self, Missing, database_file, open_reader, schema};
use crate::backup::Fault;
use crate::sql;
use crate::{BlobHash, StorageError};

pub(crate) use connect::APPLICATION_ID;

/// How many names of bytes are read at once.
const AT_ONCE: i64 = 1000;
/// Faults of one kind after which no more are looked for.
const MAX_FAULTS: usize = 100;

/// Ids of events that are left out where a database is put back; more than there are between two backups, and few enough for
/// two million of them in a number of JavaScript.
const LEFT_OUT: i64 = 1 << 32;

pub(crate) fn known_schema() -> i64 {
    connect::known()
}

/// Copies the database of `directory`, as it is at one moment, into a new file.
pub(crate) fn copy(directory: &Path, to: &Path) -> Result<()> {
    let file = database_file(directory, Missing::Refuse)?;
    let from = open(&file)?;
    let mut to = Connection::open(to)?;
    // Who wants it on the disk has another file made of it.
    to.pragma_update(None, "synchronous", "OFF")?;
    let copying = Backup::new(&from, &mut to)?;
    // In one step: whoever writes meanwhile is not waited for, and would make shorter ones begin anew.
    match copying.step(-1)? {
        StepResult::Done => Ok(()),
        _ => Err(StorageError::Open {
            path: file,
            why: "another process has it for itself".to_owned(),
        }),
    }
}

/// Ours, of whichever schema.
fn open(file: &Path) -> Result<Connection> {
    let foreign = |why: String| StorageError::Open {
        path: file.to_owned(),
        why,
    };
    let connection = open_reader(file).map_err(|error| foreign(error.to_string()))?;
    let id: i32 = connection
        .query_row("PRAGMA application_id", [], |row| row.get(0))
        .map_err(|error| foreign(error.to_string()))?;
    match id == APPLICATION_ID {
        true => Ok(connection),
        false => Err(foreign("it belongs to another program".to_owned())),
    }
}

/// Leaves ids of events out, in a database that has been put back: clients may have seen some that came after it was copied,
/// and none of these may come again as another one.
pub(crate) fn leave_events_out(directory: &Path) -> Result<()> {
    let connection = Connection::open(database_file(directory, Missing::Refuse)?)?;
    // Older schemas have none.
    if connection.table_exists(None, "events")? {
        // Of no kind, for nobody.
        let insert = "INSERT INTO events (id, audience, kind, subject, by_user, created_at)
            SELECT coalesce(max(id), 0) + ?, 0, 0, 0, 0, coalesce(max(created_at), 0) FROM events";
        connection.execute(insert, [LEFT_OUT])?;
    }
    // With the WAL, of which nothing stays.
    connection.close().map_err(|(_, error)| error)?;
    Ok(())
}

/// The names of all bytes that the database in this directory names, and whether there is a thumbnail.
pub(crate) fn blobs_in(directory: &Path) -> Result<Vec<(BlobHash, bool)>> {
    blobs(&database_file(directory, Missing::Refuse)?)
}

/// As [`blobs_in`], of this file.
pub(crate) fn blobs(file: &Path) -> Result<Vec<(BlobHash, bool)>> {
    let connection = open(file)?;
    let mut all = Vec::new();
    // Older schemas have no files.
    if !connection.table_exists(None, "files")? {
        return Ok(all);
    }
    let connection = sql::Connection::Sqlite(&connection);
    loop {
        let after = all.last().map(|(hash, _)| *hash);
        let more = sql::files::needed(&connection, after, AT_ONCE)?;
        if more.is_empty() {
            return Ok(all);
        }
        all.extend(more);
    }
}

pub(crate) fn is_needed(directory: &Path, hash: BlobHash) -> Result<bool> {
    let connection = open(&database_file(directory, Missing::Refuse)?)?;
    let query = "SELECT 1 FROM files WHERE hash = ?1 UNION ALL SELECT 1 FROM users WHERE avatar_hash = ?1 LIMIT 1";
    let found = connection
        .query_row(query, [hash.0], |_| Ok(()))
        .optional()?;
    Ok(found.is_some())
}

/// How much of a database is read to see what is wrong with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Depth {
    /// Each page, but not whether indexes say what tables do.
    Pages,
    Whole,
}

/// What is wrong with the database in itself.
pub(crate) fn faults(directory: &Path, depth: Depth) -> Result<Vec<Fault>> {
    let file = database_file(directory, Missing::Refuse)?;
    let connection = open(&file)?;
    let mut faults = Vec::new();
    match find(&connection, depth, &mut faults) {
        // So much is wrong that it cannot be asked for all of it.
        Err(rusqlite::Error::SqliteFailure(error, why))
            if matches!(
                error.code,
                ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase
            ) =>
        {
            faults.push(Fault::Database(why.unwrap_or_else(|| error.to_string())));
        }
        outcome => outcome?,
    }
    Ok(faults)
}

fn find(connection: &Connection, depth: Depth, faults: &mut Vec<Fault>) -> rusqlite::Result<()> {
    let (found, known) = (schema(connection)?, known_schema());
    if found > known {
        faults.push(Fault::Schema { found, known });
    }
    let mut integrity = connection.prepare(match depth {
        Depth::Pages => "PRAGMA quick_check",
        Depth::Whole => "PRAGMA integrity_check",
    })?;
    for line in integrity.query_map([], |row| row.get::<_, String>(0))? {
        let line = line?;
        if line != "ok" {
            faults.push(Fault::Database(line));
        }
    }
    if depth == Depth::Pages {
        return Ok(());
    }
    let mut references = connection.prepare("PRAGMA foreign_key_check")?;
    let found = references.query_map([], |row| {
        Ok(Fault::Reference {
            table: row.get(0)?,
            row: row.get(1)?,
            parent: row.get(2)?,
        })
    })?;
    for fault in found.take(MAX_FAULTS) {
        faults.push(fault?);
    }
    Ok(())
}
