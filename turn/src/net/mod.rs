//! Sockets and threads that drive [`crate::server::Server`]: one worker per core, each with listening sockets
//! of its own (`SO_REUSEPORT`), its own server and its own allocations.

pub mod address;
mod listen;
mod stream;
mod sys;
pub mod tls;
mod worker;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use mio::Waker;

use crate::auth::Authenticator;
use crate::policy::PeerPolicy;
use crate::server::{Common, Config};
use crate::stats::Stats;

pub use listen::{BindError, Listeners};
pub use sys::raise_file_limit;

/// A running relay. Dropping it ends its threads, and with them all allocations.
#[derive(Debug)]
pub struct Relay {
    workers: Vec<Handle>,
    stop: Arc<AtomicBool>,
    common: Arc<Common>,
    address: SocketAddr,
    tls_address: Option<SocketAddr>,
}

#[derive(Debug)]
struct Handle {
    review: Arc<AtomicBool>,
    waker: Arc<Waker>,
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
        let mut relay = Relay {
            workers: Vec::with_capacity(listeners.workers.len()),
            stop: Arc::clone(&stop),
            common: Arc::clone(&common),
            address,
            tls_address: listeners.tls_address(),
        };
        let tls = listeners.tls.map(|(_, config)| config);
        for (index, sockets) in listeners.workers.into_iter().enumerate() {
            let review = Arc::new(AtomicBool::new(false));
            let worker = worker::Worker::new(
                sockets,
                tls.clone(),
                Arc::clone(&common),
                Arc::clone(&review),
                Arc::clone(&stop),
            )?;
            let (waker, stats) = (worker.waker(), worker.stats());
            let thread = std::thread::Builder::new()
                .name(format!("relay-{index}"))
                .spawn(move || worker.run())?;
            relay.workers.push(Handle {
                review,
                waker,
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

    /// Has each worker ask [`Authenticator::permits`] about the owners of its allocations and end those that are
    /// refused, within moments. To be called after someone has lost the right to relay.
    pub fn review(&self) {
        for worker in &self.workers {
            worker.review.store(true, Ordering::Release);
            let _ = worker.waker.wake();
        }
    }

    /// Sets another peer policy; what it refuses ends within moments, calls with it, and no more.
    pub fn set_policy(&self, policy: PeerPolicy) {
        self.common.set_policy(policy);
        self.review();
    }

    /// From now on no allocation is made (508); those there are live on.
    pub fn drain(&self) {
        self.common.drain();
    }

    /// Live allocations.
    pub fn allocations(&self) -> u64 {
        let live = |stats: &Stats| stats.allocations.load(Ordering::Relaxed);
        self.stats().map(live).sum()
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

    /// Counters of each worker.
    pub fn stats(&self) -> impl Iterator<Item = &Stats> {
        self.workers.iter().map(|worker| &*worker.stats)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for worker in &self.workers {
            let _ = worker.waker.wake();
        }
        for worker in &mut self.workers {
            if let Some(thread) = worker.thread.take() {
                let _ = thread.join();
            }
        }
    }
}
