//! Who tries too often what he has no right to: to sign in, to register, to relay. What comes out wrong is counted by address
//! and by account; whoever goes on beyond a number is banned for a while. A line of the log says of each, for programs that
//! watch it.
//!
//! A ban must not be a weapon. It is of what can be guessed alone: tokens, links and relay credentials of ours are looked at as
//! ever, so whoever is signed in goes on, and so does what is relayed. Nor does it hold for an account where its user, or a
//! device, has been before. What is counted has come from an address that receives what is sent to it.

mod bans;
mod guesses;
mod known;
mod lines;
mod rate;
mod relay;
mod shared;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};

use ipnet::IpNet;
use moznods_storage::{AuditTarget, RelayOwner, UserId};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::audit::{Action, Actor};
use super::metrics::AbuseFigures;
use super::nodes;
use super::{App, Refusal, Result};
use crate::config::BanRules;
use bans::Bans;
pub use bans::{Ban, Lift, Whom};
pub use guesses::Guesses;
pub use known::Known;
use lines::Lines;
pub use rate::Rate;
use shared::Shared;
pub use shared::{NameHash, Taken, Word};

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Bits of an address that one may change at will: none of IPv4, the lower half of IPv6.
pub const HOST: (u8, u8) = (32, 64);
/// How much more may be wrong at an account, from everywhere and in a day, than from an address in an hour.
const ADDRESSES_OF_ACCOUNT: u32 = 2;

/// How often other nodes are told what was taken.
const SHARED_EVERY: Duration = Duration::from_millis(200);

/// What somebody wants to be let in by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Door {
    SignIn,
    Registration,
    Relay,
}

impl Door {
    pub const ALL: [Door; 3] = [Door::SignIn, Door::Registration, Door::Relay];

    /// In lines of the log, in figures and in the API: for good.
    pub fn word(self) -> &'static str {
        match self {
            Door::SignIn => "sign_in",
            Door::Registration => "registration",
            Door::Relay => "turn",
        }
    }
}

/// Whom somebody says that he is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Account {
    User(UserId),
    /// Of the relay.
    Device(i64),
    /// A hash of a name that nobody has: who has one must not show.
    Nobody(u64),
}

impl Account {
    /// As those of the relay are called.
    pub fn owner(self) -> Option<RelayOwner> {
        match self {
            Account::User(id) => Some(RelayOwner::User(id)),
            Account::Device(id) => Some(RelayOwner::Device(id)),
            Account::Nobody(_) => None,
        }
    }
}

impl fmt::Display for Account {
    /// No name: strangers choose those.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Account::User(id) => write!(f, "user:{id}"),
            Account::Device(id) => write!(f, "device:{id}"),
            Account::Nobody(_) => f.write_str("nobody"),
        }
    }
}

/// Why somebody was not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// What he showed was wrong.
    Wrong,
    /// He has come too often, and was not looked at.
    TooOften,
    Banned,
}

impl Why {
    pub const ALL: [Why; 3] = [Why::Wrong, Why::TooOften, Why::Banned];

    /// In lines of the log and in figures: for good.
    pub fn word(self) -> &'static str {
        match self {
            Why::Wrong => "wrong",
            Why::TooOften => "too_often",
            Why::Banned => "banned",
        }
    }
}

/// Somebody who was not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Attempt {
    pub door: Door,
    pub address: IpAddr,
    pub account: Option<Account>,
}

/// What the edge does about a word.
type Edge = Box<dyn Fn(&Word) + Send + Sync>;

/// One for the process; the edge, the relay and administrators share it.
pub struct Abuse {
    rules: RwLock<BanRules>,
    /// Proxies and balancers.
    fronts: Vec<IpNet>,
    bans: Bans,
    by_address: Rate<(Door, IpAddr)>,
    by_account: Rate<Account>,
    /// Wrong passwords of devices.
    devices: Guesses<(Account, IpAddr)>,
    /// Where devices have been since the start.
    homes: Known,
    pub names: NameHash,
    pub shared: Shared,
    edge: OnceLock<Edge>,
    lines: Lines,
    pub figures: AbuseFigures,
}

impl Abuse {
    /// `fronts` are those who pass on what others ask, and do not always say for whom.
    pub fn new(rules: BanRules, fronts: Vec<IpNet>, names: NameHash) -> Arc<Self> {
        Arc::new(Abuse {
            rules: RwLock::new(rules),
            fronts,
            bans: Bans::default(),
            by_address: Rate::per(HOUR),
            by_account: Rate::per(DAY),
            devices: Guesses::after(relay::FREE),
            homes: Known::default(),
            names,
            shared: Shared::default(),
            edge: OnceLock::new(),
            lines: Lines::default(),
            figures: AbuseFigures::new(),
        })
    }

