//! What somebody looks for: as an expression for the index, and as it is found in a text.

use std::ops::Range;

use super::words::{Word, stem, words};

/// Letters of the beginnings that the index knows by themselves (as its table says). Of others it would gather all words that
/// begin so before it could name the first message.
const BEGINNINGS: [usize; 5] = [2, 3, 4, 6, 9];

/// All of which a message must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Query(Vec<Term>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Term {
    /// In any of its forms.
    Word { text: String, may_go_on: bool },
    /// Words as they are written, one after the other.
    Phrase { words: Vec<String>, may_go_on: bool },
}

impl Query {
    /// Words, and between quotation marks phrases. The last word may be one that is still being typed. `None`: there is no
    /// word in it.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut terms = Vec::new();
        let mut parts = text.split(is_quote).enumerate().peekable();
        while let Some((n, part)) = parts.next() {
            let found: Vec<Word> = words(part).collect();
            let is_last = parts.peek().is_none();
            // With nothing behind it, and long enough.
            let may_go_on = found.last().is_some_and(|word| {
                is_last && word.place.end == part.len() && beginning(&word.text).is_some()
            });
            let count = found.len();
            let texts = found.into_iter().map(|word| word.text);
            if n % 2 == 1 {
                let words: Vec<String> = texts.collect();
                terms.extend((count > 0).then_some(Term::Phrase { words, may_go_on }));
            } else {
                terms.extend(texts.enumerate().map(|(at, text)| Term::Word {
                    text,
                    may_go_on: may_go_on && at + 1 == count,
                }));
            }
        }
        (!terms.is_empty()).then_some(Query(terms))
    }

    /// For the index; what it finds may still lack what is looked for. Of what was typed there are but letters and digits in it.
    pub(super) fn expression(&self) -> String {
        let terms: Vec<String> = self.0.iter().map(Term::expression).collect();
        terms.join(" AND ")
    }

    /// Where in the text it stands, in order and apart from each other; `None`: not all of it does.
    pub(super) fn places(&self, text: &str) -> Option<Vec<Range<usize>>> {
        let words: Vec<Word> = words(text).collect();
        let mut places = Vec::new();
        for term in &self.0 {
            let before = places.len();
            term.add_places(&words, &mut places);
            if places.len() == before {
                return None;
            }
        }
        places.sort_unstable_by_key(|place| place.start);
        let mut apart: Vec<Range<usize>> = Vec::new();
        for place in places {
            match apart.last_mut() {
                Some(last) if place.start < last.end => last.end = last.end.max(place.end),
                _ => apart.push(place),
            }
        }
        Some(apart)
    }
}

/// What the index knows of the words that begin so; `None`: it is too short.
fn beginning(word: &str) -> Option<&str> {
    let length = word.chars().count();
    let known = BEGINNINGS
        .into_iter()
        .rev()
        .find(|known| *known <= length)?;
    let end = word.char_indices().nth(known);
    word.get(..end.map_or(word.len(), |(at, _)| at))
}

fn is_quote(c: char) -> bool {
    matches!(c, '"' | '«' | '»' | '“' | '”' | '„')
}

impl Term {
    fn expression(&self) -> String {
        match self {
            Term::Word { text, may_go_on } => {
                let stem = stem(text);
                // As a word that is its own stem, and of others.
                let mut any = format!("(\"{stem}\" OR \"{stem}=\"");
                if let Some(beginning) = beginning(text).filter(|_| *may_go_on) {
                    any.push_str(&format!(" OR \"{beginning}\"*"));
                }
                any + ")"
            }
            Term::Phrase { words, may_go_on } => {
                let mut all: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
                if let (true, Some(last), Some(word)) = (*may_go_on, all.last_mut(), words.last()) {
                    *last = format!("\"{}\"*", beginning(word).unwrap_or(word));
                }
                all.join(" AND ")
            }
        }
    }

