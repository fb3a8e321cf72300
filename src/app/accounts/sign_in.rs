//! Sign-in: who somebody is, by his password or his token.

use std::fmt;

use moznods_storage::{
    AuditTarget, NewSignIn, StorageError, Store, TokenHash, User, UserId, UserKey,
};
use serde_json::json;

use super::{hash, is_overlong, key_named};
use crate::app::audit::{Action, Actor};
use crate::app::bots::persons_only;
use crate::app::passwords::Pbkdf2;
use crate::app::{App, Error, Problem, Refusal, Result, limits, now, random_text};

/// How stale the note of a token's last use may become, in microseconds.
const TOUCH_AFTER: i64 = 3600 * 1_000_000;
/// For how long after it a sign-in stands for the password that its user does not have, in microseconds.
const FRESH: i64 = 600 * 1_000_000;

/// What signing in yields. The token is shown this once.
pub struct Login {
    pub token: String,
    pub user: User,
}

/// Somebody who says who he is.
pub struct Attempt {
    /// A username or a mail address.
    pub name: String,
    pub password: String,
    /// Of the second factor; may be empty.
    pub code: String,
    /// What the device is to be called.
    pub device: String,
}

impl fmt::Debug for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Attempt")
    }
}

impl App {
    pub async fn log_in(&self, attempt: Attempt) -> Result<Login> {
        let Attempt { name, password, .. } = attempt;
        let mut found = None;
        let mut foreign = None;
        // What is longer than any name or password belongs to nobody, and is not worth a hash.
        if !is_overlong(&name) && password.len() <= limits::PASSWORD_MAX {
            let candidate = self.store.user_with_password(key_named(&name)).await?;
            let (user, hash) = candidate.unzip();
            let as_it_was = hash.clone().filter(|hash| Pbkdf2::parse(hash).is_some());
            let known = as_it_was.map(|hash| (hash, password.clone()));
            if self.passwords.verify(password, hash).await? {
                (found, foreign) = (user, known);
            }
        }
        let Some(user) = found else {
            self.metrics.sign_in_failures.inc();
            return Err(Refusal::InvalidCredentials.into());
        };
        if user.blocked {
            self.metrics.sign_in_failures.inc();
            return Err(Refusal::AccountBlocked.into());
        }
        if let Some((hash, password)) = foreign {
            self.store_as_ours(user.id, hash, password).await;
        }
        self.check_second_factor(&user, &attempt.code).await?;
        self.sign_in(user, attempt.device).await
    }

    /// The password of one who has come from another program, by now known. What does not succeed is done the next time.
    async fn store_as_ours(&self, user: UserId, foreign: String, password: String) {
        let stored = async {
            let ours = self.passwords.hash(password).await?;
            Ok::<_, Error>(self.store.rehash_password(user, foreign, ours).await?)
        };
        if let Err(error) = stored.await {
            tracing::warn!(%error, "a password could not be stored anew");
        }
    }

    /// A token for somebody who has proven who he is.
    pub(super) async fn sign_in(&self, user: User, device: String) -> Result<Login> {
        let token = random_text::<32>()?;
        let added = self
            .store
            .add_token(NewSignIn {
                token: hash(&token),
                user: user.id,
                epoch: user.epoch,
                name: device,
                now: now(),
            })
            .await;
        match added {
            Ok(ended) => {
                for token in ended {
                    self.hub.close_sign_in(token.0);
                }
                Ok(Login { token, user })
            }
            // Since the password was checked, he was blocked or signed out everywhere.
            Err(StorageError::NotFound) => {
                let now_there = self.store.user(UserKey::Id(user.id)).await?;
                let blocked = now_there.is_none_or(|user| user.blocked);
                Err(match blocked {
                    true => Refusal::AccountBlocked.into(),
                    false => Refusal::InvalidCredentials.into(),
                })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The user behind a token, and the key of the sign-in.
    pub async fn authenticate(&self, token: &str) -> Result<(User, TokenHash)> {
        let key = hash(token);
        let owner = self
            .store
            .token_owner(key)
            .await?
            .ok_or(Refusal::AuthenticationRequired)?;
        let now = now();
        if now - owner.last_used_at > TOUCH_AFTER {
            // Only a note: not worth refusing what can be read.
            if let Err(error) = self.store.touch_token(key, now).await {
                tracing::warn!(%error, "cannot note that a sign-in was used");
            }
        }
        Ok((owner.user, key))
    }

    /// Proves that it is a sign-in's user himself who asks: by his password (`field` of what he sent) or, where he has
    /// none, by having signed in just now. The user in the epoch in which that was right.
    pub(super) async fn prove(
        &self,
        sign_in: TokenHash,
        field: &'static str,
        password: String,
    ) -> Result<User> {
        let owner = self.store.token_owner(sign_in).await?;
        let owner = owner.ok_or(Refusal::AuthenticationRequired)?;
        let found = self.store.user_with_password(UserKey::Id(owner.user.id));
        let (user, hash) = found.await?.ok_or(Refusal::AuthenticationRequired)?;
        persons_only(&user)?;
        if hash.is_empty() {
            return match now() - owner.created_at <= FRESH {
                true => Ok(user),
                false => Err(Refusal::SignInAgain.into()),
            };
        }
        if password.is_empty() {
            return Err(Error::field(field, Problem::Required));
        }
        let right = password.len() <= limits::PASSWORD_MAX
            && self.passwords.verify(password, Some(hash)).await?;
        if right {
            Ok(user)
        } else {
            self.metrics.sign_in_failures.inc();
            Err(Error::field(field, Problem::WrongPassword))
        }
    }

    /// Ends one sign-in and the sockets it has opened.
    pub async fn log_out(&self, sign_in: TokenHash) -> Result<()> {
        self.store.remove_token(sign_in).await?;
        self.hub.close_sign_in(sign_in.0);
        self.count_push_subscriptions().await
    }

    /// Ends all sign-ins of the user, the sockets they have opened, and what is relayed by credentials made so far.
    pub async fn log_out_everywhere(&self, user: UserId) -> Result<()> {
        self.end_sign_ins(&*self.store, user).await
    }

    /// [`Self::log_out_everywhere`], by somebody else.
    pub async fn end_all_sign_ins(&self, by: Actor<'_>, user: UserId) -> Result<()> {
        let target = AuditTarget::User(user);
        let store = self.noting(by, Action::UserLogout, target, json!({}));
        self.end_sign_ins(&*store, user).await
    }

    async fn end_sign_ins(&self, store: &dyn Store, user: UserId) -> Result<()> {
        store.remove_all_tokens(user).await?;
        self.refresh_access().await?;
        self.close_signed_out().await
    }
}
