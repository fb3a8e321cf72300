//! The one thread of this node that writes. Changes that wait together are committed together, as with SQLite: one transaction,
//! a savepoint for each, no answer before the commit. Its transactions and those of other nodes come one after the other, by a
//! lock that each begins with: what a change has looked at is so until its commit, and ids are in the order of commits.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};
use tokio::time::timeout_at;

use super::link::Link;
use super::session::{Commit, Role, Session};
use crate::sql::events::{self, Listener};
use crate::sql::{Connection, Pace};
use crate::{DatabaseError, StorageError};

/// Changes that may wait; whoever brings more is kept waiting himself.
const MAX_WAITING: usize = 1024;
/// Changes in one transaction: PostgreSQL keeps so many savepoints of one in mind without looking them up.
const MAX_GROUP: usize = 60;
/// Whoever has no answer by then is told that there is none.
const ANSWER: Duration = Duration::from_secs(10);
/// For so long after a change it is taken for granted that another can be made.
const PROVEN: Duration = Duration::from_secs(5);

/// The name of no connection.
const LOST: &str = "lost";

type Answer = Box<dyn FnOnce(Result<(), StorageError>) + Send>;

struct Job {
    change: Box<dyn FnOnce(&Session) -> Answer + Send>,
    /// Nobody waits for it any more, and has been told so.
    given_up: Arc<AtomicBool>,
    pace: Pace,
    _place: OwnedSemaphorePermit,
}

#[derive(Clone)]
pub(super) struct Writer {
    jobs: mpsc::Sender<Job>,
    places: Arc<Semaphore>,
    state: Arc<State>,
}

/// What the thread shares with those who ask it.
pub(super) struct State {
    pub(super) listener: Listener,
    /// The connection that writes, by the name that other nodes are told.
    name: Mutex<String>,
    written: Mutex<Option<Instant>>,
    /// Why the last transaction could not be made.
    why: Mutex<String>,
    /// What was committed is perhaps not told.
    pub(super) untold: watch::Sender<u64>,
}

