//! Sockets and threads that drive [`crate::server::Server`]: one worker per core, each with listening sockets
//! of its own (`SO_REUSEPORT`), its own server and its own allocations.

pub mod address;
mod alarm;
mod batch;
mod lanes;
mod listen;
mod mail;
mod mmsg;
pub mod proxied;
mod relay;
mod stream;
mod sys;
mod tcp;
pub mod tls;
mod worker;

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use mio::{Poll, Waker};
use rustls::ServerConnection;

use crate::auth::{Authenticator, Owner};
use crate::policy::PeerPolicy;
use crate::server::{
    AllocationInfo, Common, Config, FiveTuple, Limits, RelayAddress, Transport, Usage, Which,
};
use crate::stats::Stats;

pub use listen::{BindError, Listeners, MAX_WORKERS, UDP_BUFFER};
use mail::{Letter, Post};
use stream::Connection;
pub use stream::{NotTurn, message_len};
pub use sys::{clock_is_synchronized, give_memory_back, raise_file_limit, sends_segments};

/// What the names of its threads begin with.
pub const THREADS: &str = "relay-";

/// A running relay. Dropping it ends its threads, and with them all allocations.
#[derive(Debug)]
pub struct Relay {
    workers: Vec<Handle>,
    post: Post,
    stop: Arc<AtomicBool>,
    common: Arc<Common>,
    address: SocketAddr,
    tls_address: Option<SocketAddr>,
    /// Streams that were accepted elsewhere; they go to all workers in turn.
    adopted: AtomicUsize,
}

#[derive(Debug)]
struct Handle {
    stats: Arc<Stats>,
    thread: Option<JoinHandle<()>>,
}

impl Relay {
    /// Starts serving. Fails when the settings cannot be served ([`BadConfig`](crate::server::BadConfig)), or the system refuses a thread or
    /// an event queue.
    pub fn start(
        listeners: Listeners,
        config: Config,
        authenticator: Arc<dyn Authenticator>,
    ) -> io::Result<Relay> {
        let address = listeners.address();
        let common = Common::new(config, authenticator, &rand::random())
            .map_err(|bad| io::Error::new(io::ErrorKind::InvalidInput, bad))?;
        let stop = Arc::new(AtomicBool::new(false));
        let polls: Vec<Poll> = listeners
            .workers
            .iter()
            .map(|_| Poll::new())
            .collect::<io::Result<_>>()?;
        let wakers: Vec<Waker> = polls
            .iter()
            .map(|poll| Waker::new(poll.registry(), worker::WAKER))
            .collect::<io::Result<_>>()?;
        let post = Post::new(wakers);
        let mut relay = Relay {
            workers: Vec::with_capacity(listeners.workers.len()),
            post: post.clone(),
            stop: Arc::clone(&stop),
            common: Arc::clone(&common),
            address,
            tls_address: listeners.tls_address(),
            adopted: AtomicUsize::new(0),
        };
        let tls = listeners.tls.map(|(_, config)| config);
        let balancers: Arc<[IpNet]> = listeners.balancers.into();
        let all = listeners.workers.into_iter().zip(polls);
        for (index, (sockets, poll)) in (0..=u8::MAX).zip(all) {
            let worker = worker::Worker::new(
                index,
                poll,
                sockets,
                (tls.clone(), Arc::clone(&balancers)),
                Arc::clone(&common),
                post.clone(),
                Arc::clone(&stop),
            )?;
            let stats = worker.stats();
            let thread = std::thread::Builder::new()
                .name(format!("{THREADS}{index}"))
                .spawn(move || worker.run())?;
            relay.workers.push(Handle {
                stats,
                thread: Some(thread),
            });
        }
        Ok(relay)
    }

    /// Where clients arrive.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where clients arrive over TLS, if they can.
    pub fn tls_address(&self) -> Option<SocketAddr> {
        self.tls_address
    }

    /// From where it relays.
    pub fn relay_addresses(&self) -> &[RelayAddress] {
        &self.common.config().relay
    }

    /// Serves, from now on, a client over TLS that somebody else has accepted and shaken hands with: a port that the relay
    /// shares with others. What has come of it and has not been read counts. `client` is its address as it would see it.
    ///
    /// Fails when the socket does, or a worker has more to do than it can; the stream is closed then.
    pub fn adopt(
        &self,
        socket: TcpStream,
        tls: ServerConnection,
        client: SocketAddr,
    ) -> io::Result<()> {
        socket.set_nonblocking(true)?;
        // A listener of both families shows those of IPv4 in IPv6's clothes.
        let canonical = |at: SocketAddr| SocketAddr::new(at.ip().to_canonical(), at.port());
        let tuple = FiveTuple {
            transport: Transport::Tls,
            client: canonical(client),
            server: canonical(socket.local_addr()?),
        };
        let stream = Connection::adopted(mio::net::TcpStream::from_std(socket), tls, tuple);
        let turn = self.adopted.fetch_add(1, Ordering::Relaxed);
        let worker = turn.checked_rem(self.workers.len()).unwrap_or(0);
        let sent = self.post.send(worker, Letter::Stream(Box::new(stream)));
        sent.map_err(|_| io::Error::other("the relay takes no more streams"))
    }

