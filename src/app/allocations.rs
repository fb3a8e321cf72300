//! Live allocations of the relay as administrators see them: whose they are, and their end.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use moznods_signaling::NodeId;
use moznods_storage::{AuditTarget, RelayOwner, UserId};
use moznods_turn::auth::Owner;
use moznods_turn::net::{Relay, Unanswered};
use moznods_turn::server::{AllocationName, Which};
use serde_json::json;

use super::audit::{Action, Actor};
use super::relay::NOBODY;
use super::relays::{Answer, Question, SeenAllocation};
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

/// A live allocation, where it is, and what people call its owner.
#[derive(Debug)]
pub struct LiveAllocation {
    pub seen: SeenAllocation,
    /// `None`: at the relay of this process.
    at: Option<NodeId>,
    /// What people call that relay.
    pub relay: String,
    pub owner: RelayOwner,
    /// `None`: the owner has gone a moment ago.
    pub owner_name: Option<String>,
}

/// What came of ending allocations.
#[derive(Debug)]
pub struct Killed {
    /// How many there were.
    pub ended: usize,
    /// Relays of other nodes that have not said whether they had some.
    pub silent: Vec<String>,
}

impl App {
    /// All that there are at all relays, or those of one owner; the oldest first. Which relays have not answered
    /// [`App::relay_nodes`] tells.
    pub async fn allocations(&self, of: Option<RelayOwner>) -> Result<Vec<LiveAllocation>> {
        Ok(self.list(of).await?.0)
    }

    /// And the relays that have not answered.
    async fn list(&self, of: Option<RelayOwner>) -> Result<(Vec<LiveAllocation>, Vec<String>)> {
        self.some_relay().await?;
        let of = of.map(number_of);
        let others = self.ask_relays(None, Question::List(of.map(|owner| owner.0)));
        let (here, others) = tokio::join!(self.list_here(of), others);
        let mut found: Vec<_> = here?.into_iter().map(|seen| (None, seen)).collect();
        for (node, answer) in others.given {
            if let Answer::Listed { allocations, .. } = answer {
                found.extend(allocations.into_iter().map(|seen| (Some(node), seen)));
            }
        }
        found.sort_by_key(|(_, seen)| (std::cmp::Reverse(seen.age), seen.name));
        let names = self.relay_owner_names().await?;
        let seen = found.into_iter().map(|(at, seen)| {
            let owner = owner_of(Owner(seen.owner));
            LiveAllocation {
                at,
                relay: self.relay_name(at),
                owner,
                owner_name: names.get(&owner).cloned(),
                seen,
            }
        });
        Ok((seen.collect(), others.silent))
    }

    /// Those of the relay of this process, if it has one.
    pub(super) async fn list_here(&self, of: Option<Owner>) -> Result<Vec<SeenAllocation>> {
        let Some(relay) = self.relay() else {
            return Ok(Vec::new());
        };
        let mut found = ask(relay, |relay| relay.list(WAIT)).await?;
        found.retain(|info| of.is_none_or(|of| of == info.owner));
        Ok(found.into_iter().map(SeenAllocation::from).collect())
    }

    /// Who had it may make a new one.
    pub async fn kill_allocation(&self, by: Actor<'_>, name: AllocationName) -> Result<()> {
        let (all, silent) = self.list(None).await?;
        let live = match all.iter().find(|live| live.seen.name == name) {
            Some(live) => live,
            None if silent.is_empty() => return Err(Refusal::NotFound.into()),
            None => return Err(Refusal::RelaySilent.into()),
        };
        let details = json!({"owner": live.owner_name, "username": live.seen.username});
        let target = AuditTarget::Allocation(name.to_string());
        self.note(by, Action::AllocationEnd, target, details)
            .await?;
        let ended = match live.at {
            None => self.kill_here(Which::One(name)).await?,
            Some(node) => {
                let answers = self.ask_relays(Some(node), Question::KillOne(name)).await;
                match answers.given.first() {
                    Some((_, Answer::Ended(ended))) => *ended,
                    _ => return Err(Refusal::RelaySilent.into()),
                }
            }
        };
        match ended {
            0 => Err(Refusal::NotFound.into()),
            _ => Ok(()),
        }
    }

    /// Of one user, at all relays.
    pub async fn kill_allocations_of(&self, by: Actor<'_>, user: UserId) -> Result<Killed> {
        self.some_relay().await?;
        let target = AuditTarget::User(user);
        self.note(by, Action::AllocationEndAll, target, json!({}))
            .await?;
        let owner = number_of(RelayOwner::User(user));
        let others = self.ask_relays(None, Question::KillAllOf(owner.0));
        let (here, others) = tokio::join!(self.kill_here(Which::AllOf(owner)), others);
        let elsewhere = others.given.iter().map(|(_, answer)| match answer {
            Answer::Ended(ended) => *ended,
            _ => 0,
        });
        Ok(Killed {
            ended: here? + elsewhere.sum::<usize>(),
            silent: others.silent,
        })
    }

    /// At the relay of this process, if it has one; how many there were.
    pub(super) async fn kill_here(&self, which: Which) -> Result<usize> {
        match self.relay() {
            Some(relay) => ask(relay, move |relay| relay.kill(which, WAIT)).await,
            None => Ok(0),
        }
    }

    async fn some_relay(&self) -> Result<()> {
        let are_all_known = self.knows_relays().await;
        match self.relay_nodes().is_empty() {
            true if are_all_known => Err(Refusal::RelayNotRunning.into()),
            _ => Ok(()),
        }
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
}

/// Apart from the threads that serve, as the relay's answer is waited for.
async fn ask<T: Send + 'static>(
    relay: &Arc<Relay>,
    question: impl FnOnce(&Relay) -> std::result::Result<T, Unanswered> + Send + 'static,
) -> Result<T> {
    let relay = Arc::clone(relay);
    let answer = tokio::task::spawn_blocking(move || question(&relay)).await;
    match answer {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(Unanswered)) | Err(_) => Err(Refusal::Overloaded.into()),
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
