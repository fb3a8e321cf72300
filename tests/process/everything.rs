//! `/ws/`: one connection for everything of a user.

use reqwest::Method;
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use crate::support::{Server, Socket, User, answer, keys};

/// A connection to everything, behind its greeting.
pub async fn everything(user: &User<'_>) -> Socket {
    let mut socket = user.socket("/ws/").await;
    assert_eq!(socket.next().await["type"], "hello");
    // Any frame ends the wait for `resume`.
    socket.is_silent().await;
    socket
}

#[tokio::test]
async fn the_first_frame_says_who_is_here_and_what_was_last() {
    let server = Server::start(&[]);
    let ann = server.user("ann").await;
    let mut socket = ann.socket("/ws/").await;
    let hello = socket.next().await;
    assert_eq!(keys(&hello), ["data", "type"]);
    let data = &hello["data"];
    let (_, me) = ann.get("/api/auth/me/").await;
    for (key, value) in data["user"].as_object().unwrap() {
        assert_eq!(value, &me[key], "{key}");
    }
    assert_eq!(data["user"]["email"], "ann@example.org");
    assert_eq!(data["last_event_id"], 0);
    assert_eq!(data["heartbeat_seconds"], 10);
    socket.is_silent().await;
    ann.room("room").await;
    assert_eq!(socket.next().await["event_id"], 1);
    let hello = ann.socket("/ws").await.next().await;
    assert_eq!(hello["data"]["last_event_id"], 1);
}

#[tokio::test]
async fn all_rooms_are_heard_with_their_number_and_left_ones_are_not() {
    let server = Server::start(&[]);
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let first = ann.room_with(&[&bob]).await;
    let mut all = everything(&bob).await;
    let mut narrow = bob.socket(&format!("/ws/chat/{first}/")).await;
    narrow.is_silent().await;
    let say = async |room: i64, text: &str| {
        let path = format!("/api/chat/{room}/messages/");
        ann.done(&path, json!({"content": text})).await
    };
    let posted = say(first, "hi").await;
    let (wide, old) = (all.next().await, narrow.next().await);
    assert_eq!(old, json!({"type": "chat_message", "data": posted}));
    assert_eq!(keys(&wide), ["data", "event_id", "type"]);
    let mut data = posted;
    data["room_id"] = json!(first);
    assert_eq!(wide["data"], data);

    let second = ann.room_with(&[&bob]).await;
    let added = all.next().await;
    assert_eq!(added["type"], "room_added");
    assert_eq!(added["data"]["room_id"], second);
    assert_eq!(added["data"]["room"]["id"], second);
    assert!(added["event_id"].as_i64() > wide["event_id"].as_i64());
    say(second, "there").await;
    assert_eq!(all.next().await["data"]["room_id"], second);

    let path = format!("/api/rooms/{second}/remove-participant/");
    let (status, _) = ann.post(&path, json!({"id": bob.id})).await;
    assert_eq!(status, 204);
    say(second, "he has gone").await;
    let removed = all.next_of("room_removed").await;
    assert_eq!(removed["data"]["room_id"], second);
    all.is_silent().await;
    say(first, "but not from here").await;
    assert_eq!(all.next().await["data"]["room_id"], first);
}

