//! `moznods ready` and `welcome`: what the running server says of itself.

use axum::http::Method;
use serde_json::Value;

use super::{Failure, Outcome, control, say};
use crate::config::Config;
use crate::http::{RUNNING, WELCOME};
use crate::wire::{RunningJson, WelcomeJson};

/// For health checks: done when all works.
pub async fn ready(config: &Config) -> Outcome {
    let told: RunningJson = read(control::done(config, Method::GET, RUNNING).await?)?;
    match told.unready {
        None => say("The server is ready."),
        Some(why) => Err(Failure::Unready(why)),
    }
}

pub async fn welcome(config: &Config) -> Outcome {
    let told: WelcomeJson = read(control::done(config, Method::POST, WELCOME).await?)?;
    say_welcome(&told)
}

/// Where to go and what is needed there; not for logs.
pub fn say_welcome(told: &WelcomeJson) -> Outcome {
    let WelcomeJson {
        version,
        url,
        setup_token,
        invite_code,
    } = told;
    say(format_args!("MOznoDS {version} serves {url}"))?;
    if let Some(token) = setup_token {
        say(format_args!(
            "Become the administrator (once): {url}/#/setup/{token}"
        ))?;
    }
    match invite_code {
        Some(code) => say(format_args!("Invite code for registration: {code}")),
        None => Ok(()),
    }
}

fn read<T: serde::de::DeserializeOwned>(told: Value) -> Result<T, Failure> {
    serde_json::from_value(told).map_err(|error| Failure::Answer(error.to_string()))
}
