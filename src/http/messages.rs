//! `/api/chat/` and `/api/mentions/`: messages, reactions and read marks.

use axum::Json;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use moznods_storage::{Cursor, Message, Sent};
use serde::Deserialize;

use super::error::ApiResult;
use super::extract::{Asked, Body, Id, Paging, SignedIn, Writing};
use super::{Routes, State};
use crate::app::{Draft, Error, Problem, Refusal};
use crate::wire::{Int, MessageJson, WindowJson, ids};

pub fn routes() -> Routes {
    let messages = || get(list).post(create);
    vec![
        ("/api/rooms/{room}/messages/", messages()),
        ("/api/chat/{room}/messages/", messages()),
        (
            "/api/chat/messages/{message}/",
            get(one).patch(edit).delete(delete),
        ),
        ("/api/chat/messages/{message}/read/", post(read)),
        (
            "/api/chat/messages/{message}/reactions/{emoji}/",
            put(add_reaction).delete(remove_reaction),
        ),
        ("/api/mentions/", get(mentions)),
    ]
}

/// `?before=&after=&around=&limit=`: a place in the history, instead of a page.
#[derive(Deserialize)]
pub struct Place {
    before: Option<String>,
    after: Option<String>,
    around: Option<String>,
    limit: Option<String>,
}

impl Place {
    const DEFAULT_LIMIT: i64 = 50;
    const MAX_LIMIT: i64 = 100;

    /// `None`: a page is asked for.
    fn cursor(&self) -> Result<Option<Cursor>, Error> {
        type Make = fn(i64) -> Cursor;
        let given: [(&str, &Option<String>, Make); 3] = [
            ("before", &self.before, Cursor::Before),
            ("after", &self.after, Cursor::After),
            ("around", &self.around, Cursor::Around),
        ];
        let mut cursor = None;
        for (field, value, make) in given {
            let Some(value) = value else {
                continue;
            };
            if cursor.is_some() {
                return Err(Error::field(field, Problem::OneCursor));
            }
            cursor = Some(make(number(field, value)?));
        }
        Ok(cursor.or(self.limit.as_ref().map(|_| Cursor::Newest)))
    }

    fn limit(&self) -> Result<i64, Error> {
        let limit = self.limit.as_ref();
        limit.map_or(Ok(Self::DEFAULT_LIMIT), |limit| {
            Ok(number("limit", limit)?.min(Self::MAX_LIMIT))
        })
    }
}

fn number(field: &'static str, value: &str) -> Result<i64, Error> {
    let number = value.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| Error::field(field, Problem::Number))
}

pub async fn list(
    edge: State,
    by: SignedIn,
    Id(room): Id,
    Asked(place): Asked<Place>,
    paging: ApiResult<Paging>,
) -> ApiResult<Response> {
    if let Some(cursor) = place.cursor()? {
        let window = edge
            .app
            .message_window(&by.user, room, cursor, place.limit()?)
            .await?;
        return Ok(Json(WindowJson::from(&window)).into_response());
    }
    let paging = paging?;
    let messages = edge.app.messages(&by.user, room, paging.page()).await?;
    paging.answer(&messages, |message| {
        serde_json::to_value(MessageJson::from(message))
    })
}

#[derive(Deserialize)]
pub struct MessageBody {
    content: Option<String>,
    attachment_ids: Option<Vec<Int>>,
    client_id: Option<String>,
    reply_to: Option<Int>,
}

pub async fn create(
    edge: State,
    Writing(by): Writing,
    Id(room): Id,
    Body(body): Body<MessageBody>,
) -> ApiResult<Response> {
    let draft = Draft {
        content: body.content.unwrap_or_default(),
        attachment_ids: ids(body.attachment_ids),
        client_id: body.client_id,
        reply_to: body.reply_to.map(|Int(id)| id),
    };
    let sent = edge.app.post_message(&by.user, room, draft).await?;
    let status = match sent {
        Sent::New(_) => StatusCode::CREATED,
        Sent::Again(_) => StatusCode::OK,
    };
    Ok((status, written(&sent.into_message())).into_response())
}

fn written(message: &Message) -> Response {
    Json(MessageJson::from(message)).into_response()
}

pub async fn one(edge: State, by: SignedIn, Id(message): Id) -> ApiResult<Response> {
    Ok(written(&edge.app.message(&by.user, message).await?))
}

#[derive(Deserialize)]
pub struct EditBody {
    content: Option<String>,
}

pub async fn edit(
    edge: State,
    Writing(by): Writing,
    Id(message): Id,
    Body(body): Body<EditBody>,
) -> ApiResult<Response> {
    let content = body.content.unwrap_or_default();
    let edited = edge.app.edit_message(&by.user, message, content).await?;
    Ok(written(&edited))
}

pub async fn delete(edge: State, Writing(by): Writing, Id(message): Id) -> ApiResult<StatusCode> {
    edge.app.delete_message(by.person(), message).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub async fn read(edge: State, by: SignedIn, Id(message): Id) -> ApiResult<StatusCode> {
    edge.app.mark_read(&by.user, message).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The message and the emoji of the path.
type ReactionPath = Path<(String, String)>;

pub async fn add_reaction(
    edge: State,
    by: Writing,
    Path(path): ReactionPath,
) -> ApiResult<Response> {
    react(edge, by, path, true).await
}

pub async fn remove_reaction(
    edge: State,
    by: Writing,
    Path(path): ReactionPath,
) -> ApiResult<Response> {
    react(edge, by, path, false).await
}

async fn react(
    edge: State,
    Writing(by): Writing,
    (message, emoji): (String, String),
    added: bool,
) -> ApiResult<Response> {
    let message = message.parse().map_err(|_| Refusal::NotFound)?;
    let changed = edge.app.react(&by.user, message, &emoji, added).await?;
    Ok(written(&changed))
}

pub async fn mentions(
    edge: State,
    by: SignedIn,
    Asked(place): Asked<Place>,
) -> ApiResult<Response> {
    let before = place
        .before
        .as_ref()
        .map(|before| number("before", before))
        .transpose()?;
    let window = edge.app.mentions(&by.user, before, place.limit()?).await?;
    Ok(Json(WindowJson::from(&window)).into_response())
}
