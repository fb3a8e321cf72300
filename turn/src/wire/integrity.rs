//! MESSAGE-INTEGRITY, FINGERPRINT and the long-term key.

use std::fmt;

use md5::{Digest, Md5};
use ring::hmac;
use subtle::ConstantTimeEq;

use super::{HEADER_LEN, Message, attr};

/// RFC 8489 §14.7.
pub(crate) const FINGERPRINT_XOR: u32 = 0x5354_554e;

/// The key of a long-term credential, from which the password cannot be read back.
#[derive(Clone, Copy)]
pub struct Key([u8; 16]);

impl Key {
    /// MD5(username ":" realm ":" password) (RFC 8489 §9.2.2).
    pub fn long_term(username: &str, realm: &str, password: &str) -> Self {
        let mut md5 = Md5::new();
        md5.update(username.as_bytes());
        md5.update(b":");
        md5.update(realm.as_bytes());
        md5.update(b":");
        md5.update(password.as_bytes());
        Key(md5.finalize().into())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

/// HMAC-SHA1 over the parts, one after the other.
pub(crate) fn sha1(key: &Key, parts: &[&[u8]]) -> [u8; 20] {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &key.0);
    let mut context = hmac::Context::with_key(&key);
    parts.iter().for_each(|part| context.update(part));
    let mut mac = [0; 20];
    mac.iter_mut()
        .zip(context.sign().as_ref())
        .for_each(|(to, from)| *to = *from);
    mac
}

/// Whether the message's MESSAGE-INTEGRITY was made with `key`; false without one. Compares in constant time.
pub fn verify(message: &Message<'_>, key: &Key) -> bool {
    let Some(attribute) = message.find(attr::MESSAGE_INTEGRITY) else {
        return false;
    };
    let bytes = message.bytes();
    // RFC 8489 §14.5: the header's length counts up to and with MESSAGE-INTEGRITY, whatever follows.
    let Ok(length) = u16::try_from(attribute.offset + 24 - HEADER_LEN) else {
        return false;
    };
    let (Some(kind), Some(rest)) = (bytes.get(..2), bytes.get(4..attribute.offset)) else {
        return false;
    };
    let mac = sha1(key, &[kind, &length.to_be_bytes(), rest]);
    mac.ct_eq(attribute.value).into()
}

/// Whether FINGERPRINT, where there is one, is the last attribute and right (RFC 8489 §14.7).
pub fn fingerprint_fits(message: &Message<'_>) -> bool {
    let Some(attribute) = message.find(attr::FINGERPRINT) else {
        return true;
    };
    let bytes = message.bytes();
    let covered = bytes.get(..attribute.offset).unwrap_or_default();
    attribute.offset + 8 == bytes.len()
        && attribute.value == (crc32fast::hash(covered) ^ FINGERPRINT_XOR).to_be_bytes()
}
