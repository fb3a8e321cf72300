//! The objects of the API.

mod administration;
mod audit;
mod bots;
mod calls;
mod export;
mod files;
mod hooks;
mod invitations;
mod messages;
mod push;
mod rooms;
mod search;
mod server;
mod users;

use moznods_storage::Timestamp;
use serde::Serializer;
use time::OffsetDateTime;
use time::macros::format_description;
use utoipa::openapi::{Object, ObjectBuilder, Type};

pub use administration::{AccountJson, RoomAccountJson, SettingJson, WarningJson};
pub use audit::{AuditEntryJson, AuditLogJson};
pub use bots::{BotJson, NewBotJson, TokenJson};
pub use calls::CallStateJson;
pub use export::{ExportHeadJson, ExportJson};
pub use files::FileJson;
pub use hooks::{HookJson, HookUrlJson, NewHookJson, hook_url};
pub use invitations::{InvitationJson, ListedInvitationJson, PreviewJson};
pub use messages::{MessageJson, PinJson, WindowJson};
pub use push::{PushSettingsJson, PushSubscriptionJson, levels};
pub use rooms::{BanJson, ChangedRoomJson, ParticipantJson, PublicRoomJson, RoomJson, role};
pub use search::FoundJson;
pub use server::ConfigJson;
pub use users::{
    DeviceJson, LoginJson, MeJson, OidcLinkJson, OwnUserJson, RecoveryCodesJson, ResetLinkJson,
    TotpSetupJson, UserJson,
};

/// RFC 3339, UTC, microseconds, `Z`.
pub(super) fn rfc3339<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    let format =
        format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]Z");
    let text = OffsetDateTime::from_unix_timestamp_nanos(i128::from(*time) * 1000)
        .map_err(serde::ser::Error::custom)?
        .format(format)
        .map_err(serde::ser::Error::custom)?;
    serializer.serialize_str(&text)
}

/// For the document: a text that is one of these.
pub fn one_of<const N: usize>(words: [&str; N]) -> Object {
    let text = ObjectBuilder::new().schema_type(Type::String);
    text.enum_values(Some(words)).build()
}

pub(super) fn rfc3339_or_null<S: Serializer>(
    time: &Option<Timestamp>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => rfc3339(time, serializer),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_microseconds_and_a_z() {
        let written = |time| {
            serde_json::to_string(&InvitationJson {
                token: String::new(),
                expires_at: time,
                max_uses: None,
                room_name: String::new(),
            })
        };
        let json = written(Some(1_700_000_000_000_042)).unwrap();
        assert!(json.contains(r#""2023-11-14T22:13:20.000042Z""#), "{json}");
        assert!(written(None).unwrap().contains(r#""expires_at":null"#));
    }
}
