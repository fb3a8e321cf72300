//! What an export says of its room.

use moznods_storage::{RoomId, Timestamp, UserId};
use serde::Serialize;
use utoipa::ToSchema;

use super::messages::MessageJson;
use super::rfc3339;
use super::rooms::ParticipantJson;
use crate::app::Export;

/// Goes up when those who read exports would have to learn something.
const VERSION: u32 = 1;

/// All of it, as it is written piece by piece.
#[derive(Serialize, ToSchema)]
#[schema(as = Export)]
pub struct ExportJson<'a> {
    #[serde(flatten)]
    head: ExportHeadJson<'a>,
    /// As Message, without `read_by_ids`; oldest first.
    #[schema(value_type = Vec<Object>)]
    messages: Vec<MessageJson<'a>>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = ExportHead)]
pub struct ExportHeadJson<'a> {
    format: &'static str,
    version: u32,
    #[serde(serialize_with = "rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    exported_at: Timestamp,
    room: ExportedRoomJson<'a>,
    members: Vec<ParticipantJson<'a>>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = ExportedRoom)]
struct ExportedRoomJson<'a> {
    #[schema(value_type = i64)]
    id: RoomId,
    name: &'a str,
    topic: &'a str,
    #[schema(value_type = i64)]
    owner_id: UserId,
    is_direct: bool,
    is_public: bool,
    #[serde(serialize_with = "rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[serde(serialize_with = "rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
}

impl<'a> From<&'a Export> for ExportHeadJson<'a> {
    fn from(export: &'a Export) -> Self {
        let room = &export.room;
        let participants = export.participants.iter();
        ExportHeadJson {
            format: "moznods-room",
            version: VERSION,
            exported_at: export.began_at,
            room: ExportedRoomJson {
                id: room.id,
                name: &room.name,
                topic: &room.topic,
                owner_id: room.owner_id,
                is_direct: room.is_direct,
                is_public: room.is_public,
                created_at: room.created_at,
                updated_at: room.updated_at,
            },
            members: participants
                .map(|participant| ParticipantJson::new(room, participant))
                .collect(),
        }
    }
}