    /// Has each worker ask [`Authenticator::permits`] about the owners of its allocations and end those that are
    /// refused, within moments. To be called after someone has lost the right to relay.
    pub fn review(&self) {
        self.post.review();
    }

    /// Sets another peer policy; what it refuses ends within moments, calls with it, and no more.
    pub fn set_policy(&self, policy: PeerPolicy) {
        self.common.set_policy(policy);
        self.review();
    }

    /// As [`Relay::set_policy`], made of the one there is.
    pub fn change_policy(&self, change: impl FnOnce(&mut PeerPolicy)) {
        self.common.change_policy(change);
        self.review();
    }

    /// Sets other limits, within moments. Whoever has more allocations than they allow keeps them.
    pub fn set_limits(&self, limits: Limits) {
        self.common.set_limits(limits, Instant::now());
        self.review();
    }

    /// From now on no allocation is made (508); those there are live on.
    pub fn drain(&self) {
        self.common.drain();
    }

    /// Whether it has been told to [`drain`](Relay::drain).
    pub fn is_draining(&self) -> bool {
        self.common.is_draining()
    }

    /// Live allocations.
    pub fn allocations(&self) -> u64 {
        let live = |stats: &Stats| stats.allocations.load(Ordering::Relaxed);
        self.stats().map(live).sum()
    }

    /// Every live allocation as it is now, in no order. Blocks until all workers have answered, for `wait` at most.
    pub fn list(&self, wait: Duration) -> Result<Vec<AllocationInfo>, Unanswered> {
        let lists = self.ask(Letter::List, wait)?;
        Ok(lists.into_iter().flatten().collect())
    }

    /// Ends allocations, and says how many. Blocks as [`Relay::list`] does.
    pub fn kill(&self, which: Which, wait: Duration) -> Result<usize, Unanswered> {
        let ended = self.ask(|answer| Letter::Kill(which, answer), wait)?;
        Ok(ended.into_iter().sum())
    }

    /// What each owner has had relayed since this was last asked, live allocations among it. Blocks as [`Relay::list`]
    /// does; what a worker that does not answer in time has counted comes the next time.
    pub fn take_usage(&self, wait: Duration) -> HashMap<Owner, Usage> {
        if self.allocations() > 0 {
            let _ = self.ask(Letter::Tally, wait);
        }
        self.common.take_usage()
    }

    /// The answer of each worker.
    fn ask<T>(
        &self,
        letter: impl Fn(Sender<T>) -> Letter,
        wait: Duration,
    ) -> Result<Vec<T>, Unanswered> {
        let (sender, answers) = mpsc::channel();
        for worker in 0..self.workers.len() {
            let sent = self.post.send(worker, letter(sender.clone()));
            sent.map_err(|_| Unanswered)?;
        }
        let end = Instant::now() + wait;
        let answer = |_| answers.recv_timeout(end.saturating_duration_since(Instant::now()));
        let all = (0..self.workers.len()).map(answer);
        all.collect::<Result<_, _>>().map_err(|_| Unanswered)
    }

    /// Whether all workers run. One that does not has logged why; its clients are not served.
    pub fn is_healthy(&self) -> bool {
        let running = |worker: &Handle| {
            worker
                .thread
                .as_ref()
                .is_some_and(|thread| !thread.is_finished())
        };
        self.workers.iter().all(running)
    }

    /// Whether all workers still take their mail. Blocks as [`Relay::list`] does.
    pub fn answers(&self, wait: Duration) -> Result<(), Unanswered> {
        self.ask(Letter::Answer, wait).map(|_| ())
    }

    /// Counters of each worker.
    pub fn stats(&self) -> impl Iterator<Item = &Stats> {
        self.workers.iter().map(|worker| &*worker.stats)
    }
}

/// A worker has not answered in time: it does not run, or has more to do than it can.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the relay does not answer")]
pub struct Unanswered;

impl Drop for Relay {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.post.wake();
        for worker in &mut self.workers {
            if let Some(thread) = worker.thread.take() {
                let _ = thread.join();
            }
        }
    }
}
