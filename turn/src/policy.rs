//! Which peers may be relayed to: public addresses, this server's own relay addresses, and what the admin
//! adds. Everything that could turn the relay against its own host or network is refused.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6(s0: u16, s1: u16, s2: u16, prefix: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(s0, s1, s2, 0, 0, 0, 0, 0), prefix)
}

/// IANA's special-purpose registry for IPv4, and multicast.
const SPECIAL_V4: &[Ipv4Net] = &[
    v4(0, 0, 0, 0, 8),      // this network, unspecified (RFC 1122)
    v4(10, 0, 0, 0, 8),     // private (RFC 1918)
    v4(100, 64, 0, 0, 10),  // behind carrier NAT (RFC 6598)
    v4(127, 0, 0, 0, 8),    // loopback
    v4(169, 254, 0, 0, 16), // link-local, and the metadata service of clouds
    v4(172, 16, 0, 0, 12),  // private
    v4(192, 0, 0, 0, 24),   // protocol assignments
    v4(192, 0, 2, 0, 24),   // documentation (RFC 5737)
    v4(192, 88, 99, 0, 24), // 6to4 anycast
    v4(192, 168, 0, 0, 16), // private
    v4(198, 18, 0, 0, 15),  // benchmarking (RFC 2544)
    v4(198, 51, 100, 0, 24),
    v4(203, 0, 113, 0, 24),
    v4(224, 0, 0, 0, 4), // multicast
    v4(240, 0, 0, 0, 4), // reserved, broadcast
];

/// All of global unicast (RFC 4291 §2.4); what lies outside is link-local, unique-local, multicast, loopback,
/// IPv4-mapped, IPv4-compatible or unassigned.
const GLOBAL_V6: Ipv6Net = v6(0x2000, 0, 0, 3);

/// Within [`GLOBAL_V6`] and yet not for peers.
const SPECIAL_V6: &[Ipv6Net] = &[
    v6(0x2001, 0, 0, 23), // protocol assignments, Teredo (RFC 4380) and ORCHID among them
    v6(0x2001, 0xdb8, 0, 32), // documentation
    v6(0x3fff, 0, 0, 20), // documentation (RFC 9637)
];

/// Well-known prefix of NAT64 (RFC 6052); the last 32 bits are the IPv4 address that is meant.
const NAT64: Ipv6Net = v6(0x64, 0xff9b, 0, 96);
/// 6to4 (RFC 3056): bits 16 to 47 are the IPv4 address that is meant.
const SIX_TO_FOUR: Ipv6Net = v6(0x2002, 0, 0, 16);

/// Decides about each peer address.
#[derive(Debug, Clone)]
pub struct PeerPolicy {
    /// Addresses of this host, as peers see them and as its interfaces have them.
    own: Vec<IpAddr>,
    relay_ports: RangeInclusive<u16>,
    listeners: Vec<u16>,
    allow: Vec<IpNet>,
    deny: Vec<IpNet>,
}

impl PeerPolicy {
    /// `deny` is stronger than everything else. The addresses in `own` are never reachable at `listeners`, and
    /// unless they are in `allow`, at `relay_ports` alone. `allow` is stronger than the ranges refused by default.
    pub fn new(
        own: Vec<IpAddr>,
        relay_ports: RangeInclusive<u16>,
        listeners: Vec<u16>,
        allow: Vec<IpNet>,
        deny: Vec<IpNet>,
    ) -> Self {
        PeerPolicy {
            own,
            relay_ports,
            listeners,
            allow,
            deny,
        }
    }

    /// Whether packets may go to this address and port, or come from it.
    pub fn allows(&self, peer: SocketAddr) -> bool {
        let (ip, port) = (peer.ip(), peer.port());
        let own = self.own.contains(&ip);
        if port == 0 || listed(&self.deny, ip) || (own && self.listeners.contains(&port)) {
            return false;
        }
        if listed(&self.allow, ip) {
            return true;
        }
        if own {
            // This host may trust what comes from its own addresses: other relays are all that is reached.
            return self.relay_ports.contains(&port);
        }
        is_public(ip)
    }

    /// Whether a permission may be made for this address: some port of it is allowed.
    pub fn allows_ip(&self, ip: IpAddr) -> bool {
        self.allows(SocketAddr::new(ip, *self.relay_ports.start()))
    }
}

fn listed(nets: &[IpNet], ip: IpAddr) -> bool {
    nets.iter().any(|net| {
        net.contains(&ip) || embedded_v4(ip).is_some_and(|inner| net.contains(&IpAddr::V4(inner)))
    })
}

