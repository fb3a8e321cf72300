//! The log of what was done over others.

use async_trait::async_trait;

use super::{Result, Store};
use crate::{AuditEntry, AuditFilter, Note, Timestamp};

#[async_trait]
pub trait AuditStore {
    /// This store, but what it is told to change is noted with the change, in the same transaction: where one stands the
    /// other does. What changes nothing is not noted. Of a store that notes already, one that notes this as well.
    fn noting(&self, note: Note) -> Box<dyn Store>;
    /// Notes an act that changes nothing here.
    async fn note(&self, note: Note) -> Result<()>;
    /// Newest first, at most `limit`, and whether there are older ones.
    async fn audit_log(&self, filter: AuditFilter, limit: i64) -> Result<(Vec<AuditEntry>, bool)>;
    /// Forgets what was done before.
    async fn sweep_audit_log(&self, before: Timestamp) -> Result<()>;
}
