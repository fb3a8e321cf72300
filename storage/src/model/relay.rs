//! What the relay keeps.

use std::fmt;
use std::str::FromStr;

use crate::{SecretText, Timestamp, UserId};

/// Who relays: by whom quotas and usage go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RelayOwner {
    User(UserId),
    /// A [`RelaySecret`], with all for whom its program makes credentials.
    Secret(i64),
    /// A [`RelayDevice`].
    Device(i64),
}

/// With what another program makes relay credentials.
#[derive(Debug, Clone)]
pub struct RelaySecret {
    pub id: i64,
    pub name: String,
    pub secret: SecretText,
    /// The one before the last rotation, and until when it is taken.
    pub previous: Option<(SecretText, Timestamp)>,
    /// Live allocations of all its users together; `None`: no limit of its own.
    pub max_allocations: Option<u32>,
    /// Bytes relayed for all its users together in a month; `None`: no limit.
    pub max_bytes_per_month: Option<i64>,
    pub created_at: Timestamp,
}

#[derive(Debug, Clone)]
pub struct NewRelaySecret {
    pub name: String,
    pub secret: SecretText,
    pub max_allocations: Option<u32>,
    pub max_bytes_per_month: Option<i64>,
    pub created_at: Timestamp,
}

/// What a device proves itself by, in place of its password; whoever knows one can do as well.
#[derive(Clone, PartialEq, Eq)]
pub struct DeviceKeys {
    /// 16 bytes.
    pub md5: Vec<u8>,
    /// 32 bytes.
    pub sha256: Vec<u8>,
}

impl fmt::Debug for DeviceKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[keys]")
    }
}

/// A relay account with a fixed password.
#[derive(Debug, Clone)]
pub struct RelayDevice {
    pub id: i64,
    pub name: String,
    /// For which the keys were made.
    pub realm: String,
    pub keys: DeviceKeys,
    pub created_at: Timestamp,
}

#[derive(Debug, Clone)]
pub struct NewRelayDevice {
    pub name: String,
    pub realm: String,
    pub keys: DeviceKeys,
    pub created_at: Timestamp,
}

/// A month of the calendar, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Month {
    pub year: u16,
    /// 1 to 12.
    pub month: u8,
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.year, self.month)
    }
}

/// A text that is no [`Month`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a month as YYYY-MM, such as 2026-01")]
pub struct NoMonth;

impl FromStr for Month {
    type Err = NoMonth;

    fn from_str(text: &str) -> Result<Self, NoMonth> {
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let (year, month) = text.split_once('-').ok_or(NoMonth)?;
        if year.len() != 4 || month.len() != 2 || !digits(year) || !digits(month) {
            return Err(NoMonth);
        }
        let parsed = Month {
            year: year.parse().map_err(|_| NoMonth)?,
            month: month.parse().map_err(|_| NoMonth)?,
        };
        (1..=12)
            .contains(&parsed.month)
            .then_some(parsed)
            .ok_or(NoMonth)
    }
}

/// What was relayed for somebody in a month.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RelayUsage {
    pub month: Month,
    pub owner: RelayOwner,
    /// Bytes of payload passed on to peers.
    pub to_peer: u64,
    /// Likewise to clients.
    pub to_client: u64,
    /// How long allocations lived, all together.
    pub milliseconds: u64,
    /// Allocations that were made.
    pub allocations: u64,
}

impl RelayUsage {
    /// Both ways.
    pub fn bytes(&self) -> u64 {
        self.to_peer.saturating_add(self.to_client)
    }
}
