//! Sign-ins: tokens, and the devices that have them.

use async_trait::async_trait;

use super::Result;
use crate::{NewSignIn, SignIn, SignInId, Timestamp, TokenHash, TokenOwner, UserId};

#[async_trait]
pub trait SignInStore {
    /// `NotFound` when the user is not in this epoch of [`crate::User`] any more: what a password was right for is over.
    /// The tokens that it ends, so that there are no more than [`crate::MAX_SIGN_INS`].
    async fn add_token(&self, new: NewSignIn) -> Result<Vec<TokenHash>>;
    async fn token_owner(&self, token: TokenHash) -> Result<Option<TokenOwner>>;
    async fn touch_token(&self, token: TokenHash, now: Timestamp) -> Result<()>;
    async fn remove_token(&self, token: TokenHash) -> Result<()>;
    /// All of a user, the one used last first.
    async fn sign_ins(&self, user: UserId) -> Result<Vec<SignIn>>;
    async fn rename_sign_in(&self, user: UserId, id: SignInId, name: String) -> Result<SignIn>;
    /// The token that it had.
    async fn remove_sign_in(&self, user: UserId, id: SignInId) -> Result<TokenHash>;
    /// Ends every token of the user, and begins a new epoch of [`crate::User`].
    async fn remove_all_tokens(&self, user: UserId) -> Result<()>;
    /// Those of `tokens` that are still there.
    async fn living_tokens(&self, tokens: Vec<TokenHash>) -> Result<Vec<TokenHash>>;
}
