//! Web push.

use moznods_storage::{PushSettings, PushSubscription, Timestamp};
use serde::Serialize;

use super::{rfc3339, rfc3339_or_null};

/// A subscription as its user sees it, without the keys.
#[derive(Serialize)]
pub struct PushSubscriptionJson<'a> {
    id: i64,
    endpoint: &'a str,
    #[serde(serialize_with = "rfc3339")]
    created_at: Timestamp,
    #[serde(serialize_with = "rfc3339_or_null")]
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

#[derive(Serialize)]
pub struct PushSettingsJson {
    /// `all`, `mentions` (and direct rooms) or `none`.
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
