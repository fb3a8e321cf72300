//! `moznods doctor`: looks at what the server needs, beside one that runs or before it is started, and says what is wrong and
//! what to do. Changes nothing but that it tries: a file in the data directory, ports, a relay for a moment.

mod addresses;
mod bucket;
mod certificates;
mod data;
mod machine;
mod ports;
mod relaying;
mod report;

use std::net::SocketAddr;

use axum::http::Method;
use clap::Args;
use ipnet::IpNet;
use moznods_turn::net::proxied;
use tokio::net::UnixStream;

use super::{Failure, Outcome, control};
use crate::config::{Config, Flags, Settings};
use crate::http::{CONTROL_FILE, RUNNING};
use crate::i18n::Lang;
use crate::wire::RunningJson;
use report::Report;

#[derive(Args)]
pub struct Doctor {
    /// Before a start: look at this machine as one for `moznods relay`
    #[arg(long)]
    relay: bool,
    /// As one JSON object
    #[arg(long)]
    json: bool,
}

impl Doctor {
    pub fn run(&self, flags: &Flags) -> Outcome {
        let mut report = Report::new(Lang::of_environment(), self.json);
        match Settings::collect(flags).and_then(|settings| Config::check(&settings)) {
            Ok(config) => {
                let runtime = tokio::runtime::Builder::new_multi_thread()
                    .enable_all()
                    .build()?;
                report.right("settings", "settings_right", &[])?;
                runtime.block_on(look(config, self.relay, &mut report))?;
                // A name that is still being asked for is not waited for.
                runtime.shutdown_background();
            }
            Err(error) => {
                let error = error.to_string();
                report.wrong("settings", "settings_wrong", &[("error", &error)])?;
            }
        }
        report.finish()
    }
}

/// What a connection of ours to this address begins with: where only balancers come from, we are taken for one.
fn beginning(balancers: &[IpNet], server: SocketAddr) -> &'static [u8] {
    match balancers.iter().any(|net| net.contains(&server.ip())) {
        true => proxied::LOCAL,
        false => &[],
    }
}

/// A server on the data directory.
struct Running {
    /// `None`: the system does not tell.
    process: Option<i32>,
    told: RunningJson,
}

async fn look(mut config: Config, is_relay: bool, report: &mut Report) -> Outcome {
    let running = running(&config, report).await?;
    let is_relay = is_relay
        || running
            .as_ref()
            .is_some_and(|running| running.told.is_relay);
    if is_relay {
        config = config.of_relay()?;
    }
    data::look(&config, report)?;
    bucket::look(&config, report).await?;
    machine::look(&config, running.as_ref(), report)?;
    let certificate = certificates::of_relay(&config, report)?;
    let relay = match &running {
        Some(running) => ports::of_running(running, &config, report).await?,
        None => ports::free(config.clone(), certificate.as_ref(), report).await?,
    };
    if let Some(relay) = &relay {
        relaying::look(&config, relay, certificate.as_ref(), report).await?;
        addresses::look(&config, relay, report).await?;
    }
    match (is_relay, &relay) {
        // No people come there.
        (true, Some(relay)) => addresses::of_relay_alone(&config, relay, report).await,
        (true, None) => Ok(()),
        (false, _) => addresses::of_name(&config, running.as_ref(), relay.as_ref(), report).await,
    }
}

async fn running(config: &Config, report: &mut Report) -> Result<Option<Running>, Failure> {
    let told = control::done(config, Method::GET, RUNNING).await;
    let told = told.and_then(|told| {
        serde_json::from_value(told).map_err(|error| Failure::Answer(error.to_string()))
    });
    let told: RunningJson = match told {
        Ok(told) => told,
        Err(Failure::NoServer { .. }) => {
            report.unknown("server", "server_none", &[])?;
            return Ok(None);
        }
        Err(error) => {
            let error = error.to_string();
            report.wrong("server", "server_mute", &[("error", &error)])?;
            return Ok(None);
        }
    };
    let socket = UnixStream::connect(config.data_dir.join(CONTROL_FILE)).await;
    let process = socket.and_then(|socket| socket.peer_cred()).ok();
    let process = process.and_then(|peer| peer.pid());
    match &told.unready {
        Some(why) => report.wrong("server", "server_unready", &[("why", why)])?,
        None => {
            let process = process.map_or_else(|| "?".to_owned(), |id| id.to_string());
            report.right("server", "server_runs", &[("process", &process)])?;
        }
    }
    Ok(Some(Running { process, told }))
}
