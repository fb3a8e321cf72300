//! The face of storage. Every method is one atomic step; a change is on the disk when its answer comes.

use async_trait::async_trait;
use tokio::sync::watch;

use crate::{
    Admission, Invitation, Listing, Message, MessageId, NewRelaySecret, NewUser, Page, Participant,
    RelaySecret, Room, RoomChange, RoomId, RoomView, SecretText, StorageError, Timestamp,
    TokenHash, TokenOwner, User, UserId, UserKey,
};

type Result<T> = std::result::Result<T, StorageError>;

/// What is to be done with a message once it is stored.
pub type Announce = Box<dyn FnOnce(&Message) + Send>;

/// Everything that is kept. The clock is the caller's: methods that note a time are given it.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    // --- users ---

    /// Fails with `UsernameTaken`, `EmailTaken`, or (see [`crate::AdminGrant::First`]) `AdminExists`.
    async fn create_user(&self, user: NewUser) -> Result<User>;
    /// Deleted users are not found.
    async fn user(&self, key: UserKey) -> Result<Option<User>>;
    /// The user and the PHC string of the password.
    async fn user_with_password(&self, key: UserKey) -> Result<Option<(User, String)>>;
    /// All that are not deleted, oldest first.
    async fn users(&self) -> Result<Vec<User>>;
    async fn has_admin(&self) -> Result<bool>;
    async fn set_display_name(&self, user: UserId, display_name: String) -> Result<User>;
    /// Also ends every token of the user.
    async fn set_password(&self, user: UserId, password_hash: String) -> Result<()>;
    /// Blocking also ends every token of the user.
    async fn set_blocked(&self, user: UserId, blocked: bool) -> Result<()>;
    /// Ends the tokens, invitations and participations (see [`Store::leave`]), and takes name, mail and password
    /// away. What the user wrote stays.
    async fn delete_user(&self, user: UserId) -> Result<()>;
    /// Those who are neither blocked nor deleted.
    async fn users_with_access(&self) -> Result<Vec<UserId>>;

    // --- tokens ---

    async fn add_token(&self, token: TokenHash, user: UserId, now: Timestamp) -> Result<()>;
    async fn token_owner(&self, token: TokenHash) -> Result<Option<TokenOwner>>;
    async fn touch_token(&self, token: TokenHash, now: Timestamp) -> Result<()>;
    async fn remove_token(&self, token: TokenHash) -> Result<()>;
    /// Those of `tokens` that are still there.
    async fn living_tokens(&self, tokens: Vec<TokenHash>) -> Result<Vec<TokenHash>>;

    // --- rooms ---

    /// The owner takes part at once.
    async fn create_room(
        &self,
        owner: UserId,
        name: String,
        is_public: bool,
        now: Timestamp,
    ) -> Result<RoomId>;
    /// The room of these two, made with `name` and owned by `asking` if there is none, and those of them that were
    /// not in it: both take part now.
    async fn direct_room(
        &self,
        asking: UserId,
        other: UserId,
        name: String,
        now: Timestamp,
    ) -> Result<(RoomId, Vec<UserId>)>;
    async fn room(&self, room: RoomId) -> Result<Option<Room>>;
    /// `None` also when `viewer` does not take part.
    async fn room_view(&self, room: RoomId, viewer: UserId) -> Result<Option<RoomView>>;
    /// Rooms that `viewer` takes part in, newest first.
    async fn rooms_of(&self, viewer: UserId, page: Page) -> Result<Listing<RoomView>>;
    /// `NotFound` when `owner` does not own the room.
    async fn change_room(
        &self,
        room: RoomId,
        owner: UserId,
        change: RoomChange,
        now: Timestamp,
    ) -> Result<()>;
    /// `NotFound` when `owner` does not own the room.
    async fn delete_room(&self, room: RoomId, owner: UserId) -> Result<()>;

    // --- participants ---

    /// In order of joining.
    async fn participants(&self, room: RoomId) -> Result<Vec<Participant>>;
    async fn participant_ids(&self, room: RoomId) -> Result<Vec<UserId>>;
    async fn is_participant(&self, room: RoomId, user: UserId) -> Result<bool>;
    /// `None`: took part already. `NotFound` when `admission` does not hold. What was said before is not unread.
    async fn add_participant(
        &self,
        room: RoomId,
        user: UserId,
        admission: Admission,
        now: Timestamp,
    ) -> Result<Option<Participant>>;
    /// Whether the user took part; the invitations that he made go with him. An owner's room passes to its longest
    /// participant; without one it goes, unless it is a direct one.
    async fn leave(&self, room: RoomId, user: UserId) -> Result<bool>;
    /// As [`Store::leave`], by the owner (`NotFound` when `owner` is not): all invitations of the room go, as the
    /// one who is removed may know any of them.
    async fn remove_participant(&self, room: RoomId, owner: UserId, user: UserId) -> Result<bool>;
    /// Whether the user takes part.
    async fn set_pinned(&self, room: RoomId, user: UserId, pinned: bool) -> Result<bool>;

    // --- invitations ---

    /// `NotFound` when `by` does not take part in the room.
    async fn add_invitation(
        &self,
        token: String,
        room: RoomId,
        by: UserId,
        expires_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<()>;
    /// Expired ones too.
    async fn invitation(&self, token: String) -> Result<Option<Invitation>>;

    // --- messages ---

    /// `None`: the author does not take part in the room. `announce` is called when the message is on the disk,
    /// whether or not somebody still waits for the answer, and for all messages in the order of their ids: whoever
    /// hears of one has heard of all before. It must not block.
    async fn add_message(
        &self,
        room: RoomId,
        author: UserId,
        content: String,
        now: Timestamp,
        announce: Announce,
    ) -> Result<Option<Message>>;
    /// Newest first.
    async fn messages(&self, room: RoomId, page: Page) -> Result<Listing<Message>>;
    async fn room_of_message(&self, message: MessageId) -> Result<Option<RoomId>>;
    async fn last_message(&self, room: RoomId) -> Result<Option<MessageId>>;
    /// Moves the read position of `user` forward to `message`; whether it moved.
    async fn mark_read(&self, room: RoomId, user: UserId, message: MessageId) -> Result<bool>;

    // --- the server's own ---

    /// The secret of this name; `fresh` becomes it when there is none.
    async fn secret(&self, name: &'static str, fresh: String) -> Result<String>;

    /// The secrets of other programs, by name.
    async fn relay_secrets(&self) -> Result<Vec<RelaySecret>>;
    /// `SecretNameTaken` when there is one of this name.
    async fn add_relay_secret(&self, new: NewRelaySecret) -> Result<()>;
    /// Puts another secret in place of the one of this name, which is taken until then as well.
    async fn rotate_relay_secret(
        &self,
        name: String,
        secret: SecretText,
        until: Timestamp,
    ) -> Result<()>;
    async fn revoke_relay_secret(&self, name: String) -> Result<()>;

    /// Answers as soon as the database can be read and written.
    async fn ready(&self) -> Result<()>;
    /// Brings all that is committed into the one file, so that it alone can be copied; for the end of a server.
    async fn settle(&self) -> Result<()>;
    /// Changes when another process has written; what it wrote is not told.
    fn changed_elsewhere(&self) -> watch::Receiver<u64>;
}
