//! What was done over others.

use moznods_storage::{AuditActor, AuditEntry, Timestamp};
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::rfc3339;

#[derive(Serialize, ToSchema)]
#[schema(as = AuditEntry)]
pub struct AuditEntryJson<'a> {
    id: i64,
    #[serde(serialize_with = "rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    actor: NamedJson<'a>,
    action: &'a str,
    target: NamedJson<'a>,
    /// What else there is to say, by the action.
    #[schema(value_type = Option<Object>, required = true)]
    details: Option<&'a RawValue>,
    /// Where it was asked for; `null` for the command line.
    #[schema(required = true)]
    address: Option<&'a str>,
}

/// Somebody or something, as it was called then.
#[derive(Serialize, ToSchema)]
#[schema(as = Named)]
struct NamedJson<'a> {
    kind: &'a str,
    #[schema(required = true)]
    id: Option<i64>,
    name: &'a str,
}

impl<'a> From<&'a AuditEntry> for AuditEntryJson<'a> {
    fn from(entry: &'a AuditEntry) -> Self {
        let (kind, id) = match entry.actor {
            AuditActor::CommandLine => ("command_line", None),
            AuditActor::User(id) => ("user", Some(id)),
        };
        AuditEntryJson {
            id: entry.id,
            created_at: entry.at,
            actor: NamedJson {
                kind,
                id,
                name: &entry.actor_name,
            },
            action: &entry.action,
            target: NamedJson {
                kind: &entry.target_kind,
                id: entry.target_id,
                name: &entry.target_name,
            },
            details: serde_json::from_str(&entry.details).ok(),
            address: entry.address.as_deref(),
        }
    }
}

/// A part of the log, newest first.
#[derive(Serialize, ToSchema)]
#[schema(as = AuditLog)]
pub struct AuditLogJson<'a> {
    results: Vec<AuditEntryJson<'a>>,
    has_more_before: bool,
}

impl<'a> AuditLogJson<'a> {
    pub fn new(entries: &'a [AuditEntry], has_more_before: bool) -> Self {
        AuditLogJson {
            results: entries.iter().map(AuditEntryJson::from).collect(),
            has_more_before,
        }
    }
}
