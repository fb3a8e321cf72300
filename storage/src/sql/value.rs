//! What is bound to statements and read from rows, the same for every engine.

use crate::{BlobHash, DatabaseError};

pub(crate) type Result<T> = std::result::Result<T, DatabaseError>;

/// Of a parameter or a column. Flags are integers here, 0 and 1, whatever the engine has for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    Null,
    Integer(i64),
    Text(&'a str),
    Blob(&'a [u8]),
}

pub(crate) trait ToSql {
    fn to_sql(&self) -> Value<'_>;
}

impl<T: ToSql + ?Sized> ToSql for &T {
    fn to_sql(&self) -> Value<'_> {
        (**self).to_sql()
    }
}

impl<T: ToSql> ToSql for Option<T> {
    fn to_sql(&self) -> Value<'_> {
        self.as_ref().map_or(Value::Null, ToSql::to_sql)
    }
}

impl ToSql for i64 {
    fn to_sql(&self) -> Value<'_> {
        Value::Integer(*self)
    }
}

impl ToSql for u32 {
    fn to_sql(&self) -> Value<'_> {
        Value::Integer(i64::from(*self))
    }
}

impl ToSql for bool {
    fn to_sql(&self) -> Value<'_> {
        Value::Integer(i64::from(*self))
    }
}

impl ToSql for str {
    fn to_sql(&self) -> Value<'_> {
        Value::Text(self)
    }
}

impl ToSql for String {
    fn to_sql(&self) -> Value<'_> {
        Value::Text(self)
    }
}

impl ToSql for Vec<u8> {
    fn to_sql(&self) -> Value<'_> {
        Value::Blob(self)
    }
}

impl<const N: usize> ToSql for [u8; N] {
    fn to_sql(&self) -> Value<'_> {
        Value::Blob(self)
    }
}

impl ToSql for BlobHash {
    fn to_sql(&self) -> Value<'_> {
        Value::Blob(&self.0)
    }
}

pub(crate) trait FromSql: Sized {
    /// `None`: it is of another type.
    fn from_sql(value: Value<'_>) -> Option<Self>;
}

impl<T: FromSql> FromSql for Option<T> {
    fn from_sql(value: Value<'_>) -> Option<Self> {
        match value {
            Value::Null => Some(None),
            value => T::from_sql(value).map(Some),
        }
    }
}

impl FromSql for i64 {
    fn from_sql(value: Value<'_>) -> Option<Self> {
        match value {
            Value::Integer(number) => Some(number),
            _ => None,
        }
    }
}

impl FromSql for u32 {
    fn from_sql(value: Value<'_>) -> Option<Self> {
        i64::from_sql(value)?.try_into().ok()
    }
}

impl FromSql for bool {
    fn from_sql(value: Value<'_>) -> Option<Self> {
        i64::from_sql(value).map(|number| number != 0)
    }
}

impl FromSql for String {
    fn from_sql(value: Value<'_>) -> Option<Self> {
        match value {
            Value::Text(text) => Some(text.to_owned()),
            _ => None,
        }
    }
}

impl FromSql for Vec<u8> {
    fn from_sql(value: Value<'_>) -> Option<Self> {
        match value {
            Value::Blob(bytes) => Some(bytes.to_owned()),
            _ => None,
        }
    }
}

impl<const N: usize> FromSql for [u8; N] {
    fn from_sql(value: Value<'_>) -> Option<Self> {
        match value {
            Value::Blob(bytes) => bytes.try_into().ok(),
            _ => None,
        }
    }
}

impl FromSql for BlobHash {
    fn from_sql(value: Value<'_>) -> Option<Self> {
        FromSql::from_sql(value).map(BlobHash)
    }
}

/// The parameters of a statement, in their order.
pub(crate) trait Params {
    fn each<'a>(&'a self, bind: impl FnMut(Value<'a>) -> Result<()>) -> Result<()>;
}

impl Params for () {
    fn each<'a>(&'a self, _: impl FnMut(Value<'a>) -> Result<()>) -> Result<()> {
        Ok(())
    }
}

impl<T: ToSql, const N: usize> Params for [T; N] {
    fn each<'a>(&'a self, bind: impl FnMut(Value<'a>) -> Result<()>) -> Result<()> {
        self.iter().map(ToSql::to_sql).try_for_each(bind)
    }
}

impl Params for &[&dyn ToSql] {
    fn each<'a>(&'a self, bind: impl FnMut(Value<'a>) -> Result<()>) -> Result<()> {
        self.iter().map(ToSql::to_sql).try_for_each(bind)
    }
}

/// Parameters of several types.
macro_rules! params {
    ($($value:expr),* $(,)?) => {
        &[$(&$value as &dyn $crate::sql::ToSql),*] as &[&dyn $crate::sql::ToSql]
    };
}
pub(crate) use params;
