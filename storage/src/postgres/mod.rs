//! What PostgreSQL alone is: any number of nodes on one database, each with a connection that writes, one that listens, and a few
//! that read. It may be gone at any time: then all is refused until it is back, and nothing waits for it for long.

mod link;
mod listener;
mod readers;
mod schema;
pub(crate) mod search;
pub(crate) mod session;
mod statement;
mod tls;
mod translate;
mod types;
mod url;
mod writer;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::watch;

pub(crate) use session::Session;
pub(crate) use statement::{Row, Statement};
use tls::Tls;
pub use url::PostgresUrl;

use crate::sql::events::Listener;
use crate::sql::{Connection, Pace};
use crate::{DatabaseError, Missing, SqlStore, StorageError};
use link::Link;
use listener::{Elsewhere, KeepsIndex};
use readers::Readers;
use session::Role;
use writer::Writer;

type Result<T> = std::result::Result<T, StorageError>;

/// Advisory locks: held by who writes, by who changes the schema, shared by who serves, by who keeps the index.
const WRITING: &str = "1299151428, 1";
const MIGRATING: &str = "1299151428, 2";
pub(crate) const SERVING: &str = "1299151428, 3";
const INDEXING: &str = "1299151428, 4";

#[derive(Clone)]
pub(crate) struct Postgres {
    writer: Writer,
    readers: Arc<Readers>,
    /// `None`: it is for one command, which hears of nobody.
    elsewhere: Option<Elsewhere>,
}

impl SqlStore {
    /// Opens the database for a node that serves, makes its tables if need be, and brings them up to date. Blocks on the network,
    /// for some seconds at most if there is nobody.
    pub fn connect_to_serve(url: &PostgresUrl) -> Result<Self> {
        Ok(Postgres::open(url, Missing::Create, Some(KeepsIndex::IfNobodyDoes))?.into())
    }

    /// Opens the database for a node that relays and serves nobody else: it hears of changes, makes no tables where there are none,
    /// and leaves the index to others. Blocks on the network.
    pub fn connect_to_relay(url: &PostgresUrl) -> Result<Self> {
        Ok(Postgres::open(url, Missing::Refuse, Some(KeepsIndex::Never))?.into())
    }

    /// Opens the database for a command, perhaps beside nodes that serve. Blocks on the network.
    pub fn connect(url: &PostgresUrl, missing: Missing) -> Result<Self> {
        Ok(Postgres::open(url, missing, None)?.into())
    }
}

impl Postgres {
    /// `listens`: for a node, which hears of others.
    fn open(url: &PostgresUrl, missing: Missing, listens: Option<KeepsIndex>) -> Result<Self> {
        let open = || {
            let session = Session::open(url, Role::Write, "")?;
            schema::migrate(&session, url, missing)?;
            let link = Arc::new(Link::new(url.clone()));
            let writer = Writer::start(Arc::clone(&link))?;
            let state = Arc::clone(writer.state());
            let elsewhere = listens
                .map(|keeps| listener::start(Arc::clone(&link), state, keeps))
                .transpose()?;
            Ok(Postgres {
                writer,
                readers: Arc::new(Readers::new(link)),
                elsewhere,
            })
        };
        // On a thread of its own, as those of a runtime may not wait.
        let opened = std::thread::scope(|scope| scope.spawn(open).join());
        let opened = opened.unwrap_or(Err(StorageError::Closed));
        opened.map_err(|error| match error {
            StorageError::Unavailable(why) | StorageError::Database(DatabaseError::Server(why)) => {
                StorageError::Open {
                    path: url.to_string().into(),
                    why,
                }
            }
            error => error,
        })
    }

    pub(crate) async fn read<T, F>(&self, query: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection<'_>) -> Result<T> + Send + 'static,
    {
        self.readers.read(query).await
    }

    pub(crate) async fn write<T, F>(&self, pace: Pace, change: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection<'_>) -> Result<T> + Send + 'static,
    {
        self.writer.ask(pace, change).await
    }

    pub(crate) fn listener(&self) -> &Listener {
        &self.writer.state().listener
    }

    pub(crate) async fn prove(&self) -> Result<()> {
        self.writer.prove().await
    }

    /// Whether it is this node that keeps the index.
    pub(crate) fn indexes(&self) -> bool {
        self.elsewhere
            .as_ref()
            .is_none_or(|elsewhere| elsewhere.indexes.load(Ordering::Relaxed))
    }

    pub(crate) fn events_elsewhere(&self) -> watch::Receiver<u64> {
        let found = self.elsewhere.as_ref();
        found.map_or_else(nothing, |elsewhere| elsewhere.events.clone())
    }

    pub(crate) fn access_elsewhere(&self) -> watch::Receiver<u64> {
        let found = self.elsewhere.as_ref();
        found.map_or_else(nothing, |elsewhere| elsewhere.access.clone())
    }
}

/// Of which nothing is ever told.
fn nothing() -> watch::Receiver<u64> {
    watch::channel(0).1
}
