//! What carries events to every hub that must hear them.

mod local;

use std::sync::Arc;

use crate::{CloseReason, ConnectionId, Frame, RoomId, Scope, UserId, Whom};

pub use local::LocalBus;

/// Something that hubs act upon.
#[derive(Debug, Clone)]
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
    ToConnection {
        connection: ConnectionId,
        frame: Arc<Frame>,
    },
    /// The user takes part in the room from now on.
    Entered {
        room: RoomId,
        user: UserId,
    },
    /// The user takes part in the room no more.
    Left {
        room: RoomId,
        user: UserId,
    },
    Close {
        whom: Whom,
        reason: CloseReason,
    },
}

/// Carries each published event to all listeners, in the order of publishing.
pub trait Bus: Send + Sync + 'static {
    fn publish(&self, event: Event);
    /// Called once by each hub, before anything is published.
    fn attach(&self, listener: Box<dyn Fn(Event) + Send + Sync>);
}
