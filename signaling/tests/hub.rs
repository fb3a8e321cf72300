//! The hub from outside: who hears what, who is in which call, and what happens to those who do not read.

use std::sync::Arc;

use bytes::Bytes;
use moznods_signaling::bus::LocalBus;
use moznods_signaling::{
    CallFrames, CallState, CloseReason, Connection, Form, Frame, Hub, Identity,
    MAX_CONNECTIONS_PER_USER, MemberState, RoomId, Scope, SignalError, UserId, Whom,
};

const ROOM: i64 = 7;

/// The text; for those who listen to everything behind the room.
fn plain(room: RoomId, text: String) -> Frame {
    Frame::new(move |form| match form {
        Form::Narrow => text.clone().into(),
        Form::Wide => format!("{room}:{text}").into(),
    })
}

fn frame(bytes: impl Into<Bytes>) -> Frame {
    let bytes = bytes.into();
    Frame::new(move |_| bytes.clone())
}

/// Frames that can be read in an assertion.
struct Plain;

impl CallFrames for Plain {
    fn user_joined(&self, room: RoomId, user_id: UserId, _: &str) -> Frame {
        plain(room, format!("+{user_id}"))
    }

    fn user_left(&self, room: RoomId, user_id: UserId) -> Frame {
        plain(room, format!("-{user_id}"))
    }

    fn call_state(&self, room: RoomId, state: &CallState) -> Frame {
        let members = state.members.iter().map(|member| match member.state {
            MemberState::Connecting => format!("{}?", member.user_id),
            MemberState::Active => format!("{}!", member.user_id),
        });
        plain(room, format!("[{}]", members.collect::<Vec<_>>().join(" ")))
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
        taken_over: |room| plain(room, "taken over".to_owned()),
    }
}

fn connect(hub: &Arc<Hub>, user: UserId, scope: Scope) -> Connection {
    hub.connect(identity(user), scope).unwrap()
}

fn caller(hub: &Arc<Hub>, user: UserId) -> Connection {
    let connection = connect(hub, user, Scope::Call(ROOM));
    connection.open_call(ROOM).unwrap();
    connection
}

/// Why it is closed, if it is.
async fn closed(connection: &Connection) -> Option<CloseReason> {
    std::future::poll_fn(|cx| match connection.poll_closed(cx) {
        std::task::Poll::Ready(reason) => std::task::Poll::Ready(Some(reason)),
        std::task::Poll::Pending => std::task::Poll::Ready(None),
    })
    .await
}

