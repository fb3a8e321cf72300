//! Blobs in a bucket of an S3-compatible store, named as on the disk: `PREFIXab/cdef…`. How HTTP is spoken is the caller's matter.

use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::BytesMut;
use futures_util::{StreamExt, TryStreamExt};
use object_store::aws::{AmazonS3, AmazonS3Builder, AwsAuthorizer, AwsCredential};
use object_store::client::{HttpClient, HttpConnector, HttpRequestBody, HttpService};
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{
    BackoffConfig, ClientOptions, GetOptions, GetRange, MultipartId, ObjectStore, ObjectStoreExt,
    PutPayload, RetryConfig,
};
use serde::Deserialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::fs::File;
use tokio::io::AsyncReadExt;
use tokio::sync::Semaphore;

use super::{BlobError, ByteStream, SharedBlobs, Variant, relative_path};
use crate::{BlobHash, ExpectedBlob};

/// Bytes of a part; what has no more is sent as a whole. Stores take none that is smaller, some want all to be of one size, and
/// none has more than 10,000 of them.
const PART: usize = 5 * 1024 * 1024;
/// Parts in memory.
const AT_ONCE: usize = 4;
/// After a request has failed that may be sent again.
const RETRIES: usize = 2;
/// After which none is begun.
const RETRY_WITHIN: Duration = Duration::from_secs(10);
/// For what is not bounded by the HTTP client.
const REMOVE_WITHIN: Duration = Duration::from_secs(50);
/// Bytes of a file that are read at once.
const READ: usize = 256 * 1024;
/// Bytes of an answer that is read as a whole.
const MAX_ANSWER: usize = 4 * 1024 * 1024;

/// Where the bucket is, and who asks.
#[derive(Clone)]
pub struct S3Settings {
    /// `http://` or `https://`, without a slash at its end; with the bucket's name in it unless `path_style`.
    pub endpoint: String,
    pub bucket: String,
    pub region: String,
    pub access_key_id: String,
    pub secret_access_key: String,
    /// Whether the bucket's name is the first part of the path.
    pub path_style: bool,
    /// Before all names; empty, or with a slash at its end.
    pub prefix: String,
}

impl fmt::Debug for S3Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Settings")
            .field("endpoint", &self.endpoint)
            .field("bucket", &self.bucket)
            .finish_non_exhaustive()
    }
}

#[derive(Debug)]
pub struct S3Blobs {
    store: Arc<AmazonS3>,
    settings: S3Settings,
    /// For what `object_store` has no request for.
    http: HttpClient,
    places: Semaphore,
}

/// The one client for all.
#[derive(Debug)]
struct Connector(HttpClient);

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(self.0.clone())
    }
}

impl S3Blobs {
    /// `http` bounds how long it waits. Asks for nothing yet; fails where the settings cannot be used.
    pub fn new(settings: S3Settings, http: impl HttpService) -> Result<Self, BlobError> {
        let http = HttpClient::new(http);
        let retry = RetryConfig {
            backoff: BackoffConfig::default(),
            max_retries: RETRIES,
            retry_timeout: RETRY_WITHIN,
        };
        let store = AmazonS3Builder::new()
            .with_endpoint(&settings.endpoint)
            .with_allow_http(true)
            .with_bucket_name(&settings.bucket)
            .with_region(&settings.region)
            .with_access_key_id(&settings.access_key_id)
            .with_secret_access_key(&settings.secret_access_key)
            .with_virtual_hosted_style_request(!settings.path_style)
            // One key at a time every store knows.
            .with_disable_bulk_delete(true)
            .with_retry(retry)
            .with_http_connector(Connector(http.clone()))
            .build()
            .map_err(told)?;
        Ok(S3Blobs {
            store: Arc::new(store),
            settings,
            http,
            places: Semaphore::new(AT_ONCE),
        })
    }

    fn path(&self, hash: BlobHash, variant: Variant) -> Path {
        let name = relative_path(hash, variant);
        self.named(&name.to_string_lossy())
    }

    fn named(&self, name: &str) -> Path {
        Path::from(format!("{}{name}", self.settings.prefix))
    }

