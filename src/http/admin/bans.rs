//! `/api/admin/bans/`: who is shut out for a while because too much of his was wrong.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::Admin;
use crate::http::error::ApiResult;
use crate::http::extract::Id;
use crate::http::openapi::{Routes, refused};
use crate::http::{State, routes};
use crate::wire::AbuseBanJson;

pub fn routes() -> Routes {
    vec![routes![list], routes![lift]]
}

/// Bans of addresses and accounts in force, the newest first.
#[utoipa::path(get, path = "/api/admin/bans/", responses(
    (status = 200, body = Vec<AbuseBanJson>),
))]
pub async fn list(edge: State, _: Admin) -> ApiResult<Response> {
    let bans = edge.app.abuse_bans().await?;
    let shown: Vec<_> = bans.iter().map(AbuseBanJson::from).collect();
    Ok(Json(shown).into_response())
}

/// Lifts a ban, and forgets what has led to it.
#[utoipa::path(delete, path = "/api/admin/bans/{id}/", responses(
    (status = 204),
    refused::NotFound, refused::StorageFull,
))]
pub async fn lift(edge: State, by: Admin, Id(id): Id) -> ApiResult<StatusCode> {
    // No ban has a number that is too large for it.
    let lifting = edge.app.lift_abuse_ban(by.actor(), id.cast_unsigned());
    lifting.await?;
    Ok(StatusCode::NO_CONTENT)
}