    /// Other rules hold from now on; bans that there are go on.
    pub fn change(&self, rules: BanRules) {
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = rules;
    }

    fn rules(&self) -> BanRules {
        *self.rules.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long this is yet to be refused, by the address or by the account.
    pub fn banned(&self, attempt: Attempt, now: Instant) -> Option<Duration> {
        if !self.rules().enabled {
            return None;
        }
        let host = self.countable(attempt.address).map(Whom::Address);
        let of_address = host.and_then(|host| self.bans.left(attempt.door, host, now));
        let account = attempt.account.map(Whom::Account);
        let of_account = account.and_then(|account| self.bans.left(attempt.door, account, now));
        of_address.max(of_account)
    }

    /// It was not looked at.
    pub fn turned_away(&self, attempt: Attempt, why: Why) {
        self.figures.refused(attempt.door, why);
        self.lines.refused(attempt, why, Instant::now());
    }

    /// It was looked at, and wrong. `counts` is false for who is at home there.
    pub fn wrong(&self, attempt: Attempt, counts: bool) {
        self.turned_away(attempt, Why::Wrong);
        if counts {
            self.count(attempt, Instant::now());
        }
    }

    /// It is of a flood, whatever it would have been.
    pub fn flood(&self, attempt: Attempt) {
        self.turned_away(attempt, Why::TooOften);
        self.count(attempt, Instant::now());
    }

    fn count(&self, attempt: Attempt, now: Instant) {
        let rules = self.rules();
        if !rules.enabled || rules.after == 0 {
            return;
        }
        self.shared.taken(Taken::Counted(attempt));
        let door = attempt.door;
        if let Some(host) = self.countable(attempt.address) {
            let rate = &self.by_address;
            if rate.take(&(door, host), rules.after, now).is_err() {
                self.ban(door, Whom::Address(host), rules, now);
            }
        }
        let of_account = rules.after.saturating_mul(ADDRESSES_OF_ACCOUNT);
        // A device knows no other way in, and where it is at home is forgotten with each start: a stranger could keep it out.
        if door != Door::Relay
            && let Some(account) = attempt.account
            && self.by_account.take(&account, of_account, now).is_err()
        {
            self.ban(door, Whom::Account(account), rules, now);
        }
    }

    /// By what an address counts, unless it stands for everybody. So does what is on this machine, named or not.
    fn countable(&self, address: IpAddr) -> Option<IpAddr> {
        let is_front = self.fronts.iter().any(|net| net.contains(&address));
        (!is_front && !address.is_loopback()).then(|| prefix(address, HOST))
    }

    fn ban(&self, door: Door, whom: Whom, rules: BanRules, now: Instant) {
        let is_shared = self.shared.is_on();
        if let Some((ban, length)) = self.bans.begin(door, whom, rules, is_shared, now) {
            self.figures.banned(door, whom);
            lines::banned(door, whom, length);
            self.shared.say(Word::Banned(ban));
        }
    }

    /// Those in force of whom there is something to show, the newest first.
    pub fn bans(&self) -> Vec<Ban> {
        let mut bans = self.bans.all(Instant::now());
        bans.retain(|ban| !matches!(ban.whom, Whom::Account(Account::Nobody(_))));
        bans
    }

    /// Ends a ban, and forgets what has led to it. Whether it was in force.
    fn lift(&self, lift: &Lift) -> bool {
        let Some(was_there) = self.bans.lift(lift, Instant::now()) else {
            return false;
        };
        match lift.whom {
            Whom::Address(host) => {
                self.by_address.forget(&(lift.door, host));
                self.devices.forget_where(|(_, from)| *from == host);
            }
            Whom::Account(account) => {
                self.by_account.forget(&account);
            }
        }
        self.tell_edge(&Word::Lifted(*lift));
        was_there
    }

    /// The edge, of which there is one, is told what other nodes say, and of each ban that is lifted.
    pub fn on_word(&self, edge: impl Fn(&Word) + Send + Sync + 'static) {
        let _ = self.edge.set(Box::new(edge));
    }

    fn tell_edge(&self, word: &Word) {
        if let Some(edge) = self.edge.get() {
            edge(word);
        }
    }

    /// Another node says so. Bans begin where somebody goes too far; the others are told.
    pub fn hear(&self, word: &Word) {
        let now = Instant::now();
        match word {
            Word::Lifted(lift) => {
                self.lift(lift);
                return;
            }
            Word::Banned(ban) => self.bans.adopt(ban, now),
            Word::Taken(all) => {
                for (what, times) in all {
                    if let Taken::Counted(attempt) = what {
                        self.count_there(*attempt, *times, now);
                    }
                }
            }
            Word::Right(Account::Device(id), host) => {
                self.devices.forget(&(Account::Device(*id), *host));
                self.homes.note(*id, *host, now);
            }
            Word::Right(..) => {}
        }
        self.tell_edge(word);
    }

    /// As [`Self::count`], of what was wrong at another node.
    fn count_there(&self, attempt: Attempt, times: u32, now: Instant) {
        let rules = self.rules();
        if !rules.enabled || rules.after == 0 {
            return;
        }
        if let Some(host) = self.countable(attempt.address) {
            let key = (attempt.door, host);
            self.by_address.note(&key, rules.after, times, now);
        }
        if let (true, Some(account)) = (attempt.door != Door::Relay, attempt.account) {
            let of_account = rules.after.saturating_mul(ADDRESSES_OF_ACCOUNT);
            self.by_account.note(&account, of_account, times, now);
        }
    }

    /// What holds, for a node that does not know it.
    pub fn say_again(&self) {
        for lift in self.bans.lifted() {
            self.shared.say(Word::Lifted(lift));
        }
        for ban in self.bans.all(Instant::now()) {
            self.shared.say(Word::Banned(ban));
        }
    }

    /// To be called now and then: forgets what has no meaning any more.
    pub fn sweep(&self, now: Instant) {
        self.bans.sweep(now);
        self.by_address.sweep(now);
        self.by_account.sweep(now);
        self.devices.sweep(now);
        self.homes.sweep(now);
    }
}

/// A ban, and what people call the account.
#[derive(Debug)]
pub struct BanSeen {
    pub ban: Ban,
    pub account: Option<(RelayOwner, Option<String>)>,
}

impl App {
    /// Those in force, the newest first.
    pub async fn abuse_bans(&self) -> Result<Vec<BanSeen>> {
        let names = self.relay_owner_names().await?;
        let seen = self.abuse.bans().into_iter().map(|ban| {
            let owner = match ban.whom {
                Whom::Account(account) => account.owner(),
                Whom::Address(_) => None,
            };
            let account = owner.map(|owner| (owner, names.get(&owner).cloned()));
            BanSeen { ban, account }
        });
        Ok(seen.collect())
    }