#[tokio::test]
async fn frames_name_their_room() {
    let server = Server::start(&[]);
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let room = ann.room_with(&[&bob]).await;
    let others = ann.room("others").await;
    let mut all = everything(&bob).await;
    let said =
        |room: i64| json!({"type": "chat_message", "data": {"room_id": room, "content": "hi"}});
    all.send(said(room)).await;
    let message = all.next().await;
    assert_eq!(message["data"]["author"]["id"], bob.id);
    let read = json!({"room_id": room, "message_id": message["data"]["id"]});
    let mut of_ann = everything(&ann).await;
    of_ann
        .send(json!({"type": "message_read", "data": read}))
        .await;
    let marked = all.next().await;
    assert_eq!(marked["data"]["user_id"], ann.id);
    assert_eq!(marked["data"]["room_id"], room);
    for (frame, code) in [
        (said(others), "permission_denied"),
        (said(999), "permission_denied"),
        (
            json!({"type": "message_read", "data": {"room_id": others, "message_id": 1}}),
            "permission_denied",
        ),
        (
            json!({"type": "join_call", "data": {"room_id": others}}),
            "permission_denied",
        ),
        (
            json!({"type": "chat_message", "data": {"content": "where?"}}),
            "bad_data",
        ),
        (json!({"type": "mark_room_as_read"}), "bad_data"),
        (
            json!({"type": "nonsense", "data": {"room_id": room}}),
            "unknown_type",
        ),
        (json!("junk"), "not_a_frame"),
        (
            serde_json::from_str(&format!(
                "{{\"type\":\"chat_message\",\"data\":{{\"room_id\":{room},\"x\":{}{}}}}}",
                "[".repeat(40),
                "]".repeat(40)
            ))
            .unwrap(),
            "not_a_frame",
        ),
    ] {
        all.send(frame.clone()).await;
        let error = all.next().await;
        assert_eq!(
            (&error["type"], &error["code"]),
            (&json!("error"), &json!(code)),
            "{frame}"
        );
    }
    // What older sockets know is not more than it was.
    let mut narrow = bob.socket(&format!("/ws/call/{room}/")).await;
    narrow.next_of("call_state").await;
    for kind in ["open_call", "resume"] {
        narrow
            .send(json!({"type": kind, "data": {"last_event_id": 0}}))
            .await;
        assert_eq!(narrow.next().await["code"], "unknown_type", "{kind}");
    }
}

#[tokio::test]
async fn calls_of_several_rooms_go_over_one_connection() {
    let server = Server::start(&[]);
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let rooms = [ann.room_with(&[&bob]).await, ann.room_with(&[&bob]).await];
    let mut of_ann = everything(&ann).await;
    let about = |kind: &str, room: i64| json!({"type": kind, "data": {"room_id": room}});
    for room in rooms {
        of_ann.send(about("open_call", room)).await;
        let state = of_ann.next_of("call_state").await["data"].clone();
        assert_eq!(
            (&state["room_id"], &state["room_state"]),
            (&json!(room), &json!("idle"))
        );
        of_ann.send(about("join_call", room)).await;
        let state = of_ann.next_of("call_state").await["data"].clone();
        assert_eq!(
            (&state["room_id"], &state["room_state"]),
            (&json!(room), &json!("active"))
        );
        let presence = of_ann.next_of("room_presence_update").await;
        let expected = json!({"room_id": room, "active_participants": ["ann"]});
        assert_eq!(
            presence,
            json!({"type": "room_presence_update", "data": expected})
        );
    }

    // An older client in the same call.
    let mut of_bob = bob.socket(&format!("/ws/call/{}/", rooms[1])).await;
    of_bob.send(json!({"type": "join_call"})).await;
    let joined = of_ann.next_of("user_joined").await;
    let who = json!({"room_id": rooms[1], "user": {"id": bob.id, "username": "bob"}});
    assert_eq!(joined["data"], who);
    let sdp = json!({"type": "offer", "sdp": "v=0"});
    let offer = json!({"room_id": rooms[1], "target_user_id": bob.id, "sdp": sdp});
    of_ann.send(json!({"type": "offer", "data": offer})).await;
    let heard = of_bob.next_of("offer").await;
    let expected = json!({
        "target_user_id": bob.id, "sdp": sdp, "from_user_id": ann.id, "from_username": "ann",
    });
    assert_eq!(heard["data"], expected, "as older clients know it");
    let answer = json!({"target_user_id": ann.id, "sdp": "v=0"});
    of_bob.send(json!({"type": "answer", "data": answer})).await;
    let heard = of_ann.next_of("answer").await;
    assert_eq!(
        (&heard["data"]["room_id"], &heard["data"]["sdp"]),
        (&json!(rooms[1]), &json!("v=0"))
    );
    let elsewhere = json!({"room_id": rooms[0], "target_user_id": bob.id, "sdp": "x"});
    of_ann
        .send(json!({"type": "offer", "data": elsewhere}))
        .await;
    let refused = of_ann.next_of("error").await;
    assert_eq!(
        (&refused["code"], &refused["data"]["room_id"]),
        (&json!("target_not_in_call"), &json!(rooms[0]))
    );

    of_ann.send(about("leave_call", rooms[1])).await;
    assert_eq!(of_bob.next_of("user_left").await["data"]["user_id"], ann.id);
    let state = |room: i64| format!("/api/rooms/{room}/call-state/");
    assert_eq!(ann.get(&state(rooms[0])).await.1["room_state"], "active");
    drop(of_ann);
    crate::support::eventually("a lost connection leaves its call", async || {
        ann.get(&state(rooms[0])).await.1["room_state"] == "idle"
    })
    .await;
}

