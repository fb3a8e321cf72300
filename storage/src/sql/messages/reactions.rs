//! Reactions to messages.

use std::collections::HashMap;

use super::super::{Result, events};
use crate::sql::{Connection, OptionalExtension, params};
use crate::{
    Audience, EventKind, MAX_REACTIONS, MessageId, Reaction, RoomId, StorageError, UserId,
};

/// Whether that changed anything.
pub(super) fn set(
    c: &Connection,
    message: MessageId,
    user: UserId,
    emoji: &str,
    present: bool,
) -> Result<Option<bool>> {
    let room: Option<RoomId> = c
        .prepare_cached(
            "SELECT m.room_id FROM messages m JOIN participants p ON p.room_id = m.room_id
             WHERE m.id = ? AND p.user_id = ?",
        )?
        .query_row([message, user], |row| row.get(0))
        .optional()?;
    let Some(room) = room else {
        return Ok(None);
    };
    let rows = if present {
        add(c, message, user, emoji)?
    } else {
        c.prepare_cached(
            "DELETE FROM reactions WHERE message_id = ? AND emoji = ? AND user_id = ?",
        )?
        .execute(params![message, emoji, user])?
    };
    if rows == 1 {
        let audience = Audience::Room(room);
        let kind = if present {
            EventKind::ReactionAdded
        } else {
            EventKind::ReactionRemoved
        };
        events::add(c, audience, kind, message, user, Some(emoji.to_owned()))?;
    }
    Ok(Some(rows == 1))
}

fn add(c: &Connection, message: MessageId, user: UserId, emoji: &str) -> Result<usize> {
    let others: i64 = c
        .prepare_cached(
            "SELECT count(DISTINCT emoji) FROM reactions WHERE message_id = ? AND emoji <> ?",
        )?
        .query_row(params![message, emoji], |row| row.get(0))?;
    if others >= MAX_REACTIONS {
        return Err(StorageError::TooManyReactions);
    }
    Ok(c.prepare_cached(
        "INSERT INTO reactions (message_id, emoji, user_id) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
    )?
    .execute(params![message, emoji, user])?)
}

/// Of these messages, a list of ids as JSON.
pub(super) fn of(c: &Connection, messages: &str) -> Result<HashMap<MessageId, Vec<Reaction>>> {
    let mut statement = c.prepare_cached(
        "SELECT message_id, emoji, user_id FROM reactions
         WHERE message_id IN (SELECT value FROM json_each(?)) ORDER BY id",
    )?;
    let mut rows = statement.query([messages])?;
    let mut reactions: HashMap<MessageId, Vec<Reaction>> = HashMap::new();
    while let Some(row) = rows.next()? {
        let (emoji, user): (String, UserId) = (row.get(1)?, row.get(2)?);
        let of_message = reactions.entry(row.get(0)?).or_default();
        match of_message.iter_mut().find(|known| known.emoji == emoji) {
            Some(known) => known.users.push(user),
            None => of_message.push(Reaction {
                emoji,
                users: vec![user],
            }),
        }
    }
    Ok(reactions)
}
