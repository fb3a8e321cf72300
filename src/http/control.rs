//! The control socket: a file in the data directory at which the commands of the one who runs the server ask what only
//! the running server knows. It answers a part of the API, without a token: who can open the file could read the
//! database as well.

use std::io;
use std::net::Ipv6Addr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::UnixListener;
use tokio::sync::watch;

use super::error::ApiResult;
use super::{Edge, Surface, accept, admin};
use crate::wire::{RunningJson, WelcomeJson};

/// Its name in the data directory.
pub const FILE: &str = "control.sock";
/// Where `moznods doctor` asks.
pub const RUNNING: &str = "/running";
/// Where `moznods welcome` asks.
pub const WELCOME: &str = "/welcome";
const BACKLOG: i32 = 16;

/// Bound; the file goes with the value.
#[derive(Debug)]
pub struct Control {
    listener: UnixListener,
    path: PathBuf,
}

impl Control {
    /// For the one who holds the lock of the data directory: a file that is there is one that a server left behind.
    pub fn bind(directory: &Path) -> io::Result<Self> {
        let path = directory.join(FILE);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.bind(&SockAddr::unix(&path)?)?;
        // Before it listens, nobody can connect.
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        socket.listen(BACKLOG)?;
        let listener = UnixListener::from_std(socket.into())?;
        Ok(Control { listener, path })
    }

    pub(super) async fn serve(self, edge: Arc<Edge>, serving: watch::Receiver<()>) {
        let router = router(edge);
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let nowhere = accept::Way {
                        peer: (Ipv6Addr::UNSPECIFIED, 0).into(),
                        is_secure: false,
                        has_tls: false,
                        is_balanced: false,
                    };
                    let served = accept::serve(stream, nowhere, router.clone(), serving.clone());
                    tokio::spawn(served);
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection at the control socket");
                    tokio::time::sleep(accept::PAUSE).await;
                }
            }
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        // Nobody answers there any longer; if it stays, the next server removes it.
        let _ = std::fs::remove_file(&self.path);
    }
}

async fn running(edge: super::State) -> Json<RunningJson> {
    let is_relay = edge.surface == Surface::Relay;
    Json(RunningJson::new(
        &edge.app,
        is_relay,
        edge.app.unready().await,
    ))
}

async fn welcome(edge: super::State) -> ApiResult<Json<WelcomeJson>> {
    Ok(Json(WelcomeJson::new(&edge.app).await?))
}

fn router(edge: Arc<Edge>) -> Router {
    super::with_routes(Router::new(), super::admin::routes())
        .route(RUNNING, get(running))
        .route(WELCOME, post(welcome))
        .layer(Extension(admin::Console))
        .layer(axum::middleware::from_fn(super::middleware::write_errors))
        .with_state(edge)
}
