//! The binary: parses the command line and hands it to `cli`.
#![forbid(unsafe_code)]

mod app;
mod cli;
// Until the relay is started, nobody reads its settings.
#[allow(dead_code)]
mod config;
mod http;
mod i18n;
mod wire;

fn main() -> std::process::ExitCode {
    cli::run()
}
