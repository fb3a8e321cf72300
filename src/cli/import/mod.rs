//! `moznods import`: what another program was set up with, or has kept, becomes this one's.

mod coturn;
mod django;
mod options;
mod peers;

use std::io::Write;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use moznods_storage::Missing;
use serde_json::json;

use super::output::Target;
use super::{Failure, Outcome, open_app, owner, say};
use crate::app::{Actor, App, DeviceError, SecretError};
use crate::config::{Config, Flags, Settings};
use crate::i18n::{self, Lang};
use coturn::{Plan, Verdict};

#[derive(Subcommand)]
pub enum Command {
    /// Say what becomes of each line of coturn's turnserver.conf, and write it down if asked to
    Coturn(Coturn),
    /// Take over accounts, rooms, messages and files of the old Django program; the server must be stopped
    Django(django::Django),
}

#[derive(Args)]
pub struct Coturn {
    /// The turnserver.conf
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Write the settings to this file, and secrets and users into the data directory
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
    /// Replace a file that is there
    #[arg(long, requires = "write")]
    force: bool,
    /// As one JSON object
    #[arg(long)]
    json: bool,
}

impl Command {
    pub fn run(self, flags: &Flags) -> Outcome {
        match self {
            Command::Coturn(coturn) => coturn.run(flags),
            Command::Django(django) => django.run(flags),
        }
    }
}

impl Coturn {
    fn run(self, flags: &Flags) -> Outcome {
        let coturn = self;
        let unreadable = |why| Failure::Unreadable {
            file: coturn.file.clone(),
            why,
        };
        let text = std::fs::read(&coturn.file).map_err(unreadable)?;
        let plan = Plan::of(&String::from_utf8_lossy(&text));
        coturn.tell(&plan)?;
        let Some(file) = &coturn.write else {
            return Ok(());
        };
        let target = Target {
            file: file.clone(),
            force: coturn.force,
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()?;
        runtime.block_on(write(&plan, &target, flags))?;
        match coturn.json {
            true => Ok(()),
            false => say(i18n::filled(
                Lang::of_environment(),
                "coturn_written",
                &[("file", &target.file.display().to_string())],
            )),
        }
    }
}

/// Secrets and users first: without the file, all can be done again.
async fn write(plan: &Plan, target: &Target, flags: &Flags) -> Outcome {
    let text = plan.toml();
    let mut out = target.begin(".moznods-import")?;
    out.write_all(text.as_bytes())?;
    if !plan.secrets.is_empty() || !plan.users.is_empty() {
        let mut checked = tempfile::NamedTempFile::new()?;
        checked.write_all(text.as_bytes())?;
        let settings = Settings::collect(&flags.with_file(checked.path()))?;
        let config = Config::check(&settings)?;
        // What root would make there, its owner could not read.
        let missing = match owner::other(&config.data_dir) {
            Some(_) => Missing::Refuse,
            None => Missing::Create,
        };
        let app = open_app(config, missing).await?;
        keep(plan, &app).await?;
    }
    out.finish()
}

async fn keep(plan: &Plan, app: &App) -> Outcome {
    let of_secret = |name: &str, why| Failure::RelaySecret {
        name: name.to_owned(),
        why,
    };
    let of_user = |name: &str, why| Failure::Device {
        name: name.to_owned(),
        why,
    };
    // All or none, as far as nobody else adds some meanwhile.
    let known = app
        .relay_secrets()
        .await
        .map_err(|why| of_secret("", why))?;
    for secret in &plan.secrets {
        if known.iter().any(|known| known.name == secret.name) {
            return Err(of_secret(&secret.name, SecretError::Taken));
        }
    }
    let known = app.relay_devices().await.map_err(|why| of_user("", why))?;
    for (name, _) in &plan.users {
        if known.iter().any(|known| known.name == *name) {
            return Err(of_user(name, DeviceError::Taken));
        }
    }
    for secret in &plan.secrets {
        let added = app
            .keep_relay_secret(
                Actor::CommandLine,
                &secret.name,
                &secret.text,
                secret.max_allocations,
                None,
            )
            .await;
        added.map_err(|why| of_secret(&secret.name, why))?;
    }
    for (name, password) in &plan.users {
        let password = Some(password.expose().to_owned());
        let added = app
            .add_relay_device(Actor::CommandLine, name, password)
            .await;
        added.map_err(|why| of_user(name, why))?;
    }
    Ok(())
}

impl Coturn {
    fn tell(&self, plan: &Plan) -> Outcome {
        let lang = Lang::of_environment();
        let mut told = Vec::new();
        for line in &plan.lines {
            let text = line.verdict.text(lang, plan);
            if self.json {
                told.push(json!({
                    "line": line.number,
                    "option": line.option,
                    "verdict": line.verdict.word(),
                    "text": text,
                }));
            } else {
                let mark = line.verdict.mark();
                say(format_args!(
                    "{mark} {}: {}: {text}",
                    line.number, line.option
                ))?;
            }
        }
        let settings = plan.toml();
        if self.json {
            return say(json!({"lines": told, "settings": settings}));
        }
        match self.write {
            Some(_) => Ok(()),
            None => say(format_args!("\n{}", settings.trim_end())),
        }
    }
}

impl Verdict {
    fn mark(&self) -> &'static str {
        match self {
            Verdict::Taken(_) | Verdict::Secret(_) | Verdict::User(_) => "✓",
            Verdict::Needless(_) => "–",
            Verdict::Lost(_) | Verdict::Refused(_) => "✗",
            Verdict::Unknown(_) => "?",
        }
    }

    fn word(&self) -> &'static str {
        match self {
            Verdict::Taken(_) | Verdict::Secret(_) | Verdict::User(_) => "taken",
            Verdict::Needless(_) => "not_needed",
            Verdict::Lost(_) | Verdict::Refused(_) => "not_taken",
            Verdict::Unknown(_) => "unknown",
        }
    }

    fn text(&self, lang: Lang, plan: &Plan) -> String {
        let filled = |key: &str, values: &[(&str, &str)]| i18n::filled(lang, key, values);
        match self {
            Verdict::Taken(path) => plan.shown(path),
            Verdict::Secret(name) => filled("coturn_secret", &[("name", name)]),
            Verdict::User(name) => filled("coturn_user", &[("name", name)]),
            Verdict::Needless(why) | Verdict::Lost(why) => filled(&format!("coturn_{why}"), &[]),
            Verdict::Refused(why) => why.clone(),
            Verdict::Unknown(Some(near)) => filled("coturn_unknown_near", &[("near", near)]),
            Verdict::Unknown(None) => filled("coturn_unknown", &[]),
        }
    }
}
