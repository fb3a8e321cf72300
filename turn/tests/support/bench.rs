//! A core whose driver is the test, under a clock that the test moves.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use moznods_turn::policy::PeerPolicy;
use moznods_turn::server::{
    AllocationId, Common, Config, ConnectionId, Event, FiveTuple, HEADROOM, Limits, Now, Output,
    RelayAddress, Server, Transport, Verdict,
};
use moznods_turn::stats::Dropped;
use moznods_turn::wire::{Builder, Method, attr};

use super::{Answer, Client, REALM, Users, bind, permit, udp_transport, whole};

pub const PUBLIC: &str = "198.51.100.7";
pub const LOCAL: &str = "10.0.0.7";
pub const PEER: &str = "8.8.8.8:4000";

pub fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

pub fn config() -> Config {
    let (public, local) = (PUBLIC.parse().unwrap(), LOCAL.parse().unwrap());
    let v6: IpAddr = "2606:4700::7".parse().unwrap();
    let own = ["127.0.0.1", "::1", LOCAL, "2606:4700::7", "172.17.0.1"];
    let relay = vec![RelayAddress { public, local }, v6.into()];
    Config {
        relay_ports: 50000..=50099,
        policy: PeerPolicy {
            relays: vec![public, v6],
            own: own.iter().map(|ip| ip.parse().unwrap()).collect(),
            listeners: vec![3478],
            ..PeerPolicy::default()
        },
        legacy_channels: false,
        ..Config::new(REALM, relay)
    }
}

/// A server whose driver is the test: every port binds, except those in `taken`.
pub struct Bench {
    pub server: Server,
    pub common: Arc<Common>,
    pub users: Arc<Users>,
    pub now: Now,
    pub taken: Vec<u16>,
    /// Whether no IPv6 address can be bound.
    pub without_ipv6: bool,
    pub live: Vec<AllocationId>,
    /// Ports that were bound, by allocation.
    ports: HashMap<AllocationId, u16>,
    pub events: Vec<Event>,
    /// What it has sent to clients unasked.
    pub sent: Vec<(FiveTuple, Vec<u8>)>,
    /// Connections that it wants, from where and to whom.
    pub dials: Vec<(ConnectionId, SocketAddr, SocketAddr)>,
    /// Connections that are to be closed.
    pub closed: Vec<ConnectionId>,
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
        let now = Now {
            instant: Instant::now(),
            unix: 1_800_000_000,
        };
        Self::of(common, users, 0, now)
    }

    /// Another server that shares everything with this one.
    pub fn beside(&self, worker: u8) -> Self {
        let (common, users) = (Arc::clone(&self.common), Arc::clone(&self.users));
        Self::of(common, users, worker, self.now)
    }

    fn of(common: Arc<Common>, users: Arc<Users>, worker: u8, now: Now) -> Self {
        Bench {
            users,
            server: Server::new(Arc::clone(&common), worker, [3 + worker; 32]),
            common,
            now,
            taken: Vec::new(),
            without_ipv6: false,
            live: Vec::new(),
            ports: HashMap::new(),
            events: Vec::new(),
            sent: Vec::new(),
            dials: Vec::new(),
            closed: Vec::new(),
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
                    addresses,
                    ..
                } => {
                    let port = addresses[0].port();
                    let free = !self.taken.contains(&port);
                    let missing = self.without_ipv6 && addresses.iter().any(|a| a.is_ipv6());
                    let outcome = match (free, missing) {
                        (true, false) => Ok(()),
                        (true, true) => Err(std::io::ErrorKind::AddrNotAvailable.into()),
                        (false, _) => Err(std::io::ErrorKind::AddrInUse.into()),
                    };
                    if outcome.is_ok() {
                        self.live.push(allocation);
                        self.ports.insert(allocation, port);
                    }
                    if self.server.bound(self.now, allocation, outcome).is_some() {
                        answer = Some(self.server.answer().to_vec());
                    }
                }
                Output::CloseFamily { .. } => {}
                Output::Close { allocation } => self.live.retain(|live| *live != allocation),
                Output::Event(event) => self.events.push(event),
                Output::Send { tuple, message } => self.sent.push((tuple, message)),
                Output::Connect {
                    connection,
                    local,
                    peer,
                } => self.dials.push((connection, local, peer)),
                Output::CloseConnection { connection } => self.closed.push(connection),
                Output::Shrink => {}
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

    pub fn refresh(
        &mut self,
        client: &mut Client,
        tuple: FiveTuple,
        lifetime: Option<u32>,
    ) -> Answer {
        self.ask(client, tuple, Method::Refresh, |message| {
            if let Some(lifetime) = lifetime {
                message.u32(attr::LIFETIME, lifetime);
            }
        })
    }

    pub fn permit(
        &mut self,
        client: &mut Client,
        tuple: FiveTuple,
        peers: &[SocketAddr],
    ) -> Answer {
        self.ask(client, tuple, Method::CreatePermission, |message| {
            permit(peers)(message);
        })
    }

    pub fn bind(
        &mut self,
        client: &mut Client,
        tuple: FiveTuple,
        number: u16,
        peer: SocketAddr,
    ) -> Answer {
        self.ask(client, tuple, Method::ChannelBind, |message| {
            bind(number, peer)(message);
        })
    }

    /// Where a datagram of a client goes on to, and its payload; `None` when it goes nowhere.
    pub fn relayed(&mut self, tuple: FiveTuple, bytes: &[u8]) -> Option<(SocketAddr, Vec<u8>)> {
        match self.verdict(tuple, bytes) {
            Verdict::ToPeer { peer, payload, .. } => Some((peer, bytes[payload].to_vec())),
            Verdict::Done => None,
            verdict => panic!("{verdict:?} for data"),
        }
    }

    pub fn peer_sends(&mut self, peer: &str, payload: &[u8]) -> Option<(FiveTuple, Vec<u8>)> {
        let allocation = *self.live.last().unwrap();
        let mut head = [0xEE; HEADROOM];
        let server = &mut self.server;
        let to = server.handle_peer(self.now, allocation, addr(peer), payload, &mut head)?;
        Some((to.tuple, whole(to, &head, payload)))
    }

    /// Hands on what a client sends to a relayed address of this server; `None` when it does not get there.
    pub fn hand_on(&mut self, tuple: FiveTuple, bytes: &[u8]) -> Option<(FiveTuple, Vec<u8>)> {
        let verdict = self.verdict(tuple, bytes);
        let Verdict::ToRelay {
            worker: 0,
            from,
            to,
            payload,
        } = verdict
        else {
            assert_eq!(verdict, Verdict::Done);
            return None;
        };
        let mut head = [0xEE; HEADROOM];
        let payload = &bytes[payload];
        let server = &mut self.server;
        let to = server.handle_relayed(self.now, from, to, payload, &mut head)?;
        Some((to.tuple, whole(to, &head, payload)))
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
