//! What is shown to those who come over TLS where the certificate is had by ACME: the certificate, once there is one, and
//! before that the answers to the authority's challenges.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

/// The protocol that an authority names when it looks for the answer to a challenge (RFC 8737 §6.2).
pub const ACME_TLS: &[u8] = b"acme-tls/1";

#[derive(Default)]
pub struct Shown(RwLock<Inner>);

#[derive(Default)]
struct Inner {
    certificate: Option<Arc<CertifiedKey>>,
    answer: Option<Answer>,
}

/// To the one challenge that there is at a time.
pub enum Answer {
    /// TLS-ALPN-01 (RFC 8737 §3): a certificate for this name.
    Certificate(String, Arc<CertifiedKey>),
    /// HTTP-01 (RFC 8555 §8.3): what is to be found under this token.
    Text { token: String, text: String },
}

impl Shown {
    /// From now on newcomers get this; all others go on.
    pub fn set_certificate(&self, certificate: Arc<CertifiedKey>) {
        self.write().certificate = Some(certificate);
    }

    pub fn set_answer(&self, answer: Option<Answer>) {
        self.write().answer = answer;
    }

    /// What an authority that asks by HTTP is to find.
    pub fn text(&self, asked: &str) -> Option<String> {
        match &self.read().answer {
            Some(Answer::Text { token, text }) if token == asked => Some(text.clone()),
            _ => None,
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Inner> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Inner> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shown")
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let inner = self.read();
        let asks = hello
            .alpn()
            .is_some_and(|mut names| names.any(|name| name == ACME_TLS));
        if !asks {
            return inner.certificate.clone();
        }
        match &inner.answer {
            Some(Answer::Certificate(name, certificate)) if hello.server_name() == Some(name) => {
                Some(Arc::clone(certificate))
            }
            _ => None,
        }
    }
}
