//! SQL of the log of events, and the way of an event from the change that makes it to those who listen.

use std::cell::RefCell;
use std::collections::HashSet;
use std::sync::{Arc, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use tokio::sync::mpsc;

use super::{Result, SqlStore};
use crate::sql::{Connection, OptionalExtension, Row, SqlResult, params};
use crate::{
    Audience, Event, EventId, EventKind, EventStore, Message, Missed, RoomId, StorageError,
    Timestamp, UserId,
};

/// Rows deleted by one change, so that others need not wait long.
const SWEEP: i64 = 5000;

pub(crate) type Listener = OnceLock<mpsc::Sender<Event>>;

thread_local! {
    /// Events of the transaction that this thread is at.
    static ADDED: RefCell<Vec<Event>> = const { RefCell::new(Vec::new()) };
}

/// Notes that something has happened, as part of the change in which it does. Those who listen are told after the commit.
pub(super) fn add(
    c: &Connection,
    audience: Audience,
    kind: EventKind,
    subject: i64,
    by: UserId,
    data: Option<String>,
) -> Result<()> {
    insert(
        c,
        Event {
            id: 0,
            audience,
            kind,
            subject,
            by,
            data,
            message: None,
        },
    )
}

/// As [`add`], of a message that is new or changed.
pub(super) fn add_of_message(
    c: &Connection,
    kind: EventKind,
    by: UserId,
    message: &Message,
) -> Result<()> {
    insert(
        c,
        Event {
            id: 0,
            audience: Audience::Room(message.room_id),
            kind,
            subject: message.id,
            by,
            data: None,
            message: Some(Arc::new(message.clone())),
        },
    )
}

fn insert(c: &Connection, mut event: Event) -> Result<()> {
    // There they are numbered and written together, before the commit.
    if let Connection::Postgres(_) = c {
        ADDED.with_borrow_mut(|added| added.push(event));
        return Ok(());
    }
    let row = params![
        number(event.audience),
        event.kind as i64,
        event.subject,
        event.by,
        event.data,
        clock(),
    ];
    let new = c.insert(
        "INSERT INTO events (audience, kind, subject, by_user, data, created_at) VALUES (?, ?, ?, ?, ?, ?)",
        row,
    )?;
    event.id = new.ok_or(StorageError::NotFound)?;
    ADDED.with_borrow_mut(|added| added.push(event));
    Ok(())
}

/// Of when an event is matters but how long it is kept.
pub(super) fn clock() -> Timestamp {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| {
            i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
        })
}

fn number(audience: Audience) -> i64 {
    match audience {
        Audience::Room(room) => room,
        Audience::User(user) => -user,
    }
}

/// The events of the transaction as columns, in their order.
#[derive(Debug, Default)]
pub(crate) struct Columns {
    pub(crate) audiences: Vec<i64>,
    pub(crate) kinds: Vec<i64>,
    pub(crate) subjects: Vec<i64>,
    pub(crate) by: Vec<UserId>,
    pub(crate) data: Vec<Option<String>>,
    pub(crate) at: Timestamp,
}

pub(crate) fn columns() -> Columns {
    let mut columns = Columns {
        at: clock(),
        ..Columns::default()
    };
    ADDED.with_borrow(|added| {
        for event in added {
            columns.audiences.push(number(event.audience));
            columns.kinds.push(event.kind as i64);
            columns.subjects.push(event.subject);
            columns.by.push(event.by);
            columns.data.push(event.data.clone());
        }
    });
    columns
}

/// Gives them the numbers that they have got, from this one on.
pub(crate) fn number_from(first: EventId) {
    ADDED.with_borrow_mut(|added| {
        for (event, id) in added.iter_mut().zip(first..) {
            event.id = id;
        }
    });
}

/// How many events the transaction has so far, for [`forget_after`].
pub(crate) fn count() -> usize {
    ADDED.with_borrow(Vec::len)
}

/// What came after the first `count` was undone.
pub(crate) fn forget_after(count: usize) {
    ADDED.with_borrow_mut(|added| added.truncate(count));
}

/// Tells what the transaction has brought, which is committed.
pub(crate) fn tell(listener: &Listener) {
    let added = ADDED.with_borrow_mut(std::mem::take);
    if let Some(listener) = listener.get() {
        for event in added {
            if listener.blocking_send(event).is_err() {
                return;
            }
        }
    }
}

#[async_trait]
impl EventStore for SqlStore {
    fn tell_events(&self, listener: mpsc::Sender<Event>) {
        // There is but one.
        let _ = self.listener().set(listener);
    }

    async fn last_event(&self) -> Result<EventId> {
        self.read(last).await
    }

    async fn events_after(&self, after: EventId, limit: usize) -> Result<Vec<Event>> {
        self.read(move |c| all_after(c, after, limit)).await
    }

