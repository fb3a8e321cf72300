//! Bytes of files on the disk, named by their SHA-256: `files/ab/cdef…` in the data directory, a thumbnail beside with
//! a suffix. What has no name yet lies in `files/tmp`. What is known of files stands in the database.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use tokio::io::AsyncWriteExt;
use tokio::task::spawn_blocking;

use crate::BlobHash;

/// Which bytes of one hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// Those whose hash it is.
    Whole,
    /// A small picture of them.
    Thumbnail,
}

/// The directory of all blobs.
#[derive(Debug, Clone)]
pub struct Blobs {
    root: PathBuf,
}

/// Bytes that arrive. Unless they are kept they are removed with this value; after a crash, at the next start.
#[derive(Debug)]
pub struct PartialBlob {
    file: tokio::fs::File,
    path: PathBuf,
    kept: bool,
}

impl Blobs {
    /// Touches nothing.
    pub fn in_directory(data_dir: &Path) -> Self {
        Blobs {
            root: data_dir.join("files"),
        }
    }

    /// Makes the directories (mode 0700), and removes what an earlier server has left half done; for the one process
    /// that serves.
    pub async fn prepare(&self) -> io::Result<()> {
        let tmp = self.tmp();
        blocking(move || {
            make_directory(&tmp)?;
            for entry in std::fs::read_dir(&tmp)? {
                std::fs::remove_file(entry?.path())?;
            }
            Ok(())
        })
        .await
    }

    pub async fn begin(&self) -> io::Result<PartialBlob> {
        let path = self.tmp().join(uuid::Uuid::new_v4().simple().to_string());
        let opened = path.clone();
        let file = blocking(move || {
            OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(opened)
        })
        .await?;
        Ok(PartialBlob {
            file: tokio::fs::File::from_std(file),
            path,
            kept: false,
        })
    }

    /// Gives the bytes their name; they are on the disk when this is done. What had the name before had the same bytes.
    pub async fn keep(
        &self,
        partial: PartialBlob,
        hash: BlobHash,
        variant: Variant,
    ) -> io::Result<()> {
        let mut partial = partial;
        partial.file.flush().await?;
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
    pub async fn open(
        &self,
        hash: BlobHash,
        variant: Variant,
    ) -> io::Result<(tokio::fs::File, u64)> {
        let file = tokio::fs::File::open(self.path(hash, variant)).await?;
        let size = file.metadata().await?.len();
        Ok((file, size))
    }

    /// Removes all variants; that they are gone already is fine.
    pub async fn remove(&self, hash: BlobHash) -> io::Result<()> {
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
        self.root.join(Self::relative_path(hash, variant))
    }

    /// Within the directory of all blobs.
    pub(crate) fn relative_path(hash: BlobHash, variant: Variant) -> PathBuf {
        let name = hash.to_string();
        let (directory, rest) = name.split_at(2);
        let suffix = match variant {
            Variant::Whole => "",
            Variant::Thumbnail => ".thumb",
        };
        Path::new(directory).join(format!("{rest}{suffix}"))
    }

    fn tmp(&self) -> PathBuf {
        self.root.join("tmp")
    }
}

impl PartialBlob {
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes).await
    }

    /// Up to here, so that it can be read at [`Self::path`].
    pub async fn flush(&mut self) -> io::Result<()> {
        self.file.flush().await
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for PartialBlob {
    fn drop(&mut self) {
        if !self.kept
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            tracing::warn!(%error, "what was left of a file could not be removed");
        }
    }
}

fn make_directory(path: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    spawn_blocking(work).await.map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use tokio::io::AsyncReadExt;

    use super::*;

    fn files_in(directory: &Path) -> usize {
        std::fs::read_dir(directory).unwrap().count()
    }

    #[tokio::test]
    async fn bytes_are_kept_by_their_hash_and_for_the_owner_alone() {
        let directory = tempfile::tempdir().unwrap();
        let blobs = Blobs::in_directory(directory.path());
        assert_eq!(files_in(directory.path()), 0);
        blobs.prepare().await.unwrap();
        let hash = BlobHash([0xAB; 32]);
        for variant in [Variant::Whole, Variant::Thumbnail, Variant::Whole] {
            let mut partial = blobs.begin().await.unwrap();
            partial.write(b"some ").await.unwrap();
            partial.write(b"bytes").await.unwrap();
            blobs.keep(partial, hash, variant).await.unwrap();
        }
        let at = directory.path().join("files/ab");
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&at), 0o700);
        assert_eq!(mode(&at.join("ab".repeat(31))), 0o600);
        let (mut file, size) = blobs.open(hash, Variant::Whole).await.unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).await.unwrap();
        assert_eq!((text.as_str(), size), ("some bytes", 10));
        assert_eq!(files_in(&at), 2);
        blobs.remove(hash).await.unwrap();
        blobs.remove(hash).await.unwrap();
        assert_eq!(files_in(&at), 0);
        let gone = blobs.open(hash, Variant::Whole).await.unwrap_err();
        assert_eq!(gone.kind(), io::ErrorKind::NotFound);
    }

    #[tokio::test]
    async fn what_is_not_kept_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let tmp = directory.path().join("files/tmp");
        let blobs = Blobs::in_directory(directory.path());
        blobs.prepare().await.unwrap();
        let mut partial = blobs.begin().await.unwrap();
        partial.write(b"half").await.unwrap();
        assert_eq!(files_in(&tmp), 1);
        drop(partial);
        assert_eq!(files_in(&tmp), 0);
        // As after a crash.
        std::fs::write(tmp.join("left"), "over").unwrap();
        blobs.prepare().await.unwrap();
        assert_eq!(files_in(&tmp), 0);
    }
}
