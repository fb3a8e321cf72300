//! REST: what concerns the server itself.

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Server, Socket, answer, keys};

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
async fn the_url_is_what_the_client_asked_for_unless_it_is_none() {
    let url = async |server: &Server, headers: &[(&str, &str)]| {
        let mut request = server.request(Method::GET, "/api/config/");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        answer(request).await.1["public_url"].clone()
    };
    let https = ("X-Forwarded-Proto", "https");
    let server = Server::start(&[]);
    assert_eq!(
        url(&server, &[("Host", "a.example:81")]).await,
        "http://a.example:81"
    );
    assert_eq!(
        url(&server, &[("Host", "[2001:db8::1]:81")]).await,
        "http://[2001:db8::1]:81"
    );
    assert_eq!(
        url(&server, &[("Host", "a.example"), https]).await,
        "http://a.example"
    );
    for hostile in ["evil@a.example", "a.example/\"><script>", "a b"] {
        assert_eq!(
            url(&server, &[("Host", hostile)]).await,
            "http://localhost",
            "{hostile}"
        );
    }
    let behind = Server::start(&["--http-trusted-proxies=127.0.0.1"]);
    assert_eq!(
        url(&behind, &[("Host", "a.example"), https]).await,
        "https://a.example"
    );
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

/// Each check takes 19 MiB while it lasts; an allocator that keeps them would fill a small machine.
#[tokio::test]
async fn many_passwords_do_not_fill_the_memory() {
    let server = Server::start(&[]);
    let attempts = (0..60).map(|n| {
        let body = json!({"username": format!("user{n}"), "password": "wrong password"});
        answer(server.request(Method::POST, "/api/auth/login/").json(&body))
    });
    for (status, _) in join_all(attempts).await {
        assert_eq!(status, 401);
    }
    assert!(server.resident() < 100, "{} MiB", server.resident());
}
