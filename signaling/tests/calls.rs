//! Calls under any mix of joining, leaving, loss and taking over: what the hub says of who is in which call, and what each
//! observer could count from the frames he got, against a model that is too simple to be wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use moznods_signaling::bus::LocalBus;
use moznods_signaling::{
    CallFrames, CallState, Connection, Form, Frame, Hub, Identity, MemberState, RoomId, Scope,
    UserId,
};

const USERS: i64 = 4;
const ROOMS: i64 = 2;

struct Plain;

fn plain(room: RoomId, text: String) -> Frame {
    Frame::new(move |form| match form {
        Form::Narrow => text.clone().into(),
        Form::Wide => format!("{room} {text}").into(),
    })
}

impl CallFrames for Plain {
    fn user_joined(&self, room: RoomId, user_id: UserId, _: &str) -> Frame {
        plain(room, format!("+ {user_id}"))
    }

    fn user_left(&self, room: RoomId, user_id: UserId) -> Frame {
        plain(room, format!("- {user_id}"))
    }

    fn call_state(&self, room: RoomId, state: &CallState) -> Frame {
        plain(room, format!("= {:?}", active(state)))
    }
}

fn active(state: &CallState) -> BTreeSet<UserId> {
    state.active().map(|member| member.user_id).collect()
}

/// A small generator, so that a seed is all that a failure needs (xorshift64*).
struct Random(u64);

impl Random {
    fn below(&mut self, end: i64) -> i64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let drawn = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        i64::try_from(drawn).unwrap() % end
    }
}

struct Device {
    connection: Connection,
    user: UserId,
    /// `None`: everything.
    room: Option<RoomId>,
    /// Of each room that it has heard without a break, who is active by the frames of comings and goings.
    counted: BTreeMap<RoomId, BTreeSet<UserId>>,
}

impl Device {
    fn rooms(&self) -> Vec<RoomId> {
        self.room
            .map_or_else(|| (1..=ROOMS).collect(), |room| vec![room])
    }

    async fn listen(&mut self, seed: u64) {
        loop {
            let frame = tokio::select! {
                biased;
                frame = self.connection.next_frame() => frame.unwrap(),
                () = std::future::ready(()) => return,
            };
            let text = String::from_utf8(frame.bytes.to_vec()).unwrap();
            let (room, text) = match self.room {
                Some(room) => (room, text.as_str()),
                None => {
                    let (room, text) = text.split_once(' ').unwrap();
                    (room.parse().unwrap(), text)
                }
            };
            let (kind, what) = text.split_once(' ').unwrap();
            let Some(counted) = self.counted.get_mut(&room) else {
                // The first state tells who is there already.
                if kind == "=" {
                    let named = what.trim_matches(['{', '}']).split(", ");
                    let named = named.filter_map(|user| user.parse().ok());
                    self.counted.insert(room, named.collect());
                }
                continue;
            };
            match kind {
                "+" => assert!(
                    counted.insert(what.parse().unwrap()),
                    "came twice, seed {seed}"
                ),
                "-" => assert!(
                    counted.remove(&what.parse().unwrap()),
                    "left twice, seed {seed}"
                ),
                "=" => {
                    // Of himself nobody is told that he came or left.
                    let without = |set: &BTreeSet<UserId>| -> BTreeSet<UserId> {
                        set.iter()
                            .copied()
                            .filter(|user| *user != self.user)
                            .collect()
                    };
                    let told = what.trim_matches(['{', '}']).split(", ");
                    let told: BTreeSet<UserId> =
                        told.filter_map(|user| user.parse().ok()).collect();
                    assert_eq!(without(counted), without(&told), "seed {seed}");
                }
                other => assert_eq!(other, "over", "seed {seed}"),
            }
        }
    }
}

