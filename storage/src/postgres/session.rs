//! One connection, driven by the thread that uses it: its own little runtime runs while that thread waits for an answer.
//! What needs no answer of its own is deferred, and sent before the next statement in the same packet.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt;
use futures_util::future::join3;
use tokio::runtime::Runtime;
use tokio::time::timeout;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Statement};

use super::translate::translate;
use super::types::Bound;
use super::{PostgresUrl, Tls};
use crate::sql::events;
use crate::sql::{Params, SqlResult};
use crate::{DatabaseError, EventId, StorageError};

/// What a connection is for, and so how long it may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Read,
    Write,
}

impl Role {
    /// How long the server works at one statement.
    fn statement(self) -> Duration {
        match self {
            Role::Read => Duration::from_secs(8),
            // A room with all that was said in it goes in one step.
            Role::Write => Duration::from_secs(60),
        }
    }

    /// An answer that takes longer never comes.
    fn patience(self) -> Duration {
        self.statement() + Duration::from_secs(2)
    }

    /// What the server is told. A node that is gone holds the lock of those who write no longer than these say.
    fn settings(self, name: &str) -> String {
        format!(
            // Others are waited for longer than one that is gone may hold them up.
            "SET statement_timeout = {}; SET lock_timeout = 8000; SET idle_in_transaction_session_timeout = 5000;
             SET client_connection_check_interval = 2000; SET tcp_user_timeout = 8000;
             SET tcp_keepalives_idle = 5; SET tcp_keepalives_interval = 2; SET tcp_keepalives_count = 3;
             SET moznods.connection = '{name}';
             SELECT set_config('synchronous_commit', 'on', FALSE) WHERE current_setting('synchronous_commit') = 'off'",
            self.statement().as_millis(),
        )
    }
}

/// What a statement has brought.
pub(super) struct Rows {
    pub(super) rows: Vec<tokio_postgres::Row>,
    pub(super) affected: u64,
}

pub(super) struct Prepared {
    statement: Statement,
    /// It changes rows.
    writes: bool,
}

pub(crate) struct Session {
    /// `None` but while it is dropped.
    runtime: Option<Runtime>,
    client: Client,
    /// By the SQL as it is shared.
    statements: RefCell<HashMap<String, Arc<Prepared>>>,
    deferred: RefCell<String>,
    changes: Cell<u64>,
    /// Why a transaction that writes could not be begun, which what follows in it does not know.
    not_begun: RefCell<Option<String>>,
    patience: Duration,
    /// An answer did not come, so that no later one can be told from it.
    stalled: Cell<bool>,
}

/// Whether a transaction is committed.
#[derive(Debug)]
pub(super) enum Commit {
    Done,
    /// It is not, and will not be.
    Failed(DatabaseError),
    /// The connection was lost before the answer came.
    Unknown(DatabaseError),
}

/// Numbers them after the last one, which is known only to whoever has the lock.
const ADD_EVENTS: &str = "INSERT INTO events (id, audience, kind, subject, by_user, data, created_at)
    SELECT (SELECT coalesce(max(id), 0) FROM events) + e.n, e.audience, e.kind, e.subject, e.by_user, e.data, $6
    FROM unnest($1::BIGINT[], $2::BIGINT[], $3::BIGINT[], $4::BIGINT[], $5::TEXT[])
        WITH ORDINALITY AS e (audience, kind, subject, by_user, data, n)
    RETURNING id";

/// Fails where the transaction has; a COMMIT there would end it and say that all is well.
const COMMIT: &str = "SELECT 1; COMMIT";

