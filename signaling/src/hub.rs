//! The hub: connections come and go, frames find their listeners, calls keep their state.
//!
//! Lock order: calls, then connections. What a change of a call sends is published under the lock of the calls,
//! so that nobody sees two states in the wrong order.

use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::{Notify, mpsc, watch};

use crate::bus::{Bus, Event};
use crate::calls::{Calls, Joined};
use crate::connections::{Connections, Entry, MAX_QUEUED_FRAMES};
use crate::{
    CallMember, CallPresence, CallState, CloseReason, ConnectionId, MemberState, RoomId, Scope,
    SignalError, UserId, Whom,
};

/// How what happens in a call is written; the hub itself knows no format.
pub trait CallFrames: Send + Sync + 'static {
    fn user_joined(&self, user_id: UserId, username: &str) -> Bytes;
    fn user_left(&self, user_id: UserId) -> Bytes;
    fn call_state(&self, state: &CallState) -> Bytes;
}

/// Who is behind a connection.
#[derive(Clone)]
pub struct Identity {
    pub user_id: UserId,
    pub username: String,
    /// Key of the sign-in, for [`Whom::SignIn`].
    pub sign_in: [u8; 32],
    /// What this connection is sent when another one of the same user takes its call over.
    pub taken_over: Bytes,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "user {}", self.user_id)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this user has too many connections")]
pub struct TooManyConnections;

pub struct Hub {
    bus: Arc<dyn Bus>,
    frames: Box<dyn CallFrames>,
    connections: Arc<Mutex<Connections>>,
    calls: Mutex<Calls>,
    /// Rooms in whose call somebody became active or ceased to be.
    changed_calls: Mutex<BTreeSet<RoomId>>,
    call_changed: Notify,
    next_id: AtomicU64,
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub").finish_non_exhaustive()
    }
}

impl Hub {
    pub fn new(bus: Arc<dyn Bus>, frames: Box<dyn CallFrames>) -> Arc<Self> {
        let connections = Arc::new(Mutex::new(Connections::default()));
        let listening = Arc::clone(&connections);
        bus.attach(Box::new(move |event| lock(&listening).act(event)));
        Arc::new(Hub {
            bus,
            frames,
            connections,
            calls: Mutex::default(),
            changed_calls: Mutex::default(),
            call_changed: Notify::new(),
            next_id: AtomicU64::new(1),
        })
    }

    /// From now on frames for `scope` are queued. The caller checks the right to listen *after* this, and drops
    /// the connection without it: whoever takes a right away closes afterwards, so that neither misses the other.
    pub fn connect(
        self: &Arc<Self>,
        identity: Identity,
        scope: Scope,
    ) -> Result<Connection, TooManyConnections> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let (queue, frames) = mpsc::channel(MAX_QUEUED_FRAMES);
        let (closing, closed) = watch::channel(None);
        let queued_bytes = Arc::new(AtomicUsize::new(0));
        let entry = Entry {
            user: identity.user_id,
            sign_in: identity.sign_in,
            scope,
            queue,
            queued_bytes: Arc::clone(&queued_bytes),
            closing,
        };
        if !lock(&self.connections).add(id, entry) {
            return Err(TooManyConnections);
        }
        Ok(Connection {
            hub: Arc::clone(self),
            id,
            identity,
            scope,
            frames,
            queued_bytes,
            closed,
        })
    }

    pub fn send_to_scope(&self, scope: Scope, frame: Bytes) {
        self.bus.publish(Event::ToScope {
            scope,
            except: None,
            frame,
        });
    }

    /// To the notifications of these users.
    pub fn notify(&self, users: impl Into<Arc<[UserId]>>, frame: Bytes) {
        self.bus.publish(Event::ToUsers {
            users: users.into(),
            frame,
        });
    }

    pub fn close(&self, whom: Whom, reason: CloseReason) {
        self.bus.publish(Event::Close { whom, reason });
    }

    pub fn connection_count(&self) -> usize {
        lock(&self.connections).len()
    }

    /// Keys of all sign-ins that have a connection here.
    pub fn sign_ins(&self) -> HashSet<[u8; 32]> {
        lock(&self.connections).sign_ins()
    }

    pub fn call_state(&self, room: RoomId) -> CallState {
        lock(&self.calls).state(room)
    }

    /// Waits for calls whose active members have changed since the last time; for one caller at a time.
    pub async fn changed_calls(&self) -> BTreeSet<RoomId> {
        loop {
            let changed = std::mem::take(&mut *lock(&self.changed_calls));
            if !changed.is_empty() {
                return changed;
            }
            self.call_changed.notified().await;
        }
    }

    fn call_has_changed(&self, room: RoomId) {
        lock(&self.changed_calls).insert(room);
        self.call_changed.notify_one();
    }

    fn to_others(&self, room: RoomId, user: UserId, frame: Bytes) {
        self.bus.publish(Event::ToScope {
            scope: Scope::Call(room),
            except: Some(user),
            frame,
        });
    }

    fn publish_state(&self, room: RoomId, calls: &Calls) {
        let frame = self.frames.call_state(&calls.state(room));
        self.send_to_scope(Scope::Call(room), frame);
    }
}