    async fn put_parts(&self, path: &Path, file: &mut File, size: u64) -> Result<(), BlobError> {
        let id = self.store.create_multipart(path).await.map_err(told)?;
        let mut upload = Upload {
            store: Arc::clone(&self.store),
            path: path.clone(),
            id,
            parts: Vec::new(),
            is_open: true,
        };
        let mut left = size;
        while left > 0 {
            let _place = self.places.acquire().await.map_err(io::Error::other)?;
            let part = read(file, left).await?;
            left -= part.content_length() as u64;
            let number = upload.parts.len();
            let sent = self.store.put_part(path, &upload.id, number, part).await;
            upload.parts.push(sent.map_err(told)?);
        }
        let parts = std::mem::take(&mut upload.parts);
        let completed = self.store.complete_multipart(path, &upload.id, parts).await;
        completed.map_err(told)?;
        upload.is_open = false;
        Ok(())
    }

    /// Uploads that were begun and neither ended nor given up, some of them.
    async fn open_uploads(&self) -> Result<Vec<OpenUpload>, BlobError> {
        let S3Settings {
            endpoint,
            bucket,
            region,
            access_key_id,
            secret_access_key,
            path_style,
            prefix,
        } = &self.settings;
        let bucket = if *path_style { bucket } else { "" };
        // A prefix has none but characters that stand for themselves, and slashes.
        let prefix = prefix.replace('/', "%2F");
        let url = format!("{endpoint}/{bucket}?prefix={prefix}&uploads=");
        let request = http::Request::get(url).body(HttpRequestBody::empty());
        let mut request = request.map_err(io::Error::other)?;
        let credential = AwsCredential {
            key_id: access_key_id.clone(),
            secret_key: secret_access_key.clone(),
            token: None,
        };
        AwsAuthorizer::new(&credential, "s3", region)
            .try_authorize(&mut request, None)
            .map_err(told)?;
        let unavailable = |error: object_store::client::HttpError| {
            BlobError::Unavailable(format!("listing uploads: {error}"))
        };
        let answer = self.http.execute(request).await.map_err(unavailable)?;
        let status = answer.status();
        let mut pieces = answer.into_body().bytes_stream();
        let mut bytes = Vec::new();
        while let Some(piece) = pieces.next().await {
            bytes.extend_from_slice(&piece.map_err(unavailable)?);
            if bytes.len() > MAX_ANSWER {
                let text = "listing uploads: the answer is too long".to_owned();
                return Err(BlobError::Unavailable(text));
            }
        }
        let text = String::from_utf8_lossy(&bytes);
        if !status.is_success() {
            return Err(match code_in(&text) {
                Some(code) => BlobError::Refused { code },
                None => BlobError::Unavailable(format!("listing uploads: {status}")),
            });
        }
        let listing: Uploads = quick_xml::de::from_str(&text)
            .map_err(|error| BlobError::Unavailable(format!("listing uploads: {error}")))?;
        Ok(listing.uploads)
    }
}

#[derive(Deserialize)]
struct Uploads {
    #[serde(rename = "Upload", default)]
    uploads: Vec<OpenUpload>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct OpenUpload {
    key: String,
    upload_id: String,
    initiated: String,
}

impl OpenUpload {
    /// Nothing could refer to it any more, were it to end.
    fn is_stale(&self) -> bool {
        let begun = OffsetDateTime::parse(&self.initiated, &Rfc3339);
        begun.is_ok_and(|begun| OffsetDateTime::from(SystemTime::now()) - begun > ExpectedBlob::FOR)
    }
}

/// Parts of what is not there yet; given up with the value unless all is.
struct Upload {
    store: Arc<AmazonS3>,
    path: Path,
    id: MultipartId,
    parts: Vec<PartId>,
    is_open: bool,
}

impl Drop for Upload {
    fn drop(&mut self) {
        if !self.is_open {
            return;
        }
        let (store, path) = (Arc::clone(&self.store), self.path.clone());
        let id = std::mem::take(&mut self.id);
        // Where the runtime ends, or the store does not answer, `tidy` finds it.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                if let Err(error) = store.abort_multipart(&path, &id).await {
                    tracing::warn!(%error, "an upload to the bucket could not be given up");
                }
            });
        }
    }
}

