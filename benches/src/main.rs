//! The harness: holds our server against coturn, and against programs that do nothing but the bare minimum.
#![forbid(unsafe_code)]

mod cases;
mod chat;
mod floors;
mod forward;
mod plot;
#[path = "../../storage/tests/support/postgres.rs"]
mod postgres;
#[path = "../../signaling/tests/support/redis.rs"]
mod redis;
mod report;
mod servers;
mod stream_forward;
mod websocket;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};

use crate::cases::Settings;
use crate::report::{Machine, Results};
use crate::servers::BenchError;

/// Measures our server, relay and chat, against coturn and against bare programs, on loopback; servers on core 0, load on
/// core 1.
#[derive(Parser)]
#[command(name = "moznods-bench", args_conflicts_with_subcommands = true)]
struct Cli {
    /// Cases to run; all of them otherwise
    #[arg(value_name = "CASE")]
    cases: Vec<String>,
    /// List the cases
    #[arg(long)]
    list: bool,
    /// Our server
    #[arg(long, value_name = "PATH", default_value = "target/release/moznods")]
    server_binary: PathBuf,
    /// Rounds, in each of which everything is measured once
    #[arg(long, value_name = "NUMBER", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=100))]
    rounds: u16,
    /// Seconds of one measurement
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// Write what was found into this directory as well [without one: benches]
    #[arg(long, value_name = "DIRECTORY", num_args = 0..=1, require_equals = true, default_missing_value = "benches")]
    save: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Hidden>,
}

#[derive(Subcommand)]
enum Hidden {
    /// Be a forwarder, for the harness
    #[command(hide = true)]
    Forward(forward::Forwarder),
    /// Be a forwarder of streams, for the harness
    #[command(hide = true)]
    ForwardStreams(stream_forward::StreamForwarder),
    /// Be a bare broadcaster, for the harness
    #[command(hide = true)]
    Broadcast,
    /// Be a bare writer of messages, for the harness
    #[command(hide = true)]
    Insert(floors::Inserter),
}

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("moznods-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<(), BenchError> {
    match cli.command {
        Some(Hidden::Forward(forwarder)) => return Ok(forwarder.run()?),
        Some(Hidden::ForwardStreams(forwarder)) => return Ok(forwarder.run()?),
        Some(Hidden::Broadcast) => return Ok(floors::broadcast()?),
        Some(Hidden::Insert(inserter)) => return inserter.run(),
        None => {}
    }
    if cli.list {
        for case in cases::all() {
            println!("{}", case.name);
        }
        return Ok(());
    }
    let cases = cases::named(&cli.cases)?;
    let machine = Machine::this();
    servers::prepare_load()?;
    let settings = Settings {
        binary: cli.server_binary,
        rounds: cli.rounds.into(),
        warm_up: Duration::from_millis(200),
        measured: Duration::from_secs_f64(cli.seconds.clamp(0.05, 60.0)),
    };
    let mut results = Results {
        machine,
        rounds: settings.rounds,
        seconds: settings.measured.as_secs_f64(),
        cases: Vec::new(),
    };
    let mut directories = vec![PathBuf::from("target/bench")];
    directories.extend(cli.save);
    for case in cases {
        let result = (case.run)(&settings)?;
        print!("{}", result.table());
        results.cases.push(result);
        // After each one: what was measured is not lost when a later one fails.
        for directory in &directories {
            results.write(directory)?;
        }
    }
    Ok(())
}