/// One live connection. Dropping it is losing it: it leaves its call and hears nothing more.
pub struct Connection {
    hub: Arc<Hub>,
    id: ConnectionId,
    identity: Identity,
    scope: Scope,
    frames: mpsc::Receiver<Bytes>,
    queued_bytes: Arc<AtomicUsize>,
    closed: watch::Receiver<Option<CloseReason>>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "connection {} of {:?}", self.id, self.identity)
    }
}

impl Connection {
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    pub fn scope(&self) -> Scope {
        self.scope
    }

    /// The next frame for this connection; `None` once it is closed. Cancel safe.
    pub async fn next_frame(&mut self) -> Option<Bytes> {
        let frame = self.frames.recv().await?;
        self.queued_bytes.fetch_sub(frame.len(), Ordering::Relaxed);
        Some(frame)
    }

    /// A future that ends when this side closes the connection; it borrows nothing.
    pub fn closed(&self) -> impl Future<Output = CloseReason> + Send + use<> {
        let mut closed = self.closed.clone();
        async move {
            match closed.wait_for(Option::is_some).await.map(|reason| *reason) {
                Ok(Some(reason)) => reason,
                // Removed without a reason: that happens by dropping only, and then nobody waits here.
                Ok(None) | Err(_) => std::future::pending().await,
            }
        }
    }

    /// Queues a frame for this connection alone.
    pub fn send(&self, frame: Bytes) {
        self.hub.bus.publish(Event::ToConnection {
            connection: self.id,
            frame,
        });
    }

    /// The user has opened the call and is shown as connecting. Nothing happens outside of a [`Scope::Call`].
    pub fn open_call(&self) {
        let Scope::Call(room) = self.scope else {
            return;
        };
        let mut calls = lock(&self.hub.calls);
        calls.connect(room, self.id, &self.identity);
        self.hub.publish_state(room, &calls);
    }

    /// The user becomes active with this connection.
    pub fn join_call(&self) {
        let Scope::Call(room) = self.scope else {
            return;
        };
        let hub = &self.hub;
        let Identity {
            user_id, username, ..
        } = &self.identity;
        let mut calls = lock(&hub.calls);
        let joined = calls.join(room, self.id, &self.identity);
        let is_new = joined != Joined::Already;
        if let Joined::TookOverFrom { connection, frame } = joined {
            hub.bus.publish(Event::ToConnection { connection, frame });
            // The others' peer connections lead to the old one.
            hub.to_others(room, *user_id, hub.frames.user_left(*user_id));
        }
        if is_new {
            hub.to_others(room, *user_id, hub.frames.user_joined(*user_id, username));
            hub.call_has_changed(room);
        }
        hub.publish_state(room, &calls);
    }

    pub fn leave_call(&self) {
        let Scope::Call(room) = self.scope else {
            return;
        };
        let hub = &self.hub;
        let mut calls = lock(&hub.calls);
        let before = calls.leave(room, self.id);
        if before == CallPresence::In(MemberState::Active) {
            let user_id = self.identity.user_id;
            hub.to_others(room, user_id, hub.frames.user_left(user_id));
            hub.call_has_changed(room);
        }
        if before != CallPresence::Out {
            hub.publish_state(room, &calls);
        }
    }

    /// Sends `frame` to the connection with which `target` is in the same call, and to no other.
    pub fn signal(&self, target: UserId, frame: Bytes) -> Result<(), SignalError> {
        let Scope::Call(room) = self.scope else {
            return Err(SignalError::NotInCall);
        };
        let calls = lock(&self.hub.calls);
        if calls.presence(room, self.id) == CallPresence::Out {
            return Err(SignalError::NotInCall);
        }
        let connection = calls
            .connection_of(room, target)
            .ok_or(SignalError::TargetNotInCall)?;
        self.hub
            .bus
            .publish(Event::ToConnection { connection, frame });
        Ok(())
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        lock(&self.hub.connections).remove(self.id);
        self.leave_call();
    }
}

impl CallState {
    /// Names of those who are active.
    pub fn active_names(&self) -> Vec<String> {
        self.active()
            .map(|CallMember { username, .. }| username.clone())
            .collect()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
