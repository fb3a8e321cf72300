//! A session: signing in, what was missed, then frames in and out until it ends.

use std::future::poll_fn;
use std::net::IpAddr;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::extract::ws::{Message, Utf8Bytes};
use bytes::Bytes;
use moznods_signaling::{CloseReason, Form, Queued, Scope};
use moznods_storage::EventId;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, timeout};

use super::act::{self, bad};
use super::link::{Closing, GOING_AWAY, Link, Linked, Received, close, closing, text};
use super::patience::Patience;
use crate::app::{Limited, Missing, Socket, SocketRefusal};
use crate::http::Edge;
use crate::http::error::ApiError;
use crate::i18n::{self, Lang};
use crate::wire::{self, Inbound};

/// For the first frame with the token, where it stands neither in the query nor in the protocol.
pub const TOKEN_WAIT: Duration = Duration::from_secs(10);
/// Frames that may come before that one.
const MAX_BEFORE_TOKEN: usize = 100;
const PING_EVERY: Duration = Duration::from_secs(10);
/// Without a sign of life for so long the connection counts as lost.
const SILENCE: Duration = Duration::from_secs(25);
/// How long a connection that listens to everything is told nothing, so that its client may say first from where it
/// goes on; any other frame says that it does not.
const RESUME_WAIT: Duration = Duration::from_secs(1);

/// What a client has asked for by opening a socket.
pub struct Asked {
    /// `None`: everything.
    pub scope: Option<Scope>,
    pub token: Option<String>,
    pub last_event: Option<EventId>,
    pub lang: Lang,
    pub address: IpAddr,
}

/// A whole session, up to the reason for which this side closes it; `None`: the other side has gone.
pub async fn converse(edge: &Arc<Edge>, asked: Asked, link: &mut Link) -> Option<Closing> {
    // What is needed but for a moment is not to lie in the memory of the whole session.
    let opened = Box::pin(open(edge, asked, link)).await;
    let mut session = match opened {
        Ok(session) => session,
        Err(closing) => return closing,
    };
    link.has_signed_in();
    if session.socket.connection.scope().is_none()
        && let Err(closing) = Box::pin(session.begin(link)).await
    {
        return closing;
    }
    session.exchange(link).await.err().flatten()
}

async fn open(edge: &Arc<Edge>, asked: Asked, link: &mut Link) -> Linked<Session> {
    let Asked {
        scope,
        token,
        mut last_event,
        lang,
        address,
    } = asked;
    let token = match token {
        Some(token) => token,
        None => {
            let mut serving = edge.serving.clone();
            tokio::select! {
                auth = timeout(TOKEN_WAIT, first_token(lang, link)) => {
                    let no_token = Err(Some((close::BAD_TOKEN, "no token")));
                    let (token, from) = auth.unwrap_or(no_token)?;
                    last_event = from.or(last_event);
                    token
                }
                _ = serving.changed() => return Err(Some(GOING_AWAY)),
            }
        }
    };
    let socket = match edge.app.open_socket(&token, scope, lang).await {
        Ok(socket) => socket,
        Err(SocketRefusal::BadToken) => {
            edge.limits.stranger(address).map_err(too_many)?;
            return Err(Some((close::BAD_TOKEN, "bad token")));
        }
        Err(SocketRefusal::NoRight) => return Err(Some((close::NO_RIGHT, "no right"))),
        Err(SocketRefusal::TooMany) => {
            return Err(Some((close::TOO_MANY, "too many connections")));
        }
        Err(SocketRefusal::Failed(error)) => {
            tracing::error!(%error, "cannot open a socket");
            return Err(Some((close::INTERNAL, "internal error")));
        }
    };
    edge.limits.saw(socket.user.id, address);
    edge.limits.read(socket.user.id).map_err(too_many)?;
    let mut ping = interval_at(Instant::now() + PING_EVERY, PING_EVERY);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    Ok(Session {
        edge: Arc::clone(edge),
        socket,
        lang,
        address,
        last_event,
        told: 0,
        began: 0,
        ping,
        last_heard: Instant::now(),
        patience: Patience::new(Instant::now().into_std()),
    })
}

fn too_many(_: ApiError) -> Option<Closing> {
    Some((close::TOO_MANY, "too many attempts"))
}

/// Waits for `auth`; other frames are told that it is missing.
async fn first_token(lang: Lang, link: &mut Link) -> Linked<(String, Option<EventId>)> {
    for _ in 0..MAX_BEFORE_TOKEN {
        let Received::Text(received) = link.next().await? else {
            continue;
        };
        match Inbound::parse(&received) {
            Ok(Inbound::Auth {
                token,
                last_event_id,
            }) => return Ok((token, last_event_id)),
            Ok(Inbound::Ping) => link.send(text(wire::pong())).await?,
            _ => {
                let code = "authentication_required";
                let detail = i18n::text(lang, code, None);
                link.send(text(wire::error(code, &detail, None, None)))
                    .await?;
            }
        }
    }
    Err(Some((close::TOO_MANY, "too many frames")))
}

struct Session {
    edge: Arc<Edge>,
    socket: Socket,
    lang: Lang,
    address: IpAddr,
    /// From where the client goes on.
    last_event: Option<EventId>,
    /// The newest event that the client knows, or has been told to fetch.
    told: EventId,
    /// The newest event when the session began.
    began: EventId,
    ping: Interval,
    last_heard: Instant,
    patience: Patience,
}

/// What there is to do next.
enum Turn {
    Closed(CloseReason),
    Outgoing(Queued),
    Received(Linked<Received>),
    Ping,
}

