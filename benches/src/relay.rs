//! What a relay that is already running carries, as its clients see it: most packets a second, small as of voice and in
//! bursts as of video, and how late packets are at the pace of voice. Sends to itself alone.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::thread::sleep;
use std::time::{Duration, Instant};

use moznods_turn::wire::{Method, channel};

use crate::client::{Client, ClientError, Credential, Link, udp_socket};
use crate::load::{Delivered, Flow, Packet, Source};
use crate::stats::percentile;

/// Clients that are taken at most; they come in pairs.
pub const MAX_CLIENTS: u16 = 1000;
/// Seconds of each of the three measurements, at most.
pub const MAX_SECONDS: u16 = 60;

const FIRST_CHANNEL: u16 = 0x4000;
/// Bytes of a packet of voice and of video, and packets of one video frame.
const VOICE: usize = 160;
const VIDEO: usize = 1200;
const FRAME: usize = 8;
/// Datagrams on their way.
const WINDOW: u64 = 256;
/// Packets a second of one who talks.
const VOICE_RATE: f64 = 50.0;
/// Packets a second of one who is seen, with 1.5 Mbit/s.
const VIDEO_RATE: f64 = 1_500_000.0 / 8.0 / VIDEO as f64;
/// Part of the most that a machine passes on at which calls are still well.
const USABLE: f64 = 0.7;
const WARM_UP: Duration = Duration::from_millis(200);
/// For a server to learn of a new user.
const PATIENCE: Duration = Duration::from_secs(5);

/// What to measure.
#[derive(Debug, Clone)]
pub struct Target {
    /// Where clients send to.
    pub server: SocketAddr,
    /// Good there.
    pub credential: Credential,
    /// From 2 to [`MAX_CLIENTS`]; an odd one is left out.
    pub clients: u16,
    /// From 1 to [`MAX_SECONDS`].
    pub seconds: u16,
    /// An address of this machine at which packets arrive. `None`: clients send to each other's relayed addresses.
    pub peer: Option<IpAddr>,
}

/// What was found.
#[derive(Debug, Clone, Copy)]
pub struct Capacity {
    /// Small single packets.
    pub voice: Delivered,
    /// Bursts of large ones.
    pub video: Delivered,
    /// Of a packet of voice at the pace of voice, at the median and at the 99th of 100, in nanoseconds.
    pub delays: [u64; 2],
    /// Of packets at the pace of voice, from 0 to 1.
    pub loss: f64,
}

/// Why nothing was found.
#[derive(Debug, thiserror::Error)]
pub enum MeasureError {
    /// The server does not do what is asked.
    #[error("{0}")]
    Client(#[from] ClientError),
    /// It does not let clients send where the packets are to arrive.
    #[error(
        "the server refuses {peer} as a peer (403); expected a server that relays to itself, or, of a MOznoDS, \
         turn.allow_peers = \"{}/{}\" for the time of the measurement",
        peer.ip(),
        if peer.is_ipv4() { 32 } else { 128 }
    )]
    Peer {
        /// Where packets were to go.
        peer: SocketAddr,
    },
    /// It allows a user fewer allocations than there are to be clients.
    #[error(
        "the server allows its user fewer than {0} allocations (486); expected fewer --clients, or, of a MOznoDS, a \
         turn.max_allocations_per_user of so many"
    )]
    Quota(u16),
    /// Everything was taken and nothing came out.
    #[error(
        "none of the packets arrived; expected UDP to pass between this machine and {0} both ways"
    )]
    Silence(SocketAddr),
    /// A socket.
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl Capacity {
    /// Calls of two people by voice that fit, with some room left.
    pub fn voice_calls(&self) -> u64 {
        (USABLE / self.share_of_voice()) as u64
    }

    /// The same with video.
    pub fn video_calls(&self) -> u64 {
        let share = 2.0 * VIDEO_RATE / rate(&self.video).max(1.0);
        (USABLE / (share + self.share_of_voice())) as u64
    }

    /// Megabits a second that so many video calls take of the server's line, each way.
    pub fn video_mbit(&self) -> u64 {
        let bits = 2.0 * VIDEO_RATE * 8.0 * VIDEO as f64;
        (self.video_calls() as f64 * bits / 1e6) as u64
    }

    /// Part of the whole that one call by voice takes: two people, each of whom sends.
    fn share_of_voice(&self) -> f64 {
        2.0 * VOICE_RATE / rate(&self.voice).max(1.0)
    }
}

/// Datagrams a second.
pub fn rate(delivered: &Delivered) -> f64 {
    delivered.received as f64 / delivered.seconds.max(f64::MIN_POSITIVE)
}

/// Allocates, measures, and ends the allocations.
pub fn measure(target: &Target) -> Result<Capacity, MeasureError> {
    let mut clients = allocate(target).map_err(|error| match error {
        ClientError::Refused { code: 486, .. } => MeasureError::Quota(target.clients),
        error => error.into(),
    })?;
    let outcome = through(target, &mut clients);
    for client in &mut clients {
        // Otherwise it expires.
        let _ = client.end();
    }
    outcome
}

