//! Files and avatars: what is taken, who may have it, and how long it stays.

mod file_names;
mod found;
mod incoming;
mod kinds;
mod pictures;
mod sweep;
mod text;

use moznods_storage::{BlobHash, Blobs, File, FileId, NewFile, User, Variant};
use ring::digest::{SHA256, digest};
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio::sync::{Notify, RwLock};

use super::metrics::Refused;
use super::{App, Error, Problem, Refusal, Result, now};

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

/// Where the bytes are, and what must not be done at once.
#[derive(Debug)]
pub(super) struct Files {
    blobs: Blobs,
    pictures: Pictures,
    /// Held by all who store bytes, up to where something refers to them; alone by who removes those that nothing
    /// refers to.
    storing: RwLock<()>,
    /// Something may have become loose.
    loosened: Notify,
}

impl Files {
    pub fn new(data_dir: &std::path::Path) -> Self {
        Files {
            blobs: Blobs::in_directory(data_dir),
            pictures: Pictures::default(),
            storing: RwLock::default(),
            loosened: Notify::new(),
        }
    }
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
pub struct Content {
    pub bytes: tokio::fs::File,
    pub size: u64,
}

impl Content {
    /// Of a picture that was written here: one of two types.
    pub async fn picture_type(&mut self) -> Result<&'static str> {
        let mut first = [0];
        self.bytes.read_exact(&mut first).await?;
        self.bytes.rewind().await?;
        Ok(match first {
            [0x89] => "image/png",
            _ => "image/jpeg",
        })
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
        let new = NewFile {
            uploader: user.id,
            hash: judged.received.hash,
            name: judged.name.clone(),
            content_type: judged.content_type.clone(),
            size: judged.received.size,
            dimensions: judged.dimensions,
            has_thumbnail: judged.thumbnail.is_some(),
            quota: self.quota(),
            now: now(),
        };
        let _storing = self.files.storing.read().await;
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
            Err(_) => self.files.loosened.notify_one(),
        }
        stored
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

    /// Gives the bytes their place. Nothing refers to them yet: see [`Files::storing`].
    async fn keep(&self, judged: Judged) -> Result<()> {
        let (blobs, hash) = (&self.files.blobs, judged.received.hash);
        self.store.expect_blob(hash).await?;
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

    pub async fn content(&self, hash: BlobHash, variant: Variant) -> Result<Content> {
        match self.files.blobs.open(hash, variant).await {
            Ok((bytes, size)) => Ok(Content { bytes, size }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                tracing::error!(%hash, "the bytes of a file are not on the disk");
                Err(Refusal::NotFound.into())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// For the picture of an account.
    pub async fn begin_avatar(&self) -> Result<Incoming> {
        Ok(Incoming::new(self.files.blobs.begin().await?, MAX_AVATAR))
    }

    /// What was sent is not kept, but a small picture made of it.
    pub async fn finish_avatar(&self, user: &User, incoming: Incoming) -> Result<User> {
        let (hash, bytes) = self.small_avatar(incoming).await?;
        let _storing = self.files.storing.read().await;
        self.keep_avatar(hash, &bytes).await?;
        let user = self.store.set_avatar(user.id, Some(hash)).await?;
        self.files.loosened.notify_one();
        Ok(user)
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
        self.store.expect_blob(hash).await?;
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
        self.content(hash, Variant::Whole).await
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
