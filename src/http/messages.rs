//! `/api/chat/` and `/api/mentions/`: messages, reactions and read marks.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use moznods_storage::{Cursor, Message, Sent};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::error::ApiResult;
use super::extract::{Asked, Body, Id, IdAndText, Paging, SignedIn, Writing};
use super::openapi::{Page, positive, refused, text};
use super::{Routes, State, routes};
use crate::app::{Draft, Error, Problem, limits};
use crate::wire::{Int, MessageJson, PinJson, WindowJson, ids};

pub fn routes() -> Routes {
    vec![
        routes![list, create].also_at("/api/rooms/{room}/messages/"),
        routes![one, edit, delete],
        routes![read],
        routes![pin, unpin],
        routes![pinned],
        routes![add_reaction, remove_reaction],
        routes![mentions],
    ]
}

/// `?before=&after=&around=&limit=`: a place in the history, instead of a page.
#[derive(Deserialize, IntoParams)]
pub struct Place {
    #[param(value_type = Option<i64>, minimum = 1)]
    before: Option<String>,
    #[param(value_type = Option<i64>, minimum = 1)]
    after: Option<String>,
    #[param(value_type = Option<i64>, minimum = 1)]
    around: Option<String>,
    /// 50 by default; more than 100 are not given.
    #[param(schema_with = positive)]
    limit: Option<String>,
}

impl Place {
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
}

/// How many are wanted.
fn limit(given: Option<&String>) -> Result<i64, Error> {
    const DEFAULT: i64 = 50;
    const MAX: i64 = 100;
    given.map_or(Ok(DEFAULT), |given| Ok(number("limit", given)?.min(MAX)))
}

/// A positive number.
pub(super) fn number(field: &'static str, value: &str) -> Result<i64, Error> {
    let number = value.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| Error::field(field, Problem::Number))
}

/// Messages of a room, newest first: a page, or a part of the history around a place.
#[utoipa::path(get, path = "/api/chat/{room}/messages/", responses(
    (status = 200, body = History),
    refused::InRoom, refused::Fields, refused::NoSuchPage,
))]
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
            .message_window(&by.user, room, cursor, limit(place.limit.as_ref())?)
            .await?;
        return Ok(Json(WindowJson::from(&window)).into_response());
    }
    let paging = paging?;
    let messages = edge.app.messages(&by.user, room, paging.page()).await?;
    paging.answer(&messages, |message| {
        serde_json::to_value(MessageJson::from(message))
    })
}

#[derive(Deserialize, ToSchema)]
pub struct MessageBody {
    #[schema(schema_with = text::<{ limits::MESSAGE }>)]
    content: Option<String>,
    #[schema(value_type = Option<Vec<i64>>, max_items = 10)]
    attachment_ids: Option<Vec<Int>>,
    #[schema(min_length = 1, max_length = 64)]
    client_id: Option<String>,
    #[schema(value_type = Option<i64>, minimum = 1)]
    reply_to: Option<Int>,
}

/// Sends a message.
#[utoipa::path(post, path = "/api/chat/{room}/messages/", responses(
    (status = 201, body = MessageJson),
    (status = 200, body = MessageJson, description = "It has been sent before, under this `client_id`."),
    refused::InRoom,
))]
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

/// A message.
#[utoipa::path(get, path = "/api/chat/messages/{message}/", responses(
    (status = 200, body = MessageJson),
    refused::InRoom,
))]
pub async fn one(edge: State, by: SignedIn, Id(message): Id) -> ApiResult<Response> {
    Ok(written(&edge.app.message(&by.user, message).await?))
}

#[derive(Deserialize, ToSchema)]
pub struct EditBody {
    #[schema(schema_with = text::<{ limits::MESSAGE }>)]
    content: Option<String>,
}

/// Changes what one has written.
#[utoipa::path(patch, path = "/api/chat/messages/{message}/", responses(
    (status = 200, body = MessageJson),
    refused::InRoom,
))]
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

