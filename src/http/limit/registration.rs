//! Attempts to register: so many an hour from one address, whatever becomes of them, and wrong codes have to be waited for.

use std::net::IpAddr;
use std::time::Instant;

use super::{ByAddress, HOST, HOUR, Limits, prefix};
use crate::app::Limited;
use crate::app::abuse::{Attempt, Door, Guesses, Taken, Whom, Why};
use crate::http::error::ApiResult;

/// Wrong codes from one address that cost nothing: a class may register at once, each mistaken once.
const FREE: u32 = 10;

pub struct Registrations {
    attempts: ByAddress,
    codes: Guesses<IpAddr>,
}

impl Default for Registrations {
    fn default() -> Self {
        Registrations {
            attempts: ByAddress::per(HOUR),
            codes: Guesses::after(FREE),
        }
    }
}

impl Registrations {
    pub fn forgive(&self, whom: Whom) {
        if let Whom::Address(host) = whom {
            self.attempts.forget(host);
            self.codes.forget(&host);
        }
    }

    /// At another node.
    pub fn taken_there(&self, address: IpAddr, burst: u32, times: u32, now: Instant) {
        self.attempts.note(address, burst, times, now);
    }

    /// At another node, from a prefix; beyond a hundred they are waited for no longer.
    pub fn wrong_there(&self, host: &IpAddr, times: u32, now: Instant) {
        for _ in 0..times.min(100) {
            self.codes.wrong_one(host, now);
        }
    }

    pub fn sweep(&self, now: Instant) {
        self.attempts.sweep(now);
        self.codes.sweep(now);
    }
}

impl Limits {
    pub fn registration(&self, address: IpAddr) -> ApiResult<Registering<'_>> {
        let mut registering = Registering {
            limits: self,
            attempt: Attempt {
                door: Door::Registration,
                address,
                account: None,
            },
            code: false,
        };
        registering.begin()?;
        Ok(registering)
    }
}

/// An attempt that is being looked at: it has shown a wrong code only if that is said.
pub struct Registering<'a> {
    limits: &'a Limits,
    attempt: Attempt,
    code: bool,
}

impl Registering<'_> {
    fn begin(&mut self) -> ApiResult<()> {
        let (limits, address) = (self.limits, self.attempt.address);
        if !limits.are_enabled() {
            return Ok(());
        }
        limits.bar(self.attempt)?;
        let (ours, now) = (&limits.registrations, Instant::now());
        ours.codes
            .attempt(&prefix(address, HOST), now)
            .map_err(|wait| {
                limits.abuse.turned_away(self.attempt, Why::TooOften);
                limits.refuse(Limited::Registrations, wait)
            })?;
        self.code = true;
        ours.attempts
            .take(address, limits.rates().registrations, now)
            .map_err(|full| {
                match full.is_host {
                    true => limits.abuse.flood(self.attempt),
                    false => limits.abuse.turned_away(self.attempt, Why::TooOften),
                }
                limits.refuse(Limited::Registrations, full.wait)
            })?;
        limits.share(Taken::Registration(address));
        Ok(())
    }

    /// The code was wrong.
    pub fn wrong(mut self) {
        self.code = false;
        let host = prefix(self.attempt.address, HOST);
        self.limits.share(Taken::WrongCode(host));
        self.limits.abuse.wrong(self.attempt, true);
    }
}

impl Drop for Registering<'_> {
    fn drop(&mut self) {
        if self.code {
            let host = prefix(self.attempt.address, HOST);
            self.limits.registrations.codes.undo(&host);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{address, limits, limits_with, rates};
    use super::*;
    use crate::config::Rates;
    use crate::http::error::ApiError;

    #[test]
    fn wrong_codes_have_to_be_waited_for_and_right_ones_do_not() {
        let limits = limits();
        limits.change(Rates {
            registrations: 100,
            ..rates()
        });
        let here = address("192.0.2.1");
        for _ in 0..20 {
            limits.registration(here).unwrap();
        }
        for _ in 0..=FREE {
            limits.registration(here).unwrap().wrong();
        }
        assert!(matches!(
            limits.registration(here),
            Err(ApiError::RateLimited(_))
        ));
        limits.registration(address("192.0.2.2")).unwrap();
    }

    #[test]
    fn who_goes_on_is_banned_until_he_is_forgiven() {
        let limits = limits_with(5);
        let here = address("192.0.2.1");
        for _ in 0..6 {
            limits.registration(here).unwrap().wrong();
        }
        assert!(matches!(
            limits.registration(here),
            Err(ApiError::Banned(_))
        ));
        limits
            .sign_in(here, super::super::Account::User(1))
            .unwrap()
            .right();

        // A flood bans as well, and of a flood of its neighbours a host is not banned.
        for n in 0..40 {
            let neighbour = address(&format!("2001:db8:0:{}::1", n % 4));
            limits.registration(neighbour).unwrap();
        }
        for _ in 0..20 {
            assert!(matches!(
                limits.registration(address("2001:db8:0:99::1")),
                Err(ApiError::RateLimited(_))
            ));
        }
        let here = address("192.0.2.2");
        for _ in 0..10 {
            limits.registration(here).unwrap();
        }
        for _ in 0..6 {
            assert!(matches!(
                limits.registration(here),
                Err(ApiError::RateLimited(_))
            ));
        }
        assert!(matches!(
            limits.registration(here),
            Err(ApiError::Banned(_))
        ));
    }
}
