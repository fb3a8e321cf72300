//! The words of a text as search knows them: lower case, ё as е, without marks above or below, and the stems of English and
//! Russian words.

use std::borrow::Cow;
use std::ops::Range;

use frostem::{Algorithm, Stemmer};

/// To be raised when the same text comes to have other words or stems; the index is then made anew.
pub(super) const VERSION: i64 = 1;

/// Characters of a word; what is longer is known by its beginning.
const MAX: usize = 40;

/// A word, and where in the text it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) text: String,
    pub(super) place: Range<usize>,
}

/// Letters and digits that stand together, apostrophes between them left out.
pub(super) fn words(text: &str) -> Words<'_> {
    Words {
        rest: text.char_indices().peekable(),
    }
}

pub(super) struct Words<'a> {
    rest: std::iter::Peekable<std::str::CharIndices<'a>>,
}

impl Iterator for Words<'_> {
    type Item = Word;

    fn next(&mut self) -> Option<Word> {
        while self.rest.next_if(|&(_, c)| !is_letter(c)).is_some() {}
        let (start, _) = *self.rest.peek()?;
        let (mut word, mut length, mut end) = (String::new(), 0, start);
        while let Some((at, c)) = self
            .rest
            .next_if(|&(_, c)| is_letter(c) || is_mark(c) || is_apostrophe(c))
        {
            if is_apostrophe(c) {
                continue;
            }
            end = at + c.len_utf8();
            for c in c.to_lowercase().filter(|&c| !is_mark(c)) {
                if length < MAX {
                    word.push(if c == 'ё' { 'е' } else { c });
                    length += 1;
                }
            }
        }
        Some(Word {
            text: word,
            place: start..end,
        })
    }
}

/// Or a digit.
fn is_letter(c: char) -> bool {
    c.is_alphanumeric() && !is_mark(c) && !is_apostrophe(c)
}

/// Such as a stress; and hyphens that are seen only at the end of a line.
fn is_mark(c: char) -> bool {
    matches!(c, '\u{0300}'..='\u{036F}' | '\u{00AD}')
}

fn is_apostrophe(c: char) -> bool {
    matches!(c, '\'' | '’' | 'ʼ')
}

/// What all forms of a word have in common; the word itself where its language has no stems here.
pub(super) fn stem(word: &str) -> Cow<'_, str> {
    if word.bytes().all(|byte| byte.is_ascii_lowercase()) {
        Stemmer::new(Algorithm::English).stem(word)
    } else if word.chars().all(|c| matches!(c, 'а'..='я')) {
        Stemmer::new(Algorithm::Russian).stem(word)
    } else {
        Cow::Borrowed(word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<String> {
        words(text).map(|word| word.text).collect()
    }

    #[test]
    fn a_text_is_its_letters_and_digits() {
        assert_eq!(
            texts("Ещё РАЗ: foo-bar_v2 (C++), 3.14; https://example.org/Ы?"),
            [
                "еще", "раз", "foo", "bar", "v2", "c", "3", "14", "https", "example", "org", "ы"
            ]
        );
        assert_eq!(
            texts("don't 'tis Ann’s об'єкт ''"),
            ["dont", "tis", "anns", "обєкт"]
        );
        assert_eq!(texts("за́мок İstanbul"), ["замок", "istanbul"]);
        assert_eq!(texts(" \0\t—👍\u{301}"), [""; 0]);
        assert_eq!(texts(&"ы".repeat(100)), ["ы".repeat(MAX)]);
    }

    #[test]
    fn a_word_knows_its_place() {
        let text = "«Ещё», don't, за́мо́к'";
        let places: Vec<&str> = words(text).map(|word| &text[word.place]).collect();
        assert_eq!(places, ["Ещё", "don't", "за́мо́к"]);
    }

    /// When this fails because stems have become others, `VERSION` has to be raised.
    #[test]
    fn forms_of_a_word_have_one_stem() {
        for (stem_of, forms) in [
            ("книг", &["книга", "книги", "книгой", "книгах", "книг"][..]),
            (
                "красив",
                &["красивый", "красивая", "красивого", "красивыми"],
            ),
            ("бежа", &["бежать", "бежали", "бежала"]),
            ("еж", &["ежик", "ежика"][..0]),
            (
                "connect",
                &["connect", "connected", "connection", "connecting"],
            ),
            ("happi", &["happy", "happiness"]),
            ("run", &["run", "running", "runs"]),
        ] {
            for form in forms {
                assert_eq!(stem(form), stem_of, "{form}");
            }
        }
        for alien in ["v2", "обєкт", "ыx", "日本語", "42"] {
            assert_eq!(stem(alien), alien);
        }
    }

    #[test]
    fn no_text_is_too_strange() {
        let alphabet: Vec<char> =
            "абвгдежзийклмнопрстуфхцчшщъыьэюяabcdefghijklmnopqrstuvwxyz' '\u{301}ıİßﬁ"
                .chars()
                .collect();
        let mut state = 1_u64;
        for _ in 0..20_000 {
            let mut text = String::new();
            for _ in 0..12 {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                let index = usize::try_from(state >> 33).unwrap();
                // Half of them of one script, so that they have stems.
                let letters = match state >> 62 {
                    0 => &alphabet[..32],
                    1 => &alphabet[32..58],
                    _ => &alphabet[..],
                };
                text.push(letters[index % letters.len()]);
            }
            for word in words(&text) {
                assert!(!word.text.is_empty(), "{text:?}");
                stem(&word.text);
                assert!(text.get(word.place).is_some());
            }
        }
    }
}
