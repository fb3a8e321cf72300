//! Web push.

use async_trait::async_trait;

use super::Result;
use crate::{
    NewPushSubscription, PushMessages, PushRoom, PushSettings, PushSubscription, RoomId, Timestamp,
    TokenHash, UserId,
};

#[async_trait]
pub trait PushStore {
    /// The subscription and whether it is a new one; it goes with the sign-in. One with the same endpoint is replaced,
    /// whosever it was: the browser has another user now. `TooManyPushSubscriptions`, or `NotFound` when the sign-in is
    /// no more.
    async fn add_push_subscription(
        &self,
        user: UserId,
        sign_in: TokenHash,
        new: NewPushSubscription,
        now: Timestamp,
    ) -> Result<(PushSubscription, bool)>;
    /// Of one user, oldest first, without those that have expired.
    async fn push_subscriptions(
        &self,
        user: UserId,
        now: Timestamp,
    ) -> Result<Vec<PushSubscription>>;
    async fn push_subscription(&self, id: i64) -> Result<Option<PushSubscription>>;
    /// `NotFound` when it is not the user's.
    async fn remove_push_subscription(&self, user: UserId, id: i64) -> Result<()>;
    /// `NotFound` when it is not the user's.
    async fn remove_push_endpoint(&self, user: UserId, endpoint: String) -> Result<()>;
    /// Of all users.
    async fn count_push_subscriptions(&self) -> Result<i64>;

    async fn push_settings(&self, user: UserId) -> Result<PushSettings>;
    /// `None` leaves as is.
    async fn set_push_settings(
        &self,
        user: UserId,
        messages: Option<PushMessages>,
        calls: Option<bool>,
    ) -> Result<PushSettings>;

    /// Whom a room's news may be pushed to; `None`: there is no such room.
    async fn push_room(&self, room: RoomId, now: Timestamp) -> Result<Option<PushRoom>>;
}
