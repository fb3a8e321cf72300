//! Messages and read marks.

use std::sync::Arc;

use moznods_signaling::Scope;
use moznods_storage::{Listing, Message, MessageId, Page, RoomId, User};

use super::{App, Error, Problem, Refusal, Result, limits, now};
use crate::wire;

impl App {
    pub async fn messages(
        &self,
        user: &User,
        room: RoomId,
        page: Page,
    ) -> Result<Listing<Message>> {
        self.taking_part(user, room).await?;
        Ok(self.store.messages(room, page).await?)
    }

    /// Stores a message and sends it to everyone who listens to the room, its author too.
    pub async fn post_message(
        &self,
        author: &User,
        room: RoomId,
        content: String,
        attachment_ids: &[i64],
    ) -> Result<Message> {
        if !attachment_ids.is_empty() {
            return Err(Error::field("attachment_ids", Problem::NoFiles));
        }
        if content.trim().is_empty() {
            return Err(Error::field("content", Problem::Required));
        }
        if content.chars().count() > limits::MESSAGE {
            return Err(Error::field("content", Problem::TooLong(limits::MESSAGE)));
        }
        // No database but SQLite takes it.
        if content.contains('\0') {
            return Err(Error::field("content", Problem::ControlCharacters));
        }
        let (hub, counter) = (Arc::clone(&self.hub), self.metrics.messages.clone());
        let announce = move |message: &Message| {
            counter.inc();
            hub.send_to_scope(Scope::Chat(room), wire::chat_message(message));
        };
        let stored = self
            .store
            .add_message(room, author.id, content, now(), Box::new(announce))
            .await?;
        if stored.is_none() {
            self.existing(room).await?;
        }
        Ok(stored.ok_or(Refusal::NotParticipant)?)
    }

    /// The user has read up to this message.
    pub async fn mark_read(&self, user: &User, message: MessageId) -> Result<()> {
        let room = self
            .store
            .room_of_message(message)
            .await?
            .ok_or(Refusal::NotFound)?;
        self.taking_part(user, room).await?;
        self.read_up_to(user, room, message).await
    }

    /// As [`Self::mark_read`], for a message that must stand in `room`.
    pub async fn mark_read_in(&self, user: &User, room: RoomId, message: MessageId) -> Result<()> {
        if self.store.room_of_message(message).await? != Some(room) {
            return Err(Refusal::NotFound.into());
        }
        self.read_up_to(user, room, message).await
    }

    pub async fn mark_room_read(&self, user: &User, room: RoomId) -> Result<()> {
        match self.store.last_message(room).await? {
            Some(last) => self.read_up_to(user, room, last).await,
            None => Ok(()),
        }
    }

    async fn read_up_to(&self, user: &User, room: RoomId, message: MessageId) -> Result<()> {
        if self.store.mark_read(room, user.id, message).await? {
            self.hub
                .send_to_scope(Scope::Chat(room), wire::message_read(message, user.id));
        }
        Ok(())
    }
}
