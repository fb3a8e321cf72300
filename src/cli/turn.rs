//! `moznods turn`: credentials of the relay.

use std::time::Duration;

use clap::Subcommand;
use moznods_storage::Missing;

use super::{Failure, Outcome, open_app, say};
use crate::app::App;
use crate::config::{Config, host_of};
use crate::wire::{RelayJson, RelaySecretJson};

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
    Secret(Secret),
}

/// A running server obeys at once.
#[derive(Subcommand)]
pub enum Secret {
    /// Make a secret for a program and print it
    Add {
        /// Name of the program
        name: String,
        /// Live allocations of all its users together; without it there is no limit
        #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
        max_allocations: Option<u32>,
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
        #[arg(long, value_name = "SECONDS", default_value_t = 86_400, value_parser = clap::value_parser!(u64).range(0..=31_536_000))]
        keep: u64,
    },
    /// End a secret and all that is relayed for its users
    Revoke { name: String },
}

pub async fn run(config: Config, command: Command) -> Outcome {
    let app = open_app(config, Missing::Refuse).await?;
    match command {
        Command::Credential { user, ttl, json } => credential(&app, &user, ttl, json).await,
        Command::Secret(command) => secret(&app, command).await,
    }
}

async fn secret(app: &App, command: Secret) -> Outcome {
    let failed = |name: &str| {
        let name = name.to_owned();
        |why| Failure::RelaySecret { name, why }
    };
    match command {
        Secret::Add {
            name,
            max_allocations,
        } => {
            let made = app.add_relay_secret(&name, max_allocations).await;
            let made = made.map_err(failed(&name))?;
            say(format_args!("Added {name}. Its secret: {}", made.expose()))
        }
        Secret::Rotate { name, keep } => {
            let made = app
                .rotate_relay_secret(&name, Duration::from_secs(keep))
                .await;
            let made = made.map_err(failed(&name))?;
            say(format_args!(
                "Rotated {name}. Its new secret: {}",
                made.expose()
            ))
        }
        Secret::Revoke { name } => {
            let revoked = app.revoke_relay_secret(&name).await;
            revoked.map_err(failed(&name))?;
            say(format_args!("Revoked {name}."))
        }
        Secret::List { json } => {
            let secrets = app.relay_secrets().await.map_err(failed(""))?;
            if json {
                let shown: Vec<_> = secrets.iter().map(RelaySecretJson::new).collect();
                return say(serde_json::json!(shown));
            }
            for secret in &secrets {
                let limit = match secret.max_allocations {
                    Some(limit) => format!("at most {limit} allocations"),
                    None => "no limit".to_owned(),
                };
                say(format_args!("{}\t{limit}", secret.name))?;
            }
            Ok(())
        }
    }
}

async fn credential(app: &App, user: &str, ttl: Option<u64>, json: bool) -> Outcome {
    let user = app.user_named(user).await?;
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
