//! What somebody is in a room, and whether that is enough.

use super::super::{Result, found};
use crate::sql::{Connection, OptionalExtension, Row, SqlResult};
use crate::{Right, Role, RoomId, StorageError, UserId};

/// Of a participation `p` in the room `r`.
pub(super) const ROLE: &str = "CASE WHEN r.owner_id = p.user_id THEN 2 ELSE p.role END";

pub(super) fn read_role(row: &Row<'_>, at: usize) -> SqlResult<Role> {
    Ok(match row.get::<i64>(at)? {
        2 => Role::Owner,
        1 => Role::Moderator,
        _ => Role::Member,
    })
}

/// `None`: does not take part.
pub(in crate::sql) fn role(c: &Connection, room: RoomId, user: UserId) -> Result<Option<Role>> {
    Ok(c.prepare_cached(&format!(
        "SELECT {ROLE} FROM participants p JOIN rooms r ON r.id = p.room_id
             WHERE p.room_id = ? AND p.user_id = ?"
    ))?
    .query_row([room, user], |row| read_role(row, 0))
    .optional()?)
}

/// That the right holds now; what the one who has it is in the room.
pub(in crate::sql) fn require(c: &Connection, room: RoomId, right: Right) -> Result<Role> {
    role(c, room, right.by)?
        .filter(|role| *role >= right.least)
        .ok_or(StorageError::NotFound)
}

/// As [`require`], against somebody who must be less in the room, or nothing.
pub(in crate::sql) fn require_over(
    c: &Connection,
    room: RoomId,
    right: Right,
    user: UserId,
) -> Result<()> {
    let own = require(c, room, right)?;
    found(usize::from(role(c, room, user)? < Some(own)))
}
