//! How messages are read: a page costs a handful of queries, wherever in however long a history it lies.

use std::collections::HashMap;

use super::super::Result;
use super::super::files::add_attachments;
use super::super::users::{USER, USER_COLUMNS, read_user};
use super::{mentions, reactions};
use crate::sql::{Connection, OptionalExtension, Row, SqlResult, params};
use crate::{
    Cursor, Listing, Message, MessageId, Original, Page, Reply, RoomId, StorageError, UserId,
    Window,
};

const MESSAGE: &str =
    "m.id, m.room_id, m.content, m.created_at, m.edited_at, m.client_id, m.reply_to, m.author_name";
const MESSAGE_COLUMNS: usize = 8;

fn read_message(row: &Row<'_>) -> SqlResult<Message> {
    let original: Option<MessageId> = row.get(6)?;
    let mut author = read_user(row, MESSAGE_COLUMNS)?;
    author.display_name = row.get::<Option<_>>(7)?.unwrap_or(author.display_name);
    Ok(Message {
        id: row.get(0)?,
        room_id: row.get(1)?,
        content: row.get(2)?,
        attachments: Vec::new(),
        created_at: row.get(3)?,
        edited_at: row.get(4)?,
        client_id: row.get(5)?,
        reply_to: original.map(|id| Reply { id, original: None }),
        author,
        reactions: Vec::new(),
        mentions: Vec::new(),
        mentions_all: false,
        read_by: Vec::new(),
    })
}

/// Ids as a JSON list.
fn list(ids: impl IntoIterator<Item = i64>) -> String {
    let ids: Vec<String> = ids.into_iter().map(|id| id.to_string()).collect();
    format!("[{}]", ids.join(","))
}

pub(super) fn one(c: &Connection, message: MessageId) -> Result<Option<Message>> {
    Ok(by_ids(c, &[message])?.pop())
}

/// Those of them that there are, newest first.
pub(in crate::sql) fn by_ids(c: &Connection, ids: &[MessageId]) -> Result<Vec<Message>> {
    let ids = list(ids.iter().copied());
    let mut messages: Vec<Message> = c
        .prepare_cached(&format!(
            "SELECT {MESSAGE}, {USER} FROM messages m JOIN users u ON u.id = m.author_id
             WHERE m.id IN (SELECT value FROM json_each(?)) ORDER BY m.id DESC"
        ))?
        .query_map([ids], read_message)?
        .collect::<SqlResult<_>>()?;
    complete(c, &mut messages)?;
    Ok(messages)
}

/// Adds what stands in other tables.
fn complete(c: &Connection, messages: &mut [Message]) -> Result<()> {
    if messages.is_empty() {
        return Ok(());
    }
    let ids = list(messages.iter().map(|message| message.id));
    add_attachments(c, messages.iter_mut())?;
    let mut reactions = reactions::of(c, &ids)?;
    let mut mentioned: HashMap<MessageId, Vec<UserId>> = HashMap::new();
    let mut statement = c.prepare_cached(
        "SELECT message_id, user_id FROM mentions
         WHERE message_id IN (SELECT value FROM json_each(?)) ORDER BY message_id, user_id",
    )?;
    let mut rows = statement.query([&ids])?;
    while let Some(row) = rows.next()? {
        mentioned.entry(row.get(0)?).or_default().push(row.get(1)?);
    }
    let mut originals = originals(c, messages)?;
    let positions = positions(c, messages)?;
    for message in messages {
        message.reactions = reactions.remove(&message.id).unwrap_or_default();
        message.mentions = mentioned.remove(&message.id).unwrap_or_default();
        let named = message.mentions.len();
        message.mentions.retain(|user| *user != mentions::ALL);
        message.mentions_all = message.mentions.len() < named;
        if let Some(reply) = &mut message.reply_to {
            reply.original = originals.remove(&(message.id, reply.id));
        }
        message.read_by = positions
            .get(&message.room_id)
            .into_iter()
            .flatten()
            .filter(|(user, joined_after, read)| {
                (*joined_after + 1..=*read).contains(&message.id) && *user != message.author.id
            })
            .map(|(user, ..)| *user)
            .collect();
    }
    Ok(())
}

/// What these messages answer, by the ids of answer and original.
fn originals(
    c: &Connection,
    messages: &[Message],
) -> Result<HashMap<(MessageId, MessageId), Original>> {
    let mut originals = HashMap::new();
    let answers = messages
        .iter()
        .filter_map(|message| Some((message.id, message.reply_to.as_ref()?.id)));
    for (answer, original) in answers {
        if let Some((_, found)) = original_of(c, original)? {
            originals.insert((answer, original), found);
        }
    }
    Ok(originals)
}

