//! How long things may be: in characters, a password at most in bytes.

pub const USERNAME: usize = 150;
pub const EMAIL: usize = 254;
pub const DISPLAY_NAME: usize = 150;
pub const PASSWORD_MIN: usize = 8;
pub const PASSWORD_MAX: usize = 1024;
pub const ROOM_NAME: usize = 255;
pub const MESSAGE: usize = 8000;
pub const INVITATION_HOURS: usize = 8760;
