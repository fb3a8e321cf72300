//! SQL of rooms, who takes part in them, and invitations. A page of rooms costs four queries, whatever is in it.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::found;
use super::users::{USER, read_user};
use crate::{
    Admission, Invitation, Listing, MAX_UNREAD, Page, Participant, ParticipantName, Room,
    RoomChange, RoomId, RoomView, StorageError, Timestamp, UserId,
};

type Result<T> = std::result::Result<T, StorageError>;

const ROOM: &str =
    "r.id, r.name, r.owner_id, r.is_public, r.direct_low IS NOT NULL, r.created_at, r.updated_at";
const ROOM_COLUMNS: usize = 7;

fn read_room(row: &Row<'_>) -> rusqlite::Result<Room> {
    Ok(Room {
        id: row.get(0)?,
        name: row.get(1)?,
        owner_id: row.get(2)?,
        is_public: row.get(3)?,
        is_direct: row.get(4)?,
        created_at: row.get(5)?,
        updated_at: row.get(6)?,
    })
}

pub(super) fn create(
    c: &Connection,
    owner: UserId,
    name: &str,
    is_public: bool,
    now: Timestamp,
) -> Result<RoomId> {
    c.prepare_cached(
        "INSERT INTO rooms (name, owner_id, is_public, created_at, updated_at) VALUES (?1, ?2, ?3, ?4, ?4)",
    )?
    .execute(params![name, owner, is_public, now])?;
    let room = c.last_insert_rowid();
    enter(c, room, owner, now)?;
    Ok(room)
}

pub(super) fn direct(
    c: &Connection,
    asking: UserId,
    other: UserId,
    name: &str,
    now: Timestamp,
) -> Result<(RoomId, Vec<UserId>)> {
    let (low, high) = (asking.min(other), asking.max(other));
    c.prepare_cached(
        "INSERT INTO rooms (name, owner_id, is_public, direct_low, direct_high, created_at, updated_at)
         VALUES (?1, ?2, 0, ?3, ?4, ?5, ?5) ON CONFLICT DO NOTHING",
    )?
    .execute(params![name, asking, low, high, now])?;
    let room = c
        .prepare_cached("SELECT id FROM rooms WHERE direct_low = ? AND direct_high = ?")?
        .query_row([low, high], |row| row.get(0))?;
    let mut came = Vec::new();
    for user in [asking, other] {
        if enter(c, room, user, now)?.is_some() {
            came.push(user);
        }
    }
    Ok((room, came))
}

pub(super) fn get(c: &Connection, room: RoomId) -> Result<Option<Room>> {
    Ok(
        c.prepare_cached(&format!("SELECT {ROOM} FROM rooms r WHERE r.id = ?"))?
            .query_row([room], read_room)
            .optional()?,
    )
}

pub(super) fn view(c: &Connection, room: RoomId, viewer: UserId) -> Result<Option<RoomView>> {
    let condition = "p.user_id = ?1 AND r.id = ?2";
    Ok(views(c, condition, params![viewer, room], viewer)?.pop())
}

pub(super) fn of_user(c: &Connection, viewer: UserId, page: Page) -> Result<Listing<RoomView>> {
    let count = c
        .prepare_cached("SELECT count(*) FROM participants WHERE user_id = ?")?
        .query_row([viewer], |row| row.get(0))?;
    let condition = "p.user_id = ?1 ORDER BY r.id DESC LIMIT ?2 OFFSET ?3";
    let items = views(
        c,
        condition,
        params![viewer, page.limit, page.offset],
        viewer,
    )?;
    Ok(Listing { count, items })
}

