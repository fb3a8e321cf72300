//! Blobs that lie beside a database, brought to a place that is shared.

use std::io;
use std::path::{Path, PathBuf};

use futures_util::StreamExt;
use ring::digest::{Context, SHA256};
use tokio::fs::File;

use super::{BlobError, SharedBlobs, Variant, relative_path};
use crate::BlobHash;

/// What became of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BlobCopy {
    pub copied: u64,
    /// Of those that were copied.
    pub bytes: u64,
    /// Were there already.
    pub known: u64,
    /// Are neither in the source nor in the target.
    pub missing: Vec<PathBuf>,
}

fn of_each(named: &[(BlobHash, bool)]) -> impl Iterator<Item = (BlobHash, Variant)> {
    named.iter().flat_map(|&(hash, thumbnail)| {
        let thumbnail = thumbnail.then_some((hash, Variant::Thumbnail));
        std::iter::once((hash, Variant::Whole)).chain(thumbnail)
    })
}

fn beside(data_dir: &Path, hash: BlobHash, variant: Variant) -> PathBuf {
    data_dir.join("files").join(relative_path(hash, variant))
}

/// Copies what is not in `to` yet, of those that are named with whether there is a thumbnail. May be broken off and run again.
pub async fn copy_blobs(
    data_dir: &Path,
    to: &dyn SharedBlobs,
    named: &[(BlobHash, bool)],
) -> Result<BlobCopy, BlobError> {
    let mut copy = BlobCopy::default();
    for (hash, variant) in of_each(named) {
        let path = beside(data_dir, hash, variant);
        let file = match File::open(&path).await {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                match to.size(hash, variant).await {
                    Ok(_) => copy.known += 1,
                    Err(BlobError::Missing) => copy.missing.push(path),
                    Err(error) => return Err(error),
                }
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        let size = file.metadata().await?.len();
        match to.size(hash, variant).await {
            Ok(found) if found == size => copy.known += 1,
            Ok(_) | Err(BlobError::Missing) => {
                to.put(hash, variant, file, size).await?;
                copy.copied += 1;
                copy.bytes += size;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(copy)
}

/// Those that are not in `to` what they are beside the database; what is not there is none of them.
pub async fn prove_blobs(
    data_dir: &Path,
    to: &dyn SharedBlobs,
    named: &[(BlobHash, bool)],
) -> Result<Vec<BlobHash>, BlobError> {
    let mut wrong = Vec::new();
    for (hash, variant) in of_each(named) {
        let path = beside(data_dir, hash, variant);
        let size = match tokio::fs::metadata(&path).await {
            Ok(found) => found.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error.into()),
        };
        let found = hash_of(to, hash, variant).await?;
        let right = match variant {
            Variant::Whole => found == Some(hash),
            Variant::Thumbnail => match to.size(hash, variant).await {
                Err(BlobError::Missing) => false,
                found => found? == size,
            },
        };
        if !right {
            wrong.push(hash);
        }
    }
    Ok(wrong)
}

/// What hash the bytes have; `None`: they are not there, or are cut off.
pub(crate) async fn hash_of(
    shared: &dyn SharedBlobs,
    hash: BlobHash,
    variant: Variant,
) -> Result<Option<BlobHash>, BlobError> {
    let size = match shared.size(hash, variant).await {
        Err(BlobError::Missing) => return Ok(None),
        size => size?,
    };
    let mut pieces = match shared.get(hash, variant, 0..size).await {
        Err(BlobError::Missing) => return Ok(None),
        pieces => pieces?,
    };
    let mut context = Context::new(&SHA256);
    while let Some(piece) = pieces.next().await {
        context.update(&piece?);
    }
    Ok(Some(BlobHash::of(context)))
}
