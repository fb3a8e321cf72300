//! What the rules refuse. Each refusal has a stable code and a text in the catalogue; how it is sent is the edges' matter.

use std::fmt;

use moznods_storage::{
    BlobError, DatabaseError, MAX_PUSH_SUBSCRIPTIONS, MAX_REACTIONS, StorageError,
};

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
    WrongPassword,
    WrongCode,
    /// It has been used, has ended, or a newer one was made.
    ResetLinkVoid,
    WrongSetupToken,
    InvitationInvalid,
    /// A whole number of hours up to this.
    Hours(usize),
    NoSuchUser,
    NotOneself,
    NoSuchFile,
    /// More files than this.
    TooManyFiles(usize),
    EmptyFile,
    NotAPicture,
    /// More megapixels than this.
    PictureTooLarge(usize),
    NotAMonth,
    NotPushEndpoint,
    PrivateAddress,
    /// The one of this name.
    NotPushKey(&'static str),
    NotPushMessages,
    InThePast,
    /// There are as many as there may be.
    TooMany(usize),
    /// 1 to this many printable ASCII characters.
    ClientId(usize),
    /// Of another room.
    ClientIdTaken,
    NoSuchMessage,
    NotAnEmoji,
    /// At most this many different ones.
    TooManyReactions(usize),
    Number,
    OneCursor,
    NoWord,
    TooMuchToSearch,
    /// A whole number up to this.
    Uses(usize),
    /// A time that is over.
    Past,
    NotATime,
    /// It is a bot.
    NotAPerson,
    /// That is noted.
    NoSuchAction,
    NameTaken,
    /// Of up to this many characters.
    ProgramName(usize),
    /// Of up to this many characters.
    DeviceName(usize),
    /// Of up to this many characters.
    DevicePassword(usize),
    /// A whole number from 0 to this.
    UpTo(usize),
    NotARegion,
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
            Problem::WrongPassword => ("field_wrong_password", None),
            Problem::WrongCode => ("field_wrong_code", None),
            Problem::ResetLinkVoid => ("field_reset_link_void", None),
            Problem::WrongInviteCode => ("field_wrong_invite_code", None),
            Problem::WrongSetupToken => ("field_wrong_setup_token", None),
            Problem::InvitationInvalid => ("field_invitation_invalid", None),
            Problem::Hours(limit) => ("field_hours", Some(limit)),
            Problem::NoSuchUser => ("field_no_such_user", None),
            Problem::NotOneself => ("field_not_oneself", None),
            Problem::TooManyFiles(limit) => ("field_too_many_files", Some(limit)),
            Problem::EmptyFile => ("field_empty_file", None),
            Problem::NotAPicture => ("field_not_a_picture", None),
            Problem::PictureTooLarge(limit) => ("field_picture_too_large", Some(limit)),
            Problem::NoSuchFile => ("field_no_such_file", None),
            Problem::NotAMonth => ("field_not_a_month", None),
            Problem::NotPushEndpoint => ("field_not_push_endpoint", None),
            Problem::PrivateAddress => ("field_private_address", None),
            Problem::NotPushKey(_) => ("field_not_push_key", None),
            Problem::NotPushMessages => ("field_not_push_messages", None),
            Problem::InThePast => ("field_in_the_past", None),
            Problem::TooMany(limit) => ("field_too_many", Some(limit)),
            Problem::ClientId(limit) => ("field_client_id", Some(limit)),
            Problem::ClientIdTaken => ("field_client_id_taken", None),
            Problem::NoSuchMessage => ("field_no_such_message", None),
            Problem::NotAnEmoji => ("field_not_an_emoji", None),
            Problem::TooManyReactions(limit) => ("field_too_many_reactions", Some(limit)),
            Problem::Number => ("field_number", None),
            Problem::OneCursor => ("field_one_cursor", None),
            Problem::NoWord => ("field_no_word", None),
            Problem::TooMuchToSearch => ("field_too_much_to_search", None),
            Problem::Uses(limit) => ("field_uses", Some(limit)),
            Problem::Past => ("field_past", None),
            Problem::NotAPerson => ("field_not_a_person", None),
            Problem::NotATime => ("field_not_a_time", None),
            Problem::NoSuchAction => ("field_no_such_action", None),
            Problem::NameTaken => ("field_name_taken", None),
            Problem::ProgramName(limit) => ("field_program_name", Some(limit)),
            Problem::DeviceName(limit) => ("field_device_name", Some(limit)),
            Problem::DevicePassword(limit) => ("field_device_password", Some(limit)),
            Problem::UpTo(limit) => ("field_up_to", Some(limit)),
            Problem::NotARegion => ("field_region", None),
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
    /// Where there is no password, a sign-in of just now proves who asks.
    SignInAgain,
    /// The password was right.
    SecondFactorRequired,
    WrongCode,
    SecondFactorOn,
    SecondFactorOff,
    LastAdmin,
    /// Begun in another browser, too long ago, or used.
    OidcState,
    /// The user has not agreed.
    OidcDenied,
    OidcFailed,
    OidcUnavailable,
    /// It is linked to another account, or the account to another one.
    OidcTaken,
    OnlyWayIn,
    AccountBlocked,
    RegistrationClosed,
    NotParticipant,
    OwnerOnly,
    /// The owner may as well.
    ModeratorOnly,
    /// The other one is as much in the room, or more.
    NotAbove,
    AuthorOnly,
    AdminOnly,
    /// No bot does it.
    PersonsOnly,
    TooManyBots,
    /// Of this room, as those below.
    TooManyHooks,
    TooManyPins,
    /// A direct room stays with its two people.
    DirectRoom,
    InvitationRequired,
    AlreadyParticipant,
    /// From this room.
    Banned,
    RoomFull,
    TooManyRooms,
    TooManyInvitations,
    NotFound,
    NotInCall,
    TargetNotInCall,
    /// More passwords wait to be checked than can be.
    Overloaded,
    RelayNotRunning,
    /// One that may have what was asked for does not answer.
    RelaySilent,
    /// Of files.
    QuotaExceeded,
    /// More bytes than this.
    FileTooLarge(u64),
    /// Of a type that is not taken here.
    FileType,
    /// The content is not what name or declared type say.
    FileContradiction,
    /// To a message, with which it goes.
    FileAttached,
    /// The disk has no space for what was to be kept.
    StorageFull,
    /// What keeps the bytes of files does not answer.
    FilesUnavailable,
    /// It cannot be reached, or does not answer.
    DatabaseUnavailable,
    /// Nothing is pushed here.
    PushOff,
}