#[async_trait]
impl SharedBlobs for S3Blobs {
    async fn put(
        &self,
        hash: BlobHash,
        variant: Variant,
        bytes: File,
        size: u64,
    ) -> Result<(), BlobError> {
        let (path, mut bytes) = (self.path(hash, variant), bytes);
        bytes.set_max_buf_size(READ);
        if size > PART as u64 {
            return self.put_parts(&path, &mut bytes, size).await;
        }
        let _place = self.places.acquire().await.map_err(io::Error::other)?;
        let whole = read(&mut bytes, size).await?;
        self.store.put(&path, whole).await.map_err(told)?;
        Ok(())
    }

    async fn get(
        &self,
        hash: BlobHash,
        variant: Variant,
        range: Range<u64>,
    ) -> Result<ByteStream, BlobError> {
        if range.is_empty() {
            return Ok(futures_util::stream::empty().boxed());
        }
        let options = GetOptions {
            range: Some(GetRange::Bounded(range.clone())),
            ..GetOptions::default()
        };
        let path = self.path(hash, variant);
        let found = self.store.get_opts(&path, options).await.map_err(told)?;
        if found.range != range {
            let text = format!("{path}: it is shorter than what was stored");
            return Err(BlobError::Unavailable(text));
        }
        Ok(found.into_stream().map_err(io::Error::other).boxed())
    }

    async fn size(&self, hash: BlobHash, variant: Variant) -> Result<u64, BlobError> {
        let found = self.store.head(&self.path(hash, variant)).await;
        Ok(found.map_err(told)?.size)
    }

    async fn remove(&self, hash: BlobHash) -> Result<(), BlobError> {
        let removing = async {
            for variant in Variant::ALL {
                match self.store.delete(&self.path(hash, variant)).await {
                    Err(object_store::Error::NotFound { .. }) | Ok(()) => {}
                    Err(error) => return Err(told(error)),
                }
            }
            Ok(())
        };
        let late = |_| BlobError::Unavailable("removing takes too long".to_owned());
        tokio::time::timeout(REMOVE_WITHIN, removing)
            .await
            .map_err(late)?
    }

    async fn tidy(&self) -> Result<(), BlobError> {
        for upload in self.open_uploads().await? {
            if upload.is_stale() && is_blob(&upload.key, &self.settings.prefix) {
                let path = Path::parse(&upload.key).map_err(io::Error::other)?;
                let aborted = self.store.abort_multipart(&path, &upload.upload_id).await;
                aborted.map_err(told)?;
            }
        }
        Ok(())
    }

    async fn probe(&self) -> Result<(), BlobError> {
        let name = format!("tmp/moznods-{}", uuid::Uuid::new_v4().simple());
        let (path, text) = (self.named(&name), &b"may be removed"[..]);
        let put = self.store.put(&path, PutPayload::from_static(text)).await;
        put.map_err(told)?;
        let found = self.store.get(&path).await.map_err(told)?;
        let found = found.bytes().await.map_err(told)?;
        self.store.delete(&path).await.map_err(told)?;
        match found == text {
            true => Ok(()),
            false => {
                let text = "what was stored is not what is read".to_owned();
                Err(BlobError::Unavailable(text))
            }
        }
    }
}

/// Whether an object is of ours; others may have theirs beside them.
fn is_blob(key: &str, prefix: &str) -> bool {
    let name = key
        .strip_prefix(prefix)
        .and_then(|name| name.split_once('/'));
    name.is_some_and(|(directory, rest)| {
        let rest = rest.strip_suffix(".thumb").unwrap_or(rest);
        directory.len() == 2 && BlobHash::parse(&format!("{directory}{rest}")).is_some()
    })
}

