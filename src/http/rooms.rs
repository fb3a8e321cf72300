//! `/api/rooms/`: rooms and who takes part.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use moznods_storage::UserKey;
use serde::Deserialize;
use utoipa::ToSchema;

use super::error::{ApiError, ApiResult};
use super::extract::{Body, Id, Paging, SignedIn, Writing};
use super::openapi::{Page, refused, text};
use super::{Routes, State, routes};
use crate::app::{Error, Problem, RoomSeen, WantedRoom, limits};
use crate::wire::{CallStateJson, Int, Moment, ParticipantJson, RoomJson};

pub fn routes() -> Routes {
    vec![
        routes![list, create],
        routes![direct],
        routes![get, change, delete],
        routes![join],
        routes![leave],
        routes![pin, unpin],
        routes![participants],
        routes![add_participant],
        routes![remove_participant],
        routes![call_state],
        routes![decline_call],
        routes![mute, unmute],
    ]
}

fn answer(status: StatusCode, room: &RoomSeen) -> Response {
    (status, Json(RoomJson::from(room))).into_response()
}

/// The rooms one takes part in, newest first.
#[utoipa::path(get, path = "/api/rooms/", responses((status = 200, body = Page<RoomJson>)))]
pub async fn list(edge: State, by: SignedIn, paging: Paging) -> ApiResult<Response> {
    let rooms = edge.app.rooms(&by.user, paging.page()).await?;
    paging.answer(&rooms, |room| serde_json::to_value(RoomJson::from(room)))
}

#[derive(Deserialize, ToSchema)]
pub struct RoomBody {
    #[schema(schema_with = text::<{ limits::ROOM_NAME }>)]
    name: Option<String>,
    #[schema(schema_with = text::<{ limits::TOPIC }>)]
    topic: Option<String>,
    is_public: Option<bool>,
}

impl RoomBody {
    fn wanted(&self) -> WantedRoom<'_> {
        WantedRoom {
            name: self.name.as_deref(),
            topic: self.topic.as_deref(),
            is_public: self.is_public,
        }
    }
}

/// Makes a room, which one owns.
#[utoipa::path(post, path = "/api/rooms/", responses(
    (status = 201, body = RoomJson),
    refused::TooManyRooms, refused::PersonsOnly,
))]
pub async fn create(
    edge: State,
    Writing(by): Writing,
    Body(body): Body<RoomBody>,
) -> ApiResult<Response> {
    let room = edge.app.create_room(&by.user, body.wanted()).await?;
    Ok(answer(StatusCode::CREATED, &room))
}

#[derive(Deserialize, ToSchema)]
pub struct DirectBody {
    #[schema(value_type = i64, minimum = 1)]
    user_id: Option<Int>,
}

/// The room of oneself and somebody else, made if there is none.
#[utoipa::path(post, path = "/api/rooms/direct/", responses(
    (status = 200, body = RoomJson),
    refused::NotFound, refused::TooManyRooms, refused::PersonsOnly,
))]
pub async fn direct(
    edge: State,
    Writing(by): Writing,
    Body(body): Body<DirectBody>,
) -> ApiResult<Response> {
    let Int(other) = body
        .user_id
        .ok_or_else(|| Error::field("user_id", Problem::Required))?;
    let room = edge.app.direct_room(&by.user, other).await?;
    Ok(answer(StatusCode::OK, &room))
}

/// A room that one takes part in.
#[utoipa::path(get, path = "/api/rooms/{room}/", responses(
    (status = 200, body = RoomJson),
    refused::InRoom,
))]
pub async fn get(edge: State, by: SignedIn, Id(room): Id) -> ApiResult<Response> {
    let room = edge.app.room(&by.user, room).await?;
    Ok(answer(StatusCode::OK, &room))
}

/// Changes name, topic or visibility.
#[utoipa::path(patch, path = "/api/rooms/{room}/", responses(
    (status = 200, body = RoomJson),
    refused::InRoom,
))]
pub async fn change(
    edge: State,
    Writing(by): Writing,
    Id(room): Id,
    Body(body): Body<RoomBody>,
) -> ApiResult<Response> {
    let changing = edge.app.change_room(by.person(), room, body.wanted());
    let room = changing.await?;
    Ok(answer(StatusCode::OK, &room))
}

/// Deletes a room with all that is in it.
#[utoipa::path(delete, path = "/api/rooms/{room}/", responses((status = 204), refused::InRoom))]
pub async fn delete(edge: State, Writing(by): Writing, Id(room): Id) -> ApiResult<StatusCode> {
    edge.app.delete_room(by.person(), room).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Enters a public room.
#[utoipa::path(post, path = "/api/rooms/{room}/join/", responses(
    (status = 200, body = RoomJson),
    refused::Entry, refused::AlreadyParticipant, refused::DirectRoom, refused::InvitationRequired,
))]
pub async fn join(edge: State, Writing(by): Writing, Id(room): Id) -> ApiResult<Response> {
    let room = edge.app.join(&by.user, room).await?;
    Ok(answer(StatusCode::OK, &room))
}

