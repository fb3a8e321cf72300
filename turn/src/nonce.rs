//! Nonces that need no memory: the time they were made, and a MAC over it and the client's address.

use std::net::{IpAddr, SocketAddr};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use subtle::ConstantTimeEq;

/// Seconds for which a nonce is taken; a client that comes later is given a new one (438).
pub const LIFETIME: u64 = 600;

const MAC_LEN: usize = 11;
const RAW_LEN: usize = 4 + MAC_LEN;
/// Characters of a nonce. Kept short: it is part of the answer to an unproven address.
pub const LEN: usize = RAW_LEN / 3 * 4;

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

    /// A nonce for this client, made at `unix` seconds.
    pub fn make(&self, client: SocketAddr, unix: u64) -> [u8; LEN] {
        let mut out = [0; LEN];
        // The buffer has the exact length of the encoding, so this cannot fail.
        let _ = URL_SAFE_NO_PAD.encode_slice(self.raw(client, unix as u32), &mut out);
        out
    }

    /// Whether this nonce was made here, for this client, within [`LIFETIME`].
    pub fn accepts(&self, nonce: &[u8], client: SocketAddr, unix: u64) -> bool {
        let mut raw = [0; RAW_LEN];
        if URL_SAFE_NO_PAD.decode_slice(nonce, &mut raw) != Ok(RAW_LEN) {
            return false;
        }
        let Some(made) = raw
            .first_chunk::<4>()
            .map(|bytes| u32::from_be_bytes(*bytes))
        else {
            return false;
        };
        let genuine: bool = self.raw(client, made).ct_eq(&raw).into();
        genuine && u64::from((unix as u32).wrapping_sub(made)) <= LIFETIME
    }

    fn raw(&self, client: SocketAddr, made: u32) -> [u8; RAW_LEN] {
        let made = made.to_be_bytes();
        let mut context = hmac::Context::with_key(&self.key);
        context.update(&made);
        match client.ip() {
            IpAddr::V4(ip) => context.update(&ip.octets()),
            IpAddr::V6(ip) => context.update(&ip.octets()),
        }
        context.update(&client.port().to_be_bytes());
        let mac = context.sign();
        let mut raw = [0; RAW_LEN];
        let bytes = made.iter().chain(mac.as_ref());
        raw.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        raw
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_is_for_one_client_and_one_while() {
        let nonces = Nonces::new(&[1; 32]);
        let client = "192.0.2.1:5000".parse().unwrap();
        let nonce = nonces.make(client, 1_800_000_000);
        assert!(nonce.is_ascii());
        assert!(nonces.accepts(&nonce, client, 1_800_000_000));
        assert!(nonces.accepts(&nonce, client, 1_800_000_000 + LIFETIME));
        assert!(!nonces.accepts(&nonce, client, 1_800_000_001 + LIFETIME));
        assert!(
            !nonces.accepts(&nonce, client, 1_799_999_999),
            "from the future"
        );
        assert!(!nonces.accepts(&nonce, "192.0.2.1:5001".parse().unwrap(), 1_800_000_000));
        assert!(!nonces.accepts(&nonce, "192.0.2.2:5000".parse().unwrap(), 1_800_000_000));
        assert!(!Nonces::new(&[2; 32]).accepts(&nonce, client, 1_800_000_000));
    }

    #[test]
    fn rubbish_is_no_nonce() {
        let nonces = Nonces::new(&[1; 32]);
        let client = "[2001:db8::1]:5000".parse().unwrap();
        let nonce = nonces.make(client, 1_800_000_000);
        for end in 0..nonce.len() {
            assert!(!nonces.accepts(&nonce[..end], client, 1_800_000_000));
        }
        for at in 0..nonce.len() {
            let mut other = nonce;
            other[at] ^= 1;
            assert!(!nonces.accepts(&other, client, 1_800_000_000), "{at}");
        }
        assert!(!nonces.accepts(&[b'A'; 4096], client, 1_800_000_000));
    }
}
