//! The database of the old Django program, read from a copy: it may be in use, and nobody has to wait for who reads a copy.
//! What its tables and columns are called is known here alone; what becomes of their rows is left to others.

mod tables;
mod values;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension};

use crate::{ForeignFault, StorageError};

pub use tables::{
    Attachment, File, Invitation, Message, Participant, Profile, ReadMark, Room, Table, Token, User,
};
use tables::{COLUMNS, TABLES_OF_DJANGO, Wanted};
use values::Values;

type Result<T> = std::result::Result<T, StorageError>;

/// How long is waited for who has the database for himself.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Something in the database that is not taken over, and that nobody might miss before it is too late.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remark {
    /// A table that the Django program did not have, and how many rows it has.
    UnknownTable(String, i64),
    /// As `table.column`.
    UnknownColumn(String),
    /// One without which it is taken that there is nothing of the kind.
    NoColumn(String),
}

/// A row, or the column whose value is none.
pub type Row<T> = std::result::Result<T, &'static str>;

#[derive(Debug)]
pub struct DjangoDatabase {
    connection: Connection,
    /// Where it comes from.
    path: PathBuf,
    remarks: Vec<Remark>,
}

impl DjangoDatabase {
    /// Copies `file` as it is at one moment, and looks whether it is what it should be. Blocks on the disk.
    pub fn copy_of(file: &Path) -> Result<Self> {
        let foreign = |fault| StorageError::Foreign {
            path: file.to_owned(),
            fault,
        };
        // SQLite says less of what it cannot open.
        std::fs::File::open(file)
            .and_then(|opened| match opened.metadata()?.is_file() {
                true => Ok(()),
                false => Err(std::io::ErrorKind::InvalidInput.into()),
            })
            .map_err(|why| foreign(ForeignFault::Unreadable(why.to_string())))?;
        let directory = tempfile::tempdir()?;
        let copy = directory.path().join("copy.sqlite3");
        let connection = copied(file, &copy).map_err(|error| foreign(fault(error)))?;
        // Whatever ends this process, nothing is left of what others wrote.
        directory.close()?;
        let mut database = DjangoDatabase {
            connection,
            path: file.to_owned(),
            remarks: Vec::new(),
        };
        database.check()?;
        Ok(database)
    }

    fn foreign(&self, fault: ForeignFault) -> StorageError {
        StorageError::Foreign {
            path: self.path.clone(),
            fault,
        }
    }

    fn reading<T>(&self, read: rusqlite::Result<T>) -> Result<T> {
        read.map_err(|error| self.foreign(fault(error)))
    }

    fn check(&mut self) -> Result<()> {
        let sound: rusqlite::Result<String> =
            self.connection
                .query_row("PRAGMA quick_check(1)", [], |row| row.get(0));
        let sound = self.reading(sound)?;
        if sound != "ok" {
            return Err(self.foreign(ForeignFault::Damaged(sound)));
        }
        let mut lacks = Vec::new();
        let mut remarks = Vec::new();
        for (table, wanted) in COLUMNS {
            let there = self.reading(columns(&self.connection, table))?;
            if there.is_empty() {
                lacks.push(format!("table {table}"));
                continue;
            }
            for column in *wanted {
                let is_there = column.names().any(|name| there.contains(name));
                match column.wanted {
                    Wanted::Needed if !is_there => {
                        lacks.push(format!("column {table}.{}", column.name));
                    }
                    Wanted::IfThere if !is_there => {
                        remarks.push(Remark::NoColumn(format!("{table}.{}", column.name)));
                    }
                    _ => {}
                }
            }
            let known: BTreeSet<&str> = wanted.iter().flat_map(|column| column.names()).collect();
            let unknown = there.iter().filter(|name| !known.contains(name.as_str()));
            remarks.extend(unknown.map(|name| Remark::UnknownColumn(format!("{table}.{name}"))));
        }
        if !lacks.is_empty() {
            return Err(self.foreign(ForeignFault::Lacks(lacks.join(", "))));
        }
        remarks.extend(self.reading(unknown_tables(&self.connection))?);
        self.remarks = remarks;
        Ok(())
    }

    pub fn remarks(&self) -> &[Remark] {
        &self.remarks
    }

