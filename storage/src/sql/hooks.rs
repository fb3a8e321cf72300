//! SQL of webhooks.

use async_trait::async_trait;

use super::messages::add_by;
use super::rooms::{is_direct, require};
use super::users::{USER, USER_COLUMNS, by_id, create_as, read_user};
use super::{Result, SqlStore, found};
use crate::sql::{Connection, OptionalExtension, SqlResult, params};
use crate::{
    AdminGrant, Hook, HookId, HookMessage, HookStore, Message, NewHook, NewMessage, NewUser, Right,
    RoomId, StorageError, TokenHash, UserKind,
};

#[async_trait]
impl HookStore for SqlStore {
    async fn add_hook(&self, new: NewHook, most: i64) -> Result<HookId> {
        self.write(move |c| add(c, new, most)).await
    }

    async fn hooks(&self, room: RoomId) -> Result<Vec<Hook>> {
        self.read(move |c| of_room(c, room)).await
    }

    async fn rename_hook(
        &self,
        room: RoomId,
        right: Right,
        hook: HookId,
        name: String,
    ) -> Result<()> {
        self.write(move |c| {
            let rename = "UPDATE users SET username = ?3 WHERE id IN
                    (SELECT id FROM hooks WHERE room_id = ?1 AND id = ?2)";
            require(c, room, right)?;
            found(
                c.prepare_cached(rename)?
                    .execute(params![room, hook, name])?,
            )
        })
        .await
    }

    async fn renew_hook(
        &self,
        room: RoomId,
        right: Right,
        hook: HookId,
        secret: TokenHash,
    ) -> Result<()> {
        self.write(move |c| {
            let renew = "UPDATE hooks SET secret_hash = ?3 WHERE room_id = ?1 AND id = ?2";
            require(c, room, right)?;
            found(
                c.prepare_cached(renew)?
                    .execute(params![room, hook, secret.0])?,
            )
        })
        .await
    }

    async fn remove_hook(&self, room: RoomId, right: Right, hook: HookId) -> Result<()> {
        self.write(move |c| {
            require(c, room, right)?;
            let remove = "DELETE FROM hooks WHERE room_id = ? AND id = ?";
            found(c.prepare_cached(remove)?.execute([room, hook])?)
        })
        .await
    }

    async fn is_hook(&self, hook: HookId, secret: TokenHash) -> Result<bool> {
        self.read(move |c| {
            let known = "SELECT 1 FROM hooks WHERE id = ? AND secret_hash = ?";
            Ok(c.prepare_cached(known)?.exists(params![hook, secret.0])?)
        })
        .await
    }

    async fn add_hook_message(&self, message: HookMessage) -> Result<Message> {
        self.write(move |c| post(c, message)).await
    }
}

fn add(c: &Connection, new: NewHook, most: i64) -> Result<HookId> {
    require(c, new.room, new.right)?;
    found(usize::from(!is_direct(c, new.room)?))?;
    let hooks: i64 = c
        .prepare_cached("SELECT count(*) FROM hooks WHERE room_id = ?")?
        .query_row([new.room], |row| row.get(0))?;
    if hooks >= most {
        return Err(StorageError::TooManyHooks);
    }
    let author = NewUser {
        username: new.name,
        email: String::new(),
        display_name: String::new(),
        password_hash: String::new(),
        admin: AdminGrant::No,
        now: new.now,
    };
    let author = create_as(c, &author, UserKind::Hook, None)?;
    c.prepare_cached(
        "INSERT INTO hooks (id, room_id, made_by, secret_hash, created_at) VALUES (?, ?, ?, ?, ?)",
    )?
    .execute(params![
        author.id,
        new.room,
        new.right.by,
        new.secret.0,
        new.now
    ])?;
    Ok(author.id)
}

fn of_room(c: &Connection, room: RoomId) -> Result<Vec<Hook>> {
    let by = USER.replace("u.", "b.");
    let hooks = c
        .prepare_cached(&format!(
            "SELECT {USER}, {by}, h.room_id, h.created_at, h.last_used_at
             FROM hooks h JOIN users u ON u.id = h.id JOIN users b ON b.id = h.made_by
             WHERE h.room_id = ? ORDER BY h.id"
        ))?
        .query_map([room], |row| {
            const OWN: usize = 2 * USER_COLUMNS;
            Ok(Hook {
                author: read_user(row, 0)?,
                made_by: read_user(row, USER_COLUMNS)?,
                room_id: row.get(OWN)?,
                created_at: row.get(OWN + 1)?,
                last_used_at: row.get(OWN + 2)?,
            })
        })?
        .collect::<SqlResult<_>>()?;
    Ok(hooks)
}

fn post(c: &Connection, message: HookMessage) -> Result<Message> {
    let room = c
        .prepare_cached(
            "UPDATE hooks SET last_used_at = ? WHERE id = ? AND secret_hash = ? RETURNING room_id",
        )?
        .query_row(
            params![message.now, message.hook, message.secret.0],
            |row| row.get(0),
        )
        .optional()?
        .ok_or(StorageError::NotFound)?;
    let author = by_id(c, message.hook)?.ok_or(StorageError::NotFound)?;
    let new = NewMessage {
        room,
        author: message.hook,
        content: message.content,
        mentions: message.mentions,
        now: message.now,
        ..NewMessage::default()
    };
    Ok(add_by(c, author, new, message.author_name)?.into_message())
}
