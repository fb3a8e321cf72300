//! A caller who asks again until there is an answer, as clients do over UDP: floods of others may fill the kernel's
//! queues.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use moznods_turn::net::Relay;
use moznods_turn::wire::{Builder, Message, Method};

use crate::support::sockets::PATIENCE;
use crate::support::{Answer, Client};

/// RFC 8489 §6.2.1 begins with 500 ms; on loopback less will do.
const RETRANSMIT: Duration = Duration::from_millis(100);

pub struct Patient {
    pub socket: UdpSocket,
    pub client: Client,
}

impl Patient {
    pub fn new(relay: &Relay, username: &'static str, from: &str) -> Self {
        let from: SocketAddr = from.parse().unwrap();
        let socket = UdpSocket::bind(from).unwrap();
        socket.connect(relay.address()).unwrap();
        socket.set_read_timeout(Some(RETRANSMIT)).unwrap();
        Patient {
            socket,
            client: Client::new(username),
        }
    }

    /// Sends these bytes, again and again, until something comes that `accept` takes.
    pub fn exchange<T>(&self, bytes: &[u8], mut accept: impl FnMut(&[u8]) -> Option<T>) -> T {
        let begun = Instant::now();
        let mut buffer = [0; 1500];
        loop {
            assert!(begun.elapsed() < 4 * PATIENCE, "no answer");
            // A full queue is as good as a loss on the way.
            let _ = self.socket.send(bytes);
            while let Ok(count) = self.socket.recv(&mut buffer) {
                if let Some(found) = accept(&buffer[..count]) {
                    return found;
                }
            }
        }
    }

    fn answer_to(&self, bytes: &[u8]) -> Vec<u8> {
        let id = Message::parse(bytes).unwrap().transaction_id();
        self.exchange(bytes, |received| {
            let message = Message::parse(received).ok()?;
            (message.transaction_id() == id).then(|| received.to_vec())
        })
    }

    /// As a client does: with what the server challenges it to say.
    pub fn ask(&mut self, method: Method, fill: impl Fn(&mut Builder<'_>)) -> Answer {
        if self.client.nonce.is_empty() {
            let bytes = self.client.bare(method, &fill);
            let answer = self.answer_to(&bytes);
            assert_eq!(self.client.read(&answer).code, 401);
        }
        let bytes = self.client.request(method, &fill);
        let answer = self.answer_to(&bytes);
        self.client.read(&answer)
    }
}
