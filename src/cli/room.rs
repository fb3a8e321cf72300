//! `moznods room`: rooms, beside a running server.

use std::io::Write;

use clap::Subcommand;
use futures_util::TryStreamExt;
use moznods_storage::backup::EXPORT;
use moznods_storage::{Missing, RoomId};

use super::output::Target;
use super::{Failure, Outcome, open_app, say};
use crate::app::{Error, Refusal};
use crate::config::Config;
use crate::wire::{export, urls};

#[derive(Subcommand)]
pub enum Command {
    /// Write all that was said in a room into a file, as JSON
    Export {
        /// The number of the room, as in the web client's address
        room: RoomId,
        #[command(flatten)]
        target: Target,
    },
}

pub async fn run(config: Config, command: Command) -> Outcome {
    let Command::Export { room, target } = command;
    let app = open_app(config, Missing::Refuse).await?;
    let export = app.export_any(room).await.map_err(|error| match error {
        Error::Refused(Refusal::NotFound) => Failure::NoRoom(room),
        error => error.into(),
    })?;
    let base = app.config.url_at(app.config.http.listen);
    let mut pieces = std::pin::pin!(export::pieces(export));
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
