//! Who is online, told to those who share a room with him and listen to everything.
//!
//! News are gathered for a moment, so that each listener gets one frame of all of them; of many that come at once, as
//! after a restart, so many are told each time and the others wait. Who goes is believed to have gone after a while:
//! a page that is loaded anew has not.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use moznods_signaling::PresenceChanges;
use moznods_storage::{RoomId, UserId};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::{App, Result};
use crate::wire;

/// Between two times at which is told what has changed.
const EACH: Duration = Duration::from_secs(1);
/// Before somebody without a connection has gone.
const GRACE: Duration = Duration::from_secs(5);
/// Of whom is told at one time.
const AT_ONCE: usize = 50;

/// What is to be told: who came, and who went.
#[derive(Default)]
struct News {
    online: Vec<UserId>,
    offline: Vec<UserId>,
}

/// By who hears it.
type AllNews = BTreeMap<UserId, News>;

/// What there is to be looked at.
#[derive(Default)]
struct Waiting {
    /// And when.
    users: BTreeMap<UserId, Instant>,
    entered: BTreeSet<(RoomId, UserId)>,
}

impl App {
    /// Tells who comes and goes, as long as the server runs.
    pub(super) async fn announce_presence(self: Arc<Self>) {
        let mut waiting = Waiting::default();
        let mut times = interval(EACH);
        times.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            if waiting.users.is_empty() && waiting.entered.is_empty() {
                let changes = self.hub.presence_changes().await;
                self.look_at(changes, &mut waiting);
            }
            times.tick().await;
            self.look_at(self.hub.take_presence_changes(), &mut waiting);
            self.tell_presence(&mut waiting).await;
        }
    }

    fn look_at(&self, changes: PresenceChanges, waiting: &mut Waiting) {
        let now = Instant::now();
        for user in changes.users {
            let when = match self.hub.has_connections(user) {
                true => now,
                false => now + GRACE,
            };
            waiting.users.insert(user, when);
        }
        waiting.entered.extend(changes.entered);
    }

    async fn tell_presence(&self, waiting: &mut Waiting) {
        let now = Instant::now();
        let due = waiting.users.iter().filter(|(_, when)| **when <= now);
        let mut due: Vec<(Instant, UserId)> = due.map(|(user, when)| (*when, *user)).collect();
        // Who has waited for longest comes first.
        due.sort_unstable();
        let mut news = AllNews::new();
        for (_, user) in due.into_iter().take(AT_ONCE) {
            waiting.users.remove(&user);
            if let Err(error) = self.look_for(user, &mut news).await {
                tracing::error!(%error, "cannot tell who is online");
                waiting.users.insert(user, now + EACH);
            }
        }
        for _ in 0..AT_ONCE {
            let Some((room, user)) = waiting.entered.pop_first() else {
                break;
            };
            let others = self.hub.online_in(room, user);
            for other in &others {
                news.entry(*other).or_default().online.push(user);
            }
            news.entry(user).or_default().online.extend(others);
        }
        for (listener, News { online, offline }) in news {
            if !online.is_empty() || !offline.is_empty() {
                let frame = wire::presence(&online, &offline).anywhere();
                self.hub.notify_wide([listener], frame);
            }
        }
    }

    /// Whether the user has come or gone since others were told of him.
    async fn look_for(&self, user: UserId, news: &mut AllNews) -> Result<()> {
        match (self.hub.has_connections(user), self.hub.is_online(user)) {
            (true, false) => {
                self.hub.comes_online(user);
                match self.store.room_ids(user).await {
                    Ok(rooms) => self.hub.is_online_in(user, &rooms),
                    Err(error) => {
                        self.hub.goes_offline(user);
                        return Err(error.into());
                    }
                }
                let others = self.hub.online_around(user);
                for other in &others {
                    news.entry(*other).or_default().online.push(user);
                }
                // Who came after his connection began, but before he was seen here, was not told to him.
                news.entry(user).or_default().online.extend(others);
            }
            (false, true) => {
                for other in self.hub.online_around(user) {
                    news.entry(other).or_default().offline.push(user);
                }
                self.hub.goes_offline(user);
            }
            _ => {}
        }
        Ok(())
    }
}
