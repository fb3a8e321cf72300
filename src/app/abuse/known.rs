//! From where users have been signed in since the server started. Whoever has their devices open is there again at once.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use moznods_storage::UserId;

/// Of one user; another one takes the place of that which was not seen for longest.
const EACH: usize = 16;
const REMEMBERED: Duration = Duration::from_secs(30 * 86_400);

#[derive(Default)]
pub struct Known {
    seen: Mutex<HashMap<UserId, Vec<(IpAddr, Instant)>>>,
}

impl Known {
    /// Whether it is news.
    pub fn note(&self, user: UserId, address: IpAddr, now: Instant) -> bool {
        let mut seen = self.seen();
        let places = seen.entry(user).or_default();
        if let Some((_, last)) = places.iter_mut().find(|(place, _)| *place == address) {
            *last = now;
            return false;
        }
        if places.len() >= EACH
            && let Some(oldest) = places.iter().map(|(_, last)| *last).min()
        {
            places.retain(|(_, last)| *last > oldest);
        }
        places.push((address, now));
        true
    }

    pub fn has(&self, user: UserId, address: IpAddr) -> bool {
        let seen = self.seen();
        let places = seen.get(&user).map_or(&[][..], Vec::as_slice);
        places.iter().any(|(place, _)| *place == address)
    }

    pub fn sweep(&self, now: Instant) {
        self.seen().retain(|_, places| {
            places.retain(|(_, last)| now.saturating_duration_since(*last) < REMEMBERED);
            !places.is_empty()
        });
    }

    fn seen(&self) -> MutexGuard<'_, HashMap<UserId, Vec<(IpAddr, Instant)>>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_places_of_each_user_are_bounded_and_old_ones_are_forgotten() {
        let known = Known::default();
        let start = Instant::now();
        let place = |n: usize| IpAddr::from([192, 0, 2, u8::try_from(n).unwrap()]);
        for n in 0..=EACH {
            let now = start + Duration::from_secs(n as u64);
            known.note(1, place(n), now);
            known.note(1, place(1), now);
        }
        assert!(!known.has(1, place(0)), "the oldest");
        assert!((1..=EACH).all(|n| known.has(1, place(n))));
        assert!(!known.has(2, place(1)), "of another user");
        known.sweep(start + REMEMBERED + Duration::from_secs(EACH as u64 - 1));
        assert!(!known.has(1, place(2)) && known.has(1, place(1)) && known.has(1, place(EACH)));
        known.sweep(start + 2 * REMEMBERED);
        assert!(known.seen().is_empty());
    }
}
