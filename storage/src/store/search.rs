//! Search in messages, and the index for it.

use async_trait::async_trait;

use super::Result;
use crate::{Found, Search};

/// The index lags behind the messages by what [`SearchStore::index_messages`] has not taken in yet.
#[async_trait]
pub trait SearchStore {
    /// What is found is there now, has the words now, and is in a room that the viewer takes part in now. `NothingToFind` when
    /// there is no word in the text, `TooMuchToSearch` when nothing was found within [`Search::TIME`].
    async fn search(&self, search: Search) -> Result<Found>;
    /// Takes a little of what is new or has changed into the index; newest first, where much is missing. `false`: nothing was
    /// missing. By one process at a time.
    async fn index_messages(&self) -> Result<bool>;
}
