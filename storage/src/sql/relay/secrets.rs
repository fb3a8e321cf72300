//! SQL of the secrets of other programs.

use super::Result;
use crate::sql::{Connection, OptionalExtension, Row, SqlResult, params};
use crate::{NewRelaySecret, RelaySecret, SecretText, StorageError, Timestamp};

const COLUMNS: &str =
    "id, name, secret, previous, previous_until, max_allocations, created_at, max_bytes_per_month";

fn read(row: &Row<'_>) -> SqlResult<RelaySecret> {
    let previous: Option<String> = row.get(3)?;
    let until: Option<Timestamp> = row.get(4)?;
    Ok(RelaySecret {
        id: row.get(0)?,
        name: row.get(1)?,
        secret: SecretText(row.get(2)?),
        previous: previous.map(SecretText).zip(until),
        max_allocations: row.get(5)?,
        created_at: row.get(6)?,
        max_bytes_per_month: row.get(7)?,
    })
}

pub(super) fn all(c: &Connection) -> Result<Vec<RelaySecret>> {
    let mut statement = c.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM relay_secrets ORDER BY name"
    ))?;
    let secrets = statement.query_map((), read)?.collect::<SqlResult<_>>()?;
    Ok(secrets)
}

pub(super) fn add(c: &Connection, new: &NewRelaySecret) -> Result<()> {
    let added = c.execute(
        "INSERT INTO relay_secrets (name, secret, max_allocations, max_bytes_per_month, created_at)
         VALUES (?, ?, ?, ?, ?)
         ON CONFLICT DO NOTHING",
        params![
            new.name,
            new.secret.0,
            new.max_allocations,
            new.max_bytes_per_month,
            new.created_at,
        ],
    )?;
    if added == 0 {
        Err(StorageError::SecretNameTaken)
    } else {
        Ok(())
    }
}

/// An earlier previous one ends here.
pub(super) fn rotate(
    c: &Connection,
    name: &str,
    secret: &SecretText,
    until: Timestamp,
) -> Result<()> {
    let row: Option<i64> = c
        .query_row(
            "UPDATE relay_secrets SET previous = secret, previous_until = ?, secret = ? WHERE name = ? RETURNING id",
            params![until, secret.0, name],
            |row| row.get(0),
        )
        .optional()?;
    row.map(|_| ()).ok_or(StorageError::NotFound)
}

pub(super) fn revoke(c: &Connection, name: &str) -> Result<()> {
    match c.execute("DELETE FROM relay_secrets WHERE name = ?", [name])? {
        0 => Err(StorageError::NotFound),
        _ => Ok(()),
    }
}
