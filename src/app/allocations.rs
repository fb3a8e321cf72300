//! Live allocations of the relay as administrators see them: whose they are, and their end.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use moznods_storage::{AuditTarget, RelayOwner, UserId};
use moznods_turn::auth::Owner;
use moznods_turn::net::{Relay, Unanswered};
use moznods_turn::server::{AllocationInfo, AllocationName, Which};
use serde_json::json;

use super::audit::{Action, Actor};
use super::relay::NOBODY;
use super::{App, Refusal, Result};

/// For all workers of the relay to answer.
pub(super) const WAIT: Duration = Duration::from_secs(5);

/// Owners above are secrets.
const SECRETS: u64 = 1 << 63;
/// Of the others, those above are devices, and those below users; no id grows as large.
const DEVICES: u64 = 1 << 62;

/// What the relay calls an owner.
pub fn number_of(owner: RelayOwner) -> Owner {
    match owner {
        RelayOwner::User(id) => Owner(id.cast_unsigned()),
        RelayOwner::Secret(id) => Owner(SECRETS | id.cast_unsigned()),
        RelayOwner::Device(id) => Owner(DEVICES | id.cast_unsigned()),
    }
}

/// Whom the relay means.
pub fn owner_of(number: Owner) -> RelayOwner {
    let id = |bit: u64| (number.0 & !bit).cast_signed();
    match number.0 {
        SECRETS.. => RelayOwner::Secret(id(SECRETS)),
        DEVICES.. => RelayOwner::Device(id(DEVICES)),
        _ => RelayOwner::User(id(0)),
    }
}

/// A live allocation, and what people call its owner.
#[derive(Debug)]
pub struct LiveAllocation {
    pub info: AllocationInfo,
    pub owner: RelayOwner,
    /// `None`: the owner has gone a moment ago.
    pub owner_name: Option<String>,
}

impl App {
    /// All that there are, or those of one owner; the oldest first.
    pub async fn allocations(&self, of: Option<RelayOwner>) -> Result<Vec<LiveAllocation>> {
        let mut found = self.ask_relay(|relay| relay.list(WAIT)).await?;
        found.retain(|info| of.is_none_or(|of| number_of(of) == info.owner));
        found.sort_by_key(|info| (std::cmp::Reverse(info.age), info.name));
        let names = self.relay_owner_names().await?;
        let name = |owner| names.get(&owner).cloned();
        let seen = found.into_iter().map(|info| {
            let owner = owner_of(info.owner);
            LiveAllocation {
                owner,
                owner_name: name(owner),
                info,
            }
        });
        Ok(seen.collect())
    }

    /// Who had it may make a new one.
    pub async fn kill_allocation(&self, by: Actor<'_>, name: AllocationName) -> Result<()> {
        let all = self.allocations(None).await?;
        let found = all.iter().find(|live| live.info.name == name);
        let live = found.ok_or(Refusal::NotFound)?;
        let details = json!({"owner": live.owner_name, "username": live.info.username});
        let target = AuditTarget::Allocation(name.to_string());
        self.note(by, Action::AllocationEnd, target, details)
            .await?;
        match self.kill(Which::One(name)).await? {
            0 => Err(Refusal::NotFound.into()),
            _ => Ok(()),
        }
    }

    /// Of one user; how many there were.
    pub async fn kill_allocations_of(&self, by: Actor<'_>, user: UserId) -> Result<usize> {
        self.relay().ok_or(Refusal::RelayNotRunning)?;
        let target = AuditTarget::User(user);
        self.note(by, Action::AllocationEndAll, target, json!({}))
            .await?;
        let owner = number_of(RelayOwner::User(user));
        self.kill(Which::AllOf(owner)).await
    }

    async fn kill(&self, which: Which) -> Result<usize> {
        self.ask_relay(move |relay| relay.kill(which, WAIT)).await
    }

    /// What people call those who relay.
    pub(super) async fn relay_owner_names(&self) -> Result<HashMap<RelayOwner, String>> {
        let users = self.store.users().await?.into_iter();
        let users = users.map(|user| (RelayOwner::User(user.id), user.username));
        let secrets = self.store.relay_secrets().await?.into_iter();
        let secrets = secrets.map(|secret| (RelayOwner::Secret(secret.id), secret.name));
        let devices = self.store.relay_devices().await?.into_iter();
        let devices = devices.map(|device| (RelayOwner::Device(device.id), device.name));
        let nobody = [(RelayOwner::User(NOBODY), "moznods doctor".to_owned())];
        Ok(users.chain(secrets).chain(devices).chain(nobody).collect())
    }

    /// Apart from the threads that serve, as the relay's answer is waited for.
    async fn ask_relay<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Relay) -> std::result::Result<T, Unanswered> + Send + 'static,
    ) -> Result<T> {
        let relay = Arc::clone(self.relay().ok_or(Refusal::RelayNotRunning)?);
        let answer = tokio::task::spawn_blocking(move || question(&relay)).await;
        match answer {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(Unanswered)) | Err(_) => Err(Refusal::Overloaded.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_are_told_apart_by_their_numbers() {
        for owner in [
            RelayOwner::User(1),
            RelayOwner::User(DEVICES.cast_signed() - 1),
            RelayOwner::Device(1),
            RelayOwner::Device(DEVICES.cast_signed() - 1),
            RelayOwner::Secret(1),
            RelayOwner::Secret(i64::MAX),
        ] {
            assert_eq!(owner_of(number_of(owner)), owner);
        }
    }
}
