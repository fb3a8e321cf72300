//! Datagrams that come as one, as a frame of video does, and leave as one: each of them is still judged, counted and
//! wrapped by itself.

mod support;

use std::collections::HashSet;
use std::io::IoSliceMut;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use moznods_turn::net::{Listeners, Relay};
use moznods_turn::server::Verdict;
use moznods_turn::stats::{Dropped, Flow, Stats};
use moznods_turn::wire::{Message, Method, attr, channel};
use quinn_udp::{RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use support::bench::{Bench, addr, allocated, udp};
use support::sockets::{Caller, PATIENCE, Wire, config, dropped, total, wait_until};
use support::{Users, channel_data, namespace, permit, udp_transport};

/// Bytes of a frame's packets.
const FULL: usize = 1000;

/// Sends datagrams as one, and hears whether they come so.
struct End {
    socket: UdpSocket,
    state: UdpSocketState,
}

impl End {
    fn new(socket: UdpSocket) -> Self {
        let state = UdpSocketState::new(UdpSockRef::from(&socket)).unwrap();
        socket.set_nonblocking(false).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        End { socket, state }
    }

    fn bind(ip: &str) -> Self {
        Self::new(UdpSocket::bind((ip, 0)).unwrap())
    }

    /// That of a caller over UDP.
    fn of(caller: &Caller) -> Self {
        let Wire::Udp(socket) = &caller.wire else {
            panic!("a caller over UDP");
        };
        Self::new(socket.try_clone().unwrap())
    }

    fn address(&self) -> SocketAddr {
        self.socket.local_addr().unwrap()
    }

    /// All but the last of one length.
    fn send(&self, to: SocketAddr, datagrams: &[Vec<u8>]) {
        let transmit = Transmit {
            destination: to,
            ecn: None,
            contents: &datagrams.concat(),
            segment_size: Some(datagrams[0].len()),
            src_ip: None,
        };
        let socket = UdpSockRef::from(&self.socket);
        self.state.try_send(socket, &transmit).unwrap();
    }

    /// What comes next: one datagram, or several as one.
    fn receive(&self) -> Vec<Vec<u8>> {
        let mut buffer = vec![0; 65_536];
        let mut meta = RecvMeta::default();
        let slices = &mut [IoSliceMut::new(&mut buffer)];
        let socket = UdpSockRef::from(&self.socket);
        let metas = std::slice::from_mut(&mut meta);
        self.state
            .recv(socket, slices, metas)
            .expect("something in time");
        if meta.len == 0 {
            return vec![Vec::new()];
        }
        let whole = &buffer[..meta.len];
        whole.chunks(meta.stride).map(<[u8]>::to_vec).collect()
    }

    /// So many datagrams, in whatever portions they come; how many of them were most at a time.
    fn receive_all(&self, count: usize) -> (Vec<Vec<u8>>, usize) {
        let mut all = Vec::new();
        let mut most = 0;
        while all.len() < count {
            let some = self.receive();
            most = most.max(some.len());
            all.extend(some);
        }
        (all, most)
    }

    /// That nothing is on the way: what is sent now is what comes next.
    fn hears_nothing_before(&self, fence: &UdpSocket) {
        let to = self.address();
        fence.send_to(b"fence", to).unwrap();
        assert_eq!(self.receive(), [b"fence".to_vec()]);
    }
}

fn relay_of(workers: usize, bytes_per_second: u64) -> Relay {
    let listeners = Listeners::bind("127.0.0.1:0".parse().unwrap(), workers).unwrap();
    let mut config = config("127.0.0.1", &["127.0.0.0/8"]);
    config.limits.bytes_per_second_per_owner = bytes_per_second;
    Relay::start(listeners, config, Arc::new(Users::default())).unwrap()
}

/// Of these lengths, and no two alike.
fn payloads(lengths: impl IntoIterator<Item = usize>) -> Vec<Vec<u8>> {
    let one = |(number, length)| {
        let bytes = (0..length).map(|at| (at * 7 + number * 31) as u8);
        bytes.collect()
    };
    lengths.into_iter().enumerate().map(one).collect()
}

fn in_channel(number: u16, payloads: &[Vec<u8>]) -> Vec<Vec<u8>> {
    payloads
        .iter()
        .map(|payload| channel_data(number, payload))
        .collect()
}

fn flow(relay: &Relay, of: impl Fn(&Stats) -> &Flow) -> (u64, u64) {
    (
        total(relay, |stats| of(stats).packets.load(Relaxed)),
        total(relay, |stats| of(stats).bytes.load(Relaxed)),
    )
}

/// A caller with channel 0x4000 to a peer, and where the peer sees it.
fn call(relay: &Relay, name: &'static str, peer: SocketAddr) -> (Caller, SocketAddr) {
    let mut caller = Caller::udp(relay, name);
    let relayed = caller.allocate();
    caller.bind(0x4000, peer);
    (caller, relayed)
}

#[test]
fn a_burst_leaves_as_one_each_way_and_its_short_end_with_it() {
    let relay = relay_of(1, 0);
    let peer = End::bind("127.0.0.1");
    let (caller, relayed) = call(&relay, "alice", peer.address());
    let alice = End::of(&caller);
    // A frame of video; one packet of it short, and of one byte.
    for last in [FULL, 333, 1] {
        let sent = payloads(std::iter::repeat_n(FULL, 31).chain([last]));
        alice.send(relay.address(), &in_channel(0x4000, &sent));
        let (came, most) = peer.receive_all(32);
        assert_eq!(came, sent);
        assert_eq!(most, 32, "as one");

        peer.send(relayed, &sent);
        let (came, most) = alice.receive_all(32);
        assert_eq!(came, in_channel(0x4000, &sent));
        assert_eq!(most, 32, "as one");
    }
    let bytes = 3 * 31 * FULL + FULL + 333 + 1;
    for of in [(|stats| &stats.to_peer) as fn(&Stats) -> &Flow, |stats| {
        &stats.to_client
    }] {
        assert_eq!(flow(&relay, of), (96, bytes as u64));
    }
}

#[test]
fn a_burst_between_two_callers_here_arrives_whole_on_one_worker_and_between_two() {
    for workers in [1, 2] {
        let relay = relay_of(workers, 0);
        let mut callers: Vec<_> = (0..6)
            .map(|_| {
                let mut caller = Caller::udp(&relay, "alice");
                let relayed = caller.allocate();
                (caller, relayed)
            })
            .collect();
        let relayed: Vec<_> = callers.iter().map(|(_, relayed)| *relayed).collect();
        // Each with the next, by channel; of these some are on the other worker.
        for at in 0..6 {
            callers[at].0.bind(0x4001, relayed[(at + 1) % 6]);
            callers[at].0.bind(0x4006, relayed[(at + 5) % 6]);
        }
        let ends: Vec<_> = callers.iter().map(|(caller, _)| End::of(caller)).collect();
        let sent = payloads(std::iter::repeat_n(FULL, 31).chain([77]));
        for at in 0..6 {
            ends[at].send(relay.address(), &in_channel(0x4001, &sent));
            let (came, most) = ends[(at + 1) % 6].receive_all(32);
            assert_eq!(came, in_channel(0x4006, &sent));
            assert!(workers > 1 || most == 32, "as one: {most}");
        }
    }
}

#[test]
fn datagrams_of_odd_sizes_are_told_apart() {
    let relay = relay_of(1, 0);
    let peer = End::bind("127.0.0.1");
    let (caller, relayed) = call(&relay, "alice", peer.address());
    let alice = End::of(&caller);
    // Of one size on the way to the relay, with different padding behind each message.
    let lengths = [
        0, 1, 2, 3, 4, 900, 901, 899, 899, 899, 1000, 0, 1000, 5, 1000,
    ];
    let sent = payloads(lengths);
    let padded: Vec<_> = in_channel(0x4000, &sent)
        .into_iter()
        .map(|mut message| {
            message.resize(channel::HEADER_LEN + FULL, 0xEE);
            message
        })
        .collect();
    alice.send(relay.address(), &padded);
    assert_eq!(peer.receive_all(sent.len()).0, sent);
    // By itself each, and back.
    for payload in &sent {
        peer.socket.send_to(payload, relayed).unwrap();
    }
    let (came, _) = alice.receive_all(sent.len());
    assert_eq!(came, in_channel(0x4000, &sent));
}

#[test]
fn a_burst_to_two_channels_reaches_each_peer_in_order() {
    let relay = relay_of(1, 0);
    let peers = [End::bind("127.0.0.1"), End::bind("127.0.0.2")];
    let (mut caller, _) = call(&relay, "alice", peers[0].address());
    caller.bind(0x4001, peers[1].address());
    let alice = End::of(&caller);
    let sent = payloads([FULL; 32]);
    // By turns, by halves, and one that is bound to nobody.
    for which in [
        |at: usize| at % 2,
        |at| at / 16,
        |at: usize| usize::from(at.is_multiple_of(3)),
        |at| 2 * usize::from(at == 16),
    ] {
        let messages: Vec<_> = (0..32)
            .map(|at| channel_data(0x4000 + which(at) as u16, &sent[at]))
            .collect();
        alice.send(relay.address(), &messages);
        for (number, peer) in peers.iter().enumerate() {
            let meant: Vec<_> = (0..32)
                .filter(|at| which(*at) == number)
                .map(|at| sent[at].clone())
                .collect();
            assert_eq!(peer.receive_all(meant.len()).0, meant);
        }
    }
    assert_eq!(dropped(&relay, Dropped::NoPermission), 1);
}

#[test]
fn a_burst_without_a_channel_comes_in_indications() {
    let relay = relay_of(1, 0);
    let peer = End::bind("127.0.0.1");
    let [mut caller, mut other] = ["alice", "bob"].map(|name| Caller::udp(&relay, name));
    let (relayed, bobs) = (caller.allocate(), other.allocate());
    for (caller, to) in [(&mut caller, peer.address()), (&mut other, bobs)] {
        let permitted = caller.ask(Method::CreatePermission, |m| permit(&[to])(m));
        assert_eq!(permitted.code, 0);
    }
    let [alice, bob] = [&caller, &other].map(End::of);
    for last in [FULL, 2] {
        let sent = payloads(std::iter::repeat_n(FULL - 1, 19).chain([last.min(FULL - 1)]));
        peer.send(relayed, &sent);
        let from_peer = alice.receive_all(20).0;
        // From another caller here, in indications of his.
        let indications: Vec<_> = sent
            .iter()
            .map(|payload| other.client.send_indication(relayed, payload))
            .collect();
        bob.send(relay.address(), &indications);
        let from_caller = alice.receive_all(20).0;
        for (came, from) in [(from_peer, peer.address()), (from_caller, bobs)] {
            let mut ids = HashSet::new();
            for (message, payload) in came.iter().zip(&sent) {
                let message = Message::parse(message).expect("an indication");
                let address = message.get(attr::XOR_PEER_ADDRESS).expect("a peer");
                assert_eq!(message.xor_address(address), Some(from));
                assert_eq!(message.get(attr::DATA), Some(&payload[..]));
                assert!(ids.insert(message.transaction_id()), "each its own");
            }
        }
    }
}

/// Bytes that may still come before the quota is reached, when so many packets are to pass.
const ROOM: usize = 16 * FULL + FULL / 2;
/// Of a quota so low that nothing is added to it meanwhile, what may come at once.
const AT_ONCE: usize = 65_535;

#[test]
fn the_quota_is_crossed_within_a_burst_and_not_after_it() {
    let fence = UdpSocket::bind("127.0.0.1:0").unwrap();
    // To a peer, from one, and to another caller, who has a quota of his own.
    for way in ["to the peer", "to the client", "to another caller"] {
        let relay = relay_of(1, 1);
        let peer = End::bind("127.0.0.1");
        let (caller, relayed) = call(&relay, "alice", peer.address());
        let alice = End::of(&caller);
        let mut bob = Caller::udp(&relay, "bob");
        let bobs = bob.allocate();
        bob.bind(0x4000, relayed);
        let bob = End::of(&bob);
        let mut caller = caller;
        caller.bind(0x4001, bobs);

        let before = AT_ONCE - ROOM;
        let fill = payloads([before]);
        let burst = payloads([FULL; 20]);
        let passed = burst[..16].to_vec();
        match way {
            "to the peer" => {
                alice.send(relay.address(), &in_channel(0x4000, &fill));
                assert_eq!(peer.receive(), fill);
                alice.send(relay.address(), &in_channel(0x4000, &burst));
                assert_eq!(peer.receive_all(16).0, passed);
            }
            "to the client" => {
                peer.send(relayed, &fill);
                assert_eq!(alice.receive(), in_channel(0x4000, &fill));
                peer.send(relayed, &burst);
                assert_eq!(alice.receive_all(16).0, in_channel(0x4000, &passed));
            }
            _ => {
                alice.send(relay.address(), &in_channel(0x4001, &fill));
                assert_eq!(bob.receive(), in_channel(0x4000, &fill));
                alice.send(relay.address(), &in_channel(0x4001, &burst));
                assert_eq!(bob.receive_all(16).0, in_channel(0x4000, &passed));
            }
        }
        wait_until("the rest is dropped", || {
            dropped(&relay, Dropped::OverQuota) == 4
        });
        peer.hears_nothing_before(&fence);
        let counted = (17, (before + 16 * FULL) as u64);
        match way {
            "to the peer" => assert_eq!(flow(&relay, |stats| &stats.to_peer), counted),
            "to the client" => assert_eq!(flow(&relay, |stats| &stats.to_client), counted),
            _ => {
                assert_eq!(flow(&relay, |stats| &stats.to_peer), counted);
                assert_eq!(flow(&relay, |stats| &stats.to_client), counted);
            }
        }
    }
}

#[test]
fn a_peer_that_is_banned_within_a_burst_gets_no_more_of_it() {
    let relay = relay_of(1, 0);
    let fence = UdpSocket::bind("127.0.0.1:0").unwrap();
    let [banned, spared] = [End::bind("127.0.0.2"), End::bind("127.0.0.3")];
    let (mut caller, relayed) = call(&relay, "alice", banned.address());
    caller.bind(0x4001, spared.address());
    let alice = End::of(&caller);
    let sent = payloads([FULL; 20]);
    let mixed: Vec<_> = (0..20)
        .map(|at| channel_data(0x4000 + (at % 2) as u16, &sent[at]))
        .collect();
    alice.send(relay.address(), &mixed);
    assert_eq!(banned.receive_all(10).0.len(), 10);
    assert_eq!(spared.receive_all(10).0.len(), 10);

    relay.change_policy(|policy| policy.deny = vec!["127.0.0.2/32".parse().unwrap()]);
    // Workers read their mail in order: who answers this has read of the ban.
    relay.list(PATIENCE).unwrap();
    alice.send(relay.address(), &mixed);
    assert_eq!(spared.receive_all(10).0.len(), 10);
    banned.hears_nothing_before(&fence);
    assert_eq!(dropped(&relay, Dropped::NoPermission), 10);
    // Nor does he send any.
    banned.send(relayed, &sent);
    wait_until("all of it is refused", || {
        dropped(&relay, Dropped::ForbiddenPeer) == 20
    });
}

#[test]
fn between_two_packets_of_one_burst_a_ban_holds_for_the_second() {
    let mut bench = Bench::new();
    let (mut alice, _) = allocated(&mut bench, "alice", udp(1));
    let peer = addr("8.8.8.8:4000");
    bench.bind(&mut alice, udp(1), 0x4000, peer);
    let packet = channel_data(0x4000, b"of a burst");
    for _ in 0..16 {
        let verdict = bench.verdict(udp(1), &packet);
        assert!(matches!(verdict, Verdict::ToPeer { peer: to, .. } if to == peer));
    }
    let mut policy = bench.common.config().policy.clone();
    policy.deny = vec!["8.8.8.8/32".parse().unwrap()];
    bench.common.set_policy(policy);
    bench.server.review(bench.now);
    for _ in 16..32 {
        assert_eq!(bench.verdict(udp(1), &packet), Verdict::Done);
    }
    assert_eq!(bench.dropped(Dropped::NoPermission), 16);
}

#[test]
fn a_burst_comes_from_where_its_client_has_asked() {
    // Any port that is free next to it, too.
    let bind = || {
        let listeners = Listeners::bind("[::]:0".parse().unwrap(), 1).unwrap();
        let port = listeners.address().port();
        let other = port.checked_add(1)?;
        Some((listeners.with_port(other).ok()?, port, other))
    };
    let (listeners, port, other) = std::iter::repeat_with(bind)
        .take(50)
        .flatten()
        .next()
        .expect("two free ports");
    let config = config("127.0.0.1", &["127.0.0.0/8"]);
    let relay = Relay::start(listeners, config, Arc::new(Users::default())).unwrap();
    let peer = End::bind("127.0.0.2");
    let sent = payloads([FULL; 10]);
    for (ip, port) in [
        ("127.0.0.1", port),
        ("::1", port),
        ("127.0.0.3", other),
        ("::1", other),
    ] {
        // Connected: it hears nobody else.
        let socket = UdpSocket::bind((if ip == "::1" { ip } else { "127.0.0.1" }, 0)).unwrap();
        socket.connect((ip, port)).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut caller = Caller::over(Wire::Udp(socket), "alice");
        let answer = caller.ask(Method::Allocate, udp_transport);
        let relayed = answer.address(attr::XOR_RELAYED_ADDRESS).unwrap();
        caller.bind(0x4000, peer.address());
        let alice = End::of(&caller);
        peer.send(relayed, &sent);
        let (came, most) = alice.receive_all(10);
        assert_eq!((came, most), (in_channel(0x4000, &sent), 10), "{ip}:{port}");
    }
    assert_eq!(dropped(&relay, Dropped::SendFailed), 0);
}

/// Of a device that takes less than a frame's packets are long, so that none can leave as one of several.
const NARROW: &str = "ip link set lo up mtu 900 && exec \"$0\" \"$@\"";

#[test]
fn what_cannot_leave_as_one_leaves_one_by_one() {
    if !namespace::enter_as("what_cannot_leave_as_one_leaves_one_by_one", NARROW) {
        return;
    }
    let relay = relay_of(1, 0);
    // Sockets that fragment, as any does that is not told otherwise.
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    let (mut alice, relayed) = call(&relay, "alice", peer.local_addr().unwrap());
    let mut buffer = [0; 2 * FULL];
    for size in [FULL, 700] {
        let sent = payloads([size; 40]);
        let messages = in_channel(0x4000, &sent);
        for _ in 0..5 {
            messages.iter().for_each(|message| alice.send(message));
            for payload in &sent {
                let count = peer.recv(&mut buffer).expect("none is lost");
                assert_eq!(&buffer[..count], payload);
            }
            for payload in &sent {
                peer.send_to(payload, relayed).unwrap();
            }
            for message in &messages {
                assert_eq!(&alice.receive(), message);
            }
        }
    }
    assert_eq!(dropped(&relay, Dropped::SendFailed), 0);
}

/// Where there is a peer to whom nothing leaves, and it looks as if what leaves were the reason.
const BLACKHOLE: &str =
    "ip link set lo up && ip route add blackhole 10.9.9.0/24 && exec \"$0\" \"$@\"";

#[test]
fn a_peer_that_cannot_be_reached_keeps_no_others_packets_apart() {
    if !namespace::enter_as(
        "a_peer_that_cannot_be_reached_keeps_no_others_packets_apart",
        BLACKHOLE,
    ) {
        return;
    }
    let listeners = Listeners::bind("127.0.0.1:0".parse().unwrap(), 1).unwrap();
    let config = config("127.0.0.1", &["127.0.0.0/8", "10.0.0.0/8"]);
    let relay = Relay::start(listeners, config, Arc::new(Users::default())).unwrap();
    let peer = End::bind("127.0.0.1");
    let (mut caller, _) = call(&relay, "alice", peer.address());
    caller.bind(0x4001, "10.9.9.9:9".parse().unwrap());
    let alice = End::of(&caller);
    alice.send(relay.address(), &in_channel(0x4001, &payloads([100; 2])));
    wait_until("both are lost", || {
        dropped(&relay, Dropped::SendFailed) == 2
    });
    let sent = payloads([FULL; 32]);
    alice.send(relay.address(), &in_channel(0x4000, &sent));
    assert_eq!(peer.receive_all(32), (sent, 32));
}
