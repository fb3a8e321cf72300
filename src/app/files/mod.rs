//! Files and avatars: what is taken, who may have it, and how long it stays.

mod file_names;
mod found;
mod incoming;
mod kinds;
mod pictures;
mod sweep;
mod text;

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use moznods_storage::{
    Blob, BlobError, BlobHash, Blobs, ByteStream, DatabaseBlobs, ExpectedBlob, File, FileId,
    NewFile, S3Blobs, S3Settings, Store, User, Variant,
};
use ring::digest::{SHA256, digest};
use tokio::sync::Notify;

use super::metrics::Refused;
use super::{App, Error, Problem, Refusal, Result, now};
use crate::config::Config;
use crate::outbound::{Outbound, Pooled};

pub(super) use found::{FoundFile, FoundFiles, NotTaken};
pub use incoming::Incoming;
use incoming::Received;
pub use kinds::Claim;
use pictures::{Pictures, Small, Trouble};

/// Pixels of the longer side.
const THUMBNAIL: u32 = 320;
/// Pixels of the longer side.
const AVATAR: u32 = 512;
/// Bytes of a picture from which an avatar is made.
const MAX_AVATAR: u64 = 5 * 1024 * 1024;
/// Between two looks whether somebody is done removing what is to be stored.
const REMOVAL_LOOK: Duration = Duration::from_millis(100);
/// How often it is looked.
const REMOVAL_LOOKS: usize = 150;

/// Where the bytes are, and what must not be done at once.
#[derive(Debug)]
pub(super) struct Files {
    blobs: Blobs,
    pictures: Pictures,
    /// Something may have become loose.
    loosened: Notify,
}

impl Files {
    pub fn new(config: &Config, store: &Arc<dyn Store>, outbound: &Arc<Outbound>) -> Result<Self> {
        let blobs = match bucket(config, outbound)? {
            Some(bucket) => Blobs::shared(&config.data_dir, Arc::new(bucket)),
            None if store.has_chunks() => {
                let shared = DatabaseBlobs::new(Arc::clone(store));
                Blobs::shared(&config.data_dir, Arc::new(shared))
            }
            None => Blobs::in_directory(&config.data_dir),
        };
        Ok(Files {
            blobs,
            pictures: Pictures::default(),
            loosened: Notify::new(),
        })
    }
}

/// The one that the settings name.
pub fn bucket(
    config: &Config,
    outbound: &Arc<Outbound>,
) -> std::result::Result<Option<S3Blobs>, BlobError> {
    let Some(bucket) = &config.files.bucket else {
        return Ok(None);
    };
    let settings = S3Settings {
        endpoint: bucket.endpoint.clone(),
        bucket: bucket.name.clone(),
        region: bucket.region.clone(),
        access_key_id: bucket.access_key_id.clone(),
        secret_access_key: bucket.secret_access_key.expose().to_owned(),
        path_style: bucket.path_style,
        prefix: bucket.prefix.clone(),
    };
    S3Blobs::new(settings, Pooled::new(Arc::clone(outbound))).map(Some)
}

/// A file that may be stored.
struct Judged {
    received: Received,
    name: String,
    content_type: String,
    dimensions: Option<(i64, i64)>,
    thumbnail: Option<Vec<u8>>,
}

/// What becomes of the picture of an account.
pub enum AvatarChange {
    Keep,
    Remove,
    Replace(Box<Incoming>),
}

/// A file that is to be sent.
#[derive(Debug)]
pub struct Content(Blob);

impl Content {
    /// Bytes.
    pub fn size(&self) -> u64 {
        self.0.size()
    }

    /// Of a picture that was written here: one of two types.
    pub async fn picture_type(&mut self) -> Result<&'static str> {
        Ok(match self.0.first().await? {
            0x89 => "image/png",
            _ => "image/jpeg",
        })
    }

    /// Part of the bytes, which lies within them.
    pub async fn read(self, range: Range<u64>) -> Result<ByteStream> {
        Ok(self.0.read(range).await?)
    }
}

impl App {
    /// For a file of `expected` bytes, if that is known.
    pub async fn begin_upload(&self, user: &User, expected: Option<u64>) -> Result<Incoming> {
        let settings = &self.config.files;
        let expected = expected.unwrap_or(0);
        // Judged again when all is there; but what cannot fit need not come.
        if expected > settings.max_size {
            return Err(Refusal::FileTooLarge(settings.max_size).into());
        }
        self.check_quota(user, expected).await?;
        Ok(Incoming::new(
            self.files.blobs.begin().await?,
            settings.max_size,
        ))
    }

