//! What the relay needs: secrets of other programs, devices, and what was used.

use async_trait::async_trait;

use super::Result;
use crate::{
    Month, NewRelayDevice, NewRelaySecret, RelayDevice, RelaySecret, RelayUsage, SecretText,
    Timestamp,
};

#[async_trait]
pub trait RelayStore {
    /// The secrets of other programs, by name.
    async fn relay_secrets(&self) -> Result<Vec<RelaySecret>>;
    /// `SecretNameTaken` when there is one of this name.
    async fn add_relay_secret(&self, new: NewRelaySecret) -> Result<()>;
    /// Puts another secret in place of the one of this name, which is taken until then as well.
    async fn rotate_relay_secret(
        &self,
        name: String,
        secret: SecretText,
        until: Timestamp,
    ) -> Result<()>;
    async fn revoke_relay_secret(&self, name: String) -> Result<()>;

    /// Device accounts of the relay, by name.
    async fn relay_devices(&self) -> Result<Vec<RelayDevice>>;
    /// `DeviceNameTaken` when there is one of this name.
    async fn add_relay_device(&self, new: NewRelayDevice) -> Result<()>;
    async fn remove_relay_device(&self, name: String) -> Result<()>;

    /// Adds to what was used in these months by these owners.
    async fn add_relay_usage(&self, used: Vec<RelayUsage>) -> Result<()>;
    /// Of all owners, also of those that are no more; the most bytes first.
    async fn relay_usage(&self, month: Month) -> Result<Vec<RelayUsage>>;
}
