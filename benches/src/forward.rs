//! The floor: a process that passes the same datagrams on from and to the same sockets as a relay would, and does
//! nothing else. It reads from its standard input where clients and peers are, says on its standard output where it
//! listens, and ends when its standard input does.

use std::io::{self, BufRead, IoSlice, Read, Write};
use std::net::{IpAddr, SocketAddr, UdpSocket};

use clap::{Args, ValueEnum};
use mio::{Events, Interest, Poll, Token};
use moznods_bench::client::udp_socket;
use moznods_bench::sys::{self, MAX_SEGMENTS, Outgoing, Receiver, Sender};
use serde::{Deserialize, Serialize};
use socket2::SockAddr;

/// Bytes of a ChannelData header, which the relay takes off or puts on.
const HEADER: usize = 4;
/// What the datagrams begin with is this and the index of their client.
pub const FIRST_CHANNEL: u16 = 0x4000;
/// Messages read by one call: single datagrams, and bursts.
const SINGLES: usize = 64;
const BURSTS: usize = 16;

/// How it moves packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Engine {
    /// `recvmmsg`, `sendmmsg`
    Mmsg,
    /// The same, with UDP GRO in and GSO out
    Gso,
}

/// What it has in place of relay sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Sockets {
    /// One for all
    One,
    /// One for each client, as a relay must
    Each,
}

/// Which way packets go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Way {
    /// From clients to peers
    Out,
    /// From peers to clients
    In,
    /// From one client to another
    Across,
}

/// What it is to be.
#[derive(Debug, Clone, Copy, Args)]
pub struct Forwarder {
    /// How it moves packets
    #[arg(long)]
    pub engine: Engine,
    /// What it has in place of relay sockets
    #[arg(long)]
    pub sockets: Sockets,
    /// Which way packets go
    #[arg(long)]
    pub way: Way,
    /// Its address
    #[arg(long)]
    pub ip: IpAddr,
}

/// Where its packets go: by the number they begin with, less [`FIRST_CHANNEL`].
#[derive(Debug, Serialize, Deserialize)]
pub struct Destinations {
    pub addresses: Vec<SocketAddr>,
}

/// Where it listens.
#[derive(Debug, Serialize, Deserialize)]
pub struct Listening {
    /// For clients.
    pub clients: SocketAddr,
    /// For the peer of each client; the same for all where there is one socket.
    pub peers: Vec<SocketAddr>,
}

impl Forwarder {
    /// Its command line.
    pub fn arguments(self) -> Vec<String> {
        let name = |value: clap::builder::PossibleValue| value.get_name().to_owned();
        let named = [
            ("engine", self.engine.to_possible_value().map(name)),
            ("sockets", self.sockets.to_possible_value().map(name)),
            ("way", self.way.to_possible_value().map(name)),
            ("ip", Some(self.ip.to_string())),
        ];
        named
            .into_iter()
            .map(|(option, value)| format!("--{option}={}", value.unwrap_or_default()))
            .collect()
    }

    /// Runs until the standard input ends, which ends the process.
    pub fn run(self) -> io::Result<()> {
        let mut line = String::new();
        io::stdin().lock().read_line(&mut line)?;
        let destinations: Destinations = serde_json::from_str(&line)?;
        let forwarding = Forwarding::open(self, &destinations)?;
        writeln!(
            io::stdout(),
            "{}",
            serde_json::json!(forwarding.listening()?)
        )?;
        std::thread::spawn(|| {
            let _ = io::stdin().lock().read_to_end(&mut Vec::new());
            std::process::exit(0);
        });
        forwarding.run()
    }
}

/// Its sockets, open.
pub struct Forwarding {
    what: Forwarder,
    clients: UdpSocket,
    relays: Vec<UdpSocket>,
    destinations: Vec<SockAddr>,
}

impl Forwarding {
    pub fn open(what: Forwarder, destinations: &Destinations) -> io::Result<Self> {
        let destinations: Vec<SockAddr> = destinations
            .addresses
            .iter()
            .map(|&address| address.into())
            .collect();
        let relays = match what.sockets {
            Sockets::One => 1,
            Sockets::Each => destinations.len(),
        };
        let open = || {
            let socket = udp_socket(what.ip)?;
            if what.engine == Engine::Gso {
                sys::set_gro(&socket)?;
            }
            Ok(socket)
        };
        Ok(Forwarding {
            what,
            clients: open()?,
            relays: (0..relays).map(|_| open()).collect::<io::Result<_>>()?,
            destinations,
        })
    }

