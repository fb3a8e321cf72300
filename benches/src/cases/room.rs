//! What it costs to tell all who listen to a room, held against a program that does nothing else.

use std::io::{self};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::Settings;
use crate::chat::Chat;
use crate::floors::content;
use crate::report::{Bound, CaseResult, Rounds};
use crate::servers::{BenchError, CLIENTS, Process, SERVER_CORE};
use crate::websocket::Fleet;

const SOCKETS: usize = 1000;
/// Sockets of one user: fewer than one may have.
const EACH: usize = 50;
/// Who write, each of them once his last message has come back.
const SENDERS: usize = 8;
const FLOOR: &str = "broadcaster";

/// A server, and those who listen to it.
pub(super) struct Room {
    /// Its nodes.
    processes: Vec<Process>,
    fleet: Fleet,
    /// By who writes: how many messages.
    sent: Vec<u64>,
    /// What a sender writes.
    write: Box<dyn Fn(usize, u64) -> String>,
}

pub fn run(settings: &Settings) -> Result<CaseResult, BenchError> {
    let (mut ours, length) = ours(settings)?;
    let mut floor = floor(length)?;
    let mut rounds = [Rounds::of("moznods"), Rounds::of(FLOOR)];
    for round in 0..settings.rounds {
        for turn in 0..2 {
            let index = (turn + round) % 2;
            let room = match index {
                0 => &mut ours,
                _ => &mut floor,
            };
            room.measure(settings, &mut rounds[index])?;
        }
    }
    let mut result = CaseResult {
        name: "room-1000".to_owned(),
        title: format!("a room of {SOCKETS} sockets, {SENDERS} of which write"),
        unit: "deliveries per CPU-second",
        subjects: rounds.map(Rounds::subject).into(),
        goals: Vec::new(),
    };
    result.hold_against(FLOOR, Bound::AtLeast(0.7));
    Ok(result)
}

impl Room {
    pub fn measure(&mut self, settings: &Settings, rounds: &mut Rounds) -> Result<(), BenchError> {
        self.run(settings.warm_up)?;
        let before = self.cpu()?;
        let started = Instant::now();
        let delivered = self.run(settings.measured)?;
        let seconds = started.elapsed().as_secs_f64();
        let cpu = (self.cpu()?.saturating_sub(before)).as_secs_f64();
        rounds.add(
            delivered as f64 / cpu,
            &[
                ("busy", cpu / seconds),
                ("per second", delivered as f64 / seconds),
            ],
        );
        Ok(self.fleet.settle(Duration::from_millis(20))?)
    }

    fn cpu(&self) -> io::Result<Duration> {
        self.processes.iter().map(Process::cpu).sum()
    }

    /// Has the senders write for so long; how many frames have arrived at all.
    fn run(&mut self, time: Duration) -> io::Result<u64> {
        let (fleet, sent) = (&mut self.fleet, &mut self.sent);
        for (sender, number) in sent.iter_mut().enumerate() {
            *number += 1;
            fleet.send(sender, &(self.write)(sender, *number))?;
        }
        let end = Instant::now() + time;
        let mut arrived = 0;
        let mut back = Vec::new();
        let senders = sent.len();
        while Instant::now() < end {
            fleet.receive(Duration::from_millis(10), |client, text| {
                arrived += 1;
                if client < senders {
                    let own = format!("s{client}-{:08}", sent[client]);
                    if text.windows(own.len()).any(|part| part == own.as_bytes()) {
                        back.push(client);
                    }
                }
            })?;
            for sender in back.drain(..) {
                sent[sender] += 1;
                fleet.send(sender, &(self.write)(sender, sent[sender]))?;
            }
        }
        Ok(arrived)
    }
}

/// Ours, and the length of one frame that comes from it.
fn ours(settings: &Settings) -> Result<(Room, usize), BenchError> {
    let nodes = vec![Chat::start(&settings.binary, &["--turn-enabled=false"])?];
    over(nodes, SENDERS)
}

/// Over nodes of one server, of which each has as many sockets as any other.
pub(super) fn over(nodes: Vec<Chat>, senders: usize) -> Result<(Room, usize), BenchError> {
    let Some(first) = nodes.first() else {
        return Err(io::Error::from(io::ErrorKind::NotFound).into());
    };
    let users = first.users(SOCKETS / EACH)?;
    let room = first.room(&users)?;
    let mut fleet = Fleet::new()?;
    for socket in 0..SOCKETS {
        let token = &users[socket % users.len()].token;
        let path = format!("/ws/chat/{room}/?token={token}");
        fleet.connect(CLIENTS, nodes[socket % nodes.len()].address, &path)?;
    }
    fleet.settle(Duration::from_millis(300))?;
    fleet.send(0, &frame(0, 0))?;
    let mut length = 0;
    while length == 0 {
        fleet.receive(Duration::from_secs(1), |_, text| length = text.len())?;
    }
    fleet.settle(Duration::from_millis(50))?;
    let ours = Room {
        processes: nodes.into_iter().map(|node| node.process).collect(),
        fleet,
        sent: vec![0; senders],
        write: Box::new(frame),
    };
    Ok((ours, length))
}

pub(super) fn frame(sender: usize, number: u64) -> String {
    let content = content(sender, number);
    let data = serde_json::json!({"content": content, "attachment_ids": []});
    serde_json::json!({"type": "chat_message", "data": data}).to_string()
}

/// The floor, whose frames are as long.
fn floor(length: usize) -> Result<Room, BenchError> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("broadcast");
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut process = Process::start(&mut command, &[SERVER_CORE], None)?;
    let address: SocketAddr =
        process
            .line()?
            .trim()
            .parse()
            .map_err(|_| BenchError::NotStarted {
                name: FLOOR,
                why: "its error is above".to_owned(),
            })?;
    let mut fleet = Fleet::new()?;
    for _ in 0..SOCKETS {
        fleet.connect(CLIENTS, address, "/")?;
    }
    let write = move |sender, number| format!("{:length$}", content(sender, number));
    Ok(Room {
        processes: vec![process],
        fleet,
        sent: vec![0; SENDERS],
        write: Box::new(write),
    })
}
