//! What can go wrong in storage; everything that a caller is expected to tell apart has its own variant.

use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    #[error("this username is taken")]
    UsernameTaken,
    #[error("this email is taken")]
    EmailTaken,
    #[error("there is a secret of this name already")]
    SecretNameTaken,
    /// The first administrator was asked for, and there is one already.
    #[error("there is an administrator already")]
    AdminExists,
    /// The user, room or secret that a change speaks of is not (or no longer) there, or what gave the right to it.
    #[error("no such user, room or secret")]
    NotFound,

    #[error("data_dir = \"{}\": {why}; expected a directory that can be written", path.display())]
    Directory { path: PathBuf, why: String },
    #[error("data_dir = \"{}\": another `moznods serve` is running on it; expected a directory of its own", path.display())]
    Locked { path: PathBuf },
    #[error("{}: there is no database; expected to be run where `moznods serve` runs, or its --data-dir", path.display())]
    NoDatabase { path: PathBuf },
    #[error(
        "{}: made by a newer moznods (schema {found}, this one knows {known}); expected a moznods at least as new",
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

    #[error("database: {0}")]
    Database(#[from] rusqlite::Error),
    /// The transaction that carried this change was not committed; the change is not there.
    #[error("database: not committed: {0}")]
    NotCommitted(String),
    #[error("database: closed")]
    Closed,
}
