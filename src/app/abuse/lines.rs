//! Lines of the log for programs that watch it, such as fail2ban. Their form is for good (README, "Who tries too often"), and
//! nothing in them was chosen by strangers.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::{Account, Attempt, Door, HOST, Whom, Why, network, prefix};

const TARGET: &str = "abuse";
const PAUSE: Duration = Duration::from_secs(1);
/// Within a pause, for whatever addresses: nobody fills a disk.
const MANY: usize = 100;

/// For each address and door one in a second.
#[derive(Default)]
pub struct Lines(Mutex<Recent>);

#[derive(Default)]
struct Recent {
    since: Option<Instant>,
    told: HashSet<(Door, IpAddr)>,
}

impl Lines {
    pub fn refused(&self, attempt: Attempt, why: Why, now: Instant) {
        let Attempt {
            door,
            address,
            account,
        } = attempt;
        if !self.is_due(door, address, now) {
            return;
        }
        let known = account.filter(|account| !matches!(account, Account::Nobody(_)));
        tracing::info!(
            target: TARGET,
            what = %door.word(), %address, why = %why.word(), account = known.map(tracing::field::display),
            "refused"
        );
    }

    fn is_due(&self, door: Door, address: IpAddr, now: Instant) -> bool {
        let mut recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_over = |since: Instant| now.saturating_duration_since(since) >= PAUSE;
        if recent.since.is_none_or(is_over) {
            recent.since = Some(now);
            recent.told.clear();
        }
        recent.told.len() < MANY && recent.told.insert((door, prefix(address, HOST)))
    }
}

pub fn banned(door: Door, whom: Whom, length: Duration) {
    let seconds = length.as_secs();
    let (what, (address, account)) = (
        door.word(),
        match whom {
            Whom::Address(host) => (Some(network(host)), None),
            Whom::Account(account) => (None, Some(account)),
        },
    );
    tracing::info!(
        target: TARGET,
        what = %what, address = address.map(tracing::field::display),
        account = account.map(tracing::field::display), seconds,
        "banned"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_fills_the_log() {
        let lines = Lines::default();
        let now = Instant::now();
        let address = |n: usize| IpAddr::from([192, 0, 2, u8::try_from(n).unwrap()]);
        let due = |now, n| lines.is_due(Door::SignIn, address(n), now);
        assert!(due(now, 0) && !due(now, 0), "one in a second");
        assert!(lines.is_due(Door::Relay, address(0), now));
        assert_eq!((1..=200).filter(|n| due(now, *n)).count(), MANY - 2);
        assert!(due(now + PAUSE, 0));
    }
}
