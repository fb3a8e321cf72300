//! `/api/push/`: where a user's browsers are told what he misses, and of what.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa::openapi::schema::SchemaType;
use utoipa::openapi::{Object, Type};

use super::error::ApiResult;
use super::extract::{Body, Id, SignedIn, Writing};
use super::openapi::{refused, some_text};
use super::{Routes, State, routes};
use crate::app::{AskedSubscription, Error, Problem, limits};
use crate::wire::{PushSettingsJson, PushSubscriptionJson, levels};

pub fn routes() -> Routes {
    vec![
        routes![list, add, remove_endpoint],
        routes![remove],
        routes![settings, change_settings],
    ]
}

/// The browsers in which one is told of what one misses.
#[utoipa::path(get, path = "/api/push/subscriptions/", responses(
    (status = 200, body = Vec<PushSubscriptionJson>),
    refused::PushOff,
))]
pub async fn list(edge: State, by: SignedIn) -> ApiResult<Response> {
    let subscriptions = edge.app.push_subscriptions(&by.user).await?;
    let written: Vec<_> = subscriptions
        .iter()
        .map(PushSubscriptionJson::from)
        .collect();
    Ok(Json(written).into_response())
}

/// What `PushSubscription.toJSON()` yields.
#[derive(Deserialize, ToSchema)]
#[schema(as = PushSubscriptionBody)]
#[serde(rename_all = "camelCase")]
pub struct SubscriptionBody {
    #[schema(required = true, schema_with = some_text::<{ limits::PUSH_ENDPOINT }>)]
    endpoint: Option<String>,
    #[schema(value_type = Keys)]
    keys: Option<Keys>,
    expiration_time: Option<f64>,
}

#[derive(Deserialize, ToSchema)]
#[schema(as = PushKeys)]
pub struct Keys {
    #[schema(value_type = String)]
    p256dh: Option<String>,
    #[schema(value_type = String)]
    auth: Option<String>,
}

/// Adds a browser, by what `PushSubscription.toJSON()` yields.
#[utoipa::path(post, path = "/api/push/subscriptions/", responses(
    (status = 201, body = PushSubscriptionJson),
    (status = 200, body = PushSubscriptionJson, description = "It was known."),
    refused::PushOff,
))]
pub async fn add(
    edge: State,
    Writing(by): Writing,
    Body(body): Body<SubscriptionBody>,
) -> ApiResult<Response> {
    let required = |field| Error::field(field, Problem::Required);
    let keys = body.keys.ok_or_else(|| required("keys"))?;
    let asked = AskedSubscription {
        endpoint: body.endpoint.ok_or_else(|| required("endpoint"))?,
        p256dh: keys.p256dh.unwrap_or_default(),
        auth: keys.auth.unwrap_or_default(),
        expiration_time: body.expiration_time,
    };
    let (subscription, is_new) = edge.app.subscribe(&by.user, by.sign_in, asked).await?;
    let status = match is_new {
        true => StatusCode::CREATED,
        false => StatusCode::OK,
    };
    Ok((status, Json(PushSubscriptionJson::from(&subscription))).into_response())
}

/// Takes a browser away.
#[utoipa::path(delete, path = "/api/push/subscriptions/{id}/", responses(
    (status = 204),
    refused::PushOff,
))]
pub async fn remove(edge: State, Writing(by): Writing, Id(id): Id) -> ApiResult<StatusCode> {
    edge.app.unsubscribe(&by.user, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize, ToSchema)]
#[schema(as = PushEndpoint)]
pub struct EndpointBody {
    #[schema(required = true, schema_with = some_text::<{ limits::PUSH_ENDPOINT }>)]
    endpoint: Option<String>,
}

/// Takes a browser away, by its endpoint.
///
/// In the body, as what stands in a URL comes into logs.
#[utoipa::path(delete, path = "/api/push/subscriptions/", responses(
    (status = 204),
    refused::PushOff, refused::NotFound,
))]
pub async fn remove_endpoint(
    edge: State,
    Writing(by): Writing,
    Body(body): Body<EndpointBody>,
) -> ApiResult<StatusCode> {
    let endpoint = body
        .endpoint
        .ok_or_else(|| Error::field("endpoint", Problem::Required))?;
    edge.app.unsubscribe_endpoint(&by.user, endpoint).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Of what one is told.
#[utoipa::path(get, path = "/api/push/settings/", responses(
    (status = 200, body = PushSettingsJson),
    refused::PushOff,
))]
pub async fn settings(edge: State, by: SignedIn) -> ApiResult<Json<PushSettingsJson>> {
    Ok(Json(edge.app.push_settings(&by.user).await?.into()))
}

#[derive(Deserialize, ToSchema)]
#[schema(as = PushSettingsBody)]
pub struct SettingsBody {
    #[schema(schema_with = levels_or_null)]
    messages: Option<String>,
    calls: Option<bool>,
}

fn levels_or_null() -> Object {
    let mut levels = levels();
    levels.schema_type = SchemaType::from_iter([Type::String, Type::Null]);
    levels.enum_values.get_or_insert_default().push(Value::Null);
    levels
}

/// Changes of what one is told.
#[utoipa::path(patch, path = "/api/push/settings/", responses(
    (status = 200, body = PushSettingsJson),
    refused::PushOff,
))]
pub async fn change_settings(
    edge: State,
    Writing(by): Writing,
    Body(body): Body<SettingsBody>,
) -> ApiResult<Json<PushSettingsJson>> {
    let messages = body.messages.as_deref();
    let settings = edge
        .app
        .set_push_settings(&by.user, messages, body.calls)
        .await?;
    Ok(Json(settings.into()))
}
