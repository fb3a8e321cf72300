//! SQL of rooms. Who is what in them stands in `roles`, who takes part in `participants`, what one sees of them in `views`.

mod participants;
mod roles;
mod views;

use async_trait::async_trait;

use super::{Result, SqlStore, events, found};
use crate::sql::{Connection, OptionalExtension, Row, SqlResult, params};
use crate::{
    Acquaintance, Admission, Audience, Departure, EventKind, Listing, Mute, NewRoom, Page,
    Participant, Right, Role, Room, RoomChange, RoomId, RoomLimits, RoomStore, RoomView,
    StorageError, Timestamp, UserId,
};
use participants::{
    acquaintance, add_participant, enter, has_lost, participant_ids, participants,
    remove_participant, set_mute, set_pinned,
};
pub(super) use participants::{
    is_participant, leave, leave_all, participant_has_changed, read_participant,
    select_participants,
};
pub(super) use roles::{require, require_over, role};
use views::{of_user, view};

#[async_trait]
impl RoomStore for SqlStore {
    async fn create_room(&self, room: NewRoom, limits: RoomLimits) -> Result<RoomId> {
        self.write(move |c| create(c, &room, limits)).await
    }

    async fn direct_room(
        &self,
        asking: UserId,
        other: UserId,
        name: String,
        limits: RoomLimits,
        now: Timestamp,
    ) -> Result<(RoomId, Vec<UserId>)> {
        self.write(move |c| direct(c, asking, other, &name, limits, now))
            .await
    }

    async fn room(&self, room: RoomId) -> Result<Option<Room>> {
        self.read(move |c| get(c, room)).await
    }

    async fn room_and_role(
        &self,
        room: RoomId,
        user: UserId,
    ) -> Result<Option<(Room, Option<Role>)>> {
        self.read(move |c| match get(c, room)? {
            Some(found) => Ok(Some((found, role(c, room, user)?))),
            None => Ok(None),
        })
        .await
    }

    async fn room_view(&self, room: RoomId, viewer: UserId) -> Result<Option<RoomView>> {
        let counts = self.unread.clone();
        self.read(move |c| view(c, &counts, room, viewer)).await
    }

    async fn rooms_of(&self, viewer: UserId, page: Page) -> Result<Listing<RoomView>> {
        let counts = self.unread.clone();
        self.read(move |c| of_user(c, &counts, viewer, page)).await
    }

    async fn change_room(
        &self,
        room: RoomId,
        right: Right,
        change: RoomChange,
        now: Timestamp,
    ) -> Result<()> {
        self.write(move |c| change_room(c, room, right, &change, now))
            .await
    }

    async fn delete_room(&self, room: RoomId, right: Right) -> Result<()> {
        self.write(move |c| {
            require(c, room, right)?;
            delete(c, room)
        })
        .await
    }

    async fn delete_any_room(&self, room: RoomId) -> Result<()> {
        self.write(move |c| delete(c, room)).await
    }

    async fn participants(&self, room: RoomId) -> Result<Vec<Participant>> {
        self.read(move |c| participants(c, room)).await
    }

    async fn participant_ids(&self, room: RoomId) -> Result<Vec<UserId>> {
        self.read(move |c| participant_ids(c, room)).await
    }

    async fn acquaintance(&self, room: RoomId, user: UserId) -> Result<Option<Acquaintance>> {
        self.read(move |c| acquaintance(c, room, user)).await
    }

    async fn is_participant(&self, room: RoomId, user: UserId) -> Result<bool> {
        self.read(move |c| is_participant(c, room, user)).await
    }

    async fn add_participant(
        &self,
        room: RoomId,
        user: UserId,
        admission: Admission,
        limits: RoomLimits,
        now: Timestamp,
    ) -> Result<Option<Participant>> {
        self.write(move |c| add_participant(c, room, user, &admission, limits, now))
            .await
    }

    async fn leave(&self, room: RoomId, user: UserId) -> Result<bool> {
        self.write(move |c| leave(c, room, user, Departure::Left))
            .await
    }

    async fn remove_participant(&self, room: RoomId, right: Right, user: UserId) -> Result<bool> {
        self.write(move |c| remove_participant(c, room, right, user))
            .await
    }

    async fn set_mute(&self, room: RoomId, user: UserId, mute: Mute) -> Result<bool> {
        self.write(move |c| set_mute(c, room, user, mute)).await
    }

    async fn set_pinned(&self, room: RoomId, user: UserId, pinned: bool) -> Result<bool> {
        self.write(move |c| set_pinned(c, room, user, pinned)).await
    }
}

pub(super) const ROOM: &str = "r.id, r.name, r.topic, r.owner_id, r.is_public, r.direct_low IS NOT NULL, r.created_at, r.updated_at";
pub(super) const ROOM_COLUMNS: usize = 8;

pub(super) fn read_room(row: &Row<'_>) -> SqlResult<Room> {
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

fn create(c: &Connection, new: &NewRoom, limits: RoomLimits) -> Result<RoomId> {
    check_rooms_of(c, new.owner, limits)?;
    let room = c.insert(
        "INSERT INTO rooms (name, topic, owner_id, is_public, created_at, updated_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?5)",
        params![new.name, new.topic, new.owner, new.is_public, new.now],
    )?;
    let room = room.ok_or(StorageError::NotFound)?;
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
         VALUES (?1, ?2, FALSE, ?3, ?4, ?5, ?5) ON CONFLICT DO NOTHING",
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

fn delete(c: &Connection, room: RoomId) -> Result<()> {
    let participants = participant_ids(c, room)?;
    found(c.execute("DELETE FROM rooms WHERE id = ?", [room])?)?;
    for user in participants {
        has_lost(c, room, user, Departure::Deleted)?;
    }
    Ok(())
}

/// Nobody says who takes part in a direct room.
pub(in crate::sql) fn is_direct(c: &Connection, room: RoomId) -> Result<bool> {
    Ok(
        c.prepare_cached("SELECT 1 FROM rooms WHERE id = ? AND direct_low IS NOT NULL")?
            .exists([room])?,
    )
}
