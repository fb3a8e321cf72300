//! Who and what: the [`Store`] trait, SQLite and PostgreSQL behind it.
//!
//! All SQL of the program stands in this crate. What a user may do is decided by those who call it; what must
//! hold even between two processes (a name is taken once, one first administrator, only members write, only owners
//! change) is held here.
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing
    )
)]

pub mod backup;
mod blobs;
pub mod django;
mod error;
mod model;
mod postgres;
mod sql;
mod sqlite;
mod store;

pub use blobs::{
    Blob, BlobCopy, BlobError, Blobs, ByteStream, DatabaseBlobs, PartialBlob, S3Blobs, S3Settings,
    SharedBlobs, Variant, copy_blobs, prove_blobs,
};
pub use error::{DatabaseError, ForeignFault, StorageError};
pub use model::*;
pub use postgres::PostgresUrl;
pub use sql::{MigrateError, Migration, SqlStore, TableCopy, TableProof};
pub use sqlite::{DirectoryLock, Missing};
pub use store::{
    AuditStore, BotStore, ChunkStore, CredentialStore, DirectoryStore, EventStore, FileStore,
    HookStore, Import, ImportStore, ImportWork, InvitationStore, MessageStore, ModerationStore,
    OverviewStore, PinStore, PushStore, RelayStore, RoomStore, SearchStore, SignInStore, Store,
    UserStore,
};
