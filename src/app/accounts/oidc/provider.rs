//! The provider: what it says of itself, the URL to which people go, and who it says has come back.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::Uri;
use openidconnect::core::{
    CoreAuthenticationFlow, CoreClient, CoreClientAuthMethod, CoreJwsSigningAlgorithm,
    CoreProviderMetadata, CoreUserInfoClaims,
};
use openidconnect::{
    AccessToken, AsyncHttpClient, AuthType, AuthorizationCode, ClaimsVerificationError, ClientId,
    ClientSecret, CsrfToken, DiscoveryError, EndUserEmail, EndUserName, EndUserUsername,
    EndpointMaybeSet, EndpointNotSet, EndpointSet, HttpRequest, HttpResponse, IssuerUrl,
    LocalizedClaim, Nonce, OAuth2TokenResponse, PkceCodeChallenge, PkceCodeVerifier, RedirectUrl,
    RequestTokenError, Scope, SignatureVerificationError, SubjectIdentifier, TokenResponse,
};
use tokio::sync::Mutex;

use crate::config::{Oidc as Settings, is_provider_url};
use crate::outbound::{Bounds, Outbound, OutboundError, Reach};

/// How long what the provider says of itself is believed.
const METADATA: Duration = Duration::from_secs(3600);
/// A key that is not known may be new: so old is what was read at least before it is read again.
const METADATA_LEAST: Duration = Duration::from_secs(60);
/// After it could not be read, it is not asked for so long.
const PAUSE: Duration = Duration::from_secs(5);
const BOUNDS: Bounds = Bounds {
    within: Duration::from_secs(10),
    body: 256 * 1024,
};
/// Characters of a subject (OpenID Connect Core §2).
const SUBJECT: usize = 255;

/// By keys of the provider's; never by the client's secret, and never none.
const ALGORITHMS: [CoreJwsSigningAlgorithm; 6] = [
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha512,
    CoreJwsSigningAlgorithm::RsaSsaPssSha256,
    CoreJwsSigningAlgorithm::EcdsaP256Sha256,
    CoreJwsSigningAlgorithm::EcdsaP384Sha384,
    CoreJwsSigningAlgorithm::EdDsa,
];

type Client = CoreClient<
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointMaybeSet,
    EndpointMaybeSet,
>;

pub struct Provider {
    settings: Settings,
    http: Http,
    /// One at a time reads it.
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    metadata: Option<(Instant, Arc<CoreProviderMetadata>)>,
    failed: Option<Instant>,
}

/// No text of these holds a secret.
#[derive(Debug)]
pub enum ProviderError {
    /// It does not answer, or not as a provider does.
    Unavailable(String),
    /// What it answered proves nothing.
    Failed(String),
}

/// What must come back with somebody who is sent there.
pub struct Departure {
    pub nonce: Nonce,
    pub verifier: PkceCodeVerifier,
    challenge: PkceCodeChallenge,
}

impl Departure {
    pub fn new() -> Self {
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        Departure {
            nonce: Nonce::new_random(),
            verifier,
            challenge,
        }
    }
}

/// Who has come back.
pub struct Arrival {
    pub subject: String,
    pub profile: Profile,
    access: AccessToken,
}

/// What the provider says about somebody. Nothing of it has been checked.
#[derive(Debug, Default)]
pub struct Profile {
    pub username: Option<String>,
    pub name: Option<String>,
    /// One that the provider has verified.
    pub email: Option<String>,
}

