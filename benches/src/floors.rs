//! What chat is held against: a broadcaster that knows no accounts and keeps nothing, and a writer of messages to whom
//! nobody listens.

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::mpsc as sync;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use clap::Args;
use futures_util::{SinkExt, StreamExt};
use rusqlite::{Connection, params};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;

use crate::servers::BenchError;

type Listeners = Arc<Mutex<Vec<mpsc::Sender<Message>>>>;

/// Frames that may wait for one connection.
const WAITING: usize = 4096;

/// Sends each text that comes to all who are connected, until the standard input ends. Its first line of output is where it
/// listens.
pub fn broadcast() -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.spawn(async {
        if let Err(error) = accept().await {
            eprintln!("broadcaster: {error}");
        }
    });
    io::copy(&mut io::stdin(), &mut io::sink())?;
    Ok(())
}

async fn accept() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    writeln!(io::stdout(), "{}", listener.local_addr()?)?;
    let listeners = Listeners::default();
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(converse(stream, Arc::clone(&listeners)));
    }
}

/// A queue for each connection: with one channel for all, each of them would wake and take its lock for each frame.
async fn converse(stream: TcpStream, listeners: Listeners) {
    let Ok(socket) = tokio_tungstenite::accept_async(stream).await else {
        return;
    };
    let (mut sink, mut source) = socket.split();
    let (sender, mut queue) = mpsc::channel(WAITING);
    let all = || listeners.lock().unwrap_or_else(PoisonError::into_inner);
    all().push(sender);
    let mut frames = Vec::new();
    loop {
        tokio::select! {
            received = source.next() => match received {
                Some(Ok(text @ Message::Text(_))) => {
                    all().retain(|listener| listener.try_send(text.clone()).is_ok());
                }
                Some(Ok(_)) => {}
                _ => return,
            },
            count = queue.recv_many(&mut frames, 64) => {
                if count == 0 {
                    return;
                }
                // All that wait leave in one write.
                for frame in frames.drain(..) {
                    if sink.feed(frame).await.is_err() {
                        return;
                    }
                }
                if sink.flush().await.is_err() {
                    return;
                }
            }
        }
    }
}

/// Writes messages from many threads, each of which waits until its own is on the disk.
#[derive(Debug, Args)]
pub struct Inserter {
    /// Of the database
    #[arg(long)]
    pub directory: PathBuf,
    #[arg(long)]
    pub threads: usize,
    #[arg(long)]
    pub milliseconds: u64,
}

/// What a message is, and who waits for it.
type Row = (i64, String, sync::Sender<()>);

impl Inserter {
    /// Prints how many are on the disk after that time.
    pub fn run(self) -> Result<(), BenchError> {
        let mut connection = Connection::open(self.directory.join("floor.db"))?;
        connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.execute_batch(
            "CREATE TABLE IF NOT EXISTS messages (
                 id INTEGER PRIMARY KEY AUTOINCREMENT, room_id INTEGER NOT NULL, author_id INTEGER NOT NULL,
                 content TEXT NOT NULL, created_at INTEGER NOT NULL) STRICT;
             CREATE INDEX IF NOT EXISTS messages_by_room ON messages (room_id, id, author_id);",
        )?;
        let (rows, queue) = sync::channel::<Row>();
        let end = Instant::now() + Duration::from_millis(self.milliseconds);
        for thread in 0..self.threads {
            let rows = rows.clone();
            std::thread::spawn(move || {
                let (done, waits) = sync::channel();
                let room = thread as i64;
                for number in 0.. {
                    let row = (room, content(thread, number), done.clone());
                    if Instant::now() >= end || rows.send(row).is_err() || waits.recv().is_err() {
                        return;
                    }
                }
            });
        }
        drop(rows);
        let mut written = 0;
        while let Ok(first) = queue.recv() {
            let group: Vec<Row> = std::iter::once(first).chain(queue.try_iter()).collect();
            let transaction = connection.transaction()?;
            for (room, content, _) in &group {
                transaction
                    .prepare_cached(
                        "INSERT INTO messages (room_id, author_id, content, created_at) VALUES (?1, ?1, ?2, ?3)",
                    )?
                    .execute(params![room, content, written])?;
            }
            transaction.commit()?;
            written += group.len() as i64;
            for (.., done) in group {
                // Whose time is over does not wait.
                let _ = done.send(());
            }
        }
        writeln!(io::stdout(), "{written}")?;
        Ok(())
    }
}

/// Of a message: whose and which, and as much as people write.
pub fn content(sender: usize, number: u64) -> String {
    format!(
        "s{sender}-{number:08} Let us meet at seven, where we met last time; bring the others along."
    )
}
