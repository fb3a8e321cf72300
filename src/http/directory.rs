//! Finding people and public rooms.

use axum::response::Response;
use axum::routing::get;
use serde::Deserialize;

use super::error::ApiResult;
use super::extract::{Asked, Paging, SignedIn};
use super::{Routes, State};
use crate::wire::{PublicRoomJson, UserJson};

pub fn routes() -> Routes {
    vec![
        ("/api/rooms/public/", get(rooms)),
        ("/api/users/", get(people)),
    ]
}

#[derive(Deserialize)]
pub struct Sought {
    #[serde(default)]
    pub search: String,
}

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
