//! Whether allocations that say nothing cost those that do.

use super::Settings;
use super::packets::{self, Traffic};
use crate::forward::{Engine, Sockets, Way};
use crate::report::{Bound, CaseResult};
use crate::servers::{BenchError, Kind};

const ALLOCATIONS: usize = 16_000;
/// 2 % of them.
const BUSY: usize = ALLOCATIONS / 50;
const FEW: usize = 16;

pub fn run(settings: &Settings) -> Result<CaseResult, BenchError> {
    let traffic = |clients, idle| Traffic {
        clients,
        idle,
        ..Traffic::single(Way::Out, 160)
    };
    let start = |clients, idle| {
        let ours = Kind::Ours { workers: 1 };
        packets::relayed(ours, settings, traffic(clients, idle))
    };
    let floor = |clients| packets::floor(Engine::Mmsg, Sockets::Each, traffic(clients, 0));
    let few = format!("{FEW} allocations");
    let subjects = vec![
        (
            "16,000 allocations, 320 busy",
            start(BUSY, ALLOCATIONS - BUSY)?,
        ),
        ("320 allocations, all busy", start(BUSY, 0)?),
        ("16 allocations, all busy", start(FEW, 0)?),
        ("forwarder, 320 sockets", floor(BUSY)?),
        ("forwarder, 16 sockets", floor(FEW)?),
    ];
    let name = "many-idle".to_owned();
    let title = format!("{ALLOCATIONS} allocations, 2 % of them busy, held against {few}");
    let mut result = packets::measure(settings, name, title, subjects)?;
    let cost = |than: &str| result.median(than) / result.subjects[0].median;
    let (cost, idle) = (
        cost("16 allocations, all busy"),
        cost("320 allocations, all busy"),
    );
    result.hold(
        "cost per packet, through 16 allocations:",
        cost,
        Bound::AtMost(1.2),
    );
    result.hold(
        "cost per packet, through the busy alone:",
        idle,
        Bound::AtMost(1.2),
    );
    Ok(result)
}
