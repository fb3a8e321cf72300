//! A relay on real sockets of loopback, and callers of it.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use moznods_turn::net::tls::Certificate;
use moznods_turn::net::{Listeners, Relay};
use moznods_turn::server::Config;
use moznods_turn::stats::{Dropped, Stats};
use moznods_turn::wire::{Builder, Method, attr, channel};
use rustls::{ClientConnection, RootCertStore, StreamOwned};
use socket2::{Domain, Socket, Type};

use super::{Answer, Client, REALM, Users, bind, udp_transport};

/// For what should happen at once; only a broken relay waits so long.
pub const PATIENCE: Duration = Duration::from_secs(5);

pub fn start(ip: &str, allow: &[&str]) -> Relay {
    start_for(Arc::default(), ip, allow)
}

pub fn start_for(users: Arc<Users>, ip: &str, allow: &[&str]) -> Relay {
    let address = SocketAddr::new(ip.parse().unwrap(), 0);
    serve(Listeners::bind(address, 2).unwrap(), users, ip, allow)
}

pub fn serve(listeners: Listeners, users: Arc<Users>, ip: &str, allow: &[&str]) -> Relay {
    Relay::start(listeners, config(ip, allow), users).unwrap()
}

/// Relays from `ip`, to public addresses, to its own relays and to `allow`.
pub fn config(ip: &str, allow: &[&str]) -> Config {
    let ip: IpAddr = ip.parse().unwrap();
    let allow = allow.iter().map(|net| net.parse().unwrap()).collect();
    let mut config = Config::new(REALM, vec![ip.into()]);
    config.policy.allow = allow;
    config
}

/// How a test client speaks to the relay.
pub enum Wire {
    Udp(UdpSocket),
    Tcp(TcpStream),
    Tls(Box<TlsStream>),
}

pub type TlsStream = StreamOwned<ClientConnection, TcpStream>;

/// A self-signed certificate in files.
pub struct Files {
    directory: tempfile::TempDir,
    trusted: RootCertStore,
}

impl Files {
    pub fn new() -> Self {
        let mut files = Files {
            directory: tempfile::tempdir().unwrap(),
            trusted: RootCertStore::empty(),
        };
        files.renew();
        files
    }

    pub fn paths(&self) -> (PathBuf, PathBuf) {
        let path = self.directory.path();
        (path.join("cert.pem"), path.join("key.pem"))
    }

    /// Another certificate, and no trust in the one before.
    pub fn renew(&mut self) {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let (chain, key) = self.paths();
        std::fs::write(chain, made.cert.pem()).unwrap();
        std::fs::write(key, made.signing_key.serialize_pem()).unwrap();
        self.trusted = RootCertStore::empty();
        self.trusted.add(made.cert.der().clone()).unwrap();
    }

    pub fn certificate(&self) -> Arc<Certificate> {
        let (chain, key) = self.paths();
        Certificate::load(&chain, &key).unwrap()
    }

    pub fn connect(&self, address: SocketAddr, alpn: &[&[u8]]) -> TlsStream {
        self.over(connect_tcp(address), alpn)
    }

    pub fn over(&self, stream: TcpStream, alpn: &[&[u8]]) -> TlsStream {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(self.trusted.clone())
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        let name = "localhost".try_into().unwrap();
        let connection = ClientConnection::new(Arc::new(config), name).unwrap();
        StreamOwned::new(connection, stream)
    }
}

fn connect_tcp(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    patient(stream)
}

/// From this address, as another host's.
pub fn connect_from(from: IpAddr, address: SocketAddr) -> TcpStream {
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::new(from, 0).into()).unwrap();
    socket.connect(&address.into()).unwrap();
    patient(socket.into())
}

