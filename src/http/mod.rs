//! The edge towards the network: routes, and how the server listens and ends. Handlers parse, ask `app`, and write.

mod accept;
mod auth;
mod client;
mod connections;
mod error;
mod extract;
mod limit;
mod messages;
mod middleware;
mod rooms;
mod server;
mod socket;
mod web;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{MethodRouter, get, patch, post};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

use crate::app::App;
use connections::Connections;
use limit::Limits;

/// Bytes of a request's body, and of a frame: the longest message fits, each of its characters escaped as a pair.
const MAX_BODY: usize = 128 * 1024;
/// How long requests and sockets have to end after the signal to stop.
const SHUTDOWN: Duration = Duration::from_secs(4);

/// What all handlers share.
struct Edge {
    app: Arc<App>,
    limits: Limits,
    connections: Arc<Connections>,
    /// Its sender goes when the server stops.
    serving: watch::Receiver<()>,
    /// Every connection and socket holds the edge; when the last one has ended, so does this channel.
    _alive: mpsc::Sender<()>,
}

type State = axum::extract::State<Arc<Edge>>;

/// Serves until `stop` ends, then closes sockets and lets requests end, within [`SHUTDOWN`].
pub async fn serve(app: Arc<App>, listener: TcpListener, stop: impl Future<Output = ()>) {
    let (still, serving) = watch::channel(());
    let (alive, mut all_ended) = mpsc::channel(1);
    let edge = Arc::new(Edge {
        app: Arc::clone(&app),
        limits: Limits::new(app.config.limits.enabled),
        connections: Connections::new(app.config.limits.enabled),
        serving: serving.clone(),
        _alive: alive,
    });
    let sweeping = tokio::spawn(limit::sweep(Arc::clone(&edge)));
    accept::until(stop, listener, edge, serving).await;

    sweeping.abort();
    drop(still);
    app.close_sockets();
    if tokio::time::timeout(SHUTDOWN, all_ended.recv())
        .await
        .is_err()
    {
        tracing::warn!("some connections did not end in time");
    }
}

fn router(edge: Arc<Edge>) -> Router {
    let rooms = |path: &str| format!("/api/rooms/{{room}}/{path}");
    let messages = || get(messages::list).post(messages::create);
    let routes: Vec<(String, MethodRouter<Arc<Edge>>)> = vec![
        ("/api/auth/register/".into(), post(auth::register)),
        ("/api/auth/login/".into(), post(auth::login)),
        ("/api/auth/logout/".into(), post(auth::logout)),
        ("/api/auth/me/".into(), get(auth::me)),
        ("/api/auth/profile/".into(), patch(auth::profile)),
        ("/api/rooms/".into(), get(rooms::list).post(rooms::create)),
        ("/api/rooms/direct/".into(), post(rooms::direct)),
        (
            "/api/rooms/join/{token}/".into(),
            post(rooms::join_by_invitation),
        ),
        (
            rooms(""),
            get(rooms::get).patch(rooms::change).delete(rooms::delete),
        ),
        (rooms("join/"), post(rooms::join)),
        (rooms("leave/"), post(rooms::leave)),
        (rooms("pin/"), post(rooms::pin).delete(rooms::unpin)),
        (rooms("participants/"), get(rooms::participants)),
        (rooms("add-participant/"), post(rooms::add_participant)),
        (
            rooms("remove-participant/"),
            post(rooms::remove_participant),
        ),
        (rooms("call-state/"), get(rooms::call_state)),
        (rooms("invite/"), post(rooms::invite)),
        (rooms("messages/"), messages()),
        ("/api/chat/{room}/messages/".into(), messages()),
        (
            "/api/chat/messages/{message}/read/".into(),
            post(messages::read),
        ),
        (
            "/api/turn/credentials/".into(),
            get(server::relay_credentials),
        ),
        ("/api/config/".into(), get(server::config)),
        ("/ws/chat/{room}/".into(), get(socket::chat)),
        ("/ws/call/{room}/".into(), get(socket::call)),
        ("/ws/notifications/".into(), get(socket::notifications)),
    ];
    let mut router = Router::new()
        .route("/config.js", get(server::config_js))
        .route("/healthz", get(server::health))
        .route("/readyz", get(server::ready))
        .route("/metrics", get(server::metrics));
    for (path, methods) in routes {
        let without_slash = path.trim_end_matches('/').to_owned();
        router = router
            .route(&without_slash, methods.clone())
            .route(&path, methods);
    }
    router
        .fallback(web::serve)
        .method_not_allowed_fallback(error::method_not_allowed)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(from_fn(middleware::run_to_end))
        .layer(from_fn(middleware::write_errors))
        .layer(from_fn_with_state(
            Arc::clone(&edge),
            middleware::share_with_origins,
        ))
        .layer(from_fn(middleware::set_headers))
        .layer(from_fn_with_state(Arc::clone(&edge), middleware::observe))
        .with_state(edge)
}
