//! SQL of what users prove themselves by.

use async_trait::async_trait;

use super::sign_ins::end_tokens;
use super::users::{USER, by_id, read_user};
use super::{Result, SqlStore, found};
use crate::sql::{Connection, OptionalExtension, params};
use crate::{
    CredentialStore, Credentials, Identity, PasswordChange, SecondFactor, StorageError, Timestamp,
    TokenHash, TotpSecret, User, UserId,
};

#[async_trait]
impl CredentialStore for SqlStore {
    async fn credentials(&self, user: UserId) -> Result<Credentials> {
        self.read(move |c| credentials(c, user)).await
    }

    async fn set_password(&self, user: UserId, password_hash: String) -> Result<()> {
        self.write(move |c| set_password(c, user, &password_hash))
            .await
    }

    async fn rehash_password(&self, user: UserId, before: String, now: String) -> Result<bool> {
        self.write(move |c| rehash_password(c, user, &before, &now))
            .await
    }

    async fn change_password(&self, change: PasswordChange) -> Result<()> {
        self.write(move |c| change_password(c, &change)).await
    }

    async fn set_reset(&self, user: UserId, link: TokenHash, expires_at: Timestamp) -> Result<()> {
        self.write(move |c| set_reset(c, user, link, expires_at))
            .await
    }

    async fn reset_owner(&self, link: TokenHash, now: Timestamp) -> Result<Option<User>> {
        self.read(move |c| reset_owner(c, link, now)).await
    }

    async fn take_reset(
        &self,
        link: TokenHash,
        password_hash: String,
        now: Timestamp,
    ) -> Result<User> {
        self.write(move |c| take_reset(c, link, &password_hash, now))
            .await
    }

    async fn begin_second_factor(
        &self,
        user: UserId,
        epoch: i64,
        secret: TotpSecret,
    ) -> Result<()> {
        self.write(move |c| begin_second_factor(c, user, epoch, &secret))
            .await
    }

    async fn second_factor(&self, user: UserId) -> Result<Option<SecondFactor>> {
        self.read(move |c| second_factor(c, user)).await
    }

    async fn confirm_second_factor(
        &self,
        user: UserId,
        secret: TotpSecret,
        step: i64,
        recovery_codes: Vec<TokenHash>,
    ) -> Result<()> {
        self.write(move |c| confirm_second_factor(c, user, &secret, step, &recovery_codes))
            .await
    }

    async fn take_step(&self, user: UserId, secret: TotpSecret, step: i64) -> Result<bool> {
        self.write(move |c| take_step(c, user, &secret, step)).await
    }

    async fn take_recovery_code(&self, user: UserId, code: TokenHash) -> Result<bool> {
        self.write(move |c| take_recovery_code(c, user, code)).await
    }

    async fn remove_second_factor(&self, user: UserId) -> Result<()> {
        self.write(move |c| {
            found(c.execute("DELETE FROM second_factors WHERE user_id = ?", [user])?)
        })
        .await
    }

    async fn identity_owner(&self, identity: Identity) -> Result<Option<User>> {
        self.read(move |c| identity_owner(c, &identity)).await
    }

    async fn link_identity(
        &self,
        identity: Identity,
        user: UserId,
        epoch: i64,
        now: Timestamp,
    ) -> Result<()> {
        self.write(move |c| link_identity(c, &identity, user, Some(epoch), now))
            .await
    }

    async fn unlink_identity(&self, user: UserId, issuer: String) -> Result<()> {
        self.write(move |c| unlink_identity(c, user, &issuer)).await
    }
}

fn credentials(c: &Connection, user: UserId) -> Result<Credentials> {
    c.prepare_cached(
        "SELECT password_hash <> '',
             EXISTS (SELECT 1 FROM second_factors WHERE user_id = ?1 AND confirmed),
             (SELECT count(*) FROM recovery_codes WHERE user_id = ?1),
             EXISTS (SELECT 1 FROM identities WHERE user_id = ?1)
         FROM users WHERE id = ?1 AND NOT deleted",
    )?
    .query_row([user], |row| {
        Ok(Credentials {
            has_password: row.get(0)?,
            has_second_factor: row.get(1)?,
            recovery_codes: row.get(2)?,
            has_identity: row.get(3)?,
        })
    })
    .optional()?
    .ok_or(StorageError::NotFound)
}

