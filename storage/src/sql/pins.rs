//! SQL of pinned messages. A pin goes with its message.

use std::collections::HashMap;

use async_trait::async_trait;

use super::messages::{by_ids, room_of};
use super::rooms::require;
use super::users::{USER, read_user};
use super::{Result, SqlStore, events};
use crate::sql::{Connection, SqlResult, params};
use crate::{
    Audience, EventKind, Message, MessageId, Pin, PinStore, Right, RoomId, StorageError, Timestamp,
    User,
};

#[async_trait]
impl PinStore for SqlStore {
    async fn pin(
        &self,
        message: MessageId,
        right: Right,
        most: i64,
        now: Timestamp,
    ) -> Result<bool> {
        self.write(move |c| pin(c, message, right, most, now)).await
    }

    async fn unpin(&self, message: MessageId, right: Right) -> Result<bool> {
        self.write(move |c| unpin(c, message, right)).await
    }

    async fn pins(&self, room: RoomId) -> Result<Vec<Pin>> {
        self.read(move |c| of_room(c, room)).await
    }
}

/// In which room, where the right holds.
fn allowed(c: &Connection, message: MessageId, right: Right) -> Result<RoomId> {
    let room = room_of(c, message)?.ok_or(StorageError::NotFound)?;
    require(c, room, right)?;
    Ok(room)
}

fn pin(
    c: &Connection,
    message: MessageId,
    right: Right,
    most: i64,
    now: Timestamp,
) -> Result<bool> {
    let room = allowed(c, message, right)?;
    let rows = c
        .prepare_cached(
            "INSERT INTO pinned_messages (message_id, room_id, pinned_by, pinned_at)
             VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
        )?
        .execute(params![message, room, right.by, now])?;
    if rows == 0 {
        return Ok(false);
    }
    let pins: i64 = c
        .prepare_cached("SELECT count(*) FROM pinned_messages WHERE room_id = ?")?
        .query_row([room], |row| row.get(0))?;
    if pins > most {
        return Err(StorageError::TooManyPins);
    }
    let (audience, kind) = (Audience::Room(room), EventKind::MessagePinned);
    events::add(c, audience, kind, message, right.by, None)?;
    Ok(true)
}

fn unpin(c: &Connection, message: MessageId, right: Right) -> Result<bool> {
    let room = allowed(c, message, right)?;
    let rows = c
        .prepare_cached("DELETE FROM pinned_messages WHERE message_id = ?")?
        .execute([message])?;
    if rows == 1 {
        let (audience, kind) = (Audience::Room(room), EventKind::MessageUnpinned);
        events::add(c, audience, kind, message, right.by, None)?;
    }
    Ok(rows == 1)
}

fn of_room(c: &Connection, room: RoomId) -> Result<Vec<Pin>> {
    let pinned: Vec<(MessageId, Timestamp, User)> = c
        .prepare_cached(&format!(
            "SELECT p.message_id, p.pinned_at, {USER}
             FROM pinned_messages p JOIN users u ON u.id = p.pinned_by
             WHERE p.room_id = ? ORDER BY p.pinned_at DESC, p.message_id DESC"
        ))?
        .query_map([room], |row| {
            Ok((row.get(0)?, row.get(1)?, read_user(row, 2)?))
        })?
        .collect::<SqlResult<_>>()?;
    let ids: Vec<MessageId> = pinned.iter().map(|(id, ..)| *id).collect();
    let messages = by_ids(c, &ids)?.into_iter();
    let mut messages: HashMap<MessageId, Message> =
        messages.map(|message| (message.id, message)).collect();
    let pins = pinned.into_iter().filter_map(|(id, pinned_at, pinned_by)| {
        Some(Pin {
            message: messages.remove(&id)?,
            pinned_by,
            pinned_at,
        })
    });
    Ok(pins.collect())
}
