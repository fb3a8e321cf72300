//! SQL of users, and the server's own secrets.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::credentials::{forget, link_identity};
use super::files::remove_of_user;
use super::rooms::leave_all;
use super::sign_ins::end_tokens;
use super::{Result, SqliteStore, found};
use crate::{AdminGrant, Identity, NewUser, StorageError, User, UserId, UserKey, UserStore};

#[async_trait]
impl UserStore for SqliteStore {
    async fn create_user(&self, user: NewUser) -> Result<User> {
        self.writer.write(move |c| create(c, &user)).await
    }

    async fn create_user_with_identity(&self, user: NewUser, identity: Identity) -> Result<User> {
        self.writer
            .write(move |c| {
                let created = create(c, &user)?;
                link_identity(c, &identity, created.id, None, user.now)?;
                Ok(created)
            })
            .await
    }

    async fn user(&self, key: UserKey) -> Result<Option<User>> {
        self.readers
            .read(move |c| Ok(find(c, &key)?.map(|(user, _)| user)))
            .await
    }

    async fn user_with_password(&self, key: UserKey) -> Result<Option<(User, String)>> {
        self.readers.read(move |c| find(c, &key)).await
    }

    async fn users(&self) -> Result<Vec<User>> {
        self.readers.read(|c| all(c)).await
    }

    async fn has_admin(&self) -> Result<bool> {
        self.readers.read(|c| has_admin(c)).await
    }

    async fn set_display_name(&self, user: UserId, display_name: String) -> Result<User> {
        self.writer
            .write(move |c| set_display_name(c, user, &display_name))
            .await
    }

    async fn set_blocked(&self, user: UserId, blocked: bool) -> Result<()> {
        self.writer
            .write(move |c| set_blocked(c, user, blocked))
            .await
    }

    async fn delete_user(&self, user: UserId) -> Result<()> {
        self.writer.write(move |c| delete(c, user)).await
    }

    async fn delete_own_account(&self, user: UserId, epoch: i64) -> Result<()> {
        self.writer
            .write(move |c| delete_own_account(c, user, epoch))
            .await
    }

    async fn users_with_access(&self) -> Result<Vec<(UserId, i64)>> {
        self.readers.read(|c| with_access(c)).await
    }
}

/// Columns of a user, in the order in which [`read_user`] takes them; the table is named `u`.
pub(super) const USER: &str = "u.id, u.username, u.email, u.display_name, u.is_admin, u.blocked, u.epoch, u.created_at, u.avatar_hash";
pub(super) const USER_COLUMNS: usize = 9;

/// Reads [`USER`] from column `at` on.
pub(super) fn read_user(row: &Row<'_>, at: usize) -> rusqlite::Result<User> {
    Ok(User {
        id: row.get(at)?,
        username: row.get(at + 1)?,
        email: row.get(at + 2)?,
        display_name: row.get(at + 3)?,
        is_admin: row.get(at + 4)?,
        blocked: row.get(at + 5)?,
        epoch: row.get(at + 6)?,
        created_at: row.get(at + 7)?,
        avatar: row.get(at + 8)?,
    })
}

/// How names and mails are compared.
pub(super) fn fold(text: &str) -> String {
    text.to_lowercase()
}

