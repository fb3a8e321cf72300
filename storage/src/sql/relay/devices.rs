//! SQL of the relay's device accounts.

use super::{Result, found};
use crate::sql::{Connection, Row, SqlResult, params};
use crate::{DeviceKeys, NewRelayDevice, RelayDevice, StorageError};

fn read(row: &Row<'_>) -> SqlResult<RelayDevice> {
    Ok(RelayDevice {
        id: row.get(0)?,
        name: row.get(1)?,
        realm: row.get(2)?,
        keys: DeviceKeys {
            md5: row.get(3)?,
            sha256: row.get(4)?,
        },
        created_at: row.get(5)?,
    })
}

pub(super) fn all(c: &Connection) -> Result<Vec<RelayDevice>> {
    let mut statement = c.prepare_cached(
        "SELECT id, name, realm, md5_key, sha256_key, created_at FROM relay_devices ORDER BY name",
    )?;
    let devices = statement.query_map((), read)?.collect::<SqlResult<_>>()?;
    Ok(devices)
}

pub(super) fn add(c: &Connection, new: &NewRelayDevice) -> Result<()> {
    let added = c.execute(
        "INSERT INTO relay_devices (name, realm, md5_key, sha256_key, created_at) VALUES (?, ?, ?, ?, ?)
         ON CONFLICT DO NOTHING",
        params![
            new.name,
            new.realm,
            new.keys.md5,
            new.keys.sha256,
            new.created_at
        ],
    )?;
    match added {
        0 => Err(StorageError::DeviceNameTaken),
        _ => Ok(()),
    }
}

pub(super) fn remove(c: &Connection, name: &str) -> Result<()> {
    found(c.execute("DELETE FROM relay_devices WHERE name = ?", [name])?)
}
