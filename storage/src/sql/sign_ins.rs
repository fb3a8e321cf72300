//! SQL of sign-ins.

use async_trait::async_trait;

use super::users::{HAS_ACCESS, USER, USER_COLUMNS, read_user};
use super::{Result, SqlStore, found};
use crate::sql::{Connection, OptionalExtension, Row, SqlResult, params};
use crate::{
    MAX_SIGN_INS, NewSignIn, SignIn, SignInId, SignInStore, StorageError, Timestamp, TokenHash,
    TokenOwner, UserId,
};

#[async_trait]
impl SignInStore for SqlStore {
    async fn add_token(&self, new: NewSignIn) -> Result<Vec<TokenHash>> {
        self.write(move |c| add(c, &new)).await
    }

    async fn token_owner(&self, token: TokenHash) -> Result<Option<TokenOwner>> {
        self.read(move |c| owner(c, token)).await
    }

    async fn touch_token(&self, token: TokenHash, now: Timestamp) -> Result<()> {
        self.write(move |c| touch(c, token, now)).await
    }

    async fn remove_token(&self, token: TokenHash) -> Result<()> {
        self.write(move |c| remove(c, token)).await
    }

    async fn sign_ins(&self, user: UserId) -> Result<Vec<SignIn>> {
        self.read(move |c| of_user(c, user)).await
    }

    async fn rename_sign_in(&self, user: UserId, id: SignInId, name: String) -> Result<SignIn> {
        self.write(move |c| rename(c, user, id, &name)).await
    }

    async fn remove_sign_in(&self, user: UserId, id: SignInId) -> Result<TokenHash> {
        self.write(move |c| remove_one(c, user, id)).await
    }

    async fn remove_all_tokens(&self, user: UserId) -> Result<()> {
        self.write(move |c| end_tokens(c, user)).await
    }

    async fn living_tokens(&self, tokens: Vec<TokenHash>) -> Result<Vec<TokenHash>> {
        self.read(move |c| living(c, tokens)).await
    }
}

fn add(c: &Connection, new: &NewSignIn) -> Result<Vec<TokenHash>> {
    // Blocked, or signed out everywhere, between the check of the password and this moment: no token.
    found(
        c.prepare_cached(
            "INSERT INTO tokens (hash, user_id, name, created_at, last_used_at)
             SELECT ?1, id, ?4, ?5, ?5 FROM users
             WHERE id = ?2 AND epoch = ?3 AND NOT blocked AND NOT deleted",
        )?
        .execute(params![new.token.0, new.user, new.epoch, new.name, new.now])?,
    )?;
    seen(c, new.user, new.now)?;
    let others = i64::try_from(MAX_SIGN_INS).unwrap_or(i64::MAX) - 1;
    let ended = c
        .prepare_cached(
            "DELETE FROM tokens WHERE id IN
                 (SELECT id FROM tokens WHERE user_id = ?1 AND hash <> ?2
                  ORDER BY last_used_at DESC, id DESC LIMIT 9223372036854775807 OFFSET ?3)
             RETURNING hash",
        )?
        .query_map(params![new.user, new.token.0, others], |row| {
            Ok(TokenHash(row.get(0)?))
        })?
        .collect::<SqlResult<_>>()?;
    Ok(ended)
}

fn owner(c: &Connection, token: TokenHash) -> Result<Option<TokenOwner>> {
    let owner = c
        .prepare_cached(&format!(
            "SELECT {USER}, t.created_at, t.last_used_at FROM tokens t JOIN users u ON u.id = t.user_id
             WHERE t.hash = ? AND {HAS_ACCESS}"
        ))?
        .query_row([token.0], |row| {
            Ok(TokenOwner {
                user: read_user(row, 0)?,
                created_at: row.get(USER_COLUMNS)?,
                last_used_at: row.get(USER_COLUMNS + 1)?,
            })
        })
        .optional()?;
    Ok(owner)
}

fn touch(c: &Connection, token: TokenHash, now: Timestamp) -> Result<()> {
    let user = c
        .prepare_cached("UPDATE tokens SET last_used_at = ? WHERE hash = ? RETURNING user_id")?
        .query_row(params![now, token.0], |row| row.get(0))
        .optional()?;
    match user {
        Some(user) => seen(c, user, now),
        None => Ok(()),
    }
}

fn seen(c: &Connection, user: UserId, now: Timestamp) -> Result<()> {
    c.prepare_cached("UPDATE users SET last_seen_at = ? WHERE id = ?")?
        .execute([now, user])?;
    Ok(())
}

fn remove(c: &Connection, token: TokenHash) -> Result<()> {
    c.prepare_cached("DELETE FROM tokens WHERE hash = ?")?
        .execute([token.0])?;
    Ok(())
}

const SIGN_IN: &str = "id, hash, name, created_at, last_used_at";

fn read(row: &Row<'_>) -> SqlResult<SignIn> {
    Ok(SignIn {
        id: row.get(0)?,
        token: TokenHash(row.get(1)?),
        name: row.get(2)?,
        created_at: row.get(3)?,
        last_used_at: row.get(4)?,
    })
}

fn of_user(c: &Connection, user: UserId) -> Result<Vec<SignIn>> {
    let sign_ins = c
        .prepare_cached(&format!(
            "SELECT {SIGN_IN} FROM tokens WHERE user_id = ? ORDER BY last_used_at DESC, id DESC"
        ))?
        .query_map([user], read)?
        .collect::<SqlResult<_>>()?;
    Ok(sign_ins)
}

fn rename(c: &Connection, user: UserId, id: SignInId, name: &str) -> Result<SignIn> {
    c.prepare_cached(&format!(
        "UPDATE tokens SET name = ? WHERE id = ? AND user_id = ? RETURNING {SIGN_IN}"
    ))?
    .query_row(params![name, id, user], read)
    .optional()?
    .ok_or(StorageError::NotFound)
}

fn remove_one(c: &Connection, user: UserId, id: SignInId) -> Result<TokenHash> {
    c.prepare_cached("DELETE FROM tokens WHERE id = ? AND user_id = ? RETURNING hash")?
        .query_row([id, user], |row| Ok(TokenHash(row.get(0)?)))
        .optional()?
        .ok_or(StorageError::NotFound)
}

fn living(c: &Connection, tokens: Vec<TokenHash>) -> Result<Vec<TokenHash>> {
    let mut statement = c.prepare_cached("SELECT 1 FROM tokens WHERE hash = ?")?;
    let mut living = Vec::with_capacity(tokens.len());
    for token in tokens {
        if statement.exists([token.0])? {
            living.push(token);
        }
    }
    Ok(living)
}

/// Also begins a new epoch.
pub(super) fn end_tokens(c: &Connection, user: UserId) -> Result<()> {
    c.prepare_cached("DELETE FROM tokens WHERE user_id = ?")?
        .execute([user])?;
    found(
        c.prepare_cached("UPDATE users SET epoch = epoch + 1 WHERE id = ?")?
            .execute([user])?,
    )
}
