//! Who may use the server, in memory: for those who cannot wait for a database, such as the relay.

use std::collections::HashSet;
use std::fmt;
use std::sync::{PoisonError, RwLock};

use moznods_storage::UserId;
use tokio::sync::broadcast;

/// Losses that a subscriber may be behind with before it is told that it missed some.
const MAX_BEHIND: usize = 1024;

/// A snapshot of all users that are neither blocked nor deleted.
pub struct UserAccess {
    allowed: RwLock<HashSet<UserId>>,
    lost: broadcast::Sender<UserId>,
}

impl fmt::Debug for UserAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserAccess").finish_non_exhaustive()
    }
}

impl UserAccess {
    pub(super) fn new(allowed: impl IntoIterator<Item = UserId>) -> Self {
        UserAccess {
            allowed: RwLock::new(allowed.into_iter().collect()),
            lost: broadcast::Sender::new(MAX_BEHIND),
        }
    }

    pub fn is_allowed(&self, user: UserId) -> bool {
        self.allowed
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(&user)
    }

    pub fn count(&self) -> usize {
        self.allowed
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
    }

    /// Every user that loses access from now on, after [`Self::is_allowed`] says so. Who is told that he lagged
    /// behind asks `is_allowed` about everyone he knows.
    pub fn losses(&self) -> broadcast::Receiver<UserId> {
        self.lost.subscribe()
    }

    /// Takes over a new snapshot, tells the subscribers who has lost access, and returns them.
    pub(super) fn replace(&self, allowed: impl IntoIterator<Item = UserId>) -> Vec<UserId> {
        let new: HashSet<UserId> = allowed.into_iter().collect();
        let lost: Vec<UserId> = {
            let mut current = self.allowed.write().unwrap_or_else(PoisonError::into_inner);
            let old = std::mem::replace(&mut *current, new);
            old.difference(&current).copied().collect()
        };
        for &user in &lost {
            // Nobody subscribed is fine.
            let _ = self.lost.send(user);
        }
        lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_drops_out_of_the_snapshot_is_announced_once() {
        let access = UserAccess::new([1, 2, 3]);
        let mut losses = access.losses();
        assert_eq!(access.replace([1, 3, 4]), [2]);
        assert!(!access.is_allowed(2));
        assert!(access.is_allowed(4));
        assert_eq!(losses.try_recv(), Ok(2));
        access.replace([1, 3, 4]);
        assert!(losses.try_recv().is_err());
    }
}
