//! `moznods backup`, `restore` and `check`: the data as a whole, beside a server that may be running, and without one.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use moznods_storage::backup::{self, BackupError, Files, Packed};
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use time::{OffsetDateTime, PrimitiveDateTime};

use super::output::{STANDARD, Target};
use super::{Failure, Outcome, say};
use crate::app;
use crate::config::Config;
use crate::outbound::Outbound;

/// Of a backup among others, in UTC.
const NAME: &[BorrowedFormatItem<'_>] =
    format_description!("moznods-[year]-[month]-[day]T[hour][minute][second]Z.tar");

#[derive(Args)]
pub struct Backup {
    #[command(flatten)]
    target: Target,
    /// FILE is a directory: a new backup is made there, named by the time, and of those that were made so this many stay
    #[arg(long, value_name = "COUNT", conflicts_with = "force")]
    keep: Option<NonZeroUsize>,
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

pub fn back_up(config: &Config, Backup { target, keep }: &Backup) -> Outcome {
    let Some(keep) = keep else {
        return back_up_to(config, target);
    };
    let kept = &target.file;
    match kept.metadata() {
        Ok(found) if found.is_dir() => {}
        Err(why) if why.kind() == io::ErrorKind::PermissionDenied => {
            return Err(target.unwritable(why));
        }
        _ => return Err(Failure::NoDirectory(kept.clone())),
    }
    let name = OffsetDateTime::now_utc().format(NAME);
    let name = name.map_err(io::Error::other)?;
    let file = kept.join(&name);
    let force = false;
    back_up_to(config, &Target { file, force })?;
    // Only now that there is a newer one.
    remove_others(kept, &name, keep.get() - 1)
}

/// Of the backups that are named by their times removes all but the one that was `made` now and the newest `keep` others:
/// where the clock has been put back, those have later names.
fn remove_others(directory: &Path, made: &str, keep: usize) -> Outcome {
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        move |why| BackupError::Io { path, why }
    };
    let mut named = Vec::new();
    for entry in directory.read_dir().map_err(unreadable(directory))? {
        let entry = entry.map_err(unreadable(directory))?;
        let name = entry.file_name().into_string();
        named.extend(
            name.into_iter()
                .filter(|name| name != made && is_named_by_time(name)),
        );
    }
    // As their names sort, so do the times.
    named.sort_unstable();
    for name in named.iter().rev().skip(keep) {
        let path = directory.join(name);
        std::fs::remove_file(&path).map_err(unreadable(&path))?;
    }
    Ok(())
}

fn is_named_by_time(name: &str) -> bool {
    PrimitiveDateTime::parse(name, NAME).is_ok()
}

fn back_up_to(config: &Config, target: &Target) -> Outcome {
    let (directory, files) = (&config.data_dir, files(config));
    if target.is_standard() {
        let mut out = std::io::stdout().lock();
        let packed = backup::back_up(directory, files, directory, &mut out)?;
        warn_of_missing(&packed);
        if let Some(place) = place(config) {
            eprintln!("moznods: files stay in {place}, and are not in the backup");
        }
        return Ok(());
    }
    let mut out = target.begin(backup::BACKUP)?;
    let packed = backup::back_up(directory, files, target.parent(), &mut out)?;
    out.finish()?;
    warn_of_missing(&packed);
    if let Some(place) = place(config) {
        return say(format_args!(
            "{}: the database of {}; files stay in {place}, and are not in it.",
            target.file.display(),
            size(packed.database)
        ));
    }
    say(format_args!(
        "{}: the database of {} and {} files of {}.",
        target.file.display(),
        size(packed.database),
        packed.files,
        size(packed.file_bytes)
    ))
}

fn files(config: &Config) -> Files {
    match config.files.bucket {
        Some(_) => Files::Elsewhere,
        None => Files::Beside,
    }
}

/// Where files are that are not beside the database.
pub fn place(config: &Config) -> Option<String> {
    let bucket = config.files.bucket.as_ref()?;
    Some(format!("s3://{}/{}", bucket.name, bucket.prefix))
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
    let restored = backup::restore(directory, files(config), &mut archive)?;
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
    let mut faults = backup::check(&config.data_dir, files(config))?;
    if let (true, Some(place)) = (faults.is_empty(), place(config)) {
        let bucket = app::bucket(config, &Arc::<Outbound>::default());
        if let Some(bucket) = bucket.map_err(io::Error::other)? {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            let checking = backup::check_shared(&config.data_dir, &bucket, &place);
            faults = runtime.block_on(checking)?;
        }
    }
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
