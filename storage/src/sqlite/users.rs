//! SQL of users, their tokens, and the server's own secrets.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::found;
use super::rooms::pass_on;
use crate::{
    AdminGrant, NewUser, StorageError, Timestamp, TokenHash, TokenOwner, User, UserId, UserKey,
};

type Result<T> = std::result::Result<T, StorageError>;

/// Columns of a user, in the order in which [`read_user`] takes them; the table is named `u`.
pub(super) const USER: &str =
    "u.id, u.username, u.email, u.display_name, u.is_admin, u.blocked, u.created_at";

/// Reads [`USER`] from column `at` on.
pub(super) fn read_user(row: &Row<'_>, at: usize) -> rusqlite::Result<User> {
    Ok(User {
        id: row.get(at)?,
        username: row.get(at + 1)?,
        email: row.get(at + 2)?,
        display_name: row.get(at + 3)?,
        is_admin: row.get(at + 4)?,
        blocked: row.get(at + 5)?,
        created_at: row.get(at + 6)?,
    })
}

/// How names and mails are compared.
fn fold(text: &str) -> String {
    text.to_lowercase()
}

pub(super) fn create(c: &Connection, user: &NewUser) -> Result<User> {
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
    if taken("email_key", &user.email)? {
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
        fold(&user.email),
        user.display_name,
        user.password_hash,
        user.admin.grants(),
        user.now,
    ])?;
    by_id(c, c.last_insert_rowid())?.ok_or(StorageError::NotFound)
}

pub(super) fn find(c: &Connection, key: &UserKey) -> Result<Option<(User, String)>> {
    let read = |row: &Row<'_>| Ok((read_user(row, 0)?, row.get(7)?));
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

fn by_id(c: &Connection, id: UserId) -> Result<Option<User>> {
    Ok(find(c, &UserKey::Id(id))?.map(|(user, _)| user))
}

pub(super) fn all(c: &Connection) -> Result<Vec<User>> {
    let users = c
        .prepare_cached(&format!(
            "SELECT {USER} FROM users u WHERE NOT u.deleted ORDER BY u.id"
        ))?
        .query_map([], |row| read_user(row, 0))?
        .collect::<rusqlite::Result<_>>()?;
    Ok(users)
}

pub(super) fn has_admin(c: &Connection) -> Result<bool> {
    Ok(
        c.prepare_cached("SELECT 1 FROM users WHERE is_admin AND NOT deleted")?
            .exists([])?,
    )
}

pub(super) fn set_display_name(c: &Connection, user: UserId, name: &str) -> Result<User> {
    found(
        c.prepare_cached("UPDATE users SET display_name = ? WHERE id = ? AND NOT deleted")?
            .execute(params![name, user])?,
    )?;
    by_id(c, user)?.ok_or(StorageError::NotFound)
}

pub(super) fn set_password(c: &Connection, user: UserId, hash: &str) -> Result<()> {
    found(
        c.prepare_cached("UPDATE users SET password_hash = ? WHERE id = ? AND NOT deleted")?
            .execute(params![hash, user])?,
    )?;
    end_tokens(c, user)
}

pub(super) fn set_blocked(c: &Connection, user: UserId, blocked: bool) -> Result<()> {
    found(
        c.prepare_cached("UPDATE users SET blocked = ? WHERE id = ? AND NOT deleted")?
            .execute(params![blocked, user])?,
    )?;
    if blocked { end_tokens(c, user) } else { Ok(()) }
}

pub(super) fn delete(c: &Connection, user: UserId) -> Result<()> {
    found(c.execute(
        "UPDATE users SET username = 'deleted-' || id, username_key = NULL, email = '', email_key = NULL,
             display_name = '', password_hash = '', is_admin = 0, deleted = 1
         WHERE id = ? AND NOT deleted",
        [user],
    )?)?;
    end_tokens(c, user)?;
    c.execute("DELETE FROM invitations WHERE created_by = ?", [user])?;
    c.execute("DELETE FROM participants WHERE user_id = ?", [user])?;
    pass_on(c, user)
}

pub(super) fn with_access(c: &Connection) -> Result<Vec<UserId>> {
    let ids = c
        .prepare_cached("SELECT id FROM users WHERE NOT blocked AND NOT deleted")?
        .query_map([], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    Ok(ids)
}

pub(super) fn add_token(
    c: &Connection,
    token: TokenHash,
    user: UserId,
    now: Timestamp,
) -> Result<()> {
    // Blocked between the check of the password and this moment: no token.
    found(
        c.prepare_cached(
            "INSERT INTO tokens (hash, user_id, created_at, last_used_at)
             SELECT ?1, id, ?3, ?3 FROM users WHERE id = ?2 AND NOT blocked AND NOT deleted",
        )?
        .execute(params![token.0, user, now])?,
    )
}

pub(super) fn token_owner(c: &Connection, token: TokenHash) -> Result<Option<TokenOwner>> {
    let owner = c
        .prepare_cached(&format!(
            "SELECT {USER}, t.last_used_at FROM tokens t JOIN users u ON u.id = t.user_id
             WHERE t.hash = ? AND NOT u.blocked AND NOT u.deleted"
        ))?
        .query_row([token.0], |row| {
            Ok(TokenOwner {
                user: read_user(row, 0)?,
                last_used_at: row.get(7)?,
            })
        })
        .optional()?;
    Ok(owner)
}

pub(super) fn touch_token(c: &Connection, token: TokenHash, now: Timestamp) -> Result<()> {
    c.prepare_cached("UPDATE tokens SET last_used_at = ? WHERE hash = ?")?
        .execute(params![now, token.0])?;
    Ok(())
}

pub(super) fn remove_token(c: &Connection, token: TokenHash) -> Result<()> {
    c.prepare_cached("DELETE FROM tokens WHERE hash = ?")?
        .execute([token.0])?;
    Ok(())
}

pub(super) fn living_tokens(c: &Connection, tokens: Vec<TokenHash>) -> Result<Vec<TokenHash>> {
    let mut statement = c.prepare_cached("SELECT 1 FROM tokens WHERE hash = ?")?;
    let mut living = Vec::with_capacity(tokens.len());
    for token in tokens {
        if statement.exists([token.0])? {
            living.push(token);
        }
    }
    Ok(living)
}

fn end_tokens(c: &Connection, user: UserId) -> Result<()> {
    c.prepare_cached("DELETE FROM tokens WHERE user_id = ?")?
        .execute([user])?;
    Ok(())
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
