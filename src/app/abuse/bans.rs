//! Bans: for whom, by which door, and until when. They are kept in memory alone, so many at most.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use moznods_storage::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Account, DAY, Door};
use crate::app::now as clock;
use crate::config::BanRules;

/// Whoever can bring more than that is not held up by bans; the table does not grow for him.
const MANY: usize = 4096;
/// After the end of a ban, for which the next one is longer.
const REMEMBERED: Duration = DAY;
/// As settings allow.
const LONGEST: Duration = Duration::from_secs(43_200 * 60);

/// Whom a ban is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Whom {
    /// A prefix of [`HOST`](super::HOST).
    Address(IpAddr),
    Account(Account),
}

/// A ban in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ban {
    /// The same at all nodes; they grow.
    pub id: u64,
    pub door: Door,
    pub whom: Whom,
    pub since: Timestamp,
    pub until: Timestamp,
    /// Which one in a row it is, from 1.
    pub times: u32,
}

/// An administrator has ended a ban, and with it each of the same that had begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lift {
    pub door: Door,
    pub whom: Whom,
    pub at: Timestamp,
    /// When the ban would have ended: nodes that have not heard of this say it again up to then.
    pub until: Timestamp,
}

impl Lift {
    pub fn of(ban: &Ban) -> Self {
        Lift {
            door: ban.door,
            whom: ban.whom,
            // The clock of the node at which it has begun may be ahead.
            at: clock().max(ban.since),
            until: ban.until,
        }
    }
}

#[derive(Default)]
pub struct Bans(Mutex<Table>);

#[derive(Default)]
struct Table {
    all: HashMap<(Door, Whom), Entry>,
    lifted: HashMap<(Door, Whom), Lift>,
    /// The last one that was given out here.
    last_id: u64,
}

struct Entry {
    id: u64,
    since: Timestamp,
    length: Duration,
    until: Instant,
    times: u32,
}

impl Bans {
    /// How long one is, if there is one.
    pub fn left(&self, door: Door, whom: Whom, now: Instant) -> Option<Duration> {
        let table = self.table();
        let until = table.all.get(&(door, whom))?.until;
        (until > now).then(|| until - now)
    }

    /// Each in a row is twice as long as the one before; of an account all are as long as the first, as they hold up one who
    /// has done nothing. `is_shared`: with other nodes. `None`: there is one already.
    pub fn begin(
        &self,
        door: Door,
        whom: Whom,
        rules: BanRules,
        is_shared: bool,
        now: Instant,
    ) -> Option<(Ban, Duration)> {
        let table = &mut *self.table();
        let key = (door, whom);
        let before = table.all.get(&key);
        if before.is_some_and(|before| before.until > now) {
            return None;
        }
        let recent = before.filter(|before| now < before.until + REMEMBERED);
        let times = recent.map_or(1, |before| before.times.saturating_add(1));
        let doubled = match whom {
            Whom::Address(_) => 2_u32.saturating_pow(times - 1),
            Whom::Account(_) => 1,
        };
        let longest = rules.longest.max(rules.first);
        let length = rules.first.saturating_mul(doubled).min(longest);
        table.make_room(&key, now);
        let since = clock();
        table.last_id = match is_shared {
            // Nodes do not give out the same.
            true => since.unsigned_abs().max(table.last_id + 1),
            false => table.last_id + 1,
        };
        let entry = Entry {
            id: table.last_id,
            since,
            length,
            until: now + length,
            times,
        };
        let ban = entry.shown(door, whom);
        table.all.insert(key, entry);
        Some((ban, length))
    }

    /// Takes over one that another node has begun, unless it has been lifted since.
    pub fn adopt(&self, ban: &Ban, now: Instant) {
        let micros = |time: Timestamp| Duration::from_micros(u64::try_from(time).unwrap_or(0));
        let left = micros(ban.until.saturating_sub(clock()));
        let table = &mut *self.table();
        let key = (ban.door, ban.whom);
        if table.is_lifted(&key, ban.since) {
            return;
        }
        let until = now + left.min(LONGEST);
        if table.all.get(&key).is_some_and(|ours| ours.until >= until) {
            return;
        }
        table.make_room(&key, now);
        let entry = Entry {
            id: ban.id,
            since: ban.since,
            length: micros(ban.until.saturating_sub(ban.since)),
            until,
            times: ban.times,
        };
        table.all.insert(key, entry);
    }

    /// Those in force, the newest first.
    pub fn all(&self, now: Instant) -> Vec<Ban> {
        let table = self.table();
        let all = table.all.iter().filter(|(_, entry)| entry.until > now);
        let all = all.map(|((door, whom), entry)| entry.shown(*door, *whom));
        let mut all: Vec<Ban> = all.collect();
        all.sort_by_key(|ban| std::cmp::Reverse(ban.id));
        all
    }

    /// Those of bans that other nodes may still hold in force.
    pub fn lifted(&self) -> Vec<Lift> {
        let now = clock();
        let table = self.table();
        let lifted = table.lifted.values().filter(|lift| lift.until > now);
        lifted.copied().collect()
    }

    /// Ends one that has begun before, and says whether it was in force; the next one is as if it had never been. `None`: this
    /// is known already.
    pub fn lift(&self, lift: &Lift, now: Instant) -> Option<bool> {
        let table = &mut *self.table();
        let key = (lift.door, lift.whom);
        if table.is_lifted(&key, lift.at) {
            return None;
        }
        let is_newer = |entry: &Entry| entry.since > lift.at;
        if table.all.get(&key).is_some_and(is_newer) {
            return None;
        }
        let known = &mut table.lifted;
        if known.len() >= MANY && !known.contains_key(&key) {
            let first = known.iter().min_by_key(|(_, lift)| lift.until);
            if let Some(key) = first.map(|(key, _)| *key) {
                known.remove(&key);
            }
        }
        known.insert(key, *lift);
        let ended = table.all.remove(&key);
        Some(ended.is_some_and(|ended| ended.until > now))
    }

