//! Files: what is known of them. Their bytes are kept by [`crate::Blobs`].

use async_trait::async_trait;

use super::Result;
use crate::{
    BlobHash, ExpectedBlob, File, FileId, FileUsage, LooseBlobs, NewFile, Timestamp, User, UserId,
};

#[async_trait]
pub trait FileStore {
    /// Notes that these bytes are about to be stored: unless something comes to refer to them, they are loose. `None`
    /// while somebody removes the same, which does not take long.
    async fn expect_blob(&self, hash: BlobHash, now: Timestamp) -> Result<Option<ExpectedBlob>>;
    /// Nothing will refer to them on behalf of who has expected them.
    async fn release_blob(&self, blob: ExpectedBlob) -> Result<()>;
    /// `QuotaExceeded` when the uploader's files would take more than the quota, `NotFound` when there is no uploader,
    /// `BlobGone` when the bytes took too long.
    async fn add_file(&self, file: NewFile) -> Result<File>;
    /// `None` also when `viewer` may not see it: he has neither uploaded it nor takes part in a room where it is attached.
    async fn file(&self, file: FileId, viewer: UserId) -> Result<Option<File>>;
    /// Whoever asks.
    async fn any_file(&self, file: FileId) -> Result<Option<File>>;
    /// Removes what he has uploaded and is attached to nothing; whether there was such a file.
    async fn delete_file(&self, file: FileId, uploader: UserId) -> Result<bool>;
    /// Of one user.
    async fn file_usage(&self, user: UserId) -> Result<FileUsage>;
    /// Of all users.
    async fn all_file_usage(&self) -> Result<FileUsage>;
    /// Whether something was uploaded before and is attached to nothing.
    async fn has_orphans(&self, before: Timestamp) -> Result<bool>;
    /// Removes what was uploaded before and is attached to nothing, at most `limit` files; how many there were.
    async fn remove_orphans(&self, before: Timestamp, limit: i64) -> Result<usize>;

    /// `None` takes the picture away. `BlobGone` when the bytes took too long.
    async fn set_avatar(&self, user: UserId, avatar: Option<ExpectedBlob>) -> Result<User>;
    /// Whether somebody has this picture.
    async fn is_avatar(&self, hash: BlobHash) -> Result<bool>;

    /// Bytes that nothing refers to and nobody expects, at most `limit`: for the caller to remove within
    /// [`LooseBlobs::FOR`], while which nobody else is given them.
    async fn loose_blobs(&self, limit: i64, now: Timestamp) -> Result<LooseBlobs>;
    /// These have not been removed, or perhaps they are just now: [`LooseBlobs::GRACE`] later they may be stored again.
    async fn return_blobs(&self, left: LooseBlobs, now: Timestamp) -> Result<()>;
    /// These have been removed.
    async fn forget_blobs(&self, removed: LooseBlobs) -> Result<()>;
    /// Bytes that must exist and follow `after` in order, at most `limit`, each with whether there is a thumbnail.
    async fn needed_blobs(
        &self,
        after: Option<BlobHash>,
        limit: i64,
    ) -> Result<Vec<(BlobHash, bool)>>;
}
