//! What is told of refusals: for each reason and network once a second, so that nobody fills a log.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::limiter::prefix;
use super::{Event, Output, Server};

const PAUSE: Duration = Duration::from_secs(1);
/// Told within a pause, whatever the reasons and networks.
const MAX_TOLD: usize = 64;
/// Characters of a username.
const MAX_USERNAME: usize = 64;

/// When what was told last.
#[derive(Default)]
pub(super) struct Reports(HashMap<(&'static str, u64), Instant>);

impl Reports {
    fn is_due(&mut self, client: SocketAddr, why: &'static str, now: Instant) -> bool {
        let is_recent = |told: &Instant| now.saturating_duration_since(*told) < PAUSE;
        let about = (why, prefix(client.ip()));
        if self.0.get(&about).is_some_and(is_recent) {
            return false;
        }
        if self.0.len() >= MAX_TOLD {
            self.0.retain(|_, told| is_recent(told));
        }
        let due = self.0.len() < MAX_TOLD;
        if due {
            self.0.insert(about, now);
        }
        due
    }
}

impl Server {
    /// Tells why what came from a client was dropped or refused.
    pub(super) fn report(
        &mut self,
        now: Instant,
        client: SocketAddr,
        username: Option<&str>,
        why: &'static str,
    ) {
        if self.reports.is_due(client, why, now) {
            let short = |name: &str| name.chars().take(MAX_USERNAME).collect();
            self.outputs.push_back(Output::Event(Event::Refused {
                client,
                username: username.map(short),
                why,
            }));
        }
    }
}
