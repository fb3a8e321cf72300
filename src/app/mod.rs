//! The rules, each once: REST, sockets and the command line call them. What is stored is left to `storage`, who is
//! listening to `signaling`, how things are written to `wire`.

pub mod abuse;
mod access;
mod accounts;
mod administration;
mod allocations;
mod audit;
mod bots;
mod calls;
mod directory;
mod error;
mod events;
mod export;
mod files;
mod hooks;
mod housekeeping;
mod import;
mod invitations;
pub mod limits;
mod mentions;
mod messages;
mod metrics;
mod metrics_plain;
mod metrics_process;
mod moderation;
mod month_quotas;
mod names;
mod nodes;
mod passwords;
mod pins;
mod presence;
mod push;
mod relay;
mod relay_devices;
mod relay_host;
mod relay_secrets;
mod relays;
mod roles;
mod rooms;
mod search;
mod sockets;
mod typing;
mod usage;
mod warnings;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use moznods_signaling::bus::RedisBus;
use moznods_signaling::{CloseReason, Hub, Whom};
use moznods_storage::{EventId, RoomLimits, StorageError, Store, Timestamp, TokenHash};
use ring::rand::{SecureRandom, SystemRandom};

use moznods_turn::net::Relay;

use crate::config::{Config, Registration, Secret, Settings};
use crate::outbound::Outbound;
use crate::wire;

pub use access::UserAccess;
pub use accounts::{
    Attempt, Login, NewAccount, OidcEnd, OidcFinish, OidcReturn, OidcStart, Reset, TotpSetup,
    device_name,
};
pub use allocations::{Killed, LiveAllocation};
pub use audit::{Actor, Person, WantedAudit};
pub use bots::WantedBot;
pub use error::{Error, FieldError, Problem, Refusal, Result};
pub use export::Export;
pub use files::{AvatarChange, Claim, Content, Incoming, bucket};
pub use hooks::HookPost;
pub use import::{Group, Import, Report, TableReport};
pub use invitations::Preview;
pub use messages::Draft;
pub use metrics::{Limited, Metrics, RateLimited, RequestLabels};
pub use push::AskedSubscription;
pub use relay::RelayCredential;
pub use relay_devices::{DeviceError, check_relay_device};
pub use relay_host::RelayHost;
pub use relay_secrets::SecretError;
pub use relays::{RelayNode, RelayState, Ways as RelayWays, ways as relay_ways};
pub use rooms::{RoomSeen, WantedRoom};
pub use search::Sought;
pub use sockets::{Missing, Socket, SocketRefusal};
pub use usage::UsageSeen;
pub use warnings::{Warning, keep_warnings, warnings};

use abuse::{Abuse, NameHash};
use accounts::Oidc;
use files::Files;
use month_quotas::MonthQuotas;
use passwords::Passwords;
use push::Push;
use relay_devices::RelayDevices;
use relay_secrets::RelaySecrets;
use relays::Relays;
use typing::Typing;
use usage::UsageBook;

/// Before the database is asked again after an error.
const RETRY: Duration = Duration::from_millis(200);

