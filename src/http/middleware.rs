//! What every request passes: figures and log, headers, errors in the reader's language.

use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::error::Unwritten;
use super::{Edge, client};
use crate::app::RequestLabels;

const CONTENT_SECURITY_POLICY: &str = "default-src 'self'; img-src 'self' blob: data:; \
    media-src 'self' blob:; connect-src 'self' ws: wss:; frame-ancestors 'none'; base-uri 'none'; \
    form-action 'self'; object-src 'none'";

/// Counts and logs by the route, never by the path or the query: those hold tokens and what strangers chose.
pub async fn observe(
    State(edge): State<std::sync::Arc<Edge>>,
    request: Request,
    next: Next,
) -> Response {
    let started = Instant::now();
    let method = match *request.method() {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PATCH => "PATCH",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    };
    let route = match request.extensions().get::<MatchedPath>() {
        Some(path) if path.as_str().len() > 1 => path.as_str().trim_end_matches('/').to_owned(),
        _ => "web".to_owned(),
    };
    let response = next.run(request).await;
    let took = started.elapsed();
    let status = response.status().as_u16();
    tracing::debug!(method, route, status, ms = took.as_millis(), "request");
    let labels = RequestLabels {
        method,
        route,
        status,
    };
    edge.app.metrics.request(&labels, took);
    response
}

pub async fn set_headers(request: Request, next: Next) -> Response {
    let is_api = request.uri().path().starts_with("/api/");
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if is_api {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}

/// A client that goes away does not stop half-way what it has asked for: what is stored is also told to others.
pub async fn run_to_end(request: Request, next: Next) -> Response {
    match tokio::spawn(next.run(request)).await {
        Ok(response) => response,
        Err(error) => {
            tracing::error!(%error, "a request failed");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

pub async fn write_errors(request: Request, next: Next) -> Response {
    let lang = client::language(request.headers());
    let mut response = next.run(request).await;
    match response.extensions_mut().remove::<Unwritten>() {
        Some(error) => error.write(response, lang),
        None => response,
    }
}
