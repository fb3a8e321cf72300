//! Wrong relay credentials. Those that expire are made with secrets that cannot be guessed: who has one is let in whatever others
//! at his address do. A device's password is fixed, and may be one that can be guessed.

use std::net::IpAddr;
use std::time::Instant;

use super::{Abuse, Account, Attempt, Door, HOST, Why, Word, prefix};

/// Wrong ones at a device from one address that cost nothing: a client asks more than once for each thing that it wants.
pub const FREE: u32 = 5;

impl Abuse {
    /// Whose a name of the relay is that has no expiry in it.
    pub fn relay_account(&self, name: &str, device: Option<i64>) -> Account {
        device.map_or_else(|| Account::Nobody(self.names.of(name)), Account::Device)
    }

    /// Whether a password for this account is looked at.
    pub fn may_try_at_relay(&self, account: Account, client: IpAddr, now: Instant) -> bool {
        let host = prefix(client, HOST);
        if !self.rules().enabled {
            return true;
        }
        if self.devices.left(&(account, host), now).is_some() {
            return false;
        }
        let is_home = matches!(account, Account::Device(id) if self.homes.has(id, host));
        is_home || self.banned(relaying(client, Some(account)), now).is_none()
    }

    /// A device has shown its password.
    pub fn right_at_relay(&self, device: i64, client: IpAddr, now: Instant) {
        let host = prefix(client, HOST);
        self.devices.forget(&(Account::Device(device), host));
        if self.homes.note(device, host, now) {
            self.shared.say(Word::Right(Account::Device(device), host));
        }
    }

    /// What a client has shown was wrong, or `was_tried` is false and it was not looked at. Whether it is told so: who is
    /// banned, or has to wait, is not.
    pub fn wrong_at_relay(
        &self,
        account: Option<Account>,
        client: IpAddr,
        was_tried: bool,
        now: Instant,
    ) -> bool {
        let attempt = relaying(client, account);
        if self.banned(relaying(client, None), now).is_some() {
            self.turned_away(attempt, Why::Banned);
            return false;
        }
        if !was_tried {
            self.turned_away(attempt, Why::TooOften);
            return false;
        }
        let host = prefix(client, HOST);
        if let Some(account) = account
            && self.rules().enabled
        {
            self.devices.wrong_one(&(account, host), now);
        }
        let is_home = matches!(account, Some(Account::Device(id)) if self.homes.has(id, host));
        self.wrong(attempt, !is_home);
        true
    }
}

fn relaying(client: IpAddr, account: Option<Account>) -> Attempt {
    Attempt {
        door: Door::Relay,
        address: client,
        account,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::BanRules;

    fn abuse() -> std::sync::Arc<Abuse> {
        let rules = BanRules {
            enabled: true,
            after: 20,
            first: Duration::from_secs(900),
            longest: Duration::from_secs(3600),
        };
        Abuse::new(rules, Vec::new(), super::super::NameHash::new(""))
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn who_guesses_a_password_waits_and_so_does_who_guesses_a_name() {
        let abuse = abuse();
        let now = Instant::now();
        let (here, there) = (address("192.0.2.1"), address("192.0.2.2"));
        for account in [Account::Device(1), abuse.relay_account("nobody", None)] {
            for _ in 0..=FREE {
                assert!(abuse.may_try_at_relay(account, here, now));
                assert!(abuse.wrong_at_relay(Some(account), here, true, now));
            }
            assert!(!abuse.may_try_at_relay(account, here, now));
            assert!(!abuse.wrong_at_relay(Some(account), here, false, now));
            assert!(abuse.may_try_at_relay(account, there, now));
            assert!(abuse.may_try_at_relay(account, here, now + Duration::from_secs(6)));
        }
        abuse.right_at_relay(1, here, now);
        assert!(abuse.may_try_at_relay(Account::Device(1), here, now));
    }

    #[test]
    fn nobody_can_keep_a_device_out() {
        let abuse = abuse();
        let now = Instant::now();
        let account = Account::Device(1);
        for n in 0..200 {
            let elsewhere = address(&format!("198.51.100.{n}"));
            assert!(abuse.wrong_at_relay(Some(account), elsewhere, true, now));
        }
        assert!(abuse.may_try_at_relay(account, address("192.0.2.1"), now));
    }

    #[test]
    fn a_device_that_has_been_there_is_let_in_though_others_are_banned_there() {
        let abuse = abuse();
        let now = Instant::now();
        let office = address("192.0.2.1");
        abuse.right_at_relay(1, office, now);
        for n in 0..=20 {
            let account = abuse.relay_account(&format!("guess{n}"), None);
            assert!(abuse.wrong_at_relay(Some(account), office, true, now));
        }
        assert!(!abuse.wrong_at_relay(None, office, true, now), "not told");
        assert!(abuse.may_try_at_relay(Account::Device(1), office, now));
        assert!(!abuse.may_try_at_relay(Account::Device(2), office, now));
        // Its own mistakes do not count against all who are there.
        let abuse = self::abuse();
        abuse.right_at_relay(1, office, now);
        for _ in 0..100 {
            abuse.wrong_at_relay(Some(Account::Device(1)), office, true, now);
        }
        assert!(abuse.may_try_at_relay(Account::Device(2), office, now));
    }
}
