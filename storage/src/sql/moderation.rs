//! SQL of roles and bans.

use async_trait::async_trait;

use super::rooms::{
    has_changed, is_direct, leave, participant_has_changed, read_participant, require,
    require_over, select_participants,
};
use super::users::{USER, USER_COLUMNS, read_user};
use super::{Result, SqlStore, found};
use crate::sql::{Connection, OptionalExtension, SqlResult, params};
use crate::{
    Ban, Departure, Listing, ModerationStore, Page, Participant, ParticipantChange, Right, Role,
    RoomId, StorageError, Timestamp, UserId,
};

#[async_trait]
impl ModerationStore for SqlStore {
    async fn set_role(
        &self,
        room: RoomId,
        right: Right,
        user: UserId,
        role: Role,
    ) -> Result<Participant> {
        self.write(move |c| set_role(c, room, right, user, role))
            .await
    }

    async fn transfer_room(
        &self,
        room: RoomId,
        right: Right,
        user: UserId,
        now: Timestamp,
    ) -> Result<()> {
        self.write(move |c| transfer(c, room, right, user, now))
            .await
    }

    async fn ban(
        &self,
        room: RoomId,
        right: Right,
        user: UserId,
        reason: String,
        now: Timestamp,
    ) -> Result<bool> {
        self.write(move |c| ban(c, room, right, user, &reason, now))
            .await
    }

    async fn lift_ban(&self, room: RoomId, right: Right, user: UserId) -> Result<bool> {
        self.write(move |c| lift_ban(c, room, right, user)).await
    }

    async fn bans(&self, room: RoomId, page: Page) -> Result<Listing<Ban>> {
        self.read(move |c| bans(c, room, page)).await
    }

    async fn is_banned(&self, room: RoomId, user: UserId) -> Result<bool> {
        self.read(move |c| is_banned(c, room, user)).await
    }
}

fn set_role(
    c: &Connection,
    room: RoomId,
    right: Right,
    user: UserId,
    role: Role,
) -> Result<Participant> {
    require_over(c, room, right, user)?;
    found(
        c.prepare_cached("UPDATE participants SET role = ? WHERE room_id = ? AND user_id = ?")?
            .execute(params![role == Role::Moderator, room, user])?,
    )?;
    participant_has_changed(c, room, user, ParticipantChange::Role)?;
    c.prepare_cached(&select_participants("p.room_id = ? AND p.user_id = ?"))?
        .query_row([room, user], read_participant)
        .optional()?
        .ok_or(StorageError::NotFound)
}

fn transfer(
    c: &Connection,
    room: RoomId,
    right: Right,
    user: UserId,
    now: Timestamp,
) -> Result<()> {
    require_over(c, room, right, user)?;
    found(
        c.prepare_cached(
            "UPDATE rooms SET owner_id = ?2, updated_at = ?3
             WHERE id = ?1 AND direct_low IS NULL AND EXISTS (
                 SELECT 1 FROM participants p JOIN users u ON u.id = p.user_id
                 WHERE p.room_id = ?1 AND p.user_id = ?2 AND NOT u.blocked AND u.kind = 0)",
        )?
        .execute(params![room, user, now])?,
    )?;
    // What the new one was until now is nothing he should fall back to; the old one stays trusted.
    c.prepare_cached(
        "UPDATE participants SET role = CASE WHEN user_id = ?2 THEN 1 ELSE 0 END WHERE room_id = ?1 AND user_id IN (?2, ?3)",
    )?
    .execute([room, right.by, user])?;
    has_changed(c, room, right.by)
}

fn ban(
    c: &Connection,
    room: RoomId,
    right: Right,
    user: UserId,
    reason: &str,
    now: Timestamp,
) -> Result<bool> {
    require_over(c, room, right, user)?;
    found(usize::from(!is_direct(c, room)?))?;
    found(
        c.prepare_cached(
            "INSERT INTO bans (room_id, user_id, banned_by, reason, created_at)
             SELECT ?1, id, ?3, ?4, ?5 FROM users WHERE id = ?2 AND NOT deleted
             ON CONFLICT (room_id, user_id) DO UPDATE SET banned_by = ?3, reason = ?4, created_at = ?5",
        )?
        .execute(params![room, user, right.by, reason, now])?,
    )?;
    let took_part = leave(c, room, user, Departure::Banned)?;
    if took_part {
        c.prepare_cached("DELETE FROM invitations WHERE room_id = ?")?
            .execute([room])?;
    }
    Ok(took_part)
}

fn lift_ban(c: &Connection, room: RoomId, right: Right, user: UserId) -> Result<bool> {
    require(c, room, right)?;
    let rows = c
        .prepare_cached("DELETE FROM bans WHERE room_id = ? AND user_id = ?")?
        .execute([room, user])?;
    Ok(rows == 1)
}

pub(super) fn is_banned(c: &Connection, room: RoomId, user: UserId) -> Result<bool> {
    Ok(
        c.prepare_cached("SELECT 1 FROM bans WHERE room_id = ? AND user_id = ?")?
            .exists([room, user])?,
    )
}

fn bans(c: &Connection, room: RoomId, page: Page) -> Result<Listing<Ban>> {
    let count = c
        .prepare_cached("SELECT count(*) FROM bans WHERE room_id = ?")?
        .query_row([room], |row| row.get(0))?;
    let by = USER.replace("u.", "b.");
    let items = c
        .prepare_cached(&format!(
            "SELECT {USER}, {by}, x.reason, x.created_at
             FROM bans x JOIN users u ON u.id = x.user_id JOIN users b ON b.id = x.banned_by
             WHERE x.room_id = ? ORDER BY x.created_at DESC, x.user_id LIMIT ? OFFSET ?"
        ))?
        .query_map(params![room, page.limit, page.offset], |row| {
            Ok(Ban {
                user: read_user(row, 0)?,
                banned_by: read_user(row, USER_COLUMNS)?,
                reason: row.get(2 * USER_COLUMNS)?,
                created_at: row.get(2 * USER_COLUMNS + 1)?,
            })
        })?
        .collect::<SqlResult<_>>()?;
    Ok(Listing { count, items })
}
