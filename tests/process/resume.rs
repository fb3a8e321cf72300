//! Who was away is told what he has missed: each thing once, in order, whatever has failed meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::everything::everything;
use crate::support::{Server, Socket, User};

async fn from(server: &Server, user: &User<'_>, last: i64) -> Socket {
    let path = format!("/ws/?token={}&last_event_id={last}", user.token);
    let mut socket = Socket::open(server, &path, &[]).await;
    assert_eq!(socket.next().await["type"], "hello");
    socket
}

/// The newest event once a room with two people in it is there: it was made, somebody came, and he was told.
const ROOM_MADE: i64 = 3;

fn id(frame: &Value) -> i64 {
    frame["event_id"].as_i64().expect("an event")
}

async fn say(user: &User<'_>, room: i64, text: &str) {
    let path = format!("/api/chat/{room}/messages/");
    user.done(&path, json!({"content": text})).await;
}

#[tokio::test]
async fn what_was_missed_comes_once_by_query_by_auth_and_by_frame() {
    let server = Server::start(&[]);
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let room = ann.room_with(&[&bob]).await;
    let mut socket = everything(&bob).await;
    say(&ann, room, "seen").await;
    let seen = id(&socket.next().await);
    drop(socket);
    for n in 0..5 {
        say(&ann, room, &n.to_string()).await;
    }
    let second = ann.room_with(&[&bob]).await;

    let by_query = from(&server, &bob, seen).await;
    let mut by_auth = Socket::open(&server, "/ws/", &[]).await;
    let auth = json!({"token": bob.token, "last_event_id": seen});
    by_auth.send(json!({"type": "auth", "data": auth})).await;
    assert_eq!(by_auth.next().await["type"], "hello");
    let mut by_frame = bob.socket("/ws/").await;
    assert_eq!(by_frame.next().await["type"], "hello");
    let resume = json!({"type": "resume", "data": {"last_event_id": seen}});
    // What is said before the client has asked waits behind what it has missed.
    say(&ann, room, "5").await;
    by_frame.send(resume.clone()).await;
    for mut socket in [by_query, by_auth, by_frame] {
        let mut last = seen;
        for n in 0..5 {
            let frame = socket.next().await;
            assert_eq!(frame["data"]["content"], n.to_string());
            assert_eq!(frame["data"]["room_id"], room);
            assert!(id(&frame) > last);
            last = id(&frame);
        }
        let added = socket.next().await;
        assert_eq!(
            (&added["type"], &added["data"]["room_id"]),
            (&json!("room_added"), &json!(second))
        );
        assert_eq!(socket.next().await["data"]["content"], "5");
        socket.is_silent().await;
    }
    // Too late: it would come behind what is newer.
    let mut late = everything(&bob).await;
    say(&ann, room, "live").await;
    assert_eq!(late.next().await["data"]["content"], "live");
    late.send(resume).await;
    assert_eq!(late.next().await["type"], "resync");
}

#[tokio::test]
async fn what_cannot_be_told_is_to_be_fetched() {
    let server = Server::start(&[]);
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let room = ann.room_with(&[&bob]).await;
    // Of another log.
    let mut socket = from(&server, &bob, 1_000_000).await;
    let resync = socket.next().await;
    assert_eq!(
        (&resync["type"], &resync["data"]["last_event_id"]),
        (&json!("resync"), &json!(ROOM_MADE))
    );
    // It goes on all the same.
    say(&ann, room, "hi").await;
    assert_eq!(socket.next().await["data"]["content"], "hi");

    for n in 0..1001 {
        say(&ann, room, &n.to_string()).await;
        socket.next().await;
    }
    let mut too_many = from(&server, &bob, ROOM_MADE).await;
    let resync = too_many.next().await;
    assert_eq!(
        (&resync["type"], &resync["data"]["last_event_id"]),
        (&json!("resync"), &json!(ROOM_MADE + 1002))
    );
    too_many.is_silent().await;
}

#[tokio::test]
async fn rooms_that_were_left_meanwhile_yield_nothing_but_that() {
    let server = Server::start(&[]);
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let room = ann.room_with(&[&bob]).await;
    say(&ann, room, "while he was in").await;
    let path = format!("/api/rooms/{room}/remove-participant/");
    ann.post(&path, json!({"id": bob.id})).await;
    say(&ann, room, "when he was not").await;
    let mut socket = from(&server, &bob, ROOM_MADE).await;
    let removed = socket.next().await;
    assert_eq!(
        (&removed["type"], &removed["data"]["room_id"]),
        (&json!("room_removed"), &json!(room))
    );
    socket.is_silent().await;
}

