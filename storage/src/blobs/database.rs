//! Blobs in the database itself, which several servers share: in pieces, so that neither a file is in memory as a whole nor
//! does a transaction last as long as an upload.

use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use tokio::fs::File;
use tokio::io::AsyncReadExt;
use tokio::sync::Semaphore;

use super::{BlobError, ByteStream, SharedBlobs, Variant};
use crate::{BlobHash, Store};

/// Bytes of a piece. It is how they lie in the database, and so not to be changed.
const CHUNK: u64 = 256 * 1024;
/// Pieces that are on their way into the database.
const AT_ONCE: usize = 8;
/// Pieces that are removed in one transaction, for which others wait.
const STEP: i64 = 64;

pub struct DatabaseBlobs {
    store: Arc<dyn Store>,
    places: Semaphore,
}

impl fmt::Debug for DatabaseBlobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DatabaseBlobs").finish_non_exhaustive()
    }
}

impl DatabaseBlobs {
    /// In a database that has chunks.
    pub fn new(store: Arc<dyn Store>) -> Self {
        DatabaseBlobs {
            store,
            places: Semaphore::new(AT_ONCE),
        }
    }
}

#[async_trait]
impl SharedBlobs for DatabaseBlobs {
    async fn put(
        &self,
        hash: BlobHash,
        variant: Variant,
        bytes: File,
        size: u64,
    ) -> Result<(), BlobError> {
        let (mut bytes, size) = (bytes, i64::try_from(size).map_err(io::Error::other)?);
        if self.store.complete_size(hash, variant).await? == Some(size) {
            return Ok(());
        }
        let (mut number, mut stored) = (0, 0);
        while stored < size {
            let _place = self.places.acquire().await.map_err(io::Error::other)?;
            let mut chunk = Vec::new();
            let read = (&mut bytes).take(CHUNK).read_to_end(&mut chunk).await?;
            if read == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            stored += i64::try_from(read).map_err(io::Error::other)?;
            self.store.put_chunk(hash, variant, number, chunk).await?;
            number += 1;
        }
        Ok(self.store.complete_chunks(hash, variant, size).await?)
    }

    async fn get(
        &self,
        hash: BlobHash,
        variant: Variant,
        range: Range<u64>,
    ) -> Result<ByteStream, BlobError> {
        if range.is_empty() {
            return Ok(stream::empty().boxed());
        }
        let size = self.size(hash, variant).await?;
        if size < range.end {
            let text = format!("{hash}: it is shorter than what was stored");
            return Err(BlobError::Unavailable(text));
        }
        // No connection is held while the client takes what it was given.
        let store = Arc::clone(&self.store);
        let first = part(store.as_ref(), hash, variant, &range).await?;
        let rest = range.start + first.len() as u64..range.end;
        let rest = stream::try_unfold((store, rest), move |(store, range)| async move {
            if range.is_empty() {
                return Ok(None);
            }
            let part = part(store.as_ref(), hash, variant, &range).await;
            let part = part.map_err(io::Error::other)?;
            let rest = range.start + part.len() as u64..range.end;
            Ok(Some((part, (store, rest))))
        });
        Ok(stream::iter([Ok(first)]).chain(rest).boxed())
    }

    async fn size(&self, hash: BlobHash, variant: Variant) -> Result<u64, BlobError> {
        let size = self.store.complete_size(hash, variant).await?;
        let size = size.and_then(|size| u64::try_from(size).ok());
        size.ok_or(BlobError::Missing)
    }

    async fn remove(&self, hash: BlobHash) -> Result<(), BlobError> {
        while self.store.remove_chunks(hash, STEP).await? {}
        Ok(())
    }

    /// What uploads have left goes with their hash, which is loose.
    async fn tidy(&self) -> Result<(), BlobError> {
        Ok(())
    }

    async fn probe(&self) -> Result<(), BlobError> {
        Ok(self.store.ready().await?)
    }
}

/// The beginning of a range, up to the end of a piece; never empty.
async fn part(
    store: &dyn Store,
    hash: BlobHash,
    variant: Variant,
    range: &Range<u64>,
) -> Result<Bytes, BlobError> {
    let number = range.start / CHUNK;
    let begin = number * CHUNK;
    let number = i64::try_from(number).map_err(io::Error::other)?;
    let chunk = store.chunk(hash, variant, number).await?;
    let chunk = Bytes::from(chunk.ok_or(BlobError::Missing)?);
    let within = |at: u64| usize::try_from(at - begin).unwrap_or(usize::MAX);
    let (from, to) = (within(range.start), within(range.end).min(chunk.len()));
    match from < to {
        true => Ok(chunk.slice(from..to)),
        false => Err(BlobError::Missing),
    }
}
