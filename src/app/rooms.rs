//! Rooms: who sees, enters, leaves and changes them, and what the others are told of it.

use std::sync::PoisonError;

use moznods_storage::{
    Admission, AuditTarget, Listing, Mute, NewRoom, Page, Participant, Right, Room, RoomChange,
    RoomId, RoomLimits, RoomView, Timestamp, User, UserId, UserKey, UserKind,
};
use serde_json::{Map, json};

use super::audit::{Action, Person};
use super::bots::persons_only;
use super::moderation::in_room;
use super::roles::{Act, Allowed};
use super::{App, Error, Problem, Refusal, Result, limits, names, now};
use crate::config::Limits;

/// A room as one participant sees it now.
#[derive(Debug)]
pub struct RoomSeen {
    pub view: RoomView,
    /// Usernames of those who are active in its call.
    pub in_call: Vec<String>,
    pub is_muted: bool,
}

/// What somebody wants of a new room, or changed of one; `None` leaves as is.
#[derive(Debug, Default)]
pub struct WantedRoom<'a> {
    pub name: Option<&'a str>,
    pub topic: Option<&'a str>,
    pub is_public: Option<bool>,
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

    pub async fn create_room(&self, user: &User, wanted: WantedRoom<'_>) -> Result<RoomSeen> {
        persons_only(user)?;
        let new = NewRoom {
            owner: user.id,
            name: checked_name(wanted.name.unwrap_or_default())?,
            topic: checked_topic(wanted.topic.unwrap_or_default())?,
            is_public: wanted.is_public.unwrap_or(false),
            now: now(),
        };
        let room = self.store.create_room(new, self.room_limits()).await?;
        self.room(user, room).await
    }

    /// Whoever asks first owns it, so no bot does.
    pub async fn direct_room(&self, user: &User, other: UserId) -> Result<RoomSeen> {
        persons_only(user)?;
        if other == user.id {
            return Err(Error::field("user_id", Problem::NotOneself));
        }
        let other = self
            .store
            .user(UserKey::Id(other))
            .await?
            .ok_or(Refusal::NotFound)?;
        let name = format!("DM: {} & {}", user.username, other.username);
        let (room, _) = self
            .store
            .direct_room(user.id, other.id, name, self.room_limits(), now())
            .await?;
        self.room(user, room).await
    }

    pub async fn change_room(
        &self,
        by: Person<'_>,
        room: RoomId,
        wanted: WantedRoom<'_>,
    ) -> Result<RoomSeen> {
        let user = by.user;
        let mut acts = Vec::new();
        // What changes nothing else was always the owner's.
        if wanted.name.is_some() || wanted.topic.is_none() && wanted.is_public.is_none() {
            acts.push(Act::Rename);
        }
        if wanted.topic.is_some() {
            acts.push(Act::ChangeTopic);
        }
        if wanted.is_public.is_some() {
            acts.push(Act::ChangeVisibility);
        }
        let mut strictest: Option<Right> = None;
        for act in acts {
            let right = self.may(user, room, act).await?.right;
            if strictest.is_none_or(|before| before.least < right.least) {
                strictest = Some(right);
            }
        }
        let change = RoomChange {
            name: wanted.name.map(checked_name).transpose()?,
            topic: wanted.topic.map(checked_topic).transpose()?,
            is_public: wanted.is_public,
        };
        if let Some(right) = strictest {
            let mut details = Map::new();
            if let Some(name) = &change.name {
                details.insert("name".to_owned(), json!(name));
            }
            if let Some(topic) = &change.topic {
                details.insert("topic".to_owned(), json!(topic));
            }
            if let Some(is_public) = change.is_public {
                details.insert("is_public".to_owned(), json!(is_public));
            }
            let target = AuditTarget::Room(room);
            let store = self.noting(by.into(), Action::RoomChange, target, details.into());
            store.change_room(room, right, change, now()).await?;
        }
        self.room(user, room).await
    }

    pub async fn delete_room(&self, by: Person<'_>, room: RoomId) -> Result<()> {
        let allowed = self.may(by.user, room, Act::Delete).await?;
        let target = AuditTarget::Room(room);
        let store = self.noting(by.into(), Action::RoomDelete, target, json!({}));
        Ok(store.delete_room(room, allowed.right).await?)
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

    pub async fn leave(&self, user: &User, room: RoomId) -> Result<()> {
        self.existing(room).await?;
        if !self.store.leave(room, user.id).await? {
            return Err(Refusal::NotParticipant.into());
        }
        Ok(())
    }

    pub async fn set_pinned(&self, user: &User, room: RoomId, pinned: bool) -> Result<RoomSeen> {
        self.existing(room).await?;
        if !self.store.set_pinned(room, user.id, pinned).await? {
            return Err(Refusal::NotParticipant.into());
        }
        self.room(user, room).await
    }

    /// No notifications of the room: until then, or (`Some(None)`) until one says otherwise.
    pub async fn set_muted(
        &self,
        user: &User,
        room: RoomId,
        until: Option<Option<Timestamp>>,
    ) -> Result<RoomSeen> {
        self.existing(room).await?;
        let mute = match until {
            None => Mute::No,
            Some(None) => Mute::Forever,
            Some(Some(end)) if end <= now() => return Err(Error::field("until", Problem::Past)),
            Some(Some(end)) => Mute::Until(end),
        };
        if !self.store.set_mute(room, user.id, mute).await? {
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
        let found = self.may(user, room, Act::Read).await?.room;
        Ok((found, self.store.participants(room).await?))
    }

    pub async fn add_participant(
        &self,
        by: Person<'_>,
        room: RoomId,
        whom: UserKey,
    ) -> Result<(Room, Participant)> {
        // Before it is looked for whom he means: those who may do neither learn nothing by it.
        self.may(by.user, room, Act::AddBot).await?;
        let whom = self.store.user(whom).await?;
        let act = match &whom {
            Some(whom) if whom.kind == UserKind::Bot => Act::AddBot,
            _ => Act::Add,
        };
        let Allowed {
            room: found, right, ..
        } = self.may(by.user, room, act).await?;
        let whom = whom.ok_or(Refusal::NotFound)?;
        let details = in_room(&found);
        let target = AuditTarget::User(whom.id);
        let adding = self
            .noting(by.into(), Action::MemberAdd, target, details)
            .add_participant(
                room,
                whom.id,
                Admission::By(right),
                self.room_limits(),
                now(),
            )
            .await?;
        match adding {
            Some(participant) => Ok((found, participant)),
            None => Err(Refusal::AlreadyParticipant.into()),
        }
    }

    /// By the owner; see [`Self::remove`] for what moderators may.
    pub async fn remove_participant(
        &self,
        by: Person<'_>,
        room: RoomId,
        whom: UserKey,
    ) -> Result<()> {
        // Whoever may add may take back by the same face of the API.
        self.may(by.user, room, Act::Add).await?;
        let whom = self.store.user(whom).await?.ok_or(Refusal::NotFound)?;
        self.remove(by, room, whom.id).await
    }

    pub(super) async fn existing(&self, room: RoomId) -> Result<Room> {
        Ok(self.store.room(room).await?.ok_or(Refusal::NotFound)?)
    }

    pub(super) async fn taking_part(&self, user: &User, room: RoomId) -> Result<Room> {
        Ok(self.may(user, room, Act::Read).await?.room)
    }

    pub(super) async fn enter(
        &self,
        room: RoomId,
        user: UserId,
        admission: Admission,
    ) -> Result<Option<Participant>> {
        let limits = self.room_limits();
        let entering = self
            .store
            .add_participant(room, user, admission, limits, now());
        Ok(entering.await?)
    }

    fn room_limits(&self) -> RoomLimits {
        *self
            .room_limits
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Others hold from now on; whoever is in a room stays there.
    pub fn set_room_limits(&self, limits: &Limits) {
        *self
            .room_limits
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = limits_of(limits);
    }

    pub(super) fn seen(&self, view: RoomView) -> RoomSeen {
        RoomSeen {
            in_call: self.hub.call_state(view.room.id).active_names(),
            is_muted: view.mute.holds(now()),
            view,
        }
    }
}

fn checked_name(name: &str) -> Result<String> {
    let name = name.trim();
    let problem = if name.is_empty() {
        Some(Problem::Required)
    } else {
        names::check(name, limits::ROOM_NAME)
    };
    match problem {
        Some(problem) => Err(Error::field("name", problem)),
        None => Ok(name.to_owned()),
    }
}

/// It may have lines; empty: none.
fn checked_topic(topic: &str) -> Result<String> {
    let topic = topic.trim();
    let problem = topic
        .lines()
        .find_map(|line| names::check(line, usize::MAX))
        .or_else(|| {
            (topic.chars().count() > limits::TOPIC).then_some(Problem::TooLong(limits::TOPIC))
        });
    match problem {
        Some(problem) => Err(Error::field("topic", problem)),
        None => Ok(topic.to_owned()),
    }
}

pub(super) fn limits_of(limits: &Limits) -> RoomLimits {
    RoomLimits {
        participants: limits.room_participants,
        rooms: limits.rooms_per_user,
    }
}
