//! How often one may try to sign in, register and write.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use governor::clock::{Clock, DefaultClock};
use governor::state::keyed::DefaultKeyedStateStore;
use governor::{Quota, RateLimiter};
use moznods_storage::UserId;

use super::Edge;
use super::error::{ApiError, ApiResult};

type Keyed<K> = RateLimiter<K, DefaultKeyedStateStore<K>, DefaultClock>;

/// Bits of an address that one may change at will: none of IPv4, the lower half of IPv6.
const HOST: (u8, u8) = (32, 64);
/// Of which many IPv6 hosts are had for little.
const SITE: (u8, u8) = (32, 48);
/// How much more a site may than a host.
const HOSTS_PER_SITE: u32 = 4;

pub struct Limits {
    enabled: bool,
    sign_in_by_address: ByAddress,
    sign_in_by_account: Keyed<(Account, IpAddr)>,
    /// Wide: whoever wants to lock somebody out needs many addresses.
    failures: Keyed<Account>,
    /// Narrow: who guesses codes of a second factor has the password.
    wrong_codes: Keyed<UserId>,
    failed_too_often: Mutex<HashMap<Account, Instant>>,
    registration: ByAddress,
    writes: Keyed<UserId>,
    uploads: Keyed<UserId>,
    signals: Keyed<UserId>,
    clock: DefaultClock,
    hasher: RandomState,
}

/// Whom somebody tries to sign in as, by whatever name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Account {
    Known(UserId),
    /// A hash of the name, however long that was.
    Unknown(u64),
    /// The second factor of somebody whose password is known.
    SecondFactor(UserId),
}

impl Limits {
    pub fn new(enabled: bool) -> Self {
        Limits {
            enabled,
            sign_in_by_address: ByAddress::new(20, Duration::from_secs(6)),
            sign_in_by_account: RateLimiter::keyed(quota(10, Duration::from_secs(20))),
            failures: RateLimiter::keyed(quota(200, Duration::from_secs(20))),
            wrong_codes: RateLimiter::keyed(quota(10, Duration::from_secs(300))),
            failed_too_often: Mutex::default(),
            registration: ByAddress::new(10, Duration::from_secs(60)),
            writes: RateLimiter::keyed(quota(60, Duration::from_secs(1))),
            uploads: RateLimiter::keyed(quota(10, Duration::from_secs(6))),
            signals: RateLimiter::keyed(quota(1200, Duration::from_millis(50))),
            clock: DefaultClock::default(),
            hasher: RandomState::new(),
        }
    }

    /// An attempt to sign in, as whomever.
    pub fn sign_in_from(&self, address: IpAddr) -> ApiResult<()> {
        self.check_address(&self.sign_in_by_address, address)
    }

    /// An attempt to sign in as `account`.
    pub fn sign_in(&self, address: IpAddr, account: Account) -> ApiResult<()> {
        self.may_try(account)?;
        self.check(&self.sign_in_by_account, (account, prefix(address, HOST)))
    }

    fn may_try(&self, account: Account) -> ApiResult<()> {
        let now = Instant::now();
        match self.failed_too_often().get(&account) {
            Some(end) if *end > now => Err(ApiError::RateLimited(*end - now)),
            _ => Ok(()),
        }
    }

    /// An attempt with a code of a user's second factor.
    pub fn code(&self, user: UserId) -> ApiResult<()> {
        self.may_try(Account::SecondFactor(user))
    }

    /// The code was wrong.
    pub fn code_failed(&self, user: UserId) {
        if let Err(ApiError::RateLimited(wait)) = self.check(&self.wrong_codes, user) {
            self.failed_too_often()
                .insert(Account::SecondFactor(user), Instant::now() + wait);
        }
    }

    /// The attempt had the wrong password.
    pub fn sign_in_failed(&self, account: Account) {
        if let Err(ApiError::RateLimited(wait)) = self.check(&self.failures, account) {
            self.failed_too_often()
                .insert(account, Instant::now() + wait);
        }
    }

    /// `known` is whose name it is.
    pub fn account(&self, name: &str, known: Option<UserId>) -> Account {
        known.map_or_else(
            || Account::Unknown(self.hasher.hash_one(name.to_lowercase())),
            Account::Known,
        )
    }

    pub fn registration(&self, address: IpAddr) -> ApiResult<()> {
        self.check_address(&self.registration, address)
    }

    /// A message, a room, an invitation: what is stored.
    pub fn write(&self, user: UserId) -> ApiResult<()> {
        self.check(&self.writes, user)
    }

    /// A file, or the picture of an account.
    pub fn upload(&self, user: UserId) -> ApiResult<()> {
        self.check(&self.uploads, user)
    }

    /// What is passed on or moves a mark: calls send a lot of it at once.
    pub fn signal(&self, user: UserId) -> ApiResult<()> {
        self.check(&self.signals, user)
    }

