//! How often one may sign in, register, read, write and send. Users are told apart by who they are, strangers by their
//! addresses; what counts as an attempt to sign in is left to `sign_in`.

mod registration;
mod sign_in;

use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use moznods_storage::{HookId, UserId};

use super::Edge;
use super::error::{ApiError, ApiResult};
use crate::app::abuse::{Abuse, Attempt, Door, HOST, Rate, Taken, Whom, Why, Word};
use crate::app::{Limited, RateLimited};
use crate::config::Rates;
use registration::Registrations;
use sign_in::SignIns;

pub use crate::app::abuse::{Account, prefix};
pub use sign_in::Trial;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// Of which many IPv6 hosts are had for little.
const SITE: (u8, u8) = (32, 48);
/// How much more a site may than a host.
const HOSTS_PER_SITE: u32 = 4;
/// Behind one address, where nobody says who he is: how much more it may than a user.
const USERS_PER_ADDRESS: u32 = 20;

pub struct Limits {
    rates: RwLock<Rates>,
    refused: RateLimited,
    abuse: Arc<Abuse>,
    sign_ins: SignIns,
    registrations: Registrations,
    strangers: ByAddress,
    beginnings: ByAddress,
    writes: Rate<UserId>,
    reads: Rate<UserId>,
    uploads: Rate<UserId>,
    frames: Rate<UserId>,
    signals: Rate<UserId>,
    hooks: Rate<HookId>,
}

impl Limits {
    /// What is refused is counted in `refused`; what is wrong, by `abuse`.
    pub fn new(rates: Rates, refused: RateLimited, abuse: Arc<Abuse>) -> Arc<Self> {
        let limits = Arc::new(Limits {
            rates: RwLock::new(rates),
            refused,
            abuse: Arc::clone(&abuse),
            sign_ins: SignIns::default(),
            registrations: Registrations::default(),
            strangers: ByAddress::per(MINUTE),
            beginnings: ByAddress::per(MINUTE),
            writes: Rate::per(MINUTE),
            reads: Rate::per(MINUTE),
            uploads: Rate::per(MINUTE),
            frames: Rate::per(MINUTE),
            signals: Rate::per(MINUTE),
            hooks: Rate::per(MINUTE),
        });
        let hearing = Arc::downgrade(&limits);
        abuse.on_word(move |word| {
            if let Some(limits) = hearing.upgrade() {
                limits.hear(word);
            }
        });
        limits
    }

    /// Other rates hold from now on; what has been taken before stays taken.
    pub fn change(&self, rates: Rates) {
        *self.rates.write().unwrap_or_else(PoisonError::into_inner) = rates;
    }

