//! Refusals as HTTP: one mapping of what `app` says and of what the edge itself finds wrong.
//!
//! A handler does not know the language; so the error travels in the response and is written by
//! [`super::middleware::write_errors`].

use std::time::Duration;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use crate::app::{Error, FieldError, Refusal};
use crate::i18n::{self, Lang};

#[derive(Debug)]
pub enum ApiError {
    App(Error),
    /// A field (its path) whose value has the wrong type.
    WrongType(String),
    /// Not the JSON, form or multipart that it says it is.
    Malformed,
    UnsupportedMediaType,
    TooLarge,
    MethodNotAllowed,
    UnknownPath,
    NoSuchPage,
    ForeignOrigin,
    NotAWebSocket,
    RateLimited(Duration),
    /// From an address, or for an account, that is banned for so long yet.
    Banned(Duration),
    /// Bytes of a file that are not there.
    RangeNotSatisfiable,
    /// A body that does not arrive fast enough.
    TooSlow,
    /// Nobody's doing but ours.
    Internal,
}

pub type ApiResult<T> = Result<T, ApiError>;

impl<E: Into<Error>> From<E> for ApiError {
    fn from(error: E) -> Self {
        ApiError::App(error.into())
    }
}

/// What travels in the extensions of a response.
#[derive(Clone)]
pub struct Unwritten(std::sync::Arc<ApiError>);

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        if let ApiError::App(Error::Storage(error)) = &self {
            tracing::error!(%error, "a request failed");
        }
        let mut response = self.status().into_response();
        if let Some(seconds) = self.retry_after() {
            let value = HeaderValue::from(seconds);
            response.headers_mut().insert(header::RETRY_AFTER, value);
        }
        if matches!(
            &self,
            ApiError::App(Error::Refused(Refusal::AuthenticationRequired))
        ) {
            let scheme = HeaderValue::from_static("Token");
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, scheme);
        }
        let unwritten = Unwritten(std::sync::Arc::new(self));
        response.extensions_mut().insert(unwritten);
        response
    }
}

pub async fn method_not_allowed() -> ApiError {
    ApiError::MethodNotAllowed
}

impl ApiError {
    /// What the rules say, if it was they.
    pub fn reason(&self) -> Option<&Error> {
        match self {
            ApiError::App(error) => Some(error),
            _ => None,
        }
    }

    pub fn status(&self) -> StatusCode {
        match self {
            ApiError::App(Error::Invalid(_)) | ApiError::WrongType(_) | ApiError::Malformed => {
                StatusCode::BAD_REQUEST
            }
            ApiError::App(Error::Storage(_)) | ApiError::Internal => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
            ApiError::App(Error::Refused(refusal)) => match refusal {
                Refusal::AuthenticationRequired
                | Refusal::InvalidCredentials
                | Refusal::SecondFactorRequired
                | Refusal::WrongCode => StatusCode::UNAUTHORIZED,
                Refusal::AccountBlocked
                | Refusal::SignInAgain
                | Refusal::LastAdmin
                | Refusal::RegistrationClosed
                | Refusal::NotParticipant
                | Refusal::OwnerOnly
                | Refusal::ModeratorOnly
                | Refusal::NotAbove
                | Refusal::AuthorOnly
                | Refusal::AdminOnly
                | Refusal::PersonsOnly
                | Refusal::TooManyBots
                | Refusal::TooManyHooks
                | Refusal::TooManyPins
                | Refusal::DirectRoom
                | Refusal::Banned
                | Refusal::RoomFull
                | Refusal::TooManyRooms
                | Refusal::TooManyInvitations
                | Refusal::InvitationRequired => StatusCode::FORBIDDEN,
                Refusal::SecondFactorOn
                | Refusal::SecondFactorOff
                | Refusal::OidcState
                | Refusal::OidcDenied
                | Refusal::OidcFailed
                | Refusal::OidcTaken
                | Refusal::OnlyWayIn => StatusCode::BAD_REQUEST,
                Refusal::AlreadyParticipant | Refusal::NotInCall | Refusal::TargetNotInCall => {
                    StatusCode::BAD_REQUEST
                }
                Refusal::NotFound | Refusal::PushOff => StatusCode::NOT_FOUND,
                Refusal::QuotaExceeded | Refusal::FileTooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
                Refusal::FileType | Refusal::FileContradiction => {
                    StatusCode::UNSUPPORTED_MEDIA_TYPE
                }
                Refusal::Overloaded
                | Refusal::RelayNotRunning
                | Refusal::RelaySilent
                | Refusal::OidcUnavailable
                | Refusal::FilesUnavailable
                | Refusal::DatabaseUnavailable => StatusCode::SERVICE_UNAVAILABLE,
                Refusal::FileAttached => StatusCode::CONFLICT,
                Refusal::StorageFull => StatusCode::INSUFFICIENT_STORAGE,
            },
            ApiError::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            ApiError::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            ApiError::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            ApiError::UnknownPath | ApiError::NoSuchPage => StatusCode::NOT_FOUND,
            ApiError::ForeignOrigin => StatusCode::FORBIDDEN,
            ApiError::NotAWebSocket => StatusCode::UPGRADE_REQUIRED,
            ApiError::RateLimited(_) | ApiError::Banned(_) => StatusCode::TOO_MANY_REQUESTS,
            ApiError::RangeNotSatisfiable => StatusCode::RANGE_NOT_SATISFIABLE,
            ApiError::TooSlow => StatusCode::REQUEST_TIMEOUT,
        }
    }

