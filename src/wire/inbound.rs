//! The frames that clients send. All of it is hostile.

use std::borrow::Cow;
use std::collections::BTreeMap;

use moznods_storage::{MessageId, UserId};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::Int;

/// No `Debug`: there may be a token in it.
pub enum Inbound {
    Ping,
    Auth {
        token: String,
    },
    ChatMessage {
        content: String,
        attachment_ids: Vec<i64>,
    },
    MessageRead {
        message_id: MessageId,
    },
    MarkRoomAsRead,
    JoinCall,
    LeaveCall,
    Signal(Signal),
    RequestMic {
        target_user_id: UserId,
    },
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
    pub fn parse(text: &str) -> Result<Self, BadFrame> {
        let envelope: Envelope<'_> = serde_json::from_str(text).map_err(|_| BadFrame::NotAFrame)?;
        let data = envelope.data.map_or("{}", RawValue::get);
        match envelope.kind.as_ref() {
            "ping" => Ok(Inbound::Ping),
            "mark_room_as_read" => Ok(Inbound::MarkRoomAsRead),
            "join_call" => Ok(Inbound::JoinCall),
            "leave_call" => Ok(Inbound::LeaveCall),
            "auth" => {
                #[derive(Deserialize)]
                struct Data {
                    token: String,
                }
                read(data).map(|Data { token }| Inbound::Auth { token })
            }
            "chat_message" => {
                #[derive(Deserialize)]
                struct Data {
                    content: String,
                    attachment_ids: Option<Vec<Int>>,
                }
                read(data).map(|data: Data| Inbound::ChatMessage {
                    content: data.content,
                    attachment_ids: ids(data.attachment_ids),
                })
            }
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
                #[derive(Deserialize)]
                struct Data {
                    target_user_id: Int,
                }
                read(data).map(|data: Data| Inbound::RequestMic {
                    target_user_id: data.target_user_id.0,
                })
            }
            "offer" => signal(SignalKind::Offer, data),
            "answer" => signal(SignalKind::Answer, data),
            "ice_candidate" => signal(SignalKind::IceCandidate, data),
            _ => Err(BadFrame::UnknownType),
        }
    }
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

/// Ids as a client lists them; no list is an empty one.
pub fn ids(listed: Option<Vec<Int>>) -> Vec<i64> {
    let listed = listed.unwrap_or_default();
    listed.into_iter().map(|Int(id)| id).collect()
}

fn read<'a, T: Deserialize<'a>>(data: &'a str) -> Result<T, BadFrame> {
    serde_json::from_str(data).map_err(|_| BadFrame::BadData)
}
