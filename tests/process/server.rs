//! REST: what concerns the server itself.

use std::cell::RefCell;
use std::net::Ipv4Addr;

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::support::{Server, Socket, answer, eventually, keys};

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
            "oidc",
            "public_url",
            "push_public_key",
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
    let chain = ("X-Forwarded-Proto", "https, http");
    let host = ("X-Forwarded-Host", "a.example, 10.0.0.1");
    let inner = ("Host", "127.0.0.1:8080");
    assert_eq!(
        url(&behind, &[inner, host, chain]).await,
        "https://a.example"
    );
    assert_eq!(
        url(&server, &[inner, host, chain]).await,
        "http://127.0.0.1:8080",
        "not believed"
    );
}

#[tokio::test]
async fn pages_of_named_origins_may_use_the_api() {
    let ours = "https://app.example";
    let preflight = |server: &Server, origin: &str| {
        server
            .request(Method::OPTIONS, "/api/rooms/")
            .header("Origin", origin)
            .header("Access-Control-Request-Method", "PATCH")
            .header("Access-Control-Request-Headers", "authorization")
            .send()
    };
    let me = |server: &Server, origin: &str| {
        let request = server.request(Method::GET, "/api/auth/me/");
        request.header("Origin", origin).send()
    };
    let shared = |response: &reqwest::Response| {
        let header = response.headers().get("access-control-allow-origin");
        header.map(|value| value.to_str().unwrap().to_owned())
    };

    let closed = Server::start(&[]);
    let refused = preflight(&closed, ours).await.unwrap();
    assert_eq!((refused.status().as_u16(), shared(&refused)), (405, None));
    assert_eq!(shared(&me(&closed, ours).await.unwrap()), None);

    let setting = "--http-allowed-origins=http://localhost:5173,https://app.example";
    let named = Server::start(&[setting]);
    let allowed = preflight(&named, ours).await.unwrap();
    assert_eq!(allowed.status(), 204);
    assert_eq!(shared(&allowed).as_deref(), Some(ours));
    for (name, word) in [
        ("access-control-allow-methods", "PATCH"),
        ("access-control-allow-headers", "Authorization"),
        ("access-control-allow-headers", "Content-Type"),
        ("access-control-allow-headers", "Accept-Language"),
        ("vary", "Origin"),
    ] {
        let value = allowed.headers()[name].to_str().unwrap();
        assert!(value.contains(word), "{name}: {value}");
    }
    let answered = me(&named, ours).await.unwrap();
    assert_eq!(answered.status(), 401, "errors can be read as well");
    assert_eq!(shared(&answered).as_deref(), Some(ours));
    let headers = answered.headers();
    assert_eq!(headers["access-control-expose-headers"], "Retry-After");
    assert!(!headers.contains_key("access-control-allow-credentials"));
    for other in ["https://evil.example", "http://app.example", "null"] {
        assert_eq!(shared(&me(&named, other).await.unwrap()), None);
        assert_eq!(preflight(&named, other).await.unwrap().status(), 405);
    }

    let open = Server::start(&["--http-allowed-origins=*"]);
    let answered = preflight(&open, "https://anything.example").await.unwrap();
    assert!(shared(&answered).is_some());
}

#[tokio::test]
async fn figures_are_for_this_machine_unless_they_are_public() {
    let ask = async |server: &Server, forwarded: bool| {
        let mut request = server.request(Method::GET, "/metrics");
        if forwarded {
            request = request.header("X-Forwarded-For", "127.0.0.1");
        }
        request.send().await.unwrap().status().as_u16()
    };
    for arguments in [&[][..], &["--http-trusted-proxies=127.0.0.1"]] {
        let server = Server::start(arguments);
        assert_eq!(ask(&server, false).await, 200);
        assert_eq!(ask(&server, true).await, 404, "{arguments:?}");
    }
    let public = Server::start(&["--http-metrics=public"]);
    assert_eq!(ask(&public, true).await, 200);
}

#[tokio::test]
async fn a_network_has_so_many_connections_and_no_more() {
    let server = Server::start(&["--limits-enabled=true"]);
    let address = server.url.strip_prefix("http://").unwrap();
    let connect = async |from: [u8; 4]| {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((Ipv4Addr::from(from), 0).into()).unwrap();
        socket.connect(address.parse().unwrap()).await.unwrap()
    };
    // Whether it gets an answer, which keeps it open.
    let is_served = async |stream: &mut TcpStream| {
        let request = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
        let mut start = [0; 12];
        stream.write_all(request).await.is_ok()
            && stream.read_exact(&mut start).await.is_ok()
            && &start == b"HTTP/1.1 200"
    };
    let mut open = Vec::new();
    loop {
        let mut stream = connect([127, 0, 0, open.len() as u8]).await;
        if !is_served(&mut stream).await {
            break;
        }
        open.push(stream);
        assert!(open.len() <= 256, "no end of them");
    }
    assert_eq!(open.len(), 256);
    assert!(is_served(&mut connect([127, 0, 1, 1]).await).await);

    // A socket that has not signed in has its place, one that has leaves it to others.
    open.clear();
    eventually("the places are free again", async || {
        is_served(&mut connect([127, 0, 0, 1]).await).await
    })
    .await;
    let path = "/ws/notifications/";
    let mut sockets = Vec::new();
    while let Ok(socket) = Socket::try_open(&server, path, &[]).await {
        sockets.push(socket);
        assert!(sockets.len() <= 256, "no end of them");
    }
    drop(sockets);
    let signed_in = RefCell::new(Vec::new());
    for n in 0..5 {
        let user = server.user(&format!("user{n}")).await;
        let path = format!("{path}?token={}", user.token);
        for _ in 0..60 {
            let wanted = signed_in.borrow().len() + 1;
            eventually("a place is free", || async {
                let opened = Socket::try_open(&server, &path, &[]).await;
                signed_in.borrow_mut().extend(opened.ok());
                signed_in.borrow().len() == wanted
            })
            .await;
        }
    }
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
