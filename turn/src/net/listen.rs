//! The sockets at which clients arrive: one UDP and one TCP socket per worker and address family.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;

use ipnet::IpNet;
use rustls::ServerConfig;
use rustls::server::ResolvesServerCert;
use socket2::{Domain, Protocol, Socket, Type};

use super::tls;

/// Kernel buffers of the UDP sockets that all clients share, in bytes; the kernel caps it at `rmem_max`.
pub const UDP_BUFFER: usize = 4 << 20;
const BACKLOG: i32 = 1024;
/// Of peers that connect to one allocation.
const RELAY_BACKLOG: i32 = 64;
/// Tries to find a port that is free for UDP and TCP alike, when any will do.
const ANY_PORT_ATTEMPTS: usize = 16;

/// Workers of one relay.
pub const MAX_WORKERS: usize = 256;

/// Sockets of one worker.
#[derive(Debug)]
pub(super) struct WorkerSockets {
    pub udp: Vec<UdpSocket>,
    pub tcp: Vec<TcpListener>,
    /// For TLS.
    pub tls: Vec<TcpListener>,
}

/// All sockets of a relay, bound and not yet served.
#[derive(Debug)]
pub struct Listeners {
    pub(super) workers: Vec<WorkerSockets>,
    address: SocketAddr,
    pub(super) tls: Option<(SocketAddr, Arc<ServerConfig>)>,
    pub(super) balancers: Vec<IpNet>,
}

/// A listening address that cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} ({transport}): {source}")]
pub struct BindError {
    /// The one asked for.
    pub address: SocketAddr,
    /// `UDP`, `TCP` or `TLS`
    pub transport: &'static str,
    /// What the system said.
    pub source: io::Error,
}

impl Listeners {
    /// Binds `address` for UDP and TCP, `workers` times (at least once, at most
    /// [`MAX_WORKERS`] times). `[::]` means IPv4 as well; a machine
    /// without IPv6 is served over IPv4 alone. Port 0: any that is free.
    pub fn bind(address: SocketAddr, workers: usize) -> Result<Self, BindError> {
        if address.port() != 0 {
            return Self::bind_port(address, workers);
        }
        let mut outcome = Self::bind_port(any_port(address)?, workers);
        for _ in 1..ANY_PORT_ATTEMPTS {
            if outcome.is_ok() {
                break;
            }
            outcome = Self::bind_port(any_port(address)?, workers);
        }
        outcome
    }

    fn bind_port(address: SocketAddr, workers: usize) -> Result<Self, BindError> {
        let families = available(address, &[Kind::Udp, Kind::Tcp])?;
        let one_worker = || {
            Ok(WorkerSockets {
                udp: bind_all(&families, udp)?,
                tcp: bind_all(&families, |address| tcp(address, Kind::Tcp))?,
                tls: Vec::new(),
            })
        };
        Ok(Listeners {
            workers: (0..workers.clamp(1, MAX_WORKERS))
                .map(|_| one_worker())
                .collect::<Result<_, _>>()?,
            address,
            tls: None,
            balancers: Vec::new(),
        })
    }

    /// Binds another port of the same addresses, for UDP and TCP as well: the alternate one of
    /// [`Discovery`](crate::server::Discovery).
    pub fn with_port(mut self, port: u16) -> Result<Self, BindError> {
        let address = SocketAddr::new(self.address.ip(), port);
        let families = available(address, &[Kind::Udp, Kind::Tcp])?;
        for worker in &mut self.workers {
            worker.udp.extend(bind_all(&families, udp)?);
            let plain = |address| tcp(address, Kind::Tcp);
            worker.tcp.extend(bind_all(&families, plain)?);
        }
        Ok(self)
    }

    /// Binds `address` for TLS over TCP as well. Port 0: any that is free.
    pub fn with_tls(
        mut self,
        mut address: SocketAddr,
        certificate: &Arc<impl ResolvesServerCert + 'static>,
    ) -> Result<Self, BindError> {
        let failed = |source| BindError {
            address,
            transport: Kind::Tls.name(),
            source,
        };
        let config = tls::server_config(Arc::clone(certificate) as _);
        let config = config.map_err(|why| failed(io::Error::other(why)))?;
        if address.port() == 0 {
            let ip = families(address)
                .first()
                .map_or(address.ip(), SocketAddr::ip);
            let free = TcpListener::bind((ip, 0)).and_then(|listener| listener.local_addr());
            address.set_port(free.map_err(failed)?.port());
        }
        let families = available(address, &[Kind::Tls])?;
        for worker in &mut self.workers {
            worker.tls = bind_all(&families, |address| tcp(address, Kind::Tls))?;
        }
        self.tls = Some((address, config));
        Ok(self)
    }

    /// Streams from these networks begin with a header of the [PROXY protocol](super::proxied), in which a balancer says
    /// whose each is; one without it is closed. From elsewhere none is taken.
    pub fn behind(mut self, balancers: Vec<IpNet>) -> Self {
        self.balancers = balancers;
        self
    }

    /// Where clients arrive over TLS, if they can.
    pub fn tls_address(&self) -> Option<SocketAddr> {
        self.tls.as_ref().map(|(address, _)| *address)
    }

