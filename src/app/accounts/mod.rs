//! Accounts: who may register, and profiles. How one proves who he is stands in the files below.

mod checks;
mod devices;
mod oidc;
mod passwords;
mod second_factor;
mod sign_in;

use std::fmt;

use moznods_storage::{
    AdminGrant, AuditTarget, Credentials, NewUser, StorageError, Store, TokenHash, User, UserId,
    UserKey,
};
use ring::digest::{SHA256, digest};
use serde_json::json;

use super::audit::{Action, Actor};
use super::files::AvatarChange;
use super::{App, Error, Problem, Refusal, Result, limits, now, random_text};
use crate::config::Registration;
use checks::{check_account, check_display_name, done};

pub(super) use checks::{check_username, is_email};
pub use devices::device_name;
pub use oidc::{Oidc, OidcEnd, OidcFinish, OidcReturn, OidcStart};
pub use passwords::Reset;
pub use second_factor::TotpSetup;
pub use sign_in::{Attempt, Login};

/// An account to be made, as somebody wrote it.
#[derive(Default)]
pub struct NewAccount {
    pub username: String,
    pub email: String,
    pub password: String,
    pub display_name: String,
    pub invite_code: String,
    /// The one-time token of the first administrator.
    pub setup_token: String,
}

impl fmt::Debug for NewAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewAccount")
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

impl NewAccount {
    /// Without the spaces that keyboards of phones add, if there is nothing wrong with it but that it may be taken.
    pub fn checked(mut self) -> Result<Self> {
        for name in [&mut self.username, &mut self.email, &mut self.display_name] {
            *name = name.trim().to_owned();
        }
        check_account(&self)?;
        Ok(self)
    }
}

impl App {
    /// Registration by whoever comes, under the rule of `accounts.registration`.
    pub async fn register(&self, account: NewAccount, device: String) -> Result<Login> {
        let account = account.checked()?;
        let admin = if account.setup_token.is_empty() {
            match self.config.accounts.registration {
                Registration::Closed => return Err(Refusal::RegistrationClosed.into()),
                Registration::Code
                    if hash(&account.invite_code) != hash(self.invite_code.expose()) =>
                {
                    return Err(Error::field("invite_code", Problem::WrongInviteCode));
                }
                Registration::Code | Registration::Open => AdminGrant::No,
            }
        } else {
            if *self.setup_token() != Some(hash(&account.setup_token)) {
                return Err(Error::field("setup_token", Problem::WrongSetupToken));
            }
            AdminGrant::First
        };
        let user = self.create_user(&*self.store, account, admin).await?;
        if user.is_admin {
            *self.setup_token() = None;
        }
        self.sign_in(user, device).await
    }

    /// An account made by the administrator, whatever `accounts.registration` says.
    pub async fn add_user(
        &self,
        by: Actor<'_>,
        account: NewAccount,
        is_admin: bool,
    ) -> Result<User> {
        let account = account.checked()?;
        let admin = if is_admin {
            AdminGrant::Yes
        } else {
            AdminGrant::No
        };
        let details = json!({"is_admin": is_admin});
        let store = self.noting(by, Action::UserAdd, AuditTarget::NewUser, details);
        self.create_user(&*store, account, admin).await
    }

    async fn create_user(
        &self,
        store: &dyn Store,
        account: NewAccount,
        admin: AdminGrant,
    ) -> Result<User> {
        let user = store
            .create_user(NewUser {
                username: account.username,
                email: account.email,
                display_name: account.display_name,
                password_hash: self.passwords.hash(account.password).await?,
                admin,
                now: now(),
            })
            .await?;
        self.refresh_access().await?;
        Ok(user)
    }

    /// Whose username or mail address this is, blocked or not.
    pub async fn user_id_named(&self, name: &str) -> Result<Option<UserId>> {
        if is_overlong(name) {
            return Ok(None);
        }
        let user = self.store.user(key_named(name)).await?;
        Ok(user.map(|user| user.id))
    }

    /// `None` leaves the name as it is.
    pub async fn change_profile(
        &self,
        mut user: User,
        display_name: Option<&str>,
        avatar: AvatarChange,
    ) -> Result<User> {
        if let Some(name) = display_name {
            let mut problems = Vec::new();
            check_display_name(name, &mut problems);
            done(problems)?;
        }
        user = match avatar {
            AvatarChange::Keep => user,
            AvatarChange::Remove => self.remove_avatar(&user).await?,
            AvatarChange::Replace(picture) => self.finish_avatar(&user, *picture).await?,
        };
        match display_name {
            None => Ok(user),
            Some(name) => {
                let name = name.trim().to_owned();
                Ok(self.store.set_display_name(user.id, name).await?)
            }
        }
    }

    pub async fn user_named(&self, name: &str) -> Result<User> {
        self.store
            .user(key_named(name))
            .await?
            .ok_or_else(|| Error::field("user", Problem::NoSuchUser))
    }

    /// By what somebody may prove who he is.
    pub async fn credentials(&self, user: UserId) -> Result<Credentials> {
        Ok(self.store.credentials(user).await?)
    }

    /// [`Self::delete_user`], by himself. The last administrator may not.
    pub async fn delete_own_account(&self, sign_in: TokenHash, password: String) -> Result<()> {
        let user = self.prove(sign_in, "password", password).await?;
        let deleted = self.store.delete_own_account(user.id, user.epoch).await;
        match deleted {
            Ok(()) => {}
            // Signed out everywhere, since the password was checked.
            Err(StorageError::NotFound) => return Err(Refusal::AuthenticationRequired.into()),
            Err(error) => return Err(error.into()),
        }
        self.refresh_access().await
    }

    /// A fresh token with which one registers as the first administrator; `None` when there is one.
    pub async fn make_setup_token(&self) -> Result<Option<String>> {
        if self.store.has_admin().await? {
            return Ok(None);
        }
        let token = match self.bus {
            // Whatever node somebody gets it from, he may come with it to any.
            Some(_) => {
                self.store
                    .secret("setup_token", random_text::<32>()?)
                    .await?
            }
            None => random_text::<32>()?,
        };
        *self.setup_token() = Some(hash(&token));
        Ok(Some(token))
    }
}

/// There is an `@` in every mail address, and in no username.
fn key_named(name: &str) -> UserKey {
    if name.contains('@') {
        UserKey::Email(name.to_owned())
    } else {
        UserKey::Username(name.to_owned())
    }
}

/// In bytes, of which a character has four at most.
fn is_overlong(name: &str) -> bool {
    name.len() > 4 * limits::EMAIL
}

/// Secrets are compared by their hashes: what the time of that comparison tells is of no use.
pub(super) fn hash(text: &str) -> TokenHash {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
    TokenHash(bytes)
}
