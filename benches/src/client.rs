//! A TURN client, as far as one is needed to have something to measure: it allocates with the long-term credential
//! (RFC 8489 §9.2), permits peers and binds channels. What is then sent through its socket is left to `load`.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use moznods_turn::wire::{
    Attribute, Builder, Class, HEADER_LEN, Message, Method, attr, channel, integrity::Key,
};
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

/// Kernel buffers of sockets over UDP, in bytes; the kernel caps it at `rmem_max` and `wmem_max`.
const UDP_BUFFER: usize = 4 << 20;
/// First wait for an answer over UDP; doubled at each attempt.
const FIRST_WAIT: Duration = Duration::from_millis(250);
const ATTEMPTS: u32 = 5;
/// Wait for an answer on a stream.
const STREAM_WAIT: Duration = Duration::from_secs(5);
/// RFC 8656 §18.8: UDP between server and peers.
const TO_PEERS_BY_UDP: u32 = 17 << 24;

/// Name and password at a relay.
#[derive(Clone)]
pub struct Credential {
    /// USERNAME
    pub username: String,
    /// Never shown.
    pub password: String,
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Credential({})", self.username)
    }
}

/// Why a relay did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nothing came back.
    #[error("{server} does not answer over {transport}; expected a TURN server there")]
    NoAnswer {
        /// Who was asked.
        server: SocketAddr,
        /// `UDP`, `TCP` or `TLS`
        transport: &'static str,
    },
    /// An error response, by its code and reason.
    #[error("{method:?} was refused: {code} {reason}")]
    Refused {
        /// What was asked for.
        method: Method,
        /// RFC 8489 §14.8
        code: u16,
        /// As the server gives it.
        reason: String,
    },
    /// An answer without what it must have.
    #[error("the answer to {0:?} is not what RFC 8656 says it is")]
    Malformed(Method),
    /// A socket.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// How the client reaches the server.
#[derive(Debug)]
pub enum Link {
    /// A connected socket.
    Udp(UdpSocket),
    /// TURN over TCP.
    Tcp(TcpStream),
    /// TURN over TLS.
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Link {
    /// A UDP socket from `local`, an address of this machine, with large buffers.
    pub fn udp(local: IpAddr, server: SocketAddr) -> io::Result<Self> {
        let socket = udp_socket(local)?;
        socket.connect(server)?;
        Ok(Link::Udp(socket))
    }

    /// A TCP connection without Nagle's algorithm.
    pub fn tcp(local: IpAddr, server: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(
            Domain::for_address(server),
            Type::STREAM,
            Some(Protocol::TCP),
        )?;
        socket.bind(&SocketAddr::new(local, 0).into())?;
        socket.connect_timeout(&server.into(), STREAM_WAIT)?;
        socket.set_tcp_nodelay(true)?;
        Ok(Link::Tcp(socket.into()))
    }

    /// As [`Link::tcp`], with TLS over it; the certificate must be for the server's address.
    pub fn tls(local: IpAddr, server: SocketAddr, config: Arc<ClientConfig>) -> io::Result<Self> {
        let Link::Tcp(stream) = Link::tcp(local, server)? else {
            return Err(ErrorKind::Unsupported.into());
        };
        let connection = ClientConnection::new(config, server.ip().into());
        let connection = connection.map_err(io::Error::other)?;
        Ok(Link::Tls(Box::new(StreamOwned::new(connection, stream))))
    }

    /// Has a stream begin with these bytes, before anything else; nothing of datagrams.
    pub(crate) fn begin_with(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Link::Udp(_) => Ok(()),
            Link::Tcp(stream) => stream.write_all(bytes),
            Link::Tls(stream) => stream.sock.write_all(bytes),
        }
    }

    pub(crate) fn set_nonblocking(&self) -> io::Result<()> {
        match self {
            Link::Udp(socket) => socket.set_nonblocking(true),
            Link::Tcp(stream) => stream.set_nonblocking(true),
            Link::Tls(stream) => stream.sock.set_nonblocking(true),
        }
    }

