//! Search: the index says which messages may have the words, and the messages as they are now whether they do.
//!
//! `words` are what a text is made of, `query` is what somebody looks for, `index` brings the index up to the messages,
//! `excerpt` shows what was found.

mod excerpt;
mod index;
mod query;
mod words;

use std::ops::ControlFlow;

use async_trait::async_trait;

use super::messages::by_ids;
use super::{Engine, Result, SqlStore};
use crate::postgres::search as postgres;
use crate::sql::{Connection, OptionalExtension, SqlResult, params};
use crate::sqlite::Deadline;
use crate::{
    DatabaseError, Found, Hit, MessageId, Piece, RoomId, Search, SearchStore, StorageError, UserId,
};
use excerpt::excerpt;
use query::Query;

#[async_trait]
impl SearchStore for SqlStore {
    async fn search(&self, search: Search) -> Result<Found> {
        let query = Query::parse(&search.text).ok_or(StorageError::NothingToFind)?;
        self.read(move |c| find(c, &search, &query)).await
    }

    async fn index_messages(&self) -> Result<bool> {
        if let Engine::Postgres(engine) = &self.engine
            && !engine.indexes()
        {
            return Ok(false);
        }
        let Some(batch) = self.read(index::gather).await? else {
            return Ok(false);
        };
        let take_in = move |c: &Connection| index::take_in(c, batch);
        self.write_apart(take_in).await?;
        Ok(true)
    }
}

/// Rooms up to which the index looks for what is said in them; of more, most messages are in one of them.
const ROOMS: usize = 1000;

/// No word has such a character.
fn room_token(room: RoomId) -> String {
    format!("#{room}")
}

fn author_token(author: UserId) -> String {
    format!("@{author}")
}

fn find(c: &Connection, search: &Search, query: &Query) -> Result<Found> {
    let mut scan = Scan::default();
    // What was found is shown, however long it took.
    let outcome = c.within(Search::TIME, |deadline| {
        scan.run(c, search, query, deadline)
    });
    let before = match outcome {
        Ok(()) => scan.full.then(|| scan.hits.last().map(|(id, _)| *id)),
        Err(StorageError::Database(DatabaseError::Interrupted)) => match scan.examined {
            None => return Err(StorageError::TooMuchToSearch),
            examined => Some(examined),
        },
        Err(error) => return Err(error),
    };
    let ids: Vec<MessageId> = scan.hits.iter().map(|(id, _)| *id).collect();
    let messages = by_ids(c, &ids)?.into_iter();
    let excerpts = scan.hits.into_iter().map(|(_, excerpt)| excerpt);
    let hits = messages.zip(excerpts);
    Ok(Found {
        hits: hits
            .map(|(message, excerpt)| Hit { message, excerpt })
            .collect(),
        before: before.flatten(),
    })
}

#[derive(Default)]
struct Scan {
    hits: Vec<(MessageId, Vec<Piece>)>,
    /// There is one more than was asked for.
    full: bool,
    /// The last message that was looked at.
    examined: Option<MessageId>,
}

impl Scan {
    fn run(
        &mut self,
        c: &Connection,
        search: &Search,
        query: &Query,
        deadline: &Deadline,
    ) -> Result<()> {
        let Some(expression) = expression(c, search, query)? else {
            return Ok(());
        };
        let before = search.before.unwrap_or(MessageId::MAX);
        let mut look = |message, text: Option<String>| {
            if let Some(text) = text
                && let Some(places) = query.places(&text)
            {
                if self.hits.len() == search.limit {
                    self.full = true;
                    return Ok(ControlFlow::Break(()));
                }
                self.hits.push((message, excerpt(&text, &places)));
            }
            self.examined = Some(message);
            deadline.check()?;
            Ok(ControlFlow::Continue(()))
        };
        if let Connection::Postgres(session) = c {
            return postgres::candidates(session, &expression, before, search.viewer, look);
        }
        let mut statement = c.prepare_cached(
            "SELECT rowid FROM search_index WHERE search_index MATCH ? AND rowid < ? ORDER BY rowid DESC",
        )?;
        // The right to see it, which is that of this moment; rooms in the expression but save the way.
        let mut seen = c.prepare_cached(
            "SELECT m.content FROM messages m JOIN participants p ON p.room_id = m.room_id
             WHERE m.id = ? AND p.user_id = ?",
        )?;
        let mut candidates = statement.query(params![expression, before])?;
        while let Some(row) = candidates.next()? {
            let message: MessageId = row.get(0)?;
            let text = seen
                .query_row([message, search.viewer], |row| row.get(0))
                .optional()?;
            if look(message, text)?.is_break() {
                break;
            }
        }
        Ok(())
    }
}

/// `None`: the viewer takes part in no such room.
fn expression(c: &Connection, search: &Search, query: &Query) -> Result<Option<String>> {
    let rooms: Vec<String> = c
        .prepare_cached(
            "SELECT room_id FROM participants WHERE user_id = ?1 AND room_id = coalesce(?2, room_id)",
        )?
        .query_map(params![search.viewer, search.room], |row| {
            Ok(format!("\"{}\"", room_token(row.get(0)?)))
        })?
        .collect::<SqlResult<_>>()?;
    if rooms.is_empty() {
        return Ok(None);
    }
    let mut expression = query.expression();
    if rooms.len() <= ROOMS {
        expression.push_str(&format!(" AND ({})", rooms.join(" OR ")));
    }
    if let Some(author) = search.author {
        expression.push_str(&format!(" AND \"{}\"", author_token(author)));
    }
    Ok(Some(expression))
}
