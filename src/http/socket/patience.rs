//! How long somebody is borne who sends frames that are refused.

use std::time::Instant;

/// Refused frames that are answered; one is forgiven for each second in which there is none.
const MOST: u32 = 100;

pub struct Patience {
    refused: u32,
    last: Instant,
}

impl Patience {
    pub fn new(now: Instant) -> Self {
        Patience {
            refused: 0,
            last: now,
        }
    }

    /// One more was refused: whether that was too many.
    pub fn ends(&mut self, now: Instant) -> bool {
        let calm = now.saturating_duration_since(self.last).as_secs();
        let forgiven = u32::try_from(calm).unwrap_or(u32::MAX);
        self.refused = self.refused.saturating_sub(forgiven).saturating_add(1);
        self.last = now;
        self.refused > MOST
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn who_goes_on_is_not_borne_and_who_pauses_is() {
        for (each, borne) in [(0, MOST), (999, MOST), (1000, u32::MAX), (3000, u32::MAX)] {
            let mut now = Instant::now();
            let mut patience = Patience::new(now);
            let ended = (0..10 * MOST).find(|_| {
                now += Duration::from_millis(each);
                patience.ends(now)
            });
            assert_eq!(ended.unwrap_or(u32::MAX), borne, "{each}");
        }
    }
}
