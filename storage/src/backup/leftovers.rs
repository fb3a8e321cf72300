//! Places for what is not whole yet, and what of them stays when their owner is killed. Who lives holds a lock on his: what can be
//! locked is nobody's any more.

use std::fs::File;
use std::path::Path;

use tempfile::{Builder, NamedTempFile, TempDir};

use super::{BackupError, at};

/// How the names of these begin; nothing in a data directory has such a name.
pub const BACKUP: &str = ".moznods-backup-";
pub const EXPORT: &str = ".moznods-export-";
pub(super) const RESTORE: &str = ".moznods-restore-";
/// Another one may take a new place for a leftover before it is locked.
const TRIES: usize = 5;

/// A directory of our own, which goes with the value.
#[derive(Debug)]
pub struct WorkDirectory {
    directory: TempDir,
    _lock: File,
}

impl WorkDirectory {
    /// In `parent`, with a name that begins so. Blocks on the disk.
    pub fn make(parent: &Path, prefix: &str) -> Result<Self, BackupError> {
        let make = || {
            let directory = Builder::new().prefix(prefix).tempdir_in(parent)?;
            let lock = File::open(directory.path())?;
            lock.lock()?;
            Ok(directory.path().exists().then_some(WorkDirectory {
                directory,
                _lock: lock,
            }))
        };
        retried(make).map_err(at(parent))
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }
}

/// A file in `parent`, which goes with the value unless it is given a name. Blocks on the disk.
pub fn unfinished_file(parent: &Path, prefix: &str) -> std::io::Result<NamedTempFile> {
    retried(|| {
        let file = Builder::new().prefix(prefix).tempfile_in(parent)?;
        file.as_file().lock()?;
        Ok(file.path().exists().then_some(file))
    })
}

fn retried<T>(mut make: impl FnMut() -> std::io::Result<Option<T>>) -> std::io::Result<T> {
    for _ in 0..TRIES {
        if let Some(made) = make()? {
            return Ok(made);
        }
    }
    let why = "what is made there is removed by another program";
    Err(std::io::Error::other(why))
}

/// Removes what those have left in `parent` that were killed. Blocks on the disk.
pub fn remove_leftovers(parent: &Path) {
    let Ok(entries) = std::fs::read_dir(parent) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let is_ours = |prefix: &&str| name.as_encoded_bytes().starts_with(prefix.as_bytes());
        if ![BACKUP, EXPORT, RESTORE].iter().any(is_ours) {
            continue;
        }
        let path = entry.path();
        if let Err(error) = remove_if_left(&path) {
            tracing::warn!(%error, path = %path.display(), "a leftover could not be removed");
        }
    }
}

fn remove_if_left(path: &Path) -> std::io::Result<()> {
    let kind = path.symlink_metadata()?.file_type();
    // No link, and nothing on which opening waits.
    if !kind.is_dir() && !kind.is_file() {
        return Ok(());
    }
    let opened = File::open(path)?;
    match opened.try_lock() {
        Err(std::fs::TryLockError::WouldBlock) => Ok(()),
        Err(std::fs::TryLockError::Error(error)) => Err(error),
        Ok(()) if kind.is_dir() => std::fs::remove_dir_all(path),
        Ok(()) => std::fs::remove_file(path),
    }
}
