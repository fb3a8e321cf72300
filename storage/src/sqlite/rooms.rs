//! SQL of rooms and who takes part in them. A page of rooms costs four queries, whatever is in it.

use std::collections::HashMap;

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::messages::unread;
use super::moderation::is_banned;
use super::users::{USER, USER_COLUMNS, read_user};
use super::{Result, SqliteStore, events, found};
use crate::{
    Acquaintance, Admission, Audience, Departure, EventKind, Listing, Mute, NewRoom, Page,
    Participant, ParticipantChange, ParticipantName, Right, Role, Room, RoomChange, RoomId,
    RoomLimits, RoomStore, RoomView, StorageError, Timestamp, UserId,
};

#[async_trait]
impl RoomStore for SqliteStore {
    async fn create_room(&self, room: NewRoom, limits: RoomLimits) -> Result<RoomId> {
        self.writer.write(move |c| create(c, &room, limits)).await
    }

    async fn direct_room(
        &self,
        asking: UserId,
        other: UserId,
        name: String,
        limits: RoomLimits,
        now: Timestamp,
    ) -> Result<(RoomId, Vec<UserId>)> {
        self.writer
            .write(move |c| direct(c, asking, other, &name, limits, now))
            .await
    }

    async fn room(&self, room: RoomId) -> Result<Option<Room>> {
        self.readers.read(move |c| get(c, room)).await
    }

    async fn room_and_role(
        &self,
        room: RoomId,
        user: UserId,
    ) -> Result<Option<(Room, Option<Role>)>> {
        self.readers
            .read(move |c| match get(c, room)? {
                Some(found) => Ok(Some((found, role(c, room, user)?))),
                None => Ok(None),
            })
            .await
    }

    async fn room_view(&self, room: RoomId, viewer: UserId) -> Result<Option<RoomView>> {
        self.readers.read(move |c| view(c, room, viewer)).await
    }

    async fn rooms_of(&self, viewer: UserId, page: Page) -> Result<Listing<RoomView>> {
        self.readers.read(move |c| of_user(c, viewer, page)).await
    }

    async fn change_room(
        &self,
        room: RoomId,
        right: Right,
        change: RoomChange,
        now: Timestamp,
    ) -> Result<()> {
        self.writer
            .write(move |c| change_room(c, room, right, &change, now))
            .await
    }

    async fn delete_room(&self, room: RoomId, right: Right) -> Result<()> {
        self.writer.write(move |c| delete(c, room, right)).await
    }

    async fn participants(&self, room: RoomId) -> Result<Vec<Participant>> {
        self.readers.read(move |c| participants(c, room)).await
    }

    async fn participant_ids(&self, room: RoomId) -> Result<Vec<UserId>> {
        self.readers.read(move |c| participant_ids(c, room)).await
    }

    async fn acquaintance(&self, room: RoomId, user: UserId) -> Result<Option<Acquaintance>> {
        self.readers
            .read(move |c| acquaintance(c, room, user))
            .await
    }

    async fn is_participant(&self, room: RoomId, user: UserId) -> Result<bool> {
        self.readers
            .read(move |c| is_participant(c, room, user))
            .await
    }

    async fn add_participant(
        &self,
        room: RoomId,
        user: UserId,
        admission: Admission,
        limits: RoomLimits,
        now: Timestamp,
    ) -> Result<Option<Participant>> {
        self.writer
            .write(move |c| add_participant(c, room, user, &admission, limits, now))
            .await
    }

    async fn leave(&self, room: RoomId, user: UserId) -> Result<bool> {
        self.writer
            .write(move |c| leave(c, room, user, Departure::Left))
            .await
    }

    async fn remove_participant(&self, room: RoomId, right: Right, user: UserId) -> Result<bool> {
        self.writer
            .write(move |c| remove_participant(c, room, right, user))
            .await
    }

