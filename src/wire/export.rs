//! An export of a room, piece by piece: one JSON object, which ends with the last piece alone, so that one that is cut off is
//! no JSON.

use bytes::Bytes;
use futures_util::{Stream, stream};
use moznods_storage::{Message, StorageError};

use super::objects::{ExportHeadJson, MessageJson};
use crate::app::{Error, Export};

enum Next {
    Head,
    Messages { first: bool },
    Nothing,
}

/// Each is read when it is asked for; after an error there is nothing more.
pub fn pieces(export: Export) -> impl Stream<Item = Result<Bytes, Error>> + Send {
    stream::try_unfold((export, Next::Head), |(mut export, next)| async move {
        let (piece, next) = match next {
            Next::Head => (head(&export), Next::Messages { first: true }),
            Next::Messages { first } => match export.next().await?.as_slice() {
                [] => (Ok(b"\n]}\n".to_vec()), Next::Nothing),
                some => (messages(some, first), Next::Messages { first: false }),
            },
            Next::Nothing => return Ok(None),
        };
        let piece = piece.map_err(|error| StorageError::Io(error.into()))?;
        Ok(Some((Bytes::from(piece), (export, next))))
    })
}

/// Up to the first message.
fn head(export: &Export) -> serde_json::Result<Vec<u8>> {
    let mut text = serde_json::to_vec(&ExportHeadJson::from(export))?;
    // It is an object, which goes on.
    text.pop();
    text.extend_from_slice(b",\"messages\":[");
    Ok(text)
}

fn messages(messages: &[Message], first: bool) -> serde_json::Result<Vec<u8>> {
    let mut text = Vec::new();
    for (n, message) in messages.iter().enumerate() {
        text.extend_from_slice(if n == 0 && first { b"\n" } else { b",\n" });
        serde_json::to_writer(&mut text, &MessageJson::without_readers(message))?;
    }
    Ok(text)
}
