//! A certificate by ACME (RFC 8555): had at the first start, kept in the data directory, renewed in good time.

use std::fs::{DirBuilder, File};
use std::future::Future;
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Uri};
use instant_acme::{
    Account, AccountCredentials, AuthorizationStatus, BodyWrapper, BytesResponse, ChallengeType,
    Error, HttpClient, Identifier, NewAccount, NewOrder, Order, OrderStatus, Problem, RetryPolicy,
};
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, KeyPair};
use rustls::crypto::ring::sign::any_ecdsa_type;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use tokio::sync::Notify;
use tokio::time::timeout;
use x509_parser::prelude::{ASN1Time, FromDer, X509Certificate};

use super::shown::{Answer, Shown};
use crate::app::App;
use crate::config::{Acme, Challenge};
use crate::outbound::{Bounds, Outbound, Reach};

/// For one request to the authority, and bytes of its answer.
const BOUNDS: Bounds = Bounds {
    within: Duration::from_secs(30),
    body: 1 << 20,
};
/// For the authority to look at an answer, or to sign.
const SIGNING: RetryPolicy = RetryPolicy::new()
    .initial_delay(Duration::from_millis(500))
    .backoff(1.5)
    .timeout(Duration::from_secs(180));
/// For all of it.
const PATIENCE: Duration = Duration::from_secs(600);
/// Clocks are set, machines sleep: what is due is looked at this often at least.
const LOOK: Duration = Duration::from_secs(3600);
/// After failures the next attempt waits, twice as long each time. Let's Encrypt forgives five in an hour.
const FIRST_WAIT: Duration = Duration::from_secs(120);
const LONGEST_WAIT: Duration = Duration::from_secs(12 * 3600);
/// A certificate is not had anew sooner than this, however short it lives, and not before a third of its life has gone by, whatever
/// the clock says.
const LEAST_AGE: Duration = Duration::from_secs(10);

const ACCOUNT: &str = "account.json";

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
enum AcmeError {
    #[error("{0}")]
    Acme(#[from] Error),
    #[error("it could not see by {challenge} that {domain} is this server: {why}; expected port {port} of {domain} to lead to {key}",
        challenge = challenge.as_str(), port = challenge.port(), key = challenge.key(),
        why = why.as_ref().and_then(|why| why.detail.as_deref()).unwrap_or("it does not say why"))]
    Refused {
        domain: String,
        challenge: Challenge,
        why: Option<Problem>,
    },
    #[error("it does not offer the challenge {}", .0.as_str())]
    NotOffered(Challenge),
    #[error("its certificate cannot be used: {0}")]
    Unusable(String),
    #[error("{}: {why}", file.display())]
    File { file: PathBuf, why: io::Error },
    #[error("it does not answer in time")]
    TimedOut,
}

/// When a certificate is good.
#[derive(Debug, Clone, Copy)]
struct Validity {
    from: SystemTime,
    to: SystemTime,
}

impl Validity {
    /// After two thirds, so that failures for days lose nothing.
    fn due(self) -> SystemTime {
        self.from + self.life() * 2 / 3
    }

    fn life(self) -> Duration {
        self.to.duration_since(self.from).unwrap_or_default()
    }
}

/// Keeps a certificate at hand.
pub struct Keeper {
    settings: Acme,
    shown: Arc<Shown>,
    /// Of this authority.
    directory: PathBuf,
    outbound: Arc<Outbound>,
    app: Arc<App>,
}

impl Keeper {
    pub fn new(app: &Arc<App>, settings: Acme, shown: Arc<Shown>) -> Self {
        let authority = settings.directory.parse::<Uri>();
        let authority = authority
            .ok()
            .and_then(|url| url.authority().map(ToString::to_string));
        let safe = |letter: char| match letter {
            '.' | '-' => letter,
            _ if letter.is_ascii_alphanumeric() => letter,
            _ => '_',
        };
        let name: String = authority.unwrap_or_default().chars().map(safe).collect();
        Keeper {
            directory: app.config.data_dir.join("acme").join(name),
            settings,
            shown,
            outbound: Arc::default(),
            app: Arc::clone(app),
        }
    }

