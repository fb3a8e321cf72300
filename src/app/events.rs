//! What clients are told of what is stored: one task takes the events from the log, in its order, and sends their frames.

use std::sync::Arc;
use std::time::Duration;

use moznods_signaling::{Frame, Scope};
use moznods_storage::{Audience, Event, EventId, EventKind};
use tokio::sync::mpsc;

use super::{App, RETRY, Result, now};
use crate::wire;

/// Events that may wait to be told; more hold up those who bring them.
const MAX_WAITING: usize = 1024;
/// How long a socket waits for what came before it.
const TELLING: Duration = Duration::from_secs(1);
/// Events read from the log at once.
const PART: usize = 500;
/// How often old events are deleted.
const SWEEP_EVERY: Duration = Duration::from_secs(60);
/// How often an event that cannot be read is tried again before it is passed over.
const TRIES: u32 = 25;

impl App {
    /// Tells all events after `last`, as long as the server runs.
    pub(super) async fn tell_events(self: Arc<Self>, mut last: EventId) {
        let (listener, mut events) = mpsc::channel(MAX_WAITING);
        self.store.tell_events(listener);
        let mut elsewhere = self.store.changed_elsewhere();
        loop {
            tokio::select! {
                biased;
                event = events.recv() => match event {
                    Some(event) => {
                        self.has_happened_here(&event);
                        // Has been read from the log.
                        if event.id <= last {
                            continue;
                        }
                        // Ids have no gaps: what is missing was brought by another process.
                        if event.id > last + 1 {
                            self.tell_logged(&mut last, event.id - 1).await;
                        }
                        last = event.id;
                        self.tell(&event).await;
                        self.told.send_replace(last);
                    }
                    None => return,
                },
                changed = elsewhere.changed() => match changed {
                    Ok(()) => self.tell_logged(&mut last, EventId::MAX).await,
                    Err(_) => return,
                },
            }
        }
    }

    /// Tells what the log has after `last`, up to `end`.
    async fn tell_logged(&self, last: &mut EventId, end: EventId) {
        while *last < end {
            let events = match self.store.events_after(*last, PART).await {
                Ok(events) => events,
                Err(error) => {
                    tracing::error!(%error, "cannot read what has happened");
                    tokio::time::sleep(RETRY).await;
                    continue;
                }
            };
            if events.is_empty() {
                return;
            }
            for event in events.iter().filter(|event| event.id <= end) {
                self.tell(event).await;
            }
            *last = events.last().map_or(*last, |event| event.id.min(end));
            self.told.send_replace(*last);
        }
    }

    /// Waits until sockets of this node have been told all that there is now, wherever it was made: who opens one after that is
    /// told nothing that its client may have fetched before. Not for long, where there is too much to tell.
    pub(super) async fn have_told(&self) -> Result<()> {
        let last = self.store.last_event().await?;
        let mut told = self.told.subscribe();
        let told = told.wait_for(|told| *told >= last);
        // What comes late comes all the same.
        let _ = tokio::time::timeout(TELLING, told).await;
        Ok(())
    }

    /// Deletes events that need not be kept any more, as long as the server runs.
    pub(super) async fn sweep_events(self: Arc<Self>) {
        let mut looks = tokio::time::interval(SWEEP_EVERY);
        let chat = &self.config.chat;
        let age = i64::try_from(chat.events_age.as_micros()).unwrap_or(i64::MAX);
        loop {
            looks.tick().await;
            let before = now().saturating_sub(age);
            if let Err(error) = self.store.sweep_events(chat.events_kept, before).await {
                tracing::warn!(%error, "cannot delete old events");
            }
        }
    }

