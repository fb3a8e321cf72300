//! REST: rooms, messages and their shapes.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Server, answer, keys};

#[tokio::test]
async fn objects_have_exactly_the_documented_fields() {
    let server = Server::start(&[]);
    let ann = server.user("Ann").await;
    let bob = server.user("bob").await;
    let user = [
        "avatar_url",
        "display_name",
        "email",
        "id",
        "is_bot",
        "username",
    ];
    let own = [
        "avatar_url",
        "display_name",
        "email",
        "has_oidc",
        "has_password",
        "has_totp",
        "id",
        "is_admin",
        "is_bot",
        "recovery_codes",
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
            "first_unread_id",
            "id",
            "is_direct",
            "is_muted",
            "is_pinned",
            "is_public",
            "mention_count",
            "muted_until",
            "name",
            "owner",
            "participant_count",
            "participant_users",
            "role",
            "topic",
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
            "client_id",
            "content",
            "created_at",
            "edited_at",
            "id",
            "mentions",
            "mentions_all",
            "reactions",
            "read_by_ids",
            "reply_to",
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
    assert_eq!(
        keys(&list[0]),
        ["id", "is_admin", "joined_at", "role", "user"]
    );
    assert_eq!(
        (&list[0]["is_admin"], &list[1]["is_admin"]),
        (&json!(true), &json!(false))
    );

    let (_, state) = bob.get(&format!("/api/rooms/{room}/call-state/")).await;
    assert_eq!(state, json!({"participants": [], "room_state": "idle"}));

    let invited = ann
        .done(&format!("/api/rooms/{room}/invite/"), json!({}))
        .await;
    assert_eq!(
        keys(&invited),
        ["expires_at", "max_uses", "room_name", "token"]
    );
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
async fn numbers_may_be_written_as_texts() {
    let server = Server::start(&[]);
    let ann = server.user("ann").await;
    let bob = server.user("bob").await;
    let id = bob.id.to_string();
    ann.done("/api/rooms/direct/", json!({"user_id": id})).await;
    let form = ann.request(Method::POST, "/api/rooms/direct/");
    assert_eq!(answer(form.form(&[("user_id", &id)])).await.0, 200);
    let room = ann.room("room").await;
    let path = format!("/api/rooms/{room}/");
    ann.done(&format!("{path}add-participant/"), json!({"id": id}))
        .await;
    let hours = json!({"expires_in_hours": "24"});
    let invited = ann.done(&format!("{path}invite/"), hours).await;
    assert!(invited["expires_at"].is_string());

    let messages = format!("{path}messages/");
    let message = ann.done(&messages, json!({"content": "x"})).await["id"].to_string();
    let mut chat = bob.socket(&format!("/ws/chat/{room}/")).await;
    chat.send(json!({"type": "message_read", "data": {"message_id": message}}))
        .await;
    assert_eq!(chat.next().await["type"], "message_read");
    let mut call = ann.socket(&format!("/ws/call/{room}/")).await;
    call.next_of("call_state").await;
    let offer = json!({"type": "offer", "data": {"target_user_id": id, "sdp": "x"}});
    call.send(offer).await;
    assert_eq!(call.next().await["code"], "target_not_in_call");
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
    for size in ["1000", "x", "0"] {
        let (status, first) = ann.get(&format!("{path}?page_size={size}")).await;
        assert_eq!(status, 200);
        assert_eq!(
            (&first["next"], &first["previous"]),
            (&Value::Null, &Value::Null)
        );
    }
    let (_, page) = ann
        .get(&format!("{path}?a=b%20c&page=1&page_size=2&d"))
        .await;
    let next = format!("{url}{path}?page=2&a=b%20c&page_size=2&d");
    assert_eq!(page["next"], next, "the rest of the query stays");
    for missing in ["page=4&page_size=2", "page=x", "page=99999999999999999999"] {
        let (status, answered) = ann.get(&format!("{path}?{missing}")).await;
        assert_eq!(status, 404, "{missing}");
        let refused = json!({"detail": "Invalid page.", "code": "not_found"});
        assert_eq!(answered, refused);
    }
    let nothing = ann.room("empty").await;
    let (status, _) = ann.get(&format!("/api/chat/{nothing}/messages/")).await;
    assert_eq!(status, 200, "the first page is there");
}

#[tokio::test]
async fn what_others_hear_of_a_room() {
    let server = Server::start(&[]);
    let ann = server.user("ann").await;
    let bob = server.user("bob").await;
    let eve = server.user("eve").await;
    let room = ann.room_with(&[&bob]).await;
    let rooms = |path: &str| format!("/api/rooms/{room}/{path}");
    let mut news = bob.socket("/ws/notifications/").await;
    news.is_silent().await;
    let patch = json!({"topic": " of what\nwe speak "});
    let patch = ann.request(Method::PATCH, &rooms("")).json(&patch);
    assert_eq!(answer(patch).await.1["topic"], "of what\nwe speak");
    let told = news.next_of("room_updated").await;
    assert_eq!(keys(&told), ["room", "type"]);
    assert_eq!(told["type"], "room_updated");
    assert_eq!(
        keys(&told["room"]),
        [
            "id",
            "is_public",
            "name",
            "owner_id",
            "participant_count",
            "topic",
            "updated_at"
        ]
    );
    assert_eq!(told["room"]["topic"], "of what\nwe speak");

    ann.done(&rooms("add-participant/"), json!({"id": eve.id}))
        .await;
    let told = news.next().await;
    assert_eq!(
        keys(&told),
        [
            "change",
            "participant_count",
            "role",
            "room_id",
            "type",
            "user"
        ]
    );
    assert_eq!(
        (
            &told["type"],
            &told["change"],
            &told["user"]["id"],
            &told["participant_count"]
        ),
        (
            &json!("participant_changed"),
            &json!("joined"),
            &json!(eve.id),
            &json!(3)
        )
    );
    let path = rooms(&format!("participants/{}/", eve.id));
    let appoint = ann
        .request(Method::PATCH, &path)
        .json(&json!({"role": "moderator"}));
    assert_eq!(answer(appoint).await.0, 200);
    let told = news.next().await;
    assert_eq!(
        (&told["change"], &told["role"]),
        (&json!("role"), &json!("moderator"))
    );
    assert_eq!(eve.post(&rooms("leave/"), json!({})).await.0, 204);
    let told = news.next().await;
    assert_eq!(
        (&told["change"], &told["role"]),
        (&json!("left"), &Value::Null)
    );
    assert_eq!(told["participant_count"], 2);
    let delete = ann.request(Method::DELETE, &rooms(""));
    assert_eq!(answer(delete).await.0, 204);
    let told = news.next().await;
    assert_eq!(
        told,
        json!({"type": "room_removed", "room_id": room, "reason": "deleted"})
    );
}

#[tokio::test]
async fn a_room_is_muted_for_good_or_for_a_while() {
    let server = Server::start(&[]);
    let ann = server.user("ann").await;
    let bob = server.user("bob").await;
    let room = ann.room_with(&[&bob]).await;
    let path = format!("/api/rooms/{room}/mute/");
    let muted = bob.done(&path, json!({})).await;
    assert_eq!(
        (&muted["is_muted"], &muted["muted_until"]),
        (&json!(true), &Value::Null)
    );
    assert_eq!(
        ann.get(&format!("/api/rooms/{room}/")).await.1["is_muted"],
        false
    );
    let until = "2099-01-01T00:00:00.000000Z";
    let muted = bob.done(&path, json!({"until": until})).await;
    assert_eq!(
        (&muted["is_muted"], &muted["muted_until"]),
        (&json!(true), &json!(until))
    );
    let heard = answer(bob.request(Method::DELETE, &path)).await.1;
    assert_eq!(
        (&heard["is_muted"], &heard["muted_until"]),
        (&json!(false), &Value::Null)
    );
    for wrong in [json!("2020-01-01T00:00:00Z"), json!("tomorrow"), json!(5)] {
        let (status, answered) = bob.post(&path, json!({"until": wrong})).await;
        assert_eq!(
            (status, keys(&answered)),
            (400, vec!["code", "until"]),
            "{wrong}"
        );
    }
    let eve = server.user("eve").await;
    assert_eq!(eve.post(&path, json!({})).await.0, 403);
}

#[tokio::test]
async fn people_and_public_rooms_are_found_whatever_the_case() {
    let server = Server::start(&[]);
    let ann = server.user("ann").await;
    let bob = server.user("Борис").await;
    server.user("carl").await;
    let names = |page: &Value| -> Vec<String> {
        let found = page["results"].as_array().unwrap().iter();
        found
            .map(|user| user["username"].as_str().unwrap().to_owned())
            .collect()
    };
    let (status, page) = ann.get("/api/users/").await;
    assert_eq!(
        (status, names(&page)),
        (200, vec!["carl".to_owned(), "Борис".to_owned()])
    );
    assert_eq!(page["results"][0]["email"], "");
    let (_, page) = ann.get("/api/users/?search=БОР").await;
    assert_eq!(names(&page), ["Борис"]);
    let (_, page) = ann.get("/api/users/?search=example.org").await;
    assert_eq!(
        names(&page),
        Vec::<String>::new(),
        "mail addresses are not told"
    );
    let long = "x".repeat(101);
    assert_eq!(ann.get(&format!("/api/users/?search={long}")).await.0, 400);
    assert!(
        server
            .command(&["user", "block", "carl"], "")
            .status
            .success()
    );
    let (_, page) = ann.get("/api/users/?search=car").await;
    assert_eq!(page["count"], 0, "who is blocked is not found");

    ann.room("secret").await;
    let body = json!({"name": "Болтовня", "topic": "Обо всём", "is_public": true});
    let room = ann.done("/api/rooms/", body).await["id"].clone();
    for search in ["", "?search=болт", "?search=ВСЁМ"] {
        let (_, page) = bob.get(&format!("/api/rooms/public/{search}")).await;
        assert_eq!(
            (&page["count"], &page["results"][0]["id"]),
            (&json!(1), &room),
            "{search}"
        );
        assert_eq!(page["results"][0]["is_participant"], false);
    }
    assert_eq!(bob.get("/api/rooms/public/?search=x").await.1["count"], 0);
    bob.done(&format!("/api/rooms/{room}/join/"), json!({}))
        .await;
    let (_, page) = bob.get("/api/rooms/public/").await;
    let found = &page["results"][0];
    assert_eq!(
        (&found["is_participant"], &found["participant_count"]),
        (&json!(true), &json!(2))
    );
}

#[tokio::test]
async fn who_shares_no_room_is_not_found_where_that_is_set() {
    let server = Server::start(&["--accounts-directory=shared"]);
    let ann = server.user("ann").await;
    let bob = server.user("bob").await;
    server.user("eve").await;
    assert_eq!(ann.get("/api/users/").await.1["count"], 0);
    ann.room_with(&[&bob]).await;
    let (_, page) = ann.get("/api/users/").await;
    assert_eq!(
        (&page["count"], &page["results"][0]["id"]),
        (&json!(1), &json!(bob.id))
    );
}

#[tokio::test]
async fn rooms_and_users_have_so_many_of_each_other() {
    let server = Server::start(&["--limits-room-participants=2", "--limits-rooms-per-user=2"]);
    let ann = server.user("ann").await;
    let bob = server.user("bob").await;
    let eve = server.user("eve").await;
    let room = ann.room_with(&[&bob]).await;
    let (status, refused) = ann
        .post(
            &format!("/api/rooms/{room}/add-participant/"),
            json!({"id": eve.id}),
        )
        .await;
    assert_eq!((status, &refused["code"]), (403, &json!("room_full")));
    ann.room("second").await;
    let (status, refused) = ann.post("/api/rooms/", json!({"name": "third"})).await;
    assert_eq!((status, &refused["code"]), (403, &json!("too_many_rooms")));
    let (status, refused) = ann
        .post("/api/rooms/direct/", json!({"user_id": eve.id}))
        .await;
    assert_eq!((status, &refused["code"]), (403, &json!("too_many_rooms")));
    // Who is written to is asked for nothing.
    eve.done("/api/rooms/direct/", json!({"user_id": ann.id}))
        .await;
}
