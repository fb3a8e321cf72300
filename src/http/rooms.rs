//! `/api/rooms/`: rooms and who takes part.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{self, post};
use moznods_storage::UserKey;
use serde::Deserialize;

use super::error::{ApiError, ApiResult};
use super::extract::{Body, Id, Paging, SignedIn, Writing};
use super::{Routes, State};
use crate::app::{Error, Problem, RoomSeen, WantedRoom};
use crate::wire::{CallStateJson, Int, Moment, ParticipantJson, RoomJson};

pub fn routes() -> Routes {
    vec![
        ("/api/rooms/", routing::get(list).post(create)),
        ("/api/rooms/direct/", post(direct)),
        (
            "/api/rooms/{room}/",
            routing::get(get).patch(change).delete(delete),
        ),
        ("/api/rooms/{room}/join/", post(join)),
        ("/api/rooms/{room}/leave/", post(leave)),
        ("/api/rooms/{room}/pin/", post(pin).delete(unpin)),
        (
            "/api/rooms/{room}/participants/",
            routing::get(participants),
        ),
        ("/api/rooms/{room}/add-participant/", post(add_participant)),
        (
            "/api/rooms/{room}/remove-participant/",
            post(remove_participant),
        ),
        ("/api/rooms/{room}/call-state/", routing::get(call_state)),
        ("/api/rooms/{room}/mute/", post(mute).delete(unmute)),
    ]
}

fn answer(status: StatusCode, room: &RoomSeen) -> Response {
    (status, Json(RoomJson::from(room))).into_response()
}

pub async fn list(edge: State, by: SignedIn, paging: Paging) -> ApiResult<Response> {
    let rooms = edge.app.rooms(&by.user, paging.page()).await?;
    paging.answer(&rooms, |room| serde_json::to_value(RoomJson::from(room)))
}

#[derive(Deserialize)]
pub struct RoomBody {
    name: Option<String>,
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

pub async fn create(
    edge: State,
    Writing(by): Writing,
    Body(body): Body<RoomBody>,
) -> ApiResult<Response> {
    let room = edge.app.create_room(&by.user, body.wanted()).await?;
    Ok(answer(StatusCode::CREATED, &room))
}

#[derive(Deserialize)]
pub struct DirectBody {
    user_id: Option<Int>,
}

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

pub async fn get(edge: State, by: SignedIn, Id(room): Id) -> ApiResult<Response> {
    let room = edge.app.room(&by.user, room).await?;
    Ok(answer(StatusCode::OK, &room))
}

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

pub async fn delete(edge: State, Writing(by): Writing, Id(room): Id) -> ApiResult<StatusCode> {
    edge.app.delete_room(by.person(), room).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub async fn join(edge: State, Writing(by): Writing, Id(room): Id) -> ApiResult<Response> {
    let room = edge.app.join(&by.user, room).await?;
    Ok(answer(StatusCode::OK, &room))
}

pub async fn leave(edge: State, Writing(by): Writing, Id(room): Id) -> ApiResult<StatusCode> {
    edge.app.leave(&by.user, room).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub async fn pin(edge: State, Writing(by): Writing, Id(room): Id) -> ApiResult<Response> {
    let room = edge.app.set_pinned(&by.user, room, true).await?;
    Ok(answer(StatusCode::OK, &room))
}

pub async fn unpin(edge: State, Writing(by): Writing, Id(room): Id) -> ApiResult<Response> {
    let room = edge.app.set_pinned(&by.user, room, false).await?;
    Ok(answer(StatusCode::OK, &room))
}

pub async fn participants(edge: State, by: SignedIn, Id(room): Id) -> ApiResult<Response> {
    let (room, participants) = edge.app.participants(&by.user, room).await?;
    let written: Vec<_> = participants
        .iter()
        .map(|participant| ParticipantJson::new(&room, participant))
        .collect();
    Ok(Json(written).into_response())
}

#[derive(Deserialize)]
pub struct Whom {
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

pub async fn call_state(edge: State, by: SignedIn, Id(room): Id) -> ApiResult<Response> {
    let state = edge.app.call_state(&by.user, room).await?;
    Ok(Json(CallStateJson::from(&state)).into_response())
}

#[derive(Deserialize)]
pub struct MuteBody {
    until: Option<Moment>,
}

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

pub async fn unmute(edge: State, Writing(by): Writing, Id(room): Id) -> ApiResult<Response> {
    let room = edge.app.set_muted(&by.user, room, None).await?;
    Ok(answer(StatusCode::OK, &room))
}
