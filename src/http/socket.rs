//! WebSockets. One kind of session; the path gives it its scope, and with it the frames it understands.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::extract::{FromRequestParts, Request};
use axum::http::header;
use axum::http::request::Parts;
use axum::response::Response;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use moznods_signaling::{CloseReason, Scope};
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use tungstenite::error::ProtocolError;

use super::connections::Seat;
use super::error::{ApiError, ApiResult};
use super::extract::Id;
use super::{Edge, MAX_BODY, State, client};
use crate::app::{Socket, SocketRefusal};
use crate::i18n::{self, Lang};
use crate::wire::{self, Inbound};

/// Reading and writing buffer of each connection, in bytes.
const BUFFER: usize = 8 * 1024;
/// Bytes that a connection may hold back; one frame, however long the list in it, is written at a time.
const MAX_WRITE_BUFFER: usize = 4 * 1024 * 1024;
/// For the first frame with the token, where it stands neither in the query nor in the protocol.
const TOKEN_WAIT: Duration = Duration::from_secs(10);
const PING_EVERY: Duration = Duration::from_secs(10);
/// Without a sign of life for so long the connection counts as lost.
const SILENCE: Duration = Duration::from_secs(25);
/// For the other side to take one frame.
const WRITE_WAIT: Duration = Duration::from_secs(20);
/// For the closing handshake.
const CLOSE_WAIT: Duration = Duration::from_secs(3);

const PROTOCOL: &str = "moznods";

/// Codes of our own (4000–4999) and those of RFC 6455 §7.4.1.
mod close {
    pub const GOING_AWAY: u16 = 1001;
    pub const PROTOCOL: u16 = 1002;
    pub const NOT_TEXT: u16 = 1007;
    pub const TOO_LONG: u16 = 1009;
    pub const INTERNAL: u16 = 1011;
    /// The token is unknown or has ended: another one is needed.
    pub const BAD_TOKEN: u16 = 4401;
    /// The token is good, and the user has no right to be here. Older clients know this code alone; any other they
    /// take for a lost connection.
    pub const NO_RIGHT: u16 = 4403;
    /// The client does not read as fast as it is sent to.
    pub const TOO_SLOW: u16 = 4408;
    pub const TOO_MANY: u16 = 4429;
}

