//! Secrets with which other programs make relay credentials of their own (the TURN REST draft): made, listed,
//! rotated and revoked by name. The relay sees them in memory.

use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use moznods_storage::{
    AuditTarget, NewRelaySecret, RelayOwner, RelaySecret, SecretText, StorageError,
};
use moznods_turn::auth::{Claim, Credential, Owner, Refusal};
use serde_json::json;

use super::allocations::number_of;
use super::audit::{Action, Actor};
use super::{App, Error, Problem, limits, now, random_text, relay};
use crate::config::Secret;

const NAME_MAX: usize = limits::RELAY_SECRET_NAME;

/// Why nothing was done to a secret.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error(
        "there is a secret of this name already; expected another name, or `moznods turn secret rotate`"
    )]
    Taken,
    #[error("there is no secret of this name; `moznods turn secret list` shows those there are")]
    Unknown,
    #[error(
        "expected a name of 1 to {NAME_MAX} letters, digits, '-', '_' and '.' that begins with a letter or digit"
    )]
    BadName,
    #[error(transparent)]
    App(#[from] Error),
}

impl From<StorageError> for SecretError {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::SecretNameTaken => SecretError::Taken,
            StorageError::NotFound => SecretError::Unknown,
            other => SecretError::App(other.into()),
        }
    }
}

impl From<SecretError> for Error {
    fn from(error: SecretError) -> Self {
        match error {
            SecretError::Taken => Error::field("name", Problem::NameTaken),
            SecretError::Unknown => super::Refusal::NotFound.into(),
            SecretError::BadName => Error::field("name", Problem::ProgramName(NAME_MAX)),
            SecretError::App(error) => error,
        }
    }
}

impl App {
    /// Makes a secret. `max_allocations` bounds what all its users have at once, `max_bytes_per_month` what is relayed for
    /// them; `None`: nothing does.
    pub async fn add_relay_secret(
        &self,
        by: Actor<'_>,
        name: &str,
        max_allocations: Option<u32>,
        max_bytes_per_month: Option<i64>,
    ) -> Result<Secret, SecretError> {
        let secret = Secret::new(random_text::<32>()?);
        self.keep_relay_secret(by, name, &secret, max_allocations, max_bytes_per_month)
            .await?;
        Ok(secret)
    }

    /// As [`Self::add_relay_secret`], of one that programs have already.
    pub async fn keep_relay_secret(
        &self,
        by: Actor<'_>,
        name: &str,
        secret: &Secret,
        max_allocations: Option<u32>,
        max_bytes_per_month: Option<i64>,
    ) -> Result<(), SecretError> {
        let right = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        // "." and ".." are no names in a path.
        let begins = name.starts_with(|c: char| c.is_ascii_alphanumeric());
        if !begins || name.len() > NAME_MAX || !name.chars().all(right) {
            return Err(SecretError::BadName);
        }
        let new = NewRelaySecret {
            name: name.to_owned(),
            secret: SecretText(secret.expose().to_owned()),
            max_allocations,
            max_bytes_per_month,
            created_at: now(),
        };
        let details = json!({
            "max_allocations": max_allocations,
            "max_bytes_per_month": max_bytes_per_month,
        });
        let target = AuditTarget::RelaySecret(name.to_owned());
        let store = self.noting(by, Action::RelaySecretAdd, target, details);
        store.add_relay_secret(new).await?;
        Ok(self.refresh_relay_secrets().await?)
    }

    /// By name.
    pub async fn relay_secrets(&self) -> Result<Vec<RelaySecret>, SecretError> {
        Ok(self.store.relay_secrets().await?)
    }

    /// Puts another secret in place of one, which is taken for `keep` longer: what was made with it should have
    /// expired by then.
    pub async fn rotate_relay_secret(
        &self,
        by: Actor<'_>,
        name: &str,
        keep: Duration,
    ) -> Result<Secret, SecretError> {
        let secret = random_text::<32>()?;
        let keep = i64::try_from(keep.as_micros()).unwrap_or(i64::MAX);
        let text = SecretText(secret.clone());
        let target = AuditTarget::RelaySecret(name.to_owned());
        self.noting(by, Action::RelaySecretRotate, target, json!({}))
            .rotate_relay_secret(name.to_owned(), text, now().saturating_add(keep))
            .await?;
        self.refresh_relay_secrets().await?;
        Ok(Secret::new(secret))
    }

    /// Ends a secret, and all that is relayed for its users.
    pub async fn revoke_relay_secret(&self, by: Actor<'_>, name: &str) -> Result<(), SecretError> {
        let target = AuditTarget::RelaySecret(name.to_owned());
        let store = self.noting(by, Action::RelaySecretRevoke, target, json!({}));
        store.revoke_relay_secret(name.to_owned()).await?;
        Ok(self.refresh_relay_secrets().await?)
    }

