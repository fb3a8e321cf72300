//! Settings of files.

use super::{Bucket, ConfigError, Settings, bucket};

#[derive(Debug, Clone)]
pub struct Files {
    /// Bytes of one file.
    pub max_size: u64,
    pub types: Vec<TypePattern>,
    /// Bytes of all files of a user; 0: no limit.
    pub quota_per_user: u64,
    /// After which a file that is attached to nothing goes.
    pub orphan_hours: u32,
    /// `None`: the bytes are with the database.
    pub bucket: Option<Bucket>,
}

/// A type of content, or all of a kind: `image/png`, `image/*`, `*/*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypePattern {
    /// In lower case; `None`: any.
    top: Option<String>,
    sub: Option<String>,
}

impl TypePattern {
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.to_ascii_lowercase();
        let (top, sub) = text.split_once('/')?;
        let word = |part: &str| {
            let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&^_.+-".contains(&byte);
            match part {
                "*" => Some(None),
                part if !part.is_empty() && part.bytes().all(fits) => Some(Some(part.to_owned())),
                _ => None,
            }
        };
        let pattern = TypePattern {
            top: word(top)?,
            sub: word(sub)?,
        };
        (pattern.top.is_some() || pattern.sub.is_none()).then_some(pattern)
    }

    /// `kind` is in lower case, without parameters.
    pub fn matches(&self, kind: &str) -> bool {
        let (top, sub) = kind.split_once('/').unwrap_or((kind, ""));
        let is = |pattern: &Option<String>, part| pattern.as_deref().is_none_or(|own| own == part);
        is(&self.top, top) && is(&self.sub, sub)
    }
}

impl std::fmt::Display for TypePattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let word = |part: &'_ Option<String>| part.clone().unwrap_or_else(|| "*".to_owned());
        write!(f, "{}/{}", word(&self.top), word(&self.sub))
    }
}

pub(super) fn parse(settings: &Settings) -> Result<Files, ConfigError> {
    const SIZE: &str = "bytes, such as 10485760 or 10MiB";
    let max_size = settings.get(
        "files.max_size",
        |text| bytes(text).filter(|size| (1..=MAX_SIZE).contains(size)),
        &format!("{SIZE}, from 1 to 16GiB"),
    )?;
    Ok(Files {
        max_size,
        types: settings.list(
            "files.types",
            TypePattern::parse,
            "types of content by comma, such as image/*,application/pdf",
        )?,
        quota_per_user: settings.get(
            "files.quota_per_user",
            bytes,
            &format!("{SIZE}, or 0 for no limit"),
        )?,
        orphan_hours: settings.get(
            "files.orphan_hours",
            |text| {
                text.parse()
                    .ok()
                    .filter(|hours| (1..=87_600).contains(hours))
            },
            "hours from 1 to 87600",
        )?,
        bucket: bucket::parse(settings)?,
    })
}

const MAX_SIZE: u64 = 16 << 30;

/// A number of bytes, perhaps with a unit.
fn bytes(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = match text.get(digits.len()..)?.trim() {
        "" | "B" => 1,
        "KiB" | "K" => 1 << 10,
        "MiB" | "M" => 1 << 20,
        "GiB" | "G" => 1 << 30,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        for (text, size) in [
            ("0", Some(0)),
            ("10485760", Some(10 << 20)),
            ("10MiB", Some(10 << 20)),
            ("10 MiB", Some(10 << 20)),
            ("1GiB", Some(1 << 30)),
            ("2K", Some(2048)),
            ("", None),
            ("MiB", None),
            ("10MB", None),
            ("-1", None),
            ("1.5MiB", None),
            ("99999999999GiB", None),
        ] {
            assert_eq!(bytes(text), size, "{text}");
        }
    }

    #[test]
    fn types_may_be_all_of_a_kind() {
        let matches =
            |pattern: &str, kind: &str| TypePattern::parse(pattern).unwrap().matches(kind);
        assert!(matches("image/*", "image/png") && !matches("image/*", "video/png"));
        assert!(matches("Application/PDF", "application/pdf"));
        assert!(!matches("application/pdf", "application/zip"));
        assert!(matches("*/*", "x/y"));
        for wrong in ["image", "*/png", "image/", "/", "a b/c", "image/png/x"] {
            assert!(TypePattern::parse(wrong).is_none(), "{wrong}");
        }
    }
}
