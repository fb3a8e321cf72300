//! Attempts to say who one is, and what they cost.
//!
//! - Wrong ones at an account from one address: after the second each has to be waited for longer.
//! - Wrong ones at an account from everywhere, but for addresses where its user was signed in before: the same, after
//!   many more. So nobody can lock a user out of where he is at home, and somebody with many addresses cannot go on.
//! - Wrong ones from one address, whatever the account, but for users who were signed in there before: so many a minute.
//!   Right ones cost nothing: there may be many people behind an address.
//! - All from one address to one account: so many a minute.
//! - Who goes on after all of that is banned (`app::abuse`), by address and by account, but for users where they were signed in.
//! - Wrong codes of a second factor at an account, wherever they come from: who guesses them has the password.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use moznods_storage::UserId;

use super::{Account, ByAddress, HOST, Limits, MINUTE, prefix};
use crate::app::Limited;
use crate::app::abuse::{Attempt, Door, Guesses, Known, Rate, Taken, Whom, Why, Word};
use crate::http::error::ApiResult;

/// Wrong ones at an account from one address that cost nothing.
const FREE: u32 = 2;
/// Wrong ones at an account from everywhere that cost nothing.
const FREE_IN_ALL: u32 = 50;
/// Wrong codes at once, which come back in [`CODES_BACK`].
const CODES: u32 = 10;
const CODES_BACK: Duration = Duration::from_secs(3000);

pub struct SignIns {
    here: Guesses<(Account, IpAddr)>,
    everywhere: Guesses<Account>,
    from: ByAddress,
    all: Rate<(Account, IpAddr)>,
    codes: Rate<UserId>,
    known: Known,
}

impl Default for SignIns {
    fn default() -> Self {
        SignIns {
            here: Guesses::after(FREE),
            everywhere: Guesses::after(FREE_IN_ALL),
            from: ByAddress::per(MINUTE),
            all: Rate::per(MINUTE),
            codes: Rate::per(CODES_BACK),
            known: Known::default(),
        }
    }
}

impl SignIns {
    /// At a prefix; whether it is news.
    pub fn saw(&self, user: UserId, host: IpAddr) -> bool {
        self.known.note(user, host, Instant::now())
    }

    /// Another node has seen him at the prefix.
    pub fn right_there(&self, user: UserId, host: IpAddr) {
        self.here.forget(&(Account::User(user), host));
        self.saw(user, host);
    }

    /// At another node.
    pub fn taken_there(&self, what: Taken, burst: u32, times: u32, now: Instant) {
        // Wrong ones beyond a hundred are waited for no longer.
        for _ in 0..times.min(100) {
            match what {
                Taken::WrongHere(account, host) => self.here.wrong_one(&(account, host), now),
                Taken::WrongEverywhere(account) => self.everywhere.wrong_one(&account, now),
                _ => {}
            }
        }
        match what {
            Taken::SignIn(account, host) => self.all.note(&(account, host), burst, times, now),
            Taken::WrongFrom(address) => self.from.note(address, burst, times, now),
            Taken::Code(user) => self.codes.note(&user, CODES, times, now),
            _ => {}
        }
    }

    pub fn forgive(&self, whom: Whom) {
        match whom {
            Whom::Address(host) => {
                self.from.forget(host);
                self.here.forget_where(|(_, from)| *from == host);
            }
            Whom::Account(account) => {
                self.everywhere.forget(&account);
                self.here.forget_where(|(of, _)| *of == account);
            }
        }
    }

    pub fn sweep(&self, now: Instant) {
        self.here.sweep(now);
        self.everywhere.sweep(now);
        self.from.sweep(now);
        self.all.sweep(now);
        self.codes.sweep(now);
        self.known.sweep(now);
    }
}

impl Limits {
    /// `known` is whose name it is.
    pub fn account(&self, name: &str, known: Option<UserId>) -> Account {
        known.map_or_else(
            || Account::Nobody(self.abuse.names.of(&name.to_lowercase())),
            Account::User,
        )
    }

