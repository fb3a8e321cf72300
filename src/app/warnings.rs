//! The newest warnings and errors of the log, kept for administrators whatever `log.level` shows; the same text is kept once,
//! with a count. One list for the process, as
//! there is one log.

use std::collections::VecDeque;
use std::fmt::{self, Write};
use std::sync::{Mutex, PoisonError};

use moznods_storage::Timestamp;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use super::now;

/// How many different ones are kept.
const WARNINGS: usize = 200;
/// Bytes of a text; what is longer is cut.
const WARNING_TEXT: usize = 1000;

static NEWEST: Mutex<VecDeque<Warning>> = Mutex::new(VecDeque::new());

#[derive(Debug, Clone)]
pub struct Warning {
    /// The last time.
    pub at: Timestamp,
    pub first_at: Timestamp,
    /// How often.
    pub count: u64,
    pub is_error: bool,
    /// The part of the program that speaks.
    pub target: &'static str,
    /// The message, and what belongs to it as `name=value`.
    pub text: String,
}

impl Warning {
    fn is_like(&self, other: &Warning) -> bool {
        (self.is_error, self.target, &self.text) == (other.is_error, other.target, &other.text)
    }
}

/// Those since the start, newest first.
pub fn warnings() -> Vec<Warning> {
    let newest = NEWEST.lock().unwrap_or_else(PoisonError::into_inner);
    newest.iter().rev().cloned().collect()
}

/// Keeps warnings and errors, whatever other layers leave out.
pub fn keep_warnings<S>() -> impl Layer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    Keeper.with_filter(LevelFilter::WARN)
}

struct Keeper;

impl<S: Subscriber> Layer<S> for Keeper {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut text = Text::default();
        event.record(&mut text);
        let at = now();
        let mut warning = Warning {
            at,
            first_at: at,
            count: 1,
            is_error: *event.metadata().level() == Level::ERROR,
            target: event.metadata().target(),
            text: text.finish(),
        };
        let mut newest = NEWEST.lock().unwrap_or_else(PoisonError::into_inner);
        let before = newest.iter().position(|before| before.is_like(&warning));
        if let Some(before) = before.and_then(|place| newest.remove(place)) {
            warning.first_at = before.first_at;
            warning.count = before.count.saturating_add(1);
        }
        if newest.len() == WARNINGS {
            newest.pop_front();
        }
        newest.push_back(warning);
    }
}

/// Of an event, as the log for people has it; never longer than it may be, however long its fields are.
#[derive(Default)]
struct Text {
    message: Bounded,
    fields: Bounded,
}

impl Text {
    fn finish(mut self) -> String {
        // A write that is cut is no error here.
        let _ = self.message.write_str(&self.fields.text);
        self.message.text
    }
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let _ = match field.name() {
            "message" => self.message.write_str(value),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}

#[derive(Default)]
struct Bounded {
    text: String,
    is_full: bool,
}

impl Write for Bounded {
    /// An error once it is full, which ends whatever writes.
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        const MORE: char = '…';
        for character in piece.chars() {
            if self.is_full {
                return Err(fmt::Error);
            }
            self.is_full = self.text.len() + character.len_utf8() + MORE.len_utf8() > WARNING_TEXT;
            self.text.push(if self.is_full { MORE } else { character });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    /// The list is the process's: what other tests warn of may stand in it as well.
    fn of_here() -> Vec<Warning> {
        let mut all = warnings();
        all.retain(|warning| warning.target == "here");
        all
    }

    #[test]
    fn the_newest_warnings_are_kept_and_no_text_is_endless() {
        let subscriber = tracing_subscriber::registry().with(keep_warnings());
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(target: "here", "not this");
            tracing::warn!(target: "here", file = "a b", count = 2, "cannot be read");
            tracing::error!(target: "here", error = %"gone", "failed");
        });
        let found = of_here();
        let texts: Vec<_> = found.iter().map(|warning| warning.text.as_str()).collect();
        assert_eq!(
            texts,
            ["failed error=gone", "cannot be read file=\"a b\" count=2"]
        );
        assert_eq!((found[0].is_error, found[1].is_error), (true, false));

        // One that comes again stands first, once.
        let subscriber = tracing_subscriber::registry().with(keep_warnings());
        tracing::subscriber::with_default(subscriber, || {
            for _ in 0..3 {
                tracing::warn!(target: "here", file = "a b", count = 2, "cannot be read");
            }
            tracing::error!(target: "here", file = "a b", count = 2, "cannot be read");
        });
        let again = of_here();
        assert_eq!(again.len(), 3);
        let counts: Vec<_> = again.iter().map(|warning| warning.count).collect();
        assert_eq!(counts, [1, 4, 1]);
        assert_eq!(again[1].first_at, found[1].first_at);
        assert!(again[1].at >= again[1].first_at && again[0].is_error);

        let subscriber = tracing_subscriber::registry().with(keep_warnings());
        tracing::subscriber::with_default(subscriber, || {
            for n in 0..WARNINGS + 50 {
                let long = "ж".repeat(10_000);
                tracing::warn!(target: "here", long, "{n} {long}");
            }
        });
        let found = of_here();
        assert!(found.len() <= WARNINGS);
        assert!(found[0].text.starts_with(&format!("{} ж", WARNINGS + 49)));
        for warning in found {
            assert!(warning.text.len() <= WARNING_TEXT, "{}", warning.text.len());
            assert!(warning.text.ends_with("ж…"));
        }
    }
}
