//! What every request passes: figures and log, headers, errors in the reader's language.

use std::time::Instant;

use axum::body::{HttpBody, to_bytes};
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};

use super::accept::Way;
use super::error::{ApiError, Unwritten};
use super::server::ACME_ANSWERS;
use super::{Edge, client, openapi};
use crate::app::RequestLabels;
use crate::config::host_of;
use crate::wire::urls;

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
    let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    tracing::debug!(method, route, status, ms, "request");
    let labels = RequestLabels {
        method,
        route,
        status,
    };
    edge.app.metrics.request(&labels, took);
    response
}

/// Pages of `http.allowed_origins` may ask and read; what they may do is left to the token that they send.
pub async fn share_with_origins(
    State(edge): State<std::sync::Arc<Edge>>,
    request: Request,
    next: Next,
) -> Response {
    let allowed = &edge.app.config.http.allowed_origins;
    let origin = request.headers().get(header::ORIGIN).cloned();
    let is_allowed = |origin: &HeaderValue| origin.to_str().is_ok_and(|text| allowed.allow(text));
    let Some(origin) = origin.filter(is_allowed) else {
        return next.run(request).await;
    };
    let asks_first = request.method() == Method::OPTIONS
        && request
            .headers()
            .contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = if asks_first {
        let permissions = [
            (
                header::ACCESS_CONTROL_ALLOW_METHODS,
                "GET, POST, PUT, PATCH, DELETE",
            ),
            (
                header::ACCESS_CONTROL_ALLOW_HEADERS,
                "Authorization, Content-Type, Accept-Language",
            ),
            (header::ACCESS_CONTROL_MAX_AGE, "3600"),
        ];
        (StatusCode::NO_CONTENT, permissions).into_response()
    } else {
        next.run(request).await
    };
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    for (name, value) in [
        (header::ACCESS_CONTROL_EXPOSE_HEADERS, "Retry-After"),
        (header::VARY, "Origin"),
    ] {
        headers.append(name, HeaderValue::from_static(value));
    }
    response
}

/// Answered over HTTP as well: to what runs beside the server and looks after it, and to ACME.
const WITHOUT_TLS: [&str; 4] = ["/healthz", "/readyz", "/metrics", ACME_ANSWERS];

/// With HTTPS, all that comes otherwise is led there.
pub async fn lead_to_https(
    State(edge): State<std::sync::Arc<Edge>>,
    request: Request,
    next: Next,
) -> Response {
    let (parts, body) = request.into_parts();
    let Some(port) = edge.app.config.https_port() else {
        return next.run(Request::from_parts(parts, body)).await;
    };
    let route = parts.extensions.get::<MatchedPath>();
    let without = route.is_some_and(|route| WITHOUT_TLS.contains(&route.as_str()));
    if without || client::is_secure(&edge, &parts) {
        return next.run(Request::from_parts(parts, body)).await;
    }
    let authority = client::host(&edge, &parts);
    let host = match &edge.app.config.public_url {
        Some(url) => host_of(url),
        None => host_of(&authority),
    };
    let port = match port {
        443 => String::new(),
        port => format!(":{port}"),
    };
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    // With the same method and body (RFC 9110 §15.4.9).
    Redirect::permanent(&format!("https://{host}{port}{path}")).into_response()
}

pub async fn set_headers(
    State(edge): State<std::sync::Arc<Edge>>,
    request: Request,
    next: Next,
) -> Response {
    let is_api = request.uri().path().starts_with("/api/");
    let way = request.extensions().get::<Way>();
    let hsts = match &edge.app.config.http.https {
        // RFC 6797 §7.2: over TLS alone.
        Some(https) if way.is_some_and(|way| way.is_secure) => https.hsts.as_secs(),
        _ => 0,
    };
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        // Files have their own.
        headers
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    }
    if hsts > 0
        && let Ok(value) = HeaderValue::try_from(format!("max-age={hsts}"))
    {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, value);
    }
    if is_api {
        headers
            .entry(header::CACHE_CONTROL)
            .or_insert(HeaderValue::from_static("no-store"));
    }
    response
}

/// A client that goes away does not stop half-way what it has asked for: what is stored is also told to others.
pub async fn run_to_end(request: Request, next: Next) -> Response {
    match tokio::spawn(next.run(request)).await {
        Ok(response) => response,
        Err(error) => {
            tracing::error!(%error, "a request failed");
            ApiError::Internal.into_response()
        }
    }
}

pub async fn write_errors(request: Request, next: Next) -> Response {
    let lang = client::language(request.headers());
    let asked = cfg!(debug_assertions).then(|| {
        let path = request.extensions().get::<MatchedPath>();
        (request.method().clone(), path.cloned())
    });
    let mut response = next.run(request).await;
    let error = response.extensions_mut().remove::<Unwritten>();
    if let Some((method, Some(path))) = asked {
        let code = error.as_ref().map(Unwritten::code);
        if !openapi::is_named(&method, path.as_str(), response.status(), code) {
            let (path, status) = (path.as_str(), response.status().as_u16());
            tracing::error!(%method, path, status, code, "an answer that the document does not name");
        }
    }
    match error {
        Some(error) => error.write(response, lang),
        None => response,
    }
}

/// Bytes of an answer that is looked through as one; longer ones are none of those that hold our URLs.
const MAX_LOCALIZED: u64 = 16 * 1024 * 1024;

/// Puts the URL by which the client reaches this server into what it is told of avatars and files.
pub async fn localize(
    State(edge): State<std::sync::Arc<Edge>>,
    request: Request,
    next: Next,
) -> Response {
    if urls::are_real() {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    let base = client::base_url(&edge, &parts);
    let response = next.run(Request::from_parts(parts, body)).await;
    let kind = response.headers().get(header::CONTENT_TYPE);
    let is_json = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
    let (mut head, body) = response.into_parts();
    match body.size_hint().exact() {
        Some(size) if is_json && size <= MAX_LOCALIZED => {
            let Ok(text) = to_bytes(body, usize::MAX).await else {
                return ApiError::Internal.into_response();
            };
            head.headers.remove(header::CONTENT_LENGTH);
            Response::from_parts(head, urls::localized(text, &base).into())
        }
        _ => Response::from_parts(head, body),
    }
}