/// All that waits for a connection; what is delivered is delivered at once.
async fn heard(connection: &mut Connection) -> Vec<String> {
    let mut frames = Vec::new();
    loop {
        tokio::select! {
            biased;
            frame = connection.next_frame() => match frame {
                Ok(frame) => frames.push(String::from_utf8(frame.bytes.to_vec()).unwrap()),
                Err(_) => return frames,
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
    hub.send_to_scope(Scope::Chat(ROOM), frame("message"));
    hub.notify([1, 2], frame("news"));
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
            let closed = closed(connection).await;
            let expected = who.contains(&n).then_some(CloseReason::NoRight);
            assert_eq!(closed, expected, "{whom:?} {n}");
        }
        assert_eq!(hub.connection_count(), 5 - who.len());
    }
}

#[tokio::test]
async fn who_leaves_a_room_hears_it_no_more() {
    let hub = hub();
    let narrow = connect(&hub, 1, Scope::Chat(ROOM));
    let call = connect(&hub, 1, Scope::Call(ROOM));
    let elsewhere = connect(&hub, 1, Scope::Chat(ROOM + 1));
    let other = connect(&hub, 2, Scope::Chat(ROOM));
    hub.left(ROOM, 1);
    assert_eq!(closed(&narrow).await, Some(CloseReason::NoRight));
    assert_eq!(closed(&call).await, Some(CloseReason::NoRight));
    assert_eq!(closed(&elsewhere).await, None);
    assert_eq!(closed(&other).await, None);
}

#[tokio::test]
async fn who_does_not_read_is_closed_and_costs_the_others_nothing() {
    for bytes in [Bytes::from_static(b"x"), Bytes::from(vec![b'x'; 100_000])] {
        let hub = hub();
        let slow = connect(&hub, 1, Scope::Chat(ROOM));
        let mut quick = connect(&hub, 2, Scope::Chat(ROOM));
        for _ in 0..5000 {
            hub.send_to_scope(Scope::Chat(ROOM), frame(bytes.clone()));
            assert_eq!(quick.next_frame().await.unwrap().bytes, bytes);
        }
        assert_eq!(closed(&slow).await, Some(CloseReason::TooSlow));
        assert_eq!(hub.connection_count(), 1);
    }
}

#[tokio::test]
async fn one_frame_of_any_length_fits_an_empty_queue() {
    let hub = hub();
    let mut connection = connect(&hub, 1, Scope::Chat(ROOM));
    for _ in 0..3 {
        hub.send_to_scope(Scope::Chat(ROOM), frame(vec![b'x'; 3_000_000]));
        assert_eq!(
            connection.next_frame().await.unwrap().bytes.len(),
            3_000_000
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
    a.join_call(ROOM).unwrap();
    let mut b = caller(&hub, 2);
    b.join_call(ROOM).unwrap();
    assert_eq!(
        heard(&mut a).await,
        ["[1?]", "[1!]", "[1! 2?]", "+2", "[1! 2!]"]
    );
    assert_eq!(heard(&mut b).await, ["[1! 2?]", "[1! 2!]"]);
    assert_eq!(hub.call_state(ROOM).active_names(), ["user1", "user2"]);

    b.leave_call(ROOM);
    b.leave_call(ROOM);
    assert_eq!(heard(&mut a).await, ["-2", "[1!]"]);
    assert_eq!(heard(&mut b).await, ["[1!]"]);
    b.join_call(ROOM).unwrap();
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
    a.join_call(ROOM).unwrap();
    heard(&mut other).await;
    a.join_call(ROOM).unwrap();
    assert_eq!(heard(&mut other).await, ["[2? 1!]"]);
}

#[tokio::test]
async fn a_newer_connection_takes_the_call_over() {
    let hub = hub();
    let mut other = caller(&hub, 2);
    other.join_call(ROOM).unwrap();
    let mut old = caller(&hub, 1);
    old.join_call(ROOM).unwrap();
    let new = caller(&hub, 1);
    assert_eq!(
        hub.call_state(ROOM).members.len(),
        2,
        "a user is listed once"
    );
    heard(&mut other).await;
    heard(&mut old).await;

    new.join_call(ROOM).unwrap();
    assert_eq!(heard(&mut old).await, ["taken over", "[2! 1!]"]);
    assert_eq!(heard(&mut other).await, ["-1", "+1", "[2! 1!]"]);
    assert_eq!(
        old.signal(ROOM, 2, frame("offer")),
        Err(SignalError::NotInCall)
    );
    assert_eq!(other.signal(ROOM, 1, frame("offer")), Ok(()));
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
    elsewhere.open_call(ROOM + 1).unwrap();
    for connection in [&mut a, &mut b, &mut c] {
        heard(connection).await;
    }
    assert_eq!(a.signal(ROOM, 2, frame("offer")), Ok(()));
    assert_eq!(heard(&mut b).await, ["offer"]);
    assert!(heard(&mut a).await.is_empty() && heard(&mut c).await.is_empty());
    assert_eq!(
        a.signal(ROOM, 4, frame("offer")),
        Err(SignalError::TargetNotInCall)
    );
    let chat = connect(&hub, 1, Scope::Chat(ROOM));
    assert_eq!(
        chat.signal(ROOM, 2, frame("offer")),
        Err(SignalError::NotInCall)
    );
    assert_eq!(chat.join_call(ROOM), Err(SignalError::NoRight));
}

#[tokio::test]
async fn changes_of_who_is_active_are_told_once_for_many() {
    let hub = hub();
    let a = caller(&hub, 1);
    a.join_call(ROOM).unwrap();
    a.leave_call(ROOM);
    a.join_call(ROOM).unwrap();
    assert_eq!(hub.changed_calls().await, [ROOM].into());
    let waiting = {
        let hub = Arc::clone(&hub);
        tokio::spawn(async move { hub.changed_calls().await })
    };
    drop(a);
    assert_eq!(waiting.await.unwrap(), [ROOM].into());
}

#[tokio::test]
async fn a_connection_to_everything_follows_the_rooms_of_its_user() {
    let hub = hub();
    let mut all = hub.connect_to_everything(identity(1)).unwrap();
    let say = |room| hub.send_to_scope(Scope::Chat(room), plain(room, "hi".to_owned()));
    hub.notify([1], plain(0, "news".to_owned()));
    say(1);
    // Between being connected and being told its rooms: it has left 2, and entered 3 and 4, and left 4.
    hub.left(2, 1);
    hub.entered(3, 1);
    hub.entered(4, 1);
    hub.left(4, 1);
    say(3);
    all.follow(&[1, 2, 4]);
    for room in 1..=5 {
        say(room);
    }
    assert_eq!(heard(&mut all).await, ["0:news", "3:hi", "1:hi", "3:hi"]);
    assert!(all.follows(1) && !all.follows(2));
    hub.left(1, 1);
    hub.entered(2, 1);
    hub.entered(5, 9);
    for room in 1..=5 {
        say(room);
    }
    assert_eq!(heard(&mut all).await, ["2:hi", "3:hi"]);
    assert_eq!(closed(&all).await, None);
    drop(all);
    say(2);
    assert_eq!(hub.connection_count(), 0);
}

#[tokio::test]
async fn a_connection_to_everything_is_in_the_calls_that_it_opens() {
    let hub = hub();
    let mut all = hub.connect_to_everything(identity(1)).unwrap();
    all.follow(&[1, 2]);
    assert_eq!(all.join_call(3), Err(SignalError::NoRight));
    all.open_call(1).unwrap();
    all.join_call(2).unwrap();
    assert_eq!(heard(&mut all).await, ["1:[1?]", "2:[1!]"]);
    let mut other = connect(&hub, 2, Scope::Call(1));
    other.open_call(1).unwrap();
    assert_eq!(heard(&mut all).await, ["1:[1? 2?]"]);
    all.join_call(1).unwrap();
    heard(&mut other).await;
    all.signal(1, 2, frame("offer")).unwrap();
    assert_eq!(
        all.signal(2, 2, frame("offer")),
        Err(SignalError::TargetNotInCall)
    );
    assert_eq!(heard(&mut other).await, ["offer"]);
    heard(&mut all).await;

    all.leave_call(1);
    assert_eq!(heard(&mut all).await, ["1:[2?]"], "the last of this call");
    other.join_call(1).unwrap();
    assert!(heard(&mut all).await.is_empty());
    all.join_call(1).unwrap();
    heard(&mut other).await;
    hub.left(1, 1);
    assert_eq!(heard(&mut other).await, ["-1", "[2!]"]);
    heard(&mut all).await;
    assert_eq!(all.join_call(1), Err(SignalError::NoRight));
    assert_eq!(
        hub.call_state(2).active_names(),
        ["user1"],
        "not of the other call"
    );
    drop(all);
    assert!(hub.call_state(2).members.is_empty());
}
