//! Who is told what, and when: people who have no page open, of what concerns them, not more often than once in a while.
//!
//! Somebody whose page is open may have closed the lid of his laptop a moment ago: his connection is found to be dead some
//! time later. So what he has not read is kept for a while, and told when he turns out to be away.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use hyper::Uri;
use moznods_storage::{MessageId, PushMessages, PushRecipient, PushRoom, RoomId, UserId, UserKey};
use serde::Serialize;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::delivery::{Deliveries, Delivery, Urgency};
use super::{Mentioned, News, seal};
use crate::app::{App, now};

/// Characters of a message that are pushed.
const EXCERPT: usize = 200;
/// Between two push messages to a user about a room.
const QUIET: Duration = Duration::from_secs(10);
/// News are looked at together that come in this time, so that a room with much to say costs few queries.
const GATHER: Duration = Duration::from_millis(100);
/// What waits for its time is looked at this often.
const TICK: Duration = Duration::from_millis(500);
/// How long a message is kept for somebody who seems to be there: longer than it takes to find a connection dead.
const KEPT: Duration = Duration::from_secs(60);
/// How long push services keep a message for a browser that they cannot reach.
const MESSAGE_TTL: Duration = Duration::from_secs(86_400);
/// How long it is of use to know that a call has begun.
const CALL_TTL: Duration = Duration::from_secs(30);
/// Users and rooms of which something is remembered.
const MAX_SLOTS: usize = 8192;

/// What a user is told of a room: of each kind the newest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Slot {
    user: UserId,
    room: RoomId,
    kind: Kind,
}

#[derive(Debug, Default)]
struct Told {
    /// Nothing more is told before.
    quiet_until: Option<Instant>,
    waiting: Option<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    note: Arc<Note>,
    look_at: Instant,
    /// When it is given up if the user is there all the time.
    kept_until: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Message,
    /// A message that names the user, or everybody.
    Mention,
    Call,
}

/// What is told, before it is known to whom.
#[derive(Debug)]
struct Note {
    is_call: bool,
    /// Whom a message names.
    mentions: Mentioned,
    from: String,
    text: String,
    message: Option<MessageId>,
    /// When it is of no use any more.
    until: Instant,
}

/// What a service worker gets (docs/PUSH.md).
#[derive(Serialize)]
struct Payload<'a> {
    r#type: Kind,
    room_id: RoomId,
    room_name: &'a str,
    from: &'a str,
    text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_id: Option<MessageId>,
}

impl Note {
    fn kind_for(&self, user: UserId) -> Kind {
        match self.is_call {
            true => Kind::Call,
            false if self.mentions.names(user) => Kind::Mention,
            false => Kind::Message,
        }
    }
}

struct Courier {
    app: Arc<App>,
    told: HashMap<Slot, Told>,
    deliveries: Deliveries,
}

impl App {
    /// Pushes what there is to push, as long as the server runs.
    pub(in crate::app) async fn push_news(self: Arc<Self>) {
        if !self.config.push.enabled {
            return;
        }
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let deliveries = Deliveries::new(Arc::clone(&self));
        let mut courier = Courier {
            app: Arc::clone(&self),
            told: HashMap::new(),
            deliveries,
        };
        let mut gathering: Option<Instant> = None;
        loop {
            courier.deliveries.start_those_that_may();
            let gathered = gathering.unwrap_or_else(Instant::now);
            tokio::select! {
                () = self.push.has_news.notified(), if gathering.is_none() => {
                    gathering = Some(Instant::now() + GATHER);
                }
                () = sleep_until(gathered), if gathering.is_some() => {
                    gathering = None;
                    courier.consider(self.push.take_news()).await;
                }
                () = courier.deliveries.one_ended() => {}
                _ = ticks.tick(), if courier.waits() => {
                    courier.deliveries.try_again();
                    courier.look().await;
                }
            }
        }
    }
}

impl Courier {
    /// Whether something waits for its time.
    fn waits(&self) -> bool {
        !self.told.is_empty() || self.deliveries.waits()
    }

