//! What can go wrong in storage; everything that a caller is expected to tell apart has its own variant.

use std::path::PathBuf;

/// Why the database of another program cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ForeignFault {
    #[error("it is no SQLite database; expected the db.sqlite3 of the Django program")]
    NotADatabase,
    #[error("{0}; expected the db.sqlite3 of the Django program, and the right to read it")]
    Unreadable(String),
    #[error(
        "another program keeps it locked; expected that one to be stopped, or a copy of the file"
    )]
    Locked,
    #[error(
        "a write to it was broken off, and what is in the file beside it (-journal or -wal) was not put back; expected it to be opened once by the Django program, or by `sqlite3 FILE .tables`, which puts it back"
    )]
    Unfinished,
    #[error("it is damaged: {0}; expected a sound one, perhaps from a backup")]
    Damaged(String),
    #[error("it has no {0}; expected the tables and columns of the Django program")]
    Lacks(String),
}

#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    #[error("this username is taken")]
    UsernameTaken,
    #[error("this email is taken")]
    EmailTaken,
    #[error("there is a secret of this name already")]
    SecretNameTaken,
    #[error("there is a device of this name already")]
    DeviceNameTaken,
    #[error("this user has as many push subscriptions as there may be")]
    TooManyPushSubscriptions,
    /// The first administrator was asked for, and there is one already.
    #[error("there is an administrator already")]
    AdminExists,
    /// The files of a user would take more than they may.
    #[error("the quota of files is exceeded")]
    QuotaExceeded,
    /// What was stored for it may have been removed since, as it took too long.
    #[error("the bytes were stored too long ago")]
    BlobGone,
    /// A file that a message shall have is not there, not the author's, or attached already.
    #[error("no such file to attach")]
    NoSuchFile,
    /// He would leave nobody to administer.
    #[error("the last administrator")]
    LastAdmin,
    #[error("this user has as many bots as he may have")]
    TooManyBots,
    #[error("this room has as many webhooks as it may have")]
    TooManyHooks,
    #[error("as many messages as may be are pinned in this room")]
    TooManyPins,
    #[error("there is a second factor already")]
    SecondFactorOn,
    #[error("this identity belongs to an account already, or the account has one of this provider")]
    IdentityTaken,
    /// What a message answers is not in its room.
    #[error("there is no such message to reply to in this room")]
    NoSuchReply,
    /// The author has named a message of another room so.
    #[error("this client_id names a message of another room")]
    ClientIdTaken,
    #[error("this message has too many different reactions")]
    TooManyReactions,
    #[error("there is no word to look for")]
    NothingToFind,
    /// Nothing was found in the time that a search may take.
    #[error("the search took too long")]
    TooMuchToSearch,
    #[error(
        "something was taken over from another Django program before; expected the database of that one, as numbers of this one would be confused with its"
    )]
    AnotherOrigin,
    /// The user may not enter this room.
    #[error("banned from this room")]
    Banned,
    #[error("as many as may be are in this room already")]
    RoomFull,
    #[error("this user is in as many rooms as he may be")]
    TooManyRooms,
    #[error("there are as many invitations to this room as may be")]
    TooManyInvitations,
    /// The user, room, secret or device that a change speaks of is not (or no longer) there, or what gave the right to it.
    #[error("no such user, room, secret or device")]
    NotFound,

    #[error("data_dir = \"{}\": {why}; expected a directory that can be written", path.display())]
    Directory { path: PathBuf, why: String },
    #[error("data_dir = \"{}\": another `moznods serve` is running on it; expected a directory of its own", path.display())]
    Locked { path: PathBuf },
    #[error("{}: there is no database; expected to be run where `moznods serve` runs, or its --data-dir", path.display())]
    NoDatabase { path: PathBuf },
    #[error(
        "{}: made by a newer moznods (schema {found}, this one knows {known}); expected a moznods at least as new, or what `moznods restore` makes of a backup from before the upgrade, in an empty directory",
        path.display()
    )]
    NewerSchema {
        path: PathBuf,
        found: i64,
        known: i64,
    },
    #[error(
        "{}: served by an older moznods (schema {found}, this one knows {known}); expected the server to be restarted with this version first",
        path.display()
    )]
    OlderSchema {
        path: PathBuf,
        found: i64,
        known: i64,
    },
    #[error("{}: {why}; expected a database of moznods", path.display())]
    Open { path: PathBuf, why: String },

    /// Of the database of another program, from which something is to be taken over.
    #[error("{}: {fault}", path.display())]
    Foreign { path: PathBuf, fault: ForeignFault },

    /// The disk has no space left for what was to be written; nothing of it is there.
    #[error("the disk of the database is full")]
    Full,
    #[error("database: {0}")]
    Database(#[source] DatabaseError),
    /// The transaction that carried this change was not committed; the change is not there.
    #[error("database: not committed: {0}")]
    NotCommitted(String),
    /// It cannot be reached, or does not answer. What was read was not; what was to be changed is not changed, or, where the
    /// connection was lost in the middle, perhaps.
    #[error("database: {0}")]
    Unavailable(String),
    #[error(
        "PostgreSQL cannot do that; expected a database of SQLite, which is there when storage.database_url is empty"
    )]
    SqliteOnly,
    #[error("database: closed")]
    Closed,
    /// Of a file beside the database.
    #[error("data_dir: {0}")]
    Io(#[source] std::io::Error),
}

/// What a database answers to SQL.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DatabaseError {
    #[error(transparent)]
    Sqlite(rusqlite::Error),
    /// What PostgreSQL says.
    #[error("{0}")]
    Server(String),
    #[error("{0}")]
    Unavailable(String),
    #[error("the disk is full")]
    Full,
    /// The time was over that it may take.
    #[error("interrupted")]
    Interrupted,
    /// One was expected.
    #[error("no row")]
    NoRow,
    #[error("column {0} is of another type")]
    Type(usize),
}

impl From<rusqlite::Error> for DatabaseError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::OperationInterrupted) => DatabaseError::Interrupted,
            _ => DatabaseError::Sqlite(error),
        }
    }
}

impl From<DatabaseError> for StorageError {
    fn from(error: DatabaseError) -> Self {
        match &error {
            DatabaseError::Full => StorageError::Full,
            DatabaseError::Unavailable(why) => StorageError::Unavailable(why.clone()),
            DatabaseError::Sqlite(cause) if cause.sqlite_error().is_some_and(is_full) => {
                StorageError::Full
            }
            _ => StorageError::Database(error),
        }
    }
}

impl From<rusqlite::Error> for StorageError {
    fn from(error: rusqlite::Error) -> Self {
        DatabaseError::from(error).into()
    }
}

/// Also where the index of the WAL cannot grow: a file of some pages, which fails for lack of space alone.
fn is_full(cause: &rusqlite::ffi::Error) -> bool {
    cause.code == rusqlite::ErrorCode::DiskFull
        || cause.extended_code == rusqlite::ffi::SQLITE_IOERR_SHMSIZE
}

impl From<std::io::Error> for StorageError {
    fn from(error: std::io::Error) -> Self {
        use std::io::ErrorKind::{QuotaExceeded, StorageFull};
        match error.kind() {
            StorageFull | QuotaExceeded => StorageError::Full,
            _ => StorageError::Io(error),
        }
    }
}
