//! SQL of messages and read positions.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::users::{USER, read_user};
use crate::{Listing, Message, MessageId, Page, RoomId, StorageError, Timestamp, UserId};

type Result<T> = std::result::Result<T, StorageError>;

const MESSAGE: &str = "m.id, m.room_id, m.content, m.created_at";

fn read_message(row: &Row<'_>) -> rusqlite::Result<Message> {
    Ok(Message {
        id: row.get(0)?,
        room_id: row.get(1)?,
        content: row.get(2)?,
        created_at: row.get(3)?,
        author: read_user(row, 4)?,
        read_by: Vec::new(),
    })
}

pub(super) fn add(
    c: &Connection,
    room: RoomId,
    author: UserId,
    content: &str,
    now: Timestamp,
) -> Result<Option<Message>> {
    let rows = c
        .prepare_cached(
            "INSERT INTO messages (room_id, author_id, content, created_at)
             SELECT room_id, user_id, ?3, ?4 FROM participants WHERE room_id = ?1 AND user_id = ?2",
        )?
        .execute(params![room, author, content, now])?;
    if rows == 0 {
        return Ok(None);
    }
    let message = c
        .prepare_cached(&format!(
            "SELECT {MESSAGE}, {USER} FROM messages m JOIN users u ON u.id = m.author_id WHERE m.id = ?"
        ))?
        .query_row([c.last_insert_rowid()], read_message)?;
    Ok(Some(message))
}

pub(super) fn of_room(c: &Connection, room: RoomId, page: Page) -> Result<Listing<Message>> {
    let count = c
        .prepare_cached("SELECT count(*) FROM messages WHERE room_id = ?")?
        .query_row([room], |row| row.get(0))?;
    let mut items: Vec<Message> = c
        .prepare_cached(&format!(
            "SELECT {MESSAGE}, {USER} FROM messages m JOIN users u ON u.id = m.author_id
             WHERE m.room_id = ? ORDER BY m.id DESC LIMIT ? OFFSET ?"
        ))?
        .query_map(params![room, page.limit, page.offset], read_message)?
        .collect::<rusqlite::Result<_>>()?;
    let positions: Vec<(UserId, MessageId, MessageId)> = c
        .prepare_cached(
            "SELECT user_id, joined_after_id, last_read_id FROM participants WHERE room_id = ? ORDER BY user_id",
        )?
        .query_map([room], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<rusqlite::Result<_>>()?;
    for message in &mut items {
        message.read_by = positions
            .iter()
            .filter(|(user, joined_after, read)| {
                (*joined_after + 1..=*read).contains(&message.id) && *user != message.author.id
            })
            .map(|(user, ..)| *user)
            .collect();
    }
    Ok(Listing { count, items })
}

pub(super) fn room_of(c: &Connection, message: MessageId) -> Result<Option<RoomId>> {
    Ok(
        c.prepare_cached("SELECT room_id FROM messages WHERE id = ?")?
            .query_row([message], |row| row.get(0))
            .optional()?,
    )
}

pub(super) fn last(c: &Connection, room: RoomId) -> Result<Option<MessageId>> {
    Ok(
        c.prepare_cached("SELECT max(id) FROM messages WHERE room_id = ?")?
            .query_row([room], |row| row.get(0))?,
    )
}

pub(super) fn mark_read(
    c: &Connection,
    room: RoomId,
    user: UserId,
    message: MessageId,
) -> Result<bool> {
    let rows = c
        .prepare_cached(
            "UPDATE participants SET last_read_id = ?3 WHERE room_id = ?1 AND user_id = ?2 AND last_read_id < ?3",
        )?
        .execute([room, user, message])?;
    Ok(rows == 1)
}
