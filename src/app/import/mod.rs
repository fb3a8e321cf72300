//! What the old Django program has kept is taken over: first the bytes of its files, to which nothing refers yet, then all
//! rows in one step. So whatever breaks it off leaves nothing half done, and doing it again is how it goes on.

mod names;
mod report;
mod rows;

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use moznods_storage::django::{Attachment, DjangoDatabase, File, Profile, Row, Table};
use moznods_storage::{AuditTarget, BlobHash, ImportKind, Timestamp};
use serde_json::json;

use super::audit::Action;
use super::files::{FoundFile, FoundFiles};
use super::{Actor, App, Result, now};

use report::Finding;
pub use report::{Group, Report, TableReport};
use rows::{Rules, Taking};

/// Numbers above it are those of no program that counts from 1, and clients could not write twice as many.
const MAX_ID: i64 = 1 << 50;

/// Where to take from, and how.
pub struct Import<'a> {
    pub source: DjangoDatabase,
    /// In which paths of files lie.
    pub media: &'a Path,
    /// Bytes are looked at but not stored; for a store that is thrown away.
    pub dry_run: bool,
}

/// What lies beside the database.
#[derive(Default)]
struct Found {
    /// By the number of their row.
    files: HashMap<i64, SourceFile>,
    /// By the number of the profile.
    avatars: HashMap<i64, Option<BlobHash>>,
}

struct SourceFile {
    found: FoundFile,
    uploader: Option<i64>,
    created_at: Option<Timestamp>,
}

impl App {
    /// For who has the data directory for himself.
    pub async fn import(&self, import: Import<'_>) -> Result<Report> {
        let Import {
            source,
            media,
            dry_run,
        } = import;
        let files = FoundFiles::new(self, media, !dry_run).map_err(super::Error::from)?;
        files.prepare().await?;
        let mut report = Report::new(source.remarks());
        let found = self.found(&source, &files, &mut report).await?;
        let rules = Rules {
            quota: self.quota(),
            now: now(),
        };
        let origin = source.origin()?;
        let told = Arc::new(Mutex::new(report));
        let report = Arc::clone(&told);
        let work = Box::new(move |step: &dyn moznods_storage::Import| {
            let mut report = report.lock().unwrap_or_else(PoisonError::into_inner);
            Taking::new(step, &source, &found, rules, &mut report).take_all()
        });
        let target = AuditTarget::Import("django".to_owned());
        let store = self.noting(Actor::CommandLine, Action::Import, target, json!({}));
        store.import(origin, work).await?;
        let mut report = told.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(std::mem::take(&mut *report))
    }

    async fn found(
        &self,
        source: &DjangoDatabase,
        files: &FoundFiles<'_>,
        report: &mut Report,
    ) -> Result<Found> {
        let mut found = Found::default();
        let known = self.known(ImportKind::Profile).await?;
        for (id, profile) in all::<Profile>(source)? {
            let Ok(profile) = profile else { continue };
            if known.contains(&id) || profile.avatar.is_empty() {
                continue;
            }
            let avatar = match files.avatar(&profile.avatar).await? {
                Ok(avatar) => Some(avatar),
                Err(why) => {
                    report.table::<Profile>().left_out(id, why.into());
                    None
                }
            };
            found.avatars.insert(id, avatar);
        }
        let known = self.known(ImportKind::Attachment).await?;
        let (mut attached, mut wanted) = (HashSet::new(), HashSet::new());
        for (id, attachment) in all::<Attachment>(source)? {
            let Ok(attachment) = attachment else { continue };
            attached.insert(attachment.file);
            if !known.contains(&id) {
                wanted.insert(attachment.file);
            }
        }
        let known = self.known(ImportKind::File).await?;
        for (id, file) in all::<File>(source)? {
            let table = report.table::<File>();
            let is_known = known.contains(&id);
            if is_known {
                table.there += 1;
                // Unless one more message has it.
                if !wanted.contains(&id) {
                    continue;
                }
            }
            let Some(file) = table.usable(id, file) else {
                continue;
            };
            if !attached.contains(&id) {
                table.left_out(id, Finding::Unattached);
                continue;
            }
            let taken = files.file(&file.file, &file.name, &file.content_type);
            match taken.await? {
                Err(_) if is_known => {}
                Err(why) => table.left_out(id, why.into()),
                Ok(bytes) => {
                    if file.created_at.is_none() && !is_known {
                        table.changed(id, Finding::BadTime("created_at"));
                    }
                    let file = SourceFile {
                        found: bytes,
                        uploader: file.uploader,
                        created_at: file.created_at,
                    };
                    found.files.insert(id, file);
                }
            }
        }
        Ok(found)
    }

    async fn known(&self, kind: ImportKind) -> Result<HashSet<i64>> {
        Ok(self.store.imported(kind).await?.into_iter().collect())
    }
}

fn all<T: Table>(source: &DjangoDatabase) -> Result<Vec<(i64, Row<T>)>> {
    let mut rows = Vec::new();
    source.each(|id, row| {
        rows.push((id, row));
        Ok(())
    })?;
    Ok(rows)
}
