//! Messages: sent twice, changed, deleted, answered, reacted to; places in the history; who is typing.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Server, Socket, User, answer, keys};

async fn patch(user: &User<'_>, path: &str, body: Value) -> (u16, Value) {
    answer(user.request(Method::PATCH, path).json(&body)).await
}

async fn delete(user: &User<'_>, path: &str) -> (u16, Value) {
    answer(user.request(Method::DELETE, path)).await
}

async fn listening(user: &User<'_>, room: i64) -> Socket {
    let mut socket = user.socket(&format!("/ws/chat/{room}/")).await;
    socket.is_silent().await;
    socket
}

#[tokio::test]
async fn a_message_sent_again_is_the_first_one() {
    let mut server = Server::start(&[]);
    let ann = server.user("ann").await;
    let bob = server.user("bob").await;
    let room = ann.room_with(&[&bob]).await;
    let mut of_bob = listening(&bob, room).await;
    let mut of_ann = listening(&ann, room).await;
    let path = format!("/api/chat/{room}/messages/");
    let body = json!({"content": "hi", "client_id": "a b-1"});
    let (status, first) = ann.post(&path, body.clone()).await;
    assert_eq!((status, &first["client_id"]), (201, &json!("a b-1")));
    let (status, second) = ann.post(&path, body.clone()).await;
    assert_eq!((status, &second), (200, &first));
    assert_eq!(of_ann.next().await["data"], first);
    of_ann
        .send(json!({"type": "chat_message", "data": body}))
        .await;
    let again = of_ann.next().await;
    assert_eq!(
        (&again["type"], &again["data"]),
        (&json!("chat_message"), &first)
    );
    assert_eq!(of_bob.next().await["data"], first);
    of_bob.is_silent().await;

    let other = ann.room("other").await;
    let elsewhere = format!("/api/chat/{other}/messages/");
    let (status, refused) = ann.post(&elsewhere, body.clone()).await;
    assert_eq!(
        (status, &refused["code"]),
        (400, &json!("validation_error"))
    );
    assert!(refused["client_id"][0].is_string(), "{refused}");
    for bad in ["", &"x".repeat(65), "ü", "a\nb"] {
        let (status, refused) = ann
            .post(&path, json!({"content": "x", "client_id": bad}))
            .await;
        assert!(
            status == 400 && refused["client_id"][0].is_string(),
            "{bad:?}: {refused}"
        );
    }
    let longest = "~".repeat(64);
    ann.done(&path, json!({"content": "x", "client_id": longest}))
        .await;

    let (token, id) = (ann.token.clone(), first["id"].clone());
    server.crash_and_restart();
    let again = server
        .request(Method::POST, &path)
        .header("Authorization", format!("Token {token}"))
        .json(&body);
    let (status, again) = answer(again).await;
    assert_eq!((status, &again["id"]), (200, &id));
}

#[tokio::test]
async fn an_author_changes_what_he_wrote() {
    let server = Server::start(&[]);
    let ann = server.user("ann").await;
    let bob = server.user("bob").await;
    let eve = server.user("eve").await;
    let room = ann.room_with(&[&bob]).await;
    let messages = format!("/api/chat/{room}/messages/");
    let posting = bob.done(&messages, json!({"content": "frist @ann"}));
    let message = posting.await;
    assert_eq!(message["edited_at"], Value::Null);
    assert_eq!(message["mentions"], json!([ann.id]));
    let path = format!("/api/chat/messages/{}/", message["id"]);
    let mut of_ann = listening(&ann, room).await;
    let (status, edited) = patch(&bob, &path, json!({"content": "first"})).await;
    assert_eq!((status, &edited["content"]), (200, &json!("first")));
    assert!(edited["edited_at"].as_str().unwrap().ends_with('Z'));
    assert_eq!(edited["mentions"], json!([]));
    assert_eq!(edited["created_at"], message["created_at"]);
    let frame = of_ann.next().await;
    assert_eq!(
        (&frame["type"], &frame["data"]),
        (&json!("message_edited"), &edited)
    );
    assert_eq!(ann.get(&path).await, (200, edited.clone()));

    for (who, body, status, code) in [
        (&ann, json!({"content": "x"}), 403, "permission_denied"),
        (&eve, json!({"content": "x"}), 403, "permission_denied"),
        (&bob, json!({"content": " "}), 400, "validation_error"),
        (&bob, json!({"content": 5}), 400, "validation_error"),
        (
            &bob,
            json!({"content": "x".repeat(8001)}),
            400,
            "validation_error",
        ),
        (&bob, json!({"content": "a\u{0}b"}), 400, "validation_error"),
    ] {
        let (got, refused) = patch(who, &path, body).await;
        assert_eq!((got, &refused["code"]), (status, &json!(code)), "{refused}");
    }
    assert_eq!(eve.get(&path).await.0, 403);
    for missing in ["/api/chat/messages/999/", "/api/chat/messages/x/"] {
        assert_eq!(patch(&bob, missing, json!({"content": "x"})).await.0, 404);
        assert_eq!(ann.get(missing).await.0, 404);
        assert_eq!(delete(&ann, missing).await.0, 404);
    }
    of_ann.is_silent().await;
}

