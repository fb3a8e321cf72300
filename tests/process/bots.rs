//! Bots: programs that speak the API by a token of their own, each made by a person.

use reqwest::Method;
use serde_json::{Value, json};

use crate::admin::admin;
use crate::support::{PASSWORD, Server, Socket, User, answer, keys};

async fn send(by: &User<'_>, method: Method, path: &str, body: Value) -> (u16, Value) {
    answer(by.request(method, path).json(&body)).await
}

/// A bot of `owner`, which uses the API as anybody does.
async fn bot<'a>(server: &'a Server, owner: &User<'_>, name: &str) -> User<'a> {
    let made = owner.done("/api/bots/", json!({"username": name})).await;
    server.signed_in(&json!({"token": made["token"], "user": made["bot"]}))
}

/// The token may still be used.
async fn works(user: &User<'_>) -> bool {
    match user.get("/api/auth/me/").await.0 {
        200 => true,
        401 => false,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_bot_speaks_where_it_was_added_and_is_known_as_one() {
    let server = Server::start(&[]);
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let wanted = json!({"username": "weather", "display_name": "Weather"});
    let (status, made) = ann.post("/api/bots/", wanted).await;
    assert_eq!(status, 201, "{made}");
    assert_eq!(keys(&made), ["bot", "token"]);
    let fields = [
        "avatar_url",
        "created_at",
        "display_name",
        "email",
        "id",
        "is_blocked",
        "is_bot",
        "token",
        "username",
    ];
    assert_eq!(keys(&made["bot"]), fields);
    let token = made["token"].as_str().unwrap();
    let (_, listed) = ann.get("/api/bots/").await;
    assert_eq!(listed, json!([made["bot"]]));
    assert!(!listed.to_string().contains(token), "shown once");
    assert_eq!(bob.get("/api/bots/").await, (200, json!([])));
    let weather = server.signed_in(&json!({"token": token, "user": made["bot"]}));
    let (_, me) = weather.get("/api/auth/me/").await;
    assert_eq!(
        (&me["username"], &me["is_bot"]),
        (&json!("weather"), &json!(true))
    );
    assert_eq!(ann.get("/api/auth/me/").await.1["is_bot"], false);

    // A moderator may add it, though no person.
    let room = ann.room_with(&[&bob]).await;
    let path = format!("/api/rooms/{room}/");
    let role = json!({"role": "moderator"});
    let of_bob = format!("{path}participants/{}/", bob.id);
    assert_eq!(send(&ann, Method::PATCH, &of_bob, role).await.0, 200);
    assert_eq!(weather.get(&path).await.0, 403);
    let adding = format!("{path}add-participant/");
    let (status, added) = bob.post(&adding, json!({"username": "WEATHER"})).await;
    assert_eq!((status, &added["user"]["is_bot"]), (201, &json!(true)));
    let mut heard = bob.socket(&format!("/ws/chat/{room}/")).await;
    let mut own = weather.socket(&format!("/ws/chat/{room}/")).await;
    let message = json!({"type": "chat_message", "data": {"content": "rain, @bob"}});
    own.send(message).await;
    let told = heard.next_of("chat_message").await;
    let author = &told["data"]["author"];
    assert_eq!(
        (&author["is_bot"], &author["display_name"]),
        (&json!(true), &json!("Weather"))
    );
    assert_eq!(told["data"]["mentions"], json!([bob.id]));
    let (_, people) = bob.get("/api/users/?search=weather").await;
    assert_eq!(people["results"][0]["is_bot"], true);

    let mut news = weather.socket("/ws/notifications/").await;
    news.is_silent().await;
    let gone = format!("/api/bots/{}/", weather.id);
    let name = json!({"display_name": "Rain"});
    let (status, renamed) = send(&ann, Method::PATCH, &gone, name).await;
    assert_eq!((status, &renamed["display_name"]), (200, &json!("Rain")));
    for path in [gone.clone(), format!("{gone}token/")] {
        let (status, _) = send(&bob, Method::DELETE, &path, json!({})).await;
        assert_eq!(status, 404, "it is not his: {path}");
    }
    assert_eq!(send(&ann, Method::DELETE, &gone, json!({})).await.0, 204);
    assert_eq!(news.close_code_at_last().await, 4401);
    assert!(!works(&weather).await);
    assert_eq!(ann.get("/api/bots/").await.1, json!([]));
    let (_, page) = bob.get(&format!("{path}messages/")).await;
    assert_eq!(page["results"][0]["content"], "rain, @bob", "it stays");
}

#[tokio::test]
async fn what_is_for_people_no_bot_does() {
    let server = Server::start(&[]);
    let root = admin(&server, "root").await;
    let ann = server.user("ann").await;
    let helper = bot(&server, &ann, "helper").await;
    let login = json!({"username": "helper", "password": ""});
    let request = server
        .request(Method::POST, "/api/auth/login/")
        .json(&login);
    assert_eq!(answer(request).await.0, 400);
    let login = json!({"username": "helper", "password": PASSWORD});
    let request = server
        .request(Method::POST, "/api/auth/login/")
        .json(&login);
    assert_eq!(answer(request).await.0, 401);

    let new = json!({"new_password": "another password"});
    for (method, path, body) in [
        (Method::POST, "/api/auth/password/", new),
        (Method::POST, "/api/auth/totp/", json!({})),
        (Method::DELETE, "/api/auth/me/", json!({})),
        (Method::POST, "/api/rooms/", json!({"name": "mine"})),
        (
            Method::POST,
            "/api/rooms/direct/",
            json!({"user_id": ann.id}),
        ),
        (Method::POST, "/api/bots/", json!({"username": "child"})),
    ] {
        let (status, refused) = send(&helper, method, path, body).await;
        let code = &refused["code"];
        assert_eq!(
            (status, code),
            (403, &json!("permission_denied")),
            "{path}: {refused}"
        );
    }
    let of_helper = format!("/api/admin/users/{}/", helper.id);
    let (status, refused) = send(&root, Method::PATCH, &of_helper, json!({"is_admin": true})).await;
    assert_eq!(status, 400);
    assert_eq!(refused["is_admin"], json!(["This is a bot."]));
    let link = root
        .post(&format!("{of_helper}reset-link/"), json!({}))
        .await;
    assert_eq!(link.0, 400);
    let passwd = ["user", "passwd", "helper", "--password-stdin"];
    assert_eq!(server.command(&passwd, PASSWORD).status.code(), Some(1));

    // Nor does it own a room, also when it is the only one left.
    let room = ann.room("room").await;
    let path = format!("/api/rooms/{room}/");
    ann.done(&format!("{path}add-participant/"), json!({"id": helper.id}))
        .await;
    let (status, refused) = ann
        .post(&format!("{path}transfer/"), json!({"user_id": helper.id}))
        .await;
    assert_eq!(status, 400);
    assert_eq!(refused["user_id"], json!(["This is a bot."]));
    let mut news = helper.socket("/ws/notifications/").await;
    news.is_silent().await;
    ann.done(&format!("{path}leave/"), json!({})).await;
    assert_eq!(news.next_of("room_removed").await["reason"], "deleted");
    assert_eq!(helper.get(&path).await.0, 404);
    // Others may write to it in private.
    let direct = ann
        .done("/api/rooms/direct/", json!({"user_id": helper.id}))
        .await;
    assert_eq!(direct["is_direct"], true);
}

#[tokio::test]
async fn a_token_is_renewed_and_taken_away() {
    let server = Server::start(&["--limits-bots-per-user=2"]);
    let root = admin(&server, "root").await;
    let ann = server.user("ann").await;
    let old = bot(&server, &ann, "helper").await;
    let path = format!("/api/bots/{}/token/", old.id);
    let mut socket = old.socket("/ws/notifications/").await;
    socket.is_silent().await;
    let (status, renewed) = ann.post(&path, json!({})).await;
    assert_eq!((status, keys(&renewed)), (200, vec!["token"]));
    assert_eq!(socket.close_code_at_last().await, 4401);
    let user = json!({"id": old.id});
    let new = server.signed_in(&json!({"token": renewed["token"], "user": user}));
    assert!(!works(&old).await && works(&new).await);
    assert_eq!(send(&ann, Method::DELETE, &path, json!({})).await.0, 204);
    assert!(!works(&new).await);
    let (_, listed) = ann.get("/api/bots/").await;
    assert_eq!(
        (listed.as_array().unwrap().len(), &listed[0]["token"]),
        (1, &Value::Null)
    );

    bot(&server, &ann, "second").await;
    let (status, refused) = ann.post("/api/bots/", json!({"username": "third"})).await;
    assert_eq!((status, &refused["code"]), (403, &json!("too_many_bots")));
    for (name, of) in [
        ("second", &root),
        ("ANN", &root),
        ("", &root),
        ("a b", &root),
    ] {
        let (status, refused) = of.post("/api/bots/", json!({"username": name})).await;
        assert_eq!(status, 400, "{name}");
        assert!(refused["username"].is_array(), "{name}: {refused}");
    }
    let (_, log) = root.get("/api/admin/audit/?actor=ann").await;
    let acts = log["results"].as_array().unwrap().iter();
    let acts = acts.map(|entry| {
        let name = entry["target"]["name"].as_str().unwrap();
        (entry["action"].as_str().unwrap(), name)
    });
    assert_eq!(
        acts.collect::<Vec<_>>(),
        [
            ("bot.add", "second"),
            ("bot.token", "helper"),
            ("bot.token", "helper"),
            ("bot.add", "helper"),
        ]
    );
}

#[tokio::test]
async fn a_bot_is_blocked_and_goes_with_its_owner() {
    let server = Server::start(&[]);
    let root = admin(&server, "root").await;
    let ann = server.user("ann").await;
    let helper = bot(&server, &ann, "helper").await;
    let mut socket = helper.socket("/ws/notifications/").await;
    socket.is_silent().await;
    let of = |user: &User<'_>| format!("/api/admin/users/{}/", user.id);
    let block = |blocked: bool| json!({"is_blocked": blocked});
    assert_eq!(
        send(&root, Method::PATCH, &of(&ann), block(true)).await.0,
        200
    );
    assert_eq!(socket.close_code_at_last().await, 4401);
    assert!(!works(&helper).await);
    assert_eq!(
        send(&root, Method::PATCH, &of(&ann), block(false)).await.0,
        200
    );
    assert!(works(&helper).await, "with the token it had");

    // One that is blocked itself gets no other token by its owner.
    assert_eq!(
        send(&root, Method::PATCH, &of(&helper), block(true))
            .await
            .0,
        200
    );
    assert!(!works(&helper).await);
    let login = json!({"username": "ann", "password": PASSWORD});
    let request = server
        .request(Method::POST, "/api/auth/login/")
        .json(&login);
    let ann = server.signed_in(&answer(request).await.1);
    let path = format!("/api/bots/{}/token/", helper.id);
    let (status, refused) = ann.post(&path, json!({})).await;
    assert_eq!((status, &refused["code"]), (403, &json!("account_blocked")));
    assert_eq!(
        send(&root, Method::PATCH, &of(&helper), block(false))
            .await
            .0,
        200
    );
    let renewed = ann.done(&path, json!({})).await;
    let helper = server.signed_in(&json!({"token": renewed["token"], "user": {"id": helper.id}}));
    assert!(works(&helper).await);
    let mut socket: Socket = helper.socket("/ws/notifications/").await;
    socket.is_silent().await;
    assert_eq!(
        send(&root, Method::DELETE, &of(&ann), json!({})).await.0,
        204
    );
    assert_eq!(socket.close_code_at_last().await, 4401);
    assert!(!works(&helper).await);
    assert_eq!(root.get(&of(&helper)).await.0, 404);
}
