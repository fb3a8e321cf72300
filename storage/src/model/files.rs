//! Files, what they are attached to, and the names of their bytes.

use std::fmt;
use std::time::Duration;

use ring::digest::Context;

use crate::{Timestamp, UserId};

/// Positive; never given out twice.
pub type FileId = i64;

/// SHA-256 of some bytes; written as hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlobHash(pub [u8; 32]);

impl BlobHash {
    /// Of a SHA-256 that was given all bytes.
    pub(crate) fn of(context: Context) -> Self {
        let mut hash = BlobHash([0; 32]);
        for (byte, found) in hash.0.iter_mut().zip(context.finish().as_ref()) {
            *byte = *found;
        }
        hash
    }

    /// Of 64 lower-case hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.as_bytes();
        if digits.len() != 64 {
            return None;
        }
        let mut hash = [0; 32];
        for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
            let [high, low] = pair else { return None };
            *byte = digit(*high)? << 4 | digit(*low)?;
        }
        Some(BlobHash(hash))
    }
}

fn digit(character: u8) -> Option<u8> {
    match character {
        b'0'..=b'9' => Some(character - b'0'),
        b'a'..=b'f' => Some(character - b'a' + 10),
        _ => None,
    }
}

impl fmt::Display for BlobHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for BlobHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What somebody has uploaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    pub id: FileId,
    pub uploader: UserId,
    pub hash: BlobHash,
    pub name: String,
    /// As found by its content.
    pub content_type: String,
    /// Bytes.
    pub size: i64,
    /// Width and height of a picture as it is shown, in pixels.
    pub dimensions: Option<(i64, i64)>,
    pub has_thumbnail: bool,
    pub created_at: Timestamp,
}

/// Bytes whose storing is noted. Nobody removes them before a row refers to them, unless that takes longer than
/// [`ExpectedBlob::FOR`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExpectedBlob {
    pub id: i64,
    pub hash: BlobHash,
}

impl ExpectedBlob {
    /// By the clocks of all who share the database, which may differ by a little of it.
    pub const FOR: Duration = Duration::from_secs(3600);
}

/// Bytes that nothing refers to, for whoever is to remove them now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LooseBlobs {
    pub hashes: Vec<BlobHash>,
    /// When they were given to him.
    pub since: Timestamp,
}

impl LooseBlobs {
    /// After which others may store the same bytes, or remove them. Who removes has to be done long before.
    pub const FOR: Duration = Duration::from_secs(600);
    /// After which a request to remove that was given up has come to its end.
    pub const GRACE: Duration = Duration::from_secs(10);
}

#[derive(Debug, Clone)]
pub struct NewFile {
    pub uploader: UserId,
    pub blob: ExpectedBlob,
    pub name: String,
    pub content_type: String,
    /// Bytes.
    pub size: i64,
    pub dimensions: Option<(i64, i64)>,
    pub has_thumbnail: bool,
    /// Bytes that all files of the uploader may take; `None`: no limit.
    pub quota: Option<i64>,
    pub now: Timestamp,
}

/// A file that stands in a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    pub id: i64,
    pub file: File,
}

/// How many files there are and how many bytes they have, each counted as often as it was uploaded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FileUsage {
    pub files: i64,
    pub bytes: i64,
}
