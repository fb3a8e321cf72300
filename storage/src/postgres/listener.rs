//! What other nodes have changed, as PostgreSQL tells it. The connection also holds, as long as it is there, what says that a
//! node serves from this database, and the right to keep the index.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};
use tokio_postgres::{AsyncMessage, Client};

use super::link::Link;
use super::schema;
use super::session::{connect, of_server};
use super::writer::State;
use super::{INDEXING, SERVING};
use crate::sql::SqlResult;
use crate::{DatabaseError, StorageError};

/// How often it is looked whether the connection is good, and whether the index is nobody's.
const LOOK: Duration = Duration::from_secs(3);
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between attempts to connect: the first, and the longest.
const REST: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(2));

#[derive(Clone)]
pub(super) struct Elsewhere {
    /// There are events that others have brought.
    pub(super) events: watch::Receiver<u64>,
    /// Those who may use the server or the relay are perhaps others.
    pub(super) access: watch::Receiver<u64>,
    /// Whether it is this node that keeps the index.
    pub(super) indexes: Arc<AtomicBool>,
}

/// Whether a node takes the right to keep the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeepsIndex {
    IfNobodyDoes,
    Never,
}

struct Task {
    link: Arc<Link>,
    keeps_index: KeepsIndex,
    state: Arc<State>,
    events: watch::Sender<u64>,
    access: watch::Sender<u64>,
    indexes: Arc<AtomicBool>,
}

/// Returns once it is connected. The thread ends when nobody has what it returns.
pub(super) fn start(
    link: Arc<Link>,
    state: Arc<State>,
    keeps_index: KeepsIndex,
) -> Result<Elsewhere, StorageError> {
    let task = Task {
        link,
        keeps_index,
        state,
        events: watch::Sender::new(0),
        access: watch::Sender::new(0),
        indexes: Arc::default(),
    };
    let elsewhere = Elsewhere {
        events: task.events.subscribe(),
        access: task.access.subscribe(),
        indexes: Arc::clone(&task.indexes),
    };
    let (connected, first) = std::sync::mpsc::sync_channel(1);
    let work = move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        match runtime {
            Ok(runtime) => runtime.block_on(task.run(connected)),
            // Of which there is but one.
            Err(error) => {
                let _ = connected.send(Err(StorageError::Unavailable(error.to_string())));
            }
        }
    };
    std::thread::Builder::new()
        .name("postgres-listener".to_owned())
        .spawn(work)
        .map_err(|error| StorageError::Unavailable(error.to_string()))?;
    first.recv().map_err(|_| StorageError::Closed)??;
    Ok(elsewhere)
}

impl Task {
    async fn run(self, connected: SyncSender<Result<(), StorageError>>) {
        let mut connected = Some(connected);
        let mut rest = REST.0;
        loop {
            let outcome = tokio::select! {
                outcome = self.listen(&mut connected, &mut rest) => outcome,
                () = self.events.closed() => return,
            };
            self.indexes.store(false, Ordering::Relaxed);
            if let Err(error) = outcome {
                if let Some(connected) = connected.take() {
                    let _ = connected.send(Err(error));
                    return;
                }
                tracing::debug!(%error, "not told of what other nodes change");
            }
            tokio::select! {
                () = sleep(rest) => rest = (rest * 2).min(REST.1),
                () = self.events.closed() => return,
            }
        }
    }

    async fn listen(
        &self,
        connected: &mut Option<SyncSender<Result<(), StorageError>>>,
        rest: &mut Duration,
    ) -> Result<(), StorageError> {
        let late = |_| DatabaseError::Unavailable("it does not answer".to_owned());
        let url = &self.link.url;
        let (client, mut connection) = timeout(url.patience(), connect(url))
            .await
            .map_err(late)??;
        let (told, mut news) = mpsc::unbounded_channel();
        // Ends with what it sends to, or the client.
        tokio::spawn(async move {
            loop {
                match poll_fn(|context| connection.poll_message(context)).await {
                    Some(Ok(AsyncMessage::Notification(news))) => {
                        if told.send(news).is_err() {
                            return;
                        }
                    }
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => return,
                }
            }
        });
        let begin = format!(
            "SET tcp_keepalives_idle = 5; SET tcp_keepalives_interval = 2; SET tcp_keepalives_count = 3;
             SET tcp_user_timeout = 8000; SET statement_timeout = 4000;
             SELECT pg_advisory_lock_shared({SERVING}); LISTEN moznods_events; LISTEN moznods_access"
        );
        let begun = timeout(PATIENCE, client.batch_execute(&begin)).await;
        begun.map_err(late)?.map_err(of_server)?;
        // Before the lock was had, or had again, another version may have been here.
        match timeout(PATIENCE, schema::is_own(&client, url))
            .await
            .map_err(late)?
        {
            Ok(()) => self.link.note_foreign(None),
            Err(error @ (StorageError::NewerSchema { .. } | StorageError::Open { .. })) => {
                self.link.note_foreign(Some(error.to_string()));
                return Err(error);
            }
            Err(error) => return Err(error),
        }
        self.look(&client).await?;
        *rest = REST.0;
        let mut untold = self.state.untold.subscribe();
        match connected.take() {
            // Nobody waits for it any more.
            Some(first) => drop(first.send(Ok(()))),
            // What was told meanwhile was told to nobody.
            None => {
                bump(&self.events);
                bump(&self.access);
            }
        }
        let mut looks = tokio::time::interval(LOOK);
        loop {
            tokio::select! {
                news = news.recv() => match news {
                    Some(news) if self.state.is_own(news.payload()) => {}
                    Some(news) if news.channel() == "moznods_access" => bump(&self.access),
                    Some(_) => bump(&self.events),
                    None => return Err(StorageError::Unavailable("the connection was lost".to_owned())),
                },
                changed = untold.changed() => if changed.is_ok() {
                    bump(&self.events);
                    bump(&self.access);
                },
                _ = looks.tick() => self.look(&client).await?,
            }
        }
    }

    /// That the connection is good; and takes the right to keep the index, if nobody has it.
    async fn look(&self, client: &Client) -> SqlResult<()> {
        let sql = match (self.indexes.load(Ordering::Relaxed), self.keeps_index) {
            (true, _) => "SELECT TRUE".to_owned(),
            (false, KeepsIndex::IfNobodyDoes) => {
                format!("SELECT pg_try_advisory_lock({INDEXING})")
            }
            (false, KeepsIndex::Never) => "SELECT FALSE".to_owned(),
        };
        let late = |_| DatabaseError::Unavailable("it does not answer".to_owned());
        let found = timeout(PATIENCE, client.query_typed(&sql, &[]))
            .await
            .map_err(late)?;
        let found = found.map_err(of_server)?;
        let taken = found
            .first()
            .is_some_and(|row| row.try_get(0).unwrap_or(false));
        self.indexes.store(taken, Ordering::Relaxed);
        Ok(())
    }
}

fn bump(watch: &watch::Sender<u64>) {
    watch.send_modify(|count| *count += 1);
}
