//! How often things may be done, how large and how deep they may be, and what is said to those who ask for more.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

use crate::relay_reload::{READ, Settings};
use crate::support::{PASSWORD, SOON, Server, Socket, User, answer, eventually, moznods, text};

const PROXY: &str = "--http-trusted-proxies=127.0.0.0/8";

fn limited(arguments: &[&str]) -> Server {
    Server::start(&[&["--limits-enabled=true"], arguments].concat())
}

/// Asks until it is refused: how often it was done, which has to be `burst` times and what comes back meanwhile.
async fn is_done(
    burst: usize,
    whole: u64,
    mut ask: impl AsyncFnMut() -> reqwest::RequestBuilder,
) -> reqwest::Response {
    let started = Instant::now();
    for done in 0.. {
        let response = ask().await.send().await.unwrap();
        let back = started.elapsed().as_secs_f64() * burst as f64 / whole as f64;
        assert!(
            done as f64 <= burst as f64 + back + 1.0,
            "{done} of {burst}"
        );
        if response.status() == 429 {
            assert!(done >= burst, "{done} of {burst}");
            return response;
        }
    }
    unreachable!()
}

/// Seconds after which it may be asked for again.
async fn refused(response: reqwest::Response) -> u64 {
    assert_eq!(response.status(), 429);
    let wait = response.headers()["retry-after"].to_str().unwrap().parse();
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["code"], "rate_limited");
    assert!(body["detail"].as_str().unwrap().contains("later"), "{body}");
    wait.unwrap()
}

async fn count(server: &Server, kind: &str) -> u64 {
    let figures = server.request(Method::GET, "/metrics").send().await;
    let figures = figures.unwrap().text().await.unwrap();
    let name = format!("moznods_rate_limited_total{{kind=\"{kind}\"}} ");
    let line = figures.lines().find_map(|line| line.strip_prefix(&name));
    line.unwrap_or_else(|| panic!("{name}{figures}"))
        .parse()
        .unwrap()
}

async fn log_in(server: &Server, name: &str, password: &str, from: &str) -> reqwest::Response {
    let body = json!({"username": name, "password": password});
    let request = server.request(Method::POST, "/api/auth/login/");
    let request = request.header("X-Forwarded-For", from).json(&body);
    request.send().await.unwrap()
}

#[tokio::test]
async fn a_user_may_do_so_much_of_each_kind() {
    let server = limited(&[
        "--limits-api-per-minute=6",
        "--limits-reads-per-minute=30",
        "--limits-uploads-per-minute=3",
    ]);
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let file = || {
        let part = reqwest::multipart::Part::text("x").file_name("a.txt");
        reqwest::multipart::Form::new().part("file", part.mime_str("text/plain").unwrap())
    };
    let upload = async || {
        ann.request(Method::POST, "/api/files/upload/")
            .multipart(file())
    };
    let (status, file) = answer(upload().await).await;
    assert_eq!(status, 201, "{file}");
    refused(is_done(2, 60, upload).await).await;

    let name = json!({"name": "room"});
    let write = async || ann.request(Method::POST, "/api/rooms/").json(&name);
    let wait = refused(is_done(6, 60, write).await).await;
    assert!((1..=10).contains(&wait), "{wait}");
    let russian = write()
        .await
        .header("Accept-Language", "ru")
        .send()
        .await
        .unwrap();
    assert_eq!(russian.status(), 429);
    let russian: Value = russian.json().await.unwrap();
    assert!(
        russian["detail"].as_str().unwrap().contains("позже"),
        "{russian}"
    );

    // Who signs in for a link that would be good without is counted like others.
    let download = format!("/api/files/{}/download/", file["id"]);
    let read = async || ann.request(Method::GET, &download);
    let mut before = 0;
    while count(&server, "reads").await == 0 && before < 40 {
        read().await.send().await.unwrap();
        before += 1;
    }
    assert!((20..40).contains(&before), "{before}");
    let wait = refused(is_done(0, 60, read).await).await;
    assert!((1..=2).contains(&wait), "{wait}");
    for (kind, least) in [("uploads", 1), ("api", 2), ("reads", 2), ("frames", 0)] {
        let refused = count(&server, kind).await;
        assert!(refused >= least && refused < least + 5, "{kind}: {refused}");
    }

    let link = file["file"]
        .as_str()
        .unwrap()
        .strip_prefix(&server.url)
        .unwrap();
    assert_eq!(
        server
            .request(Method::GET, link)
            .send()
            .await
            .unwrap()
            .status(),
        200
    );
    bob.room("others go on").await;
    assert_eq!(bob.get("/api/auth/me/").await.0, 200);
}

