//! Who takes part in a room: how one comes, goes, and is kept.

use super::super::moderation::is_banned;
use super::super::users::{USER, read_user};
use super::super::{Result, events, found};
use super::roles::{ROLE, read_role, require, require_over, role};
use super::{check_rooms_of, delete, has_changed, is_direct};
use crate::sql::{Connection, OptionalExtension, Row, SqlResult, params};
use crate::{
    Acquaintance, Admission, Audience, Departure, EventKind, Mute, Participant, ParticipantChange,
    Right, RoomId, RoomLimits, StorageError, Timestamp, UserId,
};

pub(in crate::sql) fn read_participant(row: &Row<'_>) -> SqlResult<Participant> {
    Ok(Participant {
        id: row.get(0)?,
        joined_at: row.get(1)?,
        role: read_role(row, 2)?,
        user: read_user(row, 3)?,
    })
}

/// A participation `p` with its room `r` and user `u`, for [`read_participant`].
pub(in crate::sql) fn select_participants(condition: &str) -> String {
    format!(
        "SELECT p.id, p.joined_at, {ROLE}, {USER}
         FROM participants p JOIN rooms r ON r.id = p.room_id JOIN users u ON u.id = p.user_id
         WHERE {condition}"
    )
}

pub(super) fn participants(c: &Connection, room: RoomId) -> Result<Vec<Participant>> {
    let participants = c
        .prepare_cached(&select_participants("p.room_id = ? ORDER BY p.id"))?
        .query_map([room], read_participant)?
        .collect::<SqlResult<_>>()?;
    Ok(participants)
}

