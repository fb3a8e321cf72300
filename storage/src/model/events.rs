//! What has happened that clients must hear of, in the order of commits.

use std::sync::Arc;

use crate::{Message, RoomId, UserId};

/// Positive, growing in the order of commits, without gaps but where a backup was restored; 0: before all of them.
pub type EventId = i64;

/// Who hears of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Audience {
    /// All that take part in the room.
    Room(RoomId),
    User(UserId),
}

/// What has happened. Each kind stands in the database as its number, which is never given to another; 0 is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// To a room; the subject is the message.
    MessageNew = 1,
    /// To a room; `by` has read up to the subject, a message.
    MessageRead = 2,
    /// To the user who takes part in the subject, a room, from now on.
    RoomAdded = 3,
    /// To the user who takes part in the subject, a room, no more; the data are a [`crate::Departure`].
    RoomRemoved = 4,
    /// To a room; the subject is the message.
    MessageEdited = 5,
    /// To a room; the subject was the message.
    MessageDeleted = 6,
    /// To a room; the subject is the message, `data` the emoji with which `by` reacts to it.
    ReactionAdded = 7,
    /// As [`EventKind::ReactionAdded`]; he does no more.
    ReactionRemoved = 8,
    /// To a room; the subject is the message that `by` has pinned.
    MessagePinned = 30,
    /// As [`EventKind::MessagePinned`]; it is pinned no more.
    MessageUnpinned = 31,
    /// To a room, which is the subject: its name, topic, owner or visibility is another.
    RoomUpdated = 20,
    /// To a room; the subject is a user, the data a [`crate::ParticipantChange`].
    ParticipantChanged = 21,
}

impl EventKind {
    pub(crate) fn from_number(number: i64) -> Option<Self> {
        [
            EventKind::MessageNew,
            EventKind::MessageRead,
            EventKind::RoomAdded,
            EventKind::RoomRemoved,
            EventKind::MessageEdited,
            EventKind::MessageDeleted,
            EventKind::ReactionAdded,
            EventKind::ReactionRemoved,
            EventKind::MessagePinned,
            EventKind::MessageUnpinned,
            EventKind::RoomUpdated,
            EventKind::ParticipantChanged,
        ]
        .into_iter()
        .find(|kind| *kind as i64 == number)
    }
}

/// A row of the log: references, to be looked up by whoever writes it for clients.
#[derive(Debug, Clone)]
pub struct Event {
    pub id: EventId,
    pub audience: Audience,
    pub kind: EventKind,
    /// What `kind` says.
    pub subject: i64,
    /// Who has done it.
    pub by: UserId,
    /// What cannot be looked up, as the kind has it.
    pub data: Option<String>,
    /// The message of a [`EventKind::MessageNew`] or [`EventKind::MessageEdited`] that has just been stored; read from the log there is none.
    pub message: Option<Arc<Message>>,
}

/// What somebody has missed.
#[derive(Debug, Clone)]
pub struct Missed {
    /// The newest event of all, whoever hears of it.
    pub last: EventId,
    /// In order. `None`: they are not all known any more, or too many.
    pub events: Option<Vec<Event>>,
}
