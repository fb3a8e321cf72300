//! How often one may try to sign in and to register.

use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::state::keyed::DefaultKeyedStateStore;
use governor::{Quota, RateLimiter};

use super::Edge;
use super::error::{ApiError, ApiResult};

type Keyed<K> = RateLimiter<K, DefaultKeyedStateStore<K>, DefaultClock>;

pub struct Limits {
    sign_in_by_address: Keyed<IpAddr>,
    sign_in_by_account: Keyed<String>,
    registration: Keyed<IpAddr>,
    clock: DefaultClock,
}

impl Limits {
    pub fn new() -> Self {
        Limits {
            sign_in_by_address: RateLimiter::keyed(quota(20, Duration::from_secs(6))),
            sign_in_by_account: RateLimiter::keyed(quota(10, Duration::from_secs(20))),
            registration: RateLimiter::keyed(quota(10, Duration::from_secs(60))),
            clock: DefaultClock::default(),
        }
    }

    /// An attempt to sign in as `account`, by whatever name.
    pub fn sign_in(&self, address: Option<IpAddr>, account: &str) -> ApiResult<()> {
        if let Some(address) = address {
            self.check(&self.sign_in_by_address, &prefix(address))?;
        }
        self.check(&self.sign_in_by_account, &account.to_lowercase())
    }

    pub fn registration(&self, address: Option<IpAddr>) -> ApiResult<()> {
        match address {
            Some(address) => self.check(&self.registration, &prefix(address)),
            None => Ok(()),
        }
    }

    fn check<K: Clone + Eq + std::hash::Hash>(&self, limiter: &Keyed<K>, key: &K) -> ApiResult<()> {
        limiter
            .check_key(key)
            .map_err(|not_until| ApiError::RateLimited(not_until.wait_time_from(self.clock.now())))
    }
}

/// Forgets, every minute, those who have nothing left to wait for.
pub async fn sweep(edge: Arc<Edge>) {
    let Some(limits) = &edge.limits else {
        return;
    };
    let mut minutes = tokio::time::interval(Duration::from_secs(60));
    loop {
        minutes.tick().await;
        limits.sign_in_by_address.retain_recent();
        limits.sign_in_by_account.retain_recent();
        limits.registration.retain_recent();
    }
}

/// `burst` at once, and one more each `period`.
fn quota(burst: u32, period: Duration) -> Quota {
    Quota::with_period(period)
        .unwrap_or_else(|| Quota::per_second(NonZeroU32::MIN))
        .allow_burst(NonZeroU32::new(burst).unwrap_or(NonZeroU32::MIN))
}

/// Whoever has an IPv6 address has 2^64 of them.
fn prefix(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => Ipv6Addr::from(u128::from(v6) & !u128::from(u64::MAX)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_limited_as_its_prefix_and_an_account_by_any_case() {
        let limits = Limits::new();
        let address = |text: &str| Some(text.parse().unwrap());
        for n in 0..10 {
            limits
                .registration(address(&format!("2001:db8::{n}")))
                .unwrap();
        }
        assert!(matches!(
            limits.registration(address("2001:db8::ffff")),
            Err(ApiError::RateLimited(wait)) if wait > Duration::ZERO
        ));
        limits.registration(address("2001:db8:0:1::1")).unwrap();

        for n in 0..10 {
            limits
                .sign_in(address(&format!("192.0.2.{n}")), "Alice")
                .unwrap();
        }
        assert!(limits.sign_in(address("192.0.2.99"), "aLICE").is_err());
        limits.sign_in(address("192.0.2.99"), "bob").unwrap();
    }
}
