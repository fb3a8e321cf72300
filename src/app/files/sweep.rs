//! Removes what was uploaded for nothing, and bytes that nothing refers to any more.

use std::sync::Arc;
use std::time::Duration;

use moznods_storage::LooseBlobs;
use tokio::time::Instant;

use super::super::{App, Result, now};

/// Between two looks, where nothing calls for one.
const EVERY: Duration = Duration::from_secs(60);
/// Removed in one step, so that others are not kept waiting.
const STEP: i64 = 100;
const HOUR: i64 = 3600 * 1_000_000;
/// After which no removal of a step is begun any more, so that who is slow removes nothing that others have stored since.
const REMOVING: Duration = Duration::from_secs(LooseBlobs::FOR.as_secs() / 4);
/// Between two looks for what uploads have left in a place that is shared.
const TIDY_EVERY: Duration = Duration::from_secs(3600);

impl App {
    /// Makes the place for files, and removes what an earlier server has left half done.
    pub(in super::super) async fn prepare_files(&self) {
        if let Err(error) = self.files.blobs.prepare().await {
            tracing::error!(%error, "no files can be stored");
        }
    }

    pub(in super::super) async fn sweep_files(self: Arc<Self>) {
        let mut looks = tokio::time::interval(EVERY);
        let mut tidying = tokio::time::interval(TIDY_EVERY);
        loop {
            tokio::select! {
                _ = looks.tick() => {}
                () = self.files.loosened.notified() => {}
                _ = tidying.tick() => {
                    self.tidy().await;
                    continue;
                }
            }
            if let Err(error) = self.sweep().await {
                tracing::error!(%error, "files that nobody needs could not be removed");
            }
        }
    }

    async fn tidy(&self) {
        if let Some(shared) = self.files.blobs.shared_place()
            && let Err(error) = shared.tidy().await
        {
            tracing::warn!(%error, "what uploads have left in the store of files could not be removed");
        }
    }

    /// Of several servers on one database each does so: what one has been given to remove no other is.
    async fn sweep(&self) -> Result<()> {
        let hours = i64::from(self.config.files.orphan_hours);
        let before = now().saturating_sub(hours * HOUR);
        while self.store.has_orphans(before).await? {
            self.store.remove_orphans(before, STEP).await?;
        }
        loop {
            let begun = Instant::now();
            let mut loose = self.store.loose_blobs(STEP, now()).await?;
            if loose.hashes.is_empty() {
                break;
            }
            let (mut removed, mut outcome) = (0, Ok(()));
            for hash in &loose.hashes {
                if begun.elapsed() > REMOVING {
                    break;
                }
                outcome = self.files.blobs.remove(*hash).await;
                if outcome.is_err() {
                    break;
                }
                removed += 1;
            }
            let left = LooseBlobs {
                hashes: loose.hashes.split_off(removed),
                since: loose.since,
            };
            self.store.forget_blobs(loose).await?;
            if !left.hashes.is_empty() {
                self.store.return_blobs(left, now()).await?;
            }
            outcome?;
        }
        let usage = self.store.all_file_usage().await?;
        self.metrics.files.set(usage.files);
        self.metrics.file_bytes.set(usage.bytes);
        Ok(())
    }
}
