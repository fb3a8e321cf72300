//! The connections of this process and their queues: who listens to what, and what waits to be sent.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::sync::{mpsc, watch};

use crate::bus::Event;
use crate::{ConnectionId, RoomId, Scope, UserId};

/// Live connections of one user.
pub const MAX_CONNECTIONS_PER_USER: usize = 64;
/// Frames that may wait for one connection; of the usual length, they are as many bytes as may wait.
pub(crate) const MAX_QUEUED_FRAMES: usize = 4096;
/// Bytes that may wait for one connection, beside a first frame of any length.
const MAX_QUEUED_BYTES: usize = 1024 * 1024;

/// Why a connection is closed from this side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whom {
    All,
    User(UserId),
    /// Those of one sign-in, known by a key that the caller chose.
    SignIn([u8; 32]),
    /// All that listen to the room's chat or call.
    Room(RoomId),
    UserInRoom(RoomId, UserId),
}

pub(crate) struct Entry {
    pub user: UserId,
    pub sign_in: [u8; 32],
    pub scope: Scope,
    pub queue: mpsc::Sender<Bytes>,
    pub queued_bytes: Arc<AtomicUsize>,
    pub closing: watch::Sender<Option<CloseReason>>,
}

#[derive(Default)]
pub(crate) struct Connections {
    entries: HashMap<ConnectionId, Entry>,
    by_scope: HashMap<Scope, HashSet<ConnectionId>>,
    by_user: HashMap<UserId, HashSet<ConnectionId>>,
}

impl Connections {
    /// `false`: the user has too many already.
    pub fn add(&mut self, id: ConnectionId, entry: Entry) -> bool {
        let of_user = self.by_user.entry(entry.user).or_default();
        if of_user.len() >= MAX_CONNECTIONS_PER_USER {
            return false;
        }
        of_user.insert(id);
        self.by_scope.entry(entry.scope).or_default().insert(id);
        self.entries.insert(id, entry);
        true
    }

    pub fn remove(&mut self, id: ConnectionId) {
        if let Some(entry) = self.entries.remove(&id) {
            forget(&mut self.by_scope, entry.scope, id);
            forget(&mut self.by_user, entry.user, id);
        }
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// The keys of all sign-ins that have a connection.
    pub fn sign_ins(&self) -> HashSet<[u8; 32]> {
        self.entries.values().map(|entry| entry.sign_in).collect()
    }

    pub fn act(&mut self, event: Event) {
        match event {
            Event::ToScope {
                scope,
                except,
                frame,
            } => {
                let listening = self.by_scope.get(&scope).into_iter().flatten();
                let ids = self.such(listening, |entry| Some(entry.user) != except);
                self.send(&ids, &frame);
            }
            Event::ToUsers { users, frame } => {
                let theirs = users.iter().filter_map(|user| self.by_user.get(user));
                let ids = self.such(theirs.flatten(), |entry| {
                    entry.scope == Scope::Notifications
                });
                self.send(&ids, &frame);
            }
            Event::ToConnection { connection, frame } => self.send(&[connection], &frame),
            Event::Close { whom, reason } => {
                let ids = self.such(self.entries.keys(), |entry| match whom {
                    Whom::All => true,
                    Whom::User(user) => entry.user == user,
                    Whom::SignIn(key) => entry.sign_in == key,
                    Whom::Room(room) => entry.scope.room() == Some(room),
                    Whom::UserInRoom(room, user) => {
                        entry.user == user && entry.scope.room() == Some(room)
                    }
                });
                for id in ids {
                    self.close(id, reason);
                }
            }
        }
    }

    fn such<'a>(
        &self,
        ids: impl Iterator<Item = &'a ConnectionId>,
        wanted: impl Fn(&Entry) -> bool,
    ) -> Vec<ConnectionId> {
        ids.filter(|id| self.entries.get(id).is_some_and(&wanted))
            .copied()
            .collect()
    }

    fn send(&mut self, ids: &[ConnectionId], frame: &Bytes) {
        for &id in ids {
            let Some(entry) = self.entries.get(&id) else {
                continue;
            };
            let waiting = entry.queued_bytes.load(Ordering::Relaxed);
            let fits = waiting == 0 || waiting.saturating_add(frame.len()) <= MAX_QUEUED_BYTES;
            // Counted before it is queued: the other side subtracts as soon as it takes it.
            entry.queued_bytes.fetch_add(frame.len(), Ordering::Relaxed);
            if !fits || entry.queue.try_send(frame.clone()).is_err() {
                self.close(id, CloseReason::TooSlow);
            }
        }
    }

    fn close(&mut self, id: ConnectionId, reason: CloseReason) {
        if let Some(entry) = self.entries.get(&id) {
            entry.closing.send_replace(Some(reason));
        }
        self.remove(id);
    }
}

fn forget<K: Eq + Hash>(index: &mut HashMap<K, HashSet<ConnectionId>>, key: K, id: ConnectionId) {
    if let Some(ids) = index.get_mut(&key) {
        ids.remove(&id);
        if ids.is_empty() {
            index.remove(&key);
        }
    }
}
