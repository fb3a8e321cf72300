//! `moznods turn nodes`: the relays of all nodes, as the running server knows them.

use axum::http::Method;
use clap::Args;
use serde_json::Value;

use crate::cli::{Failure, Outcome, control, say};
use crate::config::Config;

const PATH: &str = "/api/admin/relay/nodes/";

#[derive(Args)]
pub struct List {
    /// As a JSON array
    #[arg(long)]
    json: bool,
}

impl List {
    pub async fn run(self, config: &Config) -> Outcome {
        let listed = control::done(config, Method::GET, PATH).await?;
        if self.json {
            return say(listed);
        }
        for node in listed.as_array().into_iter().flatten() {
            say(line(node))?;
        }
        Ok(())
    }
}

fn texts(list: &Value) -> Vec<&str> {
    let items = list.as_array().into_iter().flatten();
    items.filter_map(Value::as_str).collect()
}

/// One relay for people.
fn line(node: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let regions = match texts(&node["regions"]) {
        regions if regions.is_empty() => "-".to_owned(),
        regions => regions.join(","),
    };
    format!(
        "{}  {regions}  {}  {} allocations  {} bytes/s  {:.0} % of what it carries",
        text(&node["name"]),
        text(&node["state"]),
        node["allocations"],
        node["bytes_per_second"],
        node["load"].as_f64().unwrap_or(0.0) * 100.0,
    )
}

/// Says on stderr which relays have not answered, if any: what was listed is without theirs.
pub async fn name_silent(config: &Config) -> Result<(), Failure> {
    let listed = control::done(config, Method::GET, PATH).await?;
    let nodes = listed.as_array().into_iter().flatten();
    let silent = nodes.filter(|node| node["state"] == "silent");
    say_silent(silent.filter_map(|node| node["name"].as_str()));
    Ok(())
}

/// As [`name_silent`], of these.
pub fn say_silent<'a>(names: impl Iterator<Item = &'a str>) {
    for name in names {
        eprintln!("moznods: relay {name} does not answer");
    }
}

/// Those that an answer names.
pub fn silent_of(answer: &Value) -> Vec<&str> {
    texts(&answer["silent"])
}