    async fn room_ids(&self, user: UserId) -> Result<Vec<RoomId>> {
        self.read(move |c| room_ids(c, user)).await
    }

    async fn missed(&self, user: UserId, after: EventId, limit: usize) -> Result<Missed> {
        self.read(move |c| missed(c, user, after, limit)).await
    }

    async fn sweep_events(&self, keep: i64, before: Timestamp) -> Result<()> {
        while self.write(move |c| sweep(c, keep, before)).await? {}
        Ok(())
    }
}

const EVENT: &str = "id, audience, kind, subject, by_user, data";

/// `None`: of a kind that a newer program has written.
fn read_event(row: &Row<'_>) -> SqlResult<Option<Event>> {
    let Some(kind) = EventKind::from_number(row.get(2)?) else {
        return Ok(None);
    };
    let audience = row.get(1)?;
    Ok(Some(Event {
        id: row.get(0)?,
        audience: match audience {
            room @ 0.. => Audience::Room(room),
            user => Audience::User(-user),
        },
        kind,
        subject: row.get(3)?,
        by: row.get(4)?,
        data: row.get(5)?,
        message: None,
    }))
}

fn last(c: &Connection) -> Result<EventId> {
    Ok(c.prepare_cached("SELECT coalesce(max(id), 0) FROM events")?
        .query_row((), |row| row.get(0))?)
}

fn all_after(c: &Connection, after: EventId, limit: usize) -> Result<Vec<Event>> {
    let events: Vec<Option<Event>> = c
        .prepare_cached(&format!(
            "SELECT {EVENT} FROM events WHERE id > ? ORDER BY id LIMIT ?"
        ))?
        .query_map(params![after, bound(limit)], read_event)?
        .collect::<SqlResult<_>>()?;
    Ok(events.into_iter().flatten().collect())
}

fn bound(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

fn room_ids(c: &Connection, user: UserId) -> Result<Vec<RoomId>> {
    let ids = c
        .prepare_cached("SELECT room_id FROM participants WHERE user_id = ?")?
        .query_map([user], |row| row.get(0))?
        .collect::<SqlResult<_>>()?;
    Ok(ids)
}

fn missed(c: &Connection, user: UserId, after: EventId, limit: usize) -> Result<Missed> {
    let last = last(c)?;
    let first: EventId = c
        .prepare_cached("SELECT coalesce(min(id), 1) FROM events")?
        .query_row((), |row| row.get(0))?;
    // Which in all that is kept is one that there was, unless it was lost with what came after a backup.
    let is_known = after == first - 1
        || c.prepare_cached("SELECT 1 FROM events WHERE id = ?")?
            .exists([after])?;
    if !is_known {
        return Ok(Missed { last, events: None });
    }
    let found: Vec<Option<Event>> = c
        .prepare_cached(&format!(
            "SELECT {EVENT} FROM events WHERE id > ?1
                 AND (audience = ?2 OR audience IN (SELECT room_id FROM participants WHERE user_id = ?3))
             ORDER BY id LIMIT ?4"
        ))?
        .query_map(
            params![after, number(Audience::User(user)), user, bound(limit.saturating_add(1))],
            read_event,
        )?
        .collect::<SqlResult<_>>()?;
    if found.len() > limit {
        return Ok(Missed { last, events: None });
    }
    let mut events: Vec<Event> = found.into_iter().flatten().collect();
    // From the newest: once he came to a room, what is older in it is not his.
    let mut came_to = HashSet::new();
    events.reverse();
    events.retain(|event| {
        if event.kind == EventKind::RoomAdded {
            came_to.insert(event.subject);
        }
        !matches!(event.audience, Audience::Room(room) if came_to.contains(&room))
    });
    events.reverse();
    Ok(Missed {
        last,
        events: Some(events),
    })
}

/// Whether there is more to delete.
fn sweep(c: &Connection, keep: i64, before: Timestamp) -> Result<bool> {
    let ends = c
        .prepare_cached("SELECT min(id), max(id) FROM events")?
        .query_row((), |row| Ok((row.get(0)?, row.get(1)?)))?;
    let (Some(first), Some(last)): (Option<EventId>, Option<EventId>) = ends else {
        return Ok(false);
    };
    let young: Option<EventId> = c
        .prepare_cached("SELECT id FROM events WHERE created_at >= ? ORDER BY id LIMIT 1")?
        .query_row([before], |row| row.get(0))
        .optional()?;
    let kept = young.unwrap_or(last).max(last.saturating_sub(keep) + 1);
    let end = kept.min(last).min(first.saturating_add(SWEEP));
    let rows = c
        .prepare_cached("DELETE FROM events WHERE id < ?")?
        .execute([end])?;
    Ok(bound(rows) == SWEEP)
}
