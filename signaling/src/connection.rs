//! One live connection, as the one who serves it has it.

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;

use crate::mailbox::Mailbox;
use crate::{CloseReason, ConnectionId, Frame, Hub, Queued, RoomId, Scope, SignalError, UserId};

/// Who is behind a connection.
#[derive(Clone)]
pub struct Identity {
    pub user_id: UserId,
    pub username: String,
    /// Key of the sign-in, for [`crate::Whom::SignIn`].
    pub sign_in: [u8; 32],
    /// What this connection is sent when another one of the same user takes its call in a room over.
    pub taken_over: fn(RoomId) -> Frame,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "user {}", self.user_id)
    }
}

/// Dropping it is losing it: it leaves its calls and hears nothing more.
pub struct Connection {
    hub: Arc<Hub>,
    id: ConnectionId,
    identity: Identity,
    scope: Option<Scope>,
    mailbox: Arc<Mailbox>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "connection {} of {:?}", self.id, self.identity)
    }
}

impl Connection {
    pub(crate) fn new(
        hub: Arc<Hub>,
        id: ConnectionId,
        identity: Identity,
        scope: Option<Scope>,
        mailbox: Arc<Mailbox>,
    ) -> Self {
        Connection {
            hub,
            id,
            identity,
            scope,
            mailbox,
        }
    }

    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// `None`: listens to everything of its user.
    pub fn scope(&self) -> Option<Scope> {
        self.scope
    }

    /// Tells the connection, which listens to everything, of the rooms that its user takes part in.
    pub fn follow(&self, rooms: &[RoomId]) {
        self.hub.follow(self.id, rooms);
    }

    /// Whether the connection, which listens to everything, hears of the room.
    pub fn follows(&self, room: RoomId) -> bool {
        self.hub.follows(self.id, room)
    }

    /// Those who are online and take part in a room of which the connection, which listens to everything, hears.
    pub fn online(&self) -> Vec<UserId> {
        self.hub.online_for(self.id, self.identity.user_id)
    }

    /// The next frame for this connection; `Err` as soon as this side has closed it. One task at a time may wait,
    /// for this or for [`Self::poll_closed`].
    pub fn poll_frame(&self, cx: &mut Context<'_>) -> Poll<Result<Queued, CloseReason>> {
        self.mailbox.poll_next(cx)
    }

    /// Ready when this side has closed the connection.
    pub fn poll_closed(&self, cx: &mut Context<'_>) -> Poll<CloseReason> {
        self.mailbox.poll_closed(cx)
    }

    /// As [`Self::poll_frame`]. Cancel safe.
    pub async fn next_frame(&mut self) -> Result<Queued, CloseReason> {
        poll_fn(|cx| self.poll_frame(cx)).await
    }

    /// Queues a frame for this connection alone.
    pub fn send(&self, frame: Bytes) {
        self.hub
            .send_to(self.id, Frame::new(move |_| frame.clone()));
    }

    /// The user has opened the call and is shown as connecting.
    pub fn open_call(&self, room: RoomId) -> Result<(), SignalError> {
        self.hub.open_call(self.id, &self.identity, room)
    }

    /// The user becomes active with this connection.
    pub fn join_call(&self, room: RoomId) -> Result<(), SignalError> {
        self.hub.join_call(self.id, &self.identity, room)
    }

    pub fn leave_call(&self, room: RoomId) {
        self.hub.leave_call(self.id, room);
    }

    /// Sends `frame` to the connection with which `target` is in the same call, and to no other.
    pub fn signal(&self, room: RoomId, target: UserId, frame: Frame) -> Result<(), SignalError> {
        self.hub.signal(self.id, room, target, frame)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.hub.lose(self.id, self.identity.user_id);
    }
}
