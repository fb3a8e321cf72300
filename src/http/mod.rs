//! The edge towards the network: routes, and how the server listens and ends. Handlers parse, ask `app`, and write.

mod accept;
mod admin;
mod auth;
mod balanced;
mod bots;
mod client;
mod connections;
mod control;
mod directory;
mod error;
mod export;
mod extract;
mod files;
mod hints;
mod hooks;
mod invitations;
mod limit;
mod localize;
mod messages;
mod middleware;
mod moderation;
mod openapi;
mod push;
mod rooms;
mod search;
mod server;
mod slack;
mod socket;
mod tls;
mod web;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{MethodRouter, get};
use futures_util::FutureExt;
use futures_util::future::join_all;
use tokio::sync::{mpsc, watch};

use crate::app::App;
use crate::certificates::Shown;
pub use accept::Listener;
use connections::Connections;
pub use control::{Control, FILE as CONTROL_FILE, RUNNING, WELCOME};
use error::ApiError;
pub use limit::Limits;
use localize::Localizer;
use openapi::{Routes, routes};
pub use tls::config as tls_config;

/// Bytes of a request's body, and of a frame: the longest message fits, each of its characters escaped as a pair.
const MAX_BODY: usize = 128 * 1024;
/// How long requests and sockets have to end after the signal to stop.
const SHUTDOWN: Duration = Duration::from_secs(4);

/// How much of the program those who ask see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Surface {
    Whole,
    /// That a relay lives, and its figures; and by the control socket, as ever, what commands ask.
    Relay,
}

/// What all handlers share.
struct Edge {
    app: Arc<App>,
    surface: Surface,
    limits: Arc<Limits>,
    /// Where the certificate is had by ACME.
    acme: Option<Arc<Shown>>,
    connections: Arc<Connections>,
    balancers: balanced::Complaints,
    hints: hints::Hints,
    uploads: Arc<files::Uploads>,
    exports: Arc<export::Exports>,
    localizer: Localizer,
    /// Its sender goes when the server stops.
    serving: watch::Receiver<()>,
    /// Every connection and socket holds the edge; when the last one has ended, so does this channel.
    _alive: mpsc::Sender<()>,
}

type State = axum::extract::State<Arc<Edge>>;

/// Serves until `stop` ends, then closes sockets and lets requests end, within [`SHUTDOWN`].
pub async fn serve(
    (app, surface): (Arc<App>, Surface),
    limits: Arc<Limits>,
    listeners: Vec<Listener>,
    acme: Option<Arc<Shown>>,
    control: Option<Control>,
    stop: impl Future<Output = ()>,
) {
    let (still, serving) = watch::channel(());
    let (alive, mut all_ended) = mpsc::channel(1);
    let edge = Arc::new(Edge {
        app: Arc::clone(&app),
        surface,
        connections: Connections::new(Arc::clone(&limits)),
        limits,
        acme,
        balancers: balanced::Complaints::default(),
        hints: hints::Hints::default(),
        uploads: Arc::default(),
        exports: Arc::default(),
        localizer: Localizer::default(),
        serving: serving.clone(),
        _alive: alive,
    });
    let sweeping = tokio::spawn(limit::sweep(Arc::clone(&edge)));
    let controlled =
        control.map(|control| tokio::spawn(control.serve(Arc::clone(&edge), serving.clone())));
    let stop = stop.shared();
    let until =
        |listener| accept::until(stop.clone(), listener, Arc::clone(&edge), serving.clone());
    let accepting: Vec<_> = listeners.into_iter().map(until).collect();
    drop((edge, serving));
    join_all(accepting).await;

    sweeping.abort();
    if let Some(controlled) = controlled {
        controlled.abort();
    }
    drop(still);
    app.close_sockets();
    if tokio::time::timeout(SHUTDOWN, all_ended.recv())
        .await
        .is_err()
    {
        tracing::warn!("some connections did not end in time");
    }
}

