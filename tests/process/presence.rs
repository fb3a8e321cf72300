//! Sockets: who is online, told to those who share a room and listen to everything.

use serde_json::{Value, json};

use crate::support::{Server, Socket, User, eventually};

/// A socket that has been told who is online, and by whom.
async fn everything(user: &User<'_>) -> (Socket, Value) {
    let mut socket = user.socket("/ws/").await.with_presence();
    let hello = socket.next_of("hello").await;
    (socket, hello["data"]["online"].clone())
}

fn list<'a>(frame: &'a Value, name: &str) -> &'a [Value] {
    frame["data"][name].as_array().map_or(&[], Vec::as_slice)
}

/// Waits until the user is told of in this list.
async fn told(socket: &mut Socket, user: &User<'_>, name: &str) {
    while !list(&socket.next_of("presence").await, name).contains(&json!(user.id)) {}
}

/// That of these nobody has been told of up to now, whatever else was.
async fn was_not_told(socket: &mut Socket, of: &[&User<'_>]) {
    socket.send(json!({"type": "ping"})).await;
    loop {
        let frame = socket.next().await;
        if frame["type"] == "pong" {
            return;
        }
        for user in of {
            let lists = [list(&frame, "online"), list(&frame, "offline")];
            assert!(!lists.concat().contains(&json!(user.id)), "{frame}");
        }
    }
}

#[tokio::test]
async fn who_shares_a_room_hears_who_comes_and_goes() {
    let server = Server::start(&[]);
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let (cleo, eve) = (server.user("cleo").await, server.user("eve").await);
    ann.room_with(&[&bob]).await;
    ann.room_with(&[&bob, &cleo]).await;
    let (mut anns, _) = everything(&ann).await;
    let (mut eves, online) = everything(&eve).await;
    assert_eq!(online, json!([]));

    // By whatever socket he comes.
    let narrow = bob.socket("/ws/notifications/").await;
    eventually("bob is online", async || {
        everything(&ann)
            .await
            .1
            .as_array()
            .unwrap()
            .contains(&json!(bob.id))
    })
    .await;
    // One of several going is not his going: what is told next is cleo's coming.
    let (mut more, online) = everything(&bob).await;
    if !online.as_array().unwrap().contains(&json!(ann.id)) {
        told(&mut more, &ann, "online").await;
    }
    let (bobs, _) = everything(&bob).await;
    drop(narrow);
    drop(more);
    let cleos = cleo.socket("/ws/").await;
    loop {
        let frame = anns.next_of("presence").await;
        assert!(!list(&frame, "offline").contains(&json!(bob.id)), "{frame}");
        if list(&frame, "online").contains(&json!(cleo.id)) {
            break;
        }
    }

    drop(bobs);
    told(&mut anns, &bob, "offline").await;
    drop(cleos);
    told(&mut anns, &cleo, "offline").await;
    let (_, online) = everything(&ann).await;
    assert_eq!(online, json!([]));
    was_not_told(&mut eves, &[&ann, &bob, &cleo]).await;
}

#[tokio::test]
async fn who_enters_a_room_and_those_in_it_hear_of_each_other() {
    let server = Server::start(&[]);
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let room = ann.room("room").await;
    let (mut anns, _) = everything(&ann).await;
    let (mut bobs, _) = everything(&bob).await;
    // Both are known to be here.
    for user in [&ann, &bob] {
        let other = server.user(&format!("friend{}", user.id)).await;
        user.room_with(&[&other]).await;
        let mut friends = other.socket("/ws/").await.with_presence();
        let hello = friends.next_of("hello").await;
        if !hello["data"]["online"]
            .as_array()
            .unwrap()
            .contains(&json!(user.id))
        {
            told(&mut friends, user, "online").await;
        }
    }
    was_not_told(&mut anns, &[&bob]).await;
    let path = format!("/api/rooms/{room}/add-participant/");
    ann.done(&path, json!({"id": bob.id})).await;
    told(&mut anns, &bob, "online").await;
    told(&mut bobs, &ann, "online").await;
    // Who has left does not hear any more.
    bob.done(&format!("/api/rooms/{room}/leave/"), json!({}))
        .await;
    bobs.next_of("room_removed").await;
    drop(anns);
    let (mut friends, _) = everything(&bob).await;
    let (mut anns, online) = everything(&ann).await;
    assert!(
        !online.as_array().unwrap().contains(&json!(bob.id)),
        "{online}"
    );
    was_not_told(&mut friends, &[&ann]).await;
    was_not_told(&mut anns, &[&bob]).await;
}

#[tokio::test]
async fn older_sockets_are_not_told() {
    let server = Server::start(&[]);
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let room = ann.room_with(&[&bob]).await;
    let (mut wide, _) = everything(&ann).await;
    let mut narrow = Vec::new();
    for path in ["/ws/notifications/".to_owned(), format!("/ws/chat/{room}/")] {
        narrow.push(ann.socket(&path).await.with_presence());
    }
    let bobs = bob.socket("/ws/").await;
    told(&mut wide, &bob, "online").await;
    drop(bobs);
    told(&mut wide, &bob, "offline").await;
    for socket in &mut narrow {
        socket.is_silent().await;
    }
}
