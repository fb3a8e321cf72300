//! What somebody is given to come back with, to whatever node of this server: what is to be known of him then, sealed, so that
//! nothing waits for him in memory. It is good in one browser, for a while, and once.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use moznods_storage::{Timestamp, TokenHash};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::app::accounts::hash;
use crate::app::{Refusal, Result, now};

/// Those that were used; more push the oldest out.
const MOST: usize = 10_000;
/// No ticket is good for longer.
const LONGEST: Duration = Duration::from_secs(3600);
/// Bytes of a ticket.
const LONGEST_TEXT: usize = 4096;

pub struct Tickets {
    key: LessSafeKey,
    used: Mutex<HashMap<TokenHash, Instant>>,
}

#[derive(Serialize, Deserialize)]
struct Ticket<T> {
    end: Timestamp,
    what: T,
}

/// What a ticket is good for, and where.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    pub purpose: &'static str,
    /// What the browser keeps.
    pub browser: &'a str,
}

impl Place<'_> {
    fn aad(self) -> Aad<String> {
        Aad::from(format!("{}\n{}", self.purpose, self.browser))
    }
}

impl Tickets {
    pub fn new(secret: &str) -> Result<Self> {
        let key = UnboundKey::new(&AES_256_GCM, &hash(secret).0);
        Ok(Tickets {
            key: LessSafeKey::new(key.map_err(|_| Refusal::Overloaded)?),
            used: Mutex::default(),
        })
    }

    pub fn make(&self, place: Place<'_>, wait: Duration, what: &impl Serialize) -> Result<String> {
        let wait = i64::try_from(wait.min(LONGEST).as_micros()).unwrap_or_default();
        let end = now().saturating_add(wait);
        let overloaded = |_| Refusal::Overloaded;
        let mut sealed =
            serde_json::to_vec(&Ticket { end, what }).map_err(|_| Refusal::Overloaded)?;
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).map_err(overloaded)?;
        let unique = Nonce::assume_unique_for_key(nonce);
        let sealing = self
            .key
            .seal_in_place_append_tag(unique, place.aad(), &mut sealed);
        sealing.map_err(overloaded)?;
        Ok(URL_SAFE_NO_PAD.encode([&nonce[..], &sealed].concat()))
    }

    /// `None`: it is no such ticket, not good there, or not any more.
    pub fn read<T: DeserializeOwned>(&self, place: Place<'_>, text: &str) -> Option<T> {
        if text.len() > LONGEST_TEXT {
            return None;
        }
        let mut sealed = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (nonce, sealed) = sealed.split_at_mut_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let opened = self.key.open_in_place(nonce, place.aad(), sealed).ok()?;
        let ticket: Ticket<T> = serde_json::from_slice(opened).ok()?;
        let is_good = ticket.end > now() && !self.used().contains_key(&hash(text));
        is_good.then_some(ticket.what)
    }

    /// Of those who come with one at once, one gets it.
    pub fn take(&self, ticket: TokenHash) -> bool {
        let now = Instant::now();
        let mut used = self.used();
        if used.len() >= MOST {
            used.retain(|_, since| now.saturating_duration_since(*since) < LONGEST);
        }
        if used.len() >= MOST {
            let oldest = used.iter().min_by_key(|(_, since)| **since);
            if let Some(oldest) = oldest.map(|(ticket, _)| *ticket) {
                used.remove(&oldest);
            }
        }
        used.insert(ticket, now).is_none()
    }

    fn used(&self) -> MutexGuard<'_, HashMap<TokenHash, Instant>> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Place<'static> = Place {
        purpose: "away",
        browser: "one",
    };
    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn a_ticket_is_good_at_each_node_in_one_place_and_once() {
        let (here, there) = (Tickets::new("s").unwrap(), Tickets::new("s").unwrap());
        let ticket = here.make(HERE, MINUTE, &"ann").unwrap();
        let read = |tickets: &Tickets, place, text: &str| tickets.read::<String>(place, text);
        assert_eq!(read(&there, HERE, &ticket).as_deref(), Some("ann"));
        let other = Tickets::new("t").unwrap();
        assert_eq!(read(&other, HERE, &ticket), None);
        let elsewhere = Place {
            browser: "two",
            ..HERE
        };
        let back = Place {
            purpose: "back",
            ..HERE
        };
        assert_eq!(read(&here, elsewhere, &ticket), None);
        assert_eq!(read(&here, back, &ticket), None);
        let cut = &ticket[..ticket.len() - 4];
        for wrong in ["", "guess", "AAAAAAAAAAAAAAAA", cut, &"A".repeat(10_000)] {
            assert_eq!(read(&here, HERE, wrong), None);
        }
        assert!(here.take(hash(&ticket)) && !here.take(hash(&ticket)));
        assert_eq!(read(&here, HERE, &ticket), None);
        let late = here.make(HERE, Duration::ZERO, &"ann").unwrap();
        assert_eq!(read(&here, HERE, &late), None);
    }

    #[test]
    fn memory_is_bounded_and_the_oldest_goes_first() {
        let tickets = Tickets::new("s").unwrap();
        let ticket = |n: usize| hash(&n.to_string());
        for n in 0..=MOST {
            assert!(tickets.take(ticket(n)));
        }
        assert_eq!(tickets.used().len(), MOST);
        assert!(!tickets.take(ticket(MOST)));
    }
}
