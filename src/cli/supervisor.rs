//! What a service manager is told by systemd's `sd_notify`: that the server serves, reads its settings again, stops, and
//! lives. Where there is none (no `NOTIFY_SOCKET`), nobody is told.

use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::MissedTickBehavior;

use crate::app::App;

/// How often it is said that the server lives, in the time within which the manager wants to hear it: one turn that comes to
/// nothing ends no calls.
const TURNS: u32 = 4;
/// For what is done after the calls have ended.
const STOP_WAIT: Duration = Duration::from_secs(60);

pub fn ready() {
    tell(&[NotifyState::Ready]);
}

/// Until [`ready`] is told again.
pub fn reloading() {
    // Since when: systemd 253 and newer want to know.
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::warn!(%error, "the clock cannot be read"),
    }
}

/// `drain`: how long calls may go on.
pub fn stopping(drain: Duration) {
    // The manager's own patience may be less.
    let wait = format!("EXTEND_TIMEOUT_USEC={}", (drain + STOP_WAIT).as_micros());
    tell(&[NotifyState::Stopping, NotifyState::Custom(&wait)]);
}

/// Says that the server lives as long as this task is run, the pool for what blocks is, and each thread of the relay takes its
/// mail. The database is not asked: no call needs it, and a disk that stands still is helped by no restart.
pub async fn keep_watchdog(app: Arc<App>) {
    let Some(within) = sd_notify::watchdog_enabled().filter(|within| !within.is_zero()) else {
        return;
    };
    let turn = within / TURNS;
    let mut turns = tokio::time::interval(turn);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        turns.tick().await;
        let asked = Arc::clone(&app);
        let relay_answers = move || {
            asked
                .relay()
                .is_none_or(|relay| relay.answers(turn).is_ok())
        };
        match tokio::task::spawn_blocking(relay_answers).await {
            Ok(true) => tell(&[NotifyState::Watchdog]),
            _ => tracing::error!("the relay does not answer; the watchdog is not told"),
        }
    }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "the service manager could not be told");
    }
}
