//! Mentions as they stand in a text: `@name` and `@all`, but not in code, in mail addresses or in URLs. Whom they mean is
//! decided by who takes part in the room.

use std::collections::HashSet;
use std::ops::Range;

use moznods_storage::NewMentions;
use pulldown_cmark::{Event, Parser, Tag};

use super::limits;
use super::names::name_character;

/// Different names in one message; further ones mention nobody.
const MAX_NAMES: usize = 50;
/// Ways in which a name may have been meant, each without one more of the signs at its end.
const MAX_WAYS: usize = 4;
/// Means everybody, and no user of that name.
const ALL: &str = "all";

pub fn find(content: &str) -> NewMentions {
    let mut mentions = NewMentions::default();
    if !content.contains('@') {
        return mentions;
    }
    let mut code = code(content).into_iter().peekable();
    let mut known = HashSet::new();
    let mut before = None;
    for (at, character) in content.char_indices() {
        let preceding = before.replace(character);
        if character != '@' {
            continue;
        }
        while code.next_if(|range| range.end <= at).is_some() {}
        let in_code = code.peek().is_some_and(|range| range.start <= at);
        // What comes before makes it a mail address, a part of a URL, or text: `\@`.
        let is_else = preceding
            .is_some_and(|before| name_character(before) || matches!(before, '@' | '/' | '\\'));
        if in_code || is_else {
            continue;
        }
        let rest = content.get(at + 1..).unwrap_or_default();
        let end = rest
            .find(|character| !name_character(character))
            .unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        // `@name@server` is an address elsewhere.
        if after.starts_with('@') || name.chars().count() > limits::USERNAME {
            continue;
        }
        let ways = ways(name);
        if ways.iter().any(|name| name.to_lowercase() == ALL) {
            mentions.all = true;
        } else if !ways.is_empty() && known.len() < MAX_NAMES && known.insert(name.to_lowercase()) {
            mentions.names.push(ways);
        }
    }
    mentions
}

/// The name whole, and without the signs at its end that may belong to the sentence.
fn ways(name: &str) -> Vec<String> {
    let mut ways = Vec::new();
    let mut rest = name;
    while !rest.is_empty() && ways.len() < MAX_WAYS {
        ways.push(rest.to_owned());
        match rest.strip_suffix(|character: char| !character.is_alphanumeric()) {
            Some(shorter) => rest = shorter,
            None => break,
        }
    }
    ways
}

/// Where code stands, in order.
fn code(content: &str) -> Vec<Range<usize>> {
    if !content.contains(['`', '~', ' ', '\t']) {
        return Vec::new();
    }
    Parser::new(content)
        .into_offset_iter()
        .filter(|(event, _)| matches!(event, Event::Code(_) | Event::Start(Tag::CodeBlock(_))))
        .map(|(_, range)| range)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names as written, and whether everybody is meant.
    fn found(content: &str) -> (Vec<String>, bool) {
        let mentions = find(content);
        let first = |ways: Vec<String>| ways.into_iter().next().unwrap_or_default();
        (
            mentions.names.into_iter().map(first).collect(),
            mentions.all,
        )
    }

    #[test]
    fn names_are_found_where_people_write_them() {
        for (content, names) in [
            ("@ann", vec!["ann"]),
            ("привет, @Анна!", vec!["Анна"]),
            (
                "(@ann) **@bob**, @ann-marie",
                vec!["ann", "bob", "ann-marie"],
            ),
            ("@ann @ANN @ann", vec!["ann"]),
            ("> @ann\n\n- @bob", vec!["ann", "bob"]),
            ("`code` @ann `more`", vec!["ann"]),
        ] {
            assert_eq!(found(content).0, names, "{content}");
        }
    }

    #[test]
    fn signs_at_the_end_may_belong_to_the_name_or_to_the_sentence() {
        let ways = |content| find(content).names.concat();
        assert_eq!(ways("@j.r."), ["j.r.", "j.r"]);
        assert_eq!(ways("@ann..."), ["ann...", "ann..", "ann.", "ann"]);
        assert_eq!(ways("@ann!"), ["ann"]);
    }

    #[test]
    fn what_looks_alike_is_none() {
        for content in [
            "ann@example.org",
            "анна@пример.рф",
            "@ann@example.org",
            "https://example.org/@ann",
            "\\@ann",
            "`@ann`",
            "``a ` @ann``",
            "```\n@ann\n```",
            "~~~ rust\n@ann",
            "text\n\n    @ann",
            "- x\n\n      @ann",
            "@",
            "@@ann",
            "@ ann",
        ] {
            assert_eq!(found(content), (Vec::new(), false), "{content}");
        }
    }

    #[test]
    fn everybody_is_meant_by_one_word() {
        assert_eq!(found("@ALL: @ann"), (vec!["ann".to_owned()], true));
        assert!(found("see you, @all.").1);
        for content in ["@allan", "`@all`", "a@all"] {
            assert!(!found(content).1, "{content}");
        }
    }

    #[test]
    fn a_text_of_mentions_alone_is_bounded() {
        let content: String = (0..2000).map(|n| format!("@u{n} ")).collect();
        assert_eq!(find(&content).names.len(), MAX_NAMES);
        let long = format!("@{}", "x".repeat(limits::USERNAME + 1));
        assert!(find(&long).names.is_empty());
    }
}