fn set_password(c: &Connection, user: UserId, hash: &str) -> Result<()> {
    found(
        c.prepare_cached("UPDATE users SET password_hash = ? WHERE id = ? AND NOT deleted")?
            .execute(params![hash, user])?,
    )?;
    end_reset(c, user)?;
    end_tokens(c, user)
}

fn rehash_password(c: &Connection, user: UserId, before: &str, now: &str) -> Result<bool> {
    let rows = c
        .prepare_cached("UPDATE users SET password_hash = ? WHERE id = ? AND password_hash = ?")?
        .execute(params![now, user, before])?;
    Ok(rows == 1)
}

fn change_password(c: &Connection, change: &PasswordChange) -> Result<()> {
    found(
        c.prepare_cached(
            "UPDATE users SET password_hash = ?1, epoch = epoch + 1
             WHERE id = ?2 AND epoch = ?3 AND NOT blocked AND NOT deleted
               AND EXISTS (SELECT 1 FROM tokens WHERE hash = ?4 AND user_id = ?2)",
        )?
        .execute(params![
            change.password_hash,
            change.user,
            change.epoch,
            change.keep.0
        ])?,
    )?;
    end_reset(c, change.user)?;
    c.prepare_cached("DELETE FROM tokens WHERE user_id = ? AND hash <> ?")?
        .execute(params![change.user, change.keep.0])?;
    Ok(())
}

fn end_reset(c: &Connection, user: UserId) -> Result<()> {
    c.prepare_cached("DELETE FROM password_resets WHERE user_id = ?")?
        .execute([user])?;
    Ok(())
}

fn set_reset(c: &Connection, user: UserId, link: TokenHash, expires_at: Timestamp) -> Result<()> {
    found(
        c.prepare_cached(
            "INSERT INTO password_resets (user_id, hash, expires_at)
             SELECT id, ?2, ?3 FROM users WHERE id = ?1 AND NOT deleted
             ON CONFLICT (user_id) DO UPDATE SET hash = excluded.hash, expires_at = excluded.expires_at",
        )?
        .execute(params![user, link.0, expires_at])?,
    )
}

fn reset_owner(c: &Connection, link: TokenHash, now: Timestamp) -> Result<Option<User>> {
    Ok(c.prepare_cached(&format!(
        "SELECT {USER} FROM password_resets r JOIN users u ON u.id = r.user_id
         WHERE r.hash = ? AND r.expires_at > ? AND NOT u.deleted"
    ))?
    .query_row(params![link.0, now], |row| read_user(row, 0))
    .optional()?)
}

fn take_reset(c: &Connection, link: TokenHash, hash: &str, now: Timestamp) -> Result<User> {
    let user = reset_owner(c, link, now)?
        .filter(|user| !user.blocked)
        .ok_or(StorageError::NotFound)?;
    set_password(c, user.id, hash)?;
    by_id(c, user.id)?.ok_or(StorageError::NotFound)
}

fn begin_second_factor(
    c: &Connection,
    user: UserId,
    epoch: i64,
    secret: &TotpSecret,
) -> Result<()> {
    if second_factor(c, user)?.is_some_and(|factor| factor.confirmed) {
        return Err(StorageError::SecondFactorOn);
    }
    found(
        c.prepare_cached(
            "INSERT INTO second_factors (user_id, secret, confirmed, last_step)
             SELECT id, ?3, FALSE, 0 FROM users WHERE id = ?1 AND epoch = ?2 AND NOT blocked AND NOT deleted
             ON CONFLICT (user_id) DO UPDATE SET secret = excluded.secret",
        )?
        .execute(params![user, epoch, secret.0])?,
    )
}

