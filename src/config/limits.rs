//! Settings of limits.

use std::time::Duration;

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

/// When somebody is banned, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BanRules {
    /// Whether anything that is wrong is held against anybody.
    pub enabled: bool,
    /// Wrong attempts from one address in an hour that ban nobody yet; 0: nobody is banned.
    pub after: u32,
    /// The first ban; each in a row is twice as long.
    pub first: Duration,
    /// At most.
    pub longest: Duration,
}

#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub rates: Rates,
    pub bans: BanRules,
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
    let minutes = |path| -> Result<Duration, ConfigError> {
        let right = |text: &str| text.parse().ok().filter(|n| (1..=43_200).contains(n));
        let minutes: u64 =
            settings.get(path, right, "a whole number of minutes from 1 to 43200")?;
        Ok(Duration::from_secs(minutes * 60))
    };
    let wrong = |text: &str| text.parse().ok().filter(|n| (0..=100_000).contains(n));
    let after = settings.get(
        "limits.ban_after",
        wrong,
        "a whole number from 0 (nobody is banned) to 100000",
    )?;
    Ok(Limits {
        bans: BanRules {
            enabled: settings.switch("limits.enabled")?,
            after,
            first: minutes("limits.ban_minutes")?,
            longest: minutes("limits.ban_max_minutes")?,
        },
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
