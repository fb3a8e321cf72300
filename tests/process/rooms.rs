//! REST: rooms, messages and their shapes.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Server, answer, keys};

#[tokio::test]
async fn objects_have_exactly_the_documented_fields() {
    let server = Server::start(&[]);
    let ann = server.user("Ann").await;
    let bob = server.user("bob").await;
    let user = ["avatar_url", "display_name", "email", "id", "username"];
    let own = [
        "avatar_url",
        "display_name",
        "email",
        "id",
        "is_admin",
        "username",
    ];

    let (status, me) = ann.get("/api/auth/me/").await;
    assert_eq!(status, 200);
    assert_eq!(keys(&me), own);
    assert_eq!(me["email"], "Ann@example.org");
    assert_eq!(
        (&me["display_name"], &me["avatar_url"]),
        (&json!("Ann"), &json!(""))
    );

    let room = ann.room_with(&[&bob]).await;
    let (_, view) = bob.get(&format!("/api/rooms/{room}/")).await;
    assert_eq!(
        keys(&view),
        [
            "active_call_participants",
            "created_at",
            "id",
            "is_direct",
            "is_pinned",
            "is_public",
            "name",
            "owner",
            "participant_count",
            "participant_users",
            "unread_count",
            "updated_at"
        ]
    );
    assert_eq!(keys(&view["owner"]), user);
    assert_eq!(
        view["owner"]["email"], "",
        "others' mail addresses are not told"
    );
    assert_eq!(view["participant_count"], 2);
    assert_eq!(
        view["participant_users"],
        json!([
            {"id": ann.id, "username": "Ann", "display_name": "Ann"},
            {"id": bob.id, "username": "bob", "display_name": "bob"},
        ])
    );

    let path = format!("/api/chat/{room}/messages/");
    let message = ann.done(&path, json!({"content": "hi"})).await;
    assert_eq!(
        keys(&message),
        [
            "attachments",
            "author",
            "content",
            "created_at",
            "id",
            "read_by_ids",
            "room"
        ]
    );
    assert_eq!(keys(&message["author"]), user);
    let time = message["created_at"].as_str().unwrap();
    assert_eq!(
        (time.len(), &time[10..11], &time[19..20], &time[26..]),
        (27, "T", ".", "Z")
    );

    let (_, list) = bob.get(&format!("/api/rooms/{room}/participants/")).await;
    assert_eq!(keys(&list[0]), ["id", "is_admin", "joined_at", "user"]);
    assert_eq!(
        (&list[0]["is_admin"], &list[1]["is_admin"]),
        (&json!(true), &json!(false))
    );

    let (_, state) = bob.get(&format!("/api/rooms/{room}/call-state/")).await;
    assert_eq!(state, json!({"participants": [], "room_state": "idle"}));

    let invited = ann
        .done(&format!("/api/rooms/{room}/invite/"), json!({}))
        .await;
    assert_eq!(keys(&invited), ["expires_at", "room_name", "token"]);
    assert_eq!(invited["expires_at"], Value::Null);
}

#[tokio::test]
async fn every_path_is_there_with_and_without_its_slash() {
    let server = Server::start(&[]);
    let ann = server.user("ann").await;
    let room = ann.room("room").await;
    for path in [
        "/api/auth/me".to_owned(),
        "/api/rooms".to_owned(),
        format!("/api/rooms/{room}"),
        format!("/api/rooms/{room}/messages"),
        format!("/api/chat/{room}/messages"),
        "/api/config".to_owned(),
    ] {
        let (with, without) = (ann.get(&format!("{path}/")).await, ann.get(&path).await);
        assert_eq!((with.0, without.0), (200, 200), "{path}");
    }
}

#[tokio::test]
async fn a_room_from_making_to_deleting() {
    let server = Server::start(&[]);
    let ann = server.user("ann").await;
    let bob = server.user("bob").await;
    let mut news = bob.socket("/ws/notifications/").await;
    news.is_silent().await;
    let room = ann.room("one").await;
    let rooms = |path: &str| format!("/api/rooms/{room}/{path}");

    let added = ann
        .done(
            &rooms("add-participant/"),
            json!({"email": "BOB@example.org"}),
        )
        .await;
    assert_eq!(added["user"]["id"], bob.id);
    let told = news.next().await;
    assert_eq!(keys(&told), ["room", "type"]);
    assert_eq!(
        (&told["type"], &told["room"]["id"]),
        (&json!("room_added"), &json!(room))
    );

    let patch = ann
        .request(Method::PATCH, &rooms(""))
        .json(&json!({"name": "two"}));
    assert_eq!(answer(patch).await.1["name"], "two");
    let pinned = bob.done(&rooms("pin/"), json!({})).await;
    assert_eq!(pinned["is_pinned"], true);
    assert_eq!(ann.get(&rooms("")).await.1["is_pinned"], false);
    let unpin = bob.request(Method::DELETE, &rooms("pin/"));
    assert_eq!(answer(unpin).await.1["is_pinned"], false);

    let mut chat = bob.socket(&format!("/ws/chat/{room}/")).await;
    chat.is_silent().await;
    assert_eq!(bob.post(&rooms("leave/"), json!({})).await.0, 204);
    assert_eq!(chat.close_code().await, 4403);
    assert_eq!(bob.post(&rooms("leave/"), json!({})).await.0, 403);

    let mut chat = ann.socket(&format!("/ws/chat/{room}/")).await;
    chat.is_silent().await;
    let delete = ann.request(Method::DELETE, &rooms(""));
    assert_eq!(answer(delete).await.0, 204);
    assert_eq!(chat.close_code().await, 4403);
    assert_eq!(ann.get(&rooms("")).await.0, 404);
}

