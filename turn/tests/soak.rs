//! Allocations that come and go for long, with loss, over all transports and families: afterwards files, memory and
//! tables are where they were. `cargo test` runs it for a short while; `make soak` for ten minutes with 2,000 at a time.

mod support;

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use moznods_turn::auth::{Authenticator, Claim, Credential, Loss, Owner, Refusal};
use moznods_turn::net::{Listeners, Relay, raise_file_limit};
use moznods_turn::server::RelayAddress;
use moznods_turn::wire::{Builder, Message, Method, attr, channel};
use rustls::{ClientConnection, StreamOwned};
use support::memory::{open_files, resident, settle};
use support::sockets::{Files, PATIENCE, config, live, wait_until};
use support::{Answer, Client, bind, channel_data, namespace, udp_transport};

/// Of a hundred datagrams of a client or a peer, each way.
const LOSS: u64 = 5;
const THREADS: usize = 8;
const OWNERS: usize = 128;
/// Above those from which the kernel gives ports to clients.
const FIRST_PORT: u16 = 61_000;
/// What has not been answered by then is lost.
const RETRANSMIT: Duration = Duration::from_millis(100);
/// No allocation lives so long that it would have to be refreshed.
const OLD: Duration = Duration::from_secs(200);

/// Each name is an owner; a password is the name in upper case. `all` may have every port.
#[derive(Default)]
struct Everybody {
    closed: AtomicBool,
}

impl Authenticator for Everybody {
    fn credentials(&self, claim: Claim<'_>) -> Result<Vec<Credential>, Refusal> {
        let number = claim.username.strip_prefix('u');
        let owner = number.and_then(|number| number.parse().ok());
        Ok(vec![Credential {
            owner: Owner(owner.unwrap_or(u64::MAX)),
            key: claim.key(&claim.username.to_uppercase()),
            epoch: 0,
            expires: None,
            max_allocations: owner.is_none().then_some(0),
            over_quota: false,
        }])
    }

    fn permits(&self, _: Owner, _: u64) -> Result<(), Loss> {
        match self.closed.load(Relaxed) {
            true => Err(Loss::Revoked),
            false => Ok(()),
        }
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    fn loses(&mut self) -> bool {
        self.below(100) < LOSS
    }
}

/// What came of it all.
#[derive(Default)]
struct Figures {
    allocated: AtomicU64,
    echoes: AtomicU64,
    calls: AtomicU64,
    lost: AtomicU64,
    again: AtomicU64,
}

fn count(figure: &AtomicU64) {
    figure.fetch_add(1, Relaxed);
}

enum Wire {
    Udp(UdpSocket),
    Tcp(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

/// One allocation of a caller.
struct Caller<'a> {
    wire: Wire,
    client: Client,
    /// What has come of a stream and is not a whole message yet.
    begun: Vec<u8>,
    relayed: SocketAddr,
    since: Instant,
    figures: &'a Figures,
}

/// Where everything is.
struct Place {
    udp_tcp: u16,
    tls: u16,
    echo_v4: SocketAddr,
    echo_v6: SocketAddr,
    files: Files,
    names: Vec<&'static str>,
}

fn own(ipv4: bool) -> IpAddr {
    match ipv4 {
        true => Ipv4Addr::LOCALHOST.into(),
        false => Ipv6Addr::LOCALHOST.into(),
    }
}

impl<'a> Caller<'a> {
    /// `None` where somebody had the same port before and left without a word (437).
    fn arrive(place: &Place, figures: &'a Figures, random: &mut Random) -> Option<Self> {
        let to = own(random.below(2) == 0);
        let relay_v4 = random.below(2) == 0;
        let name = place.names[random.below(place.names.len() as u64) as usize];
        // As in the field: most by UDP.
        let wire = match random.below(10) {
            0 => Wire::Tcp(TcpStream::connect((to, place.udp_tcp)).unwrap()),
            1 => {
                let mut stream = place.files.connect((to, place.tls).into(), &[]);
                // With more patience than for an answer that may be lost.
                let StreamOwned { conn, sock } = &mut stream;
                conn.complete_io(sock).unwrap();
                Wire::Tls(Box::new(stream))
            }
            _ => {
                let socket = UdpSocket::bind((to, 0)).unwrap();
                socket.connect((to, place.udp_tcp)).unwrap();
                Wire::Udp(socket)
            }
        };
        let wait = Some(RETRANSMIT);
        match &wire {
            Wire::Udp(socket) => socket.set_read_timeout(wait),
            Wire::Tcp(stream) => stream
                .set_nodelay(true)
                .and_then(|()| stream.set_read_timeout(wait)),
            Wire::Tls(stream) => stream.sock.set_read_timeout(wait),
        }
        .unwrap();
        let mut caller = Caller {
            wire,
            client: Client::new(name),
            begun: Vec::new(),
            relayed: (to, 0).into(),
            since: Instant::now(),
            figures,
        };
        let answer = caller.ask(random, Method::Allocate, |message| {
            udp_transport(message);
            let family = if relay_v4 { 1 } else { 2 };
            message.attribute(attr::REQUESTED_ADDRESS_FAMILY, &[family, 0, 0, 0]);
        });
        if answer.code == 437 {
            return None;
        }
        assert_eq!(answer.code, 0);
        caller.relayed = answer.address(attr::XOR_RELAYED_ADDRESS).unwrap();
        count(&figures.allocated);
        Some(caller)
    }

