//! The hub from outside: who hears what, who is in which call, and what happens to those who do not read.

use std::sync::Arc;

use bytes::Bytes;
use moznods_signaling::bus::LocalBus;
use moznods_signaling::{
    CallFrames, CallState, CloseReason, Connection, Hub, Identity, MAX_CONNECTIONS_PER_USER,
    MemberState, Scope, SignalError, UserId, Whom,
};

const ROOM: i64 = 7;

/// Frames that can be read in an assertion.
struct Plain;

impl CallFrames for Plain {
    fn user_joined(&self, user_id: UserId, _: &str) -> Bytes {
        format!("+{user_id}").into()
    }

    fn user_left(&self, user_id: UserId) -> Bytes {
        format!("-{user_id}").into()
    }

    fn call_state(&self, state: &CallState) -> Bytes {
        let members = state.members.iter().map(|member| match member.state {
            MemberState::Connecting => format!("{}?", member.user_id),
            MemberState::Active => format!("{}!", member.user_id),
        });
        format!("[{}]", members.collect::<Vec<_>>().join(" ")).into()
    }

    fn taken_over(&self) -> Bytes {
        Bytes::from_static(b"taken over")
    }
}

fn hub() -> Arc<Hub> {
    Hub::new(Arc::new(LocalBus::default()), Box::new(Plain))
}

fn identity(user_id: UserId) -> Identity {
    Identity {
        user_id,
        username: format!("user{user_id}"),
        sign_in: [u8::try_from(user_id).unwrap(); 32],
    }
}

fn connect(hub: &Arc<Hub>, user: UserId, scope: Scope) -> Connection {
    hub.connect(identity(user), scope).unwrap()
}

fn caller(hub: &Arc<Hub>, user: UserId) -> Connection {
    let connection = connect(hub, user, Scope::Call(ROOM));
    connection.open_call();
    connection
}

/// All that waits for a connection; what is delivered is delivered at once.
async fn heard(connection: &mut Connection) -> Vec<String> {
    let mut frames = Vec::new();
    loop {
        tokio::select! {
            biased;
            frame = connection.next_frame() => match frame {
                Some(frame) => frames.push(String::from_utf8(frame.to_vec()).unwrap()),
                None => return frames,
            },
            () = std::future::ready(()) => return frames,
        }
    }
}

#[tokio::test]
async fn frames_reach_those_who_listen_and_nobody_else() {
    let hub = hub();
    let mut chat = connect(&hub, 1, Scope::Chat(ROOM));
    let mut other_room = connect(&hub, 1, Scope::Chat(ROOM + 1));
    let mut call = connect(&hub, 2, Scope::Call(ROOM));
    let mut notified = connect(&hub, 2, Scope::Notifications);
    let mut not_notified = connect(&hub, 3, Scope::Notifications);
    hub.send_to_scope(Scope::Chat(ROOM), Bytes::from_static(b"message"));
    hub.notify([1, 2], Bytes::from_static(b"news"));
    assert_eq!(heard(&mut chat).await, ["message"]);
    assert_eq!(heard(&mut notified).await, ["news"]);
    for connection in [&mut other_room, &mut call, &mut not_notified] {
        assert!(heard(connection).await.is_empty());
    }
    drop(chat);
    assert_eq!(hub.connection_count(), 4);
}

#[tokio::test]
async fn closing_reaches_exactly_those_meant() {
    let whom_and_who = [
        (Whom::All, vec![0, 1, 2, 3, 4]),
        (Whom::User(1), vec![0, 1, 2]),
        (Whom::SignIn([2; 32]), vec![3, 4]),
        (Whom::Room(ROOM), vec![0, 1, 3]),
        (Whom::UserInRoom(ROOM, 1), vec![0, 1]),
    ];
    for (whom, who) in whom_and_who {
        let hub = hub();
        let connections = [
            connect(&hub, 1, Scope::Chat(ROOM)),
            connect(&hub, 1, Scope::Call(ROOM)),
            connect(&hub, 1, Scope::Notifications),
            connect(&hub, 2, Scope::Chat(ROOM)),
            connect(&hub, 2, Scope::Chat(ROOM + 1)),
        ];
        hub.close(whom, CloseReason::NoRight);
        for (n, connection) in connections.iter().enumerate() {
            let closed = tokio::select! {
                biased;
                reason = connection.closed() => Some(reason),
                () = std::future::ready(()) => None,
            };
            let expected = who.contains(&n).then_some(CloseReason::NoRight);
            assert_eq!(closed, expected, "{whom:?} {n}");
        }
        assert_eq!(hub.connection_count(), 5 - who.len());
    }
}

#[tokio::test]
async fn who_does_not_read_is_closed_and_costs_the_others_nothing() {
    for frame in [Bytes::from_static(b"x"), Bytes::from(vec![b'x'; 100_000])] {
        let hub = hub();
        let slow = connect(&hub, 1, Scope::Chat(ROOM));
        let mut quick = connect(&hub, 2, Scope::Chat(ROOM));
        for _ in 0..5000 {
            hub.send_to_scope(Scope::Chat(ROOM), frame.clone());
            assert_eq!(quick.next_frame().await.as_ref(), Some(&frame));
        }
        assert_eq!(slow.closed().await, CloseReason::TooSlow);
        assert_eq!(hub.connection_count(), 1);
    }
}

