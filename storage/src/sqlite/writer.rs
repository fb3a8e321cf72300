//! The one thread that writes. Changes that wait together are committed together: one transaction (one sync of
//! the disk), a savepoint for each, and no answer before the commit.

use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};

use super::connect::write_something;
use super::readers::Gate;
use crate::StorageError;
use crate::sql::Pace;
use crate::sql::events::{self, Listener};

/// Changes that may wait; whoever brings more is kept waiting himself.
const MAX_WAITING: usize = 1024;
/// Changes in one transaction.
const MAX_GROUP: usize = 128;
/// How often it is looked whether another process has written.
const LOOK_ELSEWHERE: Duration = Duration::from_millis(500);
/// For so long after a change it is taken for granted that the disk can take another.
const PROVEN: Duration = Duration::from_secs(5);
/// Bytes of WAL beyond which readers, who otherwise may overlap for ever, are held up so that it can begin anew.
const LONG_WAL: u64 = 32 * 1024 * 1024;
/// How long those are waited for who read already, and for how long after that all are left alone.
const READERS_WAIT: Duration = Duration::from_millis(250);
const READERS_REST: Duration = Duration::from_secs(5);

type Answer = Box<dyn FnOnce(Result<(), StorageError>) + Send>;
/// Says besides whether the disk was full.
type Change = Box<dyn FnOnce(&mut Connection) -> (Answer, bool) + Send>;

struct Job {
    change: Change,
    _place: OwnedSemaphorePermit,
}

/// What the thread is asked for.
enum Work {
    Change(Job),
    /// One that is committed by itself.
    Apart(Job),
    /// To bring all that is committed into the one file.
    Checkpoint(oneshot::Sender<Result<(), StorageError>>),
}

#[derive(Clone)]
pub(super) struct Writer {
    jobs: mpsc::Sender<Work>,
    places: Arc<Semaphore>,
    elsewhere: watch::Receiver<u64>,
    disk: Arc<Disk>,
    listener: Arc<Listener>,
}

/// Bytes without which a disk that was full still is: the WAL has room for a small change or two within its length.
const SPACE: u64 = 256 * 1024;

/// What the last change has shown.
struct Disk {
    /// Of the database; none of one in memory.
    directory: Option<PathBuf>,
    state: Mutex<State>,
}

#[derive(Default, Clone, Copy)]
struct State {
    full: bool,
    /// When something was last written.
    written: Option<Instant>,
}

impl Disk {
    fn of(connection: &Connection) -> Self {
        let file = connection.path().map(Path::new);
        Disk {
            directory: file.and_then(Path::parent).map(Path::to_owned),
            state: Mutex::default(),
        }
    }

    fn has_space(&self) -> bool {
        let found = self.directory.as_ref().map(rustix::fs::statvfs);
        // Of what cannot be asked, a change that succeeds says enough.
        let Some(Ok(found)) = found else { return true };
        found.f_bavail.saturating_mul(found.f_frsize) >= SPACE
    }

