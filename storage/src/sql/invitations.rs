//! SQL of invitations to rooms.

use async_trait::async_trait;

use super::rooms::require;
use super::users::{USER, read_user};
use super::{Result, SqlStore, found};
use crate::sql::{Connection, OptionalExtension, Row, SqlResult, params};
use crate::{
    Invitation, InvitationStore, NewInvitation, Right, RoomId, StorageError, Timestamp, UserId,
};

#[async_trait]
impl InvitationStore for SqlStore {
    async fn add_invitation(&self, new: NewInvitation, most: i64) -> Result<()> {
        self.write(move |c| add(c, &new, most)).await
    }

    async fn invitation(&self, token: String) -> Result<Option<Invitation>> {
        self.read(move |c| get(c, &token)).await
    }

    async fn invitations(
        &self,
        room: RoomId,
        by: Option<UserId>,
        now: Timestamp,
    ) -> Result<Vec<Invitation>> {
        self.read(move |c| of_room(c, room, by, now)).await
    }

    async fn revoke_invitation(&self, room: RoomId, token: String, right: Right) -> Result<()> {
        self.write(move |c| revoke(c, room, &token, right)).await
    }

    async fn sweep_invitations(&self, now: Timestamp) -> Result<()> {
        self.write(move |c| sweep(c, now)).await
    }
}

/// That an invitation `i` can still be used at `?1`.
const GOOD: &str =
    "(i.expires_at IS NULL OR i.expires_at > ?1) AND (i.max_uses IS NULL OR i.uses < i.max_uses)";

fn read_invitation(row: &Row<'_>) -> SqlResult<Invitation> {
    Ok(Invitation {
        token: row.get(0)?,
        room_id: row.get(1)?,
        created_at: row.get(2)?,
        expires_at: row.get(3)?,
        max_uses: row.get(4)?,
        uses: row.get(5)?,
        by: read_user(row, 6)?,
    })
}

/// An invitation `i` with its maker `u`, for [`read_invitation`].
fn select(condition: &str) -> String {
    format!(
        "SELECT i.token, i.room_id, i.created_at, i.expires_at, i.max_uses, i.uses, {USER}
         FROM invitations i JOIN users u ON u.id = i.created_by WHERE {condition}"
    )
}

fn add(c: &Connection, new: &NewInvitation, most: i64) -> Result<()> {
    let living: i64 = c
        .prepare_cached(&format!(
            "SELECT count(*) FROM invitations i WHERE i.room_id = ?2 AND {GOOD}"
        ))?
        .query_row(params![new.now, new.room], |row| row.get(0))?;
    if living >= most {
        return Err(StorageError::TooManyInvitations);
    }
    found(
        c.prepare_cached(
            "INSERT INTO invitations (token, room_id, created_by, created_at, expires_at, max_uses)
             SELECT ?1, room_id, user_id, ?4, ?5, ?6 FROM participants WHERE room_id = ?2 AND user_id = ?3",
        )?
        .execute(params![
            new.token,
            new.room,
            new.by,
            new.now,
            new.expires_at,
            new.max_uses
        ])?,
    )
}

fn get(c: &Connection, token: &str) -> Result<Option<Invitation>> {
    Ok(c.prepare_cached(&select("i.token = ?"))?
        .query_row([token], read_invitation)
        .optional()?)
}

fn of_room(
    c: &Connection,
    room: RoomId,
    by: Option<UserId>,
    now: Timestamp,
) -> Result<Vec<Invitation>> {
    let condition = format!(
        "{GOOD} AND i.room_id = ?2 AND (i.created_by = ?3 OR ?3 IS NULL)
         ORDER BY i.created_at DESC, i.token"
    );
    let invitations = c
        .prepare_cached(&select(&condition))?
        .query_map(params![now, room, by], read_invitation)?
        .collect::<SqlResult<_>>()?;
    Ok(invitations)
}

fn revoke(c: &Connection, room: RoomId, token: &str, right: Right) -> Result<()> {
    let is_own = c
        .prepare_cached("SELECT 1 FROM invitations WHERE token = ? AND created_by = ?")?
        .exists(params![token, right.by])?;
    if !is_own {
        require(c, room, right)?;
    }
    found(
        c.prepare_cached("DELETE FROM invitations WHERE token = ? AND room_id = ?")?
            .execute(params![token, room])?,
    )
}

fn sweep(c: &Connection, now: Timestamp) -> Result<()> {
    c.execute("DELETE FROM invitations WHERE expires_at <= ?", [now])?;
    c.execute("DELETE FROM invitations WHERE uses >= max_uses", ())?;
    Ok(())
}
