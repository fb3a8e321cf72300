//! Times as clients write them.

use std::str::FromStr;

use moznods_storage::Timestamp;
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// RFC 3339, in whatever zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment(pub Timestamp);

impl FromStr for Moment {
    type Err = NotATime;

    fn from_str(text: &str) -> Result<Self, NotATime> {
        let time = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| NotATime)?;
        // Four digits of a year are far from what does not fit.
        Timestamp::try_from(time.unix_timestamp_nanos() / 1000)
            .map(Moment)
            .map_err(|_| NotATime)
    }
}

#[derive(Debug, thiserror::Error)]
#[error("expected a time such as 2026-11-29T12:00:00Z")]
pub struct NotATime;

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_read_whatever_its_zone() {
        let read = |json: &str| {
            serde_json::from_str::<Moment>(json)
                .ok()
                .map(|Moment(time)| time)
        };
        let time = Some(1_700_000_000_000_042);
        assert_eq!(read("\"2023-11-14T22:13:20.000042Z\""), time);
        assert_eq!(read("\"2023-11-15T01:13:20.000042+03:00\""), time);
        for wrong in [
            "\"2023-11-14\"",
            "\"\"",
            "1",
            "null",
            "\"9999999-01-01T00:00:00Z\"",
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