/// Leaves a room.
#[utoipa::path(post, path = "/api/rooms/{room}/leave/", responses((status = 204), refused::InRoom))]
pub async fn leave(edge: State, Writing(by): Writing, Id(room): Id) -> ApiResult<StatusCode> {
    edge.app.leave(&by.user, room).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Pins a room for oneself.
#[utoipa::path(post, path = "/api/rooms/{room}/pin/", responses(
    (status = 200, body = RoomJson),
    refused::InRoom,
))]
pub async fn pin(edge: State, Writing(by): Writing, Id(room): Id) -> ApiResult<Response> {
    let room = edge.app.set_pinned(&by.user, room, true).await?;
    Ok(answer(StatusCode::OK, &room))
}

/// Unpins a room for oneself.
#[utoipa::path(delete, path = "/api/rooms/{room}/pin/", responses(
    (status = 200, body = RoomJson),
    refused::InRoom,
))]
pub async fn unpin(edge: State, Writing(by): Writing, Id(room): Id) -> ApiResult<Response> {
    let room = edge.app.set_pinned(&by.user, room, false).await?;
    Ok(answer(StatusCode::OK, &room))
}

/// Who takes part.
#[utoipa::path(get, path = "/api/rooms/{room}/participants/", responses(
    (status = 200, body = Vec<ParticipantJson>),
    refused::InRoom,
))]
pub async fn participants(edge: State, by: SignedIn, Id(room): Id) -> ApiResult<Response> {
    let (room, participants) = edge.app.participants(&by.user, room).await?;
    let written: Vec<_> = participants
        .iter()
        .map(|participant| ParticipantJson::new(&room, participant))
        .collect();
    Ok(Json(written).into_response())
}

#[derive(Deserialize, ToSchema)]
pub struct Whom {
    #[schema(value_type = Option<i64>, minimum = 1)]
    id: Option<Int>,
    username: Option<String>,
    email: Option<String>,
}

impl Whom {
    fn key(self) -> Result<UserKey, ApiError> {
        match (self.id, self.username, self.email) {
            (Some(Int(id)), _, _) => Ok(UserKey::Id(id)),
            (None, Some(name), _) if !name.is_empty() => Ok(UserKey::Username(name)),
            (None, _, Some(email)) if !email.is_empty() => Ok(UserKey::Email(email)),
            _ => Err(Error::field("username", Problem::Required).into()),
        }
    }
}

/// Adds somebody, by one of id, username and email.
#[utoipa::path(post, path = "/api/rooms/{room}/add-participant/", responses(
    (status = 201, body = ParticipantJson),
    refused::InRoom, refused::Entry, refused::AlreadyParticipant,
))]
pub async fn add_participant(
    edge: State,
    Writing(by): Writing,
    Id(room): Id,
    Body(whom): Body<Whom>,
) -> ApiResult<Response> {
    let (room, participant) = edge
        .app
        .add_participant(by.person(), room, whom.key()?)
        .await?;
    let written = Json(ParticipantJson::new(&room, &participant));
    Ok((StatusCode::CREATED, written).into_response())
}

/// Removes somebody, by one of id, username and email.
#[utoipa::path(post, path = "/api/rooms/{room}/remove-participant/", responses(
    (status = 204),
    refused::InRoom,
))]
pub async fn remove_participant(
    edge: State,
    Writing(by): Writing,
    Id(room): Id,
    Body(whom): Body<Whom>,
) -> ApiResult<StatusCode> {
    edge.app
        .remove_participant(by.person(), room, whom.key()?)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Who is in the call.
#[utoipa::path(get, path = "/api/rooms/{room}/call-state/", responses(
    (status = 200, body = CallStateJson),
    refused::InRoom,
))]
pub async fn call_state(edge: State, by: SignedIn, Id(room): Id) -> ApiResult<Response> {
    let state = edge.app.call_state(&by.user, room).await?;
    Ok(Json(CallStateJson::from(&state)).into_response())
}

/// Says that one does not come to the call, to those who are in it and to one's own other devices.
#[utoipa::path(post, path = "/api/rooms/{room}/decline-call/", responses((status = 204), refused::InRoom))]
pub async fn decline_call(
    edge: State,
    Writing(by): Writing,
    Id(room): Id,
) -> ApiResult<StatusCode> {
    edge.app.decline_call(&by.user, room).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize, ToSchema)]
pub struct MuteBody {
    #[schema(value_type = Option<String>, format = DateTime)]
    until: Option<Moment>,
}

/// Mutes a room for oneself, for good or until a time.
#[utoipa::path(post, path = "/api/rooms/{room}/mute/", responses(
    (status = 200, body = RoomJson),
    refused::InRoom,
))]
pub async fn mute(
    edge: State,
    Writing(by): Writing,
    Id(room): Id,
    Body(body): Body<MuteBody>,
) -> ApiResult<Response> {
    let until = body.until.map(|Moment(until)| until);
    let room = edge.app.set_muted(&by.user, room, Some(until)).await?;
    Ok(answer(StatusCode::OK, &room))
}

/// Ends the muting of a room.
#[utoipa::path(delete, path = "/api/rooms/{room}/mute/", responses(
    (status = 200, body = RoomJson),
    refused::InRoom,
))]
pub async fn unmute(edge: State, Writing(by): Writing, Id(room): Id) -> ApiResult<Response> {
    let room = edge.app.set_muted(&by.user, room, None).await?;
    Ok(answer(StatusCode::OK, &room))
}
