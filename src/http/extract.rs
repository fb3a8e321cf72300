//! What handlers take from a request; whatever is wrong with it is refused here in the API's own shape.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Form;
use axum::body::Bytes;
use axum::extract::multipart::Multipart;
use axum::extract::{FromRequest, FromRequestParts, Query, RawPathParams, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use moznods_storage::{Listing, Page, TokenHash, User};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::error::{ApiError, ApiResult};
use super::{Edge, client};
use crate::app::{Error, Person, Refusal};
use crate::wire::{MAX_DEPTH, nests_deeper};

/// The user behind `Authorization: Token <key>` (or `Bearer`), and the key of his sign-in. For what is read, or is seldom
/// asked for, or has limits of its own: of that a user may ask for a lot.
pub struct SignedIn {
    pub user: User,
    pub sign_in: TokenHash,
    /// From where he asks.
    pub address: IpAddr,
}

impl FromRequestParts<Arc<Edge>> for SignedIn {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, edge: &Arc<Edge>) -> ApiResult<Self> {
        Self::by(edge, parts).await
    }
}

impl SignedIn {
    pub async fn by(edge: &Edge, parts: &Parts) -> ApiResult<Self> {
        let by = Self::proven(edge, parts).await?;
        edge.limits.read(by.user.id)?;
        Ok(by)
    }

    async fn proven(edge: &Edge, parts: &Parts) -> ApiResult<Self> {
        let address = client::address(edge, parts);
        let proven = match token(&parts.headers) {
            Some(token) => edge.app.authenticate(token).await,
            None => Err(Refusal::AuthenticationRequired.into()),
        };
        if matches!(proven, Err(Error::Refused(Refusal::AuthenticationRequired))) {
            edge.limits.stranger(address)?;
        }
        let (user, sign_in) = proven?;
        edge.limits.saw(user.id, address);
        Ok(SignedIn {
            user,
            sign_in,
            address,
        })
    }

    pub fn person(&self) -> Person<'_> {
        Person {
            user: &self.user,
            address: self.address,
        }
    }
}

/// As [`SignedIn`], for what is stored: of which a user may do so much.
pub struct Writing(pub SignedIn);

impl FromRequestParts<Arc<Edge>> for Writing {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, edge: &Arc<Edge>) -> ApiResult<Self> {
        let by = SignedIn::proven(edge, parts).await?;
        edge.limits.write(by.user.id)?;
        Ok(Writing(by))
    }
}

/// As [`SignedIn`], for what ends sign-ins: who has the token of another cannot use up what he may ask for, and so keep
/// him from it.
pub struct Leaving(pub SignedIn);

impl FromRequestParts<Arc<Edge>> for Leaving {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, edge: &Arc<Edge>) -> ApiResult<Self> {
        let by = SignedIn::proven(edge, parts).await?;
        edge.limits.stranger(by.address)?;
        Ok(Leaving(by))
    }
}

fn token(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    let known = ["token", "bearer"].contains(&scheme.to_ascii_lowercase().as_str());
    known.then(|| token.trim())
}

/// What stands in the query.
pub struct Asked<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Asked<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> ApiResult<Self> {
        let query = Query::from_request_parts(parts, state).await;
        query
            .map(|Query(asked)| Asked(asked))
            .map_err(|_| ApiError::Malformed)
    }
}

/// What stands in the one variable part of the path.
pub struct Segment(pub String);

impl<S: Send + Sync> FromRequestParts<S> for Segment {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> ApiResult<Self> {
        let params = RawPathParams::from_request_parts(parts, state)
            .await
            .map_err(|_| Refusal::NotFound)?;
        let segment = params.iter().next().map(|(_, text)| text.to_owned());
        Ok(Segment(segment.ok_or(Refusal::NotFound)?))
    }
}

/// The number that stands in the path; what is none is a thing that does not exist.
pub struct Id(pub i64);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> ApiResult<Self> {
        let Segment(text) = Segment::from_request_parts(parts, state).await?;
        Ok(Id(text.parse().map_err(|_| Refusal::NotFound)?))
    }
}

/// The numbers that stand in the path.
pub struct Ids<const N: usize = 2>(pub [i64; N]);

impl<const N: usize, S: Send + Sync> FromRequestParts<S> for Ids<N> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> ApiResult<Self> {
        let texts = segments(parts, state).await?;
        let numbers: Option<Vec<i64>> = texts.iter().map(|text| text.parse().ok()).collect();
        let numbers = numbers.and_then(|numbers| numbers.try_into().ok());
        Ok(Ids(numbers.ok_or(Refusal::NotFound)?))
    }
}

/// A number and a text that stand in the path.
pub struct IdAndText(pub i64, pub String);

impl<S: Send + Sync> FromRequestParts<S> for IdAndText {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> ApiResult<Self> {
        match segments(parts, state).await?.as_slice() {
            [id, text] => {
                let id = id.parse().map_err(|_| Refusal::NotFound)?;
                Ok(IdAndText(id, text.clone()))
            }
            _ => Err(Refusal::NotFound.into()),
        }
    }
}

async fn segments<S: Send + Sync>(parts: &mut Parts, state: &S) -> ApiResult<Vec<String>> {
    let params = RawPathParams::from_request_parts(parts, state)
        .await
        .map_err(|_| Refusal::NotFound)?;
    Ok(params.iter().map(|(_, text)| text.to_owned()).collect())
}

/// `?page=&page_size=`, and what the links to the neighbours are made of.
pub struct Paging {
    page: i64,
    page_size: i64,
    /// Absolute, without the query.
    url: String,
    /// The query without the page, each pair behind an `&`.
    others: String,
}

