//! How things are written as JSON, in answers and in frames alike.

mod frames;
mod inbound;
mod objects;
mod relay;

pub use frames::{
    WireFrames, chat_message, error, message_read, pong, request_mic, room_added, room_presence,
    signal,
};
pub use inbound::{BadFrame, Inbound, Signal};
pub use objects::{
    CallStateJson, InvitationJson, LoginJson, MessageJson, OwnUserJson, ParticipantJson, RoomJson,
};
pub use relay::RelayJson;
