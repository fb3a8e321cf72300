//! How many requests without valid credentials one source may send: token buckets in a table of fixed size.

use std::hash::{DefaultHasher, Hasher};
use std::net::IpAddr;
use std::time::Instant;

use super::Transport;

const BUCKETS: usize = 4096;
/// A bucket holds this many seconds' worth.
const BURST_SECONDS: f32 = 2.0;

/// Whether a client has shown that it receives what is sent to its address, by a stream's handshake or a nonce.
/// Those who have are counted apart, so that a flood with a forged source does not shut them out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Address {
    Unproven,
    Proven,
}

impl Address {
    pub fn by_transport(transport: Transport) -> Self {
        match transport {
            Transport::Udp => Address::Unproven,
            Transport::Tcp | Transport::Tls => Address::Proven,
        }
    }
}

#[derive(Clone, Copy)]
struct Bucket {
    tokens: f32,
    filled: Option<Instant>,
}

/// Sources share a bucket by [`prefix`], and by hash: a flood from one leaves nearly all others alone.
pub(super) struct Limiter {
    per_second: f32,
    /// Keeps outsiders from finding networks that share a bucket.
    secret: u128,
    buckets: Vec<Bucket>,
}

/// The network that a limit goes by: /24 of IPv4, /56 of IPv6.
pub fn prefix(ip: IpAddr) -> u64 {
    match ip {
        IpAddr::V4(ip) => u64::from(ip.to_bits() >> 8),
        IpAddr::V6(ip) => 1 << 63 | (ip.to_bits() >> 72) as u64,
    }
}

impl Limiter {
    /// `per_second` of 0: no limit.
    pub fn new(per_second: u32, secret: u128) -> Self {
        let empty = Bucket {
            tokens: 0.0,
            filled: None,
        };
        Limiter {
            per_second: per_second as f32,
            secret,
            buckets: vec![empty; if per_second == 0 { 0 } else { BUCKETS }],
        }
    }

    /// Takes one; false when there is none left.
    pub fn take(&mut self, ip: IpAddr, address: Address, now: Instant) -> bool {
        let Some(bucket) = self.bucket(ip, address, now) else {
            return true;
        };
        let left = bucket.tokens >= 1.0;
        if left {
            bucket.tokens -= 1.0;
        }
        left
    }

    /// Whether there is one left to take.
    pub fn has(&mut self, ip: IpAddr, address: Address, now: Instant) -> bool {
        self.bucket(ip, address, now)
            .is_none_or(|bucket| bucket.tokens >= 1.0)
    }

    fn bucket(&mut self, ip: IpAddr, address: Address, now: Instant) -> Option<&mut Bucket> {
        let mut hasher = DefaultHasher::new();
        hasher.write_u128(self.secret);
        hasher.write_u64(prefix(ip));
        // Each kind has a half of the table.
        let place = hasher.finish() as usize % (BUCKETS / 2) * 2 + address as usize;
        let bucket = self.buckets.get_mut(place)?;
        let full = self.per_second * BURST_SECONDS;
        bucket.tokens = match bucket.filled {
            Some(filled) => {
                let passed = now.saturating_duration_since(filled).as_secs_f32();
                (bucket.tokens + passed * self.per_second).min(full)
            }
            None => full,
        };
        bucket.filled = Some(now);
        Some(bucket)
    }
}