#[tokio::test]
async fn a_moderator_deletes_what_those_wrote_who_are_less() {
    let server = Server::start(&[]);
    let ann = server.user("ann").await;
    let (bob, cat, dan) = (
        server.user("bob").await,
        server.user("cat").await,
        server.user("dan").await,
    );
    let room = ann.room_with(&[&bob, &cat, &dan]).await;
    for moderator in [&bob, &cat] {
        let path = format!("/api/rooms/{room}/participants/{}/", moderator.id);
        let appointing = ann.request(Method::PATCH, &path);
        let (status, told) = answer(appointing.json(&json!({"role": "moderator"}))).await;
        assert_eq!(status, 200, "{told}");
    }
    let messages = format!("/api/chat/{room}/messages/");
    for (author, status) in [(&ann, 403), (&cat, 403), (&dan, 204), (&bob, 204)] {
        let id = author.done(&messages, json!({"content": "x"})).await["id"].clone();
        let (got, told) = delete(&bob, &format!("/api/chat/messages/{id}/")).await;
        assert_eq!(got, status, "{}: {told}", author.id);
    }
    // Who is not in the room any more is less than all who are.
    let id = dan.done(&messages, json!({"content": "x"})).await["id"].clone();
    assert_eq!(
        dan.post(&format!("/api/rooms/{room}/leave/"), json!({}))
            .await
            .0,
        204
    );
    assert_eq!(
        delete(&bob, &format!("/api/chat/messages/{id}/")).await.0,
        204
    );
}

#[tokio::test]
async fn a_deleted_message_is_gone_for_everybody() {
    let server = Server::start(&[]);
    let ann = server.user("ann").await;
    let bob = server.user("bob").await;
    let cat = server.user("cat").await;
    let room = ann.room_with(&[&bob, &cat]).await;
    let messages = format!("/api/chat/{room}/messages/");
    let post = async |user: &User<'_>, body| user.done(&messages, body).await["id"].clone();
    let first = post(&bob, json!({"content": "first"})).await;
    let second = post(&bob, json!({"content": "second"})).await;
    let answer = post(&cat, json!({"content": "why?", "reply_to": first})).await;
    let (_, found) = ann.get(&format!("/api/chat/messages/{answer}/")).await;
    assert_eq!(
        found["reply_to"],
        json!({"id": first, "author": {"id": bob.id, "username": "bob", "display_name": "bob"},
               "excerpt": "first", "deleted": false})
    );
    let mut of_cat = listening(&cat, room).await;
    // A member may delete his own alone, the owner may all.
    let path = |id: &Value| format!("/api/chat/messages/{id}/");
    let (status, refused) = delete(&cat, &path(&first)).await;
    assert_eq!(
        (status, &refused["code"]),
        (403, &json!("permission_denied"))
    );
    assert_eq!(delete(&bob, &path(&first)).await.0, 204);
    assert_eq!(delete(&ann, &path(&second)).await.0, 204);
    for id in [&first, &second] {
        assert_eq!(
            of_cat.next().await,
            json!({"type": "message_deleted", "data": {"message_id": id}})
        );
        assert_eq!(bob.get(&path(id)).await.0, 404);
        assert_eq!(delete(&bob, &path(id)).await.0, 404);
    }
    let (_, page) = ann.get(&messages).await;
    assert_eq!(
        (&page["count"], &page["results"][0]["id"]),
        (&json!(1), &answer)
    );
    assert_eq!(
        page["results"][0]["reply_to"],
        json!({"id": first, "author": null, "excerpt": "", "deleted": true})
    );
    let (_, seen) = cat.get(&format!("/api/rooms/{room}/")).await;
    assert_eq!(
        (&seen["unread_count"], &seen["first_unread_id"]),
        (&json!(0), &Value::Null)
    );
    let (_, seen) = ann.get(&format!("/api/rooms/{room}/")).await;
    assert_eq!(
        (&seen["unread_count"], &seen["first_unread_id"]),
        (&json!(1), &answer)
    );
    let (status, refused) = cat
        .post(&messages, json!({"content": "x", "reply_to": first}))
        .await;
    assert_eq!(status, 400);
    assert!(refused["reply_to"][0].is_string(), "{refused}");
}

