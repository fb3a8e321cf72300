//! What is kept, in SQL that every engine understands: the rules of storage stand here once. `connection` and `value` are how the
//! files beside it see an engine; what an engine alone knows stands in `sqlite` and `postgres`.

mod audit;
mod bots;
mod chunks;
mod connection;
mod credentials;
mod directory;
pub(crate) mod events;
pub(crate) mod files;
mod hooks;
mod import;
mod invitations;
mod messages;
mod migrate;
mod moderation;
mod overview;
mod pins;
mod push;
mod relay;
mod rooms;
mod search;
mod sign_ins;
mod users;
mod value;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::watch;

pub use migrate::{MigrateError, Migration, TableCopy, TableProof};

pub(crate) use connection::{Connection, OptionalExtension, Row};
pub(crate) use users::fold;
pub(crate) use value::{FromSql, Params, Result as SqlResult, ToSql, Value, params};

use crate::postgres::Postgres;
use crate::sqlite::Sqlite;
use crate::{Note, StorageError, Store};

type Result<T> = std::result::Result<T, StorageError>;

/// A database.
pub struct SqlStore {
    engine: Engine,
    /// Of what is changed through this one.
    notes: Vec<Arc<Note>>,
    unread: messages::Counts,
}

#[derive(Clone)]
enum Engine {
    Sqlite(Sqlite),
    Postgres(Postgres),
}

impl fmt::Debug for SqlStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlStore").finish_non_exhaustive()
    }
}

impl From<Sqlite> for SqlStore {
    fn from(engine: Sqlite) -> Self {
        Self::over(Engine::Sqlite(engine))
    }
}

impl From<Postgres> for SqlStore {
    fn from(engine: Postgres) -> Self {
        Self::over(Engine::Postgres(engine))
    }
}

impl SqlStore {
    fn over(engine: Engine) -> Self {
        SqlStore {
            engine,
            notes: Vec::new(),
            unread: messages::Counts::default(),
        }
    }

    /// Runs `query` on one snapshot of the database.
    async fn read<T, F>(&self, query: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection<'_>) -> Result<T> + Send + 'static,
    {
        match &self.engine {
            Engine::Sqlite(engine) => engine.read(query).await,
            Engine::Postgres(engine) => engine.read(query).await,
        }
    }

    /// Runs `change` and answers after the commit; an error of `change` undoes what it did, and only that.
    async fn write<T, F>(&self, change: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection<'_>) -> Result<T> + Send + 'static,
    {
        self.change(Pace::Together, change).await
    }

    /// As [`Self::write`], after those that wait already: a change for which no other one should have to wait longer for
    /// its commit.
    async fn write_apart<T, F>(&self, change: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection<'_>) -> Result<T> + Send + 'static,
    {
        self.change(Pace::Apart, change).await
    }

    async fn change<T, F>(&self, pace: Pace, change: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection<'_>) -> Result<T> + Send + 'static,
    {
        let notes = self.notes.clone();
        let change = move |c: &Connection<'_>| match notes.is_empty() {
            true => change(c),
            false => audit::noted(c, &notes, change),
        };
        match &self.engine {
            Engine::Sqlite(engine) => engine.write(pace, change).await,
            Engine::Postgres(engine) => engine.write(pace, change).await,
        }
    }

    /// Who is told what changes have brought.
    fn listener(&self) -> &events::Listener {
        match &self.engine {
            Engine::Sqlite(engine) => engine.listener(),
            Engine::Postgres(engine) => engine.listener(),
        }
    }
}

/// How a change is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// With others that wait.
    Together,
    /// By itself, after those that wait already.
    Apart,
}

#[async_trait]
impl Store for SqlStore {
    async fn secret(&self, name: &'static str, fresh: String) -> Result<String> {
        self.write(move |c| users::secret(c, name, &fresh)).await
    }

    async fn ready(&self) -> Result<()> {
        self.read(|c| {
            c.prepare_cached("SELECT 1 FROM secrets LIMIT 1")?
                .exists(())?;
            Ok(())
        })
        .await?;
        match &self.engine {
            Engine::Sqlite(engine) => engine.prove().await,
            Engine::Postgres(engine) => engine.prove().await,
        }
    }

    async fn size(&self) -> Result<i64> {
        let size = match &self.engine {
            Engine::Sqlite(_) => {
                "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()"
            }
            Engine::Postgres(_) => "SELECT pg_database_size(current_database())",
        };
        self.read(move |c| Ok(c.query_row(size, (), |row| row.get(0))?))
            .await
    }

    async fn settle(&self) -> Result<()> {
        match &self.engine {
            Engine::Sqlite(engine) => engine.checkpoint().await,
            // What is committed is where it belongs.
            Engine::Postgres(_) => Ok(()),
        }
    }

    fn changed_elsewhere(&self) -> watch::Receiver<u64> {
        match &self.engine {
            Engine::Sqlite(engine) => engine.changed_elsewhere(),
            Engine::Postgres(engine) => engine.events_elsewhere(),
        }
    }

    fn access_changed_elsewhere(&self) -> watch::Receiver<u64> {
        match &self.engine {
            Engine::Sqlite(engine) => engine.changed_elsewhere(),
            Engine::Postgres(engine) => engine.access_elsewhere(),
        }
    }
}

/// A change that must have hit its row.
fn found(rows: usize) -> Result<()> {
    if rows == 0 {
        Err(StorageError::NotFound)
    } else {
        Ok(())
    }
}
