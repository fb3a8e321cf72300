//! Who is in which call. A user is in a call of a room with one connection; the last one that joins has it.

use std::collections::HashMap;

use crate::{ConnectionId, Frame, Identity, RoomId, UserId};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberState {
    /// Has the call open and has not joined.
    Connecting,
    Active,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallMember {
    pub user_id: UserId,
    pub username: String,
    pub state: MemberState,
}

/// The call of a room at one moment; each user once, in order of coming.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CallState {
    pub members: Vec<CallMember>,
}

impl CallState {
    /// Whether anyone is active.
    pub fn is_active(&self) -> bool {
        self.active().next().is_some()
    }

    pub fn active(&self) -> impl Iterator<Item = &CallMember> {
        self.members
            .iter()
            .filter(|member| member.state == MemberState::Active)
    }
}

/// Where a connection stands in the call of its room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallPresence {
    Out,
    In(MemberState),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignalError {
    /// The connection does not listen to the room.
    #[error("the call of this room is not the connection's")]
    NoRight,
    /// The sender has left, or another connection of the same user has taken over.
    #[error("the sender is not in the call")]
    NotInCall,
    #[error("the target is not in the call")]
    TargetNotInCall,
}

#[derive(Debug)]
struct Seat {
    connection: ConnectionId,
    user_id: UserId,
    username: String,
    taken_over: fn(RoomId) -> Frame,
    state: MemberState,
}

impl Seat {
    fn new(connection: ConnectionId, identity: &Identity, state: MemberState) -> Self {
        Seat {
            connection,
            user_id: identity.user_id,
            username: identity.username.clone(),
            taken_over: identity.taken_over,
            state,
        }
    }
}

/// What joining changed, beside the joiner being active now.
#[derive(Debug)]
pub(crate) enum Joined {
    Already,
    New,
    /// The user's other connection is out now and is told so.
    TookOverFrom {
        connection: ConnectionId,
        frame: Frame,
    },
}

#[derive(Debug, Default)]
pub(crate) struct Calls {
    rooms: HashMap<RoomId, Vec<Seat>>,
    by_connection: HashMap<ConnectionId, Vec<RoomId>>,
}

impl Calls {
    /// Nothing, for a connection that is in the call already.
    pub fn connect(&mut self, room: RoomId, connection: ConnectionId, identity: &Identity) {
        if self.presence(room, connection) != CallPresence::Out {
            return;
        }
        let seat = Seat::new(connection, identity, MemberState::Connecting);
        self.rooms.entry(room).or_default().push(seat);
        self.by_connection.entry(connection).or_default().push(room);
    }

    pub fn join(&mut self, room: RoomId, connection: ConnectionId, identity: &Identity) -> Joined {
        if self.presence(room, connection) == CallPresence::In(MemberState::Active) {
            return Joined::Already;
        }
        let old = self
            .seats(room)
            .iter()
            .find(|seat| seat.user_id == identity.user_id && seat.state == MemberState::Active)
            .map(|seat| (seat.connection, seat.taken_over));
        if let Some((old, _)) = old {
            self.leave(room, old);
        }
        self.leave(room, connection);
        let seat = Seat::new(connection, identity, MemberState::Active);
        self.rooms.entry(room).or_default().push(seat);
        self.by_connection.entry(connection).or_default().push(room);
        old.map_or(Joined::New, |(connection, taken_over)| {
            Joined::TookOverFrom {
                connection,
                frame: taken_over(room),
            }
        })
    }

    /// Where the connection stood.
    pub fn leave(&mut self, room: RoomId, connection: ConnectionId) -> CallPresence {
        let before = self.presence(room, connection);
        if let Some(seats) = self.rooms.get_mut(&room) {
            seats.retain(|seat| seat.connection != connection);
            if seats.is_empty() {
                self.rooms.remove(&room);
            }
        }
        if let Some(rooms) = self.by_connection.get_mut(&connection) {
            rooms.retain(|other| *other != room);
            if rooms.is_empty() {
                self.by_connection.remove(&connection);
            }
        }
        before
    }

    /// Takes all connections of the user out; where the foremost of them stood.
    pub fn leave_with_all(&mut self, room: RoomId, user: UserId) -> CallPresence {
        let mut before = CallPresence::Out;
        while let Some(connection) = self.connection_of(room, user) {
            let stood = self.leave(room, connection);
            if before == CallPresence::Out {
                before = stood;
            }
        }
        before
    }

    /// The rooms in whose calls the connection is.
    pub fn rooms_of(&self, connection: ConnectionId) -> Vec<RoomId> {
        self.by_connection
            .get(&connection)
            .cloned()
            .unwrap_or_default()
    }

    pub fn presence(&self, room: RoomId, connection: ConnectionId) -> CallPresence {
        self.seats(room)
            .iter()
            .find(|seat| seat.connection == connection)
            .map_or(CallPresence::Out, |seat| CallPresence::In(seat.state))
    }

    /// The connection that speaks for the user: the active one, else the newest.
    pub fn connection_of(&self, room: RoomId, user_id: UserId) -> Option<ConnectionId> {
        let theirs = || {
            self.seats(room)
                .iter()
                .rev()
                .filter(|seat| seat.user_id == user_id)
        };
        theirs()
            .find(|seat| seat.state == MemberState::Active)
            .or_else(|| theirs().next())
            .map(|seat| seat.connection)
    }

    pub fn state(&self, room: RoomId) -> CallState {
        let mut members: Vec<CallMember> = Vec::new();
        for seat in self.seats(room) {
            match members
                .iter_mut()
                .find(|member| member.user_id == seat.user_id)
            {
                Some(member) if seat.state == MemberState::Active => member.state = seat.state,
                Some(_) => {}
                None => members.push(CallMember {
                    user_id: seat.user_id,
                    username: seat.username.clone(),
                    state: seat.state,
                }),
            }
        }
        CallState { members }
    }

    /// Those that go on, and those who are in them.
    pub fn counts(&self) -> (usize, usize) {
        let active = |seats: &Vec<Seat>| {
            let active = seats
                .iter()
                .filter(|seat| seat.state == MemberState::Active);
            active.count()
        };
        let calls = self.rooms.values().map(active).filter(|count| *count > 0);
        calls.fold((0, 0), |(calls, people), count| (calls + 1, people + count))
    }

    fn seats(&self, room: RoomId) -> &[Seat] {
        self.rooms.get(&room).map_or(&[], Vec::as_slice)
    }
}