impl Provider {
    pub fn new(settings: Settings, outbound: Arc<Outbound>) -> Self {
        Provider {
            settings,
            http: Http(outbound),
            known: Mutex::default(),
        }
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Where to go. The provider sends whoever goes there back to `redirect`, with `state`.
    pub async fn depart(
        &self,
        redirect: &str,
        state: String,
        departure: Departure,
    ) -> Result<String, ProviderError> {
        let metadata = self.metadata(METADATA).await?;
        let client = self.client(&metadata, redirect)?;
        let (url, _, _) = client
            .authorize_url(
                CoreAuthenticationFlow::AuthorizationCode,
                || CsrfToken::new(state),
                || departure.nonce,
            )
            .add_scopes(["profile", "email"].map(|scope| Scope::new(scope.to_owned())))
            .set_pkce_challenge(departure.challenge)
            .url();
        Ok(url.into())
    }

    /// Exchanges the `code` with which somebody has come back for who he is.
    pub async fn arrive(
        &self,
        code: String,
        redirect: &str,
        nonce: &Nonce,
        verifier: PkceCodeVerifier,
    ) -> Result<Arrival, ProviderError> {
        let failed = |why: &str| ProviderError::Failed(why.to_owned());
        let metadata = self.metadata(METADATA).await?;
        let answer = self
            .client(&metadata, redirect)?
            .exchange_code(AuthorizationCode::new(code))
            .map_err(|_| failed("it has no token endpoint"))?
            .set_pkce_verifier(verifier)
            .request_async(&self.http)
            .await
            .map_err(|error| match error {
                RequestTokenError::Request(error) => ProviderError::Unavailable(error.to_string()),
                RequestTokenError::ServerResponse(answer) => {
                    ProviderError::Failed(format!("it refuses the code: {}", answer.error()))
                }
                RequestTokenError::Parse(..) | RequestTokenError::Other(_) => {
                    failed("its answer to the code is not understood")
                }
            })?;
        let token = answer.id_token().ok_or_else(|| failed("no ID token"))?;
        let verify = |metadata: &CoreProviderMetadata| {
            let client = self.client(metadata, redirect)?;
            let verifier = client.id_token_verifier().set_allowed_algs(ALGORITHMS);
            Ok(token.claims(&verifier, nonce).cloned())
        };
        let unknown_key = |error: &ClaimsVerificationError| {
            matches!(
                error,
                ClaimsVerificationError::SignatureVerification(
                    SignatureVerificationError::NoMatchingKey
                )
            )
        };
        let claims = match verify(&metadata)? {
            Err(error) if unknown_key(&error) => verify(&*self.metadata(METADATA_LEAST).await?)?,
            verified => verified,
        };
        let claims =
            claims.map_err(|error| ProviderError::Failed(format!("the ID token: {error}")))?;
        let subject = claims.subject().as_str();
        if subject.is_empty() || subject.len() > SUBJECT {
            return Err(failed("a subject of no or too many characters"));
        }
        Ok(Arrival {
            subject: subject.to_owned(),
            profile: Profile::new(claims.preferred_username(), claims.name(), claims.email())
                .verified(claims.email_verified()),
            access: answer.access_token().clone(),
        })
    }

    /// What the provider says of who has come, asked for once more where the ID token does not tell his name, as it need
    /// not (OpenID Connect Core §5.4).
    pub async fn profile(&self, arrival: Arrival) -> Profile {
        if arrival.profile.username.is_some() {
            return arrival.profile;
        }
        match self.user_info(arrival.access, arrival.subject).await {
            Ok(profile) => profile,
            Err(ProviderError::Unavailable(why) | ProviderError::Failed(why)) => {
                tracing::warn!(
                    why,
                    "the provider of sign-ins does not tell who somebody is"
                );
                arrival.profile
            }
        }
    }

    async fn user_info(
        &self,
        access: AccessToken,
        subject: String,
    ) -> Result<Profile, ProviderError> {
        let failed = |why: &str| ProviderError::Failed(why.to_owned());
        let metadata = self.metadata(METADATA).await?;
        let client = self.client(&metadata, &self.settings.issuer)?;
        let claims: CoreUserInfoClaims = client
            .user_info(access, Some(SubjectIdentifier::new(subject)))
            .map_err(|_| failed("it has no user info endpoint"))?
            .request_async(&self.http)
            .await
            .map_err(|_| failed("its user info is not understood"))?;
        Ok(
            Profile::new(claims.preferred_username(), claims.name(), claims.email())
                .verified(claims.email_verified()),
        )
    }

    fn client(
        &self,
        metadata: &CoreProviderMetadata,
        redirect: &str,
    ) -> Result<Client, ProviderError> {
        let redirect = RedirectUrl::new(redirect.to_owned())
            .map_err(|_| ProviderError::Failed("this server's URL is none".to_owned()))?;
        let id = ClientId::new(self.settings.client_id.clone());
        let secret = self.settings.client_secret.as_ref();
        let secret = secret.map(|secret| ClientSecret::new(secret.expose().to_owned()));
        // Basic is what a provider takes that does not say.
        let takes_basic = metadata
            .token_endpoint_auth_methods_supported()
            .is_none_or(|methods| methods.contains(&CoreClientAuthMethod::ClientSecretBasic));
        let how = match takes_basic {
            true => AuthType::BasicAuth,
            false => AuthType::RequestBody,
        };
        Ok(
            CoreClient::from_provider_metadata(metadata.clone(), id, secret)
                .set_redirect_uri(redirect)
                .set_auth_type(how),
        )
    }

    /// Not older than `age`.
    async fn metadata(&self, age: Duration) -> Result<Arc<CoreProviderMetadata>, ProviderError> {
        let mut known = self.known.lock().await;
        if let Some((read, metadata)) = &known.metadata
            && read.elapsed() < age
        {
            return Ok(Arc::clone(metadata));
        }
        if known.failed.is_some_and(|failed| failed.elapsed() < PAUSE) {
            let why = "it could not be reached a moment ago".to_owned();
            return Err(ProviderError::Unavailable(why));
        }
        match self.discover().await {
            Ok(metadata) => {
                let metadata = Arc::new(metadata);
                *known = Known {
                    metadata: Some((Instant::now(), Arc::clone(&metadata))),
                    failed: None,
                };
                Ok(metadata)
            }
            Err(error) => {
                known.failed = Some(Instant::now());
                Err(error)
            }
        }
    }

    async fn discover(&self) -> Result<CoreProviderMetadata, ProviderError> {
        let unavailable = |why: String| ProviderError::Unavailable(why);
        let issuer = IssuerUrl::new(self.settings.issuer.clone())
            .map_err(|error| unavailable(error.to_string()))?;
        let discovered = CoreProviderMetadata::discover_async(issuer, &self.http).await;
        let metadata = discovered.map_err(|error| match error {
            DiscoveryError::Request(error) => unavailable(error.to_string()),
            DiscoveryError::Response(status, ..) => {
                unavailable(format!("its discovery document: HTTP {status}"))
            }
            DiscoveryError::Validation(why) => {
                unavailable(format!("its discovery document: {why}"))
            }
            _ => unavailable("its discovery document is not understood".to_owned()),
        })?;
        let page = metadata.authorization_endpoint().as_str().parse::<Uri>();
        match page.is_ok_and(|page| is_provider_url(&page)) {
            true => Ok(metadata),
            false => Err(unavailable("its page for sign-in is not https".to_owned())),
        }
    }
}

/// How the library reaches the provider.
struct Http(Arc<Outbound>);

impl<'c> AsyncHttpClient<'c> for Http {
    type Error = OutboundError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, OutboundError>> + Send>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        let outbound = Arc::clone(&self.0);
        Box::pin(async move {
            // Whatever it names in its documents.
            if !is_provider_url(request.uri()) {
                return Err(OutboundError::BadUrl);
            }
            let answer = outbound.fetch(request, Reach::Anywhere, BOUNDS).await?;
            Ok(answer.map(|body| body.to_vec()))
        })
    }
}

impl Profile {
    fn new(
        username: Option<&EndUserUsername>,
        name: Option<&LocalizedClaim<EndUserName>>,
        email: Option<&EndUserEmail>,
    ) -> Self {
        Profile {
            username: username.map(|name| name.as_str().to_owned()),
            name: name
                .and_then(|name| name.get(None))
                .map(|name| name.as_str().to_owned()),
            email: email.map(|email| email.as_str().to_owned()),
        }
    }

    /// Without the mail address, unless the provider has verified it.
    fn verified(mut self, is_verified: Option<bool>) -> Self {
        self.email = self.email.filter(|_| is_verified == Some(true));
        self
    }
}