    /// As long as the program runs. `again`: whoever has mended what was wrong does not want to wait.
    pub async fn run(self, again: Arc<Notify>) {
        let domain = &self.settings.domain;
        let mut current = self.load();
        if let Some(validity) = current {
            self.app.metrics.set_certificate_expiry(unix(validity.to));
            tracing::info!(%domain, "the certificate is as it was kept");
        }
        let mut failures: u32 = 0;
        let mut earliest = UNIX_EPOCH;
        loop {
            if let Some(validity) = current {
                until(validity.due().max(earliest)).await;
            }
            let all = &self.settings.challenges;
            let nth = usize::try_from(failures).unwrap_or(0) % all.len().max(1);
            let Some(challenge) = all.get(nth).copied() else {
                return;
            };
            let how = challenge.as_str();
            tracing::info!(%domain, challenge = how, "asking for a certificate");
            let outcome = timeout(PATIENCE, self.obtain(challenge)).await;
            self.shown.set_answer(None);
            match outcome.unwrap_or(Err(AcmeError::TimedOut)) {
                Ok(validity) => {
                    failures = 0;
                    current = Some(validity);
                    earliest = SystemTime::now() + (validity.life() / 3).max(LEAST_AGE);
                    self.app.metrics.acme("obtained");
                    self.app.metrics.set_certificate_expiry(unix(validity.to));
                    tracing::info!(%domain, challenge = how, "there is a new certificate");
                }
                Err(why) => {
                    failures = failures.saturating_add(1);
                    self.app.metrics.acme("failed");
                    let wait = wait_after(failures, all.len());
                    let (authority, seconds) = (&self.settings.directory, wait.as_secs());
                    tracing::error!(
                        %domain, %authority, challenge = how, error = %why, next_attempt_seconds = seconds,
                        "there is no new certificate"
                    );
                    tokio::select! {
                        () = tokio::time::sleep(wait) => {}
                        () = again.notified() => {}
                    }
                }
            }
        }
    }

    /// The certificate that is kept, if there is one and it is still good.
    fn load(&self) -> Option<Validity> {
        let file = self.certificate_file();
        let outcome = match std::fs::read(&file) {
            Ok(pem) => usable(&pem),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(why) => Err(AcmeError::File {
                file: file.clone(),
                why,
            }),
        };
        match outcome {
            Ok((key, validity)) if validity.to > SystemTime::now() => {
                self.shown.set_certificate(key);
                Some(validity)
            }
            Ok(_) => None,
            Err(error) => {
                let file = file.display();
                tracing::warn!(%file, %error, "the certificate that was kept is of no use");
                None
            }
        }
    }

    fn certificate_file(&self) -> PathBuf {
        self.directory.join(format!("{}.pem", self.settings.domain))
    }

    /// Has a certificate made, shows and keeps it.
    async fn obtain(&self, challenge: Challenge) -> Result<Validity, AcmeError> {
        let account = self.account().await?;
        let names = [Identifier::Dns(self.settings.domain.clone())];
        let ordered = account.new_order(&NewOrder::new(&names)).await;
        let mut order = match ordered {
            Err(Error::Api(problem)) if is_of(&problem, "accountDoesNotExist") => {
                self.forget_account()?;
                return Err(Error::Api(problem).into());
            }
            ordered => ordered?,
        };
        self.answer(&mut order, challenge).await?;
        let key = order.finalize().await?;
        let chain = order.poll_certificate(&SIGNING).await?;
        let pem = format!("{key}{chain}");
        let (certificate, validity) = usable(pem.as_bytes())?;
        self.shown.set_certificate(certificate);
        // Shown all the same where it cannot be kept: the disk may be full.
        if let Err(error) = self.keep(&self.certificate_file(), pem.as_bytes()) {
            tracing::error!(%error, "the certificate cannot be kept, and is asked for again at the next start");
        }
        Ok(validity)
    }

