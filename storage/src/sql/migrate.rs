//! Moving all that is kept from one database to another, from SQLite to PostgreSQL: the tables are the same, so rows are compared
//! in the order of their primary keys, a few hundred at a time, and what differs is made what it is in the source. So it can be
//! broken off at any time and be run again, also beside a server on the source; the last run, for which that one is stopped,
//! finds what has changed since. What the tables are is asked of the databases.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use ring::digest::{Context, SHA256};

use super::{Result, SqlStore};
use crate::sql::{Connection, FromSql, OptionalExtension, Params, SqlResult, ToSql, Value, params};
use crate::{BlobHash, FileStore, StorageError};

/// Rows that are compared at once.
const ROWS: usize = 500;
/// Rows of one statement.
const TOGETHER: usize = 25;
/// Statements of one transaction, each of which is a round trip: an answer must come within seconds.
const AT_ONCE: usize = 50;
/// Names of bytes that are read at once.
const BLOBS: i64 = 1000;

/// What each database makes for itself: its schema, the index for searching, which bytes are just coming or going, and bytes,
/// which are copied as files. What is loose is noted there at the end.
const LEFT_OUT: &[&str] = &[
    "blob_chunks",
    "expected_blobs",
    "loose_blobs",
    "moznods_migration",
    "moznods_schema",
    "search_pending",
    "search_state",
    "stored_blobs",
];
/// SQLite's own tables, and those of its index.
const LEFT_OUT_BEGINNINGS: &[&str] = &["sqlite_", "search_index"];

/// Why there is nothing to move, or nowhere to.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    #[error("{0}")]
    Storage(#[from] StorageError),
    #[error("the target has data of its own, in {0}; expected an empty database")]
    NotEmpty(String),
    #[error("the target is being filled from another server's data; expected an empty database")]
    AnotherSource,
    #[error(
        "the target has been filled already, and may have been served from since; expected an empty database"
    )]
    Finished,
    #[error("another run of this has begun since, and goes on in place of this one")]
    Overtaken,
    #[error("a server is running on the target; expected none until all is there")]
    Served,
    #[error("table {0}: it is not the same in both databases; expected two of this version")]
    Tables(String),
    #[error("file {0}: its bytes are not in the target what they are in the source")]
    Files(BlobHash),
    #[error(
        "files that are neither in the source nor in the target: {count}, the first is {}; expected all to be there, perhaps from a backup",
        first.display()
    )]
    FilesMissing { count: usize, first: PathBuf },
    #[error("table {0}: what is in the target is not what is in the source")]
    Different(String),
}

type Outcome<T> = std::result::Result<T, MigrateError>;

/// What became of a table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TableCopy {
    pub name: String,
    /// Rows that were put in, changed and removed by this run.
    pub added: u64,
    pub changed: u64,
    pub removed: u64,
}

/// That a table is the same in both databases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableProof {
    pub name: String,
    pub rows: u64,
    /// SHA-256 of all rows in the order of their keys, the same whichever database they are in.
    pub hash: String,
}

#[derive(Debug)]
pub struct Migration<'a> {
    source: &'a SqlStore,
    target: &'a SqlStore,
    /// Those that others refer to come first.
    tables: Vec<Arc<Table>>,
    /// As the target knows it.
    run: String,
}

#[derive(Debug)]
struct Table {
    name: String,
    columns: Vec<String>,
    /// Places of those of the primary key, in its order.
    key: Vec<usize>,
    /// Places of those that no two rows may have alike, and that may be NULL.
    unique: Vec<usize>,
    /// Rows are numbered by the database.
    numbered: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Cell {
    Null,
    Integer(i64),
    Text(String),
    Blob(Vec<u8>),
}

type Cells = Vec<Cell>;

impl ToSql for Cell {
    fn to_sql(&self) -> Value<'_> {
        match self {
            Cell::Null => Value::Null,
            Cell::Integer(number) => Value::Integer(*number),
            Cell::Text(text) => Value::Text(text),
            Cell::Blob(bytes) => Value::Blob(bytes),
        }
    }
}

