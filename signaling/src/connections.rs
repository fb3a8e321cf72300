//! The connections of this process: who listens to what.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::task::Waker;

use foldhash::fast::FixedState;
use serde::{Deserialize, Serialize};

use crate::bus::Event;
use crate::frame::{Form, Frame};
use crate::mailbox::Mailbox;
use crate::{ConnectionId, RoomId, Scope, UserId};

/// Live connections of one user.
pub const MAX_CONNECTIONS_PER_USER: usize = 64;

/// Why a connection is closed from this side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum CloseReason {
    /// More waits for it than may wait.
    TooSlow,
    /// Its sign-in has ended.
    SignedOut,
    /// It may no longer listen to what it listens to.
    NoRight,
    ShuttingDown,
}

/// Which connections are closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Whom {
    All,
    User(UserId),
    /// Those of one sign-in, known by a key that the caller chose.
    SignIn([u8; 32]),
}

pub(crate) struct Entry {
    pub user: UserId,
    pub sign_in: [u8; 32],
    pub listening: Listening,
    pub mailbox: Arc<Mailbox>,
}

pub(crate) enum Listening {
    To(Scope),
    Everything(Box<Rooms>),
}

/// What a connection that listens to everything follows.
#[derive(Default)]
pub(crate) struct Rooms {
    followed: HashSet<RoomId, FixedState>,
    calls: Vec<RoomId>,
    /// Until it is told which rooms there are: those that its user has left meanwhile.
    left: Option<HashSet<RoomId>>,
}

impl Rooms {
    /// One that has yet to be told.
    pub fn unknown() -> Box<Self> {
        Box::new(Rooms {
            left: Some(HashSet::new()),
            ..Rooms::default()
        })
    }
}

struct Listener {
    user: UserId,
    form: Form,
    mailbox: Arc<Mailbox>,
}

/// Ids are ours, so nobody can choose them to collide.
type ById<T> = HashMap<ConnectionId, T, FixedState>;

#[derive(Default)]
pub(crate) struct Connections {
    entries: ById<Entry>,
    by_scope: HashMap<Scope, ById<Listener>, FixedState>,
    by_user: HashMap<UserId, Vec<ConnectionId>, FixedState>,
    /// Users who came, with their first connection, or went, with the last.
    changes: Vec<(UserId, bool)>,
}

impl Connections {
    /// `false`: the user has too many already.
    pub fn add(&mut self, id: ConnectionId, entry: Entry) -> bool {
        let of_user = self.by_user.entry(entry.user).or_default();
        if of_user.len() >= MAX_CONNECTIONS_PER_USER {
            return false;
        }
        if of_user.is_empty() {
            self.changes.push((entry.user, true));
        }
        of_user.push(id);
        if let Listening::To(scope) = entry.listening
            && scope != Scope::Notifications
        {
            hear(&mut self.by_scope, id, &entry, scope);
        }
        self.entries.insert(id, entry);
        true
    }

    pub fn remove(&mut self, id: ConnectionId) {
        let Some(entry) = self.entries.remove(&id) else {
            return;
        };
        match entry.listening {
            Listening::To(scope) => self.unhear(id, scope),
            Listening::Everything(rooms) => {
                for room in rooms.followed {
                    self.unhear(id, Scope::Chat(room));
                }
                for room in rooms.calls {
                    self.unhear(id, Scope::Call(room));
                }
            }
        }
        if let Some(ids) = self.by_user.get_mut(&entry.user) {
            ids.retain(|other| *other != id);
            if ids.is_empty() {
                self.by_user.remove(&entry.user);
                self.changes.push((entry.user, false));
            }
        }
    }

    /// Since the last time, in order.
    pub fn take_changes(&mut self) -> Vec<(UserId, bool)> {
        std::mem::take(&mut self.changes)
    }

