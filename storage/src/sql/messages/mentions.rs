//! Mentions: who of a room is meant by a name, and what mentions a user.

use super::super::Result;
use super::super::users::fold;
use super::read;
use crate::sql::{Connection, OptionalExtension, SqlResult, params};
use crate::{MessageId, NewMentions, RoomId, UserId, Window};

/// Stands for everybody in the room.
pub(super) const ALL: UserId = 0;

/// Notes whom a message mentions; who is mentioned by name, in order of their ids. Its author is not.
pub(super) fn add(
    c: &Connection,
    message: MessageId,
    room: RoomId,
    author: UserId,
    mentions: &NewMentions,
) -> Result<Vec<UserId>> {
    let mut users = Vec::new();
    for meant in &mentions.names {
        let found = meant.iter().find_map(|name| {
            let found = participant(c, room, name);
            found.transpose()
        });
        users.extend(found.transpose()?.filter(|user| *user != author));
    }
    users.sort_unstable();
    users.dedup();
    let all = mentions.all.then_some(ALL);
    for user in users.iter().copied().chain(all) {
        c.prepare_cached("INSERT INTO mentions (message_id, user_id, room_id) VALUES (?, ?, ?)")?
            .execute([message, user, room])?;
    }
    Ok(users)
}

fn participant(c: &Connection, room: RoomId, name: &str) -> Result<Option<UserId>> {
    Ok(c.prepare_cached(
        "SELECT u.id FROM users u JOIN participants p ON p.user_id = u.id
         WHERE u.username_key = ? AND p.room_id = ?",
    )?
    .query_row(params![fold(name), room], |row| row.get(0))
    .optional()?)
}

pub(super) fn of_user(
    c: &Connection,
    user: UserId,
    before: Option<MessageId>,
    limit: i64,
) -> Result<Window> {
    let before = before.unwrap_or(MessageId::MAX);
    // Twice at most, by name and with everybody.
    let mut ids: Vec<MessageId> = c
        .prepare_cached(
            "SELECT DISTINCT x.message_id
             FROM participants p
             JOIN mentions x ON x.room_id = p.room_id AND x.user_id IN (?1, ?2)
             JOIN messages m ON m.id = x.message_id
             WHERE p.user_id = ?2 AND x.message_id > CASE WHEN x.user_id = ?1 THEN p.joined_after_id ELSE 0 END
               AND x.message_id < ?3 AND m.author_id <> ?2
             ORDER BY x.message_id DESC LIMIT ?4",
        )?
        .query_map([ALL, user, before, limit.saturating_add(1)], |row| row.get(0))?
        .collect::<SqlResult<_>>()?;
    let limit = usize::try_from(limit).unwrap_or_default();
    let more_before = ids.len() > limit;
    ids.truncate(limit);
    let newest = read::by_ids(c, &ids)?;
    Ok(Window {
        messages: newest,
        more_before,
        more_after: before != MessageId::MAX,
    })
}
