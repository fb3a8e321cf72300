//! A room as it is written out: what it is, who takes part, and all that was said, part by part, as nothing of a history is
//! ever whole in memory.

use std::sync::Arc;

use moznods_storage::{Cursor, Message, MessageId, Participant, Room, RoomId, Timestamp, User};

use super::roles::Act;
use super::{App, Refusal, Result, now};

/// Messages that are read at once.
const PART: i64 = 100;

/// An export that goes on.
pub struct Export {
    app: Arc<App>,
    /// Whose right it is, and is asked for again with each part; `None`: the administrator's at the machine.
    by: Option<User>,
    pub room: Room,
    pub participants: Vec<Participant>,
    pub began_at: Timestamp,
    /// The last message of those that have been read.
    done: MessageId,
    /// What is said later is not in it.
    last: MessageId,
}

impl App {
    pub async fn export(self: &Arc<Self>, by: User, room: RoomId) -> Result<Export> {
        let found = self.may(&by, room, Act::Export).await?.room;
        self.begin_export(Some(by), found).await
    }

    /// For who could read the database.
    pub async fn export_any(self: &Arc<Self>, room: RoomId) -> Result<Export> {
        let found = self.store.room(room).await?.ok_or(Refusal::NotFound)?;
        self.begin_export(None, found).await
    }

    async fn begin_export(self: &Arc<Self>, by: Option<User>, room: Room) -> Result<Export> {
        Ok(Export {
            participants: self.store.participants(room.id).await?,
            last: self.store.last_message(room.id).await?.unwrap_or_default(),
            app: Arc::clone(self),
            by,
            room,
            began_at: now(),
            done: 0,
        })
    }
}

impl Export {
    /// The next messages, oldest first; none: that was all.
    pub async fn next(&mut self) -> Result<Vec<Message>> {
        if let Some(by) = &self.by {
            self.app.may(by, self.room.id, Act::Export).await?;
        }
        let cursor = Cursor::After(self.done);
        let window = self.app.store.message_window(self.room.id, cursor, PART);
        let mut messages = window.await?.messages;
        messages.retain(|message| message.id <= self.last);
        messages.reverse();
        self.done = messages.last().map_or(self.last, |message| message.id);
        Ok(messages)
    }
}
