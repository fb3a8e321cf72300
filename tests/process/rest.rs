//! REST: its shapes, and each of its refusals.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{PASSWORD, Server, Socket, User, answer};

/// The keys of an object, sorted.
fn keys(object: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> = object
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    keys.sort_unstable();
    keys
}

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
async fn signing_up_in_and_out() {
    let server = Server::start(&[]);
    let ann = server.user("Ann").await;
    let login = |body: Value| server.request(Method::POST, "/api/auth/login/").json(&body);
    for name in [
        json!({"username": "ann"}),
        json!({"username": "ANN@example.org"}),
        json!({"email": "ann@EXAMPLE.org"}),
    ] {
        let mut body = name.clone();
        body["password"] = PASSWORD.into();
        let (status, answered) = answer(login(body)).await;
        assert_eq!(
            (status, &answered["user"]["id"]),
            (200, &json!(ann.id)),
            "{name}"
        );
    }
    let form = [("username", "ann"), ("password", PASSWORD)];
    let request = server.request(Method::POST, "/api/auth/login/").form(&form);
    assert_eq!(answer(request).await.0, 200);

    for (name, password) in [("ann", "wrong password"), ("nobody", PASSWORD)] {
        let (status, answered) =
            answer(login(json!({"username": name, "password": password}))).await;
        assert_eq!(status, 401);
        assert_eq!(keys(&answered), ["code", "detail"]);
        assert_eq!(answered["code"], "invalid_credentials");
    }

    let bearer = server
        .request(Method::GET, "/api/auth/me/")
        .header("Authorization", format!("Bearer {}", ann.token));
    assert_eq!(answer(bearer).await.0, 200);
    let mut socket = ann.socket("/ws/notifications/").await;
    socket.is_silent().await;
    assert_eq!(ann.post("/api/auth/logout/", json!({})).await.0, 204);
    assert_eq!(ann.get("/api/auth/me/").await.0, 401);
    assert_eq!(socket.close_code().await, 4401);
}

#[tokio::test]
async fn registration_names_every_field_that_is_wrong() {
    let server = Server::start(&[]);
    server.user("ann").await;
    let good = || json!({"username": "bob", "email": "bob@example.org", "password": PASSWORD});
    let long = |length| "x".repeat(length);
    for (field, value, word) in [
        ("username", json!(""), "empty"),
        ("username", Value::Null, "empty"),
        ("username", json!("ANN"), "taken"),
        ("username", json!("a b"), "only"),
        ("username", json!("a@b"), "only"),
        ("username", json!(long(151)), "At most 150"),
        ("username", json!(5), "type"),
        ("email", json!(""), "empty"),
        ("email", json!("bob"), "not an email"),
        ("email", json!("Ann@Example.org"), "taken"),
        ("password", json!("1234567"), "At least 8"),
        ("password", json!(long(1025)), "At most 1024"),
        ("display_name", json!(long(151)), "At most 150"),
        ("display_name", json!("a\u{7}b"), "Control"),
        ("setup_token", json!("guess"), "used"),
    ] {
        let mut body = good();
        body[field] = value.clone();
        let request = server.request(Method::POST, "/api/auth/register/");
        let (status, answered) = answer(request.json(&body)).await;
        assert_eq!(status, 400, "{field} {value}");
        assert_eq!(answered["code"], "validation_error");
        let said = answered[field][0].as_str().unwrap_or_default();
        assert!(said.contains(word), "{field} {value}: {answered}");
    }
    let (status, answered) = answer(
        server
            .request(Method::POST, "/api/auth/register/")
            .json(&json!({})),
    )
    .await;
    assert_eq!(status, 400);
    assert_eq!(keys(&answered), ["code", "email", "password", "username"]);

    let russian = server
        .request(Method::POST, "/api/auth/register/")
        .header("Accept-Language", "ru-RU,ru;q=0.9,en;q=0.5")
        .json(&json!({"username": "x"}));
    let (_, answered) = answer(russian).await;
    assert_eq!(answered["email"], json!(["Это поле не может быть пустым."]));
}

