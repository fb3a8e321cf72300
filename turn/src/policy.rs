//! Which peers may be relayed to: public addresses, this server's own relay addresses, and what the admin
//! adds. Everything that could turn the relay against its own host or network is refused.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

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
    SIX_TO_FOUR,
    v6(0x2001, 0, 0, 23), // protocol assignments, Teredo and ORCHID among them
    v6(0x2001, 0xdb8, 0, 32), // documentation
    v6(0x3fff, 0, 0, 20), // documentation (RFC 9637)
];

/// Well-known prefix of NAT64 (RFC 6052); the last 32 bits are the IPv4 address that is meant.
const NAT64: Ipv6Net = v6(0x64, 0xff9b, 0, 96);
/// 6to4 (RFC 3056): bits 16 to 47 are the IPv4 address that is meant.
const SIX_TO_FOUR: Ipv6Net = v6(0x2002, 0, 0, 16);
/// Teredo (RFC 4380).
const TEREDO: Ipv6Net = v6(0x2001, 0, 0, 32);

/// Decides about each peer address.
#[derive(Debug, Clone, Default)]
pub struct PeerPolicy {
    /// Public addresses from which this server relays.
    pub relays: Vec<IpAddr>,
    /// All addresses of this host.
    pub own: Vec<IpAddr>,
    /// Ports at which this server listens there: never reachable.
    pub listeners: Vec<u16>,
    /// What the admin lets be reached although it is not public.
    pub allow: Vec<IpNet>,
    /// What the admin forbids; stronger than all else.
    pub deny: Vec<IpNet>,
}

/// What a peer address is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// Nothing is relayed to it or from it.
    Refused,
    /// To be reached at any port but 0.
    Allowed,
    /// An address of this server: to be reached at the ports of live allocations alone, since this host may
    /// trust what comes from its own addresses.
    OwnRelay,
}

impl PeerPolicy {
    /// What an address and port are to the relay. What the admin denies comes first, then what he allows, then
    /// this host's own addresses, then whether the address is public.
    pub fn judge(&self, peer: SocketAddr) -> Peer {
        // All of 127.0.0.0/8 is this machine's, though interfaces name but one of it.
        let is_own =
            |ip: IpAddr| ip.is_loopback() || self.own.contains(&ip) || self.relays.contains(&ip);
        let own =
            is_own(peer.ip()) || embedded_v4(peer.ip()).is_some_and(|inner| is_own(inner.into()));
        if peer.port() == 0 || (own && self.listeners.contains(&peer.port())) {
            return Peer::Refused;
        }
        self.judge_ip(peer.ip())
    }

    /// What an address is, whatever the port: for permissions, which have none.
    pub fn judge_ip(&self, ip: IpAddr) -> Peer {
        let inner = embedded_v4(ip).map(IpAddr::V4);
        let in_any = |nets: &[IpNet], ip: IpAddr| nets.iter().any(|net| net.contains(&ip));
        let denied = |ip| in_any(&self.deny, ip);
        if denied(ip) || inner.is_some_and(denied) {
            Peer::Refused
        } else if in_any(&self.allow, ip) {
            Peer::Allowed
        } else if self.relays.contains(&ip) {
            Peer::OwnRelay
        } else if self.own.contains(&ip)
            || inner.is_some_and(|inner| self.own.contains(&inner) || self.relays.contains(&inner))
            || !is_public(ip)
        {
            Peer::Refused
        } else {
            Peer::Allowed
        }
    }
}

/// Whether an address is globally reachable and not one of the ranges above in disguise.
pub fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => !SPECIAL_V4.iter().any(|net| net.contains(&ip)),
        IpAddr::V6(ip) if NAT64.contains(&ip) => {
            embedded_v4(IpAddr::V6(ip)).is_some_and(|inner| is_public(IpAddr::V4(inner)))
        }
        IpAddr::V6(ip) => {
            GLOBAL_V6.contains(&ip) && !SPECIAL_V6.iter().any(|net| net.contains(&ip))
        }
    }
}

/// Whether an address lies behind a tunnel whose end carries on what is sent to it. Neither clients nor peers may have
/// one (RFC 8656 §21.4).
pub(crate) fn is_tunnelled(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(ip) if TEREDO.contains(&ip) || SIX_TO_FOUR.contains(&ip))
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
        let own = [
            "127.0.0.1",
            "::1",
            "0.0.0.0",
            "10.0.0.7",
            "172.17.0.1",
            "fe80::1",
            "9.9.9.9",
            "2620:fe::9",
        ];
        let own = own.iter().map(|ip| ip.parse().unwrap()).collect();
        let relays = vec!["198.51.100.7".parse().unwrap()];
        PeerPolicy {
            relays,
            own,
            listeners: vec![3478],
            allow: nets(allow),
            deny: nets(deny),
        }
    }

    fn judge(policy: &PeerPolicy, peer: &str) -> Peer {
        policy.judge(peer.parse().unwrap())
    }

    fn allows(policy: &PeerPolicy, ip: &str) -> bool {
        let ip = ip.parse().unwrap();
        let judged = policy.judge_ip(ip);
        assert_eq!(judged, policy.judge(SocketAddr::new(ip, 50000)));
        judged == Peer::Allowed
    }

    #[test]
    fn public_addresses_are_peers() {
        let policy = policy(&[], &[]);
        for ip in [
            "8.8.8.8",
            "172.32.0.1",
            "2606:4700::1111",
            "64:ff9b::808:808",
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
                assert!(!allows(&policy, &ip.to_string()), "{ip}");
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
            "2002:808:808::1",
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
    fn of_own_addresses_the_relays_are_peers_and_no_other_in_any_disguise() {
        let policy = policy(&[], &[]);
        assert_eq!(judge(&policy, "198.51.100.7:50000"), Peer::OwnRelay);
        assert_eq!(
            judge(&policy, "198.51.100.7:3478"),
            Peer::Refused,
            "its listeners never"
        );
        for own in [
            "9.9.9.9",
            "2620:fe::9",
            "64:ff9b::909:909",
            "2002:909:909::",
            "64:ff9b::c633:6407",
        ] {
            assert!(!allows(&policy, own), "{own}");
        }
        assert!(allows(&policy, "9.9.9.10"));
    }

    #[test]
    fn the_admin_widens_and_narrows() {
        let policy = policy(
            &["127.0.0.0/8", "10.0.0.0/8", "192.168.0.0/16"],
            &["192.168.1.0/24", "8.8.8.0/24"],
        );
        for ip in ["127.0.0.1", "10.0.0.7", "192.168.2.1"] {
            assert!(allows(&policy, ip), "{ip}");
        }
        for listener in ["10.0.0.7:3478", "127.0.0.1:3478", "127.9.9.9:3478"] {
            assert_eq!(
                judge(&policy, listener),
                Peer::Refused,
                "its listeners never"
            );
        }
        for ip in [
            "192.168.1.1",
            "8.8.8.8",
            "64:ff9b::808:808",
            "64:ff9b::7f00:1",
            "::ffff:127.0.0.1",
            "::1",
        ] {
            assert!(!allows(&policy, ip), "{ip}");
        }
        assert_eq!(judge(&policy, "127.0.0.1:0"), Peer::Refused);
    }
}
