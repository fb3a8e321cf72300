//! Web push of what names somebody, and of nothing in a room that he has muted.

use serde_json::json;

use crate::push_service::{Browser, PushService, direct_room, say};

#[tokio::test]
async fn who_is_named_is_told_at_once_even_after_another_message() {
    let mut service = PushService::start().await;
    let server = service.server(&["--chat-mention-all=everyone"]);
    let (ann, bob, eve) = (
        server.user("ann").await,
        server.user("bob").await,
        server.user("eve").await,
    );
    let mut browser = Browser::open();
    browser.subscribe(&bob, &service.endpoint("/ok/bob")).await;
    browser.subscribe(&eve, &service.endpoint("/ok/eve")).await;
    let room = ann.room_with(&[&bob, &eve]).await;

    let message = say(&ann, room, "is @bob there?").await;
    let pushed = service.next().await;
    assert_eq!(
        (pushed.path.as_str(), pushed.header("urgency")),
        ("/ok/bob", "high")
    );
    assert_eq!(
        browser.payload(&pushed),
        json!({
            "type": "mention", "room_id": room, "room_name": "room", "from": "ann",
            "text": "is @bob there?", "message_id": message,
        })
    );

    // Eve has asked for all: a mention does not wait until she may be told of messages again.
    let all = json!({"messages": "all"});
    let settings = eve.request(reqwest::Method::PATCH, "/api/push/settings/");
    assert_eq!(crate::support::answer(settings.json(&all)).await.0, 200);
    let mut kinds = Vec::new();
    for text in ["nobody is named", "is @eve there?"] {
        say(&ann, room, text).await;
        let pushed = service.next().await;
        assert_eq!(pushed.path, "/ok/eve");
        kinds.push((
            browser.payload(&pushed)["type"].clone(),
            pushed.header("urgency").to_owned(),
        ));
    }
    assert_eq!(
        kinds,
        [
            (json!("message"), "normal".to_owned()),
            (json!("mention"), "high".to_owned())
        ]
    );
}

#[tokio::test]
async fn everybody_is_named_by_one_word() {
    let mut service = PushService::start().await;
    let server = service.server(&["--chat-mention-all=everyone"]);
    let (ann, bob, eve) = (
        server.user("ann").await,
        server.user("bob").await,
        server.user("eve").await,
    );
    let mut browser = Browser::open();
    browser.subscribe(&bob, &service.endpoint("/ok/bob")).await;
    browser.subscribe(&eve, &service.endpoint("/ok/eve")).await;
    let room = ann.room_with(&[&bob, &eve]).await;
    say(&ann, room, "@all: dinner").await;
    let mut told = Vec::new();
    for _ in 0..2 {
        let pushed = service.next().await;
        assert_eq!(browser.payload(&pushed)["type"], "mention");
        told.push(pushed.path);
    }
    told.sort();
    assert_eq!(told, ["/ok/bob", "/ok/eve"]);
}

#[tokio::test]
async fn a_muted_room_is_silent() {
    let mut service = PushService::start().await;
    let server = service.server(&[]);
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let mut browser = Browser::open();
    browser.subscribe(&bob, &service.endpoint("/ok/bob")).await;
    let muted = ann.room_with(&[&bob]).await;
    let direct = direct_room(&ann, &bob).await;
    let mute = format!("/api/rooms/{muted}/mute/");
    assert_eq!(bob.post(&mute, json!({})).await.0, 200);
    say(&ann, muted, "@bob, are you there?").await;
    // What is told after it.
    say(&ann, direct, "hello").await;
    assert_eq!(browser.payload(&service.next().await)["text"], "hello");
    assert_eq!(
        crate::push_service::delete(&bob, &mute, json!({})).await.0,
        200
    );
    say(&ann, muted, "@bob, and now?").await;
    assert_eq!(
        browser.payload(&service.next().await)["text"],
        "@bob, and now?"
    );
}