#[tokio::test]
async fn registration_by_code_and_closed() {
    let server = Server::start(&["--accounts-registration=code"]);
    let line = server.line_with("Invite code");
    let code = line.split_whitespace().last().unwrap();
    let body = |name: &str, code: &str| json!({"username": name, "email": format!("{name}@x"), "password": PASSWORD, "invite_code": code});
    let register = |body: Value| {
        answer(
            server
                .request(Method::POST, "/api/auth/register/")
                .json(&body),
        )
    };
    let (status, answered) = register(body("ann", "wrong")).await;
    assert_eq!(status, 400);
    assert_eq!(keys(&answered), ["code", "invite_code"]);
    assert_eq!(register(body("ann", code)).await.0, 201);

    let closed = Server::start(&["--accounts-registration=closed"]);
    let request = closed.request(Method::POST, "/api/auth/register/");
    let (status, answered) = answer(request.json(&body("ann", ""))).await;
    assert_eq!(
        (status, &answered["code"]),
        (403, &json!("registration_closed"))
    );
}

#[tokio::test]
async fn the_first_administrator_comes_by_a_link_that_works_once() {
    let mut server = Server::start(&["--accounts-registration=closed"]);
    let stale = setup_token(&server);
    server.crash_and_restart();
    let token = setup_token(&server);
    assert_ne!(stale, token, "made anew at each start");
    let register = |name: &str, token: &str| {
        let body = json!({
            "username": name, "email": format!("{name}@x"), "password": PASSWORD, "setup_token": token,
        });
        answer(
            server
                .request(Method::POST, "/api/auth/register/")
                .json(&body),
        )
    };
    assert_eq!(register("ann", &stale).await.0, 400);
    let (status, answered) = register("ann", &token).await;
    assert_eq!((status, &answered["user"]["is_admin"]), (201, &json!(true)));
    let (status, answered) = register("bob", &token).await;
    assert_eq!(status, 400);
    assert_eq!(keys(&answered), ["code", "setup_token"]);

    server.crash_and_restart();
    server.signal("TERM");
    assert!(server.ended().await.success());
    assert!(!server.rest_of_output().contains("/#/setup/"));
}

fn setup_token(server: &Server) -> String {
    let line = server.line_with("/#/setup/");
    line.rsplit('/').next().unwrap().to_owned()
}

#[tokio::test]
async fn the_profile_takes_a_name_and_no_picture() {
    let server = Server::start(&[]);
    let ann = server.user("ann").await;
    let patch = || ann.request(Method::PATCH, "/api/auth/profile/");
    let (status, user) = answer(patch().json(&json!({"display_name": " Ann B. "}))).await;
    assert_eq!((status, &user["display_name"]), (200, &json!("Ann B.")));
    let form = reqwest::multipart::Form::new().text("display_name", "Änn");
    let (status, user) = answer(patch().multipart(form)).await;
    assert_eq!((status, &user["display_name"]), (200, &json!("Änn")));
    let file = reqwest::multipart::Part::bytes(vec![0; 100]).file_name("me.png");
    let form = reqwest::multipart::Form::new().part("avatar", file);
    let (status, answered) = answer(patch().multipart(form)).await;
    assert_eq!(status, 400);
    assert_eq!(keys(&answered), ["avatar", "code"]);
    let (_, user) = answer(patch().json(&json!({"display_name": ""}))).await;
    assert_eq!(user["display_name"], "ann");
}

/// What one user may not do, and how it is refused: method, path, body, status, code.
type Refused<'a> = (&'a str, String, Value, u16, &'a str);

async fn is_refused(user: &User<'_>, cases: &[Refused<'_>]) {
    for (method, path, body, status, code) in cases {
        let request = user.request(method.parse().unwrap(), path).json(body);
        let (got, answered) = answer(request).await;
        let got = (got, answered["code"].as_str().unwrap_or_default());
        assert_eq!(got, (*status, *code), "{method} {path} {body}: {answered}");
    }
}

