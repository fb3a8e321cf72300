//! A file that a command writes: for its owner alone, with its name only once it is whole and on the disk.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use moznods_storage::backup::{BackupError, remove_leftovers, unfinished_file};
use tempfile::NamedTempFile;

use super::{Failure, Outcome};

/// Stands for the standard output, or input.
pub const STANDARD: &str = "-";

#[derive(Args)]
pub struct Target {
    /// Where to; `-` is the standard output
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Replace a file that is there
    #[arg(long)]
    pub force: bool,
}

/// One that has no name yet.
pub struct Output<'a> {
    target: &'a Target,
    made: BufWriter<NamedTempFile>,
}

impl Target {
    pub fn is_standard(&self) -> bool {
        self.file == Path::new(STANDARD)
    }

    /// Where the file will lie.
    pub fn parent(&self) -> &Path {
        match self.file.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        }
    }

    /// `prefix` is that of its name until it is whole.
    pub fn begin(&self, prefix: &str) -> Result<Output<'_>, Failure> {
        match self.file.symlink_metadata() {
            Ok(found) if !found.is_file() => return Err(Failure::NoFile(self.file.clone())),
            Ok(_) if !self.force => return Err(Failure::FileExists(self.file.clone())),
            _ => {}
        }
        remove_leftovers(self.parent());
        let made = unfinished_file(self.parent(), prefix).map_err(|why| self.unwritable(why))?;
        Ok(Output {
            target: self,
            made: BufWriter::with_capacity(256 * 1024, made),
        })
    }

    pub fn unwritable(&self, why: std::io::Error) -> Failure {
        if why.kind() == std::io::ErrorKind::PermissionDenied {
            let file = self.file.clone();
            return Failure::Unwritable { file, why };
        }
        Failure::Backup(BackupError::Io {
            path: self.file.clone(),
            why,
        })
    }
}

impl Write for Output<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.made.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.made.flush()
    }
}

impl Output<'_> {
    pub fn finish(self) -> Outcome {
        let target = self.target;
        let unwritable = |why| target.unwritable(why);
        let made = self
            .made
            .into_inner()
            .map_err(|error| unwritable(error.into_error()))?;
        made.as_file().sync_all().map_err(unwritable)?;
        let named = match target.force {
            true => made.persist(&target.file),
            false => made.persist_noclobber(&target.file),
        };
        match named {
            Ok(_) => {}
            Err(error) if error.error.kind() == std::io::ErrorKind::AlreadyExists => {
                return Err(Failure::FileExists(target.file.clone()));
            }
            Err(error) => return Err(unwritable(error.error)),
        }
        File::open(target.parent())
            .and_then(|parent| parent.sync_all())
            .map_err(unwritable)
    }
}