impl FromSql for Cell {
    fn from_sql(value: Value<'_>) -> Option<Self> {
        Some(match value {
            Value::Null => Cell::Null,
            Value::Integer(number) => Cell::Integer(number),
            // PostgreSQL has none of these in a text.
            Value::Text(text) => Cell::Text(text.replace('\0', "\u{FFFD}")),
            Value::Blob(bytes) => Cell::Blob(bytes.to_owned()),
        })
    }
}

struct Bound<'a>(Vec<&'a Cell>);

impl Params for Bound<'_> {
    fn each<'a>(&'a self, bind: impl FnMut(Value<'a>) -> SqlResult<()>) -> SqlResult<()> {
        self.0.iter().map(|cell| cell.to_sql()).try_for_each(bind)
    }
}

impl<'a> Migration<'a> {
    /// `source` is of SQLite and nobody changes it while this is used, `target` of PostgreSQL, and nobody serves from that. Notes
    /// there that it is to be filled from this source; a node does not start on it until that is finished. Whoever has begun
    /// before can change nothing from then on.
    pub async fn begin(source: &'a SqlStore, target: &'a SqlStore) -> Outcome<Self> {
        let of_source = source.read(sqlite_columns).await?;
        let of_target = target.read(|c| Ok(postgres_columns(c)?)).await?;
        let tables = tables(of_source, of_target)?;
        let references = target.read(|c| Ok(references(c)?)).await?;
        let tables = in_order(tables, &references);
        let mut migration = Migration {
            source,
            target,
            tables,
            run: String::new(),
        };
        migration.run = migration.mark().await?;
        Ok(migration)
    }

    /// What the target knows this run by: the source, and what no other run has.
    async fn mark(&self) -> Outcome<String> {
        let secret = "SELECT value FROM secrets WHERE name = 'link_secret'";
        let secret: Option<String> = self
            .source
            .read(|c| Ok(c.query_row(secret, (), |row| row.get(0)).optional()?))
            .await?;
        let mut context = Context::new(&SHA256);
        context.update(secret.unwrap_or_default().as_bytes());
        let name = BlobHash::of(context).to_string();
        let run = format!("{name} {}", uuid::Uuid::new_v4().simple());
        let tables = self.tables.clone();
        let marked = self.target.write(move |c| {
            let alone = format!(
                "SELECT pg_try_advisory_xact_lock({})",
                crate::postgres::SERVING
            );
            if !c.query_row(&alone, (), |row| row.get::<bool>(0))? {
                return Ok(Err(MigrateError::Served));
            }
            let found = c
                .query_row(
                    "SELECT source, finished FROM moznods_migration",
                    (),
                    |row| Ok((row.get::<String>(0)?, row.get::<bool>(1)?)),
                )
                .optional()?;
            match found {
                Some((_, true)) => return Ok(Err(MigrateError::Finished)),
                Some((found, false)) if !found.starts_with(&name) => {
                    return Ok(Err(MigrateError::AnotherSource));
                }
                Some(_) => {
                    c.execute("UPDATE moznods_migration SET source = ?", params![run])?;
                    return Ok(Ok(run));
                }
                None => {}
            }
            for table in &tables {
                let any = format!("SELECT 1 FROM \"{}\" LIMIT 1", table.name);
                if c.prepare_cached(&any)?.exists(())? {
                    return Ok(Err(MigrateError::NotEmpty(table.name.clone())));
                }
            }
            c.execute(
                "INSERT INTO moznods_migration (source, finished) VALUES (?, FALSE)",
                params![run],
            )?;
            Ok(Ok(run))
        });
        marked.await?
    }