#[tokio::test]
async fn what_a_stranger_to_a_room_may_not_do() {
    let server = Server::start(&[]);
    let ann = server.user("ann").await;
    let eve = server.user("eve").await;
    let room = ann.room("secret").await;
    let path = format!("/api/chat/{room}/messages/");
    let message = ann.done(&path, json!({"content": "x"})).await["id"].clone();
    let rooms = |path: &str| format!("/api/rooms/{room}/{path}");
    let denied = "permission_denied";
    is_refused(
        &eve,
        &[
            ("GET", rooms(""), json!({}), 403, denied),
            ("PATCH", rooms(""), json!({"name": "x"}), 403, denied),
            ("DELETE", rooms(""), json!({}), 403, denied),
            (
                "POST",
                rooms("join/"),
                json!({}),
                403,
                "invitation_required",
            ),
            ("POST", rooms("leave/"), json!({}), 403, denied),
            ("POST", rooms("pin/"), json!({}), 403, denied),
            ("GET", rooms("participants/"), json!({}), 403, denied),
            (
                "POST",
                rooms("add-participant/"),
                json!({"id": eve.id}),
                403,
                denied,
            ),
            (
                "POST",
                rooms("remove-participant/"),
                json!({"id": ann.id}),
                403,
                denied,
            ),
            ("GET", rooms("call-state/"), json!({}), 403, denied),
            ("POST", rooms("invite/"), json!({}), 403, denied),
            ("GET", rooms("messages/"), json!({}), 403, denied),
            ("GET", path.clone(), json!({}), 403, denied),
            ("POST", path, json!({"content": "x"}), 403, denied),
            (
                "POST",
                format!("/api/chat/messages/{message}/read/"),
                json!({}),
                403,
                denied,
            ),
        ],
    )
    .await;
    let (_, page) = eve.get("/api/rooms/").await;
    assert_eq!(page["count"], 0);
}

#[tokio::test]
async fn what_nobody_may_do_in_a_room() {
    let server = Server::start(&[]);
    let ann = server.user("ann").await;
    let bob = server.user("bob").await;
    let room = ann.room_with(&[&bob]).await;
    let rooms = |path: &str| format!("/api/rooms/{room}/{path}");
    let messages = rooms("messages/");
    let invalid = "validation_error";
    is_refused(
        &ann,
        &[
            (
                "POST",
                "/api/rooms/".into(),
                json!({"name": "  "}),
                400,
                invalid,
            ),
            (
                "POST",
                "/api/rooms/".into(),
                json!({"name": "x".repeat(256)}),
                400,
                invalid,
            ),
            (
                "POST",
                "/api/rooms/".into(),
                json!({"name": ["x"]}),
                400,
                invalid,
            ),
            ("POST", "/api/rooms/".into(), json!([1]), 400, "parse_error"),
            ("PATCH", rooms(""), json!({"name": ""}), 400, invalid),
            ("GET", "/api/rooms/0/".into(), json!({}), 404, "not_found"),
            ("GET", "/api/rooms/-1/".into(), json!({}), 404, "not_found"),
            ("GET", "/api/rooms/x/".into(), json!({}), 404, "not_found"),
            (
                "GET",
                "/api/rooms/99999999999999999999/".into(),
                json!({}),
                404,
                "not_found",
            ),
            (
                "POST",
                rooms("join/"),
                json!({}),
                400,
                "already_participant",
            ),
            (
                "POST",
                rooms("add-participant/"),
                json!({"id": bob.id}),
                400,
                "already_participant",
            ),
            (
                "POST",
                rooms("add-participant/"),
                json!({"username": "x"}),
                404,
                "not_found",
            ),
            ("POST", rooms("add-participant/"), json!({}), 400, invalid),
            (
                "POST",
                rooms("remove-participant/"),
                json!({"email": "x@x"}),
                404,
                "not_found",
            ),
            (
                "POST",
                rooms("invite/"),
                json!({"expires_in_hours": 0}),
                400,
                invalid,
            ),
            (
                "POST",
                rooms("invite/"),
                json!({"expires_in_hours": i64::MAX}),
                400,
                invalid,
            ),
            (
                "POST",
                rooms("invite/"),
                json!({"expires_in_hours": "soon"}),
                400,
                invalid,
            ),
            (
                "POST",
                "/api/rooms/direct/".into(),
                json!({"user_id": ann.id}),
                400,
                invalid,
            ),
            (
                "POST",
                "/api/rooms/direct/".into(),
                json!({"user_id": 999}),
                404,
                "not_found",
            ),
            ("POST", "/api/rooms/direct/".into(), json!({}), 400, invalid),
            (
                "POST",
                messages.clone(),
                json!({"content": " \n\t"}),
                400,
                invalid,
            ),
            ("POST", messages.clone(), json!({}), 400, invalid),
            (
                "POST",
                messages.clone(),
                json!({"content": "x".repeat(8001)}),
                400,
                invalid,
            ),
            (
                "POST",
                messages.clone(),
                json!({"content": "x", "attachment_ids": [1]}),
                400,
                invalid,
            ),
            (
                "POST",
                messages.clone(),
                json!({"content": "x", "attachment_ids": "1"}),
                400,
                invalid,
            ),
            (
                "POST",
                messages.clone(),
                json!({"content": "x".repeat(70_000)}),
                413,
                "payload_too_large",
            ),
            ("GET", format!("{messages}?page=0"), json!({}), 400, invalid),
            (
                "GET",
                format!("{messages}?page_size=x"),
                json!({}),
                400,
                invalid,
            ),
            ("PUT", messages, json!({}), 405, "method_not_allowed"),
            (
                "POST",
                "/api/chat/messages/999/read/".into(),
                json!({}),
                404,
                "not_found",
            ),
            ("GET", "/api/nothing/".into(), json!({}), 404, "not_found"),
            ("POST", "/api".into(), json!({}), 404, "not_found"),
        ],
    )
    .await;
    is_refused(
        &bob,
        &[
            (
                "PATCH",
                rooms(""),
                json!({"name": "x"}),
                403,
                "permission_denied",
            ),
            ("DELETE", rooms(""), json!({}), 403, "permission_denied"),
            (
                "POST",
                rooms("remove-participant/"),
                json!({"id": ann.id}),
                403,
                "permission_denied",
            ),
        ],
    )
    .await;
    for (kind, body, status, code) in [
        ("application/json", "{", 400, "parse_error"),
        ("text/plain", "x", 415, "unsupported_media_type"),
        ("multipart/form-data", "x", 400, "parse_error"),
    ] {
        let request = ann
            .request(Method::POST, "/api/rooms/")
            .header("Content-Type", kind)
            .body(body);
        let (got, answered) = answer(request).await;
        assert_eq!(
            (got, answered["code"].as_str()),
            (status, Some(code)),
            "{kind}"
        );
    }
}

