//! How things are written as JSON, in answers and in frames alike.

mod frames;
mod inbound;
mod number;
mod objects;
mod relay;

pub use frames::{
    WireFrames, chat_message, error, message_read, pong, request_mic, room_added, room_presence,
    signal, taken_over,
};
pub use inbound::{BadFrame, Inbound, Signal, ids};
pub use number::Int;
pub use objects::{
    CallStateJson, InvitationJson, LoginJson, MessageJson, OwnUserJson, ParticipantJson, RoomJson,
};
pub use relay::{RelayJson, RelaySecretJson};
