//! Who is in which call. A user is in a call of a room with one connection; the last one that joins has it, at whatever node.
//!
//! What is shown follows from the seats that there are and from nothing else, so that nodes that know the same show the same.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::{ConnectionId, Frame, Identity, NodeId, RoomId, UserId};

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

/// A connection, at whatever node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Place {
    pub node: NodeId,
    pub connection: ConnectionId,
}

/// A place in a call, as nodes tell each other of their own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seat {
    pub room: RoomId,
    pub connection: ConnectionId,
    pub user_id: UserId,
    pub username: String,
    pub is_active: bool,
    /// By it all nodes have seats in the same order: microseconds since 1970, but later than of every seat that the node knew.
    pub since: u64,
}

#[derive(Debug)]
struct Taken {
    node: NodeId,
    seat: Seat,
    /// Of connections at this node.
    taken_over: Option<fn(RoomId) -> Frame>,
}

impl Taken {
    fn place(&self) -> Place {
        Place {
            node: self.node,
            connection: self.seat.connection,
        }
    }

    fn order(&self) -> (u64, Place) {
        (self.seat.since, self.place())
    }

    fn is_active_of(&self, user: UserId) -> bool {
        self.seat.is_active && self.seat.user_id == user
    }
}

/// What somebody could see of a call.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct View {
    pub state: CallState,
    /// With what those who are active are in it.
    pub active: BTreeMap<UserId, (Place, String)>,
}

/// Whose connection is out because another one of the same user has taken over, and what it is told.
#[derive(Debug)]
pub(crate) struct TakenOver {
    pub connection: ConnectionId,
    pub frame: Frame,
}

/// The seats of all nodes. This one's are as they are; others' as they have told.
#[derive(Debug)]
pub(crate) struct Calls {
    node: NodeId,
    /// In order.
    rooms: HashMap<RoomId, Vec<Taken>>,
    /// Of this node.
    by_connection: HashMap<ConnectionId, Vec<RoomId>>,
    clock: u64,
}

impl Calls {
    pub fn new(node: NodeId) -> Self {
        Calls {
            node,
            rooms: HashMap::new(),
            by_connection: HashMap::new(),
            clock: 0,
        }
    }

    /// `None`: the connection is in the call already.
    pub fn connect(
        &mut self,
        room: RoomId,
        connection: ConnectionId,
        identity: &Identity,
    ) -> Option<Seat> {
        let is_out = self.presence(room, connection) == CallPresence::Out;
        is_out.then(|| self.sit_down(room, connection, identity, false))
    }

    /// `None`: it is active in it already.
    pub fn join(
        &mut self,
        room: RoomId,
        connection: ConnectionId,
        identity: &Identity,
    ) -> Option<(Seat, Option<TakenOver>)> {
        if self.presence(room, connection) == CallPresence::In(MemberState::Active) {
            return None;
        }
        let seats = self.seats(room).iter();
        let mut old = seats.filter(|taken| taken.is_active_of(identity.user_id));
        let old = old
            .next_back()
            .map(|taken| (taken.place(), taken.taken_over));
        let mut told = None;
        if let Some((place, taken_over)) = old {
            // That of another node is out there as well as soon as it hears of this.
            self.stand_up(room, place);
            told = taken_over.map(|taken_over| TakenOver {
                connection: place.connection,
                frame: taken_over(room),
            });
        }
        self.leave(room, connection);
        Some((self.sit_down(room, connection, identity, true), told))
    }

    /// Where the connection stood.
    pub fn leave(&mut self, room: RoomId, connection: ConnectionId) -> CallPresence {
        let before = self.presence(room, connection);
        self.stand_up(room, self.here(connection));
        before
    }

    /// The connections of the user at this node that are in the call.
    pub fn connections_of(&self, room: RoomId, user: UserId) -> Vec<ConnectionId> {
        let here = |taken: &&Taken| taken.node == self.node && taken.seat.user_id == user;
        let theirs = self.seats(room).iter().filter(here);
        theirs.map(|taken| taken.seat.connection).collect()
    }

    /// The rooms in whose calls the connection is.
    pub fn rooms_of(&self, connection: ConnectionId) -> Vec<RoomId> {
        self.by_connection
            .get(&connection)
            .cloned()
            .unwrap_or_default()
    }

    pub fn presence(&self, room: RoomId, connection: ConnectionId) -> CallPresence {
        let place = self.here(connection);
        self.seats(room)
            .iter()
            .find(|taken| taken.place() == place)
            .map_or(CallPresence::Out, |taken| {
                CallPresence::In(state_of(&taken.seat))
            })
    }

    /// The connection that speaks for the user: the active one, else the newest.
    pub fn place_of(&self, room: RoomId, user_id: UserId) -> Option<Place> {
        let mut theirs = self.seats(room).iter().rev();
        let active = theirs.find(|taken| taken.is_active_of(user_id));
        active
            .or_else(|| {
                let mut theirs = self.seats(room).iter().rev();
                theirs.find(|taken| taken.seat.user_id == user_id)
            })
            .map(Taken::place)
    }

    pub fn state(&self, room: RoomId) -> CallState {
        let mut members: Vec<CallMember> = Vec::new();
        for Taken { seat, .. } in self.seats(room) {
            match members
                .iter_mut()
                .find(|member| member.user_id == seat.user_id)
            {
                Some(member) if seat.is_active => member.state = MemberState::Active,
                Some(_) => {}
                None => members.push(CallMember {
                    user_id: seat.user_id,
                    username: seat.username.clone(),
                    state: state_of(seat),
                }),
            }
        }
        CallState { members }
    }

