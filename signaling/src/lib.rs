//! Who is listening now: the hub, call state and the bus.
//!
//! Frames are made by the caller, once, and shared; this crate knows who gets them. It persists nothing and
//! knows neither HTTP nor SQL; who may listen to what is decided by those who open connections.
#![forbid(unsafe_code)]
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing
    )
)]

pub mod bus;
mod calls;
mod connection;
mod connections;
mod elsewhere;
mod frame;
mod hub;
mod mailbox;
mod presence;

use serde::{Deserialize, Serialize};

pub use bus::NodeId;
pub use calls::{CallMember, CallPresence, CallState, MemberState, SignalError};
pub use connection::{Connection, Identity};
pub use connections::{CloseReason, MAX_CONNECTIONS_PER_USER, Whom};
pub use frame::{Form, Frame, Queued};
pub use hub::{CallFrames, Hub, News, TooManyConnections};
pub use presence::Changes as PresenceChanges;

pub type UserId = i64;
pub type RoomId = i64;
/// One live connection of a node; never given out twice by it.
pub type ConnectionId = u64;

/// What a connection listens to, unless to everything of its user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Scope {
    /// Messages and read marks of a room.
    Chat(RoomId),
    /// The call of a room.
    Call(RoomId),
    /// What concerns the user, whatever the room.
    Notifications,
}

impl Scope {
    /// The room whose participants alone may listen.
    pub fn room(self) -> Option<RoomId> {
        match self {
            Scope::Chat(room) | Scope::Call(room) => Some(room),
            Scope::Notifications => None,
        }
    }
}