    pub fn listening(&self) -> io::Result<Listening> {
        let peers: Vec<SocketAddr> = self
            .relays
            .iter()
            .map(UdpSocket::local_addr)
            .collect::<io::Result<_>>()?;
        Ok(Listening {
            clients: self.clients.local_addr()?,
            peers: peers
                .iter()
                .cycle()
                .take(self.destinations.len())
                .copied()
                .collect(),
        })
    }

    pub fn run(self) -> io::Result<()> {
        let gro = self.what.engine == Engine::Gso;
        let (count, length) = match gro {
            true => (BURSTS, 65_536),
            false => (SINGLES, 2048),
        };
        let mut receiver = Receiver::with_headroom(count, length, gro, HEADER);
        let mut sender = Sender::new(count);
        if self.what.way != Way::In || self.relays.len() == 1 {
            let socket = match self.what.way {
                Way::In => &self.relays[0],
                _ => &self.clients,
            };
            loop {
                let count = receiver.receive(socket)?;
                self.pass(&mut sender, &receiver, count);
            }
        }
        let mut poll = Poll::new()?;
        let mut relays = Vec::new();
        for (index, relay) in self.relays.iter().enumerate() {
            relay.set_nonblocking(true)?;
            let mut relay = mio::net::UdpSocket::from_std(relay.try_clone()?);
            poll.registry()
                .register(&mut relay, Token(index), Interest::READABLE)?;
            relays.push(relay);
        }
        let mut events = Events::with_capacity(1024);
        loop {
            poll.poll(&mut events, None)?;
            for event in &events {
                while let Ok(received) = receiver.receive(&relays[event.token().0]) {
                    self.pass(&mut sender, &receiver, received);
                    // Edge-triggered: whoever reads less than there is room for has read all.
                    if received < count {
                        break;
                    }
                }
            }
        }
    }