    async fn set_mute(&self, room: RoomId, user: UserId, mute: Mute) -> Result<bool> {
        self.writer
            .write(move |c| set_mute(c, room, user, mute))
            .await
    }

    async fn set_pinned(&self, room: RoomId, user: UserId, pinned: bool) -> Result<bool> {
        self.writer
            .write(move |c| set_pinned(c, room, user, pinned))
            .await
    }
}

pub(super) const ROOM: &str = "r.id, r.name, r.topic, r.owner_id, r.is_public, r.direct_low IS NOT NULL, r.created_at, r.updated_at";
pub(super) const ROOM_COLUMNS: usize = 8;

pub(super) fn read_room(row: &Row<'_>) -> rusqlite::Result<Room> {
    Ok(Room {
        id: row.get(0)?,
        name: row.get(1)?,
        topic: row.get(2)?,
        owner_id: row.get(3)?,
        is_public: row.get(4)?,
        is_direct: row.get(5)?,
        created_at: row.get(6)?,
        updated_at: row.get(7)?,
    })
}

/// Of a participation `p` in the room `r`.
const ROLE: &str = "CASE WHEN r.owner_id = p.user_id THEN 2 ELSE p.role END";

fn read_role(row: &Row<'_>, at: usize) -> rusqlite::Result<Role> {
    Ok(match row.get::<_, i64>(at)? {
        2 => Role::Owner,
        1 => Role::Moderator,
        _ => Role::Member,
    })
}

/// `None`: does not take part.
pub(super) fn role(c: &Connection, room: RoomId, user: UserId) -> Result<Option<Role>> {
    Ok(c.prepare_cached(&format!(
        "SELECT {ROLE} FROM participants p JOIN rooms r ON r.id = p.room_id
             WHERE p.room_id = ? AND p.user_id = ?"
    ))?
    .query_row([room, user], |row| read_role(row, 0))
    .optional()?)
}

/// That the right holds now; what the one who has it is in the room.
pub(super) fn require(c: &Connection, room: RoomId, right: Right) -> Result<Role> {
    role(c, room, right.by)?
        .filter(|role| *role >= right.least)
        .ok_or(StorageError::NotFound)
}

/// As [`require`], against somebody who must be less in the room, or nothing.
pub(super) fn require_over(c: &Connection, room: RoomId, right: Right, user: UserId) -> Result<()> {
    let own = require(c, room, right)?;
    found(usize::from(role(c, room, user)? < Some(own)))
}

fn create(c: &Connection, new: &NewRoom, limits: RoomLimits) -> Result<RoomId> {
    check_rooms_of(c, new.owner, limits)?;
    c.prepare_cached(
        "INSERT INTO rooms (name, topic, owner_id, is_public, created_at, updated_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?5)",
    )?
    .execute(params![
        new.name,
        new.topic,
        new.owner,
        new.is_public,
        new.now
    ])?;
    let room = c.last_insert_rowid();
    enter(c, room, new.owner, new.now)?;
    Ok(room)
}

/// Whether `user` may be in one more room.
fn check_rooms_of(c: &Connection, user: UserId, limits: RoomLimits) -> Result<()> {
    let rooms: i64 = c
        .prepare_cached("SELECT count(*) FROM participants WHERE user_id = ?")?
        .query_row([user], |row| row.get(0))?;
    if rooms >= limits.rooms {
        return Err(StorageError::TooManyRooms);
    }
    Ok(())
}