fn patient(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

pub struct Caller {
    pub wire: Wire,
    pub client: Client,
}

impl Caller {
    pub fn udp(relay: &Relay, username: &'static str) -> Self {
        Self::udp_from(relay, username, (relay.address().ip(), 0).into())
    }

    /// From this address, as another host's.
    pub fn udp_from(relay: &Relay, username: &'static str, from: SocketAddr) -> Self {
        let socket = UdpSocket::bind(from).unwrap();
        socket.connect(relay.address()).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Caller {
            wire: Wire::Udp(socket),
            client: Client::new(username),
        }
    }

    pub fn tcp(relay: &Relay, username: &'static str) -> Self {
        Self::over(Wire::Tcp(connect_tcp(relay.address())), username)
    }

    pub fn tls(relay: &Relay, files: &Files, username: &'static str) -> Self {
        let stream = files.connect(relay.tls_address().unwrap(), &[]);
        Self::over(Wire::Tls(Box::new(stream)), username)
    }

    pub fn over(wire: Wire, username: &'static str) -> Self {
        let client = Client::new(username);
        Caller { wire, client }
    }

    pub fn send(&mut self, bytes: &[u8]) {
        let stream: &mut dyn Write = match &mut self.wire {
            Wire::Udp(socket) => {
                assert_eq!(socket.send(bytes).unwrap(), bytes.len());
                return;
            }
            Wire::Tcp(stream) => stream,
            Wire::Tls(stream) => stream,
        };
        // Torn in two, as a network may do.
        let (head, tail) = bytes.split_at(bytes.len() / 2);
        stream.write_all(head).unwrap();
        stream.write_all(tail).unwrap();
        let padding = bytes.len().next_multiple_of(4) - bytes.len();
        stream.write_all(&vec![0; padding]).unwrap();
    }

    pub fn receive(&mut self) -> Vec<u8> {
        let stream: &mut dyn Read = match &mut self.wire {
            Wire::Udp(socket) => {
                let mut buffer = vec![0; 65_536];
                let count = socket.recv(&mut buffer).expect("a datagram");
                buffer.truncate(count);
                return buffer;
            }
            Wire::Tcp(stream) => stream,
            Wire::Tls(stream) => stream,
        };
        let mut head = [0; 4];
        stream.read_exact(&mut head).expect("a message");
        let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
        let whole = if head[0] < 0x40 {
            20 + length
        } else {
            channel::padded_len(length)
        };
        let mut message = head.to_vec();
        message.resize(whole, 0);
        stream.read_exact(&mut message[4..]).unwrap();
        if head[0] >= 0x40 {
            message.truncate(4 + length);
        }
        message
    }

    pub fn ask(&mut self, method: Method, fill: impl Fn(&mut Builder<'_>)) -> Answer {
        if self.client.nonce.is_empty() {
            let bytes = self.client.bare(method, &fill);
            self.send(&bytes);
            let answer = self.receive();
            assert_eq!(self.client.read(&answer).code, 401);
        }
        let bytes = self.client.request(method, &fill);
        self.send(&bytes);
        let answer = self.receive();
        self.client.read(&answer)
    }

    /// An address of the family over which the relay is reached.
    pub fn allocate(&mut self) -> SocketAddr {
        let server = match &self.wire {
            Wire::Udp(socket) => socket.peer_addr(),
            Wire::Tcp(stream) => stream.peer_addr(),
            Wire::Tls(stream) => stream.sock.peer_addr(),
        };
        let ipv6 = server.unwrap().is_ipv6();
        let answer = self.ask(Method::Allocate, |message| {
            udp_transport(message);
            if ipv6 {
                message.attribute(attr::REQUESTED_ADDRESS_FAMILY, &[2, 0, 0, 0]);
            }
        });
        assert_eq!(answer.code, 0);
        answer.address(attr::XOR_RELAYED_ADDRESS).unwrap()
    }

    pub fn bind(&mut self, number: u16, peer: SocketAddr) {
        assert_eq!(
            self.ask(Method::ChannelBind, |m| bind(number, peer)(m))
                .code,
            0
        );
    }
}

pub fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The sum over all workers.
pub fn total(relay: &Relay, figure: impl Fn(&Stats) -> u64) -> u64 {
    relay.stats().map(figure).sum()
}

pub fn live(relay: &Relay) -> u64 {
    total(relay, |stats| stats.allocations.load(Relaxed))
}

pub fn dropped(relay: &Relay, reason: Dropped) -> u64 {
    total(relay, |stats| stats.dropped(reason))
}