/// The next part of a file that has `left` bytes more.
async fn read(file: &mut File, left: u64) -> io::Result<PutPayload> {
    let length = usize::try_from(left).unwrap_or(PART).min(PART);
    let mut part = BytesMut::with_capacity(length);
    let mut bytes = file.take(length as u64);
    while part.len() < length {
        if bytes.read_buf(&mut part).await? == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
        }
    }
    Ok(PutPayload::from_bytes(part.freeze()))
}

/// Errors of `object_store` name the URL, and what the store has said; neither has a secret in it, as requests are signed in
/// their headers.
fn told(error: object_store::Error) -> BlobError {
    let text = error.to_string();
    match (&error, code_in(&text)) {
        // What there is no body with is about the one object.
        (object_store::Error::NotFound { .. }, None) => BlobError::Missing,
        (object_store::Error::NotFound { .. }, Some(code)) if code == "NoSuchKey" => {
            BlobError::Missing
        }
        (_, Some(code)) => BlobError::Refused { code },
        (_, None) => BlobError::Unavailable(text),
    }
}

/// Of an error as S3 writes it.
fn code_in(text: &str) -> Option<String> {
    let (_, rest) = text.split_once("<Code>")?;
    let (code, _) = rest.split_once("</Code>")?;
    let is_word = code.len() <= 64 && code.bytes().all(|byte| byte.is_ascii_alphanumeric());
    is_word.then(|| code.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uploads_that_nobody_goes_on_with_are_found() {
        let now = OffsetDateTime::now_utc().format(&Rfc3339).unwrap();
        let text = format!(
            "<?xml version=\"1.0\"?><ListMultipartUploadsResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">
             <Bucket>b</Bucket><IsTruncated>false</IsTruncated>
             <Upload><Key>ab/cd</Key><UploadId>one</UploadId><Initiated>2020-11-10T20:48:33.000Z</Initiated></Upload>
             <Upload><Initiator><ID>x</ID></Initiator><Key>ab/ce</Key><UploadId>two</UploadId><Initiated>{now}</Initiated></Upload>
             </ListMultipartUploadsResult>"
        );
        let found: Uploads = quick_xml::de::from_str(&text).unwrap();
        let stale: Vec<_> = found.uploads.iter().map(OpenUpload::is_stale).collect();
        assert_eq!(stale, [true, false]);
        assert_eq!(found.uploads[0].upload_id, "one");
        let none = "<ListMultipartUploadsResult></ListMultipartUploadsResult>";
        let found: Uploads = quick_xml::de::from_str(none).unwrap();
        assert!(found.uploads.is_empty());
    }

    #[test]
    fn what_others_have_in_the_bucket_is_left_alone() {
        let name = format!("ab/{}", "cd".repeat(31));
        for (key, prefix, is_ours) in [
            (name.clone(), "", true),
            (format!("{name}.thumb"), "", true),
            (format!("chat/{name}"), "chat/", true),
            (format!("chat/{name}"), "", false),
            (name.clone(), "chat/", false),
            (name.replace('/', ""), "", false),
            ("ab/report.pdf".to_owned(), "", false),
        ] {
            assert_eq!(is_blob(&key, prefix), is_ours, "{key}");
        }
    }

    #[test]
    fn what_the_store_says_has_a_word() {
        let said = "403 Forbidden: <Error><Code>AccessDenied</Code><Message>no</Message></Error>";
        assert_eq!(code_in(said).as_deref(), Some("AccessDenied"));
        for other in ["", "<Code>", "<Code>a b</Code>", "502 Bad Gateway: <html>"] {
            assert_eq!(code_in(other), None);
        }
    }

    #[test]
    fn keys_are_shown_nowhere() {
        let settings = S3Settings {
            endpoint: "https://s3.example".to_owned(),
            bucket: "b".to_owned(),
            region: "r".to_owned(),
            access_key_id: "AKIA".to_owned(),
            secret_access_key: "hush".to_owned(),
            path_style: true,
            prefix: String::new(),
        };
        let shown = format!("{settings:?}");
        assert!(
            !shown.contains("hush") && !shown.contains("AKIA"),
            "{shown}"
        );
    }
}