/// Whether an address is globally reachable and not one of the ranges above in disguise.
pub fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => !SPECIAL_V4.iter().any(|net| net.contains(&ip)),
        IpAddr::V6(ip) if NAT64.contains(&ip) || SIX_TO_FOUR.contains(&ip) => {
            embedded_v4(IpAddr::V6(ip)).is_some_and(|inner| is_public(IpAddr::V4(inner)))
        }
        IpAddr::V6(ip) => {
            GLOBAL_V6.contains(&ip) && !SPECIAL_V6.iter().any(|net| net.contains(&ip))
        }
    }
}

/// The IPv4 address that an IPv6 address stands for.
fn embedded_v4(ip: IpAddr) -> Option<Ipv4Addr> {
    let IpAddr::V6(ip) = ip else { return None };
    let bits = ip.to_bits();
    if NAT64.contains(&ip) {
        Some(Ipv4Addr::from_bits(bits as u32))
    } else if SIX_TO_FOUR.contains(&ip) {
        Some(Ipv4Addr::from_bits((bits >> 80) as u32))
    } else {
        // IPv4-mapped and IPv4-compatible.
        ip.to_ipv4()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(allow: &[&str], deny: &[&str]) -> PeerPolicy {
        let nets = |list: &[&str]| list.iter().map(|net| net.parse().unwrap()).collect();
        let own = vec!["198.51.100.7".parse().unwrap(), "10.0.0.7".parse().unwrap()];
        PeerPolicy::new(own, 49152..=65535, vec![3478], nets(allow), nets(deny))
    }

    fn allows(policy: &PeerPolicy, ip: &str) -> bool {
        policy.allows(SocketAddr::new(ip.parse().unwrap(), 50000))
    }

    #[test]
    fn public_addresses_are_peers() {
        let policy = policy(&[], &[]);
        for ip in [
            "8.8.8.8",
            "172.32.0.1",
            "2606:4700::1111",
            "64:ff9b::808:808",
            "2002:808:808::1",
        ] {
            assert!(allows(&policy, ip), "{ip}");
        }
    }

    #[test]
    fn nothing_special_is_a_peer_in_any_disguise() {
        let policy = policy(&[], &[]);
        let special = [
            "0.0.0.0",
            "0.1.2.3",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.1",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
        ];
        for text in special {
            let v4: Ipv4Addr = text.parse().unwrap();
            let [a, b, c, d] = v4.octets().map(u16::from);
            let (high, low) = (a << 8 | b, c << 8 | d);
            for ip in [
                IpAddr::V4(v4),
                Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, high, low).into(),
                Ipv6Addr::new(0, 0, 0, 0, 0, 0, high, low).into(),
                Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low).into(),
                Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, high, low).into(),
                Ipv6Addr::new(0x2002, high, low, 0, 0, 0, 0, 1).into(),
                Ipv6Addr::new(0x2001, 0, 0x808, 0x808, 0, 0, !high, !low).into(),
            ] {
                assert!(!policy.allows(SocketAddr::new(ip, 50000)), "{ip}");
                assert!(!policy.allows_ip(ip), "{ip}");
            }
        }
        for ip in [
            "::",
            "::1",
            "fe80::1",
            "fc00::1",
            "fd12::1",
            "ff02::1",
            "2001:db8::1",
            "3fff::1",
            "2001::1",
            "2001:10::1",
            "64:ff9b:1::808:808",
            "::ffff:8.8.8.8",
            "::8.8.8.8",
            "100::1",
            "5f00::1",
        ] {
            assert!(!allows(&policy, ip), "{ip}");
        }
    }

    #[test]
    fn own_addresses_are_peers_at_relay_ports_alone() {
        let policy = policy(&["10.0.0.0/8"], &[]);
        let at = |ip: &str, port| policy.allows(SocketAddr::new(ip.parse().unwrap(), port));
        for ip in ["198.51.100.7", "10.0.0.7"] {
            assert!(policy.allows_ip(ip.parse().unwrap()));
            assert!(at(ip, 49152));
            assert!(!at(ip, 3478), "its listeners never");
        }
        assert!(!at("198.51.100.7", 22));
        assert!(at("10.0.0.7", 22), "the admin said so");
    }

    #[test]
    fn the_admin_widens_and_narrows() {
        let policy = policy(
            &["127.0.0.0/8", "192.168.0.0/16"],
            &["192.168.1.0/24", "8.8.8.0/24"],
        );
        assert!(allows(&policy, "127.0.0.1"));
        assert!(allows(&policy, "192.168.2.1"));
        assert!(!allows(&policy, "192.168.1.1"));
        assert!(!allows(&policy, "8.8.8.8"));
        assert!(
            !allows(&policy, "64:ff9b::808:808"),
            "denied in disguise as well"
        );
        assert!(!policy.allows("127.0.0.1:0".parse().unwrap()));
    }
}