type Closing = (u16, &'static str);
const GOING_AWAY: Closing = (close::GOING_AWAY, "server is going away");

pub async fn chat(edge: State, Id(room): Id, request: Request) -> ApiResult<Response> {
    upgrade(edge, Scope::Chat(room), request).await
}

pub async fn call(edge: State, Id(room): Id, request: Request) -> ApiResult<Response> {
    upgrade(edge, Scope::Call(room), request).await
}

pub async fn notifications(edge: State, request: Request) -> ApiResult<Response> {
    upgrade(edge, Scope::Notifications, request).await
}

async fn upgrade(
    axum::extract::State(edge): State,
    scope: Scope,
    request: Request,
) -> ApiResult<Response> {
    let (mut parts, _) = request.into_parts();
    if !origin_is_ours(&edge, &parts) {
        return Err(ApiError::ForeignOrigin);
    }
    let lang = client::language(&parts.headers);
    let from_query = query_token(&parts);
    let upgrade = WebSocketUpgrade::from_request_parts(&mut parts, &edge)
        .await
        .map_err(|_| ApiError::NotAWebSocket)?
        .read_buffer_size(BUFFER)
        .write_buffer_size(BUFFER)
        .max_write_buffer_size(MAX_WRITE_BUFFER)
        .max_message_size(MAX_BODY)
        .max_frame_size(MAX_BODY)
        .protocols([PROTOCOL]);
    let from_protocol = upgrade
        .requested_protocols()
        .filter_map(|value| value.to_str().ok())
        .find_map(|value| value.strip_prefix("token.").map(str::to_owned));
    let token = from_query.or(from_protocol);
    // That of the connection goes when it becomes a socket.
    let seat = edge
        .connections
        .seat(Some(client::address(&edge, &parts)))
        .ok_or(ApiError::RateLimited(TOKEN_WAIT))?;
    Ok(upgrade.on_upgrade(move |socket| async move {
        let gauge = &edge.app.metrics.websocket_connections;
        gauge.inc();
        let (sink, stream) = socket.split();
        let mut link = Link {
            sink,
            stream,
            seat: Some(seat),
        };
        let closing = converse(&edge, scope, token, lang, &mut link).await;
        gauge.dec();
        link.close(closing).await;
    }))
}

/// Browsers always say where a page comes from; only pages of this server, and of those that the administrator names,
/// may open sockets.
fn origin_is_ours(edge: &Edge, parts: &Parts) -> bool {
    let Some(origin) = parts.headers.get(header::ORIGIN) else {
        return true;
    };
    let Ok(origin) = origin.to_str() else {
        return false;
    };
    if edge.app.config.http.allowed_origins.allow(origin) {
        return true;
    }
    let Some((_, authority)) = origin.split_once("://") else {
        return false;
    };
    let public = edge.app.config.public_url.as_deref();
    let is_public = public
        .and_then(|url| url.split_once("://"))
        .is_some_and(|(_, ours)| ours.eq_ignore_ascii_case(authority));
    is_public || client::host(edge, parts).eq_ignore_ascii_case(authority)
}

fn query_token(parts: &Parts) -> Option<String> {
    let pairs = parts.uri.query()?.split('&');
    pairs
        .filter_map(|pair| pair.split_once('='))
        .find(|(name, value)| *name == "token" && !value.is_empty())
        .map(|(_, value)| value.to_owned())
}

struct Link {
    sink: SplitSink<WebSocket, Message>,
    stream: SplitStream<WebSocket>,
    /// Until somebody has signed in: then he has his own share of connections.
    seat: Option<Seat>,
}

impl Link {
    /// `Err`: the connection is lost.
    async fn send(&mut self, message: Message) -> Result<(), ()> {
        match timeout(WRITE_WAIT, self.sink.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(()),
        }
    }

    /// The next frame; `Err`: the connection is lost or closed by the other side, or to be closed so.
    async fn next(&mut self) -> Result<Received, Option<Closing>> {
        match self.stream.next().await.ok_or(None)? {
            Ok(Message::Text(text)) => Ok(Received::Text(text)),
            Ok(Message::Binary(_)) => Ok(Received::Binary),
            Ok(Message::Ping(_) | Message::Pong(_)) => Ok(Received::SignOfLife),
            Ok(Message::Close(_)) => Err(None),
            Err(error) => Err(fault(error)),
        }
    }

    async fn close(mut self, closing: Option<Closing>) {
        let handshake = async {
            if let Some((code, reason)) = closing {
                let frame = CloseFrame {
                    code,
                    reason: Utf8Bytes::from_static(reason),
                };
                if self.sink.send(Message::Close(Some(frame))).await.is_err() {
                    return;
                }
            }
            // What the client still sends is taken, or TCP would reset and lose the close frame.
            while let Some(Ok(_)) = self.stream.next().await {}
            // After a broken frame nothing can be taken; the client gets the time to read why.
            if matches!(
                closing,
                Some((close::PROTOCOL | close::NOT_TEXT | close::TOO_LONG, _))
            ) {
                std::future::pending::<()>().await;
            }
        };
        // Whoever does not answer is dropped.
        let _ = timeout(CLOSE_WAIT, handshake).await;
    }
}

/// What the other side did against RFC 6455, or beyond our limits.
fn fault(error: axum::Error) -> Option<Closing> {
    let error = error.into_inner();
    match error.downcast_ref::<tungstenite::Error>()? {
        tungstenite::Error::Capacity(_) => Some((close::TOO_LONG, "frame too long")),
        tungstenite::Error::Utf8(_) => Some((close::NOT_TEXT, "text that is not UTF-8")),
        tungstenite::Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => None,
        tungstenite::Error::Protocol(_) => Some((close::PROTOCOL, "not a WebSocket frame")),
        _ => None,
    }
}

enum Received {
    Text(Utf8Bytes),
    Binary,
    SignOfLife,
}

/// A whole session, up to the reason for which this side closes it; `None`: the other side has gone.
async fn converse(
    edge: &Arc<Edge>,
    scope: Scope,
    token: Option<String>,
    lang: Lang,
    link: &mut Link,
) -> Option<Closing> {
    let token = match token {
        Some(token) => token,
        None => {
            let mut serving = edge.serving.clone();
            tokio::select! {
                token = timeout(TOKEN_WAIT, first_token(lang, link)) => match token {
                    Ok(Ok(token)) => token,
                    Ok(Err(closing)) => return closing,
                    Err(_) => return Some((close::BAD_TOKEN, "no token")),
                },
                _ = serving.changed() => return Some(GOING_AWAY),
            }
        }
    };
    let mut socket = match edge.app.open_socket(&token, scope).await {
        Ok(socket) => socket,
        Err(SocketRefusal::BadToken) => return Some((close::BAD_TOKEN, "bad token")),
        Err(SocketRefusal::NoRight) => return Some((close::NO_RIGHT, "no right")),
        Err(SocketRefusal::TooMany) => return Some((close::TOO_MANY, "too many connections")),
        Err(SocketRefusal::Failed(error)) => {
            tracing::error!(%error, "cannot open a socket");
            return Some((close::INTERNAL, "internal error"));
        }
    };
    link.seat = None;
    exchange(edge, &mut socket, lang, link).await
}

fn closing(reason: CloseReason) -> Option<Closing> {
    Some(match reason {
        CloseReason::TooSlow => (close::TOO_SLOW, "too slow"),
        CloseReason::SignedOut => (close::BAD_TOKEN, "signed out"),
        CloseReason::NoRight => (close::NO_RIGHT, "no right"),
        CloseReason::ShuttingDown => GOING_AWAY,
    })
}

/// Waits for `auth`; other frames are told that it is missing. `Err`: as [`Link::next`].
async fn first_token(lang: Lang, link: &mut Link) -> Result<String, Option<Closing>> {
    loop {
        let Received::Text(text) = link.next().await? else {
            continue;
        };
        match Inbound::parse(&text) {
            Ok(Inbound::Auth { token }) => return Ok(token),
            Ok(Inbound::Ping) => link.send(frame(wire::pong())).await.or(Err(None))?,
            _ => {
                let code = "authentication_required";
                let detail = i18n::text(lang, code, None);
                let error = frame(wire::error(code, &detail));
                link.send(error).await.or(Err(None))?;
            }
        }
    }
}

/// Frames in, frames out, until this side closes the connection or (`None`) it is lost.
async fn exchange(
    edge: &Edge,
    socket: &mut Socket,
    lang: Lang,
    link: &mut Link,
) -> Option<Closing> {
    let mut closed = std::pin::pin!(socket.connection.closed());
    let mut ping = interval_at(Instant::now() + PING_EVERY, PING_EVERY);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last_heard = Instant::now();
    loop {
        let outgoing = tokio::select! {
            biased;
            reason = &mut closed => return closing(reason),
            // Before more is taken in: what that causes also waits here.
            Some(bytes) = socket.connection.next_frame() => frame(bytes),
            received = link.next() => {
                last_heard = Instant::now();
                // Not to be cancelled: what is stored must also be told.
                let answer = match received {
                    Ok(Received::Text(text)) => act(edge, socket, lang, &text).await,
                    Ok(Received::Binary) => Some(bad(wire::BadFrame::NotAFrame, lang)),
                    Ok(Received::SignOfLife) => None,
                    Err(closing) => return closing,
                };
                // Through the queue, behind what this frame has caused.
                if let Some(answer) = answer {
                    socket.connection.send(answer);
                }
                continue;
            }
            _ = ping.tick() => {
                if last_heard.elapsed() > SILENCE {
                    return None;
                }
                Message::Ping(Default::default())
            }
        };
        tokio::select! {
            biased;
            reason = &mut closed => return closing(reason),
            sent = link.send(outgoing) => sent.ok()?,
        }
    }
}

/// Our own frames are JSON, so they are text.
fn frame(bytes: bytes::Bytes) -> Message {
    Message::Text(Utf8Bytes::try_from(bytes).unwrap_or_default())
}

fn bad(frame: wire::BadFrame, lang: Lang) -> bytes::Bytes {
    wire::error(frame.code(), &i18n::text(lang, frame.code(), None))
}

/// Does what a frame asks for. The answer is for the sender alone: a pong or an error.
async fn act(edge: &Edge, socket: &Socket, lang: Lang, text: &str) -> Option<bytes::Bytes> {
    let Socket { user, connection } = socket;
    let app = &edge.app;
    let inbound = match Inbound::parse(text) {
        Ok(inbound) => inbound,
        Err(error) => return Some(bad(error, lang)),
    };
    let limits = &edge.limits;
    let within_limits = match &inbound {
        // Said twice is said well.
        Inbound::Auth { .. } => return None,
        Inbound::Ping => return Some(wire::pong()),
        Inbound::ChatMessage { .. } => limits.write(user.id),
        _ => limits.signal(user.id),
    };
    let done = match (connection.scope(), inbound) {
        _ if within_limits.is_err() => within_limits,
        (
            Scope::Chat(room),
            Inbound::ChatMessage {
                content,
                attachment_ids,
            },
        ) => {
            let posting = app.post_message(user, room, content, &attachment_ids);
            posting.await.map(drop).map_err(ApiError::from)
        }
        (Scope::Chat(room), Inbound::MessageRead { message_id }) => {
            let marking = app.mark_read_in(user, room, message_id);
            marking.await.map_err(ApiError::from)
        }
        (Scope::Chat(room), Inbound::MarkRoomAsRead) => {
            app.mark_room_read(user, room).await.map_err(ApiError::from)
        }
        (Scope::Call(_), Inbound::JoinCall) => {
            connection.join_call();
            Ok(())
        }
        (Scope::Call(_), Inbound::LeaveCall) => {
            connection.leave_call();
            Ok(())
        }
        (Scope::Call(_), Inbound::Signal(signal)) => {
            let passed = app.pass_signal(connection, &signal);
            passed.map_err(ApiError::from)
        }
        (Scope::Call(room), Inbound::RequestMic { target_user_id }) => {
            let asking = app.request_mic(connection, room, target_user_id);
            asking.await.map_err(ApiError::from)
        }
        _ => return Some(bad(wire::BadFrame::UnknownType, lang)),
    };
    let (code, detail) = done.err()?.words(lang);
    Some(wire::error(code, &detail))
}