impl Session {
    /// Says who is here and tells what was missed, where the client says from where it goes on.
    async fn begin(&mut self, link: &mut Link) -> Linked<()> {
        let Socket { user, connection } = &self.socket;
        self.began = self.edge.app.last_event().await.map_err(failed)?;
        self.told = self.began;
        let online = connection.online();
        let hello = wire::hello(user, &online, self.began, PING_EVERY.as_secs());
        let hello = link.text(hello);
        link.send_to(connection, hello).await?;
        if let Some(after) = self.last_event {
            return self.resume(link, after).await;
        }
        let until = Instant::now() + RESUME_WAIT;
        loop {
            let first = poll_fn(|cx| match self.socket.connection.poll_closed(cx) {
                Poll::Ready(reason) => Poll::Ready(Err(closing(reason))),
                Poll::Pending => link.poll_next(cx),
            });
            match tokio::time::timeout_at(until, first).await {
                Err(_) => return Ok(()),
                Ok(Ok(Received::SignOfLife)) => {}
                Ok(received) => return self.take_in(link, received).await,
            }
        }
    }

    /// Tells all that the user has missed since `after`, in order; frames that wait of the same events are then left out.
    async fn resume(&mut self, link: &mut Link, after: EventId) -> Linked<()> {
        let Socket { user, connection } = &self.socket;
        // Only while nothing newer was told; otherwise it would come after that.
        let missing = if self.told == self.began {
            self.edge.app.missing(user, after).await.map_err(failed)?
        } else {
            Missing {
                last: self.told,
                events: None,
            }
        };
        self.told = missing.last;
        self.began = 0;
        let Some(events) = missing.events else {
            let resync = wire::resync(missing.last);
            return link.send_to(connection, text(resync)).await;
        };
        for event in events {
            let told = self.edge.app.frame_for(connection, &event).await;
            if let Some(frame) = told.map_err(failed)? {
                let frame = link.text(frame.written(Form::Wide));
                link.send_to(connection, frame).await?;
            }
        }
        Ok(())
    }

    /// Frames in, frames out; `Err` at the end.
    async fn exchange(&mut self, link: &mut Link) -> Linked<()> {
        loop {
            let turn = poll_fn(|cx| {
                // Before more is taken in: what that causes also waits here.
                match self.socket.connection.poll_frame(cx) {
                    Poll::Ready(Ok(frame)) => return Poll::Ready(Turn::Outgoing(frame)),
                    Poll::Ready(Err(reason)) => return Poll::Ready(Turn::Closed(reason)),
                    Poll::Pending => {}
                }
                if let Poll::Ready(received) = link.poll_next(cx) {
                    return Poll::Ready(Turn::Received(received));
                }
                self.ping.poll_tick(cx).map(|_| Turn::Ping)
            });
            match turn.await {
                Turn::Closed(reason) => return Err(closing(reason)),
                Turn::Outgoing(frame) => {
                    let connection = &self.socket.connection;
                    link.send_waiting(connection, frame, &mut self.told).await?;
                }
                Turn::Received(received) => self.take_in(link, received).await?,
                Turn::Ping if self.last_heard.elapsed() > SILENCE => return Err(None),
                Turn::Ping => {
                    let ping = Message::Ping(Default::default());
                    link.send_to(&self.socket.connection, ping).await?;
                }
            }
        }
    }

    async fn take_in(&mut self, link: &mut Link, received: Linked<Received>) -> Linked<()> {
        self.last_heard = Instant::now();
        let answer = match received? {
            Received::Text(frame) => Box::pin(self.act(link, &frame)).await?,
            Received::Binary => {
                let inbound = Err(wire::BadFrame::NotAFrame);
                let refused = self.count(&inbound, "")?;
                refused.or_else(|| Some(bad(wire::BadFrame::NotAFrame, None, self.lang)))
            }
            Received::SignOfLife => {
                // Of pings there is no other end; they are refused by not being answered.
                self.count(&Ok(Inbound::Ping), "")?;
                None
            }
        };
        // Through the queue, behind what this frame has caused.
        if let Some(answer) = answer {
            self.socket.connection.send(answer);
        }
        Ok(())
    }

    /// What a frame that is one too many is answered; `Err`: there were so many that it ends here.
    fn count(
        &mut self,
        inbound: &Result<Inbound, wire::BadFrame>,
        frame: &str,
    ) -> Linked<Option<Bytes>> {
        let Err(error) = act::count(&self.edge, self.socket.user.id, inbound) else {
            return Ok(None);
        };
        if self.patience.ends(self.last_heard.into_std()) {
            self.edge.limits.note(Limited::Floods);
            return Err(Some((close::TOO_MANY, "too many frames")));
        }
        Ok(Some(act::refused(&error, &self.socket, self.lang, frame)))
    }

    /// Not to be cancelled: what is stored must also be told.
    async fn act(&mut self, link: &mut Link, frame: &Utf8Bytes) -> Linked<Option<Bytes>> {
        let inbound = Inbound::parse(frame);
        if let Some(refused) = self.count(&inbound, frame)? {
            return Ok(Some(refused));
        }
        let is_wide = self.socket.connection.scope().is_none();
        if let (true, Ok(Inbound::Resume { last_event_id })) = (is_wide, &inbound) {
            self.resume(link, *last_event_id).await?;
            return Ok(None);
        }
        let sender = act::Sender {
            socket: &self.socket,
            lang: self.lang,
            address: self.address,
        };
        Ok(act::act(&self.edge, sender, inbound, frame).await)
    }
}

fn failed(error: crate::app::Error) -> Option<Closing> {
    tracing::error!(%error, "a session cannot go on");
    Some((close::INTERNAL, "internal error"))
}