/// Rooms `r` joined with the viewer's participation `p` that meet `condition`.
fn views(
    c: &Connection,
    condition: &str,
    bound: &[&dyn rusqlite::ToSql],
    viewer: UserId,
) -> Result<Vec<RoomView>> {
    let mut views = c
        .prepare_cached(&format!(
            "SELECT {ROOM}, {USER}, p.pinned
             FROM participants p JOIN rooms r ON r.id = p.room_id JOIN users u ON u.id = r.owner_id
             WHERE {condition}"
        ))?
        .query_map(bound, |row| {
            Ok(RoomView {
                room: read_room(row)?,
                owner: read_user(row, ROOM_COLUMNS)?,
                is_pinned: row.get(ROOM_COLUMNS + 7)?,
                participants: Vec::new(),
                unread_count: 0,
            })
        })?
        .collect::<rusqlite::Result<Vec<_>>>()?;

    let ids: Vec<String> = views.iter().map(|view| view.room.id.to_string()).collect();
    let ids = format!("[{}]", ids.join(","));
    let mut participants: HashMap<RoomId, Vec<ParticipantName>> = HashMap::new();
    let mut statement = c.prepare_cached(
        "SELECT p.room_id, u.id, u.username, u.display_name
         FROM participants p JOIN users u ON u.id = p.user_id
         WHERE p.room_id IN (SELECT value FROM json_each(?)) ORDER BY p.id",
    )?;
    let mut rows = statement.query([&ids])?;
    while let Some(row) = rows.next()? {
        let name = ParticipantName {
            id: row.get(1)?,
            username: row.get(2)?,
            display_name: row.get(3)?,
        };
        participants.entry(row.get(0)?).or_default().push(name);
    }
    let mut unread: HashMap<RoomId, i64> = c
        .prepare_cached(
            "SELECT p.room_id, (SELECT count(*) FROM (
                 SELECT 1 FROM messages m
                 WHERE m.room_id = p.room_id AND m.id > p.last_read_id AND m.author_id <> ?1 LIMIT ?3))
             FROM participants p WHERE p.user_id = ?1 AND p.room_id IN (SELECT value FROM json_each(?2))",
        )?
        .query_map(params![viewer, ids, MAX_UNREAD], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    for view in &mut views {
        view.participants = participants.remove(&view.room.id).unwrap_or_default();
        view.unread_count = unread.remove(&view.room.id).unwrap_or_default();
    }
    Ok(views)
}

pub(super) fn change(
    c: &Connection,
    room: RoomId,
    owner: UserId,
    change: &RoomChange,
    now: Timestamp,
) -> Result<()> {
    found(
        c.prepare_cached(
            "UPDATE rooms SET name = coalesce(?, name), is_public = coalesce(?, is_public), updated_at = ?
             WHERE id = ? AND owner_id = ?",
        )?
        .execute(params![change.name, change.is_public, now, room, owner])?,
    )
}

pub(super) fn delete(c: &Connection, room: RoomId, owner: UserId) -> Result<()> {
    found(c.execute(
        "DELETE FROM rooms WHERE id = ? AND owner_id = ?",
        [room, owner],
    )?)
}

fn read_participant(row: &Row<'_>) -> rusqlite::Result<Participant> {
    Ok(Participant {
        id: row.get(0)?,
        joined_at: row.get(1)?,
        user: read_user(row, 2)?,
    })
}

pub(super) fn participants(c: &Connection, room: RoomId) -> Result<Vec<Participant>> {
    let participants = c
        .prepare_cached(&format!(
            "SELECT p.id, p.joined_at, {USER} FROM participants p JOIN users u ON u.id = p.user_id
             WHERE p.room_id = ? ORDER BY p.id"
        ))?
        .query_map([room], read_participant)?
        .collect::<rusqlite::Result<_>>()?;
    Ok(participants)
}

