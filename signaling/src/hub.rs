//! The hub: connections come and go, frames find their listeners, calls keep their state.
//!
//! Lock order: calls, then connections, elsewhere or presence. What is said of them to other nodes is published under the same
//! lock, so that it is said in the order in which it happened. What a change of a call sends is sent under the lock of the calls,
//! so that nobody sees two states in the wrong order.

use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Waker;

use bytes::Bytes;
use tokio::sync::Notify;

use crate::bus::{Bus, Event, Heard, Message, Seat};
use crate::calls::{Calls, Place, TakenOver, View};
use crate::connections::{Connections, Entry, Listening, Rooms};
use crate::elsewhere::Elsewhere;
use crate::mailbox::Mailbox;
use crate::presence::Presence;
use crate::{
    CallMember, CallPresence, CallState, CloseReason, Connection, ConnectionId, Frame, Identity,
    NodeId, PresenceChanges, RoomId, Scope, SignalError, UserId, Whom,
};

/// How what happens in a call is written; the hub itself knows no format.
pub trait CallFrames: Send + Sync + 'static {
    fn user_joined(&self, room: RoomId, user_id: UserId, username: &str) -> Frame;
    fn user_left(&self, room: RoomId, user_id: UserId) -> Frame;
    fn call_state(&self, room: RoomId, state: &CallState) -> Frame;
}

/// What the programs at other nodes have to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// Of each node in the order in which it was published.
    Said { from: NodeId, bytes: Bytes },
    /// Another node, as it is new or has lost some, does not know what was published so far: what still holds is to be
    /// published again.
    Asked,
    /// The node is no more: what it has said of itself holds no longer. It may come back, and says all again.
    Gone(NodeId),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this user has too many connections")]
pub struct TooManyConnections;

pub struct Hub {
    bus: Arc<dyn Bus>,
    frames: Box<dyn CallFrames>,
    connections: Mutex<Connections>,
    calls: Mutex<Calls>,
    /// Rooms in whose call somebody became active or ceased to be.
    changed_calls: Mutex<BTreeSet<RoomId>>,
    call_changed: Notify,
    elsewhere: Mutex<Elsewhere>,
    presence: Mutex<Presence>,
    presence_changed: Notify,
    next_id: AtomicU64,
    news: OnceLock<Box<dyn Fn(News) + Send + Sync>>,
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub").finish_non_exhaustive()
    }
}

impl Hub {
    pub fn new(bus: Arc<dyn Bus>, frames: Box<dyn CallFrames>) -> Arc<Self> {
        let hub = Arc::new(Hub {
            calls: Mutex::new(Calls::new(bus.node())),
            bus,
            frames,
            connections: Mutex::default(),
            changed_calls: Mutex::default(),
            call_changed: Notify::new(),
            elsewhere: Mutex::default(),
            presence: Mutex::default(),
            presence_changed: Notify::new(),
            next_id: AtomicU64::new(1),
            news: OnceLock::new(),
        });
        let hearing = Arc::downgrade(&hub);
        hub.bus.attach(Box::new(move |heard| {
            if let Some(hub) = hearing.upgrade() {
                hub.hear(heard);
            }
        }));
        hub
    }

    /// This node, as others know it.
    pub fn node(&self) -> NodeId {
        self.bus.node()
    }

    /// Tells the program at all other nodes something; where there is none, nobody.
    pub fn publish_news(&self, news: Bytes) {
        self.bus.publish(Message::News(news));
    }

    /// To be called once, before other nodes can be heard of. The listener is quick, and publishes what it likes.
    pub fn listen_to_news(&self, listener: impl Fn(News) + Send + Sync + 'static) {
        // There is but one.
        let _ = self.news.set(Box::new(listener));
    }

    /// At this node.
    fn act(&self, event: Event) {
        let mut wake = Vec::new();
        self.change_connections(|connections| connections.act(event, &mut wake));
        wake.into_iter().for_each(Waker::wake);
    }

