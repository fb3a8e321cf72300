//! Sockets: signing in, chat and read marks, junk, those who do not read.

use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use reqwest::Method;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

use crate::support::{Server, Socket, answer};

#[tokio::test]
async fn a_token_comes_by_query_by_protocol_or_as_the_first_frame() {
    let server = Server::start(&[]);
    let ann = server.user("ann").await;
    let room = ann.room("room").await;
    let path = format!("/ws/chat/{room}");
    for slash in ["", "/"] {
        ann.socket(&format!("{path}{slash}"))
            .await
            .is_silent()
            .await;
    }

    let protocols = format!("moznods, token.{}", ann.token);
    let header = ("Sec-WebSocket-Protocol", protocols.as_str());
    let mut socket = Socket::open(&server, &path, &[header]).await;
    assert_eq!(
        socket.response.headers()["sec-websocket-protocol"],
        "moznods"
    );
    socket.is_silent().await;

    let mut socket = Socket::open(&server, &path, &[]).await;
    socket.send(json!({"type": "mark_room_as_read"})).await;
    assert_eq!(socket.next().await["code"], "authentication_required");
    socket
        .send(json!({"type": "auth", "data": {"token": ann.token}}))
        .await;
    socket.is_silent().await;
    socket
        .send(json!({"type": "chat_message", "data": {"content": "in"}}))
        .await;
    assert_eq!(socket.next().await["data"]["content"], "in");
}

#[tokio::test]
async fn who_has_no_right_is_told_so_by_the_close_code() {
    let server = Server::start(&[]);
    let ann = server.user("ann").await;
    let eve = server.user("eve").await;
    let room = ann.room("room").await;
    for kind in ["chat", "call"] {
        let path = format!("/ws/{kind}/{room}/");
        assert_eq!(eve.socket(&path).await.close_code().await, 4403);
        assert_eq!(
            ann.socket(&format!("/ws/{kind}/999/"))
                .await
                .close_code()
                .await,
            4403
        );
        let mut socket = Socket::open(&server, &format!("{path}?token=wrong"), &[]).await;
        assert_eq!(socket.close_code().await, 4401);
        let mut socket = Socket::open(&server, &path, &[]).await;
        socket
            .send(json!({"type": "auth", "data": {"token": "wrong"}}))
            .await;
        assert_eq!(socket.close_code().await, 4401);
    }
}

#[tokio::test]
async fn pages_of_other_sites_may_not_open_sockets() {
    let server = Server::start(&[]);
    let ann = server.user("ann").await;
    let path = format!("/ws/notifications/?token={}", ann.token);
    let own = server.url.clone();
    Socket::open(&server, &path, &[("Origin", &own)])
        .await
        .is_silent()
        .await;
    for origin in [
        "https://evil.example",
        "null",
        "http://127.0.0.1:1",
        &format!("{own}.evil.example"),
    ] {
        let opened = Socket::try_open(&server, &path, &[("Origin", origin)]).await;
        assert_eq!(opened.err(), Some(Some(403)), "{origin}");
    }
    let (status, refused) = answer(server.request(Method::GET, &path)).await;
    assert_eq!((status, &refused["code"]), (426, &json!("not_a_websocket")));

    let named = Server::start(&["--http-allowed-origins=https://app.example"]);
    let ann = named.user("ann").await;
    let path = format!("/ws/notifications/?token={}", ann.token);
    let open = async |origin| Socket::try_open(&named, &path, &[("Origin", origin)]).await;
    open("https://app.example").await.unwrap().is_silent().await;
    open(&named.url).await.unwrap().is_silent().await;
    assert_eq!(open("https://evil.example").await.err(), Some(Some(403)));
}