impl Refusal {
    /// The machine word that clients may rely on.
    pub fn code(self) -> &'static str {
        match self {
            Refusal::NotParticipant
            | Refusal::OwnerOnly
            | Refusal::ModeratorOnly
            | Refusal::NotAbove
            | Refusal::AuthorOnly
            | Refusal::AdminOnly
            | Refusal::PersonsOnly
            | Refusal::DirectRoom => "permission_denied",
            Refusal::FileTooLarge(_) => "payload_too_large",
            Refusal::FileType | Refusal::FileContradiction => "unsupported_media_type",
            other => other.key(),
        }
    }

    fn key(self) -> &'static str {
        match self {
            Refusal::AuthenticationRequired => "authentication_required",
            Refusal::SignInAgain => "sign_in_again",
            Refusal::SecondFactorRequired => "second_factor_required",
            Refusal::WrongCode => "wrong_code",
            Refusal::SecondFactorOn => "second_factor_on",
            Refusal::SecondFactorOff => "second_factor_off",
            Refusal::LastAdmin => "last_admin",
            Refusal::OidcState => "oidc_state",
            Refusal::OidcDenied => "oidc_denied",
            Refusal::OidcFailed => "oidc_failed",
            Refusal::OidcUnavailable => "oidc_unavailable",
            Refusal::OidcTaken => "oidc_taken",
            Refusal::OnlyWayIn => "only_way_in",
            Refusal::InvalidCredentials => "invalid_credentials",
            Refusal::AccountBlocked => "account_blocked",
            Refusal::RegistrationClosed => "registration_closed",
            Refusal::NotParticipant => "not_participant",
            Refusal::OwnerOnly => "owner_only",
            Refusal::ModeratorOnly => "moderator_only",
            Refusal::NotAbove => "not_above",
            Refusal::AuthorOnly => "author_only",
            Refusal::AdminOnly => "admin_only",
            Refusal::PersonsOnly => "persons_only",
            Refusal::TooManyBots => "too_many_bots",
            Refusal::TooManyHooks => "too_many_hooks",
            Refusal::TooManyPins => "too_many_pins",
            Refusal::DirectRoom => "direct_room",
            Refusal::InvitationRequired => "invitation_required",
            Refusal::AlreadyParticipant => "already_participant",
            Refusal::Banned => "banned",
            Refusal::RoomFull => "room_full",
            Refusal::TooManyRooms => "too_many_rooms",
            Refusal::TooManyInvitations => "too_many_invitations",
            Refusal::NotFound => "not_found",
            Refusal::NotInCall => "not_in_call",
            Refusal::TargetNotInCall => "target_not_in_call",
            Refusal::Overloaded => "overloaded",
            Refusal::RelayNotRunning => "relay_not_running",
            Refusal::RelaySilent => "relay_silent",
            Refusal::QuotaExceeded => "quota_exceeded",
            Refusal::FileTooLarge(_) => "file_too_large",
            Refusal::FileType => "file_type",
            Refusal::FileContradiction => "file_contradiction",
            Refusal::FileAttached => "file_attached",
            Refusal::StorageFull => "storage_full",
            Refusal::FilesUnavailable => "files_unavailable",
            Refusal::DatabaseUnavailable => "database_unavailable",
            Refusal::PushOff => "push_off",
        }
    }

    pub fn text(self, lang: Lang) -> String {
        let limit = match self {
            // In KiB, as numbers of bytes are not read.
            Refusal::FileTooLarge(bytes) => usize::try_from(bytes / 1024).ok(),
            _ => None,
        };
        i18n::text(lang, self.key(), limit)
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
            StorageError::NoSuchFile => Error::field("attachment_ids", Problem::NoSuchFile),
            StorageError::QuotaExceeded => Refusal::QuotaExceeded.into(),
            StorageError::TooManyHooks => Refusal::TooManyHooks.into(),
            StorageError::TooManyPins => Refusal::TooManyPins.into(),
            StorageError::TooManyBots => Refusal::TooManyBots.into(),
            StorageError::LastAdmin => Refusal::LastAdmin.into(),
            StorageError::SecondFactorOn => Refusal::SecondFactorOn.into(),
            StorageError::TooManyPushSubscriptions => {
                Error::field("endpoint", Problem::TooMany(MAX_PUSH_SUBSCRIPTIONS))
            }
            StorageError::NoSuchReply => Error::field("reply_to", Problem::NoSuchMessage),
            StorageError::ClientIdTaken => Error::field("client_id", Problem::ClientIdTaken),
            StorageError::TooManyReactions => {
                let limit = usize::try_from(MAX_REACTIONS).unwrap_or_default();
                Error::field("emoji", Problem::TooManyReactions(limit))
            }
            StorageError::NothingToFind => Error::field("q", Problem::NoWord),
            StorageError::TooMuchToSearch => Error::field("q", Problem::TooMuchToSearch),
            StorageError::NotFound => Refusal::NotFound.into(),
            StorageError::Full => Refusal::StorageFull.into(),
            StorageError::BlobGone => Refusal::FilesUnavailable.into(),
            // One that has too much to do is as good as none.
            StorageError::Unavailable(_) | StorageError::Database(DatabaseError::Interrupted) => {
                Refusal::DatabaseUnavailable.into()
            }
            StorageError::Banned => Refusal::Banned.into(),
            StorageError::RoomFull => Refusal::RoomFull.into(),
            StorageError::TooManyRooms => Refusal::TooManyRooms.into(),
            StorageError::TooManyInvitations => Refusal::TooManyInvitations.into(),
            other => Error::Storage(other),
        }
    }
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        StorageError::from(error).into()
    }
}

/// What went wrong in the store is for the log alone.
impl From<BlobError> for Error {
    fn from(error: BlobError) -> Self {
        match error {
            BlobError::Io(error) => error.into(),
            BlobError::Storage(error) => error.into(),
            BlobError::Missing => Refusal::NotFound.into(),
            error @ (BlobError::Refused { .. } | BlobError::Unavailable(_)) => {
                tracing::error!(%error, "the store of files cannot be used");
                Refusal::FilesUnavailable.into()
            }
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
