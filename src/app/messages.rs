//! Messages: sending, changing, reading and reacting, and what the others in the room are told.

use moznods_storage::{
    AuditTarget, Cursor, Deleter, Listing, Message, MessageEdit, MessageId, NewMentions,
    NewMessage, Page, RoomId, Sent, User, Window,
};
use serde_json::json;

use super::audit::{Action, Person};
use super::moderation::in_room;
use super::roles::Act;
use super::{App, Error, Problem, Refusal, Result, limits, mentions, now};
use crate::config::MentionAll;

/// A message as its author sends it.
#[derive(Debug, Default)]
pub struct Draft {
    pub content: String,
    pub attachment_ids: Vec<i64>,
    /// What the author's client calls it: sent again, it is there once.
    pub client_id: Option<String>,
    pub reply_to: Option<MessageId>,
}

impl App {
    pub async fn messages(
        &self,
        user: &User,
        room: RoomId,
        page: Page,
    ) -> Result<Listing<Message>> {
        self.taking_part(user, room).await?;
        Ok(self.store.messages(room, page).await?)
    }

    pub async fn message_window(
        &self,
        user: &User,
        room: RoomId,
        cursor: Cursor,
        limit: i64,
    ) -> Result<Window> {
        self.taking_part(user, room).await?;
        Ok(self.store.message_window(room, cursor, limit).await?)
    }

    pub async fn message(&self, user: &User, message: MessageId) -> Result<Message> {
        let found = self.store.message(message).await?;
        let message = found.ok_or(Refusal::NotFound)?;
        self.taking_part(user, message.room_id).await?;
        Ok(message)
    }

    /// Messages that mention the user, in rooms that he takes part in.
    pub async fn mentions(
        &self,
        user: &User,
        before: Option<MessageId>,
        limit: i64,
    ) -> Result<Window> {
        Ok(self.store.mentions_of(user.id, before, limit).await?)
    }

    /// Stores a message and sends it to everyone who listens to the room, its author too. One that has been sent before
    /// is neither stored nor sent again.
    pub async fn post_message(&self, author: &User, room: RoomId, draft: Draft) -> Result<Sent> {
        if draft.attachment_ids.len() > limits::ATTACHMENTS {
            let problem = Problem::TooManyFiles(limits::ATTACHMENTS);
            return Err(Error::field("attachment_ids", problem));
        }
        check_content(&draft.content, !draft.attachment_ids.is_empty())?;
        if let Some(client_id) = &draft.client_id {
            check_client_id(client_id)?;
        }
        let message = NewMessage {
            room,
            author: author.id,
            mentions: self.mentions_in(author, room, &draft.content).await?,
            content: draft.content,
            attachments: draft.attachment_ids,
            client_id: draft.client_id,
            reply_to: draft.reply_to,
            now: now(),
        };
        let sent = self.store.add_message(message).await?;
        if sent.is_none() {
            self.existing(room).await?;
        }
        Ok(sent.ok_or(Refusal::NotParticipant)?)
    }

    pub async fn edit_message(
        &self,
        author: &User,
        message: MessageId,
        content: String,
    ) -> Result<Message> {
        let found = self.message(author, message).await?;
        if found.author.id != author.id {
            return Err(Refusal::AuthorOnly.into());
        }
        check_content(&content, !found.attachments.is_empty())?;
        let room = found.room_id;
        let edit = MessageEdit {
            message,
            author: author.id,
            mentions: self.mentions_in(author, room, &content).await?,
            content,
            now: now(),
        };
        let edited = self.store.edit_message(edit).await?;
        Ok(edited.ok_or(Refusal::NotFound)?)
    }

