//! `/api/rooms/{room}/…`: roles, removal, bans, another owner.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use moznods_storage::Role;
use serde::Deserialize;
use utoipa::ToSchema;

use super::error::ApiResult;
use super::extract::{Body, Id, Ids, Paging, SignedIn, Writing};
use super::openapi::{Page, refused, text};
use super::{Routes, State, routes};
use crate::app::{Error, Problem, limits};
use crate::wire::{BanJson, Int, ParticipantJson, RoomJson};

pub fn routes() -> Routes {
    vec![
        routes![appoint, remove],
        routes![bans, ban],
        routes![lift_ban],
        routes![transfer],
    ]
}

#[derive(Deserialize, ToSchema)]
pub struct RoleBody {
    #[schema(value_type = AppointedRole)]
    role: Option<AppointedRole>,
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum AppointedRole {
    Moderator,
    Member,
}

/// Makes somebody a moderator, or a member again.
#[utoipa::path(patch, path = "/api/rooms/{room}/participants/{user}/", responses(
    (status = 200, body = ParticipantJson),
    refused::InRoom,
))]
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

/// Removes somebody.
#[utoipa::path(delete, path = "/api/rooms/{room}/participants/{user}/", responses(
    (status = 204),
    refused::InRoom,
))]
pub async fn remove(
    edge: State,
    Writing(by): Writing,
    Ids([room, user]): Ids,
) -> ApiResult<StatusCode> {
    edge.app.remove(by.person(), room, user).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Who is banned from the room.
#[utoipa::path(get, path = "/api/rooms/{room}/bans/", responses(
    (status = 200, body = Page<BanJson>),
    refused::InRoom,
))]
pub async fn bans(edge: State, by: SignedIn, Id(room): Id, paging: Paging) -> ApiResult<Response> {
    let bans = edge.app.bans(&by.user, room, paging.page()).await?;
    paging.answer(&bans, |ban| serde_json::to_value(BanJson::from(ban)))
}

#[derive(Deserialize, ToSchema)]
pub struct BanBody {
    #[schema(value_type = i64, minimum = 1)]
    user_id: Option<Int>,
    #[schema(schema_with = text::<{ limits::BAN_REASON }>)]
    reason: Option<String>,
}

/// Bans somebody, who is removed as well.
#[utoipa::path(post, path = "/api/rooms/{room}/bans/", responses((status = 204), refused::InRoom))]
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

/// Lifts a ban.
#[utoipa::path(delete, path = "/api/rooms/{room}/bans/{user}/", responses(
    (status = 204),
    refused::InRoom,
))]
pub async fn lift_ban(
    edge: State,
    Writing(by): Writing,
    Ids([room, user]): Ids,
) -> ApiResult<StatusCode> {
    edge.app.lift_ban(by.person(), room, user).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize, ToSchema)]
pub struct TransferBody {
    #[schema(value_type = i64, minimum = 1)]
    user_id: Option<Int>,
}

/// Makes somebody else the owner.
#[utoipa::path(post, path = "/api/rooms/{room}/transfer/", responses(
    (status = 200, body = RoomJson),
    refused::InRoom,
))]
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
