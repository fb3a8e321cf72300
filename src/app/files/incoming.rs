//! A file while it arrives: written to the disk and hashed piece by piece.

use moznods_storage::{BlobHash, PartialBlob};
use ring::digest::{Context, SHA256};

use super::super::{Refusal, Result};
use super::text::TextCheck;

/// Bytes from the beginning by which a file is judged.
const HEAD: usize = 8 * 1024;

pub struct Incoming {
    partial: PartialBlob,
    hash: Context,
    size: u64,
    max: u64,
    head: Vec<u8>,
    text: TextCheck,
}

/// All of it has come.
#[derive(Debug)]
pub(super) struct Received {
    pub partial: PartialBlob,
    pub hash: BlobHash,
    pub size: i64,
    pub head: Vec<u8>,
    pub is_text: bool,
}

impl Incoming {
    pub(super) fn new(partial: PartialBlob, max: u64) -> Self {
        Incoming {
            partial,
            hash: Context::new(&SHA256),
            size: 0,
            max,
            head: Vec::new(),
            text: TextCheck::default(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.size == 0
    }

    pub async fn write(&mut self, piece: &[u8]) -> Result<()> {
        self.size += piece.len() as u64;
        if self.size > self.max {
            return Err(Refusal::FileTooLarge(self.max).into());
        }
        self.hash.update(piece);
        self.text.take(piece);
        let missing = HEAD.saturating_sub(self.head.len()).min(piece.len());
        self.head
            .extend_from_slice(piece.get(..missing).unwrap_or_default());
        Ok(self.partial.write(piece).await?)
    }

    pub(super) async fn end(mut self) -> Result<Received> {
        self.partial.flush().await?;
        let mut hash = [0; 32];
        hash.copy_from_slice(self.hash.finish().as_ref());
        Ok(Received {
            partial: self.partial,
            hash: BlobHash(hash),
            size: i64::try_from(self.size).unwrap_or(i64::MAX),
            head: self.head,
            is_text: self.text.is_text(),
        })
    }
}