    /// Shows the authority that the name is ours.
    async fn answer(&self, order: &mut Order, challenge: Challenge) -> Result<(), AcmeError> {
        let kind = match challenge {
            Challenge::TlsAlpn => ChallengeType::TlsAlpn01,
            Challenge::Http => ChallengeType::Http01,
        };
        let mut all = order.authorizations();
        while let Some(authorization) = all.next().await {
            let mut authorization = authorization?;
            // Proven a while ago.
            if authorization.status == AuthorizationStatus::Valid {
                continue;
            }
            let offered = authorization.challenge(kind.clone());
            let mut offered = offered.ok_or(AcmeError::NotOffered(challenge))?;
            let proof = offered.key_authorization();
            let domain = &self.settings.domain;
            self.shown.set_answer(Some(match challenge {
                Challenge::TlsAlpn => {
                    let certificate = answering(domain, proof.digest().as_ref())?;
                    Answer::Certificate(domain.clone(), certificate)
                }
                Challenge::Http => Answer::Text {
                    token: offered.token.clone(),
                    text: proof.as_str().to_owned(),
                },
            }));
            offered.set_ready().await?;
        }
        match order.poll_ready(&SIGNING).await {
            Ok(OrderStatus::Ready) => Ok(()),
            Ok(_) | Err(Error::Api(_)) => Err(AcmeError::Refused {
                domain: self.settings.domain.clone(),
                challenge,
                why: reason(order).await,
            }),
            Err(error) => Err(error.into()),
        }
    }

    /// The one that was made before, or a new one.
    async fn account(&self) -> Result<Account, AcmeError> {
        let builder = || Account::builder_with_http(Box::new(Http(Arc::clone(&self.outbound))));
        let file = self.directory.join(ACCOUNT);
        match std::fs::read(&file) {
            Ok(kept) => {
                let credentials: AccountCredentials =
                    serde_json::from_slice(&kept).map_err(|why| AcmeError::File {
                        file,
                        why: why.into(),
                    })?;
                return Ok(builder().from_credentials(credentials).await?);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(why) => return Err(AcmeError::File { file, why }),
        }
        let contact: Vec<&str> = self.settings.contact.iter().map(String::as_str).collect();
        let wanted = NewAccount {
            contact: &contact,
            terms_of_service_agreed: true,
            only_return_existing: false,
        };
        let directory = self.settings.directory.clone();
        let (account, credentials) = builder().create(&wanted, directory, None).await?;
        let text = serde_json::to_vec(&credentials).map_err(Error::from)?;
        self.keep(&file, &text)?;
        Ok(account)
    }

    /// The authority does not know it any more: the next attempt makes another one.
    fn forget_account(&self) -> Result<(), AcmeError> {
        let file = self.directory.join(ACCOUNT);
        std::fs::remove_file(&file).map_err(|why| AcmeError::File { file, why })
    }

    /// Writes a file whole or not at all; its owner alone may read it.
    fn keep(&self, file: &Path, bytes: &[u8]) -> Result<(), AcmeError> {
        let write = || {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&self.directory)?;
            let mut made = tempfile::NamedTempFile::new_in(&self.directory)?;
            made.write_all(bytes)?;
            made.as_file().sync_all()?;
            made.persist(file)?;
            File::open(&self.directory)?.sync_all()
        };
        write().map_err(|why| AcmeError::File {
            file: file.to_owned(),
            why,
        })
    }
}

fn is_of(problem: &Problem, kind: &str) -> bool {
    let name = problem.r#type.as_deref().unwrap_or_default();
    name.strip_prefix("urn:ietf:params:acme:error:") == Some(kind)
}

/// What the authority says of an answer that it has not found.
async fn reason(order: &mut Order) -> Option<Problem> {
    let mut all = order.authorizations();
    while let Some(Ok(mut authorization)) = all.next().await {
        let state = authorization.refresh().await.ok()?;
        let found = state
            .challenges
            .iter()
            .find_map(|challenge| challenge.error.clone());
        if found.is_some() {
            return found;
        }
    }
    None
}

/// RFC 8737 §3.
fn answering(domain: &str, digest: &[u8]) -> Result<Arc<CertifiedKey>, AcmeError> {
    let failed = |error: rcgen::Error| AcmeError::Acme(Error::Other(Box::new(error)));
    let mut wanted = CertificateParams::new([domain.to_owned()]).map_err(failed)?;
    wanted.distinguished_name = DistinguishedName::new();
    wanted.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
    let key = KeyPair::generate().map_err(failed)?;
    let made = wanted.self_signed(&key).map_err(failed)?;
    let key = PrivateKeyDer::try_from(key.serialize_der())
        .map_err(|why| AcmeError::Unusable(why.to_owned()))?;
    // `from_der` would look at the certificate, and refuse the extension that it is for.
    let key = any_ecdsa_type(&key).map_err(|why| AcmeError::Unusable(why.to_string()))?;
    Ok(Arc::new(CertifiedKey::new(vec![made.der().clone()], key)))
}

