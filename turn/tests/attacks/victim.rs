//! Who must not be reached.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use socket2::{Domain, Socket, Type};

use crate::support::sockets::PATIENCE;

/// What the last, allowed packet says: whatever was sent before it has come by then.
pub const FENCE: &[u8] = b"allowed";

/// One UDP port of all addresses, IPv4 and IPv6.
pub struct Victim(UdpSocket);

impl Victim {
    pub fn new() -> Self {
        let socket = Socket::new(Domain::IPV6, Type::DGRAM, None).unwrap();
        socket.set_only_v6(false).unwrap();
        let any = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
        socket.bind(&any.into()).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Victim(socket.into())
    }

    pub fn port(&self) -> u16 {
        self.0.local_addr().unwrap().port()
    }

    /// What came to it up to a [`FENCE`] that is on its way.
    pub fn heard_before_fence(&self) -> Vec<Vec<u8>> {
        let mut heard = Vec::new();
        let mut buffer = vec![0; 65_536];
        loop {
            let count = self.0.recv(&mut buffer).expect("the fence");
            match &buffer[..count] {
                FENCE => return heard,
                other => heard.push(other.to_vec()),
            }
        }
    }

    /// Whether it hears what is sent to this address without any relay.
    pub fn can_be_reached(&self, ip: IpAddr) -> bool {
        let any: IpAddr = match ip {
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let sender = UdpSocket::bind((any, 0)).unwrap();
        if sender.send_to(b"direct", (ip, self.port())).is_err() {
            return false;
        }
        let fence = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        fence
            .send_to(FENCE, (Ipv4Addr::LOCALHOST, self.port()))
            .unwrap();
        !self.heard_before_fence().is_empty()
    }
}
