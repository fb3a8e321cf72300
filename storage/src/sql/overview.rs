//! SQL of what administrators see of all users and rooms.

use std::collections::HashMap;

use async_trait::async_trait;

use super::rooms::{ROOM, ROOM_COLUMNS, read_room};
use super::users::{USER, USER_COLUMNS, fold, read_user};
use super::{Result, SqlStore};
use crate::sql::{Connection, OptionalExtension, Row, SqlResult, params};
use crate::{Account, FileUsage, Listing, OverviewStore, Page, RoomAccount, RoomId, UserId};

#[async_trait]
impl OverviewStore for SqlStore {
    async fn accounts(&self, search: String, page: Page) -> Result<Listing<Account>> {
        self.read(move |c| accounts(c, &fold(&search), page)).await
    }

    async fn account(&self, user: UserId) -> Result<Option<Account>> {
        self.read(move |c| {
            Ok(c.prepare_cached(&select_accounts(
                "u.id = ? AND NOT u.deleted AND u.kind <> 2",
            ))?
            .query_row([user], read_account)
            .optional()?)
        })
        .await
    }

    async fn all_rooms(&self, search: String, page: Page) -> Result<Listing<RoomAccount>> {
        self.read(move |c| rooms(c, &fold(&search), page)).await
    }
}

fn select_accounts(condition: &str) -> String {
    format!(
        "SELECT {USER}, u.last_seen_at,
             EXISTS (SELECT 1 FROM second_factors s WHERE s.user_id = u.id AND s.confirmed),
             coalesce(f.files, 0), coalesce(f.bytes, 0)
         FROM users u LEFT JOIN file_usage f ON f.user_id = u.id WHERE {condition}"
    )
}

fn read_account(row: &Row<'_>) -> SqlResult<Account> {
    Ok(Account {
        user: read_user(row, 0)?,
        last_seen: row.get(USER_COLUMNS)?,
        has_second_factor: row.get(USER_COLUMNS + 1)?,
        files: FileUsage {
            files: row.get(USER_COLUMNS + 2)?,
            bytes: row.get(USER_COLUMNS + 3)?,
        },
    })
}

fn accounts(c: &Connection, search: &str, page: Page) -> Result<Listing<Account>> {
    const WANTED: &str = "NOT u.deleted AND u.kind <> 2 AND (?1 = '' OR instr(u.username_key, ?1)
        OR instr(u.email_key, ?1) OR instr(fold(u.display_name), ?1))";
    let count = c
        .prepare_cached(&format!("SELECT count(*) FROM users u WHERE {WANTED}"))?
        .query_row([search], |row| row.get(0))?;
    let condition = format!("{WANTED} ORDER BY u.id DESC LIMIT ?2 OFFSET ?3");
    let items = c
        .prepare_cached(&select_accounts(&condition))?
        .query_map(params![search, page.limit, page.offset], read_account)?
        .collect::<SqlResult<_>>()?;
    Ok(Listing { count, items })
}

fn rooms(c: &Connection, search: &str, page: Page) -> Result<Listing<RoomAccount>> {
    const WANTED: &str = "(?1 = '' OR instr(fold(r.name), ?1))";
    let count = c
        .prepare_cached(&format!("SELECT count(*) FROM rooms r WHERE {WANTED}"))?
        .query_row([search], |row| row.get(0))?;
    let mut items: Vec<RoomAccount> = c
        .prepare_cached(&format!(
            "SELECT {ROOM}, {USER}, (SELECT count(*) FROM participants p WHERE p.room_id = r.id), r.message_count,
                 (SELECT m.created_at FROM messages m WHERE m.room_id = r.id ORDER BY m.id DESC LIMIT 1)
             FROM rooms r JOIN users u ON u.id = r.owner_id
             WHERE {WANTED} ORDER BY r.id DESC LIMIT ?2 OFFSET ?3"
        ))?
        .query_map(params![search, page.limit, page.offset], |row| {
            const OWN: usize = ROOM_COLUMNS + USER_COLUMNS;
            Ok(RoomAccount {
                room: read_room(row)?,
                owner: read_user(row, ROOM_COLUMNS)?,
                participant_count: row.get(OWN)?,
                message_count: row.get(OWN + 1)?,
                last_message_at: row.get(OWN + 2)?,
                file_bytes: 0,
            })
        })?
        .collect::<SqlResult<_>>()?;
    // From what is attached, of which there is less than there are messages: outer joins keep to this order.
    let mut bytes: HashMap<RoomId, i64> = c
        .prepare_cached(
            "SELECT m.room_id, CAST(sum(f.size) AS BIGINT) FROM attachments a
             LEFT JOIN files f ON f.id = a.file_id LEFT JOIN messages m ON m.id = a.message_id
             GROUP BY m.room_id",
        )?
        .query_map((), |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<SqlResult<_>>()?;
    for item in &mut items {
        item.file_bytes = bytes.remove(&item.room.id).unwrap_or_default();
    }
    Ok(Listing { count, items })
}