impl Session {
    /// `name` is what other nodes are told with what it changes.
    pub(super) fn open(url: &PostgresUrl, role: Role, name: &str) -> SqlResult<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| DatabaseError::Unavailable(error.to_string()))?;
        let settings = role.settings(name);
        let connect = async {
            let (client, connection) = connect(url).await?;
            // An error of it is that of whatever is asked next.
            tokio::spawn(connection);
            client.batch_execute(&settings).await.map_err(of_server)?;
            Ok(client)
        };
        let outcome = runtime.block_on(async { timeout(url.patience(), connect).await });
        let outcome = outcome.unwrap_or_else(|_| Err(no_answer()));
        let client = match outcome {
            Ok(client) => client,
            Err(error) => {
                runtime.shutdown_background();
                return Err(error);
            }
        };
        Ok(Session {
            runtime: Some(runtime),
            client,
            statements: RefCell::default(),
            deferred: RefCell::default(),
            changes: Cell::new(0),
            not_begun: RefCell::default(),
            patience: role.patience(),
            stalled: Cell::new(false),
        })
    }

    /// Looks whether the server has closed it meanwhile.
    pub(super) fn is_alive(&self) -> bool {
        if let Some(runtime) = &self.runtime {
            runtime.block_on(async {
                // The first lets the socket be looked at, the second the connection do so.
                for _ in 0..3 {
                    tokio::task::yield_now().await;
                }
            });
        }
        !self.is_lost()
    }

    pub(super) fn is_lost(&self) -> bool {
        self.stalled.get() || self.client.is_closed()
    }

    pub(crate) fn total_changes(&self) -> u64 {
        self.changes.get()
    }

    /// To be sent before the next statement; its error is that one's.
    pub(super) fn defer(&self, sql: &str) {
        let mut deferred = self.deferred.borrow_mut();
        if !deferred.is_empty() {
            deferred.push(';');
        }
        deferred.push_str(sql);
    }

    /// Takes back what was deferred last, if this is it and nothing has been sent since.
    fn take_back(&self, sql: &str) -> bool {
        let mut deferred = self.deferred.borrow_mut();
        let Some(rest) = deferred.strip_suffix(sql) else {
            return false;
        };
        let rest = rest.trim_end_matches(';').len();
        deferred.truncate(rest);
        true
    }

    /// An error of `change` undoes what it did, and only that.
    pub(super) fn in_savepoint<T>(
        &self,
        change: impl FnOnce() -> Result<T, StorageError>,
    ) -> Result<T, StorageError> {
        const BEGIN: &str = "SAVEPOINT change";
        let before = events::count();
        self.defer(BEGIN);
        let result = change();
        if result.is_ok() {
            self.defer("RELEASE change");
        } else {
            events::forget_after(before);
            if !self.take_back(BEGIN) {
                self.defer("ROLLBACK TO change; RELEASE change");
            }
        }
        result
    }

    /// Interrupts each statement of `query` after `time`; an error of it costs no more than what it has read.
    pub(crate) fn within<T>(
        &self,
        time: Duration,
        query: impl FnOnce() -> Result<T, StorageError>,
    ) -> Result<T, StorageError> {
        let milliseconds = time.as_millis().max(1);
        self.defer("SAVEPOINT query");
        self.defer(&format!("SET LOCAL statement_timeout = {milliseconds}"));
        // What is looked for is not alike: one plan for all would be bad for most.
        self.defer("SET LOCAL plan_cache_mode = force_custom_plan");
        let result = query();
        self.defer("ROLLBACK TO query; RELEASE query");
        result
    }

    pub(super) fn prepare(&self, sql: &str, insert: bool) -> SqlResult<Arc<Prepared>> {
        if let Some(prepared) = self.statements.borrow().get(sql) {
            return Ok(Arc::clone(prepared));
        }
        let mut text = translate(sql);
        if insert {
            text.push_str(" RETURNING id");
        }
        let statement = self.run(self.client.prepare(&text))?;
        let prepared = Arc::new(Prepared {
            statement,
            writes: !text.trim_start().starts_with("SELECT"),
        });
        let mut statements = self.statements.borrow_mut();
        statements.insert(sql.to_owned(), Arc::clone(&prepared));
        Ok(prepared)
    }

    pub(super) fn query(&self, prepared: &Prepared, params: impl Params) -> SqlResult<Rows> {
        let mut bound = Vec::new();
        params.each(|value| {
            bound.push(Bound(value));
            Ok(())
        })?;
        let expected = prepared.statement.params().len();
        if bound.len() != expected {
            let why = format!("{} parameters for {expected}", bound.len());
            return Err(DatabaseError::Server(why));
        }
        let rows = self.run(collect(&self.client, &prepared.statement, &bound))?;
        if prepared.writes {
            self.changes.set(self.changes.get() + rows.affected);
        }
        Ok(rows)
    }

    /// A statement in PostgreSQL's own words, whose parameters are of its types.
    pub(super) fn own(&self, sql: &str, params: &[(&(dyn ToSql + Sync), Type)]) -> SqlResult<Rows> {
        let rows = self.run(async {
            let typed = params.iter().map(|(value, ty)| (*value, ty.clone()));
            let stream = self.client.query_typed_raw(sql, typed).await?;
            let mut stream = pin!(stream);
            let mut rows = Vec::new();
            while let Some(row) = stream.try_next().await? {
                rows.push(row);
            }
            let affected = stream.rows_affected().unwrap_or_default();
            Ok(Rows { rows, affected })
        })?;
        Ok(rows)
    }

    /// Several statements, without parameters.
    pub(super) fn batch(&self, sql: &str) -> SqlResult<()> {
        self.run(self.client.batch_execute(sql))
    }

    pub(super) fn begin_to_read(&self) {
        self.defer("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
    }

    /// Whether it can be used again.
    pub(super) fn end_of_reading(&self) -> bool {
        if self.deferred.borrow().starts_with("BEGIN") {
            self.deferred.take();
            return !self.is_lost();
        }
        self.deferred.take();
        self.batch("ROLLBACK").is_ok()
    }

    /// Waits for those who write at other nodes: from here to the commit there is no other one.
    pub(super) fn begin_to_write(&self) {
        self.changes.set(0);
        self.not_begun.take();
        self.defer(&format!(
            "BEGIN; SELECT pg_advisory_xact_lock({})",
            super::WRITING
        ));
    }

    /// With the events of the transaction, which are numbered by then.
    pub(super) fn commit(&self) -> Commit {
        let deferred = self.deferred.take();
        if self.is_lost() {
            return Commit::Failed(lost());
        }
        if let Some(why) = self.not_begun.take() {
            return self.failed(DatabaseError::Unavailable(why));
        }
        if deferred.starts_with("BEGIN") && self.changes.get() == 0 && events::count() == 0 {
            // Nothing was asked.
            return Commit::Done;
        }
        let add = match events::count() {
            0 => None,
            _ => match self.prepare_own(ADD_EVENTS) {
                Ok(statement) => Some(statement),
                Err(error) => return self.failed(error),
            },
        };
        let (before, added, committed) = {
            let columns = events::columns();
            let add = async {
                let Some(statement) = &add else {
                    return Ok(None);
                };
                let rows = self
                    .client
                    .query(
                        statement,
                        &[
                            &columns.audiences,
                            &columns.kinds,
                            &columns.subjects,
                            &columns.by,
                            &columns.data,
                            &columns.at,
                        ],
                    )
                    .await?;
                let ids = rows.iter().map(|row| row.try_get::<_, EventId>(0));
                let ids = ids.collect::<Result<Vec<_>, _>>()?;
                Ok(ids.into_iter().min())
            };
            let before = async {
                match deferred.is_empty() {
                    true => Ok(()),
                    false => self.client.batch_execute(&deferred).await,
                }
            };
            // Sent in this order, one behind the other.
            let all = join3(before, add, self.client.batch_execute(COMMIT));
            match self.answer(all) {
                Ok(all) => all,
                Err(error) => return Commit::Unknown(error),
            }
        };
        match committed {
            Ok(()) => {
                if let Ok(Some(first)) = added {
                    events::number_from(first);
                }
                Commit::Done
            }
            Err(error) if error.as_db_error().is_none() || self.client.is_closed() => {
                Commit::Unknown(of_server(error))
            }
            Err(error) => {
                // What broke the transaction says more than that it was broken.
                let first = before.err().or(added.err()).unwrap_or(error);
                self.failed(of_server(first))
            }
        }
    }

    fn failed(&self, error: DatabaseError) -> Commit {
        self.roll_back();
        Commit::Failed(error)
    }

    pub(super) fn roll_back(&self) {
        self.deferred.take();
        if !self.is_lost()
            && let Err(error) = self.batch("ROLLBACK")
        {
            tracing::warn!(%error, "cannot roll back");
        }
    }

    fn prepare_own(&self, sql: &str) -> SqlResult<Statement> {
        if let Some(prepared) = self.statements.borrow().get(sql) {
            return Ok(prepared.statement.clone());
        }
        let statement = self.run(self.client.prepare(sql))?;
        let prepared = Prepared {
            statement: statement.clone(),
            writes: true,
        };
        let mut statements = self.statements.borrow_mut();
        statements.insert(sql.to_owned(), Arc::new(prepared));
        Ok(statement)
    }

    /// What was deferred, and then `work`, in one go.
    fn run<T>(&self, work: impl Future<Output = Result<T, tokio_postgres::Error>>) -> SqlResult<T> {
        let deferred = self.deferred.take();
        let (before, outcome) = self.answer(async {
            match deferred.is_empty() {
                true => (Ok(()), work.await),
                false => {
                    futures_util::future::join(self.client.batch_execute(&deferred), work).await
                }
            }
        })?;
        if let Err(error) = before.map_err(of_server) {
            if let DatabaseError::Unavailable(why) = &error
                && deferred.starts_with("BEGIN")
            {
                self.not_begun.replace(Some(why.clone()));
            }
            return Err(error);
        }
        outcome.map_err(of_server)
    }

    fn answer<T>(&self, work: impl Future<Output = T>) -> SqlResult<T> {
        let Some(runtime) = self.runtime.as_ref().filter(|_| !self.is_lost()) else {
            return Err(lost());
        };
        let outcome = runtime.block_on(async { timeout(self.patience, work).await });
        outcome.map_err(|_| {
            self.stalled.set(true);
            no_answer()
        })
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Where one may not wait for it.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// The connection has to be driven for the client to have answers.
pub(super) async fn connect(
    url: &PostgresUrl,
) -> SqlResult<(
    Client,
    tokio_postgres::Connection<tokio_postgres::Socket, super::tls::Secured<tokio_postgres::Socket>>,
)> {
    let tls = Tls::new(url).map_err(|error| DatabaseError::Unavailable(error.to_string()))?;
    url.config.connect(tls).await.map_err(of_server)
}

async fn collect(
    client: &Client,
    statement: &Statement,
    bound: &[Bound<'_>],
) -> Result<Rows, tokio_postgres::Error> {
    let params = bound.iter().map(|value| value as &(dyn ToSql + Sync));
    let mut stream = pin!(client.query_raw(statement, params).await?);
    let mut rows = Vec::new();
    while let Some(row) = stream.try_next().await? {
        rows.push(row);
    }
    let affected = stream.rows_affected().unwrap_or_default();
    Ok(Rows { rows, affected })
}

fn lost() -> DatabaseError {
    DatabaseError::Unavailable("the connection was lost".to_owned())
}

fn no_answer() -> DatabaseError {
    DatabaseError::Unavailable("it does not answer".to_owned())
}

/// Without the server's details, which name values.
pub(super) fn of_server(error: tokio_postgres::Error) -> DatabaseError {
    let Some(said) = error.as_db_error() else {
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        return match error.is_closed() || is_io(&error) {
            true => DatabaseError::Unavailable(cause.unwrap_or_else(|| error.to_string())),
            false => DatabaseError::Server(match cause {
                Some(cause) => format!("{error}: {cause}"),
                None => error.to_string(),
            }),
        };
    };
    let why = said.message().to_owned();
    match said.code() {
        &SqlState::QUERY_CANCELED => DatabaseError::Interrupted,
        &SqlState::DISK_FULL => DatabaseError::Full,
        // It stops, starts, has all the connections that it may have, or may not be written to any more; or another node
        // has written for too long.
        &SqlState::ADMIN_SHUTDOWN
        | &SqlState::CRASH_SHUTDOWN
        | &SqlState::CANNOT_CONNECT_NOW
        | &SqlState::TOO_MANY_CONNECTIONS
        | &SqlState::READ_ONLY_SQL_TRANSACTION
        | &SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT
        | &SqlState::LOCK_NOT_AVAILABLE => DatabaseError::Unavailable(why),
        code if code.code().starts_with("08") => DatabaseError::Unavailable(why),
        code => DatabaseError::Server(format!("{why} ({})", code.code())),
    }
}

fn is_io(error: &tokio_postgres::Error) -> bool {
    let mut cause = std::error::Error::source(error);
    while let Some(found) = cause {
        if found.is::<std::io::Error>() {
            return true;
        }
        cause = found.source();
    }
    false
}