impl FromRequestParts<Arc<Edge>> for Paging {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, edge: &Arc<Edge>) -> ApiResult<Self> {
        const DEFAULT_SIZE: i64 = 20;
        const MAX_SIZE: i64 = 100;
        /// So that no multiplication overflows.
        const MAX_PAGE: i64 = 1 << 40;

        let mut paging = Paging {
            page: 1,
            page_size: DEFAULT_SIZE,
            url: format!("{}{}", client::base_url(edge, parts), parts.uri.path()),
            others: String::new(),
        };
        let pairs = parts.uri.query().unwrap_or_default().split('&');
        for pair in pairs.filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let number = value.parse().ok().filter(|number| *number >= 1);
            if name == "page" {
                paging.page = number
                    .filter(|page| *page <= MAX_PAGE)
                    .ok_or(ApiError::NoSuchPage)?;
                continue;
            }
            if name == "page_size" {
                paging.page_size = number.unwrap_or(DEFAULT_SIZE).min(MAX_SIZE);
            }
            paging.others.push('&');
            paging.others.push_str(pair);
        }
        Ok(paging)
    }
}

impl Paging {
    pub fn page(&self) -> Page {
        Page {
            offset: self.before(),
            limit: self.page_size,
        }
    }

    /// How many stand on the pages before.
    fn before(&self) -> i64 {
        (self.page - 1) * self.page_size
    }

    /// A page past the end is none, but for the first.
    pub fn answer<T>(
        &self,
        listing: &Listing<T>,
        mut write: impl FnMut(&T) -> serde_json::Result<Value>,
    ) -> ApiResult<Response> {
        if self.page > 1 && self.before() >= listing.count {
            return Err(ApiError::NoSuchPage);
        }
        let link = |page: i64| format!("{}?page={page}{}", self.url, self.others);
        let results: serde_json::Result<Vec<Value>> =
            listing.items.iter().map(&mut write).collect();
        let more = self.page * self.page_size < listing.count;
        let body = json!({
            "count": listing.count,
            "next": more.then(|| link(self.page + 1)),
            "previous": (self.page > 1).then(|| link(self.page - 1)),
            "results": results.map_err(|_| ApiError::Internal)?,
        });
        Ok(axum::Json(body).into_response())
    }
}

/// For a whole body to come.
const BODY_WAIT: Duration = Duration::from_secs(30);

/// A body as JSON, form or multipart (of which a file's content is dropped, its name stays).
pub struct Body<T>(pub T);

impl<T: DeserializeOwned> FromRequest<Arc<Edge>> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, edge: &Arc<Edge>) -> ApiResult<Self> {
        match tokio::time::timeout(BODY_WAIT, read(request, edge)).await {
            Ok(read) => parse(read?).map(Body),
            Err(_) => Err(ApiError::Malformed),
        }
    }
}

async fn read(request: Request, edge: &Arc<Edge>) -> ApiResult<Value> {
    let kind = request
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .map(|value| {
            value
                .split(';')
                .next()
                .unwrap_or(value)
                .trim()
                .to_ascii_lowercase()
        });
    Ok(match kind.as_deref() {
        Some("multipart/form-data") => multipart(request, edge).await?,
        Some("application/x-www-form-urlencoded") => {
            let Form(fields) = Form::<Vec<(String, String)>>::from_request(request, edge)
                .await
                .map_err(|rejection| status_error(rejection.status()))?;
            Value::Object(fields.into_iter().map(|(k, v)| (k, v.into())).collect())
        }
        Some("application/json") => {
            let bytes = bytes(request, edge).await?;
            if nests_deeper(&bytes, MAX_DEPTH) {
                return Err(ApiError::Malformed);
            }
            serde_json::from_slice(&bytes).map_err(|_| ApiError::Malformed)?
        }
        _ if bytes(request, edge).await?.is_empty() => Value::Object(Map::new()),
        _ => return Err(ApiError::UnsupportedMediaType),
    })
}

fn parse<T: DeserializeOwned>(value: Value) -> ApiResult<T> {
    if !value.is_object() {
        return Err(ApiError::Malformed);
    }
    serde_path_to_error::deserialize(value).map_err(|error| {
        // The field itself, wherever in it the trouble is.
        match error.path().to_string().split(['.', '[']).next() {
            None | Some("") => ApiError::Malformed,
            Some(field) => ApiError::WrongType(field.to_owned()),
        }
    })
}

async fn bytes(request: Request, edge: &Arc<Edge>) -> ApiResult<Bytes> {
    Bytes::from_request(request, edge)
        .await
        .map_err(|rejection| status_error(rejection.status()))
}

async fn multipart(request: Request, edge: &Arc<Edge>) -> ApiResult<Value> {
    let mut fields = Map::new();
    let mut multipart = Multipart::from_request(request, edge)
        .await
        .map_err(|_| ApiError::Malformed)?;
    while let Some(field) = multipart
        .next_field()
        .await
        .map_err(|error| status_error(error.status()))?
    {
        let Some(name) = field.name().map(str::to_owned) else {
            continue;
        };
        let value = match field.file_name() {
            Some(file) => file.to_owned(),
            None => field
                .text()
                .await
                .map_err(|error| status_error(error.status()))?,
        };
        fields.insert(name, value.into());
    }
    Ok(Value::Object(fields))
}

fn status_error(status: StatusCode) -> ApiError {
    match status {
        StatusCode::PAYLOAD_TOO_LARGE => ApiError::TooLarge,
        _ => ApiError::Malformed,
    }
}

/// The request's head, for what is made of several of its parts.
pub struct Head(pub Parts);

impl<S: Send + Sync> FromRequestParts<S> for Head {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(Head(parts.clone()))
    }
}
