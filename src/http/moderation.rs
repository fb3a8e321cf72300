//! `/api/rooms/{room}/…`: roles, removal, bans, another owner.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, patch, post};
use moznods_storage::Role;
use serde::Deserialize;

use super::error::ApiResult;
use super::extract::{Body, Id, Ids, Paging, SignedIn, Writing};
use super::{Routes, State};
use crate::app::{Error, Problem};
use crate::wire::{BanJson, Int, ParticipantJson, RoomJson};

pub fn routes() -> Routes {
    vec![
        (
            "/api/rooms/{room}/participants/{user}/",
            patch(appoint).delete(remove),
        ),
        ("/api/rooms/{room}/bans/", get(bans).post(ban)),
        ("/api/rooms/{room}/bans/{user}/", delete(lift_ban)),
        ("/api/rooms/{room}/transfer/", post(transfer)),
    ]
}

#[derive(Deserialize)]
pub struct RoleBody {
    role: Option<AppointedRole>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum AppointedRole {
    Moderator,
    Member,
}

pub async fn appoint(
    edge: State,
    Writing(by): Writing,
    Ids([room, user]): Ids,
    Body(body): Body<RoleBody>,
) -> ApiResult<Response> {
    let role = match body.role {
        Some(AppointedRole::Moderator) => Role::Moderator,
        Some(AppointedRole::Member) => Role::Member,
        None => return Err(Error::field("role", Problem::Required).into()),
    };
    let (room, participant) = edge.app.appoint(by.person(), room, user, role).await?;
    Ok(Json(ParticipantJson::new(&room, &participant)).into_response())
}

pub async fn remove(
    edge: State,
    Writing(by): Writing,
    Ids([room, user]): Ids,
) -> ApiResult<StatusCode> {
    edge.app.remove(by.person(), room, user).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub async fn bans(edge: State, by: SignedIn, Id(room): Id, paging: Paging) -> ApiResult<Response> {
    let bans = edge.app.bans(&by.user, room, paging.page()).await?;
    paging.answer(&bans, |ban| serde_json::to_value(BanJson::from(ban)))
}

#[derive(Deserialize)]
pub struct BanBody {
    user_id: Option<Int>,
    reason: Option<String>,
}

pub async fn ban(
    edge: State,
    Writing(by): Writing,
    Id(room): Id,
    Body(body): Body<BanBody>,
) -> ApiResult<StatusCode> {
    let Int(user) = body
        .user_id
        .ok_or_else(|| Error::field("user_id", Problem::Required))?;
    let reason = body.reason.unwrap_or_default();
    edge.app.ban(by.person(), room, user, &reason).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub async fn lift_ban(
    edge: State,
    Writing(by): Writing,
    Ids([room, user]): Ids,
) -> ApiResult<StatusCode> {
    edge.app.lift_ban(by.person(), room, user).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
pub struct TransferBody {
    user_id: Option<Int>,
}

pub async fn transfer(
    edge: State,
    Writing(by): Writing,
    Id(room): Id,
    Body(body): Body<TransferBody>,
) -> ApiResult<Response> {
    let Int(user) = body
        .user_id
        .ok_or_else(|| Error::field("user_id", Problem::Required))?;
    edge.app.transfer_room(by.person(), room, user).await?;
    let room = edge.app.room(&by.user, room).await?;
    Ok(Json(RoomJson::from(&room)).into_response())
}