    /// An attempt to sign in as `account`, or to prove that one is it.
    pub fn sign_in(&self, address: IpAddr, account: Account) -> ApiResult<Trial<'_>> {
        let mut trial = self.trial(address);
        trial.begin(account)?;
        Ok(trial)
    }

    /// An attempt with a secret that would say whose it is.
    pub fn link(&self, address: IpAddr) -> ApiResult<Trial<'_>> {
        let mut trial = self.trial(address);
        trial.take_from_address(Instant::now())?;
        Ok(trial)
    }

    /// An attempt that costs nothing yet.
    pub fn trial(&self, address: IpAddr) -> Trial<'_> {
        Trial {
            limits: self,
            address,
            burst: self.rates().sign_in,
            here: None,
            everywhere: None,
            from: false,
            code: None,
        }
    }
}

/// An attempt that is being looked at. What it has cost comes back when it ends without being said to be wrong.
#[must_use]
pub struct Trial<'a> {
    limits: &'a Limits,
    address: IpAddr,
    burst: u32,
    here: Option<Account>,
    everywhere: Option<Account>,
    from: bool,
    code: Option<UserId>,
}

impl Trial<'_> {
    fn begin(&mut self, account: Account) -> ApiResult<()> {
        let limits = self.limits;
        if !limits.are_enabled() {
            return Ok(());
        }
        let (now, ours) = (Instant::now(), &limits.sign_ins);
        let attempt = self.attempt(Some(account));
        let too_often = |what, wait| {
            limits.abuse.turned_away(attempt, Why::TooOften);
            limits.refuse(what, wait)
        };
        let wrong = |wait| too_often(Limited::Passwords, wait);
        let pair = self.pair(account);
        let is_home = matches!(account, Account::User(user) if ours.known.has(user, pair.1));
        if !is_home {
            limits.bar(attempt)?;
        }
        ours.here.attempt(&pair, now).map_err(wrong)?;
        self.here = Some(account);
        if !is_home {
            ours.everywhere.attempt(&account, now).map_err(wrong)?;
            self.everywhere = Some(account);
            self.take_from_address(now)?;
        }
        ours.all
            .take(&pair, self.burst, now)
            .map_err(|wait| too_often(Limited::SignIns, wait))?;
        limits.share(Taken::SignIn(pair.0, pair.1));
        Ok(())
    }

    fn take_from_address(&mut self, now: Instant) -> ApiResult<()> {
        if self.limits.are_enabled() {
            let from = &self.limits.sign_ins.from;
            from.take(self.address, self.burst, now).map_err(|full| {
                let attempt = self.attempt(self.here);
                self.limits.abuse.turned_away(attempt, Why::TooOften);
                self.limits.refuse(Limited::SignIns, full.wait)
            })?;
            self.from = true;
        }
        Ok(())
    }

    /// A code of the user's second factor comes with it.
    pub fn with_code(&mut self, user: UserId) -> ApiResult<()> {
        if self.limits.are_enabled() {
            let codes = &self.limits.sign_ins.codes;
            codes
                .take(&user, CODES, Instant::now())
                .map_err(|wait| self.limits.refuse(Limited::Codes, wait))?;
            self.code = Some(user);
        }
        Ok(())
    }

    /// It was the user.
    pub fn right(mut self) {
        if let Some(account) = self.here.take() {
            let pair = self.pair(account);
            self.limits.sign_ins.here.forget(&pair);
            if let Account::User(user) = account {
                let (sign_ins, host) = (&self.limits.sign_ins, pair.1);
                sign_ins.saw(user, host);
                let word = Word::Right(account, host);
                self.limits.abuse.shared.say(word);
            }
        }
    }

    /// The password was wrong.
    pub fn wrong(mut self) {
        let abuse = &self.limits.abuse;
        // What has cost the address nothing was somebody's who is at home there.
        abuse.wrong(self.attempt(self.here), self.from);
        let (here, everywhere) = (self.here.take(), self.everywhere.take());
        let here = here.map(|account| {
            let (account, host) = self.pair(account);
            Taken::WrongHere(account, host)
        });
        let from = std::mem::take(&mut self.from).then_some(Taken::WrongFrom(self.address));
        let everywhere = everywhere.map(Taken::WrongEverywhere);
        for what in [here, everywhere, from].into_iter().flatten() {
            self.limits.share(what);
        }
    }

    /// The code was.
    pub fn wrong_code(mut self) {
        if let Some(user) = self.code.take() {
            self.limits.share(Taken::Code(user));
        }
        self.wrong();
    }

    fn attempt(&self, account: Option<Account>) -> Attempt {
        Attempt {
            door: Door::SignIn,
            address: self.address,
            account,
        }
    }

    fn pair(&self, account: Account) -> (Account, IpAddr) {
        (account, prefix(self.address, HOST))
    }
}

