//! Addresses of peers as coturn writes them: single ones, ranges FIRST-LAST, and networks.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Subnets, Ipv6Subnets};

/// Both ends belong to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    ipv4: bool,
    first: u128,
    last: u128,
}

impl Range {
    pub fn parse(text: &str) -> Option<Self> {
        if let Some((first, last)) = text.split_once('-') {
            return Self::between(first.trim().parse().ok()?, last.trim().parse().ok()?);
        }
        match text.parse::<IpNet>() {
            Ok(network) => Some(network.into()),
            Err(_) => text.parse().ok().and_then(|ip| Self::between(ip, ip)),
        }
    }

    fn between(first: IpAddr, last: IpAddr) -> Option<Self> {
        let range = Range {
            ipv4: first.is_ipv4(),
            first: number(first),
            last: number(last),
        };
        (first.is_ipv4() == last.is_ipv4() && range.first <= range.last).then_some(range)
    }

    /// What is left of it without another.
    fn without(self, other: Range) -> Vec<Range> {
        if self.ipv4 != other.ipv4 || other.last < self.first || self.last < other.first {
            return vec![self];
        }
        let before = (self.first < other.first).then(|| Range {
            last: other.first - 1,
            ..self
        });
        let after = (other.last < self.last).then(|| Range {
            first: other.last + 1,
            ..self
        });
        before.into_iter().chain(after).collect()
    }

    fn networks(self) -> Vec<IpNet> {
        match self.ipv4 {
            true => {
                // They came from addresses of this size.
                let ip = |number| Ipv4Addr::from_bits(u32::try_from(number).unwrap_or(u32::MAX));
                let all = Ipv4Subnets::new(ip(self.first), ip(self.last), 0);
                all.map(IpNet::V4).collect()
            }
            false => {
                let ip = Ipv6Addr::from_bits;
                let all = Ipv6Subnets::new(ip(self.first), ip(self.last), 0);
                all.map(IpNet::V6).collect()
            }
        }
    }
}

impl From<IpNet> for Range {
    fn from(network: IpNet) -> Self {
        Range {
            ipv4: network.addr().is_ipv4(),
            first: number(network.network()),
            last: number(network.broadcast()),
        }
    }
}

fn number(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => ip.to_bits().into(),
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

/// As a setting, without the exceptions: what coturn allows is stronger than what it denies, and here it is the other way round.
pub fn setting(ranges: &[Range], exceptions: &[Range]) -> String {
    let left = exceptions.iter().fold(ranges.to_vec(), |left, exception| {
        left.into_iter()
            .flat_map(|range| range.without(*exception))
            .collect()
    });
    let networks = left.into_iter().flat_map(Range::networks);
    let texts: Vec<String> = networks.map(|network| network.to_string()).collect();
    texts.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_become_networks_without_what_is_allowed() {
        let range = |text| Range::parse(text).unwrap();
        let denied = [range("10.0.0.0-10.255.255.255"), range("192.0.2.1")];
        assert_eq!(setting(&denied, &[]), "10.0.0.0/8,192.0.2.1/32");
        let allowed = [range("10.0.0.1"), range("192.0.2.0/24"), range("fd00::1")];
        let left = setting(&denied, &allowed);
        assert!(
            left.starts_with("10.0.0.0/32,10.0.0.2/31,10.0.0.4/30,"),
            "{left}"
        );
        assert!(left.ends_with(",10.128.0.0/9"), "{left}");
        let six = setting(&[range("fd00::-fd00::3")], &allowed);
        assert_eq!(six, "fd00::/128,fd00::2/127");
        assert_eq!(
            setting(&[range("::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")], &[]),
            "::/0"
        );
        for wrong in [
            "",
            "x",
            "10.0.0.2-10.0.0.1",
            "10.0.0.1-fd00::1",
            "10.0.0.0/33",
        ] {
            assert_eq!(Range::parse(wrong), None, "{wrong}");
        }
    }
}
