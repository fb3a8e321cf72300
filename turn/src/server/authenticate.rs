//! Who a request comes from, by the long-term credential mechanism (RFC 8489 §9.2), and how its answers are signed.

use std::borrow::Cow;
use std::hint::black_box;
use std::sync::Arc;

use super::allocation::Allocation;
use super::limiter::Address;
use super::request::{Code, has_fingerprint};
use super::{FiveTuple, Now, Server, Transport, Verdict};
use crate::auth::{Claim, Credential, Key, PasswordAlgorithm, Refusal};
use crate::nonce::{self, Features};
use crate::wire::integrity::{self, Integrity};
use crate::wire::{Builder, Class, Message, Method, attr, padded};

/// Bytes of a NONCE with its cookie.
const NONCE_LEN: usize = 4 + padded(nonce::LEN_WITH_COOKIE);
/// Bytes of PASSWORD-ALGORITHMS.
const OFFER_LEN: usize = 4 + PasswordAlgorithm::OFFER.len();

/// Why a request counts as nobody's.
pub(super) enum Unproven {
    Refused(Code, Address),
    /// 401, for what it says.
    Wrong(&'static str),
    /// From where so many wrong ones came that no more are looked at.
    RateLimited,
    /// The authenticator does not want it to be told anything.
    Banned,
}

/// A request whose integrity was proven.
pub(super) struct Proven<'a> {
    pub message: Message<'a>,
    pub username: Cow<'a, str>,
    pub credential: Credential,
    pub signature: Signature,
}

impl Proven<'_> {
    /// Whether it comes from the one who made the allocation (RFC 8656 §5).
    pub fn is_of(&self, allocation: &Allocation) -> bool {
        *allocation.username == *self.username && allocation.owner == self.credential.owner
    }
}

/// How the answers to a request end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Signature {
    key: Key,
    sha1: bool,
    sha256: bool,
    fingerprint: bool,
}

impl Signature {
    /// RFC 8489 §9.2.4: MESSAGE-INTEGRITY-SHA256, unless the request chose no algorithm. One that did, and was itself
    /// signed with MESSAGE-INTEGRITY, gets both: there are clients that look for the kind they sent.
    fn of(request: &Message<'_>, key: Key, chose: bool, integrity: Integrity) -> Self {
        Signature {
            key,
            sha1: !chose || integrity == Integrity::Sha1,
            sha256: chose,
            fingerprint: has_fingerprint(request),
        }
    }

    /// Appends what proves the answer.
    pub fn close(&self, answer: &mut Builder<'_>) {
        if self.sha1 {
            answer.integrity(&self.key);
        }
        if self.sha256 {
            answer.integrity_sha256(&self.key);
        }
        if self.fingerprint {
            answer.fingerprint();
        }
    }
}

/// The algorithm that a request chooses, if it does; `Err`: what was offered was changed on its way, or the choice is
/// none of it (RFC 8489 §9.2.4). A request with a nonce without cookie is held to the same.
fn chosen_algorithm(message: &Message<'_>) -> Result<Option<PasswordAlgorithm>, Code> {
    match (
        message.get(attr::PASSWORD_ALGORITHMS),
        message.get(attr::PASSWORD_ALGORITHM),
    ) {
        (None, None) => Ok(None),
        (Some(offer), Some(choice)) if offer == PasswordAlgorithm::OFFER => {
            let choice = PasswordAlgorithm::from_value(choice);
            choice.map(Some).ok_or(Code::BadRequest)
        }
        _ => Err(Code::BadRequest),
    }
}