    /// At all.
    fn act_everywhere(&self, event: Event) {
        self.bus.publish(Message::Event(event.clone()));
        self.act(event);
    }

    /// Other nodes are told who came and went by it.
    fn change_connections<T>(&self, change: impl FnOnce(&mut Connections) -> T) -> T {
        let mut connections = lock(&self.connections);
        let changed = change(&mut connections);
        for (user, is_here) in connections.take_changes() {
            self.bus.publish(Message::User { user, is_here });
        }
        changed
    }

    /// From now on frames for `scope` are queued. The caller checks the right to listen *after* this, and drops
    /// the connection without it: whoever takes a right away closes afterwards, so that neither misses the other.
    pub fn connect(
        self: &Arc<Self>,
        identity: Identity,
        scope: Scope,
    ) -> Result<Connection, TooManyConnections> {
        self.add(identity, Some(scope), Listening::To(scope))
    }

    /// From now on what concerns the user, whatever the room, is queued; that of rooms once the connection is told
    /// which they are, by [`Connection::follow`], or he enters one. The caller looks that up *after* this.
    pub fn connect_to_everything(
        self: &Arc<Self>,
        identity: Identity,
    ) -> Result<Connection, TooManyConnections> {
        self.add(identity, None, Listening::Everything(Rooms::unknown()))
    }