    /// Makes the target what the source is, or was a moment ago. `told` hears of each table once it is done.
    pub async fn copy(&self, mut told: impl FnMut(&TableCopy)) -> Outcome<Vec<TableCopy>> {
        let mut removed = BTreeMap::new();
        for table in self.tables.iter().rev() {
            removed.insert(table.name.clone(), self.remove_surplus(table).await?);
        }
        let mut copies = Vec::new();
        for table in &self.tables {
            let mut copy = self.copy_table(table).await?;
            copy.removed = removed.get(&table.name).copied().unwrap_or_default();
            told(&copy);
            copies.push(copy);
        }
        Ok(copies)
    }

    /// Rows of the target that the source has not. Of others, what they have as no other may is given up where the source has
    /// it otherwise: it may be another's there.
    async fn remove_surplus(&self, table: &Arc<Table>) -> Outcome<u64> {
        let (mut after, mut removed) = (None, 0);
        loop {
            let rows = chunk(self.target, table, after.clone(), None).await?;
            let Some(last) = rows.last().map(|row| table.key_of(row)) else {
                return Ok(removed);
            };
            let kept = chunk(self.source, table, after, Some(last.clone())).await?;
            let kept: BTreeMap<Cells, Cells> = kept
                .into_iter()
                .map(|row| (table.key_of(&row), row))
                .collect();
            let (mut surplus, mut freed) = (Vec::new(), Vec::new());
            for row in rows {
                let key = table.key_of(&row);
                match kept.get(&key) {
                    None => surplus.push(key),
                    Some(kept) if table.unique_of(kept) != table.unique_of(&row) => freed.push(key),
                    Some(_) => {}
                }
            }
            removed += surplus.len() as u64;
            let delete = format!("DELETE FROM \"{}\"", table.name);
            self.each(table, delete, surplus).await?;
            let unique = table.unique.iter().filter_map(|&at| table.columns.get(at));
            let unique: Vec<String> = unique.map(|name| format!("\"{name}\" = NULL")).collect();
            let free = format!("UPDATE \"{}\" SET {}", table.name, unique.join(", "));
            self.each(table, free, freed).await?;
            after = Some(last);
        }
    }