#[tokio::test]
async fn who_is_removed_is_out_of_the_call_and_stays_connected() {
    let server = Server::start(&[]);
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let room = ann.room_with(&[&bob]).await;
    let (mut of_ann, mut of_bob) = (everything(&ann).await, everything(&bob).await);
    let join = json!({"type": "join_call", "data": {"room_id": room}});
    of_ann.send(join.clone()).await;
    of_ann.next_of("call_state").await;
    of_bob.send(join).await;
    of_ann.next_of("user_joined").await;
    let path = format!("/api/rooms/{room}/remove-participant/");
    let (status, _) = ann.post(&path, json!({"id": bob.id})).await;
    assert_eq!(status, 204);
    assert_eq!(of_ann.next_of("user_left").await["data"]["user_id"], bob.id);
    of_bob.next_of("room_removed").await;
    of_bob.is_silent().await;
}

#[tokio::test]
async fn each_device_hears_each_thing_once() {
    let server = Server::start(&[]);
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let room = ann.room_with(&[&bob]).await;
    let mut devices = Vec::new();
    for _ in 0..3 {
        devices.push(everything(&bob).await);
    }
    let path = format!("/api/chat/{room}/messages/");
    for n in 0..20 {
        ann.done(&path, json!({"content": n.to_string()})).await;
    }
    for device in &mut devices {
        for n in 0..20 {
            assert_eq!(device.next().await["data"]["content"], n.to_string());
        }
        device.is_silent().await;
    }
}

#[tokio::test]
async fn the_same_who_may_not_open_the_older_sockets_may_not_open_this_one() {
    let server = Server::start(&[]);
    let ann = server.user("ann").await;
    let mut unknown = Socket::open(&server, "/ws/?token=nonsense", &[]).await;
    assert_eq!(unknown.close_code().await, 4401);
    let path = format!("/ws/?token={}", ann.token);
    let foreign = Socket::try_open(&server, &path, &[("Origin", "https://evil.example")]).await;
    assert_eq!(foreign.err(), Some(Some(403)));
    let (status, refused) = answer(server.request(Method::GET, &path)).await;
    assert_eq!((status, &refused["code"]), (426, &json!("not_a_websocket")));
    let mut socket = everything(&ann).await;
    socket.send_raw(Message::text("x".repeat(140_000))).await;
    assert_eq!(socket.close_code_at_last().await, 1009);
    let mut socket = everything(&ann).await;
    ann.post("/api/auth/logout/", json!({})).await;
    assert_eq!(socket.close_code().await, 4401);
}

#[tokio::test]
async fn who_does_not_read_everything_is_cut_off() {
    let server = Server::start(&[]);
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let room = ann.room_with(&[&bob]).await;
    let mut slow = everything(&bob).await;
    let mut quick = everything(&ann).await;
    let text = "x".repeat(8000);
    let open = "moznods_websocket_connections 2";
    for n in 0.. {
        assert!(n < 20_000, "the slow reader is still there");
        let data = json!({"room_id": room, "content": text});
        quick
            .send(json!({"type": "chat_message", "data": data}))
            .await;
        assert_eq!(quick.next().await["type"], "chat_message");
        if n % 10 == 0 {
            let figures = server.request(Method::GET, "/metrics").send().await;
            if !figures.unwrap().text().await.unwrap().contains(open) {
                break;
            }
        }
    }
    assert_eq!(slow.close_code_at_last().await, 4408);
    quick.is_silent().await;
}