/// With its room.
fn original_of(c: &Connection, original: MessageId) -> Result<Option<(RoomId, Original)>> {
    Ok(c.prepare_cached(&format!(
        "SELECT {USER}, substr(m.content, 1, ?2), m.room_id
         FROM messages m JOIN users u ON u.id = m.author_id WHERE m.id = ?1"
    ))?
    .query_row(params![original, Original::EXCERPT], |row| {
        let original = Original {
            author: read_user(row, 0)?,
            excerpt: row.get(USER_COLUMNS)?,
        };
        Ok((row.get(USER_COLUMNS + 1)?, original))
    })
    .optional()?)
}

/// For an answer in `room`.
pub(super) fn reply_in(c: &Connection, room: RoomId, id: MessageId) -> Result<Reply> {
    match original_of(c, id)? {
        Some((its_room, original)) if its_room == room => Ok(Reply {
            id,
            original: Some(original),
        }),
        _ => Err(StorageError::NoSuchReply),
    }
}

type Position = (UserId, MessageId, MessageId);

/// Who of their rooms came after which message and has read up to which.
fn positions(c: &Connection, messages: &[Message]) -> Result<HashMap<RoomId, Vec<Position>>> {
    let mut rooms: Vec<RoomId> = messages.iter().map(|message| message.room_id).collect();
    rooms.sort_unstable();
    rooms.dedup();
    let mut positions = HashMap::new();
    for room in rooms {
        let of_room: Vec<Position> = c
            .prepare_cached(
                "SELECT user_id, joined_after_id, last_read_id FROM participants WHERE room_id = ? ORDER BY user_id",
            )?
            .query_map([room], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
            .collect::<SqlResult<_>>()?;
        positions.insert(room, of_room);
    }
    Ok(positions)
}

pub(super) fn page(c: &Connection, room: RoomId, page: Page) -> Result<Listing<Message>> {
    let count: i64 = c
        .prepare_cached("SELECT message_count FROM rooms WHERE id = ?")?
        .query_row([room], |row| row.get(0))
        .optional()?
        .unwrap_or_default();
    // From the nearer end: what is passed over is walked over.
    let rest = count - page.offset - page.limit;
    let ids: Vec<MessageId> = if page.offset <= rest {
        c.prepare_cached(
            "SELECT id FROM messages WHERE room_id = ? ORDER BY id DESC LIMIT ? OFFSET ?",
        )?
        .query_map([room, page.limit, page.offset], |row| row.get(0))?
        .collect::<SqlResult<_>>()?
    } else {
        let limit = page.limit + rest.min(0);
        c.prepare_cached("SELECT id FROM messages WHERE room_id = ? ORDER BY id LIMIT ? OFFSET ?")?
            .query_map([room, limit.max(0), rest.max(0)], |row| row.get(0))?
            .collect::<SqlResult<_>>()?
    };
    let items = by_ids(c, &ids)?;
    Ok(Listing { count, items })
}

pub(super) fn window(c: &Connection, room: RoomId, cursor: Cursor, limit: i64) -> Result<Window> {
    let older = |before: MessageId, limit: i64| -> Result<Vec<MessageId>> {
        Ok(c.prepare_cached(
            "SELECT id FROM messages WHERE room_id = ? AND id < ? ORDER BY id DESC LIMIT ?",
        )?
        .query_map([room, before, limit], |row| row.get(0))?
        .collect::<SqlResult<_>>()?)
    };
    let newer = |after: MessageId, limit: i64| -> Result<Vec<MessageId>> {
        Ok(c.prepare_cached(
            "SELECT id FROM messages WHERE room_id = ? AND id > ? ORDER BY id LIMIT ?",
        )?
        .query_map([room, after, limit], |row| row.get(0))?
        .collect::<SqlResult<_>>()?)
    };
    // With the ends that an empty window lies between.
    let (ids, low, high) = match cursor {
        Cursor::Newest => (
            older(MessageId::MAX, limit)?,
            MessageId::MAX,
            MessageId::MAX,
        ),
        Cursor::Before(id) => (older(id, limit)?, id, id.saturating_sub(1)),
        Cursor::After(id) => (newer(id, limit)?, id.saturating_add(1), id),
        Cursor::Around(id) => {
            let mut ids = newer(id.saturating_sub(1), limit / 2 + 1)?;
            ids.extend(older(id, limit - limit / 2 - 1)?);
            (ids, id, id)
        }
    };
    let low = ids.iter().copied().min().unwrap_or(low);
    let high = ids.iter().copied().max().unwrap_or(high);
    Ok(Window {
        more_before: !older(low, 1)?.is_empty(),
        more_after: !newer(high, 1)?.is_empty(),
        messages: by_ids(c, &ids)?,
    })
}
