//! Webhooks.

use async_trait::async_trait;

use super::Result;
use crate::{Hook, HookId, HookMessage, Message, NewHook, Right, RoomId, TokenHash};

/// `NotFound` wherever a right does not hold, or the room has no such webhook.
#[async_trait]
pub trait HookStore {
    /// `TooManyHooks` when the room has `most` of them.
    async fn add_hook(&self, new: NewHook, most: i64) -> Result<HookId>;
    /// In order of making.
    async fn hooks(&self, room: RoomId) -> Result<Vec<Hook>>;
    async fn rename_hook(
        &self,
        room: RoomId,
        right: Right,
        hook: HookId,
        name: String,
    ) -> Result<()>;
    /// Another secret in place of the one before.
    async fn renew_hook(
        &self,
        room: RoomId,
        right: Right,
        hook: HookId,
        secret: TokenHash,
    ) -> Result<()>;
    /// What came by it stays.
    async fn remove_hook(&self, room: RoomId, right: Right, hook: HookId) -> Result<()>;
    /// Whether this is its secret.
    async fn is_hook(&self, hook: HookId, secret: TokenHash) -> Result<bool>;
    /// `NotFound` when there is no such webhook with this secret.
    async fn add_hook_message(&self, message: HookMessage) -> Result<Message>;
}