#[tokio::test]
async fn one_frame_of_any_length_fits_an_empty_queue() {
    let hub = hub();
    let mut connection = connect(&hub, 1, Scope::Chat(ROOM));
    let frame = Bytes::from(vec![b'x'; 3_000_000]);
    for _ in 0..3 {
        hub.send_to_scope(Scope::Chat(ROOM), frame.clone());
        assert_eq!(
            connection.next_frame().await.map(|f| f.len()),
            Some(3_000_000)
        );
    }
}

#[tokio::test]
async fn a_user_has_so_many_connections_and_no_more() {
    let hub = hub();
    let mut connections: Vec<_> = (0..MAX_CONNECTIONS_PER_USER)
        .map(|_| connect(&hub, 1, Scope::Notifications))
        .collect();
    assert!(hub.connect(identity(1), Scope::Notifications).is_err());
    connect(&hub, 2, Scope::Notifications);
    connections.pop();
    connect(&hub, 1, Scope::Notifications);
}

#[tokio::test]
async fn a_call_from_opening_to_leaving() {
    let hub = hub();
    let mut a = caller(&hub, 1);
    a.join_call();
    let mut b = caller(&hub, 2);
    b.join_call();
    assert_eq!(
        heard(&mut a).await,
        ["[1?]", "[1!]", "[1! 2?]", "+2", "[1! 2!]"]
    );
    assert_eq!(heard(&mut b).await, ["[1! 2?]", "[1! 2!]"]);
    assert_eq!(hub.call_state(ROOM).active_names(), ["user1", "user2"]);

    b.leave_call();
    b.leave_call();
    assert_eq!(heard(&mut a).await, ["-2", "[1!]"]);
    assert_eq!(heard(&mut b).await, ["[1!]"]);
    b.join_call();
    assert_eq!(heard(&mut a).await, ["+2", "[1! 2!]"]);
    drop(b);
    assert_eq!(heard(&mut a).await, ["-2", "[1!]"]);
    drop(a);
    assert!(!hub.call_state(ROOM).is_active());
    assert!(hub.call_state(ROOM).members.is_empty());
}

#[tokio::test]
async fn joining_twice_is_joining_once() {
    let hub = hub();
    let mut other = caller(&hub, 2);
    let a = caller(&hub, 1);
    a.join_call();
    heard(&mut other).await;
    a.join_call();
    assert_eq!(heard(&mut other).await, ["[2? 1!]"]);
}

#[tokio::test]
async fn a_newer_connection_takes_the_call_over() {
    let hub = hub();
    let mut other = caller(&hub, 2);
    other.join_call();
    let mut old = caller(&hub, 1);
    old.join_call();
    let new = caller(&hub, 1);
    assert_eq!(
        hub.call_state(ROOM).members.len(),
        2,
        "a user is listed once"
    );
    heard(&mut other).await;
    heard(&mut old).await;

    new.join_call();
    assert_eq!(heard(&mut old).await, ["taken over", "[2! 1!]"]);
    assert_eq!(heard(&mut other).await, ["-1", "+1", "[2! 1!]"]);
    let frame = Bytes::from_static(b"offer");
    assert_eq!(old.signal(2, frame.clone()), Err(SignalError::NotInCall));
    assert_eq!(other.signal(1, frame.clone()), Ok(()));
    assert!(heard(&mut old).await.is_empty());

    drop(old);
    assert!(
        hub.call_state(ROOM)
            .active_names()
            .contains(&"user1".to_owned())
    );
    drop(new);
    assert_eq!(hub.call_state(ROOM).active_names(), ["user2"]);
}

#[tokio::test]
async fn signals_go_to_one_connection_of_the_same_call() {
    let hub = hub();
    let mut a = caller(&hub, 1);
    let mut b = caller(&hub, 2);
    let mut c = caller(&hub, 3);
    let elsewhere = connect(&hub, 4, Scope::Call(ROOM + 1));
    elsewhere.open_call();
    for connection in [&mut a, &mut b, &mut c] {
        heard(connection).await;
    }
    let frame = Bytes::from_static(b"offer");
    assert_eq!(a.signal(2, frame.clone()), Ok(()));
    assert_eq!(heard(&mut b).await, ["offer"]);
    assert!(heard(&mut a).await.is_empty() && heard(&mut c).await.is_empty());
    assert_eq!(
        a.signal(4, frame.clone()),
        Err(SignalError::TargetNotInCall)
    );
    let chat = connect(&hub, 1, Scope::Chat(ROOM));
    assert_eq!(chat.signal(2, frame), Err(SignalError::NotInCall));
}

#[tokio::test]
async fn changes_of_who_is_active_are_told_once_for_many() {
    let hub = hub();
    let a = caller(&hub, 1);
    a.join_call();
    a.leave_call();
    a.join_call();
    assert_eq!(hub.changed_calls().await, [ROOM].into());
    let waiting = {
        let hub = Arc::clone(&hub);
        tokio::spawn(async move { hub.changed_calls().await })
    };
    drop(a);
    assert_eq!(waiting.await.unwrap(), [ROOM].into());
}
