//! What carries to the hubs of other nodes what they must know.
//!
//! A node is one process of a server. Each is right about its own connections, acts upon what happens here at once, and tells
//! the others, so that it needs none of them to go on. What follows from the event log is never told: every node reads that.

mod local;
mod redis;

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

pub use crate::calls::Seat;
use crate::{CloseReason, ConnectionId, Frame, RoomId, Scope, UserId, Whom};

pub use self::redis::{BadUrl, Figures, RedisBus};
pub use local::LocalBus;

/// A node while it runs; drawn at random for each start, 0 where there is but one.
pub type NodeId = u64;

/// Something that the connections of a hub are to be told, or closed for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Event {
    /// To all that listen to `scope`, but for the connections of `except`.
    ToScope {
        scope: Scope,
        except: Option<UserId>,
        frame: Arc<Frame>,
    },
    /// To the [`Scope::Notifications`] of these users.
    ToUsers {
        users: Arc<[UserId]>,
        frame: Arc<Frame>,
    },
    /// To the connections of these users that listen to everything.
    ToWide {
        users: Arc<[UserId]>,
        frame: Arc<Frame>,
    },
    /// To one of the hub that acts.
    ToConnection {
        connection: ConnectionId,
        frame: Arc<Frame>,
    },
    Close {
        whom: Whom,
        reason: CloseReason,
    },
}

/// What a hub tells all others. What is said of seats and users is of those at its node.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Message {
    Event(Event),
    /// To a connection of that node alone, if it is in the call of the room.
    ToConnection {
        node: NodeId,
        room: RoomId,
        connection: ConnectionId,
        frame: Arc<Frame>,
    },
    /// Somebody has the seat, in place of what his connection had in this call before.
    Seat(Seat),
    Unseat {
        room: RoomId,
        connection: ConnectionId,
    },
    /// There are these seats and no others.
    Seats(Vec<Seat>),
    /// The user has a connection, or has none any more.
    User {
        user: UserId,
        is_here: bool,
    },
    /// These users have connections and no others.
    Users(Vec<UserId>),
    /// What the program has to say; the hub does not know what.
    News(Bytes),
}

/// What a hub is told by the bus.
#[derive(Debug)]
pub enum Heard {
    /// Of each node in the order in which it was said.
    Said { from: NodeId, message: Message },
    /// Another node may not know what was said so far: what still holds is to be said again.
    Asked,
    /// A node is no more, and nothing of it holds.
    Gone(NodeId),
}

pub type Listener = Box<dyn Fn(Heard) + Send + Sync>;

pub trait Bus: Send + Sync + 'static {
    /// This one.
    fn node(&self) -> NodeId;
    /// To all other nodes, in the order of publishing. Does not block, and what cannot be sent is dropped: whoever missed
    /// something asks.
    fn publish(&self, message: Message);
    /// Called once by each hub, before anything is published. The listener is quick.
    fn attach(&self, listener: Listener);
}
