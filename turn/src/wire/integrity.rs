//! MESSAGE-INTEGRITY in its two kinds, FINGERPRINT, and the keys of the long-term credential.

use std::fmt;

use ::hmac::{Hmac, KeyInit, Mac};
use md5::{Digest, Md5};
use ring::{digest, hmac};
use sha1::Sha1;
use subtle::ConstantTimeEq;

use super::{HEADER_LEN, Message, attr};

/// RFC 8489 §14.7.
pub(crate) const FINGERPRINT_XOR: u32 = 0x5354_554e;

/// How a key is made of a password (RFC 8489 §18.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PasswordAlgorithm {
    /// What every client knows.
    Md5 = 1,
    /// What RFC 8489 added.
    Sha256 = 2,
}

impl PasswordAlgorithm {
    /// Value of PASSWORD-ALGORITHMS (RFC 8489 §14.11) that offers both, the better one first; neither has parameters.
    pub const OFFER: [u8; 8] = [0, 2, 0, 0, 0, 1, 0, 0];

    /// From the value of PASSWORD-ALGORITHM (RFC 8489 §14.12), if it is one of [`PasswordAlgorithm::OFFER`].
    pub fn from_value(value: &[u8]) -> Option<Self> {
        match value {
            [0, 1, 0, 0] => Some(PasswordAlgorithm::Md5),
            [0, 2, 0, 0] => Some(PasswordAlgorithm::Sha256),
            _ => None,
        }
    }

    /// Value of PASSWORD-ALGORITHM (RFC 8489 §14.12).
    pub fn value(self) -> [u8; 4] {
        [0, self as u8, 0, 0]
    }
}

/// The key of a long-term credential, from which the password cannot be read back.
#[derive(Clone, Copy)]
pub struct Key(Bytes);

#[derive(Clone, Copy)]
enum Bytes {
    Md5([u8; 16]),
    Sha256([u8; 32]),
}

impl Key {
    /// Hash of username ":" realm ":" password (RFC 8489 §9.2.2, §18.5.1). The three are taken as they are: who has
    /// other than ASCII in them puts them through OpaqueString (RFC 8265) first.
    pub fn new(algorithm: PasswordAlgorithm, username: &str, realm: &str, password: &str) -> Self {
        let parts = [username, ":", realm, ":", password].map(str::as_bytes);
        Key(match algorithm {
            PasswordAlgorithm::Md5 => {
                let mut md5 = Md5::new();
                parts.iter().for_each(|part| md5.update(part));
                Bytes::Md5(md5.finalize().into())
            }
            PasswordAlgorithm::Sha256 => Bytes::Sha256(sha256(&parts)),
        })
    }

    /// The key by MD5, with which clients of RFC 5389 work.
    pub fn long_term(username: &str, realm: &str, password: &str) -> Self {
        Self::new(PasswordAlgorithm::Md5, username, realm, password)
    }

    /// A key that was made elsewhere: 16 bytes for MD5, 32 for SHA-256; `None` for another length.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let md5 = bytes.try_into().map(Bytes::Md5);
        md5.or_else(|_| bytes.try_into().map(Bytes::Sha256))
            .map(Key)
            .ok()
    }

    /// What to store in place of a password. Whoever knows it can authenticate.
    pub fn expose(&self) -> &[u8] {
        match &self.0 {
            Bytes::Md5(bytes) => bytes,
            Bytes::Sha256(bytes) => bytes,
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

/// Value of USERHASH (RFC 8489 §14.4).
pub fn userhash(username: &str, realm: &str) -> [u8; 32] {
    sha256(&[username, ":", realm].map(str::as_bytes))
}

fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    parts.iter().for_each(|part| context.update(part));
    let mut hash = [0; 32];
    hash.iter_mut()
        .zip(context.finish().as_ref())
        .for_each(|(to, from)| *to = *from);
    hash
}

/// The two attributes that prove a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Integrity {
    /// MESSAGE-INTEGRITY (RFC 8489 §14.5).
    Sha1,
    /// MESSAGE-INTEGRITY-SHA256 (RFC 8489 §14.6), always whole: TURN does not allow to truncate it.
    Sha256,
}

