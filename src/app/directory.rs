//! Finding people and public rooms.

use moznods_storage::{Listing, Page, PublicRoom, User};

use super::{App, Error, Problem, Result, limits};
use crate::config::Directory;

impl App {
    /// Public rooms, whether or not `user` is in them, by name.
    pub async fn public_rooms(
        &self,
        user: &User,
        search: &str,
        page: Page,
    ) -> Result<Listing<PublicRoom>> {
        let search = checked_search(search)?;
        Ok(self.store.public_rooms(user.id, search, page).await?)
    }

    /// People whom `user` may find under `accounts.directory`.
    pub async fn people(&self, user: &User, search: &str, page: Page) -> Result<Listing<User>> {
        let only_shared = self.config.accounts.directory == Directory::Shared;
        let search = checked_search(search)?;
        Ok(self
            .store
            .people(user.id, only_shared, search, page)
            .await?)
    }
}

pub(super) fn checked_search(search: &str) -> Result<String> {
    let search = search.trim();
    if search.chars().count() > limits::SEARCH {
        return Err(Error::field("search", Problem::TooLong(limits::SEARCH)));
    }
    Ok(search.to_owned())
}
