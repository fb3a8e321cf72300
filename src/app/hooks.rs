//! Webhooks: programs that know nothing of this API write to a room, by a URL that holds a secret. What comes is by an author
//! who is called as the webhook is, so that clients need not know of webhooks.

use moznods_storage::{
    AuditTarget, Hook, HookId, HookMessage, Message, NewHook, RoomId, StorageError, User,
};
use serde_json::json;

use super::accounts::hash;
use super::audit::{Action, Person};
use super::files::AvatarChange;
use super::messages::check_content;
use super::moderation::in_room;
use super::roles::Act;
use super::{App, Error, Problem, Refusal, Result, limits, mentions, names, now, random_text};

/// What a program says by a webhook.
#[derive(Debug)]
pub struct HookPost {
    pub content: String,
    /// What the author of this one message is to be called; the webhook's name otherwise.
    pub username: Option<String>,
}

impl App {
    /// The webhook and its secret, which is shown this once.
    pub async fn add_hook(
        &self,
        by: Person<'_>,
        room: RoomId,
        name: &str,
    ) -> Result<(Hook, String)> {
        let allowed = self.may(by.user, room, Act::ManageHooks).await?;
        let secret = random_text::<32>()?;
        let new = NewHook {
            room,
            right: allowed.right,
            name: checked_name("name", name)?,
            secret: hash(&secret),
            now: now(),
        };
        let details = in_room(&allowed.room);
        let store = self.noting(by.into(), Action::HookAdd, AuditTarget::NewHook, details);
        let made = store
            .add_hook(new, self.config.limits.hooks_per_room)
            .await?;
        Ok((self.hook(room, made).await?, secret))
    }

    pub async fn hooks(&self, user: &User, room: RoomId) -> Result<Vec<Hook>> {
        self.may(user, room, Act::ManageHooks).await?;
        Ok(self.store.hooks(room).await?)
    }

    async fn hook(&self, room: RoomId, hook: HookId) -> Result<Hook> {
        let hooks = self.store.hooks(room).await?;
        let found = hooks.into_iter().find(|found| found.author.id == hook);
        Ok(found.ok_or(Refusal::NotFound)?)
    }

    /// `None` leaves the name as it is.
    pub async fn change_hook(
        &self,
        by: Person<'_>,
        room: RoomId,
        hook: HookId,
        name: Option<&str>,
        avatar: AvatarChange,
    ) -> Result<Hook> {
        let allowed = self.may(by.user, room, Act::ManageHooks).await?;
        let name = name.map(|name| checked_name("name", name)).transpose()?;
        let found = self.hook(room, hook).await?;
        match avatar {
            AvatarChange::Keep => {}
            AvatarChange::Remove => drop(self.remove_avatar(&found.author).await?),
            AvatarChange::Replace(picture) => {
                drop(self.finish_avatar(&found.author, *picture).await?);
            }
        }
        if let Some(name) = name {
            let mut details = in_room(&allowed.room);
            details["name"] = json!(name);
            let target = AuditTarget::Hook(hook);
            self.noting(by.into(), Action::HookChange, target, details)
                .rename_hook(room, allowed.right, hook, name)
                .await?;
        }
        self.hook(room, hook).await
    }

    /// Another secret, shown this once; the one before is void.
    pub async fn renew_hook(&self, by: Person<'_>, room: RoomId, hook: HookId) -> Result<String> {
        let allowed = self.may(by.user, room, Act::ManageHooks).await?;
        let secret = random_text::<32>()?;
        let details = in_room(&allowed.room);
        let target = AuditTarget::Hook(hook);
        self.noting(by.into(), Action::HookRenew, target, details)
            .renew_hook(room, allowed.right, hook, hash(&secret))
            .await?;
        Ok(secret)
    }

    /// What came by it stays.
    pub async fn remove_hook(&self, by: Person<'_>, room: RoomId, hook: HookId) -> Result<()> {
        let allowed = self.may(by.user, room, Act::ManageHooks).await?;
        let details = in_room(&allowed.room);
        let target = AuditTarget::Hook(hook);
        let store = self.noting(by.into(), Action::HookRemove, target, details);
        Ok(store.remove_hook(room, allowed.right, hook).await?)
    }

    /// Whether there is such a webhook, and this is its secret.
    pub async fn is_hook(&self, hook: HookId, secret: &str) -> Result<bool> {
        Ok(self.store.is_hook(hook, hash(secret)).await?)
    }

    /// Mentions those whom it names, but nobody by `@all`.
    pub async fn post_by_hook(
        &self,
        hook: HookId,
        secret: &str,
        post: HookPost,
    ) -> Result<Message> {
        check_content(&post.content, false)?;
        let author_name = post.username.filter(|name| !name.trim().is_empty());
        let author_name = author_name.map(|name| checked_name("username", &name));
        let mut mentions = mentions::find(&post.content);
        mentions.all = false;
        let message = HookMessage {
            hook,
            secret: hash(secret),
            content: post.content,
            author_name: author_name.transpose()?,
            mentions,
            now: now(),
        };
        match self.store.add_hook_message(message).await {
            Err(StorageError::NotFound) => Err(Refusal::NotFound.into()),
            other => Ok(other?),
        }
    }
}

fn checked_name(field: &'static str, name: &str) -> Result<String> {
    let name = name.trim();
    let problem = match name.is_empty() {
        true => Some(Problem::Required),
        false => names::check(name, limits::HOOK_NAME),
    };
    match problem {
        Some(problem) => Err(Error::field(field, problem)),
        None => Ok(name.to_owned()),
    }
}
