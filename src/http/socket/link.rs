//! The wire of one socket: frames in and out, how long the other side has for them, and how it ends.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket};
use bytes::Bytes;
use futures_util::{Sink, Stream, StreamExt};
use moznods_signaling::{CloseReason, Connection, Queued};
use tokio::time::timeout;
use tungstenite::error::ProtocolError;

use crate::http::Edge;
use crate::http::connections::Seat;

/// For the other side to take what is written at once.
const WRITE_WAIT: Duration = Duration::from_secs(20);
/// For the closing handshake.
const CLOSE_WAIT: Duration = Duration::from_secs(3);
/// Bytes of waiting frames that are written before anything else is looked at.
const BATCH: usize = 64 * 1024;

/// Codes of our own (4000–4999) and those of RFC 6455 §7.4.1.
pub mod close {
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

pub type Closing = (u16, &'static str);
pub const GOING_AWAY: Closing = (close::GOING_AWAY, "server is going away");

pub fn closing(reason: CloseReason) -> Option<Closing> {
    Some(match reason {
        CloseReason::TooSlow => (close::TOO_SLOW, "too slow"),
        CloseReason::SignedOut => (close::BAD_TOKEN, "signed out"),
        CloseReason::NoRight => (close::NO_RIGHT, "no right"),
        CloseReason::ShuttingDown => GOING_AWAY,
    })
}

pub struct Link {
    socket: WebSocket,
    edge: Arc<Edge>,
    /// URL by which the client reaches this server.
    base: Box<str>,
    /// Until somebody has signed in: then he has his own share of connections.
    seat: Option<Seat>,
}

pub enum Received {
    Text(Utf8Bytes),
    Binary,
    SignOfLife,
}

/// `Err`: the connection is lost or closed by the other side (`None`), or to be closed so.
pub type Linked<T> = Result<T, Option<Closing>>;

impl Link {
    pub fn new(socket: WebSocket, edge: Arc<Edge>, base: String, seat: Seat) -> Self {
        Link {
            socket,
            edge,
            base: base.into_boxed_str(),
            seat: Some(seat),
        }
    }

    /// A frame of ours, with URLs that are this client's.
    pub fn text(&self, frame: Bytes) -> Message {
        text(self.edge.localizer.localized(frame, &self.base))
    }

    pub fn has_signed_in(&mut self) {
        self.seat = None;
    }

    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Linked<Received>> {
        let next = match ready!(Pin::new(&mut self.socket).poll_next(cx)) {
            None => return Poll::Ready(Err(None)),
            Some(next) => next,
        };
        Poll::Ready(match next {
            Ok(Message::Text(text)) => Ok(Received::Text(text)),
            Ok(Message::Binary(_)) => Ok(Received::Binary),
            Ok(Message::Ping(_) | Message::Pong(_)) => Ok(Received::SignOfLife),
            Ok(Message::Close(_)) => Err(None),
            Err(error) => Err(fault(error)),
        })
    }

    pub async fn next(&mut self) -> Linked<Received> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// Before anybody has signed in: nothing else waits to be written.
    pub async fn send(&mut self, message: Message) -> Linked<()> {
        match timeout(WRITE_WAIT, self.socket.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(None),
        }
    }

    /// As [`Self::send`], but ends when `connection` is closed from this side.
    pub async fn send_to(&mut self, connection: &Connection, message: Message) -> Linked<()> {
        let mut message = Some(message);
        self.write(|link, cx| {
            if let Poll::Ready(reason) = connection.poll_closed(cx) {
                return Poll::Ready(Err(closing(reason)));
            }
            if message.is_some() {
                ready!(link.poll_ready(cx))?;
                link.feed(message.take().unwrap_or(Message::Text("".into())))?;
            }
            link.poll_flush(cx)
        })
        .await
    }

    /// Writes `first` and what waits behind it. Frames of events up to `told` are left out, as they have been told.
    pub async fn send_waiting(
        &mut self,
        connection: &Connection,
        first: Queued,
        told: &mut i64,
    ) -> Linked<()> {
        let (mut next, mut fed) = (Some(first), 0);
        self.write(|link, cx| {
            loop {
                if let Some(queued) = &next {
                    if queued.event == 0 || queued.event > *told {
                        if let Poll::Ready(reason) = connection.poll_closed(cx) {
                            return Poll::Ready(Err(closing(reason)));
                        }
                        ready!(link.poll_ready(cx))?;
                        *told = queued.event.max(*told);
                        fed += queued.bytes.len();
                        let frame = link.text(queued.bytes.clone());
                        link.feed(frame)?;
                    }
                    next = None;
                }
                if fed >= BATCH {
                    if let Poll::Ready(reason) = connection.poll_closed(cx) {
                        return Poll::Ready(Err(closing(reason)));
                    }
                    return link.poll_flush(cx);
                }
                match connection.poll_frame(cx) {
                    Poll::Ready(Ok(queued)) => next = Some(queued),
                    Poll::Ready(Err(reason)) => return Poll::Ready(Err(closing(reason))),
                    Poll::Pending => return link.poll_flush(cx),
                }
            }
        })
        .await
    }

    async fn write(
        &mut self,
        mut poll: impl FnMut(&mut Self, &mut Context<'_>) -> Poll<Linked<()>>,
    ) -> Linked<()> {
        let writing = poll_fn(|cx| poll(self, cx));
        timeout(WRITE_WAIT, writing).await.unwrap_or(Err(None))
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Linked<()>> {
        Pin::new(&mut self.socket).poll_ready(cx).map_err(|_| None)
    }

    fn feed(&mut self, message: Message) -> Linked<()> {
        Pin::new(&mut self.socket)
            .start_send(message)
            .map_err(|_| None)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Linked<()>> {
        Pin::new(&mut self.socket).poll_flush(cx).map_err(|_| None)
    }

    pub async fn close(mut self, closing: Option<Closing>) {
        let handshake = async {
            if let Some((code, reason)) = closing {
                let frame = CloseFrame {
                    code,
                    reason: Utf8Bytes::from_static(reason),
                };
                if self.socket.send(Message::Close(Some(frame))).await.is_err() {
                    return;
                }
            }
            // What the client still sends is taken, or TCP would reset and lose the close frame.
            while let Some(Ok(_)) = self.socket.next().await {}
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

/// Our own frames are JSON, so they are text; for those in which no URL stands.
pub fn text(bytes: Bytes) -> Message {
    Message::Text(Utf8Bytes::try_from(bytes).unwrap_or_default())
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
