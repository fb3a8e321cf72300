//! The floor for clients over TCP: a process that passes the same packets on between the same streams and UDP sockets as a
//! relay would, and does nothing else. What it is told and says is as in `forward`.

use std::io::{self, BufRead, IoSlice, Read, Write};
use std::net::{IpAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;

use clap::Args;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use moznods_bench::client::udp_socket;
use moznods_bench::sys::{MAX_SEGMENTS, Outgoing, Receiver, Sender};
use moznods_turn::wire::channel;
use socket2::SockAddr;

use crate::forward::{Destinations, Listening, Way};

/// Bytes of a ChannelData header.
const HEADER: usize = channel::HEADER_LEN;
/// Datagrams read by one call.
const DATAGRAMS: usize = 64;
/// Bytes read from a stream by one call.
const READ: usize = 65_536;

/// What it is to be.
#[derive(Debug, Clone, Copy, Args)]
pub struct StreamForwarder {
    /// Which way packets go
    #[arg(long)]
    pub way: Way,
    /// Its address
    #[arg(long)]
    pub ip: IpAddr,
}

impl StreamForwarder {
    /// Its command line.
    pub fn arguments(self) -> Vec<String> {
        let way = match self.way {
            Way::Out => "out",
            Way::In => "in",
            Way::Across => "across",
        };
        vec![format!("--way={way}"), format!("--ip={}", self.ip)]
    }

    /// Takes as many streams as there are destinations, the first for the first, and runs until the standard input ends, which
    /// ends the process.
    pub fn run(self) -> io::Result<()> {
        let mut line = String::new();
        io::stdin().lock().read_line(&mut line)?;
        let destinations: Destinations = serde_json::from_str(&line)?;
        let count = destinations.addresses.len();
        let listener = TcpListener::bind((self.ip, 0))?;
        let relays = (0..count).map(|_| udp_socket(self.ip));
        let relays: Vec<UdpSocket> = relays.collect::<io::Result<_>>()?;
        let peers = relays.iter().map(UdpSocket::local_addr);
        let listening = Listening {
            clients: listener.local_addr()?,
            peers: peers.collect::<io::Result<_>>()?,
        };
        writeln!(io::stdout(), "{}", serde_json::json!(listening))?;
        std::thread::spawn(|| {
            let _ = io::stdin().lock().read_to_end(&mut Vec::new());
            std::process::exit(0);
        });
        let streams = (0..count).map(|_| {
            let (stream, _) = listener.accept()?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            Ok(stream)
        });
        let streams: Vec<TcpStream> = streams.collect::<io::Result<_>>()?;
        match self.way {
            Way::In => to_streams(&relays, &streams),
            _ => {
                let to = destinations.addresses.into_iter().map(SockAddr::from);
                to_peers(streams, &relays, &to.collect::<Vec<_>>())
            }
        }
    }
}

fn watch(sources: impl Iterator<Item = i32>) -> io::Result<Poll> {
    let poll = Poll::new()?;
    for (index, fd) in sources.enumerate() {
        let registry = poll.registry();
        registry.register(&mut SourceFd(&fd), Token(index), Interest::READABLE)?;
    }
    Ok(poll)
}

/// What a datagram socket has brought leaves by one call.
fn to_streams(relays: &[UdpSocket], streams: &[TcpStream]) -> io::Result<()> {
    for relay in relays {
        relay.set_nonblocking(true)?;
    }
    let mut poll = watch(relays.iter().map(AsRawFd::as_raw_fd))?;
    let mut events = Events::with_capacity(1024);
    let mut receiver = Receiver::with_headroom(DATAGRAMS, 2048, false, HEADER);
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            let index = event.token().0;
            while let Ok(count) = receiver.receive(&relays[index]) {
                let mut parts = [IoSlice::new(&[]); DATAGRAMS];
                for (number, part) in parts.iter_mut().enumerate().take(count) {
                    // Its header says nothing: who measures counts bytes.
                    *part = IoSlice::new(receiver.message_with_headroom(number));
                }
                // What finds no room is lost, and shows as loss.
                let _ = (&streams[index]).write_vectored(&parts[..count]);
                // Edge-triggered: whoever reads less than there is room for has read all.
                if count < DATAGRAMS {
                    break;
                }
            }
        }
    }
}

/// What a stream has brought leaves as one, cut by the kernel.
fn to_peers(mut streams: Vec<TcpStream>, relays: &[UdpSocket], to: &[SockAddr]) -> io::Result<()> {
    let mut poll = watch(streams.iter().map(AsRawFd::as_raw_fd))?;
    let mut events = Events::with_capacity(1024);
    let mut sender = Sender::new(1);
    let mut buffer = vec![0; READ];
    let mut held: Vec<Vec<u8>> = streams.iter().map(|_| Vec::with_capacity(READ)).collect();
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            let index = event.token().0;
            loop {
                let begin = held[index].len();
                buffer[..begin].copy_from_slice(&held[index]);
                held[index].clear();
                let Ok(read @ 1..) = streams[index].read(&mut buffer[begin..]) else {
                    held[index].extend_from_slice(&buffer[..begin]);
                    break;
                };
                let mut rest = &buffer[..begin + read];
                while let Some(whole) = rest.get(..frame(rest)) {
                    let size = whole.len();
                    let frames = rest.chunks_exact(size).take(MAX_SEGMENTS);
                    let mut parts = [IoSlice::new(&[]); MAX_SEGMENTS];
                    let mut used = 0;
                    for (part, frame) in parts.iter_mut().zip(frames) {
                        *part = IoSlice::new(&frame[HEADER..]);
                        used += 1;
                    }
                    let outgoing = Outgoing {
                        to: to.get(index),
                        parts: &parts[..used],
                        segment: (used > 1).then_some((size - HEADER) as u16),
                    };
                    let _ = sender.send(&relays[index], [outgoing]);
                    rest = &rest[used * size..];
                }
                held[index].extend_from_slice(rest);
                if begin + read < buffer.len() {
                    break;
                }
            }
        }
    }
}

/// Bytes of the frame that begins here, all of which are the same for one client.
fn frame(bytes: &[u8]) -> usize {
    match bytes.get(2..HEADER) {
        Some(&[high, low]) => channel::padded_len(usize::from(u16::from_be_bytes([high, low]))),
        _ => usize::MAX,
    }
}
