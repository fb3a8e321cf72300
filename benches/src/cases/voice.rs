//! What voice costs when there is little of it: 50 clients, each with 50 packets a second, and by how much each of them
//! is late.

use std::time::Duration;

use moznods_bench::stats::percentile;

use super::Settings;
use super::packets::{self, FLOOR, Traffic};
use crate::forward::{Engine, Sockets, Way};
use crate::report::{Bound, CaseResult, Rounds};
use crate::servers::{BenchError, Kind};

/// 50 clients, 50 packets a second each.
const INTERVAL: Duration = Duration::from_micros(20_000 / 50);
/// Rounds for each one that is asked for, as many times shorter: what the machine does besides comes and goes.
const MORE_ROUNDS: usize = 4;

pub fn run(settings: &Settings) -> Result<CaseResult, BenchError> {
    let traffic = Traffic {
        window: 1,
        ..Traffic::single(Way::Out, 160)
    };
    let ours = Kind::Ours { workers: 1 };
    let subjects = [
        ("moznods", packets::relayed(ours, settings, traffic)?),
        ("coturn", packets::relayed(Kind::Coturn, settings, traffic)?),
        (FLOOR, packets::floor(Engine::Mmsg, Sockets::One, traffic)?),
    ];
    let mut rounds = subjects.each_ref().map(|(name, _)| Rounds::of(*name));
    let measured = settings.measured / MORE_ROUNDS as u32;
    for round in 0..settings.rounds * MORE_ROUNDS {
        for turn in 0..subjects.len() {
            let index = (turn + round) % subjects.len();
            let (process, flow) = subjects[index].1.parts();
            let (mut before, mut after) = (Ok(Duration::ZERO), Ok(Duration::ZERO));
            let (sent, mut delays) = flow.pace(
                INTERVAL,
                measured,
                || before = process.cpu(),
                || after = process.cpu(),
            )?;
            let microseconds = |nanoseconds: u64| nanoseconds as f64 / 1000.0;
            let cpu = after?.saturating_sub(before?).as_secs_f64() / measured.as_secs_f64();
            let loss = 1.0 - delays.len() as f64 / sent.max(1) as f64;
            let p99 = microseconds(percentile(&mut delays, 99.0));
            rounds[index].add(
                microseconds(percentile(&mut delays, 50.0)),
                &[("p99", p99), ("busy", cpu), ("loss", loss)],
            );
        }
    }
    let mut result = CaseResult {
        name: "voice".to_owned(),
        title: "50 clients with 50 packets a second each, delay at the median".to_owned(),
        unit: "µs",
        subjects: rounds.map(Rounds::subject).into(),
        goals: Vec::new(),
    };
    let more = |name: &str| result.median(name) - result.median(FLOOR);
    let more_p99 = result.detail("moznods", "p99") - result.detail(FLOOR, "p99");
    let cpu = result.detail("moznods", "busy") / result.detail("coturn", "busy");
    let p50 = more("moznods");
    result.hold("p50 over the forwarder, µs:", p50, Bound::AtMost(5.0));
    result.hold("p99 over the forwarder, µs:", more_p99, Bound::AtMost(30.0));
    result.hold("CPU time through coturn:", cpu, Bound::AtMost(0.8));
    Ok(result)
}
