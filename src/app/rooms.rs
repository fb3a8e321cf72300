//! Rooms: who sees, enters, leaves and changes them, and what the others are told of it.

use moznods_signaling::{CloseReason, Whom};
use moznods_storage::{
    Admission, Listing, Page, Participant, Room, RoomChange, RoomId, RoomView, Timestamp, User,
    UserId, UserKey,
};
use uuid::Uuid;

use super::accounts::limits;
use super::{App, Error, Problem, Refusal, Result, now};
use crate::wire;

/// A room as one participant sees it now.
#[derive(Debug)]
pub struct RoomSeen {
    pub view: RoomView,
    /// Usernames of those who are active in its call.
    pub in_call: Vec<String>,
}

/// A freshly made invitation.
#[derive(Debug)]
pub struct Invited {
    pub token: Uuid,
    pub expires_at: Option<Timestamp>,
    pub room_name: String,
}

impl App {
    pub async fn rooms(&self, user: &User, page: Page) -> Result<Listing<RoomSeen>> {
        let listing = self.store.rooms_of(user.id, page).await?;
        Ok(Listing {
            count: listing.count,
            items: listing
                .items
                .into_iter()
                .map(|view| self.seen(view))
                .collect(),
        })
    }

    pub async fn room(&self, user: &User, room: RoomId) -> Result<RoomSeen> {
        match self.store.room_view(room, user.id).await? {
            Some(view) => Ok(self.seen(view)),
            None => {
                self.existing(room).await?;
                Err(Refusal::NotParticipant.into())
            }
        }
    }

    pub async fn create_room(&self, user: &User, name: &str, is_public: bool) -> Result<RoomSeen> {
        let name = checked_name(name)?;
        let room = self
            .store
            .create_room(user.id, name, is_public, now())
            .await?;
        self.announce_room(room, user.id).await?;
        self.room(user, room).await
    }

    pub async fn direct_room(&self, user: &User, other: UserId) -> Result<RoomSeen> {
        if other == user.id {
            return Err(Error::field("user_id", Problem::NotOneself));
        }
        let other = self
            .store
            .user(UserKey::Id(other))
            .await?
            .ok_or(Refusal::NotFound)?;
        let name = format!("DM: {} & {}", user.username, other.username);
        let (room, came) = self
            .store
            .direct_room(user.id, other.id, name, now())
            .await?;
        for user in came {
            self.announce_room(room, user).await?;
        }
        self.room(user, room).await
    }

    pub async fn change_room(
        &self,
        user: &User,
        room: RoomId,
        name: Option<&str>,
        is_public: Option<bool>,
    ) -> Result<RoomSeen> {
        let owned = self.owned(user, room).await?;
        if owned.is_direct && is_public == Some(true) {
            return Err(Refusal::DirectRoom.into());
        }
        let name = name.map(checked_name).transpose()?;
        let change = RoomChange { name, is_public };
        self.store.change_room(room, user.id, change, now()).await?;
        self.room(user, room).await
    }

    pub async fn delete_room(&self, user: &User, room: RoomId) -> Result<()> {
        // It is the other one's as much.
        if self.owned(user, room).await?.is_direct {
            return Err(Refusal::DirectRoom.into());
        }
        self.store.delete_room(room, user.id).await?;
        self.hub.close(Whom::Room(room), CloseReason::NoRight);
        Ok(())
    }

    /// Entering by number: public rooms only.
    pub async fn join(&self, user: &User, room: RoomId) -> Result<RoomSeen> {
        let found = self.existing(room).await?;
        if self.store.is_participant(room, user.id).await? {
            return Err(Refusal::AlreadyParticipant.into());
        }
        if found.is_direct {
            return Err(Refusal::DirectRoom.into());
        }
        if !found.is_public {
            return Err(Refusal::InvitationRequired.into());
        }
        match self.enter(room, user.id, Admission::Public).await? {
            Some(_) => self.room(user, room).await,
            None => Err(Refusal::AlreadyParticipant.into()),
        }
    }

    /// Entering by invitation; one who is in already just gets the room.
    pub async fn join_by_invitation(&self, user: &User, token: &str) -> Result<RoomSeen> {
        let invalid = || Error::field("invitation", Problem::InvitationInvalid);
        let token = Uuid::parse_str(token).map_err(|_| invalid())?;
        let token = token.hyphenated().to_string();
        let invitation = self.store.invitation(token.clone()).await?;
        let room = invitation.ok_or_else(invalid)?.room_id;
        self.enter(room, user.id, Admission::Invitation(token))
            .await
            .map_err(|error| match error {
                Error::Refused(Refusal::NotFound) => invalid(),
                error => error,
            })?;
        self.room(user, room).await
    }

