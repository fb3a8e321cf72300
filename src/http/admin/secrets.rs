//! `/api/admin/relay/secrets/`: the secrets with which other programs make relay credentials.

use std::time::Duration;

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::ToSchema;

use super::Admin;
use crate::app::{Error, Problem, limits};
use crate::http::error::ApiResult;
use crate::http::extract::{Body, Segment};
use crate::http::openapi::{Routes, refused, some_text};
use crate::http::{State, routes};
use crate::wire::{Int, RelaySecretJson, RelaySecretTextJson};

pub fn routes() -> Routes {
    vec![
        routes![secrets, add_secret],
        routes![revoke_secret],
        routes![rotate_secret],
    ]
}

/// Secrets of other programs, by name; none is shown.
#[utoipa::path(get, path = "/api/admin/relay/secrets/", responses(
    (status = 200, body = Vec<RelaySecretJson>),
))]
pub async fn secrets(edge: State, _: Admin) -> ApiResult<Response> {
    let secrets = edge.app.relay_secrets().await?;
    let shown: Vec<_> = secrets.iter().map(RelaySecretJson::new).collect();
    Ok(Json(shown).into_response())
}

#[derive(Deserialize, ToSchema)]
pub struct RelaySecretBody {
    /// Of the program.
    #[schema(required = true, schema_with = some_text::<{ limits::RELAY_SECRET_NAME }>)]
    name: Option<String>,
    /// Live ones of all its users together; without it there is no limit.
    #[schema(value_type = Option<i64>, minimum = 1, maximum = 4_294_967_295_i64)]
    max_allocations: Option<Int>,
    /// Relayed for all its users together (UTC); without it there is no limit.
    #[schema(value_type = Option<i64>, minimum = 1)]
    max_bytes_per_month: Option<Int>,
}

/// Makes a secret for another program; it is shown this once.
#[utoipa::path(post, path = "/api/admin/relay/secrets/", responses(
    (status = 201, body = RelaySecretTextJson),
    refused::StorageFull,
))]
pub async fn add_secret(
    edge: State,
    by: Admin,
    Body(body): Body<RelaySecretBody>,
) -> ApiResult<Response> {
    let name = body.name.unwrap_or_default();
    let allocations = match body.max_allocations {
        None => None,
        Some(Int(number)) => match u32::try_from(number) {
            Ok(number @ 1..) => Some(number),
            _ => {
                return Err(
                    Error::field("max_allocations", Problem::Uses(u32::MAX as usize)).into(),
                );
            }
        },
    };
    let bytes = body.max_bytes_per_month.map(|Int(number)| number);
    if bytes.is_some_and(|bytes| bytes < 1) {
        return Err(Error::field("max_bytes_per_month", Problem::Number).into());
    }
    let made = edge
        .app
        .add_relay_secret(by.actor(), &name, allocations, bytes);
    let made = made.await?;
    let written = RelaySecretTextJson {
        name: &name,
        secret: made.expose(),
    };
    Ok((StatusCode::CREATED, Json(written)).into_response())
}

#[derive(Deserialize, ToSchema)]
pub struct RelaySecretRotation {
    /// Seconds for which the old one is taken as well: the life of credentials that were made with it. A day by default.
    #[schema(value_type = Option<i64>, minimum = 0, maximum = 31_536_000)]
    keep_seconds: Option<Int>,
}

/// Puts a new secret in place of one; it is shown this once.
#[utoipa::path(post, path = "/api/admin/relay/secrets/{name}/rotate/", responses(
    (status = 200, body = RelaySecretTextJson),
    refused::StorageFull,
))]
pub async fn rotate_secret(
    edge: State,
    by: Admin,
    Segment(name): Segment,
    Body(body): Body<RelaySecretRotation>,
) -> ApiResult<Response> {
    let keep = match body.keep_seconds {
        None => limits::RELAY_SECRET_KEPT_DEFAULT,
        Some(Int(seconds)) => match u32::try_from(seconds) {
            Ok(seconds @ 0..=limits::RELAY_SECRET_KEPT) => seconds,
            _ => {
                let problem = Problem::UpTo(limits::RELAY_SECRET_KEPT as usize);
                return Err(Error::field("keep_seconds", problem).into());
            }
        },
    };
    let keep = Duration::from_secs(keep.into());
    let made = edge.app.rotate_relay_secret(by.actor(), &name, keep);
    let made = made.await?;
    let written = RelaySecretTextJson {
        name: &name,
        secret: made.expose(),
    };
    Ok(Json(written).into_response())
}

/// Ends a secret, and all that is relayed for its users.
#[utoipa::path(delete, path = "/api/admin/relay/secrets/{name}/", responses(
    (status = 204),
    refused::StorageFull,
))]
pub async fn revoke_secret(
    edge: State,
    by: Admin,
    Segment(name): Segment,
) -> ApiResult<StatusCode> {
    edge.app.revoke_relay_secret(by.actor(), &name).await?;
    Ok(StatusCode::NO_CONTENT)
}
