//! Users, rooms and the server itself as administrators see them.

use moznods_storage::{Account, RoomAccount, Timestamp};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa::openapi::Object;

use super::users::UserJson;
use super::{one_of, rfc3339, rfc3339_or_null};
use crate::app::Warning;
use crate::config::Setting;

#[derive(Serialize, ToSchema)]
#[schema(as = Account)]
pub struct AccountJson<'a> {
    #[serde(flatten)]
    user: UserJson<'a>,
    is_admin: bool,
    is_blocked: bool,
    has_totp: bool,
    file_count: i64,
    file_bytes: i64,
    #[serde(serialize_with = "rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// To the hour; `null`: never signed in.
    #[serde(serialize_with = "rfc3339_or_null")]
    #[schema(value_type = Option<String>, format = DateTime, required = true)]
    last_seen_at: Option<Timestamp>,
}

impl<'a> From<&'a Account> for AccountJson<'a> {
    fn from(account: &'a Account) -> Self {
        let user = &account.user;
        AccountJson {
            user: UserJson::with_email(user),
            is_admin: user.is_admin,
            is_blocked: user.blocked,
            has_totp: account.has_second_factor,
            file_count: account.files.files,
            file_bytes: account.files.bytes,
            created_at: user.created_at,
            last_seen_at: account.last_seen,
        }
    }
}

/// Nothing of what is said in the room.
#[derive(Serialize, ToSchema)]
#[schema(as = RoomAccount)]
pub struct RoomAccountJson<'a> {
    id: i64,
    name: &'a str,
    is_public: bool,
    is_direct: bool,
    owner: UserJson<'a>,
    participant_count: i64,
    message_count: i64,
    file_bytes: i64,
    #[serde(serialize_with = "rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[serde(serialize_with = "rfc3339_or_null")]
    #[schema(value_type = Option<String>, format = DateTime, required = true)]
    last_message_at: Option<Timestamp>,
}

impl<'a> From<&'a RoomAccount> for RoomAccountJson<'a> {
    fn from(account: &'a RoomAccount) -> Self {
        let room = &account.room;
        RoomAccountJson {
            id: room.id,
            name: &room.name,
            is_public: room.is_public,
            is_direct: room.is_direct,
            owner: UserJson::from(&account.owner),
            participant_count: account.participant_count,
            message_count: account.message_count,
            file_bytes: account.file_bytes,
            created_at: room.created_at,
            last_message_at: account.last_message_at,
        }
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = Setting)]
pub struct SettingJson<'a> {
    /// `section.name`, or `name`.
    key: &'a str,
    /// As it was written; `null`: it is a secret.
    #[schema(required = true)]
    value: Option<&'a str>,
    is_secret: bool,
    /// Whether there is anything.
    is_set: bool,
    /// The flag, the variable or the file that says so, or `default`.
    origin: &'a str,
    /// Whether the running server takes over another value on SIGHUP.
    is_reloaded: bool,
    /// Whether another value was found by SIGHUP, which waits for the next start.
    is_waiting: bool,
}

impl<'a> From<Setting<'a>> for SettingJson<'a> {
    fn from(setting: Setting<'a>) -> Self {
        SettingJson {
            key: setting.key,
            value: setting.value,
            is_secret: setting.value.is_none(),
            is_set: setting.is_set,
            origin: setting.origin,
            is_reloaded: setting.is_reloaded,
            is_waiting: setting.is_waiting,
        }
    }
}

/// What the log says that somebody should know.
#[derive(Serialize, ToSchema)]
#[schema(as = Warning)]
pub struct WarningJson<'a> {
    /// The last time.
    #[serde(serialize_with = "rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    #[serde(serialize_with = "rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    first_at: Timestamp,
    /// How often, with the same text.
    count: u64,
    #[schema(schema_with = severities)]
    level: &'static str,
    /// The part of the program that says so.
    target: &'a str,
    text: &'a str,
}

const WARN: &str = "warn";
const ERROR: &str = "error";

fn severities() -> Object {
    one_of([WARN, ERROR])
}

impl<'a> From<&'a Warning> for WarningJson<'a> {
    fn from(warning: &'a Warning) -> Self {
        WarningJson {
            at: warning.at,
            first_at: warning.first_at,
            count: warning.count,
            level: if warning.is_error { ERROR } else { WARN },
            target: warning.target,
            text: &warning.text,
        }
    }
}