    /// Does this to the rows of these keys.
    async fn each(&self, table: &Arc<Table>, what: String, keys: Vec<Cells>) -> Outcome<()> {
        for keys in keys.chunks(AT_ONCE).map(<[Cells]>::to_vec) {
            let sql = format!("{what} WHERE {}", table.is_key());
            let change = move |c: &Connection<'_>, _: &Table| {
                for key in &keys {
                    c.prepare_cached(&sql)?
                        .execute(Bound(key.iter().collect()))?;
                }
                Ok(())
            };
            self.quietly(table, change).await?;
        }
        Ok(())
    }

    async fn copy_table(&self, table: &Arc<Table>) -> Outcome<TableCopy> {
        let mut copy = TableCopy {
            name: table.name.clone(),
            ..TableCopy::default()
        };
        let mut after = None;
        loop {
            let rows = chunk(self.source, table, after.clone(), None).await?;
            let Some(last) = rows.last().map(|row| table.key_of(row)) else {
                break;
            };
            let found = chunk(self.target, table, after, Some(last.clone())).await?;
            let found: BTreeMap<Cells, Cells> = found
                .into_iter()
                .map(|row| (table.key_of(&row), row))
                .collect();
            let (mut new, mut changed) = (Vec::new(), Vec::new());
            for row in rows {
                match found.get(&table.key_of(&row)) {
                    None => new.push(row),
                    Some(there) if *there != row => changed.push(row),
                    Some(_) => {}
                }
            }
            copy.added += new.len() as u64;
            copy.changed += changed.len() as u64;
            for rows in changed.chunks(AT_ONCE).map(<[Cells]>::to_vec) {
                self.quietly(table, move |c, table| update(c, table, &rows))
                    .await?;
            }
            if !new.is_empty() {
                self.quietly(table, move |c, table| insert(c, table, &new))
                    .await?;
            }
            after = Some(last);
        }
        if table.numbered {
            self.number(table).await?;
        }
        Ok(copy)
    }

    /// A change of rows as they are, of which nothing else follows.
    async fn quietly<F>(&self, table: &Arc<Table>, change: F) -> Outcome<()>
    where
        F: FnOnce(&Connection<'_>, &Table) -> Result<()> + Send + 'static,
    {
        let table = Arc::clone(table);
        let changed = self.fenced(move |c| {
            c.execute(
                &format!("ALTER TABLE \"{}\" DISABLE TRIGGER USER", table.name),
                (),
            )?;
            change(c, &table)?;
            c.execute(
                &format!("ALTER TABLE \"{}\" ENABLE TRIGGER USER", table.name),
                (),
            )?;
            Ok(())
        });
        changed.await
    }

    /// A change of the target, while this is the run that fills it.
    async fn fenced<T, F>(&self, change: F) -> Outcome<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection<'_>) -> Result<T> + Send + 'static,
    {
        let run = self.run.clone();
        let changed = self.target.write_apart(move |c| {
            // Who writes is alone, and so it is until the commit.
            let stands = "SELECT source, finished FROM moznods_migration";
            let found = c
                .query_row(stands, (), |row| {
                    Ok((row.get::<String>(0)?, row.get::<bool>(1)?))
                })
                .optional()?;
            match found {
                Some((found, false)) if found == run => Ok(Ok(change(c)?)),
                Some((_, true)) => Ok(Err(MigrateError::Finished)),
                _ => Ok(Err(MigrateError::Overtaken)),
            }
        });
        changed.await?
    }

    /// The next number that the target gives out is none that the source has given out.
    async fn number(&self, table: &Arc<Table>) -> Outcome<()> {
        let name = table.name.clone();
        let last = self.source.read(move |c| {
            let highest = format!("SELECT coalesce(max(id), 0) FROM \"{name}\"");
            let highest: i64 = c.query_row(&highest, (), |row| row.get(0))?;
            let given = "SELECT seq FROM sqlite_sequence WHERE name = ?";
            let given: Option<i64> = c
                .query_row(given, params![name], |row| row.get(0))
                .optional()?;
            Ok(highest.max(given.unwrap_or_default()))
        });
        let last = last.await?;
        if last > 0 {
            let set = format!(
                "SELECT setval(pg_get_serial_sequence('\"{}\"', 'id'), ?)",
                table.name
            );
            self.fenced(move |c| Ok(c.query_row(&set, [last], |row| row.get::<i64>(0))?))
                .await?;
        }
        Ok(())
    }

    /// Compares all of both, row by row; nobody may write meanwhile.
    pub async fn verify(&self, mut told: impl FnMut(&TableProof)) -> Outcome<Vec<TableProof>> {
        let mut proofs = Vec::new();
        for table in &self.tables {
            let proof = prove(self.source, table).await?;
            if prove(self.target, table).await? != proof {
                return Err(MigrateError::Different(table.name.clone()));
            }
            told(&proof);
            proofs.push(proof);
        }
        Ok(proofs)
    }

    /// All is there: a node may serve from it.
    pub async fn finish(&self) -> Outcome<()> {
        // Bytes of files that the source has removed since they were copied.
        let loose = "INSERT INTO loose_blobs (hash) SELECT b.hash FROM
                (SELECT hash FROM stored_blobs UNION SELECT hash FROM blob_chunks) AS b
            WHERE NOT EXISTS (SELECT 1 FROM files f WHERE f.hash = b.hash)
                AND NOT EXISTS (SELECT 1 FROM users u WHERE u.avatar_hash = b.hash)
            ON CONFLICT DO NOTHING";
        self.fenced(move |c| Ok(c.execute(loose, ()).map(drop)?))
            .await?;
        // And those that it was yet to remove: they are in a bucket that both have.
        let loose = self.source.read(|c| {
            let mut all = c.prepare_cached("SELECT hash FROM loose_blobs")?;
            let all = all.query_map((), |row| row.get(0))?;
            Ok(all.collect::<SqlResult<Vec<BlobHash>>>()?)
        });
        for hashes in loose.await?.chunks(AT_ONCE).map(<[BlobHash]>::to_vec) {
            let note = "INSERT INTO loose_blobs (hash) VALUES (?) ON CONFLICT DO NOTHING";
            self.fenced(move |c| {
                let mut note = c.prepare_cached(note)?;
                hashes
                    .iter()
                    .try_for_each(|hash| note.execute([*hash]).map(drop))?;
                Ok(())
            })
            .await?;
        }
        let finish = "UPDATE moznods_migration SET finished = TRUE";
        self.fenced(move |c| Ok(c.execute(finish, ()).map(drop)?))
            .await
    }

    /// The names of all bytes that the source names, and whether there is a thumbnail.
    pub async fn blobs(&self) -> Outcome<Vec<(BlobHash, bool)>> {
        let mut all = Vec::new();
        loop {
            let after = all.last().map(|(hash, _)| *hash);
            let more = self.source.needed_blobs(after, BLOBS).await?;
            if more.is_empty() {
                return Ok(all);
            }
            all.extend(more);
        }
    }
}

