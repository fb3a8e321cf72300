//! Messages and read positions.

use async_trait::async_trait;

use super::Result;
use crate::{
    Cursor, Deleter, Listing, Message, MessageEdit, MessageId, NewMessage, Page, RoomId, Sent,
    UserId, Window,
};

/// What clients must hear of is noted in the log of events by the change itself.
#[async_trait]
pub trait MessageStore {
    /// `None`: the author does not take part in the room. `NoSuchFile` when something cannot be attached, `NoSuchReply` when
    /// what it answers is not in the room, `ClientIdTaken` when the author has used that id in another room.
    async fn add_message(&self, message: NewMessage) -> Result<Option<Sent>>;
    /// `None`: there is no such message of this author in a room that he takes part in.
    async fn edit_message(&self, edit: MessageEdit) -> Result<Option<Message>>;
    /// Whether there was such a message, of the author where he is the one. Nothing of it stays but that replies know of
    /// it. `NotFound` when the right does not hold.
    async fn delete_message(&self, message: MessageId, by: Deleter) -> Result<bool>;
    /// Whether the user's reaction is now as asked for and was not before; `None`: there is no such message, or the user
    /// is not in its room. `TooManyReactions` when another emoji is one too many.
    async fn set_reaction(
        &self,
        message: MessageId,
        user: UserId,
        emoji: String,
        present: bool,
    ) -> Result<Option<bool>>;

    async fn message(&self, message: MessageId) -> Result<Option<Message>>;
    /// Newest first.
    async fn messages(&self, room: RoomId, page: Page) -> Result<Listing<Message>>;
    /// At most `limit`, wherever in the history; costs the same there.
    async fn message_window(&self, room: RoomId, cursor: Cursor, limit: i64) -> Result<Window>;
    /// Messages of others that mention `user`, by name or with everybody, in rooms that he is in; before `before`, newest
    /// first.
    async fn mentions_of(
        &self,
        user: UserId,
        before: Option<MessageId>,
        limit: i64,
    ) -> Result<Window>;
    async fn room_of_message(&self, message: MessageId) -> Result<Option<RoomId>>;
    async fn last_message(&self, room: RoomId) -> Result<Option<MessageId>>;
    /// Moves the read position of `user` forward to `message`; whether it moved.
    async fn mark_read(&self, room: RoomId, user: UserId, message: MessageId) -> Result<bool>;
}
