//! Web push: who is told of what he misses, and where.

use std::fmt;

use crate::{MessageId, SecretText, Timestamp, UserId};

/// Live subscriptions of one user.
pub const MAX_PUSH_SUBSCRIPTIONS: usize = 20;

/// Of one browser, as long as its sign-in lives.
#[derive(Clone, PartialEq, Eq)]
pub struct PushSubscription {
    pub id: i64,
    pub user_id: UserId,
    /// A URL; whoever knows it may send there.
    pub endpoint: SecretText,
    /// The browser's P-256 key: an uncompressed point, 65 bytes.
    pub p256dh: Vec<u8>,
    /// 16 bytes.
    pub auth: Vec<u8>,
    /// `None`: the push service has not said.
    pub expires_at: Option<Timestamp>,
    pub created_at: Timestamp,
}

impl fmt::Debug for PushSubscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "push subscription {}", self.id)
    }
}

/// As in [`PushSubscription`].
#[derive(Clone)]
pub struct NewPushSubscription {
    pub endpoint: SecretText,
    pub p256dh: Vec<u8>,
    pub auth: Vec<u8>,
    pub expires_at: Option<Timestamp>,
}

impl fmt::Debug for NewPushSubscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewPushSubscription")
            .finish_non_exhaustive()
    }
}

/// Of which messages a user is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PushMessages {
    All,
    /// Those of direct rooms, and those that mention him.
    Mentions,
    None,
}

impl PushMessages {
    pub const ALL: [Self; 3] = [Self::All, Self::Mentions, Self::None];

    /// The word of the API.
    pub fn as_str(self) -> &'static str {
        match self {
            PushMessages::All => "all",
            PushMessages::Mentions => "mentions",
            PushMessages::None => "none",
        }
    }

    /// The one of this word.
    pub fn named(word: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|messages| messages.as_str() == word)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PushSettings {
    pub messages: PushMessages,
    pub calls: bool,
}

impl Default for PushSettings {
    fn default() -> Self {
        PushSettings {
            messages: PushMessages::Mentions,
            calls: true,
        }
    }
}

/// A room and those of its participants who have a subscription.
#[derive(Debug, Clone)]
pub struct PushRoom {
    pub name: String,
    pub is_direct: bool,
    pub recipients: Vec<PushRecipient>,
}

#[derive(Debug, Clone)]
pub struct PushRecipient {
    pub user_id: UserId,
    pub last_read_id: MessageId,
    pub settings: PushSettings,
}
