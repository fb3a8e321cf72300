//! The command line: what the administrator may say, and how it ends (0: done; 2: a setting, a port, the data
//! directory or the usage is wrong; 1: anything else). An error is one line on stderr.

mod audit;
mod ban;
mod bench;
mod control;
mod data;
mod doctor;
mod import;
mod migrate;
mod output;
mod owner;
mod room;
mod running;
mod serve;
mod supervisor;
mod turn;
mod user;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand};
use moznods_bench::relay::MeasureError;
use moznods_storage::backup::BackupError;
use moznods_storage::{BlobError, MigrateError, Missing, RoomId, SqlStore, StorageError};
use moznods_turn::server::AllocationName;

use crate::app::{App, DeviceError, Error, SecretError};
use crate::certificates;
use crate::config::{Config, ConfigError, Flags, Settings};
use serve::Role;

/// Rooms, chat, calls and a STUN/TURN relay in one process.
#[derive(Parser)]
#[command(name = "moznods", version)]
struct Cli {
    #[command(flatten)]
    flags: Flags,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the server
    Serve,
    /// Run a relay alone, for servers elsewhere: with their database_url, redis_url and [turn]
    Relay,
    /// Manage accounts; a running server obeys at once
    #[command(subcommand)]
    User(user::Command),
    /// Look after rooms; a running server goes on
    #[command(subcommand)]
    Room(room::Command),
    /// See and lift bans of addresses and accounts
    #[command(subcommand)]
    Ban(ban::Command),
    /// Manage the relay
    #[command(subcommand)]
    Turn(turn::Command),
    /// Write all data into one file; a running server goes on
    Backup(data::Backup),
    /// Make the data what they were when a backup was written, in an empty data directory
    Restore(data::Restore),
    /// Say whether the data are sound; a running server goes on
    Check(data::Check),
    /// Say whether the running server is ready: for health checks
    Ready,
    /// Say where the running server is, and how to become its administrator or register there
    Welcome,
    /// Look for what is wrong, beside a running server or before one is started, and say what to do
    Doctor(doctor::Doctor),
    /// Take over what another program was set up with, or has kept
    #[command(subcommand)]
    Import(import::Command),
    /// Move all data from SQLite to PostgreSQL: beside a running server first, then, with that stopped, what has changed since
    Migrate(migrate::Migrate),
    /// Measure what this machine carries
    #[command(subcommand)]
    Bench(bench::Command),
    /// List what administrators, owners and moderators have done over others
    Audit(audit::Audit),
    /// Look at the settings in force
    #[command(subcommand)]
    Config(ConfigCommand),
}

#[derive(Subcommand)]
enum ConfigCommand {
    /// Say whether the settings can be used
    Check,
    /// Print the settings as a moznods.toml, without secrets
    Print,
}