    /// To be called after every change of the secrets, by whomever.
    pub(super) async fn refresh_relay_secrets(&self) -> super::Result<()> {
        let _one_at_a_time = self.refreshing.lock().await;
        self.relay_secrets
            .replace(self.store.relay_secrets().await?);
        if let Some(relay) = self.relay.get() {
            relay.review();
        }
        Ok(())
    }
}

/// All secrets as they were read last.
#[derive(Debug, Default)]
pub struct RelaySecrets(RwLock<Vec<RelaySecret>>);

impl RelaySecrets {
    pub fn replace(&self, secrets: Vec<RelaySecret>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = secrets;
    }

    /// What a username could be by each secret that is taken now.
    pub fn candidates(&self, claim: Claim<'_>) -> Result<Vec<Credential>, Refusal> {
        let expires = expiry(claim.username).ok_or(Refusal::Unknown)?;
        let secrets = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let mut found = Vec::new();
        for secret in secrets.iter() {
            let previous = secret.previous.as_ref().filter(|(_, until)| {
                u64::try_from(until / 1_000_000).is_ok_and(|until| claim.unix < until)
            });
            let texts = std::iter::once(&secret.secret).chain(previous.map(|(text, _)| text));
            found.extend(texts.map(|text| {
                let password = relay::password(&Secret::new(text.0.clone()), claim.username);
                Credential {
                    owner: owner(secret),
                    key: claim.key(&password),
                    epoch: 0,
                    expires: Some(expires),
                    max_allocations: Some(secret.max_allocations.unwrap_or(0)),
                    over_quota: false,
                }
            }));
        }
        Ok(found)
    }

    /// 0: no limit.
    pub fn max_bytes_per_month(&self, of: Owner) -> u64 {
        let secrets = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let found = secrets.iter().find(|secret| owner(secret) == of);
        let limit = found.and_then(|secret| secret.max_bytes_per_month);
        limit.unwrap_or(0).cast_unsigned()
    }

    /// Whether any has a limit of bytes a month.
    pub fn are_limited(&self) -> bool {
        let secrets = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let mut limits = secrets.iter().map(|secret| secret.max_bytes_per_month);
        limits.any(|limit| limit.is_some_and(|limit| limit > 0))
    }

    /// Whether an owner is a secret, and one that is there.
    pub fn has(&self, of: Owner) -> bool {
        let secrets = self.0.read().unwrap_or_else(PoisonError::into_inner);
        secrets.iter().any(|secret| owner(secret) == of)
    }
}

fn owner(secret: &RelaySecret) -> Owner {
    number_of(RelayOwner::Secret(secret.id))
}

/// When a username of the draft expires, in seconds since the Unix epoch: programs write `expiry:user`, `expiry`
/// alone, or `user:expiry`.
pub fn expiry(username: &str) -> Option<u64> {
    let first = username.split(':').next()?;
    let last = username.rsplit(':').next()?;
    first.parse().or_else(|_| last.parse()).ok()
}

#[cfg(test)]
mod tests {
    use moznods_turn::auth::PasswordAlgorithm;

    use super::*;

    #[test]
    fn expiries_stand_where_programs_write_them() {
        for (username, expected) in [
            ("1800000000:bob", Some(1_800_000_000)),
            ("1800000000", Some(1_800_000_000)),
            ("bob:1800000000", Some(1_800_000_000)),
            ("1800000000:@bob:example.org", Some(1_800_000_000)),
            ("1800000000:17", Some(1_800_000_000)),
            ("bob", None),
            ("", None),
            (":", None),
            ("-1:bob", None),
        ] {
            assert_eq!(expiry(username), expected, "{username}");
        }
    }

    #[test]
    fn the_secret_before_is_taken_for_its_time() {
        let secrets = RelaySecrets::default();
        secrets.replace(vec![RelaySecret {
            id: 5,
            name: "matrix".to_owned(),
            secret: SecretText("new".to_owned()),
            previous: Some((SecretText("old".to_owned()), 2_000_000_000)),
            max_allocations: None,
            max_bytes_per_month: None,
            created_at: 0,
        }]);
        let candidates = |unix| {
            let claim = Claim {
                username: "3000:x",
                realm: "realm",
                algorithm: PasswordAlgorithm::Md5,
                unix,
                client: std::net::Ipv4Addr::LOCALHOST.into(),
                is_running: false,
            };
            secrets.candidates(claim).unwrap().len()
        };
        assert_eq!(candidates(1999), 2);
        assert_eq!(candidates(2000), 1);
        assert!(secrets.has(number_of(RelayOwner::Secret(5))));
        assert!(!secrets.has(Owner(5)), "a user");
    }
}