    fn add(
        self: &Arc<Self>,
        identity: Identity,
        scope: Option<Scope>,
        listening: Listening,
    ) -> Result<Connection, TooManyConnections> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let mailbox = Arc::new(Mailbox::default());
        let user = identity.user_id;
        let entry = Entry {
            user,
            sign_in: identity.sign_in,
            listening,
            mailbox: Arc::clone(&mailbox),
        };
        if !self.change_connections(|connections| connections.add(id, entry)) {
            return Err(TooManyConnections);
        }
        self.presence_may_change(user);
        Ok(Connection::new(
            Arc::clone(self),
            id,
            identity,
            scope,
            mailbox,
        ))
    }

    /// To the listeners at this node: other nodes send what they know of by themselves.
    pub fn send_to_scope(&self, scope: Scope, frame: impl Into<Arc<Frame>>) {
        self.act(Event::ToScope {
            scope,
            except: None,
            frame: frame.into(),
        });
    }

    /// To the listeners at all nodes, but for the connections of one user.
    pub fn send_to_others(&self, scope: Scope, except: UserId, frame: impl Into<Arc<Frame>>) {
        self.act_everywhere(Event::ToScope {
            scope,
            except: Some(except),
            frame: frame.into(),
        });
    }

    /// To the notifications of these users at this node.
    pub fn notify(&self, users: impl Into<Arc<[UserId]>>, frame: impl Into<Arc<Frame>>) {
        self.act(Event::ToUsers {
            users: users.into(),
            frame: frame.into(),
        });
    }

    /// To the notifications of these users at all nodes.
    pub fn notify_everywhere(&self, users: impl Into<Arc<[UserId]>>, frame: impl Into<Arc<Frame>>) {
        self.act_everywhere(Event::ToUsers {
            users: users.into(),
            frame: frame.into(),
        });
    }

    /// To the connections of these users that listen to everything, at this node.
    pub fn notify_wide(&self, users: impl Into<Arc<[UserId]>>, frame: impl Into<Arc<Frame>>) {
        self.act(Event::ToWide {
            users: users.into(),
            frame: frame.into(),
        });
    }

    /// Connections at this node.
    pub fn close(&self, whom: Whom, reason: CloseReason) {
        self.act(Event::Close { whom, reason });
    }

    /// Connections of a sign-in that is no more, at all nodes.
    pub fn close_sign_in(&self, key: [u8; 32]) {
        self.act_everywhere(Event::Close {
            whom: Whom::SignIn(key),
            reason: CloseReason::SignedOut,
        });
    }

    /// The user takes part in the room: connections that listen to everything of his hear it from now on. To be called at
    /// each node, as is [`Self::left`].
    pub fn entered(&self, room: RoomId, user: UserId) {
        lock(&self.connections).enter(room, user);
        if lock(&self.presence).enters(room, user) {
            self.presence_changed.notify_one();
        }
    }

    /// The user takes part in the room no more: connections that listen to it alone are closed, others hear nothing
    /// of it, and he is out of its call.
    pub fn left(&self, room: RoomId, user: UserId) {
        let mut calls = lock(&self.calls);
        let mut wake = Vec::new();
        self.change_connections(|connections| connections.leave(room, user, &mut wake));
        wake.into_iter().for_each(Waker::wake);
        lock(&self.presence).leaves(room, user);
        for connection in calls.connections_of(room, user) {
            self.leave_seat(&mut calls, room, connection);
        }
    }

    pub fn connection_count(&self) -> usize {
        lock(&self.connections).len()
    }

    /// Whether the user has a connection at any node, whatever it listens to.
    pub fn has_connections(&self, user: UserId) -> bool {
        lock(&self.connections).has(user) || lock(&self.elsewhere).has(user)
    }

    /// Keys of all sign-ins that have a connection here.
    pub fn sign_ins(&self) -> HashSet<[u8; 32]> {
        lock(&self.connections).sign_ins()
    }

    /// How many calls go on, and how many people are in them; of all nodes together as many as the sum says.
    pub fn call_counts(&self) -> (usize, usize) {
        lock(&self.calls).counts()
    }

    pub fn call_state(&self, room: RoomId) -> CallState {
        lock(&self.calls).state(room)
    }

    /// Of nodes that know the same one says yes, while anybody is active in the call: who is to do something once for all.
    pub fn is_call_ours(&self, room: RoomId) -> bool {
        lock(&self.calls).is_first_here(room)
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

    /// Waits for somebody who may have come or gone, or entered a room, since the last time; for one caller at a time.
    pub async fn presence_changes(&self) -> PresenceChanges {
        loop {
            let changes = self.take_presence_changes();
            if !changes.is_empty() {
                return changes;
            }
            self.presence_changed.notified().await;
        }
    }

    /// As [`Self::presence_changes`], perhaps none.
    pub fn take_presence_changes(&self) -> PresenceChanges {
        lock(&self.presence).take_changes()
    }

    /// Whether others have been told that the user is here.
    pub fn is_online(&self, user: UserId) -> bool {
        lock(&self.presence).is_here(user)
    }

    /// Others are told that the user is here. The caller looks up his rooms *after* this, and says which they are by
    /// [`Self::is_online_in`].
    pub fn comes_online(&self, user: UserId) {
        lock(&self.presence).comes(user);
    }

    pub fn is_online_in(&self, user: UserId, rooms: &[RoomId]) {
        lock(&self.presence).knows(user, rooms);
    }

    pub fn goes_offline(&self, user: UserId) {
        lock(&self.presence).goes(user);
    }

    /// Those who are online and share a room with the user, who is so, too.
    pub fn online_around(&self, user: UserId) -> Vec<UserId> {
        lock(&self.presence).around(user)
    }

    /// Those who are online and take part in the room, but for one.
    pub fn online_in(&self, room: RoomId, except: UserId) -> Vec<UserId> {
        lock(&self.presence).of_rooms([room].iter(), except)
    }

    fn presence_may_change(&self, user: UserId) {
        lock(&self.presence).has_changed(user);
        self.presence_changed.notify_one();
    }

    fn call_has_changed(&self, room: RoomId) {
        lock(&self.changed_calls).insert(room);
        self.call_changed.notify_one();
    }

    fn tell_state(&self, room: RoomId, state: &CallState) {
        let frame = self.frames.call_state(room, state);
        self.send_to_scope(Scope::Call(room), frame);
    }

    /// Tells what changes in the call for those who hear it; the state in any case where it is `asked`.
    fn change_call<T>(
        &self,
        calls: &mut Calls,
        room: RoomId,
        asked: bool,
        change: impl FnOnce(&mut Calls) -> T,
    ) -> T {
        let before = calls.view(room);
        let changed = change(calls);
        self.tell_call(room, &before, &calls.view(room), asked);
        changed
    }

    fn tell_call(&self, room: RoomId, before: &View, after: &View, asked: bool) {
        let others = |user, frame: Frame| {
            self.act(Event::ToScope {
                scope: Scope::Call(room),
                except: Some(user),
                frame: frame.into(),
            });
        };
        let place = |view: &View, user| view.active.get(&user).map(|(place, _)| *place);
        // Who takes his call over has left for the others as well: their peer connections lead to the old one.
        let is_new = |view: &View, user| {
            place(before, user) != place(after, user) && view.active.contains_key(&user)
        };
        for user in before.active.keys().filter(|user| is_new(before, **user)) {
            others(*user, self.frames.user_left(room, *user));
        }
        for (user, (_, name)) in &after.active {
            if is_new(after, *user) {
                others(*user, self.frames.user_joined(room, *user, name));
            }
        }
        if before.active != after.active {
            self.call_has_changed(room);
        }
        if asked || before != after {
            self.tell_state(room, &after.state);
        }
    }

    fn tell_taken_over(&self, out: TakenOver) {
        self.act(Event::ToConnection {
            connection: out.connection,
            frame: out.frame.into(),
        });
    }

    fn leave_seat(&self, calls: &mut Calls, room: RoomId, id: ConnectionId) {
        if calls.presence(room, id) == CallPresence::Out {
            return;
        }
        self.change_call(calls, room, true, |calls| calls.leave(room, id));
        self.unseated(room, id);
    }

    fn unseated(&self, room: RoomId, connection: ConnectionId) {
        self.bus.publish(Message::Unseat { room, connection });
    }
}