    pub async fn finish_upload(
        &self,
        user: &User,
        incoming: Incoming,
        claim: Claim,
    ) -> Result<File> {
        let received = incoming.end().await?;
        let size = u64::try_from(received.size).unwrap_or(u64::MAX);
        self.check_quota(user, size).await?;
        let judged = self.judge(received, &claim).await?;
        let blob = self.expect(judged.received.hash).await?;
        let new = NewFile {
            uploader: user.id,
            blob,
            name: judged.name.clone(),
            content_type: judged.content_type.clone(),
            size: judged.received.size,
            dimensions: judged.dimensions,
            has_thumbnail: judged.thumbnail.is_some(),
            quota: self.quota(),
            now: now(),
        };
        let stored = async {
            self.keep(judged).await?;
            Ok(self.store.add_file(new).await?)
        };
        let stored: Result<File> = stored.await;
        match &stored {
            Ok(file) => {
                self.metrics.files.inc();
                self.metrics.file_bytes.inc_by(file.size);
            }
            Err(_) => self.give_up(blob).await,
        }
        stored
    }

    /// Before bytes are stored. Whoever removes the same just now is waited for.
    async fn expect(&self, hash: BlobHash) -> Result<ExpectedBlob> {
        for _ in 0..REMOVAL_LOOKS {
            if let Some(blob) = self.store.expect_blob(hash, now()).await? {
                return Ok(blob);
            }
            tokio::time::sleep(REMOVAL_LOOK).await;
        }
        Err(Refusal::FilesUnavailable.into())
    }

    /// Nothing will refer to them. Where that cannot be noted, it will be found out when they are too old.
    async fn give_up(&self, blob: ExpectedBlob) {
        if let Err(error) = self.store.release_blob(blob).await {
            tracing::warn!(%error, "bytes that were given up stay for an hour");
        }
        self.files.loosened.notify_one();
    }

    /// What a file is, if it may be stored.
    async fn judge(&self, received: Received, claim: &Claim) -> Result<Judged> {
        if received.size == 0 {
            return Err(Error::field("file", Problem::EmptyFile));
        }
        let types = &self.config.files.types;
        let content_type = kinds::judge(&received.head, received.is_text, claim, types)?;
        let small = match pictures::TYPES.contains(&content_type.as_str()) {
            false => None,
            true => {
                let path = received.partial.path().to_owned();
                Some(self.files.pictures.small(path, THUMBNAIL).await)
            }
        };
        let (dimensions, thumbnail) = match small {
            None => (None, None),
            Some(Ok(Small { dimensions, bytes })) => (Some(dimensions), Some(bytes)),
            // It may be had, but is not shown.
            Some(Err(Trouble::TooLarge(width, height))) => (Some((width, height)), None),
            Some(Err(Trouble::NotAPicture)) => return Err(Refusal::FileContradiction.into()),
        };
        Ok(Judged {
            received,
            name: file_names::cleaned(&claim.name),
            content_type,
            dimensions: dimensions.map(|(width, height)| (width.into(), height.into())),
            thumbnail,
        })
    }

    /// Gives the bytes their place, which are expected. Nothing refers to them yet.
    async fn keep(&self, judged: Judged) -> Result<()> {
        let (blobs, hash) = (&self.files.blobs, judged.received.hash);
        if let Some(thumbnail) = judged.thumbnail {
            let mut partial = blobs.begin().await?;
            partial.write(&thumbnail).await?;
            blobs.keep(partial, hash, Variant::Thumbnail).await?;
        }
        let keeping = blobs.keep(judged.received.partial, hash, Variant::Whole);
        Ok(keeping.await?)
    }

    /// An upload of which nothing came to be.
    pub fn upload_refused(&self, error: Option<&Error>) {
        let reason = match error {
            Some(Error::Refused(Refusal::FileTooLarge(_))) => "too_large",
            Some(Error::Refused(Refusal::QuotaExceeded)) => "quota",
            Some(Error::Refused(Refusal::FileType | Refusal::FileContradiction)) => "type",
            Some(Error::Refused(Refusal::StorageFull)) => "storage_full",
            _ => "other",
        };
        self.metrics
            .uploads_refused
            .get_or_create(&Refused { reason })
            .inc();
    }

    /// As one who may have it sees it.
    pub async fn file(&self, user: &User, file: FileId) -> Result<File> {
        let found = self.store.file(file, user.id).await?;
        Ok(found.ok_or(Refusal::NotFound)?)
    }

