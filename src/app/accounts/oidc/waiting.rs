//! What waits in memory for somebody to come back with a secret: so much of it, and for so long.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use moznods_storage::TokenHash;

/// More push the oldest out.
const MOST: usize = 10_000;

type Entries<T> = HashMap<TokenHash, (Instant, T)>;

pub struct Waiting<T> {
    entries: Mutex<Entries<T>>,
    wait: Duration,
}

impl<T> Waiting<T> {
    /// Each waits for so long.
    pub fn new(wait: Duration) -> Self {
        Waiting {
            entries: Mutex::default(),
            wait,
        }
    }

    pub fn put(&self, key: TokenHash, value: T) {
        let now = Instant::now();
        let mut entries = self.entries();
        if entries.len() >= MOST {
            entries.retain(|_, (end, _)| *end > now);
        }
        if entries.len() >= MOST {
            let oldest = entries.iter().min_by_key(|(_, (end, _))| *end);
            if let Some(oldest) = oldest.map(|(key, _)| *key) {
                entries.remove(&oldest);
            }
        }
        entries.insert(key, (now + self.wait, value));
    }

    /// Of those that come at once, one gets it. It stays when it is not the one that is `wanted`.
    pub fn take(&self, key: TokenHash, wanted: impl FnOnce(&T) -> bool) -> Option<T> {
        let mut entries = self.entries();
        let (end, value) = entries.get(&key)?;
        if *end <= Instant::now() {
            entries.remove(&key);
            return None;
        }
        if !wanted(value) {
            return None;
        }
        entries.remove(&key).map(|(_, value)| value)
    }

    /// Looks at it, and may let it wait until another moment.
    pub fn look<R>(
        &self,
        key: TokenHash,
        look: impl FnOnce(&mut T, &mut Instant) -> R,
    ) -> Option<R> {
        let mut entries = self.entries();
        let (end, value) = entries.get_mut(&key)?;
        (*end > Instant::now()).then(|| look(value, end))
    }

    fn entries(&self) -> MutexGuard<'_, Entries<T>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: usize) -> TokenHash {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&n.to_le_bytes());
        TokenHash(bytes)
    }

    #[test]
    fn what_waits_is_taken_once_by_whom_it_waits_for() {
        let waiting = Waiting::new(Duration::from_secs(60));
        waiting.put(key(1), "one");
        assert_eq!(waiting.take(key(1), |_| false), None);
        assert_eq!(waiting.take(key(2), |_| true), None);
        assert_eq!(waiting.take(key(1), |_| true), Some("one"));
        assert_eq!(waiting.take(key(1), |_| true), None);
        let past = Waiting::new(Duration::ZERO);
        past.put(key(1), "one");
        assert_eq!(past.look(key(1), |_, _| ()), None);
        assert_eq!(past.take(key(1), |_| true), None);
    }

    #[test]
    fn memory_is_bounded_and_the_oldest_goes_first() {
        let waiting = Waiting::new(Duration::from_secs(60));
        for n in 0..=MOST {
            waiting.put(key(n), n);
        }
        assert_eq!(waiting.entries().len(), MOST);
        assert_eq!(waiting.take(key(0), |_| true), None);
        assert_eq!(waiting.take(key(MOST), |_| true), Some(MOST));
    }
}