    fn is_stream(&self) -> bool {
        !matches!(self.wire, Wire::Udp(_))
    }

    /// Sends one message, unless the network loses it.
    fn send(&mut self, random: &mut Random, bytes: &[u8]) {
        let stream: &mut dyn Write = match &mut self.wire {
            Wire::Udp(_) if random.loses() => return count(&self.figures.lost),
            Wire::Udp(socket) => {
                socket.send(bytes).unwrap();
                return;
            }
            Wire::Tcp(stream) => stream,
            Wire::Tls(stream) => stream,
        };
        let mut padded = bytes.to_vec();
        padded.resize(bytes.len().next_multiple_of(4), 0);
        stream.write_all(&padded).unwrap();
        stream.flush().unwrap();
    }

    /// The next message that is not lost; `None` when none comes for a while.
    fn receive(&mut self, random: &mut Random) -> Option<Vec<u8>> {
        let mut buffer = [0; 2048];
        loop {
            if let Some(message) = self.whole() {
                return Some(message);
            }
            let read = match &mut self.wire {
                Wire::Udp(socket) => socket.recv(&mut buffer),
                Wire::Tcp(stream) => stream.read(&mut buffer),
                Wire::Tls(stream) => stream.read(&mut buffer),
            };
            let count = match read {
                Ok(0) if self.is_stream() => panic!("the relay has closed a stream"),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
                Err(error) => panic!("{error}"),
            };
            if self.is_stream() {
                self.begun.extend_from_slice(&buffer[..count]);
            } else if random.loses() {
                self::count(&self.figures.lost);
            } else {
                return Some(buffer[..count].to_vec());
            }
        }
    }

    /// Takes a whole message out of what has come of a stream.
    fn whole(&mut self) -> Option<Vec<u8>> {
        let head = self.begun.first_chunk::<4>()?;
        let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
        let (whole, used) = match head[0] {
            0x00..0x40 => (20 + length, 20 + length),
            _ => (channel::padded_len(length), 4 + length),
        };
        if self.begun.len() < whole {
            return None;
        }
        let message = self.begun.drain(..whole).take(used).collect();
        Some(message)
    }

    /// Sends these bytes until what `accept` looks for has come.
    fn exchange<T>(
        &mut self,
        random: &mut Random,
        bytes: &[u8],
        accept: impl Fn(&[u8]) -> Option<T>,
    ) -> T {
        let begun = Instant::now();
        loop {
            self.send(random, bytes);
            while let Some(message) = self.receive(random) {
                if let Some(found) = accept(&message) {
                    return found;
                }
            }
            assert!(begun.elapsed() < 6 * PATIENCE, "no answer");
            count(&self.figures.again);
        }
    }

