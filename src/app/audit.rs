//! What is done over others is noted: by whom, what, on what, from where. A note is written with the change that it speaks
//! of, in one transaction; what changes nothing in the database is noted before it is done.

use std::net::IpAddr;

use moznods_storage::{
    AuditActor, AuditEntry, AuditFilter, AuditTarget, Note, Store, Timestamp, User,
};
use serde_json::Value;

use super::{App, Error, Problem, Result, now};

/// Somebody who asks for something, and from where.
#[derive(Debug, Clone, Copy)]
pub struct Person<'a> {
    pub user: &'a User,
    pub address: IpAddr,
}

/// Who administers.
#[derive(Debug, Clone, Copy)]
pub enum Actor<'a> {
    /// Whoever runs the server.
    CommandLine,
    Person(Person<'a>),
}

impl<'a> From<Person<'a>> for Actor<'a> {
    fn from(person: Person<'a>) -> Self {
        Actor::Person(person)
    }
}

impl Actor<'_> {
    pub(super) fn note(self, action: Action, target: AuditTarget, details: Value) -> Note {
        let (actor, address) = match self {
            Actor::CommandLine => (AuditActor::CommandLine, None),
            Actor::Person(Person { user, address }) => (AuditActor::User(user.id), Some(address)),
        };
        Note {
            at: now(),
            actor,
            action: action.word(),
            target,
            details: details.to_string(),
            address,
        }
    }
}

/// Makes of one table the acts that are noted, their words and what the documentation says of them.
macro_rules! actions {
    ($($action:ident: $word:literal, $meaning:literal;)*) => {
        /// What is noted. The words are for good: they stand in databases.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Action {
            $(#[doc = $meaning] $action,)*
        }

        const ACTIONS: &[(&str, &str)] = &[$(($word, $meaning),)*];
    };
}

actions! {
    UserAdd: "user.add", "an account was made";
    UserBlock: "user.block", "a user was blocked";
    UserUnblock: "user.unblock", "a blocked user was let in again";
    UserMakeAdmin: "user.make_admin", "a user was made an administrator";
    UserUnmakeAdmin: "user.unmake_admin", "an administrator was made a user like others";
    UserLogout: "user.logout", "all sign-ins of a user were ended";
    UserPassword: "user.password", "a user was given a new password";
    UserResetLink: "user.reset_link", "a link for a new password was made for a user";
    UserTotpOff: "user.totp_off", "the second factor of a user was switched off";
    UserDelete: "user.delete", "an account was deleted";
    RelaySecretAdd: "relay_secret.add", "a secret of another program was made";
    RelaySecretRotate: "relay_secret.rotate", "a new secret was put in place of one";
    RelaySecretRevoke: "relay_secret.revoke", "a secret of another program was ended";
    RelayDeviceAdd: "relay_device.add", "an account of a device was made";
    RelayDeviceRemove: "relay_device.remove", "an account of a device was ended";
    AllocationEnd: "allocation.end", "a live allocation of the relay was ended";
    AllocationEndAll: "allocation.end_all", "all live allocations of a user were ended";
    BotAdd: "bot.add", "a bot was made";
    BotToken: "bot.token", "the token of a bot was renewed or taken away";
    BotDelete: "bot.delete", "a bot was deleted";
    HookAdd: "hook.add", "a webhook was made";
    HookChange: "hook.change", "a webhook was given another name";
    HookRenew: "hook.renew", "a webhook was given another secret";
    HookRemove: "hook.remove", "a webhook was ended";
    RoomChange: "room.change", "name, topic or visibility of a room were changed";
    RoomDelete: "room.delete", "a room was deleted";
    RoomTransfer: "room.transfer", "a room was given to another owner";
    MemberAdd: "member.add", "somebody was added to a room without an invitation";
    MemberRole: "member.role", "a participant was made a moderator, or a member again";
    MemberRemove: "member.remove", "somebody was removed from a room";
    MemberBan: "member.ban", "somebody was banned from a room";
    MemberUnban: "member.unban", "a ban was lifted";
    BanLift: "ban.lift", "a ban of an address or an account was lifted";
    MessageDelete: "message.delete", "a message of somebody else was deleted";
    Import: "import.django", "accounts, rooms and messages of the Django program were taken over";
}

impl Action {
    pub fn word(self) -> &'static str {
        ACTIONS[self as usize].0
    }
}

/// Which part of the log somebody wants to see, as he wrote it.
#[derive(Debug, Default)]
pub struct WantedAudit {
    /// A user by id, name or mail address, or [`WantedAudit::COMMAND_LINE`].
    pub actor: Option<String>,
    pub action: Option<String>,
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
    /// Older than the row of this id.
    pub before: Option<i64>,
}

impl WantedAudit {
    pub const COMMAND_LINE: &'static str = "command-line";
}

impl App {
    /// The store, but what it is told to change is noted.
    pub(super) fn noting(
        &self,
        by: Actor<'_>,
        action: Action,
        target: AuditTarget,
        details: Value,
    ) -> Box<dyn Store> {
        self.store.noting(by.note(action, target, details))
    }

    /// Notes what changes nothing in the database; to be called before it is done.
    pub(super) async fn note(
        &self,
        by: Actor<'_>,
        action: Action,
        target: AuditTarget,
        details: Value,
    ) -> Result<()> {
        let note = by.note(action, target, details);
        Ok(self.store.note(note).await?)
    }

    /// Newest first, and whether there are older ones.
    pub async fn audit_log(
        &self,
        wanted: WantedAudit,
        limit: i64,
    ) -> Result<(Vec<AuditEntry>, bool)> {
        let actor = match wanted.actor.as_deref() {
            None => None,
            Some(WantedAudit::COMMAND_LINE) => Some(AuditActor::CommandLine),
            Some(actor) => Some(AuditActor::User(self.actor_named(actor).await?)),
        };
        let is_known = |action: &String| ACTIONS.iter().any(|(word, _)| word == action);
        if wanted.action.as_ref().is_some_and(|word| !is_known(word)) {
            return Err(Error::field("action", Problem::NoSuchAction));
        }
        let filter = AuditFilter {
            actor,
            action: wanted.action,
            since: wanted.since,
            until: wanted.until,
            before: wanted.before,
        };
        Ok(self.store.audit_log(filter, limit).await?)
    }

    /// A number also of one who has been deleted.
    async fn actor_named(&self, name: &str) -> Result<i64> {
        if let Ok(id) = name.parse() {
            return Ok(id);
        }
        let id = self.user_id_named(name).await?;
        id.ok_or_else(|| Error::field("actor", Problem::NoSuchUser))
    }

    /// Forgets what was done longer ago than `audit.keep_days`.
    pub(super) async fn sweep_audit_log(&self) -> Result<()> {
        let Some(keep) = self.config.audit.keep else {
            return Ok(());
        };
        let keep = i64::try_from(keep.as_micros()).unwrap_or(i64::MAX);
        let before = now().saturating_sub(keep);
        Ok(self.store.sweep_audit_log(before).await?)
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::*;

    #[test]
    fn the_documentation_has_all_actions() {
        let mut table = String::from("| action | what was done |\n|---|---|\n");
        for (word, meaning) in ACTIONS {
            writeln!(table, "| `{word}` | {meaning} |").unwrap();
        }
        let documented = include_str!("../../docs/audit.md");
        assert!(
            documented.contains(&table),
            "docs/audit.md should have\n\n{table}"
        );
    }
}
