//! Whether a relay does what it is for: two clients of it, and a word from each to the other, through both of their
//! allocations.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;

use crate::client::{Client, ClientError, Credential, Link};

const CHANNEL: u16 = 0x4000;
/// First wait for a word; doubled at each attempt.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const ATTEMPTS: u32 = 4;

/// Between clients and server.
#[derive(Debug, Clone)]
pub enum Transport {
    /// Datagrams
    Udp,
    /// TURN over TCP
    Tcp,
    /// TURN over TLS
    Tls(Arc<ClientConfig>),
}

/// Why no word came through.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The server.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// Everything was allowed, and nothing arrived.
    #[error("what was sent to {0} did not arrive")]
    Silence(SocketAddr),
}

impl From<io::Error> for ProbeError {
    fn from(error: io::Error) -> Self {
        ProbeError::Client(error.into())
    }
}

/// Allocates twice, sends both ways, and ends the allocations. Streams begin with `beginning`. Blocks for some seconds when nothing is answered.
pub fn round_trip(
    server: SocketAddr,
    transport: &Transport,
    credential: &Credential,
    beginning: &[u8],
) -> Result<(), ProbeError> {
    let client = || {
        let any: IpAddr = match server {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let link = match transport {
            Transport::Udp => Link::udp(any, server),
            Transport::Tcp => Link::tcp(any, server),
            Transport::Tls(config) => Link::tls(any, server, Arc::clone(config)),
        };
        let mut link = link?;
        link.begin_with(beginning)?;
        Client::allocate(link, server, credential)
    };
    let mut one = client()?;
    let outcome = client().map_err(ProbeError::from).and_then(|mut other| {
        let outcome = both_ways(&mut one, &mut other);
        // Otherwise it expires.
        let _ = other.end();
        outcome
    });
    let _ = one.end();
    outcome
}

fn both_ways(one: &mut Client, other: &mut Client) -> Result<(), ProbeError> {
    one.bind_channel(CHANNEL, other.relayed())?;
    other.bind_channel(CHANNEL, one.relayed())?;
    passes(one, other)?;
    passes(other, one)
}

fn passes(from: &mut Client, to: &mut Client) -> Result<(), ProbeError> {
    let word: [u8; 12] = rand::random();
    let mut wait = FIRST_WAIT;
    for _ in 0..ATTEMPTS {
        from.send(CHANNEL, &word)?;
        match to.receive(CHANNEL, wait) {
            Ok(heard) if heard == word => return Ok(()),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::TimedOut => {}
            Err(error) => return Err(error.into()),
        }
        wait *= 2;
    }
    Err(ProbeError::Silence(to.relayed()))
}
