//! What is taken over from another program, all of it in one step.

use async_trait::async_trait;

use super::Result;
use crate::{
    BlobHash, ImportKind, ImportedFile, ImportedInvitation, ImportedMessage, ImportedParticipant,
    ImportedRoom, ImportedToken, ImportedUser, ReadSpan, RoomId, User, UserId,
};

/// What is done in the one step. An error undoes all of it.
pub type ImportWork = Box<dyn FnOnce(&dyn Import) -> Result<()> + Send>;

#[async_trait]
pub trait ImportStore {
    /// For the one process that has the data directory for itself: nobody is told of what it brings, and who goes on after
    /// an event that he has seen is told to fetch all anew. `AnotherOrigin` when an earlier one was of another.
    async fn import(&self, origin: String, work: ImportWork) -> Result<()>;
    /// Numbers that those of this kind had in the other program.
    async fn imported(&self, kind: ImportKind) -> Result<Vec<i64>>;
    /// Passwords that are not stored as ours are, as the other program had them.
    async fn foreign_passwords(&self) -> Result<Vec<String>>;
}

/// The step from within. Numbers are positive; those who name them see to it that they are free.
pub trait Import {
    /// The number here of what had this one there; it may be gone.
    fn known(&self, kind: ImportKind, source: i64) -> Result<Option<i64>>;
    fn remember(&self, kind: ImportKind, source: i64, id: i64) -> Result<()>;
    /// The highest number that was ever given to users, rooms, messages or files.
    fn given_out(&self, kind: ImportKind) -> Result<i64>;

    fn username_is_taken(&self, name: &str) -> Result<bool>;
    fn email_is_taken(&self, email: &str) -> Result<bool>;
    fn add_user(&self, user: &ImportedUser) -> Result<()>;
    /// `None`: he has been deleted.
    fn user(&self, user: UserId) -> Result<Option<User>>;
    fn add_token(&self, token: &ImportedToken) -> Result<()>;
    /// What he has chosen here stays.
    fn set_profile(&self, user: UserId, display_name: &str, avatar: Option<BlobHash>)
    -> Result<()>;

    /// `None`: there is no such room.
    fn owner_of(&self, room: RoomId) -> Result<Option<UserId>>;
    fn is_direct(&self, room: RoomId) -> Result<bool>;
    /// Whether nothing keeps him out: a ban, or that it is a room of two others.
    fn admits(&self, room: RoomId, user: UserId) -> Result<bool>;
    fn has_direct_room(&self, pair: (UserId, UserId)) -> Result<bool>;
    fn add_room(&self, room: &ImportedRoom) -> Result<()>;
    /// Whether he did not take part.
    fn add_participant(&self, participant: &ImportedParticipant) -> Result<bool>;
    /// Whether there was none of this token.
    fn add_invitation(&self, invitation: &ImportedInvitation) -> Result<bool>;

    fn add_message(&self, message: &ImportedMessage) -> Result<()>;
    /// `None`: it is gone.
    fn room_of_message(&self, message: i64) -> Result<Option<RoomId>>;
    /// `QuotaExceeded` when it would take more than the uploader may. The number of the attachment.
    fn add_file(&self, file: &ImportedFile) -> Result<i64>;
    /// `None`: he does not take part.
    fn read_span(&self, room: RoomId, user: UserId) -> Result<Option<ReadSpan>>;
    fn set_read_span(&self, room: RoomId, user: UserId, span: ReadSpan) -> Result<()>;
}