    fn rates(&self) -> Rates {
        *self.rates.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn are_enabled(&self) -> bool {
        self.rates().enabled
    }

    /// Something that anybody may ask for, by somebody who does not say who he is, or lies.
    pub fn stranger(&self, address: IpAddr) -> ApiResult<()> {
        let burst = self.rates().reads.saturating_mul(USERS_PER_ADDRESS);
        self.of_address(&self.strangers, address, burst, Limited::Reads)?;
        self.share(Taken::Stranger(address));
        Ok(())
    }

    /// A way to somebody else who is to say who it is: something is kept until that is done.
    pub fn beginning(&self, address: IpAddr) -> ApiResult<()> {
        let burst = self.rates().api;
        self.of_address(&self.beginnings, address, burst, Limited::Api)?;
        self.share(Taken::Beginning(address));
        Ok(())
    }

    /// A message, a room, an invitation: what is stored.
    pub fn write(&self, user: UserId) -> ApiResult<()> {
        self.of_user(&self.writes, user, self.rates().api, Limited::Api)?;
        self.share(Taken::Write(user));
        Ok(())
    }

    /// Whatever else a user asks for; a socket, too.
    pub fn read(&self, user: UserId) -> ApiResult<()> {
        self.of_user(&self.reads, user, self.rates().reads, Limited::Reads)?;
        self.share(Taken::Read(user));
        Ok(())
    }

    /// A file, or the picture of an account.
    pub fn upload(&self, user: UserId) -> ApiResult<()> {
        self.of_user(&self.uploads, user, self.rates().uploads, Limited::Uploads)?;
        self.share(Taken::Upload(user));
        Ok(())
    }

    /// A frame by which something is stored.
    pub fn frame(&self, user: UserId) -> ApiResult<()> {
        self.of_user(&self.frames, user, self.rates().frames, Limited::Frames)?;
        self.share(Taken::Frame(user));
        Ok(())
    }

    /// A frame that is passed on, moves a mark or says nothing: calls send a lot of them at once. Other nodes are not told.
    pub fn signal(&self, user: UserId) -> ApiResult<()> {
        self.of_user(&self.signals, user, self.rates().signals, Limited::Signals)
    }

    /// What a program says by a webhook that is there: who has no secret takes nothing.
    pub fn hook(&self, hook: HookId) -> ApiResult<()> {
        self.of_user(&self.hooks, hook, self.rates().hooks, Limited::Hooks)?;
        self.share(Taken::Hook(hook));
        Ok(())
    }

    /// The user, who has proven it, asks from there.
    pub fn saw(&self, user: UserId, address: IpAddr) {
        let host = prefix(address, HOST);
        if self.sign_ins.saw(user, host) {
            let who = Account::User(user);
            self.abuse.shared.say(Word::Right(who, host));
        }
    }

    /// Refuses something that is to be asked for again after `wait`.
    pub fn refuse(&self, what: Limited, wait: Duration) -> ApiError {
        self.note(what);
        ApiError::RateLimited(wait)
    }

    /// Counts what is refused in another way.
    pub fn note(&self, what: Limited) {
        self.refused.count(what);
    }

    /// Refuses who is banned.
    fn bar(&self, attempt: Attempt) -> ApiResult<()> {
        let Some(left) = self.abuse.banned(attempt, Instant::now()) else {
            return Ok(());
        };
        self.abuse.turned_away(attempt, Why::Banned);
        self.note(Limited::Bans);
        Err(ApiError::Banned(left))
    }

    /// Other nodes count it as well.
    fn share(&self, taken: Taken) {
        if self.are_enabled() {
            self.abuse.shared.taken(taken);
        }
    }

    /// Another node says so, or a ban is lifted here.
    fn hear(&self, word: &Word) {
        match word {
            Word::Lifted(lift) => self.forgive(lift.door, lift.whom),
            Word::Right(Account::User(user), host) => self.sign_ins.right_there(*user, *host),
            Word::Right(..) | Word::Banned(_) => {}
            Word::Taken(all) => {
                let now = Instant::now();
                for (what, times) in all {
                    self.taken_there(*what, *times, now);
                }
            }
        }
    }

    fn taken_there(&self, what: Taken, times: u32, now: Instant) {
        let rates = self.rates();
        let of_strangers = rates.reads.saturating_mul(USERS_PER_ADDRESS);
        match what {
            Taken::Stranger(from) => self.strangers.note(from, of_strangers, times, now),
            Taken::Beginning(from) => self.beginnings.note(from, rates.api, times, now),
            Taken::Write(user) => self.writes.note(&user, rates.api, times, now),
            Taken::Read(user) => self.reads.note(&user, rates.reads, times, now),
            Taken::Upload(user) => self.uploads.note(&user, rates.uploads, times, now),
            Taken::Frame(user) => self.frames.note(&user, rates.frames, times, now),
            Taken::Hook(hook) => self.hooks.note(&hook, rates.hooks, times, now),
            Taken::Registration(from) => {
                self.registrations
                    .taken_there(from, rates.registrations, times, now);
            }
            Taken::WrongCode(host) => self.registrations.wrong_there(&host, times, now),
            Taken::SignIn(..)
            | Taken::WrongHere(..)
            | Taken::WrongEverywhere(_)
            | Taken::WrongFrom(_)
            | Taken::Code(_) => self.sign_ins.taken_there(what, rates.sign_in, times, now),
            // Is heard by the one who bans.
            Taken::Counted(_) => {}
        }
    }

    /// Whoever was banned has nothing to wait for.
    fn forgive(&self, door: Door, whom: Whom) {
        match door {
            Door::SignIn => self.sign_ins.forgive(whom),
            Door::Registration => self.registrations.forgive(whom),
            Door::Relay => {}
        }
    }

    fn of_user(
        &self,
        rate: &Rate<UserId>,
        user: UserId,
        burst: u32,
        what: Limited,
    ) -> ApiResult<()> {
        if !self.are_enabled() {
            return Ok(());
        }
        rate.take(&user, burst, Instant::now())
            .map_err(|wait| self.refuse(what, wait))
    }

    fn of_address(
        &self,
        rate: &ByAddress,
        address: IpAddr,
        burst: u32,
        what: Limited,
    ) -> ApiResult<()> {
        if !self.are_enabled() {
            return Ok(());
        }
        rate.take(address, burst, Instant::now())
            .map_err(|full| self.refuse(what, full.wait))
    }

    /// Forgets those who have nothing left to wait for.
    fn sweep(&self) {
        let now = Instant::now();
        self.abuse.sweep(now);
        self.sign_ins.sweep(now);
        self.registrations.sweep(now);
        for by_address in [&self.strangers, &self.beginnings] {
            by_address.sweep(now);
        }
        for by_user in [
            &self.writes,
            &self.reads,
            &self.uploads,
            &self.frames,
            &self.signals,
            &self.hooks,
        ] {
            by_user.sweep(now);
        }
    }
}

/// Nothing is left for now.
struct Full {
    wait: Duration,
    /// It is the host that has taken it, and not others at its site.
    is_host: bool,
}

/// For a host, and more for its site.
struct ByAddress {
    hosts: Rate<IpAddr>,
    sites: Rate<IpAddr>,
}

impl ByAddress {
    fn per(whole: Duration) -> Self {
        ByAddress {
            hosts: Rate::per(whole),
            sites: Rate::per(whole),
        }
    }