/// Why a command did not do what it should.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    Config(#[from] ConfigError),
    #[error(
        "{key} = \"{address}\": {transport}: {why}; expected {}",
        expected_address(why)
    )]
    Listen {
        key: &'static str,
        address: std::net::SocketAddr,
        transport: &'static str,
        why: std::io::Error,
    },
    #[error("{0}")]
    Certificate(#[from] certificates::Unusable),
    #[error("turn secret \"{name}\": {why}")]
    RelaySecret { name: String, why: SecretError },
    #[error("turn user \"{name}\": {why}")]
    Device { name: String, why: DeviceError },
    #[error(
        "data_dir = \"{}\": no `moznods serve` is running on it; expected to be run where it runs, or its --data-dir",
        directory.display()
    )]
    NoServer { directory: PathBuf },
    #[error("the server is not ready: {0}")]
    Unready(String),
    #[error(
        "storage.database_url names PostgreSQL, for which there is no `moznods {command}`; expected {instead}"
    )]
    OfPostgres {
        command: &'static str,
        instead: &'static str,
    },
    #[error("data_dir = \"{}\": it is of user {user}, and root would leave there what he cannot read; expected to be run as that user", directory.display())]
    ServedByRoot { directory: PathBuf, user: u32 },
    #[error("data_dir = \"{}\": this cannot go on as its owner: {why}", directory.display())]
    NotOwner {
        directory: PathBuf,
        why: std::io::Error,
    },
    #[error("{}: {why}; expected the right to speak to the server, which its own user and root have", file.display())]
    Control { file: PathBuf, why: std::io::Error },
    #[error("the server: {0}")]
    Answer(String),
    #[error(
        "allocation {0}: there is none of this name; `moznods turn allocations` lists those there are"
    )]
    NoAllocation(AllocationName),
    #[error("ban {0}: there is none of this number; `moznods ban list` shows those in force")]
    NoBan(u64),
    #[error("room {0}: there is none of this number")]
    NoRoom(RoomId),
    #[error(
        "--from \"{0}\": expected sqlite: and a data directory, such as sqlite:/var/lib/moznods"
    )]
    MigrateFrom(String),
    #[error("--to: {0}; expected postgres://USER:PASSWORD@HOST[:PORT]/DATABASE")]
    MigrateTo(&'static str),
    #[error("migrate: {0}")]
    Migrate(#[from] MigrateError),
    #[error("files: {0}")]
    Blob(#[from] BlobError),
    #[error("bench relay: {0}")]
    Measure(#[from] MeasureError),
    #[error("server \"{0}\": no such address; expected HOST:PORT")]
    ServerAddress(String),
    #[error("{0}")]
    Storage(#[from] StorageError),
    #[error("{0}")]
    Backup(#[from] BackupError),
    #[error(
        "data_dir = \"{}\": a `moznods serve` is running on it; expected it to be stopped until this is done, or --dry-run",
        directory.display()
    )]
    Serving { directory: PathBuf },
    #[error("{}: {why}; expected the media directory of the Django program, and the right to read it for the owner of data_dir", directory.display())]
    NoMedia {
        directory: PathBuf,
        why: std::io::Error,
    },
    #[error("{}: {why}; expected a file that can be read", file.display())]
    Unreadable { file: PathBuf, why: std::io::Error },
    #[error("{}: it is there already; expected another name, or --force", .0.display())]
    FileExists(PathBuf),
    #[error("{}: it is no plain file; expected the name of one, or - for the standard output", .0.display())]
    NoFile(PathBuf),
    #[error("{}: it is no directory; expected one in which backups are kept", .0.display())]
    NoDirectory(PathBuf),
    #[error("{}: {why}; expected a directory in which the owner of data_dir may write, or - in place of it, where the shell writes: `- > FILE`", file.display())]
    Unwritable { file: PathBuf, why: std::io::Error },
    #[error("what is wrong with the data: {0}; `moznods restore` makes them anew from a backup")]
    Unsound(usize),
    #[error("what is wrong: {0}; the lines above with ✗ say what to do")]
    Sick(usize),
    #[error("{0}")]
    App(#[from] Error),
    #[error("password: {0}")]
    Password(std::io::Error),
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

fn expected_address(why: &std::io::Error) -> &'static str {
    match why.kind() {
        std::io::ErrorKind::PermissionDenied => {
            "a port from 1024 up, or the right to lower ones: root or CAP_NET_BIND_SERVICE"
        }
        _ => "an address of this machine and a free port",
    }
}

impl Failure {
    fn exit_code(&self) -> u8 {
        match self {
            Failure::Config(_)
            | Failure::Listen { .. }
            | Failure::Certificate(_)
            | Failure::ServedByRoot { .. }
            | Failure::OfPostgres { .. }
            | Failure::MigrateFrom(_)
            | Failure::MigrateTo(_)
            | Failure::Serving { .. } => 2,
            Failure::Backup(BackupError::NotEmpty(_)) => 2,
            Failure::Storage(error) | Failure::Backup(BackupError::Storage(error)) => {
                storage_exit_code(error)
            }
            _ => 1,
        }
    }
}

fn storage_exit_code(error: &StorageError) -> u8 {
    match error {
        StorageError::Directory { .. }
        | StorageError::Locked { .. }
        | StorageError::NoDatabase { .. }
        | StorageError::NewerSchema { .. }
        | StorageError::OlderSchema { .. }
        | StorageError::Open { .. } => 2,
        _ => 1,
    }
}

type Outcome = Result<(), Failure>;

/// Does what the command line says.
pub fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return bad_usage(&error),
    };
    match execute(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("moznods: {failure}");
            ExitCode::from(failure.exit_code())
        }
    }
}

/// Help and version as clap prints them; what is wrong, without the usage below it, on one line.
fn bad_usage(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() || error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        // Nobody reads it: then there is nobody to tell.
        let _ = error.print();
        return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
    }
    let text = error.to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let end = ["Usage:", "For more information"]
        .iter()
        .filter_map(|mark| text.find(mark))
        .min();
    let words: Vec<&str> = text[..end.unwrap_or(text.len())]
        .split_whitespace()
        .collect();
    eprintln!("moznods: {}", words.join(" ").replace(" tip: ", "; "));
    ExitCode::from(2)
}

