//! Webhooks: by whom programs that know nothing of this API write to a room.

use std::fmt;

use crate::{NewMentions, Right, RoomId, Timestamp, TokenHash, User};

/// Positive; never given out twice. It is also the id of who writes what comes by it.
pub type HookId = i64;

#[derive(Clone)]
pub struct NewHook {
    pub room: RoomId,
    pub right: Right,
    pub name: String,
    pub secret: TokenHash,
    pub now: Timestamp,
}

impl fmt::Debug for NewHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewHook")
            .field("room", &self.room)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

#[derive(Debug, Clone)]
pub struct Hook {
    /// Who writes what comes by it: his username is the webhook's name, his avatar its picture.
    pub author: User,
    pub room_id: RoomId,
    pub made_by: User,
    pub created_at: Timestamp,
    pub last_used_at: Option<Timestamp>,
}

/// What comes by a webhook.
#[derive(Clone)]
pub struct HookMessage {
    pub hook: HookId,
    pub secret: TokenHash,
    pub content: String,
    /// What its author is called, where that is another name than the webhook's.
    pub author_name: Option<String>,
    pub mentions: NewMentions,
    pub now: Timestamp,
}

impl fmt::Debug for HookMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HookMessage")
            .field("hook", &self.hook)
            .finish_non_exhaustive()
    }
}
