//! SQL of files, attachments and avatars.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;

use super::users::by_id;
use super::{Result, SqlStore, found};
use crate::sql::{Connection, OptionalExtension, Row, SqlResult, params};
use crate::{
    Attachment, BlobHash, ExpectedBlob, File, FileId, FileStore, FileUsage, LooseBlobs, Message,
    MessageId, NewFile, StorageError, Timestamp, User, UserId,
};

#[async_trait]
impl FileStore for SqlStore {
    async fn expect_blob(&self, hash: BlobHash, now: Timestamp) -> Result<Option<ExpectedBlob>> {
        self.write(move |c| expect(c, hash, now)).await
    }

    async fn release_blob(&self, blob: ExpectedBlob) -> Result<()> {
        self.write(move |c| release(c, blob).map(drop)).await
    }

    async fn add_file(&self, file: NewFile) -> Result<File> {
        self.write(move |c| add(c, file)).await
    }

    async fn file(&self, file: FileId, viewer: UserId) -> Result<Option<File>> {
        self.read(move |c| seen(c, file, viewer)).await
    }

    async fn any_file(&self, file: FileId) -> Result<Option<File>> {
        self.read(move |c| get(c, file)).await
    }

    async fn delete_file(&self, file: FileId, uploader: UserId) -> Result<bool> {
        self.write(move |c| delete(c, file, uploader)).await
    }

    async fn file_usage(&self, user: UserId) -> Result<FileUsage> {
        self.read(move |c| usage(c, user)).await
    }

    async fn all_file_usage(&self) -> Result<FileUsage> {
        self.read(all_usage).await
    }

    async fn has_orphans(&self, before: Timestamp) -> Result<bool> {
        self.read(move |c| has_orphans(c, before)).await
    }

    async fn remove_orphans(&self, before: Timestamp, limit: i64) -> Result<usize> {
        self.write(move |c| remove_orphans(c, before, limit)).await
    }

    async fn set_avatar(&self, user: UserId, avatar: Option<ExpectedBlob>) -> Result<User> {
        self.write(move |c| set_avatar(c, user, avatar)).await
    }

    async fn is_avatar(&self, hash: BlobHash) -> Result<bool> {
        self.read(move |c| is_avatar(c, hash)).await
    }

    async fn loose_blobs(&self, limit: i64, now: Timestamp) -> Result<LooseBlobs> {
        // Where nothing was removed, there is nothing to write.
        if !self.read(move |c| any_loose(c, now)).await? {
            return Ok(LooseBlobs::default());
        }
        self.write(move |c| loose(c, limit, now)).await
    }

    async fn return_blobs(&self, left: LooseBlobs, now: Timestamp) -> Result<()> {
        self.write(move |c| give_back(c, &left, now)).await
    }

    async fn forget_blobs(&self, removed: LooseBlobs) -> Result<()> {
        self.write(move |c| forget(c, &removed)).await
    }

    async fn needed_blobs(
        &self,
        after: Option<BlobHash>,
        limit: i64,
    ) -> Result<Vec<(BlobHash, bool)>> {
        self.read(move |c| needed(c, after, limit)).await
    }
}

const FILE: &str = "f.id, f.uploader_id, f.hash, f.name, f.content_type, f.size, f.width, f.height, f.has_thumbnail, f.created_at";
const FILE_COLUMNS: usize = 10;

/// Reads [`FILE`] from the first column on.
fn read_file(row: &Row<'_>) -> SqlResult<File> {
    let (width, height): (Option<i64>, Option<i64>) = (row.get(6)?, row.get(7)?);
    Ok(File {
        id: row.get(0)?,
        uploader: row.get(1)?,
        hash: row.get(2)?,
        name: row.get(3)?,
        content_type: row.get(4)?,
        size: row.get(5)?,
        dimensions: width.zip(height),
        has_thumbnail: row.get(8)?,
        created_at: row.get(9)?,
    })
}

