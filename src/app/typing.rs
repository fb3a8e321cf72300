//! Who is writing a message just now: passed on to the others in the room, never stored.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use moznods_signaling::Scope;
use moznods_storage::{RoomId, User, UserId};

use super::App;
use crate::wire;

/// Between two announcements that a user is typing in a room; clients show each for about twice as long.
const EACH: Duration = Duration::from_secs(3);
/// Announcements that are remembered; beyond that, older ones than [`EACH`] are forgotten.
const MANY: usize = 4096;

#[derive(Debug, Default)]
pub struct Typing(Mutex<HashMap<(RoomId, UserId), Said>>);

#[derive(Debug)]
struct Said {
    at: Instant,
    still: bool,
}

impl Typing {
    /// Whether the others are to be told.
    fn begins(&self, room: RoomId, user: UserId) -> bool {
        let now = Instant::now();
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let recent = |said: &Said| now.duration_since(said.at) < EACH;
        if said.get(&(room, user)).is_some_and(recent) {
            return false;
        }
        if said.len() >= MANY {
            said.retain(|_, said| recent(said));
        }
        let still = true;
        said.insert((room, user), Said { at: now, still });
        true
    }

    fn ends(&self, room: RoomId, user: UserId) -> bool {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        said.get_mut(&(room, user))
            .is_some_and(|said| std::mem::take(&mut said.still))
    }
}

impl App {
    /// The caller has seen that the user listens to the room.
    pub fn set_typing(&self, user: &User, room: RoomId, typing: bool) {
        let news = match typing {
            true => self.typing.begins(room, user.id),
            false => self.typing.ends(room, user.id),
        };
        if news {
            let frame = wire::typing(typing, user.id, &user.username).in_room(room);
            self.hub.send_to_others(Scope::Chat(room), user.id, frame);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beginnings_are_apart_and_each_ends_once() {
        let typing = Typing::default();
        assert!(!typing.ends(1, 7));
        assert!(typing.begins(1, 7));
        assert!(!typing.begins(1, 7));
        assert!(typing.begins(2, 7) && typing.begins(1, 8));
        assert!(typing.ends(1, 7));
        assert!(!typing.ends(1, 7));
        assert!(!typing.begins(1, 7), "ending does not make it sooner");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let typing = Typing::default();
        for user in 0..3 * UserId::try_from(MANY).unwrap() {
            typing.begins(1, user);
        }
        let mut said = typing.0.lock().unwrap();
        let long_ago = Instant::now().checked_sub(EACH).unwrap();
        said.values_mut().for_each(|said| said.at = long_ago);
        drop(said);
        typing.begins(2, 1);
        assert_eq!(typing.0.lock().unwrap().len(), 1);
    }
}
