//! WebSockets: who may open one, and what for. One kind of session serves them all; the path gives it its scope, and
//! with it the frames it understands.

mod act;
mod link;
mod patience;
mod session;

use std::sync::Arc;

use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{FromRequestParts, Request};
use axum::http::header;
use axum::http::request::Parts;
use axum::response::Response;
use axum::routing::{MethodRouter, get};
use moznods_signaling::Scope;

use super::error::{ApiError, ApiResult};
use super::extract::Id;
use super::{Edge, MAX_BODY, State, client};
use link::Link;
use session::TOKEN_WAIT;

pub fn routes() -> Vec<(&'static str, MethodRouter<Arc<Edge>>)> {
    vec![
        ("/ws/chat/{room}/", get(chat)),
        ("/ws/call/{room}/", get(call)),
        ("/ws/notifications/", get(notifications)),
        ("/ws/", get(everything)),
    ]
}

/// Bytes that are read at once, for which each connection has room at all times.
const READ_BUFFER: usize = 1024;
/// Bytes of small frames that are written at once.
const WRITE_BUFFER: usize = 8 * 1024;
/// Bytes that a connection may hold back; one frame, however long the list in it, is written at a time.
const MAX_WRITE_BUFFER: usize = 4 * 1024 * 1024;

const PROTOCOL: &str = "moznods";

pub async fn chat(edge: State, Id(room): Id, request: Request) -> ApiResult<Response> {
    upgrade(edge, Some(Scope::Chat(room)), request).await
}

pub async fn call(edge: State, Id(room): Id, request: Request) -> ApiResult<Response> {
    upgrade(edge, Some(Scope::Call(room)), request).await
}

pub async fn notifications(edge: State, request: Request) -> ApiResult<Response> {
    upgrade(edge, Some(Scope::Notifications), request).await
}

pub async fn everything(edge: State, request: Request) -> ApiResult<Response> {
    upgrade(edge, None, request).await
}

/// Without a scope the connection listens to everything of its user.
async fn upgrade(
    axum::extract::State(edge): State,
    scope: Option<Scope>,
    request: Request,
) -> ApiResult<Response> {
    let (mut parts, _) = request.into_parts();
    let is_ours = origin_is_ours(&edge, &parts);
    edge.hints.look(&edge, &parts, is_ours);
    if !is_ours {
        return Err(ApiError::ForeignOrigin);
    }
    let lang = client::language(&parts.headers);
    let base = client::base_url(&edge, &parts);
    let from_query = in_query(&parts, "token").map(str::to_owned);
    let last_event = in_query(&parts, "last_event_id").and_then(|id| id.parse().ok());
    let upgrade = WebSocketUpgrade::from_request_parts(&mut parts, &edge)
        .await
        .map_err(|_| ApiError::NotAWebSocket)?
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(WRITE_BUFFER)
        .max_write_buffer_size(MAX_WRITE_BUFFER)
        .max_message_size(MAX_BODY)
        .max_frame_size(MAX_BODY)
        .protocols([PROTOCOL]);
    let from_protocol = upgrade
        .requested_protocols()
        .filter_map(|value| value.to_str().ok())
        .find_map(|value| value.strip_prefix("token.").map(str::to_owned));
    let token = from_query.or(from_protocol);
    let address = client::address(&edge, &parts);
    // That of the connection goes when it becomes a socket.
    let seat = edge.connections.seat(Some(address), TOKEN_WAIT)?;
    Ok(upgrade.on_upgrade(move |socket| async move {
        let gauge = &edge.app.metrics.websocket_connections;
        gauge.inc();
        let asked = session::Asked {
            scope,
            token,
            last_event,
            lang,
            address,
        };
        let mut link = Link::new(socket, Arc::clone(&edge), base, seat);
        let closing = session::converse(&edge, asked, &mut link).await;
        gauge.dec();
        link.close(closing).await;
    }))
}

/// Browsers always say where a page comes from; only pages of this server, and of those that the administrator names,
/// may open sockets.
fn origin_is_ours(edge: &Edge, parts: &Parts) -> bool {
    let Some(origin) = parts.headers.get(header::ORIGIN) else {
        return true;
    };
    let Ok(origin) = origin.to_str() else {
        return false;
    };
    if edge.app.config.http.allowed_origins.allow(origin) {
        return true;
    }
    let Some((_, authority)) = origin.split_once("://") else {
        return false;
    };
    let public = edge.app.config.public_url.as_deref();
    let is_public = public
        .and_then(|url| url.split_once("://"))
        .is_some_and(|(_, ours)| ours.eq_ignore_ascii_case(authority));
    is_public || client::host(edge, parts).eq_ignore_ascii_case(authority)
}

fn in_query<'a>(parts: &'a Parts, name: &str) -> Option<&'a str> {
    let pairs = parts.uri.query()?.split('&');
    pairs
        .filter_map(|pair| pair.split_once('='))
        .find(|(key, value)| *key == name && !value.is_empty())
        .map(|(_, value)| value)
}
