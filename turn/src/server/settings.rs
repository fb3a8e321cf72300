//! Settings of a relay, and which of them no relay can be run with.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use super::Discovery;
use crate::policy::PeerPolicy;

/// An address from which peers are relayed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RelayAddress {
    /// As clients and peers see it.
    pub public: IpAddr,
    /// To bind; another one than `public` behind 1:1 NAT.
    pub local: IpAddr,
}

impl From<IpAddr> for RelayAddress {
    /// One without a NAT before it.
    fn from(ip: IpAddr) -> Self {
        RelayAddress {
            public: ip,
            local: ip,
        }
    }
}

/// Settings of a relay.
#[derive(Debug, Clone)]
pub struct Config {
    /// RFC 8489 §14.9; at most [`Config::REALM_MAX`] bytes.
    pub realm: String,
    /// Value of SOFTWARE (RFC 8489 §14.14); fewer than 128 characters.
    pub software: String,
    /// At least one, at most one per address family.
    pub relay: Vec<RelayAddress>,
    /// Ports of allocations; those that other programs hold are passed over.
    pub relay_ports: RangeInclusive<u16>,
    /// At the start; [`Common::set_policy`](super::Common::set_policy) sets another.
    pub policy: PeerPolicy,
    /// Whether channels of RFC 5766 (0x5000–0x7FFF) may be bound beside those of RFC 8656.
    pub legacy_channels: bool,
    /// Whether an allocation ends when the credential it was made with expires. Otherwise a call that runs by then goes
    /// on, as long as its owner may relay.
    pub strict_expiry: bool,
    /// Whether allocations may follow their clients to other addresses (RFC 8016); else 405.
    pub mobility: bool,
    /// At most one per address family; none: no NAT behaviour discovery.
    pub discovery: Vec<Discovery>,
    /// What is refused beyond its bound, at the start; [`Common::set_limits`](super::Common::set_limits) sets others.
    pub limits: Limits,
}

impl Config {
    /// Bytes of a realm: a longer one would make the 401 to an Allocate of usual size more than three times
    /// as large as it, and so none would be sent.
    pub const REALM_MAX: usize = 32;

    /// Settings with which a public server can be run, relaying from these addresses: ports 49152 to 65535, the
    /// bounds of [`Limits::default`], channels of older clients, calls that outlast their credential, and as peers whatever is public. To the policy's
    /// `own` and `listeners` the caller adds all other addresses of this machine and the ports at which it listens.
    pub fn new(realm: impl Into<String>, relay: Vec<RelayAddress>) -> Self {
        Config {
            realm: realm.into(),
            software: "MOznoDS".to_owned(),
            relay_ports: 49152..=65535,
            policy: PeerPolicy {
                relays: relay.iter().map(|relay| relay.public).collect(),
                own: relay.iter().map(|relay| relay.local).collect(),
                ..PeerPolicy::default()
            },
            relay,
            legacy_channels: true,
            strict_expiry: false,
            mobility: true,
            discovery: Vec::new(),
            limits: Limits::default(),
        }
    }

    pub(super) fn check(&self) -> Result<(), BadConfig> {
        if self.realm.len() > Self::REALM_MAX {
            return Err(BadConfig::Realm);
        }
        // RFC 8489 §14.14.
        if self.software.chars().count() >= 128 {
            return Err(BadConfig::Software);
        }
        if self.relay.is_empty() {
            return Err(BadConfig::NoRelay);
        }
        let unspecified =
            |relay: &&RelayAddress| relay.public.is_unspecified() || relay.local.is_unspecified();
        if let Some(relay) = self.relay.iter().find(unspecified) {
            return Err(BadConfig::Unspecified(relay.public));
        }
        if !self.discovery.iter().all(Discovery::is_usable) {
            return Err(BadConfig::Discovery);
        }
        Ok(())
    }
}

/// Settings that no relay can be run with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadConfig {
    /// Too long ([`Config::REALM_MAX`]).
    #[error("the realm is longer than {} bytes", Config::REALM_MAX)]
    Realm,
    /// Too long ([`Config::software`]).
    #[error("the name of the software has 128 characters or more")]
    Software,
    /// No address in [`Config::relay`].
    #[error("there is no address to relay from")]
    NoRelay,
    /// `0.0.0.0` or `::` in [`Config::relay`], from which nothing can be relayed.
    #[error("no address of this machine is known for relaying as {0}")]
    Unspecified(IpAddr),
    /// In [`Config::discovery`], two addresses or ports are the same, of two families, or unspecified.
    #[error("NAT behaviour discovery needs two addresses of one family and two ports")]
    Discovery,
}

/// Bounds; each says what is refused beyond it.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Live allocations and reserved ports of one owner (486); 0: no limit.
    pub allocations_per_owner: u32,
    /// Payload relayed for one owner per second, both ways together (dropped beyond); 0: no limit.
    pub bytes_per_second_per_owner: u64,
    /// Permissions of one allocation (508).
    pub permissions: usize,
    /// Channels of one allocation (508).
    pub channels: usize,
    /// Connections with peers of one TCP allocation (508).
    pub connections: usize,
    /// Connections with peers of one owner, over all allocations (486).
    pub connections_per_owner: u32,
    /// Requests without valid credentials per second, worker and source prefix, /24 or /56 (no answer), and TLS
    /// handshakes likewise; 0: no limit.
    pub unauthenticated_per_second: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            allocations_per_owner: 64,
            bytes_per_second_per_owner: 0,
            permissions: 128,
            channels: 128,
            connections: 32,
            connections_per_owner: 256,
            unauthenticated_per_second: 200,
        }
    }
}
