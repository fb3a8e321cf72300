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
        pass(self.way, &listener, &relays, &destinations)
    }
}

fn pass(
    way: Way,
    listener: &TcpListener,
    relays: &[UdpSocket],
    destinations: &Destinations,
) -> io::Result<()> {
    let streams = destinations.addresses.iter().map(|_| {
        let (stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(stream)
    });
    let streams: Vec<TcpStream> = streams.collect::<io::Result<_>>()?;
    match way {
        Way::In => to_streams(relays, &streams),
        _ => {
            let to = destinations.addresses.iter().copied().map(SockAddr::from);
            to_peers(streams, relays, &to.collect::<Vec<_>>())
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use moznods_bench::client::Link;
    use moznods_bench::load::Packet;
    use moznods_bench::streams::{self, StreamFlow};

    use super::*;
    use crate::forward::FIRST_CHANNEL;

    const LOOPBACK: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const COUNT: usize = 3;
    const SIZE: usize = 160;

    fn sockets() -> Vec<UdpSocket> {
        (0..COUNT).map(|_| udp_socket(LOOPBACK).unwrap()).collect()
    }

    #[test]
    fn what_streams_bring_reaches_peers_and_what_peers_send_reaches_streams() {
        for way in [Way::Out, Way::In] {
            let (relays, mut peers) = (sockets(), sockets());
            let address = |socket: &UdpSocket| socket.local_addr().unwrap();
            let destinations = Destinations {
                addresses: peers.iter().map(address).collect(),
            };
            let to: Vec<_> = relays.iter().map(address).collect();
            let listener = TcpListener::bind((LOOPBACK, 0)).unwrap();
            let server = listener.local_addr().unwrap();
            std::thread::spawn(move || pass(way, &listener, &relays, &destinations));
            let clients = (0..COUNT).map(|_| Link::tcp(LOOPBACK, server).unwrap());
            let (ends, length) = match way {
                Way::In => {
                    let packets = to
                        .iter()
                        .map(|to| Packet::burst(Some((*to).into()), &[0xA5; SIZE], 1));
                    let (peer, packets) = (peers.remove(0), packets.collect());
                    (streams::Way::In { peer, packets }, HEADER + SIZE)
                }
                _ => {
                    let frames = (0..COUNT).map(|index| {
                        let header = channel::header(FIRST_CHANNEL + index as u16, SIZE);
                        [&header.unwrap()[..], &[0xA5; SIZE]].concat()
                    });
                    let frames = frames.collect();
                    (streams::Way::Out { frames, peers }, SIZE)
                }
            };
            let mut flow = StreamFlow::new(clients.collect(), ends, length, 30).unwrap();
            let short = Duration::from_millis(20);
            let delivered = flow.run(short, short, || {}, || {}).unwrap();
            assert!(delivered.arrived > 0);
            assert_eq!(delivered.arrived, delivered.sent);
        }
    }
}
