//! Bots: programs that speak the API, each made by a person.

use std::fmt;

use crate::{Timestamp, TokenHash, User, UserId};

#[derive(Clone)]
pub struct NewBot {
    pub owner: UserId,
    pub username: String,
    /// Empty: the username is shown.
    pub display_name: String,
    pub token: TokenHash,
    pub now: Timestamp,
}

impl fmt::Debug for NewBot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewBot")
            .field("owner", &self.owner)
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

#[derive(Debug, Clone)]
pub struct Bot {
    pub user: User,
    /// `None`: it was taken away.
    pub token: Option<BotToken>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BotToken {
    pub created_at: Timestamp,
    pub last_used_at: Timestamp,
}
