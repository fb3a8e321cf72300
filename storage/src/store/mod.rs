//! The face of storage, a trait for each of its parts. Every method is one atomic step; a change is on the disk when its
//! answer comes.

mod audit;
mod bots;
mod chunks;
mod credentials;
mod directory;
mod events;
mod files;
mod hooks;
mod import;
mod invitations;
mod messages;
mod moderation;
mod overview;
mod pins;
mod push;
mod relay;
mod rooms;
mod search;
mod sign_ins;
mod users;

use async_trait::async_trait;
use tokio::sync::watch;

use crate::StorageError;

pub use audit::AuditStore;
pub use bots::BotStore;
pub use chunks::ChunkStore;
pub use credentials::CredentialStore;
pub use directory::DirectoryStore;
pub use events::EventStore;
pub use files::FileStore;
pub use hooks::HookStore;
pub use import::{Import, ImportStore, ImportWork};
pub use invitations::InvitationStore;
pub use messages::MessageStore;
pub use moderation::ModerationStore;
pub use overview::OverviewStore;
pub use pins::PinStore;
pub use push::PushStore;
pub use relay::RelayStore;
pub use rooms::RoomStore;
pub use search::SearchStore;
pub use sign_ins::SignInStore;
pub use users::UserStore;

type Result<T> = std::result::Result<T, StorageError>;

/// Everything that is kept. The clock is the caller's: methods that note a time are given it.
#[async_trait]
pub trait Store:
    UserStore
    + RoomStore
    + ModerationStore
    + InvitationStore
    + DirectoryStore
    + OverviewStore
    + MessageStore
    + SearchStore
    + FileStore
    + ChunkStore
    + EventStore
    + RelayStore
    + SignInStore
    + CredentialStore
    + PushStore
    + AuditStore
    + BotStore
    + HookStore
    + PinStore
    + ImportStore
    + Send
    + Sync
    + 'static
{
    /// The secret of this name; `fresh` becomes it when there is none.
    async fn secret(&self, name: &'static str, fresh: String) -> Result<String>;

    /// Answers as soon as the database can be read and written; [`StorageError::Full`] while its disk is full.
    async fn ready(&self) -> Result<()>;
    /// Bytes of the database.
    async fn size(&self) -> Result<i64>;
    /// Brings all that is committed into the one file, so that it alone can be copied; for the end of a server.
    async fn settle(&self) -> Result<()>;
    /// Changes when another process has written; what it wrote is not told, and stands in the log of events.
    fn changed_elsewhere(&self) -> watch::Receiver<u64>;
    /// Changes when another process has changed who may use the server or the relay, perhaps.
    fn access_changed_elsewhere(&self) -> watch::Receiver<u64>;
}