#[tokio::test]
async fn strangers_are_told_apart_by_their_addresses() {
    let server = limited(&[
        PROXY,
        "--limits-reads-per-minute=2",
        "--limits-registrations-per-hour=3",
    ]);
    let me = async |from: &str| {
        let request = server.request(Method::GET, "/api/auth/me/");
        request
            .header("Authorization", "Token guess")
            .header("X-Forwarded-For", from)
    };
    let bad_tokens = is_done(40, 60, async || me("198.51.100.1").await).await;
    refused(bad_tokens).await;
    assert_eq!(me("198.51.100.2").await.send().await.unwrap().status(), 401);

    let register = async |n: usize, from: &str| {
        let name = format!("user{n}");
        let mail = format!("{name}@example.org");
        let body = json!({"username": name, "email": mail, "password": PASSWORD});
        let request = server.request(Method::POST, "/api/auth/register/");
        request.header("X-Forwarded-For", from).json(&body)
    };
    let mut n = 0;
    let one_more = async || {
        n += 1;
        register(n, "198.51.100.3").await
    };
    let wait = refused(is_done(3, 3600, one_more).await).await;
    assert!((1..=1200).contains(&wait), "{wait}");
    let (status, other) = answer(register(99, "198.51.100.4").await).await;
    assert_eq!(status, 201);
    assert_eq!(server.signed_in(&other).get("/api/auth/me/").await.0, 200);
    assert_eq!(count(&server, "registrations").await, 1);
}

#[tokio::test]
async fn each_wrong_password_from_the_third_on_has_to_be_waited_for_longer() {
    let server = limited(&[PROXY]);
    server.user("ann").await;
    let attacker = "198.51.100.1";
    for _ in 0..3 {
        assert_eq!(
            log_in(&server, "ann", "guess", attacker).await.status(),
            401
        );
    }
    let first = refused(log_in(&server, "ann", PASSWORD, attacker).await).await;
    assert!((1..=5).contains(&first), "{first}");
    let looked_at = || async { log_in(&server, "ann", "guess", attacker).await.status() == 401 };
    eventually("another one is looked at", looked_at).await;
    let second = refused(log_in(&server, "ann", PASSWORD, attacker).await).await;
    assert!((6..=10).contains(&second), "{second}");
    // Of a name that nobody has the same is said.
    let mut statuses = Vec::new();
    for _ in 0..4 {
        let response = log_in(&server, "nobody", "guess", "198.51.100.2").await;
        statuses.push(response.status().as_u16());
    }
    assert_eq!(statuses, [401, 401, 401, 429]);
    assert!(count(&server, "passwords").await >= 3);
}

#[tokio::test]
async fn nobody_is_locked_out_of_where_he_is_at_home() {
    let server = limited(&[PROXY]);
    // From this machine.
    let ann = server.user("ann").await;
    let guess = async |n: usize| {
        let from = format!("203.0.113.{n}");
        log_in(&server, "ann", "guess", &from)
            .await
            .status()
            .as_u16()
    };
    let guesses = join_all((0..50).map(guess)).await;
    assert_eq!(guesses, [401; 50]);
    assert_eq!(guess(50).await, 401);
    let elsewhere = log_in(&server, "ann", PASSWORD, "203.0.113.200").await;
    assert_eq!(elsewhere.status(), 429);
    let at_home = log_in(&server, "ann", PASSWORD, "127.0.0.1").await;
    assert_eq!(at_home.status(), 200);
    // Where a device of hers asks from is home as well.
    let asked = ann.request(Method::GET, "/api/auth/me/");
    let asked = asked
        .header("X-Forwarded-For", "203.0.113.201")
        .send()
        .await;
    assert_eq!(asked.unwrap().status(), 200);
    let there = log_in(&server, "ann", PASSWORD, "203.0.113.201").await;
    assert_eq!(there.status(), 200);
}

