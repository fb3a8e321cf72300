//! Messages that are pinned in their rooms, for all who are in them.

use moznods_storage::{MessageId, Pin, RoomId, User};

use super::roles::Act;
use super::{App, Refusal, Result, limits, now};

impl App {
    /// Once more changes nothing.
    pub async fn pin_message(&self, user: &User, message: MessageId) -> Result<()> {
        let room = self.message(user, message).await?.room_id;
        let right = self.may(user, room, Act::PinMessages).await?.right;
        self.store.pin(message, right, limits::PINS, now()).await?;
        Ok(())
    }

    pub async fn unpin_message(&self, user: &User, message: MessageId) -> Result<()> {
        let room = self.message(user, message).await?.room_id;
        let right = self.may(user, room, Act::PinMessages).await?.right;
        match self.store.unpin(message, right).await? {
            true => Ok(()),
            false => Err(Refusal::NotFound.into()),
        }
    }

    /// The one pinned last first.
    pub async fn pins(&self, user: &User, room: RoomId) -> Result<Vec<Pin>> {
        self.taking_part(user, room).await?;
        Ok(self.store.pins(room).await?)
    }
}
