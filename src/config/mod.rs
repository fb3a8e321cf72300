//! The one place where settings are read: flags > environment `MOZNODS_*` > `moznods.toml` > defaults.
//!
//! Every setting stands once in `keys`; its flag, its variable and its place in the file follow from its path
//! (`turn.listen`: `--turn-listen`, `MOZNODS_TURN_LISTEN`, `listen` in `[turn]`). `layers` collects what was written
//! where, `check` makes of it the [`Config`] of this file. What the settings mean is left to those who use them.

mod alternate;
mod audit;
mod bucket;
mod check;
mod files;
mod keys;
mod layers;
mod limits;
mod oidc;
mod proxy;
mod storage;
#[cfg(test)]
mod tests;
mod tls;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use axum::http::HeaderName;
use ipnet::IpNet;

pub use alternate::Alternate;
pub use audit::Audit;
pub use bucket::Bucket;
pub use check::region;
pub use files::{Files, TypePattern};
pub use layers::{Flags, Setting, Settings};
pub use limits::{BanRules, Limits, Rates};
pub use oidc::{Oidc, is_provider_url};
pub use storage::Storage;
pub use tls::{Acme, CertificateFiles, CertificateSource, Challenge, Https, TurnTls};

/// A setting that cannot be used: one line that says which, what it was, and what would be right.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(String);

/// A text that neither logs nor errors may show.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: String) -> Self {
        Secret(text)
    }

    /// The text itself, for those who compare or derive with it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// All settings, checked.
#[derive(Debug, Clone)]
pub struct Config {
    pub data_dir: PathBuf,
    /// Without a slash at its end; `None`: each request tells.
    pub public_url: Option<String>,
    pub http: Http,
    pub turn: Turn,
    pub ice: Ice,
    pub accounts: Accounts,
    pub chat: Chat,
    pub files: Files,
    pub limits: Limits,
    pub push: Push,
    pub storage: Storage,
    pub audit: Audit,
    pub log: Log,
}

impl Config {
    /// The networks of all that may stand before this server, and pass on what others ask.
    pub fn fronts(&self) -> impl Iterator<Item = &IpNet> {
        let named = [
            &self.http.trusted_proxies,
            &self.http.proxy_protocol,
            &self.turn.proxy_protocol,
        ];
        named.into_iter().flatten()
    }

    /// `public_url` or, without it, the one by which who sits at this machine reaches the server at `listen`.
    pub fn url_at(&self, listen: SocketAddr) -> String {
        let (scheme, listen) = match &self.http.https {
            Some(https) => ("https", https.listen),
            None => ("http", listen),
        };
        match &self.public_url {
            Some(url) => url.clone(),
            None if listen.ip().is_unspecified() => {
                format!("{scheme}://localhost:{}", listen.port())
            }
            None => format!("{scheme}://{listen}"),
        }
    }

    /// The name by which other servers tell clients to reach this relay: its certificate's, where it has one by ACME. `None`: by
    /// its addresses.
    pub fn relay_name(&self) -> Option<&str> {
        let https = self.http.https.as_ref();
        let domain = match https.map(|https| &https.certificate) {
            Some(CertificateSource::Acme(acme)) => Some(acme.domain.as_str()),
            _ => None,
        };
        self.turn.host.as_deref().or(domain)
    }

    /// These, for `moznods relay`: it relays whatever `turn.enabled` says, as the file may be that of the servers.
    /// Without what it shares with them it would be of no use.
    pub fn of_relay(mut self) -> Result<Self, ConfigError> {
        let lacks = |key, why| {
            let text = format!("{key} = \"\": expected that of the servers, {why}");
            Err(ConfigError(text))
        };
        if self.storage.database.is_none() {
            return lacks(
                "storage.database_url",
                "where this relay finds who may use it",
            );
        }
        if self.storage.redis_url.is_none() {
            return lacks("storage.redis_url", "who learn by it of this relay");
        }
        self.turn.enabled = true;
        Ok(self)
    }

    /// What TURN is spoken over TLS with: the section of the settings that names it, and the files.
    pub fn relay_certificate(&self) -> Option<(&'static str, &CertificateFiles)> {
        let own = self.turn.tls.as_ref()?.certificate.as_ref();
        let https = match self.http.https.as_ref().map(|https| &https.certificate) {
            Some(CertificateSource::Files(files)) => Some(files),
            _ => None,
        };
        own.map(|files| ("turn", files))
            .or(https.map(|files| ("http", files)))
    }

    /// The port by which clients come over HTTPS; `None`: this server does not speak it.
    pub fn https_port(&self) -> Option<u16> {
        let https = self.http.https.as_ref()?;
        let public = self.public_url.as_deref().and_then(|url| {
            let authority = url.strip_prefix("https://")?;
            match authority.strip_prefix(host_of(url))?.strip_prefix(':') {
                Some(port) => port.parse().ok(),
                None => Some(443),
            }
        });
        Some(public.unwrap_or(https.listen.port()))
    }
}