// What other nodes say.
impl Hub {
    fn hear(&self, heard: Heard) {
        let news = match heard {
            Heard::Said { from, message } => match message {
                Message::News(bytes) => News::Said { from, bytes },
                message => return self.hear_message(from, message),
            },
            Heard::Asked => {
                self.say_all();
                News::Asked
            }
            Heard::Gone(node) => {
                self.hear_seats(node, Vec::new());
                self.hear_users(node, Vec::new());
                News::Gone(node)
            }
        };
        if let Some(listener) = self.news.get() {
            listener(news);
        }
    }

    fn hear_message(&self, from: NodeId, message: Message) {
        match message {
            Message::Event(event) => self.act(event),
            Message::ToConnection {
                node,
                room,
                connection,
                frame,
            } => {
                // It may have left, or lost its right, since this was said.
                let calls = lock(&self.calls);
                if node == self.node() && calls.presence(room, connection) != CallPresence::Out {
                    self.act(Event::ToConnection { connection, frame });
                }
            }
            Message::Seat(seat) => {
                let calls = &mut lock(&self.calls);
                let room = seat.room;
                self.change_call(calls, room, false, |calls| {
                    self.hear_seat(calls, from, seat);
                });
            }
            Message::Unseat { room, connection } => {
                let calls = &mut lock(&self.calls);
                self.change_call(calls, room, false, |calls| {
                    calls.unseat(from, room, connection);
                });
            }
            Message::Seats(seats) => self.hear_seats(from, seats),
            Message::User { user, is_here } => {
                lock(&self.elsewhere).set(from, user, is_here);
                self.presence_may_change(user);
            }
            Message::Users(users) => self.hear_users(from, users),
            // Is heard by the program.
            Message::News(_) => {}
        }
    }

    fn hear_seat(&self, calls: &mut Calls, from: NodeId, seat: Seat) {
        let room = seat.room;
        for out in calls.seat(from, seat) {
            self.unseated(room, out.connection);
            self.tell_taken_over(out);
        }
    }

