//! The index is brought up to the messages: what is to be done is read, and its words are found, beside the writer, who only
//! puts them in.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::super::Result;
use super::words::{VERSION, stem, words};
use super::{author_token, room_token};
use crate::MessageId;
use crate::postgres::search as postgres;
use crate::sql::{Connection, Row, SqlResult, params};

/// Messages that are taken in at once, and bytes of their texts from which on there are no more: so that the writer is
/// free again in milliseconds.
const MESSAGES: i64 = 200;
const TEXT: usize = 16 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct State {
    version: i64,
    low: MessageId,
    high: MessageId,
}

/// What is to be done next.
#[derive(Debug)]
pub(super) struct Batch {
    seen: State,
    then: State,
    /// It is made anew from the beginning.
    reset: bool,
    /// By their ids, in order.
    messages: Vec<Entry>,
    /// The last of the changes that are done with it.
    pending: i64,
}

/// A message and its tokens; `None`: it is gone.
type Entry = (MessageId, Option<String>);

fn state(c: &Connection) -> Result<State> {
    Ok(
        c.prepare_cached("SELECT version, low, high FROM search_state")?
            .query_row((), |row| {
                Ok(State {
                    version: row.get(0)?,
                    low: row.get(1)?,
                    high: row.get(2)?,
                })
            })?,
    )
}

/// `None`: nothing is missing.
pub(super) fn gather(c: &Connection) -> Result<Option<Batch>> {
    let seen = state(c)?;
    let mut batch = Batch {
        seen,
        then: seen,
        reset: false,
        messages: Vec::new(),
        pending: 0,
    };
    if seen.version != VERSION {
        let newest: Option<MessageId> = c
            .prepare_cached("SELECT max(id) FROM messages")?
            .query_row((), |row| row.get(0))?;
        let high = newest.unwrap_or_default();
        batch.reset = true;
        batch.then = State {
            version: VERSION,
            low: high + 1,
            high,
        };
        return Ok(Some(batch));
    }
    // What has changed, what is new, what is old.
    if add_changed(c, &mut batch)? || add_new(c, &mut batch)? || add_old(c, &mut batch)? {
        batch.messages.sort_unstable_by_key(|(message, _)| *message);
        return Ok(Some(batch));
    }
    Ok(None)
}

const MESSAGE: &str = "m.id, m.room_id, m.author_id, m.content";

fn add_changed(c: &Connection, batch: &mut Batch) -> Result<bool> {
    let mut statement = c.prepare_cached(&format!(
        "SELECT p.id, p.message_id, {MESSAGE} FROM search_pending p LEFT JOIN messages m ON m.id = p.message_id
         ORDER BY p.id LIMIT ?"
    ))?;
    let mut rows = statement.query([MESSAGES])?;
    let (mut known, mut text) = (BTreeSet::new(), 0);
    while let Some(row) = rows.next()?
        && text < TEXT
    {
        batch.pending = row.get(0)?;
        let message = row.get(1)?;
        if known.insert(message) {
            let exists = row.get::<Option<MessageId>>(2)?.is_some();
            let tokens = exists.then(|| tokens(&row, 2, &mut text)).transpose()?;
            batch.messages.push((message, tokens));
        }
    }
    Ok(batch.pending > 0)
}

fn add_new(c: &Connection, batch: &mut Batch) -> Result<bool> {
    let query = format!("SELECT {MESSAGE} FROM messages m WHERE m.id > ? ORDER BY m.id LIMIT ?");
    let last = add_messages(c, batch, &query, batch.seen.high)?;
    batch.then.high = last.unwrap_or(batch.seen.high);
    // The first of all is also the oldest.
    if batch.seen.low > batch.seen.high {
        batch.then.low = batch.seen.high + 1;
    }
    Ok(last.is_some())
}

fn add_old(c: &Connection, batch: &mut Batch) -> Result<bool> {
    let query =
        format!("SELECT {MESSAGE} FROM messages m WHERE m.id < ? ORDER BY m.id DESC LIMIT ?");
    let last = add_messages(c, batch, &query, batch.seen.low)?;
    batch.then.low = last.unwrap_or(batch.seen.low);
    Ok(last.is_some())
}

/// The last one that was added.
fn add_messages(
    c: &Connection,
    batch: &mut Batch,
    query: &str,
    from: MessageId,
) -> Result<Option<MessageId>> {
    let mut statement = c.prepare_cached(query)?;
    let mut rows = statement.query([from, MESSAGES])?;
    let (mut last, mut text) = (None, 0);
    while text < TEXT
        && let Some(row) = rows.next()?
    {
        let message = row.get(0)?;
        let tokens = Some(tokens(&row, 0, &mut text)?);
        batch.messages.push((message, tokens));
        last = Some(message);
    }
    Ok(last)
}

/// Of the message whose columns begin at `at`; its text's length is added to `text`.
fn tokens(row: &Row<'_>, at: usize, text: &mut usize) -> SqlResult<String> {
    let (room, author) = (row.get(at + 1)?, row.get(at + 2)?);
    let content: String = row.get(at + 3)?;
    *text += content.len();
    let mut all = BTreeSet::new();
    for word in words(&content) {
        let stem = stem(&word.text);
        if stem != word.text.as_str() {
            all.insert(format!("{stem}="));
        }
        all.insert(word.text);
    }
    let mut tokens = format!("{} {}", room_token(room), author_token(author));
    for token in all {
        // To a text everything can be written.
        let _ = write!(tokens, " {token}");
    }
    Ok(tokens)
}

pub(super) fn take_in(c: &Connection, batch: Batch) -> Result<()> {
    // Another process has been at it, which there should not be.
    if state(c)? != batch.seen {
        return Ok(());
    }
    match c {
        Connection::Sqlite(_) => put(c, batch.reset, batch.messages)?,
        Connection::Postgres(session) => {
            if batch.reset {
                postgres::clear(session)?;
            }
            postgres::put(session, &batch.messages)?;
        }
    }
    c.prepare_cached("DELETE FROM search_pending WHERE id <= ?")?
        .execute([batch.pending])?;
    let State { version, low, high } = batch.then;
    c.prepare_cached("UPDATE search_state SET version = ?, low = ?, high = ?")?
        .execute([version, low, high])?;
    Ok(())
}

fn put(c: &Connection, reset: bool, messages: Vec<Entry>) -> Result<()> {
    if reset {
        let clear = "INSERT INTO search_index (search_index) VALUES ('delete-all')";
        c.execute(clear, ())?;
    }
    for (message, tokens) in messages {
        match tokens {
            Some(tokens) => c
                .prepare_cached(
                    "INSERT OR REPLACE INTO search_index (rowid, tokens) VALUES (?, ?)",
                )?
                .execute(params![message, tokens])?,
            None => c
                .prepare_cached("DELETE FROM search_index WHERE rowid = ?")?
                .execute([message])?,
        };
    }
    Ok(())
}
