//! How much of what it can carry the relay of this process carries.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use moznods_turn::net::{Relay, THREADS};
use procfs::process::Process;

/// What a relay had to do lately.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Load {
    /// Of processor or line, whichever is nearer to its end, in thousandths.
    pub thousandths: u16,
    /// Payload passed on, both ways together.
    pub bytes_per_second: u64,
}

#[derive(Debug)]
pub struct LoadMeter {
    last: Sample,
    /// 0 to 1, of the last seconds, the newest the most.
    load: f64,
    cores: f64,
}

#[derive(Debug, Clone, Copy)]
struct Sample {
    at: Instant,
    bytes: u64,
    /// Seconds of processor that the relay's threads have taken.
    relay: f64,
    /// And the whole process.
    all: f64,
}

impl LoadMeter {
    pub fn new(relay: &Relay) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        LoadMeter {
            last: sample(relay),
            load: 0.0,
            cores: cores as f64,
        }
    }

    /// To be asked every second or so. `line_mbit` 0: the processor alone tells.
    pub fn measure(&mut self, relay: &Relay, line_mbit: u32) -> Load {
        let now = sample(relay);
        let last = std::mem::replace(&mut self.last, now);
        let threads = relay.stats().count() as f64;
        let seconds = (now.at - last.at).as_secs_f64().max(0.001);
        let bytes = now.bytes.saturating_sub(last.bytes) as f64 / seconds;
        let of_workers = (now.relay - last.relay) / seconds / threads.clamp(1.0, self.cores);
        // Chat takes of the same cores.
        let of_process = (now.all - last.all) / seconds / self.cores;
        let of_line = match line_mbit {
            0 => 0.0,
            // What comes in goes out: each way the line has all of it.
            mbit => bytes * 8.0 / (f64::from(mbit) * 1e6),
        };
        let most = of_workers.max(of_process).max(of_line).clamp(0.0, 1.0);
        // A second alone says little.
        self.load = self.load.midpoint(most);
        Load {
            thousandths: (self.load * 1000.0) as u16,
            bytes_per_second: bytes as u64,
        }
    }
}

/// What the system does not tell counts as nothing.
fn sample(relay: &Relay) -> Sample {
    let ticks = procfs::ticks_per_second() as f64;
    let process = Process::myself().ok();
    let of_threads = || {
        let stats = process.as_ref()?.tasks().ok()?.flatten();
        let stats = stats.filter_map(|task| task.stat().ok());
        let workers = stats.filter(|stat| stat.comm.starts_with(THREADS));
        Some(workers.map(|stat| stat.utime + stat.stime).sum::<u64>() as f64)
    };
    let of_process = || {
        let stat = process.as_ref()?.stat().ok()?;
        Some((stat.utime + stat.stime) as f64)
    };
    Sample {
        at: Instant::now(),
        bytes: relay
            .stats()
            .map(|stats| stats.to_peer.bytes.load(Relaxed) + stats.to_client.bytes.load(Relaxed))
            .sum(),
        relay: of_threads().unwrap_or(0.0) / ticks,
        all: of_process().unwrap_or(0.0) / ticks,
    }
}
