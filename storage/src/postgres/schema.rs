//! Migrations, which have the numbers of SQLite's: the same number is the same schema.

use std::cmp::Ordering;

use tokio_postgres::Client;
use tokio_postgres::types::Type;

use super::session::{Session, of_server};
use super::{MIGRATING, PostgresUrl, SERVING};
use crate::sql::SqlResult;
use crate::{Missing, StorageError};

/// In order. What is before the first of them is in it.
const MIGRATIONS: &[(i64, &str)] = &[
    (18, include_str!("migrations/0018_schema.sql")),
    (19, include_str!("migrations/0019_expected_blobs.sql")),
];

/// The oldest that has all that is asked of it.
const OLDEST: i64 = 14;

/// The schema of this version.
pub(super) fn known() -> i64 {
    MIGRATIONS.last().map_or(0, |(number, _)| *number)
}

/// Brings the schema up to date, unless another node serves with an older one; several may be at it at once.
pub(super) fn migrate(
    session: &Session,
    url: &PostgresUrl,
    missing: Missing,
) -> Result<(), StorageError> {
    let path = || url.to_string().into();
    let foreign = |why: &str| StorageError::Open {
        path: path(),
        why: why.to_owned(),
    };
    let server = session.own(
        "SELECT current_setting('server_version_num')::BIGINT, current_setting('server_encoding') = 'UTF8'",
        &[],
    )?;
    let server = server.rows.first().and_then(|row| {
        let version: i64 = row.try_get(0).ok()?;
        let is_utf8: bool = row.try_get(1).ok()?;
        Some((version, is_utf8))
    });
    let (version, is_utf8) =
        server.ok_or_else(|| foreign("it does not say which version it is"))?;
    if version / 10_000 < OLDEST {
        return Err(foreign(&format!("it is older than PostgreSQL {OLDEST}")));
    }
    if !is_utf8 {
        return Err(foreign("its encoding is not UTF8"));
    }
    session.batch(&format!(
        "SET statement_timeout = 0; SET lock_timeout = 60000; BEGIN; SELECT pg_advisory_xact_lock({MIGRATING})"
    ))?;
    let migrated = migrate_locked(session, &foreign, missing, path());
    let end = match &migrated {
        Ok(()) => "COMMIT",
        Err(_) => "ROLLBACK",
    };
    session.batch(end)?;
    migrated
}

fn migrate_locked(
    session: &Session,
    foreign: &dyn Fn(&str) -> StorageError,
    missing: Missing,
    path: std::path::PathBuf,
) -> Result<(), StorageError> {
    let known = known();
    let tables = "SELECT count(*) FILTER (WHERE tablename = 'moznods_schema'), count(*)
        FROM pg_tables WHERE schemaname = current_schema()";
    let (own, all) = pair(session, tables)?.unwrap_or_default();
    let found = match (own, all) {
        (0, 0) if missing == Missing::Refuse => {
            return Err(StorageError::NoDatabase { path });
        }
        (0, 0) => 0,
        (0, _) => return Err(foreign("it belongs to another program")),
        _ => pair(session, "SELECT version, version FROM moznods_schema")?
            .map(|(version, _)| version)
            .ok_or_else(|| foreign("it does not say of which schema it is"))?,
    };
    if found > known {
        return Err(StorageError::NewerSchema { path, found, known });
    }
    if found == known {
        return Ok(());
    }
    // Nobody serves from an empty one.
    let sql = format!("SELECT pg_try_advisory_xact_lock({SERVING})");
    let alone = session.own(&sql, &[])?;
    let alone = alone
        .rows
        .first()
        .is_some_and(|row| row.try_get(0).unwrap_or(false));
    if found > 0 && !alone {
        return Err(StorageError::OlderSchema { path, found, known });
    }
    for (_, sql) in MIGRATIONS.iter().filter(|(number, _)| *number > found) {
        session.batch(sql)?;
    }
    session.batch("DELETE FROM moznods_schema")?;
    session.own(
        "INSERT INTO moznods_schema (version) VALUES ($1)",
        &[(&known, Type::INT8)],
    )?;
    Ok(())
}

/// That the tables are those that this program knows, and not just being filled from another database. Whoever holds [`SERVING`]
/// when he asks keeps them so.
pub(super) async fn is_own(client: &Client, url: &PostgresUrl) -> Result<(), StorageError> {
    let path = || url.to_string().into();
    let foreign = |why: &str| StorageError::Open {
        path: path(),
        why: why.to_owned(),
    };
    let sql = "SELECT version, EXISTS (SELECT 1 FROM moznods_migration WHERE NOT finished)
        FROM moznods_schema";
    let rows = client.query_typed(sql, &[]).await.map_err(of_server)?;
    let row = rows
        .first()
        .and_then(|row| Some((row.try_get(0).ok()?, row.try_get(1).ok()?)));
    let (found, is_filled): (i64, bool) =
        row.ok_or_else(|| foreign("it does not say of which schema it is"))?;
    let known = known();
    match found.cmp(&known) {
        Ordering::Greater => Err(StorageError::NewerSchema {
            path: path(),
            found,
            known,
        }),
        Ordering::Less => Err(foreign(&format!(
            "it has an older schema ({found}, this one knows {known})"
        ))),
        Ordering::Equal if is_filled => Err(foreign("`moznods migrate` has not filled it yet")),
        Ordering::Equal => Ok(()),
    }
}

fn pair(session: &Session, sql: &str) -> SqlResult<Option<(i64, i64)>> {
    let rows = session.own(sql, &[])?.rows;
    Ok(rows
        .first()
        .and_then(|row| Some((row.try_get(0).ok()?, row.try_get(1).ok()?))))
}
