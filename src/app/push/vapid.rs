//! How this server shows push services who it is (RFC 8292), and what it makes of its key beside that.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::error::Unspecified;
use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use serde::Serialize;

/// Seconds for which a token is good: a day is the most (RFC 8292 §2), and clocks differ.
const LIFETIME: i64 = 12 * 3600;
/// Bytes of which a topic is made: 32 characters, the most there may be (RFC 8030 §5.4).
const TOPIC: usize = 24;

pub struct Vapid {
    key: EcdsaKeyPair,
    public_key: String,
    topics: hmac::Key,
    /// `mailto:` or `https:`.
    contact: String,
}

impl fmt::Debug for Vapid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vapid")
            .field("public_key", &self.public_key)
            .finish_non_exhaustive()
    }
}

#[derive(Serialize)]
struct Claims<'a> {
    aud: &'a str,
    exp: i64,
    sub: &'a str,
}

impl Vapid {
    /// A fresh key, as it is kept.
    pub fn fresh() -> Result<String, Unspecified> {
        let key =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())?;
        Ok(URL_SAFE_NO_PAD.encode(key))
    }

    /// With a key that [`Self::fresh`] has made.
    pub fn new(kept: &str, contact: String) -> Result<Self, Unspecified> {
        let pkcs8 = URL_SAFE_NO_PAD.decode(kept).map_err(|_| Unspecified)?;
        let random = SystemRandom::new();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &pkcs8, &random)
            .map_err(|_| Unspecified)?;
        Ok(Vapid {
            public_key: URL_SAFE_NO_PAD.encode(key.public_key()),
            topics: hmac::Key::new(hmac::HMAC_SHA256, &pkcs8),
            key,
            contact,
        })
    }

    /// What a browser subscribes with: an uncompressed point as base64url.
    pub fn public_key(&self) -> &str {
        &self.public_key
    }

    /// The value of `Authorization` for a push service, whose origin is `audience`.
    pub fn authorization(&self, audience: &str, unix: i64) -> Result<String, Unspecified> {
        let claims = Claims {
            aud: audience,
            exp: unix.saturating_add(LIFETIME),
            sub: &self.contact,
        };
        let claims = serde_json::to_vec(&claims).map_err(|_| Unspecified)?;
        let head = URL_SAFE_NO_PAD.encode(r#"{"typ":"JWT","alg":"ES256"}"#);
        let signed = format!("{head}.{}", URL_SAFE_NO_PAD.encode(claims));
        let signature = self.key.sign(&SystemRandom::new(), signed.as_bytes())?;
        let signature = URL_SAFE_NO_PAD.encode(signature);
        Ok(format!(
            "vapid t={signed}.{signature},k={}",
            self.public_key
        ))
    }

    /// A name for what replaces what, of which a push service learns nothing else.
    pub fn topic(&self, of: &str) -> String {
        let tag = hmac::sign(&self.topics, of.as_bytes());
        let bytes = tag.as_ref().get(..TOPIC).unwrap_or_default();
        URL_SAFE_NO_PAD.encode(bytes)
    }
}

#[cfg(test)]
mod tests {
    use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};

    use super::*;

    #[test]
    fn a_token_says_to_whom_until_when_and_from_whom() {
        let kept = Vapid::fresh().unwrap();
        let vapid = Vapid::new(&kept, "mailto:admin@example.org".to_owned()).unwrap();
        let header = vapid.authorization("https://push.example", 1000).unwrap();
        let (token, key) = header
            .strip_prefix("vapid t=")
            .and_then(|rest| rest.split_once(",k="))
            .unwrap();
        assert_eq!(key, vapid.public_key());
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let bytes = |text: &str| URL_SAFE_NO_PAD.decode(text).unwrap();
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, bytes(key))
            .verify(signed.as_bytes(), &bytes(signature))
            .unwrap();
        let claims = bytes(signed.split_once('.').unwrap().1);
        assert_eq!(
            String::from_utf8(claims).unwrap(),
            r#"{"aud":"https://push.example","exp":44200,"sub":"mailto:admin@example.org"}"#
        );
    }

    #[test]
    fn topics_are_the_same_after_a_restart_and_differ() {
        let kept = Vapid::fresh().unwrap();
        let topic = |of| Vapid::new(&kept, String::new()).unwrap().topic(of);
        assert_eq!(topic("1 2"), topic("1 2"));
        assert_ne!(topic("1 2"), topic("12"));
        assert_eq!(topic("1 2").len(), 32);
        assert!(Vapid::new("no key", String::new()).is_err());
    }
}