#[tokio::test]
async fn many_may_sign_in_from_one_address_but_not_guess_there() {
    let server = limited(&[PROXY]);
    let names: Vec<String> = (0..8).map(|n| format!("user{n}")).collect();
    for name in &names {
        server.user(name).await;
    }
    let office = "198.51.100.1";
    for name in &names {
        let response = log_in(&server, name, PASSWORD, office).await;
        assert_eq!(response.status(), 200, "{name}");
    }
    let mut statuses = Vec::new();
    for n in 0..7 {
        let response = log_in(&server, &format!("guess{n}"), "guess", office).await;
        statuses.push(response.status().as_u16());
    }
    assert_eq!(statuses, [401, 401, 401, 401, 401, 429, 429]);
    // Those who have been there are not held up by that.
    for name in &names {
        let response = log_in(&server, name, PASSWORD, office).await;
        assert_eq!(response.status(), 200, "{name}");
    }
    let mut times = 0;
    while log_in(&server, "user0", PASSWORD, office).await.status() == 200 {
        times += 1;
        assert!(times < 10, "no end of it");
    }
    assert!(times >= 3, "{times}");
}

fn said(content: &str) -> Message {
    Message::text(json!({"type": "chat_message", "data": {"content": content}}).to_string())
}

#[tokio::test]
async fn a_user_may_send_so_many_frames_and_who_goes_on_is_closed() {
    let server = limited(&[]);
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let room = ann.room_with(&[&bob]).await;
    let path = format!("/ws/chat/{room}/");
    let mut chat = ann.socket(&path).await;
    let started = Instant::now();
    chat.send_all((0..120).map(|_| said("x"))).await;
    let (mut done, mut refused) = (0, 0);
    while done + refused < 120 {
        let frame = chat.next().await;
        match frame["type"].as_str() {
            Some("chat_message") => done += 1,
            _ => {
                assert_eq!(
                    (&frame["type"], &frame["code"]),
                    (&json!("error"), &json!("rate_limited"))
                );
                assert_eq!(frame["retry_after"], 1);
                assert!(frame["detail"].as_str().unwrap().contains("later"));
                refused += 1;
            }
        }
    }
    let most = 60 + started.elapsed().as_secs() + 1;
    assert!((60..=most).contains(&done), "{done}");
    chat.is_silent().await;
    // REST has a share of its own, and so have other users.
    let messages = format!("/api/chat/{room}/messages/");
    ann.done(&messages, json!({"content": "x"})).await;
    let mut bobs = bob.socket(&path).await;
    bobs.send_all([said("hello")].into_iter()).await;
    assert_eq!(
        bobs.next_of("chat_message").await["data"]["content"],
        "hello"
    );

    let mut other = ann.socket(&path).await;
    other.send_all((0..400).map(|_| said("x"))).await;
    assert_eq!(other.close_code_at_last().await, 4429);
    chat.next_of("chat_message").await;
    assert_eq!(count(&server, "floods").await, 1);
    assert!(count(&server, "frames").await >= 100);
}

