//! Passwords as Django stores them, of which PBKDF2 with SHA-256 alone is checked: what it uses where nothing else is set.

use std::num::NonZeroU32;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::pbkdf2::{self, PBKDF2_HMAC_SHA256};

const ALGORITHM: &str = "pbkdf2_sha256";
/// A sign-in must not cost as much as whoever has written the hash likes. Django 6 takes 1,200,000.
const MAX_ROUNDS: u32 = 2_000_000;
/// Bytes of a hash.
const OUTPUT: usize = 32;

pub struct Pbkdf2 {
    rounds: NonZeroU32,
    salt: String,
    hash: [u8; OUTPUT],
}

impl Pbkdf2 {
    /// `None`: it is none, or one that is not checked.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('$');
        let mut part = || parts.next();
        let (algorithm, rounds, salt, hash) = (part()?, part()?, part()?, part()?);
        if algorithm != ALGORITHM || part().is_some() || salt.is_empty() {
            return None;
        }
        let rounds: NonZeroU32 = rounds.parse().ok()?;
        let hash = STANDARD.decode(hash).ok()?;
        (rounds.get() <= MAX_ROUNDS).then_some(Pbkdf2 {
            rounds,
            salt: salt.to_owned(),
            hash: hash.try_into().ok()?,
        })
    }

    pub fn rounds(&self) -> u32 {
        self.rounds.get()
    }

    pub fn fits(&self, password: &str) -> bool {
        #[cfg(test)]
        tests::count(self.rounds());
        let (salt, password) = (self.salt.as_bytes(), password.as_bytes());
        // Compares in constant time.
        pbkdf2::verify(PBKDF2_HMAC_SHA256, self.rounds, salt, password, &self.hash).is_ok()
    }
}

/// What a stored password was made by, if that may be said: never a part of the password itself.
pub fn algorithm(text: &str) -> Option<&str> {
    let name = text.split_once('$')?.0;
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    (name.len() <= 32 && name.bytes().all(is_word)).then_some(name)
}

/// Does nothing that costs as much as so many rounds.
pub fn spend(password: &str, rounds: u32) {
    #[cfg(test)]
    tests::count(rounds);
    if let Some(rounds) = NonZeroU32::new(rounds) {
        let mut output = [0; OUTPUT];
        pbkdf2::derive(
            PBKDF2_HMAC_SHA256,
            rounds,
            b"nobody",
            password.as_bytes(),
            &mut output,
        );
        // What is not used might not be done.
        std::hint::black_box(output);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::cell::Cell;

    use super::*;

    thread_local! {
        static ROUNDS: Cell<u32> = const { Cell::new(0) };
    }

    pub fn count(rounds: u32) {
        ROUNDS.set(ROUNDS.get() + rounds);
    }

    /// Those of this thread since the last time.
    pub fn counted() -> u32 {
        ROUNDS.take()
    }

    #[test]
    fn only_what_can_be_checked_at_a_bounded_cost_is_a_password() {
        let hash = STANDARD.encode([7; OUTPUT]);
        let of = |rounds: &str| Pbkdf2::parse(&format!("pbkdf2_sha256${rounds}$salt${hash}"));
        assert!(of("1000000").is_some() && of("2000000").is_some());
        for rounds in ["0", "2000001", "2147483648", "99999999999", "-1", "", "x"] {
            assert!(of(rounds).is_none(), "{rounds}");
        }
        for wrong in [
            String::new(),
            "!unusable".to_owned(),
            "pbkdf2_sha256$1000$salt".to_owned(),
            format!("pbkdf2_sha256$1000$$ {hash}"),
            format!("pbkdf2_sha256$1000$salt${hash}$more"),
            "pbkdf2_sha256$1000$salt$AAAA".to_owned(),
            format!("pbkdf2_sha1$1000$salt${hash}"),
        ] {
            assert!(Pbkdf2::parse(&wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn an_algorithm_is_named_and_never_a_password() {
        assert_eq!(algorithm("argon2$argon2id$v=19$…"), Some("argon2"));
        assert_eq!(algorithm("md5$a$b"), Some("md5"));
        for unknown in ["secret", "Se cret$x", "!abc$"] {
            assert_eq!(algorithm(unknown), None, "{unknown}");
        }
    }
}
