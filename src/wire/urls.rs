//! URLs of this server in what it writes. One text goes to many, and each client reaches the server by a URL of its own;
//! so unless `public_url` is set they are written with a base that nobody else can know, and each edge puts that of its
//! client in its place. Links to files carry a signature, as a page's `<img>` and `<a>` send no token.

use std::sync::OnceLock;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use memchr::memmem;
use moznods_storage::{BlobHash, FileId, Timestamp};
use ring::hmac;

use crate::config::Secret;

const DAY: i64 = 86_400;

struct Urls {
    /// Without a slash at its end.
    base: String,
    /// Of it: made once, as each frame to each client is looked through.
    finder: memmem::Finder<'static>,
    /// Nothing is to be put in its place.
    is_real: bool,
    key: hmac::Key,
}

/// There is one server in a process, and whatever is written is written by it.
static URLS: OnceLock<Urls> = OnceLock::new();

/// To be called once, before anything is written. All nodes that share `secret` understand each other's texts.
pub fn set_up(secret: &Secret, public_url: Option<&str>) {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose().as_bytes());
    // `.invalid` leads nowhere, should it ever get out.
    let unguessable = || {
        let tag = hmac::sign(&key, b"base");
        format!("https://{}.invalid", URL_SAFE_NO_PAD.encode(tag))
    };
    let base = public_url.map_or_else(unguessable, str::to_owned);
    let is_real = public_url.is_some();
    // The first one stays.
    let _ = URLS.set(Urls {
        finder: memmem::Finder::new(&base).into_owned(),
        base,
        is_real,
        key,
    });
}

fn base() -> &'static str {
    URLS.get().map_or("", |urls| urls.base.as_str())
}

pub fn avatar(hash: Option<BlobHash>) -> String {
    hash.map_or_else(String::new, |hash| {
        format!("{}/api/avatars/{hash}/", base())
    })
}

/// Good for 24 to 48 hours, and the same all day long, so that browsers need not load it again.
pub fn download(file: FileId, now: Timestamp) -> String {
    signed(file, "download", now)
}

/// As [`download`].
pub fn thumbnail(file: FileId, now: Timestamp) -> String {
    signed(file, "thumbnail", now)
}

fn signed(file: FileId, what: &str, now: Timestamp) -> String {
    let expires = (now / 1_000_000 / DAY + 2) * DAY;
    let signature = URLS.get().map_or_else(String::new, |urls| {
        let tag = hmac::sign(&urls.key, message(file, expires).as_bytes());
        URL_SAFE_NO_PAD.encode(tag)
    });
    format!(
        "{}/api/files/{file}/{what}/?expires={expires}&signature={signature}",
        base()
    )
}

/// Whether this server has signed a link to the file that is good at `now`; `expires` is in seconds.
pub fn is_signed(file: FileId, expires: i64, signature: &str, now: Timestamp) -> bool {
    let Some(urls) = URLS.get() else {
        return false;
    };
    let Ok(tag) = URL_SAFE_NO_PAD.decode(signature) else {
        return false;
    };
    expires > now / 1_000_000
        && hmac::verify(&urls.key, message(file, expires).as_bytes(), &tag).is_ok()
}

fn message(file: FileId, expires: i64) -> String {
    format!("file {file} {expires}")
}

/// Whether texts need [`localized`] at all.
pub fn are_real() -> bool {
    URLS.get().is_none_or(|urls| urls.is_real)
}

/// Whether URLs of ours stand in the text that are not for clients as they are.
pub fn stand_in(text: &[u8]) -> bool {
    URLS.get()
        .is_some_and(|urls| urls.finder.find(text).is_some())
}

/// The text for a client that reaches this server at `base`; as it is where no URL of ours stands in it.
pub fn localized(text: Bytes, base: &str) -> Bytes {
    let Some(urls) = URLS.get().filter(|urls| !urls.is_real) else {
        return text;
    };
    replaced(text, &urls.finder, base.as_bytes())
}

fn replaced(text: Bytes, old: &memmem::Finder<'_>, new: &[u8]) -> Bytes {
    let mut places = old.find_iter(&text).peekable();
    if places.peek().is_none() {
        drop(places);
        return text;
    }
    let mut written = Vec::with_capacity(text.len());
    let mut rest = 0;
    for place in places {
        written.extend_from_slice(text.get(rest..place).unwrap_or_default());
        written.extend_from_slice(new);
        rest = place + old.needle().len();
    }
    written.extend_from_slice(text.get(rest..).unwrap_or_default());
    written.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: Timestamp = (20_000 * DAY + DAY / 2) * 1_000_000;

    fn set_up_once() {
        set_up(&Secret::new("secret".to_owned()), None);
    }

    #[test]
    fn every_place_is_replaced_and_nothing_else() {
        let old = memmem::Finder::new(b"OLD");
        let replace = |text: &'static str| {
            let replaced = replaced(Bytes::from_static(text.as_bytes()), &old, b"a longer one");
            String::from_utf8(replaced.to_vec()).unwrap()
        };
        assert_eq!(replace("OLD and OLD"), "a longer one and a longer one");
        assert_eq!(replace("OL D"), "OL D");
        assert_eq!(replace(""), "");
        let text = Bytes::from_static(b"as it is");
        assert_eq!(replaced(text.clone(), &old, b"").as_ptr(), text.as_ptr());
    }

    #[test]
    fn a_text_is_for_whoever_reads_it() {
        set_up_once();
        assert_eq!(avatar(None), "");
        let url = Bytes::from(avatar(Some(BlobHash([0xAB; 32]))));
        assert!(url.starts_with(b"https://") && !are_real());
        let own = localized(url, "http://a.example:81");
        let path = format!("http://a.example:81/api/avatars/{}/", "ab".repeat(32));
        assert_eq!(own, path.as_bytes());
    }

    #[test]
    fn a_link_is_good_for_its_file_and_a_day_or_two() {
        set_up_once();
        let url = download(7, NOON);
        assert_eq!(url, download(7, NOON + 3_600_000_000), "for caches");
        let (_, query) = url.split_once("/api/files/7/download/?expires=").unwrap();
        let (expires, signature) = query.split_once("&signature=").unwrap();
        let expires: i64 = expires.parse().unwrap();
        assert!(is_signed(7, expires, signature, NOON));
        assert!(is_signed(7, expires, signature, NOON + DAY * 1_000_000));
        assert!(!is_signed(
            7,
            expires,
            signature,
            NOON + 2 * DAY * 1_000_000
        ));
        assert!(!is_signed(8, expires, signature, NOON));
        assert!(!is_signed(7, expires + DAY, signature, NOON));
        for forged in [
            "",
            "x",
            "AAAA",
            &signature.replace(|c: char| c.is_lowercase(), "A"),
        ] {
            assert!(!is_signed(7, expires, forged, NOON), "{forged}");
        }
    }
}