    /// One that its uploader has attached to nothing; what is attached goes with its message.
    pub async fn delete_file(&self, user: &User, file: FileId) -> Result<()> {
        let found = self.file(user, file).await?;
        if !self.store.delete_file(found.id, user.id).await? {
            return Err(Refusal::FileAttached.into());
        }
        self.files.loosened.notify_one();
        Ok(())
    }

    /// For one who holds a link that this server has signed.
    pub async fn linked_file(&self, file: FileId) -> Result<File> {
        Ok(self.store.any_file(file).await?.ok_or(Refusal::NotFound)?)
    }

    /// The bytes of a file.
    pub async fn content(&self, file: &File) -> Result<Content> {
        let size = u64::try_from(file.size).ok();
        self.bytes(file.hash, Variant::Whole, size).await
    }

    pub async fn thumbnail(&self, file: &File) -> Result<Content> {
        if !file.has_thumbnail {
            return Err(Refusal::NotFound.into());
        }
        self.bytes(file.hash, Variant::Thumbnail, None).await
    }

    async fn bytes(&self, hash: BlobHash, variant: Variant, size: Option<u64>) -> Result<Content> {
        let opened = self.files.blobs.open(hash, variant, size).await;
        if let Err(BlobError::Missing) = opened {
            tracing::error!(%hash, "the bytes of a file are not there");
        }
        Ok(Content(opened?))
    }

    /// For the picture of an account.
    pub async fn begin_avatar(&self) -> Result<Incoming> {
        Ok(Incoming::new(self.files.blobs.begin().await?, MAX_AVATAR))
    }

    /// What was sent is not kept, but a small picture made of it.
    pub async fn finish_avatar(&self, user: &User, incoming: Incoming) -> Result<User> {
        let (hash, bytes) = self.small_avatar(incoming).await?;
        let blob = self.expect(hash).await?;
        let set = async {
            self.keep_avatar(hash, &bytes).await?;
            Ok(self.store.set_avatar(user.id, Some(blob)).await?)
        };
        let set: Result<User> = set.await;
        match &set {
            Ok(_) => self.files.loosened.notify_one(),
            Err(_) => self.give_up(blob).await,
        }
        set
    }

    async fn small_avatar(&self, incoming: Incoming) -> Result<(BlobHash, Vec<u8>)> {
        let not_a_picture = || Error::field("avatar", Problem::NotAPicture);
        let received = incoming.end().await?;
        let path = received.partial.path().to_owned();
        let small = self.files.pictures.small(path, AVATAR).await;
        let small = small.map_err(|trouble| match trouble {
            Trouble::NotAPicture => not_a_picture(),
            Trouble::TooLarge(..) => {
                let megapixels = usize::try_from(pictures::MAX_PIXELS / 1_000_000);
                let problem = Problem::PictureTooLarge(megapixels.unwrap_or(usize::MAX));
                Error::field("avatar", problem)
            }
        })?;
        let mut hash = BlobHash([0; 32]);
        hash.0
            .copy_from_slice(digest(&SHA256, &small.bytes).as_ref());
        Ok((hash, small.bytes))
    }

    /// As [`Self::keep`].
    async fn keep_avatar(&self, hash: BlobHash, bytes: &[u8]) -> Result<()> {
        let mut partial = self.files.blobs.begin().await?;
        partial.write(bytes).await?;
        let keeping = self.files.blobs.keep(partial, hash, Variant::Whole);
        Ok(keeping.await?)
    }

    pub async fn remove_avatar(&self, user: &User) -> Result<User> {
        let user = self.store.set_avatar(user.id, None).await?;
        self.files.loosened.notify_one();
        Ok(user)
    }

    /// A picture that somebody has now; whoever asks.
    pub async fn avatar(&self, hash: BlobHash) -> Result<Content> {
        if !self.store.is_avatar(hash).await? {
            return Err(Refusal::NotFound.into());
        }
        self.bytes(hash, Variant::Whole, None).await
    }

    /// Bytes that a user's files may take.
    pub(super) fn quota(&self) -> Option<i64> {
        match self.config.files.quota_per_user {
            0 => None,
            quota => Some(i64::try_from(quota).unwrap_or(i64::MAX)),
        }
    }

    async fn check_quota(&self, user: &User, size: u64) -> Result<()> {
        let Some(quota) = self.quota() else {
            return Ok(());
        };
        let used = self.store.file_usage(user.id).await?.bytes;
        let size = i64::try_from(size).unwrap_or(i64::MAX);
        match used.saturating_add(size) > quota {
            true => Err(Refusal::QuotaExceeded.into()),
            false => Ok(()),
        }
    }
}
