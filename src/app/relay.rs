//! Relay credentials: `<expiry unix seconds>:<user id>` and a password that is computed from it, as in the TURN
//! REST draft. Nothing is stored per credential; whoever has the secret recomputes. A user who was signed out everywhere
//! is in another epoch, which goes into the computation: what he had before is void.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use moznods_storage::{RelayOwner, User, UserId};
use moznods_turn::auth::{self, Authenticator, Claim, Credential, Loss, Owner};
use moznods_turn::wire::integrity::hmac_sha1;

use super::abuse::{Abuse, Account};
use super::allocations::{number_of, owner_of};
use super::month_quotas::MonthQuotas;
use super::relay_devices::RelayDevices;
use super::relay_secrets::{RelaySecrets, expiry};
use super::{App, Refusal, Result, UserAccess, now};
use crate::config::Secret;

/// What a client shows the relay.
#[derive(Clone, PartialEq, Eq)]
pub struct RelayCredential {
    pub username: String,
    pub password: String,
    pub ttl: Duration,
}

impl fmt::Debug for RelayCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RelayCredential({})", self.username)
    }
}

/// Standard base64 of HMAC-SHA1 over `username`, keyed by the text of the secret.
pub fn password(secret: &Secret, username: &str) -> String {
    STANDARD.encode(hmac_sha1(
        secret.expose().as_bytes(),
        &[username.as_bytes()],
    ))
}

/// The password of one of this server's own credentials.
fn own_password(secret: &Secret, username: &str, epoch: i64) -> String {
    match epoch {
        0 => password(secret, username),
        // No username of ours has another colon.
        epoch => password(secret, &format!("{username}:{epoch}")),
    }
}

/// The number by which the server's own look at its relay goes; no account has it, and nothing is noted of it.
pub const NOBODY: UserId = 0;
/// As long as such a look may take.
const LOOK: Duration = Duration::from_secs(120);

impl App {
    /// A credential for whoever runs the server, to see whether it relays.
    pub fn relay_credential_of_nobody(&self) -> RelayCredential {
        self.own_credential(NOBODY, 0, LOOK)
    }

    /// A credential for `user`, good for `ttl` from now; blocked users get none.
    pub fn relay_credential(&self, user: &User, ttl: Duration) -> Result<RelayCredential> {
        if user.blocked {
            return Err(Refusal::AccountBlocked.into());
        }
        Ok(self.own_credential(user.id, user.epoch, ttl))
    }

    fn own_credential(&self, user: UserId, epoch: i64, ttl: Duration) -> RelayCredential {
        let expiry = now() / 1_000_000 + i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX / 2);
        let username = format!("{expiry}:{user}");
        RelayCredential {
            password: own_password(&self.relay_secret, &username, epoch),
            username,
            ttl,
        }
    }

    /// From now on; 0: no limit. The relay is to review afterwards.
    pub fn set_max_bytes_per_month_per_user(&self, limit: u64) {
        self.month_quotas.set_per_user(limit);
    }

    /// Who may use the relay, in the form in which it asks.
    pub fn relay_users(&self) -> RelayUsers {
        RelayUsers {
            secret: self.relay_secret.clone(),
            access: Arc::clone(&self.access),
            others: Arc::clone(&self.relay_secrets),
            devices: Arc::clone(&self.relay_devices),
            quotas: Arc::clone(&self.month_quotas),
            abuse: Arc::clone(&self.abuse),
        }
    }

    /// Who may relay at this moment, and who ceases to.
    pub fn access(&self) -> &UserAccess {
        &self.access
    }
}

/// Answers the relay from memory: passwords are recomputed, and it is known who may use the server.
pub struct RelayUsers {
    secret: Secret,
    access: Arc<UserAccess>,
    others: Arc<RelaySecrets>,
    devices: Arc<RelayDevices>,
    quotas: Arc<MonthQuotas>,
    abuse: Arc<Abuse>,
}

impl RelayUsers {
    /// Whether an owner has had as much relayed in this month as he may.
    pub fn is_over_quota(&self, owner: RelayOwner) -> bool {
        let own_limit = match owner {
            RelayOwner::User(_) | RelayOwner::Device(_) => None,
            RelayOwner::Secret(_) => Some(self.others.max_bytes_per_month(number_of(owner))),
        };
        self.quotas.is_exceeded(owner, own_limit)
    }

    /// Whom a name stands for that has no expiry in it; its password is one that could be guessed.
    fn guessable(&self, username: &str) -> Option<Account> {
        let device = self.devices.id(username);
        (device.is_some() || expiry(username).is_none())
            .then(|| self.abuse.relay_account(username, device))
    }

    fn epoch(&self, user: UserId) -> Option<i64> {
        match user {
            NOBODY => Some(0),
            user => self.access.epoch(user),
        }
    }

    /// What a username with an expiry in it may be.
    fn with_expiry(&self, claim: Claim<'_>) -> std::result::Result<Vec<Credential>, auth::Refusal> {
        let mut found = self.others.candidates(claim)?;
        match self.own(claim) {
            Ok(credential) => found.insert(0, credential),
            Err(refusal) if found.is_empty() => return Err(refusal),
            Err(_) => {}
        }
        Ok(found)
    }

