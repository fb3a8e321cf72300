//! Users.

use async_trait::async_trait;

use super::Result;
use crate::{AccountChange, Identity, LastAdmin, NewUser, User, UserId, UserKey};

#[async_trait]
pub trait UserStore {
    /// Fails with `UsernameTaken`, `EmailTaken`, or (see [`crate::AdminGrant::First`]) `AdminExists`.
    async fn create_user(&self, user: NewUser) -> Result<User>;
    /// As [`Self::create_user`], of one who signs in by `identity`; `IdentityTaken` when it is somebody's already.
    async fn create_user_with_identity(&self, user: NewUser, identity: Identity) -> Result<User>;
    /// Deleted users are not found.
    async fn user(&self, key: UserKey) -> Result<Option<User>>;
    /// The user and the PHC string of the password, empty where there is none.
    async fn user_with_password(&self, key: UserKey) -> Result<Option<(User, String)>>;
    /// All that are not deleted, oldest first.
    async fn users(&self) -> Result<Vec<User>>;
    async fn has_admin(&self) -> Result<bool>;
    async fn set_display_name(&self, user: UserId, display_name: String) -> Result<User>;
    /// Blocking also ends every token of the user, as [`crate::SignInStore::remove_all_tokens`] does.
    async fn change_account(
        &self,
        user: UserId,
        change: AccountChange,
        last_admin: LastAdmin,
    ) -> Result<()>;
    /// Ends the tokens, invitations, links for a password, second factor, identities and participations (see [`RoomStore::leave`](crate::RoomStore::leave)), and takes name, mail and password
    /// away. What the user wrote stays.
    async fn delete_user(&self, user: UserId, last_admin: LastAdmin) -> Result<()>;
    /// As [`Self::delete_user`], by himself: `NotFound` when he is not in this epoch of [`User`] any more. The
    /// last administrator stays.
    async fn delete_own_account(&self, user: UserId, epoch: i64) -> Result<()>;
    /// Those who are neither blocked nor deleted, each with the epoch of [`User`].
    async fn users_with_access(&self) -> Result<Vec<(UserId, i64)>>;
}