pub(super) fn participant_ids(c: &Connection, room: RoomId) -> Result<Vec<UserId>> {
    let ids = c
        .prepare_cached("SELECT user_id FROM participants WHERE room_id = ?")?
        .query_map([room], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    Ok(ids)
}

pub(super) fn is_participant(c: &Connection, room: RoomId, user: UserId) -> Result<bool> {
    Ok(
        c.prepare_cached("SELECT 1 FROM participants WHERE room_id = ? AND user_id = ?")?
            .exists([room, user])?,
    )
}

pub(super) fn add_participant(
    c: &Connection,
    room: RoomId,
    user: UserId,
    admission: &Admission,
    now: Timestamp,
) -> Result<Option<Participant>> {
    let admitted = match admission {
        Admission::Owner(owner) => owns(c, room, *owner)?,
        Admission::Invitation(token) => c
            .prepare_cached(
                "SELECT 1 FROM invitations
                 WHERE room_id = ? AND token = ? AND (expires_at IS NULL OR expires_at > ?)",
            )?
            .exists(params![room, token, now])?,
        Admission::Public => c
            .prepare_cached("SELECT 1 FROM rooms WHERE id = ? AND is_public")?
            .exists([room])?,
    };
    found(usize::from(admitted))?;
    enter(c, room, user, now)
}

/// Whether `owner` says who takes part in the room; in a direct one nobody does.
fn owns(c: &Connection, room: RoomId, owner: UserId) -> Result<bool> {
    Ok(c.prepare_cached(
        "SELECT 1 FROM rooms WHERE id = ? AND owner_id = ? AND direct_low IS NULL",
    )?
    .exists([room, owner])?)
}

fn enter(
    c: &Connection,
    room: RoomId,
    user: UserId,
    now: Timestamp,
) -> Result<Option<Participant>> {
    if is_participant(c, room, user)? {
        return Ok(None);
    }
    // Both may have gone since the caller looked.
    found(
        c.prepare_cached(
            "INSERT INTO participants (room_id, user_id, joined_at, joined_after_id, last_read_id)
             SELECT r.id, u.id, ?3, last.id, last.id
             FROM rooms r, users u,
                 (SELECT coalesce(max(id), 0) AS id FROM messages WHERE room_id = ?1) last
             WHERE r.id = ?1 AND u.id = ?2 AND NOT u.deleted",
        )?
        .execute(params![room, user, now])?,
    )?;
    let participant = c
        .prepare_cached(&format!(
            "SELECT p.id, p.joined_at, {USER} FROM participants p JOIN users u ON u.id = p.user_id WHERE p.id = ?"
        ))?
        .query_row([c.last_insert_rowid()], read_participant)?;
    Ok(Some(participant))
}

pub(super) fn leave(c: &Connection, room: RoomId, user: UserId) -> Result<bool> {
    let rows = c
        .prepare_cached("DELETE FROM participants WHERE room_id = ? AND user_id = ?")?
        .execute([room, user])?;
    c.prepare_cached("DELETE FROM invitations WHERE room_id = ? AND created_by = ?")?
        .execute([room, user])?;
    pass_on(c, user)?;
    Ok(rows == 1)
}

pub(super) fn remove_participant(
    c: &Connection,
    room: RoomId,
    owner: UserId,
    user: UserId,
) -> Result<bool> {
    found(usize::from(owns(c, room, owner)?))?;
    let was_in = leave(c, room, user)?;
    if was_in {
        c.prepare_cached("DELETE FROM invitations WHERE room_id = ?")?
            .execute([room])?;
    }
    Ok(was_in)
}

/// Hands the rooms that `user` owns without taking part in them to whoever takes part longest. A room without
/// anybody goes, but for a direct one: the two of them may come back to it.
pub(super) fn pass_on(c: &Connection, user: UserId) -> Result<()> {
    c.prepare_cached(
        "UPDATE rooms SET owner_id =
             (SELECT p.user_id FROM participants p WHERE p.room_id = rooms.id ORDER BY p.id LIMIT 1)
         WHERE owner_id = ?1
           AND EXISTS (SELECT 1 FROM participants p WHERE p.room_id = rooms.id)
           AND NOT EXISTS (SELECT 1 FROM participants p WHERE p.room_id = rooms.id AND p.user_id = ?1)",
    )?
    .execute([user])?;
    c.prepare_cached(
        "DELETE FROM rooms WHERE owner_id = ?1 AND direct_low IS NULL
           AND NOT EXISTS (SELECT 1 FROM participants p WHERE p.room_id = rooms.id)",
    )?
    .execute([user])?;
    Ok(())
}

pub(super) fn set_pinned(c: &Connection, room: RoomId, user: UserId, pinned: bool) -> Result<bool> {
    let rows = c
        .prepare_cached("UPDATE participants SET pinned = ? WHERE room_id = ? AND user_id = ?")?
        .execute(params![pinned, room, user])?;
    Ok(rows == 1)
}

pub(super) fn add_invitation(
    c: &Connection,
    token: &str,
    room: RoomId,
    by: UserId,
    expires_at: Option<Timestamp>,
    now: Timestamp,
) -> Result<()> {
    found(
        c.prepare_cached(
            "INSERT INTO invitations (token, room_id, created_by, created_at, expires_at)
             SELECT ?1, room_id, user_id, ?4, ?5 FROM participants WHERE room_id = ?2 AND user_id = ?3",
        )?
        .execute(params![token, room, by, now, expires_at])?,
    )
}

pub(super) fn invitation(c: &Connection, token: &str) -> Result<Option<Invitation>> {
    let invitation = c
        .prepare_cached("SELECT room_id, expires_at FROM invitations WHERE token = ?")?
        .query_row([token], |row| {
            Ok(Invitation {
                room_id: row.get(0)?,
                expires_at: row.get(1)?,
            })
        })
        .optional()?;
    Ok(invitation)
}
