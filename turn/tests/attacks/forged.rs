//! Datagrams with a forged source, as they arrive from networks that do not check. In a namespace alone: this needs
//! a raw socket.

use std::net::{SocketAddr, SocketAddrV4};

use socket2::{Domain, Protocol, Socket, Type};

pub struct Forger(Socket);

impl Forger {
    pub fn new() -> Self {
        let raw = Protocol::from(libc_protocol_raw());
        Forger(Socket::new(Domain::IPV4, Type::RAW, Some(raw)).unwrap())
    }

    /// One UDP datagram over IPv4.
    pub fn send(&self, from: SocketAddrV4, to: SocketAddr, payload: &[u8]) {
        let SocketAddr::V4(to) = to else {
            panic!("IPv4 only")
        };
        let udp_length = (8 + payload.len()) as u16;
        let mut packet = vec![0x45, 0];
        packet.extend_from_slice(&(20 + udp_length).to_be_bytes());
        // No fragments; the kernel fills in the checksum. UDP's may be left out.
        packet.extend_from_slice(&[0, 0, 0x40, 0, 64, 17, 0, 0]);
        packet.extend_from_slice(&from.ip().octets());
        packet.extend_from_slice(&to.ip().octets());
        packet.extend_from_slice(&from.port().to_be_bytes());
        packet.extend_from_slice(&to.port().to_be_bytes());
        packet.extend_from_slice(&udp_length.to_be_bytes());
        packet.extend_from_slice(&[0, 0]);
        packet.extend_from_slice(payload);
        let sent = self.0.send_to(&packet, &SocketAddr::V4(to).into());
        assert_eq!(sent.unwrap(), packet.len());
    }
}

/// IPPROTO_RAW: the header is ours.
fn libc_protocol_raw() -> i32 {
    255
}
