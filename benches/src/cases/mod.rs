//! What is measured, by name.

mod allocate;
mod durable;
mod history;
mod idle;
mod idle_sockets;
mod many;
mod nodes;
mod packets;
mod room;
mod streams;
mod voice;
mod workers;

use std::path::PathBuf;
use std::time::Duration;

use crate::report::CaseResult;
use crate::servers::BenchError;

/// How to measure.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Our server.
    pub binary: PathBuf,
    /// Each of them measures all subjects of a case in turn.
    pub rounds: usize,
    pub warm_up: Duration,
    /// Of one subject in one round.
    pub measured: Duration,
}

type Run = dyn Fn(&Settings) -> Result<CaseResult, BenchError>;

/// One case.
pub struct Case {
    pub name: String,
    pub run: Box<Run>,
}

impl Case {
    fn new(
        name: &str,
        run: impl Fn(&Settings) -> Result<CaseResult, BenchError> + 'static,
    ) -> Self {
        Case {
            name: name.to_owned(),
            run: Box::new(run),
        }
    }
}

/// All there are, in the order in which they are run.
pub fn all() -> Vec<Case> {
    let mut cases = packets::cases();
    cases.extend([
        Case::new("voice", voice::run),
        Case::new("idle-memory", idle::run),
        Case::new("allocate", allocate::run),
        Case::new("many-idle", many::run),
        Case::new("two-workers", workers::run),
    ]);
    cases.extend(streams::cases());
    cases.extend([
        Case::new("room-1000", room::run),
        Case::new("durable-messages", durable::run),
        Case::new("idle-sockets", idle_sockets::run),
        Case::new("history-1m", history::run),
        Case::new("nodes", nodes::run),
    ]);
    cases
}

/// Those of these names, or all.
pub fn named(names: &[String]) -> Result<Vec<Case>, BenchError> {
    let mut cases = all();
    if names.is_empty() {
        return Ok(cases);
    }
    let unknown = names
        .iter()
        .find(|&name| cases.iter().all(|case| case.name != *name));
    match unknown {
        Some(name) => Err(BenchError::NoCase(name.clone())),
        None => {
            cases.retain(|case| names.contains(&case.name));
            Ok(cases)
        }
    }
}
