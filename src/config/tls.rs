//! Where TLS is spoken, and with which certificates.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::{ConfigError, Settings};

const DAY: Duration = Duration::from_secs(86_400);

/// HTTPS, and what else comes by its port.
#[derive(Debug, Clone)]
pub struct Https {
    pub listen: SocketAddr,
    pub certificate: CertificateFiles,
    /// How long browsers are to come by HTTPS alone; zero: they are not told so.
    pub hsts: Duration,
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
    Ok(files.map(|certificate| Https {
        listen,
        certificate,
        hsts,
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
