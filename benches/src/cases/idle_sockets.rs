//! What a socket costs on which nothing is said, and what the server does with nobody there.

use std::time::Duration;

use super::Settings;
use crate::chat::Chat;
use crate::report::{Bound, CaseResult, Rounds};
use crate::servers::{BenchError, CLIENTS, LOAD_CORE, SERVER_CORE};
use crate::websocket::Fleet;

const SOCKETS: usize = 10_000;
/// Of one user: fewer than one may have.
const EACH: usize = 50;
/// KiB of each.
const COST: f64 = 12.0;
/// MiB of the server alone.
const ALONE: f64 = 25.0;
const KIB: f64 = 1024.0;

pub fn run(settings: &Settings) -> Result<CaseResult, BenchError> {
    // As people run it: on all cores, with the relay.
    let relay = ["--turn-listen=127.0.0.1:0", "--turn-external-ip=127.0.0.1"];
    let both = [SERVER_CORE, LOAD_CORE];
    let alone = Chat::start_on(&settings.binary, &both, &relay)?;
    std::thread::sleep(Duration::from_secs(1));
    let idle = alone.process.resident()? as f64 / KIB / KIB;
    drop(alone);

    let chat = Chat::start(&settings.binary, &["--turn-enabled=false"])?;
    let users = chat.users(SOCKETS / EACH)?;
    let mut fleet = Fleet::new()?;
    let mut connect = |count: usize| -> Result<(), BenchError> {
        for socket in 0..count {
            let token = &users[socket % users.len()].token;
            let path = format!("/ws/notifications/?token={token}");
            fleet.connect(CLIENTS, chat.address, &path)?;
            // Pings are answered meanwhile.
            if socket % 100 == 0 {
                fleet.receive(Duration::ZERO, |_, _| {})?;
            }
        }
        Ok(fleet.settle(Duration::from_millis(500))?)
    };
    // So that what the first ones make for all is there.
    connect(users.len())?;
    let before = chat.process.resident()? as f64;
    connect(SOCKETS)?;
    let each = (chat.process.resident()? as f64 - before) / KIB / SOCKETS as f64;
    let mut rounds = Rounds::of("moznods");
    rounds.add(each, &[("MiB of the server alone", idle)]);
    let mut result = CaseResult {
        name: "idle-sockets".to_owned(),
        title: format!("{SOCKETS} idle sockets, resident memory of each"),
        unit: "KiB",
        subjects: vec![rounds.subject()],
        goals: Vec::new(),
    };
    result.hold("KiB:", each, Bound::AtMost(COST));
    result.hold("MiB of the server alone:", idle, Bound::AtMost(ALONE));
    Ok(result)
}
