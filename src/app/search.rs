//! Search in messages, and the index that follows them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use moznods_storage::{Found, MessageId, RoomId, Search, StorageError, User, UserId};

use super::{App, Error, Problem, Result, limits};

/// Searches at once; others wait, and those who read something else do not.
pub(super) const AT_ONCE: usize = 2;
/// So much longer than taking a little into the index took, it rests: a twentieth of the writer's time is the most it has.
const REST: u32 = 19;
/// How often it is looked whether something is missing.
const LOOK: Duration = Duration::from_secs(1);
/// Before another try after an error.
const RETRY: Duration = Duration::from_secs(30);

/// What somebody looks for, as he has given it.
#[derive(Debug)]
pub struct Sought {
    pub text: String,
    pub room: Option<RoomId>,
    pub author: Option<UserId>,
    pub before: Option<MessageId>,
    pub limit: usize,
}

impl App {
    /// In all rooms that the user takes part in now, or in that one of them.
    pub async fn search(&self, user: &User, sought: Sought) -> Result<Found> {
        if sought.text.trim().is_empty() {
            return Err(Error::field("q", Problem::Required));
        }
        if sought.text.chars().count() > limits::QUERY {
            return Err(Error::field("q", Problem::TooLong(limits::QUERY)));
        }
        if let Some(room) = sought.room {
            self.taking_part(user, room).await?;
        }
        let search = Search {
            viewer: user.id,
            text: sought.text,
            room: sought.room,
            author: sought.author,
            before: sought.before,
            limit: sought.limit,
        };
        // It is never closed.
        let _place = self.searching.acquire().await;
        Ok(self.store.search(search).await?)
    }

    /// Takes messages into the index, a few at a time, as long as the server runs.
    pub(super) async fn keep_index(self: Arc<Self>) {
        loop {
            let began = Instant::now();
            let rest = match self.store.index_messages().await {
                Ok(true) => began.elapsed() * REST,
                Ok(false) => LOOK,
                // Of which is told elsewhere.
                Err(StorageError::Full) => RETRY,
                Err(error) => {
                    tracing::warn!(%error, "search does not find what is new: the index cannot be kept");
                    RETRY
                }
            };
            tokio::time::sleep(rest).await;
        }
    }
}
