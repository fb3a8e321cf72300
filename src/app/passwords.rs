//! Argon2id off the async threads, a bounded number at once.

use std::sync::Arc;

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use tokio::sync::Semaphore;

use super::{Refusal, Result};

/// Each takes 19 MiB and a core for tens of milliseconds.
const AT_ONCE: usize = 2;
/// How many may wait for their turn before more are turned away.
const MAX_WAITING: usize = 64;

/// Of a password that nobody knows, with the cost of all others: what unknown users are checked against.
const NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5IGtub3dzIQ$k1OOLYJYOd0cU9Eo0nPpZCLqvdmYkYlq3j2Y0HhYHGA";

pub(super) struct Passwords {
    turns: Arc<Semaphore>,
    places: Arc<Semaphore>,
}

impl Passwords {
    pub fn new() -> Self {
        Passwords {
            turns: Arc::new(Semaphore::new(AT_ONCE)),
            places: Arc::new(Semaphore::new(MAX_WAITING)),
        }
    }

    /// A PHC string.
    pub async fn hash(&self, password: String) -> Result<String> {
        self.run(move || {
            Argon2::default()
                .hash_password(password.as_bytes())
                .map(|hash| hash.to_string())
        })
        .await?
        .map_err(|_| Refusal::Overloaded.into())
    }

    /// Takes the same time whether there is a `hash` or not.
    pub async fn verify(&self, password: String, hash: Option<String>) -> Result<bool> {
        self.run(move || {
            let known = hash.is_some();
            let hash = hash.unwrap_or_else(|| NOBODY.to_owned());
            let right = PasswordHash::new(&hash).is_ok_and(|hash| {
                Argon2::default()
                    .verify_password(password.as_bytes(), &hash)
                    .is_ok()
            });
            known && right
        })
        .await
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        let overloaded = || Refusal::Overloaded;
        let _place = self.places.try_acquire().map_err(|_| overloaded())?;
        let turn = Arc::clone(&self.turns)
            .acquire_owned()
            .await
            .map_err(|_| overloaded())?;
        // The turn goes along: a caller that gives up does not free it before the work is done.
        let work = move || {
            let _turn = turn;
            work()
        };
        Ok(tokio::task::spawn_blocking(work)
            .await
            .map_err(|_| overloaded())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_users_cost_what_known_ones_do() {
        let nobody = PasswordHash::new(NOBODY).unwrap();
        let real = Argon2::default().hash_password(b"x").unwrap();
        assert_eq!(nobody.algorithm, real.algorithm);
        assert_eq!(nobody.params.as_str(), real.params.as_str());
        assert_eq!(
            nobody.hash.map(|hash| hash.len()),
            real.hash.map(|hash| hash.len())
        );
    }
}
