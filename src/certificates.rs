//! The certificates that the server shows, read from files, and again when those change.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use moznods_turn::net::tls::{Certificate, CertificateError};

use crate::config::{CertificateFiles, Config};

/// How often it is looked whether files have changed. Renewal writes several: they are read when they are as they
/// were at the last look.
const LOOK: Duration = Duration::from_secs(2);

/// Where TLS is spoken.
#[derive(Debug, Clone, Default)]
pub struct Certificates {
    pub https: Option<Arc<Certificate>>,
    pub relay: Option<Arc<Certificate>>,
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
            loaded.map_err(|why| Unusable { section, why })
        };
        let https = config.http.https.as_ref();
        let https = https
            .map(|https| load("http", &https.certificate))
            .transpose()?;
        let relay = match &config.turn.tls {
            Some(tls) if config.turn.enabled => match &tls.certificate {
                Some(files) => Some(load("turn", files)?),
                None => https.clone(),
            },
            _ => None,
        };
        Ok(Certificates { https, relay })
    }

    fn each(&self) -> impl Iterator<Item = &Arc<Certificate>> {
        let relay = self.relay.iter();
        let own = relay.filter(|relay| !self.https.iter().any(|https| Arc::ptr_eq(https, relay)));
        self.https.iter().chain(own)
    }

    /// Reads all of them again.
    pub fn reload(&self) {
        self.each().for_each(|certificate| reload(certificate));
    }

    /// Reads again what changes, as long as the program runs.
    pub fn follow(&self) {
        for certificate in self.each() {
            tokio::spawn(follow(Arc::clone(certificate)));
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
