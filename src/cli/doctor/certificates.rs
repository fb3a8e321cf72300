//! Certificates: whether one can be used, for whom and how long it is good, and whether others believe it.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use moznods_turn::net::tls::{Certificate, CertificateError};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError as Invalid, ClientConfig, ClientConnection, DigitallySignedStruct,
    RootCertStore, SignatureScheme,
};

use super::report::Report;
use crate::cli::{Failure, Outcome};
use crate::config::{Config, host_of};

const CHECK: &str = "certificate";
const DAY: u64 = 86_400;
/// Days before its end when a certificate should have been renewed: those of three months are, a month before.
const SOON: u64 = 14;
/// Later than any certificate is good for.
const FAR: u64 = 253_000_000_000;
const WAIT: Duration = Duration::from_secs(5);

/// That of the relay, from the files of the settings.
pub struct OwnCertificate {
    /// Of the settings.
    pub section: &'static str,
    pub certificate: Arc<Certificate>,
    pub chain: Vec<CertificateDer<'static>>,
}

pub fn of_relay(config: &Config, report: &mut Report) -> Result<Option<OwnCertificate>, Failure> {
    if !config.turn.enabled {
        return Ok(None);
    }
    let Some((section, tls)) = config.relay_certificate() else {
        // Had by ACME, it is looked at where it is shown.
        if config.turn.tls.is_none() {
            report.unknown(CHECK, "certificate_none", &[])?;
        }
        return Ok(None);
    };
    let loaded = Certificate::load(&tls.cert, &tls.key).and_then(|certificate| {
        let chain = CertificateDer::pem_file_iter(&tls.cert)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|why| CertificateError::Read {
                file: tls.cert.clone(),
                why: why.to_string(),
            })?;
        Ok(OwnCertificate {
            section,
            certificate,
            chain,
        })
    });
    match loaded {
        Ok(own) => {
            let host = config.public_url.as_deref().map(host_of);
            judge(&format!("{section}.tls_cert"), &own.chain, host, report)?;
            Ok(Some(own))
        }
        Err(CertificateError::Unusable(rustls::Error::InconsistentKeys(_))) => {
            report.wrong(CHECK, "certificate_mismatch", &[("section", section)])?;
            Ok(None)
        }
        Err(error) => {
            report.wrong(
                CHECK,
                "certificate_unusable",
                &[("error", &*error.to_string()), ("section", section)],
            )?;
            Ok(None)
        }
    }
}

/// The one that is shown at an address to whoever asks for `host`.
pub async fn of_host(host: &str, address: SocketAddr, report: &mut Report) -> Outcome {
    let name = host.to_owned();
    let asked = tokio::task::spawn_blocking(move || shown(&name, address)).await;
    let what = format!("https://{host}");
    match asked.map_err(io::Error::other)? {
        Ok(chain) => judge(&what, &chain, Some(host), report),
        // What comes of asking for its page is said elsewhere.
        Err(_) => Ok(()),
    }
}

fn shown(host: &str, address: SocketAddr) -> io::Result<Vec<CertificateDer<'static>>> {
    let recorder = Arc::<Recorder>::default();
    let config = recording(&recorder).map_err(io::Error::other)?;
    let name = server_name(host).ok_or(io::ErrorKind::InvalidInput)?;
    let mut stream = TcpStream::connect_timeout(&address, WAIT)?;
    stream.set_read_timeout(Some(WAIT))?;
    stream.set_write_timeout(Some(WAIT))?;
    let mut connection = ClientConnection::new(config, name).map_err(io::Error::other)?;
    while connection.is_handshaking() {
        connection.complete_io(&mut stream)?;
    }
    Ok(recorder.take())
}

fn server_name(host: &str) -> Option<ServerName<'static>> {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    ServerName::try_from(host.to_owned()).ok()
}

