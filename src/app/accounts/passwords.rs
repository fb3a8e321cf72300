//! New passwords: chosen by the user, set by the administrator, or by a link that he has made.

use std::fmt;

use moznods_storage::{
    AuditTarget, PasswordChange, StorageError, Timestamp, TokenHash, User, UserId, UserKey,
};
use serde_json::json;

use super::checks::{check_password, done};
use super::{Login, hash};
use crate::app::audit::{Action, Actor};
use crate::app::bots::person;
use crate::app::{App, Error, Problem, Refusal, Result, now, random_text};

/// How long a link for a new password is good, in microseconds.
const RESET_LINK: i64 = 24 * 3600 * 1_000_000;

/// A new password, by a link that the administrator has made.
pub struct Reset {
    pub token: String,
    pub password: String,
    /// Of the second factor; may be empty.
    pub code: String,
    /// What the device is to be called.
    pub device: String,
}

impl fmt::Debug for Reset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reset")
    }
}

impl App {
    /// Ends all sign-ins of the user but `keep`, the sockets they have opened, and what is relayed by credentials made so
    /// far.
    pub async fn change_password(
        &self,
        keep: TokenHash,
        current: String,
        new: String,
    ) -> Result<()> {
        const CURRENT: &str = "current_password";
        let mut problems = Vec::new();
        check_password("new_password", &new, &mut problems);
        done(problems)?;
        let user = self.prove(keep, CURRENT, current).await?;
        let changed = self
            .store
            .change_password(PasswordChange {
                user: user.id,
                epoch: user.epoch,
                keep,
                password_hash: self.passwords.hash(new).await?,
            })
            .await;
        match changed {
            Ok(()) => {}
            // It was changed meanwhile, or this sign-in ended.
            Err(StorageError::NotFound) => {
                return Err(match self.store.token_owner(keep).await? {
                    Some(_) => Error::field(CURRENT, Problem::WrongPassword),
                    None => Refusal::AuthenticationRequired.into(),
                });
            }
            Err(error) => return Err(error.into()),
        }
        self.refresh_access().await?;
        self.close_signed_out().await
    }

    /// Also ends all that [`Self::log_out_everywhere`] does.
    pub async fn set_password(&self, by: Actor<'_>, user: &User, password: String) -> Result<()> {
        person(user, "user")?;
        let mut problems = Vec::new();
        check_password("password", &password, &mut problems);
        done(problems)?;
        let hash = self.passwords.hash(password).await?;
        let target = AuditTarget::User(user.id);
        let store = self.noting(by, Action::UserPassword, target, json!({}));
        store.set_password(user.id, hash).await?;
        self.refresh_access().await?;
        self.close_signed_out().await
    }

    /// A link for a new password, in place of one made before: its token, shown this once, and when it ends.
    pub async fn make_reset_link(
        &self,
        by: Actor<'_>,
        user: UserId,
    ) -> Result<(String, Timestamp)> {
        let found = self.store.user(UserKey::Id(user)).await?;
        person(&found.ok_or(Refusal::NotFound)?, "user")?;
        let token = random_text::<32>()?;
        let expires_at = now() + RESET_LINK;
        let target = AuditTarget::User(user);
        let store = self.noting(by, Action::UserResetLink, target, json!({}));
        store.set_reset(user, hash(&token), expires_at).await?;
        Ok((token, expires_at))
    }

    /// Whose link it is, if it is still good.
    pub async fn reset_link_owner(&self, token: &str) -> Result<Option<UserId>> {
        let owner = self.store.reset_owner(hash(token), now()).await?;
        Ok(owner.map(|user| user.id))
    }

    /// A new password by such a link; whoever has a second factor is asked for it. Ends all that [`Self::set_password`] does.
    pub async fn reset_password(&self, reset: Reset) -> Result<Login> {
        let mut problems = Vec::new();
        check_password("password", &reset.password, &mut problems);
        done(problems)?;
        let link = hash(&reset.token);
        let void = || Error::field("token", Problem::ResetLinkVoid);
        let user = self.store.reset_owner(link, now()).await?;
        let user = user.ok_or_else(void)?;
        if user.blocked {
            return Err(Refusal::AccountBlocked.into());
        }
        self.check_second_factor(&user, &reset.code).await?;
        let password_hash = self.passwords.hash(reset.password).await?;
        let taken = self.store.take_reset(link, password_hash, now()).await;
        let user = match taken {
            Err(StorageError::NotFound) => return Err(void()),
            other => other?,
        };
        self.refresh_access().await?;
        self.close_signed_out().await?;
        self.sign_in(user, reset.device).await
    }
}
