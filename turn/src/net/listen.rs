//! The sockets at which clients arrive: one UDP and one TCP socket per worker and address family.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};

use socket2::{Domain, Protocol, Socket, Type};

/// Kernel buffers of the UDP sockets that all clients share, in bytes; the kernel caps it at `rmem_max`.
const UDP_BUFFER: usize = 4 << 20;
const BACKLOG: i32 = 1024;
/// Tries to find a port that is free for UDP and TCP alike, when any will do.
const ANY_PORT_ATTEMPTS: usize = 16;

/// Sockets of one worker.
#[derive(Debug)]
pub(super) struct WorkerSockets {
    pub udp: Vec<UdpSocket>,
    pub tcp: Vec<TcpListener>,
}

/// All sockets of a relay, bound and not yet served.
#[derive(Debug)]
pub struct Listeners {
    pub(super) workers: Vec<WorkerSockets>,
    address: SocketAddr,
}

/// A listening address that cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} ({transport}): {source}")]
pub struct BindError {
    pub address: SocketAddr,
    /// `UDP` or `TCP`
    pub transport: &'static str,
    pub source: io::Error,
}

impl Listeners {
    /// Binds `address` for UDP and TCP, `workers` times (at least once). `[::]` means IPv4 as well; a machine
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
        let mut families = families(address);
        // Sockets of one worker would share the port with those of another program of the same user: ask
        // once without SO_REUSEPORT.
        let mut without_ipv6 = false;
        for family in &families {
            match probe(*family) {
                Err(error)
                    if families.len() > 1 && family.is_ipv6() && is_no_ipv6(&error.source) =>
                {
                    without_ipv6 = true;
                }
                outcome => outcome?,
            }
        }
        families.retain(|family| !without_ipv6 || family.is_ipv4());
        let one_worker = || {
            let udp = families
                .iter()
                .map(|family| udp(*family))
                .collect::<Result<_, _>>()?;
            let tcp = families
                .iter()
                .map(|family| tcp(*family))
                .collect::<Result<_, _>>()?;
            Ok(WorkerSockets { udp, tcp })
        };
        let workers = (0..workers.max(1))
            .map(|_| one_worker())
            .collect::<Result<_, _>>()?;
        Ok(Listeners { workers, address })
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

fn probe(address: SocketAddr) -> Result<(), BindError> {
    let bind = |kind, protocol| -> io::Result<()> {
        let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        // A listener that was just closed leaves connections behind that must not count.
        socket.set_reuse_address(kind == Type::STREAM)?;
        socket.bind(&address.into())?;
        if kind == Type::STREAM {
            socket.listen(1)
        } else {
            Ok(())
        }
    };
    bind(Type::DGRAM, Protocol::UDP).map_err(|source| BindError {
        address,
        transport: "UDP",
        source,
    })?;
    bind(Type::STREAM, Protocol::TCP).map_err(|source| BindError {
        address,
        transport: "TCP",
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
        transport: "UDP",
        source,
    })
}

fn tcp(address: SocketAddr) -> Result<TcpListener, BindError> {
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
        transport: "TCP",
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

/// The socket of one allocation.
pub(super) fn relay(address: SocketAddr) -> io::Result<mio::net::UdpSocket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(mio::net::UdpSocket::from_std(socket.into()))
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
