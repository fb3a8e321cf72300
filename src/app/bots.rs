//! Bots: programs that speak the API by a token of their own. A person makes them and answers for them.

use moznods_storage::{AuditTarget, Bot, NewBot, User, UserId, UserKind};
use serde_json::json;

use super::accounts::{check_username, hash};
use super::audit::{Action, Person};
use super::{App, Error, FieldError, Problem, Refusal, Result, limits, names, now, random_text};

/// What a person wants of a bot.
#[derive(Debug, Default)]
pub struct WantedBot {
    pub username: String,
    pub display_name: String,
}

impl App {
    /// The bot and its token, which is shown this once.
    pub async fn add_bot(&self, by: Person<'_>, wanted: WantedBot) -> Result<(Bot, String)> {
        persons_only(by.user)?;
        let username = wanted.username.trim().to_owned();
        let mut problems = Vec::new();
        if let Some(problem) = check_username(&username) {
            problems.push(FieldError {
                field: "username",
                problem,
            });
        }
        let display_name = wanted.display_name.trim().to_owned();
        if let Some(problem) = names::check(&display_name, limits::DISPLAY_NAME) {
            problems.push(FieldError {
                field: "display_name",
                problem,
            });
        }
        if !problems.is_empty() {
            return Err(Error::Invalid(problems));
        }
        let token = random_text::<32>()?;
        let new = NewBot {
            owner: by.user.id,
            username,
            display_name,
            token: hash(&token),
            now: now(),
        };
        let store = self.noting(by.into(), Action::BotAdd, AuditTarget::NewUser, json!({}));
        let most = self.config.limits.bots_per_user;
        let made = store.add_bot(new, most).await?;
        self.refresh_access().await?;
        Ok((self.bot(by.user, made.id).await?, token))
    }

    /// One's own.
    pub async fn bots(&self, user: &User) -> Result<Vec<Bot>> {
        Ok(self.store.bots(user.id).await?)
    }

    async fn bot(&self, user: &User, bot: UserId) -> Result<Bot> {
        let bots = self.store.bots(user.id).await?;
        let found = bots.into_iter().find(|found| found.user.id == bot);
        Ok(found.ok_or(Refusal::NotFound)?)
    }

    /// What it is shown as.
    pub async fn rename_bot(&self, user: &User, bot: UserId, display_name: &str) -> Result<Bot> {
        let display_name = display_name.trim();
        if let Some(problem) = names::check(display_name, limits::DISPLAY_NAME) {
            return Err(Error::field("display_name", problem));
        }
        let renaming = self.store.rename_bot(user.id, bot, display_name.to_owned());
        renaming.await?;
        self.bot(user, bot).await
    }

    /// Another token in place of the one before: shown this once.
    pub async fn renew_bot_token(&self, by: Person<'_>, bot: UserId) -> Result<String> {
        if self.bot(by.user, bot).await?.user.blocked {
            return Err(Refusal::AccountBlocked.into());
        }
        let token = random_text::<32>()?;
        self.set_bot_token(by, bot, Some(&token)).await?;
        Ok(token)
    }

    /// Takes the token away; the bot stays, and may be given another.
    pub async fn revoke_bot_token(&self, by: Person<'_>, bot: UserId) -> Result<()> {
        self.set_bot_token(by, bot, None).await
    }

    async fn set_bot_token(&self, by: Person<'_>, bot: UserId, token: Option<&str>) -> Result<()> {
        let details = json!({"revoked": token.is_none()});
        let store = self.noting(by.into(), Action::BotToken, AuditTarget::User(bot), details);
        let token = token.map(hash);
        store.set_bot_token(by.user.id, bot, token, now()).await?;
        self.refresh_access().await?;
        self.close_signed_out().await
    }

    /// What it wrote stays.
    pub async fn delete_bot(&self, by: Person<'_>, bot: UserId) -> Result<()> {
        let target = AuditTarget::User(bot);
        let store = self.noting(by.into(), Action::BotDelete, target, json!({}));
        store.delete_bot(by.user.id, bot).await?;
        self.refresh_access().await
    }
}

/// That it is no bot who does what no bot does.
pub(super) fn persons_only(user: &User) -> Result<()> {
    match user.kind {
        UserKind::Person => Ok(()),
        UserKind::Bot | UserKind::Hook => Err(Refusal::PersonsOnly.into()),
    }
}

/// As [`persons_only`], of whom something is done with.
pub(super) fn person(user: &User, field: &'static str) -> Result<()> {
    match user.kind {
        UserKind::Person => Ok(()),
        UserKind::Bot | UserKind::Hook => Err(Error::field(field, Problem::NotAPerson)),
    }
}
