//! `moznods backup`, `restore` and `check`: the data as a whole, beside a server that may be running, and without one.

use std::fs::File;
use std::io::{BufReader, Read, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use moznods_storage::backup::{self, BackupError, Packed};

use super::output::{STANDARD, Target};
use super::{Failure, Outcome, say};
use crate::config::Config;

#[derive(Args)]
pub struct Backup {
    #[command(flatten)]
    target: Target,
}

#[derive(Args)]
pub struct Restore {
    /// What `moznods backup` has written; `-` is the standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

#[derive(Args)]
pub struct Check {
    /// What is wrong as a JSON array
    #[arg(long)]
    json: bool,
}

pub fn back_up(config: &Config, Backup { target }: &Backup) -> Outcome {
    let directory = &config.data_dir;
    if target.is_standard() {
        let mut out = std::io::stdout().lock();
        let packed = backup::back_up(directory, directory, &mut out)?;
        warn_of_missing(&packed);
        return Ok(());
    }
    let mut out = target.begin(backup::BACKUP)?;
    let packed = backup::back_up(directory, target.parent(), &mut out)?;
    out.finish()?;
    warn_of_missing(&packed);
    say(format_args!(
        "{}: the database of {} and {} files of {}.",
        target.file.display(),
        size(packed.database),
        packed.files,
        size(packed.file_bytes)
    ))
}

fn warn_of_missing(packed: &Packed) {
    for path in &packed.missing {
        eprintln!(
            "moznods: {}: it is not there, nor in the backup",
            path.display()
        );
    }
}

pub fn restore(config: &Config, Restore { file }: &Restore) -> Outcome {
    let directory = &config.data_dir;
    let mut archive: Box<dyn Read> = if file == Path::new(STANDARD) {
        Box::new(std::io::stdin().lock())
    } else {
        let opened = File::open(file);
        let unreadable = |why| BackupError::Io {
            path: file.clone(),
            why,
        };
        Box::new(BufReader::with_capacity(
            256 * 1024,
            opened.map_err(unreadable)?,
        ))
    };
    let restored = backup::restore(directory, &mut archive)?;
    for fault in &restored.faults {
        eprintln!("moznods: {fault}; it was so when the backup was made");
    }
    say(format_args!(
        "{}: the database and {} files.",
        directory.display(),
        restored.files
    ))
}

pub fn check(config: &Config, Check { json }: &Check) -> Outcome {
    let faults = backup::check(&config.data_dir)?;
    if *json {
        let written: Vec<_> = faults
            .iter()
            .map(|fault| serde_json::json!({"code": fault.code(), "detail": fault.to_string()}))
            .collect();
        say(serde_json::Value::from(written))?;
    } else {
        let mut out = std::io::stdout().lock();
        for fault in &faults {
            writeln!(out, "{fault}")?;
        }
    }
    match faults.len() {
        0 if *json => Ok(()),
        0 => say("The data are sound."),
        count => Err(Failure::Unsound(count)),
    }
}

fn size(bytes: u64) -> String {
    let mib = bytes as f64 / f64::from(1024 * 1024);
    format!("{mib:.1} MiB")
}