    async fn tell(&self, event: &Event) {
        for _ in 0..TRIES {
            match self.try_tell(event).await {
                Ok(()) => return,
                Err(error) => {
                    tracing::error!(%error, event = event.id, "cannot tell what has happened");
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    async fn try_tell(&self, event: &Event) -> Result<()> {
        let (room, user) = match event.audience {
            Audience::Room(room) => (Some(room), None),
            Audience::User(user) => (None, Some(user)),
        };
        // Before the frame: he hears what comes after it.
        if let (EventKind::RoomAdded, Some(user)) = (event.kind, user) {
            self.hub.entered(event.subject, user);
        }
        let frame = self.frame_of(event).await?;
        match (frame, room, user) {
            (Some(frame), Some(room), _) => match event.kind {
                EventKind::RoomUpdated | EventKind::ParticipantChanged => {
                    let mut users = self.store.participant_ids(room).await?;
                    // Who has come hears of the room itself.
                    let joined = event.kind == EventKind::ParticipantChanged
                        && event.data.as_deref() == Some("joined");
                    users.retain(|user| !joined || *user != event.subject);
                    self.hub.notify(users, frame);
                }
                _ => self.hub.send_to_scope(Scope::Chat(room), frame),
            },
            (Some(frame), _, Some(user)) => self.hub.notify([user], frame),
            _ => {}
        }
        if let (EventKind::RoomRemoved, Some(user)) = (event.kind, user) {
            self.hub.left(event.subject, user);
        }
        Ok(())
    }

    /// What one of all nodes is to do, whether it has read the event from the log already or not.
    fn has_happened_here(&self, event: &Event) {
        if let (EventKind::MessageNew, Some(message)) = (event.kind, &event.message) {
            self.metrics.messages.inc();
            self.push.message(message);
        }
    }

    /// How an event is told, now or later; `None`: what it speaks of is not there any more.
    pub(super) async fn frame_of(&self, event: &Event) -> Result<Option<Frame>> {
        let (subject, by) = (event.subject, event.by);
        let said = match event.kind {
            EventKind::MessageNew => match &event.message {
                Some(message) => Some(wire::chat_message(message)),
                None => {
                    let message = self.store.message(subject).await?;
                    message.as_ref().map(wire::chat_message)
                }
            },
            EventKind::MessageEdited => match &event.message {
                Some(message) => Some(wire::message_edited(message)),
                None => {
                    let message = self.store.message(subject).await?;
                    message.as_ref().map(wire::message_edited)
                }
            },
            EventKind::MessageDeleted => Some(wire::message_deleted(subject)),
            EventKind::ReactionAdded | EventKind::ReactionRemoved => {
                let added = event.kind == EventKind::ReactionAdded;
                let emoji = event.data.as_ref();
                emoji.map(|emoji| wire::reaction_changed(subject, emoji, by, added))
            }
            EventKind::MessagePinned => Some(wire::message_pinned(subject, by, true)),
            EventKind::MessageUnpinned => Some(wire::message_pinned(subject, by, false)),
            EventKind::MessageRead => Some(wire::message_read(subject, by)),
            EventKind::RoomAdded => {
                let view = self.store.room_view(subject, by).await?;
                view.map(|view| wire::room_added(&self.seen(view)))
            }
            EventKind::RoomRemoved => {
                let why = event.data.as_deref().unwrap_or("left");
                Some(wire::room_removed(subject, why))
            }
            EventKind::RoomUpdated => match self.store.room(subject).await? {
                Some(room) => {
                    let users = self.store.participant_ids(subject).await?;
                    Some(wire::room_updated(&room, users.len()))
                }
                None => None,
            },
            EventKind::ParticipantChanged => match event.audience {
                Audience::Room(room) => {
                    let change = event.data.as_deref().unwrap_or_default();
                    let who = self.store.acquaintance(room, subject).await?;
                    who.map(|who| wire::participant_changed(room, change, &who))
                }
                Audience::User(_) => None,
            },
        };
        let room = match (event.audience, event.kind) {
            // Says itself of which room it is.
            (_, EventKind::ParticipantChanged) => None,
            (Audience::Room(room), _) => Some(room),
            (Audience::User(_), EventKind::RoomAdded) => Some(subject),
            (Audience::User(_), _) => None,
        };
        Ok(said.map(|said| said.of_event(event.id, room)))
    }
}
