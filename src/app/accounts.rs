//! Accounts and sign-in: who may register, what a name may be, tokens.

use std::fmt;

use moznods_signaling::{CloseReason, Whom};
use moznods_storage::{AdminGrant, NewUser, StorageError, TokenHash, User, UserId, UserKey};
use ring::digest::{SHA256, digest};

use super::{App, Error, FieldError, Problem, Refusal, Result, now, random_text};
use crate::config::Registration;

/// Bounds in characters; a password's upper one in bytes.
pub mod limits {
    pub const USERNAME: usize = 150;
    pub const EMAIL: usize = 254;
    pub const DISPLAY_NAME: usize = 150;
    pub const PASSWORD_MIN: usize = 8;
    pub const PASSWORD_MAX: usize = 1024;
    pub const ROOM_NAME: usize = 255;
    pub const MESSAGE: usize = 8000;
    pub const INVITATION_HOURS: usize = 8760;
}

/// How stale the note of a token's last use may become, in microseconds.
const TOUCH_AFTER: i64 = 3600 * 1_000_000;

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

/// What signing in yields. The token is shown this once.
pub struct Login {
    pub token: String,
    pub user: User,
}

impl App {
    /// Registration by whoever comes, under the rule of `accounts.registration`.
    pub async fn register(&self, account: NewAccount) -> Result<Login> {
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
        let user = self.create_user(account, admin).await?;
        if user.is_admin {
            *self.setup_token() = None;
        }
        self.sign_in(user).await
    }

    /// An account made by the administrator, whatever `accounts.registration` says.
    pub async fn add_user(&self, account: NewAccount, is_admin: bool) -> Result<User> {
        let account = account.checked()?;
        let admin = if is_admin {
            AdminGrant::Yes
        } else {
            AdminGrant::No
        };
        self.create_user(account, admin).await
    }

    async fn create_user(&self, account: NewAccount, admin: AdminGrant) -> Result<User> {
        let user = self
            .store
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

    /// `name` is a username or a mail address.
    pub async fn log_in(&self, name: &str, password: String) -> Result<Login> {
        let mut found = None;
        // What is longer than any name or password belongs to nobody, and is not worth a hash.
        if !is_overlong(name) && password.len() <= limits::PASSWORD_MAX {
            let candidate = self.store.user_with_password(key_named(name)).await?;
            let (user, hash) = candidate.unzip();
            if self.passwords.verify(password, hash).await? {
                found = user;
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
        self.sign_in(user).await
    }

    async fn sign_in(&self, user: User) -> Result<Login> {
        let token = random_text::<32>()?;
        match self.store.add_token(hash(&token), user.id, now()).await {
            Ok(()) => Ok(Login { token, user }),
            Err(StorageError::NotFound) => Err(Refusal::AccountBlocked.into()),
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

    /// Ends one sign-in and the sockets it has opened.
    pub async fn log_out(&self, sign_in: TokenHash) -> Result<()> {
        self.store.remove_token(sign_in).await?;
        self.hub
            .close(Whom::SignIn(sign_in.0), CloseReason::SignedOut);
        Ok(())
    }

    pub async fn set_display_name(&self, user: &User, display_name: &str) -> Result<User> {
        let mut problems = Vec::new();
        check_display_name(display_name, &mut problems);
        done(problems)?;
        Ok(self
            .store
            .set_display_name(user.id, display_name.trim().to_owned())
            .await?)
    }

    // What the administrator does.

    pub async fn users(&self) -> Result<Vec<User>> {
        Ok(self.store.users().await?)
    }

    pub async fn user_named(&self, name: &str) -> Result<User> {
        self.store
            .user(key_named(name))
            .await?
            .ok_or_else(|| Error::field("user", Problem::NoSuchUser))
    }

    /// Blocking ends all sign-ins, sockets and relay allocations of the user.
    pub async fn set_blocked(&self, user: &User, blocked: bool) -> Result<()> {
        self.store.set_blocked(user.id, blocked).await?;
        self.refresh_access().await
    }

    /// Also ends all sign-ins of the user.
    pub async fn set_password(&self, user: &User, password: String) -> Result<()> {
        let mut problems = Vec::new();
        check_password(&password, &mut problems);
        done(problems)?;
        let hash = self.passwords.hash(password).await?;
        Ok(self.store.set_password(user.id, hash).await?)
    }

    pub async fn delete_user(&self, user: &User) -> Result<()> {
        self.store.delete_user(user.id).await?;
        self.refresh_access().await
    }

    /// A fresh token with which one registers as the first administrator; `None` when there is one.
    pub async fn make_setup_token(&self) -> Result<Option<String>> {
        if self.store.has_admin().await? {
            return Ok(None);
        }
        let token = random_text::<32>()?;
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
fn hash(text: &str) -> TokenHash {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
    TokenHash(bytes)
}

fn check_account(account: &NewAccount) -> Result<()> {
    let mut problems = Vec::new();
    let mut complain = |field, problem| problems.push(FieldError { field, problem });

    // No `@`: a name must never be taken for somebody else's mail address.
    let name_character = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '+' | '-');
    match account.username.as_str() {
        "" => complain("username", Problem::Required),
        name if name.chars().count() > limits::USERNAME => {
            complain("username", Problem::TooLong(limits::USERNAME));
        }
        name if !name.chars().all(name_character) => {
            complain("username", Problem::UsernameCharacters);
        }
        _ => {}
    }
    match account.email.as_str() {
        "" => complain("email", Problem::Required),
        email if email.chars().count() > limits::EMAIL => {
            complain("email", Problem::TooLong(limits::EMAIL));
        }
        email if !is_email(email) => complain("email", Problem::NotAnEmail),
        _ => {}
    }
    check_password(&account.password, &mut problems);
    check_display_name(&account.display_name, &mut problems);
    done(problems)
}

fn is_email(text: &str) -> bool {
    text.split_once('@').is_some_and(|(local, domain)| {
        !local.is_empty() && !domain.is_empty() && !domain.contains('@')
    }) && !text.contains(|c: char| c.is_whitespace() || c.is_control())
}

fn check_password(password: &str, problems: &mut Vec<FieldError>) {
    let problem = if password.is_empty() {
        Problem::Required
    } else if password.chars().count() < limits::PASSWORD_MIN {
        Problem::TooShort(limits::PASSWORD_MIN)
    } else if password.len() > limits::PASSWORD_MAX {
        Problem::TooLong(limits::PASSWORD_MAX)
    } else {
        return;
    };
    problems.push(FieldError {
        field: "password",
        problem,
    });
}

fn check_display_name(name: &str, problems: &mut Vec<FieldError>) {
    let problem = if name.chars().count() > limits::DISPLAY_NAME {
        Problem::TooLong(limits::DISPLAY_NAME)
    } else if name.contains(char::is_control) {
        Problem::ControlCharacters
    } else {
        return;
    };
    problems.push(FieldError {
        field: "display_name",
        problem,
    });
}

fn done(problems: Vec<FieldError>) -> Result<()> {
    if problems.is_empty() {
        Ok(())
    } else {
        Err(Error::Invalid(problems))
    }
}