    fn state(&self) -> State {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// To be told of every change that was to be written.
    fn note(&self, full: bool) {
        if !full && self.state().full && !self.has_space() {
            return;
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if full && !state.full {
            tracing::error!("the disk is full: nothing can be written until there is space");
        } else if !full && state.full {
            tracing::info!("there is space on the disk again");
        }
        state.full = full;
        if !full {
            state.written = Some(Instant::now());
        }
    }
}

impl Writer {
    /// The thread ends when the writer and its clones are dropped and all their jobs are done.
    pub(super) fn start(connection: Connection, readers: Gate) -> Result<Self, StorageError> {
        Self::start_with(connection, readers, LONG_WAL)
    }

    fn start_with(
        connection: Connection,
        readers: Gate,
        long_wal: u64,
    ) -> Result<Self, StorageError> {
        let (jobs, queue) = mpsc::channel();
        let (changed, elsewhere) = watch::channel(0);
        let mut version = data_version(&connection)?;
        let mut wal = Wal::of(&connection, readers, long_wal);
        let disk = Arc::new(Disk::of(&connection));
        let shown = Arc::clone(&disk);
        let listener = Arc::new(Listener::new());
        let told = Arc::clone(&listener);
        let work = move || {
            let mut connection = connection;
            let mut looked = Instant::now();
            loop {
                let wait = LOOK_ELSEWHERE.saturating_sub(looked.elapsed());
                match queue.recv_timeout(wait) {
                    Ok(first) => {
                        let rest = queue.try_iter().take(MAX_GROUP - 1);
                        let mut group = Vec::new();
                        let mut apart = Vec::new();
                        let mut checkpoints = Vec::new();
                        for work in std::iter::once(first).chain(rest) {
                            match work {
                                Work::Change(job) => group.push(job),
                                Work::Apart(job) => apart.push(vec![job]),
                                Work::Checkpoint(done) => checkpoints.push(done),
                            }
                        }
                        let groups = std::iter::once(group).chain(apart);
                        for group in groups.filter(|group| !group.is_empty()) {
                            commit_group(&mut connection, group, &shown, &told);
                            wal.keep_short(&connection);
                        }
                        for done in checkpoints {
                            // Nobody has to wait for it.
                            let _ = done.send(checkpoint(&connection));
                        }
                    }
                    Err(mpsc::RecvTimeoutError::Timeout) => {}
                    Err(mpsc::RecvTimeoutError::Disconnected) => return,
                }
                if looked.elapsed() >= LOOK_ELSEWHERE {
                    looked = Instant::now();
                    match data_version(&connection) {
                        Ok(now) if now == version => {}
                        Ok(now) => {
                            version = now;
                            changed.send_modify(|count| *count += 1);
                        }
                        Err(error) => {
                            tracing::warn!(%error, "cannot look for changes of the database")
                        }
                    }
                }
            }
        };
        std::thread::Builder::new()
            .name("sqlite-writer".to_owned())
            .spawn(work)
            .map_err(|error| StorageError::NotCommitted(error.to_string()))?;
        Ok(Writer {
            jobs,
            places: Arc::new(Semaphore::new(MAX_WAITING)),
            elsewhere,
            disk,
            listener,
        })
    }

    /// That changes can be made and reach the disk: the last has, not long ago, or else one that is made for it.
    pub(super) async fn prove(&self) -> Result<(), StorageError> {
        let State { full, written } = self.disk.state();
        if !full && written.is_some_and(|at| at.elapsed() < PROVEN) {
            return self.ask(Pace::Together, |_| Ok(())).await;
        }
        if full && !self.disk.has_space() {
            return Err(StorageError::Full);
        }
        self.ask(Pace::Together, |c| Ok(write_something(c)?))
            .await?;
        self.disk.note(false);
        Ok(())
    }

    /// Who is told what changes have brought.
    pub(super) fn listener(&self) -> &Listener {
        &self.listener
    }

    /// Runs `change` and answers after the commit; an error of `change` undoes what it did, and only that.
    pub(super) async fn ask<T, F>(&self, pace: Pace, change: F) -> Result<T, StorageError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StorageError> + Send + 'static,
    {
        let place = Arc::clone(&self.places).acquire_owned().await;
        let (answer, answered) = oneshot::channel();
        let change = move |connection: &mut Connection| -> (Answer, bool) {
            let result = in_savepoint(connection, change);
            let full = matches!(result, Err(StorageError::Full));
            let answer: Answer = Box::new(move |outcome| {
                // The asking side may have gone away; then nobody reads the answer.
                let _ = answer.send(outcome.and(result));
            });
            (answer, full)
        };
        let job = Job {
            change: Box::new(change),
            _place: place.map_err(|_| StorageError::Closed)?,
        };
        let work = match pace {
            Pace::Together => Work::Change(job),
            Pace::Apart => Work::Apart(job),
        };
        self.jobs.send(work).map_err(|_| StorageError::Closed)?;
        answered.await.map_err(|_| StorageError::Closed)?
    }

    /// Brings all that is committed into the one file.
    pub(super) async fn checkpoint(&self) -> Result<(), StorageError> {
        let (done, answered) = oneshot::channel();
        self.jobs
            .send(Work::Checkpoint(done))
            .map_err(|_| StorageError::Closed)?;
        answered.await.map_err(|_| StorageError::Closed)?
    }

    pub(super) fn changed_elsewhere(&self) -> watch::Receiver<u64> {
        self.elsewhere.clone()
    }
}

fn in_savepoint<T>(
    connection: &Connection,
    change: impl FnOnce(&Connection) -> Result<T, StorageError>,
) -> Result<T, StorageError> {
    // A full disk makes SQLite roll the whole transaction back by itself; nothing may run outside of one.
    if connection.is_autocommit() {
        return Err(StorageError::NotCommitted(
            "the transaction was rolled back".to_owned(),
        ));
    }
    let events = events::count();
    run(connection, "SAVEPOINT change")?;
    let result = change(connection).and_then(|value| {
        run(connection, "RELEASE change")?;
        Ok(value)
    });
    if result.is_err() {
        events::forget_after(events);
        // Unless SQLite has rolled it all back.
        if !connection.is_autocommit() {
            run(connection, "ROLLBACK TO change")?;
            run(connection, "RELEASE change")?;
        }
    }
    result
}

/// Of the few statements that every change needs: parsed once.
fn run(connection: &Connection, statement: &str) -> rusqlite::Result<()> {
    connection.prepare_cached(statement)?.execute([])?;
    Ok(())
}

fn commit_group(connection: &mut Connection, group: Vec<Job>, disk: &Disk, listener: &Listener) {
    let before = connection.total_changes();
    let begun = run(connection, "BEGIN IMMEDIATE");
    let mut full = false;
    let answers: Vec<Answer> = group
        .into_iter()
        .map(|job| {
            let (answer, was_full) = (job.change)(connection);
            full |= was_full;
            answer
        })
        .collect();
    // Where one of them has met a full disk, SQLite may have undone them all, and says but that nothing is there to commit.
    let undone = full && connection.is_autocommit();
    let committed = begun.and_then(|()| run(connection, "COMMIT"));
    if committed.is_err()
        && !connection.is_autocommit()
        && let Err(error) = run(connection, "ROLLBACK")
    {
        tracing::error!(%error, "cannot roll back");
    }
    let failed = committed.err().map(|error| match undone {
        true => StorageError::Full,
        false => StorageError::from(error),
    });
    match &failed {
        Some(StorageError::Full) => disk.note(true),
        Some(_) => {}
        None if full => disk.note(true),
        None if connection.total_changes() > before => disk.note(false),
        None => {}
    }
    if failed.is_some() {
        events::forget_after(0);
    }
    events::tell(listener);
    for answer in answers {
        answer(match &failed {
            None => Ok(()),
            Some(StorageError::Full) => Err(StorageError::Full),
            Some(error) => Err(StorageError::NotCommitted(error.to_string())),
        });
    }
}

/// The file of what is committed and not yet in the database. SQLite moves that there by itself, but begins the file anew
/// only at a moment when nobody reads, which may never come.
struct Wal {
    file: Option<PathBuf>,
    readers: Gate,
    long: u64,
    tried: Option<Instant>,
}

impl Wal {
    fn of(connection: &Connection, readers: Gate, long: u64) -> Self {
        let file = connection.path().map(|path| format!("{path}-wal").into());
        Wal {
            file,
            readers,
            long,
            tried: None,
        }
    }

    fn keep_short(&mut self, connection: &Connection) {
        let Some(Ok(found)) = self.file.as_ref().map(std::fs::metadata) else {
            return;
        };
        let rests = |tried: Instant| tried.elapsed() < READERS_REST;
        if found.len() <= self.long || self.tried.is_some_and(rests) {
            return;
        }
        self.tried = Some(Instant::now());
        let Some(_closed) = self.readers.close(READERS_WAIT) else {
            tracing::debug!(bytes = found.len(), "the WAL cannot begin anew yet");
            return;
        };
        match checkpoint(connection) {
            Ok(()) => self.tried = None,
            // Another process reads, or the disk is full.
            Err(error) => {
                tracing::debug!(%error, bytes = found.len(), "the WAL cannot begin anew yet");
            }
        }
    }
}

fn checkpoint(connection: &Connection) -> Result<(), StorageError> {
    let busy: bool =
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
    if busy {
        return Err(StorageError::NotCommitted(
            "another process reads the database".to_owned(),
        ));
    }
    Ok(())
}

/// Changes when a connection other than this one has committed: another process, as this is our only writer.
fn data_version(connection: &Connection) -> Result<i64, rusqlite::Error> {
    connection.query_row("PRAGMA data_version", [], |row| row.get(0))
}

#[cfg(test)]
mod tests {
    use super::super::connect;
    use super::super::readers::Readers;
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn readers_that_overlap_do_not_make_the_wal_grow() {
        let directory = tempfile::tempdir().unwrap();
        let file = connect::database_file(directory.path(), connect::Missing::Create).unwrap();
        let connection = connect::open_writer(&file, || Ok(None)).unwrap();
        let table = "CREATE TABLE big (content BLOB)";
        connection.execute_batch(table).unwrap();
        let readers = Arc::new(Readers::open(&file).unwrap());
        let long = 1024 * 1024;
        let writer = Writer::start_with(connection, readers.gate(), long).unwrap();
        // At any moment one of them has begun before the last commit.
        let reading: Vec<_> = (0..3)
            .map(|_| {
                let readers = Arc::clone(&readers);
                tokio::spawn(async move {
                    loop {
                        let read = readers.read(|c| {
                            let count = "SELECT count(*) FROM big";
                            c.query_row(count, [], |_| Ok(()))?;
                            std::thread::sleep(Duration::from_millis(20));
                            Ok(())
                        });
                        read.await.unwrap();
                    }
                })
            })
            .collect();
        let mut longest = 0;
        for _ in 0..200 {
            let insert = "INSERT INTO big VALUES (zeroblob(100000))";
            let write = writer.ask(Pace::Together, move |c| Ok(c.execute(insert, [])?));
            write.await.unwrap();
            let wal = directory.path().join("moznods.db-wal");
            longest = longest.max(wal.metadata().unwrap().len());
        }
        for reader in reading {
            reader.abort();
        }
        assert!(longest > long, "it was never long: {longest}");
        assert!(longest < 2 * long, "{longest}");
    }
}