    /// What has just happened.
    async fn consider(&mut self, news: VecDeque<News>) {
        let mut by_room: HashMap<RoomId, Vec<News>> = HashMap::new();
        for news in news {
            by_room.entry(news.room()).or_default().push(news);
        }
        for (id, news) in by_room {
            let Some(room) = self.room(id).await else {
                continue;
            };
            for news in news {
                self.offer(id, &room, news).await;
            }
        }
        self.look().await;
    }

    async fn room(&self, room: RoomId) -> Option<PushRoom> {
        match self.app.store.push_room(room, now()).await {
            Ok(found) => found,
            Err(error) => {
                tracing::error!(%error, room, "what happened in a room cannot be pushed");
                self.app.push.dropped.inc();
                None
            }
        }
    }

    /// Notes it for all whom it concerns, and for whom there is nothing newer.
    async fn offer(&mut self, id: RoomId, room: &PushRoom, news: News) {
        let (by, note) = match news {
            News::Message(message) => (
                message.author,
                Note {
                    is_call: false,
                    mentions: message.mentions,
                    from: message.from,
                    text: message.text,
                    message: Some(message.id),
                    until: Instant::now() + MESSAGE_TTL,
                },
            ),
            News::Call { by, .. } => {
                let Ok(Some(user)) = self.app.store.user(UserKey::Id(by)).await else {
                    return;
                };
                let note = Note {
                    is_call: true,
                    mentions: Mentioned::default(),
                    from: user.shown_name().to_owned(),
                    text: String::new(),
                    message: None,
                    until: Instant::now() + CALL_TTL,
                };
                (by, note)
            }
        };
        let note = Arc::new(note);
        for recipient in &room.recipients {
            if recipient.user_id != by && concerns(&note, room, recipient) {
                let slot = Slot {
                    user: recipient.user_id,
                    room: id,
                    kind: note.kind_for(recipient.user_id),
                };
                self.keep(slot, &note);
            }
        }
    }

    fn keep(&mut self, slot: Slot, note: &Arc<Note>) {
        if self.told.len() >= MAX_SLOTS && !self.told.contains_key(&slot) {
            self.app.push.dropped.inc();
            return;
        }
        let told = self.told.entry(slot).or_default();
        let now = Instant::now();
        let look_at = match &told.waiting {
            Some(before) => before.look_at,
            None => told.quiet_until.map_or(now, |end| end.max(now)),
        };
        told.waiting = Some(Waiting {
            note: Arc::clone(note),
            look_at,
            kept_until: note.until.min(now + KEPT).max(look_at),
        });
    }

    /// Tells what it is time to tell, and forgets what is over.
    async fn look(&mut self) {
        let now = Instant::now();
        let hub = &self.app.hub;
        let mut due: HashMap<RoomId, Vec<Slot>> = HashMap::new();
        self.told.retain(|slot, told| {
            if told.quiet_until.is_some_and(|end| end <= now) {
                told.quiet_until = None;
            }
            match &mut told.waiting {
                Some(waiting) if waiting.look_at <= now => {
                    if !hub.has_connections(slot.user) {
                        due.entry(slot.room).or_default().push(*slot);
                    } else if waiting.kept_until <= now {
                        told.waiting = None;
                    } else {
                        waiting.look_at = now + TICK;
                    }
                }
                _ => {}
            }
            told.waiting.is_some() || told.quiet_until.is_some()
        });
        for (room, slots) in due {
            let found = self.room(room).await;
            for slot in slots {
                self.tell(slot, found.as_ref()).await;
            }
        }
    }

