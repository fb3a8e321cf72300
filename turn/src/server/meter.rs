//! How many bytes per second one owner may have relayed, over all allocations and workers.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// What may come at once after a pause, in time of the allowed rate: a key frame of a video is many times larger
/// than the frames after it.
const BURST: Duration = Duration::from_secs(1);
/// Bytes that may come at once however low the rate is: the largest datagram.
const LEAST_BURST: u64 = 65_535;

/// A token bucket without a lock: the moment at which all that was taken will have been paid for (the generic cell
/// rate algorithm of ATM).
#[derive(Debug)]
pub(super) struct Meter {
    begun: Instant,
    bytes_per_second: u64,
    /// Nanoseconds since `begun`.
    paid_at: AtomicU64,
}

impl Meter {
    pub fn new(bytes_per_second: u64, now: Instant) -> Self {
        Meter {
            begun: now,
            bytes_per_second: bytes_per_second.max(1),
            paid_at: AtomicU64::new(0),
        }
    }

    /// Whether all is paid for, so that a new meter would be the same.
    pub fn is_idle(&self, now: Instant) -> bool {
        self.paid_at.load(Relaxed) <= self.nanoseconds_at(now)
    }

    fn nanoseconds_at(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.begun).as_nanos();
        u64::try_from(since).unwrap_or(u64::MAX)
    }

    /// Nanoseconds in which this many may come.
    fn cost(&self, bytes: u64) -> u64 {
        let cost = u128::from(bytes) * 1_000_000_000 / u128::from(self.bytes_per_second);
        u64::try_from(cost).unwrap_or(u64::MAX)
    }

    fn burst(&self) -> u64 {
        self.cost(LEAST_BURST).max(BURST.as_nanos() as u64)
    }

    /// Takes this many bytes; false when they are too many now, and then takes none.
    pub fn take(&self, bytes: usize, now: Instant) -> bool {
        let now = self.nanoseconds_at(now);
        let burst = self.burst();
        let cost = self.cost(bytes as u64);
        let taken = self.paid_at.fetch_update(Relaxed, Relaxed, |paid_at| {
            let paid_at = paid_at.max(now).saturating_add(cost);
            (paid_at - now <= burst).then_some(paid_at)
        });
        taken.is_ok()
    }

    /// Takes bytes of a stream, which cannot be left out, however many they are.
    pub fn charge(&self, bytes: usize, now: Instant) {
        let now = self.nanoseconds_at(now);
        let cost = self.cost(bytes as u64);
        let charge = |paid_at: u64| Some(paid_at.max(now).saturating_add(cost));
        // The closure never declines.
        let _ = self.paid_at.fetch_update(Relaxed, Relaxed, charge);
    }

    /// Until when nothing more may be taken; `None`: there is room now.
    pub fn full_until(&self, now: Instant) -> Option<Instant> {
        let room_at = self.paid_at.load(Relaxed).saturating_sub(self.burst());
        let until = self.begun + Duration::from_nanos(room_at);
        (until > now).then_some(until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_the_rate() {
        let begun = Instant::now();
        let meter = Meter::new(1_000_000, begun);
        let passed = |after: u64| {
            let now = begun + Duration::from_millis(after);
            (0..10_000).filter(|_| meter.take(1000, now)).count()
        };
        assert_eq!(passed(0), 1000, "a second's worth");
        assert_eq!(passed(0), 0);
        assert_eq!(passed(100), 100);
        assert_eq!(passed(60_000), 1000, "a pause saves no more than the burst");
    }

    #[test]
    fn a_stream_waits_until_what_it_has_sent_is_paid_for() {
        let begun = Instant::now();
        let meter = Meter::new(1_000_000, begun);
        assert_eq!(meter.full_until(begun), None);
        meter.charge(1_250_000, begun);
        let until = begun + Duration::from_millis(250);
        assert_eq!(meter.full_until(begun), Some(until));
        assert!(!meter.take(1, begun));
        assert_eq!(meter.full_until(until), None);
    }

    #[test]
    fn the_largest_datagram_passes_at_any_rate() {
        let begun = Instant::now();
        let meter = Meter::new(1, begun);
        assert!(meter.take(65_535, begun));
        assert!(!meter.take(1, begun));
        assert!(meter.take(1, begun + Duration::from_secs(1)));
    }
}
