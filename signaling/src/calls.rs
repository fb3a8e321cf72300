//! Who is in which call. A user is in a call of a room with one connection; the last one that joins has it.

use std::collections::HashMap;

use bytes::Bytes;

use crate::{ConnectionId, Identity, RoomId, UserId};

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
    taken_over: Bytes,
    state: MemberState,
}

impl Seat {
    fn new(connection: ConnectionId, identity: &Identity, state: MemberState) -> Self {
        Seat {
            connection,
            user_id: identity.user_id,
            username: identity.username.clone(),
            taken_over: identity.taken_over.clone(),
            state,
        }
    }
}

/// What joining changed, beside the joiner being active now.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Joined {
    Already,
    New,
    /// The user's other connection is out now and is told so.
    TookOverFrom {
        connection: ConnectionId,
        frame: Bytes,
    },
}

#[derive(Debug, Default)]
pub(crate) struct Calls {
    rooms: HashMap<RoomId, Vec<Seat>>,
}

impl Calls {
    pub fn connect(&mut self, room: RoomId, connection: ConnectionId, identity: &Identity) {
        let seat = Seat::new(connection, identity, MemberState::Connecting);
        self.rooms.entry(room).or_default().push(seat);
    }

    pub fn join(&mut self, room: RoomId, connection: ConnectionId, identity: &Identity) -> Joined {
        if self.presence(room, connection) == CallPresence::In(MemberState::Active) {
            return Joined::Already;
        }
        let seats = self.rooms.entry(room).or_default();
        let old = seats
            .iter()
            .position(|seat| seat.user_id == identity.user_id && seat.state == MemberState::Active)
            .map(|place| seats.remove(place));
        seats.retain(|seat| seat.connection != connection);
        seats.push(Seat::new(connection, identity, MemberState::Active));
        old.map_or(Joined::New, |old| Joined::TookOverFrom {
            connection: old.connection,
            frame: old.taken_over,
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
        before
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

    fn seats(&self, room: RoomId) -> &[Seat] {
        self.rooms.get(&room).map_or(&[], Vec::as_slice)
    }
}