/// A key and its chain as PEM, in any order.
fn usable(pem: &[u8]) -> Result<(Arc<CertifiedKey>, Validity), AcmeError> {
    let unusable = |why: &dyn ToString| AcmeError::Unusable(why.to_string());
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|why| unusable(&why))?;
    let key = PrivateKeyDer::from_pem_slice(pem).map_err(|why| unusable(&why))?;
    let own = chain.first().ok_or_else(|| unusable(&"there is none"))?;
    let (_, parsed) = X509Certificate::from_der(own).map_err(|why| unusable(&why))?;
    let time =
        |at: ASN1Time| UNIX_EPOCH + Duration::from_secs(u64::try_from(at.timestamp()).unwrap_or(0));
    let validity = Validity {
        from: time(parsed.validity.not_before),
        to: time(parsed.validity.not_after),
    };
    Ok((certified(chain, key)?, validity))
}

fn certified(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<Arc<CertifiedKey>, AcmeError> {
    let provider = rustls::crypto::ring::default_provider();
    let made = CertifiedKey::from_der(chain, key, &provider);
    Ok(Arc::new(
        made.map_err(|why| AcmeError::Unusable(why.to_string()))?,
    ))
}

fn unix(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

async fn until(due: SystemTime) {
    while let Ok(left) = due.duration_since(SystemTime::now())
        && !left.is_zero()
    {
        tokio::time::sleep(left.min(LOOK)).await;
    }
}

/// Each challenge is tried once before the first wait.
fn wait_after(failures: u32, challenges: usize) -> Duration {
    if usize::try_from(failures).is_ok_and(|failures| failures < challenges) {
        return Duration::ZERO;
    }
    let wait = FIRST_WAIT.saturating_mul(2u32.saturating_pow(failures.saturating_sub(1)));
    wait.min(LONGEST_WAIT)
}

/// The house's own client, as the library wants it.
struct Http(Arc<Outbound>);

impl HttpClient for Http {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let outbound = Arc::clone(&self.0);
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let Ok(body) = body.collect().await;
            let request = Request::from_parts(head, body.to_bytes());
            let answer = outbound.fetch(request, Reach::Anywhere, BOUNDS).await;
            let answer = answer.map_err(|error| Error::Other(Box::new(error)))?;
            Ok(BytesResponse::from(answer.map(Full::new)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_few_in_an_hour_and_half_a_day_apart_at_last() {
        for challenges in [1, 2] {
            let mut at = Duration::ZERO;
            let times = (1..20).map(|failures| {
                at += wait_after(failures, challenges);
                at
            });
            // With the first one.
            assert!(times.filter(|at| at.as_secs() < 3600).count() < 5);
        }
        assert_eq!(wait_after(u32::MAX, 2), LONGEST_WAIT);
    }

    #[test]
    fn a_certificate_is_renewed_after_two_thirds_of_its_life() {
        let day = Duration::from_secs(86_400);
        let validity = |days| Validity {
            from: UNIX_EPOCH,
            to: UNIX_EPOCH + days * day,
        };
        assert_eq!(validity(90).due(), UNIX_EPOCH + 60 * day);
    }

    #[test]
    fn what_is_kept_is_read_again() {
        let mut wanted = CertificateParams::new(["chat.example.org".to_owned()]).unwrap();
        wanted.not_after = wanted.not_before + Duration::from_secs(3600);
        let key = KeyPair::generate().unwrap();
        let made = wanted.self_signed(&key).unwrap();
        let pem = format!("{}{}", key.serialize_pem(), made.pem());
        let (_, validity) = usable(pem.as_bytes()).unwrap();
        let life = validity.to.duration_since(validity.from).unwrap();
        assert_eq!(life.as_secs(), 3600);
        for rubbish in [&pem[..100], &made.pem(), ""] {
            usable(rubbish.as_bytes()).unwrap_err();
        }
    }
}
