//! `moznods turn user`: relay accounts of devices.

use clap::Subcommand;

use crate::app::{Actor, App};
use crate::cli::user::read_line;
use crate::cli::{Failure, Outcome, say};
use crate::wire::RelayDeviceJson;

/// A running server obeys at once.
#[derive(Subcommand)]
pub enum Command {
    /// Make an account with a password that does not expire, and print the password unless it was given
    Add {
        /// Name of the device, which is the username for the relay
        name: String,
        /// Read the password from the first line of the standard input
        #[arg(long)]
        password_stdin: bool,
    },
    /// List the devices by name
    List {
        /// As a JSON array
        #[arg(long)]
        json: bool,
    },
    /// End an account and all that is relayed for it
    Remove { name: String },
}

pub async fn run(app: &App, command: Command) -> Outcome {
    let failed = |name: &str| {
        let name = name.to_owned();
        |why| Failure::Device { name, why }
    };
    match command {
        Command::Add {
            name,
            password_stdin,
        } => {
            let given = password_stdin.then(read_line).transpose();
            let given = given.map_err(Failure::Password)?;
            let is_given = given.is_some();
            let added = app.add_relay_device(Actor::CommandLine, &name, given).await;
            let password = added.map_err(failed(&name))?;
            match is_given {
                true => say(format_args!("Added {name}.")),
                false => say(format_args!(
                    "Added {name}. Its password: {}",
                    password.expose()
                )),
            }
        }
        Command::Remove { name } => {
            let removed = app.remove_relay_device(Actor::CommandLine, &name).await;
            removed.map_err(failed(&name))?;
            say(format_args!("Removed {name}."))
        }
        Command::List { json } => {
            let devices = app.relay_devices().await.map_err(failed(""))?;
            let realm = &app.config.turn.realm;
            if json {
                let shown: Vec<_> = devices
                    .iter()
                    .map(|device| RelayDeviceJson::new(device, realm))
                    .collect();
                return say(serde_json::json!(shown));
            }
            for device in &devices {
                match device.realm == *realm {
                    true => say(&device.name)?,
                    false => say(format_args!(
                        "{}\tcannot sign in: made for the realm \"{}\", and turn.realm is \"{realm}\"; remove it and add \
                         it again",
                        device.name, device.realm
                    ))?,
                }
            }
            Ok(())
        }
    }
}
