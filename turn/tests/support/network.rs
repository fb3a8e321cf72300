//! A small network under a clock of its own: hosts and relays that exchange datagrams, of which some are lost, some come
//! twice, and each takes its time. All that happens follows from the seed.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use moznods_turn::server::{
    AllocationId, Common, Config, Event, FiveTuple, HEADROOM, Now, Output, Server, Transport,
    Verdict,
};
use moznods_turn::wire::{Builder, Method, TransactionId, attr};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::{Answer, Client, REALM, Users, udp_transport, whole};

/// First timeout of a request, requests in all, and how many first timeouts the last is waited for (RFC 8489 §6.2.1).
/// Sooner and more often than by default: requests come again that were not lost, and of a million in the worst of
/// weathers some five are given up.
const RTO: Duration = Duration::from_millis(100);
const RC: u32 = 12;
const RM: u32 = 16;

/// Seconds since the Unix epoch.
const BEGUN: u64 = 1_800_000_000;

/// What becomes of datagrams under way.
#[derive(Debug, Clone)]
pub struct Weather {
    /// Share that is lost.
    pub loss: f64,
    /// Share, of those that are not, that comes twice.
    pub duplication: f64,
    /// How long one takes, in milliseconds, each anew: so the later one may arrive first.
    pub delay: Range<u64>,
}

impl Weather {
    pub const FAIR: Weather = Weather {
        loss: 0.0,
        duplication: 0.0,
        delay: 10..11,
    };
    pub const FOUL: Weather = Weather {
        loss: 0.2,
        duplication: 0.2,
        delay: 5..400,
    };
}

/// A datagram under way.
#[derive(Debug, Clone)]
pub struct Datagram {
    pub from: SocketAddr,
    pub to: SocketAddr,
    pub bytes: Vec<u8>,
}

enum Happening {
    Arrival(Datagram),
    /// A client has waited long enough for an answer.
    Timeout(SocketAddr, TransactionId),
}

/// A request under way, as its client sees it.
struct Transaction {
    server: SocketAddr,
    bytes: Vec<u8>,
    sent: u32,
    timeout: Duration,
    answer: Option<Vec<u8>>,
    over: bool,
}

/// A relay in the network, at one address.
pub struct Relay {
    pub server: Server,
    pub common: Arc<Common>,
    pub users: Arc<Users>,
    pub listener: SocketAddr,
    /// At which it listens as well.
    pub others: Vec<SocketAddr>,
    pub events: Vec<Event>,
    sockets: HashMap<SocketAddr, AllocationId>,
}

impl Relay {
    /// Relay sockets that are bound.
    pub fn sockets(&self) -> usize {
        self.sockets.len()
    }

    fn address_of(&self, allocation: AllocationId) -> SocketAddr {
        let mut sockets = self.sockets.iter();
        let found = sockets.find(|(_, owner)| **owner == allocation);
        *found.expect("a bound socket").0
    }
}

pub struct Network {
    pub now: Now,
    pub weather: Weather,
    pub relays: Vec<Relay>,
    /// Datagrams that were sent, before any was lost or doubled.
    pub sent: u64,
    /// All of them, where somebody listens to the wire.
    pub tapped: Option<Vec<Datagram>>,
    /// Time that has passed.
    clock: Duration,
    random: StdRng,
    agenda: BinaryHeap<Reverse<(Instant, u64)>>,
    happenings: HashMap<u64, Happening>,
    next: u64,
    inboxes: HashMap<SocketAddr, VecDeque<(SocketAddr, Vec<u8>)>>,
    transactions: HashMap<(SocketAddr, TransactionId), Transaction>,
}

impl Network {
    pub fn new(seed: u64, weather: Weather) -> Self {
        Network {
            now: Now {
                instant: Instant::now(),
                unix: BEGUN,
            },
            weather,
            relays: Vec::new(),
            sent: 0,
            tapped: None,
            clock: Duration::ZERO,
            random: StdRng::seed_from_u64(seed),
            agenda: BinaryHeap::new(),
            happenings: HashMap::new(),
            next: 0,
            inboxes: HashMap::new(),
            transactions: HashMap::new(),
        }
    }

    /// Adds a relay that listens and relays at `ip`; its number is its place in [`Network::relays`].
    pub fn add_relay(&mut self, ip: &str, change: impl FnOnce(&mut Config)) -> usize {
        let ip: IpAddr = ip.parse().unwrap();
        let listener = SocketAddr::new(ip, 3478);
        let mut config = Config::new(REALM, vec![ip.into()]);
        config.policy.listeners = vec![listener.port()];
        config.limits.unauthenticated_per_second = 0;
        change(&mut config);
        let users = Arc::new(Users::default());
        let common = Common::new(config, users.clone(), &self.random.random()).unwrap();
        self.relays.push(Relay {
            server: Server::new(Arc::clone(&common), 0, self.random.random()),
            common,
            users,
            listener,
            others: Vec::new(),
            events: Vec::new(),
            sockets: HashMap::new(),
        });
        self.relays.len() - 1
    }

