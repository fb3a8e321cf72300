//! The machine: limits, buffers, kernel, clock.

use std::net::{Ipv6Addr, UdpSocket};

use moznods_turn::net::{self, UDP_BUFFER};
use socket2::{Domain, Socket, Type};

use super::Running;
use super::report::{Report, size};
use crate::cli::Outcome;
use crate::config::Config;

/// Open files beside those of the relay: connections of people, database, uploads.
const OTHERS: u64 = 1024;

pub fn look(config: &Config, running: Option<&Running>, report: &mut Report) -> Outcome {
    files(config, running, report)?;
    if config.turn.enabled {
        buffers(report)?;
        kernel(config, report)?;
    }
    match net::clock_is_synchronized() {
        Ok(true) => report.right("clock", "clock_right", &[]),
        Ok(false) => report.better("clock", "clock_free", &[]),
        Err(error) => report.unknown("clock", "clock_unknown", &[("error", &error.to_string())]),
    }
}

fn files(config: &Config, running: Option<&Running>, report: &mut Report) -> Outcome {
    let relay = match config.turn.enabled {
        true => config.turn.relay_ports.len() as u64,
        false => 0,
    };
    let of_server = running.and_then(|running| limit_of(running.process?));
    // A server that starts raises its limit as far as it may, as this does.
    let limit = match of_server.map_or_else(net::raise_file_limit, Ok) {
        Ok(limit) => limit,
        Err(error) => {
            return report.unknown("files", "files_unknown", &[("error", &error.to_string())]);
        }
    };
    let wanted = relay + OTHERS;
    let shown = (limit.to_string(), wanted.to_string());
    let values = [("limit", &*shown.0), ("wanted", &*shown.1)];
    match limit < wanted {
        true => report.wrong("files", "files_low", &values),
        false => report.right("files", "files_right", &values),
    }
}

/// Of another process.
fn limit_of(process: i32) -> Option<u64> {
    let limits = std::fs::read_to_string(format!("/proc/{process}/limits")).ok()?;
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    match line.split_whitespace().next()? {
        "unlimited" => Some(u64::MAX),
        soft => soft.parse().ok(),
    }
}

fn buffers(report: &mut Report) -> Outcome {
    let given = || {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
        socket.set_recv_buffer_size(UDP_BUFFER)?;
        socket.set_send_buffer_size(UDP_BUFFER)?;
        // Linux counts what it needs for itself as well.
        let given = socket.recv_buffer_size()?.min(socket.send_buffer_size()?) / 2;
        std::io::Result::Ok(given as u64)
    };
    match given() {
        Ok(given) => {
            let wanted = UDP_BUFFER as u64;
            let shown = (size(given), wanted.to_string(), size(wanted));
            let values = [
                ("given", &*shown.0),
                ("bytes", &*shown.1),
                ("wanted", &*shown.2),
            ];
            match given < wanted {
                true => report.better("buffers", "buffers_small", &values),
                false => report.right("buffers", "buffers_right", &values),
            }
        }
        Err(error) => report.unknown(
            "buffers",
            "buffers_unknown",
            &[("error", &error.to_string())],
        ),
    }
}

fn kernel(config: &Config, report: &mut Report) -> Outcome {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let values = [("release", release.trim())];
    match net::sends_segments() {
        true => report.right("kernel", "kernel_right", &values)?,
        false => report.better("kernel", "kernel_old", &values)?,
    }
    let wants_ipv6 = config.turn.listen.is_ipv6() || config.http.listen.is_ipv6();
    match UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)) {
        Err(_) if wants_ipv6 => report.unknown("kernel", "kernel_ipv4", &[]),
        _ => Ok(()),
    }
}
