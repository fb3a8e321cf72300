//! Rooms as one who takes part sees them. A page of them costs four queries, whatever is in it.

use std::collections::HashMap;

use super::super::Result;
use super::super::messages::Counts;
use super::super::users::{USER, USER_COLUMNS, read_user};
use super::roles::{ROLE, read_role};
use super::{ROOM, ROOM_COLUMNS, read_room};
use crate::sql::{Connection, SqlResult, ToSql, params};
use crate::{Listing, Mute, Page, ParticipantName, RoomId, RoomView, UserId};

pub(super) fn view(
    c: &Connection,
    counts: &Counts,
    room: RoomId,
    viewer: UserId,
) -> Result<Option<RoomView>> {
    let condition = "p.user_id = ?1 AND r.id = ?2";
    Ok(views(c, counts, condition, params![viewer, room], viewer)?.pop())
}

pub(super) fn of_user(
    c: &Connection,
    counts: &Counts,
    viewer: UserId,
    page: Page,
) -> Result<Listing<RoomView>> {
    let count = c
        .prepare_cached("SELECT count(*) FROM participants WHERE user_id = ?")?
        .query_row([viewer], |row| row.get(0))?;
    let condition = "p.user_id = ?1 ORDER BY r.id DESC LIMIT ?2 OFFSET ?3";
    let items = views(
        c,
        counts,
        condition,
        params![viewer, page.limit, page.offset],
        viewer,
    )?;
    Ok(Listing { count, items })
}

/// Rooms `r` joined with the viewer's participation `p` that meet `condition`.
fn views(
    c: &Connection,
    counts: &Counts,
    condition: &str,
    bound: &[&dyn ToSql],
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
        .collect::<SqlResult<Vec<_>>>()?;

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
    let mut unread = counts.of(c, viewer, &ids)?;
    for view in &mut views {
        view.participants = participants.remove(&view.room.id).unwrap_or_default();
        let unread = unread.remove(&view.room.id).unwrap_or_default();
        view.unread_count = unread.count;
        view.first_unread_id = unread.first;
        view.mention_count = unread.mentions;
    }
    Ok(views)
}
