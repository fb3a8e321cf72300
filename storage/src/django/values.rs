//! Values as SQLite has them for Django: any column may hold anything.

use rusqlite::Row as SqliteRow;
use rusqlite::types::ValueRef;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::Row;
use super::tables::Column;
use crate::Timestamp;

/// Those of a row, after its key.
#[derive(Debug)]
pub struct Values<'a> {
    row: &'a SqliteRow<'a>,
    columns: &'static [Column],
}

impl<'a> Values<'a> {
    pub(super) fn of(row: &'a SqliteRow<'a>, columns: &'static [Column]) -> Self {
        Values { row, columns }
    }

    fn name(&self, at: usize) -> &'static str {
        self.columns.get(at).map_or("", |column| column.name)
    }

    fn value(&self, at: usize) -> Row<ValueRef<'_>> {
        self.row.get_ref(at + 1).map_err(|_| self.name(at))
    }

    /// Empty where there is none.
    pub(super) fn text(&self, at: usize) -> Row<String> {
        match self.value(at)? {
            ValueRef::Null => Ok(String::new()),
            ValueRef::Text(text) => std::str::from_utf8(text)
                .map(str::to_owned)
                .map_err(|_| self.name(at)),
            ValueRef::Integer(number) => Ok(number.to_string()),
            _ => Err(self.name(at)),
        }
    }

    pub(super) fn link(&self, at: usize) -> Row<Option<i64>> {
        match self.value(at)? {
            ValueRef::Null => Ok(None),
            ValueRef::Integer(number) => Ok(Some(number)),
            _ => Err(self.name(at)),
        }
    }

    pub(super) fn number(&self, at: usize) -> Row<i64> {
        self.link(at)?.ok_or(self.name(at))
    }

    pub(super) fn flag(&self, at: usize) -> Row<bool> {
        Ok(self.link(at)?.is_some_and(|number| number != 0))
    }

    pub(super) fn time(&self, at: usize) -> Row<Option<Timestamp>> {
        match self.value(at)? {
            ValueRef::Null => Ok(None),
            ValueRef::Text(text) => std::str::from_utf8(text)
                .ok()
                .and_then(time)
                .map(Some)
                .ok_or(self.name(at)),
            _ => Err(self.name(at)),
        }
    }
}

/// Django writes UTC, without saying so.
fn time(text: &str) -> Option<Timestamp> {
    let (date, clock) = text.trim().split_once([' ', 'T'])?;
    let has_zone = clock.ends_with(['Z', 'z']) || clock.contains(['+', '-']);
    let zone = if has_zone { "" } else { "Z" };
    let time = OffsetDateTime::parse(&format!("{date}T{clock}{zone}"), &Rfc3339).ok()?;
    Timestamp::try_from(time.unix_timestamp_nanos() / 1000).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_django_writes_them() {
        let noon = Some(1_700_000_000_000_042);
        assert_eq!(time("2023-11-14 22:13:20.000042"), noon);
        assert_eq!(time("2023-11-14T22:13:20.000042Z"), noon);
        assert_eq!(time("2023-11-15 01:13:20.000042+03:00"), noon);
        assert_eq!(time("2023-11-14 22:13:20"), Some(1_700_000_000_000_000));
        for wrong in [
            "",
            "2023-11-14",
            "yesterday",
            "2023-13-01 00:00:00",
            "99999-01-01 00:00:00",
        ] {
            assert_eq!(time(wrong), None, "{wrong}");
        }
    }
}