    /// Tells other nodes what they are to know of attempts, as long as the server runs.
    pub(super) async fn tell_attempts(self: Arc<Self>) {
        loop {
            for word in self.abuse.shared.next().await {
                self.tell_nodes(&nodes::Word::Abuse(word));
            }
            tokio::time::sleep(SHARED_EVERY).await;
        }
    }

    /// Ends a ban, at all nodes.
    pub async fn lift_abuse_ban(&self, by: Actor<'_>, id: u64) -> Result<()> {
        let all = self.abuse_bans().await?;
        let found = all.iter().find(|seen| seen.ban.id == id);
        let BanSeen { ban, account } = found.ok_or(Refusal::NotFound)?;
        let name = match ban.whom {
            Whom::Address(host) => network(host),
            Whom::Account(_) => account
                .as_ref()
                .and_then(|(_, name)| name.clone())
                .unwrap_or_default(),
        };
        let details = json!({"what": ban.door.word(), "times": ban.times});
        self.note(by, Action::BanLift, AuditTarget::Ban(name), details)
            .await?;
        let lift = Lift::of(ban);
        if !self.abuse.lift(&lift) {
            return Err(Refusal::NotFound.into());
        }
        self.abuse.shared.say(Word::Lifted(lift));
        Ok(())
    }
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

/// What a [`prefix`] of [`HOST`] is of: an address of IPv4, a /64 of IPv6.
pub fn network(host: IpAddr) -> String {
    match host {
        IpAddr::V4(host) => host.to_string(),
        IpAddr::V6(host) => format!("{host}/{}", HOST.1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: BanRules = BanRules {
        enabled: true,
        after: 5,
        first: Duration::from_secs(900),
        longest: Duration::from_secs(3600),
    };

    fn from(address: &str, account: Option<Account>) -> Attempt {
        Attempt {
            door: Door::SignIn,
            address: address.parse().unwrap(),
            account,
        }
    }

    #[test]
    fn who_goes_on_is_banned_and_nobody_else() {
        let abuse = Abuse::new(RULES, Vec::new(), NameHash::new(""));
        let now = Instant::now();
        let bad = from("2001:db8:1::1", None);
        for _ in 0..5 {
            abuse.wrong(bad, true);
            assert_eq!(abuse.banned(bad, now), None);
        }
        abuse.wrong(bad, true);
        let neighbour = from("2001:db8:1::2", Some(Account::User(1)));
        assert!(abuse.banned(bad, now).is_some() && abuse.banned(neighbour, now).is_some());
        let elsewhere = from("2001:db8:2::1", None);
        assert_eq!(abuse.banned(elsewhere, now), None);
        let registering = Attempt {
            door: Door::Registration,
            ..bad
        };
        assert_eq!(abuse.banned(registering, now), None);
        let all = abuse.bans();
        assert_eq!(all.len(), 1);
        assert_eq!(all[0].whom, Whom::Address("2001:db8:1::".parse().unwrap()));

        // Lifted, it begins from nothing.
        let lift = || abuse.lift(&Lift::of(&all[0]));
        assert!(lift() && !lift());
        for _ in 0..5 {
            abuse.wrong(bad, true);
        }
        assert_eq!(abuse.banned(bad, now), None);
        abuse.wrong(bad, true);
        assert_eq!(abuse.bans()[0].times, 1);
    }

    #[test]
    fn an_account_is_banned_by_what_comes_from_everywhere() {
        let abuse = Abuse::new(RULES, Vec::new(), NameHash::new(""));
        let alice = Some(Account::User(7));
        let attempt = |n: u8| from(&format!("192.0.2.{n}"), alice);
        for n in 0..=10 {
            assert_eq!(abuse.banned(attempt(99), Instant::now()), None);
            abuse.wrong(attempt(n), true);
        }
        assert!(abuse.banned(attempt(99), Instant::now()).is_some());
        assert_eq!(abuse.banned(from("192.0.2.1", None), Instant::now()), None);
        // Of a name that nobody has the same is true, and nobody sees it.
        let nobody = Some(Account::Nobody(1));
        for n in 0..=10 {
            abuse.wrong(from(&format!("198.51.100.{n}"), nobody), true);
        }
        assert!(
            abuse
                .banned(from("192.0.2.99", nobody), Instant::now())
                .is_some()
        );
        assert_eq!(abuse.bans().len(), 1);
        // Other nodes are told of it as of any.
        let there = Abuse::new(RULES, Vec::new(), NameHash::new(""));
        abuse.shared.begin();
        abuse.say_again();
        let runtime = tokio::runtime::Builder::new_current_thread();
        let words = { runtime }.build().unwrap().block_on(abuse.shared.next());
        words.iter().for_each(|word| there.hear(word));
        let elsewhere = from("192.0.2.99", nobody);
        assert!(there.banned(elsewhere, Instant::now()).is_some());
    }

    #[test]
    fn what_stands_before_the_server_is_never_banned_and_accounts_are() {
        let nets = ["203.0.113.7/32", "2001:db8:1::7/128"];
        let fronts = nets.map(|net| net.parse().unwrap()).to_vec();
        let abuse = Abuse::new(RULES, fronts, NameHash::new(""));
        let now = Instant::now();
        for front in ["203.0.113.7", "2001:db8:1::7", "127.0.0.1", "::1"] {
            for door in Door::ALL {
                let attempt = Attempt {
                    door,
                    ..from(front, None)
                };
                for _ in 0..20 {
                    abuse.wrong(attempt, true);
                }
                assert_eq!(abuse.banned(attempt, now), None, "{front}");
            }
        }
        // Nor by what a neighbour does.
        for _ in 0..=5 {
            abuse.wrong(from("2001:db8:1::8", None), true);
        }
        assert!(abuse.banned(from("2001:db8:1::8", None), now).is_some());
        assert_eq!(abuse.banned(from("2001:db8:1::7", None), now), None);

        let alice = from("203.0.113.7", Some(Account::User(1)));
        for _ in 0..=10 {
            abuse.wrong(alice, true);
        }
        assert!(abuse.banned(alice, now).is_some());
    }

    #[test]
    fn what_does_not_count_bans_nobody() {
        let abuse = Abuse::new(RULES, Vec::new(), NameHash::new(""));
        let office = from("192.0.2.1", Some(Account::User(1)));
        for _ in 0..100 {
            abuse.wrong(office, false);
            abuse.turned_away(office, Why::TooOften);
        }
        abuse.change(BanRules { after: 0, ..RULES });
        for _ in 0..100 {
            abuse.wrong(office, true);
        }
        abuse.change(BanRules {
            enabled: false,
            ..RULES
        });
        for _ in 0..100 {
            abuse.flood(office);
        }
        assert!(abuse.bans().is_empty());
    }

    #[test]
    fn limits_switched_off_hold_back_nobody_who_was_banned() {
        let abuse = Abuse::new(RULES, Vec::new(), NameHash::new(""));
        let bad = from("192.0.2.1", None);
        for _ in 0..=5 {
            abuse.flood(bad);
        }
        assert!(abuse.banned(bad, Instant::now()).is_some());
        abuse.change(BanRules {
            enabled: false,
            ..RULES
        });
        assert_eq!(abuse.banned(bad, Instant::now()), None);
    }
}