impl State {
    pub(super) fn is_own(&self, name: &str) -> bool {
        *lock(&self.name) == name
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Thread {
    link: Arc<Link>,
    session: Option<Session>,
    state: Arc<State>,
}

impl Writer {
    /// The thread ends when the writer and its clones are dropped and all their jobs are done.
    pub(super) fn start(link: Arc<Link>) -> Result<Self, StorageError> {
        let (jobs, queue) = mpsc::channel::<Job>();
        let state = Arc::new(State {
            listener: Listener::new(),
            name: Mutex::default(),
            written: Mutex::default(),
            why: Mutex::default(),
            untold: watch::Sender::new(0),
        });
        let mut thread = Thread {
            link,
            session: None,
            state: Arc::clone(&state),
        };
        let work = move || {
            while let Ok(first) = queue.recv() {
                let rest = queue.try_iter().take(MAX_GROUP - 1);
                let (group, apart): (Vec<Job>, Vec<Job>) = std::iter::once(first)
                    .chain(rest)
                    .partition(|job| job.pace == Pace::Together);
                let apart = apart.into_iter().map(|job| vec![job]);
                for group in std::iter::once(group).chain(apart) {
                    thread.commit_group(group);
                }
            }
        };
        std::thread::Builder::new()
            .name("postgres-writer".to_owned())
            .spawn(work)
            .map_err(|error| StorageError::Unavailable(error.to_string()))?;
        Ok(Writer {
            jobs,
            places: Arc::new(Semaphore::new(MAX_WAITING)),
            state,
        })
    }

    pub(super) fn state(&self) -> &Arc<State> {
        &self.state
    }

    /// That changes can be made: the last was, not long ago, or else one that is made for it.
    pub(super) async fn prove(&self) -> Result<(), StorageError> {
        let written = *lock(&self.state.written);
        let proven = written.is_some_and(|at| at.elapsed() < PROVEN);
        self.ask(Pace::Together, move |c| {
            let write = "UPDATE moznods_schema SET version = version";
            let ask = "SELECT 1 FROM moznods_schema";
            match proven {
                true => c.prepare_cached(ask)?.exists(()).map(drop)?,
                false => c.execute(write, ()).map(drop)?,
            }
            Ok(())
        })
        .await
    }

    /// Runs `change` and answers after the commit; an error of `change` undoes what it did, and only that.
    pub(super) async fn ask<T, F>(&self, pace: Pace, change: F) -> Result<T, StorageError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection<'_>) -> Result<T, StorageError> + Send + 'static,
    {
        let end = tokio::time::Instant::now() + ANSWER;
        let place = timeout_at(end, Arc::clone(&self.places).acquire_owned()).await;
        let place = place.map_err(|_| no_answer())?;
        let (answer, answered) = oneshot::channel();
        let change = move |session: &Session| -> Answer {
            let result = session.in_savepoint(|| change(&Connection::Postgres(session)));
            Box::new(move |outcome| {
                // The asking side may have gone away; then nobody reads the answer.
                let _ = answer.send(outcome.and(result));
            })
        };
        let given_up = Arc::new(AtomicBool::new(false));
        let job = Job {
            change: Box::new(change),
            given_up: Arc::clone(&given_up),
            pace,
            _place: place.map_err(|_| StorageError::Closed)?,
        };
        self.jobs.send(job).map_err(|_| StorageError::Closed)?;
        match timeout_at(end, answered).await {
            Ok(Ok(outcome)) => outcome,
            // It was not begun.
            Ok(Err(_)) => Err(StorageError::Unavailable(lock(&self.state.why).clone())),
            Err(_) => {
                given_up.store(true, Ordering::Relaxed);
                Err(no_answer())
            }
        }
    }
}

fn no_answer() -> StorageError {
    StorageError::Unavailable(
        "it does not answer; what was to be changed may be changed yet".to_owned(),
    )
}

impl Thread {
    fn session(&mut self) -> Result<&Session, DatabaseError> {
        self.link.is_own()?;
        let alive = self.session.take().filter(Session::is_alive);
        let session = match alive {
            Some(session) => session,
            None => self.connect()?,
        };
        Ok(self.session.insert(session))
    }

    fn connect(&self) -> Result<Session, DatabaseError> {
        // A new name: should the last one's commit come yet, that is news.
        let name = uuid::Uuid::new_v4().to_string();
        let session = self.link.open(Role::Write, &name)?;
        let is_first = {
            let mut known = lock(&self.state.name);
            let is_first = known.is_empty();
            *known = name;
            is_first
        };
        if !is_first {
            // Whatever the last connection was at is over once this one has the lock.
            session.begin_to_write();
            session.batch("COMMIT")?;
            self.state.untold.send_modify(|count| *count += 1);
        }
        Ok(session)
    }

    fn commit_group(&mut self, group: Vec<Job>) {
        let wanted = |job: &Job| !job.given_up.load(Ordering::Relaxed);
        let group: Vec<Job> = group.into_iter().filter(wanted).collect();
        if group.is_empty() {
            return;
        }
        let state = Arc::clone(&self.state);
        let session = match self.session() {
            Ok(session) => session,
            Err(error) => {
                *lock(&state.why) = error.to_string();
                // Dropped, so that those who wait hear of it.
                return;
            }
        };
        session.begin_to_write();
        let answers: Vec<Answer> = group.into_iter().map(|job| (job.change)(session)).collect();
        let outcome = session.commit();
        let lost = session.is_lost();
        let failed = match outcome {
            Commit::Done => {
                if session.total_changes() > 0 {
                    *lock(&state.written) = Some(Instant::now());
                }
                None
            }
            Commit::Failed(error) => Some(error.into()),
            Commit::Unknown(error) => Some(StorageError::Unavailable(format!(
                "{error}; it is not known whether what was to be changed is"
            ))),
        };
        if failed.is_some() {
            events::forget_after(0);
        }
        if lost {
            self.session = None;
            // Should its commit come yet, or have come, others are not the only ones to whom that is news.
            *lock(&state.name) = LOST.to_owned();
            state.untold.send_modify(|count| *count += 1);
        }
        events::tell(&state.listener);
        for answer in answers {
            answer(match &failed {
                None => Ok(()),
                Some(StorageError::Full) => Err(StorageError::Full),
                Some(StorageError::Unavailable(why)) => Err(StorageError::Unavailable(why.clone())),
                Some(error) => Err(StorageError::NotCommitted(error.to_string())),
            });
        }
    }
}