fn second_factor(c: &Connection, user: UserId) -> Result<Option<SecondFactor>> {
    Ok(
        c.prepare_cached("SELECT secret, confirmed FROM second_factors WHERE user_id = ?")?
            .query_row([user], |row| {
                Ok(SecondFactor {
                    secret: TotpSecret(row.get(0)?),
                    confirmed: row.get(1)?,
                })
            })
            .optional()?,
    )
}

fn confirm_second_factor(
    c: &Connection,
    user: UserId,
    secret: &TotpSecret,
    step: i64,
    recovery_codes: &[TokenHash],
) -> Result<()> {
    found(
        c.prepare_cached(
            "UPDATE second_factors SET confirmed = TRUE, last_step = ? WHERE user_id = ? AND secret = ? AND NOT confirmed",
        )?
        .execute(params![step, user, secret.0])?,
    )?;
    let mut insert =
        c.prepare_cached("INSERT INTO recovery_codes (user_id, hash) VALUES (?, ?)")?;
    for code in recovery_codes {
        insert.execute(params![user, code.0])?;
    }
    Ok(())
}

fn take_step(c: &Connection, user: UserId, secret: &TotpSecret, step: i64) -> Result<bool> {
    let taken = c
        .prepare_cached(
            "UPDATE second_factors SET last_step = ?1
             WHERE user_id = ?2 AND secret = ?3 AND confirmed AND last_step < ?1",
        )?
        .execute(params![step, user, secret.0])?;
    Ok(taken == 1)
}

fn take_recovery_code(c: &Connection, user: UserId, code: TokenHash) -> Result<bool> {
    let taken = c
        .prepare_cached("DELETE FROM recovery_codes WHERE user_id = ? AND hash = ?")?
        .execute(params![user, code.0])?;
    Ok(taken == 1)
}

fn identity_owner(c: &Connection, identity: &Identity) -> Result<Option<User>> {
    Ok(c.prepare_cached(&format!(
        "SELECT {USER} FROM identities i JOIN users u ON u.id = i.user_id
         WHERE i.issuer = ? AND i.subject = ? AND NOT u.deleted"
    ))?
    .query_row([&identity.issuer, &identity.subject], |row| {
        read_user(row, 0)
    })
    .optional()?)
}

/// `epoch`: the one in which the user must be.
pub(super) fn link_identity(
    c: &Connection,
    identity: &Identity,
    user: UserId,
    epoch: Option<i64>,
    now: Timestamp,
) -> Result<()> {
    let taken = c
        .prepare_cached(
            "SELECT 1 FROM identities WHERE issuer = ?1 AND (subject = ?2 OR user_id = ?3)",
        )?
        .exists(params![identity.issuer, identity.subject, user])?;
    if taken {
        return Err(StorageError::IdentityTaken);
    }
    found(
        c.prepare_cached(
            "INSERT INTO identities (issuer, subject, user_id, created_at)
             SELECT ?1, ?2, id, ?5 FROM users
             WHERE id = ?3 AND epoch = coalesce(?4, epoch) AND NOT blocked AND NOT deleted",
        )?
        .execute(params![identity.issuer, identity.subject, user, epoch, now])?,
    )
}

fn unlink_identity(c: &Connection, user: UserId, issuer: &str) -> Result<()> {
    found(
        c.prepare_cached(
            "DELETE FROM identities WHERE user_id = ?1 AND issuer = ?2
               AND EXISTS (SELECT 1 FROM users WHERE id = ?1 AND password_hash <> '')",
        )?
        .execute(params![user, issuer])?,
    )
}

/// All of them, of a user who goes.
pub(super) fn forget(c: &Connection, user: UserId) -> Result<()> {
    for table in ["password_resets", "second_factors", "identities"] {
        c.execute(&format!("DELETE FROM {table} WHERE user_id = ?"), [user])?;
    }
    Ok(())
}