pub(super) fn acquaintance(
    c: &Connection,
    room: RoomId,
    user: UserId,
) -> Result<Option<Acquaintance>> {
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

pub(super) fn participant_ids(c: &Connection, room: RoomId) -> Result<Vec<UserId>> {
    let ids = c
        .prepare_cached("SELECT user_id FROM participants WHERE room_id = ?")?
        .query_map([room], |row| row.get(0))?
        .collect::<SqlResult<_>>()?;
    Ok(ids)
}

pub(in crate::sql) fn is_participant(c: &Connection, room: RoomId, user: UserId) -> Result<bool> {
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
    limits: RoomLimits,
    now: Timestamp,
) -> Result<Option<Participant>> {
    let admitted = match admission {
        Admission::By(right) => {
            require(c, room, *right)?;
            !is_direct(c, room)?
        }
        Admission::Invitation(token) => {
            let invited = c
                .prepare_cached(
                    "SELECT 1 FROM invitations WHERE room_id = ? AND token = ?
                       AND (expires_at IS NULL OR expires_at > ?) AND (max_uses IS NULL OR uses < max_uses)",
                )?
                .exists(params![room, token, now])?;
            invited && !is_direct(c, room)?
        }
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

pub(super) fn enter(
    c: &Connection,
    room: RoomId,
    user: UserId,
    now: Timestamp,
) -> Result<Option<Participant>> {
    if is_participant(c, room, user)? {
        return Ok(None);
    }
    let entered = c.insert(
        "INSERT INTO participants (room_id, user_id, joined_at, joined_after_id, last_read_id)
         SELECT r.id, u.id, ?3, last.id, last.id
         FROM rooms r, users u,
             (SELECT coalesce(max(id), 0) AS id FROM messages WHERE room_id = ?1) last
         WHERE r.id = ?1 AND u.id = ?2 AND NOT u.deleted",
        params![room, user, now],
    )?;
    // Both may have gone since the caller looked.
    let entered = entered.ok_or(StorageError::NotFound)?;
    // Before he hears of the room: of himself he knows.
    participant_has_changed(c, room, user, ParticipantChange::Joined)?;
    let (audience, kind) = (Audience::User(user), EventKind::RoomAdded);
    events::add(c, audience, kind, room, user, None)?;
    let participant = c
        .prepare_cached(&select_participants("p.id = ?"))?
        .query_row([entered], read_participant)?;
    Ok(Some(participant))
}

pub(in crate::sql) fn leave(
    c: &Connection,
    room: RoomId,
    user: UserId,
    why: Departure,
) -> Result<bool> {
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
pub(super) fn has_lost(c: &Connection, room: RoomId, user: UserId, why: Departure) -> Result<()> {
    let (audience, kind) = (Audience::User(user), EventKind::RoomRemoved);
    let data = Some(why.as_str().to_owned());
    events::add(c, audience, kind, room, user, data)?;
    Ok(())
}

pub(super) fn remove_participant(
    c: &Connection,
    room: RoomId,
    right: Right,
    user: UserId,
) -> Result<bool> {
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
pub(in crate::sql) fn leave_all(c: &Connection, user: UserId) -> Result<()> {
    let rooms: Vec<RoomId> = c
        .prepare_cached("SELECT room_id FROM participants WHERE user_id = ?")?
        .query_map([user], |row| row.get(0))?
        .collect::<SqlResult<_>>()?;
    for room in rooms {
        leave(c, room, user, Departure::Left)?;
    }
    pass_on(c, user)
}

/// Hands the rooms that `user` owns without taking part in them to the longest moderator, or else member. A room without
/// a person goes, but for a direct one: the two of them may come back to it.
fn pass_on(c: &Connection, user: UserId) -> Result<()> {
    let passed: Vec<RoomId> = c.prepare_cached(
        "UPDATE rooms SET owner_id =
             (SELECT p.user_id FROM participants p JOIN users u ON u.id = p.user_id
              WHERE p.room_id = rooms.id AND u.kind = 0 ORDER BY p.role DESC, p.id LIMIT 1)
         WHERE owner_id = ?1
           AND EXISTS (SELECT 1 FROM participants p JOIN users u ON u.id = p.user_id
                       WHERE p.room_id = rooms.id AND u.kind = 0)
           AND NOT EXISTS (SELECT 1 FROM participants p WHERE p.room_id = rooms.id AND p.user_id = ?1)
         RETURNING id",
    )?
    .query_map([user], |row| row.get(0))?
    .collect::<SqlResult<_>>()?;
    for room in passed {
        has_changed(c, room, user)?;
    }
    let left: Vec<RoomId> = c
        .prepare_cached(
            "SELECT id FROM rooms WHERE owner_id = ?1 AND direct_low IS NULL
               AND NOT EXISTS (SELECT 1 FROM participants p JOIN users u ON u.id = p.user_id
                               WHERE p.room_id = rooms.id AND (u.kind = 0 OR u.id = ?1))",
        )?
        .query_map([user], |row| row.get(0))?
        .collect::<SqlResult<_>>()?;
    for room in left {
        delete(c, room)?;
    }
    Ok(())
}

pub(super) fn set_pinned(c: &Connection, room: RoomId, user: UserId, pinned: bool) -> Result<bool> {
    let rows = c
        .prepare_cached("UPDATE participants SET pinned = ? WHERE room_id = ? AND user_id = ?")?
        .execute(params![pinned, room, user])?;
    Ok(rows == 1)
}

pub(super) fn set_mute(c: &Connection, room: RoomId, user: UserId, mute: Mute) -> Result<bool> {
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

/// Tells those who take part of one who does, or did.
pub(in crate::sql) fn participant_has_changed(
    c: &Connection,
    room: RoomId,
    user: UserId,
    change: ParticipantChange,
) -> Result<()> {
    let anybody_else = c
        .prepare_cached("SELECT 1 FROM participants WHERE room_id = ? AND user_id <> ? LIMIT 1")?
        .exists([room, user])?;
    if !anybody_else {
        return Ok(());
    }
    let (audience, kind) = (Audience::Room(room), EventKind::ParticipantChanged);
    let data = Some(change.as_str().to_owned());
    events::add(c, audience, kind, user, user, data)?;
    Ok(())
}
