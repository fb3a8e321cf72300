//! Bytes of files as they are sent: with ranges, and with headers under which nothing of them can act in a page.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::range::{Part, part};
use crate::app::Content;
use crate::http::error::{ApiError, ApiResult};

/// Neither script nor form nor anything else works in it, should somebody open it as a page.
const SANDBOX: &str = "default-src 'none'; style-src 'unsafe-inline'; sandbox";

/// What is said of some bytes.
pub struct About {
    pub content_type: &'static str,
    /// As in Content-Disposition; `None`: it is part of a page alone.
    pub disposition: Option<String>,
    /// Quoted; the same bytes have the same.
    pub tag: String,
    pub caching: &'static str,
}

/// The answer to a request with these headers.
pub async fn send(asked: &HeaderMap, content: Content, about: About) -> ApiResult<Response> {
    let size = content.size();
    let mut headers = HeaderMap::new();
    let mut set = |name, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    };
    set(header::ETAG, &about.tag);
    set(header::CACHE_CONTROL, about.caching);
    set(header::CONTENT_SECURITY_POLICY, SANDBOX);
    set(header::ACCEPT_RANGES, "bytes");
    let text = |name| asked.get(name).and_then(|value| value.to_str().ok());
    // §13.1.2: before the range.
    if text(header::IF_NONE_MATCH).is_some_and(|tags| names(tags, &about.tag)) {
        return Ok((StatusCode::NOT_MODIFIED, headers).into_response());
    }
    set(header::CONTENT_TYPE, about.content_type);
    if let Some(disposition) = &about.disposition {
        set(header::CONTENT_DISPOSITION, disposition);
    }
    // §13.1.5: of other bytes a part would not fit to what the client has.
    let is_same = text(header::IF_RANGE).is_none_or(|tag| tag.trim() == about.tag);
    let wanted = match text(header::RANGE) {
        Some(range) if is_same => part(range, size),
        _ => Part::Whole,
    };
    let (status, range) = match wanted {
        Part::Whole => (StatusCode::OK, 0..size),
        Part::Some(range) => {
            let place = format!("bytes {}-{}/{size}", range.start, range.end - 1);
            set(header::CONTENT_RANGE, &place);
            (StatusCode::PARTIAL_CONTENT, range)
        }
        Part::Unsatisfiable => {
            let place = [(header::CONTENT_RANGE, format!("bytes */{size}"))];
            return Ok((place, ApiError::RangeNotSatisfiable).into_response());
        }
    };
    let length = range.end - range.start;
    set(header::CONTENT_LENGTH, &length.to_string());
    let pieces = content.read(range).await?;
    Ok((status, headers, Body::from_stream(pieces)).into_response())
}

/// Whether a list of entity tags names this one (weak comparison, §8.8.3.2).
fn names(tags: &str, tag: &str) -> bool {
    tags.split(',')
        .map(str::trim)
        .any(|one| one == "*" || one.strip_prefix("W/").unwrap_or(one) == tag)
}

/// How a file of this type is sent: its Content-Type, and whether a browser may show it. What could act in a page is
/// only saved: HTML, SVG and whatever is not known.
pub fn shown_as(content_type: &str) -> (&'static str, bool) {
    match content_type {
        "image/png" => ("image/png", true),
        "image/jpeg" => ("image/jpeg", true),
        "image/gif" => ("image/gif", true),
        "image/webp" => ("image/webp", true),
        "text/plain" => ("text/plain; charset=utf-8", true),
        "application/pdf" => ("application/pdf", false),
        "audio/mpeg" => ("audio/mpeg", true),
        "audio/ogg" => ("audio/ogg", true),
        "audio/x-flac" | "audio/flac" => ("audio/flac", true),
        "audio/x-wav" | "audio/wav" => ("audio/wav", true),
        "audio/m4a" | "audio/mp4" => ("audio/mp4", true),
        "video/mp4" => ("video/mp4", true),
        "video/webm" => ("video/webm", true),
        "video/ogg" => ("video/ogg", true),
        other if other.starts_with("text/") => ("text/plain; charset=utf-8", false),
        _ => ("application/octet-stream", false),
    }
}

/// RFC 6266, with the name for old readers and (RFC 8187) as it is.
pub fn disposition(inline: bool, name: &str) -> String {
    let kind = if inline { "inline" } else { "attachment" };
    let plain = |c: char| match c {
        '"' | '\\' | '%' => '_',
        c if c.is_ascii_graphic() || c == ' ' => c,
        _ => '_',
    };
    let fallback: String = name.chars().map(plain).collect();
    if fallback == name {
        return format!("{kind}; filename=\"{name}\"");
    }
    let mut encoded = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    format!("{kind}; filename=\"{fallback}\"; filename*=UTF-8''{encoded}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_written_for_old_and_new_readers() {
        assert_eq!(
            disposition(true, "a cat.png"),
            "inline; filename=\"a cat.png\""
        );
        assert_eq!(
            disposition(false, "кот \"1%\".png"),
            "attachment; filename=\"___ _1__.png\"; filename*=UTF-8''%D0%BA%D0%BE%D1%82%20%221%25%22.png"
        );
    }

    #[test]
    fn nothing_that_acts_is_shown() {
        for kind in [
            "text/html",
            "image/svg+xml",
            "text/xml",
            "application/pdf",
            "x/y",
        ] {
            let (sent, inline) = shown_as(kind);
            assert!(
                !inline && !sent.contains("html") && !sent.contains("xml"),
                "{kind}"
            );
        }
        assert!(shown_as("image/png").1 && shown_as("text/plain").1);
    }

    #[test]
    fn tags_are_compared_weakly() {
        assert!(names("\"a\", W/\"b\"", "\"b\"") && names("*", "\"b\""));
        assert!(!names("\"a\"", "\"b\"") && !names("", "\"b\""));
    }
}
