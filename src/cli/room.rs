//! `moznods room`: rooms, beside a running server.

use std::io::Write;
use std::sync::Arc;

use clap::Subcommand;
use futures_util::TryStreamExt;
use moznods_storage::backup::EXPORT;
use moznods_storage::{Missing, Page, RoomId};

use super::output::Target;
use super::{Failure, Outcome, open_app, say};
use crate::app::{Actor, App, Error, Refusal};
use crate::config::Config;
use crate::wire::{self, RoomAccountJson, urls};

#[derive(Subcommand)]
pub enum Command {
    /// List the rooms, newest first; nothing of what is said there
    List {
        /// As a JSON array
        #[arg(long)]
        json: bool,
    },
    /// Delete a room and all that is in it; a running server obeys at once
    Delete {
        /// The number that `moznods room list` shows
        room: RoomId,
    },
    /// Write all that was said in a room into a file, as JSON
    Export {
        /// The number of the room, as in the web client's address
        room: RoomId,
        #[command(flatten)]
        target: Target,
    },
}

pub async fn run(config: Config, command: Command) -> Outcome {
    let app = open_app(config, Missing::Refuse).await?;
    match command {
        Command::List { json } => list(&app, json).await,
        Command::Delete { room } => {
            let deleted = app.delete_any_room(Actor::CommandLine, room).await;
            deleted.map_err(|error| failed(error, room))?;
            say(format_args!("Deleted the room {room}."))
        }
        Command::Export { room, target } => export(&app, room, &target).await,
    }
}

fn failed(error: Error, room: RoomId) -> Failure {
    match error {
        Error::Refused(Refusal::NotFound) => Failure::NoRoom(room),
        error => error.into(),
    }
}

async fn list(app: &App, json: bool) -> Outcome {
    let all = Page {
        offset: 0,
        limit: i64::MAX,
    };
    let rooms = app.all_rooms("", all).await?.items;
    if json {
        let written: Vec<_> = rooms.iter().map(RoomAccountJson::from).collect();
        return say(serde_json::json!(written));
    }
    for account in &rooms {
        say(format_args!(
            "{:>6}  {:<32}  of {}, {} people, {} messages, {} bytes in files",
            account.room.id,
            account.room.name,
            account.owner.username,
            account.participant_count,
            account.message_count,
            account.file_bytes,
        ))?;
    }
    Ok(())
}

async fn export(app: &Arc<App>, room: RoomId, target: &Target) -> Outcome {
    let export = app.export_any(room).await;
    let export = export.map_err(|error| failed(error, room))?;
    let base = app.config.url_at(app.config.http.listen);
    let mut pieces = std::pin::pin!(wire::export::pieces(export));
    if target.is_standard() {
        let mut out = std::io::stdout().lock();
        while let Some(piece) = pieces.try_next().await? {
            out.write_all(&urls::localized(piece, &base))?;
        }
        return Ok(out.flush()?);
    }
    let mut out = target.begin(EXPORT)?;
    while let Some(piece) = pieces.try_next().await? {
        let written = out.write_all(&urls::localized(piece, &base));
        written.map_err(|why| target.unwritable(why))?;
    }
    out.finish()?;
    say(format_args!("{}: room {room}.", target.file.display()))
}
