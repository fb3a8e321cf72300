//! `moznods turn`: credentials of the relay.

use std::time::Duration;

use clap::Subcommand;
use moznods_storage::Missing;

use super::{Outcome, open_app, say};
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
}

pub async fn run(config: Config, command: Command) -> Outcome {
    let app = open_app(config, Missing::Refuse).await?;
    let Command::Credential { user, ttl, json } = command;
    let user = app.user_named(&user).await?;
    let ttl = ttl.map_or(app.config.turn.credential_ttl, Duration::from_secs);
    let credential = app.relay_credential(&user, ttl)?;
    let host = match &app.config.public_url {
        Some(url) => host_of(url).to_owned(),
        None => match app.config.turn.listen.ip() {
            ip if ip.is_unspecified() => "localhost".to_owned(),
            std::net::IpAddr::V4(ip) => ip.to_string(),
            std::net::IpAddr::V6(ip) => format!("[{ip}]"),
        },
    };
    let written = RelayJson::new(&app.config, &credential, &host);
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
