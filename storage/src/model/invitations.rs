//! Invitations to rooms.

use std::fmt;

use crate::{RoomId, Timestamp, User, UserId};

/// The token lets in whoever has it: it is not shown.
#[derive(Clone)]
pub struct NewInvitation {
    pub token: String,
    pub room: RoomId,
    pub by: UserId,
    /// `None`: never.
    pub expires_at: Option<Timestamp>,
    /// How many it lets in; `None`: as many as come.
    pub max_uses: Option<i64>,
    pub now: Timestamp,
}

impl fmt::Debug for NewInvitation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an invitation to room {}", self.room)
    }
}

/// The token is not shown.
#[derive(Clone)]
pub struct Invitation {
    pub token: String,
    pub room_id: RoomId,
    pub by: User,
    pub created_at: Timestamp,
    /// `None`: never.
    pub expires_at: Option<Timestamp>,
    /// `None`: as many as come.
    pub max_uses: Option<i64>,
    /// How many it has let in.
    pub uses: i64,
}

impl Invitation {
    pub fn is_good(&self, now: Timestamp) -> bool {
        self.expires_at.is_none_or(|end| end > now)
            && self.max_uses.is_none_or(|most| self.uses < most)
    }
}

impl fmt::Debug for Invitation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an invitation to room {}", self.room_id)
    }
}
