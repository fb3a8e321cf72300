//! The whole of the data as one file, and back: a tar with the database first, then the bytes of files as they lie in the
//! data directory, and an empty entry that says that nothing is missing.

mod check;
mod leftovers;
mod pack;
mod unpack;

use std::path::{Path, PathBuf};

pub use check::{Fault, check, check_shared, glance};
pub use leftovers::{BACKUP, EXPORT, WorkDirectory, remove_leftovers, unfinished_file};
pub use pack::{Packed, back_up};
pub use unpack::{Restored, restore};

use crate::StorageError;

/// Where the bytes of files are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Files {
    /// The database.
    Beside,
    /// A place of their own, which is not looked at.
    Elsewhere,
}

/// The names of the entries.
const DATABASE: &str = "moznods.db";
const FILES: &str = "files";
const END: &str = "moznods-backup-end";

/// Why there is no backup, or why one is not restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    #[error("{0}")]
    Storage(#[from] StorageError),
    #[error("{}: {why}", path.display())]
    Io { path: PathBuf, why: std::io::Error },
    #[error("data_dir = \"{}\": it is not empty; expected one in which nothing is", .0.display())]
    NotEmpty(PathBuf),
    #[error("{0}; expected what `moznods backup` has written")]
    NotABackup(String),
    #[error(
        "the backup was made by a newer moznods (schema {found}, this one knows {known}); expected a moznods at least as new"
    )]
    Newer { found: i64, known: i64 },
    #[error("the backup is damaged: {0}")]
    Damaged(String),
}

fn at(path: &Path) -> impl FnOnce(std::io::Error) -> BackupError {
    move |why| BackupError::Io {
        path: path.to_owned(),
        why,
    }
}
