//! Integers as clients write them.

use std::fmt;

use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer};

/// An integer, or one written as a text: clients in the field do that, and forms cannot do otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Int(pub i64);

impl<'de> Deserialize<'de> for Int {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(IntVisitor)
    }
}

struct IntVisitor;

impl Visitor<'_> for IntVisitor {
    type Value = Int;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an integer")
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Int, E> {
        Ok(Int(number))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Int, E> {
        i64::try_from(number)
            .map(Int)
            .map_err(|_| E::invalid_value(Unexpected::Unsigned(number), &self))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Int, E> {
        text.trim()
            .parse()
            .map(Int)
            .map_err(|_| E::invalid_value(Unexpected::Str(text), &self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_integer_is_one_however_it_is_written() {
        let read = |json: &str| {
            serde_json::from_str::<Int>(json)
                .ok()
                .map(|Int(number)| number)
        };
        for (json, number) in [
            ("2", Some(2)),
            ("\"2\"", Some(2)),
            ("\" -2 \"", Some(-2)),
            ("2.5", None),
            ("1e99", None),
            ("18446744073709551615", None),
            ("\"99999999999999999999\"", None),
            ("\"\"", None),
            ("true", None),
            ("[2]", None),
            ("null", None),
        ] {
            assert_eq!(read(json), number, "{json}");
        }
    }
}
