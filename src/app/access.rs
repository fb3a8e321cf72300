//! Who may use the server, in memory: for those who cannot wait for a database, such as the relay.

use std::collections::HashMap;
use std::fmt;
use std::sync::{PoisonError, RwLock};

use moznods_storage::UserId;
use tokio::sync::broadcast;

/// Losses that a subscriber may be behind with before it is told that it missed some.
const MAX_BEHIND: usize = 1024;

/// A snapshot of all users that are neither blocked nor deleted, each with the epoch of his sign-ins.
pub struct UserAccess {
    allowed: RwLock<HashMap<UserId, i64>>,
    lost: broadcast::Sender<UserId>,
}

impl fmt::Debug for UserAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserAccess").finish_non_exhaustive()
    }
}

impl UserAccess {
    pub(super) fn new(allowed: impl IntoIterator<Item = (UserId, i64)>) -> Self {
        UserAccess {
            allowed: RwLock::new(allowed.into_iter().collect()),
            lost: broadcast::Sender::new(MAX_BEHIND),
        }
    }

    /// `None`: may not use the server. What was made in an earlier epoch is void.
    pub fn epoch(&self, user: UserId) -> Option<i64> {
        self.allowed
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&user)
            .copied()
    }

    pub fn count(&self) -> usize {
        self.allowed
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
    }

    /// Every user that from now on loses access, or what was made in his last epoch, after [`Self::epoch`] says so.
    /// Who is told that he lagged behind asks about everyone he knows.
    pub fn losses(&self) -> broadcast::Receiver<UserId> {
        self.lost.subscribe()
    }

    /// Takes over a new snapshot, tells the subscribers who has lost what, and returns those who may no longer use
    /// the server.
    pub(super) fn replace(&self, allowed: impl IntoIterator<Item = (UserId, i64)>) -> Vec<UserId> {
        let new: HashMap<UserId, i64> = allowed.into_iter().collect();
        let old = {
            let mut current = self.allowed.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *current, new.clone())
        };
        let changed = old
            .iter()
            .filter(|(user, epoch)| new.get(user) != Some(epoch));
        for (&user, _) in changed {
            // Nobody subscribed is fine.
            let _ = self.lost.send(user);
        }
        old.into_keys()
            .filter(|user| !new.contains_key(user))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_drops_out_of_the_snapshot_or_begins_an_epoch_is_announced_once() {
        let access = UserAccess::new([(1, 0), (2, 0), (3, 5)]);
        let mut losses = access.losses();
        assert_eq!(access.replace([(1, 0), (3, 5), (4, 0)]), [2]);
        assert_eq!((access.epoch(2), access.epoch(3)), (None, Some(5)));
        assert_eq!(losses.try_recv(), Ok(2));
        assert!(losses.try_recv().is_err());
        assert!(access.replace([(1, 0), (3, 6), (4, 0)]).is_empty());
        assert_eq!(losses.try_recv(), Ok(3));
        access.replace([(1, 0), (3, 6), (4, 0)]);
        assert!(losses.try_recv().is_err());
    }
}
