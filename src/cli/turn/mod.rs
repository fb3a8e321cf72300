//! `moznods turn`: the relay, its users and what goes on in it.

mod allocations;
mod device;
mod nodes;
mod secret;
mod snippets;
mod usage;

use std::time::Duration;

use clap::Subcommand;
use moznods_storage::Missing;

use super::{Outcome, open_app, say};
use crate::app::{App, RelayHost, relay_ways};
use serde_json::Value;

use crate::config::{Config, host_of};
use crate::wire::RelayJson;

#[derive(Subcommand)]
pub enum Command {
    /// Make a relay credential for a user
    Credential {
        /// Username or mail address
        #[arg(long, value_name = "NAME")]
        user: String,
        /// Seconds for which it is good; turn.credential_ttl otherwise
        #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=31_536_000))]
        ttl: Option<u64>,
        /// As one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Manage the secrets with which other programs make relay credentials
    #[command(subcommand)]
    Secret(secret::Command),
    /// Manage the accounts of devices, whose passwords do not expire
    #[command(subcommand)]
    User(device::Command),
    /// List the relays there are: that of the running server, and those of other nodes
    Nodes(nodes::List),
    /// List what is relayed at this moment
    Allocations(allocations::List),
    /// List what was relayed for whom in a month
    Usage(usage::Usage),
    /// End allocations; who had them may make new ones
    Kill(allocations::Kill),
}

pub async fn run(config: Config, command: Command) -> Outcome {
    let app = async || open_app(config.clone(), Missing::Refuse).await;
    match command {
        Command::Credential { user, ttl, json } => {
            credential(&*app().await?, &user, ttl, json).await
        }
        Command::Secret(command) => secret::run(&*app().await?, command).await,
        Command::User(command) => device::run(&*app().await?, command).await,
        Command::Nodes(list) => list.run(&config).await,
        Command::Allocations(list) => list.run(&config).await,
        Command::Usage(usage) => usage.run(config).await,
        Command::Kill(kill) => kill.run(&config).await,
    }
}

async fn credential(app: &App, user: &str, ttl: Option<u64>, json: bool) -> Outcome {
    let user = app.user_named(user).await?;
    let ttl = ttl.map_or(app.config.turn.credential_ttl, Duration::from_secs);
    let credential = app.relay_credential(&user, ttl)?;
    // Of relays elsewhere running servers alone know.
    let own = relay_ways(&app.config, &RelayHost::named(&host(&app.config)));
    let own = app.config.turn.enabled.then_some(own);
    let written = RelayJson::new(&app.config, &credential, own.into_iter().collect());
    if json {
        return say(serde_json::json!(written));
    }
    say(format_args!("username {}", written.username))?;
    say(format_args!("password {}", written.password))?;
    say(format_args!("ttl {}", written.ttl))?;
    for uri in &written.uris {
        say(format_args!("uri {uri}"))?;
    }
    Ok(())
}

/// By which programs elsewhere reach the relay, as far as the settings tell.
fn host(config: &Config) -> String {
    match (&config.turn.host, &config.public_url) {
        (Some(host), _) => host.clone(),
        (None, Some(url)) => host_of(url).to_owned(),
        (None, None) => match config.turn.listen.ip() {
            ip if ip.is_unspecified() => "localhost".to_owned(),
            std::net::IpAddr::V4(ip) => ip.to_string(),
            std::net::IpAddr::V6(ip) => format!("[{ip}]"),
        },
    }
}

/// An owner for people: users by their names alone.
pub fn owner(owner: &Value) -> String {
    match (owner["kind"].as_str(), owner["name"].as_str()) {
        (Some("user"), Some(name)) => name.to_owned(),
        (kind, Some(name)) => format!("{} {name}", kind.unwrap_or_default()),
        (kind, None) => format!("{} {} (gone)", kind.unwrap_or_default(), owner["id"]),
    }
}
