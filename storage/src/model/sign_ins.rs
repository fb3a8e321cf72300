//! Sign-ins, and what a user proves himself by.

use std::fmt;

use crate::{Timestamp, User, UserId};

/// A cryptographic hash (SHA-256) of a secret that somebody shows: a sign-in token, a link, a recovery code. The secret
/// itself is never stored.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TokenHash(pub [u8; 32]);

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(…)")
    }
}

/// Positive; never given out twice.
pub type SignInId = i64;

/// How many sign-ins a user may have; one more ends that which was not used for longest.
pub const MAX_SIGN_INS: usize = 100;

/// A device on which a user is signed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignIn {
    pub id: SignInId,
    pub token: TokenHash,
    /// May be empty.
    pub name: String,
    pub created_at: Timestamp,
    /// Noted now and then.
    pub last_used_at: Timestamp,
}

#[derive(Debug, Clone)]
pub struct NewSignIn {
    pub token: TokenHash,
    pub user: UserId,
    /// Of [`User`], in which his password was checked.
    pub epoch: i64,
    pub name: String,
    pub now: Timestamp,
}

/// The owner of a token, when it was made, and when it was last noted as used.
#[derive(Debug, Clone)]
pub struct TokenOwner {
    pub user: User,
    pub created_at: Timestamp,
    pub last_used_at: Timestamp,
}

/// A new password that somebody signed in has chosen.
#[derive(Clone)]
pub struct PasswordChange {
    pub user: UserId,
    /// Of [`User`], in which the one before was checked.
    pub epoch: i64,
    /// The one sign-in that goes on.
    pub keep: TokenHash,
    /// PHC string.
    pub password_hash: String,
}

impl fmt::Debug for PasswordChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PasswordChange")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// By what a user may prove himself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Credentials {
    pub has_password: bool,
    /// One that is confirmed.
    pub has_second_factor: bool,
    pub recovery_codes: i64,
    /// At any provider.
    pub has_identity: bool,
}

/// The secret of a second factor (RFC 6238).
#[derive(Clone, PartialEq, Eq)]
pub struct TotpSecret(pub Vec<u8>);

impl fmt::Debug for TotpSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

#[derive(Debug, Clone)]
pub struct SecondFactor {
    pub secret: TotpSecret,
    /// Until then it is not asked for.
    pub confirmed: bool,
}

/// Who somebody is at a provider of OpenID Connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub issuer: String,
    pub subject: String,
}
