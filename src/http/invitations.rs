//! Invitations to rooms: made, listed, revoked, looked at, used.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use serde::Deserialize;

use super::error::ApiResult;
use super::extract::{Body, Id, IdAndText, Segment, SignedIn, Writing};
use super::{Routes, State};
use crate::wire::{Int, InvitationJson, ListedInvitationJson, PreviewJson, RoomJson};

pub fn routes() -> Routes {
    vec![
        ("/api/rooms/join/{token}/", get(preview).post(join)),
        ("/api/rooms/{room}/invite/", post(invite)),
        ("/api/rooms/{room}/invitations/", get(list)),
        ("/api/rooms/{room}/invitations/{token}/", delete(revoke)),
    ]
}

pub async fn preview(edge: State, by: SignedIn, Segment(token): Segment) -> ApiResult<Response> {
    let preview = edge.app.preview_invitation(&by.user, &token).await?;
    Ok(Json(PreviewJson::from(&preview)).into_response())
}

pub async fn join(
    edge: State,
    Writing(by): Writing,
    Segment(token): Segment,
) -> ApiResult<Response> {
    let room = edge.app.join_by_invitation(&by.user, &token).await?;
    Ok(Json(RoomJson::from(&room)).into_response())
}

#[derive(Deserialize)]
pub struct InviteBody {
    expires_in_hours: Option<Int>,
    max_uses: Option<Int>,
}

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

pub async fn list(edge: State, by: SignedIn, Id(room): Id) -> ApiResult<Response> {
    let found = edge.app.invitations(&by.user, room).await?;
    let written: Vec<_> = found.iter().map(ListedInvitationJson::from).collect();
    Ok(Json(written).into_response())
}

pub async fn revoke(
    edge: State,
    Writing(by): Writing,
    IdAndText(room, token): IdAndText,
) -> ApiResult<StatusCode> {
    edge.app.revoke_invitation(&by.user, room, &token).await?;
    Ok(StatusCode::NO_CONTENT)
}
