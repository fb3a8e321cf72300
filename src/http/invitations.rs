//! Invitations to rooms: made, listed, revoked, looked at, used.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::ToSchema;

use super::error::ApiResult;
use super::extract::{Body, Id, IdAndText, Segment, SignedIn, Writing};
use super::openapi::refused;
use super::{Routes, State, routes};
use crate::wire::{Int, InvitationJson, ListedInvitationJson, PreviewJson, RoomJson};

pub fn routes() -> Routes {
    vec![
        routes![preview, join],
        routes![invite],
        routes![list],
        routes![revoke],
    ]
}

/// What the room is to which one is invited.
#[utoipa::path(get, path = "/api/rooms/join/{token}/", responses(
    (status = 200, body = PreviewJson),
    refused::Fields, refused::Banned,
))]
pub async fn preview(edge: State, by: SignedIn, Segment(token): Segment) -> ApiResult<Response> {
    let preview = edge.app.preview_invitation(&by.user, &token).await?;
    Ok(Json(PreviewJson::from(&preview)).into_response())
}

/// Enters a room by an invitation.
#[utoipa::path(post, path = "/api/rooms/join/{token}/", responses(
    (status = 200, body = RoomJson),
    refused::Fields, refused::Entry,
))]
pub async fn join(
    edge: State,
    Writing(by): Writing,
    Segment(token): Segment,
) -> ApiResult<Response> {
    let room = edge.app.join_by_invitation(&by.user, &token).await?;
    Ok(Json(RoomJson::from(&room)).into_response())
}

#[derive(Deserialize, ToSchema)]
pub struct InviteBody {
    #[schema(value_type = Option<i64>, minimum = 1, maximum = 8760)]
    expires_in_hours: Option<Int>,
    #[schema(value_type = Option<i64>, minimum = 1, maximum = 1000)]
    max_uses: Option<Int>,
}

/// Makes an invitation.
#[utoipa::path(post, path = "/api/rooms/{room}/invite/", responses(
    (status = 201, body = InvitationJson),
    refused::InRoom, refused::TooManyInvitations,
))]
pub async fn invite(
    edge: State,
    Writing(by): Writing,
    Id(room): Id,
    Body(body): Body<InviteBody>,
) -> ApiResult<Response> {
    let number = |given: Option<Int>| given.map(|Int(number)| number);
    let (hours, uses) = (number(body.expires_in_hours), number(body.max_uses));
    let invited = edge.app.invite(&by.user, room, hours, uses).await?;
    let written = Json(InvitationJson {
        token: invited.token.hyphenated().to_string(),
        expires_at: invited.expires_at,
        max_uses: invited.max_uses,
        room_name: invited.room_name,
    });
    Ok((StatusCode::CREATED, written).into_response())
}

/// The invitations that can still be used: all for who moderates, for others their own.
#[utoipa::path(get, path = "/api/rooms/{room}/invitations/", responses(
    (status = 200, body = Vec<ListedInvitationJson>),
    refused::InRoom,
))]
pub async fn list(edge: State, by: SignedIn, Id(room): Id) -> ApiResult<Response> {
    let found = edge.app.invitations(&by.user, room).await?;
    let written: Vec<_> = found.iter().map(ListedInvitationJson::from).collect();
    Ok(Json(written).into_response())
}

/// Revokes an invitation.
#[utoipa::path(delete, path = "/api/rooms/{room}/invitations/{token}/", responses(
    (status = 204),
    refused::InRoom,
))]
pub async fn revoke(
    edge: State,
    Writing(by): Writing,
    IdAndText(room, token): IdAndText,
) -> ApiResult<StatusCode> {
    edge.app.revoke_invitation(&by.user, room, &token).await?;
    Ok(StatusCode::NO_CONTENT)
}
