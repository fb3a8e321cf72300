//! The log of what has happened.

use async_trait::async_trait;
use tokio::sync::mpsc;

use super::Result;
use crate::{Event, EventId, Missed, RoomId, Timestamp, UserId};

#[async_trait]
pub trait EventStore {
    /// From now on every event of this process's changes goes to `listener`, after its commit, before the change is
    /// answered, in the order of ids. A listener that is full holds the changes up.
    fn tell_events(&self, listener: mpsc::Sender<Event>);
    /// 0: there is none.
    async fn last_event(&self) -> Result<EventId>;
    /// The first `limit` events after `after`, whoever hears of them.
    async fn events_after(&self, after: EventId, limit: usize) -> Result<Vec<Event>>;
    /// The rooms that `user` takes part in, whose events are his.
    async fn room_ids(&self, user: UserId) -> Result<Vec<RoomId>>;
    /// What `user` has missed since `after`, by the rooms that he takes part in now; nothing of a room from before he came to it.
    /// No more than `limit` events.
    async fn missed(&self, user: UserId, after: EventId, limit: usize) -> Result<Missed>;
    /// Deletes the oldest events: all but the newest `keep`, and all that are older than `before`. The newest of all stays.
    async fn sweep_events(&self, keep: i64, before: Timestamp) -> Result<()>;
}
