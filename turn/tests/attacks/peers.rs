//! Addresses that are nobody's business, in every disguise, on every request that names a peer.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;

use moznods_turn::net::{Listeners, Relay};
use moznods_turn::policy::PeerPolicy;
use moznods_turn::server::{Config, RelayAddress};
use moznods_turn::stats::Dropped;
use moznods_turn::wire::{Builder, Class, Method, attr};
use socket2::{Domain, Socket, Type};

use crate::support::sockets::{Caller, config, dropped, wait_until};
use crate::support::{Users, bind, channel_data, namespace, permit, tcp_transport, udp_transport};
use crate::victim::{FENCE, Victim};

/// The relay's own addresses in the namespace, and another public one.
const OWN_V4: Ipv4Addr = Ipv4Addr::new(198, 35, 26, 7);
const OWN_V6: Ipv6Addr = Ipv6Addr::new(0x2606, 0x4700, 0, 0, 0, 0, 0, 7);
const PUBLIC_V4: Ipv4Addr = Ipv4Addr::new(8, 8, 8, 8);
const PUBLIC_V6: Ipv6Addr = Ipv6Addr::new(0x2606, 0x4700, 0, 0, 0, 0, 0x11, 0x11);

/// One or more of each class, the ends of ranges among them.
const FORBIDDEN_V4: &[&str] = &[
    "0.0.0.0",         // unspecified
    "0.255.255.255",   // this network
    "127.0.0.1",       // loopback
    "127.255.255.254", // its end
    "169.254.0.1",     // link-local
    "169.254.169.254", // the clouds' metadata
    "10.0.0.1",        // private
    "10.255.255.255",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.0.1",
    "192.168.255.255",
    "100.64.0.1", // carriers' NAT
    "100.127.255.255",
    "224.0.0.1", // multicast
    "239.255.255.255",
    "255.255.255.255", // broadcast
    "192.0.2.1",       // documentation
    "198.51.100.1",
    "203.0.113.1",
    "192.0.0.1",    // protocol assignments
    "192.88.99.1",  // 6to4 anycast
    "198.18.0.1",   // benchmarking
    "240.0.0.1",    // reserved
    "198.35.26.77", // what the admin denies
];

const FORBIDDEN_V6: &[&str] = &[
    "::",
    "::1",
    "fe80::1",
    "febf::1",
    "fec0::1",
    "fc00::1",
    "fdff::1",
    "ff02::1",
    "ff0e::1",
    "2001:db8::1",
    "3fff::1",
    "2001:10::1",
    "2001:20::1",
    "100::1",
    "5f00::1",
    "4000::1",
    "e000::1",
    "2606:4700::77", // what the admin denies
];

/// An IPv4 address, plain and dressed as IPv6.
fn disguises(inner: Ipv4Addr) -> Vec<IpAddr> {
    let [a, b, c, d] = inner.octets().map(u16::from);
    let (high, low) = (a << 8 | b, c << 8 | d);
    let public = PUBLIC_V4.to_bits();
    let teredo_server = ((public >> 16) as u16, public as u16);
    vec![
        inner.into(),
        // IPv4-mapped
        Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, high, low).into(),
        // IPv4-compatible
        Ipv6Addr::new(0, 0, 0, 0, 0, 0, high, low).into(),
        // IPv4-translated (RFC 2765)
        Ipv6Addr::new(0, 0, 0, 0, 0xffff, 0, high, low).into(),
        // NAT64
        Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low).into(),
        // NAT64, local prefix
        Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, high, low).into(),
        Ipv6Addr::new(0x64, 0xff9b, 1, 0xabcd, high, low, 0, 0).into(),
        // 6to4
        Ipv6Addr::new(0x2002, high, low, 0, 0, 0, 0, 1).into(),
        // Teredo, as its client and as its server
        Ipv6Addr::new(
            0x2001,
            0,
            teredo_server.0,
            teredo_server.1,
            0,
            0,
            !high,
            !low,
        )
        .into(),
        Ipv6Addr::new(
            0x2001,
            0,
            high,
            low,
            0,
            0,
            !teredo_server.0,
            !teredo_server.1,
        )
        .into(),
    ]
}

