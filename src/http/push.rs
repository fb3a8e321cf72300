//! `/api/push/`: where a user's browsers are told what he misses, and of what.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{self, delete};
use serde::Deserialize;

use super::error::ApiResult;
use super::extract::{Body, Id, SignedIn, Writing};
use super::{Routes, State};
use crate::app::{AskedSubscription, Error, Problem};
use crate::wire::{PushSettingsJson, PushSubscriptionJson};

pub fn routes() -> Routes {
    vec![
        (
            "/api/push/subscriptions/",
            routing::get(list).post(add).delete(remove_endpoint),
        ),
        ("/api/push/subscriptions/{id}/", delete(remove)),
        (
            "/api/push/settings/",
            routing::get(settings).patch(change_settings),
        ),
    ]
}

pub async fn list(edge: State, by: SignedIn) -> ApiResult<Response> {
    let subscriptions = edge.app.push_subscriptions(&by.user).await?;
    let written: Vec<_> = subscriptions
        .iter()
        .map(PushSubscriptionJson::from)
        .collect();
    Ok(Json(written).into_response())
}

/// What `PushSubscription.toJSON()` yields.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SubscriptionBody {
    endpoint: Option<String>,
    keys: Option<Keys>,
    expiration_time: Option<f64>,
}

#[derive(Deserialize)]
pub struct Keys {
    p256dh: Option<String>,
    auth: Option<String>,
}

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

pub async fn remove(edge: State, by: SignedIn, Id(id): Id) -> ApiResult<StatusCode> {
    edge.app.unsubscribe(&by.user, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
pub struct EndpointBody {
    endpoint: Option<String>,
}

/// By what the browser knows of it; in the body, as what stands in a URL comes into logs.
pub async fn remove_endpoint(
    edge: State,
    by: SignedIn,
    Body(body): Body<EndpointBody>,
) -> ApiResult<StatusCode> {
    let endpoint = body
        .endpoint
        .ok_or_else(|| Error::field("endpoint", Problem::Required))?;
    edge.app.unsubscribe_endpoint(&by.user, endpoint).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub async fn settings(edge: State, by: SignedIn) -> ApiResult<Json<PushSettingsJson>> {
    Ok(Json(edge.app.push_settings(&by.user).await?.into()))
}

#[derive(Deserialize)]
pub struct SettingsBody {
    messages: Option<String>,
    calls: Option<bool>,
}

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
