//! `moznods turn secret`: the secrets of other programs.

use std::time::Duration;

use clap::Subcommand;

use super::snippets::Program;
use crate::app::{Actor, App, limits};
use crate::cli::{Failure, Outcome, say};
use crate::config::Secret;
use crate::wire::RelaySecretJson;

/// A running server obeys at once.
#[derive(Subcommand)]
pub enum Command {
    /// Make a secret for a program and print it
    Add {
        /// Name of the program
        name: String,
        /// Live allocations of all its users together; without it there is no limit
        #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
        max_allocations: Option<u32>,
        /// Bytes relayed for all its users together in a month (UTC); without it there is no limit
        #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(i64).range(1..))]
        max_bytes_per_month: Option<i64>,
        /// Print what this program is to be told as well
        #[arg(long = "for", value_name = "PROGRAM")]
        program: Option<Program>,
    },
    /// List the secrets by name; none is shown
    List {
        /// As a JSON array
        #[arg(long)]
        json: bool,
    },
    /// Put a new secret in place of an old one and print it
    Rotate {
        name: String,
        /// Seconds for which the old one is taken as well: the life of credentials that were made with it
        #[arg(
            long,
            value_name = "SECONDS",
            default_value_t = limits::RELAY_SECRET_KEPT_DEFAULT,
            value_parser = clap::value_parser!(u32).range(0..=i64::from(limits::RELAY_SECRET_KEPT)),
        )]
        keep: u32,
        /// Print what this program is to be told as well
        #[arg(long = "for", value_name = "PROGRAM")]
        program: Option<Program>,
    },
    /// End a secret and all that is relayed for its users
    Revoke { name: String },
}

fn tell(program: Option<Program>, app: &App, secret: &Secret) -> Outcome {
    match program {
        Some(program) => say(program.snippet(&app.config, secret)),
        None => Ok(()),
    }
}

pub async fn run(app: &App, command: Command) -> Outcome {
    let failed = |name: &str| {
        let name = name.to_owned();
        |why| Failure::RelaySecret { name, why }
    };
    match command {
        Command::Add {
            name,
            max_allocations,
            max_bytes_per_month,
            program,
        } => {
            let made = app
                .add_relay_secret(
                    Actor::CommandLine,
                    &name,
                    max_allocations,
                    max_bytes_per_month,
                )
                .await;
            let made = made.map_err(failed(&name))?;
            tell(program, app, &made)?;
            say(format_args!("Added {name}. Its secret: {}", made.expose()))
        }
        Command::Rotate {
            name,
            keep,
            program,
        } => {
            let made = app
                .rotate_relay_secret(Actor::CommandLine, &name, Duration::from_secs(keep.into()))
                .await;
            let made = made.map_err(failed(&name))?;
            tell(program, app, &made)?;
            say(format_args!(
                "Rotated {name}. Its new secret: {}",
                made.expose()
            ))
        }
        Command::Revoke { name } => {
            let revoked = app.revoke_relay_secret(Actor::CommandLine, &name).await;
            revoked.map_err(failed(&name))?;
            say(format_args!("Revoked {name}."))
        }
        Command::List { json } => {
            let secrets = app.relay_secrets().await.map_err(failed(""))?;
            if json {
                let shown: Vec<_> = secrets.iter().map(RelaySecretJson::new).collect();
                return say(serde_json::json!(shown));
            }
            for secret in &secrets {
                let allocations = secret
                    .max_allocations
                    .map(|limit| format!("at most {limit} allocations"));
                let bytes = secret
                    .max_bytes_per_month
                    .map(|limit| format!("at most {limit} bytes a month"));
                let limits: Vec<String> = allocations.into_iter().chain(bytes).collect();
                let limit = match limits.is_empty() {
                    true => "no limit".to_owned(),
                    false => limits.join(", "),
                };
                say(format_args!("{}\t{limit}", secret.name))?;
            }
            Ok(())
        }
    }
}
