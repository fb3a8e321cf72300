//! Relay accounts of devices, which cannot fetch a credential that expires: name and password are fixed, and only keys
//! are stored. The relay sees them in memory.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use moznods_storage::{
    AuditTarget, DeviceKeys, NewRelayDevice, RelayDevice, RelayOwner, StorageError,
};
use moznods_turn::auth::{Claim, Credential, Key, PasswordAlgorithm, userhash};
use serde_json::json;

use super::allocations::number_of;
use super::audit::{Action, Actor};
use super::{App, Error, Problem, limits, now, random_text};
use crate::config::Secret;

const NAME_MAX: usize = limits::RELAY_DEVICE_NAME;
const PASSWORD: std::ops::RangeInclusive<usize> = limits::RELAY_DEVICE_PASSWORD;

/// Why nothing was done to a device's account.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    #[error(
        "there is a device of this name already; expected another name, or `moznods turn user remove` before"
    )]
    Taken,
    #[error("there is no device of this name; `moznods turn user list` shows those there are")]
    Unknown,
    #[error(
        "expected a name of 1 to {NAME_MAX} letters, digits, '-', '_', '.' and '@', with a letter among them"
    )]
    BadName,
    // Others would have to be put through OpaqueString (RFC 8265), by the device in the same way as here.
    #[error("expected a password of {} to {} printable ASCII characters", PASSWORD.start(), PASSWORD.end())]
    BadPassword,
    #[error(transparent)]
    App(#[from] Error),
}

impl From<StorageError> for DeviceError {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::DeviceNameTaken => DeviceError::Taken,
            StorageError::NotFound => DeviceError::Unknown,
            other => DeviceError::App(other.into()),
        }
    }
}

impl From<DeviceError> for Error {
    fn from(error: DeviceError) -> Self {
        match error {
            DeviceError::Taken => Error::field("name", Problem::NameTaken),
            DeviceError::Unknown => super::Refusal::NotFound.into(),
            DeviceError::BadName => Error::field("name", Problem::DeviceName(NAME_MAX)),
            DeviceError::BadPassword => {
                Error::field("password", Problem::DevicePassword(*PASSWORD.end()))
            }
            DeviceError::App(error) => error,
        }
    }
}

/// So that it is never taken for a credential with an expiry: those have a colon, or are a number. Nor for a part of a
/// path: "." and ".." have no letter.
fn is_name(name: &str) -> bool {
    let right = |c: char| c.is_ascii_alphanumeric() || "-_.@".contains(c);
    (1..=NAME_MAX).contains(&name.len())
        && name.chars().all(right)
        && name.chars().any(|c| c.is_ascii_alphabetic())
}

/// Whether a device may be called so and have this password.
pub fn check_relay_device(name: &str, password: &str) -> Result<(), DeviceError> {
    let printable = |c: char| c == ' ' || c.is_ascii_graphic();
    match () {
        () if !is_name(name) => Err(DeviceError::BadName),
        () if !PASSWORD.contains(&password.len()) || !password.chars().all(printable) => {
            Err(DeviceError::BadPassword)
        }
        () => Ok(()),
    }
}

impl App {
    /// The password is made when none is given.
    pub async fn add_relay_device(
        &self,
        by: Actor<'_>,
        name: &str,
        password: Option<String>,
    ) -> Result<Secret, DeviceError> {
        let password = match password {
            Some(password) => password,
            None => random_text::<18>()?,
        };
        check_relay_device(name, &password)?;
        let realm = &self.config.turn.realm;
        let key = |algorithm| {
            let key = Key::new(algorithm, name, realm, &password);
            key.expose().to_owned()
        };
        let new = NewRelayDevice {
            name: name.to_owned(),
            realm: realm.clone(),
            keys: DeviceKeys {
                md5: key(PasswordAlgorithm::Md5),
                sha256: key(PasswordAlgorithm::Sha256),
            },
            created_at: now(),
        };
        let target = AuditTarget::RelayDevice(name.to_owned());
        let store = self.noting(by, Action::RelayDeviceAdd, target, json!({}));
        store.add_relay_device(new).await?;
        self.refresh_relay_devices().await?;
        Ok(Secret::new(password))
    }

    /// By name.
    pub async fn relay_devices(&self) -> Result<Vec<RelayDevice>, DeviceError> {
        Ok(self.store.relay_devices().await?)
    }

    /// Ends the account, and all that is relayed for it.
    pub async fn remove_relay_device(&self, by: Actor<'_>, name: &str) -> Result<(), DeviceError> {
        let target = AuditTarget::RelayDevice(name.to_owned());
        let store = self.noting(by, Action::RelayDeviceRemove, target, json!({}));
        store.remove_relay_device(name.to_owned()).await?;
        Ok(self.refresh_relay_devices().await?)
    }

    /// To be called after every change of the devices, by whomever.
    pub(super) async fn refresh_relay_devices(&self) -> super::Result<()> {
        let _one_at_a_time = self.refreshing.lock().await;
        self.relay_devices
            .replace(self.store.relay_devices().await?, &self.config.turn.realm);
        if let Some(relay) = self.relay.get() {
            relay.review();
        }
        Ok(())
    }

