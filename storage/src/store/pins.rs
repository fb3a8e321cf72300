//! Messages that are pinned in their rooms.

use async_trait::async_trait;

use super::Result;
use crate::{MessageId, Pin, Right, RoomId, Timestamp};

/// `NotFound` when there is no such message, or the right does not hold. What clients must hear of is noted in the log of events.
#[async_trait]
pub trait PinStore {
    /// Whether it was not pinned before; `TooManyPins` when the room has `most` of them.
    async fn pin(
        &self,
        message: MessageId,
        right: Right,
        most: i64,
        now: Timestamp,
    ) -> Result<bool>;
    /// Whether it was pinned.
    async fn unpin(&self, message: MessageId, right: Right) -> Result<bool>;
    /// The one pinned last first.
    async fn pins(&self, room: RoomId) -> Result<Vec<Pin>>;
}
