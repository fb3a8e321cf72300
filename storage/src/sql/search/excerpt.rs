//! The part of a text in which something was found, with the places marked.

use std::ops::Range;

use crate::{Hit, Piece};

/// Characters of it before the first place.
const BEFORE: usize = 40;
/// Characters of a word that is left out rather than cut.
const LONG_WORD: usize = 20;
const LEFT_OUT: char = '…';

/// Around the first of the places, which are in order and apart.
pub(super) fn excerpt(text: &str, places: &[Range<usize>]) -> Vec<Piece> {
    let first = places.first().map_or(0, |place| place.start);
    let start = beginning(text, first);
    let end = start + end(text.get(start..).unwrap_or_default());
    let mut pieces = Vec::new();
    let mut add = |range: Range<usize>, is_match| {
        let text = text.get(range).unwrap_or_default().to_owned();
        if !text.is_empty() {
            pieces.push(Piece { text, is_match });
        }
    };
    let mut done = start;
    for place in places {
        let place = place.start.min(end)..place.end.min(end);
        add(done..place.start, false);
        done = place.end;
        add(place, true);
    }
    add(done..end, false);
    if start > 0 {
        match pieces.first_mut() {
            Some(piece) if !piece.is_match => piece.text.insert(0, LEFT_OUT),
            _ => pieces.insert(0, left_out()),
        }
    }
    if end < text.len() {
        match pieces.last_mut() {
            Some(piece) if !piece.is_match => piece.text.push(LEFT_OUT),
            _ => pieces.push(left_out()),
        }
    }
    pieces
}

fn left_out() -> Piece {
    Piece {
        text: LEFT_OUT.to_string(),
        is_match: false,
    }
}

/// Where the excerpt begins, so that `first` is in it.
fn beginning(text: &str, first: usize) -> usize {
    let before = text.get(..first).unwrap_or_default();
    let Some((start, _)) = before.char_indices().rev().take(BEFORE).last() else {
        return first;
    };
    // With a whole word.
    let left_out = before.get(..start).unwrap_or_default();
    if !left_out.ends_with(|c: char| !c.is_whitespace()) {
        return start;
    }
    let rest = before.get(start..).unwrap_or_default();
    match rest.char_indices().find(|(_, c)| c.is_whitespace()) {
        Some((at, space)) if rest.get(..at).is_some_and(is_short) => start + at + space.len_utf8(),
        _ => start,
    }
}

/// How much of the text comes into the excerpt.
fn end(text: &str) -> usize {
    let Some((end, _)) = text.char_indices().nth(Hit::EXCERPT) else {
        return text.len();
    };
    let part = text.get(..end).unwrap_or_default();
    match part.rfind(char::is_whitespace) {
        Some(at) if part.get(at..).is_some_and(is_short) => at,
        _ => end,
    }
}

fn is_short(word: &str) -> bool {
    word.chars().count() <= LONG_WORD
}

#[cfg(test)]
mod tests {
    use super::super::query::Query;
    use super::*;

    fn written(query: &str, text: &str) -> String {
        let places = Query::parse(query).unwrap().places(text).unwrap();
        let pieces = excerpt(text, &places);
        let marked = pieces.iter().map(|piece| match piece.is_match {
            true => format!("[{}]", piece.text),
            false => piece.text.clone(),
        });
        marked.collect()
    }

    #[test]
    fn a_short_text_is_there_whole() {
        assert_eq!(written("книга", "книгу"), "[книгу]");
        assert_eq!(
            written("книга как", "Ну, <книги>, как книги."),
            "Ну, <[книги]>, [как] [книги]."
        );
    }

    #[test]
    fn of_a_long_text_there_is_what_stands_around_the_first_place() {
        let text = format!("{}книга {}", "раз ".repeat(50), "два ".repeat(50));
        let shown = written("книга", &text);
        assert_eq!(
            shown,
            format!("…{}[книга]{}…", "раз ".repeat(10), " два".repeat(28))
        );
        // What has no spaces is cut.
        let text = format!("{0}-книга-{0}", "ы".repeat(200));
        let shown = written("книга", &text);
        assert_eq!(
            shown,
            format!("…{}-[книга]-{}…", "ы".repeat(39), "ы".repeat(114))
        );
        let long = format!("{0} {0}", "я".repeat(300));
        let phrase = format!("\"{}\"", &long[..600]);
        let shown = written(&phrase, &long);
        assert_eq!(shown, format!("[{}]…", "я".repeat(160)));
    }
}
