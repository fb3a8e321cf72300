//! Frames as each client gets them: one that names avatars or files is written once for each URL by which clients reach
//! this server, not for each client.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

use crate::wire::urls;

/// Frames that are remembered; those that wait for many are the newest.
const REMEMBERED: usize = 16;
/// Bytes of a frame that is worth remembering, and not too much of it.
const MAX_FRAME: usize = 64 * 1024;

#[derive(Default)]
pub struct Localizer {
    written: Mutex<VecDeque<Written>>,
}

struct Written {
    /// Held, so that no other frame comes to lie where it lies.
    frame: Bytes,
    base: String,
    localized: Bytes,
}

impl Localizer {
    /// As [`urls::localized`]; a frame without our URLs costs a look through it and nothing else.
    pub fn localized(&self, frame: Bytes, base: &str) -> Bytes {
        if urls::are_real() || !urls::stand_in(&frame) {
            return frame;
        }
        if frame.len() > MAX_FRAME {
            return urls::localized(frame, base);
        }
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |old: &&Written| {
            old.frame.as_ptr() == frame.as_ptr()
                && old.frame.len() == frame.len()
                && old.base == base
        };
        if let Some(known) = written.iter().find(same) {
            return known.localized.clone();
        }
        let localized = urls::localized(frame.clone(), base);
        written.truncate(REMEMBERED - 1);
        written.push_front(Written {
            frame,
            base: base.to_owned(),
            localized: localized.clone(),
        });
        localized
    }
}

#[cfg(test)]
mod tests {
    use moznods_storage::BlobHash;

    use super::*;
    use crate::config::Secret;

    #[test]
    fn a_frame_is_written_once_for_each_base() {
        urls::set_up(&Secret::new("secret".to_owned()), None);
        let localizer = Localizer::default();
        let plain = Bytes::from_static(b"{}");
        assert_eq!(
            localizer.localized(plain.clone(), "http://a").as_ptr(),
            plain.as_ptr()
        );

        let frame = Bytes::from(urls::avatar(Some(BlobHash([1; 32]))));
        let first = localizer.localized(frame.clone(), "http://a");
        let again = localizer.localized(frame.clone(), "http://a");
        let other = localizer.localized(frame.clone(), "http://b");
        assert!(first.starts_with(b"http://a/api/avatars/01") && other.starts_with(b"http://b/"));
        assert_eq!(first.as_ptr(), again.as_ptr());
        // Another frame of the same words is another frame.
        let twin = localizer.localized(Bytes::copy_from_slice(&frame), "http://a");
        assert_eq!(first, twin);
        for n in 0..3 * REMEMBERED {
            localizer.localized(frame.clone(), &format!("http://{n}"));
        }
        assert!(localizer.written.lock().unwrap().len() <= REMEMBERED);
    }
}
