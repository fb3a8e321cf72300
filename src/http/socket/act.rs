//! What the frames of clients do.

use std::net::IpAddr;

use bytes::Bytes;
use moznods_signaling::Scope;
use moznods_storage::{MessageId, RoomId, Sent, UserId};

use crate::app::{App, Person, Refusal, Result as Done, Socket};
use crate::http::Edge;
use crate::http::error::{ApiError, ApiResult};
use crate::i18n::{self, Lang};
use crate::wire::{self, BadFrame, Inbound, MessageAct};

pub fn bad(frame: BadFrame, room: Option<RoomId>, lang: Lang) -> Bytes {
    let code = frame.code();
    wire::error(code, &i18n::text(lang, code, None), room, None)
}

/// Counts a frame, whatever becomes of it.
pub fn count(edge: &Edge, user: UserId, inbound: &Result<Inbound, BadFrame>) -> ApiResult<()> {
    match inbound {
        Ok(inbound) if inbound.stores() => edge.limits.frame(user),
        _ => edge.limits.signal(user),
    }
}

/// The answer to a frame that is one too many.
pub fn refused(error: &ApiError, socket: &Socket, lang: Lang, text: &str) -> Bytes {
    let room = match socket.connection.scope() {
        Some(_) => None,
        None => wire::room_of(text),
    };
    written(error, room, lang)
}

fn written(error: &ApiError, room: Option<RoomId>, lang: Lang) -> Bytes {
    let (code, detail) = error.words(lang);
    wire::error(code, &detail, room, error.retry_after())
}

/// Who sends a frame.
#[derive(Clone, Copy)]
pub struct Sender<'a> {
    pub socket: &'a Socket,
    pub lang: Lang,
    pub address: IpAddr,
}

/// Does what a frame asks for. The answer is for the sender alone: a pong or an error. `text` is the whole frame.
pub async fn act(
    edge: &Edge,
    sender: Sender<'_>,
    inbound: Result<Inbound, BadFrame>,
    text: &str,
) -> Option<Bytes> {
    let Sender {
        socket: Socket { user, connection },
        lang,
        address,
    } = sender;
    let app = &edge.app;
    let inbound = match inbound {
        Ok(inbound) => inbound,
        Err(error) => return Some(bad(error, None, lang)),
    };
    match &inbound {
        // Said twice is said well.
        Inbound::Auth { .. } => return None,
        Inbound::Ping => return Some(wire::pong()),
        _ => {}
    }
    // A connection that listens to everything says for which room a frame is.
    let (scope, named) = match connection.scope() {
        Some(scope) => (scope, None),
        None => match wire::room_of(text) {
            Some(room) if inbound.is_of_call() => (Scope::Call(room), Some(room)),
            Some(room) => (Scope::Chat(room), Some(room)),
            None => return Some(bad(BadFrame::BadData, None, lang)),
        },
    };
    let done = match (scope, inbound) {
        _ if named.is_some_and(|room| !connection.follows(room)) => {
            Err(Refusal::NotParticipant.into())
        }
        (Scope::Chat(room), Inbound::ChatMessage(draft)) => {
            let posting = app.post_message(user, room, draft);
            match posting.await {
                Ok(Sent::New(_)) => Ok(()),
                // The others have heard of it already.
                Ok(Sent::Again(message)) => {
                    return Some(wire::chat_message_again(&message, named));
                }
                Err(error) => Err(error.into()),
            }
        }
        (Scope::Chat(room), Inbound::OfMessage { message_id, act }) => {
            let by = Person { user, address };
            let acting = of_message(app, by, room, message_id, act);
            acting.await.map_err(ApiError::from)
        }
        (Scope::Chat(room), Inbound::MessageRead { message_id }) => {
            let marking = app.mark_read_in(user, room, message_id);
            marking.await.map_err(ApiError::from)
        }
        (Scope::Chat(room), Inbound::MarkRoomAsRead) => {
            app.mark_room_read(user, room).await.map_err(ApiError::from)
        }
        (Scope::Chat(room), Inbound::Typing(typing)) => {
            app.set_typing(user, room, typing);
            Ok(())
        }
        (Scope::Call(room), Inbound::OpenCall) if named.is_some() => {
            connection.open_call(room).map_err(ApiError::from)
        }
        (Scope::Call(room), Inbound::JoinCall) => {
            connection.join_call(room).map_err(ApiError::from)
        }
        (Scope::Call(room), Inbound::LeaveCall) => {
            connection.leave_call(room);
            Ok(())
        }
        (Scope::Call(room), Inbound::Signal(signal)) => {
            let passed = app.pass_signal(connection, room, &signal);
            passed.map_err(ApiError::from)
        }
        (Scope::Call(room), Inbound::Mute { target_user_id }) => {
            let asking = app.ask_to_mute(user, connection, room, target_user_id);
            asking.await.map_err(ApiError::from)
        }
        (Scope::Call(room), Inbound::RequestMic { target_user_id }) => {
            let asking = app.request_mic(user, connection, room, target_user_id);
            asking.await.map_err(ApiError::from)
        }
        _ => return Some(bad(BadFrame::UnknownType, named, lang)),
    };
    let error = done.err()?;
    Some(written(&error, named, lang))
}

/// What is done to a message is told to all in the room, the one who did it too.
async fn of_message(
    app: &App,
    by: Person<'_>,
    room: RoomId,
    message: MessageId,
    act: MessageAct,
) -> Done<()> {
    app.stands_in(room, message).await?;
    match act {
        MessageAct::Edit(content) => app.edit_message(by.user, message, content).await.map(drop),
        MessageAct::Delete => app.delete_message(by, message).await,
        MessageAct::React { emoji, added } => {
            let reacting = app.react(by.user, message, &emoji, added);
            reacting.await.map(drop)
        }
    }
}