    fn hear_seats(&self, from: NodeId, seats: Vec<Seat>) {
        let calls = &mut lock(&self.calls);
        let mut rooms = calls.rooms_with(from);
        rooms.extend(seats.iter().map(|seat| seat.room));
        let before: Vec<(RoomId, View)> = rooms
            .iter()
            .map(|room| (*room, calls.view(*room)))
            .collect();
        calls.forget(from);
        for seat in seats {
            self.hear_seat(calls, from, seat);
        }
        for (room, before) in before {
            self.tell_call(room, &before, &calls.view(room), false);
        }
    }

    fn hear_users(&self, from: NodeId, users: Vec<UserId>) {
        for user in lock(&self.elsewhere).replace(from, users) {
            self.presence_may_change(user);
        }
    }

    /// All that holds at this node. What changes afterwards is said afterwards.
    fn say_all(&self) {
        let calls = lock(&self.calls);
        self.bus.publish(Message::Seats(calls.own()));
        drop(calls);
        let connections = lock(&self.connections);
        self.bus.publish(Message::Users(connections.users()));
    }
}

// What connections do.
impl Hub {
    pub(crate) fn follow(&self, id: ConnectionId, rooms: &[RoomId]) {
        lock(&self.connections).follow(id, rooms);
    }

    pub(crate) fn online_for(&self, id: ConnectionId, user: UserId) -> Vec<UserId> {
        let rooms = lock(&self.connections).followed(id);
        lock(&self.presence).of_rooms(rooms.iter(), user)
    }

    pub(crate) fn follows(&self, id: ConnectionId, room: RoomId) -> bool {
        lock(&self.connections).follows(id, room)
    }

    pub(crate) fn send_to(&self, connection: ConnectionId, frame: Frame) {
        self.act(Event::ToConnection {
            connection,
            frame: frame.into(),
        });
    }

    pub(crate) fn open_call(
        &self,
        id: ConnectionId,
        identity: &Identity,
        room: RoomId,
    ) -> Result<(), SignalError> {
        let mut calls = lock(&self.calls);
        if !lock(&self.connections).hear_call(id, room) {
            return Err(SignalError::NoRight);
        }
        let seat = self.change_call(&mut calls, room, true, |calls| {
            calls.connect(room, id, identity)
        });
        if let Some(seat) = seat {
            self.bus.publish(Message::Seat(seat));
        }
        Ok(())
    }

    pub(crate) fn join_call(
        &self,
        id: ConnectionId,
        identity: &Identity,
        room: RoomId,
    ) -> Result<(), SignalError> {
        let mut calls = lock(&self.calls);
        if !lock(&self.connections).hear_call(id, room) {
            return Err(SignalError::NoRight);
        }
        self.change_call(&mut calls, room, true, |calls| {
            let Some((seat, out)) = calls.join(room, id, identity) else {
                return;
            };
            self.bus.publish(Message::Seat(seat));
            if let Some(out) = out {
                self.unseated(room, out.connection);
                self.tell_taken_over(out);
            }
        });
        Ok(())
    }

    pub(crate) fn leave_call(&self, id: ConnectionId, room: RoomId) {
        let mut calls = lock(&self.calls);
        self.leave_seat(&mut calls, room, id);
        lock(&self.connections).unhear_call(id, room);
    }

    pub(crate) fn lose(&self, id: ConnectionId, user: UserId) {
        let mut calls = lock(&self.calls);
        self.change_connections(|connections| connections.remove(id));
        self.presence_may_change(user);
        for room in calls.rooms_of(id) {
            self.leave_seat(&mut calls, room, id);
        }
    }

    pub(crate) fn signal(
        &self,
        id: ConnectionId,
        room: RoomId,
        target: UserId,
        frame: Frame,
    ) -> Result<(), SignalError> {
        let calls = lock(&self.calls);
        if calls.presence(room, id) == CallPresence::Out {
            return Err(SignalError::NotInCall);
        }
        let Place { node, connection } = calls
            .place_of(room, target)
            .ok_or(SignalError::TargetNotInCall)?;
        if node == self.node() {
            self.send_to(connection, frame);
        } else {
            let frame = frame.into();
            self.bus.publish(Message::ToConnection {
                node,
                room,
                connection,
                frame,
            });
        }
        Ok(())
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
