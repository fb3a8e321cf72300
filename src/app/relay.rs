//! Relay credentials: `<expiry unix seconds>:<user id>` and a password that is computed from it, as in the TURN
//! REST draft. Nothing is stored per credential; whoever has the secret recomputes.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use moznods_storage::User;
use ring::hmac;

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

    /// The key of [`password`].
    #[allow(dead_code, reason = "asked by the relay")]
    pub fn relay_secret(&self) -> &Secret {
        &self.relay_secret
    }

    /// Who may relay at this moment, and who ceases to.
    #[allow(dead_code, reason = "asked by the relay")]
    pub fn access(&self) -> Arc<UserAccess> {
        Arc::clone(&self.access)
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
}
