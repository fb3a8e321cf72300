//! What the relay keeps; the SQL stands in the files below.

mod devices;
mod secrets;
mod usage;

use async_trait::async_trait;

use super::{Result, SqlStore, found};
use crate::{
    Month, NewRelayDevice, NewRelaySecret, RelayDevice, RelaySecret, RelayStore, RelayUsage,
    SecretText, Timestamp,
};

#[async_trait]
impl RelayStore for SqlStore {
    async fn relay_secrets(&self) -> Result<Vec<RelaySecret>> {
        self.read(secrets::all).await
    }

    async fn add_relay_secret(&self, new: NewRelaySecret) -> Result<()> {
        self.write(move |c| secrets::add(c, &new)).await
    }

    async fn rotate_relay_secret(
        &self,
        name: String,
        secret: SecretText,
        until: Timestamp,
    ) -> Result<()> {
        self.write(move |c| secrets::rotate(c, &name, &secret, until))
            .await
    }

    async fn revoke_relay_secret(&self, name: String) -> Result<()> {
        self.write(move |c| secrets::revoke(c, &name)).await
    }

    async fn relay_devices(&self) -> Result<Vec<RelayDevice>> {
        self.read(devices::all).await
    }

    async fn add_relay_device(&self, new: NewRelayDevice) -> Result<()> {
        self.write(move |c| devices::add(c, &new)).await
    }

    async fn remove_relay_device(&self, name: String) -> Result<()> {
        self.write(move |c| devices::remove(c, &name)).await
    }

    async fn add_relay_usage(&self, used: Vec<RelayUsage>) -> Result<()> {
        self.write(move |c| usage::add(c, &used)).await
    }

    async fn relay_usage(&self, month: Month) -> Result<Vec<RelayUsage>> {
        self.read(move |c| usage::of_month(c, month)).await
    }
}