    fn take(&self, address: IpAddr, burst: u32, now: Instant) -> Result<(), Full> {
        let (host, site) = (prefix(address, HOST), prefix(address, SITE));
        let full = |is_host| move |wait| Full { wait, is_host };
        self.hosts.take(&host, burst, now).map_err(full(true))?;
        let of_site = self.sites.take(&site, of_site(burst), now);
        of_site
            .map_err(full(false))
            .inspect_err(|_| self.hosts.give_back(&host, burst))
    }

    /// So many were taken elsewhere.
    fn note(&self, address: IpAddr, burst: u32, times: u32, now: Instant) {
        self.hosts.note(&prefix(address, HOST), burst, times, now);
        self.sites
            .note(&prefix(address, SITE), of_site(burst), times, now);
    }

    fn give_back(&self, address: IpAddr, burst: u32) {
        self.hosts.give_back(&prefix(address, HOST), burst);
        self.sites.give_back(&prefix(address, SITE), of_site(burst));
    }

    fn forget(&self, host: IpAddr) {
        self.hosts.forget(&host);
    }

    fn sweep(&self, now: Instant) {
        self.hosts.sweep(now);
        self.sites.sweep(now);
    }
}

fn of_site(burst: u32) -> u32 {
    burst.saturating_mul(HOSTS_PER_SITE)
}

/// Sweeps every minute.
pub async fn sweep(edge: Arc<Edge>) {
    let mut minutes = tokio::time::interval(MINUTE);
    loop {
        minutes.tick().await;
        edge.limits.sweep();
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::app::abuse::NameHash;
    use crate::config::BanRules;

    pub fn rates() -> Rates {
        Rates {
            enabled: true,
            sign_in: 5,
            api: 100,
            reads: 600,
            frames: 60,
            signals: 1200,
            hooks: 30,
            uploads: 10,
            registrations: 10,
        }
    }

    pub fn limits() -> Arc<Limits> {
        limits_with(1_000_000)
    }

    /// Who bans beyond so many wrong attempts.
    pub fn limits_with(after: u32) -> Arc<Limits> {
        let rules = BanRules {
            enabled: true,
            after,
            first: HOUR,
            longest: HOUR,
        };
        Limits::new(
            rates(),
            RateLimited::default(),
            Abuse::new(rules, Vec::new(), NameHash::new("")),
        )
    }

    pub fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_is_limited_as_its_host_and_its_site() {
        let limits = limits();
        let register = |text: &str| limits.registration(address(text)).map(drop);
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
    fn rates_change_and_end_while_the_server_runs() {
        let limits = limits();
        let write = |times: usize| (0..times).take_while(|_| limits.write(1).is_ok()).count();
        assert!((100..110).contains(&write(1000)));
        limits.change(Rates { api: 1, ..rates() });
        assert_eq!(write(1000), 0, "what was taken stays taken");
        assert!((0..1000).take_while(|_| limits.write(2).is_ok()).count() == 1);
        limits.change(Rates {
            enabled: false,
            ..rates()
        });
        assert_eq!(write(2000), 2000);
        for _ in 0..2000 {
            limits.registration(address("192.0.2.1")).unwrap();
            limits.stranger(address("192.0.2.1")).unwrap();
            limits.signal(1).unwrap();
        }
    }

    /// What was taken at one node counts at another as well.
    #[tokio::test]
    async fn nodes_count_together_and_lift_together() {
        let (here, there) = (limits_with(5), limits_with(5));
        here.abuse.shared.begin();
        let tell = async || {
            for word in here.abuse.shared.next().await {
                // As it goes by the bus.
                let word = serde_json::to_string(&word).unwrap();
                there.abuse.hear(&serde_json::from_str(&word).unwrap());
            }
        };
        let from = address("192.0.2.1");
        (0..100).for_each(|_| here.write(1).unwrap());
        (0..10).for_each(|_| drop(here.registration(from).unwrap()));
        here.saw(7, from);
        tell().await;
        assert!(there.write(1).is_err() && there.write(2).is_ok());
        assert!(there.registration(from).is_err());
        there.abuse.wrong(
            Attempt {
                door: Door::Registration,
                address: from,
                account: None,
            },
            true,
        );

        for user in 100..106 {
            here.sign_in(from, Account::User(user)).unwrap().wrong();
            // So that the minute's are not what refuses.
            here.sign_ins.forgive(Whom::Address(prefix(from, HOST)));
        }
        tell().await;
        let refused = there.sign_in(from, Account::User(2)).err();
        assert!(matches!(refused, Some(ApiError::Banned(_))), "{refused:?}");
        there.sign_in(from, Account::User(7)).unwrap().right();
        assert_eq!(there.abuse.bans(), here.abuse.bans());
        let nobody = |limits: &Limits| limits.account("nobody", None);
        assert_eq!(nobody(&here), nobody(&there));

        let ban = here.abuse.bans()[0];
        here.abuse
            .shared
            .say(Word::Lifted(crate::app::abuse::Lift::of(&ban)));
        tell().await;
        assert!(there.abuse.bans().is_empty());
        there.sign_in(from, Account::User(2)).unwrap().right();
    }
}
