//! Bots, as their owners see them.

use moznods_storage::{Bot, Timestamp};
use serde::Serialize;
use utoipa::ToSchema;

use super::rfc3339;
use super::users::UserJson;

#[derive(Serialize, ToSchema)]
#[schema(as = Bot)]
pub struct BotJson<'a> {
    #[serde(flatten)]
    user: UserJson<'a>,
    is_blocked: bool,
    #[serde(serialize_with = "rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// `null`: it was taken away. The token itself is shown when it is made, and never again.
    #[schema(required = true)]
    token: Option<BotTokenJson>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = BotToken)]
struct BotTokenJson {
    #[serde(serialize_with = "rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// To the hour.
    #[serde(serialize_with = "rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    last_used_at: Timestamp,
}

impl<'a> From<&'a Bot> for BotJson<'a> {
    fn from(bot: &'a Bot) -> Self {
        BotJson {
            user: UserJson::from(&bot.user),
            is_blocked: bot.user.blocked,
            created_at: bot.user.created_at,
            token: bot.token.map(|token| BotTokenJson {
                created_at: token.created_at,
                last_used_at: token.last_used_at,
            }),
        }
    }
}

/// A bot with its token, right after that was made.
#[derive(Serialize, ToSchema)]
#[schema(as = NewBot)]
pub struct NewBotJson<'a> {
    pub bot: BotJson<'a>,
    pub token: String,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Token)]
pub struct TokenJson {
    pub token: String,
}