#[tokio::test]
async fn people_react_with_emoji() {
    let server = Server::start(&[]);
    let ann = server.user("ann").await;
    let bob = server.user("bob").await;
    let eve = server.user("eve").await;
    let room = ann.room_with(&[&bob]).await;
    let messages = format!("/api/chat/{room}/messages/");
    let posting = ann.done(&messages, json!({"content": "x"}));
    let id = posting.await["id"].clone();
    let path = |emoji: &str| {
        let bytes = emoji.bytes().map(|byte| format!("%{byte:02X}"));
        format!(
            "/api/chat/messages/{id}/reactions/{}/",
            bytes.collect::<String>()
        )
    };
    let react = async |user: &User<'_>, method: &str, emoji: &str| {
        answer(user.request(method.parse().unwrap(), &path(emoji))).await
    };
    let mut of_bob = listening(&bob, room).await;
    let heart = "❤\u{fe0f}";
    let (status, message) = react(&ann, "PUT", heart).await;
    assert_eq!(status, 200);
    let reaction = |emoji: &str, users: &[i64]| json!({"emoji": emoji, "user_ids": users});
    assert_eq!(message["reactions"], json!([reaction(heart, &[ann.id])]));
    let frame = |emoji: &str, user: i64, added: bool| {
        json!({"type": "reaction_changed",
               "data": {"message_id": id, "emoji": emoji, "user_id": user, "added": added}})
    };
    assert_eq!(of_bob.next().await, frame(heart, ann.id, true));
    // The same emoji, written shorter; and again.
    for _ in 0..2 {
        let (status, message) = react(&bob, "PUT", "❤").await;
        let both = json!([reaction(heart, &[ann.id, bob.id])]);
        assert_eq!((status, &message["reactions"]), (200, &both));
    }
    assert_eq!(of_bob.next().await, frame(heart, bob.id, true));
    react(&ann, "DELETE", heart).await;
    react(&ann, "DELETE", heart).await;
    assert_eq!(of_bob.next().await, frame(heart, ann.id, false));
    of_bob.is_silent().await;

    for whole in [
        "👩\u{200d}👩\u{200d}👧\u{200d}👦",
        "👍🏽",
        "🇷🇺",
        "1\u{fe0f}\u{20e3}",
    ] {
        assert_eq!(react(&ann, "PUT", whole).await.0, 200, "{whole}");
    }
    for bad in ["a", "👍👍", "👍 ", "<b>", "ok", "1", "\u{200d}"] {
        let (status, refused) = react(&ann, "PUT", bad).await;
        assert!(
            status == 400 && refused["emoji"][0].is_string(),
            "{bad:?}: {status} {refused}"
        );
    }
    assert_eq!(react(&eve, "PUT", heart).await.0, 403);
    let (status, _) =
        answer(ann.request(Method::PUT, "/api/chat/messages/999/reactions/%E2%9D%A4/")).await;
    assert_eq!(status, 404);
    let many = [
        "😀", "😁", "😂", "😃", "😄", "😅", "😆", "😇", "😈", "😉", "😊", "😋", "😌", "😍", "😎",
    ];
    for emoji in many {
        assert_eq!(react(&ann, "PUT", emoji).await.0, 200);
    }
    let (status, refused) = react(&ann, "PUT", "🙂").await;
    assert!(
        status == 400 && refused["emoji"][0].is_string(),
        "{refused}"
    );
    assert_eq!(react(&ann, "PUT", heart).await.0, 200, "there already");
}

