//! Writing a backup, beside a server that may be running.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use super::leftovers::{BACKUP, WorkDirectory, remove_leftovers};
use super::{BackupError, DATABASE, END, FILES, Files, at};
use crate::blobs::relative_path;
use crate::sqlite::offline;
use crate::{BlobHash, Variant};

/// How often it is begun again when bytes have been removed since the database was copied.
const TRIES: usize = 3;

/// What is in a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed {
    /// Bytes of the database.
    pub database: u64,
    /// How many files, thumbnails among them, and their bytes.
    pub files: u64,
    pub file_bytes: u64,
    /// Files that the database knows and that are not there.
    pub missing: Vec<PathBuf>,
}

/// Writes the data of `directory` to `out` as they are at one moment: the database first, then the bytes that it names at
/// that moment, which never change; those that are elsewhere stay there. The copy of the database lies in `beside` for so
/// long. Blocks on the disk.
pub fn back_up(
    directory: &Path,
    files: Files,
    beside: &Path,
    out: &mut dyn Write,
) -> Result<Packed, BackupError> {
    remove_leftovers(directory);
    let copies = WorkDirectory::make(beside, BACKUP)?;
    let copy = copies.path().join(DATABASE);
    let mut left = TRIES;
    let held = loop {
        left -= 1;
        offline::copy(directory, &copy)?;
        let named = match files {
            Files::Beside => offline::blobs(&copy)?,
            Files::Elsewhere => Vec::new(),
        };
        let held = hold(directory, &named)?;
        if held.missing.is_empty() || left == 0 {
            break held;
        }
        // The server has removed them since, and with them what names them; or else they are lost.
        std::fs::remove_file(&copy).map_err(at(&copy))?;
    };

    let mut tar = tar::Builder::new(out);
    let mut packed = Packed {
        database: 0,
        files: 0,
        file_bytes: 0,
        missing: held.missing,
    };
    packed.database = append(&mut tar, &copy, Path::new(DATABASE))?;
    for file in held.files {
        packed.files += 1;
        packed.file_bytes += append(
            &mut tar,
            &held.directory.path().join(&file),
            &Path::new(FILES).join(file),
        )?;
    }
    tar.append_data(&mut header(0), END, std::io::empty())
        .and_then(|()| tar.into_inner()?.flush())
        .map_err(at(Path::new("backup")))?;
    Ok(packed)
}

/// Bytes that stay for as long as this does.
struct Held {
    directory: WorkDirectory,
    /// Where they lie in it.
    files: Vec<PathBuf>,
    /// What should be there and is not.
    missing: Vec<PathBuf>,
}

/// Gives all of the bytes a second name, in a directory of their own.
fn hold(directory: &Path, named: &[(BlobHash, bool)]) -> Result<Held, BackupError> {
    let held = WorkDirectory::make(directory, BACKUP)?;
    let (mut files, mut missing) = (Vec::new(), Vec::new());
    for (hash, thumbnail) in named {
        let thumbnail = thumbnail.then_some(Variant::Thumbnail);
        for variant in std::iter::once(Variant::Whole).chain(thumbnail) {
            let file = relative_path(*hash, variant);
            let (from, to) = (directory.join(FILES).join(&file), held.path().join(&file));
            if let Some(parent) = to.parent() {
                std::fs::create_dir_all(parent).map_err(at(parent))?;
            }
            // Where a file can have but one name, or another disk holds them.
            let linked = std::fs::hard_link(&from, &to).or_else(|error| match error.kind() {
                std::io::ErrorKind::NotFound => Err(error),
                _ => std::fs::copy(&from, &to).map(drop),
            });
            match linked {
                Ok(()) => files.push(file),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => missing.push(from),
                Err(error) => return Err(at(&from)(error)),
            }
        }
    }
    Ok(Held {
        directory: held,
        files,
        missing,
    })
}

/// How long it is.
fn append(
    tar: &mut tar::Builder<&mut dyn Write>,
    file: &Path,
    name: &Path,
) -> Result<u64, BackupError> {
    let opened = File::open(file).map_err(at(file))?;
    let length = opened.metadata().map_err(at(file))?.len();
    tar.append_data(&mut header(length), name, opened)
        .map_err(at(file))?;
    Ok(length)
}

fn header(length: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    header.set_size(length);
    header.set_mode(0o600);
    header.set_mtime(now.map_or(0, |since| since.as_secs()));
    header
}
