//! The objects of the API.

use moznods_signaling::{CallState, MemberState};
use moznods_storage::{Message, Participant, Room, Timestamp, User, UserId};
use serde::{Serialize, Serializer};
use time::OffsetDateTime;
use time::macros::format_description;

use crate::app::{Login, RoomSeen};

/// A user as others see him.
#[derive(Serialize)]
pub struct UserJson<'a> {
    id: UserId,
    username: &'a str,
    /// Only for oneself; empty otherwise.
    email: &'a str,
    display_name: &'a str,
    avatar_url: &'static str,
}

impl<'a> From<&'a User> for UserJson<'a> {
    fn from(user: &'a User) -> Self {
        UserJson {
            id: user.id,
            username: &user.username,
            email: "",
            display_name: user.shown_name(),
            avatar_url: "",
        }
    }
}

/// A user as he sees himself.
#[derive(Serialize)]
pub struct OwnUserJson<'a> {
    #[serde(flatten)]
    user: UserJson<'a>,
    is_admin: bool,
}

impl<'a> From<&'a User> for OwnUserJson<'a> {
    fn from(user: &'a User) -> Self {
        OwnUserJson {
            user: UserJson {
                email: &user.email,
                ..UserJson::from(user)
            },
            is_admin: user.is_admin,
        }
    }
}

#[derive(Serialize)]
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

#[derive(Serialize)]
pub struct RoomJson<'a> {
    id: i64,
    name: &'a str,
    owner: UserJson<'a>,
    participant_count: usize,
    active_call_participants: &'a [String],
    unread_count: i64,
    is_pinned: bool,
    participant_users: Vec<ParticipantUserJson<'a>>,
    is_direct: bool,
    is_public: bool,
    #[serde(serialize_with = "rfc3339")]
    created_at: Timestamp,
    #[serde(serialize_with = "rfc3339")]
    updated_at: Timestamp,
}

#[derive(Serialize)]
struct ParticipantUserJson<'a> {
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
            owner: UserJson::from(&view.owner),
            participant_count: view.participants.len(),
            active_call_participants: &seen.in_call,
            unread_count: view.unread_count,
            is_pinned: view.is_pinned,
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

#[derive(Serialize)]
pub struct ParticipantJson<'a> {
    id: i64,
    user: UserJson<'a>,
    #[serde(serialize_with = "rfc3339")]
    joined_at: Timestamp,
    /// Owns the room.
    is_admin: bool,
}

impl<'a> ParticipantJson<'a> {
    pub fn new(room: &Room, participant: &'a Participant) -> Self {
        ParticipantJson {
            id: participant.id,
            user: UserJson::from(&participant.user),
            joined_at: participant.joined_at,
            is_admin: participant.user.id == room.owner_id,
        }
    }
}

#[derive(Serialize)]
pub struct MessageJson<'a> {
    id: i64,
    room: i64,
    author: UserJson<'a>,
    content: &'a str,
    attachments: [(); 0],
    #[serde(serialize_with = "rfc3339")]
    created_at: Timestamp,
    read_by_ids: &'a [UserId],
}

impl<'a> From<&'a Message> for MessageJson<'a> {
    fn from(message: &'a Message) -> Self {
        MessageJson {
            id: message.id,
            room: message.room_id,
            author: UserJson::from(&message.author),
            content: &message.content,
            attachments: [],
            created_at: message.created_at,
            read_by_ids: &message.read_by,
        }
    }
}

#[derive(Serialize)]
pub struct InvitationJson {
    pub token: String,
    #[serde(serialize_with = "rfc3339_or_null")]
    pub expires_at: Option<Timestamp>,
    pub room_name: String,
}

#[derive(Serialize)]
pub struct CallStateJson<'a> {
    participants: Vec<CallMemberJson<'a>>,
    room_state: &'static str,
}

#[derive(Serialize)]
struct CallMemberJson<'a> {
    user_id: UserId,
    username: &'a str,
    state: &'static str,
}

impl<'a> From<&'a CallState> for CallStateJson<'a> {
    fn from(call: &'a CallState) -> Self {
        let member = |member: &'a moznods_signaling::CallMember| CallMemberJson {
            user_id: member.user_id,
            username: &member.username,
            state: match member.state {
                MemberState::Connecting => "connecting",
                MemberState::Active => "active",
            },
        };
        CallStateJson {
            participants: call.members.iter().map(member).collect(),
            room_state: if call.is_active() { "active" } else { "idle" },
        }
    }
}

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
                room_name: String::new(),
            })
        };
        let json = written(Some(1_700_000_000_000_042)).unwrap();
        assert!(json.contains(r#""2023-11-14T22:13:20.000042Z""#), "{json}");
        assert!(written(None).unwrap().contains(r#""expires_at":null"#));
    }
}
