//! How long things may be: in characters, a password at most in bytes.

pub const USERNAME: usize = 150;
pub const EMAIL: usize = 254;
pub const DISPLAY_NAME: usize = 150;
pub const PASSWORD_MIN: usize = 8;
pub const PASSWORD_MAX: usize = 1024;
pub const DEVICE_NAME: usize = 100;
pub const ROOM_NAME: usize = 255;
pub const TOPIC: usize = 1000;
pub const MESSAGE: usize = 8000;
pub const PUSH_ENDPOINT: usize = 2048;
/// Files of one message.
pub const ATTACHMENTS: usize = 10;
pub const CLIENT_ID: usize = 64;
pub const INVITATION_HOURS: usize = 8760;
/// How many one invitation may let in.
pub const INVITATION_USES: i64 = 1000;
/// To one room, that can still be used.
pub const INVITATIONS: i64 = 100;
pub const BAN_REASON: usize = 300;
pub const HOOK_NAME: usize = 100;
/// Messages of one room.
pub const PINS: i64 = 50;
/// Of a name that is sought for.
pub const SEARCH: usize = 100;
/// Of what is sought for in messages.
pub const QUERY: usize = 200;
/// Of a device's relay account.
pub const RELAY_DEVICE_NAME: usize = 64;
/// Of its password.
pub const RELAY_DEVICE_PASSWORD: std::ops::RangeInclusive<usize> = 8..=128;
/// Of a secret of another program.
pub const RELAY_SECRET_NAME: usize = 64;
/// Seconds for which the one before may be taken as well.
pub const RELAY_SECRET_KEPT: u32 = 31_536_000;
/// The same, where nothing is said.
pub const RELAY_SECRET_KEPT_DEFAULT: u32 = 86_400;
