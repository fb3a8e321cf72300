//! What is noted of acts over others.

use std::net::IpAddr;

use crate::{HookId, MessageId, RoomId, Timestamp, UserId};

/// What is to be noted of an act, as part of the change that it is.
#[derive(Debug, Clone)]
pub struct Note {
    pub at: Timestamp,
    pub actor: AuditActor,
    /// A stable word.
    pub action: &'static str,
    pub target: AuditTarget,
    /// A JSON object; no secret, and nothing that somebody wrote to others.
    pub details: String,
    /// `None`: the command line has none.
    pub address: Option<IpAddr>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuditActor {
    CommandLine,
    User(UserId),
}

/// On what something is done. What it is called is looked up when it is noted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuditTarget {
    User(UserId),
    /// The user that the change makes.
    NewUser,
    Room(RoomId),
    Hook(HookId),
    /// The webhook that the change makes.
    NewHook,
    Message(MessageId),
    /// By name, as those below.
    RelaySecret(String),
    RelayDevice(String),
    Allocation(String),
    /// Of whom.
    Ban(String),
    /// What was taken from another program, by its kind.
    Import(String),
}

impl AuditTarget {
    pub fn kind(&self) -> &'static str {
        match self {
            AuditTarget::User(_) | AuditTarget::NewUser => "user",
            AuditTarget::Room(_) => "room",
            AuditTarget::Hook(_) | AuditTarget::NewHook => "hook",
            AuditTarget::Message(_) => "message",
            AuditTarget::RelaySecret(_) => "relay_secret",
            AuditTarget::RelayDevice(_) => "relay_device",
            AuditTarget::Allocation(_) => "allocation",
            AuditTarget::Ban(_) => "ban",
            AuditTarget::Import(_) => "import",
        }
    }
}

/// A row of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// Growing with time.
    pub id: i64,
    pub at: Timestamp,
    pub actor: AuditActor,
    /// What he was called then; empty for the command line.
    pub actor_name: String,
    pub action: String,
    /// That of [`AuditTarget::kind`].
    pub target_kind: String,
    pub target_id: Option<i64>,
    /// What it was called then; empty where it had no name.
    pub target_name: String,
    /// A JSON object.
    pub details: String,
    pub address: Option<String>,
}

/// Which rows of the log are wanted; `None` leaves all.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    pub actor: Option<AuditActor>,
    pub action: Option<String>,
    /// From then on.
    pub since: Option<Timestamp>,
    /// Before then.
    pub until: Option<Timestamp>,
    /// Older than this row.
    pub before: Option<i64>,
}
