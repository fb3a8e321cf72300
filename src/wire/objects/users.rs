//! Users.

use moznods_storage::{
    Credentials, SignIn, SignInId, Timestamp, TokenHash, User, UserId, UserKind,
};
use serde::Serialize;
use utoipa::ToSchema;

use super::rfc3339;
use crate::app::{Login, TotpSetup};
use crate::wire::urls;

/// A user as others see him.
#[derive(Serialize, ToSchema)]
#[schema(as = User)]
pub struct UserJson<'a> {
    #[schema(value_type = i64)]
    id: UserId,
    username: &'a str,
    /// Only for oneself and administrators; empty otherwise.
    email: &'a str,
    display_name: &'a str,
    avatar_url: String,
    /// A program, not a person.
    is_bot: bool,
}

impl<'a> From<&'a User> for UserJson<'a> {
    fn from(user: &'a User) -> Self {
        UserJson {
            id: user.id,
            username: &user.username,
            email: "",
            display_name: user.shown_name(),
            avatar_url: urls::avatar(user.avatar),
            is_bot: user.kind != UserKind::Person,
        }
    }
}

impl<'a> UserJson<'a> {
    /// For himself, and for administrators.
    pub(super) fn with_email(user: &'a User) -> Self {
        UserJson {
            email: &user.email,
            ..UserJson::from(user)
        }
    }
}

/// A user as he sees himself.
#[derive(Serialize, ToSchema)]
#[schema(as = OwnUser)]
pub struct OwnUserJson<'a> {
    #[serde(flatten)]
    user: UserJson<'a>,
    is_admin: bool,
}

impl<'a> From<&'a User> for OwnUserJson<'a> {
    fn from(user: &'a User) -> Self {
        OwnUserJson {
            user: UserJson::with_email(user),
            is_admin: user.is_admin,
        }
    }
}

/// A user as he sees himself, and by what he may prove who he is.
#[derive(Serialize, ToSchema)]
#[schema(as = Me)]
pub struct MeJson<'a> {
    #[serde(flatten)]
    user: OwnUserJson<'a>,
    has_password: bool,
    has_totp: bool,
    /// Of the second factor, that are left.
    recovery_codes: i64,
    /// Whether he may sign in by the provider.
    has_oidc: bool,
}

impl<'a> MeJson<'a> {
    pub fn new(user: &'a User, credentials: Credentials) -> Self {
        MeJson {
            user: OwnUserJson::from(user),
            has_password: credentials.has_password,
            has_totp: credentials.has_second_factor,
            recovery_codes: credentials.recovery_codes,
            has_oidc: credentials.has_identity,
        }
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = Login)]
pub struct LoginJson<'a> {
    token: &'a str,
    user: OwnUserJson<'a>,
}

impl<'a> From<&'a Login> for LoginJson<'a> {
    fn from(login: &'a Login) -> Self {
        LoginJson {
            token: &login.token,
            user: OwnUserJson::from(&login.user),
        }
    }
}

/// A device on which one is signed in.
#[derive(Serialize, ToSchema)]
#[schema(as = Device)]
pub struct DeviceJson<'a> {
    #[schema(value_type = i64)]
    id: SignInId,
    name: &'a str,
    #[serde(serialize_with = "rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[serde(serialize_with = "rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    last_used_at: Timestamp,
    /// The one that asks.
    current: bool,
}

impl<'a> DeviceJson<'a> {
    pub fn new(device: &'a SignIn, asking: TokenHash) -> Self {
        DeviceJson {
            id: device.id,
            name: &device.name,
            created_at: device.created_at,
            last_used_at: device.last_used_at,
            current: device.token == asking,
        }
    }
}

/// With what an authenticator is set up.
#[derive(Serialize, ToSchema)]
#[schema(as = TotpSetup)]
pub struct TotpSetupJson<'a> {
    /// In base32.
    secret: &'a str,
    /// `otpauth://`, for a QR code.
    uri: &'a str,
}

impl<'a> From<&'a TotpSetup> for TotpSetupJson<'a> {
    fn from(setup: &'a TotpSetup) -> Self {
        TotpSetupJson {
            secret: &setup.secret,
            uri: &setup.uri,
        }
    }
}

/// Each takes the place of a code once.
#[derive(Serialize, ToSchema)]
#[schema(as = RecoveryCodes)]
pub struct RecoveryCodesJson {
    pub recovery_codes: Vec<String>,
}

/// A link for a new password.
#[derive(Serialize, ToSchema)]
#[schema(as = ResetLink)]
pub struct ResetLinkJson {
    pub url: String,
    #[serde(serialize_with = "rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
}

impl ResetLinkJson {
    /// `server`: its URL, without a slash at the end.
    pub fn new(server: &str, token: &str, expires_at: Timestamp) -> Self {
        ResetLinkJson {
            url: format!("{server}/#/reset/{token}"),
            expires_at,
        }
    }
}

/// Where to go to link an account of the provider.
#[derive(Serialize, ToSchema)]
#[schema(as = OidcLink)]
pub struct OidcLinkJson {
    pub url: String,
}
