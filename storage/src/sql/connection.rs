//! A connection as all that is shared sees it: the SQL of the files beside is written once, in words that every engine
//! understands. Parameters are `?` (the next one) or `?1`; what an engine has other words for it translates itself.

use std::time::Duration;

use rusqlite::types::{ToSqlOutput, ValueRef};

use super::value::{FromSql, Params, Result, Value};
use crate::postgres::{self, Session};
use crate::sqlite::Deadline;
use crate::{DatabaseError, StorageError};

/// Of one snapshot, or of the transaction that writes.
pub(crate) enum Connection<'c> {
    Sqlite(&'c rusqlite::Connection),
    Postgres(&'c Session),
}

/// Parsed and planned once for each connection.
pub(crate) enum Statement<'c> {
    Sqlite(rusqlite::CachedStatement<'c>),
    Postgres(postgres::Statement<'c>),
}

pub(crate) enum Rows<'s> {
    Sqlite(rusqlite::Rows<'s>),
    Postgres(std::vec::IntoIter<postgres::Row>),
}

pub(crate) enum Row<'r> {
    Sqlite(&'r rusqlite::Row<'r>),
    Postgres(postgres::Row),
}

impl<'c> Connection<'c> {
    pub(crate) fn prepare_cached(&self, sql: &str) -> Result<Statement<'c>> {
        match self {
            Connection::Sqlite(connection) => {
                Ok(Statement::Sqlite(connection.prepare_cached(sql)?))
            }
            Connection::Postgres(session) => Ok(Statement::Postgres(session.statement(sql)?)),
        }
    }

    /// How many rows it has changed.
    pub(crate) fn execute(&self, sql: &str, params: impl Params) -> Result<usize> {
        self.prepare_cached(sql)?.execute(params)
    }

    /// `NoRow` when there is none; of several the first.
    pub(crate) fn query_row<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> Result<T>,
    ) -> Result<T> {
        self.prepare_cached(sql)?.query_row(params, read)
    }

    /// Puts in one row at most, of a table that numbers them by `id`: the number of the new one; `None`: there is none.
    pub(crate) fn insert(&self, sql: &str, params: impl Params) -> Result<Option<i64>> {
        match self {
            Connection::Sqlite(connection) => {
                let rows = self.execute(sql, params)?;
                Ok((rows > 0).then(|| connection.last_insert_rowid()))
            }
            Connection::Postgres(session) => session.insert(sql, params),
        }
    }

    /// Rows that were changed so far, of which but the growth says something.
    pub(crate) fn total_changes(&self) -> u64 {
        match self {
            Connection::Sqlite(connection) => connection.total_changes(),
            Connection::Postgres(session) => session.total_changes(),
        }
    }

    /// Interrupts `query` once `time` is over; what it has read until then is not lost.
    pub(crate) fn within<T>(
        &self,
        time: Duration,
        query: impl FnOnce(&Deadline) -> std::result::Result<T, StorageError>,
    ) -> std::result::Result<T, StorageError> {
        let deadline = Deadline::after(time);
        match self {
            Connection::Sqlite(_) => query(&deadline),
            Connection::Postgres(session) => session.within(time, || query(&deadline)),
        }
    }
}

impl Statement<'_> {
    /// How many rows it has changed.
    pub(crate) fn execute(&mut self, params: impl Params) -> Result<usize> {
        match self {
            Statement::Sqlite(statement) => {
                bind(statement, params)?;
                Ok(statement.raw_execute()?)
            }
            Statement::Postgres(statement) => statement.execute(params),
        }
    }

    pub(crate) fn query(&mut self, params: impl Params) -> Result<Rows<'_>> {
        match self {
            Statement::Sqlite(statement) => {
                bind(statement, params)?;
                Ok(Rows::Sqlite(statement.raw_query()))
            }
            Statement::Postgres(statement) => Ok(Rows::Postgres(statement.query(params)?)),
        }
    }

    pub(crate) fn query_map<T, F: FnMut(&Row<'_>) -> Result<T>>(
        &mut self,
        params: impl Params,
        read: F,
    ) -> Result<MappedRows<'_, F>> {
        let rows = self.query(params)?;
        Ok(MappedRows { rows, read })
    }

    /// `NoRow` when there is none; of several the first.
    pub(crate) fn query_row<T>(
        &mut self,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> Result<T>,
    ) -> Result<T> {
        let mut rows = self.query(params)?;
        read(&rows.next()?.ok_or(DatabaseError::NoRow)?)
    }

    pub(crate) fn exists(&mut self, params: impl Params) -> Result<bool> {
        Ok(self.query(params)?.next()?.is_some())
    }
}

fn bind(statement: &mut rusqlite::Statement<'_>, params: impl Params) -> Result<()> {
    let mut bound = 0;
    params.each(|value| {
        bound += 1;
        Ok(statement.raw_bind_parameter(bound, value)?)
    })?;
    let expected = statement.parameter_count();
    if bound != expected {
        return Err(rusqlite::Error::InvalidParameterCount(bound, expected).into());
    }
    Ok(())
}

impl rusqlite::ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match *self {
            Value::Null => ValueRef::Null,
            Value::Integer(number) => ValueRef::Integer(number),
            Value::Text(text) => ValueRef::Text(text.as_bytes()),
            Value::Blob(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

impl Rows<'_> {
    pub(crate) fn next(&mut self) -> Result<Option<Row<'_>>> {
        match self {
            Rows::Sqlite(rows) => Ok(rows.next()?.map(Row::Sqlite)),
            Rows::Postgres(rows) => Ok(rows.next().map(Row::Postgres)),
        }
    }
}

impl Row<'_> {
    /// The column at this place, from 0 on.
    pub(crate) fn get<T: FromSql>(&self, at: usize) -> Result<T> {
        let value = match self {
            Row::Sqlite(row) => match row.get_ref(at)? {
                ValueRef::Null => Value::Null,
                ValueRef::Integer(number) => Value::Integer(number),
                ValueRef::Text(text) => {
                    Value::Text(str::from_utf8(text).map_err(|_| DatabaseError::Type(at))?)
                }
                ValueRef::Blob(bytes) => Value::Blob(bytes),
                ValueRef::Real(_) => return Err(DatabaseError::Type(at)),
            },
            Row::Postgres(row) => row.value(at)?,
        };
        T::from_sql(value).ok_or(DatabaseError::Type(at))
    }
}

/// Rows as something is made of each.
pub(crate) struct MappedRows<'s, F> {
    rows: Rows<'s>,
    read: F,
}

impl<T, F: FnMut(&Row<'_>) -> Result<T>> Iterator for MappedRows<'_, F> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Result<T>> {
        let row = self.rows.next().transpose()?;
        Some(row.and_then(|row| (self.read)(&row)))
    }
}

pub(crate) trait OptionalExtension<T> {
    /// `None`: there is no such row.
    fn optional(self) -> Result<Option<T>>;
}

impl<T> OptionalExtension<T> for Result<T> {
    fn optional(self) -> Result<Option<T>> {
        match self {
            Err(DatabaseError::NoRow) => Ok(None),
            outcome => outcome.map(Some),
        }
    }
}
