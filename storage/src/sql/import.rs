//! SQL of what is taken over from another program.

use async_trait::async_trait;

use super::events::clock;
use super::files::usage;
use super::messages::room_of;
use super::moderation::is_banned;
use super::rooms::{is_direct, is_participant};
use super::users::{by_id, fold};
use super::{Engine, Result, SqlStore, found};
use crate::sql::{Connection, OptionalExtension, SqlResult, params};
use crate::{
    BlobHash, Import, ImportKind, ImportStore, ImportWork, ImportedFile, ImportedInvitation,
    ImportedMessage, ImportedParticipant, ImportedRoom, ImportedToken, ImportedUser, ReadSpan,
    RoomId, StorageError, User, UserId,
};

#[async_trait]
impl ImportStore for SqlStore {
    async fn import(&self, origin: String, work: ImportWork) -> Result<()> {
        if let Engine::Postgres(_) = &self.engine {
            return Err(StorageError::SqliteOnly);
        }
        self.write_apart(move |c| import(c, &origin, work)).await
    }

    async fn imported(&self, kind: ImportKind) -> Result<Vec<i64>> {
        self.read(move |c| all(c, kind)).await
    }

    async fn foreign_passwords(&self) -> Result<Vec<String>> {
        self.read(foreign_passwords).await
    }
}

fn import(c: &Connection, origin: &str, work: ImportWork) -> Result<()> {
    let before = c.total_changes();
    let known = c
        .query_row("SELECT origin FROM import_source", (), |row| {
            row.get::<String>(0)
        })
        .optional()?;
    match known {
        None => {
            c.execute("INSERT INTO import_source VALUES (1, ?)", [origin])?;
        }
        Some(known) if known == origin => {}
        Some(_) => return Err(StorageError::AnotherOrigin),
    }
    work(&Step(c))?;
    if c.total_changes() > before {
        begin_events_anew(c)?;
    }
    Ok(())
}

/// So that no event is known any more after which a client could go on; the number between is nobody's.
fn begin_events_anew(c: &Connection) -> Result<()> {
    // Of no kind, for nobody.
    c.execute(
        "INSERT INTO events (id, audience, kind, subject, by_user, created_at)
         SELECT coalesce(max(id), 0) + 2, 0, 0, 0, 0, ? FROM events",
        [clock()],
    )?;
    c.execute(
        "DELETE FROM events WHERE id < (SELECT max(id) FROM events)",
        (),
    )?;
    Ok(())
}

fn all(c: &Connection, kind: ImportKind) -> Result<Vec<i64>> {
    let ids = c
        .prepare_cached("SELECT source_id FROM imported WHERE kind = ?")?
        .query_map([kind as i64], |row| row.get(0))?
        .collect::<SqlResult<_>>()?;
    Ok(ids)
}

fn foreign_passwords(c: &Connection) -> Result<Vec<String>> {
    let hashes = c
        .prepare_cached(
            "SELECT password_hash FROM users WHERE password_hash <> '' AND substr(password_hash, 1, 1) <> '$'",
        )?
        .query_map((), |row| row.get(0))?
        .collect::<SqlResult<_>>()?;
    Ok(hashes)
}

struct Step<'a>(&'a Connection<'a>);

