//! Blobs beside the database, on the disk of the one machine that serves them.

use std::fs::File;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::{BlobError, Blobs, PartialBlob, Variant, blocking, relative_path};
use crate::BlobHash;

impl Blobs {
    pub(super) async fn keep_beside(
        &self,
        partial: PartialBlob,
        hash: BlobHash,
        variant: Variant,
    ) -> io::Result<()> {
        let (root, target) = (self.root.clone(), self.path(hash, variant));
        blocking(move || {
            let mut partial = partial;
            let directory = target.parent().unwrap_or(&root);
            File::open(&partial.path)?.sync_all()?;
            if !directory.is_dir() {
                make_directory(directory)?;
                File::open(&root)?.sync_all()?;
            }
            std::fs::rename(&partial.path, &target)?;
            partial.kept = true;
            File::open(directory)?.sync_all()
        })
        .await
    }

    /// The bytes, and how many they are.
    pub(super) async fn open_beside(
        &self,
        hash: BlobHash,
        variant: Variant,
    ) -> Result<(tokio::fs::File, u64), BlobError> {
        let opened = tokio::fs::File::open(self.path(hash, variant)).await;
        let file = opened.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => BlobError::Missing,
            _ => BlobError::Io(error),
        })?;
        let size = file.metadata().await?.len();
        Ok((file, size))
    }

    pub(super) async fn remove_beside(&self, hash: BlobHash) -> io::Result<()> {
        let paths = [Variant::Thumbnail, Variant::Whole].map(|variant| self.path(hash, variant));
        blocking(move || {
            for path in paths {
                match std::fs::remove_file(path) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
            Ok(())
        })
        .await
    }

    fn path(&self, hash: BlobHash, variant: Variant) -> PathBuf {
        self.root.join(relative_path(hash, variant))
    }
}

pub(super) fn make_directory(path: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
}
