//! The frames that the server sends; each is written once, whoever gets it.

use std::collections::BTreeMap;

use bytes::Bytes;
use moznods_signaling::{CallFrames, CallState, Form, Frame};
use moznods_storage::{Acquaintance, EventId, Message, MessageId, Room, RoomId, User, UserId};
use serde::Serialize;
use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};

use super::inbound::Signal;
use super::objects::{
    CallStateJson, ChangedRoomJson, MessageJson, OwnUserJson, RoomJson, UserJson, role,
};
use crate::app::RoomSeen;
use crate::i18n::{self, Lang};

/// What a frame says, before it is known of which room and event.
pub struct Outgoing {
    kind: &'static str,
    /// A JSON object.
    body: String,
    /// Narrow connections get the body beside the type, not as `data`.
    flat: bool,
}

impl Outgoing {
    /// Of what stands in the log: wide connections are told the id.
    pub fn of_event(self, event: EventId, room: Option<RoomId>) -> Frame {
        Frame::of_event(event, move |form| match form {
            Form::Narrow => self.narrow(),
            Form::Wide => self.wide(room, event),
        })
    }

    /// Of what is true only now, in a room.
    pub fn in_room(self, room: RoomId) -> Frame {
        self.of_event(0, Some(room))
    }

    /// Of what is true only now, and of no room, or says itself of which.
    pub fn anywhere(self) -> Frame {
        self.of_event(0, None)
    }

