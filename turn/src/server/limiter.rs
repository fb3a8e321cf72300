//! How many requests without valid credentials one source may send: token buckets in a table of fixed size.

use std::hash::{BuildHasher, Hasher};
use std::net::IpAddr;
use std::time::Instant;

const BUCKETS: usize = 4096;
/// A bucket holds this many seconds' worth.
const BURST_SECONDS: f32 = 2.0;

#[derive(Clone, Copy)]
struct Bucket {
    tokens: f32,
    filled: Option<Instant>,
}

/// Sources share a bucket by /24 or /56, and by hash: a flood from one prefix leaves nearly all others alone.
pub(super) struct Limiter {
    per_second: f32,
    hasher: std::hash::RandomState,
    buckets: Vec<Bucket>,
}

impl Limiter {
    /// `per_second` of 0: no limit.
    pub fn new(per_second: u32) -> Self {
        let empty = Bucket {
            tokens: 0.0,
            filled: None,
        };
        Limiter {
            per_second: per_second as f32,
            hasher: Default::default(),
            buckets: vec![empty; if per_second == 0 { 0 } else { BUCKETS }],
        }
    }

    /// Takes one; false when there is none left.
    pub fn take(&mut self, ip: IpAddr, now: Instant) -> bool {
        let prefix = match ip {
            IpAddr::V4(ip) => u64::from(ip.to_bits() >> 8),
            IpAddr::V6(ip) => 1 << 63 | (ip.to_bits() >> 72) as u64,
        };
        let mut hasher = self.hasher.build_hasher();
        hasher.write_u64(prefix);
        let index = hasher.finish() as usize % BUCKETS;
        let Some(bucket) = self.buckets.get_mut(index) else {
            return true;
        };
        let full = self.per_second * BURST_SECONDS;
        bucket.tokens = match bucket.filled {
            Some(filled) => {
                let passed = now.saturating_duration_since(filled).as_secs_f32();
                (bucket.tokens + passed * self.per_second).min(full)
            }
            None => full,
        };
        bucket.filled = Some(now);
        let left = bucket.tokens >= 1.0;
        if left {
            bucket.tokens -= 1.0;
        }
        left
    }
}
