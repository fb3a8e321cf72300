//! The index of words, of which PostgreSQL has its own kind: lexemes in a GIN index.

use std::ops::ControlFlow;

use tokio_postgres::types::Type;

use super::session::Session;
use crate::sql::{Connection, SqlResult, params};
use crate::{MessageId, StorageError, UserId};

/// Candidates that are fetched at once.
const AT_ONCE: i64 = 100;

/// What the shared one is in PostgreSQL's words: of what was typed there are but letters and digits in it, between quotation marks.
fn expression(shared: &str) -> String {
    shared
        .replace(" AND ", " & ")
        .replace(" OR ", " | ")
        .replace("\"*", "':*")
        .replace('"', "'")
}

/// Shows `look` the messages that may have what is looked for, newest first, with their text where `viewer` takes part.
pub(crate) fn candidates(
    session: &Session,
    shared: &str,
    before: MessageId,
    viewer: UserId,
    mut look: impl FnMut(MessageId, Option<String>) -> Result<ControlFlow<()>, StorageError>,
) -> Result<(), StorageError> {
    let expression = expression(shared);
    let c = Connection::Postgres(session);
    let mut before = before;
    loop {
        let found: Vec<(MessageId, Option<String>)> = c
            .prepare_cached(
                "SELECT s.message_id, (SELECT m.content FROM messages m JOIN participants p ON p.room_id = m.room_id
                                       WHERE m.id = s.message_id AND p.user_id = ?3)
                 FROM search_index s WHERE s.tokens @@ CAST(CAST(?1 AS TEXT) AS TSQUERY) AND s.message_id < ?2
                 ORDER BY s.message_id DESC LIMIT ?4",
            )?
            .query_map(params![expression, before, viewer, AT_ONCE], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<SqlResult<_>>()?;
        let Some((last, _)) = found.last() else {
            return Ok(());
        };
        before = *last;
        for (message, text) in found {
            if look(message, text)?.is_break() {
                return Ok(());
            }
        }
    }
}

pub(crate) fn clear(session: &Session) -> SqlResult<()> {
    session.batch("DELETE FROM search_index")
}

/// Takes in tokens, or that a message is gone.
pub(crate) fn put(session: &Session, entries: &[(MessageId, Option<String>)]) -> SqlResult<()> {
    let gone = entries.iter().filter(|(_, tokens)| tokens.is_none());
    let gone: Vec<MessageId> = gone.map(|(message, _)| *message).collect();
    let there = entries.iter().filter(|(_, tokens)| tokens.is_some());
    let (ids, tokens): (Vec<MessageId>, Vec<&str>) = there
        .map(|(message, tokens)| (*message, tokens.as_deref().unwrap_or_default()))
        .unzip();
    session.own(
        "DELETE FROM search_index WHERE message_id = ANY($1)",
        &[(&gone, Type::INT8_ARRAY)],
    )?;
    session.own(
        "INSERT INTO search_index (message_id, tokens)
         SELECT id, array_to_tsvector(string_to_array(tokens, ' ')) FROM unnest($1, $2) AS new (id, tokens)
         ON CONFLICT (message_id) DO UPDATE SET tokens = excluded.tokens",
        &[(&ids, Type::INT8_ARRAY), (&tokens, Type::TEXT_ARRAY)],
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_typed_is_no_syntax() {
        let shared = "\"и\" AND (\"or\" OR \"or=\" OR \"о\"*) AND (\"#1\" OR \"#2\")";
        assert_eq!(
            expression(shared),
            "'и' & ('or' | 'or=' | 'о':*) & ('#1' | '#2')"
        );
    }
}
