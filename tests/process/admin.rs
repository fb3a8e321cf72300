//! What administrators see and change of all users and rooms.

use reqwest::Method;
use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};

use crate::support::{PASSWORD, Server, User, answer, eventually, keys, text};

/// One more who administers.
pub async fn admin<'a>(server: &'a Server, name: &str) -> User<'a> {
    let email = format!("{name}@example.org");
    let add = [
        "user",
        "add",
        "--admin",
        "--username",
        name,
        "--email",
        &email,
    ];
    let output = server.command(&add, PASSWORD);
    assert!(output.status.success(), "{output:?}");
    let body = json!({"username": name, "password": PASSWORD});
    let request = server.request(Method::POST, "/api/auth/login/").json(&body);
    let (status, login) = answer(request).await;
    assert_eq!(status, 200, "{login}");
    server.signed_in(&login)
}

async fn patch(by: &User<'_>, path: &str, body: Value) -> (u16, Value) {
    answer(by.request(Method::PATCH, path).json(&body)).await
}

async fn delete(by: &User<'_>, path: &str) -> (u16, Value) {
    answer(by.request(Method::DELETE, path)).await
}

async fn upload(by: &User<'_>, content: &'static str) -> i64 {
    let part = Part::text(content).file_name("a.txt");
    let part = part.mime_str("text/plain").unwrap();
    let form = Form::new().part("file", part);
    let request = by.request(Method::POST, "/api/files/upload/");
    let (status, file) = answer(request.multipart(form)).await;
    assert_eq!(status, 201, "{file}");
    file["id"].as_i64().unwrap()
}

#[tokio::test]
async fn administrators_see_all_users_and_rooms_but_nothing_that_is_said() {
    let server = Server::start(&[]);
    let root = admin(&server, "root").await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let room = ann.room_with(&[&bob]).await;
    let file = upload(&ann, "twelve bytes").await;
    let message = json!({"content": "not for others", "attachment_ids": [file]});
    let path = format!("/api/rooms/{room}/messages/");
    ann.done(&path, message).await;
    bob.done("/api/rooms/direct/", json!({"user_id": ann.id}))
        .await;

    let (_, page) = root.get("/api/admin/users/?page_size=2").await;
    assert_eq!(page["count"], 3);
    assert!(page["next"].as_str().unwrap().contains("page=2"));
    let seen = &page["results"][1];
    let fields = [
        "avatar_url",
        "created_at",
        "display_name",
        "email",
        "file_bytes",
        "file_count",
        "has_totp",
        "id",
        "is_admin",
        "is_blocked",
        "is_bot",
        "last_seen_at",
        "username",
    ];
    assert_eq!(keys(seen), fields);
    assert_eq!(
        (&seen["username"], &seen["email"]),
        (&json!("ann"), &json!("ann@example.org"))
    );
    assert_eq!(
        (&seen["file_count"], &seen["file_bytes"]),
        (&json!(1), &json!(12))
    );
    assert!(seen["last_seen_at"].as_str().unwrap().ends_with('Z'));
    for (search, names) in [
        ("AN", &["ann"][..]),
        ("bob@ex", &["bob"]),
        ("nobody", &[]),
        ("", &["bob", "ann", "root"]),
    ] {
        let (_, page) = root.get(&format!("/api/admin/users/?q={search}")).await;
        let found = page["results"].as_array().unwrap().iter();
        let found: Vec<_> = found
            .map(|user| user["username"].as_str().unwrap())
            .collect();
        assert_eq!(found, names, "{search}");
    }
    let (_, one) = root.get(&format!("/api/admin/users/{}/", root.id)).await;
    assert_eq!(
        (&one["is_admin"], &one["is_blocked"]),
        (&json!(true), &json!(false))
    );

    let (_, page) = root.get("/api/admin/rooms/").await;
    assert_eq!(page["count"], 2);
    let seen = &page["results"][1];
    let fields = [
        "created_at",
        "file_bytes",
        "id",
        "is_direct",
        "is_public",
        "last_message_at",
        "message_count",
        "name",
        "owner",
        "participant_count",
    ];
    assert_eq!(keys(seen), fields);
    assert_eq!((&seen["id"], &seen["name"]), (&json!(room), &json!("room")));
    assert_eq!(seen["owner"]["username"], "ann");
    let counts =
        ["participant_count", "message_count", "file_bytes"].map(|name| seen[name].clone());
    assert_eq!(counts, [json!(2), json!(1), json!(12)]);
    assert_eq!(page["results"][0]["is_direct"], true);
    assert!(!page.to_string().contains("not for others"));
    let (status, _) = root.get(&format!("/api/rooms/{room}/messages/")).await;
    assert_eq!(status, 403, "who administers is nothing special in rooms");
    let output = server.command(&["room", "list", "--json"], "");
    let listed: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(listed.as_array().unwrap().len(), 2);
    assert_eq!(listed[1]["file_bytes"], 12);

    let mut news = bob.socket("/ws/notifications/").await;
    news.send(json!({"type": "ping"})).await;
    news.next_of("pong").await;
    let one = format!("/api/admin/rooms/{room}/");
    assert_eq!(delete(&root, &one).await.0, 204);
    let told = news.next_of("room_removed").await;
    assert_eq!(
        (&told["room_id"], &told["reason"]),
        (&json!(room), &json!("deleted"))
    );
    assert_eq!(delete(&root, &one).await.0, 404);
    assert_eq!(ann.get(&format!("/api/rooms/{room}/")).await.0, 404);
    let direct = listed[0]["id"].to_string();
    let output = server.command(&["room", "delete", &direct], "");
    assert_eq!(
        text(&output.stdout),
        format!("Deleted the room {direct}.\n")
    );
    let (_, log) = root.get("/api/admin/audit/?action=room.delete").await;
    assert_eq!(log["results"][0]["actor"]["kind"], "command_line");
    assert_eq!(log["results"][1]["actor"]["name"], "root");
    assert_eq!(log["results"][1]["target"]["name"], "room");
}

