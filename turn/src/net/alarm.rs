//! What wakes a worker that waits without end. A timeout of the wait itself would cost more than the rest of it, for
//! each packet of a quiet server; this is set when the next deadline is known, and seldom moves.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use super::sys;

/// Rings once at a time; its file is readable then.
#[derive(Debug)]
pub(super) struct Alarm {
    timer: OwnedFd,
    set: Option<Instant>,
}

impl Alarm {
    pub fn new() -> io::Result<Self> {
        Ok(Alarm {
            timer: sys::timer()?,
            set: None,
        })
    }

    /// Has it ring at `at`, or earlier: what it was set to before and has not come yet stays.
    pub fn set(&mut self, now: Instant, at: Instant) -> io::Result<()> {
        if self.set.is_some_and(|set| now < set && set <= at) {
            return Ok(());
        }
        // Of nothing it would never ring.
        let wait = at.saturating_duration_since(now);
        sys::set_timer(&self.timer, wait.max(Duration::from_nanos(1)))?;
        self.set = Some(at);
        Ok(())
    }
}

impl AsRawFd for Alarm {
    fn as_raw_fd(&self) -> RawFd {
        self.timer.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use mio::unix::SourceFd;
    use mio::{Events, Interest, Poll, Token};

    use super::*;

    #[test]
    fn it_rings_at_the_earliest_of_what_it_was_set_to_and_once_more_when_it_is_set_again() {
        let mut alarm = Alarm::new().unwrap();
        let mut poll = Poll::new().unwrap();
        poll.registry()
            .register(
                &mut SourceFd(&alarm.as_raw_fd()),
                Token(1),
                Interest::READABLE,
            )
            .unwrap();
        let mut events = Events::with_capacity(4);
        let mut wait = || {
            poll.poll(&mut events, Some(Duration::from_secs(60)))
                .unwrap();
            events.iter().count()
        };
        for later in [3600, 7200] {
            let now = Instant::now();
            let soon = now + Duration::from_millis(3);
            alarm.set(now, now + Duration::from_secs(later)).unwrap();
            alarm.set(now, soon).unwrap();
            alarm.set(now, now + Duration::from_secs(later)).unwrap();
            assert_eq!(wait(), 1);
            assert!(Instant::now() >= soon);
        }
        // What is over already.
        let now = Instant::now();
        alarm.set(now, now - Duration::from_millis(1)).unwrap();
        assert_eq!(wait(), 1);
    }
}
