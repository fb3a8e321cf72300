//! Connections that a balancer passes on as they are: whose each is stands in the PROXY header with which it begins.

use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use moznods_turn::net::proxied::{self, Found, HEADER_WAIT, Header, MAX_HEADER};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::accept::{Arrived, PAUSE};
use super::{Edge, client};

/// Between two complaints of balancers.
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);

/// The same, of whom the balancer says that he has connected to it; `None`: it is to be closed. Where no balancer has
/// connected, nothing is read.
pub(super) async fn told(
    mut arrived: Arrived,
    edge: &Arc<Edge>,
    mut serving: watch::Receiver<()>,
) -> Option<Arrived> {
    let balancer = arrived.way.peer.ip().to_canonical();
    if !client::is_balancer(edge, balancer) {
        return Some(arrived);
    }
    let header = tokio::select! {
        header = timeout(HEADER_WAIT, read(&mut arrived.stream)) => header,
        _ = serving.changed() => return None,
    };
    match header.unwrap_or_else(|_| Err(ErrorKind::TimedOut.into())) {
        Ok(header) => {
            arrived.way.is_secure = header.is_secure;
            arrived.way.is_balanced = true;
            if let Some(peer) = header.client {
                arrived.way.peer = peer;
                let counted = client::counted(edge, peer.ip());
                arrived.seat = edge.connections.seat(counted, PAUSE).ok()?;
            }
            Some(arrived)
        }
        // Only whether somebody is here was asked.
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => None,
        Err(error) => {
            edge.balancers.complain(balancer, &error);
            None
        }
    }
}

/// Reads the header, and nothing of what follows.
async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Header> {
    let mut bytes = [0; MAX_HEADER];
    let mut come = 0;
    loop {
        let begun = bytes.get(..come).unwrap_or_default();
        let missing = match proxied::parse(begun).map_err(io::Error::other)? {
            Found::Whole(header, _) => return Ok(header),
            Found::Missing(missing) => missing,
        };
        let room = bytes.get_mut(come..come + missing).unwrap_or_default();
        match stream.read(room).await? {
            0 if come == 0 => return Err(ErrorKind::UnexpectedEof.into()),
            0 => return Err(io::Error::other("it ends within its PROXY header")),
            count => come += count,
        }
    }
}

/// What is said of balancers that do not send what they should.
#[derive(Default)]
pub(super) struct Complaints(Mutex<Option<Instant>>);

impl Complaints {
    fn complain(&self, balancer: IpAddr, error: &io::Error) {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_none_or(|last| last.elapsed() >= COMPLAIN_EVERY) {
            *last = Some(Instant::now());
            tracing::warn!(
                %balancer, %error,
                "a connection from a network in http.proxy_protocol does not begin with a PROXY header, and is closed"
            );
        }
    }
}
