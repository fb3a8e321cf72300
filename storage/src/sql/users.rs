//! SQL of users, and the server's own secrets.

use async_trait::async_trait;

use super::credentials::{forget, link_identity};
use super::files::remove_of_user;
use super::rooms::leave_all;
use super::sign_ins::end_tokens;
use super::{Result, SqlStore, found};
use crate::sql::{Connection, OptionalExtension, Row, SqlResult, params};
use crate::{
    AccountChange, AdminGrant, Identity, LastAdmin, NewUser, StorageError, User, UserId, UserKey,
    UserKind, UserStore,
};

#[async_trait]
impl UserStore for SqlStore {
    async fn create_user(&self, user: NewUser) -> Result<User> {
        self.write(move |c| create(c, &user)).await
    }

    async fn create_user_with_identity(&self, user: NewUser, identity: Identity) -> Result<User> {
        self.write(move |c| {
            let created = create(c, &user)?;
            link_identity(c, &identity, created.id, None, user.now)?;
            Ok(created)
        })
        .await
    }

    async fn user(&self, key: UserKey) -> Result<Option<User>> {
        let user = self.read(move |c| find(c, &key)).await?;
        Ok(user
            .map(|(user, _)| user)
            .filter(|user| user.kind != UserKind::Hook))
    }

    async fn user_with_password(&self, key: UserKey) -> Result<Option<(User, String)>> {
        self.read(move |c| find(c, &key)).await
    }

    async fn users(&self) -> Result<Vec<User>> {
        self.read(all).await
    }

    async fn has_admin(&self) -> Result<bool> {
        self.read(has_admin).await
    }

    async fn set_display_name(&self, user: UserId, display_name: String) -> Result<User> {
        self.write(move |c| set_display_name(c, user, &display_name))
            .await
    }

    async fn change_account(
        &self,
        user: UserId,
        change: AccountChange,
        last_admin: LastAdmin,
    ) -> Result<()> {
        self.write(move |c| change_account(c, user, change, last_admin))
            .await
    }

    async fn delete_user(&self, user: UserId, last_admin: LastAdmin) -> Result<()> {
        self.write(move |c| keeping(c, user, last_admin, |c| delete(c, user)))
            .await
    }

    async fn delete_own_account(&self, user: UserId, epoch: i64) -> Result<()> {
        self.write(move |c| delete_own_account(c, user, epoch))
            .await
    }

    async fn users_with_access(&self) -> Result<Vec<(UserId, i64)>> {
        self.read(with_access).await
    }
}

/// Columns of a user, in the order in which [`read_user`] takes them; the table is named `u`.
pub(super) const USER: &str = "u.id, u.username, u.email, u.display_name, u.is_admin, u.blocked, u.epoch, u.created_at, u.avatar_hash, u.kind";
pub(super) const USER_COLUMNS: usize = 10;

/// That the user `u` may use the server. A bot may as long as its owner may.
pub(super) const HAS_ACCESS: &str = "NOT u.blocked AND NOT u.deleted
    AND NOT EXISTS (SELECT 1 FROM users o WHERE o.id = u.owner_id AND o.blocked)";

/// Reads [`USER`] from column `at` on.
pub(super) fn read_user(row: &Row<'_>, at: usize) -> SqlResult<User> {
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
        kind: match row.get::<i64>(at + 9)? {
            1 => UserKind::Bot,
            2 => UserKind::Hook,
            _ => UserKind::Person,
        },
    })
}

/// How names and mails are compared.
pub(crate) fn fold(text: &str) -> String {
    text.to_lowercase()
}

fn create(c: &Connection, user: &NewUser) -> Result<User> {
    create_as(c, user, UserKind::Person, None)
}