/// The first one waits until the server knows the user.
fn allocate(target: &Target) -> Result<Vec<Client>, ClientError> {
    let any: IpAddr = match target.server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let one = || {
        let link = Link::udp(any, target.server)?;
        Client::allocate(link, target.server, &target.credential)
    };
    let started = Instant::now();
    let first = loop {
        match one() {
            Err(ClientError::Refused { code: 401, .. }) if started.elapsed() < PATIENCE => {
                sleep(Duration::from_millis(100));
            }
            outcome => break outcome?,
        }
    };
    let mut clients = vec![first];
    for _ in 1..target.clients.clamp(2, MAX_CLIENTS) & !1 {
        match one() {
            Ok(client) => clients.push(client),
            Err(error) => {
                for client in &mut clients {
                    // Otherwise it expires.
                    let _ = client.end();
                }
                return Err(error);
            }
        }
    }
    Ok(clients)
}

fn through(target: &Target, clients: &mut [Client]) -> Result<Capacity, MeasureError> {
    let relays: Vec<SocketAddr> = clients.iter().map(Client::relayed).collect();
    let own = |ip| -> io::Result<_> {
        let socket = udp_socket(ip)?;
        Ok((socket.local_addr()?, socket))
    };
    let peers: Vec<(SocketAddr, UdpSocket)> = match target.peer {
        Some(ip) => relays.iter().map(|_| own(ip)).collect::<Result<_, _>>()?,
        None => Vec::new(),
    };
    for (index, client) in clients.iter_mut().enumerate() {
        let peer = peers
            .get(index)
            .map_or(relays[index ^ 1], |(address, _)| *address);
        let bound = client.bind_channel(FIRST_CHANNEL + index as u16, peer);
        bound.map_err(|error| match error {
            ClientError::Refused {
                method: Method::ChannelBind,
                code: 403,
                ..
            } => MeasureError::Peer { peer },
            other => other.into(),
        })?;
    }
    let flow = |size, burst| -> io::Result<Flow> {
        let sources = clients.iter().enumerate().map(|(index, client)| {
            let header = channel::header(FIRST_CHANNEL + index as u16, size);
            let mut datagram = header.unwrap_or_default().to_vec();
            datagram.resize(channel::HEADER_LEN + size, 0xA5);
            let packet = Packet::burst(None, &datagram, burst);
            Ok(Source::new(socket(client)?, vec![packet]))
        });
        let sinks: Vec<UdpSocket> = match peers.is_empty() {
            // What a client sends arrives at the other of its pair.
            true => (0..clients.len())
                .map(|index| socket(&clients[index ^ 1]))
                .collect::<io::Result<_>>()?,
            false => peers
                .iter()
                .map(|(_, peer)| peer.try_clone())
                .collect::<io::Result<_>>()?,
        };
        Ok(Flow {
            sources: sources.collect::<io::Result<_>>()?,
            sinks,
            length: size
                + if peers.is_empty() {
                    channel::HEADER_LEN
                } else {
                    0
                },
            window: WINDOW,
            dropped: false,
            pause: Duration::ZERO,
        })
    };
    let seconds = Duration::from_secs(target.seconds.clamp(1, MAX_SECONDS).into());
    let count = clients.len() as f64;
    let interval = Duration::from_secs_f64(1.0 / VOICE_RATE / count);
    let (sent, mut delays) = flow(VOICE, 1)?.pace(interval, seconds, || {}, || {})?;
    if delays.is_empty() {
        return Err(MeasureError::Silence(target.server));
    }
    let voice = flow(VOICE, 1)?.run(WARM_UP, seconds, || {}, || {})?;
    let video = flow(VIDEO, FRAME)?.run(WARM_UP, seconds, || {}, || {})?;
    Ok(Capacity {
        voice,
        video,
        delays: [50.0, 99.0].map(|percent| percentile(&mut delays, percent)),
        loss: 1.0 - delays.len().min(sent as usize) as f64 / sent.max(1) as f64,
    })
}

fn socket(client: &Client) -> io::Result<UdpSocket> {
    match client.link() {
        Link::Udp(socket) => socket.try_clone(),
        Link::Tcp(_) | Link::Tls(_) => Err(io::ErrorKind::Unsupported.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_what_fits_with_room_left() {
        let at = |received| Delivered {
            sent: received,
            received,
            arrived: received,
            seconds: 2.0,
        };
        let mut capacity = Capacity {
            voice: at(20_000),
            video: at(62_500),
            delays: [1, 2],
            loss: 0.0,
        };
        // 10,000 packets a second, of which a call takes 100.
        assert_eq!(capacity.voice_calls(), 70);
        // And of 31,250 it takes 312.5.
        assert_eq!(capacity.video_calls(), 35);
        capacity.voice = at(0);
        assert_eq!(capacity.voice_calls(), 0);
    }
}
