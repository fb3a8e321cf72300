//! Who may relay: the question that the relay asks, and the answer's types. The answer itself, a user table
//! or anything else, is left to the one who implements [`Authenticator`].

pub use crate::wire::integrity::Key;

/// Whose an allocation is: what quotas go by, and the right to relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Owner(pub u64);

/// What a username may stand for.
#[derive(Debug, Clone, Copy)]
pub struct Credential {
    pub owner: Owner,
    pub key: Key,
    /// Live allocations of this owner, in place of
    /// [`Limits::allocations_per_owner`](crate::server::Limits::allocations_per_owner); 0: no limit.
    pub max_allocations: Option<u32>,
}

/// Why a username may not relay; the client is told 401 in every case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("no such user")]
    Unknown,
    #[error("expired")]
    Expired,
    #[error("no longer allowed")]
    Revoked,
}

/// One request's claim, not yet proven: integrity is checked with the keys that come back.
#[derive(Debug, Clone, Copy)]
pub struct Claim<'a> {
    pub username: &'a str,
    pub realm: &'a str,
    /// Whether a new allocation is asked for. A short-lived credential must be unexpired then; one that
    /// expires in a running call goes on.
    pub allocating: bool,
    /// Seconds since the Unix epoch.
    pub unix: u64,
}

/// Tells whose a username may be and what key proves it.
///
/// Asked on the relay's own threads, so it must answer from memory.
pub trait Authenticator: Send + Sync {
    /// Asked for each authenticated request: all that the username may stand for, which is more than one thing where
    /// several secrets could have made its password. The request's integrity tells which it is.
    fn credentials(&self, claim: Claim<'_>) -> Result<Vec<Credential>, Refusal>;

    /// Whether an owner of live allocations may still relay. Asked for all of them by
    /// [`Relay::review`](crate::net::Relay::review).
    fn permits(&self, owner: Owner) -> bool;
}
