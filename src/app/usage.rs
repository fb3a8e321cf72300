//! What is relayed for whom in each month (UTC): gathered from the relay every second, written in batches, so that a
//! crash loses little. Who has had all that he may loses what he has.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use moznods_storage::{Month, RelayOwner, RelayUsage};
use moznods_turn::server::Usage;
use time::OffsetDateTime;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::allocations::{WAIT, owner_of};
use super::relay::NOBODY;
use super::relays::Question;
use super::{App, Result, now};

const GATHER_EVERY: Duration = Duration::from_secs(1);
/// At most this, and one gathering, is lost at a crash.
const WRITE_EVERY: Duration = Duration::from_secs(10);

/// The month that it is.
pub fn this_month() -> Month {
    let date = OffsetDateTime::from_unix_timestamp(now() / 1_000_000);
    let date = date.unwrap_or(OffsetDateTime::UNIX_EPOCH);
    Month {
        year: u16::try_from(date.year()).unwrap_or_default(),
        month: date.month().into(),
    }
}

/// What has been gathered and not yet written; of each owner one entry a month.
#[derive(Debug, Default)]
pub struct UsageBook(Mutex<HashMap<(Month, RelayOwner), Usage>>);

impl UsageBook {
    fn enter(&self, month: Month, owner: RelayOwner, usage: Usage) {
        self.lock().entry((month, owner)).or_default().add(usage);
    }

    fn take(&self) -> HashMap<(Month, RelayOwner), Usage> {
        std::mem::take(&mut self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(Month, RelayOwner), Usage>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What was relayed for somebody in a month, and what people call him.
#[derive(Debug)]
pub struct UsageSeen {
    pub usage: RelayUsage,
    /// `None`: the owner is no more.
    pub owner_name: Option<String>,
}

impl App {
    /// As long as the server runs.
    pub(super) async fn keep_usage(self: Arc<Self>) {
        let mut ticks = interval(GATHER_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut written = Instant::now();
        loop {
            ticks.tick().await;
            let _one_at_a_time = self.using.lock().await;
            self.gather_usage().await;
            if written.elapsed() >= WRITE_EVERY {
                written = Instant::now();
                if let Err(error) = self.write_usage().await {
                    tracing::error!(%error, "what was relayed cannot be written; it is tried again");
                }
            }
        }
    }

    /// Gathers and writes what there is; also the last thing that a server does with it.
    pub async fn record_usage(&self) -> Result<()> {
        let _one_at_a_time = self.using.lock().await;
        self.gather_usage().await;
        self.write_usage().await
    }

    /// Of this month when none is named, up to this moment, as far as all relays answer; those with the most bytes first.
    pub async fn relay_usage(&self, month: Option<Month>) -> Result<Vec<UsageSeen>> {
        let others = self.ask_relays(None, Question::RecordUsage);
        let (here, _) = tokio::join!(self.record_usage(), others);
        here?;
        let used = self
            .store
            .relay_usage(month.unwrap_or_else(this_month))
            .await?;
        let names = self.relay_owner_names().await?;
        let seen = used.into_iter().map(|usage| UsageSeen {
            owner_name: names.get(&usage.owner).cloned(),
            usage,
        });
        Ok(seen.collect())
    }

    async fn gather_usage(&self) {
        let Some(relay) = self.relay().map(Arc::clone) else {
            return;
        };
        let asked = Arc::clone(&relay);
        let gathering = tokio::task::spawn_blocking(move || asked.take_usage(WAIT));
        // It ends early only when the program does.
        let gathered = gathering.await.unwrap_or_default();
        let month = this_month();
        if month != self.month_quotas.month() {
            // Nothing is, unless somebody set the clock.
            match self.store.relay_usage(month).await {
                Ok(stored) => self.month_quotas.begin(month, &stored),
                Err(error) => tracing::error!(%error, "what was relayed this month cannot be read"),
            }
        }
        let users = self.relay_users();
        let mut exceeded = false;
        for (number, usage) in gathered {
            let owner = owner_of(number);
            if owner == RelayOwner::User(NOBODY) {
                continue;
            }
            self.usage.enter(month, owner, usage);
            self.month_quotas.enter(owner, usage.bytes());
            exceeded |= users.is_over_quota(owner);
        }
        if exceeded {
            relay.review();
        }
    }

    async fn write_usage(&self) -> Result<()> {
        let unwritten = self.usage.take();
        if !unwritten.is_empty() {
            let row = |(&(month, owner), usage): (&(Month, RelayOwner), &Usage)| RelayUsage {
                month,
                owner,
                to_peer: usage.to_peer,
                to_client: usage.to_client,
                milliseconds: u64::try_from(usage.lasted.as_millis()).unwrap_or(u64::MAX),
                allocations: usage.allocations,
            };
            let rows = unwritten.iter().map(row).collect();
            let written = self.store.add_relay_usage(rows).await;
            if written.is_err() {
                for ((month, owner), usage) in unwritten {
                    self.usage.enter(month, owner, usage);
                }
            }
            written?;
            tracing::debug!("what was relayed has been written");
        }
        let has_quota = self.month_quotas.is_limited() || self.relay_secrets.are_limited();
        if self.bus.is_some() && has_quota {
            // With what other nodes have written.
            let month = this_month();
            let used = self.store.relay_usage(month).await?;
            self.month_quotas.begin(month, &used);
        }
        Ok(())
    }
}