fn forbidden() -> Vec<IpAddr> {
    let inner = FORBIDDEN_V4.iter().map(|ip| ip.parse().unwrap());
    let mut all: Vec<IpAddr> = inner.flat_map(disguises).collect();
    all.extend(FORBIDDEN_V6.iter().map(|ip| ip.parse::<IpAddr>().unwrap()));
    // The relay's own: plain it is another caller's relay, in disguise it is nothing.
    all.extend(disguises(OWN_V4).into_iter().skip(1));
    // Another address of this host, which is not one to relay from.
    all.extend(disguises(Ipv4Addr::new(198, 35, 26, 9)));
    all
}

/// The default policy, as for a host with these addresses.
fn default_policy() -> Config {
    let relay = |ip: IpAddr| RelayAddress {
        public: ip,
        local: ip,
    };
    let own = [
        "198.35.26.7",
        "198.35.26.9",
        "2606:4700::7",
        "127.0.0.1",
        "::1",
    ];
    let deny = ["198.35.26.77/32", "2606:4700::77/128"];
    Config {
        relay: vec![relay(OWN_V4.into()), relay(OWN_V6.into())],
        policy: PeerPolicy {
            relays: vec![OWN_V4.into(), OWN_V6.into()],
            own: own.iter().map(|ip| ip.parse().unwrap()).collect(),
            listeners: vec![3478],
            allow: vec![],
            deny: deny.iter().map(|net| net.parse().unwrap()).collect(),
        },
        ..config("198.35.26.7", &[])
    }
}

fn public(ipv4: bool) -> IpAddr {
    if ipv4 {
        PUBLIC_V4.into()
    } else {
        PUBLIC_V6.into()
    }
}

fn start() -> Relay {
    let listeners = Listeners::bind(SocketAddr::new(OWN_V4.into(), 3478), 1).unwrap();
    Relay::start(listeners, default_policy(), Arc::new(Users::default())).unwrap()
}

fn allocate(relay: &Relay, username: &'static str, ipv4: bool) -> (Caller, SocketAddr) {
    let mut caller = Caller::udp(relay, username);
    let answer = caller.ask(Method::Allocate, |message| family(message, ipv4));
    assert_eq!(answer.code, 0);
    let relayed = answer.address(attr::XOR_RELAYED_ADDRESS).unwrap();
    assert_eq!(relayed.is_ipv4(), ipv4);
    (caller, relayed)
}

fn family(message: &mut Builder<'_>, ipv4: bool) {
    udp_transport(message);
    let family = if ipv4 { 1 } else { 2 };
    message.attribute(attr::REQUESTED_ADDRESS_FAMILY, &[family, 0, 0, 0]);
}

#[test]
fn no_forbidden_peer_is_reached_in_any_disguise_by_any_request() {
    if !namespace::enter("peers::no_forbidden_peer_is_reached_in_any_disguise_by_any_request") {
        return;
    }
    let victim = Victim::new();
    let reachable = forbidden()
        .into_iter()
        .filter(|ip| victim.can_be_reached(*ip))
        .count();
    assert!(reachable >= 200, "the victim would hear it: {reachable}");

    for ipv4 in [true, false] {
        let relay = start();
        let (mut alice, _) = allocate(&relay, "alice", ipv4);
        let mut tried = 0;
        for ip in forbidden() {
            let peer = SocketAddr::new(ip, victim.port());
            // RFC 8656 §10.2, §12.2: the family is looked at first.
            let refusal = if ip.is_ipv4() == ipv4 { 403 } else { 443 };
            let answer = alice.ask(Method::CreatePermission, |m| permit(&[peer])(m));
            assert_eq!((answer.code, answer.signed), (refusal, true), "{ip}");
            let answer = alice.ask(Method::ChannelBind, |m| bind(0x4000, peer)(m));
            assert_eq!((answer.code, answer.signed), (refusal, true), "{ip}");
            let unheard = dropped(&relay, Dropped::NoPermission);
            let data = alice.client.send_indication(peer, b"send");
            alice.send(&data);
            alice.send(&channel_data(0x4000, b"channel data"));
            // Beside one that is allowed it is refused with it.
            let both = [SocketAddr::new(public(ipv4), victim.port()), peer];
            let answer = alice.ask(Method::CreatePermission, |m| permit(&both)(m));
            assert_eq!(answer.code, refusal, "{ip} after an allowed one");
            assert_eq!(dropped(&relay, Dropped::NoPermission), unheard + 2);
            tried += 1;
        }
        assert!(tried > 250, "{tried}");

        let allowed = SocketAddr::new(public(ipv4), victim.port());
        let data = alice.client.send_indication(allowed, b"not permitted yet");
        alice.send(&data);
        alice.bind(0x4000, allowed);
        alice.send(&channel_data(0x4000, FENCE));
        let heard = victim.heard_before_fence();
        assert!(heard.is_empty(), "{heard:?}");
        assert_eq!(dropped(&relay, Dropped::ForbiddenPeer), 0);
    }
}

