//! The relay on real sockets of loopback.

mod support;

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use moznods_turn::auth::Owner;
use moznods_turn::net::tls::Certificate;
use moznods_turn::net::{Listeners, Relay};
use moznods_turn::stats::Dropped;
use moznods_turn::wire::{Message, Method, attr};
use support::sockets::{
    Caller, Files, PATIENCE, Wire, config, dropped, live, serve, start, start_for, total,
    wait_until,
};
use support::{Client, Users, bind, channel_data, permit};

#[test]
fn two_callers_relayed_here_hear_each_other_over_each_transport_and_family() {
    let files = Files::new();
    for ip in ["127.0.0.1", "::1"] {
        let address = SocketAddr::new(ip.parse().unwrap(), 0);
        let listeners = Listeners::bind(address, 2).unwrap();
        let listeners = listeners.with_tls(address, &files.certificate()).unwrap();
        let relay = serve(listeners, Arc::default(), ip, &[]);
        let callers: [&dyn Fn(&'static str) -> Caller; 3] = [
            &|name| Caller::udp(&relay, name),
            &|name| Caller::tcp(&relay, name),
            &|name| Caller::tls(&relay, &files, name),
        ];
        for first in callers {
            for second in callers {
                let (mut alice, mut bob) = (first("alice"), second("bob"));
                let (a, b) = (alice.allocate(), bob.allocate());
                alice.bind(0x4000, b);
                bob.bind(0x7abc, a);
                for size in [0, 1, 160, 1200, 9000] {
                    let payload = vec![size as u8; size];
                    alice.send(&channel_data(0x4000, &payload));
                    assert_eq!(bob.receive(), channel_data(0x7abc, &payload));
                    bob.send(&channel_data(0x7abc, &payload));
                    assert_eq!(alice.receive(), channel_data(0x4000, &payload));
                }
            }
        }
    }
}

/// A 1:1 NAT stands before the relay, so that its public address leads nowhere from here.
#[test]
fn callers_on_all_workers_hear_each_other_without_a_packet_leaving_the_process() {
    let mut config = config("127.0.0.1", &[]);
    let public = "198.51.100.7".parse().unwrap();
    config.relay[0].public = public;
    config.policy.relays = vec![public];
    let listeners = Listeners::bind("127.0.0.1:0".parse().unwrap(), 2).unwrap();
    let relay = Relay::start(listeners, config, Arc::<Users>::default()).unwrap();
    let mut callers: Vec<(Caller, SocketAddr)> = Vec::new();
    while relay
        .stats()
        .any(|worker| worker.allocations.load(Relaxed) < 2)
    {
        assert!(callers.len() < 64, "workers share the clients");
        for mut caller in [Caller::udp(&relay, "alice"), Caller::tcp(&relay, "bob")] {
            let address = caller.allocate();
            assert_eq!(address.ip(), public);
            callers.push((caller, address));
        }
    }
    let addresses: Vec<SocketAddr> = callers.iter().map(|(_, address)| *address).collect();
    for (caller, own) in &mut callers {
        for (number, peer) in (0x4000..).zip(&addresses) {
            if peer != own {
                caller.bind(number, *peer);
            }
        }
    }
    for sender in 0..callers.len() {
        for receiver in (0..callers.len()).filter(|receiver| *receiver != sender) {
            let (to, from) = (0x4000 + receiver as u16, 0x4000 + sender as u16);
            let payload = format!("{sender} to {receiver}");
            callers[sender]
                .0
                .send(&channel_data(to, payload.as_bytes()));
            let heard = callers[receiver].0.receive();
            assert_eq!(heard, channel_data(from, payload.as_bytes()));
        }
    }
}

#[test]
fn a_plain_peer_is_reached_by_indications_where_the_admin_allows_it() {
    let relay = start("127.0.0.1", &["127.0.0.0/8"]);
    let peer = UdpSocket::bind("127.0.0.2:0").unwrap();
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    let peers = [peer.local_addr().unwrap()];
    let mut alice = Caller::udp(&relay, "alice");
    let address = alice.allocate();
    assert_eq!(
        alice
            .ask(Method::CreatePermission, |m| permit(&peers)(m))
            .code,
        0
    );
    let data = alice.client.send_indication(peers[0], b"there");
    alice.send(&data);
    let mut buffer = [0; 100];
    let (count, from) = peer.recv_from(&mut buffer).unwrap();
    assert_eq!((&buffer[..count], from), (&b"there"[..], address));
    peer.send_to(b"and back", address).unwrap();
    let bytes = alice.receive();
    let message = Message::parse(&bytes).unwrap();
    assert_eq!(message.get(attr::DATA), Some(&b"and back"[..]));
    let (to_peer, to_client) = relay.stats().fold((0, 0), |(a, b), stats| {
        (
            a + stats.to_peer.bytes.load(Relaxed),
            b + stats.to_client.bytes.load(Relaxed),
        )
    });
    assert_eq!((to_peer, to_client), (5, 8));
}

#[test]
fn a_forbidden_peer_gets_no_packet() {
    let relay = start("127.0.0.1", &[]);
    let victim = UdpSocket::bind("127.0.0.2:0").unwrap();
    victim.set_nonblocking(true).unwrap();
    let peers = [victim.local_addr().unwrap()];
    let mut alice = Caller::udp(&relay, "alice");
    alice.allocate();
    assert_eq!(
        alice
            .ask(Method::CreatePermission, |m| permit(&peers)(m))
            .code,
        403
    );
    assert_eq!(
        alice
            .ask(Method::ChannelBind, |m| bind(0x4000, peers[0])(m))
            .code,
        403
    );
    let data = alice.client.send_indication(peers[0], b"x");
    alice.send(&data);
    alice.send(&channel_data(0x4000, b"x"));
    // An answer after them: they have been handled.
    assert_eq!(alice.ask(Method::Refresh, |_| {}).code, 0);
    let mut buffer = [0; 10];
    assert_eq!(
        victim.recv(&mut buffer).unwrap_err().kind(),
        std::io::ErrorKind::WouldBlock
    );
}

#[test]
fn an_owner_can_be_ended_on_all_workers_and_the_sockets_are_given_back() {
    let files = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let users = Arc::new(Users::default());
    let relay = start_for(users.clone(), "127.0.0.1", &[]);
    let mut callers: Vec<_> = (0..40).map(|_| Caller::udp(&relay, "alice")).collect();
    let relays: Vec<_> = callers.iter_mut().map(Caller::allocate).collect();
    assert_eq!(live(&relay), 40);
    assert!(files() > 80);
    let mut bob = Caller::tcp(&relay, "bob");
    bob.allocate();
    users.revoked.lock().unwrap().insert(Owner(1));
    relay.review();
    wait_until("alice's allocations end", || live(&relay) == 1);
    // Their ports can be bound: nothing holds them.
    for address in relays {
        wait_until("a relay port is free", || UdpSocket::bind(address).is_ok());
    }
    assert_eq!(bob.ask(Method::Refresh, |_| {}).code, 0);
    drop(bob);
    wait_until("a closed stream ends its allocation", || live(&relay) == 0);
}

#[test]
fn a_client_is_answered_from_the_address_that_it_asked() {
    let listeners = Listeners::bind("[::]:0".parse().unwrap(), 2).unwrap();
    let relay = serve(listeners, Arc::default(), "127.0.0.1", &[]);
    let port = relay.address().port();
    for ip in ["127.0.0.1", "127.0.0.3", "::1"] {
        let ip: IpAddr = ip.parse().unwrap();
        let socket = UdpSocket::bind((ip, 0)).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let request = Client::new("alice").bare(Method::Binding, |_| {});
        socket.send_to(&request, (ip, port)).unwrap();
        let mut buffer = [0; 100];
        let (_, from) = socket.recv_from(&mut buffer).unwrap();
        assert_eq!(from, SocketAddr::new(ip, port));
        TcpStream::connect((ip, port)).unwrap();
    }
}

#[test]
fn a_stream_that_reads_slowly_loses_data_and_not_its_framing() {
    let files = Files::new();
    let address = "127.0.0.1:0".parse().unwrap();
    for tls in [false, true] {
        let listeners = Listeners::bind(address, 1).unwrap();
        let listeners = listeners.with_tls(address, &files.certificate()).unwrap();
        let relay = serve(listeners, Arc::default(), "127.0.0.1", &["127.0.0.0/8"]);
        let alice = match tls {
            false => Caller::tcp(&relay, "alice"),
            true => Caller::tls(&relay, &files, "alice"),
        };
        reads_slowly(&relay, alice);
    }
}

fn reads_slowly(relay: &Relay, mut alice: Caller) {
    let peer = UdpSocket::bind("127.0.0.2:0").unwrap();
    let address = alice.allocate();
    alice.bind(0x4000, peer.local_addr().unwrap());
    // Far more than all buffers between hold.
    let received = || total(relay, |stats| stats.to_client.packets.load(Relaxed));
    let lost = || dropped(relay, Dropped::SendFailed);
    let mut number = 0_u32;
    while lost() == 0 {
        let mut payload = [0; 30_001];
        payload[..4].copy_from_slice(&number.to_be_bytes());
        peer.send_to(&payload, address).unwrap();
        number += 1;
        assert!(number < 100_000);
        wait_until("a datagram arrives", || received() >= u64::from(number));
    }
    // All that was taken comes out whole and in order, and what follows as well.
    let taken = received() - lost();
    let mut last = None;
    for _ in 0..taken {
        let message = alice.receive();
        assert_eq!(message[..4], [0x40, 0, 0x75, 0x31]);
        let number = u32::from_be_bytes(message[4..8].try_into().unwrap());
        assert!(last < Some(number));
        last = Some(number);
    }
    assert_eq!(alice.ask(Method::Refresh, |_| {}).code, 0);
}

#[test]
fn a_burst_longer_than_one_turn_is_read_to_its_end() {
    let relay = start("127.0.0.1", &[]);
    let mut alice = Caller::tcp(&relay, "alice");
    let requests: Vec<u8> = (0..3000)
        .flat_map(|_| alice.client.bare(Method::Binding, |_| {}))
        .collect();
    let Wire::Tcp(stream) = &alice.wire else {
        panic!("not TCP")
    };
    let mut writer = stream.try_clone().unwrap();
    let sending = std::thread::spawn(move || writer.write_all(&requests).unwrap());
    // More than the limit answers are not had; each that is had is whole.
    for _ in 0..100 {
        let answer = alice.receive();
        assert_eq!(alice.client.read(&answer).code, 0);
    }
    sending.join().unwrap();
}

#[test]
fn a_certificate_is_exchanged_without_dropping_anyone() {
    let mut files = Files::new();
    let certificate = files.certificate();
    let address = "127.0.0.1:0".parse().unwrap();
    let listeners = Listeners::bind(address, 1).unwrap();
    let listeners = listeners.with_tls(address, &certificate).unwrap();
    let relay = serve(listeners, Arc::default(), "127.0.0.1", &[]);
    let mut alice = Caller::tls(&relay, &files, "alice");
    alice.allocate();

    files.renew();
    certificate.reload().unwrap();
    assert_eq!(alice.ask(Method::Refresh, |_| {}).code, 0);
    let mut bob = Caller::tls(&relay, &files, "bob");
    bob.allocate();

    // Half a renewal: the key is not the certificate's.
    let (_, key) = files.paths();
    let other = rcgen::KeyPair::generate().unwrap();
    std::fs::write(key, other.serialize_pem()).unwrap();
    certificate.reload().unwrap_err();
    let mut again = Caller::tls(&relay, &files, "bob");
    again.allocate();
    assert_eq!(live(&relay), 3);
}

#[test]
fn a_client_may_name_the_protocol_and_none_of_another() {
    let files = Files::new();
    let address = "127.0.0.1:0".parse().unwrap();
    let listeners = Listeners::bind(address, 1).unwrap();
    let listeners = listeners.with_tls(address, &files.certificate()).unwrap();
    let relay = serve(listeners, Arc::default(), "127.0.0.1", &[]);
    let tls = relay.tls_address().unwrap();
    for protocol in [&b"stun.turn"[..], b"stun.nat-discovery"] {
        let mut stream = files.connect(tls, &[protocol]);
        stream
            .write_all(&Client::new("alice").bare(Method::Binding, |_| {}))
            .unwrap();
        stream.read_exact(&mut [0; 20]).unwrap();
        assert_eq!(stream.conn.alpn_protocol(), Some(protocol));
    }
    let mut stream = files.connect(tls, &[b"h2"]);
    stream.write_all(b"x").unwrap_err();
    // Without TLS nobody is answered there.
    let mut stream = TcpStream::connect(tls).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
        .write_all(&Client::new("alice").bare(Method::Binding, |_| {}))
        .unwrap();
    let mut received = Vec::new();
    let _ = stream.read_to_end(&mut received);
    assert!(received.len() < 20, "no more than an alert");
}

#[test]
fn a_certificate_that_cannot_be_used_says_why() {
    let files = Files::new();
    let (chain, key) = files.paths();
    let why = |chain: &Path, key: &Path| Certificate::load(chain, key).unwrap_err().to_string();
    assert!(why(&chain.join("x"), &key).contains("cert.pem/x"));
    assert!(why(&key, &key).ends_with("holds no certificate in PEM"));
    let error = why(&chain, &chain);
    assert!(error.contains("cert.pem: "), "{error}");
}

#[test]
fn a_stream_that_is_not_turn_is_closed() {
    let relay = start("127.0.0.1", &[]);
    for rubbish in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        &[0xFF; 64],
        &[0x00, 0x03, 0xFF, 0xFC],
    ] {
        let mut stream = TcpStream::connect(relay.address()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(rubbish).unwrap();
        let mut buffer = [0; 10];
        match stream.read(&mut buffer) {
            Ok(0) => {}
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
            other => panic!("{other:?}"),
        }
    }
}
