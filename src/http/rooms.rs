//! `/api/rooms/`: rooms, who takes part, invitations.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use moznods_storage::{UserId, UserKey};
use serde::Deserialize;

use super::State;
use super::error::{ApiError, ApiResult};
use super::extract::{Body, Id, Paging, Segment, SignedIn, Writing};
use crate::app::{Error, Problem, RoomSeen};
use crate::wire::{CallStateJson, InvitationJson, ParticipantJson, RoomJson};

fn answer(status: StatusCode, room: &RoomSeen) -> Response {
    (status, Json(RoomJson::from(room))).into_response()
}

pub async fn list(edge: State, by: SignedIn, paging: Paging) -> ApiResult<Response> {
    let rooms = edge.app.rooms(&by.user, paging.page()).await?;
    Ok(paging.answer(&rooms, |room| serde_json::to_value(RoomJson::from(room))))
}

#[derive(Deserialize)]
pub struct RoomBody {
    name: Option<String>,
    is_public: Option<bool>,
}

pub async fn create(
    edge: State,
    Writing(by): Writing,
    Body(body): Body<RoomBody>,
) -> ApiResult<Response> {
    let name = body.name.unwrap_or_default();
    let is_public = body.is_public.unwrap_or(false);
    let room = edge.app.create_room(&by.user, &name, is_public).await?;
    Ok(answer(StatusCode::CREATED, &room))
}

#[derive(Deserialize)]
pub struct DirectBody {
    user_id: Option<UserId>,
}

pub async fn direct(
    edge: State,
    Writing(by): Writing,
    Body(body): Body<DirectBody>,
) -> ApiResult<Response> {
    let other = body
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
    let room = edge
        .app
        .change_room(&by.user, room, body.name.as_deref(), body.is_public)
        .await?;
    Ok(answer(StatusCode::OK, &room))
}

pub async fn delete(edge: State, Writing(by): Writing, Id(room): Id) -> ApiResult<StatusCode> {
    edge.app.delete_room(&by.user, room).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub async fn join(edge: State, Writing(by): Writing, Id(room): Id) -> ApiResult<Response> {
    let room = edge.app.join(&by.user, room).await?;
    Ok(answer(StatusCode::OK, &room))
}

pub async fn join_by_invitation(
    edge: State,
    Writing(by): Writing,
    Segment(token): Segment,
) -> ApiResult<Response> {
    let room = edge.app.join_by_invitation(&by.user, &token).await?;
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
    id: Option<UserId>,
    username: Option<String>,
    email: Option<String>,
}

impl Whom {
    fn key(self) -> Result<UserKey, ApiError> {
        match (self.id, self.username, self.email) {
            (Some(id), _, _) => Ok(UserKey::Id(id)),
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
        .add_participant(&by.user, room, whom.key()?)
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
        .remove_participant(&by.user, room, whom.key()?)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

pub async fn call_state(edge: State, by: SignedIn, Id(room): Id) -> ApiResult<Response> {
    let state = edge.app.call_state(&by.user, room).await?;
    Ok(Json(CallStateJson::from(&state)).into_response())
}

#[derive(Deserialize)]
pub struct InviteBody {
    expires_in_hours: Option<i64>,
}

pub async fn invite(
    edge: State,
    Writing(by): Writing,
    Id(room): Id,
    Body(body): Body<InviteBody>,
) -> ApiResult<Response> {
    let invited = edge
        .app
        .invite(&by.user, room, body.expires_in_hours)
        .await?;
    let written = Json(InvitationJson {
        token: invited.token.hyphenated().to_string(),
        expires_at: invited.expires_at,
        room_name: invited.room_name,
    });
    Ok((StatusCode::CREATED, written).into_response())
}