#[tokio::test]
async fn everyone_in_the_room_hears_a_message_its_author_too() {
    let server = Server::start(&[]);
    let ann = server.user("ann").await;
    let bob = server.user("bob").await;
    let eve = server.user("eve").await;
    let room = ann.room_with(&[&bob]).await;
    let elsewhere = eve.room("elsewhere").await;
    let path = format!("/ws/chat/{room}/");
    let (mut of_ann, mut of_bob) = (ann.socket(&path).await, bob.socket(&path).await);
    let mut of_eve = eve.socket(&format!("/ws/chat/{elsewhere}/")).await;
    for socket in [&mut of_ann, &mut of_bob, &mut of_eve] {
        socket.is_silent().await;
    }

    of_ann
        .send(json!({"type": "chat_message", "data": {"content": "hi", "attachment_ids": []}}))
        .await;
    let (to_ann, to_bob) = (of_ann.next().await, of_bob.next().await);
    assert_eq!(to_ann, to_bob);
    assert_eq!(to_ann["type"], "chat_message");
    let message = &to_ann["data"];
    assert_eq!(
        (&message["content"], &message["author"]["id"]),
        (&json!("hi"), &json!(ann.id))
    );
    assert_eq!(message["author"]["email"], "");
    let posted = bob
        .done(
            &format!("/api/chat/{room}/messages/"),
            json!({"content": "by REST"}),
        )
        .await;
    assert_eq!(of_ann.next().await["data"], posted);
    assert_eq!(of_bob.next().await["data"], posted);

    let id = &message["id"];
    of_bob
        .send(json!({"type": "message_read", "data": {"message_id": id}}))
        .await;
    let read = json!({"type": "message_read", "data": {"message_id": id, "user_id": bob.id}});
    assert_eq!(of_ann.next().await, read);
    assert_eq!(of_bob.next().await, read);
    of_ann.send(json!({"type": "mark_room_as_read"})).await;
    let read = json!({"message_id": posted["id"], "user_id": ann.id});
    assert_eq!(of_bob.next().await["data"], read);
    let (_, page) = ann.get(&format!("/api/chat/{room}/messages/")).await;
    assert_eq!(page["results"][1]["read_by_ids"], json!([bob.id]));
    let (_, view) = bob.get(&format!("/api/rooms/{room}/")).await;
    assert_eq!(view["unread_count"], 0);
    of_eve.is_silent().await;
}

#[tokio::test]
async fn messages_sent_at_once_are_heard_in_the_order_of_their_ids() {
    let server = Server::start(&[]);
    let ann = server.user("ann").await;
    let room = ann.room("room").await;
    let mut socket = ann.socket(&format!("/ws/chat/{room}/")).await;
    socket.is_silent().await;
    let path = format!("/api/chat/{room}/messages/");
    let posts = (0..200).map(|n| ann.done(&path, json!({"content": n.to_string()})));
    let posted = join_all(posts).await;
    let mut ids: Vec<_> = posted
        .iter()
        .map(|message| message["id"].as_i64())
        .collect();
    ids.sort_unstable();
    for id in ids {
        assert_eq!(socket.next().await["data"]["id"].as_i64(), id);
    }
}