#[derive(Debug, Clone)]
pub struct Http {
    pub listen: SocketAddr,
    /// `None`: all is served at `listen`, which otherwise leads here.
    pub https: Option<Https>,
    pub trusted_proxies: Vec<IpNet>,
    /// Whose connections begin with a PROXY header.
    pub proxy_protocol: Vec<IpNet>,
    pub allowed_origins: AllowedOrigins,
    /// Whether `/metrics` is for everybody.
    pub public_metrics: bool,
}

/// Whose pages may use this server, beside its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AllowedOrigins {
    Any,
    /// As browsers write them: `scheme://host[:port]`.
    These(Vec<String>),
}

impl AllowedOrigins {
    pub fn allow(&self, origin: &str) -> bool {
        match self {
            AllowedOrigins::Any => true,
            AllowedOrigins::These(origins) => origins
                .iter()
                .any(|allowed| allowed.eq_ignore_ascii_case(origin)),
        }
    }
}

#[derive(Debug, Clone)]
pub struct Turn {
    pub enabled: bool,
    pub listen: SocketAddr,
    /// `None`: no TURN over TLS.
    pub tls: Option<TurnTls>,
    /// Whose streams begin with a PROXY header.
    pub proxy_protocol: Vec<IpNet>,
    pub relay_ports: RangeInclusive<u16>,
    pub external_ip: ExternalIp,
    /// By which clients are to reach the relay, IPv6 in brackets; `None`: as they reach the web.
    pub host: Option<String>,
    /// Labels of where this relay is near, in lower case.
    pub regions: Vec<String>,
    /// In which trusted proxies name a client's region; `None`: in none.
    pub region_header: Option<HeaderName>,
    /// How many relays a client is told of; at least one.
    pub offer_relays: usize,
    /// Mbit/s each way; 0: not known.
    pub line_mbit: u32,
    /// `None`: no NAT behaviour discovery.
    pub alternate: Option<Alternate>,
    pub realm: String,
    /// Threads; 0: one per core.
    pub workers: usize,
    pub allow_peers: Vec<IpNet>,
    pub deny_peers: Vec<IpNet>,
    /// 0: no limit.
    pub max_allocations_per_user: u32,
    /// 0: no limit.
    pub max_bytes_per_second_per_user: u64,
    /// 0: no limit.
    pub max_bytes_per_month_per_user: u64,
    /// 0: no limit.
    pub unauthenticated_per_second: u32,
    pub legacy_channels: bool,
    pub mobility: bool,
    pub strict_expiry: bool,
    pub drain: Duration,
    pub credential_ttl: Duration,
}

/// The address under which relayed traffic is reached from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExternalIp {
    /// Found out at start: the interface's own, or, behind NAT, what STUN servers see.
    Auto,
    /// One per address family at most; `local` is the interface behind a 1:1 NAT.
    Fixed(Vec<ExternalAddr>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExternalAddr {
    pub public: IpAddr,
    pub local: Option<IpAddr>,
}

#[derive(Debug, Clone)]
pub struct Ice {
    /// `host:port` of public STUN servers.
    pub extra_stun: Vec<String>,
}

#[derive(Debug, Clone)]
pub struct Accounts {
    pub registration: Registration,
    pub invite_code: Option<Secret>,
    pub directory: Directory,
    /// `None`: nobody signs in by a provider.
    pub oidc: Option<Oidc>,
}

/// Whom people find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Directory {
    All,
    /// Those who are in a room with them.
    Shared,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Registration {
    Code,
    Open,
    Closed,
}

impl Registration {
    /// The word of the setting.
    pub fn as_str(self) -> &'static str {
        match self {
            Registration::Code => "code",
            Registration::Open => "open",
            Registration::Closed => "closed",
        }
    }
}

/// What is kept for clients that were away.
#[derive(Debug, Clone)]
pub struct Chat {
    pub mention_all: MentionAll,
    /// Events.
    pub events_kept: i64,
    pub events_age: Duration,
}

/// Who may mention everybody in a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MentionAll {
    Everyone,
    /// And owners.
    Moderators,
    Nobody,
}

/// Web push.
#[derive(Debug, Clone)]
pub struct Push {
    pub enabled: bool,
    /// Where push services find who runs this server: `mailto:` or `https:`.
    pub contact: String,
    /// Networks in which push services may be although they are not public.
    pub allow_private: Vec<IpNet>,
}

#[derive(Debug, Clone)]
pub struct Log {
    pub format: LogFormat,
    /// A `tracing_subscriber::EnvFilter`, known to parse.
    pub level: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Human,
    Json,
}

/// The host of an `http(s)://host[:port]` URL that [`Config`] has checked.
pub fn host_of(url: &str) -> &str {
    let authority = url.split_once("://").map_or(url, |(_, rest)| rest);
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => host,
        _ => authority,
    }
}
