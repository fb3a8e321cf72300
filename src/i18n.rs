//! Texts for people, from `locales/*.json`, and the choice of the language.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Lang {
    #[default]
    En,
    Ru,
}

impl Lang {
    /// That of the terminal, as POSIX has it: the first of these variables that is set.
    pub fn of_environment() -> Self {
        let variables = ["LC_ALL", "LC_MESSAGES", "LANG"].map(std::env::var);
        let set = variables
            .into_iter()
            .flatten()
            .find(|value| !value.is_empty());
        match set.is_some_and(|value| value.starts_with("ru")) {
            true => Lang::Ru,
            false => Lang::En,
        }
    }

    /// Codes of all languages there are texts in.
    pub const CODES: [&'static str; 2] = ["en", "ru"];

    /// The one of our languages that an `Accept-Language` header likes best.
    pub fn from_accept(header: &str) -> Self {
        let mut best = (Lang::default(), 0.0);
        for item in header.split(',') {
            let (tag, weight) = item.split_once(';').unwrap_or((item, "q=1"));
            let quality = weight.trim().strip_prefix(['q', 'Q']);
            let quality = quality.and_then(|rest| rest.trim_start().strip_prefix('='));
            let quality: f32 = quality
                .and_then(|number| number.trim().parse().ok())
                .unwrap_or(0.0);
            let tag = tag.trim().to_ascii_lowercase();
            let lang = match tag.split('-').next() {
                Some("en") => Lang::En,
                Some("ru") => Lang::Ru,
                _ => continue,
            };
            if quality > best.1 {
                best = (lang, quality);
            }
        }
        best.0
    }
}

#[derive(Deserialize)]
struct Catalogue {
    server: BTreeMap<String, String>,
}

static ENGLISH: LazyLock<BTreeMap<String, String>> =
    LazyLock::new(|| load(include_str!("../locales/en.json")));
static RUSSIAN: LazyLock<BTreeMap<String, String>> =
    LazyLock::new(|| load(include_str!("../locales/ru.json")));

/// A catalogue that does not parse is found by the tests; a server would rather speak in keys than not run.
fn load(json: &str) -> BTreeMap<String, String> {
    serde_json::from_str(json).map_or_else(|_| BTreeMap::new(), |found: Catalogue| found.server)
}

/// The text of `key`; `{limit}` in it is replaced.
pub fn text(lang: Lang, key: &str, limit: Option<usize>) -> String {
    let catalogue = match lang {
        Lang::En => &ENGLISH,
        Lang::Ru => &RUSSIAN,
    };
    let text = catalogue.get(key).map_or(key, String::as_str);
    match limit {
        Some(limit) => text.replace("{limit}", &limit.to_string()),
        None => text.to_owned(),
    }
}

/// The text of `key`, with each `{name}` in it replaced.
pub fn filled(lang: Lang, key: &str, values: &[(&str, &str)]) -> String {
    let text = text(lang, key, None);
    let mut left = text.as_str();
    let mut filled = String::new();
    while let Some((before, rest)) = left.split_once('{') {
        filled.push_str(before);
        let place = rest.split_once('}');
        let value = place.and_then(|(name, _)| values.iter().find(|(known, _)| *known == name));
        match (place, value) {
            (Some((_, rest)), Some((_, value))) => {
                filled.push_str(value);
                left = rest;
            }
            _ => {
                filled.push('{');
                left = rest;
            }
        }
    }
    filled + left
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_catalogues_have_the_same_keys() {
        assert!(!ENGLISH.is_empty());
        let keys = |catalogue: &BTreeMap<String, String>| -> Vec<String> {
            catalogue.keys().cloned().collect()
        };
        assert_eq!(keys(&ENGLISH), keys(&RUSSIAN));
        for (key, english) in ENGLISH.iter() {
            assert_eq!(places(english), places(&RUSSIAN[key]), "{key}");
        }
    }

    fn places(text: &str) -> std::collections::BTreeSet<&str> {
        let after = text.split('{').skip(1);
        after
            .filter_map(|rest| Some(rest.split_once('}')?.0))
            .collect()
    }

    #[test]
    fn what_is_filled_in_is_not_looked_at_again() {
        let values = [("voice", "{video}"), ("video", "2"), ("mbit", "3")];
        let filled = filled(Lang::En, "bench_relay", &values);
        assert!(
            filled.contains("{video} voice calls or 2 video"),
            "{filled}"
        );
    }

    #[test]
    fn the_best_liked_language_wins() {
        for (header, lang) in [
            ("", Lang::En),
            ("ru", Lang::Ru),
            ("ru-RU,ru;q=0.9,en;q=0.8", Lang::Ru),
            ("en;q=0.5, ru;q=0.7", Lang::Ru),
            ("de, en;q=0.3, ru;q=0.2", Lang::En),
            ("de", Lang::En),
            ("ru;q=x", Lang::En),
            ("en; q=0.5, RU ; q=0.7", Lang::Ru),
            ("en;q=0.5,RU-ru", Lang::Ru),
        ] {
            assert_eq!(Lang::from_accept(header), lang, "{header}");
        }
    }
}
