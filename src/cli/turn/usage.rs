//! `moznods turn usage`: what was relayed for whom in a month.

use axum::http::Method;
use clap::Args;
use moznods_storage::{Missing, Month};
use serde_json::{Value, json};

use super::owner;
use crate::cli::{Failure, Outcome, control, open_app, say};
use crate::config::Config;
use crate::wire::UsageJson;

#[derive(Args)]
pub struct Usage {
    /// YYYY-MM; the month that it is, in UTC, otherwise
    #[arg(long, value_name = "MONTH")]
    month: Option<Month>,
    /// As a JSON array
    #[arg(long)]
    json: bool,
}

impl Usage {
    pub async fn run(self, config: Config) -> Outcome {
        let used = self.of_server_or_database(config).await?;
        if self.json {
            return say(used);
        }
        for seen in used.as_array().into_iter().flatten() {
            say(format_args!(
                "{}  {} bytes to peers, {} to clients  {} s in {} allocations",
                owner(&seen["owner"]),
                seen["bytes_to_peers"],
                seen["bytes_to_clients"],
                seen["seconds"],
                seen["allocations"],
            ))?;
        }
        Ok(())
    }

    /// A running server knows what has not been written yet.
    async fn of_server_or_database(&self, config: Config) -> Result<Value, Failure> {
        let query = self.month.map(|month| format!("?month={month}"));
        let path = format!("/api/admin/relay/usage/{}", query.unwrap_or_default());
        match control::done(&config, Method::GET, &path).await {
            Err(Failure::NoServer { .. }) => {
                let app = open_app(config, Missing::Refuse).await?;
                let used = app.relay_usage(self.month).await?;
                Ok(json!(used.iter().map(UsageJson::new).collect::<Vec<_>>()))
            }
            answer => answer,
        }
    }
}
