//! What the network between the relay and a peer does to datagrams, and what becomes of it: in network namespaces
//! made for each test, a relay, a router and a peer behind a link that takes less than those before it.

mod support;

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, UdpSocket};
use std::process::{Child, Command, Stdio};

use moznods_turn::wire::{Builder, Class, Message, Method, attr};
use support::namespace::enter_as;
use support::sockets::{Caller, start};
use support::{permit, told, udp_transport};

/// Too large for the link to the peer, whose MTU is 1280, and not for the first one.
const LARGE: usize = 1400;

/// Where to listen: set in the process that is the peer.
const PEER: &str = "MOZNODS_TEST_PEER";

/// The relay is where the test runs; 10.9.0.1 and fd09::1 are its own.
const NETWORK: &str = r#"
PATH=$PATH:/usr/sbin:/sbin
mount -t tmpfs none /run
ip link set lo up
ip netns add router
ip netns add peer
ip link add near type veth peer name near netns router
ip -n router link add far mtu 1280 type veth peer name far mtu 1280 netns peer
ip link set near up
ip -n router link set near up
ip -n router link set far up
ip -n peer link set far up
ip -n peer link set lo up
ip address add 10.9.0.1/24 dev near
ip address add fd09::1/64 dev near nodad
ip -n router address add 10.9.0.2/24 dev near
ip -n router address add fd09::2/64 dev near nodad
ip -n router address add 10.9.1.1/24 dev far
ip -n router address add fd09:1::1/64 dev far nodad
ip -n peer address add 10.9.1.2/24 dev far
ip -n peer address add fd09:1::2/64 dev far nodad
ip route add default via 10.9.0.2
ip -6 route add default via fd09::2
ip -n peer route add default via 10.9.1.1
ip -n peer -6 route add default via fd09:1::1
ip netns exec router sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward; echo 1 >/proc/sys/net/ipv6/conf/all/forwarding'
exec "$0" "$@"
"#;

/// Says how long each datagram was that arrives, to the one who sent it.
struct Peer {
    process: Child,
    address: SocketAddr,
}

impl Peer {
    /// In a process of its own, which runs this test as well, as its peer.
    fn start(test: &str, address: &str) -> Self {
        let mut process = Command::new("ip")
            .args(["netns", "exec", "peer"])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture"])
            .env(PEER, address)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let ready = lines.map_while(Result::ok).any(|line| line == "ready");
        assert!(ready, "the peer listens");
        Peer {
            process,
            address: address.parse().unwrap(),
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What the peer does, until it is ended.
fn be_peer(address: &str) -> ! {
    let socket = UdpSocket::bind(address).unwrap();
    eprintln!("ready");
    let mut buffer = [0; 65_536];
    loop {
        let (count, from) = socket.recv_from(&mut buffer).unwrap();
        let heard = format!("heard {count}");
        socket.send_to(heard.as_bytes(), from).unwrap();
    }
}

/// A client of a relay at `relay` that may send to `peer`.
fn caller(relay: &moznods_turn::net::Relay, peer: SocketAddr) -> Caller {
    let mut caller = Caller::udp(relay, "alice");
    let answer = caller.ask(Method::Allocate, |message| {
        udp_transport(message);
        message.attribute(attr::DONT_FRAGMENT, &[]);
        if peer.is_ipv6() {
            message.attribute(attr::REQUESTED_ADDRESS_FAMILY, &[2, 0, 0, 0]);
        }
    });
    assert_eq!(answer.code, 0);
    let permitted = caller.ask(Method::CreatePermission, |m| permit(&[peer])(m));
    assert_eq!(permitted.code, 0);
    caller
}

fn send(caller: &mut Caller, peer: SocketAddr, len: usize, dont_fragment: bool) {
    let mut data = Vec::new();
    let mut message = Builder::new(&mut data, Method::Send, Class::Indication, [1; 12]);
    message.xor_address(attr::XOR_PEER_ADDRESS, peer);
    if dont_fragment {
        message.attribute(attr::DONT_FRAGMENT, &[]);
    }
    message.attribute(attr::DATA, &vec![7; len]);
    caller.send(&data);
}

/// What the peer says that it has heard.
fn heard(caller: &mut Caller) -> String {
    let bytes = caller.receive();
    let message = Message::parse(&bytes).unwrap();
    let data = message.get(attr::DATA).expect("data");
    String::from_utf8(data.to_vec()).unwrap()
}

#[test]
fn what_must_not_be_fragmented_is_lost_and_told_and_what_may_be_arrives() {
    let name = "what_must_not_be_fragmented_is_lost_and_told_and_what_may_be_arrives";
    if let Ok(address) = std::env::var(PEER) {
        be_peer(&address);
    }
    if !enter_as(name, NETWORK) {
        return;
    }
    for (relay, address) in [
        ("10.9.0.1", "10.9.1.2:4000"),
        ("fd09::1", "[fd09:1::2]:4000"),
    ] {
        let ipv6 = address.starts_with('[');
        let peer = Peer::start(name, address);
        let relay = start(relay, &["10.9.1.0/24", "fd09:1::/64"]);
        let mut alice = caller(&relay, peer.address);
        let (kind, code) = if ipv6 { (2, 0) } else { (3, 4) };
        let too_big = |mtu| Some((peer.address, kind, code, mtu));
        // Too large for the relay's own link already: it is the relay itself who finds out.
        send(&mut alice, peer.address, 2000, true);
        assert_eq!(told(&alice.receive()), too_big(1500));
        // Routers do not fragment IPv6: the first one tells the sender what the path takes.
        if ipv6 {
            send(&mut alice, peer.address, LARGE, false);
            assert_eq!(told(&alice.receive()), too_big(1280));
        }
        for _ in 0..2 {
            send(&mut alice, peer.address, LARGE, true);
            assert_eq!(told(&alice.receive()), too_big(1280));
            send(&mut alice, peer.address, 500, true);
            assert_eq!(heard(&mut alice), "heard 500");
            send(&mut alice, peer.address, LARGE, false);
            assert_eq!(heard(&mut alice), format!("heard {LARGE}"));
        }
    }
}