    pub async fn invite(
        &self,
        user: &User,
        room: RoomId,
        expires_in_hours: Option<i64>,
    ) -> Result<Invited> {
        let found = self.taking_part(user, room).await?;
        if found.is_direct {
            return Err(Refusal::DirectRoom.into());
        }
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
        let token = Uuid::new_v4();
        self.store
            .add_invitation(
                token.hyphenated().to_string(),
                room,
                user.id,
                expires_at,
                now,
            )
            .await?;
        Ok(Invited {
            token,
            expires_at,
            room_name: found.name,
        })
    }

    pub async fn leave(&self, user: &User, room: RoomId) -> Result<()> {
        self.existing(room).await?;
        if !self.store.leave(room, user.id).await? {
            return Err(Refusal::NotParticipant.into());
        }
        self.has_left(room, user.id);
        Ok(())
    }

    pub async fn set_pinned(&self, user: &User, room: RoomId, pinned: bool) -> Result<RoomSeen> {
        self.existing(room).await?;
        if !self.store.set_pinned(room, user.id, pinned).await? {
            return Err(Refusal::NotParticipant.into());
        }
        self.room(user, room).await
    }

    /// The room, and who takes part in it.
    pub async fn participants(
        &self,
        user: &User,
        room: RoomId,
    ) -> Result<(Room, Vec<Participant>)> {
        let found = self.taking_part(user, room).await?;
        Ok((found, self.store.participants(room).await?))
    }

    pub async fn add_participant(
        &self,
        user: &User,
        room: RoomId,
        whom: UserKey,
    ) -> Result<(Room, Participant)> {
        let (found, whom) = self.owned_with(user, room, whom).await?;
        match self.enter(room, whom.id, Admission::Owner(user.id)).await? {
            Some(participant) => Ok((found, participant)),
            None => Err(Refusal::AlreadyParticipant.into()),
        }
    }

    pub async fn remove_participant(&self, user: &User, room: RoomId, whom: UserKey) -> Result<()> {
        let (_, whom) = self.owned_with(user, room, whom).await?;
        let removing = self.store.remove_participant(room, user.id, whom.id);
        if !removing.await? {
            return Err(Refusal::NotFound.into());
        }
        self.has_left(room, whom.id);
        Ok(())
    }

    pub(super) async fn existing(&self, room: RoomId) -> Result<Room> {
        Ok(self.store.room(room).await?.ok_or(Refusal::NotFound)?)
    }

    pub(super) async fn taking_part(&self, user: &User, room: RoomId) -> Result<Room> {
        let found = self.existing(room).await?;
        if self.store.is_participant(room, user.id).await? {
            Ok(found)
        } else {
            Err(Refusal::NotParticipant.into())
        }
    }

    /// The room, if the user owns it.
    async fn owned(&self, user: &User, room: RoomId) -> Result<Room> {
        let found = self.taking_part(user, room).await?;
        if found.owner_id == user.id {
            Ok(found)
        } else {
            Err(Refusal::OwnerOnly.into())
        }
    }

    /// For changes of who takes part, which only owners make, and nobody in direct rooms.
    async fn owned_with(&self, user: &User, room: RoomId, whom: UserKey) -> Result<(Room, User)> {
        let found = self.owned(user, room).await?;
        if found.is_direct {
            return Err(Refusal::DirectRoom.into());
        }
        let whom = self.store.user(whom).await?.ok_or(Refusal::NotFound)?;
        Ok((found, whom))
    }

    async fn enter(
        &self,
        room: RoomId,
        user: UserId,
        admission: Admission,
    ) -> Result<Option<Participant>> {
        let entering = self.store.add_participant(room, user, admission, now());
        let participant = entering.await?;
        if participant.is_some() {
            self.announce_room(room, user).await?;
        }
        Ok(participant)
    }

    fn has_left(&self, room: RoomId, user: UserId) {
        self.hub
            .close(Whom::UserInRoom(room, user), CloseReason::NoRight);
    }

    /// Tells `user` of a room that he takes part in now.
    async fn announce_room(&self, room: RoomId, user: UserId) -> Result<()> {
        // Gone again in the meantime: nothing to tell.
        if let Some(view) = self.store.room_view(room, user).await? {
            self.hub.notify([user], wire::room_added(&self.seen(view)));
        }
        Ok(())
    }

    fn seen(&self, view: RoomView) -> RoomSeen {
        RoomSeen {
            in_call: self.hub.call_state(view.room.id).active_names(),
            view,
        }
    }
}

fn checked_name(name: &str) -> Result<String> {
    let name = name.trim();
    let problem = if name.is_empty() {
        Problem::Required
    } else if name.chars().count() > limits::ROOM_NAME {
        Problem::TooLong(limits::ROOM_NAME)
    } else if name.contains(char::is_control) {
        Problem::ControlCharacters
    } else {
        return Ok(name.to_owned());
    };
    Err(Error::field("name", problem))
}