    /// Takes as much as there is room for; over UDP one datagram.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Link::Udp(socket) => socket.send(bytes),
            Link::Tcp(stream) => stream.write(bytes),
            Link::Tls(stream) => stream.write(bytes),
        }
    }

    pub(crate) fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Link::Udp(socket) => socket.recv(bytes),
            Link::Tcp(stream) => stream.read(bytes),
            Link::Tls(stream) => stream.read(bytes),
        }
    }

    fn transport(&self) -> &'static str {
        match self {
            Link::Udp(_) => "UDP",
            Link::Tcp(_) => "TCP",
            Link::Tls(_) => "TLS",
        }
    }

    fn send(&mut self, request: &[u8]) -> io::Result<()> {
        match self {
            Link::Udp(socket) => socket.send(request).map(drop),
            Link::Tcp(stream) => stream.write_all(request),
            Link::Tls(stream) => stream.write_all(request),
        }
    }

    /// Waits for the answer to a request that was sent; over UDP repeats it (RFC 8489 §6.2.1). What else arrives is
    /// dropped.
    fn wait(&mut self, request: &[u8], answer: &mut Vec<u8>) -> io::Result<()> {
        match self {
            Link::Udp(socket) => wait_for_datagram(socket, request, answer),
            Link::Tcp(stream) => {
                stream.set_read_timeout(Some(STREAM_WAIT))?;
                wait_on_stream(stream, request, answer)
            }
            Link::Tls(stream) => {
                stream.sock.set_read_timeout(Some(STREAM_WAIT))?;
                wait_on_stream(stream, request, answer)
            }
        }
    }
}

impl Link {
    /// One message, whatever it is; waits so long at most.
    fn next(&mut self, message: &mut Vec<u8>, wait: Duration) -> io::Result<()> {
        let outcome = match self {
            Link::Udp(socket) => {
                socket.set_read_timeout(Some(wait))?;
                message.resize(2048, 0);
                let received = socket.recv(message);
                received.map(|length| message.truncate(length))
            }
            Link::Tcp(stream) => {
                stream.set_read_timeout(Some(wait))?;
                read_message(stream, message)
            }
            Link::Tls(stream) => {
                stream.sock.set_read_timeout(Some(wait))?;
                read_message(stream, message)
            }
        };
        outcome.map_err(|error| match is_timeout(&error) {
            true => ErrorKind::TimedOut.into(),
            false => error,
        })
    }
}

/// An unconnected UDP socket at any port of `local`, with large buffers.
pub fn udp_socket(local: IpAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind((local, 0))?;
    let options = SockRef::from(&socket);
    // Smaller ones than asked for show as loss.
    let _ = options.set_recv_buffer_size(UDP_BUFFER);
    let _ = options.set_send_buffer_size(UDP_BUFFER);
    Ok(socket)
}

fn wait_for_datagram(socket: &UdpSocket, request: &[u8], answer: &mut Vec<u8>) -> io::Result<()> {
    let mut wait = FIRST_WAIT;
    for attempt in 0..ATTEMPTS {
        if attempt > 0 {
            socket.send(request)?;
        }
        let deadline = Instant::now() + wait;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            socket.set_read_timeout(Some(left))?;
            answer.resize(2048, 0);
            match socket.recv(answer) {
                Ok(length) => answer.truncate(length),
                Err(error) if is_timeout(&error) => break,
                Err(error) => return Err(error),
            }
            if is_answer_to(request, answer) {
                return Ok(());
            }
        }
        wait *= 2;
    }
    Err(ErrorKind::TimedOut.into())
}

fn wait_on_stream(stream: &mut impl Read, request: &[u8], answer: &mut Vec<u8>) -> io::Result<()> {
    loop {
        read_message(stream, answer)?;
        if is_answer_to(request, answer) {
            return Ok(());
        }
    }
}

fn read_message(stream: &mut impl Read, message: &mut Vec<u8>) -> io::Result<()> {
    let mut head = [0; 4];
    stream.read_exact(&mut head)?;
    let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
    // RFC 8656 §12.5: ChannelData is padded on streams, and its header is four bytes.
    let rest = match head[0] & 0xC0 {
        0 => HEADER_LEN - head.len() + length,
        _ => length.next_multiple_of(4),
    };
    message.clear();
    message.extend_from_slice(&head);
    message.resize(head.len() + rest, 0);
    stream.read_exact(&mut message[head.len()..])
}