    pub fn view(&self, room: RoomId) -> View {
        let active = self.seats(room).iter().filter(|taken| taken.seat.is_active);
        // The last one of each has it.
        let active = active.map(|taken| {
            let what = (taken.place(), taken.seat.username.clone());
            (taken.seat.user_id, what)
        });
        View {
            active: active.collect(),
            state: self.state(room),
        }
    }

    /// Calls that go on, and those who are in them: of this node, so that the sum over all nodes is right. A call is where the
    /// first one who is in it is.
    pub fn counts(&self) -> (usize, usize) {
        self.rooms.values().fold((0, 0), |(calls, people), seats| {
            let mut active = seats.iter().filter(|taken| taken.seat.is_active).peekable();
            let is_here = |taken: &&Taken| taken.node == self.node;
            let begun = usize::from(active.peek().is_some_and(is_here));
            (calls + begun, people + active.filter(is_here).count())
        })
    }

    /// Whether the first one who is active in the call is so at this node.
    pub fn is_first_here(&self, room: RoomId) -> bool {
        let mut seats = self.seats(room).iter();
        let first = seats.find(|taken| taken.seat.is_active);
        first.is_some_and(|taken| taken.node == self.node)
    }

    fn here(&self, connection: ConnectionId) -> Place {
        Place {
            node: self.node,
            connection,
        }
    }

    fn sit_down(
        &mut self,
        room: RoomId,
        connection: ConnectionId,
        identity: &Identity,
        is_active: bool,
    ) -> Seat {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.map_or(0, |since| u64::try_from(since.as_micros()).unwrap_or(0));
        self.clock = now.max(self.clock.saturating_add(1));
        let seat = Seat {
            room,
            connection,
            user_id: identity.user_id,
            username: identity.username.clone(),
            is_active,
            since: self.clock,
        };
        self.by_connection.entry(connection).or_default().push(room);
        self.insert(self.node, seat.clone(), Some(identity.taken_over));
        seat
    }

    fn insert(&mut self, node: NodeId, seat: Seat, taken_over: Option<fn(RoomId) -> Frame>) {
        let seats = self.rooms.entry(seat.room).or_default();
        let taken = Taken {
            node,
            seat,
            taken_over,
        };
        let after = seats.partition_point(|other| other.order() < taken.order());
        seats.insert(after, taken);
    }

    fn stand_up(&mut self, room: RoomId, place: Place) {
        if let Some(seats) = self.rooms.get_mut(&room) {
            seats.retain(|taken| taken.place() != place);
            if seats.is_empty() {
                self.rooms.remove(&room);
            }
        }
        if place.node == self.node
            && let Some(rooms) = self.by_connection.get_mut(&place.connection)
        {
            rooms.retain(|other| *other != room);
            if rooms.is_empty() {
                self.by_connection.remove(&place.connection);
            }
        }
    }

    fn seats(&self, room: RoomId) -> &[Taken] {
        self.rooms.get(&room).map_or(&[], Vec::as_slice)
    }
}

// What other nodes tell.
impl Calls {
    /// Takes over a seat of another node. Whose connection here has been taken over by it is out, and told so.
    pub fn seat(&mut self, node: NodeId, seat: Seat) -> Vec<TakenOver> {
        let (room, user) = (seat.room, seat.user_id);
        let place = Place {
            node,
            connection: seat.connection,
        };
        self.clock = self.clock.max(seat.since);
        self.stand_up(room, place);
        let is_active = seat.is_active;
        self.insert(node, seat, None);
        if !is_active {
            return Vec::new();
        }
        let order = |taken: &Taken| taken.is_active_of(user).then(|| taken.order());
        // All nodes choose the same one, whatever they hear first.
        let last = self.seats(room).iter().filter_map(order).next_back();
        let out = self.seats(room).iter().filter(|taken| {
            taken.is_active_of(user) && Some(taken.order()) != last && taken.node == self.node
        });
        let out: Vec<TakenOver> = out
            .filter_map(|taken| {
                let frame = taken.taken_over?(room);
                let connection = taken.seat.connection;
                Some(TakenOver { connection, frame })
            })
            .collect();
        for taken in &out {
            self.stand_up(room, self.here(taken.connection));
        }
        out
    }

    pub fn unseat(&mut self, node: NodeId, room: RoomId, connection: ConnectionId) {
        self.stand_up(room, Place { node, connection });
    }

    /// Forgets the seats of a node.
    pub fn forget(&mut self, node: NodeId) {
        self.rooms.retain(|_, seats| {
            seats.retain(|taken| taken.node != node);
            !seats.is_empty()
        });
    }

    /// The rooms in whose calls the node has somebody.
    pub fn rooms_with(&self, node: NodeId) -> BTreeSet<RoomId> {
        let has = |seats: &[Taken]| seats.iter().any(|taken| taken.node == node);
        let rooms = self.rooms.iter().filter(|(_, seats)| has(seats));
        rooms.map(|(room, _)| *room).collect()
    }

    /// All of this node.
    pub fn own(&self) -> Vec<Seat> {
        let seats = self.rooms.values().flatten();
        let own = seats.filter(|taken| taken.node == self.node);
        own.map(|taken| taken.seat.clone()).collect()
    }
}

fn state_of(seat: &Seat) -> MemberState {
    match seat.is_active {
        true => MemberState::Active,
        false => MemberState::Connecting,
    }
}
