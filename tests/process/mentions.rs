//! Mentions: of whom, by whom, and where one finds those of oneself.

use serde_json::{Value, json};

use crate::support::{Server, User};

async fn say(user: &User<'_>, room: i64, content: &str) -> Value {
    user.done(
        &format!("/api/chat/{room}/messages/"),
        json!({"content": content}),
    )
    .await
}

async fn mention_count(user: &User<'_>, room: i64) -> i64 {
    let (_, room) = user.get(&format!("/api/rooms/{room}/")).await;
    room["mention_count"].as_i64().unwrap()
}

#[tokio::test]
async fn who_is_mentioned_finds_it() {
    let server = Server::start(&[]);
    let ann = server.user("ann").await;
    let bob = server.user("Боб").await;
    let eve = server.user("eve").await;
    let room = ann.room_with(&[&bob]).await;
    let first = say(&ann, room, "привет, @боб. @eve @nobody ann@example.org").await;
    assert_eq!(first["mentions"], json!([bob.id]));
    assert_eq!(first["mentions_all"], false);
    for nobody in [
        "`@боб`",
        "```\n@боб\n```",
        "x@боб",
        "https://example.org/@боб",
    ] {
        let message = say(&ann, room, nobody).await;
        assert_eq!(message["mentions"], json!([]), "{nobody}");
    }
    let second = say(&ann, room, "@БОБ, **@боб**").await;
    assert_eq!(mention_count(&bob, room).await, 2);
    let (status, mine) = bob.get("/api/mentions/?limit=1").await;
    assert_eq!((status, &mine["results"][0]), (200, &second));
    assert_eq!(mine["has_more_before"], true);
    let rest = format!("/api/mentions/?before={}", second["id"]);
    let (_, mine) = bob.get(&rest).await;
    assert_eq!(mine["results"], json!([first]));
    assert_eq!(mine["has_more_before"], false);
    assert_eq!(bob.get("/api/mentions/?before=x").await.0, 400);
    let read = format!("/api/chat/messages/{}/read/", first["id"]);
    bob.post(&read, json!({})).await;
    assert_eq!(mention_count(&bob, room).await, 1);
    // Neither oneself nor who is not there.
    say(&bob, room, "@Боб @all").await;
    assert_eq!(mention_count(&bob, room).await, 1);
    let (_, of_eve) = eve.get("/api/mentions/").await;
    assert_eq!(of_eve["results"], json!([]));
    bob.post(&format!("/api/rooms/{room}/leave/"), json!({}))
        .await;
    let (_, gone) = bob.get("/api/mentions/").await;
    assert_eq!(gone["results"], json!([]));
}

#[tokio::test]
async fn everybody_is_mentioned_by_whom_the_setting_says() {
    for (setting, by_owner, by_member) in [
        ("everyone", true, true),
        ("moderators", true, false),
        ("nobody", false, false),
    ] {
        let server = Server::start(&[&format!("--chat-mention-all={setting}")]);
        let ann = server.user("ann").await;
        let bob = server.user("bob").await;
        let cat = server.user("cat").await;
        let room = ann.room_with(&[&bob, &cat]).await;
        let of_owner = say(&ann, room, "@all").await;
        let of_member = say(&bob, room, "@All!").await;
        let all = |message: &Value| message["mentions_all"].as_bool().unwrap();
        assert_eq!(
            (all(&of_owner), all(&of_member)),
            (by_owner, by_member),
            "{setting}"
        );
        let told = i64::from(by_owner) + i64::from(by_member);
        assert_eq!(mention_count(&cat, room).await, told, "{setting}");
        assert_eq!(
            mention_count(&ann, room).await,
            i64::from(by_member),
            "{setting}"
        );
    }
}
