//! Search in messages.

use std::time::Duration;

use crate::{Message, MessageId, RoomId, UserId};

/// What somebody looks for.
#[derive(Debug, Clone)]
pub struct Search {
    /// He finds what is said in rooms that he takes part in.
    pub viewer: UserId,
    /// Words in any of their forms, and between quotation marks phrases; the last word need not be whole.
    pub text: String,
    /// In this one alone.
    pub room: Option<RoomId>,
    pub author: Option<UserId>,
    /// Older than this one.
    pub before: Option<MessageId>,
    /// How many at most.
    pub limit: usize,
}

impl Search {
    /// How long one may take; then it shows what it has found, and where it goes on.
    pub const TIME: Duration = Duration::from_millis(500);
}

#[derive(Debug, Clone)]
pub struct Found {
    /// Newest first.
    pub hits: Vec<Hit>,
    /// Where the search goes on; `None`: there is no more.
    pub before: Option<MessageId>,
}

#[derive(Debug, Clone)]
pub struct Hit {
    pub message: Message,
    /// The part of its text around the first place, [`Hit::EXCERPT`] characters at most beside the marks of what is left out.
    pub excerpt: Vec<Piece>,
}

impl Hit {
    pub const EXCERPT: usize = 160;
}

/// A part of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    pub text: String,
    /// It is what was looked for.
    pub is_match: bool,
}
