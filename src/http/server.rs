//! What concerns the server itself: its settings for clients, relay credentials, health, figures.

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::{Value, json};

use super::error::{ApiError, ApiResult};
use super::extract::{Head, SignedIn};
use super::{Edge, Routes, State, client};
use crate::app::limits;
use crate::config::host_of;
use crate::i18n::Lang;
use crate::wire::RelayJson;

pub fn routes() -> Routes {
    vec![
        ("/api/turn/credentials/", get(relay_credentials)),
        ("/api/config/", get(config)),
    ]
}

fn public_config(edge: &Edge, head: &axum::http::request::Parts) -> Value {
    json!({
        "public_url": client::base_url(edge, head),
        "version": env!("CARGO_PKG_VERSION"),
        "registration": edge.app.config.accounts.registration.as_str(),
        "oidc": edge.app.config.accounts.oidc.as_ref().map(|oidc| json!({"name": oidc.name})),
        "languages": Lang::CODES,
        "push_public_key": edge.app.push_public_key(),
        "limits": {
            "message_length": limits::MESSAGE,
            "username_length": limits::USERNAME,
            "password_min_length": limits::PASSWORD_MIN,
            "room_name_length": limits::ROOM_NAME,
        },
    })
}

pub async fn config(edge: State, Head(head): Head) -> ApiResult<Json<Value>> {
    edge.limits.stranger(client::address(&edge, &head))?;
    Ok(Json(public_config(&edge, &head)))
}

pub async fn config_js(edge: State, Head(head): Head) -> Response {
    let script = format!("window.MOZNODS_CONFIG = {};\n", public_config(&edge, &head));
    let headers = [
        (header::CONTENT_TYPE, "text/javascript; charset=utf-8"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, script).into_response()
}

pub async fn relay_credentials(edge: State, by: SignedIn, Head(head): Head) -> ApiResult<Response> {
    let app = &edge.app;
    let credential = app.relay_credential(&by.user, app.config.turn.credential_ttl)?;
    let url = client::base_url(&edge, &head);
    Ok(Json(RelayJson::new(&app.config, &credential, host_of(&url))).into_response())
}

/// Listeners are bound before anything is answered.
pub async fn health() -> &'static str {
    "ok\n"
}

pub async fn ready(edge: State) -> (StatusCode, String) {
    match edge.app.unready().await {
        None => (StatusCode::OK, "ready\n".to_owned()),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
    }
}

pub async fn metrics(edge: State, Head(head): Head) -> Response {
    if !edge.app.config.http.public_metrics && !client::is_local(&head) {
        return ApiError::UnknownPath.into_response();
    }
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    match edge.app.metrics.encode() {
        Ok(text) => ([(header::CONTENT_TYPE, kind)], text).into_response(),
        Err(_) => ApiError::Internal.into_response(),
    }
}
