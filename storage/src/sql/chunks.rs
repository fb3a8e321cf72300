//! SQL of bytes of files that are in the database itself, in pieces; for one that several servers share.

use async_trait::async_trait;

use super::{Engine, Result, SqlStore};
use crate::sql::{Connection, OptionalExtension, params};
use crate::{BlobHash, ChunkStore, Variant};

#[async_trait]
impl ChunkStore for SqlStore {
    fn has_chunks(&self) -> bool {
        matches!(self.engine, Engine::Postgres(_))
    }

    async fn put_chunk(
        &self,
        hash: BlobHash,
        variant: Variant,
        number: i64,
        bytes: Vec<u8>,
    ) -> Result<()> {
        self.write_apart(move |c| {
            c.execute(
                "INSERT INTO blob_chunks (hash, variant, number, bytes) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
                params![hash, of(variant), number, bytes],
            )?;
            Ok(())
        })
        .await
    }

    async fn complete_chunks(&self, hash: BlobHash, variant: Variant, size: i64) -> Result<()> {
        self.write(move |c| {
            c.execute(
                "INSERT INTO stored_blobs (hash, variant, size) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                params![hash, of(variant), size],
            )?;
            Ok(())
        })
        .await
    }

    async fn complete_size(&self, hash: BlobHash, variant: Variant) -> Result<Option<i64>> {
        self.read(move |c| {
            Ok(c.query_row(
                "SELECT size FROM stored_blobs WHERE hash = ? AND variant = ?",
                params![hash, of(variant)],
                |row| row.get(0),
            )
            .optional()?)
        })
        .await
    }

    async fn chunk(
        &self,
        hash: BlobHash,
        variant: Variant,
        number: i64,
    ) -> Result<Option<Vec<u8>>> {
        self.read(move |c| {
            Ok(c.query_row(
                "SELECT bytes FROM blob_chunks WHERE hash = ? AND variant = ? AND number = ?",
                params![hash, of(variant), number],
                |row| row.get(0),
            )
            .optional()?)
        })
        .await
    }

    async fn remove_chunks(&self, hash: BlobHash, limit: i64) -> Result<bool> {
        self.write_apart(move |c| remove(c, hash, limit)).await
    }
}

fn of(variant: Variant) -> i64 {
    match variant {
        Variant::Whole => 0,
        Variant::Thumbnail => 1,
    }
}

fn remove(c: &Connection, hash: BlobHash, limit: i64) -> Result<bool> {
    // First, so that nobody takes what is left for the whole.
    c.execute("DELETE FROM stored_blobs WHERE hash = ?", [hash])?;
    let mut left = limit;
    for variant in Variant::ALL {
        let removed = c.execute(
            "DELETE FROM blob_chunks WHERE hash = ?1 AND variant = ?2 AND number IN
                 (SELECT number FROM blob_chunks WHERE hash = ?1 AND variant = ?2 ORDER BY number LIMIT ?3)",
            params![hash, of(variant), left],
        )?;
        left -= i64::try_from(removed).unwrap_or(left);
    }
    Ok(left == 0)
}
