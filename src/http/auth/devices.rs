//! `/api/auth/devices/`: where one is signed in.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::app::limits;
use crate::http::error::ApiResult;
use crate::http::extract::{Body, Id, Leaving, SignedIn, Writing};
use crate::http::openapi::some_text;
use crate::http::{Routes, State, routes};
use crate::wire::DeviceJson;

pub fn routes() -> Routes {
    vec![routes![list], routes![rename, end]]
}

/// Where one is signed in.
#[utoipa::path(get, path = "/api/auth/devices/", responses((status = 200, body = Vec<DeviceJson>)))]
pub async fn list(edge: State, by: SignedIn) -> ApiResult<Response> {
    let devices = edge.app.devices(by.user.id).await?;
    let written = devices
        .iter()
        .map(|device| DeviceJson::new(device, by.sign_in));
    Ok(Json(written.collect::<Vec<_>>()).into_response())
}

#[derive(Deserialize, ToSchema)]
#[schema(as = DeviceName)]
pub struct Rename {
    #[schema(required = true, schema_with = some_text::<{ limits::DEVICE_NAME }>)]
    name: Option<String>,
}

/// Names a device.
#[utoipa::path(patch, path = "/api/auth/devices/{id}/", responses(
    (status = 200, body = DeviceJson),
))]
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

/// Signs out on a device.
#[utoipa::path(delete, path = "/api/auth/devices/{id}/", responses((status = 204)))]
pub async fn end(edge: State, Leaving(by): Leaving, Id(id): Id) -> ApiResult<StatusCode> {
    edge.app.end_device(by.user.id, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