/// Deletes a message.
#[utoipa::path(delete, path = "/api/chat/messages/{message}/", responses(
    (status = 204),
    refused::InRoom,
))]
pub async fn delete(edge: State, Writing(by): Writing, Id(message): Id) -> ApiResult<StatusCode> {
    edge.app.delete_message(by.person(), message).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Marks the room as read up to this message.
#[utoipa::path(post, path = "/api/chat/messages/{message}/read/", responses(
    (status = 204),
    refused::InRoom,
))]
pub async fn read(edge: State, by: SignedIn, Id(message): Id) -> ApiResult<StatusCode> {
    edge.app.mark_read(&by.user, message).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What is had of a history: a page, or a part of it where one is asked for by a place.
#[derive(ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "for the document")]
enum History<'a> {
    Page(Page<MessageJson<'a>>),
    Window(WindowJson<'a>),
}

/// Pins a message in its room; once more changes nothing.
#[utoipa::path(post, path = "/api/chat/messages/{message}/pin/", responses(
    (status = 204),
    refused::InRoom, refused::TooManyPins,
))]
pub async fn pin(edge: State, Writing(by): Writing, Id(message): Id) -> ApiResult<StatusCode> {
    edge.app.pin_message(&by.user, message).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Unpins a message.
#[utoipa::path(delete, path = "/api/chat/messages/{message}/pin/", responses(
    (status = 204),
    refused::InRoom,
))]
pub async fn unpin(edge: State, Writing(by): Writing, Id(message): Id) -> ApiResult<StatusCode> {
    edge.app.unpin_message(&by.user, message).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What is pinned in a room, the one pinned last first.
#[utoipa::path(get, path = "/api/rooms/{room}/pinned/", responses(
    (status = 200, body = Vec<PinJson>),
    refused::InRoom,
))]
pub async fn pinned(edge: State, by: SignedIn, Id(room): Id) -> ApiResult<Response> {
    let pins = edge.app.pins(&by.user, room).await?;
    let written: Vec<_> = pins.iter().map(PinJson::from).collect();
    Ok(Json(written).into_response())
}

/// Reacts with an emoji.
#[utoipa::path(put, path = "/api/chat/messages/{message}/reactions/{emoji}/", responses(
    (status = 200, body = MessageJson),
    refused::InRoom, refused::Fields,
))]
pub async fn add_reaction(
    edge: State,
    by: Writing,
    IdAndText(message, emoji): IdAndText,
) -> ApiResult<Response> {
    react(edge, by, message, &emoji, true).await
}

/// Takes a reaction back.
#[utoipa::path(delete, path = "/api/chat/messages/{message}/reactions/{emoji}/", responses(
    (status = 200, body = MessageJson),
    refused::InRoom, refused::Fields,
))]
pub async fn remove_reaction(
    edge: State,
    by: Writing,
    IdAndText(message, emoji): IdAndText,
) -> ApiResult<Response> {
    react(edge, by, message, &emoji, false).await
}

async fn react(
    edge: State,
    Writing(by): Writing,
    message: i64,
    emoji: &str,
    added: bool,
) -> ApiResult<Response> {
    let changed = edge.app.react(&by.user, message, emoji, added).await?;
    Ok(written(&changed))
}

#[derive(Deserialize, IntoParams)]
pub struct Before {
    #[param(value_type = Option<i64>, minimum = 1)]
    before: Option<String>,
    /// 50 by default; more than 100 are not given.
    #[param(schema_with = positive)]
    limit: Option<String>,
}

/// Messages that mention one, newest first.
#[utoipa::path(get, path = "/api/mentions/", responses(
    (status = 200, body = WindowJson),
    refused::Fields,
))]
pub async fn mentions(
    edge: State,
    by: SignedIn,
    Asked(place): Asked<Before>,
) -> ApiResult<Response> {
    let before = place
        .before
        .as_ref()
        .map(|before| number("before", before))
        .transpose()?;
    let window = edge
        .app
        .mentions(&by.user, before, limit(place.limit.as_ref())?)
        .await?;
    Ok(Json(WindowJson::from(&window)).into_response())
}
