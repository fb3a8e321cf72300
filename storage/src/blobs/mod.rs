//! Bytes of files, named by their SHA-256. What has no name yet lies in `files/tmp` of the data directory, wherever those are
//! that have one: beside, as `files/ab/cdef…` (a thumbnail with a suffix), or in a place that several machines share. What is
//! known of files stands in the database.

mod copy;
mod database;
mod directory;
mod s3;

use std::fmt;
use std::fs::OpenOptions;
use std::io;
use std::ops::Range;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};
use tokio::task::spawn_blocking;

use crate::{BlobHash, StorageError};
pub(crate) use copy::hash_of;
pub use copy::{BlobCopy, copy_blobs, prove_blobs};
pub use database::DatabaseBlobs;
use directory::make_directory;
pub use s3::{S3Blobs, S3Settings};

/// Bytes that are read from the disk at a time.
const PIECE: usize = 64 * 1024;
/// Bytes of a picture that was made here: it is read at once.
const MAX_SMALL: u64 = 8 * 1024 * 1024;

/// Which bytes of one hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// Those whose hash it is.
    Whole,
    /// A small picture of them.
    Thumbnail,
}

impl Variant {
    pub const ALL: [Variant; 2] = [Variant::Whole, Variant::Thumbnail];
}

/// Why bytes are not stored, or not had.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    #[error("they are not there")]
    Missing,
    /// What keeps them says no, by a word of its own.
    #[error("refused: {code}")]
    Refused { code: String },
    /// What keeps them does not answer, or nothing that can be used.
    #[error("{0}")]
    Unavailable(String),
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Of the database, where that keeps them.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

pub type ByteStream = BoxStream<'static, io::Result<Bytes>>;

/// A place for bytes that several machines share. Nothing of a blob is there before all of it is; the same bytes may be
/// stored again, also at once.
#[async_trait]
pub trait SharedBlobs: fmt::Debug + Send + Sync {
    /// Stores `size` bytes; durable when this is done, and nothing is left of them when it fails or is given up.
    async fn put(
        &self,
        hash: BlobHash,
        variant: Variant,
        bytes: File,
        size: u64,
    ) -> Result<(), BlobError>;

    /// Part of the bytes; no more than some MiB of them are in memory.
    async fn get(
        &self,
        hash: BlobHash,
        variant: Variant,
        range: Range<u64>,
    ) -> Result<ByteStream, BlobError>;

    /// How many there are.
    async fn size(&self, hash: BlobHash, variant: Variant) -> Result<u64, BlobError>;

    /// Removes all variants; that they are gone already is fine. Is done, or has failed for good, within a minute.
    async fn remove(&self, hash: BlobHash) -> Result<(), BlobError>;

    /// Removes what uploads have left that nobody goes on with.
    async fn tidy(&self) -> Result<(), BlobError>;

    /// Stores something small, reads it, and removes it.
    async fn probe(&self) -> Result<(), BlobError>;
}

/// All blobs.
#[derive(Debug, Clone)]
pub struct Blobs {
    root: PathBuf,
    /// `None`: they are in `root`.
    shared: Option<Arc<dyn SharedBlobs>>,
}

/// Bytes that arrive. Unless they are kept they are removed with this value; after a crash, at the next start.
#[derive(Debug)]
pub struct PartialBlob {
    file: File,
    path: PathBuf,
    kept: bool,
}

/// Bytes that can be read.
#[derive(Debug)]
pub struct Blob {
    size: u64,
    source: Source,
}

#[derive(Debug)]
enum Source {
    File(File),
    Memory(Bytes),
    Shared(Arc<dyn SharedBlobs>, BlobHash, Variant),
}

impl Blobs {
    /// Beside the database. Touches nothing.
    pub fn in_directory(data_dir: &Path) -> Self {
        Blobs {
            root: data_dir.join("files"),
            shared: None,
        }
    }

    /// In `shared`, but for those that arrive. Touches nothing.
    pub fn shared(data_dir: &Path, shared: Arc<dyn SharedBlobs>) -> Self {
        Blobs {
            shared: Some(shared),
            ..Blobs::in_directory(data_dir)
        }
    }

