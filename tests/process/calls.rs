//! Calls: who is in one, what is passed on and what is not, and what the rest of the room sees.

use serde_json::{Value, json};

use crate::support::{SOON, Server, Socket, User};

fn member(user: &User<'_>, name: &str, state: &str) -> Value {
    json!({"user_id": user.id, "username": name, "state": state})
}

/// The next `call_state`'s data; nothing else may come before it.
async fn state(socket: &mut Socket) -> Value {
    let frame = socket.next().await;
    assert_eq!(frame["type"], "call_state", "{frame}");
    frame["data"].clone()
}

#[tokio::test]
async fn a_call_of_two_from_ringing_to_hanging_up() {
    let server = Server::start(&[]);
    let ann = server.user("ann").await;
    let bob = server.user("bob").await;
    let room = ann.room_with(&[&bob]).await;
    let path = format!("/ws/call/{room}/");
    let mut news = bob.socket("/ws/notifications/").await;
    news.is_silent().await;

    let mut of_ann = ann.socket(&path).await;
    let connecting =
        json!({"participants": [member(&ann, "ann", "connecting")], "room_state": "idle"});
    assert_eq!(state(&mut of_ann).await, connecting);
    of_ann.send(json!({"type": "join_call"})).await;
    let active = json!({"participants": [member(&ann, "ann", "active")], "room_state": "active"});
    assert_eq!(state(&mut of_ann).await, active);
    let presence = |names: Value| json!({"type": "room_presence_update", "room_id": room, "active_participants": names});
    assert_eq!(
        news.next_of("room_presence_update").await,
        presence(json!(["ann"]))
    );
    let (_, view) = bob.get(&format!("/api/rooms/{room}/")).await;
    assert_eq!(view["active_call_participants"], json!(["ann"]));
    let (_, seen) = bob.get(&format!("/api/rooms/{room}/call-state/")).await;
    assert_eq!(seen, active);

    let mut of_bob = bob.socket(&path).await;
    let both = |state: &str| {
        json!({
            "participants": [member(&ann, "ann", "active"), member(&bob, "bob", state)],
            "room_state": "active",
        })
    };
    assert_eq!(state(&mut of_ann).await, both("connecting"));
    assert_eq!(state(&mut of_bob).await, both("connecting"));
    of_bob.send(json!({"type": "join_call", "data": {}})).await;
    let joined =
        json!({"type": "user_joined", "data": {"user": {"id": bob.id, "username": "bob"}}});
    assert_eq!(of_ann.next().await, joined);
    assert_eq!(state(&mut of_ann).await, both("active"));
    assert_eq!(state(&mut of_bob).await, both("active"));
    assert_eq!(news.next().await, presence(json!(["ann", "bob"])));

    of_bob.send(json!({"type": "leave_call"})).await;
    assert_eq!(
        of_ann.next().await,
        json!({"type": "user_left", "data": {"user_id": bob.id}})
    );
    assert_eq!(state(&mut of_ann).await, active);
    assert_eq!(state(&mut of_bob).await, active);
    assert_eq!(news.next().await, presence(json!(["ann"])));

    // Lost, not left.
    drop(of_ann);
    assert_eq!(
        of_bob.next().await,
        json!({"type": "user_left", "data": {"user_id": ann.id}})
    );
    assert_eq!(
        state(&mut of_bob).await,
        json!({"participants": [], "room_state": "idle"})
    );
    assert_eq!(news.next().await, presence(json!([])));
}