fn create(c: &Connection, user: &NewUser) -> Result<User> {
    if user.admin == AdminGrant::First && has_admin(c)? {
        return Err(StorageError::AdminExists);
    }
    let taken = |column: &str, value: &str| {
        c.prepare_cached(&format!("SELECT 1 FROM users WHERE {column} = ?"))?
            .exists([fold(value)])
    };
    if taken("username_key", &user.username)? {
        return Err(StorageError::UsernameTaken);
    }
    if !user.email.is_empty() && taken("email_key", &user.email)? {
        return Err(StorageError::EmailTaken);
    }
    c.prepare_cached(
        "INSERT INTO users (username, username_key, email, email_key, display_name, password_hash, is_admin, created_at)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    )?
    .execute(params![
        user.username,
        fold(&user.username),
        user.email,
        (!user.email.is_empty()).then(|| fold(&user.email)),
        user.display_name,
        user.password_hash,
        user.admin.grants(),
        user.now,
    ])?;
    by_id(c, c.last_insert_rowid())?.ok_or(StorageError::NotFound)
}

fn find(c: &Connection, key: &UserKey) -> Result<Option<(User, String)>> {
    let read = |row: &Row<'_>| Ok((read_user(row, 0)?, row.get(USER_COLUMNS)?));
    let select = |condition: &str| {
        format!("SELECT {USER}, u.password_hash FROM users u WHERE {condition} AND NOT u.deleted")
    };
    let row = match key {
        UserKey::Id(id) => c
            .prepare_cached(&select("u.id = ?"))?
            .query_row([id], read)
            .optional()?,
        UserKey::Username(name) => c
            .prepare_cached(&select("u.username_key = ?"))?
            .query_row([fold(name)], read)
            .optional()?,
        UserKey::Email(email) => c
            .prepare_cached(&select("u.email_key = ?"))?
            .query_row([fold(email)], read)
            .optional()?,
    };
    Ok(row)
}

pub(super) fn by_id(c: &Connection, id: UserId) -> Result<Option<User>> {
    Ok(find(c, &UserKey::Id(id))?.map(|(user, _)| user))
}

fn all(c: &Connection) -> Result<Vec<User>> {
    let users = c
        .prepare_cached(&format!(
            "SELECT {USER} FROM users u WHERE NOT u.deleted ORDER BY u.id"
        ))?
        .query_map([], |row| read_user(row, 0))?
        .collect::<rusqlite::Result<_>>()?;
    Ok(users)
}

fn has_admin(c: &Connection) -> Result<bool> {
    Ok(
        c.prepare_cached("SELECT 1 FROM users WHERE is_admin AND NOT deleted")?
            .exists([])?,
    )
}

fn set_display_name(c: &Connection, user: UserId, name: &str) -> Result<User> {
    found(
        c.prepare_cached("UPDATE users SET display_name = ? WHERE id = ? AND NOT deleted")?
            .execute(params![name, user])?,
    )?;
    by_id(c, user)?.ok_or(StorageError::NotFound)
}

fn set_blocked(c: &Connection, user: UserId, blocked: bool) -> Result<()> {
    found(
        c.prepare_cached("UPDATE users SET blocked = ? WHERE id = ? AND NOT deleted")?
            .execute(params![blocked, user])?,
    )?;
    if blocked { end_tokens(c, user) } else { Ok(()) }
}

fn delete(c: &Connection, user: UserId) -> Result<()> {
    found(c.execute(
        "UPDATE users SET username = 'deleted-' || id, username_key = NULL, email = '', email_key = NULL,
             display_name = '', password_hash = '', is_admin = 0, deleted = 1
         WHERE id = ? AND NOT deleted",
        [user],
    )?)?;
    end_tokens(c, user)?;
    remove_of_user(c, user)?;
    forget(c, user)?;
    c.execute("DELETE FROM invitations WHERE created_by = ?", [user])?;
    leave_all(c, user)
}

fn delete_own_account(c: &Connection, user: UserId, epoch: i64) -> Result<()> {
    let current = by_id(c, user)?
        .filter(|user| user.epoch == epoch && !user.blocked)
        .ok_or(StorageError::NotFound)?;
    let others = "SELECT 1 FROM users WHERE is_admin AND NOT blocked AND NOT deleted AND id <> ?";
    if current.is_admin && !c.prepare_cached(others)?.exists([user])? {
        return Err(StorageError::LastAdmin);
    }
    delete(c, user)
}

fn with_access(c: &Connection) -> Result<Vec<(UserId, i64)>> {
    let users = c
        .prepare_cached("SELECT id, epoch FROM users WHERE NOT blocked AND NOT deleted")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    Ok(users)
}

pub(super) fn secret(c: &Connection, name: &str, fresh: &str) -> Result<String> {
    c.execute(
        "INSERT INTO secrets (name, value) VALUES (?, ?) ON CONFLICT DO NOTHING",
        [name, fresh],
    )?;
    Ok(
        c.query_row("SELECT value FROM secrets WHERE name = ?", [name], |row| {
            row.get(0)
        })?,
    )
}