/// Before which an expectation, or who removes, is not counted any more.
fn stale(now: Timestamp, bound: Duration) -> Timestamp {
    now.saturating_sub(i64::try_from(bound.as_micros()).unwrap_or(i64::MAX))
}

fn expect(c: &Connection, hash: BlobHash, now: Timestamp) -> Result<Option<ExpectedBlob>> {
    let free = c
        .prepare_cached(
            "INSERT INTO loose_blobs (hash) VALUES (?1) ON CONFLICT (hash) DO UPDATE SET removing_since = NULL
             WHERE loose_blobs.removing_since IS NULL OR loose_blobs.removing_since < ?2",
        )?
        .execute(params![hash, stale(now, LooseBlobs::FOR)])?;
    if free == 0 {
        return Ok(None);
    }
    let id = c.insert(
        "INSERT INTO expected_blobs (hash, expected_at) VALUES (?, ?)",
        params![hash, now],
    )?;
    Ok(id.map(|id| ExpectedBlob { id, hash }))
}

/// Whether it was still expected.
fn release(c: &Connection, blob: ExpectedBlob) -> Result<bool> {
    let rows = c
        .prepare_cached("DELETE FROM expected_blobs WHERE id = ? AND hash = ?")?
        .execute(params![blob.id, blob.hash])?;
    Ok(rows == 1)
}

fn add(c: &Connection, new: NewFile) -> Result<File> {
    if !release(c, new.blob)? {
        return Err(StorageError::BlobGone);
    }
    let used = usage(c, new.uploader)?.bytes;
    let fits = |quota: i64| used.checked_add(new.size).is_some_and(|sum| sum <= quota);
    if !new.quota.is_none_or(fits) {
        return Err(StorageError::QuotaExceeded);
    }
    let (width, height) = new.dimensions.unzip();
    let row = params![
        new.blob.hash,
        new.uploader,
        new.name,
        new.content_type,
        new.size,
        width,
        height,
        new.has_thumbnail,
        new.now,
    ];
    let id = c.insert(
        "INSERT INTO files (hash, uploader_id, name, content_type, size, width, height, has_thumbnail, created_at)
         SELECT ?1, id, ?3, ?4, ?5, ?6, ?7, ?8, ?9 FROM users WHERE id = ?2 AND NOT blocked AND NOT deleted",
        row,
    )?;
    get(c, id.ok_or(StorageError::NotFound)?)?.ok_or(StorageError::NotFound)
}

fn get(c: &Connection, file: FileId) -> Result<Option<File>> {
    Ok(
        c.prepare_cached(&format!("SELECT {FILE} FROM files f WHERE f.id = ?"))?
            .query_row([file], read_file)
            .optional()?,
    )
}

fn seen(c: &Connection, file: FileId, viewer: UserId) -> Result<Option<File>> {
    Ok(c.prepare_cached(&format!(
        "SELECT {FILE} FROM files f WHERE f.id = ?1 AND (f.uploader_id = ?2 OR EXISTS (
             SELECT 1 FROM attachments a JOIN messages m ON m.id = a.message_id
                 JOIN participants p ON p.room_id = m.room_id AND p.user_id = ?2
             WHERE a.file_id = f.id))"
    ))?
    .query_row([file, viewer], read_file)
    .optional()?)
}

fn delete(c: &Connection, file: FileId, uploader: UserId) -> Result<bool> {
    let rows = c
        .prepare_cached("DELETE FROM files WHERE id = ? AND uploader_id = ? AND NOT attached")?
        .execute([file, uploader])?;
    Ok(rows == 1)
}

fn read_usage(row: &Row<'_>) -> SqlResult<FileUsage> {
    Ok(FileUsage {
        files: row.get(0)?,
        bytes: row.get(1)?,
    })
}

