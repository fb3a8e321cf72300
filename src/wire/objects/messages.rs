//! Messages.

use moznods_storage::{Message, Pin, Reaction, Reply, Timestamp, UserId, Window};
use serde::Serialize;
use utoipa::ToSchema;

use super::files::AttachmentJson;
use super::users::UserJson;
use super::{rfc3339, rfc3339_or_null};

#[derive(Serialize, ToSchema)]
#[schema(as = Message)]
pub struct MessageJson<'a> {
    id: i64,
    room: i64,
    author: UserJson<'a>,
    content: &'a str,
    attachments: Vec<AttachmentJson<'a>>,
    #[serde(serialize_with = "rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[serde(serialize_with = "rfc3339_or_null")]
    #[schema(value_type = Option<String>, format = DateTime, required = true)]
    edited_at: Option<Timestamp>,
    #[schema(required = true)]
    client_id: Option<&'a str>,
    #[schema(required = true)]
    reply_to: Option<ReplyJson<'a>>,
    reactions: Vec<ReactionJson<'a>>,
    #[schema(value_type = Vec<i64>)]
    mentions: &'a [UserId],
    mentions_all: bool,
    /// Not in exports.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Vec<i64>, required = true)]
    read_by_ids: Option<&'a [UserId]>,
}

impl<'a> MessageJson<'a> {
    /// For an export, which they would make so many times as long.
    pub fn without_readers(message: &'a Message) -> Self {
        MessageJson {
            read_by_ids: None,
            ..MessageJson::from(message)
        }
    }
}

impl<'a> From<&'a Message> for MessageJson<'a> {
    fn from(message: &'a Message) -> Self {
        MessageJson {
            id: message.id,
            room: message.room_id,
            author: UserJson::from(&message.author),
            content: &message.content,
            attachments: message.attachments.iter().map(Into::into).collect(),
            created_at: message.created_at,
            edited_at: message.edited_at,
            client_id: message.client_id.as_deref(),
            reply_to: message.reply_to.as_ref().map(ReplyJson::from),
            reactions: message.reactions.iter().map(ReactionJson::from).collect(),
            mentions: &message.mentions,
            mentions_all: message.mentions_all,
            read_by_ids: Some(&message.read_by),
        }
    }
}

/// A message that is pinned.
#[derive(Serialize, ToSchema)]
#[schema(as = Pin)]
pub struct PinJson<'a> {
    message: MessageJson<'a>,
    pinned_by: UserJson<'a>,
    #[serde(serialize_with = "rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pinned_at: Timestamp,
}

impl<'a> From<&'a Pin> for PinJson<'a> {
    fn from(pin: &'a Pin) -> Self {
        PinJson {
            message: MessageJson::from(&pin.message),
            pinned_by: UserJson::from(&pin.pinned_by),
            pinned_at: pin.pinned_at,
        }
    }
}

/// What a message answers.
#[derive(Serialize, ToSchema)]
#[schema(as = Reply)]
struct ReplyJson<'a> {
    id: i64,
    /// `null`: what is answered has been deleted.
    #[schema(required = true)]
    author: Option<ReplyAuthorJson<'a>>,
    /// Its beginning, 140 characters at most.
    excerpt: &'a str,
    deleted: bool,
}

#[derive(Serialize, ToSchema)]
#[schema(as = ReplyAuthor)]
struct ReplyAuthorJson<'a> {
    #[schema(value_type = i64)]
    id: UserId,
    username: &'a str,
    display_name: &'a str,
}

impl<'a> From<&'a Reply> for ReplyJson<'a> {
    fn from(reply: &'a Reply) -> Self {
        let original = reply.original.as_ref();
        ReplyJson {
            id: reply.id,
            author: original.map(|original| ReplyAuthorJson {
                id: original.author.id,
                username: &original.author.username,
                display_name: original.author.shown_name(),
            }),
            excerpt: original.map_or("", |original| &original.excerpt),
            deleted: original.is_none(),
        }
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = Reaction)]
struct ReactionJson<'a> {
    emoji: &'a str,
    #[schema(value_type = Vec<i64>)]
    user_ids: &'a [UserId],
}

impl<'a> From<&'a Reaction> for ReactionJson<'a> {
    fn from(reaction: &'a Reaction) -> Self {
        ReactionJson {
            emoji: &reaction.emoji,
            user_ids: &reaction.users,
        }
    }
}

/// A part of the history, newest first.
#[derive(Serialize, ToSchema)]
#[schema(as = Window)]
pub struct WindowJson<'a> {
    results: Vec<MessageJson<'a>>,
    has_more_before: bool,
    has_more_after: bool,
}

impl<'a> From<&'a Window> for WindowJson<'a> {
    fn from(window: &'a Window) -> Self {
        WindowJson {
            results: window.messages.iter().map(MessageJson::from).collect(),
            has_more_before: window.more_before,
            has_more_after: window.more_after,
        }
    }
}
