//! Whether the data are sound: the database in itself, and the bytes of files that it names.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use ring::digest::{Context, SHA256};

use super::{BackupError, FILES, Files};
use crate::blobs::{hash_of as hash_in, relative_path};
use crate::sqlite::offline::{self, Depth};
use crate::{BlobHash, SharedBlobs, StorageError, Variant};

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// As SQLite says it.
    Database(String),
    /// The row of one table names one of another that is not there.
    Reference {
        table: String,
        row: Option<i64>,
        parent: String,
    },
    /// Made by a newer version.
    Schema { found: i64, known: i64 },
    /// Bytes that the database names are not there.
    Missing(PathBuf),
    /// Other bytes are there.
    Changed(PathBuf),
    /// Bytes are there and cannot be read.
    Unreadable(PathBuf, String),
}

impl Fault {
    /// A stable word.
    pub fn code(&self) -> &'static str {
        match self {
            Fault::Database(_) => "database_damaged",
            Fault::Reference { .. } => "reference_broken",
            Fault::Schema { .. } => "schema_newer",
            Fault::Missing(_) => "file_missing",
            Fault::Changed(_) => "file_changed",
            Fault::Unreadable(..) => "file_unreadable",
        }
    }

    /// It concerns the bytes of one file, and not the database.
    pub fn is_of_a_file(&self) -> bool {
        matches!(
            self,
            Fault::Missing(_) | Fault::Changed(_) | Fault::Unreadable(..)
        )
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Database(what) => write!(f, "database: {what}"),
            Fault::Reference { table, row, parent } => {
                write!(f, "database: {table}")?;
                if let Some(row) = row {
                    write!(f, " {row}")?;
                }
                write!(f, " refers to what is not in {parent}")
            }
            Fault::Schema { found, known } => write!(
                f,
                "database: made by a newer moznods (schema {found}, this one knows {known})"
            ),
            Fault::Missing(path) => write!(f, "{}: it is not there", path.display()),
            Fault::Changed(path) => {
                write!(f, "{}: its bytes are not those of its name", path.display())
            }
            Fault::Unreadable(path, why) => write!(f, "{}: {why}", path.display()),
        }
    }
}

/// What is wrong with the data of `directory`, beside a server that may be running. Changes nothing. Blocks on the disk.
pub fn check(directory: &Path, files: Files) -> Result<Vec<Fault>, BackupError> {
    let mut faults = offline::faults(directory, Depth::Whole)?;
    if !faults.is_empty() || files == Files::Elsewhere {
        return Ok(faults);
    }
    for (hash, thumbnail) in offline::blobs_in(directory)? {
        let found = of_blob(directory, hash, thumbnail);
        // What a running server has removed meanwhile nobody misses.
        if !found.is_empty() && offline::is_needed(directory, hash)? {
            faults.extend(found);
        }
    }
    Ok(faults)
}

/// As [`check`], of bytes that are in a place that is shared, which faults name by `place`. The database is sound. An error
/// where that place cannot be asked.
pub async fn check_shared(
    directory: &Path,
    shared: &dyn SharedBlobs,
    place: &str,
) -> Result<Vec<Fault>, BackupError> {
    let mut faults = Vec::new();
    for (hash, thumbnail) in offline::blobs_in(directory)? {
        let thumbnail = thumbnail.then_some(Variant::Thumbnail);
        for variant in std::iter::once(Variant::Whole).chain(thumbnail) {
            let path = Path::new(place).join(relative_path(hash, variant));
            let found = match hash_in(shared, hash, variant).await {
                Ok(found) => found,
                Err(error) => {
                    let why = io::Error::other(error.to_string());
                    return Err(BackupError::Io { path, why });
                }
            };
            let fault = match (variant, found) {
                (_, None) => Fault::Missing(path),
                (Variant::Whole, Some(found)) if found != hash => Fault::Changed(path),
                _ => continue,
            };
            if offline::is_needed(directory, hash)? {
                faults.push(fault);
            }
        }
    }
    Ok(faults)
}

/// As [`check`], of the database alone and with less care, so that it does not take long.
pub fn glance(directory: &Path) -> Result<Vec<Fault>, StorageError> {
    offline::faults(directory, Depth::Pages)
}

fn of_blob(directory: &Path, hash: BlobHash, thumbnail: bool) -> Vec<Fault> {
    let path = |variant| {
        let relative = relative_path(hash, variant);
        directory.join(FILES).join(relative)
    };
    let mut faults = Vec::new();
    let whole = path(Variant::Whole);
    match hash_of(&whole) {
        Ok(found) if found == hash => {}
        Ok(_) => faults.push(Fault::Changed(whole)),
        Err(error) => faults.push(unreadable(whole, &error)),
    }
    if thumbnail {
        let thumbnail = path(Variant::Thumbnail);
        if let Err(error) = File::open(&thumbnail) {
            faults.push(unreadable(thumbnail, &error));
        }
    }
    faults
}

fn unreadable(path: PathBuf, error: &std::io::Error) -> Fault {
    match error.kind() {
        std::io::ErrorKind::NotFound => Fault::Missing(path),
        _ => Fault::Unreadable(path, error.to_string()),
    }
}

fn hash_of(path: &Path) -> std::io::Result<BlobHash> {
    let mut file = File::open(path)?;
    let mut context = Context::new(&SHA256);
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => context.update(buffer.get(..read).unwrap_or_default()),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(BlobHash::of(context))
}
