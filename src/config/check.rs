//! What each setting may be.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use moznods_turn::server::Config as RelayConfig;

use super::{
    Accounts, AllowedOrigins, Chat, Config, ConfigError, Directory, ExternalAddr, ExternalIp, Http,
    Ice, Log, LogFormat, MentionAll, Push, Registration, Secret, Settings, Turn, alternate, audit,
    files, host_of, limits, oidc, proxy, storage, tls,
};

/// Bytes per second; a voice call takes about as much.
const LEAST_RATE: u64 = 8192;
const REALM_MAX: usize = RelayConfig::REALM_MAX;

const NETWORKS: &str = "networks as CIDR, such as 10.0.0.0/8,fd00::/8";

pub(super) fn network(text: &str) -> Option<IpNet> {
    let address = || text.parse::<IpAddr>().ok().map(IpNet::from);
    text.parse::<IpNet>().ok().or_else(address)
}

impl Config {
    /// Checks collected settings.
    pub fn check(settings: &Settings) -> Result<Self, ConfigError> {
        const ADDRESS: &str = "ADDRESS:PORT, such as [::]:8080 or 127.0.0.1:8080";
        let address = |text: &str| text.parse::<SocketAddr>().ok();

        let https = tls::parse_https(settings)?;
        let public_url = settings.get(
            "public_url",
            parse_public_url,
            "http://HOST[:PORT] or https://HOST[:PORT], without a path",
        )?;
        let domain = tls::parse_domain(settings)?;
        proxy::check(settings, https.is_some())?;
        let public_url = match (public_url, &domain, &https) {
            (None, Some(domain), Some(https)) => Some(match https.listen.port() {
                443 => format!("https://{domain}"),
                port => format!("https://{domain}:{port}"),
            }),
            (public_url, ..) => public_url,
        };
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
        let turn_listen = settings.get("turn.listen", address, ADDRESS)?;
        let external_ip = settings.get(
            "turn.external_ip",
            parse_external_ip,
            "auto, A.B.C.D, or PUBLIC/PRIVATE; at most one for IPv4 and one for IPv6",
        )?;
        Ok(Config {
            data_dir: settings.get(
                "data_dir",
                |text| (!text.is_empty() && !text.starts_with('~')).then(|| PathBuf::from(text)),
                "a directory, written out (~ means nothing here)",
            )?,
            http: Http {
                listen: settings.get("http.listen", address, ADDRESS)?,
                https: https.clone(),
                trusted_proxies: settings.list("http.trusted_proxies", network, NETWORKS)?,
                proxy_protocol: settings.list("http.proxy_protocol", network, NETWORKS)?,
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
                listen: turn_listen,
                tls: tls::parse_turn(settings, https.as_ref())?,
                proxy_protocol: settings.list("turn.proxy_protocol", network, NETWORKS)?,
                relay_ports: settings.get(
                    "turn.relay_ports",
                    |text| {
                        let (first, last) = text.split_once('-')?;
                        let range = first.trim().parse().ok()?..=last.trim().parse().ok()?;
                        (*range.start() >= 1024 && !range.is_empty()).then_some(range)
                    },
                    "FIRST-LAST with 1024 ≤ FIRST ≤ LAST ≤ 65535",
                )?,
                host: settings.get(
                    "turn.host",
                    parse_host,
                    "a name such as turn.example.org, or an address, without a port",
                )?,
                regions: settings.get(
                    "turn.region",
                    |text| match text {
                        "" => Some(Vec::new()),
                        text => text.split(',').map(|label| region(label.trim())).collect(),
                    },
                    "labels by comma, each of 1 to 32 letters, digits, '-' and '_'",
                )?,
                region_header: settings.get(
                    "turn.region_header",
                    |text| match text {
                        "" => Some(None),
                        text => text.parse().ok().map(Some),
                    },
                    "the name of a header, such as CF-IPCountry",
                )?,
                offer_relays: settings.get(
                    "turn.offer_relays",
                    |text| text.parse().ok().filter(|count| (1..=8).contains(count)),
                    "a whole number from 1 to 8",
                )?,
                line_mbit: settings.get(
                    "turn.line_mbit",
                    |text| text.parse().ok(),
                    "a whole number of Mbit/s, 0 for not known",
                )?,
                alternate: alternate::parse(settings, turn_listen, &external_ip)?,
                external_ip,
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
                max_bytes_per_month_per_user: settings.get(
                    "turn.max_bytes_per_month_per_user",
                    |text| text.parse().ok(),
                    "a whole number of bytes, 0 for no limit",
                )?,
                unauthenticated_per_second: settings.get(
                    "turn.unauthenticated_per_second",
                    |text| text.parse().ok(),
                    "a whole number, 0 for no limit",
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
                mobility: settings.switch("turn.mobility")?,
                strict_expiry: settings.switch("turn.strict_expiry")?,
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
                directory: settings.get(
                    "accounts.directory",
                    |text| match text {
                        "all" => Some(Directory::All),
                        "shared" => Some(Directory::Shared),
                        _ => None,
                    },
                    "all or shared",
                )?,
                oidc: oidc::parse(settings)?,
            },
            chat: Chat {
                events_kept: settings.get(
                    "chat.events_kept",
                    |text| text.parse().ok().filter(|kept| (1..=10_000_000).contains(kept)),
                    "a whole number from 1 to 10000000",
                )?,
                events_age: settings.get(
                    "chat.events_days",
                    |text| {
                        let days: u64 = text.parse().ok()?;
                        (1..=3650).contains(&days).then(|| Duration::from_secs(days * 86_400))
                    },
                    "days from 1 to 3650",
                )?,
                mention_all: settings.get(
                    "chat.mention_all",
                    |text| match text {
                        "everyone" => Some(MentionAll::Everyone),
                        "moderators" => Some(MentionAll::Moderators),
                        "nobody" => Some(MentionAll::Nobody),
                        _ => None,
                    },
                    "everyone, moderators or nobody",
                )?,
            },
            files: files::parse(settings)?,
            storage: storage::parse(settings)?,
            limits: limits::parse(settings)?,
            push: Push {
                enabled: settings.switch("push.enabled")?,
                contact: settings.get(
                    "push.contact",
                    |text| parse_contact(text, public_url.as_deref()),
                    "mailto:NAME@HOST or an https URL",
                )?,
                allow_private: settings.list("push.allow_private", network, NETWORKS)?,
            },
            audit: audit::parse(settings)?,
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

fn parse_public_url(text: &str) -> Option<Option<String>> {
    let text = text.trim_end_matches('/');
    if text.is_empty() {
        return Some(None);
    }
    let http = text.starts_with("http://") || text.starts_with("https://");
    (http && is_origin(text)).then(|| Some(text.to_owned()))
}

/// Whether the text is `scheme://host[:port]` and no more.
pub(super) fn is_origin(text: &str) -> bool {
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

/// A label of a region, in lower case; `None`: it is none.
pub fn region(text: &str) -> Option<String> {
    let right = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    let is_label = (1..=32).contains(&text.len()) && text.bytes().all(right);
    is_label.then(|| text.to_ascii_lowercase())
}

/// RFC 8292 §2.1. Without the setting: this server's URL, where browsers could reach it.
fn parse_contact(text: &str, public_url: Option<&str>) -> Option<String> {
    if text.is_empty() {
        let url = public_url.filter(|url| url.starts_with("https://"));
        return Some(url.unwrap_or("mailto:admin@localhost").to_owned());
    }
    let right = text.len() <= 255
        && text.bytes().all(|byte| byte.is_ascii_graphic())
        && match text.strip_prefix("mailto:") {
            Some(mail) => mail
                .split_once('@')
                .is_some_and(|(name, host)| !name.is_empty() && !host.is_empty()),
            None => {
                text.starts_with("https://")
                    && text
                        .parse::<axum::http::Uri>()
                        .is_ok_and(|url| url.host().is_some_and(|host| !host.is_empty()))
            }
        };
    right.then(|| text.to_owned())
}

/// A name, or an address, of IPv6 with or without brackets.
fn parse_host(text: &str) -> Option<Option<String>> {
    let bare = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'));
    match bare.unwrap_or(text).parse() {
        Ok(IpAddr::V6(ip)) => return Some(Some(format!("[{ip}]"))),
        Ok(IpAddr::V4(_)) if bare.is_some() => return None,
        Ok(IpAddr::V4(ip)) => return Some(Some(ip.to_string())),
        Err(_) if text.is_empty() => return Some(None),
        Err(_) => {}
    }
    // RFC 1123 §2.1.
    let is_label = |label: &str| {
        let inner = label
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        (1..=63).contains(&label.len()) && inner && !label.starts_with('-') && !label.ends_with('-')
    };
    let is_name = text.len() <= 253 && text.trim_end_matches('.').split('.').all(is_label);
    is_name.then(|| Some(text.trim_end_matches('.').to_ascii_lowercase()))
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

pub(super) fn parse_external_ip(text: &str) -> Option<ExternalIp> {
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
