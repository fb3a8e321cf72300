//! Sockets: messages are edited, deleted and reacted to by frames.

use serde_json::{Value, json};

use crate::support::{Server, Socket, User};

async fn said(by: &User<'_>, room: i64, content: &str) -> i64 {
    let path = format!("/api/chat/{room}/messages/");
    let posted = by.done(&path, json!({"content": content})).await;
    posted["id"].as_i64().unwrap()
}

async fn everything(user: &User<'_>) -> Socket {
    let mut socket = user.socket("/ws/").await;
    socket.next_of("hello").await;
    socket
}

#[tokio::test]
async fn a_message_is_edited_reacted_to_and_deleted_by_frames() {
    let server = Server::start(&[]);
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let room = ann.room_with(&[&bob]).await;
    for is_wide in [true, false] {
        let path = match is_wide {
            true => "/ws/".to_owned(),
            false => format!("/ws/chat/{room}/"),
        };
        let (mut anns, mut bobs) = (ann.socket(&path).await, bob.socket(&path).await);
        anns.send(json!({"type": "ping"})).await;
        anns.next_of("pong").await;
        bobs.send(json!({"type": "ping"})).await;
        bobs.next_of("pong").await;
        let id = said(&ann, room, "first @bob").await;
        bobs.next_of("chat_message").await;
        let frame = |kind: &str, more: Value| {
            let mut data = more;
            data["message_id"] = json!(id);
            if is_wide {
                data["room_id"] = json!(room);
            }
            json!({"type": kind, "data": data})
        };
        anns.send(frame("edit_message", json!({"content": "second"})))
            .await;
        for socket in [&mut anns, &mut bobs] {
            let edited = socket.next_of("message_edited").await;
            assert_eq!(
                (&edited["data"]["id"], &edited["data"]["content"]),
                (&json!(id), &json!("second"))
            );
            assert_eq!(edited["event_id"].is_i64(), is_wide);
        }
        for (kind, added) in [("add_reaction", true), ("remove_reaction", false)] {
            bobs.send(frame(kind, json!({"emoji": "👍"}))).await;
            let changed = anns.next_of("reaction_changed").await;
            assert_eq!(
                (&changed["data"]["emoji"], &changed["data"]["added"]),
                (&json!("👍"), &json!(added))
            );
            assert_eq!(changed["data"]["user_id"], bob.id);
        }
        let (_, now) = bob.get(&format!("/api/chat/messages/{id}/")).await;
        assert_eq!(
            (&now["content"], &now["reactions"]),
            (&json!("second"), &json!([]))
        );
        anns.send(frame("delete_message", json!({}))).await;
        for socket in [&mut anns, &mut bobs] {
            let deleted = socket.next_of("message_deleted").await;
            assert_eq!(deleted["data"]["message_id"], id);
        }
    }
}

#[tokio::test]
async fn what_may_not_be_done_by_rest_may_not_be_done_by_frames() {
    let server = Server::start(&[]);
    let ann = server.user("ann").await;
    let (bob, eve) = (server.user("bob").await, server.user("eve").await);
    let room = ann.room_with(&[&bob]).await;
    let other = ann.room_with(&[&eve]).await;
    let id = said(&ann, room, "hers").await;
    let mut bobs = everything(&bob).await;
    let mut eves = everything(&eve).await;
    let mut narrow = ann.socket(&format!("/ws/chat/{other}/")).await;
    let frame = |kind: &str, room: i64, more: Value| {
        let mut data = more;
        data["room_id"] = json!(room);
        json!({"type": kind, "data": data})
    };
    let mine = json!({"message_id": id, "content": "his", "emoji": "👍"});
    let refused = async |socket: &mut Socket, frame: Value| {
        socket.send(frame.clone()).await;
        let error = socket.next_of("error").await;
        assert!(error["detail"].is_string(), "{error}");
        error["code"].as_str().unwrap().to_owned()
    };
    for kind in ["edit_message", "delete_message"] {
        let code = refused(&mut bobs, frame(kind, room, mine.clone())).await;
        assert_eq!(code, "permission_denied", "{kind}");
    }
    for kind in [
        "edit_message",
        "delete_message",
        "add_reaction",
        "remove_reaction",
    ] {
        // Not in the room; in another one than the frame says, by his own message as well.
        let strange = refused(&mut eves, frame(kind, room, mine.clone())).await;
        assert_eq!(strange, "permission_denied", "{kind}");
        let elsewhere = refused(&mut eves, frame(kind, other, mine.clone())).await;
        assert_eq!(elsewhere, "not_found", "{kind}");
        let elsewhere = refused(&mut narrow, frame(kind, other, mine.clone())).await;
        assert_eq!(elsewhere, "not_found", "{kind}");
        let bad = refused(&mut bobs, frame(kind, room, json!({"message_id": "x"}))).await;
        assert_eq!(bad, "bad_data", "{kind}");
    }
    for (kind, data) in [
        ("add_reaction", json!({"message_id": id, "emoji": "thumb"})),
        ("add_reaction", json!({"message_id": id, "emoji": ""})),
    ] {
        assert_eq!(
            refused(&mut bobs, frame(kind, room, data)).await,
            "validation_error"
        );
    }
    let own = said(&bob, room, "his").await;
    let empty = json!({"message_id": own, "content": " "});
    let code = refused(&mut bobs, frame("edit_message", room, empty)).await;
    assert_eq!(code, "validation_error");
    let (_, still) = ann.get(&format!("/api/chat/messages/{id}/")).await;
    assert_eq!(
        (&still["content"], &still["reactions"]),
        (&json!("hers"), &json!([]))
    );
}

#[tokio::test]
async fn they_have_the_share_of_frames_that_store_something() {
    let server = Server::start(&["--limits-enabled=true", "--limits-frames-per-minute=4"]);
    let ann = server.user("ann").await;
    let room = ann.room("room").await;
    let id = said(&ann, room, "x").await;
    let mut socket = everything(&ann).await;
    let acts = [
        ("edit_message", "message_edited"),
        ("add_reaction", "reaction_changed"),
        ("remove_reaction", "reaction_changed"),
        ("delete_message", "message_deleted"),
    ];
    let data = json!({"room_id": room, "message_id": id, "content": "y", "emoji": "👍"});
    for (kind, told) in acts {
        socket.send(json!({"type": kind, "data": data})).await;
        socket.next_of(told).await;
    }
    socket
        .send(json!({"type": "edit_message", "data": data}))
        .await;
    let error = socket.next_of("error").await;
    assert_eq!(
        (&error["code"], &error["data"]["room_id"]),
        (&json!("rate_limited"), &json!(room))
    );
}
