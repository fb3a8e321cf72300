//! The frames that the server sends; each is written once, whoever gets it.

use std::collections::BTreeMap;

use bytes::Bytes;
use moznods_signaling::{CallFrames, CallState};
use moznods_storage::{Message, MessageId, RoomId, UserId};
use serde::Serialize;
use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};

use super::inbound::Signal;
use super::objects::{CallStateJson, MessageJson, RoomJson};
use crate::app::RoomSeen;
use crate::i18n::{self, Lang};

#[derive(Serialize)]
struct Frame<T> {
    r#type: &'static str,
    data: T,
}

/// Numbers, texts, lists and maps with text keys: writing them cannot fail.
fn write(frame: &impl Serialize) -> Bytes {
    serde_json::to_vec(frame).unwrap_or_default().into()
}

fn framed(kind: &'static str, data: impl Serialize) -> Bytes {
    write(&Frame { r#type: kind, data })
}

pub fn pong() -> Bytes {
    Bytes::from_static(br#"{"type":"pong"}"#)
}

pub fn error(code: &str, detail: &str) -> Bytes {
    write(&json!({"type": "error", "detail": detail, "code": code}))
}

pub fn chat_message(message: &Message) -> Bytes {
    framed("chat_message", MessageJson::from(message))
}

pub fn message_read(message: MessageId, reader: UserId) -> Bytes {
    framed(
        "message_read",
        json!({"message_id": message, "user_id": reader}),
    )
}

pub fn room_added(room: &RoomSeen) -> Bytes {
    write(&json!({"type": "room_added", "room": RoomJson::from(room)}))
}

pub fn room_presence(room: RoomId, active: &[String]) -> Bytes {
    write(&json!({
        "type": "room_presence_update",
        "room_id": room,
        "active_participants": active,
    }))
}

/// The data as sent, but for who sent it.
pub fn signal(signal: &Signal, from: UserId, username: &str) -> Bytes {
    let (id, name) = (to_raw_value(&from), to_raw_value(username));
    let mut data: BTreeMap<&str, &RawValue> = signal
        .data
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_ref()))
        .collect();
    if let (Ok(id), Ok(name)) = (&id, &name) {
        data.insert("from_user_id", id);
        data.insert("from_username", name);
    }
    framed(signal.kind.as_str(), data)
}

pub fn request_mic(from: UserId, username: &str) -> Bytes {
    framed(
        "request_mic",
        json!({"from_user_id": from, "from_username": username}),
    )
}

/// To the connection whose call another one of the same user has taken over.
pub fn taken_over(lang: Lang) -> Bytes {
    let code = "call_taken_over";
    error(code, &i18n::text(lang, code, None))
}

/// The frames of calls, for the hub.
#[derive(Debug)]
pub struct WireFrames;

impl CallFrames for WireFrames {
    fn user_joined(&self, user_id: UserId, username: &str) -> Bytes {
        framed(
            "user_joined",
            json!({"user": {"id": user_id, "username": username}}),
        )
    }

    fn user_left(&self, user_id: UserId) -> Bytes {
        framed("user_left", json!({"user_id": user_id}))
    }

    fn call_state(&self, state: &CallState) -> Bytes {
        framed("call_state", CallStateJson::from(state))
    }
}