    fn add_places(&self, words: &[Word], places: &mut Vec<Range<usize>>) {
        match self {
            Term::Word { text, may_go_on } => {
                let wanted = stem(text);
                let is_it = |word: &&Word| {
                    stem(&word.text) == wanted || *may_go_on && word.text.starts_with(text)
                };
                places.extend(words.iter().filter(is_it).map(|word| word.place.clone()));
            }
            Term::Phrase {
                words: wanted,
                may_go_on,
            } => {
                for found in words.windows(wanted.len()) {
                    let mut pairs = found.iter().zip(wanted).rev();
                    let ends = pairs.next().is_some_and(|(word, wanted)| {
                        word.text == *wanted || *may_go_on && word.text.starts_with(wanted)
                    });
                    if ends
                        && pairs.all(|(word, wanted)| word.text == *wanted)
                        && let (Some(first), Some(last)) = (found.first(), found.last())
                    {
                        places.push(first.place.start..last.place.end);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found<'a>(query: &str, text: &'a str) -> Vec<&'a str> {
        let places = Query::parse(query).unwrap().places(text);
        let places = places.unwrap_or_default();
        places.into_iter().map(|place| &text[place]).collect()
    }

    #[test]
    fn words_are_found_in_any_form_and_the_last_one_before_it_is_whole() {
        assert_eq!(found("книга", "Книги и книгу"), ["Книги", "книгу"]);
        assert_eq!(found("ПЕЧЕМ ", "Пёк, печём"), ["печём"]);
        assert_eq!(found("connection", "connected; disconnect"), ["connected"]);
        assert_eq!(found("бегающ", "Бегающий"), ["Бегающий"]);
        assert_eq!(found("бегающ ", "Бегающий"), [""; 0]);
        assert_eq!(found("ко прив", "Привет, коты"), [""; 0]);
        assert_eq!(found("кот прив", "Привет, коты"), ["Привет", "коты"]);
        // Of one letter there is too much.
        assert_eq!(found("к", "кот"), [""; 0]);
        assert_eq!(found("к", "к коту"), ["к"]);
        assert_eq!(found("foo-bar(", "a bar of foo"), ["bar", "foo"]);
    }

    #[test]
    fn phrases_are_found_as_they_are_written() {
        let text = "Не было бы, а было: не было";
        assert_eq!(found("\"не было\"", text), ["Не было", "не было"]);
        assert_eq!(found("«была»", text), [""; 0]);
        assert_eq!(found("\"было не\" бы ", text), ["бы", "было: не"]);
        // It is still being typed.
        assert_eq!(found("\"а бы", text), ["а было"]);
        assert_eq!(found("\"а бы\"", text), [""; 0]);
        assert_eq!(found("\"а а\"", "a"), [""; 0]);
        // Two that overlap are one place.
        assert_eq!(found("\"а б\" \"б в\"", "а б в"), ["а б в"]);
    }

    #[test]
    fn without_a_word_there_is_nothing_to_look_for() {
        for nothing in ["", " ", "\"\"", "«»*", "👍", "(*) OR ^", "\0", "'"] {
            // The last but two has a word.
            assert_eq!(Query::parse(nothing).is_some(), nothing.contains("OR"));
        }
    }

    #[test]
    fn whatever_is_typed_is_no_syntax() {
        let typed = "\"a\"* NEAR(b OR c) -d:e {f} ^g + 'h' \\ \0 #1 @2 x=";
        let expression = Query::parse(typed).unwrap().expression();
        assert_eq!(
            expression,
            "\"a\" AND (\"near\" OR \"near=\") AND (\"b\" OR \"b=\") AND (\"or\" OR \"or=\") AND (\"c\" OR \"c=\") \
             AND (\"d\" OR \"d=\") AND (\"e\" OR \"e=\") AND (\"f\" OR \"f=\") AND (\"g\" OR \"g=\") AND (\"h\" OR \"h=\") \
             AND (\"1\" OR \"1=\") AND (\"2\" OR \"2=\") AND (\"x\" OR \"x=\")"
        );
        let expression = Query::parse("книги ПРО").unwrap().expression();
        assert_eq!(
            expression,
            "(\"книг\" OR \"книг=\") AND (\"про\" OR \"про=\" OR \"про\"*)"
        );
        // Of what the index cannot know, it is given what it knows.
        let expression = Query::parse("«не хоте").unwrap().expression();
        assert_eq!(expression, "\"не\" AND \"хоте\"*");
        let expression = Query::parse("привет").unwrap().expression();
        assert!(expression.ends_with("OR \"привет\"*)"), "{expression}");
        let expression = Query::parse("приве").unwrap().expression();
        assert!(expression.ends_with("OR \"прив\"*)"), "{expression}");
    }
}
