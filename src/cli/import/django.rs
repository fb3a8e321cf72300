//! `moznods import django`: what the old Django program has kept, and what became of it.

use std::path::PathBuf;

use clap::Args;
use moznods_storage::django::{DjangoDatabase, Remark};
use moznods_storage::{DirectoryLock, SqlStore, StorageError};
use serde_json::{Value, json};

use super::super::{Failure, Outcome, as_owner, of_sqlite, say};
use crate::app::{App, Group, Import, Report, TableReport};
use crate::config::{Config, Flags, Settings};
use crate::i18n::{self, Lang};

/// Rows that are named on a line.
const NAMED: usize = 10;

#[derive(Args)]
pub struct Django {
    /// The database of the Django program; it is only read, and may be in use
    #[arg(long, value_name = "FILE")]
    sqlite: PathBuf,
    /// The directory of its files (MEDIA_ROOT)
    #[arg(long, value_name = "DIR")]
    media: PathBuf,
    /// Change nothing, and say what would become of it
    #[arg(long)]
    dry_run: bool,
    /// As one JSON object
    #[arg(long)]
    json: bool,
}

impl Django {
    pub fn run(self, flags: &Flags) -> Outcome {
        let settings = Settings::collect(flags)?;
        let config = Config::check(&settings)?;
        let instead = "to take it over with storage.database_url empty, into SQLite";
        of_sqlite(&config, "import django", instead)?;
        // What is wrong with the source is told before anything is made for it.
        let source = DjangoDatabase::copy_of(&self.sqlite)?;
        as_owner(&config.data_dir)?;
        std::fs::read_dir(&self.media).map_err(|why| Failure::NoMedia {
            directory: self.media.clone(),
            why,
        })?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()?;
        let report = runtime.block_on(self.take(config, source))?;
        self.tell(&report)
    }

    async fn take(&self, mut config: Config, source: DjangoDatabase) -> Result<Report, Failure> {
        let trial = tempfile::tempdir()?;
        if self.dry_run {
            SqlStore::copy(&config.data_dir, trial.path())?;
            config.data_dir = trial.path().to_owned();
        }
        // Nobody serves meanwhile: who does removes bytes to which nothing refers.
        let lock = DirectoryLock::take(&config.data_dir).map_err(|error| match error {
            StorageError::Locked { path } => Failure::Serving { directory: path },
            error => error.into(),
        })?;
        let store = SqlStore::open_to_serve(&lock)?;
        let app = App::open(config, std::sync::Arc::new(store)).await?;
        let report = app
            .import(Import {
                source,
                media: &self.media,
                dry_run: self.dry_run,
            })
            .await?;
        app.settle().await;
        Ok(report)
    }

    fn tell(&self, report: &Report) -> Outcome {
        let lang = Lang::of_environment();
        if self.json {
            let tables: Vec<Value> = report
                .tables
                .iter()
                .map(|table| table_json(table, lang))
                .collect();
            let remarks: Vec<Value> = report
                .remarks
                .iter()
                .map(|remark| json!({"word": word(remark), "text": remark_text(remark, lang)}))
                .collect();
            return say(json!({"dry_run": self.dry_run, "tables": tables, "remarks": remarks}));
        }
        for table in &report.tables {
            let counts = [
                ("table", table.name.to_owned()),
                ("taken", table.taken.to_string()),
                ("there", table.there.to_string()),
                ("left", table.left_out_count().to_string()),
            ];
            let counts = counts
                .each_ref()
                .map(|(name, value)| (*name, value.as_str()));
            say(i18n::filled(lang, "django_table", &counts))?;
            for (word, group) in &table.groups {
                let mark = if group.left_out { "✗" } else { "!" };
                let text = i18n::text(lang, &format!("django_{word}"), None);
                say(format_args!(
                    "  {mark} {}: {text}: {}",
                    group.count,
                    named(group, lang)
                ))?;
            }
        }
        for remark in &report.remarks {
            say(format_args!("? {}", remark_text(remark, lang)))?;
        }
        match self.dry_run {
            true => say(i18n::text(lang, "django_dry_run", None)),
            false => Ok(()),
        }
    }
}

/// The first rows of a group.
fn named(group: &Group, lang: Lang) -> String {
    let mut names: Vec<String> = group
        .rows
        .iter()
        .take(NAMED)
        .map(|(id, finding)| match finding.detail().as_str() {
            "" => id.to_string(),
            detail => format!("{id} ({detail})"),
        })
        .collect();
    let more = group.count.saturating_sub(names.len() as u64);
    if more > 0 {
        let count = more.to_string();
        names.push(i18n::filled(lang, "django_more", &[("count", &count)]));
    }
    names.join(", ")
}

fn table_json(table: &TableReport, lang: Lang) -> Value {
    let groups = |left_out: bool| -> Vec<Value> {
        let groups = table.groups.iter();
        groups
            .filter(|(_, group)| group.left_out == left_out)
            .map(|(word, group)| {
                let rows: Vec<Value> = group
                    .rows
                    .iter()
                    .map(|(id, finding)| json!({"id": id, "detail": finding.detail()}))
                    .collect();
                json!({
                    "why": word,
                    "text": i18n::text(lang, &format!("django_{word}"), None),
                    "count": group.count,
                    "rows": rows,
                })
            })
            .collect()
    };
    json!({
        "table": table.name,
        "taken": table.taken,
        "already_there": table.there,
        "left_out": groups(true),
        "changed": groups(false),
    })
}

fn word(remark: &Remark) -> &'static str {
    match remark {
        Remark::UnknownTable(..) => "unknown_table",
        Remark::UnknownColumn(_) => "unknown_column",
        Remark::NoColumn(_) => "no_column",
    }
}

fn remark_text(remark: &Remark, lang: Lang) -> String {
    let (name, rows) = match remark {
        Remark::UnknownTable(name, rows) => (name, rows.to_string()),
        Remark::UnknownColumn(name) | Remark::NoColumn(name) => (name, String::new()),
    };
    let key = format!("django_{}", word(remark));
    i18n::filled(lang, &key, &[("name", name), ("rows", &rows)])
}
