//! What is stored, as the rest of the program sees it.

mod audit;
mod bots;
mod events;
mod files;
mod hooks;
mod import;
mod invitations;
mod messages;
mod push;
mod relay;
mod rooms;
mod search;
mod sign_ins;
mod users;

use std::fmt;

pub use audit::*;
pub use bots::*;
pub use events::*;
pub use files::*;
pub use hooks::*;
pub use import::*;
pub use invitations::*;
pub use messages::*;
pub use push::*;
pub use relay::*;
pub use rooms::*;
pub use search::*;
pub use sign_ins::*;
pub use users::*;

/// Positive; never given out twice.
pub type UserId = i64;
/// Positive; never given out twice.
pub type RoomId = i64;
/// Positive, growing with time over all rooms; never given out twice.
pub type MessageId = i64;
/// Microseconds since 1970-01-01 UTC.
pub type Timestamp = i64;

/// Which part of a list: `offset` entries are passed over, at most `limit` returned.
#[derive(Debug, Clone, Copy)]
pub struct Page {
    pub offset: i64,
    pub limit: i64,
}

/// A part of a list and the length of the whole.
#[derive(Debug, Clone)]
pub struct Listing<T> {
    pub count: i64,
    pub items: Vec<T>,
}

/// A text that neither logs nor errors may show.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretText(pub String);

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}
