//! Invitations to rooms.

use async_trait::async_trait;

use super::Result;
use crate::{Invitation, NewInvitation, Right, RoomId, Timestamp, UserId};

#[async_trait]
pub trait InvitationStore {
    /// `NotFound` when its maker does not take part in the room, `TooManyInvitations` when there are `most` that can
    /// still be used.
    async fn add_invitation(&self, new: NewInvitation, most: i64) -> Result<()>;
    /// Also one that cannot be used any longer.
    async fn invitation(&self, token: String) -> Result<Option<Invitation>>;
    /// Those that can still be used, of all or of one who made them, newest first.
    async fn invitations(
        &self,
        room: RoomId,
        by: Option<UserId>,
        now: Timestamp,
    ) -> Result<Vec<Invitation>>;
    /// One that `right.by` made, or any where the right holds; `NotFound` otherwise.
    async fn revoke_invitation(&self, room: RoomId, token: String, right: Right) -> Result<()>;
    /// Forgets those that have expired, or are used up.
    async fn sweep_invitations(&self, now: Timestamp) -> Result<()>;
}
