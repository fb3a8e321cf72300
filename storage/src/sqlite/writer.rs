//! The one thread that writes. Changes that wait together are committed together: one transaction (one sync of
//! the disk), a savepoint for each, and no answer before the commit.

use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rusqlite::{Connection, Savepoint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};

use crate::StorageError;

/// Changes that may wait; whoever brings more is kept waiting himself.
const MAX_WAITING: usize = 1024;
/// Changes in one transaction.
const MAX_GROUP: usize = 128;
/// How often it is looked whether another process has written.
const LOOK_ELSEWHERE: Duration = Duration::from_millis(200);

type Answer = Box<dyn FnOnce(Result<(), StorageError>) + Send>;
type Change = Box<dyn FnOnce(&mut Connection) -> Answer + Send>;

struct Job {
    change: Change,
    _place: OwnedSemaphorePermit,
}

/// What the thread is asked for.
enum Work {
    Change(Job),
    /// To bring all that is committed into the one file.
    Checkpoint(oneshot::Sender<Result<(), StorageError>>),
}

pub(super) struct Writer {
    jobs: mpsc::Sender<Work>,
    places: Arc<Semaphore>,
    elsewhere: watch::Receiver<u64>,
}

impl Writer {
    /// The thread ends when the writer is dropped and all its jobs are done.
    pub(super) fn start(connection: Connection) -> Result<Self, StorageError> {
        let (jobs, queue) = mpsc::channel();
        let (changed, elsewhere) = watch::channel(0);
        let mut version = data_version(&connection)?;
        let work = move || {
            let mut connection = connection;
            let mut looked = Instant::now();
            loop {
                let wait = LOOK_ELSEWHERE.saturating_sub(looked.elapsed());
                match queue.recv_timeout(wait) {
                    Ok(first) => {
                        let rest = queue.try_iter().take(MAX_GROUP - 1);
                        let mut group = Vec::new();
                        let mut checkpoints = Vec::new();
                        for work in std::iter::once(first).chain(rest) {
                            match work {
                                Work::Change(job) => group.push(job),
                                Work::Checkpoint(done) => checkpoints.push(done),
                            }
                        }
                        if !group.is_empty() {
                            commit_group(&mut connection, group);
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
        })
    }

    /// Runs `change` and answers after the commit; an error of `change` undoes what it did, and only that.
    pub(super) async fn write<T, F>(&self, change: F) -> Result<T, StorageError>
    where
        T: Send + 'static,
        F: FnOnce(&Savepoint<'_>) -> Result<T, StorageError> + Send + 'static,
    {
        self.write_then(change, |_| {}).await
    }

    /// As [`Self::write`]; `committed` is called after the commit and before the answer, in the order of the changes.
    pub(super) async fn write_then<T, F, C>(
        &self,
        change: F,
        committed: C,
    ) -> Result<T, StorageError>
    where
        T: Send + 'static,
        F: FnOnce(&Savepoint<'_>) -> Result<T, StorageError> + Send + 'static,
        C: FnOnce(&T) + Send + 'static,
    {
        let place = Arc::clone(&self.places).acquire_owned().await;
        let (answer, answered) = oneshot::channel();
        let change = move |connection: &mut Connection| -> Answer {
            let result = in_savepoint(connection, change);
            Box::new(move |outcome| {
                let result = outcome.and(result);
                if let Ok(value) = &result {
                    committed(value);
                }
                // The asking side may have gone away; then nobody reads the answer.
                let _ = answer.send(result);
            })
        };
        let job = Job {
            change: Box::new(change),
            _place: place.map_err(|_| StorageError::Closed)?,
        };
        self.jobs
            .send(Work::Change(job))
            .map_err(|_| StorageError::Closed)?;
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
    connection: &mut Connection,
    change: impl FnOnce(&Savepoint<'_>) -> Result<T, StorageError>,
) -> Result<T, StorageError> {
    // A full disk makes SQLite roll the whole transaction back by itself; nothing may run outside of one.
    if connection.is_autocommit() {
        return Err(StorageError::NotCommitted(
            "the transaction was rolled back".to_owned(),
        ));
    }
    let savepoint = connection.savepoint()?;
    let value = change(&savepoint)?;
    savepoint.commit()?;
    Ok(value)
}

fn commit_group(connection: &mut Connection, group: Vec<Job>) {
    let begun = connection.execute_batch("BEGIN IMMEDIATE");
    let answers: Vec<Answer> = group
        .into_iter()
        .map(|job| (job.change)(connection))
        .collect();
    let committed = begun.and_then(|()| connection.execute_batch("COMMIT"));
    if committed.is_err()
        && !connection.is_autocommit()
        && let Err(error) = connection.execute_batch("ROLLBACK")
    {
        tracing::error!(%error, "cannot roll back");
    }
    for answer in answers {
        answer(match &committed {
            Ok(()) => Ok(()),
            Err(error) => Err(StorageError::NotCommitted(error.to_string())),
        });
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