#[tokio::test]
async fn an_ice_restart_of_a_mesh_of_six_passes() {
    let server = limited(&[]);
    let names = ["ann", "bob", "cleo", "dan", "eve", "fay"];
    let mut users = Vec::new();
    for name in names {
        users.push(server.user(name).await);
    }
    let others: Vec<&User<'_>> = users[1..].iter().collect();
    let room = users[0].room_with(&others).await;
    let mut sockets = Vec::new();
    for user in &users {
        let mut socket = user.socket(&format!("/ws/call/{room}/")).await;
        socket.send(json!({"type": "join_call"})).await;
        socket.next_of("call_state").await;
        sockets.push(socket);
    }
    eventually("all are there", async || {
        let (_, state) = users[0]
            .get(&format!("/api/rooms/{room}/call-state/"))
            .await;
        let all = state["participants"].as_array().unwrap();
        all.iter().filter(|one| one["state"] == "active").count() == 6
    })
    .await;
    // Twice in a row, with all the candidates that a machine with several addresses may have.
    let frames = others.iter().flat_map(|other| {
        let offer = json!({"type": "offer", "data": {"target_user_id": other.id, "sdp": "x"}});
        let data = json!({"target_user_id": other.id, "candidate": "x"});
        let candidate = json!({"type": "ice_candidate", "data": data});
        std::iter::once(offer).chain((0..40).map(move |_| candidate.clone()))
    });
    let frames: Vec<Message> = frames
        .map(|frame| Message::text(frame.to_string()))
        .collect();
    sockets[0]
        .send_all(frames.iter().chain(&frames).cloned())
        .await;
    for socket in &mut sockets[1..] {
        for _ in 0..80 {
            socket.next_of("ice_candidate").await;
        }
    }
    assert_eq!(count(&server, "signals").await, 0);
}

#[tokio::test]
async fn whatever_else_is_sent_has_its_limit_too() {
    let server = limited(&["--limits-signals-per-minute=10"]);
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let room = ann.room_with(&[&bob]).await;
    for kind in [
        "typing",
        "message_read",
        "offer",
        "ping",
        "nonsense",
        "no frame",
    ] {
        let user = server.user(&kind.replace(' ', "")).await;
        ann.done(
            &format!("/api/rooms/{room}/add-participant/"),
            json!({"id": user.id}),
        )
        .await;
        let mut socket = user.socket("/ws/").await;
        socket.next_of("hello").await;
        let data = json!({"room_id": room, "message_id": 1, "target_user_id": 1, "sdp": ""});
        let frame = match kind {
            "no frame" => "[".to_owned(),
            kind => json!({"type": kind, "data": data}).to_string(),
        };
        socket
            .send_all((0..60).map(|_| Message::text(frame.clone())))
            .await;
        let error = loop {
            let frame = socket.next_of("error").await;
            if frame["code"] == "rate_limited" {
                break frame;
            }
        };
        assert!(
            (1..=6).contains(&error["retry_after"].as_u64().unwrap()),
            "{error}"
        );
        let named = match kind {
            "no frame" => Value::Null,
            _ => json!(room),
        };
        assert_eq!(error["data"]["room_id"], named, "{kind}");
        // He may still write.
        let data = json!({"room_id": room, "content": kind});
        socket
            .send(json!({"type": "chat_message", "data": data}))
            .await;
        while socket.next_of("chat_message").await["data"]["content"] != kind {}
    }
}

