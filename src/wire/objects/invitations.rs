//! Invitations to rooms.

use moznods_storage::{Invitation, Timestamp};
use serde::Serialize;
use utoipa::ToSchema;

use super::users::UserJson;
use super::{rfc3339, rfc3339_or_null};
use crate::app::Preview;

/// One that has just been made.
#[derive(Serialize, ToSchema)]
#[schema(as = Invitation)]
pub struct InvitationJson {
    pub token: String,
    #[serde(serialize_with = "rfc3339_or_null")]
    #[schema(value_type = Option<String>, format = DateTime, required = true)]
    pub expires_at: Option<Timestamp>,
    #[schema(required = true)]
    pub max_uses: Option<i64>,
    pub room_name: String,
}

/// One of those that there are.
#[derive(Serialize, ToSchema)]
#[schema(as = ListedInvitation)]
pub struct ListedInvitationJson<'a> {
    token: &'a str,
    created_by: UserJson<'a>,
    #[serde(serialize_with = "rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[serde(serialize_with = "rfc3339_or_null")]
    #[schema(value_type = Option<String>, format = DateTime, required = true)]
    expires_at: Option<Timestamp>,
    #[schema(required = true)]
    max_uses: Option<i64>,
    uses: i64,
}

impl<'a> From<&'a Invitation> for ListedInvitationJson<'a> {
    fn from(invitation: &'a Invitation) -> Self {
        ListedInvitationJson {
            token: &invitation.token,
            created_by: UserJson::from(&invitation.by),
            created_at: invitation.created_at,
            expires_at: invitation.expires_at,
            max_uses: invitation.max_uses,
            uses: invitation.uses,
        }
    }
}

/// What one sees of a room to which one is invited.
#[derive(Serialize, ToSchema)]
#[schema(as = Preview)]
pub struct PreviewJson<'a> {
    room_name: &'a str,
    participant_count: usize,
    inviter: UserJson<'a>,
}

impl<'a> From<&'a Preview> for PreviewJson<'a> {
    fn from(preview: &'a Preview) -> Self {
        PreviewJson {
            room_name: &preview.room_name,
            participant_count: preview.participant_count,
            inviter: UserJson::from(&preview.inviter),
        }
    }
}
