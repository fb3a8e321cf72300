//! `moznods bench`: what a running relay carries. How that is measured is left to `moznods-bench`.

use std::io::IsTerminal;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};

use clap::{Args, Subcommand};
use moznods_bench::client::Credential;
use moznods_bench::relay::{self, Capacity, MAX_CLIENTS, MAX_SECONDS, Target, rate};
use moznods_storage::Missing;

use super::user::read_line;
use super::{Failure, Outcome, open_app, say};
use crate::app::{Actor, App};
use crate::config::Config;
use crate::i18n::{self, Lang};

/// Password of `--user`, where it is not given otherwise.
const PASSWORD_VARIABLE: &str = "TURN_PASSWORD";
/// Relay account that is made for a measurement and removed after it.
const DEVICE: &str = "moznods-bench";

#[derive(Subcommand)]
pub enum Command {
    /// Say how many calls a running relay carries: it is put under full load for some seconds
    Relay(Relay),
}

#[derive(Args)]
pub struct Relay {
    /// TURN server to measure; without it the one that runs on this data directory, by an account made for the purpose
    #[arg(long, value_name = "HOST:PORT", requires = "user")]
    server: Option<String>,
    /// Username at the TURN server
    #[arg(long, value_name = "NAME", requires = "server")]
    user: Option<String>,
    /// Its password, which others on this machine can see here; better by TURN_PASSWORD in the environment, or typed
    #[arg(long, requires = "user")]
    password: Option<String>,
    /// Seconds of each of three measurements
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=i64::from(MAX_SECONDS)))]
    seconds: u16,
    /// Clients, each with an allocation
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(2..=i64::from(MAX_CLIENTS)))]
    clients: u16,
    /// Address of this machine to send to; without it clients send to each other, both relayed by the server
    #[arg(long, value_name = "IP")]
    peer: Option<IpAddr>,
    /// As one JSON object
    #[arg(long)]
    json: bool,
}

pub async fn run(config: Config, command: Command) -> Outcome {
    let Command::Relay(relay) = command;
    let capacity = match (&relay.server, &relay.user) {
        (Some(server), Some(user)) => {
            let address = server.to_socket_addrs().ok().and_then(|mut all| all.next());
            let address = address.ok_or_else(|| Failure::ServerAddress(server.clone()))?;
            let password = relay.password().map_err(Failure::Password)?;
            relay.measure(address, user.clone(), password).await?
        }
        _ => relay.measure_own(config).await?,
    };
    relay.tell(&capacity)
}

impl Relay {
    fn password(&self) -> std::io::Result<String> {
        if let Some(password) = &self.password {
            return Ok(password.clone());
        }
        if let Ok(password) = std::env::var(PASSWORD_VARIABLE) {
            return Ok(password);
        }
        match std::io::stdin().is_terminal() {
            true => rpassword::prompt_password("Password: "),
            false => read_line(),
        }
    }

    async fn measure(
        &self,
        server: SocketAddr,
        username: String,
        password: String,
    ) -> Result<Capacity, Failure> {
        let target = Target {
            server,
            credential: Credential { username, password },
            clients: self.clients,
            seconds: self.seconds,
            peer: self.peer,
        };
        let measured = tokio::task::spawn_blocking(move || relay::measure(&target)).await;
        Ok(measured.map_err(std::io::Error::other)??)
    }

    /// With an account of its own, which is removed whatever comes of it.
    async fn measure_own(&self, config: Config) -> Result<Capacity, Failure> {
        let listen = config.turn.listen;
        let ip = match listen.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_loopback() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        let limit = config.turn.max_bytes_per_second_per_user;
        if limit != 0 && !self.json {
            say(format_args!(
                "What is found is at most what turn.max_bytes_per_second_per_user allows one user: {limit} bytes a second."
            ))?;
        }
        let app = open_app(config, Missing::Refuse).await?;
        remove(&app).await;
        let made = app.add_relay_device(Actor::CommandLine, DEVICE, None).await;
        let password = made.map_err(|why| Failure::Device {
            name: DEVICE.to_owned(),
            why,
        })?;
        let server = SocketAddr::new(ip, listen.port());
        let name = DEVICE.to_owned();
        let outcome = tokio::select! {
            outcome = self.measure(server, name, password.expose().to_owned()) => outcome,
            _ = tokio::signal::ctrl_c() => Err(std::io::Error::from(std::io::ErrorKind::Interrupted).into()),
        };
        remove(&app).await;
        outcome
    }

    fn tell(&self, capacity: &Capacity) -> Outcome {
        let [p50, p99] = capacity.delays.map(|delay| delay as f64 / 1000.0);
        let (voice, video) = (capacity.voice_calls(), capacity.video_calls());
        if self.json {
            return say(serde_json::json!({
                "voice_calls": voice,
                "video_calls": video,
                "video_mbit_each_way": capacity.video_mbit(),
                "voice_packets_per_second": rate(&capacity.voice) as u64,
                "voice_loss": capacity.voice.loss(),
                "video_packets_per_second": rate(&capacity.video) as u64,
                "video_loss": capacity.video.loss(),
                "delay_p50_us": p50,
                "delay_p99_us": p99,
                "paced_loss": capacity.loss,
            }));
        }
        for lang in [Lang::En, Lang::Ru] {
            let text = i18n::text(lang, "bench_relay", None);
            let text = text.replace("{voice}", &voice.to_string());
            let text = text.replace("{video}", &video.to_string());
            say(text.replace("{mbit}", &capacity.video_mbit().to_string()))?;
        }
        let kinds = [
            ("160 bytes, one by one", &capacity.voice),
            ("1200 bytes, eight at a time", &capacity.video),
        ];
        for (kind, delivered) in kinds {
            let (rate, loss) = (rate(delivered), 100.0 * delivered.loss());
            say(format_args!(
                "{kind}: {rate:.0} packets/s, {loss:.2} % lost"
            ))?;
        }
        let loss = 100.0 * capacity.loss;
        say(format_args!(
            "at the pace of voice: {p50:.0} µs on the way at the median, {p99:.0} µs at the 99th percentile, {loss:.2} % lost"
        ))
    }
}

/// It may not be there.
async fn remove(app: &App) {
    let _ = app.remove_relay_device(Actor::CommandLine, DEVICE).await;
}