fn execute(cli: Cli) -> Outcome {
    let cli = match cli.command {
        Command::Doctor(doctor) => return doctor.run(&cli.flags),
        Command::Import(import) => return import.run(&cli.flags),
        command => Cli { command, ..cli },
    };
    let settings = Settings::collect(&cli.flags)?;
    let config = Config::check(&settings)?;
    match &cli.command {
        Command::Backup(backup) => {
            of_sqlite(
                &config,
                "backup",
                "pg_dump, which has the files as well, unless they are in a bucket",
            )?;
            as_owner(&config.data_dir)?;
            return data::back_up(&config, backup);
        }
        Command::Restore(restore) => {
            of_sqlite(&config, "restore", "pg_restore")?;
            as_owner(&config.data_dir)?;
            return data::restore(&config, restore);
        }
        Command::Check(check) => {
            of_sqlite(&config, "check", "pg_amcheck")?;
            as_owner(&config.data_dir)?;
            return data::check(&config, check);
        }
        Command::Migrate(migrate) => as_owner(&migrate.source()?)?,
        Command::Serve | Command::Relay => {
            if let Some((user, _)) = owner::other(&config.data_dir) {
                let directory = config.data_dir;
                return Err(Failure::ServedByRoot { directory, user });
            }
        }
        Command::Config(_) | Command::Bench(_) => {}
        _ => as_owner(&config.data_dir)?,
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    match cli.command {
        Command::Serve => runtime.block_on(serve::run(Role::Whole, config, settings, cli.flags)),
        Command::Relay => runtime.block_on(serve::run(
            Role::Relay,
            config.of_relay()?,
            settings,
            cli.flags,
        )),
        Command::User(command) => runtime.block_on(user::run(config, command)),
        Command::Room(command) => runtime.block_on(room::run(config, command)),
        Command::Turn(command) => runtime.block_on(turn::run(config, command)),
        Command::Ready => runtime.block_on(running::ready(&config)),
        Command::Welcome => runtime.block_on(running::welcome(&config)),
        Command::Ban(command) => runtime.block_on(ban::run(&config, command)),
        Command::Migrate(migrate) => runtime.block_on(migrate.run(&config)),
        Command::Audit(audit) => runtime.block_on(audit.run(config)),
        Command::Bench(command) => {
            let outcome = runtime.block_on(bench::run(config, command));
            // A load that was broken off is not waited for.
            runtime.shutdown_background();
            outcome
        }
        // Done already.
        Command::Backup(_)
        | Command::Restore(_)
        | Command::Check(_)
        | Command::Doctor(_)
        | Command::Import(_) => Ok(()),
        Command::Config(ConfigCommand::Check) => say("The settings can be used."),
        Command::Config(ConfigCommand::Print) => say(settings.print().trim_end()),
    }
}

/// One line of output. `println!` would panic when nobody reads it.
fn say(line: impl std::fmt::Display) -> Outcome {
    Ok(writeln!(std::io::stdout(), "{line}")?)
}

/// That the database is one that the command can be done with.
fn of_sqlite(config: &Config, command: &'static str, instead: &'static str) -> Outcome {
    match config.storage.database {
        None => Ok(()),
        Some(_) => Err(Failure::OfPostgres { command, instead }),
    }
}

/// From here on a command of root's is one of the data's owner: nothing there becomes root's, and where a link in it leads
/// nobody gets by root's rights.
fn as_owner(directory: &Path) -> Outcome {
    owner::become_other(directory).map_err(|why| Failure::NotOwner {
        directory: directory.to_owned(),
        why,
    })
}

/// The rules over the database of `config`, for one command.
async fn open_app(config: Config, missing: Missing) -> Result<Arc<App>, Failure> {
    let store = match &config.storage.database {
        None => SqlStore::open(&config.data_dir, missing)?,
        Some(url) => SqlStore::connect(url, missing)?,
    };
    Ok(App::open(config, Arc::new(store)).await?)
}
