//! Names that people read and tell each other apart by: nothing in them may be unseen.

use super::Problem;

/// Of usernames.
pub fn name_character(character: char) -> bool {
    character.is_alphanumeric() || matches!(character, '_' | '.' | '+' | '-')
}

/// What is wrong with a name of at most `limit` characters.
pub fn check(name: &str, limit: usize) -> Option<Problem> {
    if name.chars().count() > limit {
        Some(Problem::TooLong(limit))
    } else if has_unseen(name) {
        Some(Problem::ControlCharacters)
    } else {
        None
    }
}

/// Control characters, those that turn the direction of text, and those without width. A joiner is fine between the
/// parts of an emoji.
fn has_unseen(name: &str) -> bool {
    let mut before = None;
    let mut characters = name.chars().peekable();
    while let Some(character) = characters.next() {
        let joins = character == '\u{200d}'
            && [before, characters.peek().copied()].iter().all(|beside| {
                beside.is_some_and(|beside| !beside.is_ascii() && !beside.is_alphanumeric())
            });
        let unseen = matches!(character,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}');
        if character.is_control() || unseen && !joins {
            return true;
        }
        before = Some(character);
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_name_is_unseen() {
        for good in [
            "Änn",
            "анна ☂",
            "👩\u{200d}👧",
            "🏳\u{fe0f}\u{200d}🌈",
            "ا ب",
        ] {
            assert_eq!(check(good, 10), None, "{good}");
        }
        for bad in [
            "a\u{7}",
            "a\u{202e}b",
            "a\u{200b}b",
            "a\u{200d}b",
            "\u{200d}",
            "\u{200d}👧",
            "a\u{2066}",
            "\u{feff}a",
        ] {
            assert_eq!(check(bad, 10), Some(Problem::ControlCharacters), "{bad:?}");
        }
        assert_eq!(check("abc", 2), Some(Problem::TooLong(2)));
    }
}
