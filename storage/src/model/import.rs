//! What is taken over from another program.

use crate::{BlobHash, FileId, MessageId, RoomId, SecretText, Timestamp, TokenHash, UserId};

/// The numbers stand in databases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ImportKind {
    User = 1,
    /// By a number made of its hash.
    Token = 2,
    Profile = 3,
    Room = 4,
    Participant = 5,
    Invitation = 6,
    Message = 7,
    File = 8,
    Attachment = 9,
}

#[derive(Debug, Clone)]
pub struct ImportedUser {
    pub id: UserId,
    pub username: String,
    /// Empty where there is none.
    pub email: String,
    /// Empty: none that could be used.
    pub password_hash: SecretText,
    pub is_admin: bool,
    pub blocked: bool,
    /// Only an author is left of him.
    pub deleted: bool,
    pub created_at: Timestamp,
    pub last_seen_at: Option<Timestamp>,
}

#[derive(Debug, Clone)]
pub struct ImportedToken {
    pub hash: TokenHash,
    pub user: UserId,
    pub created_at: Timestamp,
    pub now: Timestamp,
}

#[derive(Debug, Clone)]
pub struct ImportedRoom {
    pub id: RoomId,
    pub name: String,
    pub owner: UserId,
    /// The two of a direct room.
    pub pair: Option<(UserId, UserId)>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

#[derive(Debug, Clone)]
pub struct ImportedParticipant {
    pub room: RoomId,
    pub user: UserId,
    pub joined_at: Timestamp,
    pub pinned: bool,
}

#[derive(Debug, Clone)]
pub struct ImportedInvitation {
    /// As invitations made here are written.
    pub token: SecretText,
    pub room: RoomId,
    pub by: UserId,
    pub created_at: Timestamp,
    pub expires_at: Option<Timestamp>,
}

#[derive(Debug, Clone)]
pub struct ImportedMessage {
    /// Above those of all messages so far.
    pub id: MessageId,
    pub room: RoomId,
    pub author: UserId,
    pub content: String,
    pub created_at: Timestamp,
}

#[derive(Debug, Clone)]
pub struct ImportedFile {
    pub id: FileId,
    /// What it is attached to.
    pub message: MessageId,
    pub uploader: UserId,
    pub hash: BlobHash,
    pub name: String,
    pub content_type: String,
    /// Bytes.
    pub size: i64,
    pub dimensions: Option<(i64, i64)>,
    pub has_thumbnail: bool,
    /// As in [`crate::NewFile`].
    pub quota: Option<i64>,
    pub created_at: Timestamp,
}

/// What a participant has read: what came after `after`, up to `read`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadSpan {
    pub after: MessageId,
    pub read: MessageId,
}
