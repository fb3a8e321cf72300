//! Moderators, removal, bans, and rooms that go to another owner.

use moznods_storage::{Ban, Listing, Page, Participant, Role, Room, RoomId, User, UserId};

use super::roles::{Act, Allowed};
use super::{App, Error, Problem, Refusal, Result, limits, names, now};

impl App {
    /// Makes a participant a moderator, or a member again.
    pub async fn appoint(
        &self,
        user: &User,
        room: RoomId,
        whom: UserId,
        role: Role,
    ) -> Result<(Room, Participant)> {
        let Allowed {
            room: found, right, ..
        } = self.may_against(user, room, Act::Appoint, whom).await?;
        let participant = self.store.set_role(room, right, whom, role).await?;
        Ok((found, participant))
    }

    /// Makes another participant the owner.
    pub async fn transfer_room(&self, user: &User, room: RoomId, whom: UserId) -> Result<()> {
        let right = self.may(user, room, Act::Transfer).await?.right;
        if whom == user.id {
            return Err(Error::field("user_id", Problem::NotOneself));
        }
        Ok(self.store.transfer_room(room, right, whom, now()).await?)
    }

    /// Removes one who is less in the room than `user`.
    pub async fn remove(&self, user: &User, room: RoomId, whom: UserId) -> Result<()> {
        let allowed = self.may_against(user, room, Act::Remove, whom).await?;
        let removing = self.store.remove_participant(room, allowed.right, whom);
        if !removing.await? {
            return Err(Refusal::NotFound.into());
        }
        Ok(())
    }

    pub async fn bans(&self, user: &User, room: RoomId, page: Page) -> Result<Listing<Ban>> {
        self.may(user, room, Act::Ban).await?;
        Ok(self.store.bans(room, page).await?)
    }

    /// Whether he takes part or not.
    pub async fn ban(&self, user: &User, room: RoomId, whom: UserId, reason: &str) -> Result<()> {
        let right = self.may_against(user, room, Act::Ban, whom).await?.right;
        if whom == user.id {
            return Err(Error::field("user_id", Problem::NotOneself));
        }
        let reason = reason.trim();
        if let Some(problem) = names::check(reason, limits::BAN_REASON) {
            return Err(Error::field("reason", problem));
        }
        let banning = self.store.ban(room, right, whom, reason.to_owned(), now());
        banning.await?;
        Ok(())
    }

    pub async fn lift_ban(&self, user: &User, room: RoomId, whom: UserId) -> Result<()> {
        let right = self.may(user, room, Act::Ban).await?.right;
        match self.store.lift_ban(room, right, whom).await? {
            true => Ok(()),
            false => Err(Refusal::NotFound.into()),
        }
    }
}