    /// What it says of its own beginning: the moment of its first migration. Empty: nothing.
    pub fn origin(&self) -> Result<String> {
        let c = &self.connection;
        let has_migrations = self.reading(c.table_exists(None, "django_migrations"))?;
        if !has_migrations {
            return Ok(String::new());
        }
        let first = "SELECT CAST(applied AS TEXT) FROM django_migrations ORDER BY id LIMIT 1";
        let applied = c.query_row(first, [], |row| row.get(0)).optional();
        Ok(self.reading(applied)?.unwrap_or_default())
    }

    /// The highest number of a row.
    pub fn highest<T: Table>(&self) -> Result<i64> {
        let query = format!("SELECT coalesce(max({}), 0) FROM {}", T::KEY, T::NAME);
        self.reading(self.connection.query_row(&query, [], |row| row.get(0)))
    }

    /// All rows, by their numbers.
    pub fn each<T: Table>(&self, mut take: impl FnMut(i64, Row<T>) -> Result<()>) -> Result<()> {
        let wanted = tables::columns_of(T::NAME);
        let there = self.reading(columns(&self.connection, T::NAME))?;
        // What is not there is NULL.
        let selected: Vec<String> = wanted
            .iter()
            .filter(|column| column.wanted != Wanted::Known)
            .map(|column| {
                let found = column.names().find(|name| there.contains(*name));
                found.map_or_else(|| "NULL".to_owned(), |name| format!("\"{name}\""))
            })
            .collect();
        let query = format!(
            "SELECT {}, {} FROM {} ORDER BY 1",
            T::KEY,
            selected.join(", "),
            T::NAME
        );
        let mut statement = self.reading(self.connection.prepare(&query))?;
        let mut rows = self.reading(statement.query([]))?;
        while let Some(row) = self.reading(rows.next())? {
            // Nothing but a number is one that anything else names.
            let id = self.reading(row.get_ref(0))?.as_i64().unwrap_or(0);
            take(id, T::read(&Values::of(row, wanted)))?;
        }
        Ok(())
    }
}

fn copied(file: &Path, copy: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let from = Connection::open_with_flags(file, flags)?;
    from.busy_timeout(BUSY_TIMEOUT)?;
    let mut to = Connection::open(copy)?;
    to.pragma_update(None, "synchronous", "OFF")?;
    {
        let copying = Backup::new(&from, &mut to)?;
        // In one step: so it is of one moment, and who writes waits once.
        if copying.step(-1)? != StepResult::Done {
            return Err(rusqlite::Error::SqliteFailure(
                rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY),
                None,
            ));
        }
    }
    // A WAL would be a file beside it, and by its name.
    to.pragma_update_and_check(None, "journal_mode", "DELETE", |_| Ok(()))?;
    Ok(to)
}

fn fault(error: rusqlite::Error) -> ForeignFault {
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => ForeignFault::NotADatabase,
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => ForeignFault::Locked,
        // To read it, it would have to be written first.
        Some(ErrorCode::ReadOnly) => ForeignFault::Unfinished,
        Some(ErrorCode::DatabaseCorrupt) => ForeignFault::Damaged(error.to_string()),
        _ => ForeignFault::Unreadable(error.to_string()),
    }
}

/// Empty: there is no such table.
fn columns(c: &Connection, table: &str) -> rusqlite::Result<BTreeSet<String>> {
    c.prepare("SELECT name FROM pragma_table_info(?)")?
        .query_map([table], |row| row.get(0))?
        .collect()
}

fn unknown_tables(c: &Connection) -> rusqlite::Result<Vec<Remark>> {
    let names: Vec<String> = c
        .prepare("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")?
        .query_map([], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    let mut remarks = Vec::new();
    for name in names {
        let is_known = COLUMNS.iter().any(|(table, _)| *table == name)
            || TABLES_OF_DJANGO.contains(&name.as_str())
            || name.starts_with("sqlite_");
        if !is_known {
            let quoted = name.replace('"', "\"\"");
            let count = format!("SELECT count(*) FROM \"{quoted}\"");
            let rows = c.query_row(&count, [], |row| row.get(0))?;
            remarks.push(Remark::UnknownTable(name, rows));
        }
    }
    Ok(remarks)
}
