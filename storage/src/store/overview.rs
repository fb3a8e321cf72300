//! What administrators see of all users and rooms.

use async_trait::async_trait;

use super::Result;
use crate::{Account, Listing, Page, RoomAccount, UserId};

/// What is sought for is looked for anywhere in names, in whatever case; nothing finds all.
#[async_trait]
pub trait OverviewStore {
    /// Those that are not deleted, newest first.
    async fn accounts(&self, search: String, page: Page) -> Result<Listing<Account>>;
    async fn account(&self, user: UserId) -> Result<Option<Account>>;
    /// Newest first. Sums up all that is attached anywhere.
    async fn all_rooms(&self, search: String, page: Page) -> Result<Listing<RoomAccount>>;
}
