//! Rooms, and who takes part in them.

use moznods_storage::{Ban, Mute, Participant, PublicRoom, Role, Room, RoomId, Timestamp, UserId};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa::openapi::Object;

use super::users::UserJson;
use super::{one_of, rfc3339, rfc3339_or_null};
use crate::app::RoomSeen;

#[derive(Serialize, ToSchema)]
#[schema(as = Room)]
pub struct RoomJson<'a> {
    id: i64,
    name: &'a str,
    topic: &'a str,
    owner: UserJson<'a>,
    participant_count: usize,
    active_call_participants: &'a [String],
    unread_count: i64,
    #[schema(required = true)]
    first_unread_id: Option<i64>,
    mention_count: i64,
    is_pinned: bool,
    is_muted: bool,
    /// `null` also where it is for good.
    #[serde(serialize_with = "rfc3339_or_null")]
    #[schema(value_type = Option<String>, format = DateTime, required = true)]
    muted_until: Option<Timestamp>,
    /// What the asking user is in the room.
    #[schema(schema_with = roles)]
    role: &'static str,
    participant_users: Vec<ParticipantUserJson<'a>>,
    is_direct: bool,
    is_public: bool,
    #[serde(serialize_with = "rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[serde(serialize_with = "rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
}

#[derive(Serialize, ToSchema)]
#[schema(as = ParticipantUser)]
struct ParticipantUserJson<'a> {
    #[schema(value_type = i64)]
    id: UserId,
    username: &'a str,
    display_name: &'a str,
}

impl<'a> From<&'a RoomSeen> for RoomJson<'a> {
    fn from(seen: &'a RoomSeen) -> Self {
        let view = &seen.view;
        RoomJson {
            id: view.room.id,
            name: &view.room.name,
            topic: &view.room.topic,
            owner: UserJson::from(&view.owner),
            participant_count: view.participants.len(),
            active_call_participants: &seen.in_call,
            unread_count: view.unread_count,
            first_unread_id: view.first_unread_id,
            mention_count: view.mention_count,
            is_pinned: view.is_pinned,
            is_muted: seen.is_muted,
            muted_until: match view.mute {
                Mute::Until(end) if seen.is_muted => Some(end),
                _ => None,
            },
            role: role(view.role),
            participant_users: view
                .participants
                .iter()
                .map(|participant| ParticipantUserJson {
                    id: participant.id,
                    username: &participant.username,
                    display_name: participant.shown_name(),
                })
                .collect(),
            is_direct: view.room.is_direct,
            is_public: view.room.is_public,
            created_at: view.room.created_at,
            updated_at: view.room.updated_at,
        }
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = Participant)]
pub struct ParticipantJson<'a> {
    id: i64,
    user: UserJson<'a>,
    #[serde(serialize_with = "rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    joined_at: Timestamp,
    /// Owns the room.
    is_admin: bool,
    #[schema(schema_with = roles)]
    role: &'static str,
}

impl<'a> ParticipantJson<'a> {
    pub fn new(room: &Room, participant: &'a Participant) -> Self {
        ParticipantJson {
            id: participant.id,
            user: UserJson::from(&participant.user),
            joined_at: participant.joined_at,
            is_admin: participant.user.id == room.owner_id,
            role: role(participant.role),
        }
    }
}

fn roles() -> Object {
    one_of([Role::Owner, Role::Moderator, Role::Member].map(role))
}

pub fn role(role: Role) -> &'static str {
    match role {
        Role::Owner => "owner",
        Role::Moderator => "moderator",
        Role::Member => "member",
    }
}

/// Who may not enter a room.
#[derive(Serialize, ToSchema)]
#[schema(as = Ban)]
pub struct BanJson<'a> {
    user: UserJson<'a>,
    banned_by: UserJson<'a>,
    reason: &'a str,
    #[serde(serialize_with = "rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
}

impl<'a> From<&'a Ban> for BanJson<'a> {
    fn from(ban: &'a Ban) -> Self {
        BanJson {
            user: UserJson::from(&ban.user),
            banned_by: UserJson::from(&ban.banned_by),
            reason: &ban.reason,
            created_at: ban.created_at,
        }
    }
}

/// What all who take part see alike of a room, for those who know it already.
#[derive(Serialize)]
pub struct ChangedRoomJson<'a> {
    id: RoomId,
    name: &'a str,
    topic: &'a str,
    owner_id: UserId,
    participant_count: usize,
    is_public: bool,
    #[serde(serialize_with = "rfc3339")]
    updated_at: Timestamp,
}

impl<'a> ChangedRoomJson<'a> {
    pub fn new(room: &'a Room, participant_count: usize) -> Self {
        ChangedRoomJson {
            id: room.id,
            name: &room.name,
            topic: &room.topic,
            owner_id: room.owner_id,
            participant_count,
            is_public: room.is_public,
            updated_at: room.updated_at,
        }
    }
}

/// A public room as anybody sees it.
#[derive(Serialize, ToSchema)]
#[schema(as = PublicRoom)]
pub struct PublicRoomJson<'a> {
    #[schema(value_type = i64)]
    id: RoomId,
    name: &'a str,
    topic: &'a str,
    owner: UserJson<'a>,
    participant_count: i64,
    /// Whether the asking user takes part.
    is_participant: bool,
    #[serde(serialize_with = "rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
}

impl<'a> From<&'a PublicRoom> for PublicRoomJson<'a> {
    fn from(found: &'a PublicRoom) -> Self {
        PublicRoomJson {
            id: found.room.id,
            name: &found.room.name,
            topic: &found.room.topic,
            owner: UserJson::from(&found.owner),
            participant_count: found.participant_count,
            is_participant: found.is_participant,
            created_at: found.room.created_at,
        }
    }
}