    fn ask(
        &mut self,
        random: &mut Random,
        method: Method,
        fill: impl Fn(&mut Builder<'_>),
    ) -> Answer {
        loop {
            let bytes = match self.client.nonce.is_empty() {
                true => self.client.bare(method, &fill),
                false => self.client.request(method, &fill),
            };
            let id = Message::parse(&bytes).unwrap().transaction_id();
            let answer = self.exchange(random, &bytes, |received| {
                let message = Message::parse(received).ok()?;
                (message.transaction_id() == id).then(|| received.to_vec())
            });
            let answer = self.client.read(&answer);
            if !matches!(answer.code, 401 | 438) {
                return answer;
            }
        }
    }

    fn bind(&mut self, random: &mut Random, number: u16, peer: SocketAddr) {
        let answer = self.ask(random, Method::ChannelBind, |m| bind(number, peer)(m));
        assert_eq!(answer.code, 0);
    }

    /// To the echo and back, by a channel.
    fn echo(&mut self, place: &Place, random: &mut Random) {
        let echo = match self.relayed.is_ipv4() {
            true => place.echo_v4,
            false => place.echo_v6,
        };
        self.bind(random, 0x4000, echo);
        let mut payload = vec![7; 8 + random.below(1200) as usize];
        payload[..4].copy_from_slice(&(random.below(1 << 30) as u32).to_be_bytes());
        let message = channel_data(0x4000, &payload);
        self.exchange(random, &message, |received| {
            (received == message).then_some(())
        });
        count(&self.figures.echoes);
    }

    /// To another caller of this relay.
    fn call(&mut self, other: &mut Caller<'_>, random: &mut Random) {
        self.bind(random, 0x4001, other.relayed);
        other.bind(random, 0x4001, self.relayed);
        let payload = (random.below(1 << 30) as u32).to_be_bytes();
        let message = channel_data(0x4001, &payload);
        let begun = Instant::now();
        'sending: loop {
            self.send(random, &message);
            while let Some(received) = other.receive(random) {
                if received == message {
                    break 'sending;
                }
            }
            assert!(begun.elapsed() < 6 * PATIENCE, "a call is not heard");
            count(&self.figures.again);
        }
        count(&self.figures.calls);
    }