/// One listener at the host's addresses that is not the relay's: in its port range and outside of it.
#[test]
fn the_relays_own_address_is_a_peer_at_the_ports_of_live_allocations_alone() {
    let name = "peers::the_relays_own_address_is_a_peer_at_the_ports_of_live_allocations_alone";
    if !namespace::enter(name) {
        return;
    }
    for ipv4 in [true, false] {
        let relay = start();
        let victim = Victim::new();
        let own: IpAddr = if ipv4 { OWN_V4.into() } else { OWN_V6.into() };
        let (mut alice, _) = allocate(&relay, "alice", ipv4);
        let (mut bob, of_bob) = allocate(&relay, "bob", ipv4);
        // The address may be permitted, since other callers are relayed there.
        let answer = alice.ask(Method::CreatePermission, |m| permit(&[of_bob])(m));
        assert_eq!(answer.code, 0);
        for port in [victim.port(), 3478, 0] {
            let peer = SocketAddr::new(own, port);
            let answer = alice.ask(Method::ChannelBind, |m| bind(0x4001, peer)(m));
            assert_eq!(answer.code, 403, "{port}");
            let before = dropped(&relay, Dropped::ForbiddenPeer);
            let data = alice.client.send_indication(peer, b"send");
            alice.send(&data);
            assert_eq!(alice.ask(Method::Refresh, |_| {}).code, 0);
            assert_eq!(
                dropped(&relay, Dropped::ForbiddenPeer),
                before + 1,
                "{port}"
            );
        }

        // Where another caller was relayed, somebody else may listen now.
        alice.bind(0x4000, of_bob);
        let release = bob.ask(Method::Refresh, |m| m.u32(attr::LIFETIME, 0));
        assert_eq!(release.code, 0);
        wait_until("his port is free", || UdpSocket::bind(of_bob).is_ok());
        let heir = UdpSocket::bind(of_bob).unwrap();
        heir.set_nonblocking(true).unwrap();
        let before = dropped(&relay, Dropped::ForbiddenPeer);
        let data = alice.client.send_indication(of_bob, b"send");
        alice.send(&data);
        alice.send(&channel_data(0x4000, b"channel data"));

        let allowed = SocketAddr::new(public(ipv4), victim.port());
        alice.bind(0x4002, allowed);
        alice.send(&channel_data(0x4002, FENCE));
        assert!(victim.heard_before_fence().is_empty());
        assert_eq!(dropped(&relay, Dropped::ForbiddenPeer), before + 2);
        let nothing = heir.recv(&mut [0; 10]).unwrap_err();
        assert_eq!(nothing.kind(), std::io::ErrorKind::WouldBlock);
    }
}

