//! Messages that are pinned in their rooms.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Server, User, answer, keys};

async fn say(by: &User<'_>, room: i64, content: &str) -> i64 {
    let path = format!("/api/rooms/{room}/messages/");
    let message = by.done(&path, json!({"content": content})).await;
    message["id"].as_i64().unwrap()
}

async fn pin(by: &User<'_>, method: Method, message: i64) -> (u16, Value) {
    answer(by.request(method, &format!("/api/chat/messages/{message}/pin/"))).await
}

async fn pinned(by: &User<'_>, room: i64) -> Vec<i64> {
    let (status, pins) = by.get(&format!("/api/rooms/{room}/pinned/")).await;
    assert_eq!(status, 200, "{pins}");
    let pins = pins.as_array().unwrap().iter();
    pins.map(|pin| pin["message"]["id"].as_i64().unwrap())
        .collect()
}

#[tokio::test]
async fn what_is_pinned_is_listed_told_and_goes_with_its_message() {
    let server = Server::start(&[]);
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let eve = server.user("eve").await;
    let room = ann.room_with(&[&bob]).await;
    let (first, second) = (
        say(&bob, room, "rules").await,
        say(&ann, room, "address").await,
    );
    let mut heard = bob.socket(&format!("/ws/chat/{room}/")).await;
    heard.is_silent().await;
    for message in [first, second] {
        assert_eq!(pin(&ann, Method::POST, message).await, (204, Value::Null));
        let told = heard.next_of("message_pinned").await;
        assert_eq!(
            told["data"],
            json!({"message_id": message, "user_id": ann.id})
        );
    }
    assert_eq!(
        pin(&ann, Method::POST, first).await.0,
        204,
        "once more changes nothing"
    );
    assert_eq!(pinned(&bob, room).await, [second, first]);
    let (_, pins) = bob.get(&format!("/api/rooms/{room}/pinned/")).await;
    assert_eq!(keys(&pins[0]), ["message", "pinned_at", "pinned_by"]);
    assert_eq!(pins[1]["message"]["content"], "rules");
    assert_eq!(pins[1]["pinned_by"]["username"], "ann");

    let (status, refused) = pin(&bob, Method::POST, first).await;
    assert_eq!(
        (status, &refused["code"]),
        (403, &json!("permission_denied"))
    );
    assert_eq!(pin(&bob, Method::DELETE, first).await.0, 403);
    assert_eq!(pin(&eve, Method::POST, first).await.0, 403);
    assert_eq!(pin(&ann, Method::POST, 999).await.0, 404);
    assert_eq!(eve.get(&format!("/api/rooms/{room}/pinned/")).await.0, 403);

    assert_eq!(pin(&ann, Method::DELETE, second).await.0, 204);
    let told = heard.next_of("message_unpinned").await;
    assert_eq!(told["data"]["message_id"], second);
    assert_eq!(pin(&ann, Method::DELETE, second).await.0, 404);
    let gone = bob.request(Method::DELETE, &format!("/api/chat/messages/{first}/"));
    assert_eq!(answer(gone).await.0, 204);
    assert!(pinned(&bob, room).await.is_empty());

    // In a direct room both do it.
    let direct = ann
        .done("/api/rooms/direct/", json!({"user_id": bob.id}))
        .await;
    let direct = direct["id"].as_i64().unwrap();
    let message = say(&ann, direct, "x").await;
    assert_eq!(pin(&bob, Method::POST, message).await.0, 204);
    assert_eq!(pin(&ann, Method::DELETE, message).await.0, 204);
}

#[tokio::test]
async fn so_many_messages_may_be_pinned_in_a_room() {
    let server = Server::start(&[]);
    let ann = server.user("ann").await;
    let room = ann.room("room").await;
    for n in 0..50 {
        let message = say(&ann, room, &n.to_string()).await;
        assert_eq!(pin(&ann, Method::POST, message).await.0, 204);
    }
    let one_more = say(&ann, room, "one more").await;
    let (status, refused) = pin(&ann, Method::POST, one_more).await;
    assert_eq!((status, &refused["code"]), (403, &json!("too_many_pins")));
    let pins = pinned(&ann, room).await;
    assert_eq!(pins.len(), 50);
    assert_eq!(pin(&ann, Method::DELETE, pins[49]).await.0, 204);
    assert_eq!(pin(&ann, Method::POST, one_more).await.0, 204);
    assert_eq!(pinned(&ann, room).await[0], one_more);
}

#[tokio::test]
async fn who_was_away_is_told_of_pins() {
    let server = Server::start(&[]);
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let room = ann.room_with(&[&bob]).await;
    let message = say(&ann, room, "x").await;
    let mut all = bob.socket("/ws/").await;
    let last = all.next_of("hello").await["data"]["last_event_id"].clone();
    drop(all);
    assert_eq!(pin(&ann, Method::POST, message).await.0, 204);
    assert_eq!(pin(&ann, Method::DELETE, message).await.0, 204);
    let mut all = bob.socket("/ws/").await;
    all.next_of("hello").await;
    all.send(json!({"type": "resume", "data": {"last_event_id": last}}))
        .await;
    for kind in ["message_pinned", "message_unpinned"] {
        let told = all.next_of(kind).await;
        let expected = json!({"room_id": room, "message_id": message, "user_id": ann.id});
        assert_eq!(told["data"], expected);
    }
}