#[tokio::test]
async fn frames_sent_without_waiting_are_all_answered() {
    let server = Server::start(&[]);
    let ann = server.user("ann").await;
    let room = ann.room("room").await;
    let mut socket = ann.socket(&format!("/ws/chat/{room}/")).await;
    socket.is_silent().await;
    let ping = Message::text(r#"{"type":"ping"}"#);
    // More than may wait.
    socket.send_all((0..10_000).map(|_| ping.clone())).await;
    for _ in 0..10_000 {
        assert_eq!(socket.next().await, json!({"type": "pong"}));
    }
    let said = |n| json!({"type": "chat_message", "data": {"content": format!("{n}")}});
    let frames = (0..1000).map(|n| Message::text(said(n).to_string()));
    socket.send_all(frames).await;
    for n in 0..1000 {
        assert_eq!(socket.next().await["data"]["content"], n.to_string());
    }
}

#[tokio::test]
async fn junk_is_answered_and_the_connection_stays() {
    let server = Server::start(&[]);
    let ann = server.user("ann").await;
    let room = ann.room("room").await;
    let mut socket = ann.socket(&format!("/ws/chat/{room}/")).await;
    let deep = "[".repeat(10_000);
    for (junk, code) in [
        ("", "not_a_frame"),
        ("junk", "not_a_frame"),
        ("null", "not_a_frame"),
        ("{}", "not_a_frame"),
        ("{\"type\":5}", "not_a_frame"),
        (deep.as_str(), "not_a_frame"),
        ("{\"type\":\"nonsense\"}", "unknown_type"),
        (
            "{\"type\":\"offer\",\"data\":{\"target_user_id\":1,\"sdp\":\"x\"}}",
            "unknown_type",
        ),
        ("{\"type\":\"chat_message\"}", "bad_data"),
        (
            "{\"type\":\"chat_message\",\"data\":{\"content\":5}}",
            "bad_data",
        ),
        (
            "{\"type\":\"chat_message\",\"data\":{\"content\":\" \"}}",
            "validation_error",
        ),
        (
            "{\"type\":\"chat_message\",\"data\":{\"content\":\"x\",\"attachment_ids\":[1]}}",
            "validation_error",
        ),
        (
            "{\"type\":\"message_read\",\"data\":{\"message_id\":1e99}}",
            "bad_data",
        ),
        (
            "{\"type\":\"message_read\",\"data\":{\"message_id\":999}}",
            "not_found",
        ),
    ] {
        socket.send_raw(Message::text(junk)).await;
        let error = socket.next().await;
        assert_eq!(
            (&error["type"], &error["code"]),
            (&json!("error"), &json!(code)),
            "{junk}"
        );
        assert!(error["detail"].is_string());
    }
    socket.send_raw(Message::binary(vec![0, 1, 2])).await;
    assert_eq!(socket.next().await["code"], "not_a_frame");
    socket.is_silent().await;
}

#[tokio::test]
async fn the_longest_message_fits_however_it_is_written() {
    let server = Server::start(&[]);
    let ann = server.user("ann").await;
    let room = ann.room("room").await;
    let content = format!(r#"{{"content":"{}"}}"#, r"\ud83e\udd80".repeat(8000));
    let path = format!("/api/chat/{room}/messages/");
    let request = ann.request(Method::POST, &path);
    let request = request.header("Content-Type", "application/json");
    let (status, posted) = answer(request.body(content.clone())).await;
    assert_eq!(status, 201, "{posted}");
    let mut socket = ann.socket(&format!("/ws/chat/{room}/")).await;
    let frame = format!(r#"{{"type":"chat_message","data":{content}}}"#);
    socket.send_text(&frame).await;
    assert_eq!(socket.next().await["data"]["content"], posted["content"]);
}

#[tokio::test]
async fn a_frame_that_cannot_be_taken_closes_with_its_code() {
    let server = Server::start(&[]);
    let ann = server.user("ann").await;
    let too_long = Message::text("x".repeat(140_000));
    let no_text = Frame::message(vec![0xff, 0xfe], OpCode::Data(Data::Text), true);
    for (frame, code) in [(too_long, 1009), (Message::Frame(no_text), 1007)] {
        for signed_in in [true, false] {
            let mut socket = match signed_in {
                true => ann.socket("/ws/notifications/").await,
                false => Socket::open(&server, "/ws/notifications/", &[]).await,
            };
            socket.send_raw(frame.clone()).await;
            assert_eq!(socket.close_code().await, code);
        }
    }
}

#[tokio::test]
async fn a_removed_member_hears_nothing_more() {
    let server = Server::start(&[]);
    let ann = server.user("ann").await;
    let bob = server.user("bob").await;
    let room = ann.room_with(&[&bob]).await;
    let mut chat = bob.socket(&format!("/ws/chat/{room}/")).await;
    let mut call = bob.socket(&format!("/ws/call/{room}/")).await;
    let mut news = bob.socket("/ws/notifications/").await;
    chat.is_silent().await;
    assert_eq!(call.next().await["type"], "call_state");
    let path = format!("/api/rooms/{room}/remove-participant/");
    let (status, _) = ann.post(&path, json!({"username": "bob"})).await;
    assert_eq!(status, 204);
    let said = format!("/api/chat/{room}/messages/");
    ann.done(&said, json!({"content": "he has gone"})).await;
    assert_eq!(chat.close_code().await, 4403);
    assert_eq!(call.close_code().await, 4403);
    let told = json!({"type": "room_removed", "room_id": room, "reason": "removed"});
    assert_eq!(news.next_of("room_removed").await, told);
    news.is_silent().await;
}

#[tokio::test]
async fn who_does_not_read_is_cut_off_and_the_others_are_not() {
    let server = Server::start(&[]);
    let ann = server.user("ann").await;
    let bob = server.user("bob").await;
    let room = ann.room_with(&[&bob]).await;
    let path = format!("/ws/chat/{room}/");
    let mut slow = bob.socket(&path).await;
    let mut quick = ann.socket(&path).await;
    slow.is_silent().await;
    quick.is_silent().await;
    let text = "x".repeat(8000);
    let open = "moznods_websocket_connections 2";
    // More than sockets and queues hold: the kernel's buffers grow to some megabytes.
    for n in 0.. {
        assert!(n < 20_000, "the slow reader is still there");
        let frame = json!({"type": "chat_message", "data": {"content": text}});
        quick.send(frame).await;
        assert_eq!(quick.next().await["type"], "chat_message");
        if n % 10 == 0 {
            let figures = server
                .request(Method::GET, "/metrics")
                .send()
                .await
                .unwrap();
            if !figures.text().await.unwrap().contains(open) {
                break;
            }
        }
    }
    assert_eq!(slow.close_code_at_last().await, 4408);
    quick.is_silent().await;
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_crash() {
    const MESSAGES: usize = 600;
    let mut server = Server::start(&[]);
    let (token, room) = {
        let ann = server.user("ann").await;
        let room = ann.room("room").await;
        (ann.token.clone(), room)
    };
    let path = format!("/api/chat/{room}/messages/");
    // Many at once, so that they share transactions, and the server dies amid them.
    let post = |n: usize| {
        server
            .request(Method::POST, &path)
            .header("Authorization", format!("Token {token}"))
            .json(&json!({"content": n.to_string()}))
            .send()
    };
    let posts = (0..MESSAGES).map(|n| tokio::spawn(post(n)));
    let mut posts: FuturesUnordered<_> = posts.collect();
    let mut acknowledged = Vec::new();
    while acknowledged.len() < MESSAGES / 3 {
        let response = posts.next().await.expect("more than these");
        acknowledged.push(id_of(response.unwrap()).await.expect("a message"));
    }
    server.crash_and_restart();
    while let Some(response) = posts.next().await {
        acknowledged.extend(id_of(response.unwrap()).await);
    }
    assert!(acknowledged.len() < MESSAGES, "it did not die amid them");

    let mut stored = Vec::new();
    for page in 1..=MESSAGES.div_ceil(100) {
        let request = server
            .request(Method::GET, &format!("{path}?page_size=100&page={page}"))
            .header("Authorization", format!("Token {token}"));
        let (status, listing) = answer(request).await;
        if status == 404 {
            break;
        }
        assert_eq!(status, 200);
        let results = listing["results"].as_array().unwrap();
        stored.extend(results.iter().map(|message| message["id"].clone()));
    }
    for id in &acknowledged {
        assert!(stored.contains(id), "message {id} is lost");
    }
}

/// The id of the message, if the server has acknowledged it.
async fn id_of(response: reqwest::Result<reqwest::Response>) -> Option<Value> {
    let response = response.ok().filter(|response| response.status() == 201)?;
    let message: Value = response.json().await.ok()?;
    Some(message["id"].clone())
}
