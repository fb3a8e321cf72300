//! SQLite behind [`Store`]: which method reads, which writes. The SQL itself stands in the files beside.

mod connect;
mod messages;
mod readers;
mod relay_secrets;
mod rooms;
mod users;
mod writer;

use std::fmt;
use std::path::Path;

use async_trait::async_trait;
use rusqlite::Savepoint;
use tokio::sync::watch;

pub use connect::{DirectoryLock, Missing};

use crate::{
    Admission, Announce, Invitation, Listing, Message, MessageId, NewRelaySecret, NewUser, Page,
    Participant, RelaySecret, Room, RoomChange, RoomId, RoomView, SecretText, StorageError, Store,
    Timestamp, TokenHash, TokenOwner, User, UserId, UserKey,
};
use readers::Readers;
use writer::Writer;

type Result<T> = std::result::Result<T, StorageError>;

/// One file in the data directory, one writing thread, a few readers.
pub struct SqliteStore {
    writer: Writer,
    readers: Readers,
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore").finish_non_exhaustive()
    }
}

impl SqliteStore {
    /// Opens the database of the server that holds `lock`, makes it if need be, and brings its schema up to date.
    /// Blocks on the disk.
    pub fn open_to_serve(lock: &DirectoryLock) -> Result<Self> {
        let file = connect::database_file(lock.directory(), Missing::Create)?;
        Self::over(&file, || Ok(None))
    }

    /// Opens the database in `directory`, perhaps beside a running server; the schema is brought up to date only
    /// when there is none. Blocks on the disk.
    pub fn open(directory: &Path, missing: Missing) -> Result<Self> {
        let file = connect::database_file(directory, missing)?;
        Self::over(&file, || DirectoryLock::take(directory).map(Some))
    }

