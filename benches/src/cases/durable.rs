//! How many messages a second are on the disk before they are answered, held against a program that only inserts rows.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::Settings;
use super::room::frame;
use crate::chat::Chat;
use crate::report::{Bound, CaseResult, Rounds};
use crate::servers::{BenchError, CLIENTS, LOAD_CORE, Process, SERVER_CORE};
use crate::websocket::Fleet;

const SENDERS: usize = 64;
/// Of a user, each in a room of its own: what is told to others is measured elsewhere.
const EACH: usize = 16;
const FLOOR: &str = "insert loop";

pub fn run(settings: &Settings) -> Result<CaseResult, BenchError> {
    let chat = Chat::start(&settings.binary, &["--turn-enabled=false"])?;
    let users = chat.users(SENDERS / EACH)?;
    let mut fleet = Fleet::new()?;
    for sender in 0..SENDERS {
        let user = &users[sender % users.len()];
        let room = chat.room(std::slice::from_ref(user))?;
        let path = format!("/ws/chat/{room}/?token={}", user.token);
        fleet.connect(CLIENTS, chat.address, &path)?;
    }
    fleet.settle(Duration::from_millis(300))?;
    let mut rounds = [Rounds::of("moznods"), Rounds::of(FLOOR)];
    for _ in 0..settings.rounds {
        echo(&mut fleet, settings.warm_up)?;
        let before = chat.process.cpu()?;
        let started = Instant::now();
        let stored = echo(&mut fleet, settings.measured)?;
        let seconds = started.elapsed().as_secs_f64();
        let cpu = chat.process.cpu()?.saturating_sub(before).as_secs_f64();
        rounds[0].add(stored as f64 / seconds, &[("busy", cpu / seconds)]);
        rounds[1].add(floor(settings.measured)?, &[]);
    }
    let mut result = CaseResult {
        name: "durable-messages".to_owned(),
        title: format!(
            "{SENDERS} senders over sockets, each of whom waits for his message to come back"
        ),
        unit: "messages per second",
        subjects: rounds.map(Rounds::subject).into(),
        goals: Vec::new(),
    };
    result.hold_against(FLOOR, Bound::AtLeast(0.6));
    Ok(result)
}

/// Each writes again once he has his own back; how many have come back in that time.
fn echo(fleet: &mut Fleet, time: Duration) -> Result<u64, BenchError> {
    for sender in 0..SENDERS {
        fleet.send(sender, &frame(sender, 0))?;
    }
    let end = Instant::now() + time;
    let mut stored = 0;
    let mut back = Vec::new();
    while Instant::now() < end {
        fleet.receive(Duration::from_millis(10), |client, _| back.push(client))?;
        stored += back.len() as u64;
        for sender in back.drain(..) {
            fleet.send(sender, &frame(sender, stored))?;
        }
    }
    fleet.settle(Duration::from_millis(50))?;
    Ok(stored)
}

/// On both cores, as ours with its load is.
fn floor(time: Duration) -> Result<f64, BenchError> {
    let directory = TempDir::new()?;
    let mut command = Command::new(std::env::current_exe()?);
    command
        .arg("insert")
        .arg("--directory")
        .arg(directory.path());
    command.args(["--threads", &SENDERS.to_string()]);
    command.args(["--milliseconds", &time.as_millis().to_string()]);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut process = Process::start(&mut command, &[SERVER_CORE, LOAD_CORE], Some(directory))?;
    let line = process.line()?;
    match line.trim().parse::<f64>() {
        Ok(written) => Ok(written / time.as_secs_f64()),
        Err(_) => Err(BenchError::NotStarted {
            name: FLOOR,
            why: "its error is above".to_owned(),
        }),
    }
}
