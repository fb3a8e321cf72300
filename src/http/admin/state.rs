//! `/api/admin/settings/` and `/api/admin/warnings/`: how the server is set up, and what it complains of.

use axum::Json;
use axum::response::{IntoResponse, Response};

use super::Admin;
use crate::app;
use crate::http::error::ApiResult;
use crate::http::openapi::Routes;
use crate::http::{State, routes};
use crate::wire::{SettingJson, WarningJson};

pub fn routes() -> Routes {
    vec![routes![settings], routes![warnings]]
}

/// Settings in force, and where each comes from.
#[utoipa::path(get, path = "/api/admin/settings/", responses(
    (status = 200, body = Vec<SettingJson>),
))]
pub async fn settings(edge: State, _: Admin) -> ApiResult<Response> {
    let settings = edge.app.settings_in_force();
    let shown: Vec<_> = settings.all().map(SettingJson::from).collect();
    Ok(Json(shown).into_response())
}

/// The newest warnings and errors of the log since the start, newest first: 200 at most.
#[utoipa::path(get, path = "/api/admin/warnings/", responses(
    (status = 200, body = Vec<WarningJson>),
))]
pub async fn warnings(_: Admin) -> ApiResult<Response> {
    let kept = app::warnings();
    let shown: Vec<_> = kept.iter().map(WarningJson::from).collect();
    Ok(Json(shown).into_response())
}
