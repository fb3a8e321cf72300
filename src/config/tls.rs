//! Where TLS is spoken, and with which certificates.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::oidc::is_provider_url;
use super::{ConfigError, Settings};

const DAY: Duration = Duration::from_secs(86_400);

/// HTTPS, and what else comes by its port.
#[derive(Debug, Clone)]
pub struct Https {
    pub listen: SocketAddr,
    pub certificate: CertificateSource,
    /// How long browsers are to come by HTTPS alone; zero: they are not told so.
    pub hsts: Duration,
}

#[derive(Debug, Clone)]
pub enum CertificateSource {
    Files(CertificateFiles),
    Acme(Acme),
}

/// A certificate that an authority makes (RFC 8555).
#[derive(Debug, Clone)]
pub struct Acme {
    pub domain: String,
    /// The authority's URL.
    pub directory: String,
    /// `mailto:`.
    pub contact: Option<String>,
    /// At least one, in the order in which they are tried.
    pub challenges: Vec<Challenge>,
}

/// How the authority sees that a name is this server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Challenge {
    /// By a handshake at the port of HTTPS (RFC 8737).
    TlsAlpn,
    /// By a page at the port of HTTP (RFC 8555 §8.3).
    Http,
}

impl Challenge {
    /// The word of the setting.
    pub fn as_str(self) -> &'static str {
        match self {
            Challenge::TlsAlpn => "tls-alpn-01",
            Challenge::Http => "http-01",
        }
    }

    /// Where the authority comes.
    pub fn port(self) -> u16 {
        match self {
            Challenge::TlsAlpn => 443,
            Challenge::Http => 80,
        }
    }

    /// The setting that says where it is to arrive.
    pub fn key(self) -> &'static str {
        match self {
            Challenge::TlsAlpn => "http.tls_listen",
            Challenge::Http => "http.listen",
        }
    }
}

/// TURN over TLS, at a port of its own.
#[derive(Debug, Clone)]
pub struct TurnTls {
    pub listen: SocketAddr,
    /// `None`: that of HTTPS.
    pub certificate: Option<CertificateFiles>,
}

/// PEM files.
#[derive(Debug, Clone)]
pub struct CertificateFiles {
    pub cert: PathBuf,
    pub key: PathBuf,
}

pub(super) fn parse_https(settings: &Settings) -> Result<Option<Https>, ConfigError> {
    const ADDRESS: &str = "ADDRESS:PORT, such as [::]:443";
    let listen = settings.get("http.tls_listen", |text| text.parse().ok(), ADDRESS)?;
    let hsts = settings.get(
        "http.hsts_days",
        |text| {
            let days = text.parse().ok().filter(|days| *days <= 3650)?;
            Some(DAY * days)
        },
        "days from 0 (none) to 3650",
    )?;
    let files = parse_files(settings, "http.tls_cert", "http.tls_key")?;
    let acme = parse_acme(settings)?.map(CertificateSource::Acme);
    let certificate = files.map(CertificateSource::Files).or(acme);
    Ok(certificate.map(|certificate| Https {
        listen,
        certificate,
        hsts,
    }))
}

/// A name as certificates have them; it also names a file.
pub(super) fn parse_domain(settings: &Settings) -> Result<Option<String>, ConfigError> {
    let label = |label: &str| {
        let right = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        (1..=63).contains(&label.len()) && label.bytes().all(right)
    };
    let domain = settings.get(
        "domain",
        |text| {
            let is_name = text.len() <= 253
                && text.split('.').all(label)
                && text.parse::<std::net::IpAddr>().is_err();
            (text.is_empty() || is_name).then(|| text.to_ascii_lowercase())
        },
        "a name such as chat.example.org (a name in other letters as xn--…), without a port",
    )?;
    Ok((!domain.is_empty()).then_some(domain))
}

fn parse_acme(settings: &Settings) -> Result<Option<Acme>, ConfigError> {
    let directory = settings.get(
        "acme.directory",
        |text| {
            let url = text.parse::<axum::http::Uri>().ok()?;
            is_provider_url(&url).then(|| text.to_owned())
        },
        "the https URL of an authority's directory (http only on this machine)",
    )?;
    let contact = settings.get(
        "acme.contact",
        |text| {
            let mail = text
                .strip_prefix("mailto:")
                .and_then(|mail| mail.split_once('@'));
            let right = text.is_empty()
                || text.bytes().all(|byte| byte.is_ascii_graphic())
                    && mail.is_some_and(|(name, host)| !name.is_empty() && !host.is_empty());
            right.then(|| (!text.is_empty()).then(|| text.to_owned()))
        },
        "mailto:NAME@HOST, or nothing",
    )?;
    let challenges = settings.get(
        "acme.challenge",
        |text| match text {
            "any" => Some(vec![Challenge::TlsAlpn, Challenge::Http]),
            "tls-alpn-01" => Some(vec![Challenge::TlsAlpn]),
            "http-01" => Some(vec![Challenge::Http]),
            _ => None,
        },
        "tls-alpn-01, http-01 or any",
    )?;
    Ok(parse_domain(settings)?.map(|domain| Acme {
        domain,
        directory,
        contact,
        challenges,
    }))
}

/// TURN is spoken over TLS wherever there is a certificate.
pub(super) fn parse_turn(
    settings: &Settings,
    https: Option<&Https>,
) -> Result<Option<TurnTls>, ConfigError> {
    const ADDRESS: &str = "ADDRESS:PORT, such as [::]:5349";
    let listen = settings.get("turn.tls_listen", |text| text.parse().ok(), ADDRESS)?;
    let certificate = parse_files(settings, "turn.tls_cert", "turn.tls_key")?;
    let has_one = certificate.is_some() || https.is_some();
    Ok(has_one.then_some(TurnTls {
        listen,
        certificate,
    }))
}

/// The certificate and its key are set together or not at all.
fn parse_files(
    settings: &Settings,
    cert: &'static str,
    key: &'static str,
) -> Result<Option<CertificateFiles>, ConfigError> {
    let set = |path| settings.get(path, |text| Some(!text.is_empty()), "");
    let file = |path, other| {
        let other_is_set = set(other)?;
        settings.get(
            path,
            |text| (!text.is_empty() || !other_is_set).then(|| PathBuf::from(text)),
            &format!("a PEM file, since {other} is set"),
        )
    };
    let files = CertificateFiles {
        cert: file(cert, key)?,
        key: file(key, cert)?,
    };
    Ok(set(cert)?.then_some(files))
}
