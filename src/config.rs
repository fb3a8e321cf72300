//! The one place where settings are read: flags > environment `MOZNODS_*` > `moznods.toml` > defaults.
//!
//! Every setting stands once in [`KEYS`]; its flag, its variable and its place in the file follow from its
//! path (`turn.listen`: `--turn-listen`, `MOZNODS_TURN_LISTEN`, `listen` in `[turn]`). What the settings mean
//! is left to those who use them.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};
use ipnet::IpNet;
use moznods_turn::server::Config as RelayConfig;

/// One setting: where it stands and what it is without being set.
struct Key {
    /// `section.name`, or `name` for those above all sections.
    path: &'static str,
    default: &'static str,
    help: &'static str,
    /// Shown by nobody: neither by `config print` nor in an error.
    secret: bool,
}

const fn key(path: &'static str, default: &'static str, help: &'static str) -> Key {
    Key {
        path,
        default,
        help,
        secret: false,
    }
}

const KEYS: &[Key] = &[
    key(
        "data_dir",
        "data",
        "Directory of the database; made at the first start",
    ),
    key(
        "public_url",
        "",
        "URL under which people reach this server; empty: taken from each request",
    ),
    key(
        "http.listen",
        "[::]:8080",
        "Address and port of the web client and the API",
    ),
    key(
        "http.trusted_proxies",
        "",
        "Networks whose X-Forwarded-* headers are believed, as CIDR",
    ),
    key(
        "http.allowed_origins",
        "",
        "Origins of web clients hosted elsewhere, such as https://app.example.org, by comma; *: any",
    ),
    key(
        "http.metrics",
        "local",
        "Who may read /metrics: local (from this machine, not through a proxy) or public",
    ),
    key("turn.enabled", "true", "Run the STUN/TURN relay"),
    key(
        "turn.listen",
        "[::]:3478",
        "Address and port of STUN/TURN, UDP and TCP",
    ),
    key(
        "turn.tls_listen",
        "[::]:5349",
        "Address and port of TURN over TLS, where tls_cert is set",
    ),
    key(
        "turn.tls_cert",
        "",
        "Certificate chain for TURN over TLS, a PEM file; read again on SIGHUP",
    ),
    key("turn.tls_key", "", "Its private key, a PEM file"),
    key(
        "turn.relay_ports",
        "49152-65535",
        "UDP ports that the relay hands out, FIRST-LAST",
    ),
    key(
        "turn.external_ip",
        "auto",
        "Address that clients and peers see: auto, PUBLIC or PUBLIC/PRIVATE; several by comma",
    ),
    key(
        "turn.realm",
        "",
        "Realm of the credentials; empty: the host of public_url where it is short enough, else moznods",
    ),
    key("turn.workers", "0", "Threads of the relay; 0: one per core"),
    key(
        "turn.allow_peers",
        "",
        "Networks that peers may be in although they are not public, as CIDR",
    ),
    key(
        "turn.deny_peers",
        "",
        "Networks that peers may not be in, as CIDR; stronger than allow_peers",
    ),
    key(
        "turn.max_allocations_per_user",
        "64",
        "Live allocations of one user; 0: no limit",
    ),
    key(
        "turn.max_bytes_per_second_per_user",
        "0",
        "Bytes that the relay passes on for one user per second, both ways together; 0: no limit",
    ),
    key(
        "turn.legacy_channels",
        "true",
        "Take channel numbers of RFC 5766, 0x5000 to 0x7FFF, from older clients",
    ),
    key(
        "turn.drain_seconds",
        "0",
        "Seconds for which running calls go on after the signal to stop; no new ones are relayed meanwhile",
    ),
    key(
        "turn.credential_ttl",
        "86400",
        "Seconds for which relay credentials are given out",
    ),
    key(
        "ice.extra_stun",
        "none",
        "Public STUN servers beside our own: none, ru, global, or HOST:PORT by comma",
    ),
    key(
        "accounts.registration",
        "code",
        "Who may register: code (with the invite code), open, closed",
    ),
    Key {
        path: "accounts.invite_code",
        default: "",
        help: "Code for registration; empty: made at the first start",
        secret: true,
    },
    key(
        "limits.enabled",
        "true",
        "Limit how often one may sign in, register and write, and how many connections an address may have",
    ),
    key("log.format", "human", "human or json"),
    key(
        "log.level",
        "info",
        "error, warn, info, debug or trace, or a filter such as info,moznods_turn=debug",
    ),
];

