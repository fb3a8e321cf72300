//! How things are written as JSON, in answers and in frames alike.

pub mod export;
mod frames;
mod inbound;
mod number;
mod objects;
mod relay;
mod time;
pub mod urls;

pub use frames::{
    WireFrames, call_declined, chat_message, chat_message_again, error, hello, message_deleted,
    message_edited, message_read, participant_changed, pong, presence, reaction_changed,
    request_mic, resync, room_added, room_presence, room_removed, room_updated, signal, taken_over,
    typing,
};
pub use inbound::{BadFrame, Inbound, MAX_DEPTH, MessageAct, Signal, ids, nests_deeper, room_of};
pub use number::Int;
pub use objects::{
    AuditEntryJson, AuditLogJson, BanJson, CallStateJson, ConfigJson, DeviceJson, ExportJson,
    FileJson, FoundJson, InvitationJson, ListedInvitationJson, LoginJson, MeJson, MessageJson,
    OidcLinkJson, OwnUserJson, ParticipantJson, PreviewJson, PublicRoomJson, PushSettingsJson,
    PushSubscriptionJson, RecoveryCodesJson, ResetLinkJson, RoomJson, TotpSetupJson, UserJson,
    WindowJson, levels,
};
pub use relay::{AllocationJson, RelayDeviceJson, RelayJson, RelaySecretJson, UsageJson};
pub use time::Moment;