impl Integrity {
    /// Type of the attribute.
    pub(crate) fn kind(self) -> u16 {
        match self {
            Integrity::Sha1 => attr::MESSAGE_INTEGRITY,
            Integrity::Sha256 => attr::MESSAGE_INTEGRITY_SHA256,
        }
    }

    /// Bytes of its value.
    pub(crate) fn len(self) -> usize {
        match self {
            Integrity::Sha1 => 20,
            Integrity::Sha256 => 32,
        }
    }

    /// HMAC over the parts, one after the other.
    pub(crate) fn sign(self, key: &Key, parts: &[&[u8]]) -> Tag {
        match self {
            Integrity::Sha1 => Tag::Sha1(hmac_sha1(key.expose(), parts)),
            Integrity::Sha256 => {
                let key = hmac::Key::new(hmac::HMAC_SHA256, key.expose());
                let mut context = hmac::Context::with_key(&key);
                parts.iter().for_each(|part| context.update(part));
                Tag::Sha256(context.sign())
            }
        }
    }

    /// The one by which a message is to be judged: by SHA-256 where there are both (RFC 8489 §9.2.4).
    pub fn of(message: &Message<'_>) -> Option<Self> {
        let has = |integrity: &Integrity| message.find(integrity.kind()).is_some();
        [Integrity::Sha256, Integrity::Sha1].into_iter().find(has)
    }
}

/// Value of one of the two.
pub(crate) enum Tag {
    Sha1([u8; 20]),
    Sha256(hmac::Tag),
}

impl AsRef<[u8]> for Tag {
    fn as_ref(&self) -> &[u8] {
        match self {
            Tag::Sha1(bytes) => bytes,
            Tag::Sha256(tag) => tag.as_ref(),
        }
    }
}

/// HMAC-SHA1 (RFC 2104) over the parts, one after the other. `ring` has it as well, but without the processor's
/// instructions for SHA-1.
pub fn hmac_sha1(key: &[u8], parts: &[&[u8]]) -> [u8; 20] {
    // RFC 2104 §2: a longer key is hashed, and a shorter one filled up with zeros.
    let mut block = [0; 64];
    let hashed = (key.len() > block.len()).then(|| Sha1::digest(key));
    let key = hashed.as_ref().map_or(key, |hash| hash);
    block.iter_mut().zip(key).for_each(|(to, from)| *to = *from);
    let mut mac = Hmac::<Sha1>::new(&block.into());
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

/// Whether the integrity by which the message is to be judged was made with `key`; false without one. Compares in
/// constant time.
pub fn verify(message: &Message<'_>, key: &Key) -> bool {
    let Some(integrity) = Integrity::of(message) else {
        return false;
    };
    let Some(attribute) = message.find(integrity.kind()) else {
        return false;
    };
    let bytes = message.bytes();
    // RFC 8489 §14.5, §14.6: the header's length counts up to and with the attribute, whatever follows.
    let Ok(length) = u16::try_from(attribute.offset + 4 + integrity.len() - HEADER_LEN) else {
        return false;
    };
    let (Some(kind), Some(rest)) = (bytes.get(..2), bytes.get(4..attribute.offset)) else {
        return false;
    };
    let mac = integrity.sign(key, &[kind, &length.to_be_bytes(), rest]);
    mac.as_ref().ct_eq(attribute.value).into()
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

#[cfg(test)]
mod tests {
    use super::*;

    // RFC 2202 §3, cases 1 and 6.
    #[test]
    fn hmac_sha1_takes_keys_of_any_length() {
        assert_eq!(
            hmac_sha1(&[0x0B; 20], &[b"Hi ", b"There"]),
            0xB617_3186_5505_7264_E28B_C0B6_FB37_8C8E_u128
                .to_be_bytes()
                .into_iter()
                .chain([0xF1, 0x46, 0xBE, 0x00])
                .collect::<Vec<_>>()[..]
        );
        assert_eq!(
            hmac_sha1(
                &[0xAA; 80],
                &[b"Test Using Larger Than Block-Size Key - Hash Key First"]
            ),
            0xAA4A_E5E1_5272_D00E_9570_5637_CE8A_3B55_u128
                .to_be_bytes()
                .into_iter()
                .chain([0xED, 0x40, 0x21, 0x12])
                .collect::<Vec<_>>()[..]
        );
    }
}