/// Reads on `socket` until the connection ends or `enough` says so; `last` is the newest event that was read.
async fn read(
    socket: &mut Socket,
    last: &mut i64,
    got: &mut Vec<i64>,
    enough: impl Fn(&[i64]) -> bool,
) {
    while !enough(got) {
        let Some(frame) = socket.try_next().await else {
            return;
        };
        match frame["type"].as_str() {
            Some("chat_message") => {
                got.push(frame["data"]["content"].as_str().unwrap().parse().unwrap());
                assert!(id(&frame) > *last, "in order");
                *last = id(&frame);
            }
            Some("hello") => {}
            _ => panic!("{frame}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_is_cut_off_again_and_again_misses_and_doubles_nothing() {
    let server = Server::start(&[]);
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let room = ann.room_with(&[&bob]).await;
    let mut last = ROOM_MADE;
    let mut got = Vec::new();
    let done = Arc::new(AtomicBool::new(false));
    let talking = async {
        for n in 0..400 {
            say(&ann, room, &n.to_string()).await;
        }
        done.store(true, Ordering::Relaxed);
    };
    let listening = async {
        let mut n = 0;
        while got.len() < 400 {
            let path = format!("/ws/?token={}&last_event_id={last}", bob.token);
            let mut socket = Socket::open(&server, &path, &[]).await;
            // After this many more, in the midst of what was missed or of what is new.
            n += 1;
            let until = (got.len() + n * 7 % 23 + 1).min(400);
            read(&mut socket, &mut last, &mut got, |got| got.len() >= until).await;
        }
    };
    tokio::join!(talking, listening);
    assert_eq!(got, (0..400).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_server_that_is_killed_takes_nothing_from_its_clients() {
    let mut server = Server::start(&[]);
    let (ann, bob, room) = {
        let (ann, bob) = (server.user("ann").await, server.user("bob").await);
        let room = ann.room_with(&[&bob]).await;
        (ann.token.clone(), bob.token.clone(), room)
    };
    let (mut last, mut got, mut acknowledged) = (ROOM_MADE, Vec::new(), Vec::new());
    let mut next = 0;
    for round in 0..5 {
        let path = format!("/ws/?token={bob}&last_event_id={last}");
        let mut socket = Socket::open(&server, &path, &[]).await;
        let body = |n: i64| json!({"content": n.to_string()});
        // Many at once; the server dies amid them.
        let posts: Vec<_> = (next..next + 40)
            .map(|n| {
                let path = format!("/api/chat/{room}/messages/");
                let request = server.request(reqwest::Method::POST, &path);
                let request = request.header("Authorization", format!("Token {ann}"));
                let sending = request.json(&body(n)).send();
                tokio::spawn(async move {
                    (n, sending.await.is_ok_and(|answer| answer.status() == 201))
                })
            })
            .collect();
        next += 40;
        let until = got.len() + 5 + round * 3;
        read(&mut socket, &mut last, &mut got, |got| got.len() >= until).await;
        server.crash_and_restart();
        for post in posts {
            let (n, stored) = post.await.unwrap();
            if stored {
                acknowledged.push(n);
            }
        }
        // What the dying server still sent has been received, or is not.
        read(&mut socket, &mut last, &mut got, |_| false).await;
    }
    let path = format!("/ws/?token={bob}&last_event_id={last}");
    let mut socket = Socket::open(&server, &path, &[]).await;
    socket.send(json!({"type": "ping"})).await;
    loop {
        let frame = socket.next().await;
        match frame["type"].as_str() {
            Some("chat_message") => {
                got.push(frame["data"]["content"].as_str().unwrap().parse().unwrap())
            }
            Some("pong") => break,
            _ => {}
        }
    }
    let path = format!("/api/chat/{room}/messages/?page_size=100&page=");
    let mut stored = Vec::new();
    for page in 1..=3 {
        let request = server.request(reqwest::Method::GET, &format!("{path}{page}"));
        let request = request.header("Authorization", format!("Token {bob}"));
        let (status, listing) = crate::support::answer(request).await;
        if status == 200 {
            let page = listing["results"].as_array().unwrap();
            let numbers = page
                .iter()
                .map(|message| message["content"].as_str().unwrap().parse().unwrap());
            stored.extend(numbers.collect::<Vec<i64>>());
        }
    }
    stored.reverse();
    assert_eq!(got, stored, "each once, in order");
    assert!(acknowledged.iter().all(|n| got.contains(n)));
    assert!(!acknowledged.is_empty());
}