/// Bytes per second; a voice call takes about as much.
const LEAST_RATE: u64 = 8192;
const REALM_MAX: usize = RelayConfig::REALM_MAX;

/// File that is read when neither `--config` nor `MOZNODS_CONFIG` names one; it may be missing.
const DEFAULT_FILE: &str = "moznods.toml";
const FILE_VARIABLE: &str = "MOZNODS_CONFIG";

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
    pub limits: Limits,
    pub log: Log,
}

#[derive(Debug, Clone)]
pub struct Http {
    pub listen: SocketAddr,
    pub trusted_proxies: Vec<IpNet>,
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
    pub relay_ports: RangeInclusive<u16>,
    pub external_ip: ExternalIp,
    pub realm: String,
    /// Threads; 0: one per core.
    pub workers: usize,
    pub allow_peers: Vec<IpNet>,
    pub deny_peers: Vec<IpNet>,
    /// 0: no limit.
    pub max_allocations_per_user: u32,
    /// 0: no limit.
    pub max_bytes_per_second_per_user: u64,
    pub legacy_channels: bool,
    pub drain: Duration,
    pub credential_ttl: Duration,
}

/// TURN over TLS.
#[derive(Debug, Clone)]
pub struct TurnTls {
    pub listen: SocketAddr,
    /// PEM files.
    pub cert: PathBuf,
    pub key: PathBuf,
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

#[derive(Debug, Clone)]
pub struct Limits {
    pub enabled: bool,
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

/// The flags of all settings; flatten it into a clap command.
#[derive(Clone, Default)]
pub struct Flags {
    file: Option<PathBuf>,
    values: BTreeMap<&'static str, String>,
}

impl Args for Flags {
    fn augment_args(command: Command) -> Command {
        let file = Arg::new("config")
            .long("config")
            .value_name("FILE")
            .value_parser(clap::value_parser!(PathBuf))
            .help(format!("Settings file [default: {DEFAULT_FILE}, if there]"))
            .help_heading("Settings")
            .global(true);
        KEYS.iter().fold(command.arg(file), |command, key| {
            let default = if key.default.is_empty() {
                String::new()
            } else {
                format!(" [default: {}]", key.default)
            };
            command.arg(
                Arg::new(key.path)
                    .long(key.path.replace(['.', '_'], "-"))
                    .value_name("VALUE")
                    .help(format!("{}{default}", key.help))
                    .help_heading("Settings")
                    .hide_short_help(true)
                    .global(true),
            )
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Flags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut flags = Flags::default();
        flags.update_from_arg_matches(matches)?;
        Ok(flags)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.file = matches.get_one::<PathBuf>("config").cloned();
        for key in KEYS {
            if let Some(value) = matches.get_one::<String>(key.path) {
                self.values.insert(key.path, value.clone());
            }
        }
        Ok(())
    }
}

/// A value as it was written, and by whom.
#[derive(Clone)]
struct Raw {
    text: String,
    /// How the admin would find it: `--turn-listen`, `MOZNODS_TURN_LISTEN`, `moznods.toml`, `default`.
    origin: String,
}

/// All values as written, by path; what [`Config`] is parsed from and `config print` shows.
pub struct Settings {
    raw: BTreeMap<&'static str, Raw>,
}

impl Settings {
    /// Collects the layers: `flags`, the process's environment, the file.
    pub fn collect(flags: &Flags) -> Result<Self, ConfigError> {
        Self::layered(
            flags,
            std::env::vars_os().filter_map(|(name, value)| {
                Some((name.into_string().ok()?, value.into_string().ok()?))
            }),
        )
    }

    fn layered(
        flags: &Flags,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let mut raw: BTreeMap<&'static str, Raw> = KEYS
            .iter()
            .map(|key| {
                let text = key.default.to_owned();
                let origin = "default".to_owned();
                (key.path, Raw { text, origin })
            })
            .collect();

        let variables: BTreeMap<String, String> = environment
            .filter(|(name, _)| name.starts_with("MOZNODS_"))
            .collect();
        let named = flags
            .file
            .clone()
            .or_else(|| variables.get(FILE_VARIABLE).map(PathBuf::from));
        match (&named, Path::new(DEFAULT_FILE)) {
            (Some(file), _) => read_file(file, &mut raw)?,
            (None, file) if file.exists() => read_file(file, &mut raw)?,
            _ => {}
        }

        for (name, text) in variables {
            if name == FILE_VARIABLE {
                continue;
            }
            let known = KEYS.iter().map(|key| variable(key.path));
            let Some(key) = KEYS.iter().find(|key| variable(key.path) == name) else {
                return Err(ConfigError(format!(
                    "{name} in the environment: there is no such setting{}",
                    nearest(&name, known)
                )));
            };
            raw.insert(key.path, Raw { text, origin: name });
        }
        for (path, text) in &flags.values {
            let origin = format!("--{}", path.replace(['.', '_'], "-"));
            raw.insert(
                path,
                Raw {
                    text: text.clone(),
                    origin,
                },
            );
        }
        Ok(Settings { raw })
    }

    /// The settings in force as a `moznods.toml`, each with its origin; secrets are left out.
    pub fn print(&self) -> String {
        let mut out = String::new();
        let mut section = "";
        for key in KEYS {
            let (head, name) = key.path.split_once('.').unwrap_or(("", key.path));
            if head != section {
                out.push_str(&format!("\n[{head}]\n"));
                section = head;
            }
            let Some(Raw { text, origin }) = self.raw.get(key.path) else {
                continue;
            };
            if key.secret {
                let state = if text.is_empty() {
                    "not set"
                } else {
                    "set, not shown"
                };
                out.push_str(&format!("# {name}: {state} ({origin})\n"));
                continue;
            }
            let value = toml::Value::String(text.clone());
            out.push_str(&format!("{name} = {value}  # {origin}\n"));
        }
        out
    }

    fn get<T>(
        &self,
        path: &'static str,
        parse: impl Fn(&str) -> Option<T>,
        right: &str,
    ) -> Result<T, ConfigError> {
        let (text, origin) = match self.raw.get(path) {
            Some(raw) => (raw.text.trim(), raw.origin.as_str()),
            None => ("", "default"),
        };
        parse(text).ok_or_else(|| {
            let secret = KEYS.iter().any(|key| key.path == path && key.secret);
            let shown = if secret { "…" } else { text };
            ConfigError(format!("{path} = \"{shown}\" ({origin}): expected {right}"))
        })
    }

    fn list<T>(
        &self,
        path: &'static str,
        parse: impl Fn(&str) -> Option<T>,
        right: &str,
    ) -> Result<Vec<T>, ConfigError> {
        let items = |text: &str| {
            text.split(',')
                .map(str::trim)
                .filter(|item| !item.is_empty())
                .map(&parse)
                .collect()
        };
        self.get(path, items, right)
    }

    fn switch(&self, path: &'static str) -> Result<bool, ConfigError> {
        self.get(path, |text| text.parse().ok(), "true or false")
    }
}

impl Config {
    /// Checks collected settings.
    pub fn check(settings: &Settings) -> Result<Self, ConfigError> {
        const ADDRESS: &str = "ADDRESS:PORT, such as [::]:8080 or 127.0.0.1:8080";
        const NETWORKS: &str = "networks as CIDR, such as 10.0.0.0/8,fd00::/8";
        let address = |text: &str| text.parse::<SocketAddr>().ok();
        let network = |text: &str| {
            text.parse::<IpNet>()
                .ok()
                .or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
        };

        let public_url = settings.get(
            "public_url",
            parse_public_url,
            "http://HOST[:PORT] or https://HOST[:PORT], without a path",
        )?;
        let realm = settings.get(
            "turn.realm",
            // RFC 8489 §14.9: it stands in a quoted string.
            |text| {
                (text.len() <= REALM_MAX
                    && !text.contains(['"', '\\'])
                    && !text.contains(char::is_control))
                .then(|| text.to_owned())
            },
            &format!(
                "at most {REALM_MAX} bytes, so that the answer to a stranger stays small, without quotes and backslashes"
            ),
        )?;
        let realm = match (realm.is_empty(), &public_url) {
            (false, _) => realm,
            (true, Some(url)) if host_of(url).len() <= REALM_MAX => host_of(url).to_owned(),
            (true, _) => "moznods".to_owned(),
        };
        Ok(Config {
            data_dir: settings.get(
                "data_dir",
                |text| (!text.is_empty() && !text.starts_with('~')).then(|| PathBuf::from(text)),
                "a directory, written out (~ means nothing here)",
            )?,
            http: Http {
                listen: settings.get("http.listen", address, ADDRESS)?,
                trusted_proxies: settings.list("http.trusted_proxies", network, NETWORKS)?,
                allowed_origins: settings.get(
                    "http.allowed_origins",
                    parse_allowed_origins,
                    "*, or SCHEME://HOST[:PORT] by comma, without paths",
                )?,
                public_metrics: settings.get(
                    "http.metrics",
                    |text| match text {
                        "local" => Some(false),
                        "public" => Some(true),
                        _ => None,
                    },
                    "local or public",
                )?,
            },
            turn: Turn {
                enabled: settings.switch("turn.enabled")?,
                listen: settings.get("turn.listen", address, ADDRESS)?,
                tls: parse_turn_tls(settings)?,
                relay_ports: settings.get(
                    "turn.relay_ports",
                    |text| {
                        let (first, last) = text.split_once('-')?;
                        let range = first.trim().parse().ok()?..=last.trim().parse().ok()?;
                        (*range.start() >= 1024 && !range.is_empty()).then_some(range)
                    },
                    "FIRST-LAST with 1024 ≤ FIRST ≤ LAST ≤ 65535",
                )?,
                external_ip: settings.get(
                    "turn.external_ip",
                    parse_external_ip,
                    "auto, A.B.C.D, or PUBLIC/PRIVATE; at most one for IPv4 and one for IPv6",
                )?,
                realm,
                workers: settings.get(
                    "turn.workers",
                    |text| text.parse().ok().filter(|count| *count <= 256),
                    "a whole number from 0 (one per core) to 256",
                )?,
                allow_peers: settings.list("turn.allow_peers", network, NETWORKS)?,
                deny_peers: settings.list("turn.deny_peers", network, NETWORKS)?,
                max_allocations_per_user: settings.get(
                    "turn.max_allocations_per_user",
                    |text| text.parse().ok(),
                    "a whole number, 0 for no limit",
                )?,
                max_bytes_per_second_per_user: settings.get(
                    "turn.max_bytes_per_second_per_user",
                    |text| {
                        let rate = text.parse().ok()?;
                        (rate == 0 || rate >= LEAST_RATE).then_some(rate)
                    },
                    "a whole number of at least 8192, less than which carries no voice, or 0 for no limit",
                )?,
                drain: settings.get(
                    "turn.drain_seconds",
                    |text| {
                        let seconds = text.parse().ok()?;
                        (seconds <= 86_400).then(|| Duration::from_secs(seconds))
                    },
                    "seconds from 0 to 86400",
                )?,
                legacy_channels: settings.switch("turn.legacy_channels")?,
                credential_ttl: settings.get(
                    "turn.credential_ttl",
                    |text| {
                        let seconds = text.parse().ok()?;
                        (60..=31_536_000)
                            .contains(&seconds)
                            .then(|| Duration::from_secs(seconds))
                    },
                    "seconds from 60 to 31536000",
                )?,
            },
            ice: Ice {
                extra_stun: settings.get(
                    "ice.extra_stun",
                    parse_extra_stun,
                    "none, ru, global, or HOST:PORT by comma",
                )?,
            },
            accounts: Accounts {
                registration: settings.get(
                    "accounts.registration",
                    |text| match text {
                        "code" => Some(Registration::Code),
                        "open" => Some(Registration::Open),
                        "closed" => Some(Registration::Closed),
                        _ => None,
                    },
                    "code, open or closed",
                )?,
                invite_code: settings.get(
                    "accounts.invite_code",
                    |text| match text.len() {
                        0 => Some(None),
                        6..=128 => Some(Some(Secret(text.to_owned()))),
                        _ => None,
                    },
                    "6 to 128 bytes, or nothing",
                )?,
            },
            limits: Limits {
                enabled: settings.switch("limits.enabled")?,
            },
            log: Log {
                format: settings.get(
                    "log.format",
                    |text| match text {
                        "human" => Some(LogFormat::Human),
                        "json" => Some(LogFormat::Json),
                        _ => None,
                    },
                    "human or json",
                )?,
                level: settings.get(
                    "log.level",
                    |text| {
                        let words = ["error", "warn", "info", "debug", "trace", "off"];
                        let right =
                            |part: &str| words.contains(&part.rsplit('=').next().unwrap_or(part));
                        text.split(',').all(right).then(|| text.to_owned())
                    },
                    "error, warn, info, debug or trace, or a list such as info,moznods_turn=debug",
                )?,
            },
            public_url,
        })
    }
}

/// The host of an `http(s)://host[:port]` URL that [`Config`] has checked.
pub fn host_of(url: &str) -> &str {
    let authority = url.split_once("://").map_or(url, |(_, rest)| rest);
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => host,
        _ => authority,
    }
}

/// The certificate and its key are set together or not at all.
fn parse_turn_tls(settings: &Settings) -> Result<Option<TurnTls>, ConfigError> {
    const ADDRESS: &str = "ADDRESS:PORT, such as [::]:5349";
    let listen = settings.get("turn.tls_listen", |text| text.parse().ok(), ADDRESS)?;
    let set = |path| settings.get(path, |text| Some(!text.is_empty()), "");
    let (cert_is_set, key_is_set) = (set("turn.tls_cert")?, set("turn.tls_key")?);
    let file = |path, other_is_set: bool, right| {
        settings.get(
            path,
            |text| (!text.is_empty() || !other_is_set).then(|| PathBuf::from(text)),
            right,
        )
    };
    let cert = file(
        "turn.tls_cert",
        key_is_set,
        "a PEM file, since turn.tls_key is set",
    )?;
    let key = file(
        "turn.tls_key",
        cert_is_set,
        "a PEM file, since turn.tls_cert is set",
    )?;
    Ok(cert_is_set.then_some(TurnTls { listen, cert, key }))
}

fn parse_public_url(text: &str) -> Option<Option<String>> {
    let text = text.trim_end_matches('/');
    if text.is_empty() {
        return Some(None);
    }
    let http = text.starts_with("http://") || text.starts_with("https://");
    (http && is_origin(text)).then(|| Some(text.to_owned()))
}

/// Whether the text is `scheme://host[:port]` and no more.
fn is_origin(text: &str) -> bool {
    text.parse::<axum::http::Uri>().is_ok_and(|url| {
        url.scheme().is_some()
            && url.host().is_some_and(|host| !host.is_empty())
            && !text.contains('@')
            && matches!(
                url.path_and_query().map(|path| path.as_str()),
                None | Some("/")
            )
    })
}

fn parse_allowed_origins(text: &str) -> Option<AllowedOrigins> {
    if text == "*" {
        return Some(AllowedOrigins::Any);
    }
    let origin = |item: &str| {
        let item = item.trim_end_matches('/');
        // Browsers leave a scheme's own port out.
        let item = match item.split_once("://")?.0 {
            "https" => item.strip_suffix(":443").unwrap_or(item),
            "http" => item.strip_suffix(":80").unwrap_or(item),
            _ => item,
        };
        is_origin(item).then(|| item.to_owned())
    };
    let items = text.split(',').map(str::trim);
    let origins = items.filter(|item| !item.is_empty()).map(origin);
    origins.collect::<Option<_>>().map(AllowedOrigins::These)
}

fn parse_external_ip(text: &str) -> Option<ExternalIp> {
    if text == "auto" {
        return Some(ExternalIp::Auto);
    }
    let mut addresses: Vec<ExternalAddr> = Vec::new();
    for item in text.split(',') {
        let (public, local) = match item.trim().split_once('/') {
            Some((public, local)) => (public.parse().ok()?, Some(local.parse().ok()?)),
            None => (item.trim().parse().ok()?, None),
        };
        let same_family = |other: &IpAddr| other.is_ipv4() == IpAddr::is_ipv4(&public);
        if public.is_unspecified()
            || local.is_some_and(|local| !same_family(&local))
            || addresses.iter().any(|other| same_family(&other.public))
        {
            return None;
        }
        addresses.push(ExternalAddr { public, local });
    }
    Some(ExternalIp::Fixed(addresses))
}

fn parse_extra_stun(text: &str) -> Option<Vec<String>> {
    let preset: &[&str] = match text {
        "" | "none" => &[],
        "ru" => &["stun.rtc.yandex.net:3478", "stun.sipnet.ru:3478"],
        "global" => &["stun.l.google.com:19302", "stun.cloudflare.com:3478"],
        list => {
            let server = |item: &str| {
                // As one would write it in a page.
                let item = item.trim();
                let item = item.strip_prefix("stun:").unwrap_or(item);
                let (host, port) = item.rsplit_once(':')?;
                let address = host
                    .strip_prefix('[')
                    .and_then(|host| host.strip_suffix(']'));
                let host_right = match address {
                    Some(ip) => ip.parse::<Ipv6Addr>().is_ok(),
                    None => !host.is_empty() && !host.contains(['/', ' ', '?', ':', '[', ']']),
                };
                (host_right && port.parse::<u16>().is_ok()).then(|| item.to_owned())
            };
            return list.split(',').map(server).collect();
        }
    };
    Some(preset.iter().map(|&server| server.to_owned()).collect())
}

fn variable(path: &str) -> String {
    format!("MOZNODS_{}", path.replace('.', "_").to_uppercase())
}

fn read_file(file: &Path, raw: &mut BTreeMap<&'static str, Raw>) -> Result<(), ConfigError> {
    let name = file.display();
    let text = std::fs::read_to_string(file)
        .map_err(|error| ConfigError(format!("{name}: cannot be read: {error}")))?;
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        let line = error.span().map_or(1, |span| {
            1 + text
                .bytes()
                .take(span.start)
                .filter(|b| *b == b'\n')
                .count()
        });
        // The parser's own text quotes the line, which may hold a secret.
        ConfigError(format!("{name} line {line}: not TOML: {}", error.message()))
    })?;
    for (head, value) in &table {
        match value {
            toml::Value::Table(section) => {
                for (key, value) in section {
                    set_from_file(file, &format!("{head}.{key}"), value, raw)?;
                }
            }
            value => set_from_file(file, head, value, raw)?,
        }
    }
    Ok(())
}

fn set_from_file(
    file: &Path,
    path: &str,
    value: &toml::Value,
    raw: &mut BTreeMap<&'static str, Raw>,
) -> Result<(), ConfigError> {
    let name = file.display();
    let Some(key) = KEYS.iter().find(|key| key.path == path) else {
        return Err(ConfigError(format!(
            "{path} in {name}: there is no such setting{}",
            nearest(path, KEYS.iter().map(|key| key.path.to_owned()))
        )));
    };
    let scalar = |value: &toml::Value| match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Boolean(switch) => Some(switch.to_string()),
        _ => None,
    };
    let text = match value {
        toml::Value::Array(items) => items
            .iter()
            .map(scalar)
            .collect::<Option<Vec<_>>>()
            .map(|items| items.join(",")),
        value => scalar(value),
    };
    let text = text.ok_or_else(|| {
        ConfigError(format!(
            "{path} in {name}: a {} stands here; expected a text, a number, true/false, or a list of them",
            value.type_str()
        ))
    })?;
    let origin = name.to_string();
    raw.insert(key.path, Raw { text, origin });
    Ok(())
}

