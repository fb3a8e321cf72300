//! Nonces that need no memory: when they were made, and a MAC over that and over the client's 5-tuple.
//!
//! Where there is room for what comes with it, a nonce begins with the nonce cookie of RFC 8489 §9.2, which tells the
//! client what else this server can do. The MAC covers the cookie: taken off, put on or changed on its way, the nonce is
//! none of ours.

use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use subtle::ConstantTimeEq;

use crate::server::FiveTuple;

/// Seconds for which a nonce is taken; a client that comes later is given a new one (438).
pub const LIFETIME: u64 = 600;

const MAC_LEN: usize = 9;
const RAW_LEN: usize = 2 + MAC_LEN;
/// Characters of a nonce without its cookie. Kept short: it is part of the answer to an unproven address.
const LEN: usize = (RAW_LEN * 8).div_ceil(6);
/// Characters of the nonce cookie (RFC 8489 §9.2).
const COOKIE_LEN: usize = 13;
/// Characters of a nonce that begins with the cookie.
pub const LEN_WITH_COOKIE: usize = COOKIE_LEN + LEN;

/// What a nonce with a cookie says about this server (RFC 8489 §18.1).
///
/// The RFC's text counts the 24 bits of the set from the left, its test vectors and erratum 6290 from the right, and
/// there are clients of both persuasions. So both ends are set; the other bits have no meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Features {
    /// PASSWORD-ALGORITHMS stands beside the nonce.
    pub password_algorithms: bool,
    /// Users are to come by USERHASH.
    pub anonymity: bool,
}

impl Features {
    fn cookie(self) -> &'static [u8; COOKIE_LEN] {
        match (self.password_algorithms, self.anonymity) {
            (false, false) => b"obMatJos2AAAA",
            (true, false) => b"obMatJos2gAAB",
            (false, true) => b"obMatJos2QAAC",
            (true, true) => b"obMatJos2wAAD",
        }
    }
}

/// A nonce, to be read as bytes.
#[derive(Debug, Clone, Copy)]
pub struct Nonce {
    text: [u8; LEN_WITH_COOKIE],
    used: usize,
}

impl std::ops::Deref for Nonce {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.text.get(..self.used).unwrap_or_default()
    }
}

/// The key that all workers of a relay share; made anew at each start.
#[derive(Clone)]
pub struct Nonces {
    key: hmac::Key,
}

impl std::fmt::Debug for Nonces {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Nonces(…)")
    }
}

impl Nonces {
    pub fn new(key: &[u8; 32]) -> Self {
        Nonces {
            key: hmac::Key::new(hmac::HMAC_SHA256, key),
        }
    }

    /// A nonce for this client, made at `unix` seconds; without features, it has no cookie.
    pub fn make(&self, features: Option<Features>, tuple: FiveTuple, unix: u64) -> Nonce {
        let prefix: &[u8] = match features {
            Some(features) => features.cookie(),
            None => &[],
        };
        let mut nonce = Nonce {
            text: [0; LEN_WITH_COOKIE],
            used: prefix.len() + LEN,
        };
        let (cookie, rest) = nonce.text.split_at_mut(prefix.len());
        cookie.copy_from_slice(prefix);
        // There is room for the encoding, so this cannot fail.
        let _ = URL_SAFE_NO_PAD.encode_slice(self.raw(prefix, tuple, unix), rest);
        nonce
    }

    /// Whether this nonce was made here, for this client, within [`LIFETIME`].
    pub fn accepts(&self, nonce: &[u8], tuple: FiveTuple, unix: u64) -> bool {
        let Some((prefix, text)) = nonce
            .len()
            .checked_sub(LEN)
            .and_then(|at| nonce.split_at_checked(at))
        else {
            return false;
        };
        let mut raw = [0; RAW_LEN];
        if prefix.len() > COOKIE_LEN || URL_SAFE_NO_PAD.decode_slice(text, &mut raw) != Ok(RAW_LEN)
        {
            return false;
        }
        let [t0, t1, ..] = raw;
        // The nonce has the lowest bits of the time, the MAC has all of it.
        let age = (unix as u16).wrapping_sub(u16::from_be_bytes([t0, t1]));
        let Some(made) = unix
            .checked_sub(age.into())
            .filter(|_| u64::from(age) <= LIFETIME)
        else {
            return false;
        };
        self.raw(prefix, tuple, made).ct_eq(&raw).into()
    }