    pub fn sweep(&self, now: Instant) {
        let Table { all, lifted, .. } = &mut *self.table();
        all.retain(|_, entry| now < entry.until + REMEMBERED);
        all.shrink_to_fit();
        let now = clock();
        lifted.retain(|_, lift| now < lift.until);
        lifted.shrink_to_fit();
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn shown(&self, door: Door, whom: Whom) -> Ban {
        let length = i64::try_from(self.length.as_micros()).unwrap_or(i64::MAX / 2);
        Ban {
            id: self.id,
            door,
            whom,
            since: self.since,
            until: self.since.saturating_add(length),
            times: self.times,
        }
    }
}

impl Table {
    /// Whether one that had begun then does not hold any more.
    fn is_lifted(&self, key: &(Door, Whom), since: Timestamp) -> bool {
        let lift = self.lifted.get(key);
        lift.is_some_and(|lift| since <= lift.at)
    }

    /// The one that ends, or has ended, first gives way.
    fn make_room(&mut self, key: &(Door, Whom), now: Instant) {
        if self.all.len() < MANY || self.all.contains_key(key) {
            return;
        }
        self.all.retain(|_, entry| entry.until > now);
        if self.all.len() >= MANY {
            let first = self.all.iter().min_by_key(|(_, entry)| entry.until);
            if let Some(key) = first.map(|(key, _)| *key) {
                self.all.remove(&key);
            }
        }
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
    const HERE: Whom = Whom::Address(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST));

    #[test]
    fn each_in_a_row_is_longer_but_of_an_account() {
        let mut now = Instant::now();
        for (whom, minutes) in [
            (HERE, [15, 30, 60, 60]),
            (Whom::Account(Account::User(1)), [15; 4]),
        ] {
            let bans = Bans::default();
            for minutes in minutes {
                let (ban, length) = bans.begin(Door::SignIn, whom, RULES, true, now).unwrap();
                assert_eq!(length, Duration::from_secs(minutes * 60));
                assert_eq!(bans.all(now), [ban]);
                assert_eq!(bans.begin(Door::SignIn, whom, RULES, true, now), None);
                assert_eq!(bans.left(Door::SignIn, whom, now), Some(length));
                assert_eq!(bans.left(Door::Relay, whom, now), None);
                now += length;
                assert_eq!(bans.left(Door::SignIn, whom, now), None);
                assert!(bans.all(now).is_empty());
            }
            now += REMEMBERED;
            bans.begin(Door::SignIn, whom, RULES, true, now);
            assert_eq!(bans.all(now)[0].times, 1);
            bans.sweep(now + 2 * REMEMBERED);
            assert!(bans.table().all.is_empty());
        }
    }

    #[test]
    fn what_another_node_has_begun_holds_here_and_ends_when_it_does() {
        let (there, here) = (Bans::default(), Bans::default());
        let now = Instant::now();
        let (ban, length) = there.begin(Door::SignIn, HERE, RULES, true, now).unwrap();
        here.adopt(&ban, now);
        here.adopt(&ban, now);
        assert_eq!(here.all(now), [ban]);
        assert!(here.left(Door::SignIn, HERE, now).unwrap() <= length);
        assert_eq!(here.left(Door::SignIn, HERE, now + length), None);
        let next = here.begin(Door::SignIn, HERE, RULES, true, now + length);
        assert_eq!(next.unwrap().0.times, 2);
        let lift = Lift::of(&here.all(now)[0]);
        assert_eq!(here.lift(&lift, now + length), Some(true));
        assert!(here.all(now).is_empty());
    }

    #[test]
    fn what_is_lifted_does_not_come_back_from_who_has_not_heard_of_it() {
        let (there, here) = (Bans::default(), Bans::default());
        let now = Instant::now();
        let (ban, _) = there.begin(Door::SignIn, HERE, RULES, true, now).unwrap();
        here.adopt(&ban, now);
        let lift = Lift::of(&ban);
        assert_eq!(here.lift(&lift, now), Some(true));
        // Nodes that have missed something say all again.
        here.adopt(&there.all(now)[0], now);
        assert!(here.all(now).is_empty());
        assert_eq!(here.lifted(), [lift]);
        assert_eq!(there.lift(&lift, now), Some(true));
        assert_eq!(there.lift(&lift, now), None);
        assert!(there.all(now).is_empty());

        // One that begins afterwards is another.
        let later = Ban {
            id: ban.id + 1,
            since: lift.at + 1,
            ..ban
        };
        here.adopt(&later, now);
        assert_eq!(here.lift(&lift, now), None);
        assert_eq!(here.all(now), [later]);
    }

    #[test]
    fn there_are_so_many_and_the_first_to_end_give_way() {
        let bans = Bans::default();
        let start = Instant::now();
        let whom = |n: usize| Whom::Account(Account::User(n as i64));
        for n in 0..2 * MANY {
            let now = start + Duration::from_millis(n as u64);
            bans.begin(Door::SignIn, whom(n), RULES, true, now).unwrap();
            assert!(bans.table().all.len() <= MANY);
        }
        let now = start + Duration::from_millis(2 * MANY as u64);
        assert_eq!(bans.left(Door::SignIn, whom(0), now), None);
        assert!(bans.left(Door::SignIn, whom(MANY), now).is_some());
        assert!(bans.left(Door::SignIn, whom(2 * MANY - 1), now).is_some());
    }
}
