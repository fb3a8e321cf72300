//! `moznods turn allocations` and `kill`: what the running server relays.

use axum::http::{Method, StatusCode};
use clap::Args;
use moznods_turn::server::AllocationName;
use serde_json::Value;

use super::{nodes, owner};
use crate::cli::{Failure, Outcome, control, say};
use crate::config::Config;

const PATH: &str = "/api/admin/relay/allocations/";

#[derive(Args)]
pub struct List {
    /// Only those of this user: username or mail address
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// As a JSON array
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
#[group(required = true, multiple = false)]
pub struct Kill {
    /// The one that `moznods turn allocations` calls so
    #[arg(value_name = "ID")]
    id: Option<AllocationName>,
    /// All of this user: username or mail address
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
}

fn of_user(user: Option<&str>) -> String {
    let query = user.map(|name| format!("?user={}", control::encoded(name)));
    format!("{PATH}{}", query.unwrap_or_default())
}

impl List {
    pub async fn run(self, config: &Config) -> Outcome {
        let listed = control::done(config, Method::GET, &of_user(self.user.as_deref())).await?;
        if self.json {
            say(listed)?;
            return nodes::name_silent(config).await;
        }
        let listed: Vec<&Value> = listed.as_array().into_iter().flatten().collect();
        let first = listed.first().map(|seen| &seen["node"]);
        let is_one = listed.iter().all(|seen| Some(&seen["node"]) == first);
        for seen in listed {
            match seen["node"].as_str() {
                Some(node) if !is_one => say(format_args!("{}  at {node}", line(seen)))?,
                _ => say(line(seen))?,
            }
        }
        nodes::name_silent(config).await
    }
}

/// One allocation for people: whose, from where to where, for how long, and how much.
fn line(seen: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let owner = owner(&seen["owner"]);
    let relays: Vec<String> = seen["relay"]
        .as_array()
        .into_iter()
        .flatten()
        .map(text)
        .collect();
    format!(
        "{}  {owner}  {} {} -> {}  {} s, {} s left  {} bytes to peers, {} to the client",
        text(&seen["id"]),
        text(&seen["transport"]),
        text(&seen["client"]),
        relays.join(" "),
        seen["age"],
        seen["remaining"],
        seen["to_peer"]["bytes"],
        seen["to_client"]["bytes"],
    )
}

impl Kill {
    pub async fn run(self, config: &Config) -> Outcome {
        if let Some(id) = self.id {
            let (status, answer) =
                control::ask(config, Method::DELETE, &format!("{PATH}{id}/")).await?;
            return match status {
                StatusCode::NO_CONTENT => say(format_args!("Ended {id}.")),
                StatusCode::NOT_FOUND => Err(Failure::NoAllocation(id)),
                status => Err(control::failure(status, &answer)),
            };
        }
        let path = of_user(self.user.as_deref());
        let answer = control::done(config, Method::DELETE, &path).await?;
        nodes::say_silent(nodes::silent_of(&answer).into_iter());
        say(format_args!("Ended {} allocations.", answer["ended"]))
    }
}