impl Server {
    /// RFC 8489 §9.2.4, in its order but for the nonce: that is looked at before anything is computed for an address
    /// that has not shown itself yet, so that whoever has a stale one and a wrong password is told of the former first.
    pub(super) fn authenticate<'a>(
        &mut self,
        now: Now,
        tuple: FiveTuple,
        message: Message<'a>,
    ) -> Result<Proven<'a>, Unproven> {
        let by_transport = Address::by_transport(tuple.transport);
        let Some(integrity) = Integrity::of(&message) else {
            return Err(Unproven::Refused(Code::Unauthorized, by_transport));
        };
        let username = message.get(attr::USERNAME);
        let userhash = message.get(attr::USERHASH);
        let (Some(user), Some(realm), Some(nonce)) = (
            username.or(userhash),
            message.get(attr::REALM),
            message.get(attr::NONCE),
        ) else {
            return Err(Unproven::Refused(Code::BadRequest, by_transport));
        };
        let choice =
            chosen_algorithm(&message).map_err(|code| Unproven::Refused(code, by_transport))?;
        let nonces = &self.common.nonces;
        let fits = |tuple| nonces.accepts(nonce, tuple, now.unix);
        // A stream's address is proven; a datagram with another's nonce may come from anywhere.
        let of_control =
            || tuple.transport != Transport::Udp && self.control_of(&message).is_some_and(fits);
        if !fits(tuple) && !of_control() {
            return Err(Unproven::Refused(Code::StaleNonce, by_transport));
        }
        let config = self.common.config();
        if realm != config.realm.as_bytes() {
            return Err(Unproven::Wrong("another realm"));
        }
        // What follows costs more than to ask for it.
        if !self
            .limiter
            .has(tuple.client.ip(), Address::Proven, now.instant)
        {
            return Err(Unproven::RateLimited);
        }
        let authenticator = &self.common.authenticator;
        let username = match username {
            Some(text) => std::str::from_utf8(text).ok().map(Cow::Borrowed),
            None => user
                .try_into()
                .ok()
                .and_then(|hash| authenticator.username(hash, &config.realm))
                .map(Cow::Owned),
        };
        let claim = Claim {
            username: username.as_deref().unwrap_or_default(),
            realm: &config.realm,
            algorithm: choice.unwrap_or(PasswordAlgorithm::Md5),
            unix: now.unix,
            client: tuple.client.ip(),
            is_running: username
                .as_deref()
                .is_some_and(|name| self.runs(tuple, name)),
        };
        let candidates = match username {
            Some(_) => authenticator.credentials(claim),
            None => Err(Refusal::Unknown),
        };
        if candidates.is_err() {
            // As much work as for one who is known.
            black_box(integrity::verify(&message, &claim.key("")));
        }
        let found = candidates.and_then(|candidates| {
            let mut candidates = candidates.into_iter();
            candidates
                .find(|candidate| integrity::verify(&message, &candidate.key))
                .ok_or(Refusal::WrongPassword)
        });
        let credential = found.map_err(|refusal| match authenticator.refused(claim, refusal) {
            true => Unproven::Wrong(refusal.as_str()),
            false => Unproven::Banned,
        })?;
        authenticator.proven(claim, &credential);
        let allocating = message.method() == Method::Allocate && !self.has_allocation(tuple);
        if credential.expires_in(now.unix) == Some(0) && (allocating || config.strict_expiry) {
            return Err(Unproven::Wrong("expired"));
        }
        Ok(Proven {
            message,
            signature: Signature::of(&message, credential.key, choice.is_some(), integrity),
            username: username.unwrap_or_default(),
            credential,
        })
    }

    /// Whether the allocation of this client was made under that name. Whoever has one under another may still be guessing.
    fn runs(&self, tuple: FiveTuple, username: &str) -> bool {
        let slot = self.by_tuple.get(&tuple);
        let allocation = slot.and_then(|slot| self.allocations.get(*slot as usize));
        allocation.is_some_and(|allocation| *allocation.username == *username)
    }

    /// Refuses one whose credentials are missing or wrong: without integrity, for there is no key to go by.
    ///
    /// SHA-256 is offered where it fits (RFC 8489 §9.2.1), and a cookie that offers nothing where that does: on streams
    /// always, over UDP but to a first request that is too short for an answer of that length. Over UDP, then, somebody on
    /// the way can send such a short one in a client's name, and hand the client a nonce that offers nothing, to have it
    /// authenticate as by RFC 5389; with no other such nonce does it get in.
    pub(super) fn refuse_unproven(
        &mut self,
        now: Now,
        tuple: FiveTuple,
        message: Message<'_>,
        code: Code,
        address: Address,
    ) -> Verdict {
        let common = Arc::clone(&self.common);
        let id = message.transaction_id();
        self.answer_unproven(now, tuple, message, address, code as u16, |out, room| {
            let mut answer = Builder::new(out, message.method(), Class::Error, id);
            answer.error_code(code as u16, "");
            if code != Code::BadRequest {
                answer.text(attr::REALM, &common.config().realm);
                let left = room.saturating_sub(answer.len());
                let offers = NONCE_LEN + OFFER_LEN <= left;
                let features = (NONCE_LEN <= left).then(|| Features {
                    password_algorithms: offers,
                    anonymity: common.authenticator.is_anonymous(),
                });
                let nonce = common.nonces.make(features, tuple, now.unix);
                answer.attribute(attr::NONCE, &nonce);
                if offers {
                    answer.attribute(attr::PASSWORD_ALGORITHMS, &PasswordAlgorithm::OFFER);
                }
            }
            answer
        })
    }
}