    fn check_address(&self, limiter: &ByAddress, address: IpAddr) -> ApiResult<()> {
        self.check(&limiter.hosts, prefix(address, HOST))?;
        self.check(&limiter.sites, prefix(address, SITE))
    }

    fn check<K: Clone + Eq + Hash>(&self, limiter: &Keyed<K>, key: K) -> ApiResult<()> {
        if !self.enabled {
            return Ok(());
        }
        limiter
            .check_key(&key)
            .map_err(|not_until| ApiError::RateLimited(not_until.wait_time_from(self.clock.now())))
    }

    fn failed_too_often(&self) -> MutexGuard<'_, HashMap<Account, Instant>> {
        self.failed_too_often
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets those who have nothing left to wait for.
    fn sweep(&self) {
        self.sign_in_by_address.retain_recent();
        self.sign_in_by_account.retain_recent();
        self.failures.retain_recent();
        self.wrong_codes.retain_recent();
        let now = Instant::now();
        self.failed_too_often().retain(|_, end| *end > now);
        self.registration.retain_recent();
        self.writes.retain_recent();
        self.uploads.retain_recent();
        self.signals.retain_recent();
    }
}

struct ByAddress {
    hosts: Keyed<IpAddr>,
    sites: Keyed<IpAddr>,
}

impl ByAddress {
    /// For a host, `burst` at once, and one more each `period`.
    fn new(burst: u32, period: Duration) -> Self {
        ByAddress {
            hosts: RateLimiter::keyed(quota(burst, period)),
            sites: RateLimiter::keyed(quota(burst * HOSTS_PER_SITE, period / HOSTS_PER_SITE)),
        }
    }

    fn retain_recent(&self) {
        self.hosts.retain_recent();
        self.sites.retain_recent();
    }
}

/// Sweeps every minute.
pub async fn sweep(edge: Arc<Edge>) {
    let mut minutes = tokio::time::interval(Duration::from_secs(60));
    loop {
        minutes.tick().await;
        edge.limits.sweep();
    }
}

/// `burst` at once, and one more each `period`.
fn quota(burst: u32, period: Duration) -> Quota {
    Quota::with_period(period)
        .unwrap_or_else(|| Quota::per_second(NonZeroU32::MIN))
        .allow_burst(NonZeroU32::new(burst).unwrap_or(NonZeroU32::MIN))
}

/// The address without what stands behind its first bits, of which there are so many for IPv4 and for IPv6.
pub fn prefix(address: IpAddr, (v4, v6): (u8, u8)) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.unbounded_shl(32 - u32::from(v4));
            Ipv4Addr::from(u32::from(address) & mask).into()
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.unbounded_shl(128 - u32::from(v6));
            Ipv6Addr::from(u128::from(address) & mask).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_is_limited_as_its_host_and_its_site() {
        let limits = Limits::new(true);
        let register = |text: &str| limits.registration(address(text));
        for n in 0..10 {
            register(&format!("2001:db8::{n}")).unwrap();
        }
        assert!(matches!(
            register("2001:db8::ffff"),
            Err(ApiError::RateLimited(wait)) if wait > Duration::ZERO
        ));
        for n in 10..40 {
            register(&format!("2001:db8:0:{n}::1")).unwrap();
        }
        assert!(register("2001:db8:0:99::1").is_err(), "the same /48");
        register("2001:db8:1::1").unwrap();
        for n in 0..10 {
            register("192.0.2.1").unwrap();
            register(&format!("192.0.2.{}", n + 2)).unwrap();
        }
        assert!(register("192.0.2.1").is_err());
    }

    #[test]
    fn an_account_is_limited_by_where_one_asks_from() {
        let limits = Limits::new(true);
        let alice = limits.account("Alice", Some(7));
        assert_eq!(alice, limits.account("alice@example.org", Some(7)));
        assert_eq!(limits.account("Bob", None), limits.account("bOB", None));
        assert_ne!(limits.account("bob", None), limits.account("eve", None));
        let (attacker, victim) = (address("192.0.2.1"), address("192.0.2.2"));
        while limits.sign_in(attacker, alice).is_ok() {}
        limits.sign_in(victim, alice).unwrap();
        limits
            .sign_in(attacker, limits.account("bob", None))
            .unwrap();

        for _ in 0..200 {
            limits.sign_in_failed(alice);
        }
        limits.sign_in(victim, alice).unwrap();
        limits.sign_in_failed(alice);
        assert!(limits.sign_in(victim, alice).is_err());
    }

    #[test]
    fn nothing_is_limited_when_switched_off() {
        let limits = Limits::new(false);
        for _ in 0..2000 {
            limits.sign_in_from(address("192.0.2.1")).unwrap();
            limits.write(1).unwrap();
            limits.signal(1).unwrap();
        }
    }
}
