//! What the rules refuse. Each refusal has a stable code and a text in the catalogue; how it is sent is the edges' matter.

use std::fmt;

use moznods_storage::StorageError;

use crate::i18n::{self, Lang};

#[derive(Debug)]
pub enum Error {
    /// What was given is not usable; never empty.
    Invalid(Vec<FieldError>),
    Refused(Refusal),
    Storage(StorageError),
}

pub type Result<T> = std::result::Result<T, Error>;

/// One field and what is wrong with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FieldError {
    /// As the API calls it.
    pub field: &'static str,
    pub problem: Problem,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Problem {
    Required,
    /// More characters (or bytes, for passwords) than this.
    TooLong(usize),
    TooShort(usize),
    ControlCharacters,
    UsernameCharacters,
    NotAnEmail,
    UsernameTaken,
    EmailTaken,
    WrongInviteCode,
    WrongSetupToken,
    InvitationInvalid,
    /// A whole number of hours up to this.
    Hours(usize),
    NoSuchUser,
    NotOneself,
    NoFiles,
}

impl Problem {
    fn key(self) -> (&'static str, Option<usize>) {
        match self {
            Problem::Required => ("field_required", None),
            Problem::TooLong(limit) => ("field_too_long", Some(limit)),
            Problem::TooShort(limit) => ("field_too_short", Some(limit)),
            Problem::ControlCharacters => ("field_control_characters", None),
            Problem::UsernameCharacters => ("field_username_characters", None),
            Problem::NotAnEmail => ("field_not_an_email", None),
            Problem::UsernameTaken => ("field_username_taken", None),
            Problem::EmailTaken => ("field_email_taken", None),
            Problem::WrongInviteCode => ("field_wrong_invite_code", None),
            Problem::WrongSetupToken => ("field_wrong_setup_token", None),
            Problem::InvitationInvalid => ("field_invitation_invalid", None),
            Problem::Hours(limit) => ("field_hours", Some(limit)),
            Problem::NoSuchUser => ("field_no_such_user", None),
            Problem::NotOneself => ("field_not_oneself", None),
            Problem::NoFiles => ("field_no_files", None),
        }
    }

    pub fn text(self, lang: Lang) -> String {
        let (key, limit) = self.key();
        i18n::text(lang, key, limit)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    AuthenticationRequired,
    InvalidCredentials,
    AccountBlocked,
    RegistrationClosed,
    NotParticipant,
    OwnerOnly,
    /// A direct room stays with its two people.
    DirectRoom,
    InvitationRequired,
    AlreadyParticipant,
    NotFound,
    NotInCall,
    TargetNotInCall,
    /// More passwords wait to be checked than can be.
    Overloaded,
}

impl Refusal {
    /// The machine word that clients may rely on.
    pub fn code(self) -> &'static str {
        match self {
            Refusal::NotParticipant | Refusal::OwnerOnly | Refusal::DirectRoom => {
                "permission_denied"
            }
            other => other.key(),
        }
    }

    fn key(self) -> &'static str {
        match self {
            Refusal::AuthenticationRequired => "authentication_required",
            Refusal::InvalidCredentials => "invalid_credentials",
            Refusal::AccountBlocked => "account_blocked",
            Refusal::RegistrationClosed => "registration_closed",
            Refusal::NotParticipant => "not_participant",
            Refusal::OwnerOnly => "owner_only",
            Refusal::DirectRoom => "direct_room",
            Refusal::InvitationRequired => "invitation_required",
            Refusal::AlreadyParticipant => "already_participant",
            Refusal::NotFound => "not_found",
            Refusal::NotInCall => "not_in_call",
            Refusal::TargetNotInCall => "target_not_in_call",
            Refusal::Overloaded => "overloaded",
        }
    }

    pub fn text(self, lang: Lang) -> String {
        i18n::text(lang, self.key(), None)
    }
}

impl Error {
    pub fn field(field: &'static str, problem: Problem) -> Self {
        Error::Invalid(vec![FieldError { field, problem }])
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Error::Refused(refusal)
    }
}

impl From<StorageError> for Error {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::UsernameTaken => Error::field("username", Problem::UsernameTaken),
            StorageError::EmailTaken => Error::field("email", Problem::EmailTaken),
            StorageError::AdminExists => Error::field("setup_token", Problem::WrongSetupToken),
            StorageError::NotFound => Refusal::NotFound.into(),
            other => Error::Storage(other),
        }
    }
}

/// English, for the admin's terminal.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Invalid(fields) => {
                for (n, FieldError { field, problem }) in fields.iter().enumerate() {
                    let comma = if n > 0 { " " } else { "" };
                    write!(f, "{comma}{field}: {}", problem.text(Lang::En))?;
                }
                Ok(())
            }
            Error::Refused(refusal) => f.write_str(&refusal.text(Lang::En)),
            Error::Storage(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Error {}
