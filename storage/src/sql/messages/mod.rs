//! Messages and read positions: what is written. How they are read stands in `read`, reactions and mentions beside it.

mod mentions;
mod reactions;
mod read;
mod unread;

use async_trait::async_trait;

use super::files::{add_attachments, attach};
use super::users::{USER, read_user};
use super::{Result, SqlStore};
use super::{events, rooms};
use crate::sql::{Connection, OptionalExtension, params};
use crate::{
    Audience, Cursor, Deleter, EventKind, Listing, Message, MessageEdit, MessageId, MessageStore,
    NewMessage, Page, RoomId, Sent, StorageError, User, UserId, Window,
};

pub(super) use read::by_ids;
pub(super) use unread::Counts;

#[async_trait]
impl MessageStore for SqlStore {
    async fn add_message(&self, message: NewMessage) -> Result<Option<Sent>> {
        self.write(move |c| add(c, message)).await
    }

    async fn edit_message(&self, edit: MessageEdit) -> Result<Option<Message>> {
        self.write(move |c| change(c, &edit)).await
    }

    async fn delete_message(&self, message: MessageId, by: Deleter) -> Result<bool> {
        self.write(move |c| delete(c, message, by)).await
    }

    async fn set_reaction(
        &self,
        message: MessageId,
        user: UserId,
        emoji: String,
        present: bool,
    ) -> Result<Option<bool>> {
        self.write(move |c| reactions::set(c, message, user, &emoji, present))
            .await
    }

    async fn message(&self, message: MessageId) -> Result<Option<Message>> {
        self.read(move |c| read::one(c, message)).await
    }

    async fn messages(&self, room: RoomId, page: Page) -> Result<Listing<Message>> {
        self.read(move |c| read::page(c, room, page)).await
    }

    async fn message_window(&self, room: RoomId, cursor: Cursor, limit: i64) -> Result<Window> {
        self.read(move |c| read::window(c, room, cursor, limit))
            .await
    }

    async fn mentions_of(
        &self,
        user: UserId,
        before: Option<MessageId>,
        limit: i64,
    ) -> Result<Window> {
        self.read(move |c| mentions::of_user(c, user, before, limit))
            .await
    }

    async fn room_of_message(&self, message: MessageId) -> Result<Option<RoomId>> {
        self.read(move |c| room_of(c, message)).await
    }

    async fn last_message(&self, room: RoomId) -> Result<Option<MessageId>> {
        self.read(move |c| last(c, room)).await
    }

    async fn mark_read(&self, room: RoomId, user: UserId, message: MessageId) -> Result<bool> {
        self.write(move |c| mark_read(c, room, user, message)).await
    }
}

/// One statement for the right, one for the message (its trigger counts it), and others only for what it has.
fn add(c: &Connection, new: NewMessage) -> Result<Option<Sent>> {
    let author = c
        .prepare_cached(&format!(
            "SELECT {USER} FROM participants p JOIN users u ON u.id = p.user_id
             WHERE p.room_id = ? AND p.user_id = ?"
        ))?
        .query_row([new.room, new.author], |row| read_user(row, 0))
        .optional()?;
    match author {
        Some(author) => add_by(c, author, new, None).map(Some),
        None => Ok(None),
    }
}

/// By whoever has the right to it. `author_name` is what he is called in this one message.
pub(super) fn add_by(
    c: &Connection,
    mut author: User,
    new: NewMessage,
    author_name: Option<String>,
) -> Result<Sent> {
    let reply_to = match new.reply_to {
        None => None,
        Some(original) => Some(read::reply_in(c, new.room, original)?),
    };
    let row = params![
        new.room,
        new.author,
        new.content,
        new.now,
        new.client_id,
        new.reply_to,
        author_name,
    ];
    let id = c.insert(
        "INSERT INTO messages (room_id, author_id, content, created_at, client_id, reply_to, author_name)
         VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        row,
    )?;
    let Some(id) = id else {
        return again(c, &new);
    };
    let mentions = mentions::add(c, id, new.room, new.author, &new.mentions)?;
    attach(c, id, new.author, &new.attachments)?;
    author.display_name = author_name.unwrap_or(author.display_name);
    let mut message = Message {
        id,
        room_id: new.room,
        author,
        content: new.content,
        attachments: Vec::new(),
        created_at: new.now,
        edited_at: None,
        client_id: new.client_id,
        reply_to,
        reactions: Vec::new(),
        mentions,
        mentions_all: new.mentions.all,
        read_by: Vec::new(),
    };
    if !new.attachments.is_empty() {
        add_attachments(c, [&mut message])?;
    }
    events::add_of_message(c, EventKind::MessageNew, message.author.id, &message)?;
    Ok(Sent::New(message))
}

