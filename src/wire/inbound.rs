//! The frames that clients send. All of it is hostile.

use std::borrow::Cow;
use std::collections::BTreeMap;

use moznods_storage::{EventId, MessageId, RoomId, UserId};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::Int;
use crate::app::Draft;

/// No `Debug`: there may be a token in it.
pub enum Inbound {
    Ping,
    Auth {
        token: String,
        last_event_id: Option<EventId>,
    },
    Resume {
        last_event_id: EventId,
    },
    OpenCall,
    ChatMessage(Draft),
    MessageRead {
        message_id: MessageId,
    },
    /// Something that is done to a message.
    OfMessage {
        message_id: MessageId,
        act: MessageAct,
    },
    MarkRoomAsRead,
    Typing(bool),
    JoinCall,
    LeaveCall,
    Signal(Signal),
    RequestMic {
        target_user_id: UserId,
    },
    Mute {
        target_user_id: UserId,
    },
}

pub enum MessageAct {
    Edit(String),
    Delete,
    React { emoji: String, added: bool },
}

/// A description or candidate on its way to one peer.
pub struct Signal {
    pub kind: SignalKind,
    pub target: UserId,
    /// All of `data` as it was written.
    pub data: BTreeMap<String, Box<RawValue>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignalKind {
    Offer,
    Answer,
    IceCandidate,
}

impl SignalKind {
    pub fn as_str(self) -> &'static str {
        match self {
            SignalKind::Offer => "offer",
            SignalKind::Answer => "answer",
            SignalKind::IceCandidate => "ice_candidate",
        }
    }

