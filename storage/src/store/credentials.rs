//! What users prove themselves by: passwords and links for new ones, second factors, identities at a provider.

use async_trait::async_trait;

use super::Result;
use crate::{
    Credentials, Identity, PasswordChange, SecondFactor, Timestamp, TokenHash, TotpSecret, User,
    UserId,
};

#[async_trait]
pub trait CredentialStore {
    async fn credentials(&self, user: UserId) -> Result<Credentials>;

    /// Also ends every token of the user, as [`crate::SignInStore::remove_all_tokens`] does, and his link for a new
    /// password.
    async fn set_password(&self, user: UserId, password_hash: String) -> Result<()>;
    /// Stores the password that the user has in another way, and ends nothing. Whether he still had `before`.
    async fn rehash_password(&self, user: UserId, before: String, now: String) -> Result<bool>;
    /// As [`Self::set_password`], but for one token. `NotFound` when that, or the epoch, is over.
    async fn change_password(&self, change: PasswordChange) -> Result<()>;

    /// Voids the user's link before it.
    async fn set_reset(&self, user: UserId, link: TokenHash, expires_at: Timestamp) -> Result<()>;
    /// Whose link it is, blocked or not, if it is still good.
    async fn reset_owner(&self, link: TokenHash, now: Timestamp) -> Result<Option<User>>;
    /// Sets the password as [`Self::set_password`] does, by a link which that ends. `NotFound` when it is not good, or its user blocked.
    async fn take_reset(
        &self,
        link: TokenHash,
        password_hash: String,
        now: Timestamp,
    ) -> Result<User>;

    /// In place of one that is not confirmed. `SecondFactorOn` when there is one that is; `NotFound` when the user is not in this epoch
    /// of [`User`] any more.
    async fn begin_second_factor(&self, user: UserId, epoch: i64, secret: TotpSecret)
    -> Result<()>;
    async fn second_factor(&self, user: UserId) -> Result<Option<SecondFactor>>;
    /// From now on it is asked for. `step` counts as taken. `NotFound` when this secret does not wait to be confirmed.
    async fn confirm_second_factor(
        &self,
        user: UserId,
        secret: TotpSecret,
        step: i64,
        recovery_codes: Vec<TokenHash>,
    ) -> Result<()>;
    /// Whether the code of this step is taken by this: neither it nor a later one was before.
    async fn take_step(&self, user: UserId, secret: TotpSecret, step: i64) -> Result<bool>;
    /// Whether there was such a code; it is gone.
    async fn take_recovery_code(&self, user: UserId, code: TokenHash) -> Result<bool>;
    /// With its recovery codes. `NotFound` when there is none.
    async fn remove_second_factor(&self, user: UserId) -> Result<()>;

    /// Who signs in by it, blocked or not.
    async fn identity_owner(&self, identity: Identity) -> Result<Option<User>>;
    /// `IdentityTaken` when it is somebody's, or the user has another one of this issuer; `NotFound` when the user is not
    /// in this epoch of [`User`] any more.
    async fn link_identity(
        &self,
        identity: Identity,
        user: UserId,
        epoch: i64,
        now: Timestamp,
    ) -> Result<()>;
    /// `NotFound` when the user has none of this issuer, or could not sign in without.
    async fn unlink_identity(&self, user: UserId, issuer: String) -> Result<()>;
}
