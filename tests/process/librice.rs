//! librice's client, which authenticates by SHA-256, over real sockets and with credentials of this server.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use turn_client_proto::api::{TurnConfig, TurnEvent, TurnRecvRet};
use turn_client_proto::prelude::*;
use turn_client_proto::stun::agent::Transmit;
use turn_client_proto::stun::types::TransportType;
use turn_client_proto::stun::types::message::IntegrityAlgorithm;
use turn_client_proto::tcp::TurnClientTcp;
use turn_client_proto::types::{Instant as Clock, TurnCredentials};
use turn_client_proto::udp::TurnClientUdp;

use crate::relay::{Credential, Relay};
use crate::support::SOON;

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

enum Socket {
    Udp(UdpSocket),
    Tcp(TcpStream),
}

/// A client and its socket, driven by whoever waits for something.
pub struct Driven<C> {
    client: C,
    socket: Socket,
    begun: Instant,
    /// Relay addresses, and payload that peers sent.
    relayed: Vec<SocketAddr>,
    heard: Vec<Vec<u8>>,
    permitted: bool,
}

impl<C: TurnClientApi> Driven<C> {
    fn new(client: C, socket: Socket) -> Self {
        Driven {
            client,
            socket,
            begun: Instant::now(),
            relayed: Vec::new(),
            heard: Vec::new(),
            permitted: false,
        }
    }

    fn now(&self) -> Clock {
        Clock::ZERO + self.begun.elapsed()
    }

    fn write(&mut self, bytes: &[u8]) {
        match &mut self.socket {
            Socket::Udp(socket) => assert_eq!(socket.send(bytes).unwrap(), bytes.len()),
            Socket::Tcp(stream) => stream.write_all(bytes).unwrap(),
        }
    }

    /// Sends what is due, and waits some milliseconds for what comes.
    fn step(&mut self) {
        let now = self.now();
        let _ = self.client.poll(now);
        while let Some(sent) = self.client.poll_transmit(now) {
            self.write(sent.data.as_ref());
        }
        while let Some(event) = self.client.poll_event() {
            match event {
                TurnEvent::AllocationCreated(_, relayed) => self.relayed.push(relayed),
                TurnEvent::PermissionCreated(..) => self.permitted = true,
                other => panic!("{other:?}"),
            }
        }
        let mut buffer = [0; 2048];
        let read = match &mut self.socket {
            Socket::Udp(socket) => socket.recv(&mut buffer),
            Socket::Tcp(stream) => stream.read(&mut buffer),
        };
        let count = match read {
            Ok(count) => count,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return;
            }
            Err(error) => panic!("{error}"),
        };
        let received = Transmit {
            data: buffer[..count].to_vec(),
            transport: self.client.transport(),
            from: self.client.remote_addr(),
            to: self.client.local_addr(),
        };
        match self.client.recv(received, self.now()) {
            TurnRecvRet::PeerData(data) => self.heard.push(data.data().to_vec()),
            TurnRecvRet::Handled => {}
            other => panic!("{other:?}"),
        }
    }

    fn until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        let begun = Instant::now();
        while !done(self) {
            assert!(begun.elapsed() < SOON, "not in time: {what}");
            self.step();
        }
    }

    /// Its relay address, from which it may send to others of this server.
    pub fn allocated(&mut self) -> SocketAddr {
        self.until("an allocation", |this| !this.relayed.is_empty());
        let now = self.now();
        let made = self
            .client
            .create_permission(TransportType::Udp, LOOPBACK, now);
        made.unwrap();
        self.until("a permission", |this| this.permitted);
        self.relayed[0]
    }

    fn send(&mut self, to: SocketAddr, payload: &[u8]) {
        let now = self.now();
        let sent = self
            .client
            .send_to(TransportType::Udp, to, payload.to_vec(), now);
        let bytes = sent.unwrap().unwrap().data.build();
        self.write(&bytes);
    }
}

/// A client that does without SHA-1 and MD5, so that nothing else can have been used.
fn config(credential: &Credential) -> TurnConfig {
    let credentials = TurnCredentials::new(&credential.username, &credential.password);
    let mut config = TurnConfig::new(credentials);
    config.set_supported_integrity(IntegrityAlgorithm::Sha256);
    config
}

const WAIT: Option<Duration> = Some(Duration::from_millis(10));

pub fn over_udp(server: SocketAddr, credential: &Credential) -> Driven<TurnClientUdp> {
    let socket = UdpSocket::bind((LOOPBACK, 0)).unwrap();
    socket.connect(server).unwrap();
    socket.set_read_timeout(WAIT).unwrap();
    let local = socket.local_addr().unwrap();
    let client = TurnClientUdp::allocate(local, server, config(credential));
    Driven::new(client, Socket::Udp(socket))
}

fn over_tcp(server: SocketAddr, credential: &Credential) -> Driven<TurnClientTcp> {
    let stream = TcpStream::connect(server).unwrap();
    stream.set_read_timeout(WAIT).unwrap();
    let local = stream.local_addr().unwrap();
    let client = TurnClientTcp::allocate(local, server, config(credential));
    Driven::new(client, Socket::Tcp(stream))
}

#[tokio::test(flavor = "multi_thread")]
async fn librice_relays_by_sha256_with_credentials_of_this_server() {
    let relay = Relay::start(&[]);
    relay.server.user("ann").await;
    let credential = relay.printed_credential("ann", "3600");
    let server = SocketAddr::new(LOOPBACK, relay.port);
    let mut one = over_udp(server, &credential);
    let mut other = over_tcp(server, &credential);
    let (ones, others) = (one.allocated(), other.allocated());
    one.send(others, b"over UDP");
    other.until("what came over UDP", |this| !this.heard.is_empty());
    other.send(ones, b"over TCP");
    one.until("what came over TCP", |this| !this.heard.is_empty());
    assert_eq!(other.heard, [b"over UDP"]);
    assert_eq!(one.heard, [b"over TCP"]);
    assert_eq!(relay.live().await, 2.0);
}
