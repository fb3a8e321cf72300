//! Who is here, as others have been told, and in which rooms they would see each other.

use std::collections::{BTreeSet, HashMap, HashSet};

use foldhash::fast::FixedState;

use crate::{RoomId, UserId};

type Users = HashSet<UserId, FixedState>;
type Rooms = HashSet<RoomId, FixedState>;

#[derive(Default)]
pub(crate) struct Presence {
    users: HashMap<UserId, Here, FixedState>,
    by_room: HashMap<RoomId, Users, FixedState>,
    changes: Changes,
}

/// What may be to be told.
#[derive(Debug, Default)]
pub struct Changes {
    /// Who came or went; perhaps both.
    pub users: BTreeSet<UserId>,
    /// Who, of those that are here, entered a room.
    pub entered: BTreeSet<(RoomId, UserId)>,
}

impl Changes {
    pub fn is_empty(&self) -> bool {
        self.users.is_empty() && self.entered.is_empty()
    }
}

#[derive(Default)]
struct Here {
    rooms: Rooms,
    /// Until it is known which rooms there are: those that he has left meanwhile.
    left: Option<Rooms>,
}

impl Presence {
    pub fn has_changed(&mut self, user: UserId) {
        self.changes.users.insert(user);
    }

    pub fn take_changes(&mut self) -> Changes {
        std::mem::take(&mut self.changes)
    }

    pub fn is_here(&self, user: UserId) -> bool {
        self.users.contains_key(&user)
    }

    /// The user is here; in which rooms is to be looked up after this, and said by [`Self::knows`].
    pub fn comes(&mut self, user: UserId) {
        let here = self.users.entry(user).or_default();
        here.left = Some(Rooms::default());
    }

    pub fn knows(&mut self, user: UserId, rooms: &[RoomId]) {
        let Some(here) = self.users.get_mut(&user) else {
            return;
        };
        let left = here.left.take().unwrap_or_default();
        for room in rooms.iter().filter(|room| !left.contains(room)) {
            if here.rooms.insert(*room) {
                self.by_room.entry(*room).or_default().insert(user);
            }
        }
        here.rooms.shrink_to_fit();
    }

    pub fn goes(&mut self, user: UserId) {
        let here = self.users.remove(&user).unwrap_or_default();
        for room in here.rooms {
            self.takes_out(room, user);
        }
    }

    pub fn enters(&mut self, room: RoomId, user: UserId) -> bool {
        let Some(here) = self.users.get_mut(&user) else {
            return false;
        };
        if let Some(left) = &mut here.left {
            left.remove(&room);
        }
        if !here.rooms.insert(room) {
            return false;
        }
        self.by_room.entry(room).or_default().insert(user);
        self.changes.entered.insert((room, user));
        true
    }

    pub fn leaves(&mut self, room: RoomId, user: UserId) {
        if let Some(here) = self.users.get_mut(&user) {
            if let Some(left) = &mut here.left {
                left.insert(room);
            }
            here.rooms.remove(&room);
            self.takes_out(room, user);
        }
    }

    /// Those who are here and share a room with the user, who is here as well.
    pub fn around(&self, user: UserId) -> Vec<UserId> {
        let rooms = self.users.get(&user).map(|here| &here.rooms);
        self.of_rooms(rooms.into_iter().flatten(), user)
    }

    /// Those who are in one of the rooms and here, but for one.
    pub fn of_rooms<'a>(
        &self,
        rooms: impl Iterator<Item = &'a RoomId>,
        except: UserId,
    ) -> Vec<UserId> {
        let mut users = Users::default();
        for room in rooms {
            users.extend(self.by_room.get(room).into_iter().flatten());
        }
        users.remove(&except);
        users.into_iter().collect()
    }

    fn takes_out(&mut self, room: RoomId, user: UserId) {
        if let Some(users) = self.by_room.get_mut(&room) {
            users.remove(&user);
            if users.is_empty() {
                self.by_room.remove(&room);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rooms_that_change_while_they_are_looked_up_are_as_they_are_at_last() {
        let mut presence = Presence::default();
        for (user, rooms) in [(1, vec![10, 20]), (2, vec![20, 30])] {
            presence.comes(user);
            presence.leaves(10, user);
            presence.enters(40, user);
            presence.knows(user, &rooms);
        }
        assert_eq!(presence.of_rooms([10].iter(), 0), []);
        assert_eq!(presence.around(1), [2]);
        assert_eq!(presence.of_rooms([30].iter(), 1), [2]);
        presence.goes(2);
        assert_eq!(presence.around(1), []);
        presence.goes(1);
        assert!(presence.by_room.is_empty() && presence.users.is_empty());
        assert!(!presence.enters(10, 1), "he is not here");
    }
}