/// The first one counts (RFC 8489 §14), for the check and for the deed alike.
#[test]
fn a_second_peer_address_in_one_request_is_not_slipped_past_the_check() {
    let name = "peers::a_second_peer_address_in_one_request_is_not_slipped_past_the_check";
    if !namespace::enter(name) {
        return;
    }
    for ipv4 in [true, false] {
        let relay = start();
        let (victim, listener) = (Victim::new(), Victim::new());
        let bad: IpAddr = if ipv4 {
            Ipv4Addr::LOCALHOST.into()
        } else {
            Ipv6Addr::LOCALHOST.into()
        };
        let bad = SocketAddr::new(bad, victim.port());
        let good = SocketAddr::new(public(ipv4), listener.port());
        let (mut alice, _) = allocate(&relay, "alice", ipv4);
        let two = |first, second| {
            move |message: &mut Builder<'_>| {
                bind(0x4000, first)(message);
                message.xor_address(attr::XOR_PEER_ADDRESS, second);
            }
        };
        assert_eq!(alice.ask(Method::ChannelBind, two(bad, good)).code, 403);
        for peers in [[bad, good], [good, bad]] {
            let answer = alice.ask(Method::CreatePermission, |m| permit(&peers)(m));
            assert_eq!(answer.code, 403);
        }
        let data = alice
            .client
            .send_indication(good, b"nothing is permitted yet");
        alice.send(&data);

        assert_eq!(alice.ask(Method::ChannelBind, two(good, bad)).code, 0);
        let send_both = |first, second, alice: &mut Caller| {
            let mut out = Vec::new();
            let id = alice.client.transaction();
            let mut message = Builder::new(&mut out, Method::Send, Class::Indication, id);
            message.xor_address(attr::XOR_PEER_ADDRESS, first);
            message.xor_address(attr::XOR_PEER_ADDRESS, second);
            message.attribute(attr::DATA, b"to the first");
            alice.send(&out);
        };
        send_both(bad, good, &mut alice);
        send_both(good, bad, &mut alice);
        alice.send(&channel_data(0x4000, b"by the channel"));
        alice.send(&channel_data(0x4000, FENCE));
        let heard = listener.heard_before_fence();
        assert_eq!(heard, [&b"to the first"[..], b"by the channel"]);
        alice.bind(0x4001, SocketAddr::new(public(ipv4), victim.port()));
        alice.send(&channel_data(0x4001, FENCE));
        assert!(victim.heard_before_fence().is_empty());
    }
}

/// A TCP port of all addresses; whoever connects is counted by accepting.
fn tcp_victim() -> TcpListener {
    let socket = Socket::new(Domain::IPV6, Type::STREAM, None).unwrap();
    socket.set_only_v6(false).unwrap();
    let any = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
    socket.bind(&any.into()).unwrap();
    socket.listen(128).unwrap();
    socket.into()
}

/// Over TCP (RFC 6062) the relay's own addresses are forbidden as well, plain and at the ports of live allocations.
#[test]
fn no_forbidden_peer_is_connected_to_in_any_disguise() {
    if !namespace::enter("peers::no_forbidden_peer_is_connected_to_in_any_disguise") {
        return;
    }
    let victim = tcp_victim();
    let port = victim.local_addr().unwrap().port();
    let direct = |ip: &IpAddr| TcpStream::connect(SocketAddr::new(*ip, port)).is_ok();
    // As many as wait for being accepted at most.
    let reachable = ["127.0.0.1", "198.35.26.9", "::1", "169.254.169.254"];
    for ip in reachable.map(|ip| ip.parse().unwrap()) {
        assert!(direct(&ip), "{ip}");
        victim.accept().unwrap();
    }

    for ipv4 in [true, false] {
        let relay = start();
        let mut alice = Caller::tcp(&relay, "alice");
        let answer = alice.ask(Method::Allocate, |message| {
            tcp_transport(message);
            let family = if ipv4 { 1 } else { 2 };
            message.attribute(attr::REQUESTED_ADDRESS_FAMILY, &[family, 0, 0, 0]);
        });
        assert_eq!(answer.code, 0);
        let relayed = answer.address(attr::XOR_RELAYED_ADDRESS).unwrap();
        let (_bob, of_bob) = allocate(&relay, "bob", ipv4);
        let listener = SocketAddr::new(of_bob.ip(), 3478);
        let at_port = |ip| SocketAddr::new(ip, port);
        let own = [relayed, of_bob, listener, at_port(of_bob.ip())];
        let mut connect = |peer: SocketAddr| {
            let connect = |message: &mut Builder<'_>| {
                message.xor_address(attr::XOR_PEER_ADDRESS, peer);
            };
            alice.ask(Method::Connect, connect).code
        };
        for peer in forbidden().into_iter().map(at_port).chain(own) {
            let refusal = if peer.is_ipv4() == ipv4 { 403 } else { 443 };
            assert_eq!(connect(peer), refusal, "{peer}");
        }
        // What comes to nothing counts against nobody, however often it is tried.
        for _ in 0..1000 {
            assert_eq!(connect(at_port(public(!ipv4))), 443);
        }
        assert_eq!(connect(at_port(public(ipv4))), 0);
        // Had another come, it would stand before this one.
        let (_, from) = victim.accept().unwrap();
        assert_eq!(from.port(), relayed.port());
        victim.set_nonblocking(true).unwrap();
        assert!(victim.accept().is_err());
        victim.set_nonblocking(false).unwrap();
    }
}
