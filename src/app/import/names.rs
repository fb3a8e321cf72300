//! Names of the Django program, made such as may stand here.

use moznods_storage::StorageError;

use crate::app::accounts::{check_username, is_email};
use crate::app::{limits, names};

type Result<T> = std::result::Result<T, StorageError>;

/// The same wherever it may be; otherwise one as near as can be that nobody has.
pub fn username(wanted: &str, id: i64, taken: impl Fn(&str) -> Result<bool>) -> Result<String> {
    let mut name: String = wanted
        .trim()
        .chars()
        .take(limits::USERNAME)
        .map(|character| match names::name_character(character) {
            true => character,
            false => '_',
        })
        .collect();
    if check_username(&name).is_some() {
        name = format!("user-{id}");
    }
    let mut number = 1;
    let mut free = name.clone();
    while taken(&free)? {
        number += 1;
        let suffix = format!("-{number}");
        let length = limits::USERNAME - suffix.chars().count();
        let stem: String = name.chars().take(length).collect();
        free = stem + &suffix;
    }
    Ok(free)
}

/// `None`: it is none.
pub fn email(text: &str) -> Option<String> {
    let text = text.trim();
    (text.chars().count() <= limits::EMAIL && is_email(text)).then(|| text.to_owned())
}

/// Without what must not stand in one, and no longer than one may be.
pub fn shown(name: &str, limit: usize) -> String {
    let name = name.trim();
    if names::check(name, limit).is_none() {
        return name.to_owned();
    }
    let seen = |character: &char| names::check(character.encode_utf8(&mut [0; 4]), 1).is_none();
    let kept: String = name.chars().filter(seen).take(limit).collect();
    kept.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_username_stays_or_becomes_one_that_may_be() {
        let given = ["anna", "anna-2", "deleted-7-2"];
        let named = |wanted: &str| {
            let taken = |name: &str| Ok(given.contains(&name.to_lowercase().as_str()));
            username(wanted, 7, taken).unwrap()
        };
        let long = "x".repeat(200);
        for (wanted, becomes) in [
            ("ivan+1", "ivan+1"),
            ("Анна", "Анна"),
            ("Anna", "Anna-3"),
            ("ann@example.org", "ann_example.org"),
            ("a b\u{202e}c", "a_b_c"),
            ("", "user-7"),
            ("deleted-7", "user-7"),
            (long.as_str(), &long[..150]),
        ] {
            assert_eq!(named(wanted), becomes);
            assert_eq!(check_username(&named(wanted)), None);
        }
        let cut = username(&long, 1, |name| Ok(!name.ends_with("-10"))).unwrap();
        assert_eq!(cut, format!("{}-10", &long[..147]));
    }

    #[test]
    fn what_is_shown_is_seen_and_short_enough() {
        assert_eq!(shown(" Änn 👩\u{200d}👧 ", 10), "Änn 👩\u{200d}👧");
        assert_eq!(shown("a\u{202e}b\u{7}c", 10), "abc");
        assert_eq!(shown("abcdef", 3), "abc");
        assert_eq!(shown("\u{200b}", 3), "");
    }
}