/// The program without its edges.
pub struct App {
    pub config: Config,
    pub metrics: Metrics,
    store: Arc<dyn Store>,
    /// The newest event at the start: of those after it clients are told.
    first_event: EventId,
    /// The newest event of which sockets have been told.
    told: tokio::sync::watch::Sender<EventId>,
    hub: Arc<Hub>,
    /// `None`: this is the only node.
    bus: Option<Arc<RedisBus>>,
    access: Arc<UserAccess>,
    /// One refresh of `access` at a time, so that the last one has seen every change.
    refreshing: tokio::sync::Mutex<()>,
    passwords: Passwords,
    /// `None`: no provider is set.
    oidc: Option<Oidc>,
    invite_code: Secret,
    relay_secret: Secret,
    relay_secrets: Arc<RelaySecrets>,
    relay_devices: Arc<RelayDevices>,
    setup_token: Mutex<Option<TokenHash>>,
    push: Arc<Push>,
    relay: OnceLock<Arc<Relay>>,
    relays: Relays,
    names: relay_host::Names,
    usage: UsageBook,
    typing: Typing,
    month_quotas: Arc<MonthQuotas>,
    pub abuse: Arc<Abuse>,
    files: Files,
    searching: tokio::sync::Semaphore,
    room_limits: Mutex<RoomLimits>,
    /// Those in force, of a server that runs.
    settings: Mutex<Settings>,
    /// One at a time gathers and writes what is used, so that whoever has done it knows all up to then.
    using: tokio::sync::Mutex<()>,
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
        let relay_devices = RelayDevices::default();
        relay_devices.replace(store.relay_devices().await?, &config.turn.realm);
        let access = UserAccess::new(store.users_with_access().await?);
        let foreign_passwords = store.foreign_passwords().await?;
        let month = usage::this_month();
        let per_user = config.turn.max_bytes_per_month_per_user;
        let used = store.relay_usage(month).await?;
        let month_quotas = MonthQuotas::new(per_user, month, &used);
        let first_event = store.last_event().await?;
        let bus = nodes::redis(&config, &*store).await?;
        let hub = nodes::hub(bus.as_ref());
        let link_secret = Secret::new(store.secret("link_secret", random_text::<32>()?).await?);
        wire::urls::set_up(&link_secret, config.public_url.as_deref());
        let fronts = config.fronts().copied().collect();
        let names = NameHash::new(link_secret.expose());
        let abuse = Abuse::new(config.limits.bans, fronts, names);
        if bus.is_some() {
            abuse.shared.begin();
        }
        let metrics = Metrics::new(&abuse);
        metrics.users.set(metric(access.count()));
        if let Some(bus) = &bus {
            nodes::register_figures(&metrics, bus);
        }
        let push_key = store.secret("push_key", Push::fresh_key()?).await?;
        let outbound = Arc::<Outbound>::default();
        let files = Files::new(&config, &store, &outbound)?;
        let room_limits = rooms::limits_of(&config.limits);
        let push = Push::new(&config, &push_key, Arc::clone(&outbound), &metrics)?;
        let oidc = match config.accounts.oidc.clone() {
            Some(settings) => {
                let secret = store.secret("oidc_secret", random_text::<32>()?).await?;
                Some(Oidc::new(settings, outbound, &secret)?)
            }
            None => None,
        };
        let app = Arc::new(App {
            config,
            metrics,
            store,
            first_event,
            told: tokio::sync::watch::Sender::new(first_event),
            hub,
            bus,
            access: Arc::new(access),
            refreshing: tokio::sync::Mutex::default(),
            passwords: Passwords::new(&foreign_passwords),
            oidc,
            invite_code,
            relay_secret,
            relay_secrets: Arc::new(relay_secrets),
            relay_devices: Arc::new(relay_devices),
            setup_token: Mutex::default(),
            push,
            relay: OnceLock::new(),
            relays: Relays::default(),
            names: relay_host::Names::default(),
            usage: UsageBook::default(),
            typing: Typing::default(),
            month_quotas: Arc::new(month_quotas),
            abuse,
            files,
            searching: tokio::sync::Semaphore::new(search::AT_ONCE),
            room_limits: Mutex::new(room_limits),
            settings: Mutex::default(),
            using: tokio::sync::Mutex::default(),
        });
        app.listen_to_nodes();
        app.count_push_subscriptions().await?;
        Ok(app)
    }

    /// Tasks that live as long as the server: they tell who is in a call, obey other processes, push news, and
    /// note what is relayed.
    pub async fn start_background(self: &Arc<Self>) {
        tokio::spawn(Arc::clone(self).tell_events(self.first_event));
        tokio::spawn(Arc::clone(self).sweep_events());
        self.prepare_files().await;
        tokio::spawn(Arc::clone(self).sweep_files());
        tokio::spawn(Arc::clone(self).announce_calls());
        tokio::spawn(Arc::clone(self).announce_presence());
        tokio::spawn(Arc::clone(self).push_news());
        tokio::spawn(Arc::clone(self).keep_index());
        tokio::spawn(Arc::clone(self).keep_house());
        self.start_relaying();
    }

    /// Those of them that a relay needs, and no more.
    pub fn start_relaying(self: &Arc<Self>) {
        tokio::spawn(Arc::clone(self).obey_other_processes());
        tokio::spawn(Arc::clone(self).keep_usage());
        tokio::spawn(Arc::clone(self).keep_relays());
        tokio::spawn(Arc::clone(self).tell_attempts());
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
        let relay = self.relay.get();
        match self.store.ready().await {
            Err(StorageError::Full) => Some("the disk is full"),
            Err(_) => Some("the database does not answer"),
            Ok(()) if relay.is_some_and(|relay| !relay.is_healthy()) => {
                Some("the relay does not run")
            }
            Ok(()) => None,
        }
    }

    /// Figures as they are now, in the text format of OpenMetrics or, `plain`, in the older one.
    pub async fn figures(&self, plain: bool) -> std::result::Result<String, std::fmt::Error> {
        self.metrics
            .ready
            .set(i64::from(self.unready().await.is_none()));
        let (calls, participants) = self.hub.call_counts();
        self.metrics.calls.set(metric(calls));
        self.metrics.call_participants.set(metric(participants));
        if let Ok(bytes) = self.store.size().await {
            self.metrics.database_bytes.set(bytes);
        }
        let open = self.metrics.encode()?;
        Ok(match plain {
            true => metrics_plain::plain(&open),
            false => open,
        })
    }

    /// The code that registration asks for, if it does.
    pub fn invite_code(&self) -> Option<&Secret> {
        (self.config.accounts.registration == Registration::Code).then_some(&self.invite_code)
    }

    /// The last thing to be done: what was relayed is noted. An error after that loses nothing; the database then has what is newest in a file beside it.
    pub async fn settle(&self) {
        self.tell_of_end();
        if let Err(error) = self.record_usage().await {
            tracing::error!(%error, "what was relayed last could not be written");
        }
        if let Some(bus) = &self.bus {
            bus.farewell().await;
        }
        if let Err(error) = self.store.settle().await {
            tracing::warn!(%error, "the database could not be brought into one file");
        }
    }

    /// Closes every socket.
    pub fn close_sockets(&self) {
        self.hub.close(Whom::All, CloseReason::ShuttingDown);
    }

    async fn obey_other_processes(self: Arc<Self>) {
        let mut changes = self.store.access_changed_elsewhere();
        while changes.changed().await.is_ok() {
            if let Err(error) = self.look_again().await {
                tracing::error!(%error, "cannot read what another process has changed");
                // The change is not forgotten: it is looked at again.
                changes.mark_changed();
                tokio::time::sleep(RETRY).await;
            }
        }
    }

    /// Takes over who may use the server and which secrets there are, as the database has it now.
    pub async fn look_again(&self) -> Result<()> {
        self.refresh_access().await?;
        self.refresh_relay_secrets().await?;
        self.refresh_relay_devices().await?;
        self.close_signed_out().await
    }

    /// Closes the sockets whose sign-in is no more.
    async fn close_signed_out(&self) -> Result<()> {
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
        self.count_push_subscriptions().await
    }

    fn setup_token(&self) -> std::sync::MutexGuard<'_, Option<TokenHash>> {
        self.setup_token
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Microseconds since 1970-01-01 UTC.
pub fn now() -> Timestamp {
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
