//! Who may do what in a room: one table, which all edges and `docs/rights.md` share.
//!
//! What must still hold when a change is written, storage asks again: it is given the [`Right`].

use moznods_storage::{Right, Role, Room, RoomId, User, UserId};

use super::{App, Refusal, Result};

/// Makes of one table the acts, the rights and what the documentation says of them.
macro_rules! rights {
    ($($act:ident: $words:literal, $least:ident, $direct:expr;)*) => {
        /// What one may do in a room.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[allow(dead_code, reason = "who may write is asked in storage alone, with the message")]
        pub enum Act {
            $(#[doc = $words] $act,)*
        }

        /// In the order of the acts: as what at least one does it, and likewise in a direct room (`None`: nobody).
        const RIGHTS: &[(Role, Option<Role>)] = &[$((Role::$least, $direct),)*];

        #[cfg(test)]
        const WORDS: &[&str] = &[$($words,)*];
    };
}

const NOBODY: Option<Role> = None;
const BOTH: Option<Role> = Some(Role::Member);
const FIRST: Option<Role> = Some(Role::Owner);

rights! {
    Read: "read messages, participants and the state of the call", Member, BOTH;
    Write: "write messages, react, take part in calls", Member, BOTH;
    Invite: "make invitations, see and revoke one's own", Member, NOBODY;
    MentionAll: "mention all at once", Moderator, BOTH;
    ChangeTopic: "change the topic", Moderator, BOTH;
    DeleteMessages: "delete what others wrote", Moderator, NOBODY;
    SeeInvitations: "see and revoke all invitations", Moderator, NOBODY;
    Remove: "remove somebody", Moderator, NOBODY;
    Ban: "ban somebody, see bans and lift them", Moderator, NOBODY;
    PinMessages: "pin messages and unpin them", Moderator, BOTH;
    AskToMute: "ask somebody in the call to mute", Moderator, FIRST;
    ManageHooks: "make, see and end webhooks", Moderator, NOBODY;
    AddBot: "add a bot", Moderator, NOBODY;
    AskToSpeak: "ask somebody in the call to speak", Owner, FIRST;
    Export: "export all that was said as a file", Owner, BOTH;
    Add: "add somebody without an invitation", Owner, NOBODY;
    Rename: "change the name", Owner, FIRST;
    ChangeVisibility: "make the room public or private", Owner, NOBODY;
    Appoint: "appoint and dismiss moderators", Owner, NOBODY;
    Transfer: "make somebody else the owner", Owner, NOBODY;
    Delete: "delete the room", Owner, NOBODY;
}

impl Act {
    /// As what one does this at least; `None`: nobody does it in a direct room.
    fn least(self, is_direct: bool) -> Option<Role> {
        let (least, direct) = RIGHTS[self as usize];
        if is_direct { direct } else { Some(least) }
    }

    /// What storage is to ask of `user`, in a room that is not direct.
    pub(super) fn right(self, user: &User) -> Right {
        let (least, _) = RIGHTS[self as usize];
        Right { by: user.id, least }
    }
}

/// A room, and by what right something is done in it.
#[derive(Debug)]
pub struct Allowed {
    pub room: Room,
    /// What the one who does it is in the room.
    pub role: Role,
    /// For storage, which asks again when the change is written.
    pub right: Right,
}

impl App {
    /// That `user` may do this in the room now.
    pub(super) async fn may(&self, user: &User, room: RoomId, act: Act) -> Result<Allowed> {
        let found = self.store.room_and_role(room, user.id).await?;
        let (room, role) = found.ok_or(Refusal::NotFound)?;
        let role = role.ok_or(Refusal::NotParticipant)?;
        let least = act.least(room.is_direct).ok_or(Refusal::DirectRoom)?;
        if role < least {
            return Err(match least {
                Role::Owner => Refusal::OwnerOnly,
                Role::Moderator | Role::Member => Refusal::ModeratorOnly,
            }
            .into());
        }
        let right = Right { by: user.id, least };
        Ok(Allowed { room, role, right })
    }

    /// As [`Self::may`], against `whom`, who must be less in the room than `user`, or not in it at all.
    pub(super) async fn may_against(
        &self,
        user: &User,
        room: RoomId,
        act: Act,
        whom: UserId,
    ) -> Result<Allowed> {
        let allowed = self.may(user, room, act).await?;
        let found = self.store.room_and_role(room, whom).await?;
        let (_, role) = found.ok_or(Refusal::NotFound)?;
        if role >= Some(allowed.role) {
            return Err(Refusal::NotAbove.into());
        }
        Ok(allowed)
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::*;

    #[test]
    fn the_documentation_has_the_table() {
        let mut table = String::from(
            "| to | member | moderator | owner | in a direct room |\n|---|---|---|---|---|\n",
        );
        for (words, (least, direct)) in WORDS.iter().zip(RIGHTS) {
            let mark = |role: Role| if role >= *least { "yes" } else { "" };
            let direct = match direct {
                None => "nobody",
                Some(Role::Owner) => "who began it",
                Some(_) => "both",
            };
            let [member, moderator, owner] = [Role::Member, Role::Moderator, Role::Owner].map(mark);
            writeln!(
                table,
                "| {words} | {member} | {moderator} | {owner} | {direct} |"
            )
            .unwrap();
        }
        let documented = include_str!("../../docs/rights.md");
        assert!(
            documented.contains(&table),
            "docs/rights.md should have\n\n{table}"
        );
    }
}