    /// Where clients arrive: as asked for, with the port that was found.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// The addresses to bind for one of the settings.
fn families(address: SocketAddr) -> Vec<SocketAddr> {
    if address.ip() == Ipv6Addr::UNSPECIFIED {
        vec![(Ipv4Addr::UNSPECIFIED, address.port()).into(), address]
    } else {
        vec![address]
    }
}

fn is_no_ipv6(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL)
    )
}

fn any_port(address: SocketAddr) -> Result<SocketAddr, BindError> {
    let ip = families(address)
        .first()
        .map_or(address.ip(), SocketAddr::ip);
    let port = UdpSocket::bind((ip, 0))
        .and_then(|socket| socket.local_addr())
        .map_err(|source| BindError {
            address,
            transport: "UDP",
            source,
        })?
        .port();
    Ok(SocketAddr::new(address.ip(), port))
}

/// What a socket is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Udp,
    Tcp,
    Tls,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Udp => "UDP",
            Kind::Tcp => "TCP",
            Kind::Tls => "TLS",
        }
    }
}

fn bind_all<T>(
    families: &[SocketAddr],
    bind: impl Fn(SocketAddr) -> Result<T, BindError>,
) -> Result<Vec<T>, BindError> {
    families.iter().map(|address| bind(*address)).collect()
}

/// The addresses to bind for a setting, all of them free. Sockets of workers would share a port with those of another
/// program of the same user, so this asks without SO_REUSEPORT.
fn available(address: SocketAddr, kinds: &[Kind]) -> Result<Vec<SocketAddr>, BindError> {
    let mut families = families(address);
    let several = families.len() > 1;
    let mut without_ipv6 = false;
    for family in &families {
        for kind in kinds {
            match probe(*family, *kind) {
                Err(error) if several && family.is_ipv6() && is_no_ipv6(&error.source) => {
                    without_ipv6 = true;
                }
                outcome => outcome?,
            }
        }
    }
    families.retain(|family| !without_ipv6 || family.is_ipv4());
    Ok(families)
}

fn probe(address: SocketAddr, kind: Kind) -> Result<(), BindError> {
    let bind = || -> io::Result<()> {
        let socket = match kind {
            Kind::Udp => Socket::new(
                Domain::for_address(address),
                Type::DGRAM,
                Some(Protocol::UDP),
            )?,
            _ => Socket::new(
                Domain::for_address(address),
                Type::STREAM,
                Some(Protocol::TCP),
            )?,
        };
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        // A listener that was just closed leaves connections behind that must not count.
        socket.set_reuse_address(kind != Kind::Udp)?;
        socket.bind(&address.into())?;
        if kind == Kind::Udp {
            Ok(())
        } else {
            socket.listen(1)
        }
    };
    bind().map_err(|source| BindError {
        address,
        transport: kind.name(),
        source,
    })
}

fn udp(address: SocketAddr) -> Result<UdpSocket, BindError> {
    let bind = || -> io::Result<UdpSocket> {
        let socket = Socket::new(
            Domain::for_address(address),
            Type::DGRAM,
            Some(Protocol::UDP),
        )?;
        prepare(&socket, address)?;
        // Smaller buffers than asked for are no reason not to start.
        let _ = socket.set_recv_buffer_size(UDP_BUFFER);
        let _ = socket.set_send_buffer_size(UDP_BUFFER);
        socket.bind(&address.into())?;
        Ok(socket.into())
    };
    bind().map_err(|source| BindError {
        address,
        transport: Kind::Udp.name(),
        source,
    })
}

fn tcp(address: SocketAddr, kind: Kind) -> Result<TcpListener, BindError> {
    let bind = || -> io::Result<TcpListener> {
        let socket = Socket::new(
            Domain::for_address(address),
            Type::STREAM,
            Some(Protocol::TCP),
        )?;
        prepare(&socket, address)?;
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(socket.into())
    };
    bind().map_err(|source| BindError {
        address,
        transport: kind.name(),
        source,
    })
}

fn prepare(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)
}

/// The listener of one TCP allocation. Others of this process may be bound to its port: connections from it to peers.
pub(super) fn relay_tcp(address: SocketAddr) -> io::Result<mio::net::TcpListener> {
    // Asked first, since the port could be shared with another program of the same user.
    probe(address, Kind::Tcp).map_err(|error| error.source)?;
    let socket = relay_tcp_socket(address)?;
    socket.listen(RELAY_BACKLOG)?;
    Ok(mio::net::TcpListener::from_std(socket.into()))
}

/// A connection from the address of a TCP allocation to a peer, which has yet to accept.
pub(super) fn connect(local: SocketAddr, peer: SocketAddr) -> io::Result<mio::net::TcpStream> {
    let socket = relay_tcp_socket(local)?;
    match socket.connect(&peer.into()) {
        Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => return Err(error),
        _ => {}
    }
    Ok(mio::net::TcpStream::from_std(socket.into()))
}

fn relay_tcp_socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    prepare(&socket, address)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_is_taken_is_refused_for_either_transport() {
        let first = Listeners::bind("127.0.0.1:0".parse().unwrap(), 2).unwrap();
        let error = Listeners::bind(first.address(), 1).unwrap_err();
        assert_eq!(error.source.kind(), io::ErrorKind::AddrInUse);
        assert_eq!(error.transport, "UDP");

        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let error = Listeners::bind(port.local_addr().unwrap(), 1).unwrap_err();
        assert_eq!(
            (error.transport, error.source.kind()),
            ("TCP", io::ErrorKind::AddrInUse)
        );
    }
}