impl Table {
    fn key_of(&self, row: &[Cell]) -> Cells {
        self.key
            .iter()
            .filter_map(|&at| row.get(at).cloned())
            .collect()
    }

    fn unique_of<'r>(&self, row: &'r [Cell]) -> Vec<Option<&'r Cell>> {
        self.unique.iter().map(|&at| row.get(at)).collect()
    }

    fn key_columns(&self) -> impl Iterator<Item = &str> {
        let columns = self.key.iter().filter_map(|&at| self.columns.get(at));
        columns.map(String::as_str)
    }

    fn is_key(&self) -> String {
        let each: Vec<String> = self
            .key_columns()
            .map(|name| format!("\"{name}\" = ?"))
            .collect();
        each.join(" AND ")
    }
}

fn quoted<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let quoted: Vec<String> = names.map(|name| format!("\"{name}\"")).collect();
    quoted.join(", ")
}

/// Rows behind one key, up to another, or else a few.
async fn chunk(
    store: &SqlStore,
    table: &Arc<Table>,
    after: Option<Cells>,
    to: Option<Cells>,
) -> Result<Vec<Cells>> {
    let table = Arc::clone(table);
    store
        .read(move |c| Ok(read(c, &table, after.as_ref(), to.as_ref())?))
        .await
}

fn read(
    c: &Connection,
    table: &Table,
    after: Option<&Cells>,
    to: Option<&Cells>,
) -> SqlResult<Vec<Cells>> {
    let columns = quoted(table.columns.iter().map(String::as_str));
    let key = quoted(table.key_columns());
    let places = vec!["?"; table.key.len()].join(", ");
    let mut bounds = Vec::new();
    if after.is_some() {
        bounds.push(format!("({key}) > ({places})"));
    }
    if to.is_some() {
        bounds.push(format!("({key}) <= ({places})"));
    }
    let bounds = match bounds.is_empty() {
        true => String::new(),
        false => format!("WHERE {}", bounds.join(" AND ")),
    };
    let limit = match to {
        Some(_) => String::new(),
        None => format!("LIMIT {ROWS}"),
    };
    let sql = format!(
        "SELECT {columns} FROM \"{}\" {bounds} ORDER BY {key} {limit}",
        table.name
    );
    let bound = Bound(after.into_iter().chain(to).flatten().collect());
    let mut statement = c.prepare_cached(&sql)?;
    let rows = statement.query_map(bound, |row| {
        (0..table.columns.len()).map(|at| row.get(at)).collect()
    })?;
    rows.collect()
}

