//! Rooms and who takes part in them.

use crate::{MessageId, RoomId, Timestamp, User, UserId};

/// What somebody is in a room; who is more, may more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    Member,
    Moderator,
    /// One in each room.
    Owner,
}

/// By what right a room is changed: it holds while `by` takes part as at least this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Right {
    pub by: UserId,
    pub least: Role,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Room {
    pub id: RoomId,
    pub name: String,
    pub topic: String,
    pub owner_id: UserId,
    /// Anyone may join without an invitation.
    pub is_public: bool,
    /// Of two people, for good.
    pub is_direct: bool,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// Where counting unread messages ends.
pub const MAX_UNREAD: i64 = 1000;
/// Where counting unread mentions ends.
pub const MAX_MENTIONS: i64 = 100;

/// A room as one of its participants sees it.
#[derive(Debug, Clone)]
pub struct RoomView {
    pub room: Room,
    pub owner: User,
    /// In order of joining.
    pub participants: Vec<ParticipantName>,
    /// Messages of others after the viewer's read position, counted up to [`MAX_UNREAD`].
    pub unread_count: i64,
    pub first_unread_id: Option<MessageId>,
    /// Those of the unread messages that mention the viewer, counted up to [`MAX_MENTIONS`].
    pub mention_count: i64,
    pub is_pinned: bool,
    pub role: Role,
    pub mute: Mute,
}

/// Whether a participant wants no notifications of a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mute {
    No,
    Until(Timestamp),
    Forever,
}

impl Mute {
    pub fn holds(self, now: Timestamp) -> bool {
        match self {
            Mute::No => false,
            Mute::Until(end) => end > now,
            Mute::Forever => true,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParticipantName {
    pub id: UserId,
    pub username: String,
    /// Empty: the username is shown.
    pub display_name: String,
}

impl ParticipantName {
    /// The name that people read.
    pub fn shown_name(&self) -> &str {
        super::users::first_that_says(&self.display_name, &self.username)
    }
}

#[derive(Debug, Clone)]
pub struct Participant {
    /// Of this participation, not of the user.
    pub id: i64,
    pub user: User,
    pub joined_at: Timestamp,
    pub role: Role,
}

/// What has happened to a participant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParticipantChange {
    Joined,
    Left,
    Role,
}

impl ParticipantChange {
    pub fn as_str(self) -> &'static str {
        match self {
            ParticipantChange::Joined => "joined",
            ParticipantChange::Left => "left",
            ParticipantChange::Role => "role",
        }
    }
}

/// Why somebody takes part in a room no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Departure {
    Left,
    Removed,
    Banned,
    /// The room was.
    Deleted,
}

impl Departure {
    pub fn as_str(self) -> &'static str {
        match self {
            Departure::Left => "left",
            Departure::Removed => "removed",
            Departure::Banned => "banned",
            Departure::Deleted => "deleted",
        }
    }
}

/// A user as a room knows him now, whether he takes part or has gone.
#[derive(Debug, Clone)]
pub struct Acquaintance {
    pub user: User,
    /// `None`: does not take part.
    pub role: Option<Role>,
    pub participant_count: usize,
}

/// What lets somebody into a room. It must hold at the moment of entering.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    /// Somebody with the right to it brings him into a room that is not direct.
    By(Right),
    /// The token of an invitation to this room that has not expired.
    Invitation(String),
    /// The room is public.
    Public,
}

/// What a change of a room sets; `None` leaves as is.
#[derive(Debug, Clone, Default)]
pub struct RoomChange {
    pub name: Option<String>,
    pub topic: Option<String>,
    pub is_public: Option<bool>,
}

#[derive(Debug, Clone)]
pub struct NewRoom {
    pub owner: UserId,
    pub name: String,
    pub topic: String,
    pub is_public: bool,
    pub now: Timestamp,
}

/// How many there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoomLimits {
    /// In one room.
    pub participants: i64,
    /// That one user takes part in.
    pub rooms: i64,
}

/// Who may not enter a room.
#[derive(Debug, Clone)]
pub struct Ban {
    pub user: User,
    pub banned_by: User,
    pub reason: String,
    pub created_at: Timestamp,
}

/// A room as administrators see it, who may not be in it.
#[derive(Debug, Clone)]
pub struct RoomAccount {
    pub room: Room,
    pub owner: User,
    pub participant_count: i64,
    pub message_count: i64,
    pub last_message_at: Option<Timestamp>,
    /// Of what is attached to its messages.
    pub file_bytes: i64,
}

/// A public room as one sees it who may not be in it.
#[derive(Debug, Clone)]
pub struct PublicRoom {
    pub room: Room,
    pub owner: User,
    pub participant_count: i64,
    /// Whether the viewer takes part.
    pub is_participant: bool,
}
