//! The web client, as it was built into the binary (a debug build reads it from `web/dist`).

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::{LazyLock, Mutex, PoisonError};

use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use flate2::Compression;
use flate2::write::GzEncoder;
use ring::digest::{SHA256, digest};
use rust_embed::{Embed, EmbeddedFile};

use super::error::ApiError;

#[derive(Embed)]
#[folder = "web/dist"]
#[allow_missing = true]
struct Files;

const NOT_BUILT: &str = "The web client is not built: run `make web`, then reload this page.\n";
/// Bytes below which compressing does not pay.
const WORTH_COMPRESSING: usize = 1024;

/// Files by the hash of what is in them, compressed once each, when first asked for.
static COMPRESSED: LazyLock<Mutex<HashMap<[u8; 32], Bytes>>> = LazyLock::new(Mutex::default);

/// Whatever has no route: a file of the client, or nothing.
pub async fn serve(method: Method, uri: Uri, headers: HeaderMap) -> Response {
    let path = uri.path().trim_start_matches('/');
    if path == "api" || path.starts_with("api/") || path.starts_with("ws/") {
        return ApiError::UnknownPath.into_response();
    }
    if method != Method::GET && method != Method::HEAD {
        return ApiError::MethodNotAllowed.into_response();
    }
    match Files::get(path) {
        Some(file) => File::from(file).answer(path, &headers),
        None if path.is_empty() || path == "index.html" => page("index.html", &headers),
        None => (StatusCode::NOT_FOUND, "Not found\n").into_response(),
    }
}

/// `GET /api/docs/`: the page that shows the API's document.
pub async fn docs(headers: HeaderMap) -> Response {
    page("docs.html", &headers)
}

/// A page of the client, wherever it is asked for.
fn page(path: &str, headers: &HeaderMap) -> Response {
    match Files::get(path) {
        Some(file) => File::from(file).answer(path, headers),
        None => (StatusCode::NOT_FOUND, NOT_BUILT).into_response(),
    }
}

#[derive(Clone)]
pub struct File {
    bytes: Bytes,
    hash: [u8; 32],
    kind: String,
}

impl From<EmbeddedFile> for File {
    fn from(file: EmbeddedFile) -> Self {
        File {
            bytes: match file.data {
                Cow::Borrowed(bytes) => Bytes::from_static(bytes),
                Cow::Owned(bytes) => bytes.into(),
            },
            hash: file.metadata.sha256_hash(),
            kind: file.metadata.mimetype().to_owned(),
        }
    }
}

impl File {
    /// One that was not built into the binary as it is.
    pub fn new(bytes: Bytes, kind: &str) -> Self {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, &bytes).as_ref());
        File {
            bytes,
            hash,
            kind: kind.to_owned(),
        }
    }

    /// With a tag by which it is known again, and compressed for who takes that.
    pub fn answer(self, path: &str, headers: &HeaderMap) -> Response {
        // Names under `assets/` hold a hash of what is in them.
        let caching = if path.starts_with("assets/") {
            "public, max-age=31536000, immutable"
        } else {
            "no-cache"
        };
        let tag: String = self.hash.iter().map(|byte| format!("{byte:02x}")).collect();
        // Weak: compressed or not, it is the same file.
        let tag = format!("W/\"{tag}\"");
        let known = items(headers, header::IF_NONE_MATCH)
            .any(|known| known == "*" || known.trim_start_matches("W/") == &tag[2..]);
        let answer_headers = [
            (header::CACHE_CONTROL, caching.to_owned()),
            (header::ETAG, tag),
            (header::VARY, "Accept-Encoding".to_owned()),
            (header::CONTENT_TYPE, self.kind.clone()),
        ];
        if known {
            return (StatusCode::NOT_MODIFIED, answer_headers).into_response();
        }
        if self.is_worth_compressing()
            && takes_gzip(headers)
            && let Ok(compressed) = self.compressed()
        {
            let encoding = [(header::CONTENT_ENCODING, "gzip")];
            return (encoding, answer_headers, compressed).into_response();
        }
        (answer_headers, self.bytes).into_response()
    }

    fn is_worth_compressing(&self) -> bool {
        let compressed_already = ["image/", "font/", "audio/", "video/"]
            .iter()
            .any(|kind| self.kind.starts_with(kind));
        self.bytes.len() >= WORTH_COMPRESSING
            && (!compressed_already || self.kind == "image/svg+xml")
    }

    fn compressed(&self) -> io::Result<Bytes> {
        let mut all = COMPRESSED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bytes) = all.get(&self.hash) {
            return Ok(bytes.clone());
        }
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(&self.bytes)?;
        let bytes: Bytes = encoder.finish()?.into();
        all.insert(self.hash, bytes.clone());
        Ok(bytes)
    }
}

fn takes_gzip(headers: &HeaderMap) -> bool {
    items(headers, header::ACCEPT_ENCODING).any(|item| {
        let (encoding, weight) = item.split_once(';').unwrap_or((item, ""));
        let refused = weight
            .trim()
            .strip_prefix("q=")
            .is_some_and(|q| q.parse::<f32>().is_ok_and(|q| q == 0.0));
        encoding.trim().eq_ignore_ascii_case("gzip") && !refused
    })
}

/// What a header lists.
fn items(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;

    use super::*;

    fn ask(kind: &str, length: usize, headers: &[(HeaderName, &str)]) -> Response {
        let file = File {
            bytes: vec![b'x'; length].into(),
            hash: [u8::try_from(length % 251).unwrap(); 32],
            kind: kind.to_owned(),
        };
        let headers = headers.iter().cloned();
        let headers = headers.map(|(name, value)| (name, value.parse().unwrap()));
        file.answer("assets/x", &headers.collect())
    }

    #[tokio::test]
    async fn files_go_compressed_to_those_who_take_that() {
        let gzip = |accept: &str, kind: &str, length: usize| {
            let response = ask(kind, length, &[(header::ACCEPT_ENCODING, accept)]);
            assert_eq!(response.headers()[header::VARY], "Accept-Encoding");
            response.headers().contains_key(header::CONTENT_ENCODING)
        };
        assert!(gzip("gzip, deflate, br", "text/javascript", 5000));
        assert!(gzip("br, GZIP;q=0.5", "image/svg+xml", 5000));
        assert!(!gzip("gzip;q=0, br", "text/javascript", 5000));
        assert!(!gzip("br", "text/javascript", 5000));
        assert!(!gzip("gzip", "text/javascript", 100));
        assert!(!gzip("gzip", "font/woff2", 5000));

        let accept = (header::ACCEPT_ENCODING, "gzip");
        for _ in 0..2 {
            let response = ask("text/css", 5000, std::slice::from_ref(&accept));
            let body = axum::body::to_bytes(response.into_body(), 5000).await;
            let mut text = Vec::new();
            let compressed = body.unwrap();
            GzDecoder::new(&compressed[..])
                .read_to_end(&mut text)
                .unwrap();
            assert_eq!(text, [b'x'; 5000]);
        }
    }

    #[test]
    fn what_is_known_is_not_sent_again() {
        let first = ask("text/css", 5000, &[]);
        let tag = first.headers()[header::ETAG].to_str().unwrap();
        let strong = tag.trim_start_matches("W/");
        let listed = format!("\"other\", {tag}");
        for (known, status) in [
            (tag, 304),
            (strong, 304),
            (&listed, 304),
            ("*", 304),
            ("\"other\"", 200),
            ("", 200),
        ] {
            let response = ask("text/css", 5000, &[(header::IF_NONE_MATCH, known)]);
            assert_eq!(response.status(), status, "{known}");
        }
    }
}
