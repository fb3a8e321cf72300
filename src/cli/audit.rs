//! `moznods audit`: what was done over others.

use clap::Args;
use moznods_storage::Missing;
use serde_json::{Value, json};

use super::{Outcome, open_app, say};
use crate::app::WantedAudit;
use crate::config::Config;
use crate::wire::{AuditEntryJson, Moment};

#[derive(Args)]
pub struct Audit {
    /// Only what was done by this user (name, mail address or id), or by the `command-line`
    #[arg(long, value_name = "NAME")]
    actor: Option<String>,
    /// Only this, such as user.block
    #[arg(long, value_name = "WORD")]
    action: Option<String>,
    /// From then on, such as 2026-11-29T12:00:00Z
    #[arg(long, value_name = "TIME")]
    since: Option<Moment>,
    /// Before then
    #[arg(long, value_name = "TIME")]
    until: Option<Moment>,
    /// No more than so many, the newest
    #[arg(long, value_name = "NUMBER", default_value_t = 100, value_parser = clap::value_parser!(i64).range(1..=1_000_000))]
    limit: i64,
    /// As a JSON array
    #[arg(long)]
    json: bool,
}

impl Audit {
    pub async fn run(self, config: Config) -> Outcome {
        let app = open_app(config, Missing::Refuse).await?;
        let wanted = WantedAudit {
            actor: self.actor,
            action: self.action,
            since: self.since.map(|Moment(time)| time),
            until: self.until.map(|Moment(time)| time),
            before: None,
        };
        let (entries, _) = app.audit_log(wanted, self.limit).await?;
        let written: Vec<_> = entries.iter().map(AuditEntryJson::from).collect();
        if self.json {
            return say(json!(written));
        }
        for entry in &written {
            say(line(&json!(entry)))?;
        }
        Ok(())
    }
}

/// One entry for people. Names are quoted: somebody chose them.
fn line(entry: &Value) -> String {
    let named = |of: &Value| {
        let kind = of["kind"].as_str().unwrap_or_default().replace('_', " ");
        let id = of["id"].as_i64().map(|id| format!(" {id}"));
        let name = of["name"].as_str().filter(|name| !name.is_empty());
        let name = name.map(|name| format!(" {}", json!(name)));
        [kind, id.unwrap_or_default(), name.unwrap_or_default()].concat()
    };
    let mut line = format!(
        "{}  {}  {}  {}",
        entry["created_at"].as_str().unwrap_or_default(),
        named(&entry["actor"]),
        entry["action"].as_str().unwrap_or_default(),
        named(&entry["target"]),
    );
    if entry["details"]
        .as_object()
        .is_some_and(|of| !of.is_empty())
    {
        line.push_str(&format!("  {}", entry["details"]));
    }
    if let Some(address) = entry["address"].as_str() {
        line.push_str(&format!("  from {address}"));
    }
    line
}
