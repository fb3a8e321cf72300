//! SQL of the log of what was done over others.

use std::sync::Arc;

use async_trait::async_trait;

use super::{Result, SqlStore};
use crate::sql::{Connection, OptionalExtension, Row, SqlResult, ToSql, params};
use crate::{AuditActor, AuditEntry, AuditFilter, AuditStore, AuditTarget, Note, Store, Timestamp};

/// Rows deleted by one change, so that others need not wait long.
const SWEEP: i64 = 5000;

#[async_trait]
impl AuditStore for SqlStore {
    fn noting(&self, note: Note) -> Box<dyn Store> {
        let mut notes = self.notes.clone();
        notes.push(Arc::new(note));
        Box::new(SqlStore {
            engine: self.engine.clone(),
            notes,
            unread: self.unread.clone(),
        })
    }

    async fn note(&self, note: Note) -> Result<()> {
        self.write(move |c| {
            let actor = actor_name(c, note.actor)?;
            let target = found(c, &note.target)?;
            insert(c, &note, &actor, target)
        })
        .await
    }

    async fn audit_log(&self, filter: AuditFilter, limit: i64) -> Result<(Vec<AuditEntry>, bool)> {
        self.read(move |c| entries(c, &filter, limit)).await
    }

    async fn sweep_audit_log(&self, before: Timestamp) -> Result<()> {
        while self.write(move |c| sweep(c, before)).await? {}
        Ok(())
    }
}

/// Makes a change and, if it has changed anything, writes these notes of it.
pub(super) fn noted<T>(
    c: &Connection,
    notes: &[Arc<Note>],
    change: impl FnOnce(&Connection) -> Result<T>,
) -> Result<T> {
    // What was there is named as it was before the change, what the change makes as it is after it.
    let before = notes
        .iter()
        .map(|note| Ok((note, actor_name(c, note.actor)?, found(c, &note.target)?)))
        .collect::<Result<Vec<_>>>()?;
    let changes = c.total_changes();
    let value = change(c)?;
    if c.total_changes() == changes {
        return Ok(value);
    }
    for (note, actor, target) in before {
        let target = match target {
            Some(target) => Some(target),
            None => found(c, &note.target)?,
        };
        insert(c, note, &actor, target)?;
    }
    Ok(value)
}

fn actor_name(c: &Connection, actor: AuditActor) -> Result<String> {
    let name = match actor {
        AuditActor::CommandLine => None,
        AuditActor::User(user) => c
            .prepare_cached("SELECT username FROM users WHERE id = ?")?
            .query_row([user], |row| row.get(0))
            .optional()?,
    };
    Ok(name.unwrap_or_default())
}

/// Number and name of what something is done on, if it is there.
type Found = Option<(Option<i64>, String)>;

fn found(c: &Connection, target: &AuditTarget) -> Result<Found> {
    fn one(c: &Connection, sql: &str, bound: impl ToSql) -> Result<Found> {
        Ok(c.prepare_cached(sql)?
            .query_row([bound], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?)
    }
    match target {
        AuditTarget::User(id) | AuditTarget::Hook(id) => {
            one(c, "SELECT id, username FROM users WHERE id = ?", id)
        }
        // Nobody else makes one in this transaction; before the change it would be another.
        AuditTarget::NewUser | AuditTarget::NewHook => Ok(None),
        AuditTarget::Room(id) => one(c, "SELECT id, name FROM rooms WHERE id = ?", id),
        AuditTarget::Message(id) => one(c, "SELECT id, '' FROM messages WHERE id = ?", id),
        AuditTarget::RelaySecret(name) => {
            one(c, "SELECT id, name FROM relay_secrets WHERE name = ?", name)
        }
        AuditTarget::RelayDevice(name) => {
            one(c, "SELECT id, name FROM relay_devices WHERE name = ?", name)
        }
        AuditTarget::Allocation(name) | AuditTarget::Ban(name) | AuditTarget::Import(name) => {
            Ok(Some((None, name.clone())))
        }
    }
}

fn insert(c: &Connection, note: &Note, actor: &str, target: Found) -> Result<()> {
    let target = match (target, &note.target) {
        (None, AuditTarget::NewUser | AuditTarget::NewHook) => c
            .prepare_cached("SELECT id, username FROM users ORDER BY id DESC LIMIT 1")?
            .query_row((), |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?,
        (found, _) => found,
    };
    let (target_id, target_name) = target.unwrap_or_default();
    let actor_id = match note.actor {
        AuditActor::CommandLine => None,
        AuditActor::User(user) => Some(user),
    };
    c.prepare_cached(
        "INSERT INTO audit_log (created_at, actor_id, actor_name, action, target_kind, target_id,
                                target_name, details, address)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )?
    .execute(params![
        note.at,
        actor_id,
        actor,
        note.action,
        note.target.kind(),
        target_id,
        target_name,
        note.details,
        note.address.map(|address| address.to_string()),
    ])?;
    Ok(())
}

fn read(row: &Row<'_>) -> SqlResult<AuditEntry> {
    let actor: Option<i64> = row.get(2)?;
    Ok(AuditEntry {
        id: row.get(0)?,
        at: row.get(1)?,
        actor: actor.map_or(AuditActor::CommandLine, AuditActor::User),
        actor_name: row.get(3)?,
        action: row.get(4)?,
        target_kind: row.get(5)?,
        target_id: row.get(6)?,
        target_name: row.get(7)?,
        details: row.get(8)?,
        address: row.get(9)?,
    })
}

fn entries(c: &Connection, filter: &AuditFilter, limit: i64) -> Result<(Vec<AuditEntry>, bool)> {
    let mut conditions = vec!["TRUE"];
    let mut bound: Vec<&dyn ToSql> = Vec::new();
    match &filter.actor {
        Some(AuditActor::CommandLine) => conditions.push("actor_id IS NULL"),
        Some(AuditActor::User(user)) => {
            conditions.push("actor_id = ?");
            bound.push(user);
        }
        None => {}
    }
    if let Some(action) = &filter.action {
        conditions.push("action = ?");
        bound.push(action);
    }
    for (condition, value) in [
        ("created_at >= ?", &filter.since),
        ("created_at < ?", &filter.until),
        ("id < ?", &filter.before),
    ] {
        if let Some(value) = value {
            conditions.push(condition);
            bound.push(value);
        }
    }
    let one_more = limit.saturating_add(1);
    bound.push(&one_more);
    let mut entries: Vec<AuditEntry> = c
        .prepare_cached(&format!(
            "SELECT id, created_at, actor_id, actor_name, action, target_kind, target_id, target_name, details, address
             FROM audit_log WHERE {} ORDER BY id DESC LIMIT ?",
            conditions.join(" AND ")
        ))?
        .query_map(bound.as_slice(), read)?
        .collect::<SqlResult<_>>()?;
    let wanted = usize::try_from(limit).unwrap_or_default();
    let more = entries.len() > wanted;
    entries.truncate(wanted);
    Ok((entries, more))
}

/// Whether there is more to delete.
fn sweep(c: &Connection, before: Timestamp) -> Result<bool> {
    let rows = c
        .prepare_cached(
            "DELETE FROM audit_log WHERE id IN
                 (SELECT id FROM audit_log WHERE created_at < ? LIMIT ?)",
        )?
        .execute(params![before, SWEEP])?;
    Ok(i64::try_from(rows).unwrap_or(i64::MAX) == SWEEP)
}