fn insert(c: &Connection, table: &Table, new: &[Cells]) -> Result<()> {
    let columns = quoted(table.columns.iter().map(String::as_str));
    let places = format!("({})", vec!["?"; table.columns.len()].join(", "));
    let insert = |rows: &[Cells]| -> Result<()> {
        let sql = format!(
            "INSERT INTO \"{}\" ({columns}) VALUES {}",
            table.name,
            vec![places.as_str(); rows.len()].join(", ")
        );
        c.prepare_cached(&sql)?
            .execute(Bound(rows.iter().flatten().collect()))?;
        Ok(())
    };
    let together = new.chunks_exact(TOGETHER);
    let rest = together.remainder();
    for rows in together {
        insert(rows)?;
    }
    for row in rest.chunks(1) {
        insert(row)?;
    }
    Ok(())
}

fn update(c: &Connection, table: &Table, changed: &[Cells]) -> Result<()> {
    let is_key = |at: &usize| table.key.contains(at);
    let others: Vec<usize> = (0..table.columns.len()).filter(|at| !is_key(at)).collect();
    let set: Vec<String> = others
        .iter()
        .filter_map(|&at| table.columns.get(at))
        .map(|name| format!("\"{name}\" = ?"))
        .collect();
    let sql = format!(
        "UPDATE \"{}\" SET {} WHERE {}",
        table.name,
        set.join(", "),
        table.is_key()
    );
    for row in changed {
        let places = others.iter().chain(&table.key);
        let cells = places.filter_map(|&at| row.get(at)).collect();
        c.prepare_cached(&sql)?.execute(Bound(cells))?;
    }
    Ok(())
}

async fn prove(store: &SqlStore, table: &Arc<Table>) -> Outcome<TableProof> {
    let mut context = Context::new(&SHA256);
    let (mut rows, mut after) = (0, None);
    loop {
        let found = chunk(store, table, after, None).await?;
        let Some(last) = found.last() else {
            break;
        };
        after = Some(table.key_of(last));
        rows += found.len() as u64;
        for cell in found.iter().flatten() {
            let (kind, bytes): (u8, &[u8]) = match cell {
                Cell::Null => (0, &[]),
                Cell::Integer(number) => (1, &number.to_be_bytes()),
                Cell::Text(text) => (2, text.as_bytes()),
                Cell::Blob(bytes) => (3, bytes),
            };
            context.update(&[kind]);
            context.update(&(bytes.len() as u64).to_be_bytes());
            context.update(bytes);
        }
    }
    Ok(TableProof {
        name: table.name.clone(),
        rows,
        hash: BlobHash::of(context).to_string(),
    })
}

/// The names of columns, by table.
fn sqlite_columns(c: &Connection) -> Result<BTreeMap<String, BTreeSet<String>>> {
    let sql = "SELECT t.name, c.name FROM sqlite_schema t JOIN pragma_table_info(t.name) c WHERE t.type = 'table'";
    let mut all: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut statement = c.prepare_cached(sql)?;
    for row in statement.query_map((), |row| Ok((row.get(0)?, row.get(1)?)))? {
        let (table, column) = row?;
        all.entry(table).or_default().insert(column);
    }
    all.retain(|name, _| !is_left_out(name));
    Ok(all)
}

fn is_left_out(table: &str) -> bool {
    LEFT_OUT.contains(&table)
        || LEFT_OUT_BEGINNINGS
            .iter()
            .any(|beginning| table.starts_with(beginning))
}