fn is_answer_to(request: &[u8], answer: &[u8]) -> bool {
    Message::parse(answer).is_ok_and(|message| {
        matches!(message.class(), Class::Success | Class::Error)
            && message.transaction_id()[..] == request[8..HEADER_LEN]
    })
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// One client and its allocation. Dropped without [`end`](Client::end), the allocation stays until it expires.
#[derive(Debug)]
pub struct Client {
    link: Link,
    server: SocketAddr,
    relayed: SocketAddr,
    credential: Credential,
    challenge: Option<Challenge>,
    request: Vec<u8>,
    answer: Vec<u8>,
}

/// What a 401 or 438 has told (RFC 8489 §9.2.4).
#[derive(Debug)]
struct Challenge {
    realm: Vec<u8>,
    nonce: Vec<u8>,
    key: Key,
}

impl Client {
    /// Allocates a relayed address of the server's own address family (RFC 8656 §7), from the 401 on.
    pub fn allocate(
        link: Link,
        server: SocketAddr,
        credential: &Credential,
    ) -> Result<Self, ClientError> {
        let mut client = Client::new(link, server, credential);
        client.request(Method::Allocate, by_udp)?;
        client.take_relayed()?;
        Ok(client)
    }

    /// As [`allocate`](Self::allocate), for all of these at once: all ask, then all read what was answered.
    pub fn allocate_all(
        links: Vec<Link>,
        server: SocketAddr,
        credential: &Credential,
    ) -> Result<Vec<Self>, ClientError> {
        let refused = |(code, reason)| ClientError::Refused {
            method: Method::Allocate,
            code,
            reason,
        };
        let clients = links.into_iter();
        let mut clients: Vec<Client> = clients
            .map(|link| Client::new(link, server, credential))
            .collect();
        for client in &mut clients {
            client.ask(Method::Allocate, by_udp)?;
        }
        for client in &mut clients {
            match client.read_answer(Method::Allocate)? {
                Some((401, _)) => drop(client.learn()?),
                Some(error) => return Err(refused(error)),
                None => {}
            }
        }
        for client in &mut clients {
            client.ask(Method::Allocate, by_udp)?;
        }
        for client in &mut clients {
            if let Some(error) = client.read_answer(Method::Allocate)? {
                return Err(refused(error));
            }
            client.take_relayed()?;
        }
        Ok(clients)
    }

    fn new(link: Link, server: SocketAddr, credential: &Credential) -> Self {
        Client {
            link,
            server,
            relayed: SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0),
            credential: credential.clone(),
            challenge: None,
            request: Vec::new(),
            answer: Vec::new(),
        }
    }

    fn take_relayed(&mut self) -> Result<(), ClientError> {
        let message = Message::parse(&self.answer).ok();
        let relayed = message.and_then(|message| {
            let value = message.get(attr::XOR_RELAYED_ADDRESS)?;
            message.xor_address(value)
        });
        self.relayed = relayed.ok_or(ClientError::Malformed(Method::Allocate))?;
        Ok(())
    }

    /// Where peers send to.
    pub fn relayed(&self) -> SocketAddr {
        self.relayed
    }

    /// How it reaches the server.
    pub fn link(&self) -> &Link {
        &self.link
    }

    /// What is left of it when nothing more is to be asked for: the way to the server.
    pub fn into_link(self) -> Link {
        self.link
    }

    /// Lets what these peers' addresses send pass (RFC 8656 §10).
    pub fn permit(&mut self, peers: &[SocketAddr]) -> Result<(), ClientError> {
        self.request(Method::CreatePermission, |message| {
            for peer in peers {
                message.xor_address(attr::XOR_PEER_ADDRESS, *peer);
            }
        })
    }

    /// Binds a channel, from 0x4000 to 0x4FFF, to a peer (RFC 8656 §12), which permits it as well.
    pub fn bind_channel(&mut self, number: u16, peer: SocketAddr) -> Result<(), ClientError> {
        self.request(Method::ChannelBind, |message| {
            message.u32(attr::CHANNEL_NUMBER, u32::from(number) << 16);
            message.xor_address(attr::XOR_PEER_ADDRESS, peer);
        })
    }

    /// Sends to the peer of a channel (RFC 8656 §12.4).
    pub fn send(&mut self, number: u16, data: &[u8]) -> io::Result<()> {
        let header = channel::header(number, data.len()).ok_or(ErrorKind::InvalidInput)?;
        let mut message = [&header, data].concat();
        if !matches!(self.link, Link::Udp(_)) {
            message.resize(channel::padded_len(data.len()), 0);
        }
        self.link.send(&message)
    }

    /// What comes next of the peer of a channel; `TimedOut` when nothing does. What else arrives is dropped.
    pub fn receive(&mut self, number: u16, wait: Duration) -> io::Result<Vec<u8>> {
        let deadline = Instant::now() + wait;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(ErrorKind::TimedOut.into());
            }
            self.link.next(&mut self.answer, left)?;
            if let Some((found, data)) = channel::parse(&self.answer)
                && found == number
            {
                return Ok(self.answer[data].to_vec());
            }
        }
    }

    /// Ends the allocation (RFC 8656 §8).
    pub fn end(&mut self) -> Result<(), ClientError> {
        self.request(Method::Refresh, |message| message.u32(attr::LIFETIME, 0))
    }

    /// Leaves a success response in `answer`. A challenge is met once, as is a nonce that has grown old.
    fn request(
        &mut self,
        method: Method,
        fill: impl Fn(&mut Builder<'_>),
    ) -> Result<(), ClientError> {
        let mut met = false;
        loop {
            self.ask(method, &fill)?;
            let Some((code, reason)) = self.read_answer(method)? else {
                return Ok(());
            };
            if !matches!(code, 401 | 438) || (met && code == 401) || !self.learn()? {
                return Err(ClientError::Refused {
                    method,
                    code,
                    reason,
                });
            }
            met = true;
        }
    }

    fn ask(&mut self, method: Method, fill: impl Fn(&mut Builder<'_>)) -> Result<(), ClientError> {
        let id = rand::random();
        let mut message = Builder::new(&mut self.request, method, Class::Request, id);
        fill(&mut message);
        if let Some(challenge) = &self.challenge {
            message.text(attr::USERNAME, &self.credential.username);
            message.attribute(attr::REALM, &challenge.realm);
            message.attribute(attr::NONCE, &challenge.nonce);
            message.integrity(&challenge.key);
        }
        let sent = self.link.send(&self.request);
        sent.map_err(|error| self.no_answer(error))
    }

    fn no_answer(&self, error: io::Error) -> ClientError {
        match error.kind() {
            ErrorKind::TimedOut
            | ErrorKind::WouldBlock
            | ErrorKind::ConnectionRefused
            | ErrorKind::UnexpectedEof => ClientError::NoAnswer {
                server: self.server,
                transport: self.link.transport(),
            },
            _ => error.into(),
        }
    }

    /// Code and reason of an error response; `None` for success.
    fn read_answer(&mut self, method: Method) -> Result<Option<(u16, String)>, ClientError> {
        let waited = self.link.wait(&self.request, &mut self.answer);
        waited.map_err(|error| self.no_answer(error))?;
        let answer = Message::parse(&self.answer).map_err(|_| ClientError::Malformed(method))?;
        if answer.class() == Class::Success {
            return Ok(None);
        }
        match answer.find(attr::ERROR_CODE) {
            Some(Attribute {
                value: &[_, _, class, number, ref reason @ ..],
                ..
            }) => {
                let code = u16::from(class & 7) * 100 + u16::from(number);
                Ok(Some((code, String::from_utf8_lossy(reason).into_owned())))
            }
            _ => Err(ClientError::Malformed(method)),
        }
    }

    /// Takes realm and nonce out of an error response; false when they are those that it has.
    fn learn(&mut self) -> Result<bool, ClientError> {
        let malformed = ClientError::Malformed(Method::Allocate);
        let Ok(answer) = Message::parse(&self.answer) else {
            return Err(malformed);
        };
        let value = |kind| answer.find(kind).map(|attribute| attribute.value);
        let (Some(realm), Some(nonce)) = (value(attr::REALM), value(attr::NONCE)) else {
            return Err(malformed);
        };
        if let Some(known) = &self.challenge
            && known.nonce == nonce
        {
            return Ok(false);
        }
        let Credential { username, password } = &self.credential;
        let name = String::from_utf8_lossy(realm);
        self.challenge = Some(Challenge {
            realm: realm.to_vec(),
            nonce: nonce.to_vec(),
            key: Key::long_term(username, &name, password),
        });
        Ok(true)
    }
}

/// What an Allocate asks for.
fn by_udp(message: &mut Builder<'_>) {
    message.u32(attr::REQUESTED_TRANSPORT, TO_PEERS_BY_UDP);
}
