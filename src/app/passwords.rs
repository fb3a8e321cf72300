//! Argon2id off the async threads, a bounded number at once, each in memory that is kept: an allocator that is given
//! 19 MiB back by ever other threads holds on to many times that. Passwords of the old Django program are checked as it did.

mod django;

use std::sync::{Arc, Mutex, PoisonError};

use argon2::password_hash::phc::{Output, ParamsString, PasswordHash, Salt};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use ring::rand::{SecureRandom, SystemRandom};
use tokio::sync::Semaphore;

use super::{Refusal, Result};

pub(super) use django::{Pbkdf2, algorithm};

/// Each takes 19 MiB and a core for tens of milliseconds.
const AT_ONCE: usize = 2;
/// How many may wait for their turn before more are turned away.
const MAX_WAITING: usize = 64;

/// Of a password that nobody knows, with the cost of all others: what unknown users are checked against.
const NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5IGtub3dzIQ$k1OOLYJYOd0cU9Eo0nPpZCLqvdmYkYlq3j2Y0HhYHGA";

pub(super) struct Passwords {
    turns: Arc<Semaphore>,
    places: Semaphore,
    /// Never more than there are turns.
    idle_memory: Arc<Mutex<Vec<Vec<Block>>>>,
    /// The most rounds that a password of the Django program takes; 0 where all are ours.
    rounds: u32,
}

impl Passwords {
    /// `foreign` are those that are not stored as ours are.
    pub fn new(foreign: &[String]) -> Self {
        let rounds = foreign.iter().filter_map(|hash| Pbkdf2::parse(hash));
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Passwords {
            turns: Arc::new(Semaphore::new(cores.min(AT_ONCE))),
            places: Semaphore::new(MAX_WAITING),
            idle_memory: Arc::default(),
            rounds: rounds.map(|hash| hash.rounds()).max().unwrap_or(0),
        }
    }

    /// A PHC string.
    pub async fn hash(&self, password: String) -> Result<String> {
        self.run(move |memory| hash(&password, memory))
            .await?
            .ok_or_else(|| Refusal::Overloaded.into())
    }

    /// What is wrong takes the same time whether there is a `hash` or not, and whichever it is.
    pub async fn verify(&self, password: String, hash: Option<String>) -> Result<bool> {
        let rounds = self.rounds;
        self.run(move |memory| fits(&password, hash.as_deref(), rounds, memory))
            .await
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Vec<Block>) -> T + Send + 'static,
    ) -> Result<T> {
        let overloaded = || Refusal::Overloaded;
        let _place = self.places.try_acquire().map_err(|_| overloaded())?;
        let turn = Arc::clone(&self.turns)
            .acquire_owned()
            .await
            .map_err(|_| overloaded())?;
        let idle = Arc::clone(&self.idle_memory);
        // The turn goes along: a caller that gives up does not free it before the work is done.
        let work = move || {
            let _turn = turn;
            let idle = || idle.lock().unwrap_or_else(PoisonError::into_inner);
            let kept = idle().pop();
            let mut memory = kept.unwrap_or_default();
            let result = work(&mut memory);
            idle().push(memory);
            result
        };
        Ok(tokio::task::spawn_blocking(work)
            .await
            .map_err(|_| overloaded())?)
    }
}

/// `None`: the machine has no randomness to give.
fn hash(password: &str, memory: &mut Vec<Block>) -> Option<String> {
    let mut salt = [0; 16];
    SystemRandom::new().fill(&mut salt).ok()?;
    let params = Params::default();
    let hash = PasswordHash {
        algorithm: Algorithm::Argon2id.ident(),
        version: Some(Version::V0x13.into()),
        params: ParamsString::try_from(&params).ok()?,
        salt: Some(Salt::new(&salt).ok()?),
        hash: Some(output(password, &salt, &params, memory)?),
    };
    Some(hash.to_string())
}

