//! Encryption of what is pushed (RFC 8291 over RFC 8188): the push service passes on what the browser alone can read.

use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::agreement::{ECDH_P256, EphemeralPrivateKey, UnparsedPublicKey, agree_ephemeral};
use ring::error::Unspecified;
use ring::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use ring::rand::{SecureRandom, SystemRandom};

/// Bytes of an uncompressed point of P-256.
pub const POINT: usize = 65;
/// Bytes of a subscription's secret (RFC 8291 §3.2).
pub const AUTH: usize = 16;
/// Bytes of a payload: with header, delimiter and tag it is one record of 4096 bytes, which every push service takes
/// (RFC 8030 §7.2).
pub const MAX_PAYLOAD: usize = 3072;

const SALT: usize = 16;
/// Of the one record that there is; its own length may be less (RFC 8188 §2).
const RECORD: u32 = 4096;
/// Ends the plaintext of the last record (RFC 8188 §2).
const LAST_DELIMITER: u8 = 2;

/// Whether this is a point of P-256 that a key can be agreed with.
pub fn is_point(bytes: &[u8]) -> bool {
    bytes.len() == POINT && agree(bytes).is_ok()
}

/// The body of a push message to the browser with this key and secret.
pub fn seal(p256dh: &[u8], auth: &[u8], payload: &[u8]) -> Result<Vec<u8>, Unspecified> {
    if payload.len() > MAX_PAYLOAD {
        return Err(Unspecified);
    }
    let mut salt = [0; SALT];
    SystemRandom::new().fill(&mut salt)?;
    let (ours, secret) = agree(p256dh)?;
    seal_with(p256dh, auth, &ours, &secret, &salt, payload)
}

/// A fresh key of ours, and the secret that it shares with theirs.
fn agree(theirs: &[u8]) -> Result<(Vec<u8>, Vec<u8>), Unspecified> {
    let private = EphemeralPrivateKey::generate(&ECDH_P256, &SystemRandom::new())?;
    let ours = private.compute_public_key()?.as_ref().to_vec();
    let theirs = UnparsedPublicKey::new(&ECDH_P256, theirs);
    let secret = agree_ephemeral(private, &theirs, <[u8]>::to_vec)?;
    Ok((ours, secret))
}

fn seal_with(
    theirs: &[u8],
    auth: &[u8],
    ours: &[u8],
    secret: &[u8],
    salt: &[u8; SALT],
    payload: &[u8],
) -> Result<Vec<u8>, Unspecified> {
    // RFC 8291 §3.4.
    let prk = Salt::new(HKDF_SHA256, auth).extract(secret);
    let ikm: [u8; 32] = expand(&prk, &[b"WebPush: info\0", theirs, ours])?;
    let prk = Salt::new(HKDF_SHA256, salt).extract(&ikm);
    let key: [u8; 16] = expand(&prk, &[b"Content-Encoding: aes128gcm\0"])?;
    let nonce: [u8; 12] = expand(&prk, &[b"Content-Encoding: nonce\0"])?;

    // RFC 8188 §2.1: the header, of which our key is the id.
    let id_length = u8::try_from(ours.len()).map_err(|_| Unspecified)?;
    let mut body = Vec::with_capacity(SALT + 5 + ours.len() + payload.len() + 17);
    body.extend_from_slice(salt);
    body.extend_from_slice(&RECORD.to_be_bytes());
    body.push(id_length);
    body.extend_from_slice(ours);

    let mut record = payload.to_vec();
    record.push(LAST_DELIMITER);
    let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &key)?);
    // The first record's sequence number is 0, which leaves the nonce as it is.
    let nonce = Nonce::assume_unique_for_key(nonce);
    key.seal_in_place_append_tag(nonce, Aad::empty(), &mut record)?;
    body.extend_from_slice(&record);
    Ok(body)
}

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

fn expand<const N: usize>(prk: &Prk, info: &[&[u8]]) -> Result<[u8; N], Unspecified> {
    let mut out = [0; N];
    prk.expand(info, Length(N))?.fill(&mut out)?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;

    fn bytes(text: &str) -> Vec<u8> {
        URL_SAFE_NO_PAD.decode(text).unwrap()
    }

    /// RFC 8291, appendix A.
    #[test]
    fn the_example_of_the_rfc() {
        let theirs = bytes(
            "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4",
        );
        let ours = bytes(
            "BP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A8",
        );
        let secret = bytes("kyrL1jIIOHEzg3sM2ZWRHDRB62YACZhhSlknJ672kSs");
        let auth = bytes("BTBZMqHH6r4Tts7J_aSIgg");
        let salt = bytes("DGv6ra1nlYgDCS1FRnbzlw").try_into().unwrap();
        let text = b"When I grow up, I want to be a watermelon";
        let body = seal_with(&theirs, &auth, &ours, &secret, &salt, text).unwrap();
        let expected = "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS\
             6TlzAC8wEqKK6PBru3jl7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN";
        assert_eq!(URL_SAFE_NO_PAD.encode(body), expected);
    }

    #[test]
    fn what_is_no_point_is_no_key() {
        let theirs = bytes(
            "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4",
        );
        assert!(is_point(&theirs));
        let mut off_the_curve = theirs.clone();
        off_the_curve[64] ^= 1;
        let mut compressed = theirs[..33].to_vec();
        compressed[0] = 2;
        let infinity = vec![0];
        for wrong in [
            off_the_curve,
            compressed,
            infinity,
            vec![4; POINT],
            Vec::new(),
        ] {
            assert!(!is_point(&wrong), "{wrong:?}");
            assert!(seal(&wrong, &[0; AUTH], b"text").is_err());
        }
    }

    #[test]
    fn the_longest_payload_is_one_record() {
        let theirs = agree_with_nobody();
        let body = seal(&theirs, &[7; AUTH], &[b'x'; MAX_PAYLOAD]).unwrap();
        assert!(body.len() <= RECORD as usize, "{}", body.len());
        assert!(seal(&theirs, &[7; AUTH], &[b'x'; MAX_PAYLOAD + 1]).is_err());
    }

    fn agree_with_nobody() -> Vec<u8> {
        let private = EphemeralPrivateKey::generate(&ECDH_P256, &SystemRandom::new()).unwrap();
        private.compute_public_key().unwrap().as_ref().to_vec()
    }
}
