//! Webhooks.

use moznods_storage::{Hook, Timestamp};
use serde::Serialize;
use utoipa::ToSchema;

use super::users::UserJson;
use super::{rfc3339, rfc3339_or_null};
use crate::wire::urls;

#[derive(Serialize, ToSchema)]
#[schema(as = Hook)]
pub struct HookJson<'a> {
    /// Also that of the author of what comes by it.
    id: i64,
    room: i64,
    name: &'a str,
    avatar_url: String,
    made_by: UserJson<'a>,
    #[serde(serialize_with = "rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[serde(serialize_with = "rfc3339_or_null")]
    #[schema(value_type = Option<String>, format = DateTime, required = true)]
    last_used_at: Option<Timestamp>,
}

impl<'a> From<&'a Hook> for HookJson<'a> {
    fn from(hook: &'a Hook) -> Self {
        HookJson {
            id: hook.author.id,
            room: hook.room_id,
            name: &hook.author.username,
            avatar_url: urls::avatar(hook.author.avatar),
            made_by: UserJson::from(&hook.made_by),
            created_at: hook.created_at,
            last_used_at: hook.last_used_at,
        }
    }
}

/// A webhook with its URL, right after that was made.
#[derive(Serialize, ToSchema)]
#[schema(as = NewHook)]
pub struct NewHookJson<'a> {
    pub hook: HookJson<'a>,
    pub url: String,
}

/// Where a program posts; whoever has it may write.
#[derive(Serialize, ToSchema)]
#[schema(as = HookUrl)]
pub struct HookUrlJson {
    pub url: String,
}

/// `server`: its URL, without a slash at the end.
pub fn hook_url(server: &str, hook: i64, secret: &str) -> String {
    format!("{server}/api/hooks/{hook}/{secret}/")
}