/// `rounds` of the Django program's kind are made up for where a wrong password has not cost them.
fn fits(password: &str, hash: Option<&str>, rounds: u32, memory: &mut Vec<Block>) -> bool {
    let foreign = hash.and_then(Pbkdf2::parse);
    let (fits, done) = match &foreign {
        Some(foreign) => (foreign.fits(password), foreign.rounds()),
        None => (false, 0),
    };
    if fits {
        return true;
    }
    let ours = hash.filter(|hash| !hash.is_empty() && foreign.is_none());
    let fits = verify(password, ours.unwrap_or(NOBODY), memory).unwrap_or(false);
    if fits && ours.is_some() {
        return true;
    }
    django::spend(password, rounds.saturating_sub(done));
    false
}

/// `None`: `hash` is none of ours.
fn verify(password: &str, hash: &str, memory: &mut Vec<Block>) -> Option<bool> {
    let hash = PasswordHash::new(hash).ok()?;
    if hash.algorithm != Algorithm::Argon2id.ident() {
        return None;
    }
    let params = Params::try_from(&hash).ok()?;
    // Outputs are compared in constant time.
    Some(output(password, hash.salt.as_ref()?, &params, memory)? == hash.hash?)
}

fn output(password: &str, salt: &[u8], params: &Params, memory: &mut Vec<Block>) -> Option<Output> {
    memory.resize(params.block_count(), Block::default());
    let mut output = [0; Params::DEFAULT_OUTPUT_LEN];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone())
        .hash_password_into_with_memory(password.as_bytes(), salt, &mut output, memory)
        .ok()?;
    Output::new(&output).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_users_cost_what_known_ones_do() {
        let nobody = PasswordHash::new(NOBODY).unwrap();
        let real = hash("x", &mut Vec::new()).unwrap();
        let real = PasswordHash::new(&real).unwrap();
        assert_eq!(nobody.algorithm, real.algorithm);
        assert_eq!(nobody.params.as_str(), real.params.as_str());
        assert_eq!(
            nobody.hash.map(|hash| hash.len()),
            real.hash.map(|hash| hash.len())
        );
    }

    #[test]
    fn a_password_fits_its_own_hash_alone_in_memory_used_before() {
        let memory = &mut Vec::new();
        let (first, second) = (hash("one", memory).unwrap(), hash("one", memory).unwrap());
        assert_ne!(first, second, "salted");
        for hash in [&first, &second] {
            assert_eq!(verify("one", hash, memory), Some(true));
            assert_eq!(verify("two", hash, memory), Some(false));
        }
        assert_eq!(verify("one", "", memory), None);
    }

    /// As Django 5.2 writes it, made by Python's hashlib.
    const OLD: &str =
        "pbkdf2_sha256$1000$salt0123456789abcdefgh$BHYvPWg9WDK+SRyskstcfOfnc0GlO3Zv5MSNo5T6N58=";

    #[test]
    fn a_password_of_django_fits_and_nothing_else_does() {
        let memory = &mut Vec::new();
        assert!(fits("correct horse", Some(OLD), 0, memory));
        for (password, hash) in [
            ("correct hors", Some(OLD)),
            ("", Some(OLD)),
            // Nobody's own password is no way in.
            ("nobody knows it", None),
            ("", Some("")),
            ("correct horse", Some("pbkdf2_sha256$x$y$z")),
        ] {
            assert!(!fits(password, hash, 2000, memory), "{password} {hash:?}");
        }
    }

    #[test]
    fn a_wrong_password_costs_the_same_whoever_it_is_of() {
        let memory = &mut Vec::new();
        let ours = hash("one", memory).unwrap();
        django::tests::counted();
        for hash in [Some(OLD), Some(&ours), Some(""), None] {
            assert!(!fits("wrong", hash, 2500, memory), "{hash:?}");
            assert_eq!(django::tests::counted(), 2500, "{hash:?}");
        }
        // Where nobody has come from there, it costs nothing.
        assert!(!fits("wrong", None, 0, memory));
        assert_eq!(django::tests::counted(), 0);
    }

    #[test]
    fn hashes_are_those_of_other_programs() {
        use argon2::password_hash::PasswordVerifier;
        let hash = hash("one", &mut Vec::new()).unwrap();
        let hash = PasswordHash::new(&hash).unwrap();
        Argon2::default().verify_password(b"one", &hash).unwrap();
    }
}