    pub fn users(&self) -> Vec<UserId> {
        self.by_user.keys().copied().collect()
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn has(&self, user: UserId) -> bool {
        self.by_user.contains_key(&user)
    }

    /// The keys of all sign-ins that have a connection.
    pub fn sign_ins(&self) -> HashSet<[u8; 32]> {
        self.entries.values().map(|entry| entry.sign_in).collect()
    }

    /// The connection is told which rooms its user takes part in, but for what has changed since it was made.
    pub fn follow(&mut self, id: ConnectionId, rooms: &[RoomId]) {
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        let Listening::Everything(known) = &mut entry.listening else {
            return;
        };
        let left = known.left.take().unwrap_or_default();
        let mut new = Vec::new();
        for room in rooms.iter().filter(|room| !left.contains(room)) {
            if known.followed.insert(*room) {
                new.push(*room);
            }
        }
        known.followed.shrink_to_fit();
        for room in new {
            hear(&mut self.by_scope, id, entry, Scope::Chat(room));
        }
    }

    /// The rooms that the connection, which listens to everything, hears of.
    pub fn followed(&self, id: ConnectionId) -> Vec<RoomId> {
        match self.entries.get(&id).map(|entry| &entry.listening) {
            Some(Listening::Everything(rooms)) => rooms.followed.iter().copied().collect(),
            Some(Listening::To(_)) | None => Vec::new(),
        }
    }

    pub fn follows(&self, id: ConnectionId, room: RoomId) -> bool {
        match self.entries.get(&id).map(|entry| &entry.listening) {
            Some(Listening::Everything(rooms)) => rooms.followed.contains(&room),
            Some(Listening::To(_)) | None => false,
        }
    }

    /// Whether the connection may take part in the call of the room; if so it hears it from now on.
    pub fn hear_call(&mut self, id: ConnectionId, room: RoomId) -> bool {
        let Some(entry) = self.entries.get_mut(&id) else {
            return false;
        };
        match &mut entry.listening {
            Listening::To(scope) => *scope == Scope::Call(room),
            Listening::Everything(rooms) if rooms.followed.contains(&room) => {
                if !rooms.calls.contains(&room) {
                    rooms.calls.push(room);
                    hear(&mut self.by_scope, id, entry, Scope::Call(room));
                }
                true
            }
            Listening::Everything(_) => false,
        }
    }

    /// The opposite of [`Self::hear_call`]; a connection that listens to the call alone goes on.
    pub fn unhear_call(&mut self, id: ConnectionId, room: RoomId) {
        if let Some(entry) = self.entries.get_mut(&id)
            && let Listening::Everything(rooms) = &mut entry.listening
        {
            rooms.calls.retain(|other| *other != room);
            self.unhear(id, Scope::Call(room));
        }
    }

    /// Does as `event` says; whom to wake afterwards is added to `wake`.
    pub fn act(&mut self, event: Event, wake: &mut Vec<Waker>) {
        match event {
            Event::ToScope {
                scope,
                except,
                frame,
            } => {
                let mut slow = Vec::new();
                let listening = self.by_scope.get(&scope).into_iter().flatten();
                for (id, listener) in listening {
                    if Some(listener.user) == except {
                        continue;
                    }
                    match listener.mailbox.push(frame.queued(listener.form)) {
                        Ok(waker) => wake.extend(waker),
                        Err(_) => slow.push(*id),
                    }
                }
                for id in slow {
                    self.close(id, CloseReason::TooSlow, wake);
                }
            }
            Event::ToUsers { users, frame } => {
                for user in users.iter() {
                    for id in self.of_user(*user) {
                        match self.entries.get(&id).map(|entry| &entry.listening) {
                            Some(Listening::To(Scope::Notifications)) => {
                                self.send(id, &frame, Form::Narrow, wake);
                            }
                            Some(Listening::Everything(_)) => {
                                self.send(id, &frame, Form::Wide, wake);
                            }
                            _ => {}
                        }
                    }
                }
            }
            Event::ToWide { users, frame } => {
                for user in users.iter() {
                    for id in self.of_user(*user) {
                        if self.is_wide(id) {
                            self.send(id, &frame, Form::Wide, wake);
                        }
                    }
                }
            }
            Event::ToConnection { connection, frame } => {
                let form = match self.is_wide(connection) {
                    true => Form::Wide,
                    false => Form::Narrow,
                };
                self.send(connection, &frame, form, wake);
            }
            Event::Close { whom, reason } => {
                let ids: Vec<ConnectionId> = match whom {
                    Whom::All => self.entries.keys().copied().collect(),
                    Whom::User(user) => self.of_user(user),
                    Whom::SignIn(key) => {
                        let theirs = self
                            .entries
                            .iter()
                            .filter(|(_, entry)| entry.sign_in == key);
                        theirs.map(|(id, _)| *id).collect()
                    }
                };
                for id in ids {
                    self.close(id, reason, wake);
                }
            }
        }
    }

    /// The user takes part in the room from now on.
    pub fn enter(&mut self, room: RoomId, user: UserId) {
        for id in self.of_user(user) {
            let Some(entry) = self.entries.get_mut(&id) else {
                continue;
            };
            if let Listening::Everything(rooms) = &mut entry.listening {
                if let Some(left) = &mut rooms.left {
                    left.remove(&room);
                }
                if rooms.followed.insert(room) {
                    hear(&mut self.by_scope, id, entry, Scope::Chat(room));
                }
            }
        }
    }

    /// The user takes part in the room no more.
    pub fn leave(&mut self, room: RoomId, user: UserId, wake: &mut Vec<Waker>) {
        for id in self.of_user(user) {
            let Some(entry) = self.entries.get_mut(&id) else {
                continue;
            };
            match &mut entry.listening {
                Listening::To(scope) if scope.room() == Some(room) => {
                    self.close(id, CloseReason::NoRight, wake);
                }
                Listening::To(_) => {}
                Listening::Everything(rooms) => {
                    rooms.followed.remove(&room);
                    rooms.calls.retain(|other| *other != room);
                    if let Some(left) = &mut rooms.left {
                        left.insert(room);
                    }
                    self.unhear(id, Scope::Chat(room));
                    self.unhear(id, Scope::Call(room));
                }
            }
        }
    }

    fn is_wide(&self, id: ConnectionId) -> bool {
        let listening = self.entries.get(&id).map(|entry| &entry.listening);
        matches!(listening, Some(Listening::Everything(_)))
    }

    fn of_user(&self, user: UserId) -> Vec<ConnectionId> {
        self.by_user.get(&user).cloned().unwrap_or_default()
    }

    fn send(&mut self, id: ConnectionId, frame: &Frame, form: Form, wake: &mut Vec<Waker>) {
        if let Some(entry) = self.entries.get(&id) {
            match entry.mailbox.push(frame.queued(form)) {
                Ok(waker) => wake.extend(waker),
                Err(_) => self.close(id, CloseReason::TooSlow, wake),
            }
        }
    }

    fn close(&mut self, id: ConnectionId, reason: CloseReason, wake: &mut Vec<Waker>) {
        if let Some(entry) = self.entries.get(&id) {
            wake.extend(entry.mailbox.close(reason));
        }
        self.remove(id);
    }

    fn unhear(&mut self, id: ConnectionId, scope: Scope) {
        if let Some(listeners) = self.by_scope.get_mut(&scope) {
            listeners.remove(&id);
            if listeners.is_empty() {
                self.by_scope.remove(&scope);
            }
        }
    }
}

fn hear(
    by_scope: &mut HashMap<Scope, ById<Listener>, FixedState>,
    id: ConnectionId,
    entry: &Entry,
    scope: Scope,
) {
    let listener = Listener {
        user: entry.user,
        form: match entry.listening {
            Listening::To(_) => Form::Narrow,
            Listening::Everything(_) => Form::Wide,
        },
        mailbox: Arc::clone(&entry.mailbox),
    };
    by_scope.entry(scope).or_default().insert(id, listener);
}
