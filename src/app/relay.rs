//! Relay credentials: `<expiry unix seconds>:<user id>` and a password that is computed from it, as in the TURN
//! REST draft. Nothing is stored per credential; whoever has the secret recomputes.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use moznods_storage::{User, UserId};
use moznods_turn::auth::{self, Authenticator, Claim, Credential, Key, Owner};
use ring::hmac;

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
    let key = hmac::Key::new(
        hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
        secret.expose().as_bytes(),
    );
    STANDARD.encode(hmac::sign(&key, username.as_bytes()))
}

impl App {
    /// A credential for `user`, good for `ttl` from now; blocked users get none.
    pub fn relay_credential(&self, user: &User, ttl: Duration) -> Result<RelayCredential> {
        if user.blocked {
            return Err(Refusal::AccountBlocked.into());
        }
        let expiry = now() / 1_000_000 + i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX / 2);
        let username = format!("{expiry}:{}", user.id);
        Ok(RelayCredential {
            password: password(&self.relay_secret, &username),
            username,
            ttl,
        })
    }

    /// Who may use the relay, in the form in which it asks.
    pub fn relay_users(&self) -> RelayUsers {
        RelayUsers {
            secret: self.relay_secret.clone(),
            access: Arc::clone(&self.access),
            others: Arc::clone(&self.relay_secrets),
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
}

impl RelayUsers {
    /// What a username is when this server made it: `expiry:user id`.
    fn own(&self, claim: Claim<'_>) -> std::result::Result<Credential, auth::Refusal> {
        let parts = claim.username.split_once(':');
        let numbers = parts.map(|(expiry, user)| (expiry.parse::<u64>(), user.parse::<UserId>()));
        let Some((Ok(_), Ok(user))) = numbers else {
            return Err(auth::Refusal::Unknown);
        };
        if !self.access.is_allowed(user) {
            return Err(auth::Refusal::Revoked);
        }
        let password = password(&self.secret, claim.username);
        Ok(Credential {
            owner: Owner(user.cast_unsigned()),
            key: Key::long_term(claim.username, claim.realm, &password),
            max_allocations: None,
        })
    }
}

impl Authenticator for RelayUsers {
    fn credentials(&self, claim: Claim<'_>) -> std::result::Result<Vec<Credential>, auth::Refusal> {
        let expiry = expiry(claim.username).ok_or(auth::Refusal::Unknown)?;
        // A call that runs when its credential expires goes on.
        if claim.allocating && claim.unix >= expiry {
            return Err(auth::Refusal::Expired);
        }
        let mut found = self
            .others
            .candidates(claim.username, claim.realm, claim.unix);
        match self.own(claim) {
            Ok(credential) => found.insert(0, credential),
            Err(refusal) if found.is_empty() => return Err(refusal),
            Err(_) => {}
        }
        Ok(found)
    }

    fn permits(&self, owner: Owner) -> bool {
        self.access.is_allowed(owner.0.cast_signed()) || self.others.has(owner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let users = RelayUsers {
            secret: Secret::new("north".to_owned()),
            access: Arc::new(UserAccess::new([17])),
            others: Arc::default(),
        };
        let ask = |username, allocating, unix| {
            let claim = Claim {
                username,
                realm: "moznods",
                allocating,
                unix,
            };
            users.credentials(claim).map(|found| found[0].owner)
        };
        assert_eq!(ask("1000:17", true, 999), Ok(Owner(17)));
        assert_eq!(ask("1000:17", true, 1000), Err(auth::Refusal::Expired));
        assert_eq!(ask("1000:17", false, 1000), Ok(Owner(17)), "a running call");
        assert_eq!(ask("1000:18", true, 999), Err(auth::Refusal::Revoked));
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
            assert_eq!(
                ask(rubbish, true, 0),
                Err(auth::Refusal::Unknown),
                "{rubbish}"
            );
        }
        users.access.replace([]);
        assert_eq!(ask("1000:17", false, 999), Err(auth::Refusal::Revoked));
        assert!(!users.permits(Owner(17)));
    }
}
