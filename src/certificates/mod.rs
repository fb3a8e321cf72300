//! The certificates that the server shows: read from files, and again when those change, or had by ACME.

mod acme;
mod shown;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use moznods_turn::net::tls::{Certificate, CertificateError};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::sync::Notify;

use crate::app::App;
use crate::config::{CertificateFiles, CertificateSource, Config};

pub use shown::{ACME_TLS, Shown};

/// How often it is looked whether files have changed. Renewal writes several: they are read when they are as they
/// were at the last look.
const LOOK: Duration = Duration::from_secs(2);

/// Where TLS is spoken.
#[derive(Debug, Clone)]
pub struct Certificates {
    pub https: Option<Source>,
    pub relay: Option<Source>,
    /// Told when ACME is to try again.
    again: Arc<Notify>,
}

#[derive(Debug, Clone)]
pub enum Source {
    Files(Arc<Certificate>),
    Acme(Arc<Shown>),
}

impl ResolvesServerCert for Source {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        match self {
            Source::Files(certificate) => certificate.resolve(hello),
            Source::Acme(shown) => shown.resolve(hello),
        }
    }
}

/// One that cannot be used, and the settings that name it.
#[derive(Debug, thiserror::Error)]
#[error("{section}.tls_cert, {section}.tls_key: {why}")]
pub struct Unusable {
    section: &'static str,
    why: CertificateError,
}

impl Certificates {
    pub fn load(config: &Config) -> Result<Self, Unusable> {
        let load = |section, files: &CertificateFiles| {
            let loaded = Certificate::load(&files.cert, &files.key);
            let loaded = loaded.map(Source::Files);
            loaded.map_err(|why| Unusable { section, why })
        };
        let https = config.http.https.as_ref();
        let https = match https.map(|https| &https.certificate) {
            Some(CertificateSource::Files(files)) => Some(load("http", files)?),
            Some(CertificateSource::Acme(_)) => Some(Source::Acme(Arc::default())),
            None => None,
        };
        let relay = match &config.turn.tls {
            Some(tls) if config.turn.enabled => match &tls.certificate {
                Some(files) => Some(load("turn", files)?),
                None => https.clone(),
            },
            _ => None,
        };
        Ok(Certificates {
            https,
            relay,
            again: Arc::default(),
        })
    }

    /// Those that are read from files.
    fn files(&self) -> Vec<&Arc<Certificate>> {
        let all = [&self.https, &self.relay].into_iter().flatten();
        let of_files = all.filter_map(|source| match source {
            Source::Files(certificate) => Some(certificate),
            Source::Acme(_) => None,
        });
        let mut files: Vec<_> = of_files.collect();
        files.dedup_by(|one, other| Arc::ptr_eq(one, other));
        files
    }

    /// What is shown where the certificate is had by ACME.
    pub fn shown(&self) -> Option<&Arc<Shown>> {
        match &self.https {
            Some(Source::Acme(shown)) => Some(shown),
            _ => None,
        }
    }

    /// Reads all files again; what ACME waits with is tried at once.
    pub fn reload(&self) {
        self.files().into_iter().for_each(|files| reload(files));
        self.again.notify_waiters();
    }

    /// Reads again what changes and renews what ends, as long as the program runs.
    pub fn keep(&self, app: &Arc<App>) {
        for certificate in self.files() {
            tokio::spawn(follow(Arc::clone(certificate)));
        }
        let https = app.config.http.https.as_ref();
        if let Some(CertificateSource::Acme(settings)) = https.map(|https| &https.certificate)
            && let Some(shown) = self.shown()
        {
            let keeper = acme::Keeper::new(app, settings.clone(), Arc::clone(shown));
            tokio::spawn(keeper.run(Arc::clone(&self.again)));
        }
    }
}

fn reload(certificate: &Certificate) {
    match certificate.reload() {
        Ok(()) => tracing::info!("the certificate has been read again"),
        Err(error) => tracing::error!(%error, "the certificate stays as it was"),
    }
}

async fn follow(certificate: Arc<Certificate>) {
    let stamps = || certificate.files().map(stamp);
    let mut read = stamps();
    let mut before = read;
    loop {
        tokio::time::sleep(LOOK).await;
        let now = stamps();
        if now != read && now == before {
            reload(&certificate);
            read = now;
        }
        before = now;
    }
}

/// When a file was last written, and its length; `None` while it is not there.
fn stamp(file: &Path) -> Option<(SystemTime, u64)> {
    let data = std::fs::metadata(file).ok()?;
    Some((data.modified().ok()?, data.len()))
}
