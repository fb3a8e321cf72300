//! A core whose driver is the test, under a clock that the test moves.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use moznods_turn::policy::PeerPolicy;
use moznods_turn::server::{
    AllocationId, Common, Config, Event, FiveTuple, HEADROOM, Limits, Now, Output, RelayAddress,
    Server, TAILROOM, Transport, Verdict,
};
use moznods_turn::stats::Dropped;
use moznods_turn::wire::{Builder, Method, attr};

use super::{Answer, Client, REALM, Users, udp_transport};

pub const PUBLIC: &str = "198.51.100.7";
pub const LOCAL: &str = "10.0.0.7";
pub const PEER: &str = "8.8.8.8:4000";

pub fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

pub fn config() -> Config {
    let (public, local) = (PUBLIC.parse().unwrap(), LOCAL.parse().unwrap());
    let v6 = "2606:4700::7".parse().unwrap();
    let own = ["127.0.0.1", "::1", LOCAL, "2606:4700::7", "172.17.0.1"];
    Config {
        realm: REALM.to_owned(),
        software: "MOznoDS".to_owned(),
        relay: vec![
            RelayAddress { public, local },
            RelayAddress {
                public: v6,
                local: v6,
            },
        ],
        relay_ports: 50000..=50099,
        policy: PeerPolicy {
            relays: vec![public, v6],
            own: own.iter().map(|ip| ip.parse().unwrap()).collect(),
            listeners: vec![3478],
            ..PeerPolicy::default()
        },
        legacy_channels: false,
        limits: Limits::default(),
    }
}

/// A server whose driver is the test: every port binds, except those in `taken`.
pub struct Bench {
    pub server: Server,
    pub common: Arc<Common>,
    pub users: Arc<Users>,
    pub now: Now,
    pub taken: Vec<u16>,
    pub live: Vec<AllocationId>,
    /// Ports that were bound, by allocation.
    ports: HashMap<AllocationId, u16>,
    pub events: Vec<Event>,
}

impl Bench {
    pub fn new() -> Self {
        Self::with(Limits::default(), 50000..=50099)
    }

    pub fn with(limits: Limits, relay_ports: std::ops::RangeInclusive<u16>) -> Self {
        Self::configured(|config| {
            config.limits = limits;
            config.relay_ports = relay_ports;
        })
    }

    pub fn configured(change: impl FnOnce(&mut Config)) -> Self {
        let mut config = config();
        change(&mut config);
        let users = Arc::new(Users::default());
        let common = Common::new(config, users.clone(), &[9; 32]).unwrap();
        Bench {
            users,
            server: Server::new(Arc::clone(&common), [3; 32]),
            common,
            now: Now {
                instant: Instant::now(),
                unix: 1_800_000_000,
            },
            taken: Vec::new(),
            live: Vec::new(),
            ports: HashMap::new(),
            events: Vec::new(),
        }
    }

    pub fn pass(&mut self, seconds: u64) {
        self.now.instant += Duration::from_secs(seconds);
        self.now.unix += seconds;
        while self
            .server
            .poll_timeout()
            .is_some_and(|at| at <= self.now.instant)
        {
            self.server.handle_timeout(self.now);
        }
        self.outputs();
    }

    /// As peers see it.
    pub fn relay_of(&self, allocation: AllocationId) -> SocketAddr {
        SocketAddr::new(PUBLIC.parse().unwrap(), self.ports[&allocation])
    }

    /// Does what the server wants; returns the bytes that it sends meanwhile.
    pub fn outputs(&mut self) -> Option<Vec<u8>> {
        let mut answer = None;
        while let Some(output) = self.server.poll_output() {
            match output {
                Output::Bind {
                    allocation,
                    address,
                } => {
                    let free = !self.taken.contains(&address.port());
                    let outcome = if free {
                        Ok(())
                    } else {
                        Err(std::io::ErrorKind::AddrInUse.into())
                    };
                    if free {
                        self.live.push(allocation);
                        self.ports.insert(allocation, address.port());
                    }
                    if self.server.bound(self.now, allocation, outcome).is_some() {
                        answer = Some(self.server.answer().to_vec());
                    }
                }
                Output::Close { allocation } => self.live.retain(|live| *live != allocation),
                Output::Event(event) => self.events.push(event),
            }
        }
        answer
    }

    pub fn verdict(&mut self, tuple: FiveTuple, bytes: &[u8]) -> Verdict {
        self.server.handle(self.now, tuple, bytes)
    }

    pub fn send(&mut self, tuple: FiveTuple, bytes: &[u8]) -> Option<Vec<u8>> {
        match self.verdict(tuple, bytes) {
            Verdict::Answer => Some(self.server.answer().to_vec()),
            Verdict::Done => self.outputs(),
            verdict => panic!("{verdict:?} for a request"),
        }
    }

    /// Sends a request; a first 401 or a stale nonce is followed as a client does.
    pub fn ask(
        &mut self,
        client: &mut Client,
        tuple: FiveTuple,
        method: Method,
        fill: impl Fn(&mut Builder<'_>),
    ) -> Answer {
        if client.nonce.is_empty() {
            let bytes = client.bare(method, &fill);
            let answer = self.send(tuple, &bytes).expect("a challenge");
            assert_eq!(client.read(&answer).code, 401);
        }
        let bytes = client.request(method, &fill);
        let answer = self.send(tuple, &bytes).expect("an answer");
        let answer = client.read(&answer);
        self.outputs();
        answer
    }

    pub fn allocate(&mut self, client: &mut Client, tuple: FiveTuple) -> Answer {
        self.ask(client, tuple, Method::Allocate, udp_transport)
    }

    pub fn peer_sends(&mut self, peer: &str, payload: &[u8]) -> Option<(FiveTuple, Vec<u8>)> {
        let allocation = *self.live.last().unwrap();
        let mut buffer = vec![0xEE; HEADROOM];
        buffer.extend_from_slice(payload);
        buffer.extend_from_slice(&[0xEE; TAILROOM]);
        let (tuple, range) = self.server.handle_peer(
            self.now,
            allocation,
            addr(peer),
            &mut buffer,
            payload.len(),
        )?;
        Some((tuple, buffer[range].to_vec()))
    }

    pub fn dropped(&self, reason: Dropped) -> u64 {
        self.server.stats().dropped(reason)
    }
}

pub fn udp(port: u16) -> FiveTuple {
    FiveTuple {
        transport: Transport::Udp,
        client: SocketAddr::new("203.0.113.5".parse().unwrap(), port),
        server: addr("198.51.100.7:3478"),
    }
}

pub fn tcp(port: u16) -> FiveTuple {
    FiveTuple {
        transport: Transport::Tcp,
        ..udp(port)
    }
}

/// A client with an allocation.
pub fn allocated(
    bench: &mut Bench,
    username: &'static str,
    tuple: FiveTuple,
) -> (Client, SocketAddr) {
    let mut client = Client::new(username);
    let answer = bench.allocate(&mut client, tuple);
    assert_eq!(answer.code, 0);
    let relay = answer.address(attr::XOR_RELAYED_ADDRESS).unwrap();
    (client, relay)
}