    /// Seconds after which another try may succeed.
    pub fn retry_after(&self) -> Option<u64> {
        match self {
            ApiError::RateLimited(wait) | ApiError::Banned(wait) => {
                let begun = u64::from(wait.subsec_nanos() > 0);
                Some(wait.as_secs().saturating_add(begun).max(1))
            }
            _ => None,
        }
    }

    /// The code, and the text for people.
    pub fn words(&self, lang: Lang) -> (&'static str, String) {
        let both = |key| (key, i18n::text(lang, key, None));
        match self {
            ApiError::App(Error::Refused(refusal)) => (refusal.code(), refusal.text(lang)),
            ApiError::App(Error::Invalid(fields)) => {
                let text = fields.iter().map(|error| error.problem.text(lang));
                ("validation_error", text.collect::<Vec<_>>().join(" "))
            }
            ApiError::App(Error::Storage(_)) | ApiError::Internal => both("internal_error"),
            ApiError::WrongType(_) => (
                "validation_error",
                i18n::text(lang, "field_wrong_type", None),
            ),
            ApiError::Malformed => both("parse_error"),
            ApiError::UnsupportedMediaType => both("unsupported_media_type"),
            ApiError::TooLarge => both("payload_too_large"),
            ApiError::MethodNotAllowed => both("method_not_allowed"),
            ApiError::UnknownPath => both("not_found"),
            ApiError::NoSuchPage => ("not_found", i18n::text(lang, "no_such_page", None)),
            ApiError::ForeignOrigin => both("foreign_origin"),
            ApiError::NotAWebSocket => both("not_a_websocket"),
            ApiError::RateLimited(_) => both("rate_limited"),
            ApiError::Banned(wait) => {
                let minutes = wait.as_secs().div_ceil(60).to_string();
                let text = i18n::filled(lang, "turned_away", &[("minutes", &minutes)]);
                ("rate_limited", text)
            }
            ApiError::RangeNotSatisfiable => both("range_not_satisfiable"),
            ApiError::TooSlow => both("too_slow"),
        }
    }

    fn body(&self, lang: Lang) -> Value {
        let (code, detail) = self.words(lang);
        match self {
            ApiError::App(Error::Invalid(fields)) => {
                let mut body = Map::new();
                for FieldError { field, problem } in fields {
                    let texts = body.entry(*field).or_insert_with(|| json!([]));
                    if let Value::Array(texts) = texts {
                        texts.push(problem.text(lang).into());
                    }
                }
                body.insert("code".to_owned(), code.into());
                Value::Object(body)
            }
            ApiError::WrongType(path) => json!({ path: [detail], "code": code }),
            _ => json!({"detail": detail, "code": code}),
        }
    }
}

impl Unwritten {
    pub fn code(&self) -> &'static str {
        self.0.words(Lang::default()).0
    }

    pub fn write(&self, response: Response, lang: Lang) -> Response {
        let (mut parts, _) = response.into_parts();
        let (written, body) = Json(self.0.body(lang)).into_response().into_parts();
        parts.headers.remove(header::CONTENT_LENGTH);
        parts.headers.extend(written.headers);
        Response::from_parts(parts, body)
    }
}