/// The message that the author has sent before under the same name.
fn again(c: &Connection, new: &NewMessage) -> Result<Sent> {
    let id = c
        .prepare_cached(
            "SELECT id FROM messages WHERE author_id = ? AND client_id = ? AND room_id = ?",
        )?
        .query_row(params![new.author, new.client_id, new.room], |row| {
            row.get(0)
        })
        .optional()?
        .ok_or(StorageError::ClientIdTaken)?;
    let message = read::one(c, id)?.ok_or(StorageError::ClientIdTaken)?;
    Ok(Sent::Again(message))
}

fn change(c: &Connection, edit: &MessageEdit) -> Result<Option<Message>> {
    let room = c
        .prepare_cached(
            "UPDATE messages SET content = ?3, edited_at = ?4
             WHERE id = ?1 AND author_id = ?2 AND EXISTS (
                 SELECT 1 FROM participants p WHERE p.room_id = messages.room_id AND p.user_id = ?2)
             RETURNING room_id",
        )?
        .query_row(
            params![edit.message, edit.author, edit.content, edit.now],
            |row| row.get(0),
        )
        .optional()?;
    let Some(room) = room else {
        return Ok(None);
    };
    c.prepare_cached("DELETE FROM mentions WHERE message_id = ?")?
        .execute([edit.message])?;
    mentions::add(c, edit.message, room, edit.author, &edit.mentions)?;
    let message = read::one(c, edit.message)?;
    if let Some(message) = &message {
        events::add_of_message(c, EventKind::MessageEdited, edit.author, message)?;
    }
    Ok(message)
}

fn delete(c: &Connection, message: MessageId, by: Deleter) -> Result<bool> {
    let found = c
        .prepare_cached("SELECT room_id, author_id FROM messages WHERE id = ?")?
        .query_row([message], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((room, author)) = found else {
        return Ok(false);
    };
    let user = match by {
        Deleter::Author(by) if by == author && rooms::is_participant(c, room, by)? => by,
        Deleter::Author(_) => return Ok(false),
        Deleter::By(right) => {
            rooms::require_over(c, room, right, author)?;
            right.by
        }
    };
    let rows = c
        .prepare_cached("DELETE FROM messages WHERE id = ?")?
        .execute([message])?;
    if rows == 1 {
        let audience = Audience::Room(room);
        events::add(c, audience, EventKind::MessageDeleted, message, user, None)?;
    }
    Ok(rows == 1)
}

pub(super) fn room_of(c: &Connection, message: MessageId) -> Result<Option<RoomId>> {
    Ok(
        c.prepare_cached("SELECT room_id FROM messages WHERE id = ?")?
            .query_row([message], |row| row.get(0))
            .optional()?,
    )
}

fn last(c: &Connection, room: RoomId) -> Result<Option<MessageId>> {
    Ok(
        c.prepare_cached("SELECT max(id) FROM messages WHERE room_id = ?")?
            .query_row([room], |row| row.get(0))?,
    )
}

fn mark_read(c: &Connection, room: RoomId, user: UserId, message: MessageId) -> Result<bool> {
    let rows = c
        .prepare_cached(
            "UPDATE participants SET last_read_id = ?3 WHERE room_id = ?1 AND user_id = ?2 AND last_read_id < ?3",
        )?
        .execute([room, user, message])?;
    if rows == 1 {
        let (audience, kind) = (Audience::Room(room), EventKind::MessageRead);
        events::add(c, audience, kind, message, user, None)?;
    }
    Ok(rows == 1)
}
