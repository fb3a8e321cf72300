//! The binary: parses the command line and hands it to `cli`.
#![forbid(unsafe_code)]

mod app;
mod certificates;
mod cli;
mod config;
mod http;
mod i18n;
mod outbound;
mod relay;
mod wire;

fn main() -> std::process::ExitCode {
    cli::run()
}
