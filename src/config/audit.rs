//! Settings of the log of what was done over others.

use std::time::Duration;

use super::{ConfigError, Settings};

#[derive(Debug, Clone)]
pub struct Audit {
    /// `None`: for ever.
    pub keep: Option<Duration>,
}

pub(super) fn parse(settings: &Settings) -> Result<Audit, ConfigError> {
    let keep = |text: &str| {
        let days: u64 = text.parse().ok().filter(|days| *days <= 36_500)?;
        Some((days > 0).then(|| Duration::from_secs(days * 86_400)))
    };
    Ok(Audit {
        keep: settings.get(
            "audit.keep_days",
            keep,
            "days from 1 to 36500, or 0: for ever",
        )?,
    })
}
