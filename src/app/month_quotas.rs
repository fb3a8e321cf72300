//! How much each owner has had relayed in the month that it is: the relay asks on its own threads, so it is answered
//! from memory.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{PoisonError, RwLock};

use moznods_storage::{Month, RelayOwner, RelayUsage};

/// Begins with what is stored of the month; what comes is entered as it is gathered.
#[derive(Debug)]
pub struct MonthQuotas {
    /// Bytes a month; 0: no limit.
    per_user: AtomicU64,
    used: RwLock<Used>,
}

#[derive(Debug)]
struct Used {
    month: Month,
    bytes: HashMap<RelayOwner, u64>,
}

impl Used {
    fn of(month: Month, stored: &[RelayUsage]) -> Self {
        let bytes = stored.iter().map(|usage| (usage.owner, usage.bytes()));
        Used {
            month,
            bytes: bytes.collect(),
        }
    }
}

impl MonthQuotas {
    pub fn new(per_user: u64, month: Month, stored: &[RelayUsage]) -> Self {
        MonthQuotas {
            per_user: AtomicU64::new(per_user),
            used: RwLock::new(Used::of(month, stored)),
        }
    }

    pub fn set_per_user(&self, per_user: u64) {
        self.per_user.store(per_user, Relaxed);
    }

    /// Whether users have a limit.
    pub fn is_limited(&self) -> bool {
        self.per_user.load(Relaxed) > 0
    }

    pub fn month(&self) -> Month {
        self.used
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .month
    }

    /// What is stored is all that there is: of a month that begins, or of what others have written as well.
    pub fn begin(&self, month: Month, stored: &[RelayUsage]) {
        *self.used.write().unwrap_or_else(PoisonError::into_inner) = Used::of(month, stored);
    }

    pub fn enter(&self, owner: RelayOwner, bytes: u64) {
        let mut used = self.used.write().unwrap_or_else(PoisonError::into_inner);
        let sum = used.bytes.entry(owner).or_default();
        *sum = sum.saturating_add(bytes);
    }

    /// Whether an owner has had all that he may; `own_limit` stands in place of what users may (0: no limit).
    pub fn is_exceeded(&self, owner: RelayOwner, own_limit: Option<u64>) -> bool {
        let limit = own_limit.unwrap_or_else(|| self.per_user.load(Relaxed));
        if limit == 0 {
            return false;
        }
        let used = self.used.read().unwrap_or_else(PoisonError::into_inner);
        used.bytes.get(&owner).is_some_and(|bytes| *bytes >= limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_counts_for_one_owner_and_one_month() {
        let month = |month| Month { year: 2026, month };
        let (ann, matrix) = (RelayOwner::User(1), RelayOwner::Secret(1));
        let stored = RelayUsage {
            month: month(11),
            owner: ann,
            to_peer: 500,
            to_client: 400,
            milliseconds: 0,
            allocations: 1,
        };
        let quotas = MonthQuotas::new(1000, month(11), &[stored]);
        assert!(!quotas.is_exceeded(ann, None));
        quotas.enter(ann, 99);
        assert!(!quotas.is_exceeded(ann, None));
        quotas.enter(ann, 1);
        quotas.enter(matrix, 1000);
        assert!(quotas.is_exceeded(ann, None) && quotas.is_exceeded(matrix, None));
        assert!(!quotas.is_exceeded(RelayOwner::User(2), None));
        assert!(!quotas.is_exceeded(matrix, Some(0)), "no limit of its own");
        assert!(!quotas.is_exceeded(matrix, Some(1001)) && quotas.is_exceeded(matrix, Some(1)));
        quotas.set_per_user(2000);
        assert!(!quotas.is_exceeded(ann, None));
        quotas.set_per_user(1000);
        quotas.begin(month(12), &[]);
        assert_eq!(quotas.month(), month(12));
        assert!(!quotas.is_exceeded(ann, None));
        quotas.set_per_user(0);
        quotas.enter(ann, u64::MAX);
        assert!(!quotas.is_exceeded(ann, None));
    }
}
