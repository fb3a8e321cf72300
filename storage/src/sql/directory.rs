//! SQL of lists in which people and rooms are sought for.

use async_trait::async_trait;

use super::rooms::{ROOM, ROOM_COLUMNS, read_room};
use super::users::{USER, USER_COLUMNS, fold, read_user};
use super::{Result, SqlStore};
use crate::sql::{Connection, SqlResult, params};
use crate::{DirectoryStore, Listing, Page, PublicRoom, User, UserId};

#[async_trait]
impl DirectoryStore for SqlStore {
    async fn public_rooms(
        &self,
        viewer: UserId,
        search: String,
        page: Page,
    ) -> Result<Listing<PublicRoom>> {
        self.read(move |c| public_rooms(c, viewer, &fold(&search), page))
            .await
    }

    async fn people(
        &self,
        viewer: UserId,
        only_shared: bool,
        search: String,
        page: Page,
    ) -> Result<Listing<User>> {
        self.read(move |c| people(c, viewer, only_shared, &fold(&search), page))
            .await
    }
}

fn public_rooms(
    c: &Connection,
    viewer: UserId,
    search: &str,
    page: Page,
) -> Result<Listing<PublicRoom>> {
    const WANTED: &str = "r.is_public AND NOT EXISTS
        (SELECT 1 FROM bans b WHERE b.room_id = r.id AND b.user_id = ?1)
        AND (?2 = '' OR instr(fold(r.name), ?2) OR instr(fold(r.topic), ?2))";
    let count = c
        .prepare_cached(&format!("SELECT count(*) FROM rooms r WHERE {WANTED}"))?
        .query_row(params![viewer, search], |row| row.get(0))?;
    let items = c
        .prepare_cached(&format!(
            "SELECT {ROOM}, {USER}, (SELECT count(*) FROM participants n WHERE n.room_id = r.id),
                 EXISTS (SELECT 1 FROM participants p WHERE p.room_id = r.id AND p.user_id = ?1)
             FROM rooms r JOIN users u ON u.id = r.owner_id
             WHERE {WANTED} ORDER BY fold(r.name), r.id LIMIT ?3 OFFSET ?4"
        ))?
        .query_map(params![viewer, search, page.limit, page.offset], |row| {
            Ok(PublicRoom {
                room: read_room(row)?,
                owner: read_user(row, ROOM_COLUMNS)?,
                participant_count: row.get(ROOM_COLUMNS + USER_COLUMNS)?,
                is_participant: row.get(ROOM_COLUMNS + USER_COLUMNS + 1)?,
            })
        })?
        .collect::<SqlResult<_>>()?;
    Ok(Listing { count, items })
}

fn people(
    c: &Connection,
    viewer: UserId,
    only_shared: bool,
    search: &str,
    page: Page,
) -> Result<Listing<User>> {
    const WANTED: &str = "u.id <> ?1 AND NOT u.blocked AND NOT u.deleted AND u.kind <> 2
        AND (NOT ?2 OR EXISTS (SELECT 1 FROM participants own JOIN participants p ON p.room_id = own.room_id
                               WHERE own.user_id = ?1 AND p.user_id = u.id))
        AND (?3 = '' OR instr(u.username_key, ?3) OR instr(fold(u.display_name), ?3))";
    let count = c
        .prepare_cached(&format!("SELECT count(*) FROM users u WHERE {WANTED}"))?
        .query_row(params![viewer, only_shared, search], |row| row.get(0))?;
    let items = c
        .prepare_cached(&format!(
            "SELECT {USER} FROM users u WHERE {WANTED} ORDER BY u.username_key LIMIT ?4 OFFSET ?5"
        ))?
        .query_map(
            params![viewer, only_shared, search, page.limit, page.offset],
            |row| read_user(row, 0),
        )?
        .collect::<SqlResult<_>>()?;
    Ok(Listing { count, items })
}
