//! `moznods migrate`: from SQLite to PostgreSQL, first beside the server that runs, then, with that stopped, what has changed since.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use moznods_storage::backup::{BACKUP, WorkDirectory};
use moznods_storage::{
    BlobCopy, BlobHash, DatabaseBlobs, DirectoryLock, MigrateError, Migration, Missing,
    PostgresUrl, SharedBlobs, SqlStore, StorageError, Store, TableCopy, TableProof, copy_blobs,
    prove_blobs,
};
use serde_json::{Value, json};

use super::data::place;
use super::{Failure, Outcome, say};
use crate::app;
use crate::config::Config;
use crate::outbound::Outbound;

#[derive(Args)]
pub struct Migrate {
    /// The data directory of SQLite, or the file moznods.db in it
    #[arg(long, value_name = "sqlite:DIRECTORY")]
    from: String,
    /// The database to fill, an empty one; that of storage.database_url, unless it is named here
    #[arg(long, value_name = "postgres://…")]
    to: Option<String>,
    /// What was done as one JSON object, rather than line by line
    #[arg(long)]
    json: bool,
}

impl Migrate {
    /// From where; a command of root's goes on as its owner.
    pub fn source(&self) -> Result<PathBuf, Failure> {
        let Some(path) = self.from.strip_prefix("sqlite:") else {
            return Err(Failure::MigrateFrom(self.from.clone()));
        };
        let path = Path::new(path);
        let directory = match path.is_file() {
            true => path
                .parent()
                .filter(|parent| !parent.as_os_str().is_empty()),
            false => Some(path),
        };
        Ok(directory.unwrap_or(Path::new(".")).to_owned())
    }

    /// What is wrong with it names nothing of it, as it has a password.
    fn target(&self, config: &Config) -> Result<PostgresUrl, Failure> {
        match &self.to {
            Some(url) => url.parse().map_err(Failure::MigrateTo),
            None => config.storage.database.clone().ok_or(Failure::MigrateTo(
                "it is not named, and storage.database_url is empty",
            )),
        }
    }

    pub async fn run(&self, config: &Config) -> Outcome {
        let (directory, url) = (self.source()?, self.target(config)?);
        // Nothing is made where there is nothing.
        if !directory.join("moznods.db").is_file() {
            let path = directory.join("moznods.db");
            return Err(StorageError::NoDatabase { path }.into());
        }
        // While this is held nobody writes.
        let lock = match DirectoryLock::take(&directory) {
            Ok(lock) => Some(lock),
            Err(StorageError::Locked { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        // Beside a server it is as it was at one moment, as rows refer to each other.
        let (_snapshot, source) = match &lock {
            // Of an older version it is brought up to date.
            Some(lock) => (None, SqlStore::open_to_serve(lock)?),
            None => {
                let snapshot = WorkDirectory::make(&directory, BACKUP)?;
                SqlStore::copy(&directory, snapshot.path())?;
                let source = SqlStore::open(snapshot.path(), Missing::Refuse)?;
                (Some(snapshot), source)
            }
        };
        let target = Arc::new(SqlStore::connect(&url, Missing::Create)?);
        let migration = Migration::begin(&source, &target).await?;
        let copies = migration
            .copy(|copy| self.tell(|| told_of_copy(copy)))
            .await?;
        let named = migration.blobs().await?;
        let shared: Box<dyn SharedBlobs> = match app::bucket(config, &Arc::<Outbound>::default())? {
            Some(bucket) => Box::new(bucket),
            None => Box::new(DatabaseBlobs::new(Arc::clone(&target) as Arc<dyn Store>)),
        };
        let files = copy_blobs(&directory, shared.as_ref(), &named).await?;
        self.tell(|| told_of_files(&files));
        // Beside a server some may have been removed since.
        let lost = match &lock {
            Some(_) => all_there(&files).err(),
            None => None,
        };
        let finished = lock.is_some() && lost.is_none();
        let mut proofs = Vec::new();
        if finished {
            proofs = migration
                .verify(|proof| self.tell(|| told_of_proof(proof)))
                .await?;
            prove_files(&directory, shared.as_ref(), &named).await?;
            migration.finish().await?;
        }
        if self.json {
            say(report(&copies, &proofs, &files, finished))?;
        }
        if let Some(lost) = lost {
            return Err(lost.into());
        }
        if self.json {
            return Ok(());
        }
        match finished {
            true => {
                let files = match place(config) {
                    Some(place) => format!(" and its files in {place}"),
                    None => String::new(),
                };
                say(format_args!(
                    "All of it is in {url}{files}, and the same. From now on serve with storage.database_url."
                ))
            }
            false => say(format_args!(
                "A server is running on {}: stop it, and run this once more for what has changed since.",
                directory.display()
            )),
        }
    }

    /// Nobody may be reading any more; what is done is done nonetheless.
    fn tell(&self, line: impl FnOnce() -> String) {
        if !self.json {
            let _ = say(line());
        }
    }
}

fn all_there(files: &BlobCopy) -> Result<(), MigrateError> {
    match files.missing.first() {
        None => Ok(()),
        Some(first) => Err(MigrateError::FilesMissing {
            count: files.missing.len(),
            first: first.clone(),
        }),
    }
}

/// What is other bytes in the target is copied once more.
async fn prove_files(
    directory: &Path,
    shared: &dyn SharedBlobs,
    named: &[(BlobHash, bool)],
) -> Outcome {
    let wrong = prove_blobs(directory, shared, named).await?;
    if wrong.is_empty() {
        return Ok(());
    }
    for hash in wrong {
        shared.remove(hash).await?;
    }
    all_there(&copy_blobs(directory, shared, named).await?)?;
    match prove_blobs(directory, shared, named).await?.first() {
        None => Ok(()),
        Some(hash) => Err(MigrateError::Files(*hash).into()),
    }
}

fn told_of_copy(copy: &TableCopy) -> String {
    let TableCopy {
        name,
        added,
        changed,
        removed,
    } = copy;
    format!("{name}: {added} rows added, {changed} changed, {removed} removed")
}

fn told_of_proof(proof: &TableProof) -> String {
    format!(
        "{}: {} rows, the same: {}",
        proof.name, proof.rows, proof.hash
    )
}

fn told_of_files(files: &BlobCopy) -> String {
    let BlobCopy {
        copied,
        bytes,
        known,
        missing,
    } = files;
    let missing: Vec<String> = missing
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    let missing = match missing.is_empty() {
        true => String::new(),
        false => format!("; not there: {}", missing.join(", ")),
    };
    format!("files: {copied} copied ({bytes} bytes), {known} there already{missing}")
}

fn report(copies: &[TableCopy], proofs: &[TableProof], files: &BlobCopy, finished: bool) -> Value {
    let table = |copy: &TableCopy| {
        let proof = proofs.iter().find(|proof| proof.name == copy.name);
        json!({
            "name": copy.name,
            "added": copy.added,
            "changed": copy.changed,
            "removed": copy.removed,
            "rows": proof.map(|proof| proof.rows),
            "sha256": proof.map(|proof| &proof.hash),
        })
    };
    json!({
        "finished": finished,
        "tables": copies.iter().map(table).collect::<Vec<_>>(),
        "files": {
            "copied": files.copied,
            "bytes": files.bytes,
            "known": files.known,
            "missing": files.missing,
        },
    })
}