    pub fn send(&mut self, from: SocketAddr, to: SocketAddr, bytes: Vec<u8>) {
        self.sent += 1;
        if let Some(tapped) = &mut self.tapped {
            let bytes = bytes.clone();
            tapped.push(Datagram { from, to, bytes });
        }
        if self.random.random_bool(self.weather.loss) {
            return;
        }
        let copies = 1 + usize::from(self.random.random_bool(self.weather.duplication));
        for _ in 0..copies {
            let delay = self.random.random_range(self.weather.delay.clone());
            let bytes = bytes.clone();
            let arrival = Happening::Arrival(Datagram { from, to, bytes });
            self.plan(Duration::from_millis(delay), arrival);
        }
    }

    /// The oldest datagram that waits at an address, and who sent it. Answers to requests are not among them.
    pub fn receive(&mut self, at: SocketAddr) -> Option<(SocketAddr, Vec<u8>)> {
        self.inboxes.get_mut(&at)?.pop_front()
    }

    /// Begins a request, which is sent again until it is answered or its time is over (RFC 8489 §6.2.1).
    pub fn request(&mut self, from: SocketAddr, server: SocketAddr, bytes: Vec<u8>) {
        let id = transaction_id(&bytes);
        let transaction = Transaction {
            server,
            bytes: bytes.clone(),
            sent: 1,
            timeout: RTO,
            answer: None,
            over: false,
        };
        self.transactions.insert((from, id), transaction);
        self.plan(RTO, Happening::Timeout(from, id));
        self.send(from, server, bytes);
    }

    /// Whether a request has been answered or given up.
    pub fn is_over(&self, from: SocketAddr, request: &[u8]) -> bool {
        let transaction = self.transactions.get(&(from, transaction_id(request)));
        transaction.is_none_or(|transaction| transaction.over)
    }

    /// The first answer to a request; `None` when it was given up.
    pub fn take_answer(&mut self, from: SocketAddr, request: &[u8]) -> Option<Vec<u8>> {
        let key = (from, transaction_id(request));
        self.transactions.get_mut(&key)?.answer.take()
    }

