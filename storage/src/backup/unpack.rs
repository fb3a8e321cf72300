//! Restoring a backup into a data directory in which nothing is.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};

use super::leftovers::{RESTORE, WorkDirectory, remove_leftovers};
use super::{BackupError, DATABASE, END, FILES, Fault, Files, at};
use crate::DirectoryLock;
use crate::sqlite::offline;

/// Where SQLite's header has the number of the schema and whose file it is.
const HEADER: usize = 100;
const SCHEMA: std::ops::Range<usize> = 60..64;
const APPLICATION: std::ops::Range<usize> = 68..72;

/// What has been restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// How many files, thumbnails among them.
    pub files: u64,
    /// What is wrong with it and was when the backup was made: bytes of files that are not there, or are others.
    pub faults: Vec<Fault>,
}

/// Makes `directory` what it was when `archive` was written. Nothing is there unless all of it is, and the database is
/// sound. Blocks on the disk.
pub fn restore(
    directory: &Path,
    files: Files,
    archive: &mut dyn Read,
) -> Result<Restored, BackupError> {
    remove_leftovers(directory);
    is_empty(directory)?;
    let lock = DirectoryLock::take(directory)?;
    is_empty(directory)?;
    let work = WorkDirectory::make(directory, RESTORE)?;
    let unpacked = unpack(work.path(), archive)?;
    let faults = super::check(work.path(), files)?;
    // Bytes that are not there were not when the backup was made, as it is whole.
    if let Some(fault) = faults.iter().find(|fault| !fault.is_of_a_file()) {
        return Err(BackupError::Damaged(fault.to_string()));
    }
    offline::leave_events_out(work.path())?;
    sync_all(work.path())?;
    // The database last: without it there is nothing.
    for name in [FILES, DATABASE] {
        let (from, to) = (work.path().join(name), directory.join(name));
        std::fs::rename(&from, &to).map_err(at(&to))?;
    }
    sync(directory)?;
    drop((work, lock));
    Ok(Restored {
        files: unpacked,
        faults,
    })
}

fn is_empty(directory: &Path) -> Result<(), BackupError> {
    let entries = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(at(directory))?,
    };
    for entry in entries {
        if entry.map_err(at(directory))?.file_name() != DirectoryLock::FILE {
            return Err(BackupError::NotEmpty(directory.to_owned()));
        }
    }
    Ok(())
}

/// How many files there are beside the database.
fn unpack(to: &Path, archive: &mut dyn Read) -> Result<u64, BackupError> {
    let unreadable = |error: std::io::Error| BackupError::NotABackup(error.to_string());
    let mut archive = tar::Archive::new(archive);
    let mut entries = archive.entries().map_err(unreadable)?;
    let mut first = match entries.next() {
        Some(entry) => entry.map_err(unreadable)?,
        None => return Err(BackupError::NotABackup("it is empty".to_owned())),
    };
    if first.path().map_err(unreadable)? != Path::new(DATABASE) {
        return Err(BackupError::NotABackup(
            "it begins with no database".to_owned(),
        ));
    }
    let mut header = [0; HEADER];
    first.read_exact(&mut header).map_err(unreadable)?;
    is_known(&header)?;
    make_directory(&to.join(FILES))?;
    write(&to.join(DATABASE), &mut header.chain(&mut first))?;

    let cut_off = || BackupError::Damaged("it is cut off".to_owned());
    for (files, entry) in (0..).zip(entries) {
        let mut entry = entry.map_err(|_| cut_off())?;
        let name = entry.path().map_err(unreadable)?.into_owned();
        if name == Path::new(END) {
            return Ok(files);
        }
        if !entry.header().entry_type().is_file() || !is_file_of_ours(&name) {
            let what = format!("{}: it has no place there", name.display());
            return Err(BackupError::NotABackup(what));
        }
        let file = to.join(&name);
        if let Some(parent) = file.parent() {
            make_directory(parent)?;
        }
        write(&file, &mut entry)?;
    }
    Err(cut_off())
}

/// Whether the database that begins so is ours, and not of a later schema.
fn is_known(header: &[u8; HEADER]) -> Result<(), BackupError> {
    let number = |at: std::ops::Range<usize>| {
        let bytes = header.get(at).and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(0, u32::from_be_bytes)
    };
    if !header.starts_with(b"SQLite format 3\0")
        || i64::from(number(APPLICATION)) != i64::from(offline::APPLICATION_ID)
    {
        let what = "its database belongs to another program".to_owned();
        return Err(BackupError::NotABackup(what));
    }
    let (found, known) = (i64::from(number(SCHEMA)), offline::known_schema());
    match found > known {
        true => Err(BackupError::Newer { found, known }),
        false => Ok(()),
    }
}

/// `files/ab/cdef…`, and nothing that leads elsewhere.
fn is_file_of_ours(name: &Path) -> bool {
    let mut parts = Vec::new();
    for part in name.components() {
        match part {
            Component::Normal(part) => parts.push(part),
            _ => return false,
        }
    }
    parts.len() == 3 && parts.first().is_some_and(|first| *first == FILES)
}

fn make_directory(path: &Path) -> Result<(), BackupError> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(at(path))
}

fn write(path: &Path, from: &mut dyn Read) -> Result<(), BackupError> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(at(path))?;
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let read = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => buffer.get(..read).unwrap_or_default(),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(BackupError::Damaged(error.to_string())),
        };
        file.write_all(read).map_err(at(path))?;
    }
    file.sync_all().map_err(at(path))
}

/// Directories; the files in them have been synced as they were written.
fn sync_all(directory: &Path) -> Result<(), BackupError> {
    for entry in std::fs::read_dir(directory).map_err(at(directory))? {
        let path: PathBuf = entry.map_err(at(directory))?.path();
        if path.is_dir() {
            sync_all(&path)?;
        }
    }
    sync(directory)
}

fn sync(directory: &Path) -> Result<(), BackupError> {
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(at(directory))
}