#[tokio::test]
async fn entering_takes_an_invitation_or_a_public_room() {
    let server = Server::start(&[]);
    let ann = server.user("ann").await;
    let bob = server.user("bob").await;
    let room = ann.room("room").await;
    let body = json!({"expires_in_hours": 1});
    let invited = ann.done(&format!("/api/rooms/{room}/invite/"), body).await;
    assert!(invited["expires_at"].is_string());
    assert_eq!(invited["room_name"], "room");
    let token = invited["token"].as_str().unwrap();
    let path = format!("/api/rooms/join/{token}/");
    let entered = bob.done(&path, json!({})).await;
    assert_eq!(
        (&entered["id"], &entered["participant_count"]),
        (&json!(room), &json!(2))
    );
    bob.done(&path, json!({})).await;

    for wrong in ["00000000-0000-4000-8000-000000000000", "x", "%00"] {
        let (status, answered) = bob
            .post(&format!("/api/rooms/join/{wrong}/"), json!({}))
            .await;
        assert_eq!(status, 400, "{wrong}");
        assert_eq!(keys(&answered), ["code", "invitation"]);
    }

    let body = json!({"name": "open", "is_public": true});
    let public = ann.done("/api/rooms/", body).await["id"].clone();
    let path = format!("/api/rooms/{public}/join/");
    assert_eq!(bob.done(&path, json!({})).await["id"], public);
    assert_eq!(bob.post(&path, json!({})).await.0, 400);
}

#[tokio::test]
async fn who_was_removed_does_not_come_back_by_an_old_link() {
    let server = Server::start(&[]);
    let ann = server.user("ann").await;
    let bob = server.user("bob").await;
    let room = ann.room("room").await;
    let rooms = |path: &str| format!("/api/rooms/{room}/{path}");
    let link = async || {
        let invited = ann.done(&rooms("invite/"), json!({})).await;
        let token = invited["token"].as_str().unwrap();
        format!("/api/rooms/join/{token}/")
    };
    let old = link().await;
    bob.done(&old, json!({})).await;
    let remove = rooms("remove-participant/");
    assert_eq!(ann.post(&remove, json!({"id": bob.id})).await.0, 204);
    let (status, answered) = bob.post(&old, json!({})).await;
    assert_eq!(status, 400);
    assert_eq!(keys(&answered), ["code", "invitation"]);
    bob.done(&link().await, json!({})).await;
}

#[tokio::test]
async fn a_newcomer_has_nothing_to_catch_up_with() {
    let server = Server::start(&[]);
    let ann = server.user("ann").await;
    let bob = server.user("bob").await;
    let room = ann.room("room").await;
    let messages = format!("/api/chat/{room}/messages/");
    ann.done(&messages, json!({"content": "long ago"})).await;
    let add = format!("/api/rooms/{room}/add-participant/");
    ann.done(&add, json!({"id": bob.id})).await;
    let (_, page) = bob.get("/api/rooms/").await;
    assert_eq!(page["results"][0]["unread_count"], 0);
    let (_, page) = ann.get(&messages).await;
    assert_eq!(page["results"][0]["read_by_ids"], json!([]));
}

#[tokio::test]
async fn lists_come_in_pages_with_absolute_links() {
    let server = Server::start(&[]);
    let ann = server.user("ann").await;
    let room = ann.room("room").await;
    let path = format!("/api/chat/{room}/messages/");
    for n in 0..5 {
        ann.done(&path, json!({"content": n.to_string()})).await;
    }
    let (_, page) = ann.get(&format!("{path}?page_size=2&page=2")).await;
    assert_eq!(keys(&page), ["count", "next", "previous", "results"]);
    let contents: Vec<_> = page["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| &m["content"])
        .collect();
    assert_eq!(
        (&page["count"], contents),
        (&json!(5), vec![&json!("2"), &json!("1")])
    );
    let url = &server.url;
    assert_eq!(page["next"], format!("{url}{path}?page=3&page_size=2"));
    assert_eq!(page["previous"], format!("{url}{path}?page=1&page_size=2"));
    let next = page["next"].as_str().unwrap().strip_prefix(url).unwrap();
    let (_, last) = ann.get(next).await;
    assert_eq!(
        (last["results"].as_array().unwrap().len(), &last["next"]),
        (1, &Value::Null)
    );
    let (_, first) = ann.get(&format!("{path}?page_size=1000")).await;
    assert_eq!(
        (&first["next"], &first["previous"]),
        (&Value::Null, &Value::Null)
    );
}
