//! `/api/admin/relay/devices/`: relay accounts of devices, whose passwords do not expire.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::ToSchema;

use super::Admin;
use crate::app::limits;
use crate::http::error::ApiResult;
use crate::http::extract::{Body, Segment};
use crate::http::openapi::{Routes, refused, some_text};
use crate::http::{State, routes};
use crate::wire::{RelayDeviceJson, RelayDeviceMadeJson};

pub fn routes() -> Routes {
    vec![routes![devices, add_device], routes![remove_device]]
}

/// Devices by name; no password is shown.
#[utoipa::path(get, path = "/api/admin/relay/devices/", responses(
    (status = 200, body = Vec<RelayDeviceJson>),
))]
pub async fn devices(edge: State, _: Admin) -> ApiResult<Response> {
    let devices = edge.app.relay_devices().await?;
    let realm = &edge.app.config.turn.realm;
    let shown: Vec<_> = devices
        .iter()
        .map(|device| RelayDeviceJson::new(device, realm))
        .collect();
    Ok(Json(shown).into_response())
}

#[derive(Deserialize, ToSchema)]
pub struct RelayDeviceBody {
    /// Which is the username for the relay.
    #[schema(required = true, schema_with = some_text::<{ limits::RELAY_DEVICE_NAME }>)]
    name: Option<String>,
    /// One that the device has; without it one is made.
    password: Option<String>,
}

/// Makes an account for a device, good until it is removed; a password that is made is shown this once.
#[utoipa::path(post, path = "/api/admin/relay/devices/", responses(
    (status = 201, body = RelayDeviceMadeJson),
    refused::StorageFull,
))]
pub async fn add_device(
    edge: State,
    by: Admin,
    Body(body): Body<RelayDeviceBody>,
) -> ApiResult<Response> {
    let name = body.name.unwrap_or_default();
    let is_given = body.password.is_some();
    let added = edge
        .app
        .add_relay_device(by.actor(), &name, body.password)
        .await?;
    let made = RelayDeviceMadeJson {
        name: &name,
        password: (!is_given).then(|| added.expose()),
    };
    Ok((StatusCode::CREATED, Json(made)).into_response())
}

/// Ends a device's account, and all that is relayed for it.
#[utoipa::path(delete, path = "/api/admin/relay/devices/{name}/", responses(
    (status = 204),
    refused::StorageFull,
))]
pub async fn remove_device(
    edge: State,
    by: Admin,
    Segment(name): Segment,
) -> ApiResult<StatusCode> {
    edge.app.remove_relay_device(by.actor(), &name).await?;
    Ok(StatusCode::NO_CONTENT)
}