/// Does a thing whole, though its client may hang up half-way, which ends a handler.
async fn to_the_end<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    match tokio::spawn(work).await {
        Ok(done) => done,
        // It is ended early by a panic alone, or with the whole program.
        Err(ended) => std::panic::resume_unwind(ended.into_panic()),
    }
}

/// The API: what a part is about, in a word and in a line, and its routes.
fn parts() -> Vec<(&'static str, &'static str, Routes)> {
    vec![
        ("accounts", "Accounts, sign-in, devices.", auth::routes()),
        ("bots", "Bots that one has made.", bots::routes()),
        (
            "rooms",
            "Rooms and who takes part in them.",
            rooms::routes(),
        ),
        ("moderation", "Roles, removal, bans.", moderation::routes()),
        (
            "invitations",
            "Invitations to rooms.",
            invitations::routes(),
        ),
        ("webhooks", "Webhooks of rooms.", hooks::routes()),
        (
            "directory",
            "Finding people and public rooms.",
            directory::routes(),
        ),
        (
            "messages",
            "Messages, reactions, read marks.",
            messages::routes(),
        ),
        (
            "search",
            "Search in messages, and export of a room.",
            [search::routes(), export::routes()].concat(),
        ),
        ("push", "Web push.", push::routes()),
        ("files", "Files and pictures.", files::routes()),
        (
            "server",
            "The server, and credentials of its relay.",
            server::routes(),
        ),
        ("admin", "For administrators.", admin::routes()),
    ]
}

/// Each path with the slash at its end and without.
fn with_slashes(
    router: Router<Arc<Edge>>,
    path: &str,
    methods: MethodRouter<Arc<Edge>>,
) -> Router<Arc<Edge>> {
    router
        .route(path.trim_end_matches('/'), methods.clone())
        .route(path, methods)
}

fn with_routes(router: Router<Arc<Edge>>, routes: Routes) -> Router<Arc<Edge>> {
    routes.into_iter().fold(router, |router, route| {
        let router = match route.other_path {
            Some(path) => with_slashes(router, path, route.methods.clone()),
            None => router,
        };
        with_slashes(router, &route.path, route.methods)
    })
}

fn router(edge: Arc<Edge>) -> Router {
    let router = Router::new()
        .route("/healthz", get(server::health))
        .route("/readyz", get(server::ready))
        .route("/metrics", get(server::metrics))
        .route(server::ACME_ANSWERS, get(server::acme_answer));
    let router = match edge.surface {
        Surface::Whole => whole(router),
        Surface::Relay => router.fallback(async || ApiError::UnknownPath),
    };
    router
        .method_not_allowed_fallback(error::method_not_allowed)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(from_fn(middleware::run_to_end))
        .layer(from_fn_with_state(Arc::clone(&edge), middleware::localize))
        .layer(from_fn(middleware::write_errors))
        .layer(from_fn_with_state(
            Arc::clone(&edge),
            middleware::share_with_origins,
        ))
        .layer(from_fn_with_state(
            Arc::clone(&edge),
            middleware::lead_to_https,
        ))
        .layer(from_fn_with_state(
            Arc::clone(&edge),
            middleware::set_headers,
        ))
        .layer(from_fn_with_state(Arc::clone(&edge), middleware::observe))
        .with_state(edge)
}

/// With API, sockets and web client.
fn whole(router: Router<Arc<Edge>>) -> Router<Arc<Edge>> {
    let router = router
        .route("/config.js", get(server::config_js))
        .route("/api/openapi.json", get(openapi::serve));
    let router = with_slashes(router, "/api/docs/", get(web::docs));
    let router = socket::routes()
        .into_iter()
        .fold(router, |router, (path, methods)| {
            with_slashes(router, path, methods)
        });
    parts()
        .into_iter()
        .fold(router, |router, (.., routes)| with_routes(router, routes))
        .fallback(web::serve)
}