fn direct(
    c: &Connection,
    asking: UserId,
    other: UserId,
    name: &str,
    limits: RoomLimits,
    now: Timestamp,
) -> Result<(RoomId, Vec<UserId>)> {
    let (low, high) = (asking.min(other), asking.max(other));
    let made = c.prepare_cached(
        "INSERT INTO rooms (name, owner_id, is_public, direct_low, direct_high, created_at, updated_at)
         VALUES (?1, ?2, 0, ?3, ?4, ?5, ?5) ON CONFLICT DO NOTHING",
    )?
    .execute(params![name, asking, low, high, now])?;
    if made == 1 {
        check_rooms_of(c, asking, limits)?;
    }
    let room: RoomId = c
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

fn get(c: &Connection, room: RoomId) -> Result<Option<Room>> {
    Ok(
        c.prepare_cached(&format!("SELECT {ROOM} FROM rooms r WHERE r.id = ?"))?
            .query_row([room], read_room)
            .optional()?,
    )
}

fn view(c: &Connection, room: RoomId, viewer: UserId) -> Result<Option<RoomView>> {
    let condition = "p.user_id = ?1 AND r.id = ?2";
    Ok(views(c, condition, params![viewer, room], viewer)?.pop())
}

fn of_user(c: &Connection, viewer: UserId, page: Page) -> Result<Listing<RoomView>> {
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
            "SELECT {ROOM}, {USER}, p.pinned, {ROLE}, p.muted, p.muted_until
             FROM participants p JOIN rooms r ON r.id = p.room_id JOIN users u ON u.id = r.owner_id
             WHERE {condition}"
        ))?
        .query_map(bound, |row| {
            let own = ROOM_COLUMNS + USER_COLUMNS;
            Ok(RoomView {
                room: read_room(row)?,
                owner: read_user(row, ROOM_COLUMNS)?,
                is_pinned: row.get(own)?,
                role: read_role(row, own + 1)?,
                mute: match (row.get(own + 2)?, row.get(own + 3)?) {
                    (false, _) => Mute::No,
                    (true, Some(end)) => Mute::Until(end),
                    (true, None) => Mute::Forever,
                },
                participants: Vec::new(),
                unread_count: 0,
                first_unread_id: None,
                mention_count: 0,
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
    let mut unread = unread(c, viewer, &ids)?;
    for view in &mut views {
        view.participants = participants.remove(&view.room.id).unwrap_or_default();
        let unread = unread.remove(&view.room.id).unwrap_or_default();
        view.unread_count = unread.count;
        view.first_unread_id = unread.first;
        view.mention_count = unread.mentions;
    }
    Ok(views)
}

fn change_room(
    c: &Connection,
    room: RoomId,
    right: Right,
    change: &RoomChange,
    now: Timestamp,
) -> Result<()> {
    require(c, room, right)?;
    let RoomChange {
        name,
        topic,
        is_public,
    } = change;
    found(
        c.prepare_cached(
            "UPDATE rooms SET name = coalesce(?, name), topic = coalesce(?, topic),
                 is_public = coalesce(?, is_public), updated_at = ? WHERE id = ?",
        )?
        .execute(params![name, topic, is_public, now, room])?,
    )?;
    has_changed(c, room, right.by)
}

/// Tells those who take part that the room is another.
pub(super) fn has_changed(c: &Connection, room: RoomId, by: UserId) -> Result<()> {
    let (audience, kind) = (Audience::Room(room), EventKind::RoomUpdated);
    events::add(c, audience, kind, room, by, None)?;
    Ok(())
}

/// Tells those who take part of one who does, or did.
pub(super) fn participant_has_changed(
    c: &Connection,
    room: RoomId,
    user: UserId,
    change: ParticipantChange,
) -> Result<()> {
    let anybody_else = c
        .prepare_cached("SELECT 1 FROM participants WHERE room_id = ? AND user_id <> ?")?
        .exists([room, user])?;
    if !anybody_else {
        return Ok(());
    }
    let (audience, kind) = (Audience::Room(room), EventKind::ParticipantChanged);
    let data = Some(change.as_str().to_owned());
    events::add(c, audience, kind, user, user, data)?;
    Ok(())
}

fn delete(c: &Connection, room: RoomId, right: Right) -> Result<()> {
    require(c, room, right)?;
    let participants = participant_ids(c, room)?;
    found(c.execute("DELETE FROM rooms WHERE id = ?", [room])?)?;
    for user in participants {
        has_lost(c, room, user, Departure::Deleted)?;
    }
    Ok(())
}

pub(super) fn read_participant(row: &Row<'_>) -> rusqlite::Result<Participant> {
    Ok(Participant {
        id: row.get(0)?,
        joined_at: row.get(1)?,
        role: read_role(row, 2)?,
        user: read_user(row, 3)?,
    })
}

/// A participation `p` with its room `r` and user `u`, for [`read_participant`].
pub(super) fn select_participants(condition: &str) -> String {
    format!(
        "SELECT p.id, p.joined_at, {ROLE}, {USER}
         FROM participants p JOIN rooms r ON r.id = p.room_id JOIN users u ON u.id = p.user_id
         WHERE {condition}"
    )
}

fn participants(c: &Connection, room: RoomId) -> Result<Vec<Participant>> {
    let participants = c
        .prepare_cached(&select_participants("p.room_id = ? ORDER BY p.id"))?
        .query_map([room], read_participant)?
        .collect::<rusqlite::Result<_>>()?;
    Ok(participants)
}

fn acquaintance(c: &Connection, room: RoomId, user: UserId) -> Result<Option<Acquaintance>> {
    let found = c
        .prepare_cached(&format!("SELECT {USER} FROM users u WHERE u.id = ?"))?
        .query_row([user], |row| read_user(row, 0))
        .optional()?;
    let Some(user) = found else {
        return Ok(None);
    };
    Ok(Some(Acquaintance {
        role: role(c, room, user.id)?,
        participant_count: participant_ids(c, room)?.len(),
        user,
    }))
}

fn participant_ids(c: &Connection, room: RoomId) -> Result<Vec<UserId>> {
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

fn add_participant(
    c: &Connection,
    room: RoomId,
    user: UserId,
    admission: &Admission,
    limits: RoomLimits,
    now: Timestamp,
) -> Result<Option<Participant>> {
    let admitted = match admission {
        Admission::By(right) => {
            require(c, room, *right)?;
            !is_direct(c, room)?
        }
        Admission::Invitation(token) => c
            .prepare_cached(
                "SELECT 1 FROM invitations WHERE room_id = ? AND token = ?
                   AND (expires_at IS NULL OR expires_at > ?) AND (max_uses IS NULL OR uses < max_uses)",
            )?
            .exists(params![room, token, now])?,
        Admission::Public => c
            .prepare_cached("SELECT 1 FROM rooms WHERE id = ? AND is_public")?
            .exists([room])?,
    };
    found(usize::from(admitted))?;
    if is_participant(c, room, user)? {
        return Ok(None);
    }
    if is_banned(c, room, user)? {
        return Err(StorageError::Banned);
    }
    check_rooms_of(c, user, limits)?;
    let participants: i64 = c
        .prepare_cached("SELECT count(*) FROM participants WHERE room_id = ?")?
        .query_row([room], |row| row.get(0))?;
    if participants >= limits.participants {
        return Err(StorageError::RoomFull);
    }
    if let Admission::Invitation(token) = admission {
        c.prepare_cached("UPDATE invitations SET uses = uses + 1 WHERE token = ?")?
            .execute([token])?;
    }
    enter(c, room, user, now)
}

/// Nobody says who takes part in a direct room.
pub(super) fn is_direct(c: &Connection, room: RoomId) -> Result<bool> {
    Ok(
        c.prepare_cached("SELECT 1 FROM rooms WHERE id = ? AND direct_low IS NOT NULL")?
            .exists([room])?,
    )
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
    let entered = c.last_insert_rowid();
    // Before he hears of the room: of himself he knows.
    participant_has_changed(c, room, user, ParticipantChange::Joined)?;
    let (audience, kind) = (Audience::User(user), EventKind::RoomAdded);
    events::add(c, audience, kind, room, user, None)?;
    let participant = c
        .prepare_cached(&select_participants("p.id = ?"))?
        .query_row([entered], read_participant)?;
    Ok(Some(participant))
}

pub(super) fn leave(c: &Connection, room: RoomId, user: UserId, why: Departure) -> Result<bool> {
    let rows = c
        .prepare_cached("DELETE FROM participants WHERE room_id = ? AND user_id = ?")?
        .execute([room, user])?;
    c.prepare_cached("DELETE FROM invitations WHERE room_id = ? AND created_by = ?")?
        .execute([room, user])?;
    pass_on(c, user)?;
    if rows == 1 {
        has_lost(c, room, user, why)?;
        participant_has_changed(c, room, user, ParticipantChange::Left)?;
    }
    Ok(rows == 1)
}

/// Tells `user` that he does not take part in the room any more.
fn has_lost(c: &Connection, room: RoomId, user: UserId, why: Departure) -> Result<()> {
    let (audience, kind) = (Audience::User(user), EventKind::RoomRemoved);
    let data = Some(why.as_str().to_owned());
    events::add(c, audience, kind, room, user, data)?;
    Ok(())
}

fn remove_participant(c: &Connection, room: RoomId, right: Right, user: UserId) -> Result<bool> {
    require_over(c, room, right, user)?;
    found(usize::from(!is_direct(c, room)?))?;
    let was_in = leave(c, room, user, Departure::Removed)?;
    if was_in {
        c.prepare_cached("DELETE FROM invitations WHERE room_id = ?")?
            .execute([room])?;
    }
    Ok(was_in)
}

/// Takes `user` out of all rooms.
pub(super) fn leave_all(c: &Connection, user: UserId) -> Result<()> {
    let rooms: Vec<RoomId> = c
        .prepare_cached("SELECT room_id FROM participants WHERE user_id = ?")?
        .query_map([user], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    for room in rooms {
        leave(c, room, user, Departure::Left)?;
    }
    pass_on(c, user)
}

/// Hands the rooms that `user` owns without taking part in them to the longest moderator, or else member. A room without
/// anybody goes, but for a direct one: the two of them may come back to it.
fn pass_on(c: &Connection, user: UserId) -> Result<()> {
    let passed: Vec<RoomId> = c.prepare_cached(
        "UPDATE rooms SET owner_id =
             (SELECT p.user_id FROM participants p WHERE p.room_id = rooms.id
              ORDER BY p.role DESC, p.id LIMIT 1)
         WHERE owner_id = ?1
           AND EXISTS (SELECT 1 FROM participants p WHERE p.room_id = rooms.id)
           AND NOT EXISTS (SELECT 1 FROM participants p WHERE p.room_id = rooms.id AND p.user_id = ?1)
         RETURNING id",
    )?
    .query_map([user], |row| row.get(0))?
    .collect::<rusqlite::Result<_>>()?;
    for room in passed {
        has_changed(c, room, user)?;
    }
    c.prepare_cached(
        "DELETE FROM rooms WHERE owner_id = ?1 AND direct_low IS NULL
           AND NOT EXISTS (SELECT 1 FROM participants p WHERE p.room_id = rooms.id)",
    )?
    .execute([user])?;
    Ok(())
}

fn set_pinned(c: &Connection, room: RoomId, user: UserId, pinned: bool) -> Result<bool> {
    let rows = c
        .prepare_cached("UPDATE participants SET pinned = ? WHERE room_id = ? AND user_id = ?")?
        .execute(params![pinned, room, user])?;
    Ok(rows == 1)
}

fn set_mute(c: &Connection, room: RoomId, user: UserId, mute: Mute) -> Result<bool> {
    let (muted, until) = match mute {
        Mute::No => (false, None),
        Mute::Until(end) => (true, Some(end)),
        Mute::Forever => (true, None),
    };
    let rows = c
        .prepare_cached(
            "UPDATE participants SET muted = ?, muted_until = ? WHERE room_id = ? AND user_id = ?",
        )?
        .execute(params![muted, until, room, user])?;
    Ok(rows == 1)
}
