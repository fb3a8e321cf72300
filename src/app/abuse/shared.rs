//! What nodes tell each other of attempts, so that a balancer in front of them is no way around limits and bans. Each is a little
//! late to know what was taken at another one; without the others each counts for itself.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use moznods_storage::{HookId, UserId};
use ring::hmac;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use super::{Account, Attempt, Ban, Lift};

/// Kinds of what was taken that wait to be told; more are not told.
const MANY: usize = 65_536;
/// Of them in one word.
const PART: usize = 500;
/// Other words that wait.
const MANY_WORDS: usize = 4096;

/// Of what one was taken, for whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Taken {
    Stranger(IpAddr),
    Beginning(IpAddr),
    Write(UserId),
    Read(UserId),
    Upload(UserId),
    Frame(UserId),
    Hook(HookId),
    Registration(IpAddr),
    /// Of a prefix: a wrong code of registration.
    WrongCode(IpAddr),
    /// From a prefix, right or wrong.
    SignIn(Account, IpAddr),
    /// From a prefix.
    WrongHere(Account, IpAddr),
    WrongEverywhere(Account),
    WrongFrom(IpAddr),
    /// A wrong code of a second factor.
    Code(UserId),
    /// What bans are for.
    Counted(Attempt),
}

/// What nodes tell each other.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Word {
    Taken(Vec<(Taken, u32)>),
    /// Somebody has shown from a prefix that he is it.
    Right(Account, IpAddr),
    Banned(Ban),
    Lifted(Lift),
}

/// What is yet to be told.
#[derive(Default)]
pub struct Shared {
    /// `None`: there are no other nodes.
    waiting: Mutex<Option<Waiting>>,
    has_waiting: Notify,
}

#[derive(Default)]
struct Waiting {
    taken: HashMap<Taken, u32>,
    words: Vec<Word>,
}

impl Shared {
    /// There are other nodes.
    pub fn begin(&self) {
        *self.waiting() = Some(Waiting::default());
    }

    pub fn is_on(&self) -> bool {
        self.waiting().is_some()
    }

    pub fn taken(&self, what: Taken) {
        if let Some(waiting) = &mut *self.waiting()
            && (waiting.taken.len() < MANY || waiting.taken.contains_key(&what))
        {
            *waiting.taken.entry(what).or_default() += 1;
            self.has_waiting.notify_one();
        }
    }

    pub fn say(&self, word: Word) {
        if let Some(waiting) = &mut *self.waiting()
            && waiting.words.len() < MANY_WORDS
        {
            waiting.words.push(word);
            self.has_waiting.notify_one();
        }
    }

    /// Waits until there is something to tell. For one caller at a time.
    pub async fn next(&self) -> Vec<Word> {
        loop {
            self.has_waiting.notified().await;
            let all = self.waiting().as_mut().map(std::mem::take);
            let Some(Waiting { taken, words }) = all else {
                continue;
            };
            let taken: Vec<(Taken, u32)> = taken.into_iter().collect();
            // What was right forgives what was wrong before it.
            let taken = taken.chunks(PART).map(|part| Word::Taken(part.to_vec()));
            return taken.chain(words).collect();
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Option<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How names that nobody has are told apart: at all nodes in the same way, which nobody can find out.
pub struct NameHash(hmac::Key);

impl NameHash {
    pub fn new(secret: &str) -> Self {
        NameHash(hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()))
    }

    pub fn of(&self, name: &str) -> u64 {
        let mut short = DefaultHasher::new();
        hmac::sign(&self.0, name.as_bytes())
            .as_ref()
            .hash(&mut short);
        short.finish()
    }
}
