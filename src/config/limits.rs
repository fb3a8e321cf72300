//! Settings of limits.

use super::{ConfigError, Settings};

/// How often things may be done. Each number is what may be done at once, and comes back evenly in a minute or an hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rates {
    /// Whether any of them holds.
    pub enabled: bool,
    /// Attempts per minute: to one account from one address, and wrong ones from one address.
    pub sign_in: u32,
    /// Requests of a user per minute that change something.
    pub api: u32,
    /// All other requests of a user per minute, and sockets that he opens.
    pub reads: u32,
    /// Frames of a user per minute that store something.
    pub frames: u32,
    /// All other frames of a user per minute.
    pub signals: u32,
    /// Files of a user per minute.
    pub uploads: u32,
    /// Messages by a webhook per minute.
    pub hooks: u32,
    /// Attempts to register from one address per hour.
    pub registrations: u32,
}

#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub rates: Rates,
    pub room_participants: i64,
    pub rooms_per_user: i64,
    pub bots_per_user: i64,
    pub hooks_per_room: i64,
}

pub(super) fn parse(settings: &Settings) -> Result<Limits, ConfigError> {
    let often = |path| {
        let right = |text: &str| text.parse().ok().filter(|n| (1..=100_000).contains(n));
        settings.get(
            path,
            right,
            "a whole number from 1 to 100000; limits.enabled = false ends all of these limits",
        )
    };
    let many = |path| {
        let right = |text: &str| text.parse().ok().filter(|n| (2..=100_000).contains(n));
        settings.get(path, right, "a whole number from 2 to 100000")
    };
    let few = |path| {
        let right = |text: &str| text.parse().ok().filter(|n| (0..=1000).contains(n));
        settings.get(path, right, "a whole number from 0 to 1000")
    };
    Ok(Limits {
        rates: Rates {
            enabled: settings.switch("limits.enabled")?,
            sign_in: often("limits.sign_in_per_minute")?,
            api: often("limits.api_per_minute")?,
            reads: often("limits.reads_per_minute")?,
            frames: often("limits.frames_per_minute")?,
            signals: often("limits.signals_per_minute")?,
            uploads: often("limits.uploads_per_minute")?,
            hooks: often("limits.hooks_per_minute")?,
            registrations: often("limits.registrations_per_hour")?,
        },
        room_participants: many("limits.room_participants")?,
        rooms_per_user: many("limits.rooms_per_user")?,
        bots_per_user: few("limits.bots_per_user")?,
        hooks_per_room: few("limits.hooks_per_room")?,
    })
}