async fn run(seed: u64) {
    let mut random = Random(seed);
    let hub = Hub::new(Arc::new(LocalBus::default()), Box::new(Plain));
    let mut devices: Vec<Device> = Vec::new();
    // Who is in the call of a room, and with which device, by its place in order of coming.
    let mut seats: BTreeMap<(RoomId, UserId), u64> = BTreeMap::new();
    let mut ids: Vec<u64> = Vec::new();
    let mut next = 0;
    let mut out: BTreeSet<(RoomId, UserId)> = BTreeSet::new();
    for _ in 0..400 {
        let room = 1 + random.below(ROOMS);
        let at = match devices.len() {
            0 => 0,
            count => usize::try_from(random.below(i64::try_from(count).unwrap())).unwrap(),
        };
        match random.below(10) {
            0..=2 if devices.len() < 10 => {
                let user = 1 + random.below(USERS);
                let identity = Identity {
                    user_id: user,
                    username: format!("user{user}"),
                    sign_in: [0; 32],
                    taken_over: |room| plain(room, "over !".to_owned()),
                };
                let is_wide = random.below(2) == 0;
                let connection = if is_wide {
                    let connection = hub.connect_to_everything(identity).unwrap();
                    let his = (1..=ROOMS).filter(|room| !out.contains(&(*room, user)));
                    connection.follow(&his.collect::<Vec<_>>());
                    connection
                } else {
                    if out.contains(&(room, user)) {
                        continue;
                    }
                    let connection = hub.connect(identity, Scope::Call(room)).unwrap();
                    connection.open_call(room).unwrap();
                    connection
                };
                devices.push(Device {
                    connection,
                    user,
                    room: (!is_wide).then_some(room),
                    counted: BTreeMap::new(),
                });
                ids.push(next);
                next += 1;
            }
            3..=5 if !devices.is_empty() => {
                let device = &devices[at];
                if device.rooms().contains(&room) {
                    let allowed = !out.contains(&(room, device.user));
                    assert_eq!(
                        device.connection.join_call(room).is_ok(),
                        allowed,
                        "seed {seed}"
                    );
                    if allowed {
                        seats.insert((room, device.user), ids[at]);
                    }
                }
            }
            6 if !devices.is_empty() => {
                let device = &mut devices[at];
                if device.rooms().contains(&room) {
                    device.connection.leave_call(room);
                    device.listen(seed).await;
                    if device.room.is_none() {
                        device.counted.remove(&room);
                    }
                    seats.retain(|key, id| *key != (room, device.user) || *id != ids[at]);
                }
            }
            7 if !devices.is_empty() => {
                devices.remove(at);
                let lost = ids.remove(at);
                seats.retain(|_, id| *id != lost);
            }
            8 => {
                // Removed from the room: his narrow devices are closed, and end; the others hear it no more.
                let user = 1 + random.below(USERS);
                hub.left(room, user);
                out.insert((room, user));
                seats.remove(&(room, user));
                for place in (0..devices.len()).rev() {
                    if devices[place].user != user {
                        continue;
                    }
                    if devices[place].room == Some(room) {
                        devices.remove(place);
                        ids.remove(place);
                    } else {
                        devices[place].listen(seed).await;
                        devices[place].counted.remove(&room);
                    }
                }
            }
            9 => {
                let user = 1 + random.below(USERS);
                hub.entered(room, user);
                out.remove(&(room, user));
            }
            _ => {}
        }
        for device in &mut devices {
            device.listen(seed).await;
        }
        for room in 1..=ROOMS {
            let expected: BTreeSet<UserId> = seats
                .keys()
                .filter(|(of, _)| *of == room)
                .map(|(_, user)| *user)
                .collect();
            let state = hub.call_state(room);
            assert_eq!(active(&state), expected, "seed {seed}");
            for member in &state.members {
                let his = |device: &Device| {
                    device.user == member.user_id && device.rooms().contains(&room)
                };
                assert!(devices.iter().any(his), "a ghost, seed {seed}");
                let is_active = member.state == MemberState::Active;
                assert_eq!(is_active, expected.contains(&member.user_id));
            }
        }
    }
    drop(devices);
    for room in 1..=ROOMS {
        assert!(
            hub.call_state(room).members.is_empty(),
            "a ghost, seed {seed}"
        );
    }
    assert_eq!(hub.connection_count(), 0);
}

#[tokio::test]
async fn calls_are_right_after_any_mix_of_coming_and_going() {
    let first = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    // Some that are always the same, and some that nobody has seen.
    let new = u64::try_from(first.as_nanos() % 1_000_000_007).unwrap();
    for seed in (1..=100).chain(new..new + 100) {
        run(seed.max(1)).await;
    }
}
