//! Who may relay: the question that the relay asks, and the answer's types. The answer itself, a user table
//! or anything else, is left to the one who implements [`Authenticator`].

use std::net::IpAddr;

pub use crate::wire::integrity::{Key, PasswordAlgorithm, userhash};

/// Whose an allocation is: what quotas go by, and the right to relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Owner(pub u64);

/// What a username may stand for.
#[derive(Debug, Clone, Copy)]
pub struct Credential {
    /// Whose the allocations will be.
    pub owner: Owner,
    /// What the request's integrity must have been made with, by the algorithm that the claim names.
    pub key: Key,
    /// The authenticator's own number for what this credential goes by; an allocation made with it keeps it, for
    /// [`Authenticator::permits`].
    pub epoch: u64,
    /// Seconds since the Unix epoch from which no allocation is made with it; `None`: it does not expire. What is to
    /// become of those there are is a setting, [`Config::strict_expiry`](crate::server::Config::strict_expiry).
    pub expires: Option<u64>,
    /// Live allocations of this owner, in place of
    /// [`Limits::allocations_per_owner`](crate::server::Limits::allocations_per_owner); 0: no limit.
    pub max_allocations: Option<u32>,
    /// Whether the owner has had as much relayed as he may, so that no allocation is made (486).
    pub over_quota: bool,
}

impl Credential {
    /// Seconds until it expires; `None`: it does not.
    pub(crate) fn expires_in(&self, unix: u64) -> Option<u64> {
        self.expires.map(|expires| expires.saturating_sub(unix))
    }
}

/// Why an owner of live allocations may not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// He may not relay any more, or not by the credential that he made them with.
    Revoked,
    /// He has had as much relayed as he may.
    OverQuota,
}

/// Why a username may not relay; the client is told 401 in every case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.as_str())]
pub enum Refusal {
    /// Nobody has this name.
    Unknown,
    /// The owner is known and may not relay, or not any more.
    Revoked,
    /// None of the keys that this username could have proves the request.
    WrongPassword,
    /// Too many were wrong before, so that this one is not looked at.
    TooOften,
}

impl Refusal {
    /// The reason in a few words.
    pub fn as_str(self) -> &'static str {
        match self {
            Refusal::Unknown => "no such user",
            Refusal::Revoked => "no longer allowed",
            Refusal::WrongPassword => "wrong password",
            Refusal::TooOften => "too many wrong ones before",
        }
    }
}

/// One request's claim, not yet proven: integrity is checked with the keys that come back.
#[derive(Debug, Clone, Copy)]
pub struct Claim<'a> {
    /// Value of USERNAME; as long as a message allows, and whatever UTF-8 the client likes. Or what
    /// [`Authenticator::username`] found.
    pub username: &'a str,
    /// This server's own, which the request named.
    pub realm: &'a str,
    /// By which the keys are to be made.
    pub algorithm: PasswordAlgorithm,
    /// Seconds since the Unix epoch.
    pub unix: u64,
    /// From where it comes; it has been seen that whoever is there receives what is sent to it.
    pub client: IpAddr,
    /// Whether its 5-tuple has an allocation, and one that was made under this name.
    pub is_running: bool,
}

impl Claim<'_> {
    /// The key that proves it, if this is the password.
    pub fn key(&self, password: &str) -> Key {
        Key::new(self.algorithm, self.username, self.realm, password)
    }
}

/// Tells whose a username may be and what key proves it.
///
/// Asked on the relay's own threads, so it must answer from memory.
pub trait Authenticator: Send + Sync {
    /// Asked for each authenticated request: all that the username may stand for, which is more than one thing where
    /// several secrets could have made its password. The request's integrity tells which it is.
    ///
    /// Whether a user exists should not show in how long this takes.
    fn credentials(&self, claim: Claim<'_>) -> Result<Vec<Credential>, Refusal>;

    /// Told of a claim that was proven to be of this credential.
    fn proven(&self, _claim: Claim<'_>, _credential: &Credential) {}

    /// Told of a claim that has come to nothing. Whether its client is told so, too; otherwise it hears nothing, and
    /// [`Dropped::Banned`](crate::stats::Dropped::Banned) counts it.
    fn refused(&self, _claim: Claim<'_>, _refusal: Refusal) -> bool {
        true
    }

    /// Whose [`userhash`] in this realm it is, which a client may send in place of the username (RFC 8489 §14.4).
    fn username(&self, _userhash: &[u8; 32], _realm: &str) -> Option<String> {
        None
    }

    /// Whether every user can be known by userhash. A client to which this is told has to send no username any more, so
    /// it is false where there is one user whose name is not known beforehand: usernames with an expiry in them cannot
    /// be found by their hash.
    fn is_anonymous(&self) -> bool {
        false
    }

    /// Whether an owner of live allocations may still relay by a credential of this epoch. Asked for all of them by
    /// [`Relay::review`](crate::net::Relay::review).
    fn permits(&self, owner: Owner, epoch: u64) -> Result<(), Loss>;
}
