//! Removes what was uploaded for nothing, and bytes that nothing refers to any more.

use std::sync::Arc;
use std::time::Duration;

use super::super::{App, Result, now};

/// Between two looks, where nothing calls for one.
const EVERY: Duration = Duration::from_secs(60);
/// Removed in one step, so that others are not kept waiting.
const STEP: i64 = 100;
const HOUR: i64 = 3600 * 1_000_000;

impl App {
    /// Makes the place for files, and removes what an earlier server has left half done.
    pub(in super::super) async fn prepare_files(&self) {
        if let Err(error) = self.files.blobs.prepare().await {
            tracing::error!(%error, "no files can be stored");
        }
    }

    pub(in super::super) async fn sweep_files(self: Arc<Self>) {
        let mut looks = tokio::time::interval(EVERY);
        loop {
            tokio::select! {
                _ = looks.tick() => {}
                () = self.files.loosened.notified() => {}
            }
            if let Err(error) = self.sweep().await {
                tracing::error!(%error, "files that nobody needs could not be removed");
            }
        }
    }

    async fn sweep(&self) -> Result<()> {
        let hours = i64::from(self.config.files.orphan_hours);
        let before = now().saturating_sub(hours * HOUR);
        while self.store.has_orphans(before).await? {
            self.store.remove_orphans(before, STEP).await?;
        }
        loop {
            let _alone = self.files.storing.write().await;
            let loose = self.store.loose_blobs(STEP).await?;
            if loose.is_empty() {
                break;
            }
            for hash in &loose {
                self.files.blobs.remove(*hash).await?;
            }
            self.store.forget_blobs(loose).await?;
        }
        let usage = self.store.all_file_usage().await?;
        self.metrics.files.set(usage.files);
        self.metrics.file_bytes.set(usage.bytes);
        Ok(())
    }
}
