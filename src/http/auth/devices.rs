//! `/api/auth/devices/`: where one is signed in.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, patch};
use serde::Deserialize;

use crate::http::error::ApiResult;
use crate::http::extract::{Body, Id, SignedIn, Writing};
use crate::http::{Routes, State};
use crate::wire::DeviceJson;

pub fn routes() -> Routes {
    vec![
        ("/api/auth/devices/", get(list)),
        ("/api/auth/devices/{id}/", patch(rename).delete(end)),
    ]
}

pub async fn list(edge: State, by: SignedIn) -> ApiResult<Response> {
    let devices = edge.app.devices(by.user.id).await?;
    let written = devices
        .iter()
        .map(|device| DeviceJson::new(device, by.sign_in));
    Ok(Json(written.collect::<Vec<_>>()).into_response())
}

#[derive(Deserialize)]
pub struct Rename {
    name: Option<String>,
}

pub async fn rename(
    edge: State,
    Writing(by): Writing,
    Id(id): Id,
    Body(body): Body<Rename>,
) -> ApiResult<Response> {
    let name = body.name.unwrap_or_default();
    let device = edge.app.rename_device(by.user.id, id, &name).await?;
    Ok(Json(DeviceJson::new(&device, by.sign_in)).into_response())
}

pub async fn end(edge: State, by: SignedIn, Id(id): Id) -> ApiResult<StatusCode> {
    edge.app.end_device(by.user.id, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
