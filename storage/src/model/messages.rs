//! Messages.

use crate::{Attachment, FileId, MessageId, Right, RoomId, Timestamp, User, UserId};

/// Different emoji with which people may react to one message.
pub const MAX_REACTIONS: i64 = 20;

/// A message that is to be stored.
#[derive(Debug, Clone, Default)]
pub struct NewMessage {
    pub room: RoomId,
    pub author: UserId,
    pub content: String,
    /// Of the author, and attached to nothing yet.
    pub attachments: Vec<FileId>,
    /// What the author's client calls it: of two with the same, the first is kept.
    pub client_id: Option<String>,
    /// A message of the same room.
    pub reply_to: Option<MessageId>,
    pub mentions: NewMentions,
    pub now: Timestamp,
}

/// Who is to be mentioned by a message.
#[derive(Debug, Clone, Default)]
pub struct NewMentions {
    /// Each name as it may have been meant; the first that takes part in the room counts.
    pub names: Vec<Vec<String>>,
    /// Everybody in the room.
    pub all: bool,
}

/// What has become of a message that was to be stored.
#[derive(Debug, Clone)]
pub enum Sent {
    New(Message),
    /// It had been stored before, under the same `client_id`.
    Again(Message),
}

impl Sent {
    pub fn into_message(self) -> Message {
        match self {
            Sent::New(message) | Sent::Again(message) => message,
        }
    }
}

/// Another text for a message.
#[derive(Debug, Clone)]
pub struct MessageEdit {
    pub message: MessageId,
    pub author: UserId,
    pub content: String,
    pub mentions: NewMentions,
    pub now: Timestamp,
}

/// By what right a message is deleted.
#[derive(Debug, Clone, Copy)]
pub enum Deleter {
    /// He has written it, and still takes part in the room.
    Author(UserId),
    /// As in the room he is more than who has written it.
    By(Right),
}

#[derive(Debug, Clone)]
pub struct Message {
    pub id: MessageId,
    pub room_id: RoomId,
    pub author: User,
    pub content: String,
    pub attachments: Vec<Attachment>,
    pub created_at: Timestamp,
    pub edited_at: Option<Timestamp>,
    pub client_id: Option<String>,
    pub reply_to: Option<Reply>,
    /// In the order in which their emoji came up first.
    pub reactions: Vec<Reaction>,
    /// Those mentioned by name, in order of their ids.
    pub mentions: Vec<UserId>,
    pub mentions_all: bool,
    /// Participants other than the author who were there before this message and whose read position has reached it.
    pub read_by: Vec<UserId>,
}

/// A message that is pinned in its room.
#[derive(Debug, Clone)]
pub struct Pin {
    pub message: Message,
    pub pinned_by: User,
    pub pinned_at: Timestamp,
}

/// What a message answers.
#[derive(Debug, Clone)]
pub struct Reply {
    pub id: MessageId,
    /// `None`: it has been deleted.
    pub original: Option<Original>,
}

#[derive(Debug, Clone)]
pub struct Original {
    pub author: User,
    /// The beginning, [`Original::EXCERPT`] characters at most.
    pub excerpt: String,
}

impl Original {
    pub const EXCERPT: i64 = 140;
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reaction {
    pub emoji: String,
    /// In the order in which they came.
    pub users: Vec<UserId>,
}

/// Where in a room's history a client looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cursor {
    Newest,
    Before(MessageId),
    After(MessageId),
    /// The message itself and as many on each side of it.
    Around(MessageId),
}

/// A part of a room's history.
#[derive(Debug, Clone)]
pub struct Window {
    /// Newest first.
    pub messages: Vec<Message>,
    pub more_before: bool,
    pub more_after: bool,
}