    fn narrow(&self) -> Bytes {
        let Outgoing { kind, body, flat } = self;
        if *flat {
            format!(r#"{{"type":"{kind}",{}"#, body.get(1..).unwrap_or("}")).into()
        } else {
            format!(r#"{{"type":"{kind}","data":{body}}}"#).into()
        }
    }

    /// With `room_id` in `data`, and the event's id beside it.
    fn wide(&self, room: Option<RoomId>, event: EventId) -> Bytes {
        let Outgoing { kind, body, .. } = self;
        let mut text = format!(r#"{{"type":"{kind}","data":"#);
        match (room, body.get(1..)) {
            (Some(room), Some("}")) => text.push_str(&format!(r#"{{"room_id":{room}}}"#)),
            (Some(room), Some(rest)) => text.push_str(&format!(r#"{{"room_id":{room},{rest}"#)),
            _ => text.push_str(body),
        }
        if event > 0 {
            text.push_str(&format!(r#","event_id":{event}"#));
        }
        text.push('}');
        text.into()
    }
}

/// Numbers, texts, lists and maps with text keys: writing them cannot fail.
fn framed(kind: &'static str, data: impl Serialize) -> Outgoing {
    Outgoing {
        kind,
        body: serde_json::to_string(&data).unwrap_or_else(|_| "{}".to_owned()),
        flat: false,
    }
}

/// As [`framed`]; on `/ws/notifications/` the body stands beside the type.
fn flat(kind: &'static str, body: impl Serialize) -> Outgoing {
    Outgoing {
        flat: true,
        ..framed(kind, body)
    }
}

/// The first frame of a connection that listens to everything.
pub fn hello(user: &User, online: &[UserId], last_event: EventId, heartbeat_seconds: u64) -> Bytes {
    framed(
        "hello",
        json!({
            "user": OwnUserJson::from(user),
            "online": online,
            "last_event_id": last_event,
            "heartbeat_seconds": heartbeat_seconds,
        }),
    )
    .narrow()
}

/// What was missed cannot be told: all is to be fetched again.
pub fn resync(last_event: EventId) -> Bytes {
    framed("resync", json!({"last_event_id": last_event})).narrow()
}

pub fn pong() -> Bytes {
    Bytes::from_static(br#"{"type":"pong"}"#)
}

/// `room`: which the frame that is answered was for, where the connection does not say.
pub fn error(code: &str, detail: &str, room: Option<RoomId>, retry_after: Option<u64>) -> Bytes {
    let mut frame = json!({"type": "error", "detail": detail, "code": code});
    if let Some(room) = room {
        frame["data"] = json!({"room_id": room});
    }
    if let Some(seconds) = retry_after {
        frame["retry_after"] = json!(seconds);
    }
    frame.to_string().into()
}

pub fn chat_message(message: &Message) -> Outgoing {
    framed("chat_message", MessageJson::from(message))
}

/// As [`chat_message`], to the one connection that has sent it before; `room` where that does not say of which it is.
pub fn chat_message_again(message: &Message, room: Option<RoomId>) -> Bytes {
    match room {
        None => chat_message(message).narrow(),
        Some(room) => chat_message(message).wide(Some(room), 0),
    }
}

pub fn message_edited(message: &Message) -> Outgoing {
    framed("message_edited", MessageJson::from(message))
}

pub fn message_deleted(message: MessageId) -> Outgoing {
    framed("message_deleted", json!({"message_id": message}))
}

pub fn reaction_changed(message: MessageId, emoji: &str, user: UserId, added: bool) -> Outgoing {
    framed(
        "reaction_changed",
        json!({"message_id": message, "emoji": emoji, "user_id": user, "added": added}),
    )
}

/// By this user.
pub fn message_pinned(message: MessageId, user: UserId, pinned: bool) -> Outgoing {
    let kind = if pinned {
        "message_pinned"
    } else {
        "message_unpinned"
    };
    framed(kind, json!({"message_id": message, "user_id": user}))
}

/// The user has begun to type, or stopped.
pub fn typing(typing: bool, user: UserId, username: &str) -> Outgoing {
    let kind = if typing { "typing" } else { "stop_typing" };
    framed(kind, json!({"user_id": user, "username": username}))
}

pub fn message_read(message: MessageId, reader: UserId) -> Outgoing {
    framed(
        "message_read",
        json!({"message_id": message, "user_id": reader}),
    )
}

pub fn room_added(room: &RoomSeen) -> Outgoing {
    flat("room_added", json!({"room": RoomJson::from(room)}))
}

pub fn room_updated(room: &Room, participant_count: usize) -> Outgoing {
    let room = ChangedRoomJson::new(room, participant_count);
    flat("room_updated", json!({"room": room}))
}

/// `why` is that of a [`moznods_storage::Departure`].
pub fn room_removed(room: RoomId, why: &str) -> Outgoing {
    flat("room_removed", json!({"room_id": room, "reason": why}))
}

/// `change` is that of a [`moznods_storage::ParticipantChange`].
pub fn participant_changed(room: RoomId, change: &str, who: &Acquaintance) -> Outgoing {
    flat(
        "participant_changed",
        json!({
            "room_id": room,
            "change": change,
            "user": UserJson::from(&who.user),
            "role": who.role.map(role),
            "participant_count": who.participant_count,
        }),
    )
}

/// Who of those that share a room with the reader has come, and who has gone.
pub fn presence(online: &[UserId], offline: &[UserId]) -> Outgoing {
    framed("presence", json!({"online": online, "offline": offline}))
}

pub fn room_presence(room: RoomId, active: &[String]) -> Outgoing {
    flat(
        "room_presence_update",
        json!({"room_id": room, "active_participants": active}),
    )
}

pub fn call_declined(room: RoomId, user: UserId, username: &str) -> Outgoing {
    flat(
        "call_declined",
        json!({"room_id": room, "user_id": user, "username": username}),
    )
}

/// The data as sent, but for who sent it.
pub fn signal(signal: &Signal, from: UserId, username: &str) -> Outgoing {
    let (id, name) = (to_raw_value(&from), to_raw_value(username));
    let mut data: BTreeMap<&str, &RawValue> = signal
        .data
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_ref()))
        // The room is added for those who have to be told.
        .filter(|(key, _)| *key != "room_id")
        .collect();
    if let (Ok(id), Ok(name)) = (&id, &name) {
        data.insert("from_user_id", id);
        data.insert("from_username", name);
    }
    framed(signal.kind.as_str(), data)
}

pub fn request_mic(from: UserId, username: &str) -> Outgoing {
    framed(
        "request_mic",
        json!({"from_user_id": from, "from_username": username}),
    )
}

/// Asks somebody in a call to mute himself.
pub fn mute(from: UserId, username: &str) -> Outgoing {
    framed(
        "mute",
        json!({"from_user_id": from, "from_username": username}),
    )
}

/// To the connection whose call another one of the same user has taken over.
pub fn taken_over(lang: Lang) -> fn(RoomId) -> Frame {
    fn written(lang: Lang, room: RoomId) -> Frame {
        Frame::new(move |form| {
            let code = "call_taken_over";
            let room = (form == Form::Wide).then_some(room);
            error(code, &i18n::text(lang, code, None), room, None)
        })
    }
    match lang {
        Lang::En => |room| written(Lang::En, room),
        Lang::Ru => |room| written(Lang::Ru, room),
    }
}

/// The frames of calls, for the hub.
#[derive(Debug)]
pub struct WireFrames;

impl CallFrames for WireFrames {
    fn user_joined(&self, room: RoomId, user_id: UserId, username: &str) -> Frame {
        let user = json!({"user": {"id": user_id, "username": username}});
        framed("user_joined", user).in_room(room)
    }

    fn user_left(&self, room: RoomId, user_id: UserId) -> Frame {
        framed("user_left", json!({"user_id": user_id})).in_room(room)
    }

    fn call_state(&self, room: RoomId, state: &CallState) -> Frame {
        framed("call_state", CallStateJson::from(state)).in_room(room)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_written_for_narrow_and_for_wide_connections() {
        let read = |frame: &Frame, form| -> serde_json::Value {
            serde_json::from_slice(&frame.written(form)).unwrap()
        };
        let frame = message_read(5, 7).of_event(9, Some(3));
        let narrow = json!({"type": "message_read", "data": {"message_id": 5, "user_id": 7}});
        let wide = json!({
            "type": "message_read",
            "data": {"room_id": 3, "message_id": 5, "user_id": 7},
            "event_id": 9,
        });
        assert_eq!(read(&frame, Form::Narrow), narrow);
        assert_eq!(read(&frame, Form::Wide), wide);

        let frame = room_presence(3, &[]).anywhere();
        let body = json!({"room_id": 3, "active_participants": []});
        let narrow =
            json!({"type": "room_presence_update", "room_id": 3, "active_participants": []});
        let wide = json!({"type": "room_presence_update", "data": body});
        assert_eq!(read(&frame, Form::Narrow), narrow);
        assert_eq!(read(&frame, Form::Wide), wide);

        let frame = framed("nothing", json!({})).in_room(3);
        let wide = json!({"type": "nothing", "data": {"room_id": 3}});
        assert_eq!(read(&frame, Form::Wide), wide);
    }
}
