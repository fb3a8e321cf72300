//! Wrong passwords: after some of them each makes the next attempt wait longer; kept for each key.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// After the first that is one too many; it doubles with each further one.
const FIRST_WAIT: Duration = Duration::from_secs(5);
const LONGEST_WAIT: Duration = Duration::from_secs(300);
/// After the last wrong one all of them are forgotten.
const REMEMBERED: Duration = Duration::from_secs(3600);
/// Keys that are remembered; those that have to wait for nothing are the first to be forgotten.
const MANY: usize = 65_536;

pub struct Guesses<K> {
    /// How many wrong ones cost nothing.
    free: u32,
    wrong: Mutex<HashMap<K, Wrong>>,
}

struct Wrong {
    count: u32,
    last: Instant,
    /// Before that no other attempt is made. An instant for "at once" would hold up attempts that began a moment before
    /// the last one and are counted after it.
    until: Option<Instant>,
}

impl<K: Eq + Hash + Clone> Guesses<K> {
    pub fn after(free: u32) -> Self {
        Guesses {
            free,
            wrong: Mutex::default(),
        }
    }

    /// An attempt, which counts as a wrong one until something else is said: many at once are no way around. `Err`: it is
    /// not to be made for so long.
    pub fn attempt(&self, key: &K, now: Instant) -> Result<(), Duration> {
        let mut all = self.wrong();
        if all.len() >= MANY && !all.contains_key(key) {
            all.retain(|_, wrong| wrong.until > Some(now));
            if all.len() >= MANY / 2 {
                all.clear();
            }
        }
        let wrong = all.entry(key.clone()).or_insert(Wrong {
            count: 0,
            last: now,
            until: None,
        });
        if now.saturating_duration_since(wrong.last) >= REMEMBERED {
            wrong.count = 0;
        }
        if let Some(until) = wrong.until.filter(|until| *until > now) {
            return Err(until - now);
        }
        wrong.count = wrong.count.saturating_add(1);
        wrong.last = now;
        wrong.until = self.wait(wrong.count).map(|wait| now + wait);
        Ok(())
    }

    /// How long the next attempt is to be waited for.
    pub fn left(&self, key: &K, now: Instant) -> Option<Duration> {
        let until = self.wrong().get(key)?.until?;
        (until > now).then(|| until - now)
    }

    /// One that was looked at was wrong, or it was not to be made.
    pub fn wrong_one(&self, key: &K, now: Instant) {
        // It counts until something else is said; who has to wait does so anyhow.
        let _ = self.attempt(key, now);
    }

    /// The last attempt was none: it said nothing about the password.
    pub fn undo(&self, key: &K) {
        if let Some(wrong) = self.wrong().get_mut(key) {
            wrong.count = wrong.count.saturating_sub(1);
            wrong.until = None;
        }
    }

    /// It was right: those before were mistakes of the same person.
    pub fn forget(&self, key: &K) {
        self.wrong().remove(key);
    }

    pub fn forget_where(&self, is_meant: impl Fn(&K) -> bool) {
        self.wrong().retain(|key, _| !is_meant(key));
    }

    pub fn sweep(&self, now: Instant) {
        let mut all = self.wrong();
        all.retain(|_, wrong| now.saturating_duration_since(wrong.last) < REMEMBERED);
        all.shrink_to_fit();
    }

    fn wait(&self, count: u32) -> Option<Duration> {
        let doubled = count.checked_sub(self.free + 1)?;
        let wait = FIRST_WAIT.saturating_mul(2_u32.saturating_pow(doubled));
        Some(wait.min(LONGEST_WAIT))
    }

    fn wrong(&self) -> MutexGuard<'_, HashMap<K, Wrong>> {
        self.wrong.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn from_the_third_wrong_one_the_wait_grows_up_to_five_minutes() {
        let guesses = Guesses::after(2);
        let mut now = Instant::now();
        let mut waits = Vec::new();
        for _ in 0..40 {
            guesses.attempt(&1, now).unwrap();
            let wait = guesses.attempt(&1, now).err().unwrap_or_default();
            if !wait.is_zero() {
                let early = now + wait - Duration::from_millis(1);
                assert!(
                    guesses.attempt(&1, early).is_err(),
                    "refused ones cost nothing"
                );
                waits.push(wait.as_secs());
            }
            now += wait;
            if wait.is_zero() {
                // The attempt that asked was one itself.
                guesses.undo(&1);
            }
        }
        assert_eq!(waits[..7], [5, 10, 20, 40, 80, 160, 300]);
        assert!(waits[7..].iter().all(|wait| *wait == 300));
        assert!(guesses.attempt(&2, now).is_ok(), "others do not wait");
        guesses.attempt(&1, now + REMEMBERED).unwrap();
        guesses.attempt(&1, now + REMEMBERED).unwrap();
        guesses.attempt(&1, now + REMEMBERED).unwrap();
        assert!(guesses.attempt(&1, now + REMEMBERED).is_err());
    }

    #[test]
    fn free_ones_are_held_up_by_nothing_in_whatever_order_they_are_counted() {
        let guesses = Guesses::after(2);
        let now = Instant::now();
        guesses.attempt(&1, now + Duration::from_millis(1)).unwrap();
        guesses.attempt(&1, now).unwrap();
    }

    #[test]
    fn what_was_no_guess_counts_for_nothing_and_a_right_one_ends_it() {
        let guesses = Guesses::after(2);
        let now = Instant::now();
        for _ in 0..10 {
            guesses.attempt(&1, now).unwrap();
            guesses.undo(&1);
        }
        for _ in 0..3 {
            guesses.attempt(&1, now).unwrap();
        }
        assert!(guesses.attempt(&1, now).is_err());
        guesses.forget(&1);
        guesses.attempt(&1, now).unwrap();
        guesses.undo(&2);
    }

    #[test]
    fn who_waits_is_remembered_longest_and_all_is_bounded() {
        let guesses = Guesses::after(2);
        let now = Instant::now();
        for _ in 0..3 {
            guesses.attempt(&0, now).unwrap();
        }
        for key in 1..3 * MANY {
            guesses.attempt(&key, now).unwrap();
            assert!(guesses.wrong().len() <= MANY);
        }
        assert!(guesses.attempt(&0, now).is_err());
        guesses.sweep(now + REMEMBERED);
        assert!(guesses.wrong().is_empty());
    }
}
