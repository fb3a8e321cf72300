//! The server is killed again and again while people write: what it has acknowledged is there, once, and where it was.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use reqwest::Method;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::random::Random;
use crate::support::{Server, User, text};

const KILLS: usize = 50;
const BY_REST: usize = 4;
const BY_SOCKET: usize = 3;
/// What one who writes knows.
#[derive(Default)]
struct Known {
    /// Messages that he was told are stored: id and content.
    acknowledged: Vec<(i64, String)>,
    /// Ids in the order in which he was told of them, by everybody.
    heard: Vec<i64>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_fifty_kills() {
    let mut random = Random::seeded();
    let mut server = Server::start(&["--log-level=warn"]);
    let (room, ann, bob) = {
        let (ann, bob) = (server.user("ann").await, server.user("bob").await);
        let room = ann.room_with(&[&bob]).await;
        let signed_in =
            |user: &User<'_>| json!({"user": {"id": user.id}, "token": user.token.clone()});
        (room, signed_in(&ann), signed_in(&bob))
    };
    let mut acknowledged = HashMap::new();
    for round in 0..KILLS {
        let wait = Duration::from_millis(10 + random.below(200));
        let kill = async {
            tokio::time::sleep(wait).await;
            server.signal("KILL");
        };
        let by_rest = (0..BY_REST).map(|writer| write(&server, &ann, room, (round, writer)));
        let by_socket = (0..BY_SOCKET).map(|writer| converse(&server, &bob, room, (round, writer)));
        let (_, by_rest, by_socket) = tokio::join!(
            kill,
            futures_util::future::join_all(by_rest),
            futures_util::future::join_all(by_socket)
        );
        for known in by_rest.into_iter().chain(by_socket) {
            assert!(known.heard.is_sorted_by(|before, after| before < after));
            for (id, content) in known.acknowledged {
                let before = acknowledged.insert(id, content);
                assert!(before.is_none(), "id {id} was given out twice");
            }
        }
        server.crash_and_restart();
    }
    println!("{} messages were acknowledged", acknowledged.len());
    assert!(acknowledged.len() > KILLS, "hardly anything was written");

    let ann = server.signed_in(&ann);
    let stored = all(&ann, room).await;
    assert_eq!(all(&server.signed_in(&bob), room).await, stored);
    let mut contents: HashMap<&str, i64> = HashMap::new();
    for (id, content) in &stored {
        let twice = contents.insert(content, *id);
        assert_eq!(twice, None, "{content} is there twice");
    }
    for (id, content) in &acknowledged {
        assert_eq!(contents.get(content.as_str()), Some(id), "{content}");
    }
    let output = server.command(&["check"], "");
    assert_eq!(text(&output.stdout), "The data are sound.\n", "{output:?}");
}

/// Posts one message after the other until the server is gone.
async fn write(server: &Server, user: &Value, room: i64, (round, writer): (usize, usize)) -> Known {
    let user = server.signed_in(user);
    let mut known = Known::default();
    for number in 0.. {
        let content = format!("rest {round} {writer} {number}");
        let request = user.request(Method::POST, &format!("/api/chat/{room}/messages/"));
        let Ok(response) = request.json(&json!({"content": content})).send().await else {
            break;
        };
        assert_eq!(response.status(), 201);
        // Half an answer acknowledges nothing.
        let Ok(message) = response.json::<Value>().await else {
            break;
        };
        let id = message["id"].as_i64().unwrap();
        known.acknowledged.push((id, content));
    }
    known
}

/// Writes over a socket, each message once the one before has come back, until the server is gone.
async fn converse(
    server: &Server,
    user: &Value,
    room: i64,
    (round, writer): (usize, usize),
) -> Known {
    let token = user["token"].as_str().unwrap();
    let url = server.url.replace("http://", "ws://");
    let url = format!("{url}/ws/chat/{room}/?token={token}");
    let mut known = Known::default();
    let Ok((mut socket, _)) = tokio_tungstenite::connect_async(url).await else {
        return known;
    };
    for number in 0.. {
        let content = format!("socket {round} {writer} {number}");
        let frame = json!({"type": "chat_message", "data": {"content": content}});
        if socket.send(Message::text(frame.to_string())).await.is_err() {
            return known;
        }
        loop {
            let frame: Value = match socket.next().await {
                Some(Ok(Message::Text(text))) => serde_json::from_str(&text).unwrap(),
                Some(Ok(Message::Ping(_))) => continue,
                _ => return known,
            };
            assert_eq!(frame["type"], "chat_message", "{frame}");
            let id = frame["data"]["id"].as_i64().unwrap();
            known.heard.push(id);
            if frame["data"]["content"] == content.as_str() {
                known.acknowledged.push((id, content));
                break;
            }
        }
    }
    known
}

/// All messages of the room, oldest first.
async fn all(user: &User<'_>, room: i64) -> Vec<(i64, String)> {
    let mut messages = Vec::new();
    let mut page = 1;
    loop {
        let path = format!("/api/chat/{room}/messages/?page_size=100&page={page}");
        let (status, answer) = user.get(&path).await;
        assert_eq!(status, 200, "{answer}");
        for message in answer["results"].as_array().unwrap() {
            let content = message["content"].as_str().unwrap().to_owned();
            messages.push((message["id"].as_i64().unwrap(), content));
        }
        if answer["next"].is_null() {
            messages.reverse();
            assert!(messages.is_sorted_by(|(before, _), (after, _)| before < after));
            return messages;
        }
        page += 1;
    }
}
