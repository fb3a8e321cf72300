//! REST: accounts and sign-in.

use std::io::Write;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{PASSWORD, Server, Socket, answer, keys, text};

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
    assert_eq!(socket.close_code_at_last().await, 4401);
}

#[tokio::test]
async fn who_signs_out_everywhere_is_out_on_every_device_and_can_come_back() {
    let server = Server::start(&[]);
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let login = || {
        let body = json!({"username": "ann", "password": PASSWORD});
        answer(server.request(Method::POST, "/api/auth/login/").json(&body))
    };
    let (_, phone) = login().await;
    let open = async |login: &Value| {
        let token = login["token"].as_str().unwrap();
        Socket::open(&server, &format!("/ws/notifications/?token={token}"), &[]).await
    };
    let phone = open(&phone).await;
    let mut sockets = [ann.socket("/ws/notifications/").await, phone];
    let mut of_bob = bob.socket("/ws/notifications/").await;
    for socket in &mut sockets {
        socket.is_silent().await;
    }
    assert_eq!(ann.post("/api/auth/logout-all/", json!({})).await.0, 204);
    assert_eq!(ann.get("/api/auth/me/").await.0, 401);
    for socket in &mut sockets {
        assert_eq!(socket.close_code_at_last().await, 4401);
    }
    of_bob.is_silent().await;
    let (status, again) = login().await;
    assert_eq!(status, 200);
    let mut socket = open(&again).await;
    socket.is_silent().await;

    let output = server.command(&["user", "logout", "ann"], "");
    assert_eq!(text(&output.stdout), "Signed ann out everywhere.\n");
    assert_eq!(socket.close_code_at_last().await, 4401);
    of_bob.is_silent().await;
}

/// Where a client hangs up before the answer comes, its user is signed out with all that hangs on it, or not at all.
#[tokio::test]
async fn who_hangs_up_is_signed_out_whole_or_not_at_all() {
    let server = Server::start(&[]);
    let address = server.url.strip_prefix("http://").unwrap();
    for turn in 0..20 {
        let ann = server.user(&format!("ann{turn}")).await;
        let mut socket = ann.socket("/ws/notifications/").await;
        let request = format!(
            "POST /api/auth/logout-all/ HTTP/1.1\r\nHost: {address}\r\nAuthorization: Token {}\r\nContent-Length: \
             0\r\n\r\n",
            ann.token
        );
        // Where it is not even begun, nothing is done.
        while ann.get("/api/auth/me/").await.0 != 401 {
            let mut stream = std::net::TcpStream::connect(address).unwrap();
            stream.write_all(request.as_bytes()).unwrap();
        }
        assert_eq!(socket.close_code_at_last().await, 4401, "turn {turn}");
    }
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
        ("username", json!("Deleted-7"), "taken"),
        ("username", json!(long(151)), "At most 150"),
        ("username", json!(5), "type"),
        ("email", json!(""), "empty"),
        ("email", json!("bob"), "not an email"),
        ("email", json!("Ann@Example.org"), "taken"),
        ("password", json!("1234567"), "At least 8"),
        ("password", json!(long(1025)), "At most 1024"),
        ("display_name", json!(long(151)), "At most 150"),
        ("display_name", json!("a\u{7}b"), "Control"),
        ("display_name", json!("a\u{202e}b"), "Control"),
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
async fn the_profile_takes_a_name_as_json_and_as_a_form() {
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

#[tokio::test]
async fn attempts_are_limited_by_address() {
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
}

#[tokio::test]
async fn nobody_is_locked_out_by_others() {
    let server = Server::start(&[
        "--limits-enabled=true",
        "--http-trusted-proxies=127.0.0.0/8",
    ]);
    server.user("ann").await;
    let attempt = async |name: &str, password: &str, from: &str| {
        let body = json!({"username": name, "password": password});
        let request = server.request(Method::POST, "/api/auth/login/");
        let request = request.header("X-Forwarded-For", from).json(&body);
        answer(request).await.0
    };
    let attacker = "198.51.100.1";
    let mut statuses = Vec::new();
    for name in ["ann", "ann@example.org", " ANN "].iter().cycle().take(12) {
        statuses.push(attempt(name, "wrong password", attacker).await);
    }
    assert_eq!(statuses[..3], [401; 3]);
    assert_eq!(statuses[3..], [429; 9], "by any of her names");
    assert_eq!(attempt("ann", PASSWORD, attacker).await, 429);
    assert_eq!(attempt("bob", PASSWORD, attacker).await, 401);
    assert_eq!(attempt("ann", PASSWORD, "198.51.100.2").await, 200);
}

#[tokio::test]
async fn names_are_taken_without_the_spaces_around_them() {
    let server = Server::start(&[]);
    let body = json!({"username": " ann ", "email": " ann@example.org ", "password": PASSWORD});
    let request = server.request(Method::POST, "/api/auth/register/");
    let (status, answered) = answer(request.json(&body)).await;
    assert_eq!(
        (status, &answered["user"]["username"]),
        (201, &json!("ann"))
    );
    assert_eq!(answered["user"]["email"], "ann@example.org");
    let body = json!({"username": "ann ", "password": PASSWORD});
    let request = server.request(Method::POST, "/api/auth/login/");
    assert_eq!(answer(request.json(&body)).await.0, 200);
}
