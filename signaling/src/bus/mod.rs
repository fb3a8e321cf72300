//! What carries events to every hub that must hear them.

mod local;

use std::sync::Arc;

use bytes::Bytes;

use crate::{CloseReason, ConnectionId, Scope, UserId, Whom};

pub use local::LocalBus;

/// Something that hubs act upon.
#[derive(Debug, Clone)]
pub enum Event {
    /// To all that listen to `scope`, but for the connections of `except`.
    ToScope {
        scope: Scope,
        except: Option<UserId>,
        frame: Bytes,
    },
    /// To the [`Scope::Notifications`] of these users.
    ToUsers {
        users: Arc<[UserId]>,
        frame: Bytes,
    },
    ToConnection {
        connection: ConnectionId,
        frame: Bytes,
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
