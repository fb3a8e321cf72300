//! Statements and rows as the shared SQL sees them.

use std::sync::Arc;

use super::session::{Prepared, Session};
use super::types::Column;
use crate::DatabaseError;
use crate::sql::{Params, SqlResult, Value};

pub(crate) struct Statement<'c> {
    session: &'c Session,
    prepared: Arc<Prepared>,
}

pub(crate) struct Row(tokio_postgres::Row);

impl Session {
    pub(crate) fn statement(&self, sql: &str) -> SqlResult<Statement<'_>> {
        Ok(Statement {
            session: self,
            prepared: self.prepare(sql, false)?,
        })
    }

    pub(crate) fn insert(&self, sql: &str, params: impl Params) -> SqlResult<Option<i64>> {
        let prepared = self.prepare(sql, true)?;
        let found = self.query(&prepared, params)?.rows.into_iter().next();
        let id = found.map(|row| row.try_get(0));
        id.transpose().map_err(super::session::of_server)
    }
}

impl Statement<'_> {
    pub(crate) fn execute(&self, params: impl Params) -> SqlResult<usize> {
        let affected = self.session.query(&self.prepared, params)?.affected;
        Ok(usize::try_from(affected).unwrap_or(usize::MAX))
    }

    pub(crate) fn query(&self, params: impl Params) -> SqlResult<std::vec::IntoIter<Row>> {
        let rows = self.session.query(&self.prepared, params)?.rows;
        let rows: Vec<Row> = rows.into_iter().map(Row).collect();
        Ok(rows.into_iter())
    }
}

impl Row {
    pub(crate) fn value(&self, at: usize) -> SqlResult<Value<'_>> {
        let column: Column<'_> = self.0.try_get(at).map_err(|_| DatabaseError::Type(at))?;
        Ok(column.0)
    }
}