#[tokio::test]
async fn a_stranger_at_a_socket_is_not_borne_for_long_and_nobody_opens_them_without_end() {
    let server = limited(&["--limits-reads-per-minute=20"]);
    let ann = server.user("ann").await;
    let mut stranger = Socket::open(&server, "/ws/", &[]).await;
    let ping = Message::text(r#"{"type":"ping"}"#);
    stranger.send_all((0..200).map(|_| ping.clone())).await;
    assert_eq!(stranger.close_code_at_last().await, 4429);

    let mut opened = 0;
    loop {
        let mut socket = ann.socket("/ws/").await;
        if socket.try_next().await.is_none() {
            break;
        }
        opened += 1;
        assert!(opened < 40, "no end of them");
    }
    assert!(opened >= 20, "{opened}");
    assert!(count(&server, "reads").await >= 1);
}

#[tokio::test]
async fn limits_are_read_again_and_switched_off_while_the_server_runs() {
    let settings = Settings::of("limits", "api_per_minute = 3");
    let server = Server::start(&[
        "--config",
        settings.flag().strip_prefix("--config=").unwrap(),
        "--limits-enabled=true",
    ]);
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let name = json!({"name": "room"});
    let write = async || ann.request(Method::POST, "/api/rooms/").json(&name);
    let room = bob.room("small").await;
    refused(is_done(3, 60, write).await).await;
    settings
        .reload(&server, "api_per_minute = 100000", READ)
        .await;
    assert_eq!(answer(write().await).await.0, 201);

    let bad = "api_per_minute = \"few\"";
    let line = settings
        .reload(&server, bad, "the settings stay as they were")
        .await;
    let expected = "limits.api_per_minute = \"few\" (";
    assert!(
        line.contains(expected) && line.contains("from 1 to 100000"),
        "{line}"
    );
    assert_eq!(answer(write().await).await.0, 201);

    settings
        .reload(&server, "api_per_minute = 1\nroom_participants = 2", READ)
        .await;
    refused(is_done(0, 60, write).await).await;
    settings
        .reload(&server, "room_participants = 2", READ)
        .await;
    let cleo = server.user("cleo").await;
    let add = format!("/api/rooms/{room}/add-participant/");
    bob.done(&add, json!({"id": ann.id})).await;
    let (status, full) = bob.post(&add, json!({"id": cleo.id})).await;
    assert_eq!((status, &full["code"]), (403, &json!("room_full")));
    settings
        .reload(&server, "room_participants = 3", READ)
        .await;
    bob.done(&add, json!({"id": cleo.id})).await;
    assert!(!server.log().contains("at the next start"));
}

#[tokio::test]
async fn all_limits_are_switched_off_at_once() {
    let settings = Settings::of(
        "limits",
        "api_per_minute = 2\nreads_per_minute = 2\nframes_per_minute = 2",
    );
    let flag = settings.flag();
    let server = Server::start(&[
        &flag,
        "--limits-signals-per-minute=2",
        "--limits-enabled=true",
    ]);
    let ann = server.user("ann").await;
    let name = json!({"name": "room"});
    let write = async || ann.request(Method::POST, "/api/rooms/").json(&name);
    refused(is_done(2, 60, write).await).await;
    drop(server);

    let server = Server::start(&[&flag, "--limits-signals-per-minute=2"]);
    let ann = server.user("ann").await;
    for _ in 0..10 {
        let room = ann.room("room").await;
        let mut chat = ann.socket(&format!("/ws/chat/{room}/")).await;
        chat.send_all((0..10).map(|_| said("x"))).await;
        for _ in 0..10 {
            chat.send(json!({"type": "ping"})).await;
            let frame = chat.next_of("chat_message").await;
            assert_eq!(frame["data"]["content"], "x");
        }
        let wrong = log_in(&server, "ann", "guess", "127.0.0.1").await;
        assert_eq!(wrong.status(), 401);
    }
}

#[tokio::test]
async fn who_floods_by_a_stolen_token_cannot_keep_its_user_from_signing_out() {
    let server = limited(&["--limits-reads-per-minute=3", "--limits-api-per-minute=1"]);
    let ann = server.user("ann").await;
    let me = async || ann.request(Method::GET, "/api/auth/me/");
    refused(is_done(3, 60, me).await).await;
    let wrong = json!({"current_password": "guess", "new_password": "another one"});
    assert_eq!(ann.post("/api/auth/password/", wrong).await.0, 400);
    assert_eq!(ann.post("/api/auth/logout-all/", json!({})).await.0, 204);
    assert_eq!(answer(me().await).await.0, 401);
}

#[test]
fn a_limit_that_cannot_be_stops_the_start() {
    let directory = tempfile::tempdir().unwrap();
    for name in [
        "sign-in-per-minute",
        "api-per-minute",
        "reads-per-minute",
        "frames-per-minute",
        "signals-per-minute",
        "uploads-per-minute",
        "registrations-per-hour",
    ] {
        let flag = format!("--limits-{name}=0");
        let output = moznods(directory.path())
            .args(["serve", &flag])
            .output()
            .unwrap();
        assert!(!output.status.success(), "{name}");
        let said = text(&output.stderr);
        let key = format!("limits.{} = \"0\"", name.replace('-', "_"));
        assert!(
            said.contains(&key) && said.contains("a whole number from 1 to 100000"),
            "{said}"
        );
    }
}

/// What the server answers to these bytes, up to its closing.
async fn raw(server: &Server, request: &[u8]) -> String {
    let address = server.url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    // It may have answered and closed before all is written.
    let _ = stream.write_all(request).await;
    let mut answered = Vec::new();
    let reading = tokio::time::timeout(SOON, async {
        let mut part = [0; 4096];
        while let Ok(count @ 1..) = stream.read(&mut part).await {
            answered.extend_from_slice(&part[..count]);
            if answered.len() > 1000 {
                break;
            }
        }
    });
    reading.await.expect("an end");
    String::from_utf8_lossy(&answered).into_owned()
}

#[tokio::test]
async fn what_is_too_large_or_too_deep_is_refused_and_nothing_breaks() {
    let server = Server::start(&["--files-max-size=1MiB"]);
    let ann = server.user("ann").await;
    let room = ann.room("room").await;
    let messages = format!("/api/chat/{room}/messages/");
    let long = json!({"content": "x".repeat(200_000)});
    let (status, answered) = ann.post(&messages, long).await;
    assert_eq!(
        (status, &answered["code"]),
        (413, &json!("payload_too_large"))
    );
    let part = reqwest::multipart::Part::bytes(vec![b'x'; 2_000_000]).file_name("a.txt");
    let form = reqwest::multipart::Form::new().part("file", part);
    let (status, answered) = answer(
        ann.request(Method::POST, "/api/files/upload/")
            .multipart(form),
    )
    .await;
    assert_eq!(
        (status, &answered["code"]),
        (413, &json!("payload_too_large"))
    );

    let head = format!(
        "GET /healthz HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n",
        "x".repeat(100_000)
    );
    let many = format!(
        "GET /healthz HTTP/1.1\r\nHost: x\r\n{}\r\n",
        "X: x\r\n".repeat(500)
    );
    for head in [head, many] {
        let answered = raw(&server, head.as_bytes()).await;
        assert!(answered.starts_with("HTTP/1.1 431 "), "{answered}");
    }

    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let depth = 100_000 / open.len();
        let (open, close) = (open.repeat(depth), close.repeat(depth / 8));
        for body in [
            format!("{{\"content\":{open}"),
            format!("{open}{close}"),
            format!("{{\"content\":\"x\",\"other\":{open}0{close}"),
        ] {
            let request = ann
                .request(Method::POST, &messages)
                .header("Content-Type", "application/json");
            let (status, answered) = answer(request.body(body.clone())).await;
            assert_eq!((status, &answered["code"]), (400, &json!("parse_error")));
            for path in ["/ws/".to_owned(), format!("/ws/chat/{room}/")] {
                let mut socket = ann.socket(&path).await;
                socket
                    .send_text(&format!("{{\"type\":\"chat_message\",\"data\":{body}}}"))
                    .await;
                assert_eq!(socket.next_of("error").await["code"], "not_a_frame");
                socket.send_text(&body).await;
                assert_eq!(socket.next_of("error").await["code"], "not_a_frame");
                socket.is_silent().await;
            }
        }
    }
    // As deep as anybody needs is fine.
    let fine = format!(
        "{{\"content\":\"x\",\"other\":{}{}}}",
        "[".repeat(30),
        "]".repeat(30)
    );
    let request = ann
        .request(Method::POST, &messages)
        .header("Content-Type", "application/json");
    assert_eq!(answer(request.body(fine)).await.0, 201);
    for path in ["/ws/".to_owned(), format!("/ws/chat/{room}/")] {
        let mut socket = ann.socket(&path).await;
        socket.send_raw(Message::text("x".repeat(200_000))).await;
        assert_eq!(socket.close_code_at_last().await, 1009);
    }
}

#[tokio::test]
async fn who_waits_as_long_as_he_is_told_may_go_on() {
    let server = limited(&["--limits-api-per-minute=12"]);
    let ann = server.user("ann").await;
    let name = json!({"name": "room"});
    let write = async || ann.request(Method::POST, "/api/rooms/").json(&name);
    let wait = refused(is_done(12, 60, write).await).await;
    tokio::time::sleep(Duration::from_secs(wait)).await;
    assert_eq!(answer(write().await).await.0, 201);
}