    /// What a username is when this server made it: `expiry:user id`.
    fn own(&self, claim: Claim<'_>) -> std::result::Result<Credential, auth::Refusal> {
        let parts = claim.username.split_once(':');
        let numbers = parts.map(|(expiry, user)| (expiry.parse::<u64>(), user.parse::<UserId>()));
        let Some((Ok(expires), Ok(user))) = numbers else {
            return Err(auth::Refusal::Unknown);
        };
        // For one who may not relay as well: that it takes longer for others would tell who exists.
        let epoch = self.epoch(user);
        let password = own_password(&self.secret, claim.username, epoch.unwrap_or_default());
        let key = claim.key(&password);
        Ok(Credential {
            owner: number_of(RelayOwner::User(user)),
            key,
            epoch: epoch.ok_or(auth::Refusal::Revoked)?.cast_unsigned(),
            expires: Some(expires),
            max_allocations: None,
            over_quota: false,
        })
    }
}

impl Authenticator for RelayUsers {
    fn credentials(&self, claim: Claim<'_>) -> std::result::Result<Vec<Credential>, auth::Refusal> {
        // What runs goes on, whatever others do.
        if !claim.is_running
            && let Some(account) = self.guessable(claim.username)
            && !self
                .abuse
                .may_try_at_relay(account, claim.client.to_canonical(), Instant::now())
        {
            return Err(auth::Refusal::TooOften);
        }
        let mut found = match self.devices.credential(claim) {
            // No other username is like a device's.
            Some(credential) => vec![credential],
            None => self.with_expiry(claim)?,
        };
        for credential in &mut found {
            credential.over_quota = self.is_over_quota(owner_of(credential.owner));
        }
        Ok(found)
    }

    fn proven(&self, claim: Claim<'_>, credential: &Credential) {
        if let RelayOwner::Device(id) = owner_of(credential.owner) {
            self.abuse
                .right_at_relay(id, claim.client.to_canonical(), Instant::now());
        }
    }

    fn refused(&self, claim: Claim<'_>, refusal: auth::Refusal) -> bool {
        // Somebody who was signed out, or whose call runs, has guessed nothing.
        if claim.is_running || refusal == auth::Refusal::Revoked {
            return true;
        }
        let was_tried = refusal != auth::Refusal::TooOften;
        let account = self.guessable(claim.username);
        self.abuse.wrong_at_relay(
            account,
            claim.client.to_canonical(),
            was_tried,
            Instant::now(),
        )
    }

    fn username(&self, userhash: &[u8; 32], _realm: &str) -> Option<String> {
        self.devices.name(userhash)
    }

    fn permits(&self, owner: Owner, epoch: u64) -> std::result::Result<(), Loss> {
        let may_relay = match owner_of(owner) {
            RelayOwner::User(user) => self.epoch(user) == Some(epoch.cast_signed()),
            RelayOwner::Secret(_) => self.others.has(owner),
            RelayOwner::Device(id) => self.devices.has(id),
        };
        match () {
            () if !may_relay => Err(Loss::Revoked),
            () if self.is_over_quota(owner_of(owner)) => Err(Loss::OverQuota),
            () => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use moznods_turn::auth::PasswordAlgorithm;

    use super::*;
    use crate::app::usage::this_month;
    use crate::config::BanRules;

    #[test]
    fn passwords_are_those_of_the_turn_rest_draft() {
        // printf '1433895918:17' | openssl dgst -sha1 -hmac north -binary | base64
        let secret = Secret::new("north".to_owned());
        assert_eq!(
            password(&secret, "1433895918:17"),
            "S2vj6fhrpDazn/GE0WXYTne4hIQ="
        );
    }

    #[test]
    fn a_credential_is_for_one_who_may_and_until_it_expires() {
        let rules = BanRules {
            enabled: false,
            after: 0,
            first: LOOK,
            longest: LOOK,
        };
        let users = RelayUsers {
            secret: Secret::new("north".to_owned()),
            access: Arc::new(UserAccess::new([(17, 0)])),
            others: Arc::default(),
            devices: Arc::default(),
            quotas: Arc::new(MonthQuotas::new(0, this_month(), &[])),
            abuse: Abuse::new(rules, Vec::new(), crate::app::abuse::NameHash::new("")),
        };
        let ask = |username| {
            let claim = Claim {
                username,
                realm: "moznods",
                algorithm: PasswordAlgorithm::Sha256,
                unix: 999,
                client: std::net::Ipv4Addr::LOCALHOST.into(),
                is_running: false,
            };
            users.credentials(claim).map(|found| {
                let expected = claim.key(&password(&users.secret, username));
                assert_eq!(found[0].key.expose(), expected.expose());
                (found[0].owner, found[0].expires)
            })
        };
        assert_eq!(ask("1000:17"), Ok((Owner(17), Some(1000))));
        assert_eq!(ask("1000:18"), Err(auth::Refusal::Revoked));
        assert_eq!(ask("1000:0"), Ok((Owner(0), Some(1000))));
        for rubbish in [
            "",
            "17",
            ":",
            "1000:",
            ":17",
            "1000:17:17",
            "x:17",
            "-1:17",
            "1000:99999999999999999999",
        ] {
            assert_eq!(ask(rubbish), Err(auth::Refusal::Unknown), "{rubbish}");
        }
        users.access.replace([]);
        assert_eq!(ask("1000:17"), Err(auth::Refusal::Revoked));
        assert_eq!(users.permits(Owner(17), 0), Err(Loss::Revoked));
    }

    #[test]
    fn each_epoch_has_its_own_password() {
        let secret = Secret::new("north".to_owned());
        let in_epoch = |epoch| own_password(&secret, "1433895918:17", epoch);
        assert_eq!(in_epoch(0), password(&secret, "1433895918:17"));
        let passwords: std::collections::HashSet<_> = (0..100).map(in_epoch).collect();
        assert_eq!(passwords.len(), 100);
    }
}
