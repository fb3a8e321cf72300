//! Finding people and public rooms.

use axum::response::Response;
use serde::Deserialize;
use utoipa::IntoParams;

use super::error::ApiResult;
use super::extract::{Asked, Paging, SignedIn};
use super::openapi::{Page, refused};
use super::{Routes, State, routes};
use crate::wire::{PublicRoomJson, UserJson};

pub fn routes() -> Routes {
    vec![routes![rooms], routes![people]]
}

#[derive(Deserialize, IntoParams)]
pub struct Sought {
    #[serde(default)]
    #[param(max_length = 100)]
    pub search: String,
}

/// Public rooms.
#[utoipa::path(get, path = "/api/rooms/public/", responses(
    (status = 200, body = Page<PublicRoomJson>),
    refused::Fields,
))]
pub async fn rooms(
    edge: State,
    by: SignedIn,
    paging: Paging,
    Asked(sought): Asked<Sought>,
) -> ApiResult<Response> {
    // All names are looked through.
    edge.limits.write(by.user.id)?;
    let rooms = edge
        .app
        .public_rooms(&by.user, &sought.search, paging.page());
    paging.answer(&rooms.await?, |room| {
        serde_json::to_value(PublicRoomJson::from(room))
    })
}

/// Other users: all, or those with whom one shares a room, as the server is set.
#[utoipa::path(get, path = "/api/users/", responses(
    (status = 200, body = Page<UserJson>),
    refused::Fields,
))]
pub async fn people(
    edge: State,
    by: SignedIn,
    paging: Paging,
    Asked(sought): Asked<Sought>,
) -> ApiResult<Response> {
    edge.limits.write(by.user.id)?;
    let people = edge.app.people(&by.user, &sought.search, paging.page());
    paging.answer(&people.await?, |user| {
        serde_json::to_value(UserJson::from(user))
    })
}