    /// Sends a request and lets time pass until it is over. A 401 or 438 is followed as a client does.
    pub fn ask(
        &mut self,
        client: &mut Client,
        from: SocketAddr,
        relay: usize,
        method: Method,
        fill: impl Fn(&mut Builder<'_>),
    ) -> Option<Answer> {
        let server = self.relays[relay].listener;
        for attempt in 0.. {
            let bytes = match client.nonce.is_empty() {
                true => client.bare(method, &fill),
                false => client.request(method, &fill),
            };
            self.request(from, server, bytes.clone());
            while !self.is_over(from, &bytes) && self.step() {}
            let answer = client.read(&self.take_answer(from, &bytes)?);
            if !matches!(answer.code, 401 | 438) || attempt == 2 {
                return Some(answer);
            }
        }
        unreachable!()
    }

    /// A relayed address for this client.
    pub fn allocate(
        &mut self,
        client: &mut Client,
        from: SocketAddr,
        relay: usize,
    ) -> Option<SocketAddr> {
        let answer = self.ask(client, from, relay, Method::Allocate, udp_transport)?;
        assert_eq!(answer.code, 0);
        answer.address(attr::XOR_RELAYED_ADDRESS)
    }

    /// Lets time pass, with all that happens in it.
    pub fn pass(&mut self, time: Duration) {
        let end = self.now.instant + time;
        while self.due().is_some_and(|at| at <= end) {
            self.step();
        }
        self.advance(end);
    }

    /// Goes on to the next thing that happens; false when there is none.
    pub fn step(&mut self) -> bool {
        let Some(at) = self.due() else { return false };
        self.advance(at);
        for relay in 0..self.relays.len() {
            let due = self.relays[relay].server.poll_timeout();
            if due.is_some_and(|due| due <= at) {
                self.relays[relay].server.handle_timeout(self.now);
                self.outputs(relay);
            }
        }
        if self.agenda.peek().is_some_and(|next| next.0.0 <= at)
            && let Some(Reverse((_, number))) = self.agenda.pop()
        {
            match self.happenings.remove(&number) {
                Some(Happening::Arrival(datagram)) => self.arrive(datagram),
                Some(Happening::Timeout(client, id)) => self.timeout(client, id),
                None => {}
            }
        }
        true
    }

    /// Whether anything is under way.
    pub fn is_busy(&self) -> bool {
        !self.agenda.is_empty()
    }

    fn due(&self) -> Option<Instant> {
        let timers = self.relays.iter();
        let timers = timers.filter_map(|relay| relay.server.poll_timeout());
        let next = self.agenda.peek().map(|next| next.0.0);
        timers.chain(next).min()
    }

    fn advance(&mut self, to: Instant) {
        let to = to.max(self.now.instant);
        let passed = to.duration_since(self.now.instant);
        self.clock += passed;
        self.now = Now {
            instant: to,
            unix: BEGUN + self.clock.as_secs(),
        };
    }

    fn plan(&mut self, after: Duration, happening: Happening) {
        self.next += 1;
        self.happenings.insert(self.next, happening);
        let at = self.now.instant + after;
        self.agenda.push(Reverse((at, self.next)));
    }

    fn timeout(&mut self, client: SocketAddr, id: TransactionId) {
        let Some(transaction) = self.transactions.get_mut(&(client, id)) else {
            return;
        };
        if transaction.over {
            return;
        }
        if transaction.sent == RC {
            transaction.over = true;
            return;
        }
        transaction.sent += 1;
        transaction.timeout = match transaction.sent {
            RC => RTO * RM,
            _ => transaction.timeout * 2,
        };
        let (server, bytes) = (transaction.server, transaction.bytes.clone());
        let timeout = transaction.timeout;
        self.plan(timeout, Happening::Timeout(client, id));
        self.send(client, server, bytes);
    }

    fn arrive(&mut self, datagram: Datagram) {
        let Datagram { from, to, bytes } = datagram;
        let listens = |relay: &Relay| relay.listener == to || relay.others.contains(&to);
        if let Some(relay) = self.relays.iter().position(listens) {
            return self.client_sent(relay, from, to, bytes);
        }
        let mut relays = self.relays.iter();
        if let Some(relay) = relays.position(|relay| relay.sockets.contains_key(&to)) {
            return self.peer_sent(relay, from, to, bytes);
        }
        if bytes.len() >= 20 && bytes[0] & 0xC0 == 0 {
            let key = (to, transaction_id(&bytes));
            if let Some(transaction) = self.transactions.get_mut(&key) {
                // Later answers are duplicates.
                if !transaction.over {
                    transaction.answer = Some(bytes);
                    transaction.over = true;
                }
                return;
            }
        }
        self.inboxes.entry(to).or_default().push_back((from, bytes));
    }

    fn client_sent(
        &mut self,
        relay: usize,
        client: SocketAddr,
        listener: SocketAddr,
        bytes: Vec<u8>,
    ) {
        let node = &mut self.relays[relay];
        let tuple = FiveTuple {
            transport: Transport::Udp,
            client,
            server: listener,
        };
        match node.server.handle(self.now, tuple, &bytes) {
            Verdict::Done => {}
            Verdict::Answer => {
                let answer = node.server.answer().to_vec();
                self.send(listener, client, answer);
            }
            Verdict::AnswerTo(other) => {
                let answer = node.server.answer().to_vec();
                self.send(other.server, other.client, answer);
            }
            Verdict::ToPeer {
                allocation,
                peer,
                payload,
                ..
            } => {
                let from = node.address_of(allocation);
                self.send(from, peer, bytes[payload].to_vec());
            }
            Verdict::ToRelay {
                from, to, payload, ..
            } => {
                let mut head = [0xEE; HEADROOM];
                let payload = &bytes[payload];
                let server = &mut node.server;
                let passed = server.handle_relayed(self.now, from, to, payload, &mut head);
                if let Some(to) = passed {
                    let message = whole(to, &head, payload);
                    self.send(to.tuple.server, to.tuple.client, message);
                }
            }
            verdict => panic!("{verdict:?} of a datagram"),
        }
        self.outputs(relay);
    }

    fn peer_sent(&mut self, relay: usize, peer: SocketAddr, to: SocketAddr, bytes: Vec<u8>) {
        let node = &mut self.relays[relay];
        let allocation = node.sockets[&to];
        let mut head = [0xEE; HEADROOM];
        let server = &mut node.server;
        let passed = server.handle_peer(self.now, allocation, peer, &bytes, &mut head);
        if let Some(to) = passed {
            let message = whole(to, &head, &bytes);
            self.send(to.tuple.server, to.tuple.client, message);
        }
        self.outputs(relay);
    }

    /// Does what a server wants.
    fn outputs(&mut self, relay: usize) {
        while let Some(output) = self.relays[relay].server.poll_output() {
            let node = &mut self.relays[relay];
            match output {
                Output::Bind {
                    allocation,
                    addresses,
                    ..
                } => {
                    let sockets = addresses.into_iter().map(|address| (address, allocation));
                    node.sockets.extend(sockets);
                    if let Some(tuple) = node.server.bound(self.now, allocation, Ok(())) {
                        let answer = node.server.answer().to_vec();
                        self.send(tuple.server, tuple.client, answer);
                    }
                }
                Output::CloseFamily { allocation, ipv4 } => {
                    let gone = |at: &SocketAddr| at.is_ipv4() == ipv4;
                    node.sockets
                        .retain(|at, owner| *owner != allocation || !gone(at));
                }
                Output::Close { allocation } => {
                    node.sockets.retain(|_, owner| *owner != allocation);
                }
                Output::Event(event) => node.events.push(event),
                output => panic!("{output:?} of a client over UDP"),
            }
        }
    }
}

fn transaction_id(message: &[u8]) -> TransactionId {
    message[8..20].try_into().unwrap()
}