    fn payload(self) -> &'static str {
        match self {
            SignalKind::Offer | SignalKind::Answer => "sdp",
            SignalKind::IceCandidate => "candidate",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadFrame {
    /// No JSON object with a text `type`.
    NotAFrame,
    UnknownType,
    /// `data` lacks something, or something in it has the wrong type.
    BadData,
}

impl BadFrame {
    /// Also the key of the text in the catalogue.
    pub fn code(self) -> &'static str {
        match self {
            BadFrame::NotAFrame => "not_a_frame",
            BadFrame::UnknownType => "unknown_type",
            BadFrame::BadData => "bad_data",
        }
    }
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

impl Inbound {
    /// Whether it speaks of a call, not of a chat.
    pub fn is_of_call(&self) -> bool {
        matches!(
            self,
            Inbound::OpenCall
                | Inbound::JoinCall
                | Inbound::LeaveCall
                | Inbound::Signal(_)
                | Inbound::RequestMic { .. }
                | Inbound::Mute { .. }
        )
    }

    /// Whether something is stored for it that others will read.
    pub fn stores(&self) -> bool {
        matches!(self, Inbound::ChatMessage(_) | Inbound::OfMessage { .. })
    }

    pub fn parse(text: &str) -> Result<Self, BadFrame> {
        if nests_deeper(text.as_bytes(), MAX_DEPTH) {
            return Err(BadFrame::NotAFrame);
        }
        let envelope: Envelope<'_> = serde_json::from_str(text).map_err(|_| BadFrame::NotAFrame)?;
        let data = envelope.data.map_or("{}", RawValue::get);
        match envelope.kind.as_ref() {
            "ping" => Ok(Inbound::Ping),
            "mark_room_as_read" => Ok(Inbound::MarkRoomAsRead),
            "open_call" => Ok(Inbound::OpenCall),
            "typing" => Ok(Inbound::Typing(true)),
            "stop_typing" => Ok(Inbound::Typing(false)),
            "join_call" => Ok(Inbound::JoinCall),
            "leave_call" => Ok(Inbound::LeaveCall),
            "auth" => {
                #[derive(Deserialize)]
                struct Data {
                    token: String,
                    last_event_id: Option<Int>,
                }
                read(data).map(|data: Data| Inbound::Auth {
                    token: data.token,
                    last_event_id: data.last_event_id.map(|Int(id)| id),
                })
            }
            "resume" => {
                #[derive(Deserialize)]
                struct Data {
                    last_event_id: Int,
                }
                read(data).map(|data: Data| Inbound::Resume {
                    last_event_id: data.last_event_id.0,
                })
            }
            "chat_message" => {
                #[derive(Deserialize)]
                struct Data {
                    content: String,
                    attachment_ids: Option<Vec<Int>>,
                    client_id: Option<String>,
                    reply_to: Option<Int>,
                }
                read(data).map(|data: Data| {
                    Inbound::ChatMessage(Draft {
                        content: data.content,
                        attachment_ids: ids(data.attachment_ids),
                        client_id: data.client_id,
                        reply_to: data.reply_to.map(|Int(id)| id),
                    })
                })
            }
            "edit_message" => {
                #[derive(Deserialize)]
                struct Data {
                    message_id: Int,
                    content: String,
                }
                let data: Data = read(data)?;
                Ok(of_message(data.message_id, MessageAct::Edit(data.content)))
            }
            "delete_message" => {
                #[derive(Deserialize)]
                struct Data {
                    message_id: Int,
                }
                let data: Data = read(data)?;
                Ok(of_message(data.message_id, MessageAct::Delete))
            }
            "add_reaction" => reaction(data, true),
            "remove_reaction" => reaction(data, false),
            "message_read" => {
                #[derive(Deserialize)]
                struct Data {
                    message_id: Int,
                }
                read(data).map(|data: Data| Inbound::MessageRead {
                    message_id: data.message_id.0,
                })
            }
            "request_mic" => {
                target(data).map(|target_user_id| Inbound::RequestMic { target_user_id })
            }
            "mute" => target(data).map(|target_user_id| Inbound::Mute { target_user_id }),
            "offer" => signal(SignalKind::Offer, data),
            "answer" => signal(SignalKind::Answer, data),
            "ice_candidate" => signal(SignalKind::IceCandidate, data),
            _ => Err(BadFrame::UnknownType),
        }
    }
}

/// The room that a frame names in its data, which those to a connection that listens to everything must.
pub fn room_of(text: &str) -> Option<RoomId> {
    #[derive(Deserialize)]
    struct Named {
        data: Room,
    }
    #[derive(Deserialize)]
    struct Room {
        room_id: Int,
    }
    let named: Named = serde_json::from_str(text).ok()?;
    Some(named.data.room_id.0)
}

/// Levels of lists and objects within each other that any client needs.
pub const MAX_DEPTH: usize = 32;

/// Whether lists and objects stand deeper within each other than `levels`, in what is JSON, perhaps.
pub fn nests_deeper(json: &[u8], levels: usize) -> bool {
    let (mut depth, mut in_text, mut escaped) = (0_usize, false, false);
    for byte in json {
        if in_text {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_text = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_text = true,
            b'[' | b'{' => {
                depth += 1;
                if depth > levels {
                    return true;
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

fn of_message(Int(message_id): Int, act: MessageAct) -> Inbound {
    Inbound::OfMessage { message_id, act }
}

fn reaction(data: &str, added: bool) -> Result<Inbound, BadFrame> {
    #[derive(Deserialize)]
    struct Data {
        message_id: Int,
        emoji: String,
    }
    let Data { message_id, emoji } = read(data)?;
    Ok(of_message(message_id, MessageAct::React { emoji, added }))
}

fn signal(kind: SignalKind, data: &str) -> Result<Inbound, BadFrame> {
    let data: BTreeMap<String, Box<RawValue>> = read(data)?;
    let Int(target) = data
        .get("target_user_id")
        .and_then(|target| serde_json::from_str(target.get()).ok())
        .ok_or(BadFrame::BadData)?;
    if !data.contains_key(kind.payload()) {
        return Err(BadFrame::BadData);
    }
    Ok(Inbound::Signal(Signal { kind, target, data }))
}

fn target(data: &str) -> Result<UserId, BadFrame> {
    #[derive(Deserialize)]
    struct Data {
        target_user_id: Int,
    }
    read(data).map(|data: Data| data.target_user_id.0)
}

/// Ids as a client lists them; no list is an empty one.
pub fn ids(listed: Option<Vec<Int>>) -> Vec<i64> {
    let listed = listed.unwrap_or_default();
    listed.into_iter().map(|Int(id)| id).collect()
}

fn read<'a, T: Deserialize<'a>>(data: &'a str) -> Result<T, BadFrame> {
    serde_json::from_str(data).map_err(|_| BadFrame::BadData)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_counted_outside_of_texts() {
        for (json, levels) in [
            ("1", 0),
            ("[]", 1),
            (r#"{"a":[{}],"b":[[]]}"#, 3),
            (r#"["[[[\"[[["]"#, 1),
            (r#"["\\",[]]"#, 2),
            ("[[[", 3),
        ] {
            assert!(!nests_deeper(json.as_bytes(), levels), "{json}");
            if levels > 0 {
                assert!(nests_deeper(json.as_bytes(), levels - 1), "{json}");
            }
        }
    }
}