    /// As callers do: with a word, or by hanging up.
    fn leave(mut self, random: &mut Random) {
        if !self.is_stream() || random.below(2) == 0 {
            let answer = self.ask(random, Method::Refresh, |m| m.u32(attr::LIFETIME, 0));
            // 437: the answer to the first was lost.
            assert!(matches!(answer.code, 0 | 437), "{}", answer.code);
        }
    }
}

/// Ends the echoes, even where the test fails.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

/// Sends back what comes, except what is lost.
fn echo(socket: UdpSocket, over: &AtomicBool, figures: &Figures) {
    let mut random = Random(u64::from(socket.local_addr().unwrap().is_ipv4()));
    socket.set_read_timeout(Some(RETRANSMIT)).unwrap();
    let mut buffer = [0; 2048];
    while !over.load(Relaxed) {
        if let Ok((length, from)) = socket.recv_from(&mut buffer) {
            match random.loses() {
                true => count(&figures.lost),
                false => {
                    let _ = socket.send_to(&buffer[..length], from);
                }
            }
        }
    }
}

/// Keeps about this many allocations alive until the time is over; then those still there leave.
fn come_and_go(place: &Place, figures: &Figures, seed: u64, at_a_time: usize, until: Instant) {
    let mut random = Random(seed);
    let mut callers: Vec<Caller<'_>> = Vec::new();
    // Over UDP those who leave without a word keep their allocations for ten minutes.
    let mut silent = at_a_time / 4;
    while Instant::now() < until {
        let any = random.below(callers.len().max(1) as u64) as usize;
        let old = callers
            .iter()
            .position(|caller| caller.since.elapsed() > OLD);
        if callers.len() < at_a_time && (random.below(4) > 0 || callers.len() < at_a_time / 2) {
            callers.extend(Caller::arrive(place, figures, &mut random));
        } else if let Some(old) = old {
            callers.swap_remove(old).leave(&mut random);
        } else if random.below(5) == 0 {
            let caller = callers.swap_remove(any);
            if silent > 0 && random.below(10) == 0 {
                silent -= 1;
            } else {
                caller.leave(&mut random);
            }
        } else if random.below(4) == 0 {
            let mut one = callers.swap_remove(any);
            let family = one.relayed.is_ipv4();
            let other = callers
                .iter()
                .position(|other| other.relayed.is_ipv4() == family);
            if let Some(other) = other {
                let mut other = callers.swap_remove(other);
                // A number is tied to a peer for ten minutes, so they call nobody else.
                one.call(&mut other, &mut random);
                one.leave(&mut random);
                other.leave(&mut random);
            } else {
                callers.push(one);
            }
        } else {
            callers[any].echo(place, &mut random);
        }
    }
    callers
        .into_iter()
        .for_each(|caller| caller.leave(&mut random));
}

/// All ports can be had by one owner, and as many as before by another: nothing has kept any.
fn all_is_free(place: &Place, figures: &Figures, ports: u16) {
    let mut random = Random(0);
    let mut allocate = |name| {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket
            .connect((Ipv4Addr::LOCALHOST, place.udp_tcp))
            .unwrap();
        socket.set_read_timeout(Some(RETRANSMIT)).unwrap();
        let mut caller = Caller {
            wire: Wire::Udp(socket),
            client: Client::new(name),
            begun: Vec::new(),
            relayed: (Ipv4Addr::LOCALHOST, 0).into(),
            since: Instant::now(),
            figures,
        };
        let code = caller
            .ask(&mut random, Method::Allocate, udp_transport)
            .code;
        (code, caller)
    };
    let owners = &place.names[..3];
    let mut held = Vec::new();
    let mut take = |name, count| {
        let asked: Vec<_> = (0..count).map(|_| allocate(name)).collect();
        let had = asked.iter().filter(|(code, _)| *code == 0).count();
        held.extend(asked);
        (had, allocate(name).0)
    };
    for name in owners {
        assert_eq!(take(name, 64), (64, 486), "{name}");
    }
    let left = usize::from(ports) - 64 * owners.len();
    assert_eq!(take("all", left), (left, 508));
}

#[test]
fn nothing_is_left_of_allocations_that_came_and_went() {
    if !namespace::enter("nothing_is_left_of_allocations_that_came_and_went") {
        return;
    }
    let setting = |name: &str, default: u64| {
        std::env::var(name).map_or(default, |value| value.parse().unwrap())
    };
    let lasts = Duration::from_secs(setting("MOZNODS_SOAK_SECONDS", 10));
    let at_a_time = setting("MOZNODS_SOAK_ALLOCATIONS", 400) as usize;
    raise_file_limit().unwrap();

    let users = Arc::new(Everybody::default());
    let files = Files::new();
    let any = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
    let listeners = Listeners::bind(any, 2).unwrap();
    let listeners = listeners.with_tls(any, &files.certificate()).unwrap();
    let mut config = config("127.0.0.1", &["127.0.0.0/8", "::1/128"]);
    let ipv6 = IpAddr::from(Ipv6Addr::LOCALHOST);
    config.relay.push(RelayAddress {
        public: ipv6,
        local: ipv6,
    });
    config.policy.relays.push(ipv6);
    // With room for those who leave without a word, and so few that a leak would show.
    let ports = (at_a_time * 2) as u16;
    config.relay_ports = FIRST_PORT..=FIRST_PORT + (ports - 1);
    config.limits.unauthenticated_per_second = 0;
    let relay = Relay::start(listeners, config, users.clone()).unwrap();

    let bind_echo = |ip: IpAddr| UdpSocket::bind((ip, 0)).unwrap();
    let (echo_v4, echo_v6) = (bind_echo(own(true)), bind_echo(own(false)));
    let place = Place {
        udp_tcp: relay.address().port(),
        tls: relay.tls_address().unwrap().port(),
        echo_v4: echo_v4.local_addr().unwrap(),
        echo_v6: echo_v6.local_addr().unwrap(),
        files,
        names: (0..OWNERS).map(|n| &*format!("u{n}").leak()).collect(),
    };
    let (figures, over) = (Figures::default(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let _end = End(&over);
        for socket in [echo_v4, echo_v6] {
            scope.spawn(|| echo(socket, &over, &figures));
        }
        let round = |lasts: Duration, seed: u64| {
            let until = Instant::now() + lasts;
            std::thread::scope(|scope| {
                for thread in 0..THREADS {
                    let (place, figures) = (&place, &figures);
                    let seed = seed + thread as u64;
                    scope.spawn(move || {
                        come_and_go(place, figures, seed, at_a_time / THREADS, until);
                    });
                }
            });
            let peak = resident();
            // What left without a word: as if its owners were blocked.
            users.closed.store(true, Relaxed);
            relay.review();
            wait_until("all allocations end", || live(&relay) == 0);
            users.closed.store(false, Relaxed);
            peak
        };
        // Once all buffers and tables have been as large as they get.
        round(lasts / 5, 1000);
        let before = (settle(open_files), settle(resident));
        let peak = round(lasts, 2000);
        wait_until("all files are closed", || open_files() <= before.0);
        let after = (settle(open_files), settle(resident));
        println!(
            "{} s, {at_a_time} at a time: {} allocations, {} echoes, {} calls; {} datagrams lost, {} sent again; \
             files {} → {}; resident {} → {} (at the end of the time {}) KiB",
            lasts.as_secs(),
            figures.allocated.load(Relaxed),
            figures.echoes.load(Relaxed),
            figures.calls.load(Relaxed),
            figures.lost.load(Relaxed),
            figures.again.load(Relaxed),
            before.0,
            after.0,
            before.1 >> 10,
            after.1 >> 10,
            peak >> 10,
        );
        assert_eq!(before.0, after.0);
        assert!(after.1 < before.1 + (4 << 20), "{after:?} after {before:?}");
        all_is_free(&place, &figures, ports);
    });
    assert!(figures.lost.load(Relaxed) > 0 && figures.calls.load(Relaxed) > 0);
}
