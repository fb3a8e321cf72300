//! The web client, as it was built into the binary (a debug build reads it from `web/dist`).

use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use rust_embed::{Embed, EmbeddedFile};

use super::error::ApiError;

#[derive(Embed)]
#[folder = "web/dist"]
#[allow_missing = true]
struct Files;

const NOT_BUILT: &str = "The web client is not built: run `make web`, then reload this page.\n";

/// Whatever has no route: a file of the client, or nothing.
pub async fn serve(method: Method, uri: Uri, headers: HeaderMap) -> Response {
    let path = uri.path().trim_start_matches('/');
    if path == "api" || path.starts_with("api/") || path.starts_with("ws/") {
        return ApiError::UnknownPath.into_response();
    }
    if method != Method::GET && method != Method::HEAD {
        return ApiError::MethodNotAllowed.into_response();
    }
    let path = if path.is_empty() { "index.html" } else { path };
    match Files::get(path) {
        Some(file) => answer(path, file, &headers),
        None if path == "index.html" => (StatusCode::NOT_FOUND, NOT_BUILT).into_response(),
        None => (StatusCode::NOT_FOUND, "Not found\n").into_response(),
    }
}

fn answer(path: &str, file: EmbeddedFile, headers: &HeaderMap) -> Response {
    // Names under `assets/` hold a hash of what is in them.
    let caching = if path.starts_with("assets/") {
        "public, max-age=31536000, immutable"
    } else {
        "no-cache"
    };
    let hash = file.metadata.sha256_hash();
    let tag: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    let tag = format!("\"{tag}\"");
    let known = headers
        .get(header::IF_NONE_MATCH)
        .is_some_and(|value| value.as_bytes() == tag.as_bytes());
    let answer_headers = [
        (header::CACHE_CONTROL, caching.to_owned()),
        (header::ETAG, tag),
        (header::CONTENT_TYPE, file.metadata.mimetype().to_owned()),
    ];
    if known {
        return (StatusCode::NOT_MODIFIED, answer_headers).into_response();
    }
    (answer_headers, file.data.into_owned()).into_response()
}