    /// To somebody who is away; what is true of him and of the room is looked at anew.
    async fn tell(&mut self, slot: Slot, room: Option<&PushRoom>) {
        let told = self.told.get_mut(&slot);
        let Some(Waiting { note, .. }) = told.and_then(|told| told.waiting.take()) else {
            return;
        };
        let of = |room: &'_ PushRoom| {
            let mut recipients = room.recipients.iter();
            recipients
                .find(|recipient| recipient.user_id == slot.user)
                .cloned()
        };
        let Some((room, recipient)) = room.and_then(|room| Some((room, of(room)?))) else {
            return;
        };
        if !concerns(&note, room, &recipient) || self.is_over(slot, &note) {
            return;
        }
        if let Some(told) = self.told.get_mut(&slot) {
            told.quiet_until = Some(Instant::now() + QUIET);
        }
        let payload: Arc<[u8]> = payload(slot.kind, slot.room, &room.name, &note).into();
        let topic = format!("{} {} {:?}", slot.user, slot.room, slot.kind);
        let topic = self.app.push.vapid.topic(&topic);
        let subscriptions = match self.app.store.push_subscriptions(slot.user, now()).await {
            Ok(subscriptions) => subscriptions,
            Err(error) => {
                tracing::error!(%error, "nothing can be pushed to a user");
                self.app.push.dropped.inc();
                return;
            }
        };
        for subscription in subscriptions {
            let url = subscription.endpoint.0.parse::<Uri>();
            let Some(host) = url.as_ref().ok().and_then(Uri::host) else {
                continue;
            };
            self.deliveries.add(Delivery {
                subscription: subscription.id,
                user: slot.user,
                host: host.into(),
                payload: Arc::clone(&payload),
                topic: topic.clone(),
                urgency: match slot.kind {
                    Kind::Message if !room.is_direct => Urgency::Normal,
                    _ => Urgency::High,
                },
                until: note.until,
                failures: 0,
            });
        }
    }

    fn is_over(&self, slot: Slot, note: &Note) -> bool {
        if Instant::now() >= note.until {
            return true;
        }
        let call = || self.app.hub.call_state(slot.room);
        let took_part = |user| call().active().any(|member| member.user_id == user);
        note.is_call && (!call().is_active() || took_part(slot.user))
    }
}

/// Whether the user wants to know it and does not yet.
fn concerns(note: &Note, room: &PushRoom, recipient: &PushRecipient) -> bool {
    match note.message {
        None => recipient.settings.calls,
        Some(message) => {
            recipient.last_read_id < message
                && match recipient.settings.messages {
                    PushMessages::All => true,
                    PushMessages::Mentions => {
                        room.is_direct || note.mentions.names(recipient.user_id)
                    }
                    PushMessages::None => false,
                }
        }
    }
}

/// The beginning of a message.
pub(super) fn excerpt(content: &str) -> String {
    let content = content.trim();
    match content.char_indices().nth(EXCERPT) {
        None => content.to_owned(),
        Some((end, _)) => {
            let cut = content.get(..end).unwrap_or_default();
            let last = cut.char_indices().next_back().map_or(0, |(at, _)| at);
            format!("{}…", cut.get(..last).unwrap_or_default())
        }
    }
}

fn payload(kind: Kind, room: RoomId, name: &str, note: &Note) -> Vec<u8> {
    let mut text = note.text.clone();
    loop {
        let payload = Payload {
            r#type: kind,
            room_id: room,
            room_name: name,
            from: &note.from,
            text: &text,
            message_id: note.message,
        };
        // Numbers and texts: writing them cannot fail.
        let written = serde_json::to_vec(&payload).unwrap_or_default();
        if written.len() <= seal::MAX_PAYLOAD || text.is_empty() {
            return written;
        }
        // Characters that JSON writes as six bytes each.
        text = text.chars().take(text.chars().count() / 2).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_has_two_hundred_characters_at_most() {
        assert_eq!(excerpt("  hello \n"), "hello");
        let exactly = "ж".repeat(EXCERPT);
        assert_eq!(excerpt(&exactly), exactly);
        let longer = excerpt(&"ж".repeat(EXCERPT + 1));
        assert_eq!(longer.chars().count(), EXCERPT);
        assert!(longer.ends_with("ж…"));
    }

    #[test]
    fn the_longest_names_and_the_worst_text_fit() {
        let note = Note {
            is_call: false,
            mentions: Mentioned::default(),
            from: "\u{1F600}".repeat(150),
            text: "\u{1}".repeat(EXCERPT),
            message: Some(i64::MAX),
            until: Instant::now(),
        };
        let written = payload(Kind::Message, i64::MAX, &"\u{1F600}".repeat(255), &note);
        assert!(written.len() <= seal::MAX_PAYLOAD, "{}", written.len());
        let json: serde_json::Value = serde_json::from_slice(&written).unwrap();
        assert!(!json["text"].as_str().unwrap().is_empty());
        assert_eq!(json["type"], "message");
    }
}