    pub async fn delete_message(&self, by: Person<'_>, message: MessageId) -> Result<()> {
        let user = by.user;
        let found = self.message(user, message).await?;
        let author = &found.author;
        let deleted = if author.id == user.id {
            let own = Deleter::Author(user.id);
            self.store.delete_message(message, own).await?
        } else {
            let act = Act::DeleteMessages;
            let against = self.may_against(user, found.room_id, act, author.id);
            let allowed = against.await?;
            let mut details = in_room(&allowed.room);
            details["author_id"] = json!(author.id);
            details["author"] = json!(author.username);
            let target = AuditTarget::Message(message);
            let store = self.noting(by.into(), Action::MessageDelete, target, details);
            let by = Deleter::By(allowed.right);
            store.delete_message(message, by).await?
        };
        match deleted {
            true => Ok(()),
            false => Err(Refusal::NotFound.into()),
        }
    }

    /// Adds the user's reaction to a message or takes it back; the message as it is then.
    pub async fn react(
        &self,
        user: &User,
        message: MessageId,
        emoji: &str,
        added: bool,
    ) -> Result<Message> {
        // One emoji has several spellings; the full one stands for all of them.
        let emoji = emojis::get(emoji)
            .ok_or_else(|| Error::field("emoji", Problem::NotAnEmoji))?
            .as_str();
        self.store
            .set_reaction(message, user.id, emoji.to_owned(), added)
            .await?;
        // Which also says what was wrong, if anything.
        self.message(user, message).await
    }

    /// The user has read up to this message.
    pub async fn mark_read(&self, user: &User, message: MessageId) -> Result<()> {
        let room = self
            .store
            .room_of_message(message)
            .await?
            .ok_or(Refusal::NotFound)?;
        self.taking_part(user, room).await?;
        self.read_up_to(user, room, message).await
    }

    /// As [`Self::mark_read`], for a message that must stand in `room`.
    pub async fn mark_read_in(&self, user: &User, room: RoomId, message: MessageId) -> Result<()> {
        self.stands_in(room, message).await?;
        self.read_up_to(user, room, message).await
    }

    /// Refuses a message that is not there, or in another room.
    pub async fn stands_in(&self, room: RoomId, message: MessageId) -> Result<()> {
        match self.store.room_of_message(message).await? {
            Some(found) if found == room => Ok(()),
            _ => Err(Refusal::NotFound.into()),
        }
    }

    pub async fn mark_room_read(&self, user: &User, room: RoomId) -> Result<()> {
        match self.store.last_message(room).await? {
            Some(last) => self.read_up_to(user, room, last).await,
            None => Ok(()),
        }
    }

    async fn read_up_to(&self, user: &User, room: RoomId, message: MessageId) -> Result<()> {
        self.store.mark_read(room, user.id, message).await?;
        Ok(())
    }

    /// Whom the text mentions; everybody only where its author may do that.
    async fn mentions_in(&self, author: &User, room: RoomId, content: &str) -> Result<NewMentions> {
        let mut mentions = mentions::find(content);
        mentions.all = mentions.all
            && match self.config.chat.mention_all {
                MentionAll::Everyone => true,
                MentionAll::Nobody => false,
                MentionAll::Moderators => match self.may(author, room, Act::MentionAll).await {
                    Ok(_) => true,
                    Err(Error::Refused(_)) => false,
                    Err(error) => return Err(error),
                },
            };
        Ok(mentions)
    }
}

/// A message that has files may say nothing beside.
pub(super) fn check_content(content: &str, has_files: bool) -> Result<()> {
    let problem = if content.trim().is_empty() && !has_files {
        Problem::Required
    } else if content.chars().count() > limits::MESSAGE {
        Problem::TooLong(limits::MESSAGE)
    } else if content.contains('\0') {
        // No database but SQLite takes it.
        Problem::ControlCharacters
    } else {
        return Ok(());
    };
    Err(Error::field("content", problem))
}

fn check_client_id(client_id: &str) -> Result<()> {
    let is_fine = (1..=limits::CLIENT_ID).contains(&client_id.len())
        && client_id.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    match is_fine {
        true => Ok(()),
        false => {
            let problem = Problem::ClientId(limits::CLIENT_ID);
            Err(Error::field("client_id", problem))
        }
    }
}
