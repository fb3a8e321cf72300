//! Bytes of files in the database itself, where several servers share it. [`crate::DatabaseBlobs`] makes blobs of them.

use async_trait::async_trait;

use super::Result;
use crate::{BlobHash, Variant};

#[async_trait]
pub trait ChunkStore {
    /// Whether bytes belong there; elsewhere none of the below is to be called.
    fn has_chunks(&self) -> bool;
    /// Numbers begin with 0. The one that is there already has the same bytes.
    async fn put_chunk(
        &self,
        hash: BlobHash,
        variant: Variant,
        number: i64,
        bytes: Vec<u8>,
    ) -> Result<()>;
    /// All of them are there.
    async fn complete_chunks(&self, hash: BlobHash, variant: Variant, size: i64) -> Result<()>;
    /// Bytes of all, once all are there.
    async fn complete_size(&self, hash: BlobHash, variant: Variant) -> Result<Option<i64>>;
    async fn chunk(&self, hash: BlobHash, variant: Variant, number: i64)
    -> Result<Option<Vec<u8>>>;
    /// Removes some of all variants, at most `limit`; whether there may be more.
    async fn remove_chunks(&self, hash: BlobHash, limit: i64) -> Result<bool>;
}
