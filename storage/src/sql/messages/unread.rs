//! What a participant has yet to read in a room. What was counted is kept, so that a list of rooms costs but what has been
//! written since the last one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::super::Result;
use super::mentions;
use crate::sql::{Connection, SqlResult, params};
use crate::{MAX_MENTIONS, MAX_UNREAD, MessageId, RoomId, UserId};

#[derive(Debug, Clone, Copy, Default)]
pub(in crate::sql) struct Unread {
    pub(in crate::sql) count: i64,
    pub(in crate::sql) first: Option<MessageId>,
    pub(in crate::sql) mentions: i64,
}

/// Counts of participants in rooms that are kept.
const KEPT: usize = 16_384;
/// Messages that are looked at: so many of the viewer's own are passed over as are counted at most, since what is not
/// read may be as long as the history.
const LOOKED_AT: i64 = 2 * MAX_UNREAD;

/// Counts so far, by viewer and room.
#[derive(Debug, Clone, Default)]
pub(in crate::sql) struct Counts(Arc<Mutex<HashMap<(UserId, RoomId), Count>>>);

/// Holds as long as the position is the same and no message of the room is gone: what comes has a higher id.
#[derive(Debug, Clone, Copy)]
struct Count {
    position: MessageId,
    gone: i64,
    /// The last message that was looked at, and how many were.
    last: MessageId,
    looked_at: i64,
    /// Of them, those of others.
    unread: i64,
    first: Option<MessageId>,
}

impl Counts {
    fn kept(&self) -> MutexGuard<'_, HashMap<(UserId, RoomId), Count>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, viewer: UserId, room: RoomId, count: Count) {
        let mut kept = self.kept();
        if kept.len() >= KEPT && !kept.contains_key(&(viewer, room)) {
            kept.clear();
        }
        kept.insert((viewer, room), count);
    }

    /// Of these rooms, a list of ids as JSON.
    pub(in crate::sql) fn of(
        &self,
        c: &Connection,
        viewer: UserId,
        rooms: &str,
    ) -> Result<HashMap<RoomId, Unread>> {
        let positions: Vec<(RoomId, MessageId, i64)> = c
            .prepare_cached(
                "SELECT p.room_id, p.last_read_id, r.messages_gone FROM participants p JOIN rooms r ON r.id = p.room_id
                 WHERE p.user_id = ? AND p.room_id IN (SELECT value FROM json_each(?))",
            )?
            .query_map(params![viewer, rooms], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })?
            .collect::<SqlResult<_>>()?;
        let mut named = c.prepare_cached(
            "SELECT count(DISTINCT id) FROM (
                 SELECT m.id FROM mentions x JOIN messages m ON m.id = x.message_id
                 WHERE x.room_id = ?2 AND x.user_id IN (?4, ?1) AND x.message_id > ?3 AND m.author_id <> ?1 LIMIT ?5) AS named",
        )?;
        let mut unread = HashMap::with_capacity(positions.len());
        for (room, position, gone) in positions {
            let kept = self.kept().get(&(viewer, room)).copied();
            let kept = kept.filter(|count| (count.position, count.gone) == (position, gone));
            let mut count = kept.unwrap_or(Count {
                position,
                gone,
                last: position,
                looked_at: 0,
                unread: 0,
                first: None,
            });
            if count.look(c, viewer, room)? {
                self.keep(viewer, room, count);
            }
            let mentions = named.query_row(
                params![viewer, room, position, mentions::ALL, MAX_MENTIONS],
                |row| row.get(0),
            )?;
            unread.insert(
                room,
                Unread {
                    count: count.unread.min(MAX_UNREAD),
                    first: count.first,
                    mentions,
                },
            );
        }
        Ok(unread)
    }
}

impl Count {
    /// Whether there was more to look at.
    fn look(&mut self, c: &Connection, viewer: UserId, room: RoomId) -> Result<bool> {
        let more = LOOKED_AT - self.looked_at;
        if more == 0 || self.unread >= MAX_UNREAD {
            return Ok(false);
        }
        let (looked_at, last, unread, first): (i64, Option<MessageId>, i64, _) = c
            .prepare_cached(
                "SELECT count(*), max(id), count(id) FILTER (WHERE author_id <> ?1), min(id) FILTER (WHERE author_id <> ?1)
                 FROM (SELECT id, author_id FROM messages WHERE room_id = ?2 AND id > ?3 ORDER BY id LIMIT ?4) AS looked_at",
            )?
            .query_row(params![viewer, room, self.last, more], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
            })?;
        self.looked_at += looked_at;
        self.last = last.unwrap_or(self.last);
        self.unread += unread;
        self.first = self.first.or(first);
        Ok(looked_at > 0)
    }
}