#[tokio::test]
async fn without_a_token_there_is_nothing() {
    let server = Server::start(&[]);
    let ann = server.user("ann").await;
    let room = ann.room("room").await;
    for (method, path) in [
        ("GET", "/api/auth/me/".to_owned()),
        ("POST", "/api/auth/logout/".to_owned()),
        ("PATCH", "/api/auth/profile/".to_owned()),
        ("GET", "/api/rooms/".to_owned()),
        ("GET", format!("/api/rooms/{room}/")),
        ("GET", format!("/api/chat/{room}/messages/")),
        ("GET", "/api/turn/credentials/".to_owned()),
    ] {
        for header in [
            None,
            Some("Token nonsense"),
            Some("Basic eDp5"),
            Some("Token"),
        ] {
            let mut request = server.request(method.parse().unwrap(), &path);
            if let Some(header) = header {
                request = request.header("Authorization", header);
            }
            let (status, answered) = answer(request).await;
            assert_eq!(status, 401, "{path} {header:?}");
            assert_eq!(answered["code"], "authentication_required");
        }
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
async fn a_direct_room_is_the_same_for_both_and_for_nobody_else() {
    let server = Server::start(&[]);
    let ann = server.user("ann").await;
    let bob = server.user("bob").await;
    let eve = server.user("eve").await;
    let room = ann
        .done("/api/rooms/direct/", json!({"user_id": bob.id}))
        .await;
    assert_eq!(
        (&room["name"], &room["is_direct"]),
        (&json!("DM: ann & bob"), &json!(true))
    );
    let again = bob
        .done("/api/rooms/direct/", json!({"user_id": ann.id}))
        .await;
    assert_eq!(again["id"], room["id"]);
    let rooms = |path: &str| format!("/api/rooms/{}/{path}", room["id"]);
    let denied = "permission_denied";
    is_refused(
        &ann,
        &[
            (
                "POST",
                rooms("add-participant/"),
                json!({"id": eve.id}),
                403,
                denied,
            ),
            (
                "POST",
                rooms("remove-participant/"),
                json!({"id": bob.id}),
                403,
                denied,
            ),
            ("POST", rooms("invite/"), json!({}), 403, denied),
            ("PATCH", rooms(""), json!({"is_public": true}), 403, denied),
        ],
    )
    .await;
    is_refused(&eve, &[("POST", rooms("join/"), json!({}), 403, denied)]).await;
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

#[tokio::test]
async fn attempts_are_limited_by_address_and_account() {
    let server = Server::start(&[
        "--limits-enabled=true",
        "--http-trusted-proxies=127.0.0.0/8",
    ]);
    let attempt = |name: String, from: &str| {
        let body = json!({"username": name, "password": "wrong password"});
        server
            .request(Method::POST, "/api/auth/login/")
            .header("X-Forwarded-For", from)
            .json(&body)
            .send()
    };
    let first_refused = |count: usize| format!("refused within {count} attempts");
    let mut refused = None;
    for n in 0..30 {
        let response = attempt(format!("user{n}"), "198.51.100.1").await.unwrap();
        if response.status() == 429 {
            refused = Some(response);
            break;
        }
    }
    let refused = refused.unwrap_or_else(|| panic!("{}", first_refused(30)));
    let wait: u64 = refused.headers()["retry-after"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!(wait >= 1);
    let body: Value = refused.json().await.unwrap();
    assert_eq!(body["code"], "rate_limited");
    // Whoever writes a header of his own in front of the proxy's is still himself.
    let response = attempt("user99".into(), "203.0.113.9, 198.51.100.1")
        .await
        .unwrap();
    assert_eq!(response.status(), 429);
    let mut statuses = Vec::new();
    for n in 0..15 {
        let from = format!("2001:db8:{n}::1");
        statuses.push(
            attempt("victim".into(), &from)
                .await
                .unwrap()
                .status()
                .as_u16(),
        );
    }
    assert!(
        statuses.starts_with(&[401]) && statuses.ends_with(&[429]),
        "{statuses:?}"
    );
}

#[tokio::test]
async fn clients_learn_of_the_server_and_its_relay() {
    let server = Server::start(&[]);
    let (status, config) = answer(server.request(Method::GET, "/api/config/")).await;
    assert_eq!(status, 200);
    assert_eq!(
        keys(&config),
        [
            "languages",
            "limits",
            "public_url",
            "registration",
            "version"
        ]
    );
    assert_eq!(config["registration"], "open");
    assert_eq!(config["public_url"], server.url);
    let script = server
        .request(Method::GET, "/config.js")
        .send()
        .await
        .unwrap();
    assert!(
        script.headers()["content-type"]
            .to_str()
            .unwrap()
            .starts_with("text/javascript")
    );
    let script = script.text().await.unwrap();
    let inner = script
        .trim()
        .strip_prefix("window.MOZNODS_CONFIG = ")
        .unwrap();
    let inner: Value = serde_json::from_str(inner.strip_suffix(';').unwrap()).unwrap();
    assert_eq!(inner, config);

    let ann = server.user("ann").await;
    let (_, relay) = ann.get("/api/turn/credentials/").await;
    assert_eq!(
        keys(&relay),
        ["iceServers", "password", "ttl", "uris", "username"]
    );
    assert_eq!(
        (&relay["ttl"], &relay["uris"]),
        (&json!(86400), &json!([])),
        "the relay is off"
    );
    let (expiry, id) = relay["username"].as_str().unwrap().split_once(':').unwrap();
    assert_eq!(id, ann.id.to_string());
    assert!(expiry.parse::<u64>().unwrap() > 1_700_000_000);
}

#[tokio::test]
async fn health_and_figures() {
    let server = Server::start(&[]);
    let ann = server.user("ann").await;
    for path in ["/healthz", "/readyz"] {
        let response = server.request(Method::GET, path).send().await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
    }
    let mut socket = Socket::open(
        &server,
        &format!("/ws/notifications/?token={}", ann.token),
        &[],
    )
    .await;
    socket.is_silent().await;
    let room = ann.room("room").await;
    ann.done(
        &format!("/api/chat/{room}/messages/"),
        json!({"content": "x"}),
    )
    .await;
    let figures = server
        .request(Method::GET, "/metrics")
        .send()
        .await
        .unwrap();
    let figures = figures.text().await.unwrap();
    for line in [
        "moznods_websocket_connections 1",
        "moznods_messages_total 1",
        "moznods_users 1",
        "moznods_sign_in_failures_total 0",
        r#"moznods_http_requests_total{method="POST",route="/api/chat/{room}/messages",status="201"} 1"#,
    ] {
        assert!(
            figures.lines().any(|found| found == line),
            "{line}\n{figures}"
        );
    }
    assert!(figures.contains("moznods_http_request_duration_seconds_bucket"));
}

#[tokio::test]
async fn every_answer_has_the_headers_that_protect() {
    let server = Server::start(&[]);
    for path in ["/", "/api/config/", "/api/nothing/", "/healthz"] {
        let response = server.request(Method::GET, path).send().await.unwrap();
        let headers = response.headers();
        assert_eq!(headers["x-content-type-options"], "nosniff", "{path}");
        assert_eq!(headers["referrer-policy"], "no-referrer");
        let policy = headers["content-security-policy"].to_str().unwrap();
        assert!(
            policy.starts_with("default-src 'self';") && policy.contains("frame-ancestors 'none'")
        );
    }
}