/// `what` names it to the reader.
fn judge(
    what: &str,
    chain: &[CertificateDer<'_>],
    host: Option<&str>,
    report: &mut Report,
) -> Outcome {
    let unusable = |error: rustls::Error, report: &mut Report| {
        let error = format!("{what}: {error}");
        let section = if what.starts_with("turn.") {
            "turn"
        } else {
            "http"
        };
        let values = [("error", &*error), ("section", section)];
        report.wrong(CHECK, "certificate_unusable", &values)
    };
    let Some((end, above)) = chain.split_first() else {
        return unusable(rustls::Error::NoCertificatesPresented, report);
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_or(0, |now| now.as_secs());
    let name = host.and_then(server_name);
    let asked = name.clone().or_else(|| server_name("localhost"));
    let verify = |roots: RootCertStore, at: u64| {
        let Some(name) = &asked else { return Ok(()) };
        let provider = Arc::new(ring::default_provider());
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
        let verifier = verifier.map_err(|error| rustls::Error::General(error.to_string()))?;
        let at = UnixTime::since_unix_epoch(Duration::from_secs(at));
        verifier
            .verify_server_cert(end, above, name, &[], at)
            .map(drop)
    };
    // Times are looked at before anybody is asked to vouch.
    let itself = || {
        let mut roots = RootCertStore::empty();
        roots.add(end.clone().into_owned()).map(|()| roots)
    };
    let found = match itself().map(|roots| verify(roots, now)) {
        Ok(found) => found,
        Err(error) => return unusable(error, report),
    };
    match found {
        Err(rustls::Error::InvalidCertificate(Invalid::ExpiredContext { not_after, .. })) => {
            let days = now.saturating_sub(not_after.as_secs()) / DAY;
            let values = [("what", what), ("days", &*days.to_string())];
            return report.wrong(CHECK, "certificate_expired", &values);
        }
        Err(rustls::Error::InvalidCertificate(Invalid::NotValidYetContext {
            not_before, ..
        })) => {
            let days = not_before.as_secs().saturating_sub(now).div_ceil(DAY);
            let values = [("what", what), ("days", &*days.to_string())];
            return report.wrong(CHECK, "certificate_early", &values);
        }
        _ => {}
    }
    if let (Some(host), Some(name)) = (host, &name) {
        let verified =
            ParsedCertificate::try_from(end).and_then(|parsed| verify_server_name(&parsed, name));
        if let Err(rustls::Error::InvalidCertificate(invalid)) = verified {
            let names = match invalid {
                Invalid::NotValidForNameContext { presented, .. } => presented.join(", "),
                other => other.to_string(),
            };
            let values = [("what", what), ("host", host), ("names", &*names)];
            return report.wrong(CHECK, "certificate_name", &values);
        }
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        report.unknown(CHECK, "certificate_roots", &[])?;
    } else {
        match verify(roots, now) {
            Err(rustls::Error::InvalidCertificate(
                Invalid::NotValidForName | Invalid::NotValidForNameContext { .. },
            ))
            | Ok(()) => {}
            Err(error) => {
                let values = [("what", what), ("error", &*error.to_string())];
                return report.wrong(CHECK, "certificate_untrusted", &values);
            }
        }
    }
    let days = match itself().map(|roots| verify(roots, FAR)) {
        Ok(Err(rustls::Error::InvalidCertificate(Invalid::ExpiredContext {
            not_after, ..
        }))) => not_after.as_secs().saturating_sub(now) / DAY,
        _ => FAR / DAY,
    };
    let values = [("what", what), ("days", &*days.to_string())];
    match days < SOON {
        true => report.better(CHECK, "certificate_soon", &values),
        false => report.right(CHECK, "certificate_right", &values),
    }
}

/// Takes whatever certificate it is shown, as it is judged later, and keeps it.
#[derive(Debug, Default)]
pub struct Recorder(Mutex<Vec<CertificateDer<'static>>>);

impl Recorder {
    pub fn take(&self) -> Vec<CertificateDer<'static>> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// For a client that has its server's certificates recorded.
pub fn recording(recorder: &Arc<Recorder>) -> Result<Arc<ClientConfig>, rustls::Error> {
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(recorder) as Arc<dyn ServerCertVerifier>)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

impl ServerCertVerifier for Recorder {
    fn verify_server_cert(
        &self,
        end: &CertificateDer<'_>,
        above: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let all = std::iter::once(end).chain(above);
        let all = all.map(|certificate| certificate.clone().into_owned());
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = all.collect();
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = provider().signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, &algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = provider().signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}