    /// Makes the directories (mode 0700), and removes what an earlier server has left half done; for the one process
    /// that serves from this directory.
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
            file: File::from_std(file),
            path,
            kept: false,
        })
    }

    /// Gives the bytes their name; they are durable when this is done. What had the name before had the same bytes.
    pub async fn keep(
        &self,
        partial: PartialBlob,
        hash: BlobHash,
        variant: Variant,
    ) -> Result<(), BlobError> {
        let mut partial = partial;
        partial.file.flush().await?;
        match &self.shared {
            None => Ok(self.keep_beside(partial, hash, variant).await?),
            Some(shared) => {
                let file = File::open(&partial.path).await?;
                let size = file.metadata().await?.len();
                shared.put(hash, variant, file, size).await
            }
        }
    }

    /// For who knows how many bytes there are `size`; otherwise it is found out, and few they must be.
    pub async fn open(
        &self,
        hash: BlobHash,
        variant: Variant,
        size: Option<u64>,
    ) -> Result<Blob, BlobError> {
        let Some(shared) = &self.shared else {
            let (file, size) = self.open_beside(hash, variant).await?;
            let source = Source::File(file);
            return Ok(Blob { size, source });
        };
        if let Some(size) = size {
            let source = Source::Shared(Arc::clone(shared), hash, variant);
            return Ok(Blob { size, source });
        }
        let size = shared.size(hash, variant).await?;
        if size > MAX_SMALL {
            let text = format!("{size} bytes, more than a picture may have");
            return Err(BlobError::Unavailable(text));
        }
        let mut pieces = shared.get(hash, variant, 0..size).await?;
        let mut bytes = BytesMut::new();
        while let Some(piece) = pieces.next().await {
            bytes.extend_from_slice(&piece?);
        }
        let bytes = bytes.freeze();
        Ok(Blob {
            size: bytes.len() as u64,
            source: Source::Memory(bytes),
        })
    }

    /// Removes all variants; that they are gone already is fine.
    pub async fn remove(&self, hash: BlobHash) -> Result<(), BlobError> {
        match &self.shared {
            None => Ok(self.remove_beside(hash).await?),
            Some(shared) => shared.remove(hash).await,
        }
    }

    /// The place that is shared, if it is.
    pub fn shared_place(&self) -> Option<&Arc<dyn SharedBlobs>> {
        self.shared.as_ref()
    }

    fn tmp(&self) -> PathBuf {
        self.root.join("tmp")
    }
}

impl Blob {
    /// Bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The first byte.
    pub async fn first(&mut self) -> Result<u8, BlobError> {
        let mut first = [0];
        match &mut self.source {
            Source::File(file) => {
                file.read_exact(&mut first).await?;
                file.rewind().await?;
            }
            Source::Memory(bytes) => first.copy_from_slice(bytes.get(..1).unwrap_or(&[0])),
            Source::Shared(shared, hash, variant) => {
                let mut pieces = shared.get(*hash, *variant, 0..1).await?;
                if let Some(piece) = pieces.next().await {
                    first.copy_from_slice(piece?.get(..1).unwrap_or(&[0]));
                }
            }
        }
        let [first] = first;
        Ok(first)
    }

    /// Part of the bytes, which lies within them. Bytes that are not there after all are an error, at once or in the stream.
    pub async fn read(self, range: Range<u64>) -> Result<ByteStream, BlobError> {
        match self.source {
            Source::Shared(shared, hash, variant) => shared.get(hash, variant, range).await,
            Source::Memory(bytes) => {
                let at = |place| usize::try_from(place).unwrap_or(usize::MAX);
                let part = bytes.get(at(range.start)..at(range.end));
                let part = part.map(|_| bytes.slice(at(range.start)..at(range.end)));
                Ok(stream::iter(part.map(Ok)).boxed())
            }
            Source::File(mut file) => {
                if range.start > 0 {
                    file.seek(io::SeekFrom::Start(range.start)).await?;
                }
                Ok(pieces(file, range.end - range.start))
            }
        }
    }
}

/// The next `length` bytes of a file.
fn pieces(file: File, length: u64) -> ByteStream {
    stream::try_unfold((file, length), |(mut file, left)| async move {
        if left == 0 {
            return Ok(None);
        }
        let most = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
        let mut piece = BytesMut::with_capacity(most);
        let mut part = (&mut file).take(most as u64);
        if part.read_buf(&mut piece).await? == 0 {
            // Cut on the disk: the client must not take it for all.
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
        }
        let left = left - piece.len() as u64;
        Ok(Some((piece.freeze(), (file, left))))
    })
    .boxed()
}

/// Within the place of all blobs.
pub(crate) fn relative_path(hash: BlobHash, variant: Variant) -> PathBuf {
    let name = hash.to_string();
    let (directory, rest) = name.split_at(2);
    let suffix = match variant {
        Variant::Whole => "",
        Variant::Thumbnail => ".thumb",
    };
    Path::new(directory).join(format!("{rest}{suffix}"))
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

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    spawn_blocking(work).await.map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

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
        let open = || blobs.open(hash, Variant::Whole, None);
        assert_eq!(open().await.unwrap().size(), 10);
        for (range, expected) in [(0..10, "some bytes"), (5..7, "by"), (0..0, "")] {
            let mut blob = open().await.unwrap();
            assert_eq!(blob.first().await.unwrap(), b's');
            let pieces = blob.read(range).await.unwrap();
            let pieces: Vec<Bytes> = pieces.map(io::Result::unwrap).collect().await;
            assert_eq!(pieces.concat(), expected.as_bytes());
        }
        assert_eq!(files_in(&at), 2);
        blobs.remove(hash).await.unwrap();
        blobs.remove(hash).await.unwrap();
        assert_eq!(files_in(&at), 0);
        let gone = open().await;
        assert!(matches!(gone, Err(BlobError::Missing)));
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
