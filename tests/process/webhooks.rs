//! Webhooks: programs that know nothing of the API write to a room.

use reqwest::Method;
use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};

use crate::admin::admin;
use crate::support::{Server, User, answer, keys};

async fn send(by: &User<'_>, method: Method, path: &str, body: Value) -> (u16, Value) {
    answer(by.request(method, path).json(&body)).await
}

/// Path of a webhook, as a program is given it, and its number.
async fn hook(server: &Server, by: &User<'_>, room: i64, name: &str) -> (String, i64) {
    let path = format!("/api/rooms/{room}/hooks/");
    let made = by.done(&path, json!({"name": name})).await;
    let url = made["url"].as_str().unwrap();
    let path = url.strip_prefix(&server.url).expect("as he reached it");
    (path.to_owned(), made["hook"]["id"].as_i64().unwrap())
}

#[tokio::test]
async fn what_comes_by_a_webhook_is_a_message_of_its_name() {
    let server = Server::start(&[]);
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let room = ann.room_with(&[&bob]).await;
    let (path, id) = hook(&server, &ann, room, "Build server").await;
    let mut heard = bob.socket(&format!("/ws/chat/{room}/")).await;
    heard.is_silent().await;

    let say = |body: Value| answer(server.request(Method::POST, &path).json(&body));
    let (status, said) =
        say(json!({"content": "**done**, @bob and @all", "username": " CI "})).await;
    assert_eq!(status, 201, "{said}");
    let told = heard.next_of("chat_message").await["data"].clone();
    assert_eq!(
        (&told["id"], &told["content"]),
        (&said["id"], &json!("**done**, @bob and @all"))
    );
    let author = &told["author"];
    let fields = [
        "avatar_url",
        "display_name",
        "email",
        "id",
        "is_bot",
        "username",
    ];
    assert_eq!(keys(author), fields);
    assert_eq!(
        (
            &author["id"],
            &author["username"],
            &author["display_name"],
            &author["is_bot"]
        ),
        (
            &json!(id),
            &json!("Build server"),
            &json!("CI"),
            &json!(true)
        )
    );
    assert_eq!(
        (&told["mentions"], &told["mentions_all"]),
        (&json!([bob.id]), &json!(false))
    );
    say(json!({"content": "again"})).await;
    let (_, page) = bob.get(&format!("/api/rooms/{room}/messages/")).await;
    let names = [0, 1].map(|n| page["results"][n]["author"]["display_name"].clone());
    assert_eq!(names, [json!("Build server"), json!("CI")]);
    let (_, view) = bob.get(&format!("/api/rooms/{room}/")).await;
    assert_eq!(
        (&view["unread_count"], &view["participant_count"]),
        (&json!(2), &json!(2))
    );

    // As programs speak to Slack and Mattermost.
    let plain = async |request: reqwest::RequestBuilder| {
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    };
    let post = || server.request(Method::POST, &path);
    let json_text =
        post().json(&json!({"text": "see <https://x.org|it> &amp; go", "icon_emoji": ":x:"}));
    let form = post().form(&[("payload", r#"{"text": "by form"}"#)]);
    let attached = post().json(&json!({"attachments": [{"title": "Alarm", "text": "hot"}]}));
    for (request, content) in [
        (json_text, "see [it](https://x.org) & go"),
        (form, "by form"),
        (attached, "**Alarm**\nhot"),
    ] {
        assert_eq!(plain(request).await, (200, "ok".to_owned()));
        let (_, page) = bob.get(&format!("/api/rooms/{room}/messages/")).await;
        assert_eq!(page["results"][0]["content"], content);
    }

    for (body, field) in [
        (json!({}), "content"),
        (json!({"text": "  "}), "content"),
        (json!({"content": "x".repeat(8001)}), "content"),
        (json!({"content": 7}), "content"),
        (
            json!({"content": "x", "username": "a\u{202e}b"}),
            "username",
        ),
        (json!({"payload": "not JSON"}), "payload"),
    ] {
        let (status, refused) = say(body).await;
        assert_eq!(status, 400, "{refused}");
        assert!(refused[field].is_array(), "{field}: {refused}");
    }
    // Its author is nobody that anyone could find, add or write to.
    let (_, people) = ann.get("/api/users/?search=build").await;
    assert_eq!(people["count"], 0);
    let adding = format!("/api/rooms/{room}/add-participant/");
    assert_eq!(ann.post(&adding, json!({"id": id})).await.0, 404);
    assert_eq!(
        ann.post("/api/rooms/direct/", json!({"user_id": id}))
            .await
            .0,
        404
    );
    // What it wrote is deleted by who may delete what others wrote.
    let one = format!("/api/chat/messages/{}/", said["id"]);
    assert_eq!(send(&bob, Method::DELETE, &one, json!({})).await.0, 403);
    assert_eq!(send(&ann, Method::DELETE, &one, json!({})).await.0, 204);
}

#[tokio::test]
async fn webhooks_are_listed_renewed_and_ended_and_their_secrets_stay_hidden() {
    let server = Server::start(&["--limits-hooks-per-room=1"]);
    let root = admin(&server, "root").await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let room = ann.room_with(&[&bob]).await;
    let other = ann.room("other").await;
    let hooks = format!("/api/rooms/{room}/hooks/");
    let (path, id) = hook(&server, &ann, room, "Build").await;
    let secret = path
        .trim_end_matches('/')
        .rsplit('/')
        .next()
        .unwrap()
        .to_owned();
    let (status, refused) = ann.post(&hooks, json!({"name": "more"})).await;
    assert_eq!((status, &refused["code"]), (403, &json!("too_many_hooks")));
    let (status, refused) = ann
        .post(&format!("/api/rooms/{other}/hooks/"), json!({"name": " "}))
        .await;
    assert_eq!(status, 400, "{refused}");

    let say = |path: &str| {
        let request = server.request(Method::POST, path);
        answer(request.json(&json!({"content": "x"})))
    };
    assert_eq!(say(&path).await.0, 201);
    let (_, listed) = ann.get(&hooks).await;
    let fields = [
        "avatar_url",
        "created_at",
        "id",
        "last_used_at",
        "made_by",
        "name",
        "room",
    ];
    assert_eq!(keys(&listed[0]), fields);
    assert!(listed[0]["last_used_at"].is_string());
    assert_eq!(listed[0]["made_by"]["username"], "ann");
    assert_eq!(bob.get(&hooks).await.0, 403);

    // In no log, and in no database.
    let mut files = vec![server.log()];
    for name in ["moznods.db", "moznods.db-wal"] {
        let bytes = std::fs::read(server.directory().join("data").join(name)).unwrap();
        files.push(String::from_utf8_lossy(&bytes).into_owned());
    }
    assert!(
        files[0].contains("/api/hooks/{hook}/{secret}"),
        "it is logged by its route"
    );
    assert!(files.iter().all(|file| !file.contains(&secret)));
    let (_, log) = root.get("/api/admin/audit/").await;
    assert!(!log.to_string().contains(&secret));

    let one = format!("{hooks}{id}/");
    let picture = Part::bytes(include_bytes!("../../docs/screenshot.png").to_vec());
    let picture = picture.file_name("a.png").mime_str("image/png").unwrap();
    let form = Form::new().text("name", "Builder").part("avatar", picture);
    let request = ann.request(Method::PATCH, &one).multipart(form);
    let (status, changed) = answer(request).await;
    assert_eq!(
        (status, &changed["name"]),
        (200, &json!("Builder")),
        "{changed}"
    );
    let avatar = changed["avatar_url"].as_str().unwrap();
    assert!(
        avatar.contains("/api/avatars/") || avatar.starts_with(&server.url),
        "{avatar}"
    );
    let (_, said) = say(&path).await;
    assert_eq!(said["author"]["avatar_url"], avatar);
    assert_eq!(said["author"]["username"], "Builder");
    let (status, changed) = send(&ann, Method::PATCH, &one, json!({"avatar": null})).await;
    assert_eq!((status, &changed["avatar_url"]), (200, &json!("")));

    let renewed = ann.done(&format!("{one}secret/"), json!({})).await;
    let renewed = renewed["url"].as_str().unwrap().replace(&server.url, "");
    assert_eq!(say(&path).await.0, 404, "the old one is void");
    assert_eq!(say(&renewed).await.0, 201);
    assert_eq!(say(&renewed.replace(&id.to_string(), "99")).await.0, 404);
    assert_eq!(say("/api/hooks/x/y/").await.0, 404);
    for (by, path, status) in [
        (&bob, one.clone(), 403),
        (&ann, format!("/api/rooms/{other}/hooks/{id}/"), 404),
        (&ann, one.clone(), 204),
        (&ann, one.clone(), 404),
    ] {
        assert_eq!(
            send(by, Method::DELETE, &path, json!({})).await.0,
            status,
            "{path}"
        );
    }
    assert_eq!(say(&renewed).await.0, 404);
    let (_, page) = bob.get(&format!("/api/rooms/{room}/messages/")).await;
    assert_eq!(
        page["results"][0]["author"]["username"], "Builder",
        "what it wrote stays"
    );
    let (_, log) = root.get("/api/admin/audit/?actor=ann&limit=4").await;
    let acts = log["results"].as_array().unwrap().iter();
    let acts = acts.map(|entry| {
        let target = &entry["target"];
        assert_eq!(
            (&target["kind"], &target["id"]),
            (&json!("hook"), &json!(id))
        );
        (
            entry["action"].as_str().unwrap(),
            target["name"].as_str().unwrap(),
        )
    });
    assert_eq!(
        acts.collect::<Vec<_>>(),
        [
            ("hook.remove", "Builder"),
            ("hook.renew", "Builder"),
            ("hook.change", "Build"),
            ("hook.add", "Build"),
        ]
    );
}

#[tokio::test]
async fn a_webhook_may_say_so_much_at_once() {
    let server = Server::start(&["--limits-enabled=true"]);
    let ann = server.user("ann").await;
    let (one, other) = (ann.room("one").await, ann.room("other").await);
    let (noisy, _) = hook(&server, &ann, one, "noisy").await;
    let (quiet, _) = hook(&server, &ann, other, "quiet").await;
    let say = |path: &str| {
        server
            .request(Method::POST, path)
            .json(&json!({"text": "x"}))
    };
    let mut refused = None;
    for _ in 0..200 {
        let response = say(&noisy).send().await.unwrap();
        if response.status() == 429 {
            refused = Some(response);
            break;
        }
        assert_eq!(response.status(), 200);
    }
    let refused = refused.expect("too much at once");
    let wait = refused.headers()["Retry-After"].to_str().unwrap();
    assert!((1..=60).contains(&wait.parse::<u64>().unwrap()), "{wait}");
    assert_eq!(
        say(&quiet).send().await.unwrap().status(),
        200,
        "each for itself"
    );
    // Who has no secret uses nothing up.
    let wrong = format!("{}x/", quiet.trim_end_matches('/'));
    for _ in 0..50 {
        assert_eq!(say(&wrong).send().await.unwrap().status(), 404);
    }
    assert_eq!(say(&quiet).send().await.unwrap().status(), 200);
}
