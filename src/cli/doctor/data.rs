//! The data directory, its disk and its database.

use std::io::{self, Write};
use std::path::Path;
use std::time::SystemTime;

use moznods_storage::backup::{self, Fault};
use moznods_storage::{Missing, PostgresUrl, SqlStore, StorageError};
use rustix::fs::{Access, access, statvfs};

use super::report::{Report, size};
use crate::cli::Outcome;
use crate::config::Config;

/// Bytes of the disk below which it is soon full.
const LOW: u64 = 256 << 20;
/// Files that the disk should have room for.
const FEW: u64 = 1000;
/// Seconds by which what was written may be later than now: clocks of file systems are not always this machine's.
const AHEAD: u64 = 60;
/// What is written to see whether the disk takes it.
const TRIED: [u8; 8192] = [0x5A; 8192];

pub fn look(config: &Config, report: &mut Report) -> Outcome {
    let directory = &config.data_dir;
    let shown = directory.display().to_string();
    let is_there = directory.exists();
    match writable(directory) {
        Ok(()) if is_there => report.right("data", "data_right", &[("path", &shown)])?,
        Ok(()) => report.unknown("data", "data_none", &[("path", &shown)])?,
        Err(error) => {
            let values = [("path", &*shown), ("error", &*error.to_string())];
            report.wrong("data", "data_wrong", &values)?;
        }
    }
    disk(nearest(directory), report)?;
    if let Some(url) = &config.storage.database {
        return postgres(url, report);
    }
    if is_there {
        database(directory, report)?;
        clock(directory, report)?;
    }
    Ok(())
}

/// The directory, or that in which it would be made.
fn nearest(directory: &Path) -> &Path {
    let above = directory.ancestors().find(|above| above.exists());
    match above {
        Some(above) => above,
        None if directory.is_absolute() => Path::new("/"),
        None => Path::new("."),
    }
}

fn writable(directory: &Path) -> io::Result<()> {
    if !directory.exists() {
        let above = nearest(directory);
        if !above.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        return Ok(access(above, Access::WRITE_OK)?);
    }
    let tried = tempfile::Builder::new()
        .prefix(".doctor")
        .tempfile_in(directory)?;
    let mut file = tried.as_file();
    file.write_all(&TRIED)?;
    file.sync_all()
}

fn disk(directory: &Path, report: &mut Report) -> Outcome {
    let shown = directory.display().to_string();
    let found = match statvfs(directory) {
        Ok(found) => found,
        Err(error) => {
            let values = [("path", &*shown), ("error", &*error.to_string())];
            return report.unknown("disk", "disk_unknown", &values);
        }
    };
    let free = found.f_bavail.saturating_mul(found.f_frsize);
    let values = [("path", &*shown), ("free", &*size(free))];
    match found.f_favail {
        _ if free < LOW => report.wrong("disk", "disk_low", &values),
        // Some file systems count no files.
        few if found.f_files > 0 && few < FEW => {
            let values = [("path", &*shown), ("free", &*few.to_string())];
            report.wrong("disk", "disk_few", &values)
        }
        _ => report.right("disk", "disk_right", &values),
    }
}

fn database(directory: &Path, report: &mut Report) -> Outcome {
    let check = "database";
    match backup::glance(directory) {
        Ok(faults) => match faults.first() {
            None => report.right(check, "database_right", &[]),
            Some(fault @ Fault::Schema { .. }) => {
                report.wrong(check, "database_newer", &[("fault", &fault.to_string())])
            }
            Some(fault) => {
                let fault = fault.to_string();
                report.wrong(check, "database_damaged", &[("fault", fault.trim_end())])
            }
        },
        Err(StorageError::NoDatabase { .. }) => report.unknown(check, "database_none", &[]),
        Err(error) => report.wrong(check, "database_closed", &[("error", &error.to_string())]),
    }
}

fn postgres(url: &PostgresUrl, report: &mut Report) -> Outcome {
    match SqlStore::connect(url, Missing::Refuse) {
        Ok(_) => report.right("database", "database_postgres", &[]),
        Err(StorageError::NoDatabase { .. }) => report.unknown("database", "database_none", &[]),
        Err(error) => {
            let values = [("error", &*error.to_string())];
            report.wrong("database", "database_postgres_not", &values)
        }
    }
}

/// Of a clock that is behind what was written tells.
fn clock(directory: &Path, report: &mut Report) -> Outcome {
    let now = SystemTime::now();
    let ahead = |name: &str| {
        let modified = directory
            .join(name)
            .metadata()
            .and_then(|data| data.modified());
        let ahead = modified.ok()?.duration_since(now).ok()?.as_secs();
        (ahead > AHEAD).then_some((name.to_owned(), ahead))
    };
    let found = ["moznods.db", "moznods.db-wal"].into_iter().find_map(ahead);
    match found {
        Some((name, seconds)) => {
            let values = [("file", &*name), ("seconds", &*seconds.to_string())];
            report.wrong("clock", "clock_behind", &values)
        }
        None => Ok(()),
    }
}
