//! What was found, line by line, for people and for scripts.

use std::io::Write;

use serde_json::{Map, Value, json};

use crate::cli::{Failure, Outcome, say};
use crate::i18n::{self, Lang};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Right,
    /// It works, and could be better.
    Better,
    Wrong,
    /// Cannot be told, or there is nothing to look at.
    Unknown,
}

impl State {
    fn mark(self) -> &'static str {
        match self {
            State::Right => "✓",
            State::Better => "!",
            State::Wrong => "✗",
            State::Unknown => "–",
        }
    }

    fn word(self) -> &'static str {
        match self {
            State::Right => "ok",
            State::Better => "advice",
            State::Wrong => "wrong",
            State::Unknown => "unknown",
        }
    }
}

/// What stands in a text, by the name of its place.
pub type Values<'a> = [(&'static str, &'a str)];

pub struct Report {
    lang: Lang,
    /// Told at the end, as one object; otherwise each line at once.
    json: bool,
    findings: Vec<Value>,
    wrong: usize,
}

impl Report {
    pub fn new(lang: Lang, json: bool) -> Self {
        Report {
            lang,
            json,
            findings: Vec::new(),
            wrong: 0,
        }
    }

    /// `check` is what was looked at, `code` what was found: both are words for scripts, and the text is that of the code.
    pub fn right(&mut self, check: &str, code: &str, values: &Values<'_>) -> Outcome {
        self.add(State::Right, check, code, values)
    }

    pub fn better(&mut self, check: &str, code: &str, values: &Values<'_>) -> Outcome {
        self.add(State::Better, check, code, values)
    }

    pub fn wrong(&mut self, check: &str, code: &str, values: &Values<'_>) -> Outcome {
        self.add(State::Wrong, check, code, values)
    }

    pub fn unknown(&mut self, check: &str, code: &str, values: &Values<'_>) -> Outcome {
        self.add(State::Unknown, check, code, values)
    }

    fn add(&mut self, state: State, check: &str, code: &str, values: &Values<'_>) -> Outcome {
        let text = i18n::filled(self.lang, &format!("doctor_{code}"), values);
        let advice = matches!(state, State::Better | State::Wrong)
            .then(|| i18n::filled(self.lang, &format!("doctor_{code}_do"), values));
        self.wrong += usize::from(state == State::Wrong);
        if self.json {
            let values: Map<_, _> = values
                .iter()
                .map(|&(name, value)| (name.to_owned(), value.into()))
                .collect();
            self.findings.push(json!({
                "check": check,
                "state": state.word(),
                "code": code,
                "text": text,
                "advice": advice,
                "values": values,
            }));
            return Ok(());
        }
        let advice = advice.map(|advice| format!(" → {advice}"));
        say(format_args!(
            "{} {text}{}",
            state.mark(),
            advice.unwrap_or_default()
        ))?;
        Ok(std::io::stdout().flush()?)
    }

    pub fn finish(self) -> Outcome {
        if self.json {
            say(json!({"ok": self.wrong == 0, "checks": self.findings}))?;
        }
        match self.wrong {
            0 => Ok(()),
            wrong => Err(Failure::Sick(wrong)),
        }
    }
}

/// Bytes, for people.
pub fn size(bytes: u64) -> String {
    const KIB: u64 = 1 << 10;
    const MIB: u64 = 1 << 20;
    const GIB: u64 = 1 << 30;
    match bytes {
        GIB.. => format!("{:.1} GiB", bytes as f64 / GIB as f64),
        MIB.. => format!("{} MiB", bytes / MIB),
        _ => format!("{} KiB", bytes / KIB),
    }
}
