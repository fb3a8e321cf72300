//! Who is what in a room, and who may not come in.

use async_trait::async_trait;

use super::Result;
use crate::{Ban, Listing, Page, Participant, Right, Role, RoomId, Timestamp, UserId};

/// `NotFound` wherever a right does not hold.
#[async_trait]
pub trait ModerationStore {
    /// Makes a participant a moderator or a member again; `NotFound` when `user` takes no part or owns the room.
    async fn set_role(
        &self,
        room: RoomId,
        right: Right,
        user: UserId,
        role: Role,
    ) -> Result<Participant>;
    /// Gives the room to another participant, a person who may use the server; who gave it is a moderator from then on.
    async fn transfer_room(
        &self,
        room: RoomId,
        right: Right,
        user: UserId,
        now: Timestamp,
    ) -> Result<()>;

    /// Whoever is banned cannot enter; whether he took part until now. As [`crate::RoomStore::remove_participant`], he
    /// must be less in the room than who bans him, and all invitations go.
    async fn ban(
        &self,
        room: RoomId,
        right: Right,
        user: UserId,
        reason: String,
        now: Timestamp,
    ) -> Result<bool>;
    /// Whether there was a ban.
    async fn lift_ban(&self, room: RoomId, right: Right, user: UserId) -> Result<bool>;
    /// Newest first.
    async fn bans(&self, room: RoomId, page: Page) -> Result<Listing<Ban>>;
    async fn is_banned(&self, room: RoomId, user: UserId) -> Result<bool>;
}
