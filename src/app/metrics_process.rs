//! What the process takes of the machine, by the names that programs of all kinds have for it.

use std::fmt;

use moznods_storage::Timestamp;
use procfs::process::{LimitValue, Process};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::now;

/// Read when it is asked for; what cannot be read is left out.
#[derive(Debug)]
pub struct ProcessFigures {
    started: Timestamp,
}

impl ProcessFigures {
    /// At the start of the process, which a hardened service may not look up.
    pub fn new() -> Self {
        ProcessFigures { started: now() }
    }
}

impl Collector for ProcessFigures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Ok(process) = Process::myself() else {
            return Ok(());
        };
        let mut gauge = |name, help, value: Option<f64>| -> Result<(), fmt::Error> {
            let Some(value) = value else { return Ok(()) };
            let descriptor = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            ConstGauge::new(value).encode(descriptor)
        };
        let stat = process.stat().ok();
        let of_stat =
            |read: fn(&procfs::process::Stat) -> u64| stat.as_ref().map(|stat| read(stat) as f64);
        let ticks = procfs::ticks_per_second() as f64;
        gauge(
            "process_resident_memory_bytes",
            "Resident memory size in bytes",
            of_stat(|stat| stat.rss * procfs::page_size()),
        )?;
        gauge(
            "process_virtual_memory_bytes",
            "Virtual memory size in bytes",
            of_stat(|stat| stat.vsize),
        )?;
        gauge(
            "process_start_time_seconds",
            "Start time of the process since unix epoch in seconds",
            Some(self.started as f64 / 1e6),
        )?;
        gauge(
            "process_threads",
            "Number of OS threads in the process",
            of_stat(|stat| stat.num_threads.unsigned_abs()),
        )?;
        gauge(
            "process_open_fds",
            "Number of open file descriptors",
            process.fd_count().ok().map(|count| count as f64),
        )?;
        let most = process
            .limits()
            .map(|limits| limits.max_open_files.soft_limit);
        gauge(
            "process_max_fds",
            "Maximum number of open file descriptors",
            match most {
                Ok(LimitValue::Value(most)) => Some(most as f64),
                Ok(LimitValue::Unlimited) | Err(_) => None,
            },
        )?;
        let Some(spent) = of_stat(|stat| stat.utime + stat.stime) else {
            return Ok(());
        };
        let help = "Total user and system CPU time spent in seconds";
        let descriptor =
            encoder.encode_descriptor("process_cpu_seconds", help, None, MetricType::Counter)?;
        ConstCounter::new(spent / ticks).encode(descriptor)
    }
}