pub(super) fn create_as(
    c: &Connection,
    user: &NewUser,
    kind: UserKind,
    owner: Option<UserId>,
) -> Result<User> {
    if user.admin == AdminGrant::First && has_admin(c)? {
        return Err(StorageError::AdminExists);
    }
    let taken = |column: &str, value: &str| {
        c.prepare_cached(&format!("SELECT 1 FROM users WHERE {column} = ?"))?
            .exists([fold(value)])
    };
    // Whoever writes for a webhook is called as it is.
    let is_unique = kind != UserKind::Hook;
    if is_unique && taken("username_key", &user.username)? {
        return Err(StorageError::UsernameTaken);
    }
    if !user.email.is_empty() && taken("email_key", &user.email)? {
        return Err(StorageError::EmailTaken);
    }
    let row = params![
        user.username,
        is_unique.then(|| fold(&user.username)),
        user.email,
        (!user.email.is_empty()).then(|| fold(&user.email)),
        user.display_name,
        user.password_hash,
        user.admin.grants(),
        user.now,
        kind as i64,
        owner,
    ];
    let id = c.insert(
        "INSERT INTO users (username, username_key, email, email_key, display_name, password_hash, is_admin, created_at,
                            kind, owner_id)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        row,
    )?;
    by_id(c, id.ok_or(StorageError::NotFound)?)?.ok_or(StorageError::NotFound)
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
            "SELECT {USER} FROM users u WHERE NOT u.deleted AND u.kind <> 2 ORDER BY u.id"
        ))?
        .query_map((), |row| read_user(row, 0))?
        .collect::<SqlResult<_>>()?;
    Ok(users)
}

fn has_admin(c: &Connection) -> Result<bool> {
    Ok(
        c.prepare_cached("SELECT 1 FROM users WHERE is_admin AND NOT deleted")?
            .exists(())?,
    )
}

pub(super) fn set_display_name(c: &Connection, user: UserId, name: &str) -> Result<User> {
    found(
        c.prepare_cached("UPDATE users SET display_name = ? WHERE id = ? AND NOT deleted")?
            .execute(params![name, user])?,
    )?;
    by_id(c, user)?.ok_or(StorageError::NotFound)
}

fn change_account(
    c: &Connection,
    user: UserId,
    change: AccountChange,
    last_admin: LastAdmin,
) -> Result<()> {
    keeping(c, user, last_admin, |c| {
        found(
            c.prepare_cached(
                "UPDATE users SET blocked = coalesce(?, blocked), is_admin = coalesce(?, is_admin)
                 WHERE id = ? AND NOT deleted",
            )?
            .execute(params![change.blocked, change.is_admin, user])?,
        )?;
        match change.blocked {
            Some(true) => end_tokens(c, user),
            _ => Ok(()),
        }
    })
}

/// Makes a change of `user`, after which somebody must be left to administer if there was before, unless he may go.
fn keeping(
    c: &Connection,
    user: UserId,
    last_admin: LastAdmin,
    change: impl FnOnce(&Connection) -> Result<()>,
) -> Result<()> {
    let administers = |user: &User| user.is_admin && !user.blocked;
    let was = by_id(c, user)?.is_some_and(|user| administers(&user));
    change(c)?;
    let still = "SELECT 1 FROM users WHERE is_admin AND NOT blocked AND NOT deleted";
    if last_admin == LastAdmin::Stays && was && !c.prepare_cached(still)?.exists(())? {
        return Err(StorageError::LastAdmin);
    }
    Ok(())
}

pub(super) fn delete(c: &Connection, user: UserId) -> Result<()> {
    // What he has made goes with him.
    let bots: Vec<UserId> = c
        .prepare_cached("SELECT id FROM users WHERE owner_id = ? AND NOT deleted")?
        .query_map([user], |row| row.get(0))?
        .collect::<SqlResult<_>>()?;
    for bot in bots {
        delete(c, bot)?;
    }
    found(c.execute(
        "UPDATE users SET username = 'deleted-' || id, username_key = NULL, email = '', email_key = NULL,
             display_name = '', password_hash = '', is_admin = FALSE, deleted = TRUE
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
    by_id(c, user)?
        .filter(|user| user.epoch == epoch && !user.blocked)
        .ok_or(StorageError::NotFound)?;
    keeping(c, user, LastAdmin::Stays, |c| delete(c, user))
}

fn with_access(c: &Connection) -> Result<Vec<(UserId, i64)>> {
    let users = c
        .prepare_cached(&format!(
            "SELECT u.id, u.epoch FROM users u WHERE {HAS_ACCESS} AND u.kind <> 2 ORDER BY u.id"
        ))?
        .query_map((), |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<SqlResult<_>>()?;
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
