//! Finding people and public rooms.

use async_trait::async_trait;

use super::Result;
use crate::{Listing, Page, PublicRoom, User, UserId};

/// What is sought for is looked for anywhere in names, in whatever case; nothing finds all.
#[async_trait]
pub trait DirectoryStore {
    /// Public rooms that `viewer` is not banned from, by name.
    async fn public_rooms(
        &self,
        viewer: UserId,
        search: String,
        page: Page,
    ) -> Result<Listing<PublicRoom>>;
    /// Other people who may use the server, by username; all, or those who are in a room with `viewer`.
    async fn people(
        &self,
        viewer: UserId,
        only_shared: bool,
        search: String,
        page: Page,
    ) -> Result<Listing<User>>;
}