    /// Sends the first `count` messages on. What cannot be sent is dropped, and shows as loss.
    fn pass(&self, sender: &mut Sender, receiver: &Receiver, count: usize) {
        let mut parts: [IoSlice<'_>; 2 * MAX_SEGMENTS] = [IoSlice::new(&[]); 2 * MAX_SEGMENTS];
        if self.what.engine == Engine::Gso {
            for index in 0..count {
                self.pass_burst(sender, receiver, index, &mut parts);
            }
            return;
        }
        let numbers: [usize; SINGLES] = std::array::from_fn(|index| match index < count {
            true => number(receiver.message(index).bytes),
            false => usize::MAX,
        });
        for (index, part) in parts.iter_mut().enumerate().take(count) {
            *part = IoSlice::new(match self.what.way {
                Way::Out => receiver.message(index).bytes.get(HEADER..).unwrap_or(&[]),
                Way::Across => receiver.message(index).bytes,
                Way::In => receiver.message_with_headroom(index),
            });
        }
        let outgoing = |index: usize| Outgoing {
            to: self.destinations.get(numbers[index]),
            parts: std::slice::from_ref(&parts[index]),
            segment: None,
        };
        let mut done = 0;
        while done < count {
            let socket = self.leaving(numbers[done]);
            // With a socket for each client, a call takes the packets that follow each other on one of them.
            let end = match self.what.way == Way::Out && self.relays.len() > 1 {
                true => (done..count)
                    .find(|&index| numbers[index] != numbers[done])
                    .unwrap_or(count),
                false => count,
            };
            done += sender
                .send(socket, (done..end).map(outgoing))
                .unwrap_or(1)
                .max(1);
        }
    }

    /// One message of several datagrams, as one.
    fn pass_burst<'a>(
        &self,
        sender: &mut Sender,
        receiver: &'a Receiver,
        index: usize,
        parts: &mut [IoSlice<'a>; 2 * MAX_SEGMENTS],
    ) {
        let message = receiver.message(index);
        let number = number(message.bytes);
        let socket = self.leaving(number);
        let mut used = 0;
        let segment = match self.what.way {
            Way::Across => {
                parts[0] = IoSlice::new(message.bytes);
                used = 1;
                message.stride
            }
            Way::Out => {
                for datagram in message.bytes.chunks(message.stride).take(MAX_SEGMENTS) {
                    parts[used] = IoSlice::new(datagram.get(HEADER..).unwrap_or(&[]));
                    used += 1;
                }
                message.stride.saturating_sub(HEADER)
            }
            Way::In => {
                for datagram in message.bytes.chunks(message.stride).take(MAX_SEGMENTS) {
                    parts[used] = IoSlice::new(&[0; HEADER]);
                    parts[used + 1] = IoSlice::new(datagram);
                    used += 2;
                }
                message.stride + HEADER
            }
        };
        let several = message.datagrams() > 1;
        let outgoing = Outgoing {
            to: self.destinations.get(number),
            parts: &parts[..used],
            segment: several.then_some(segment as u16),
        };
        let _ = sender.send(socket, [outgoing]);
    }

    fn leaving(&self, number: usize) -> &UdpSocket {
        match self.what.way {
            Way::Out if self.relays.len() > 1 => self.relays.get(number).unwrap_or(&self.clients),
            Way::Out => &self.relays[0],
            _ => &self.clients,
        }
    }
}

/// The index of the client that a datagram names.
fn number(bytes: &[u8]) -> usize {
    match bytes.first_chunk() {
        Some(first) => usize::from(u16::from_be_bytes(*first).wrapping_sub(FIRST_CHANNEL)),
        None => usize::MAX,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use moznods_bench::load::{Flow, Packet, Source};

    use super::*;

    const LOOPBACK: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const COUNT: usize = 3;

    /// Sends bursts of `burst` datagrams of `size` bytes through a forwarder, and expects `arriving` bytes of each.
    fn passes(
        engine: Engine,
        sockets: Sockets,
        way: Way,
        burst: usize,
        size: usize,
        arriving: usize,
    ) {
        let sinks: Vec<UdpSocket> = (0..COUNT).map(|_| udp_socket(LOOPBACK).unwrap()).collect();
        let addresses = sinks.iter().map(|sink| sink.local_addr().unwrap());
        let destinations = Destinations {
            addresses: addresses.collect(),
        };
        let what = Forwarder {
            engine,
            sockets,
            way,
            ip: LOOPBACK,
        };
        let forwarding = Forwarding::open(what, &destinations).unwrap();
        let listening = forwarding.listening().unwrap();
        std::thread::spawn(move || forwarding.run());
        let sources = (0..COUNT).map(|index| {
            let to = match way {
                Way::In => listening.peers[index],
                _ => listening.clients,
            };
            let mut datagram = vec![0; size];
            datagram[..2].copy_from_slice(&(FIRST_CHANNEL + index as u16).to_be_bytes());
            let packet = Packet::burst(Some(to.into()), &datagram, burst);
            Source::new(udp_socket(LOOPBACK).unwrap(), vec![packet])
        });
        let flow = Flow {
            sources: sources.collect(),
            sinks,
            length: arriving,
            window: 30,
            dropped: false,
            pause: Duration::ZERO,
        };
        let short = Duration::from_millis(20);
        let delivered = flow.run(short, short, || {}, || {}).unwrap();
        assert!(delivered.arrived > 0);
        assert_eq!(delivered.arrived, delivered.sent);
    }

    #[test]
    fn each_kind_of_forwarder_passes_each_kind_of_traffic_on() {
        for sockets in [Sockets::One, Sockets::Each] {
            for (engine, burst) in [(Engine::Mmsg, 1), (Engine::Gso, 1), (Engine::Gso, 8)] {
                passes(engine, sockets, Way::Out, burst, 164, 160);
                passes(engine, sockets, Way::In, burst, 160, 164);
                passes(engine, sockets, Way::Across, burst, 164, 164);
            }
        }
    }

    #[test]
    fn what_names_no_client_goes_nowhere() {
        assert_eq!(number(&[0x40, 0x02, 9]), 2);
        assert!(number(&[0x3F, 0xFF]) > usize::from(u16::MAX) / 2);
        assert_eq!(number(&[1]), usize::MAX);
    }
}
