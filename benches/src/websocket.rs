//! WebSocket clients, many of them in one thread: as little work for each frame as there can be, so that the load does not
//! cost more than what it measures.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};
use socket2::{Domain, Socket, Type};

/// RFC 6455 §5.2.
const TEXT: u8 = 0x81;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0x8A;

/// All clients of one server.
#[derive(Debug)]
pub struct Fleet {
    poll: Poll,
    events: Events,
    sockets: Vec<Client>,
    buffer: Vec<u8>,
}

#[derive(Debug)]
struct Client {
    stream: mio::net::TcpStream,
    /// The beginning of a frame whose rest has yet to come.
    rest: Vec<u8>,
}

impl Fleet {
    pub fn new() -> io::Result<Self> {
        Ok(Fleet {
            poll: Poll::new()?,
            events: Events::with_capacity(1024),
            sockets: Vec::new(),
            buffer: vec![0; 64 * 1024],
        })
    }

    /// Opens one more, at `path`.
    pub fn connect(&mut self, from: IpAddr, to: SocketAddr, path: &str) -> io::Result<()> {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
        socket.bind(&SocketAddr::new(from, 0).into())?;
        socket.connect(&to.into())?;
        socket.set_tcp_nodelay(true)?;
        let mut stream = TcpStream::from(socket);
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: {to}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: bWVhc3VyZWQgb24gbG9vcA==\r\n\r\n"
        )?;
        let (head, rest) = read_head(&mut stream)?;
        if !head.starts_with(b"HTTP/1.1 101") {
            let head = String::from_utf8_lossy(&head).into_owned();
            return Err(io::Error::other(format!("{path}: {head}")));
        }
        stream.set_nonblocking(true)?;
        let mut stream = mio::net::TcpStream::from_std(stream);
        let token = Token(self.sockets.len());
        self.poll
            .registry()
            .register(&mut stream, token, Interest::READABLE)?;
        self.sockets.push(Client { stream, rest });
        Ok(())
    }

    pub fn send(&mut self, client: usize, text: &str) -> io::Result<()> {
        write_frame(&mut self.sockets[client].stream, TEXT, text.as_bytes())
    }

    /// Waits for frames up to `patience`, and hands over all that have come: whose, and the text. Pings are answered.
    pub fn receive(
        &mut self,
        patience: Duration,
        mut on_frame: impl FnMut(usize, &[u8]),
    ) -> io::Result<()> {
        match self.poll.poll(&mut self.events, Some(patience)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        for event in &self.events {
            let index = event.token().0;
            let client = &mut self.sockets[index];
            loop {
                let held = client.rest.len();
                self.buffer[..held].copy_from_slice(&client.rest);
                let read = match client.stream.read(&mut self.buffer[held..]) {
                    Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                    Ok(read) => read,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error),
                };
                let filled = held + read;
                let mut at = 0;
                while let Some((opcode, payload)) = frame(&self.buffer[at..filled]) {
                    let payload = at + payload.start..at + payload.end;
                    let text = &self.buffer[payload.clone()];
                    match opcode {
                        PING => write_frame(&mut client.stream, PONG, text)?,
                        CLOSE => {
                            let why = String::from_utf8_lossy(text.get(2..).unwrap_or_default());
                            return Err(io::Error::other(format!("closed: {why}")));
                        }
                        _ => on_frame(index, text),
                    }
                    at = payload.end;
                }
                client.rest.clear();
                client.rest.extend_from_slice(&self.buffer[at..filled]);
                // What has come since tells of itself again only once all has been read.
                if filled < self.buffer.len() {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Hands over what comes until nothing has for `quiet`.
    pub fn settle(&mut self, quiet: Duration) -> io::Result<()> {
        let mut last = Instant::now();
        while last.elapsed() < quiet {
            self.receive(quiet, |_, _| last = Instant::now())?;
        }
        Ok(())
    }
}

/// Opcode and payload of the first frame, if it is whole. Servers do not mask.
fn frame(bytes: &[u8]) -> Option<(u8, std::ops::Range<usize>)> {
    let (start, length) = match *bytes.get(1)? & 0x7F {
        126 => {
            let length = bytes.get(2..4)?.try_into().ok()?;
            (4, usize::from(u16::from_be_bytes(length)))
        }
        127 => {
            let length = bytes.get(2..10)?.try_into().ok()?;
            (10, usize::try_from(u64::from_be_bytes(length)).ok()?)
        }
        length => (2, usize::from(length)),
    };
    let end = start + length;
    (bytes.len() >= end).then(|| (bytes[0] & 0x0F, start..end))
}

/// Masked by zeroes, which leave all as it is.
fn write_frame(stream: &mut mio::net::TcpStream, first: u8, payload: &[u8]) -> io::Result<()> {
    let mut bytes = vec![first];
    match u16::try_from(payload.len()) {
        Ok(length) if length < 126 => bytes.push(0x80 | length as u8),
        Ok(length) => {
            bytes.push(0x80 | 126);
            bytes.extend(length.to_be_bytes());
        }
        Err(_) => return Err(io::ErrorKind::InvalidInput.into()),
    }
    bytes.extend([0; 4]);
    bytes.extend(payload);
    stream.write_all(&bytes)
}

/// What comes up to the empty line, and what comes after it.
pub fn read_head(stream: &mut TcpStream) -> io::Result<(Vec<u8>, Vec<u8>)> {
    let mut head = Vec::new();
    let mut part = [0; 4096];
    loop {
        if let Some(end) = head.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            let rest = head.split_off(end + 4);
            return Ok((head, rest));
        }
        match stream.read(&mut part)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => head.extend_from_slice(&part[..read]),
        }
    }
}