fn postgres_columns(c: &Connection) -> SqlResult<Vec<Table>> {
    let sql = "SELECT CAST(t.relname AS TEXT), CAST(c.attname AS TEXT), c.attidentity <> '',
            CAST(coalesce(array_position(CAST(i.indkey AS SMALLINT[]), c.attnum), -1) AS BIGINT),
            NOT c.attnotnull AND EXISTS (SELECT 1 FROM pg_index u
                WHERE u.indrelid = t.oid AND u.indisunique AND c.attnum = ANY (CAST(u.indkey AS SMALLINT[])))
        FROM pg_class t JOIN pg_attribute c ON c.attrelid = t.oid AND c.attnum > 0 AND NOT c.attisdropped
            LEFT JOIN pg_index i ON i.indrelid = t.oid AND i.indisprimary
        WHERE t.relkind = 'r' AND t.relnamespace = CAST(current_schema() AS REGNAMESPACE)
        ORDER BY t.relname, c.attnum";
    let mut all: Vec<Table> = Vec::new();
    let mut keys: Vec<(i64, usize)> = Vec::new();
    let mut statement = c.prepare_cached(sql)?;
    let rows = statement.query_map((), |row| {
        let (table, column): (String, String) = (row.get(0)?, row.get(1)?);
        let (numbered, place) = (row.get::<bool>(2)?, row.get::<i64>(3)?);
        Ok((table, column, numbered, place, row.get::<bool>(4)?))
    })?;
    for row in rows {
        let (name, column, numbered, place, unique) = row?;
        if is_left_out(&name) {
            continue;
        }
        if all.last().is_none_or(|table| table.name != name) {
            keys.clear();
            all.push(Table {
                name,
                columns: Vec::new(),
                key: Vec::new(),
                unique: Vec::new(),
                numbered: false,
            });
        }
        if let Some(table) = all.last_mut() {
            if place >= 0 {
                keys.push((place, table.columns.len()));
                keys.sort_unstable();
                table.key = keys.iter().map(|(_, at)| *at).collect();
            }
            if unique {
                table.unique.push(table.columns.len());
            }
            table.columns.push(column);
            table.numbered |= numbered;
        }
    }
    Ok(all)
}

/// Those that both have.
fn tables(
    mut of_source: BTreeMap<String, BTreeSet<String>>,
    of_target: Vec<Table>,
) -> Outcome<Vec<Table>> {
    let mut tables = Vec::new();
    for table in of_target {
        // What one node has of its own there is made anew.
        let Some(columns) = of_source.remove(&table.name) else {
            continue;
        };
        let own: BTreeSet<String> = table.columns.iter().cloned().collect();
        if own != columns || table.key.is_empty() {
            return Err(MigrateError::Tables(table.name));
        }
        tables.push(table);
    }
    match of_source.pop_first() {
        Some((name, _)) => Err(MigrateError::Tables(name)),
        None => Ok(tables),
    }
}

/// Which table refers to which.
fn references(c: &Connection) -> SqlResult<Vec<(String, String)>> {
    let sql = "SELECT CAST(a.relname AS TEXT), CAST(b.relname AS TEXT) FROM pg_constraint k
            JOIN pg_class a ON a.oid = k.conrelid JOIN pg_class b ON b.oid = k.confrelid
        WHERE k.contype = 'f' AND a.relnamespace = CAST(current_schema() AS REGNAMESPACE) AND a.oid <> b.oid";
    let mut statement = c.prepare_cached(sql)?;
    let rows = statement.query_map((), |row| Ok((row.get(0)?, row.get(1)?)))?;
    rows.collect()
}

fn in_order(tables: Vec<Table>, references: &[(String, String)]) -> Vec<Arc<Table>> {
    let mut left: Vec<Arc<Table>> = tables.into_iter().map(Arc::new).collect();
    let mut ordered: Vec<Arc<Table>> = Vec::new();
    while !left.is_empty() {
        let waits = |table: &Arc<Table>| {
            let own = references.iter().filter(|(from, _)| *from == table.name);
            own.into_iter()
                .any(|(_, to)| left.iter().any(|other| other.name == *to))
        };
        let (waiting, free): (Vec<_>, Vec<_>) = left.iter().cloned().partition(waits);
        // There is no ring of them.
        if free.is_empty() {
            ordered.extend(waiting);
            break;
        }
        ordered.extend(free);
        left = waiting;
    }
    ordered
}