pub(super) fn usage(c: &Connection, user: UserId) -> Result<FileUsage> {
    Ok(
        c.prepare_cached("SELECT files, bytes FROM file_usage WHERE user_id = ?")?
            .query_row([user], read_usage)
            .optional()?
            .unwrap_or_default(),
    )
}

fn all_usage(c: &Connection) -> Result<FileUsage> {
    Ok(
        c.prepare_cached(
            "SELECT CAST(coalesce(sum(files), 0) AS BIGINT), CAST(coalesce(sum(bytes), 0) AS BIGINT) FROM file_usage",
        )?
        .query_row((), read_usage)?,
    )
}

fn has_orphans(c: &Connection, before: Timestamp) -> Result<bool> {
    Ok(
        c.prepare_cached("SELECT 1 FROM files WHERE NOT attached AND created_at < ? LIMIT 1")?
            .exists([before])?,
    )
}

fn remove_orphans(c: &Connection, before: Timestamp, limit: i64) -> Result<usize> {
    Ok(c.prepare_cached(
        "DELETE FROM files WHERE id IN
             (SELECT id FROM files WHERE NOT attached AND created_at < ? ORDER BY created_at LIMIT ?)",
    )?
    .execute([before, limit])?)
}

/// Of a user that is no more: his picture, and what he has uploaded for nothing.
pub(super) fn remove_of_user(c: &Connection, user: UserId) -> Result<()> {
    c.execute("UPDATE users SET avatar_hash = NULL WHERE id = ?", [user])?;
    c.execute(
        "DELETE FROM files WHERE NOT attached AND uploader_id = ?",
        [user],
    )?;
    Ok(())
}

/// Attaches the author's own files to the message, in this order.
pub(super) fn attach(
    c: &Connection,
    message: MessageId,
    author: UserId,
    files: &[FileId],
) -> Result<()> {
    for file in files {
        let rows = c
            .prepare_cached(
                "UPDATE files SET attached = TRUE WHERE id = ? AND uploader_id = ? AND NOT attached",
            )?
            .execute([*file, author])?;
        if rows == 0 {
            return Err(StorageError::NoSuchFile);
        }
        c.prepare_cached("INSERT INTO attachments (message_id, file_id) VALUES (?, ?)")?
            .execute([message, *file])?;
    }
    Ok(())
}

/// Puts in what is attached to each of the messages.
pub(super) fn add_attachments<'a>(
    c: &Connection,
    messages: impl IntoIterator<Item = &'a mut Message>,
) -> Result<()> {
    let mut by_id: HashMap<MessageId, &mut Message> = messages
        .into_iter()
        .map(|message| (message.id, message))
        .collect();
    let ids: Vec<String> = by_id.keys().map(MessageId::to_string).collect();
    let mut statement = c.prepare_cached(&format!(
        "SELECT {FILE}, a.id, a.message_id FROM attachments a JOIN files f ON f.id = a.file_id
         WHERE a.message_id IN (SELECT value FROM json_each(?)) ORDER BY a.id"
    ))?;
    let mut rows = statement.query([format!("[{}]", ids.join(","))])?;
    while let Some(row) = rows.next()? {
        let attachment = Attachment {
            id: row.get(FILE_COLUMNS)?,
            file: read_file(&row)?,
        };
        if let Some(message) = by_id.get_mut(&row.get(FILE_COLUMNS + 1)?) {
            message.attachments.push(attachment);
        }
    }
    Ok(())
}

fn set_avatar(c: &Connection, user: UserId, avatar: Option<ExpectedBlob>) -> Result<User> {
    if let Some(blob) = avatar
        && !release(c, blob)?
    {
        return Err(StorageError::BlobGone);
    }
    let avatar = avatar.map(|blob| blob.hash);
    found(
        c.prepare_cached("UPDATE users SET avatar_hash = ? WHERE id = ? AND NOT deleted")?
            .execute(params![avatar, user])?,
    )?;
    // The same picture once more.
    if let Some(avatar) = avatar {
        c.prepare_cached("DELETE FROM loose_blobs WHERE hash = ?")?
            .execute([avatar])?;
    }
    by_id(c, user)?.ok_or(StorageError::NotFound)
}

