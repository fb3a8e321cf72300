//! Which addresses this machine has, and which one of them others see.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::time::Duration;

use rand::RngExt;

use crate::server::RelayAddress;
use crate::wire::{Builder, Class, Message, Method, attr};

/// Requests to one STUN server, and how long each is waited for.
const STUN_ATTEMPTS: usize = 4;
const STUN_TIMEOUT: Duration = Duration::from_millis(500);

/// All addresses of this machine's interfaces.
pub fn interfaces() -> io::Result<Vec<IpAddr>> {
    Ok(if_addrs::get_if_addrs()?
        .into_iter()
        .map(|interface| interface.ip())
        .collect())
}

/// The interface's address from which packets to the internet leave, per family; `None` without a route.
pub fn outbound(ipv4: bool) -> Option<IpAddr> {
    // Connecting a UDP socket sends nothing; it only asks the routing table. Any global address will do.
    let (any, target): (SocketAddr, SocketAddr) = if ipv4 {
        (
            (Ipv4Addr::UNSPECIFIED, 0).into(),
            (Ipv4Addr::new(1, 0, 0, 1), 3478).into(),
        )
    } else {
        let global = Ipv6Addr::new(0x2600, 0, 0, 0, 0, 0, 0, 1);
        ((Ipv6Addr::UNSPECIFIED, 0).into(), (global, 3478).into())
    };
    let socket = UdpSocket::bind(any).ok()?;
    socket.connect(target).ok()?;
    socket
        .local_addr()
        .ok()
        .map(|address| address.ip())
        .filter(|ip| !ip.is_unspecified())
}

/// The interface's address to bind for a public one: itself, or where packets leave when a 1:1 NAT stands
/// before this machine; unspecified when there is neither.
pub fn local_for(public: IpAddr, interfaces: &[IpAddr]) -> IpAddr {
    // All of 127.0.0.0/8 is this machine's, though interfaces name but one of it.
    if interfaces.contains(&public) || public.is_loopback() {
        return public;
    }
    outbound(public.is_ipv4()).unwrap_or(match public {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    })
}

/// Finds the relay's addresses without being told: the interface's own, and where that is not a public one,
/// what the first of `stun_servers` (`host:port`) that answers sees. Waits two seconds for each, and for DNS.
/// Falls back to the interface's address, and without any network to loopback.
pub fn discover(stun_servers: &[String]) -> Vec<RelayAddress> {
    let mut found = Vec::new();
    for ipv4 in [true, false] {
        let Some(local) = outbound(ipv4) else {
            continue;
        };
        let seen = || {
            stun_servers
                .iter()
                .find_map(|server| mapped_address(server, local).ok())
        };
        let public = if crate::policy::is_public(local) {
            None
        } else {
            seen()
        };
        // An IPv6 address that nobody outside can reach serves nobody.
        if ipv4 || public.is_some() || crate::policy::is_public(local) {
            found.push(RelayAddress {
                public: public.unwrap_or(local),
                local,
            });
        }
    }
    if found.is_empty() {
        let loopback = Ipv4Addr::LOCALHOST.into();
        found.push(RelayAddress {
            public: loopback,
            local: loopback,
        });
    }
    found
}

/// This machine's address as a STUN server (`host:port`) sees what comes from `local` (RFC 8489 §2). Waits two seconds for
/// it, and for DNS.
pub fn mapped_address(server: &str, local: IpAddr) -> io::Result<IpAddr> {
    let server = server
        .to_socket_addrs()?
        .find(|address| address.is_ipv4() == local.is_ipv4())
        .ok_or(io::ErrorKind::NotFound)?;
    let socket = UdpSocket::bind((local, 0))?;
    socket.connect(server)?;
    socket.set_read_timeout(Some(STUN_TIMEOUT))?;
    let id = rand::rng().random();
    let mut request = Vec::new();
    Builder::new(&mut request, Method::Binding, Class::Request, id);
    let mut buffer = [0; 1500];
    for _ in 0..STUN_ATTEMPTS {
        socket.send(&request)?;
        let count = match socket.recv(&mut buffer) {
            Ok(count) => count,
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                ) =>
            {
                continue;
            }
            Err(error) => return Err(error),
        };
        let Ok(message) = Message::parse(buffer.get(..count).unwrap_or_default()) else {
            continue;
        };
        if message.class() == Class::Success
            && message.transaction_id() == id
            && let Some(value) = message.get(attr::XOR_MAPPED_ADDRESS)
            && let Some(address) = message.xor_address(value)
        {
            return Ok(address.ip());
        }
    }
    Err(io::ErrorKind::TimedOut.into())
}
