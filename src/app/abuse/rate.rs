//! So much at once, which comes back evenly; kept for each key.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Keys that are remembered. Whoever can bring more of them in a minute is held up by nothing that counts keys.
const MANY: usize = 65_536;

/// What is remembered does not depend on how much there may be at once: that may change at any time.
pub struct Rate<K> {
    whole: Duration,
    /// When all is there again.
    full: Mutex<HashMap<K, Instant>>,
}

impl<K: Eq + Hash + Clone> Rate<K> {
    /// All comes back in so long a time.
    pub fn per(whole: Duration) -> Self {
        Rate {
            whole,
            full: Mutex::default(),
        }
    }

    /// Takes one of `burst`; `Err`: how long until there is one again. A `burst` has to be far below the square root of
    /// the nanoseconds in which it comes back.
    pub fn take(&self, key: &K, burst: u32, now: Instant) -> Result<(), Duration> {
        let mut all = self.full();
        let full = all.get(key).map_or(now, |full| (*full).max(now));
        let full = full + self.each(burst);
        let wait = full.saturating_duration_since(now + self.whole);
        if !wait.is_zero() {
            return Err(wait);
        }
        if all.len() >= MANY && !all.contains_key(key) {
            all.retain(|_, full| *full > now);
            if all.len() >= MANY / 2 {
                all.clear();
            }
        }
        all.insert(key.clone(), full);
        Ok(())
    }

    /// So many of `burst` were taken elsewhere, though there may not have been as many.
    pub fn note(&self, key: &K, burst: u32, times: u32, now: Instant) {
        for _ in 0..times.min(burst) {
            if self.take(key, burst, now).is_err() {
                return;
            }
        }
    }

    /// The one that was taken last counts for nothing.
    pub fn give_back(&self, key: &K, burst: u32) {
        if let Some(full) = self.full().get_mut(key)
            && let Some(sooner) = full.checked_sub(self.each(burst))
        {
            *full = sooner;
        }
    }

    /// All of it is there again.
    pub fn forget(&self, key: &K) {
        self.full().remove(key);
    }

    /// Forgets those who have all of it.
    pub fn sweep(&self, now: Instant) {
        let mut all = self.full();
        all.retain(|_, full| *full > now);
        all.shrink_to_fit();
    }

    /// In which one comes back.
    fn each(&self, burst: u32) -> Duration {
        self.whole / burst.max(1)
    }

    fn full(&self) -> MutexGuard<'_, HashMap<K, Instant>> {
        self.full.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn a_burst_comes_back_evenly() {
        let rate = Rate::per(MINUTE);
        let start = Instant::now();
        for burst in [1, 7, 60, 100_000] {
            let taken = (0..burst).all(|_| rate.take(&burst, burst, start).is_ok());
            assert!(taken, "{burst}");
            let wait = rate.take(&burst, burst, start).unwrap_err();
            let each = MINUTE / burst;
            assert!(wait <= each && wait * 10 >= each * 9, "{burst}: {wait:?}");
            let soon = start + wait;
            rate.take(&burst, burst, soon).unwrap();
            assert!(rate.take(&burst, burst, soon).is_err());
            let rested = (0..burst).all(|_| rate.take(&burst, burst, soon + MINUTE).is_ok());
            assert!(rested, "{burst}");
            assert!(rate.take(&burst, burst, soon + MINUTE).is_err(), "no more");
        }
    }

    #[test]
    fn keys_are_apart_and_what_is_given_back_can_be_taken() {
        let rate = Rate::per(MINUTE);
        let now = Instant::now();
        rate.take(&1, 1, now).unwrap();
        rate.take(&2, 1, now).unwrap();
        assert!(rate.take(&1, 1, now).is_err());
        rate.give_back(&1, 1);
        rate.take(&1, 1, now).unwrap();
        assert!(rate.take(&1, 1, now).is_err() && rate.take(&2, 1, now).is_err());
        rate.give_back(&3, 1);
    }

    #[test]
    fn another_burst_holds_for_what_was_taken_before() {
        let rate = Rate::per(MINUTE);
        let now = Instant::now();
        for _ in 0..4 {
            rate.take(&1, 4, now).unwrap();
        }
        assert!(rate.take(&1, 8, now).is_err(), "all of it was taken");
        rate.take(&1, 8, now + MINUTE / 8).unwrap();
    }

    #[test]
    fn what_is_remembered_is_bounded_and_swept() {
        let rate = Rate::per(MINUTE);
        let now = Instant::now();
        for key in 0..3 * MANY {
            rate.take(&key, 1, now).unwrap();
            assert!(rate.full().len() <= MANY);
        }
        rate.sweep(now);
        assert!(!rate.full().is_empty());
        rate.sweep(now + MINUTE);
        assert!(rate.full().is_empty());
    }
}
