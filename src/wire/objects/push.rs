//! Web push.

use moznods_storage::{PushMessages, PushSettings, PushSubscription, Timestamp};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa::openapi::Object;

use super::{one_of, rfc3339, rfc3339_or_null};

/// A subscription as its user sees it, without the keys.
#[derive(Serialize, ToSchema)]
#[schema(as = PushSubscription)]
pub struct PushSubscriptionJson<'a> {
    id: i64,
    endpoint: &'a str,
    #[serde(serialize_with = "rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[serde(serialize_with = "rfc3339_or_null")]
    #[schema(value_type = Option<String>, format = DateTime, required = true)]
    expires_at: Option<Timestamp>,
}

impl<'a> From<&'a PushSubscription> for PushSubscriptionJson<'a> {
    fn from(subscription: &'a PushSubscription) -> Self {
        PushSubscriptionJson {
            id: subscription.id,
            endpoint: &subscription.endpoint.0,
            created_at: subscription.created_at,
            expires_at: subscription.expires_at,
        }
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = PushSettings)]
pub struct PushSettingsJson {
    /// `all`, `mentions` (and direct rooms) or `none`.
    #[schema(schema_with = levels)]
    messages: &'static str,
    calls: bool,
}

impl From<PushSettings> for PushSettingsJson {
    fn from(settings: PushSettings) -> Self {
        PushSettingsJson {
            messages: settings.messages.as_str(),
            calls: settings.calls,
        }
    }
}

pub fn levels() -> Object {
    one_of(PushMessages::ALL.map(PushMessages::as_str))
}
