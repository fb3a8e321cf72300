//! The UDP sockets of one allocation: how they are opened, send what must not be fragmented, and hear of what was lost.

use std::io;
use std::net::SocketAddr;

use mio::net::UdpSocket;
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::batch::{self, Ask, Queue};
use super::mmsg;
use super::sys::{self, Fragments};
use crate::server::{AllocationId, IcmpError};

/// The sockets of one allocation.
pub(super) struct RelaySockets {
    pub allocation: AllocationId,
    /// IPv4, IPv6.
    pub sockets: [Option<RelaySocket>; 2],
    /// What waits for its client.
    pub to_client: Queue,
    /// The listener by which that leaves.
    pub listener: usize,
}

impl RelaySockets {
    /// Binds all of these addresses, of each family at most one, or none.
    pub fn open(allocation: AllocationId, addresses: &[SocketAddr]) -> io::Result<Self> {
        let mut sockets = [None, None];
        for address in addresses {
            if let Some(place) = sockets.get_mut(usize::from(address.is_ipv6())) {
                *place = Some(RelaySocket::open(*address)?);
            }
        }
        Ok(RelaySockets {
            allocation,
            sockets,
            to_client: Queue::default(),
            listener: 0,
        })
    }

    pub fn of(&mut self, ipv4: bool) -> Option<&mut RelaySocket> {
        self.sockets.get_mut(usize::from(!ipv4))?.as_mut()
    }

    pub fn close(&mut self, ipv4: bool) {
        if let Some(socket) = self.sockets.get_mut(usize::from(!ipv4)) {
            *socket = None;
        }
    }
}

/// A socket of one address family.
pub(super) struct RelaySocket {
    pub socket: UdpSocket,
    ipv4: bool,
    pub ask: Ask,
    pub queue: Queue,
}

impl RelaySocket {
    /// Binds `address`; non-blocking.
    pub fn open(address: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(
            Domain::for_address(address),
            Type::DGRAM.nonblocking(),
            Some(Protocol::UDP),
        )?;
        let ipv4 = address.is_ipv4();
        if !ipv4 {
            socket.set_only_v6(true)?;
        }
        sys::set_fragments(&socket, ipv4, Fragments::Allowed)?;
        sys::keep_icmp(&socket, ipv4)?;
        mmsg::gather(&socket);
        socket.bind(&address.into())?;
        Ok(RelaySocket {
            socket: UdpSocket::from_std(socket.into()),
            ipv4,
            ask: Ask::default(),
            queue: Queue::default(),
        })
    }

    /// Sends one datagram, whole or not at all (RFC 8656 §14).
    pub fn send_whole(&self, payload: &[u8], peer: SocketAddr) -> io::Result<()> {
        // On no path at all is there room for more; the kernel would blame this one.
        if payload.len() > batch::largest(peer) {
            return Err(io::Error::from_raw_os_error(libc::EMSGSIZE));
        }
        let socket = SockRef::from(&self.socket);
        // So that none is left that looks as if this datagram were too large.
        let _ = socket.take_error();
        sys::set_fragments(&socket, self.ipv4, Fragments::Forbidden)?;
        // An ICMP error about an earlier datagram, to whatever peer, makes the next call fail in place of its own outcome.
        let is_earlier = |outcome: &io::Result<usize>| {
            let error = outcome.as_ref().err();
            error.is_some_and(|error| {
                sys::is_of_icmp(error) && error.raw_os_error() != Some(libc::EMSGSIZE)
            })
        };
        let mut outcome = self.socket.send_to(payload, peer);
        for _ in 1..batch::ATTEMPTS {
            if is_earlier(&outcome) {
                outcome = self.socket.send_to(payload, peer);
            }
        }
        sys::set_fragments(&socket, self.ipv4, Fragments::Allowed)?;
        outcome.map(drop)
    }

    /// The next ICMP error about what was sent, if there is one.
    pub fn take_icmp(&self) -> Option<IcmpError> {
        loop {
            match sys::take_icmp(&self.socket) {
                Ok(Some(error)) => return Some(error),
                Ok(None) => {}
                Err(_) => return None,
            }
        }
    }
}
