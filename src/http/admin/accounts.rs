//! `/api/admin/users/` and `/api/admin/rooms/`: all of them.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use moznods_storage::AccountChange;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::Admin;
use crate::http::error::ApiResult;
use crate::http::extract::{Asked, Body, Id, Paging};
use crate::http::openapi::{Page, Routes, refused};
use crate::http::{State, routes, to_the_end};

use crate::wire::{AccountJson, RoomAccountJson};

pub fn routes() -> Routes {
    vec![
        routes![users],
        routes![user, change_user, delete_user],
        routes![all_rooms],
        routes![delete_any_room],
    ]
}

/// In names.
#[derive(Deserialize, IntoParams)]
pub struct Sought {
    #[serde(default)]
    #[param(value_type = Option<String>, max_length = 100)]
    q: String,
}

/// All users, newest first.
#[utoipa::path(get, path = "/api/admin/users/", responses(
    (status = 200, body = Page<AccountJson>),
    refused::Fields,
))]
pub async fn users(
    edge: State,
    _: Admin,
    paging: Paging,
    Asked(sought): Asked<Sought>,
) -> ApiResult<Response> {
    let accounts = edge.app.accounts(&sought.q, paging.page()).await?;
    paging.answer(&accounts, |account| {
        serde_json::to_value(AccountJson::from(account))
    })
}

/// One user.
#[utoipa::path(get, path = "/api/admin/users/{id}/", responses(
    (status = 200, body = AccountJson),
))]
pub async fn user(edge: State, _: Admin, Id(id): Id) -> ApiResult<Response> {
    let account = edge.app.account(id).await?;
    Ok(Json(AccountJson::from(&account)).into_response())
}

#[derive(Deserialize, ToSchema)]
#[schema(as = AccountChange)]
pub struct Change {
    is_blocked: Option<bool>,
    is_admin: Option<bool>,
}

/// Blocks a user or lets him in again, makes him an administrator or a user like others.
#[utoipa::path(patch, path = "/api/admin/users/{id}/", responses(
    (status = 200, body = AccountJson),
    refused::LastAdmin, refused::StorageFull,
))]
pub async fn change_user(
    edge: State,
    by: Admin,
    Id(id): Id,
    Body(body): Body<Change>,
) -> ApiResult<Response> {
    let change = AccountChange {
        blocked: body.is_blocked,
        is_admin: body.is_admin,
    };
    let app = std::sync::Arc::clone(&edge.app);
    // Half of it done would leave sockets open and calls going.
    let changed = to_the_end(async move {
        let user = app.account(id).await?.user;
        app.change_account(by.actor(), &user, change).await?;
        app.account(id).await
    });
    Ok(Json(AccountJson::from(&changed.await?)).into_response())
}

/// Deletes an account; what its user wrote stays.
#[utoipa::path(delete, path = "/api/admin/users/{id}/", responses(
    (status = 204),
    refused::LastAdmin, refused::StorageFull,
))]
pub async fn delete_user(edge: State, by: Admin, Id(id): Id) -> ApiResult<StatusCode> {
    let app = std::sync::Arc::clone(&edge.app);
    let deleted = to_the_end(async move {
        let user = app.account(id).await?.user;
        app.delete_user(by.actor(), &user).await
    });
    deleted.await?;
    Ok(StatusCode::NO_CONTENT)
}

/// All rooms, newest first; nothing of what is said there.
#[utoipa::path(get, path = "/api/admin/rooms/", responses(
    (status = 200, body = Page<RoomAccountJson>),
    refused::Fields,
))]
pub async fn all_rooms(
    edge: State,
    _: Admin,
    paging: Paging,
    Asked(sought): Asked<Sought>,
) -> ApiResult<Response> {
    let rooms = edge.app.all_rooms(&sought.q, paging.page()).await?;
    paging.answer(&rooms, |room| {
        serde_json::to_value(RoomAccountJson::from(room))
    })
}

/// Deletes a room and all that is in it.
#[utoipa::path(delete, path = "/api/admin/rooms/{id}/", responses(
    (status = 204),
    refused::StorageFull,
))]
pub async fn delete_any_room(edge: State, by: Admin, Id(id): Id) -> ApiResult<StatusCode> {
    edge.app.delete_any_room(by.actor(), id).await?;
    Ok(StatusCode::NO_CONTENT)
}
