//! What is stored, as the rest of the program sees it.

use std::fmt;

/// Positive; never given out twice.
pub type UserId = i64;
/// Positive; never given out twice.
pub type RoomId = i64;
/// Positive, growing with time over all rooms; never given out twice.
pub type MessageId = i64;
/// Microseconds since 1970-01-01 UTC.
pub type Timestamp = i64;

/// A cryptographic hash (SHA-256) of a sign-in token; the token itself is never stored.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TokenHash(pub [u8; 32]);

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(…)")
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    pub id: UserId,
    pub username: String,
    pub email: String,
    /// Empty: the username is shown.
    pub display_name: String,
    pub is_admin: bool,
    pub blocked: bool,
    pub created_at: Timestamp,
}

impl User {
    /// The name that people read.
    pub fn shown_name(&self) -> &str {
        first_that_says(&self.display_name, &self.username)
    }
}

fn first_that_says<'a>(display_name: &'a str, username: &'a str) -> &'a str {
    if display_name.is_empty() {
        username
    } else {
        display_name
    }
}

/// How a user is looked up. Names and mails are compared without regard to case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UserKey {
    Id(UserId),
    Username(String),
    Email(String),
}

/// Whether a new account is that of an administrator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdminGrant {
    No,
    Yes,
    /// Administrator, and only if there is none yet: [`crate::StorageError::AdminExists`] otherwise.
    First,
}

impl AdminGrant {
    /// Whether the account becomes an administrator's.
    pub fn grants(self) -> bool {
        self != AdminGrant::No
    }
}

#[derive(Clone)]
pub struct NewUser {
    pub username: String,
    pub email: String,
    pub display_name: String,
    /// PHC string.
    pub password_hash: String,
    pub admin: AdminGrant,
    pub now: Timestamp,
}

impl fmt::Debug for NewUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewUser")
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

/// The owner of a token, and when it was last noted as used.
#[derive(Debug, Clone)]
pub struct TokenOwner {
    pub user: User,
    pub last_used_at: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Room {
    pub id: RoomId,
    pub name: String,
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

/// A room as one of its participants sees it.
#[derive(Debug, Clone)]
pub struct RoomView {
    pub room: Room,
    pub owner: User,
    /// In order of joining.
    pub participants: Vec<ParticipantName>,
    /// Messages of others after the viewer's read position, counted up to [`MAX_UNREAD`].
    pub unread_count: i64,
    pub is_pinned: bool,
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
        first_that_says(&self.display_name, &self.username)
    }
}

#[derive(Debug, Clone)]
pub struct Participant {
    /// Of this participation, not of the user.
    pub id: i64,
    pub user: User,
    pub joined_at: Timestamp,
}

/// What lets somebody into a room. It must hold at the moment of entering.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    /// The owner of a room that is not direct brings him.
    Owner(UserId),
    /// The token of an invitation to this room that has not expired.
    Invitation(String),
    /// The room is public.
    Public,
}

/// What a change of a room sets; `None` leaves as is.
#[derive(Debug, Clone, Default)]
pub struct RoomChange {
    pub name: Option<String>,
    pub is_public: Option<bool>,
}

#[derive(Debug, Clone)]
pub struct Invitation {
    pub room_id: RoomId,
    /// `None`: never.
    pub expires_at: Option<Timestamp>,
}

#[derive(Debug, Clone)]
pub struct Message {
    pub id: MessageId,
    pub room_id: RoomId,
    pub author: User,
    pub content: String,
    pub created_at: Timestamp,
    /// Participants other than the author who were there before this message and whose read position has reached it.
    pub read_by: Vec<UserId>,
}

/// Which part of a list: `offset` entries are passed over, at most `limit` returned.
#[derive(Debug, Clone, Copy)]
pub struct Page {
    pub offset: i64,
    pub limit: i64,
}

/// A part of a list and the length of the whole.
#[derive(Debug, Clone)]
pub struct Listing<T> {
    pub count: i64,
    pub items: Vec<T>,
}

/// A text that neither logs nor errors may show.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretText(pub String);

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// With what another program makes relay credentials.
#[derive(Debug, Clone)]
pub struct RelaySecret {
    pub id: i64,
    pub name: String,
    pub secret: SecretText,
    /// The one before the last rotation, and until when it is taken.
    pub previous: Option<(SecretText, Timestamp)>,
    /// Live allocations of all its users together; `None`: no limit of its own.
    pub max_allocations: Option<u32>,
    pub created_at: Timestamp,
}

#[derive(Debug, Clone)]
pub struct NewRelaySecret {
    pub name: String,
    pub secret: SecretText,
    pub max_allocations: Option<u32>,
    pub created_at: Timestamp,
}
