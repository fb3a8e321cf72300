//! What has ended is forgotten, once an hour.

use std::sync::Arc;
use std::time::Duration;

use super::{App, now};

const EVERY: Duration = Duration::from_secs(3600);

impl App {
    pub(super) async fn keep_house(self: Arc<Self>) {
        let mut hours = tokio::time::interval(EVERY);
        loop {
            hours.tick().await;
            if let Err(error) = self.store.sweep_invitations(now()).await {
                tracing::warn!(%error, "cannot forget invitations that have ended");
            }
            if let Err(error) = self.sweep_audit_log().await {
                tracing::warn!(%error, "cannot forget what was noted long ago");
            }
        }
    }
}