impl Drop for Trial<'_> {
    fn drop(&mut self) {
        let ours = &self.limits.sign_ins;
        if let Some(account) = self.here {
            ours.here.undo(&self.pair(account));
        }
        if let Some(account) = self.everywhere {
            ours.everywhere.undo(&account);
        }
        if self.from {
            ours.from.give_back(self.address, self.burst);
        }
        if let Some(user) = self.code {
            ours.codes.give_back(&user, CODES);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{address, limits, limits_with, rates};
    use super::*;
    use crate::config::Rates;
    use crate::http::error::ApiError;

    const HERE: &str = "192.0.2.1";

    /// How many wrong passwords are looked at before one is not.
    fn wrong(limits: &Limits, from: impl Fn(usize) -> String, account: Account) -> usize {
        let attempt = |n| limits.sign_in(address(&from(n)), account).map(Trial::wrong);
        (0..10_000).take_while(|n| attempt(*n).is_ok()).count()
    }

    #[test]
    fn an_account_is_one_by_all_of_its_names() {
        let limits = limits();
        let alice = limits.account("Alice", Some(7));
        assert_eq!(alice, limits.account("alice@example.org", Some(7)));
        assert_eq!(limits.account("Bob", None), limits.account("bOB", None));
        assert_ne!(limits.account("bob", None), limits.account("eve", None));
    }

    #[test]
    fn who_guesses_waits_and_others_do_not() {
        let limits = limits();
        let alice = Account::User(7);
        assert_eq!(wrong(&limits, |_| HERE.into(), alice), 3);
        let refused = limits.sign_in(address(HERE), alice).err();
        assert!(
            matches!(refused, Some(ApiError::RateLimited(wait)) if wait.as_secs_f32() > 4.0),
            "{refused:?}"
        );
        limits.sign_in(address("192.0.2.2"), alice).unwrap().right();
        limits
            .sign_in(address(HERE), Account::User(8))
            .unwrap()
            .right();
    }

    #[test]
    fn many_at_once_are_no_way_around_it() {
        let limits = limits();
        let alice = Account::User(7);
        let open: Vec<_> = (0..10)
            .filter_map(|_| limits.sign_in(address(HERE), alice).ok())
            .collect();
        assert_eq!(open.len(), 3);
        drop(open);
        limits.sign_in(address(HERE), alice).unwrap().right();
    }

    #[test]
    fn who_has_many_addresses_waits_as_well_but_not_the_user_where_he_is_at_home() {
        let limits = limits();
        let alice = Account::User(7);
        limits.saw(7, address("2001:db8:1::1"));
        let from = |n: usize| format!("198.51.{}.{}", n / 250, n % 250);
        assert_eq!(wrong(&limits, from, alice), FREE_IN_ALL as usize + 1);
        assert!(limits.sign_in(address("203.0.113.1"), alice).is_err());
        let home = address("2001:db8:1::99");
        limits.sign_in(home, alice).unwrap().right();
        limits
            .sign_in(address(HERE), Account::User(8))
            .unwrap()
            .right();
        assert_eq!(wrong(&limits, |_| home.to_string(), alice), 3, "there, too");
    }

    #[test]
    fn an_address_has_so_many_wrong_ones_but_right_ones_cost_nothing() {
        let limits = limits();
        for user in 0..100 {
            let trial = limits.sign_in(address(HERE), Account::User(user));
            trial.unwrap().right();
        }
        for user in 100..105 {
            let trial = limits.sign_in(address(HERE), Account::User(user));
            trial.unwrap().wrong();
        }
        assert!(limits.sign_in(address(HERE), Account::User(105)).is_err());
        assert!(limits.link(address(HERE)).is_err());
        limits
            .sign_in(address(HERE), Account::User(1))
            .unwrap()
            .right();
        limits.link(address("192.0.2.2")).unwrap().right();
    }

    #[test]
    fn one_signs_in_so_often_and_no_more() {
        let limits = limits();
        let alice = Account::User(7);
        let right = || limits.sign_in(address(HERE), alice).map(Trial::right);
        assert_eq!((0..100).take_while(|_| right().is_ok()).count(), 5);
        limits.change(Rates {
            enabled: false,
            ..rates()
        });
        assert_eq!(wrong(&limits, |_| HERE.into(), alice), 10_000);
    }

    #[test]
    fn who_goes_on_is_banned_and_who_has_been_there_is_not() {
        let limits = limits_with(3);
        let here = address(HERE);
        limits.saw(1, here);
        for user in 100..104 {
            limits.sign_in(here, Account::User(user)).unwrap().wrong();
        }
        let refused = limits.sign_in(here, Account::User(2)).err();
        assert!(matches!(refused, Some(ApiError::Banned(_))), "{refused:?}");
        limits.sign_in(here, Account::User(1)).unwrap().right();
        // Links cannot be guessed: one is the way in that an administrator can give.
        limits.link(here).unwrap().right();
        limits.forgive(Door::SignIn, Whom::Address(here));
        assert!(
            limits.sign_in(here, Account::User(2)).is_err(),
            "the ban is lifted elsewhere"
        );

        // Whoever has been there may be wrong as often as he likes; he waits.
        let limits = limits_with(3);
        limits.saw(1, here);
        assert_eq!(wrong(&limits, |_| HERE.into(), Account::User(1)), 3);
        for _ in 0..100 {
            let _ = limits.sign_in(here, Account::User(1)).map(Trial::wrong);
        }
        limits.sign_in(here, Account::User(2)).unwrap().right();
    }

    #[test]
    fn an_account_that_many_guess_at_is_banned_but_not_at_home() {
        let limits = limits_with(5);
        let home = address("2001:db8:1::1");
        limits.saw(7, home);
        let from = |n: usize| format!("198.51.100.{n}");
        assert_eq!(wrong(&limits, from, Account::User(7)), 11);
        let refused = limits.sign_in(address(HERE), Account::User(7)).err();
        assert!(matches!(refused, Some(ApiError::Banned(_))), "{refused:?}");
        limits.sign_in(home, Account::User(7)).unwrap().right();
        // The same is true of a name that nobody has.
        let nobody = limits.account("nobody", None);
        assert_eq!(wrong(&limits, from, nobody), 11);
    }

    #[test]
    fn codes_are_counted_wherever_they_come_from() {
        let limits = limits();
        let with_code = |n: u8| {
            let mut trial = limits.trial([192, 0, 2, n].into());
            trial.with_code(7).map(|()| trial)
        };
        for n in 0..30 {
            with_code(n).unwrap().right();
        }
        for n in 0..10 {
            with_code(n).unwrap().wrong_code();
        }
        assert!(with_code(99).is_err());
    }
}
