//! What an operation may refuse, by name: each of these types in the `responses` of a handler stands for one code, at the
//! status that it is sent with. Both are asked of the refusal itself, so that the document cannot say otherwise.

use std::collections::BTreeMap;
use std::time::Duration;

use utoipa::IntoResponses;
use utoipa::openapi::{RefOr, Response};

use crate::app::{Error, Problem, Refusal};
use crate::http::error::ApiError;
use crate::i18n::Lang;

/// Between status and code in the key of a response that has yet to be written.
pub const BETWEEN: char = '/';

type Responses = BTreeMap<String, RefOr<Response>>;

/// Status and code of a refusal.
pub fn answer(error: &ApiError) -> (u16, &'static str) {
    (error.status().as_u16(), error.words(Lang::En).0)
}

fn one(error: &ApiError) -> Responses {
    let (status, code) = answer(error);
    let key = format!("{status}{BETWEEN}{code}");
    BTreeMap::from([(key, Response::default().into())])
}

macro_rules! refused {
    (rules { $($rule:ident $(($given:expr))?,)+ } edge { $($name:ident => $error:expr,)+ }) => {
        $(
            #[allow(dead_code, reason = "not every one is refused by an operation")]
            pub struct $rule;
            impl IntoResponses for $rule {
                fn responses() -> Responses {
                    one(&Refusal::$rule $(($given))?.into())
                }
            }
        )+
        $(
            #[allow(dead_code, reason = "not every one is refused by an operation")]
            pub struct $name;
            impl IntoResponses for $name {
                fn responses() -> Responses {
                    one(&$error)
                }
            }
        )+

        /// All refusals that there are.
        pub fn all() -> Vec<ApiError> {
            // Does not compile where one is missing.
            let _ = |refusal: Refusal| match refusal {
                $(Refusal::$rule { .. } => (),)+
            };
            vec![$(Refusal::$rule $(($given))?.into(),)+ $($error,)+]
        }
    };
}

refused! {
    rules {
    AuthenticationRequired,
    InvalidCredentials,
    SignInAgain,
    SecondFactorRequired,
    WrongCode,
    SecondFactorOn,
    SecondFactorOff,
    LastAdmin,
    OidcState,
    OidcDenied,
    OidcFailed,
    OidcUnavailable,
    OidcTaken,
    OnlyWayIn,
    AccountBlocked,
    RegistrationClosed,
    NotParticipant,
    OwnerOnly,
    ModeratorOnly,
    NotAbove,
    AuthorOnly,
    AdminOnly,
    PersonsOnly,
    TooManyBots,
    TooManyHooks,
    TooManyPins,
    DirectRoom,
    InvitationRequired,
    AlreadyParticipant,
    Banned,
    RoomFull,
    TooManyRooms,
    TooManyInvitations,
    NotFound,
    NotInCall,
    TargetNotInCall,
    Overloaded,
    RelayNotRunning,
    RelaySilent,
    QuotaExceeded,
    FileTooLarge(0),
    FileType,
    FileContradiction,
    FileAttached,
    StorageFull,
    FilesUnavailable,
    DatabaseUnavailable,
    PushOff,
    }
    edge {
    // A field of the body or the query.
    Fields => Error::field("", Problem::Required).into(),
    Malformed => ApiError::Malformed,
    UnsupportedMediaType => ApiError::UnsupportedMediaType,
    TooLarge => ApiError::TooLarge,
    MethodNotAllowed => ApiError::MethodNotAllowed,
    NoSuchPage => ApiError::NoSuchPage,
    ForeignOrigin => ApiError::ForeignOrigin,
    NotAWebSocket => ApiError::NotAWebSocket,
    RateLimited => ApiError::RateLimited(Duration::ZERO),
    RangeNotSatisfiable => ApiError::RangeNotSatisfiable,
    TooSlow => ApiError::TooSlow,
    Internal => ApiError::Internal,
    }
}

/// Several of them as one.
macro_rules! together {
    ($($(#[$doc:meta])* $name:ident: $($one:ident),+;)+) => {
        $(
            $(#[$doc])*
            pub struct $name;
            impl IntoResponses for $name {
                fn responses() -> Responses {
                    let mut all = Responses::new();
                    $(all.extend($one::responses());)+
                    all
                }
            }
        )+
    };
}

together! {
    /// Where a password, or a code in its place, is asked for.
    Proof: InvalidCredentials, SignInAgain, WrongCode, Overloaded, Fields;
    /// Where one signs in.
    SignIn: Proof, SecondFactorRequired, AccountBlocked;
    /// In a room that one must take part in.
    InRoom: NotFound, NotParticipant;
    /// Where one comes to take part.
    Entry: Banned, RoomFull, TooManyRooms;
    /// Of the relay.
    Relay: RelayNotRunning, Overloaded;
    /// A file of an upload.
    Upload: Fields, QuotaExceeded, FileTooLarge, FileType, FileContradiction, StorageFull, FilesUnavailable, TooSlow, Overloaded;
}