impl Import for Step<'_> {
    fn known(&self, kind: ImportKind, source: i64) -> Result<Option<i64>> {
        Ok(self
            .0
            .prepare_cached("SELECT id FROM imported WHERE kind = ? AND source_id = ?")?
            .query_row([kind as i64, source], |row| row.get(0))
            .optional()?)
    }

    fn remember(&self, kind: ImportKind, source: i64, id: i64) -> Result<()> {
        self.0
            .prepare_cached("INSERT INTO imported (kind, source_id, id) VALUES (?, ?, ?)")?
            .execute([kind as i64, source, id])?;
        Ok(())
    }

    fn given_out(&self, kind: ImportKind) -> Result<i64> {
        let table = match kind {
            ImportKind::User => "users",
            ImportKind::Room => "rooms",
            ImportKind::Message => "messages",
            ImportKind::File => "files",
            _ => return Ok(0),
        };
        let highest = self
            .0
            .prepare_cached("SELECT seq FROM sqlite_sequence WHERE name = ?")?
            .query_row([table], |row| row.get(0))
            .optional()?;
        Ok(highest.unwrap_or(0))
    }

    fn username_is_taken(&self, name: &str) -> Result<bool> {
        Ok(self
            .0
            .prepare_cached("SELECT 1 FROM users WHERE username_key = ?")?
            .exists([fold(name)])?)
    }

    fn email_is_taken(&self, email: &str) -> Result<bool> {
        Ok(self
            .0
            .prepare_cached("SELECT 1 FROM users WHERE email_key = ?")?
            .exists([fold(email)])?)
    }

    fn add_user(&self, user: &ImportedUser) -> Result<()> {
        self.0
            .prepare_cached(
                "INSERT INTO users (id, username, username_key, email, email_key, display_name, password_hash, is_admin,
                                    blocked, deleted, created_at, last_seen_at)
                 VALUES (?, ?, ?, ?, ?, '', ?, ?, ?, ?, ?, ?)",
            )?
            .execute(params![
                user.id,
                user.username,
                (!user.deleted).then(|| fold(&user.username)),
                user.email,
                (!user.email.is_empty()).then(|| fold(&user.email)),
                user.password_hash.0,
                user.is_admin,
                user.blocked,
                user.deleted,
                user.created_at,
                user.last_seen_at,
            ])?;
        Ok(())
    }

    fn user(&self, user: UserId) -> Result<Option<User>> {
        by_id(self.0, user)
    }

    fn add_token(&self, token: &ImportedToken) -> Result<()> {
        self.0
            .prepare_cached(
                "INSERT INTO tokens (hash, user_id, name, created_at, last_used_at) VALUES (?, ?, '', ?, ?)
                 ON CONFLICT DO NOTHING",
            )?
            .execute(params![
                token.hash.0,
                token.user,
                token.created_at,
                token.now
            ])?;
        Ok(())
    }

    fn set_profile(
        &self,
        user: UserId,
        display_name: &str,
        avatar: Option<BlobHash>,
    ) -> Result<()> {
        self.0
            .prepare_cached(
                "UPDATE users SET display_name = ?1 WHERE ?1 <> '' AND id = ?2 AND display_name = '' AND NOT deleted",
            )?
            .execute(params![display_name, user])?;
        self.0
            .prepare_cached(
                "UPDATE users SET avatar_hash = ?1 WHERE id = ?2 AND avatar_hash IS NULL AND ?1 IS NOT NULL AND NOT deleted",
            )?
            .execute(params![avatar, user])?;
        Ok(())
    }

    fn owner_of(&self, room: RoomId) -> Result<Option<UserId>> {
        Ok(self
            .0
            .prepare_cached("SELECT owner_id FROM rooms WHERE id = ?")?
            .query_row([room], |row| row.get(0))
            .optional()?)
    }

    fn is_direct(&self, room: RoomId) -> Result<bool> {
        is_direct(self.0, room)
    }

    fn admits(&self, room: RoomId, user: UserId) -> Result<bool> {
        let may = self
            .0
            .prepare_cached(
                "SELECT 1 FROM rooms WHERE id = ?1 AND (direct_low IS NULL OR ?2 IN (direct_low, direct_high))",
            )?
            .exists([room, user])?;
        Ok(may && !is_banned(self.0, room, user)?)
    }

    fn has_direct_room(&self, pair: (UserId, UserId)) -> Result<bool> {
        Ok(self
            .0
            .prepare_cached("SELECT 1 FROM rooms WHERE direct_low = ? AND direct_high = ?")?
            .exists([pair.0.min(pair.1), pair.0.max(pair.1)])?)
    }

    fn add_room(&self, room: &ImportedRoom) -> Result<()> {
        self.0
            .prepare_cached(
                "INSERT INTO rooms (id, name, owner_id, is_public, direct_low, direct_high, created_at, updated_at)
                 VALUES (?, ?, ?, 0, ?, ?, ?, ?)",
            )?
            .execute(params![
                room.id,
                room.name,
                room.owner,
                room.pair.map(|(one, other)| one.min(other)),
                room.pair.map(|(one, other)| one.max(other)),
                room.created_at,
                room.updated_at,
            ])?;
        Ok(())
    }

    fn add_participant(&self, participant: &ImportedParticipant) -> Result<bool> {
        let ImportedParticipant {
            room,
            user,
            joined_at,
            pinned,
        } = *participant;
        if is_participant(self.0, room, user)? {
            return Ok(false);
        }
        self.0
            .prepare_cached(
                "INSERT INTO participants (room_id, user_id, joined_at, pinned) VALUES (?, ?, ?, ?)",
            )?
            .execute(params![room, user, joined_at, pinned])?;
        Ok(true)
    }

    fn add_invitation(&self, invitation: &ImportedInvitation) -> Result<bool> {
        let rows = self
            .0
            .prepare_cached(
                "INSERT INTO invitations (token, room_id, created_by, created_at, expires_at) VALUES (?, ?, ?, ?, ?)
                 ON CONFLICT DO NOTHING",
            )?
            .execute(params![
                invitation.token.0,
                invitation.room,
                invitation.by,
                invitation.created_at,
                invitation.expires_at,
            ])?;
        Ok(rows == 1)
    }

    fn add_message(&self, message: &ImportedMessage) -> Result<()> {
        self.0
            .prepare_cached(
                "INSERT INTO messages (id, room_id, author_id, content, created_at) VALUES (?, ?, ?, ?, ?)",
            )?
            .execute(params![
                message.id,
                message.room,
                message.author,
                message.content,
                message.created_at,
            ])?;
        Ok(())
    }

    fn room_of_message(&self, message: i64) -> Result<Option<RoomId>> {
        room_of(self.0, message)
    }

    fn add_file(&self, file: &ImportedFile) -> Result<i64> {
        let used = usage(self.0, file.uploader)?.bytes;
        let fits = |quota| used.saturating_add(file.size) <= quota;
        if !file.quota.is_none_or(fits) {
            return Err(StorageError::QuotaExceeded);
        }
        let (width, height) = file.dimensions.unzip();
        self.0
            .prepare_cached(
                "INSERT INTO files (id, hash, uploader_id, name, content_type, size, width, height, has_thumbnail, attached,
                                    created_at)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 1, ?)",
            )?
            .execute(params![
                file.id,
                file.hash,
                file.uploader,
                file.name,
                file.content_type,
                file.size,
                width,
                height,
                file.has_thumbnail,
                file.created_at,
            ])?;
        let attached = self.0.insert(
            "INSERT INTO attachments (message_id, file_id) VALUES (?, ?)",
            [file.message, file.id],
        )?;
        attached.ok_or(StorageError::NotFound)
    }

    fn read_span(&self, room: RoomId, user: UserId) -> Result<Option<ReadSpan>> {
        Ok(self
            .0
            .prepare_cached(
                "SELECT joined_after_id, last_read_id FROM participants WHERE room_id = ? AND user_id = ?",
            )?
            .query_row([room, user], |row| {
                Ok(ReadSpan {
                    after: row.get(0)?,
                    read: row.get(1)?,
                })
            })
            .optional()?)
    }

    fn set_read_span(&self, room: RoomId, user: UserId, span: ReadSpan) -> Result<()> {
        let sql = "UPDATE participants SET joined_after_id = ?, last_read_id = ? WHERE room_id = ? AND user_id = ?";
        found(
            self.0
                .prepare_cached(sql)?
                .execute([span.after, span.read, room, user])?,
        )
    }
}
