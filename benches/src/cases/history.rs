//! Whether reading costs more when much has been written.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use moznods_bench::stats::percentile;
use rusqlite::{Connection, params};
use serde_json::json;

use super::Settings;
use crate::chat::{Chat, User};
use crate::floors::content;
use crate::report::{Bound, CaseResult, Rounds};
use crate::servers::BenchError;

const ROOMS: usize = 20;
/// Who ask for rooms and pages in turn, one after the other.
const READERS: usize = 6;
/// Who write meanwhile, each once his last message is stored.
const WRITERS: usize = 2;
const MUCH: &str = "1,000,000 messages";
const LITTLE: &str = "1,000 messages";

struct Subject {
    chat: Chat,
    rooms: Vec<i64>,
    writer: User,
    reader: User,
}

/// Nanoseconds that answers have taken.
#[derive(Default)]
struct Taken {
    rooms: Vec<u64>,
    pages: Vec<u64>,
}

pub fn run(settings: &Settings) -> Result<CaseResult, BenchError> {
    let mut subjects = Vec::new();
    for (name, messages) in [(MUCH, 1_000_000), (LITTLE, 1_000)] {
        subjects.push((Rounds::of(name), start(settings, messages)?));
    }
    for round in 0..settings.rounds {
        for turn in 0..2 {
            let (rounds, subject) = &mut subjects[(turn + round) % 2];
            subject.load(settings.warm_up)?;
            let mut taken = subject.load(settings.measured)?;
            let milliseconds = |of: &mut Vec<u64>, percent| percentile(of, percent) as f64 / 1e6;
            let details = [
                ("p50", milliseconds(&mut taken.pages, 50.0)),
                ("rooms p50", milliseconds(&mut taken.rooms, 50.0)),
                ("rooms p99", milliseconds(&mut taken.rooms, 99.0)),
            ];
            rounds.add(milliseconds(&mut taken.pages, 99.0), &details);
        }
    }
    let mut result = CaseResult {
        name: "history-1m".to_owned(),
        title: format!(
            "the newest page of one of {ROOMS} rooms, {READERS} reading and {WRITERS} writing, p99"
        ),
        unit: "ms",
        subjects: subjects
            .into_iter()
            .map(|(rounds, _)| rounds.subject())
            .collect(),
        goals: Vec::new(),
    };
    result.hold_against(LITTLE, Bound::AtMost(2.0));
    let rooms = result.detail(MUCH, "rooms p99") / result.detail(LITTLE, "rooms p99");
    result.hold("list of rooms, the same:", rooms, Bound::AtMost(2.0));
    Ok(result)
}

/// A server whose rooms have so many messages together; the reader has read none of them.
fn start(settings: &Settings, messages: usize) -> Result<Subject, BenchError> {
    let chat = Chat::start(&settings.binary, &["--turn-enabled=false"])?;
    let users = chat.users(2)?;
    let rooms: Vec<i64> = (0..ROOMS)
        .map(|_| chat.room(&users))
        .collect::<Result<_, _>>()?;
    let mut database = Connection::open(chat.directory.join("moznods.db"))?;
    database.busy_timeout(Duration::from_secs(5))?;
    let filling = database.transaction()?;
    {
        let mut insert = filling.prepare(
            "INSERT INTO messages (room_id, author_id, content, created_at) VALUES (?, ?, ?, ?)",
        )?;
        for number in 0..messages {
            let room = rooms[number % ROOMS];
            let content = content(number % 100, number as u64);
            insert.execute(params![room, users[0].id, content, number as i64])?;
        }
    }
    filling.commit()?;
    let checkpoint = "PRAGMA wal_checkpoint(TRUNCATE)";
    database.query_row(checkpoint, [], |_| Ok(()))?;
    let [writer, reader] = [users[0].clone(), users[1].clone()];
    Ok(Subject {
        chat,
        rooms,
        writer,
        reader,
    })
}

impl Subject {
    fn load(&self, time: Duration) -> Result<Taken, BenchError> {
        let stop = AtomicBool::new(false);
        let taken = Mutex::<Taken>::default();
        let (stopped, into) = (&stop, &taken);
        std::thread::scope(|scope| {
            let readers =
                (0..READERS).map(|number| scope.spawn(move || self.read(number, stopped, into)));
            let writers =
                (0..WRITERS).map(|number| scope.spawn(move || self.write(number, stopped)));
            let threads: Vec<_> = readers.chain(writers).collect();
            std::thread::sleep(time);
            stop.store(true, Ordering::Relaxed);
            threads
                .into_iter()
                .try_for_each(|thread| thread.join().unwrap_or(Ok(())))
        })?;
        Ok(taken.into_inner().unwrap_or_default())
    }

    fn read(
        &self,
        number: usize,
        stop: &AtomicBool,
        taken: &Mutex<Taken>,
    ) -> Result<(), BenchError> {
        let mut connection = self.chat.connection()?;
        let mut own = Taken::default();
        for turn in number.. {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let room = self.rooms[turn / 2 % ROOMS];
            let (path, times) = match turn % 2 {
                0 => ("/api/rooms/".to_owned(), &mut own.rooms),
                _ => (format!("/api/chat/{room}/messages/"), &mut own.pages),
            };
            let asked = Instant::now();
            connection.done("GET", &path, &self.reader.token, None)?;
            times.push(asked.elapsed().as_nanos() as u64);
        }
        if let Ok(mut taken) = taken.lock() {
            taken.rooms.append(&mut own.rooms);
            taken.pages.append(&mut own.pages);
        }
        Ok(())
    }

    fn write(&self, number: usize, stop: &AtomicBool) -> Result<(), BenchError> {
        let mut connection = self.chat.connection()?;
        for turn in number.. {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let path = format!("/api/chat/{}/messages/", self.rooms[turn % ROOMS]);
            let body = json!({"content": content(number, turn as u64)});
            connection.done("POST", &path, &self.writer.token, Some(&body))?;
        }
        Ok(())
    }
}
