//! The rules, each once: REST, sockets and the command line call them. What is stored is left to `storage`, who is
//! listening to `signaling`, how things are written to `wire`.

mod access;
mod accounts;
mod calls;
mod error;
pub mod limits;
mod messages;
mod metrics;
mod names;
mod passwords;
mod relay;
mod relay_secrets;
mod rooms;
mod sockets;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use moznods_signaling::bus::LocalBus;
use moznods_signaling::{CloseReason, Hub, Whom};
use moznods_storage::{Store, Timestamp, TokenHash};
use ring::rand::{SecureRandom, SystemRandom};

use moznods_turn::net::Relay;

use crate::config::{Config, Registration, Secret};
use crate::wire::WireFrames;

pub use access::UserAccess;
pub use accounts::{Login, NewAccount};
pub use error::{Error, FieldError, Problem, Refusal, Result};
pub use metrics::{Metrics, RequestLabels};
pub use relay::RelayCredential;
pub use relay_secrets::SecretError;
pub use rooms::RoomSeen;
pub use sockets::{Socket, SocketRefusal};

use passwords::Passwords;
use relay_secrets::RelaySecrets;

/// Before the database is asked again after an error.
const RETRY: Duration = Duration::from_millis(200);

/// The program without its edges.
pub struct App {
    pub config: Config,
    pub metrics: Metrics,
    store: Arc<dyn Store>,
    hub: Arc<Hub>,
    access: Arc<UserAccess>,
    /// One refresh of `access` at a time, so that the last one has seen every change.
    refreshing: tokio::sync::Mutex<()>,
    passwords: Passwords,
    invite_code: Secret,
    relay_secret: Secret,
    relay_secrets: Arc<RelaySecrets>,
    setup_token: Mutex<Option<TokenHash>>,
    relay: OnceLock<Arc<Relay>>,
}

impl App {
    /// Makes the server's secrets at the first start.
    pub async fn open(config: Config, store: Arc<dyn Store>) -> Result<Arc<Self>> {
        let invite_code = match &config.accounts.invite_code {
            Some(code) => code.clone(),
            None => Secret::new(store.secret("invite_code", random_text::<9>()?).await?),
        };
        let relay_secret = Secret::new(store.secret("relay_secret", random_text::<32>()?).await?);
        let relay_secrets = RelaySecrets::default();
        relay_secrets.replace(store.relay_secrets().await?);
        let access = UserAccess::new(store.users_with_access().await?);
        let hub = Hub::new(Arc::new(LocalBus::default()), Box::new(WireFrames));
        let metrics = Metrics::new();
        metrics.users.set(metric(access.count()));
        Ok(Arc::new(App {
            config,
            metrics,
            store,
            hub,
            access: Arc::new(access),
            refreshing: tokio::sync::Mutex::default(),
            passwords: Passwords::new(),
            invite_code,
            relay_secret,
            relay_secrets: Arc::new(relay_secrets),
            setup_token: Mutex::default(),
            relay: OnceLock::new(),
        }))
    }

    /// Tasks that live as long as the server: they tell who is in a call, and obey other processes.
    pub fn start_background(self: &Arc<Self>) {
        tokio::spawn(Arc::clone(self).announce_calls());
        tokio::spawn(Arc::clone(self).obey_other_processes());
    }

    /// To be called once the relay runs, if it is to.
    pub fn set_relay(&self, relay: Arc<Relay>) {
        // There is but one.
        let _ = self.relay.set(relay);
    }

    /// `None` before it runs, and where it is not to.
    pub fn relay(&self) -> Option<&Arc<Relay>> {
        self.relay.get()
    }

    /// What does not work, if anything.
    pub async fn unready(&self) -> Option<&'static str> {
        if self.store.ready().await.is_err() {
            Some("the database does not answer")
        } else if self.relay.get().is_some_and(|relay| !relay.is_healthy()) {
            Some("the relay does not run")
        } else {
            None
        }
    }

    /// The code that registration asks for, if it does.
    pub fn invite_code(&self) -> Option<&Secret> {
        (self.config.accounts.registration == Registration::Code).then_some(&self.invite_code)
    }

    /// The last thing to be done. An error loses nothing; the database then has what is newest in a file beside it.
    pub async fn settle(&self) {
        if let Err(error) = self.store.settle().await {
            tracing::warn!(%error, "the database could not be brought into one file");
        }
    }

    /// Closes every socket.
    pub fn close_sockets(&self) {
        self.hub.close(Whom::All, CloseReason::ShuttingDown);
    }

    async fn obey_other_processes(self: Arc<Self>) {
        let mut changes = self.store.changed_elsewhere();
        while changes.changed().await.is_ok() {
            if let Err(error) = self.look_again().await {
                tracing::error!(%error, "cannot read what another process has changed");
                // The change is not forgotten: it is looked at again.
                changes.mark_changed();
                tokio::time::sleep(RETRY).await;
            }
        }
    }

    async fn look_again(&self) -> Result<()> {
        self.refresh_access().await?;
        self.refresh_relay_secrets().await?;
        let signed_in: Vec<TokenHash> = self.hub.sign_ins().into_iter().map(TokenHash).collect();
        let living = self.store.living_tokens(signed_in.clone()).await?;
        let living: HashSet<TokenHash> = living.into_iter().collect();
        for dead in signed_in.iter().filter(|token| !living.contains(token)) {
            self.hub.close(Whom::SignIn(dead.0), CloseReason::SignedOut);
        }
        Ok(())
    }

    /// To be called after every change of who may use the server, by whomever.
    async fn refresh_access(&self) -> Result<()> {
        let _one_at_a_time = self.refreshing.lock().await;
        for user in self.access.replace(self.store.users_with_access().await?) {
            self.hub.close(Whom::User(user), CloseReason::SignedOut);
        }
        self.metrics.users.set(metric(self.access.count()));
        Ok(())
    }

    fn setup_token(&self) -> std::sync::MutexGuard<'_, Option<TokenHash>> {
        self.setup_token
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Microseconds since 1970-01-01 UTC.
fn now() -> Timestamp {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| {
            i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
        })
}

/// `BYTES` random bytes as base64url.
fn random_text<const BYTES: usize>() -> Result<String> {
    let mut bytes = [0; BYTES];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| Refusal::Overloaded)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

fn metric(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
