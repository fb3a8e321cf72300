//! Frames: what has happened, written for those who listen, at most once for each kind of connection.

use std::fmt;
use std::sync::OnceLock;

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// How a frame is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// For connections that listen to one thing, which the frame need not name.
    Narrow,
    /// For connections that listen to everything of their user.
    Wide,
}

/// A frame that is written when the first one listens.
pub struct Frame {
    event: i64,
    write: Box<dyn Fn(Form) -> Bytes + Send + Sync>,
    narrow: OnceLock<Bytes>,
    wide: OnceLock<Bytes>,
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "frame of event {}", self.event)
    }
}

impl Frame {
    /// Of what is true only now, and stands in no log.
    pub fn new(write: impl Fn(Form) -> Bytes + Send + Sync + 'static) -> Self {
        Self::of_event(0, write)
    }

    /// Of an event of the log; ids are positive.
    pub fn of_event(event: i64, write: impl Fn(Form) -> Bytes + Send + Sync + 'static) -> Self {
        Frame {
            event,
            write: Box::new(write),
            narrow: OnceLock::new(),
            wide: OnceLock::new(),
        }
    }

    pub fn written(&self, form: Form) -> Bytes {
        let cell = match form {
            Form::Narrow => &self.narrow,
            Form::Wide => &self.wide,
        };
        cell.get_or_init(|| (self.write)(form)).clone()
    }

    pub(crate) fn queued(&self, form: Form) -> Queued {
        Queued {
            bytes: self.written(form),
            event: self.event,
        }
    }
}

/// As it is carried to other nodes, which cannot write it: in all forms.
#[derive(Serialize, Deserialize)]
struct Written {
    narrow: Bytes,
    wide: Bytes,
}

impl Serialize for Frame {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let written = Written {
            narrow: self.written(Form::Narrow),
            wide: self.written(Form::Wide),
        };
        written.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Frame {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Written { narrow, wide } = Written::deserialize(deserializer)?;
        Ok(Frame::new(move |form| match form {
            Form::Narrow => narrow.clone(),
            Form::Wide => wide.clone(),
        }))
    }
}

/// A written frame on its way to one connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queued {
    pub bytes: Bytes,
    /// The event of the log that it tells of; 0: of none.
    pub event: i64,
}

impl From<Bytes> for Queued {
    fn from(bytes: Bytes) -> Self {
        Queued { bytes, event: 0 }
    }
}
