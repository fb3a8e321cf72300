//! Invitations: links by which whoever has them enters a room.

use moznods_storage::{Admission, Invitation, NewInvitation, RoomId, Timestamp, User};
use uuid::Uuid;

use super::roles::Act;
use super::{App, Error, Problem, Refusal, Result, RoomSeen, limits, now};

/// A freshly made invitation.
#[derive(Debug)]
pub struct Invited {
    pub token: Uuid,
    pub expires_at: Option<Timestamp>,
    pub max_uses: Option<i64>,
    pub room_name: String,
}

/// What one sees of a room to which one is invited.
#[derive(Debug)]
pub struct Preview {
    pub room_name: String,
    pub participant_count: usize,
    pub inviter: User,
}

impl App {
    pub async fn invite(
        &self,
        user: &User,
        room: RoomId,
        expires_in_hours: Option<i64>,
        max_uses: Option<i64>,
    ) -> Result<Invited> {
        let found = self.may(user, room, Act::Invite).await?.room;
        let now = now();
        let expires_at = match expires_in_hours {
            None => None,
            Some(hours) => match usize::try_from(hours) {
                Ok(1..=limits::INVITATION_HOURS) => Some(now + hours * 3_600_000_000),
                _ => {
                    let problem = Problem::Hours(limits::INVITATION_HOURS);
                    return Err(Error::field("expires_in_hours", problem));
                }
            },
        };
        if max_uses.is_some_and(|uses| !(1..=limits::INVITATION_USES).contains(&uses)) {
            return Err(Error::field("max_uses", Problem::Uses(1000)));
        }
        let token = Uuid::new_v4();
        let new = NewInvitation {
            token: token.hyphenated().to_string(),
            room,
            by: user.id,
            expires_at,
            max_uses,
            now,
        };
        self.store.add_invitation(new, limits::INVITATIONS).await?;
        Ok(Invited {
            token,
            expires_at,
            max_uses,
            room_name: found.name,
        })
    }

    /// Entering by invitation; one who is in already just gets the room.
    pub async fn join_by_invitation(&self, user: &User, token: &str) -> Result<RoomSeen> {
        let invitation = self.good_invitation(token).await?;
        let room = invitation.room_id;
        let admission = Admission::Invitation(invitation.token);
        match self.enter(room, user.id, admission).await {
            Ok(_) => self.room(user, room).await,
            // Since it was looked at, it has ended.
            Err(Error::Refused(Refusal::NotFound)) => Err(invalid()),
            Err(error) => Err(error),
        }
    }

    pub async fn preview_invitation(&self, user: &User, token: &str) -> Result<Preview> {
        let invitation = self.good_invitation(token).await?;
        let room = invitation.room_id;
        if self.store.is_banned(room, user.id).await? {
            return Err(Refusal::Banned.into());
        }
        let found = self.store.room(room).await?.ok_or_else(invalid)?;
        Ok(Preview {
            room_name: found.name,
            participant_count: self.store.participant_ids(room).await?.len(),
            inviter: invitation.by,
        })
    }

    /// Those that can still be used: all for who may see them, otherwise one's own.
    pub async fn invitations(&self, user: &User, room: RoomId) -> Result<Vec<Invitation>> {
        let by = match self.may(user, room, Act::SeeInvitations).await {
            Ok(_) => None,
            Err(Error::Refused(Refusal::ModeratorOnly)) => Some(user.id),
            Err(error) => return Err(error),
        };
        Ok(self.store.invitations(room, by, now()).await?)
    }

    /// One's own, or any for who may see them.
    pub async fn revoke_invitation(&self, user: &User, room: RoomId, token: &str) -> Result<()> {
        let token = parsed(token).ok_or(Refusal::NotFound)?;
        self.may(user, room, Act::Invite).await?;
        let right = Act::SeeInvitations.right(user);
        Ok(self.store.revoke_invitation(room, token, right).await?)
    }

    async fn good_invitation(&self, token: &str) -> Result<Invitation> {
        let token = parsed(token).ok_or_else(invalid)?;
        let invitation = self.store.invitation(token).await?;
        invitation
            .filter(|invitation| invitation.is_good(now()))
            .ok_or_else(invalid)
    }
}

fn invalid() -> Error {
    Error::field("invitation", Problem::InvitationInvalid)
}

/// As it is stored.
fn parsed(token: &str) -> Option<String> {
    let token = Uuid::parse_str(token).ok()?;
    Some(token.hyphenated().to_string())
}
