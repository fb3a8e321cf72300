//! How things are written as JSON, in answers and in frames alike.

mod bans;
pub mod export;
mod frames;
mod inbound;
mod number;
mod objects;
mod relay;
mod running;
mod time;
pub mod urls;

pub use bans::AbuseBanJson;
pub use frames::{
    WireFrames, call_declined, chat_message, chat_message_again, error, hello, message_deleted,
    message_edited, message_pinned, message_read, mute, participant_changed, pong, presence,
    reaction_changed, request_mic, resync, room_added, room_presence, room_removed, room_updated,
    signal, taken_over, typing,
};
pub use inbound::{BadFrame, Inbound, MAX_DEPTH, MessageAct, Signal, ids, nests_deeper, room_of};
pub use number::Int;
pub use objects::{
    AccountJson, AuditEntryJson, AuditLogJson, BanJson, BotJson, CallStateJson, ConfigJson,
    DeviceJson, ExportJson, FileJson, FoundJson, HookJson, HookUrlJson, InvitationJson,
    ListedInvitationJson, LoginJson, MeJson, MessageJson, NewBotJson, NewHookJson, OidcLinkJson,
    OwnUserJson, ParticipantJson, PinJson, PreviewJson, PublicRoomJson, PushSettingsJson,
    PushSubscriptionJson, RecoveryCodesJson, ResetLinkJson, RoomAccountJson, RoomJson, SettingJson,
    TokenJson, TotpSetupJson, UserJson, WarningJson, WindowJson, hook_url, levels,
};
pub use relay::{
    AllocationJson, RelayDeviceJson, RelayDeviceMadeJson, RelayJson, RelayNodeJson,
    RelaySecretJson, RelaySecretTextJson, UsageJson,
};
pub use running::{RunningJson, WelcomeJson};
pub use time::Moment;
