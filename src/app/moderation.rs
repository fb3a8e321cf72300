//! Moderators, removal, bans, and rooms that go to another owner.

use moznods_storage::{
    AuditTarget, Ban, Listing, Page, Participant, Role, Room, RoomId, User, UserId, UserKey,
};
use serde_json::{Value, json};

use super::audit::{Action, Person};
use super::bots::person;
use super::roles::{Act, Allowed};
use super::{App, Error, Problem, Refusal, Result, limits, names, now};

impl App {
    /// Makes a participant a moderator, or a member again.
    pub async fn appoint(
        &self,
        by: Person<'_>,
        room: RoomId,
        whom: UserId,
        role: Role,
    ) -> Result<(Room, Participant)> {
        let Allowed {
            room: found, right, ..
        } = self.may_against(by.user, room, Act::Appoint, whom).await?;
        let mut details = in_room(&found);
        details["role"] = json!(match role {
            Role::Moderator => "moderator",
            _ => "member",
        });
        let target = AuditTarget::User(whom);
        let store = self.noting(by.into(), Action::MemberRole, target, details);
        let participant = store.set_role(room, right, whom, role).await?;
        Ok((found, participant))
    }

    /// Makes another participant the owner.
    pub async fn transfer_room(&self, by: Person<'_>, room: RoomId, whom: UserId) -> Result<()> {
        let right = self.may(by.user, room, Act::Transfer).await?.right;
        if whom == by.user.id {
            return Err(Error::field("user_id", Problem::NotOneself));
        }
        let to = self.store.user(UserKey::Id(whom)).await?;
        if let Some(to) = &to {
            person(to, "user_id")?;
        }
        let details = json!({"to_id": whom, "to": to.map(|user| user.username)});
        let target = AuditTarget::Room(room);
        let store = self.noting(by.into(), Action::RoomTransfer, target, details);
        Ok(store.transfer_room(room, right, whom, now()).await?)
    }

    /// Removes one who is less in the room than `user`.
    pub async fn remove(&self, by: Person<'_>, room: RoomId, whom: UserId) -> Result<()> {
        let allowed = self.may_against(by.user, room, Act::Remove, whom).await?;
        let details = in_room(&allowed.room);
        let target = AuditTarget::User(whom);
        let store = self.noting(by.into(), Action::MemberRemove, target, details);
        if !store.remove_participant(room, allowed.right, whom).await? {
            return Err(Refusal::NotFound.into());
        }
        Ok(())
    }

    pub async fn bans(&self, user: &User, room: RoomId, page: Page) -> Result<Listing<Ban>> {
        self.may(user, room, Act::Ban).await?;
        Ok(self.store.bans(room, page).await?)
    }

    /// Whether he takes part or not.
    pub async fn ban(
        &self,
        by: Person<'_>,
        room: RoomId,
        whom: UserId,
        reason: &str,
    ) -> Result<()> {
        let allowed = self.may_against(by.user, room, Act::Ban, whom).await?;
        if whom == by.user.id {
            return Err(Error::field("user_id", Problem::NotOneself));
        }
        let reason = reason.trim();
        if let Some(problem) = names::check(reason, limits::BAN_REASON) {
            return Err(Error::field("reason", problem));
        }
        let mut details = in_room(&allowed.room);
        details["reason"] = json!(reason);
        let target = AuditTarget::User(whom);
        let store = self.noting(by.into(), Action::MemberBan, target, details);
        let banning = store.ban(room, allowed.right, whom, reason.to_owned(), now());
        banning.await?;
        Ok(())
    }

    pub async fn lift_ban(&self, by: Person<'_>, room: RoomId, whom: UserId) -> Result<()> {
        let allowed = self.may(by.user, room, Act::Ban).await?;
        let details = in_room(&allowed.room);
        let target = AuditTarget::User(whom);
        let store = self.noting(by.into(), Action::MemberUnban, target, details);
        match store.lift_ban(room, allowed.right, whom).await? {
            true => Ok(()),
            false => Err(Refusal::NotFound.into()),
        }
    }
}

/// Where something is done over somebody, for the note of it.
pub(super) fn in_room(room: &Room) -> Value {
    json!({"room_id": room.id, "room": room.name})
}
