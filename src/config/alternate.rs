//! The relay's second address and port, with which clients find out how the NAT before them behaves (RFC 5780).

use std::net::{IpAddr, SocketAddr};

use moznods_turn::server::{Discovery, RelayAddress};

use super::check::parse_external_ip;
use super::{ConfigError, ExternalAddr, ExternalIp, Settings};

const KEY: &str = "turn.alternate_ip";

#[derive(Debug, Clone)]
pub struct Alternate {
    /// One per address family at most, and at least one.
    addresses: Vec<RelayAddress>,
    /// For UDP and TCP.
    pub port: u16,
}

/// What the settings say, as far as they can be judged without looking at this machine.
pub(super) fn parse(
    settings: &Settings,
    listen: SocketAddr,
    external: &ExternalIp,
) -> Result<Option<Alternate>, ConfigError> {
    let addresses = settings.get(
        KEY,
        |text| match text {
            "" => Some(Vec::new()),
            text => match parse_external_ip(text)? {
                ExternalIp::Auto => None,
                ExternalIp::Fixed(addresses) => Some(addresses),
            },
        },
        "A.B.C.D, or PUBLIC/PRIVATE; at most one for IPv4 and one for IPv6",
    )?;
    let port = settings.get(
        "turn.alternate_port",
        |text| text.parse().ok().filter(|port| *port != 0),
        "a port from 1 to 65535",
    )?;
    if addresses.is_empty() {
        return Ok(None);
    }
    let allowed = |path, holds: bool, right| settings.get(path, |_| holds.then_some(()), right);
    let listens = |address: &ExternalAddr| {
        listen.ip().is_unspecified() && (listen.is_ipv6() || address.public.is_ipv4())
    };
    allowed(
        KEY,
        addresses.iter().all(listens),
        "turn.listen on all addresses then, such as [::]:3478",
    )?;
    let is_first = |address: &ExternalAddr| match external {
        ExternalIp::Auto => false,
        ExternalIp::Fixed(firsts) => firsts.iter().any(|first| first.public == address.public),
    };
    allowed(
        KEY,
        !addresses.iter().any(is_first),
        "another address than turn.external_ip",
    )?;
    allowed(
        "turn.alternate_port",
        port != listen.port(),
        "another port than that of turn.listen",
    )?;
    let address = |address: &ExternalAddr| RelayAddress {
        public: address.public,
        local: address.local.unwrap_or(address.public),
    };
    Ok(Some(Alternate {
        addresses: addresses.iter().map(address).collect(),
        port,
    }))
}

impl Alternate {
    /// Whether this machine, which has `interfaces` and relays from `relays`, has these addresses besides.
    pub fn check(&self, interfaces: &[IpAddr], relays: &[IpAddr]) -> Result<(), ConfigError> {
        for RelayAddress { local, .. } in &self.addresses {
            let wrong = |right: String| {
                Err(ConfigError(format!(
                    "{KEY}: {local} cannot be it; expected {right}"
                )))
            };
            if relays.contains(local) {
                return wrong("another address than that which the relay has already".to_owned());
            }
            // All of 127.0.0.0/8 is this machine's, though interfaces name but one of it.
            let own_loopback = local.is_loopback() && local.is_ipv4();
            if !interfaces.contains(local) && !own_loopback {
                let own: Vec<String> = interfaces.iter().map(IpAddr::to_string).collect();
                return wrong(format!(
                    "an address of this machine, which has {}, or PUBLIC/PRIVATE behind a 1:1 NAT",
                    own.join(", ")
                ));
            }
            if !relays
                .iter()
                .any(|relay| relay.is_ipv4() == local.is_ipv4())
            {
                return wrong("turn.external_ip to have an address of its family".to_owned());
            }
        }
        Ok(())
    }

    /// These beside the first ones; `port` is that of `turn.listen`.
    pub fn discovery(&self, relays: &[RelayAddress], port: u16) -> Vec<Discovery> {
        let beside = |second: &RelayAddress| {
            let same_family =
                |first: &&RelayAddress| first.local.is_ipv4() == second.local.is_ipv4();
            let first = relays.iter().find(same_family)?;
            Some(Discovery {
                addresses: [*first, *second],
                ports: [port, self.port],
            })
        };
        self.addresses.iter().filter_map(beside).collect()
    }

    /// Addresses of this machine, as others see them and as it does.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.addresses
            .iter()
            .flat_map(|address| [address.public, address.local])
    }
}
