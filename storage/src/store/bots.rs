//! Bots.

use async_trait::async_trait;

use super::Result;
use crate::{Bot, NewBot, Timestamp, TokenHash, User, UserId};

/// A bot is a user whose owner is a person: it may use the server as long as he may, and goes with him. `NotFound` wherever
/// the owner has no such bot.
#[async_trait]
pub trait BotStore {
    /// `UsernameTaken`; `TooManyBots` when the owner has `most` of them; `NotFound` when he may not use the server.
    async fn add_bot(&self, new: NewBot, most: i64) -> Result<User>;
    /// In order of making.
    async fn bots(&self, owner: UserId) -> Result<Vec<Bot>>;
    async fn rename_bot(&self, owner: UserId, bot: UserId, display_name: String) -> Result<()>;
    /// Another token in place of the one before, or none.
    async fn set_bot_token(
        &self,
        owner: UserId,
        bot: UserId,
        token: Option<TokenHash>,
        now: Timestamp,
    ) -> Result<()>;
    /// As [`crate::UserStore::delete_user`].
    async fn delete_bot(&self, owner: UserId, bot: UserId) -> Result<()>;
}