/// `; did you mean X?` when one of `known` is near enough to be what was meant.
fn nearest(name: &str, known: impl Iterator<Item = String>) -> String {
    known
        .map(|candidate| (strsim::jaro_winkler(name, &candidate), candidate))
        .filter(|(score, _)| *score > 0.85)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map_or(
            "; `moznods config print` lists those there are".to_owned(),
            |(_, candidate)| format!("; did you mean {candidate}?"),
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(
        flags: &[(&'static str, &str)],
        environment: &[(&str, &str)],
        file: &str,
    ) -> Result<Config, String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("moznods.toml");
        std::fs::write(&path, file).unwrap();
        let flags = Flags {
            file: Some(path),
            values: flags
                .iter()
                .map(|(path, text)| (*path, (*text).to_owned()))
                .collect(),
        };
        let environment = environment
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Settings::layered(&flags, environment)
            .and_then(|settings| Config::check(&settings))
            .map_err(|error| {
                error
                    .to_string()
                    .replace(directory.path().to_str().unwrap(), "")
            })
    }

    #[test]
    fn defaults_need_nothing() {
        let config = load(&[], &[], "").unwrap();
        assert_eq!(config.http.listen, "[::]:8080".parse().unwrap());
        assert_eq!(config.turn.relay_ports, 49152..=65535);
        assert_eq!(config.turn.realm, "moznods");
        let realm = |url| load(&[("public_url", url)], &[], "").unwrap().turn.realm;
        assert_eq!(realm("https://chat.example.org"), "chat.example.org");
        assert_eq!(realm("https://conference.students.example.org"), "moznods");
        assert_eq!(config.accounts.registration, Registration::Code);
    }

    #[test]
    fn flags_beat_environment_beats_file_beats_default() {
        let file = "[turn]\nworkers = 1\nrealm = \"file\"\nlisten = \"127.0.0.1:1\"\n";
        let environment = [
            ("MOZNODS_TURN_REALM", "environment"),
            ("MOZNODS_TURN_LISTEN", "127.0.0.1:2"),
        ];
        let config = load(&[("turn.listen", "127.0.0.1:3")], &environment, file).unwrap();
        assert_eq!(config.turn.workers, 1);
        assert_eq!(config.turn.realm, "environment");
        assert_eq!(config.turn.listen.port(), 3);
    }

    #[test]
    fn an_unknown_name_is_refused_with_the_nearest_one() {
        let error = load(&[], &[], "[turn]\nlistn = \"x\"\n").unwrap_err();
        assert_eq!(
            error,
            "turn.listn in /moznods.toml: there is no such setting; did you mean turn.listen?"
        );
        let error = load(&[], &[("MOZNODS_TURN_LISTN", "x")], "").unwrap_err();
        assert!(
            error.ends_with("did you mean MOZNODS_TURN_LISTEN?"),
            "{error}"
        );
    }

    #[test]
    fn a_bad_value_names_key_value_origin_and_what_is_right() {
        let error = load(&[], &[("MOZNODS_TURN_RELAY_PORTS", "60000-50000")], "").unwrap_err();
        assert_eq!(
            error,
            "turn.relay_ports = \"60000-50000\" (MOZNODS_TURN_RELAY_PORTS): expected FIRST-LAST with 1024 ≤ FIRST ≤ LAST ≤ 65535"
        );
        for (path, bad) in [
            ("public_url", "chat.example.org"),
            ("public_url", "https://user@example.org"),
            ("public_url", "https://example.org/path"),
            ("http.listen", "8080"),
            ("http.allowed_origins", "app.example.org"),
            ("http.allowed_origins", "https://app.example.org/path"),
            ("http.allowed_origins", "https://app.example.org,*"),
            ("http.metrics", "yes"),
            ("turn.external_ip", "0.0.0.0"),
            ("turn.external_ip", "192.0.2.1/fd00::1"),
            ("turn.external_ip", "192.0.2.1,192.0.2.2"),
            ("turn.tls_listen", "5349"),
            ("turn.allow_peers", "10.0.0.0/33"),
            ("turn.credential_ttl", "1"),
            ("turn.drain_seconds", "1h"),
            ("turn.max_bytes_per_second_per_user", "100"),
            ("ice.extra_stun", "russia"),
            ("ice.extra_stun", "stun:stun:example.org:3478"),
            ("ice.extra_stun", "2001:db8::1:3478"),
            ("ice.extra_stun", "turn:example.org:3478"),
            ("data_dir", "~/data"),
            ("log.level", "loud"),
            ("turn.enabled", "yes"),
        ] {
            let error = load(&[(path, bad)], &[], "").unwrap_err();
            assert!(
                error.starts_with(path) && error.contains("expected"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_certificate_without_its_key_is_refused() {
        let error = load(&[("turn.tls_cert", "cert.pem")], &[], "").unwrap_err();
        assert_eq!(
            error,
            "turn.tls_key = \"\" (default): expected a PEM file, since turn.tls_cert is set"
        );
        let error = load(&[("turn.tls_key", "key.pem")], &[], "").unwrap_err();
        assert!(error.starts_with("turn.tls_cert = "), "{error}");
        let both = [("turn.tls_cert", "cert.pem"), ("turn.tls_key", "key.pem")];
        let tls = load(&both, &[], "").unwrap().turn.tls.unwrap();
        assert_eq!(
            (tls.listen.port(), tls.key),
            (5349, PathBuf::from("key.pem"))
        );
        assert!(load(&[], &[], "").unwrap().turn.tls.is_none());
    }

    #[test]
    fn secrets_are_neither_printed_nor_quoted() {
        let error = load(&[("accounts.invite_code", "abc")], &[], "").unwrap_err();
        assert!(!error.contains("abc"), "{error}");
        let error = load(&[], &[], "[accounts]\ninvite_code = \"hunter2-hunter2\n").unwrap_err();
        assert!(!error.contains("hunter2"), "{error}");
        let flags = Flags {
            file: None,
            values: [("accounts.invite_code", "hunter2-hunter2".to_owned())].into(),
        };
        let settings = Settings::layered(&flags, std::iter::empty()).unwrap();
        assert!(!settings.print().contains("hunter2"));
        let config = Config::check(&settings).unwrap();
        assert!(!format!("{config:?}").contains("hunter2"));
    }

    #[test]
    fn what_print_shows_can_be_read_again() {
        let settings = Settings::layered(&Flags::default(), std::iter::empty()).unwrap();
        load(&[], &[], &settings.print()).unwrap();
    }

    #[test]
    fn lists_are_arrays_or_commas() {
        let config = load(
            &[("turn.allow_peers", "127.0.0.0/8, ::1")],
            &[],
            "[http]\ntrusted_proxies = [\"10.0.0.0/8\", \"fd00::/8\"]\n",
        )
        .unwrap();
        assert_eq!(config.turn.allow_peers.len(), 2);
        assert_eq!(config.http.trusted_proxies.len(), 2);
    }

    #[test]
    fn stun_servers_are_written_as_admins_write_them() {
        let servers = |text| {
            load(&[("ice.extra_stun", text)], &[], "")
                .unwrap()
                .ice
                .extra_stun
        };
        assert_eq!(
            servers("stun:a.example.org:3478, b.example.org:19302, [2001:db8::1]:3478"),
            [
                "a.example.org:3478",
                "b.example.org:19302",
                "[2001:db8::1]:3478"
            ]
        );
        assert!(servers("none").is_empty());
        assert!(!servers("ru").is_empty());
    }

    #[test]
    fn origins_are_compared_as_browsers_write_them() {
        let allow = |setting, origin: &str| {
            let config = load(&[("http.allowed_origins", setting)], &[], "").unwrap();
            config.http.allowed_origins.allow(origin)
        };
        let several = "https://App.example.org:443/, http://localhost:5173, tauri://localhost";
        for origin in [
            "https://app.example.org",
            "http://localhost:5173",
            "tauri://localhost",
        ] {
            assert!(allow(several, origin), "{origin}");
            assert!(allow("*", origin) && !allow("", origin), "{origin}");
        }
        assert!(!allow(several, "http://app.example.org"));
        assert!(!allow(several, "http://localhost"));
    }

    #[test]
    fn hosts_of_urls() {
        assert_eq!(host_of("https://chat.example.org"), "chat.example.org");
        assert_eq!(host_of("http://localhost:8080"), "localhost");
        assert_eq!(host_of("http://[::1]:8080"), "[::1]");
        assert_eq!(host_of("http://[::1]"), "[::1]");
    }
}
