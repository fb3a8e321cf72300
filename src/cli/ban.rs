//! `moznods ban`: who is shut out for a while, of the running server.

use axum::http::{Method, StatusCode};
use clap::Subcommand;
use serde_json::Value;

use super::turn::owner;
use super::{Failure, Outcome, control, say};
use crate::config::Config;

const PATH: &str = "/api/admin/bans/";

#[derive(Subcommand)]
pub enum Command {
    /// List the bans of addresses and accounts in force, the newest first
    List {
        /// As a JSON array
        #[arg(long)]
        json: bool,
    },
    /// End a ban, and forget what has led to it
    Lift {
        /// The number that `moznods ban list` shows
        id: u64,
    },
}

pub async fn run(config: &Config, command: Command) -> Outcome {
    match command {
        Command::List { json } => {
            let bans = control::done(config, Method::GET, PATH).await?;
            if json {
                return say(bans);
            }
            for ban in bans.as_array().into_iter().flatten() {
                say(line(ban))?;
            }
            Ok(())
        }
        Command::Lift { id } => {
            let path = format!("{PATH}{id}/");
            let (status, answer) = control::ask(config, Method::DELETE, &path).await?;
            match status {
                StatusCode::NO_CONTENT => say(format_args!("Lifted ban {id}.")),
                StatusCode::NOT_FOUND => Err(Failure::NoBan(id)),
                status => Err(control::failure(status, &answer)),
            }
        }
    }
}

/// One ban for people: of whom, what is refused, since when and until when.
fn line(ban: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let whom = match ban["address"].as_str() {
        Some(address) => address.to_owned(),
        None => owner(&ban["account"]),
    };
    format!(
        "{:>6}  {:<12}  {whom}  {} until {}",
        ban["id"],
        text(&ban["what"]),
        text(&ban["since"]),
        text(&ban["until"]),
    )
}