    /// Says which devices are shut out because the realm is another one than theirs.
    pub async fn warn_of_foreign_devices(&self) -> super::Result<()> {
        let realm = &self.config.turn.realm;
        for device in self.store.relay_devices().await? {
            if device.realm != *realm {
                tracing::warn!(
                    device = device.name,
                    made_for = device.realm,
                    realm,
                    "a device of the relay cannot sign in: its keys are of another realm; remove it and add it again, or \
                     set turn.realm back"
                );
            }
        }
        Ok(())
    }
}

/// All devices of this server's realm as they were read last.
#[derive(Debug, Default)]
pub struct RelayDevices(RwLock<Devices>);

#[derive(Debug, Default)]
struct Devices {
    by_name: HashMap<String, RelayDevice>,
    names: HashMap<[u8; 32], String>,
}

impl RelayDevices {
    pub fn replace(&self, devices: Vec<RelayDevice>, realm: &str) {
        let ours = devices.into_iter().filter(|device| device.realm == realm);
        let by_name: HashMap<_, _> = ours.map(|device| (device.name.clone(), device)).collect();
        let names = by_name
            .keys()
            .map(|name| (userhash(name, realm), name.clone()));
        let names = names.collect();
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Devices { by_name, names };
    }

    pub fn credential(&self, claim: Claim<'_>) -> Option<Credential> {
        let devices = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let device = devices.by_name.get(claim.username)?;
        let key = match claim.algorithm {
            PasswordAlgorithm::Md5 => &device.keys.md5,
            PasswordAlgorithm::Sha256 => &device.keys.sha256,
        };
        Some(Credential {
            owner: number_of(RelayOwner::Device(device.id)),
            key: Key::from_bytes(key)?,
            epoch: 0,
            expires: None,
            max_allocations: None,
            over_quota: false,
        })
    }

    /// Whose name it is.
    pub fn id(&self, name: &str) -> Option<i64> {
        let devices = self.0.read().unwrap_or_else(PoisonError::into_inner);
        devices.by_name.get(name).map(|device| device.id)
    }

    /// The name that has this hash (RFC 8489 §14.4).
    pub fn name(&self, userhash: &[u8; 32]) -> Option<String> {
        let devices = self.0.read().unwrap_or_else(PoisonError::into_inner);
        devices.names.get(userhash).cloned()
    }

    pub fn has(&self, id: i64) -> bool {
        let devices = self.0.read().unwrap_or_else(PoisonError::into_inner);
        devices.by_name.values().any(|device| device.id == id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::relay_secrets::expiry;

    #[test]
    fn no_name_is_taken_for_a_credential_that_expires() {
        for name in ["door", "cam-1.garage", "1door", "a@b", "-a1"] {
            assert!(is_name(name) && expiry(name).is_none(), "{name}");
        }
        let long = "x".repeat(NAME_MAX + 1);
        for name in [
            "",
            "-1",
            "..",
            "1800000000",
            "1800000000:17",
            "door:1800000000",
            "two words",
            "тест",
            &long,
        ] {
            assert!(!is_name(name), "{name}");
        }
    }

    #[test]
    fn a_device_is_found_by_name_and_by_hash_in_its_own_realm_alone() {
        let device = |id, name: &str, realm: &str| {
            let key = |algorithm| {
                Key::new(algorithm, name, realm, "a password")
                    .expose()
                    .to_owned()
            };
            RelayDevice {
                id,
                name: name.to_owned(),
                realm: realm.to_owned(),
                keys: DeviceKeys {
                    md5: key(PasswordAlgorithm::Md5),
                    sha256: key(PasswordAlgorithm::Sha256),
                },
                created_at: 0,
            }
        };
        let devices = RelayDevices::default();
        let all = vec![device(1, "door", "here"), device(2, "gate", "elsewhere")];
        devices.replace(all, "here");
        let claim = |username, algorithm| Claim {
            username,
            realm: "here",
            algorithm,
            unix: 0,
            client: std::net::Ipv4Addr::LOCALHOST.into(),
            is_running: false,
        };
        for algorithm in [PasswordAlgorithm::Md5, PasswordAlgorithm::Sha256] {
            let found = devices.credential(claim("door", algorithm)).unwrap();
            let expected = Key::new(algorithm, "door", "here", "a password");
            assert_eq!(found.key.expose(), expected.expose());
            assert_eq!(found.owner, number_of(RelayOwner::Device(1)));
            assert!(devices.credential(claim("gate", algorithm)).is_none());
        }
        assert_eq!(
            devices.name(&userhash("door", "here")).as_deref(),
            Some("door")
        );
        for (name, realm) in [
            ("door", "elsewhere"),
            ("gate", "here"),
            ("gate", "elsewhere"),
        ] {
            assert_eq!(devices.name(&userhash(name, realm)), None);
        }
        assert!(devices.has(1) && !devices.has(2));
    }
}