#[tokio::test]
async fn a_history_is_read_by_cursor_and_by_page() {
    let server = Server::start(&[]);
    let ann = server.user("ann").await;
    let room = ann.room("room").await;
    let path = format!("/api/chat/{room}/messages/");
    let mut ids = Vec::new();
    for n in 0..5 {
        let message = ann.done(&path, json!({"content": n.to_string()})).await;
        ids.push(message["id"].as_i64().unwrap());
    }
    for (query, expected, before, after) in [
        ("limit=2".to_owned(), vec![ids[4], ids[3]], true, false),
        (
            format!("before={}&limit=2", ids[3]),
            vec![ids[2], ids[1]],
            true,
            true,
        ),
        (format!("before={}", ids[1]), vec![ids[0]], false, true),
        (
            format!("after={}&limit=2", ids[0]),
            vec![ids[2], ids[1]],
            true,
            true,
        ),
        (
            format!("around={}&limit=3", ids[2]),
            vec![ids[3], ids[2], ids[1]],
            true,
            true,
        ),
        (
            format!("before={}&limit=1000", i64::MAX),
            ids.iter().rev().copied().collect(),
            false,
            false,
        ),
        (format!("after={}", i64::MAX), vec![], true, false),
    ] {
        let (status, window) = ann.get(&format!("{path}?{query}")).await;
        assert_eq!(status, 200, "{query}: {window}");
        assert_eq!(
            keys(&window),
            ["has_more_after", "has_more_before", "results"]
        );
        let results = window["results"].as_array().unwrap();
        let found: Vec<_> = results
            .iter()
            .map(|one| one["id"].as_i64().unwrap())
            .collect();
        let more = (&window["has_more_before"], &window["has_more_after"]);
        assert_eq!(found, expected, "{query}");
        assert_eq!(more, (&json!(before), &json!(after)), "{query}");
    }
    for (query, field) in [
        ("before=x", "before"),
        ("before=-1", "before"),
        ("after=0", "after"),
        ("around=", "around"),
        ("around=99999999999999999999", "around"),
        ("before=5&limit=0", "limit"),
        ("limit=many", "limit"),
        ("before=5&after=3", "after"),
        ("after=3&around=5", "around"),
    ] {
        let (status, refused) = ann.get(&format!("{path}?{query}")).await;
        assert_eq!(status, 400, "{query}");
        assert!(refused[field][0].is_string(), "{query}: {refused}");
    }
    let (_, page) = ann.get(&format!("{path}?page=2&page_size=2")).await;
    assert_eq!(keys(&page), ["count", "next", "previous", "results"]);
    assert_eq!(
        (&page["count"], &page["results"][0]["id"]),
        (&json!(5), &json!(ids[2]))
    );
    let eve = server.user("eve").await;
    assert_eq!(eve.get(&format!("{path}?limit=2")).await.0, 403);
}

#[tokio::test]
async fn the_others_see_who_is_typing() {
    let server = Server::start(&[]);
    let ann = server.user("ann").await;
    let bob = server.user("bob").await;
    let room = ann.room_with(&[&bob]).await;
    let (mut of_ann, mut of_bob) = (listening(&ann, room).await, listening(&bob, room).await);
    let data = json!({"user_id": ann.id, "username": "ann"});
    for (sent, heard) in [
        ("stop_typing", false),
        ("typing", true),
        ("typing", false),
        ("stop_typing", true),
        ("stop_typing", false),
        // Too soon.
        ("typing", false),
    ] {
        of_ann.send(json!({"type": sent})).await;
        of_ann.is_silent().await;
        if heard {
            assert_eq!(of_bob.next().await, json!({"type": sent, "data": data}));
        }
        of_bob.is_silent().await;
    }
    of_bob.send(json!({"type": "typing", "data": {}})).await;
    assert_eq!(of_ann.next().await["data"]["username"], "bob");
    // Elsewhere that is no frame.
    let mut call = ann.socket(&format!("/ws/call/{room}/")).await;
    call.next_of("call_state").await;
    call.send(json!({"type": "typing"})).await;
    assert_eq!(call.next().await["code"], "unknown_type");
}