fn is_avatar(c: &Connection, hash: BlobHash) -> Result<bool> {
    Ok(
        c.prepare_cached("SELECT 1 FROM users WHERE avatar_hash = ? LIMIT 1")?
            .exists([hash])?,
    )
}

fn any_loose(c: &Connection, now: Timestamp) -> Result<bool> {
    Ok(c.prepare_cached(
        "SELECT 1 FROM loose_blobs l WHERE (removing_since IS NULL OR removing_since < ?1)
             AND NOT EXISTS (SELECT 1 FROM expected_blobs e WHERE e.hash = l.hash AND e.expected_at >= ?2)
         LIMIT 1",
    )?
    .exists([stale(now, LooseBlobs::FOR), stale(now, ExpectedBlob::FOR)])?)
}

fn loose(c: &Connection, limit: i64, now: Timestamp) -> Result<LooseBlobs> {
    c.prepare_cached("DELETE FROM expected_blobs WHERE expected_at < ?")?
        .execute([stale(now, ExpectedBlob::FOR)])?;
    c.prepare_cached(
        "DELETE FROM loose_blobs WHERE EXISTS (SELECT 1 FROM files f WHERE f.hash = loose_blobs.hash)
             OR EXISTS (SELECT 1 FROM users u WHERE u.avatar_hash = loose_blobs.hash)",
    )?
    .execute(())?;
    let hashes = c
        .prepare_cached(
            "UPDATE loose_blobs SET removing_since = ?1 WHERE hash IN (
                 SELECT hash FROM loose_blobs l WHERE (removing_since IS NULL OR removing_since < ?2)
                     AND NOT EXISTS (SELECT 1 FROM expected_blobs e WHERE e.hash = l.hash)
                 ORDER BY hash LIMIT ?3)
             RETURNING hash",
        )?
        .query_map(params![now, stale(now, LooseBlobs::FOR), limit], |row| {
            row.get(0)
        })?
        .collect::<SqlResult<_>>()?;
    Ok(LooseBlobs { hashes, since: now })
}

fn give_back(c: &Connection, left: &LooseBlobs, now: Timestamp) -> Result<()> {
    let mut statement = c.prepare_cached(
        "UPDATE loose_blobs SET removing_since = ? WHERE hash = ? AND removing_since = ?",
    )?;
    let until = stale(now, LooseBlobs::FOR.saturating_sub(LooseBlobs::GRACE));
    for hash in &left.hashes {
        statement.execute(params![until, hash, left.since])?;
    }
    Ok(())
}

fn forget(c: &Connection, removed: &LooseBlobs) -> Result<()> {
    let mut statement =
        c.prepare_cached("DELETE FROM loose_blobs WHERE hash = ? AND removing_since = ?")?;
    for hash in &removed.hashes {
        statement.execute(params![hash, removed.since])?;
    }
    Ok(())
}

pub(crate) fn needed(
    c: &Connection,
    after: Option<BlobHash>,
    limit: i64,
) -> Result<Vec<(BlobHash, bool)>> {
    let after = after.map_or(Vec::new(), |hash| hash.0.to_vec());
    let needed = c
        .prepare_cached(
            "SELECT hash, max(thumbnail) FROM (
                 SELECT hash, CASE WHEN has_thumbnail THEN 1 ELSE 0 END AS thumbnail FROM files WHERE hash > ?1
                 UNION ALL SELECT avatar_hash, 0 FROM users WHERE avatar_hash > ?1) AS named
             GROUP BY hash ORDER BY hash LIMIT ?2",
        )?
        .query_map(params![after, limit], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<SqlResult<_>>()?;
    Ok(needed)
}