#[tokio::test]
async fn who_is_blocked_by_the_api_is_out_at_once() {
    let server = Server::start(&[]);
    let root = admin(&server, "root").await;
    let bob = server.user("bob").await;
    let mut socket = bob.socket("/ws/notifications/").await;
    socket.is_silent().await;
    let of_bob = format!("/api/admin/users/{}/", bob.id);
    let (status, seen) = patch(
        &root,
        &of_bob,
        json!({"is_blocked": true, "is_admin": true}),
    )
    .await;
    assert_eq!(
        (status, &seen["is_blocked"], &seen["is_admin"]),
        (200, &json!(true), &json!(true))
    );
    assert_eq!(socket.close_code_at_last().await, 4401);
    assert_eq!(bob.get("/api/auth/me/").await.0, 401);
    // What is so already is no act.
    assert_eq!(
        patch(&root, &of_bob, json!({"is_blocked": true})).await.0,
        200
    );
    let (_, seen) = patch(
        &root,
        &of_bob,
        json!({"is_blocked": false, "is_admin": false}),
    )
    .await;
    assert_eq!(
        (&seen["is_blocked"], &seen["is_admin"]),
        (&json!(false), &json!(false))
    );
    let body = json!({"username": "bob", "password": PASSWORD});
    let login = server.request(Method::POST, "/api/auth/login/").json(&body);
    let (status, login) = answer(login).await;
    assert_eq!(status, 200);
    let again = server.signed_in(&login);
    assert_eq!(delete(&root, &of_bob).await.0, 204);
    assert_eq!(again.get("/api/auth/me/").await.0, 401);
    assert_eq!(delete(&root, &of_bob).await.0, 404);
    assert_eq!(patch(&root, &of_bob, json!({})).await.0, 404);

    let (_, log) = root.get("/api/admin/audit/").await;
    let acts = log["results"].as_array().unwrap().iter();
    let acts = acts.map(|entry| {
        let target = entry["target"]["name"].as_str().unwrap();
        (entry["action"].as_str().unwrap(), target)
    });
    assert_eq!(
        acts.collect::<Vec<_>>(),
        [
            ("user.delete", "bob"),
            ("user.unmake_admin", "bob"),
            ("user.unblock", "bob"),
            ("user.make_admin", "bob"),
            ("user.block", "bob"),
            ("user.add", "root"),
        ]
    );
}

#[tokio::test]
async fn the_last_administrator_stays_and_nobody_else_administers() {
    let server = Server::start(&[]);
    let root = admin(&server, "root").await;
    let ann = server.user("ann").await;
    let of = |user: &User<'_>| format!("/api/admin/users/{}/", user.id);
    for change in [json!({"is_admin": false}), json!({"is_blocked": true})] {
        let (status, refused) = patch(&root, &of(&root), change).await;
        assert_eq!((status, &refused["code"]), (403, &json!("last_admin")));
    }
    assert_eq!(delete(&root, &of(&root)).await.0, 403);
    let (_, log) = root.get("/api/admin/audit/?actor=root").await;
    assert_eq!(log["results"], json!([]), "what is refused is not noted");

    for (method, path) in [
        (Method::GET, "/api/admin/users/".to_owned()),
        (Method::GET, of(&root)),
        (Method::PATCH, of(&ann)),
        (Method::DELETE, of(&root)),
        (Method::GET, "/api/admin/rooms/".to_owned()),
        (Method::DELETE, "/api/admin/rooms/1/".to_owned()),
    ] {
        let body = json!({"is_admin": true});
        let request = ann.request(method.clone(), &path).json(&body);
        let (status, refused) = answer(request).await;
        assert_eq!(
            (status, &refused["code"]),
            (403, &json!("permission_denied")),
            "{path}"
        );
        assert_eq!(answer(server.request(method, &path)).await.0, 401, "{path}");
    }
    let (status, refused) = patch(&root, &of(&ann), json!({"is_admin": "perhaps"})).await;
    assert_eq!(status, 400);
    assert!(refused["is_admin"].is_array());

    assert_eq!(
        patch(&root, &of(&ann), json!({"is_admin": true})).await.0,
        200
    );
    assert_eq!(
        patch(&root, &of(&root), json!({"is_admin": false})).await.0,
        200
    );
    assert_eq!(root.get("/api/admin/users/").await.0, 403, "at once");
    assert_eq!(ann.get("/api/admin/users/").await.0, 200);
    // Whoever runs the server may do as he likes.
    let output = server.command(&["user", "admin", "ann", "--off"], "");
    assert_eq!(text(&output.stdout), "ann is no administrator any more.\n");
    let output = server.command(&["user", "admin", "root"], "");
    assert_eq!(text(&output.stdout), "root is an administrator.\n");
    eventually("root administers again", || async {
        root.get("/api/admin/users/").await.0 == 200
    })
    .await;
}
