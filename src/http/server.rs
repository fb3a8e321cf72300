//! What concerns the server itself: its settings for clients, relay credentials, health, figures.

use axum::Json;
use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::IntoParams;

use super::error::{ApiError, ApiResult};
use super::extract::{Asked, Head, SignedIn};
use super::openapi::refused;
use super::{Edge, Routes, State, client, routes};
use crate::app::{Error, Problem};
use crate::config::{host_of, region as region_label};
use crate::wire::{ConfigJson, RelayJson};

pub fn routes() -> Routes {
    vec![routes![relay_credentials], routes![config]]
}

fn public_config<'a>(edge: &'a Edge, head: &axum::http::request::Parts) -> ConfigJson<'a> {
    let app = &edge.app;
    ConfigJson::new(
        &app.config,
        client::base_url(edge, head),
        app.push_public_key(),
    )
}

/// What a client must know of this server.
#[utoipa::path(get, path = "/api/config/", responses((status = 200, body = ConfigJson)))]
pub async fn config(edge: State, Head(head): Head) -> ApiResult<Response> {
    edge.limits.stranger(client::address(&edge, &head))?;
    Ok(Json(public_config(&edge, &head)).into_response())
}

pub async fn config_js(edge: State, Head(head): Head) -> ApiResult<Response> {
    let config = serde_json::to_string(&public_config(&edge, &head));
    let config = config.map_err(|_| ApiError::Internal)?;
    let script = format!("window.MOZNODS_CONFIG = {config};\n");
    let headers = [
        (header::CONTENT_TYPE, "text/javascript; charset=utf-8"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    Ok((headers, script).into_response())
}

/// Where the client is.
#[derive(Deserialize, IntoParams)]
pub struct At {
    /// A label of `turn.region`, in any case: relays there are named first.
    #[param(pattern = "^[A-Za-z0-9_-]{1,32}$")]
    region: Option<String>,
}

/// Credentials for the relay: the answer of the TURN REST draft, and what `RTCPeerConnection` takes.
#[utoipa::path(get, path = "/api/turn/credentials/", responses(
    (status = 200, body = RelayJson),
    refused::AccountBlocked, refused::Fields,
))]
pub async fn relay_credentials(
    edge: State,
    by: SignedIn,
    Head(head): Head,
    Asked(at): Asked<At>,
) -> ApiResult<Response> {
    let app = &edge.app;
    let region = match &at.region {
        Some(told) => {
            let known = region_label(told);
            Some(known.ok_or_else(|| Error::field("region", Problem::NotARegion))?)
        }
        None => client::region(&edge, &head),
    };
    let credential = app.relay_credential(&by.user, app.config.turn.credential_ttl)?;
    let url = client::base_url(&edge, &head);
    let has_passed_tls = client::has_passed_tls(&head);
    let relays = app
        .relay_ways(host_of(&url), has_passed_tls, region.as_deref())
        .await;
    Ok(Json(RelayJson::new(&app.config, &credential, relays)).into_response())
}

/// Listeners are bound before anything is answered.
pub async fn health() -> &'static str {
    "ok\n"
}

/// Where an authority looks for the answer to its challenge (RFC 8555 §8.3).
pub const ACME_ANSWERS: &str = "/.well-known/acme-challenge/{token}";

pub async fn acme_answer(edge: State, Path(token): Path<String>) -> ApiResult<String> {
    let found = edge.acme.as_ref().and_then(|acme| acme.text(&token));
    found.ok_or(ApiError::UnknownPath)
}

pub async fn ready(edge: State) -> (StatusCode, String) {
    match edge.app.unready().await {
        None => (StatusCode::OK, "ready\n".to_owned()),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
    }
}

/// What Prometheus itself asks for.
const OPEN_METRICS: &str = "application/openmetrics-text";

pub async fn metrics(edge: State, Head(head): Head) -> Response {
    if !edge.app.config.http.public_metrics && !client::is_local(&head) {
        return ApiError::UnknownPath.into_response();
    }
    let accepted = head.headers.get_all(header::ACCEPT).iter();
    let mut accepted = accepted.filter_map(|value| value.to_str().ok());
    let is_open = accepted.any(|value| value.contains(OPEN_METRICS));
    let kind = match is_open {
        true => format!("{OPEN_METRICS}; version=1.0.0; charset=utf-8"),
        false => "text/plain; version=0.0.4; charset=utf-8".to_owned(),
    };
    match edge.app.figures(!is_open).await {
        Ok(text) => ([(header::CONTENT_TYPE, kind)], text).into_response(),
        Err(_) => ApiError::Internal.into_response(),
    }
}