    fn raw(&self, prefix: &[u8], tuple: FiveTuple, made: u64) -> [u8; RAW_LEN] {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(&[prefix.len() as u8]);
        context.update(prefix);
        context.update(&made.to_be_bytes());
        context.update(&[tuple.transport as u8]);
        for address in [tuple.client, tuple.server] {
            match address.ip() {
                IpAddr::V4(ip) => context.update(&ip.to_ipv6_mapped().octets()),
                IpAddr::V6(ip) => context.update(&ip.octets()),
            }
            context.update(&address.port().to_be_bytes());
        }
        let mac = context.sign();
        let mut raw = [0; RAW_LEN];
        let time = (made as u16).to_be_bytes();
        let bytes = time.iter().chain(mac.as_ref());
        raw.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        raw
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::Transport;

    const NOW: u64 = 1_800_000_000;

    fn tuple(client: &str) -> FiveTuple {
        FiveTuple {
            transport: Transport::Udp,
            client: client.parse().unwrap(),
            server: "198.51.100.1:3478".parse().unwrap(),
        }
    }

    fn make(nonces: &Nonces, features: Option<Features>, tuple: FiveTuple, unix: u64) -> Vec<u8> {
        nonces.make(features, tuple, unix).to_vec()
    }

    fn features(password_algorithms: bool, anonymity: bool) -> Option<Features> {
        Some(Features {
            password_algorithms,
            anonymity,
        })
    }

    /// None, and each set of them.
    fn all_features() -> [Option<Features>; 5] {
        [
            None,
            features(false, false),
            features(true, false),
            features(false, true),
            features(true, true),
        ]
    }

    #[test]
    fn a_nonce_is_for_one_client_and_one_while() {
        let nonces = Nonces::new(&[1; 32]);
        let client = tuple("192.0.2.1:5000");
        for features in all_features() {
            let nonce = make(&nonces, features, client, NOW);
            assert!(nonce.is_ascii());
            assert!(nonces.accepts(&nonce, client, NOW));
            assert!(nonces.accepts(&nonce, client, NOW + LIFETIME));
            assert!(!nonces.accepts(&nonce, client, NOW + LIFETIME + 1));
            assert!(!nonces.accepts(&nonce, client, NOW - 1), "from the future");
            let same_low_bits = NOW + (1 << 16);
            assert!(!nonces.accepts(&nonce, client, same_low_bits));
            let others = [
                tuple("192.0.2.1:5001"),
                tuple("192.0.2.2:5000"),
                FiveTuple {
                    transport: Transport::Tcp,
                    ..client
                },
                FiveTuple {
                    server: "198.51.100.1:5349".parse().unwrap(),
                    ..client
                },
                FiveTuple {
                    server: "198.51.100.2:3478".parse().unwrap(),
                    ..client
                },
            ];
            for other in others {
                assert!(!nonces.accepts(&nonce, other, NOW), "{other:?}");
                assert_ne!(make(&nonces, features, other, NOW), nonce);
            }
            assert!(!Nonces::new(&[2; 32]).accepts(&nonce, client, NOW));
        }
    }

    #[test]
    fn the_feature_bits_stand_at_both_ends() {
        let nonces = Nonces::new(&[1; 32]);
        for (features, expected) in [
            (features(false, false), [0, 0, 0]),
            (features(true, false), [0x80, 0, 0x01]),
            (features(false, true), [0x40, 0, 0x02]),
            (features(true, true), [0xC0, 0, 0x03]),
        ] {
            let nonce = make(&nonces, features, tuple("192.0.2.1:5000"), NOW);
            assert_eq!(nonce.len(), LEN_WITH_COOKIE);
            let bits = nonce.strip_prefix(b"obMatJos2").unwrap();
            let bits = base64::engine::general_purpose::STANDARD.decode(&bits[..4]);
            assert_eq!(bits.unwrap(), expected);
        }
    }

    #[test]
    fn what_a_nonce_says_cannot_be_changed_on_its_way() {
        let nonces = Nonces::new(&[1; 32]);
        let client = tuple("192.0.2.1:5000");
        let nonce = |features| make(&nonces, features, client, NOW);
        let offer = nonce(features(true, false));
        let bare = &offer[COOKIE_LEN..];
        assert!(!nonces.accepts(bare, client, NOW), "the cookie taken off");
        let none = [b"obMatJos2AAAA", bare].concat();
        assert!(
            !nonces.accepts(&none, client, NOW),
            "the features taken off"
        );
        for features in all_features().into_iter().flatten() {
            let put_on = [features.cookie(), &nonce(None)[..]].concat();
            assert!(!nonces.accepts(&put_on, client, NOW), "the cookie put on");
        }
    }

    #[test]
    fn rubbish_is_no_nonce() {
        let nonces = Nonces::new(&[1; 32]);
        let client = tuple("[2001:db8::1]:5000");
        for features in all_features() {
            let nonce = make(&nonces, features, client, NOW);
            for end in 0..nonce.len() {
                assert!(!nonces.accepts(&nonce[..end], client, NOW));
            }
            for at in 0..nonce.len() {
                let mut other = nonce.clone();
                other[at] ^= 1;
                assert!(!nonces.accepts(&other, client, NOW), "{at}");
            }
        }
        assert!(!nonces.accepts(&[b'A'; 4096], client, NOW));
    }
}
