//! SQL of what was relayed for whom.

use super::Result;
use crate::sql::{Connection, Row, SqlResult, params};
use crate::{Month, RelayOwner, RelayUsage};

fn kind_and_id(owner: RelayOwner) -> (&'static str, i64) {
    match owner {
        RelayOwner::User(id) => ("user", id),
        RelayOwner::Secret(id) => ("secret", id),
        RelayOwner::Device(id) => ("device", id),
    }
}

/// `None` for what a newer version may have written.
fn owner(kind: &str, id: i64) -> Option<RelayOwner> {
    match kind {
        "user" => Some(RelayOwner::User(id)),
        "secret" => Some(RelayOwner::Secret(id)),
        "device" => Some(RelayOwner::Device(id)),
        _ => None,
    }
}

/// Adds to what is there.
pub(super) fn add(c: &Connection, used: &[RelayUsage]) -> Result<()> {
    let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    let mut statement = c.prepare_cached(
        "INSERT INTO relay_usage (month, owner_kind, owner_id, to_peer, to_client, milliseconds, allocations)
         VALUES (?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT (month, owner_kind, owner_id) DO UPDATE SET
             to_peer = relay_usage.to_peer + excluded.to_peer, to_client = relay_usage.to_client + excluded.to_client,
             milliseconds = relay_usage.milliseconds + excluded.milliseconds,
             allocations = relay_usage.allocations + excluded.allocations",
    )?;
    for usage in used {
        let (kind, id) = kind_and_id(usage.owner);
        statement.execute(params![
            usage.month.to_string(),
            kind,
            id,
            number(usage.to_peer),
            number(usage.to_client),
            number(usage.milliseconds),
            number(usage.allocations),
        ])?;
    }
    Ok(())
}

/// Those with the most bytes first.
pub(super) fn of_month(c: &Connection, month: Month) -> Result<Vec<RelayUsage>> {
    let read = |row: &Row<'_>| {
        let count = |at| row.get::<i64>(at).map(i64::cast_unsigned);
        let Some(owner) = owner(&row.get::<String>(0)?, row.get(1)?) else {
            return Ok(None);
        };
        Ok(Some(RelayUsage {
            month,
            owner,
            to_peer: count(2)?,
            to_client: count(3)?,
            milliseconds: count(4)?,
            allocations: count(5)?,
        }))
    };
    let mut statement = c.prepare_cached(
        "SELECT owner_kind, owner_id, to_peer, to_client, milliseconds, allocations FROM relay_usage
         WHERE month = ? ORDER BY to_peer + to_client DESC, owner_kind, owner_id",
    )?;
    let rows = statement.query_map([month.to_string()], read)?;
    let used = rows.filter_map(SqlResult::transpose);
    Ok(used.collect::<SqlResult<_>>()?)
}