    fn over(file: &Path, lock: impl FnOnce() -> Result<Option<DirectoryLock>>) -> Result<Self> {
        let writer = Writer::start(connect::open_writer(file, lock)?)?;
        let readers = Readers::open(file)?;
        Ok(SqliteStore { writer, readers })
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn create_user(&self, user: NewUser) -> Result<User> {
        self.writer.write(move |c| users::create(c, &user)).await
    }

    async fn user(&self, key: UserKey) -> Result<Option<User>> {
        self.readers
            .read(move |c| Ok(users::find(c, &key)?.map(|(user, _)| user)))
            .await
    }

    async fn user_with_password(&self, key: UserKey) -> Result<Option<(User, String)>> {
        self.readers.read(move |c| users::find(c, &key)).await
    }

    async fn users(&self) -> Result<Vec<User>> {
        self.readers.read(|c| users::all(c)).await
    }

    async fn has_admin(&self) -> Result<bool> {
        self.readers.read(|c| users::has_admin(c)).await
    }

    async fn set_display_name(&self, user: UserId, display_name: String) -> Result<User> {
        self.writer
            .write(move |c| users::set_display_name(c, user, &display_name))
            .await
    }

    async fn set_password(&self, user: UserId, password_hash: String) -> Result<()> {
        self.writer
            .write(move |c| users::set_password(c, user, &password_hash))
            .await
    }

    async fn set_blocked(&self, user: UserId, blocked: bool) -> Result<()> {
        self.writer
            .write(move |c| users::set_blocked(c, user, blocked))
            .await
    }

    async fn delete_user(&self, user: UserId) -> Result<()> {
        self.writer.write(move |c| users::delete(c, user)).await
    }

    async fn users_with_access(&self) -> Result<Vec<UserId>> {
        self.readers.read(|c| users::with_access(c)).await
    }

    async fn add_token(&self, token: TokenHash, user: UserId, now: Timestamp) -> Result<()> {
        self.writer
            .write(move |c| users::add_token(c, token, user, now))
            .await
    }

    async fn token_owner(&self, token: TokenHash) -> Result<Option<TokenOwner>> {
        self.readers
            .read(move |c| users::token_owner(c, token))
            .await
    }

    async fn touch_token(&self, token: TokenHash, now: Timestamp) -> Result<()> {
        self.writer
            .write(move |c| users::touch_token(c, token, now))
            .await
    }

    async fn remove_token(&self, token: TokenHash) -> Result<()> {
        self.writer
            .write(move |c| users::remove_token(c, token))
            .await
    }

    async fn living_tokens(&self, tokens: Vec<TokenHash>) -> Result<Vec<TokenHash>> {
        self.readers
            .read(move |c| users::living_tokens(c, tokens))
            .await
    }

    async fn create_room(
        &self,
        owner: UserId,
        name: String,
        is_public: bool,
        now: Timestamp,
    ) -> Result<RoomId> {
        self.writer
            .write(move |c| rooms::create(c, owner, &name, is_public, now))
            .await
    }

    async fn direct_room(
        &self,
        asking: UserId,
        other: UserId,
        name: String,
        now: Timestamp,
    ) -> Result<(RoomId, Vec<UserId>)> {
        self.writer
            .write(move |c| rooms::direct(c, asking, other, &name, now))
            .await
    }

    async fn room(&self, room: RoomId) -> Result<Option<Room>> {
        self.readers.read(move |c| rooms::get(c, room)).await
    }

    async fn room_view(&self, room: RoomId, viewer: UserId) -> Result<Option<RoomView>> {
        self.readers
            .read(move |c| rooms::view(c, room, viewer))
            .await
    }

    async fn rooms_of(&self, viewer: UserId, page: Page) -> Result<Listing<RoomView>> {
        self.readers
            .read(move |c| rooms::of_user(c, viewer, page))
            .await
    }

    async fn change_room(
        &self,
        room: RoomId,
        owner: UserId,
        change: RoomChange,
        now: Timestamp,
    ) -> Result<()> {
        self.writer
            .write(move |c| rooms::change(c, room, owner, &change, now))
            .await
    }

    async fn delete_room(&self, room: RoomId, owner: UserId) -> Result<()> {
        self.writer
            .write(move |c| rooms::delete(c, room, owner))
            .await
    }

    async fn participants(&self, room: RoomId) -> Result<Vec<Participant>> {
        self.readers
            .read(move |c| rooms::participants(c, room))
            .await
    }

    async fn participant_ids(&self, room: RoomId) -> Result<Vec<UserId>> {
        self.readers
            .read(move |c| rooms::participant_ids(c, room))
            .await
    }

    async fn is_participant(&self, room: RoomId, user: UserId) -> Result<bool> {
        self.readers
            .read(move |c| rooms::is_participant(c, room, user))
            .await
    }

    async fn add_participant(
        &self,
        room: RoomId,
        user: UserId,
        admission: Admission,
        now: Timestamp,
    ) -> Result<Option<Participant>> {
        self.writer
            .write(move |c| rooms::add_participant(c, room, user, &admission, now))
            .await
    }

    async fn leave(&self, room: RoomId, user: UserId) -> Result<bool> {
        self.writer
            .write(move |c| rooms::leave(c, room, user))
            .await
    }

    async fn remove_participant(&self, room: RoomId, owner: UserId, user: UserId) -> Result<bool> {
        self.writer
            .write(move |c| rooms::remove_participant(c, room, owner, user))
            .await
    }

    async fn set_pinned(&self, room: RoomId, user: UserId, pinned: bool) -> Result<bool> {
        self.writer
            .write(move |c| rooms::set_pinned(c, room, user, pinned))
            .await
    }

    async fn add_invitation(
        &self,
        token: String,
        room: RoomId,
        by: UserId,
        expires_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<()> {
        self.writer
            .write(move |c| rooms::add_invitation(c, &token, room, by, expires_at, now))
            .await
    }

    async fn invitation(&self, token: String) -> Result<Option<Invitation>> {
        self.readers
            .read(move |c| rooms::invitation(c, &token))
            .await
    }

    async fn add_message(
        &self,
        room: RoomId,
        author: UserId,
        content: String,
        now: Timestamp,
        announce: Announce,
    ) -> Result<Option<Message>> {
        let add = move |c: &Savepoint<'_>| messages::add(c, room, author, &content, now);
        let committed = |message: &Option<Message>| {
            if let Some(message) = message {
                announce(message);
            }
        };
        self.writer.write_then(add, committed).await
    }

    async fn messages(&self, room: RoomId, page: Page) -> Result<Listing<Message>> {
        self.readers
            .read(move |c| messages::of_room(c, room, page))
            .await
    }

    async fn room_of_message(&self, message: MessageId) -> Result<Option<RoomId>> {
        self.readers
            .read(move |c| messages::room_of(c, message))
            .await
    }

    async fn last_message(&self, room: RoomId) -> Result<Option<MessageId>> {
        self.readers.read(move |c| messages::last(c, room)).await
    }

    async fn mark_read(&self, room: RoomId, user: UserId, message: MessageId) -> Result<bool> {
        self.writer
            .write(move |c| messages::mark_read(c, room, user, message))
            .await
    }

    async fn secret(&self, name: &'static str, fresh: String) -> Result<String> {
        self.writer
            .write(move |c| users::secret(c, name, &fresh))
            .await
    }

    async fn relay_secrets(&self) -> Result<Vec<RelaySecret>> {
        self.readers.read(|c| relay_secrets::all(c)).await
    }

    async fn add_relay_secret(&self, new: NewRelaySecret) -> Result<()> {
        self.writer
            .write(move |c| relay_secrets::add(c, &new))
            .await
    }

    async fn rotate_relay_secret(
        &self,
        name: String,
        secret: SecretText,
        until: Timestamp,
    ) -> Result<()> {
        self.writer
            .write(move |c| relay_secrets::rotate(c, &name, &secret, until))
            .await
    }

    async fn revoke_relay_secret(&self, name: String) -> Result<()> {
        self.writer
            .write(move |c| relay_secrets::revoke(c, &name))
            .await
    }

    async fn ready(&self) -> Result<()> {
        self.readers
            .read(|c| {
                Ok(c.query_row("SELECT 1 FROM secrets LIMIT 1", [], |_| Ok(()))
                    .or_else(none_is_fine)?)
            })
            .await?;
        self.writer.write(|_| Ok(())).await
    }

    async fn settle(&self) -> Result<()> {
        self.writer.checkpoint().await
    }

    fn changed_elsewhere(&self) -> watch::Receiver<u64> {
        self.writer.changed_elsewhere()
    }
}

fn none_is_fine(error: rusqlite::Error) -> rusqlite::Result<()> {
    match error {
        rusqlite::Error::QueryReturnedNoRows => Ok(()),
        error => Err(error),
    }
}

/// A change that must have hit its row.
fn found(rows: usize) -> Result<()> {
    if rows == 0 {
        Err(StorageError::NotFound)
    } else {
        Ok(())
    }
}