#[tokio::test]
async fn signals_reach_their_target_alone_unchanged_and_truly_signed() {
    let server = Server::start(&[]);
    let ann = server.user("ann").await;
    let bob = server.user("bob").await;
    let eve = server.user("eve").await;
    let room = ann.room_with(&[&bob, &eve]).await;
    let path = format!("/ws/call/{room}/");
    let mut sockets = Vec::new();
    for user in [&ann, &bob, &eve] {
        let mut socket = user.socket(&path).await;
        socket.next_of("call_state").await;
        socket.send(json!({"type": "join_call"})).await;
        sockets.push(socket);
    }
    let all_in = |frame: &Value| {
        let members = frame["data"]["participants"].as_array();
        members
            .is_some_and(|members| members.iter().filter(|m| m["state"] == "active").count() == 3)
    };
    for socket in &mut sockets {
        while !all_in(&socket.next_of("call_state").await) {}
    }
    let [of_ann, of_bob, of_eve] = sockets.as_mut_slice() else {
        unreachable!()
    };

    let number = "1.50000000000000000001";
    for (kind, payload) in [
        ("offer", r#""sdp":"v=0\r\n""#.to_owned()),
        (
            "offer",
            format!(r#""sdp":{{"type":"offer","sdp":"x","extra":{number}}}"#),
        ),
        ("answer", r#""sdp":{"sdp":"y","type":"answer"}"#.to_owned()),
        (
            "ice_candidate",
            r#""candidate":{"candidate":"candidate:1 1 UDP","sdpMLineIndex":0}"#.to_owned(),
        ),
        ("ice_candidate", r#""candidate":null"#.to_owned()),
    ] {
        let spoofed = format!(
            r#"{{"type":"{kind}","data":{{"target_user_id":{},{payload},"from_user_id":{},"from_username":"bob"}}}}"#,
            ann.id, bob.id
        );
        of_eve.send_text(&spoofed).await;
        let text = of_ann.next_text().await;
        assert!(text.contains(&payload), "{text}");
        let got: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(got["type"], kind);
        assert_eq!(got["data"]["from_user_id"], eve.id);
        assert_eq!(got["data"]["from_username"], "eve");
        assert_eq!(text.matches("from_user_id").count(), 1);
    }
    of_bob.is_silent().await;

    let target = |id: i64| json!({"type": "offer", "data": {"target_user_id": id, "sdp": "x"}});
    of_eve.send(target(999)).await;
    assert_eq!(of_eve.next().await["code"], "target_not_in_call");
    of_eve
        .send(json!({"type": "offer", "data": {"target_user_id": ann.id}}))
        .await;
    assert_eq!(of_eve.next().await["code"], "bad_data");
    of_eve
        .send(json!({"type": "chat_message", "data": {"content": "x"}}))
        .await;
    assert_eq!(of_eve.next().await["code"], "unknown_type");

    let request = |id: i64| json!({"type": "request_mic", "data": {"target_user_id": id}});
    of_eve.send(request(bob.id)).await;
    assert_eq!(of_eve.next().await["code"], "permission_denied");
    of_ann.send(request(bob.id)).await;
    let asked =
        json!({"type": "request_mic", "data": {"from_user_id": ann.id, "from_username": "ann"}});
    assert_eq!(of_bob.next().await, asked);

    let mute = |id: i64| json!({"type": "mute", "data": {"target_user_id": id}});
    of_eve.send(mute(bob.id)).await;
    assert_eq!(of_eve.next().await["code"], "permission_denied");
    of_ann
        .send(json!({"type": "mute", "data": {"target": bob.id}}))
        .await;
    assert_eq!(of_ann.next().await["code"], "bad_data");
    of_ann.send(mute(999)).await;
    assert_eq!(of_ann.next().await["code"], "target_not_in_call");
    of_ann.send(mute(bob.id)).await;
    let asked = json!({"type": "mute", "data": {"from_user_id": ann.id, "from_username": "ann"}});
    assert_eq!(of_bob.next().await, asked);
    let path = format!("/api/rooms/{room}/participants/{}/", eve.id);
    let role = json!({"role": "moderator"});
    let appointing = ann.request(reqwest::Method::PATCH, &path).json(&role);
    assert_eq!(crate::support::answer(appointing).await.0, 200);
    of_eve.send(mute(bob.id)).await;
    assert_eq!(of_bob.next().await["data"]["from_user_id"], eve.id);

    of_eve.send(json!({"type": "leave_call"})).await;
    assert_eq!(of_eve.next().await["type"], "call_state");
    of_eve.send(target(ann.id)).await;
    assert_eq!(of_eve.next().await["code"], "not_in_call");
}

#[tokio::test]
async fn a_second_tab_takes_the_call_over() {
    let server = Server::start(&[]);
    let ann = server.user("ann").await;
    let bob = server.user("bob").await;
    let room = ann.room_with(&[&bob]).await;
    let path = format!("/ws/call/{room}/");
    let mut of_bob = bob.socket(&path).await;
    state(&mut of_bob).await;
    let signed_in = format!("{path}?token={}", ann.token);
    let russian = ("Accept-Language", "en; q=0.5, RU-ru");
    let mut old = Socket::open(&server, &signed_in, &[russian]).await;
    old.send(json!({"type": "join_call"})).await;
    of_bob.next_of("user_joined").await;
    let mut new = ann.socket(&path).await;
    new.next_of("call_state").await;
    new.send(json!({"type": "join_call"})).await;

    let told = old.next_of("error").await;
    assert_eq!(told["code"], "call_taken_over");
    let detail = told["detail"].as_str().unwrap();
    assert!(detail.starts_with("Вы "), "in its own language: {detail}");
    assert_eq!(of_bob.next_of("user_left").await["data"]["user_id"], ann.id);
    assert_eq!(
        of_bob.next_of("user_joined").await["data"]["user"]["id"],
        ann.id
    );
    drop(old);
    of_bob
        .send(json!({"type": "offer", "data": {"target_user_id": ann.id, "sdp": "x"}}))
        .await;
    assert_eq!(new.next_of("offer").await["data"]["from_user_id"], bob.id);
}

#[tokio::test]
async fn who_declines_is_heard_by_the_caller_and_by_his_own_devices() {
    let server = Server::start(&[]);
    let ann = server.user("ann").await;
    let bob = server.user("bob").await;
    let eve = server.user("eve").await;
    let room = ann.room_with(&[&bob, &eve]).await;
    let decline = format!("/api/rooms/{room}/decline-call/");
    let mut news = Vec::new();
    for user in [&ann, &bob, &eve] {
        let mut socket = user.socket("/ws/notifications/").await;
        socket.is_silent().await;
        news.push(socket);
    }
    let [of_ann, of_bob, of_eve] = news.as_mut_slice() else {
        unreachable!()
    };
    // Nobody calls yet.
    assert_eq!(bob.post(&decline, json!({})).await.0, 204);
    of_ann.is_silent().await;

    let mut call = ann.socket(&format!("/ws/call/{room}/")).await;
    call.send(json!({"type": "join_call"})).await;
    for socket in [&mut *of_ann, &mut *of_bob, &mut *of_eve] {
        socket.next_of("room_presence_update").await;
    }
    assert_eq!(bob.post(&decline, json!({})).await.0, 204);
    let declined =
        json!({"type": "call_declined", "room_id": room, "user_id": bob.id, "username": "bob"});
    assert_eq!(of_ann.next().await, declined);
    assert_eq!(of_bob.next().await, declined);
    of_eve.is_silent().await;

    // Who has come with one device does not decline with another.
    assert_eq!(ann.post(&decline, json!({})).await.0, 204);
    of_ann.is_silent().await;
    let outsider = server.user("outsider").await;
    assert_eq!(outsider.post(&decline, json!({})).await.0, 403);
}

/// The other side neither closes nor answers, as one whose network is gone.
#[tokio::test]
async fn who_falls_silent_leaves_the_call() {
    let server = Server::start(&[]);
    let ann = server.user("ann").await;
    let bob = server.user("bob").await;
    let room = ann.room_with(&[&bob]).await;
    let path = format!("/ws/call/{room}/");
    let mut of_ann = ann.socket(&path).await;
    let mut of_bob = bob.socket(&path).await;
    of_bob.send(json!({"type": "join_call"})).await;
    of_ann.next_of("user_joined").await;
    // Only a socket that is read answers pings.
    let left = loop {
        let frame = of_ann.next_within(3 * SOON).await;
        if frame["type"] == "user_left" {
            break frame;
        }
    };
    assert_eq!(left["data"]["user_id"], bob.id);
    let (_, view) = ann.get(&format!("/api/rooms/{room}/call-state/")).await;
    assert_eq!(
        view["participants"],
        json!([member(&ann, "ann", "connecting")])
    );
    drop(of_bob);
}
