//! Web push: who is told what, and when; what becomes of what cannot be sent.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::push_service::{Browser, PushService, delete, direct_room, figure, say};
use crate::support::{SOON, Server, eventually};

const SUBSCRIPTIONS: &str = "/api/push/subscriptions/";

fn unix() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_secs()).unwrap()
}

#[tokio::test]
async fn who_is_away_is_told_of_a_direct_message() {
    let mut service = PushService::start().await;
    let server = service.server(&["--push-contact=mailto:admin@example.org"]);
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let mut browser = Browser::open();
    let endpoint = service.endpoint("/ok/very-secret?also=this");
    browser.subscribe(&bob, &endpoint).await;
    browser.subscribe(&ann, &service.endpoint("/ok/ann")).await;
    let room = direct_room(&ann, &bob).await;
    let message = say(&ann, room, "Привет, \u{1F600}!").await;

    let pushed = service.next().await;
    assert_eq!(pushed.path, "/ok/very-secret");
    assert_eq!(pushed.header("content-encoding"), "aes128gcm");
    assert_eq!(pushed.header("urgency"), "high");
    assert!((86_000..=86_400).contains(&pushed.header("ttl").parse::<i64>().unwrap()));
    assert_eq!(pushed.header("topic").len(), 32);
    assert_eq!(pushed.header("host"), format!("localhost:{}", service.port));
    let read = browser.read(&pushed);
    assert_eq!(
        read["payload"],
        json!({
            "type": "message", "room_id": room, "room_name": "DM: ann & bob", "from": "ann",
            "text": "Привет, \u{1F600}!", "message_id": message,
        })
    );
    assert_eq!(read["signed"], true);
    assert_eq!(read["header"], json!({"typ": "JWT", "alg": "ES256"}));
    let claims = &read["claims"];
    assert_eq!(claims["aud"], format!("https://localhost:{}", service.port));
    assert_eq!(claims["sub"], "mailto:admin@example.org");
    let left = claims["exp"].as_i64().unwrap() - unix();
    assert!((3600..=86_400).contains(&left), "{left}");
    let (_, config) = bob.get("/api/config/").await;
    assert_eq!(config["push_public_key"], read["key"]);

    eventually("it is counted", || async {
        figure(&server, "push_sent_total").await == 1
    })
    .await;
    assert!(service.is_silent(), "the author was told");
    assert!(!server.log().contains("secret"), "{}", server.log());
}

#[tokio::test]
async fn who_is_there_is_told_once_he_turns_out_to_be_away() {
    let mut service = PushService::start().await;
    let server = service.server(&[]);
    let ann = server.user("ann").await;
    let mut browser = Browser::open();
    let mut rooms = Vec::new();
    let mut sockets = Vec::new();
    let there = [server.user("bob").await, server.user("eve").await];
    for user in &there {
        browser
            .subscribe(user, &service.endpoint(&format!("/ok/{}", user.id)))
            .await;
        rooms.push(direct_room(&ann, user).await);
        sockets.push(user.socket("/ws/notifications/").await);
    }
    let read = say(&ann, rooms[0], "bob reads this").await;
    say(&ann, rooms[1], "eve does not").await;
    let path = format!("/api/chat/messages/{read}/read/");
    there[0].done(&path, json!({})).await;
    // It is seen that nothing has been sent to them: this comes later and is sent.
    let carol = server.user("carol").await;
    browser
        .subscribe(&carol, &service.endpoint("/ok/carol"))
        .await;
    let room = direct_room(&ann, &carol).await;
    say(&ann, room, "carol is away").await;
    assert_eq!(service.next().await.path, "/ok/carol");

    let bob_and_eve = sockets.len();
    assert_eq!(
        figure(&server, "websocket_connections").await,
        bob_and_eve as i64
    );
    drop(sockets);
    let pushed = service.next().await;
    assert_eq!(pushed.path, format!("/ok/{}", there[1].id));
    assert_eq!(browser.payload(&pushed)["text"], "eve does not");
    let dave = server.user("dave").await;
    browser
        .subscribe(&dave, &service.endpoint("/ok/dave"))
        .await;
    let room = direct_room(&ann, &dave).await;
    say(&ann, room, "dave is away").await;
    assert_eq!(service.next().await.path, "/ok/dave");
}

#[tokio::test]
async fn many_messages_in_a_short_time_are_told_once_with_the_newest() {
    let mut service = PushService::start().await;
    let server = service.server(&[]);
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let mut browser = Browser::open();
    browser.subscribe(&bob, &service.endpoint("/ok/bob")).await;
    let room = direct_room(&ann, &bob).await;
    say(&ann, room, "first").await;
    let first = service.next().await;
    assert_eq!(browser.payload(&first)["text"], "first");
    for n in 1..=5 {
        say(&ann, room, &format!("later {n}")).await;
    }
    let second = service.next().await;
    assert_eq!(browser.payload(&second)["text"], "later 5");
    let between = second.at - first.at;
    assert!(between > Duration::from_secs(9), "{between:?}");
    assert_eq!(first.header("topic"), second.header("topic"));
    assert_ne!(first.body, second.body);
    // Read before its time has come: of no use any more.
    say(&ann, room, "read soon").await;
    let last = say(&ann, room, "read at once").await;
    bob.done(&format!("/api/chat/messages/{last}/read/"), json!({}))
        .await;
    let mut call = ann.socket(&format!("/ws/call/{room}/")).await;
    call.send(json!({"type": "join_call"})).await;
    let third = service.next().await;
    assert_eq!(browser.payload(&third)["type"], "call");
    assert!(
        third.at - second.at < Duration::from_secs(9),
        "calls do not wait for messages"
    );
    assert_ne!(first.header("topic"), third.header("topic"));
}

#[tokio::test]
async fn a_user_says_of_what_he_is_told() {
    let mut service = PushService::start().await;
    let server = service.server(&[]);
    let (ann, bob, eve) = (
        server.user("ann").await,
        server.user("bob").await,
        server.user("eve").await,
    );
    let mut browser = Browser::open();
    browser.subscribe(&bob, &service.endpoint("/ok/bob")).await;
    browser.subscribe(&eve, &service.endpoint("/ok/eve")).await;
    let settings = "/api/push/settings/";
    assert_eq!(
        bob.get(settings).await,
        (200, json!({"messages": "mentions", "calls": true}))
    );
    let change = |body: Value| {
        crate::support::answer(bob.request(reqwest::Method::PATCH, settings).json(&body))
    };
    let (status, refused) = change(json!({"messages": "some"})).await;
    assert_eq!(
        (status, &refused["messages"][0]),
        (400, &json!("all, mentions or none."))
    );
    let (status, refused) = change(json!({"calls": "yes"})).await;
    assert_eq!(
        (status, &refused["code"]),
        (400, &json!("validation_error"))
    );

    // Eve always is told of what is said to her, after what bob may have been told of.
    let fence = direct_room(&ann, &eve).await;
    let room = ann.room_with(&[&bob]).await;
    say(&ann, room, "bob is not told of all").await;
    say(&ann, fence, "1").await;
    assert_eq!(service.next().await.path, "/ok/eve");

    let all = change(json!({"messages": "all"})).await;
    assert_eq!(all, (200, json!({"messages": "all", "calls": true})));
    say(&ann, room, "now he is").await;
    let pushed = service.next().await;
    assert_eq!(
        (pushed.path.as_str(), pushed.header("urgency")),
        ("/ok/bob", "normal")
    );
    assert_eq!(browser.payload(&pushed)["text"], "now he is");

    let none = change(json!({"messages": "none", "calls": false})).await;
    assert_eq!(none, (200, json!({"messages": "none", "calls": false})));
    let direct = direct_room(&ann, &bob).await;
    say(&ann, direct, "nor of this").await;
    let mut call = ann.socket(&format!("/ws/call/{direct}/")).await;
    call.send(json!({"type": "join_call"})).await;
    let mut with_eve = ann.socket(&format!("/ws/call/{fence}/")).await;
    with_eve.send(json!({"type": "join_call"})).await;
    let pushed = service.next().await;
    assert_eq!(pushed.path, "/ok/eve");
    assert_eq!(browser.payload(&pushed)["type"], "call");
}

#[tokio::test]
async fn a_call_is_told_while_it_is_of_use() {
    let mut service = PushService::start().await;
    let server = service.server(&[]);
    let (ann, bob, eve) = (
        server.user("ann").await,
        server.user("bob").await,
        server.user("eve").await,
    );
    let mut browser = Browser::open();
    browser.subscribe(&bob, &service.endpoint("/ok/bob")).await;
    let room = ann.room_with(&[&bob, &eve]).await;
    let path = format!("/ws/call/{room}/");
    let mut call = ann.socket(&path).await;
    call.next_of("call_state").await;
    call.send(json!({"type": "join_call"})).await;
    let pushed = service.next().await;
    assert_eq!(pushed.header("urgency"), "high");
    assert!((20..=30).contains(&pushed.header("ttl").parse::<i64>().unwrap()));
    assert_eq!(
        browser.payload(&pushed),
        json!({"type": "call", "room_id": room, "room_name": "room", "from": "ann", "text": ""})
    );
    // The call has begun long ago for whoever comes second.
    let mut second = eve.socket(&path).await;
    second.send(json!({"type": "join_call"})).await;
    call.next_of("user_joined").await;
    drop((call, second));
    let direct = direct_room(&ann, &bob).await;
    say(&ann, direct, "hello").await;
    let pushed = service.next().await;
    assert_eq!(browser.payload(&pushed)["text"], "hello");
}

#[tokio::test]
async fn a_subscription_that_is_no_more_is_removed() {
    let mut service = PushService::start().await;
    let server = service.server(&[]);
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let browser = Browser::open();
    browser
        .subscribe(&bob, &service.endpoint("/gone/bob"))
        .await;
    assert_eq!(figure(&server, "push_subscriptions").await, 1);
    let room = direct_room(&ann, &bob).await;
    say(&ann, room, "hello").await;
    service.next().await;
    eventually("it is removed", || async {
        bob.get(SUBSCRIPTIONS).await == (200, json!([]))
    })
    .await;
    eventually("it is counted", || async {
        figure(&server, "push_subscriptions").await == 0
    })
    .await;
    assert_eq!(figure(&server, "push_failed_total").await, 1);
}

#[tokio::test]
async fn what_fails_is_tried_again_where_that_helps() {
    let mut service = PushService::start().await;
    let server = service.server(&[]);
    let (ann, bob, eve) = (
        server.user("ann").await,
        server.user("bob").await,
        server.user("eve").await,
    );
    let browser = Browser::open();
    for path in ["bad", "redirect", "endless"] {
        let endpoint = service.endpoint(&format!("/{path}/secret"));
        browser.subscribe(&eve, &endpoint).await;
    }
    browser
        .subscribe(&bob, &service.endpoint("/busy/secret"))
        .await;
    browser
        .subscribe(&bob, &service.endpoint("/later/secret"))
        .await;
    let room = direct_room(&ann, &eve).await;
    say(&ann, room, "hello").await;
    for _ in 0..3 {
        let path = service.next().await.path;
        assert!(!path.starts_with("/ok"), "a redirect was followed");
    }
    eventually("they have failed", || async {
        figure(&server, "push_failed_total").await == 3
    })
    .await;

    let room = direct_room(&ann, &bob).await;
    say(&ann, room, "hello").await;
    let (mut busy, mut later) = (Vec::new(), Vec::new());
    while busy.len() < 2 || later.len() < 2 {
        let pushed = service.next().await;
        match pushed.path.as_str() {
            "/busy/secret" => busy.push(pushed),
            "/later/secret" => later.push(pushed),
            other => panic!("{other}"),
        }
    }
    let between = |pushed: &[crate::push_service::Pushed]| pushed[1].at - pushed[0].at;
    assert!(between(&busy) >= Duration::from_secs(2));
    assert!(
        between(&later) >= Duration::from_secs(4),
        "Retry-After says so"
    );
    assert_ne!(
        busy[0].body, busy[1].body,
        "each attempt has a key of its own"
    );
    let log = server.log();
    assert!(!log.contains("secret"), "{log}");
    assert_eq!(log.matches("400 Bad Request").count(), 1, "{log}");
    assert!(log.contains("307 Temporary Redirect"), "{log}");
}

#[tokio::test]
async fn what_users_name_is_neither_this_machine_nor_a_private_network() {
    let service = PushService::start().await;
    let server = Server::start_in(&[], &service.environment());
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let browser = Browser::open();
    for host in [
        "127.0.0.1",
        "[::1]",
        "10.0.0.1",
        "169.254.169.254",
        "[::ffff:127.0.0.1]",
    ] {
        let endpoint = format!("https://{host}:{}/ok/x", service.port);
        let (status, refused) = bob
            .post(SUBSCRIPTIONS, browser.subscription(&endpoint))
            .await;
        assert_eq!(
            (status, &refused["endpoint"][0]),
            (400, &json!("This address is not public.")),
            "{host}"
        );
    }
    // What a name stands for is found out when it is used; so do notations that are none of a URL.
    let named = [
        service.endpoint("/ok/x"),
        format!("https://2130706433:{}/ok/x", service.port),
    ];
    for endpoint in &named {
        browser.subscribe(&bob, endpoint).await;
    }
    let room = direct_room(&ann, &bob).await;
    say(&ann, room, "hello").await;
    eventually("they have failed", || async {
        figure(&server, "push_failed_total").await == 2
    })
    .await;
    assert_eq!(service.connections(), 0);
    assert!(server.log().contains("its address is not public"));
}

#[tokio::test]
async fn a_subscription_goes_with_its_sign_in() {
    let service = PushService::start().await;
    let server = service.server(&[]);
    let bob = server.user("bob").await;
    let browser = Browser::open();
    let sign_in = async || {
        let body = json!({"username": "bob", "password": crate::support::PASSWORD});
        let request = server
            .request(reqwest::Method::POST, "/api/auth/login/")
            .json(&body);
        server.signed_in(&crate::support::answer(request).await.1)
    };
    let other = sign_in().await;
    let one = browser.subscribe(&bob, &service.endpoint("/ok/1")).await;
    browser.subscribe(&other, &service.endpoint("/ok/2")).await;
    assert_eq!(
        other.get(SUBSCRIPTIONS).await.1.as_array().unwrap().len(),
        2
    );
    other.done("/api/auth/logout/", json!({})).await;
    let (_, left) = bob.get(SUBSCRIPTIONS).await;
    assert_eq!(left, json!([one]));
    assert_eq!(figure(&server, "push_subscriptions").await, 1);

    bob.done("/api/auth/logout-all/", json!({})).await;
    assert_eq!(figure(&server, "push_subscriptions").await, 0);
    let again = sign_in().await;
    browser.subscribe(&again, &service.endpoint("/ok/3")).await;
    assert!(
        server
            .command(&["user", "block", "bob"], "")
            .status
            .success()
    );
    eventually("the server has heard of it", || async {
        figure(&server, "push_subscriptions").await == 0
    })
    .await;
}

#[tokio::test]
async fn an_endpoint_is_subscribed_once_and_a_user_has_twenty() {
    let service = PushService::start().await;
    let mut server = service.server(&[]);
    let browser = Browser::open();
    let key = {
        let (ann, bob) = (server.user("ann").await, server.user("bob").await);
        let endpoint = |n: usize| service.endpoint(&format!("/ok/{n}"));
        let (status, first) = bob
            .post(SUBSCRIPTIONS, browser.subscription(&endpoint(0)))
            .await;
        assert_eq!(status, 201);
        assert_eq!(
            crate::support::keys(&first),
            ["created_at", "endpoint", "expires_at", "id"]
        );
        let again = bob
            .post(SUBSCRIPTIONS, browser.subscription(&endpoint(0)))
            .await;
        assert_eq!(again, (200, first.clone()));
        for n in 1..20 {
            browser.subscribe(&bob, &endpoint(n)).await;
        }
        let (status, refused) = bob
            .post(SUBSCRIPTIONS, browser.subscription(&endpoint(20)))
            .await;
        assert_eq!(
            (status, &refused["endpoint"][0]),
            (400, &json!("There may be no more than 20 of them."))
        );
        assert_eq!(
            bob.post(SUBSCRIPTIONS, browser.subscription(&endpoint(19)))
                .await
                .0,
            200
        );

        // The browser has another user now.
        assert_eq!(
            ann.post(SUBSCRIPTIONS, browser.subscription(&endpoint(0)))
                .await
                .0,
            200
        );
        assert_eq!(bob.get(SUBSCRIPTIONS).await.1.as_array().unwrap().len(), 19);
        let theirs = format!("{SUBSCRIPTIONS}{}/", first["id"]);
        assert_eq!(delete(&bob, &theirs, json!({})).await.0, 404);
        assert_eq!(delete(&ann, &theirs, json!({})).await.0, 204);
        assert_eq!(ann.get(SUBSCRIPTIONS).await.1, json!([]));
        let by_endpoint = json!({"endpoint": endpoint(1)});
        assert_eq!(
            delete(&ann, SUBSCRIPTIONS, by_endpoint.clone()).await.0,
            404
        );
        assert_eq!(
            delete(&bob, SUBSCRIPTIONS, by_endpoint.clone()).await.0,
            204
        );
        assert_eq!(delete(&bob, SUBSCRIPTIONS, by_endpoint).await.0, 404);
        assert_eq!(figure(&server, "push_subscriptions").await, 18);
        bob.get("/api/config/").await.1["push_public_key"].clone()
    };
    server.crash_and_restart();
    let request = server.request(reqwest::Method::GET, "/api/config/");
    assert_eq!(
        crate::support::answer(request).await.1["push_public_key"],
        key
    );
    assert_eq!(figure(&server, "push_subscriptions").await, 18);
}

#[tokio::test]
async fn what_is_no_subscription_is_refused() {
    let server = Server::start(&[]);
    let bob = server.user("bob").await;
    let browser = Browser::open();
    let right = browser.subscription("https://push.example/x");
    let with = |path: &str, value: Value| {
        let mut body = right.clone();
        *body.pointer_mut(path).unwrap() = value;
        body
    };
    let off_the_curve = {
        let key = right["keys"]["p256dh"].as_str().unwrap();
        format!("{}AAAA", &key[..key.len() - 4])
    };
    let long = format!("https://push.example/{}", "x".repeat(2048));
    for (field, body) in [
        (
            "endpoint",
            with("/endpoint", json!("http://push.example/x")),
        ),
        (
            "endpoint",
            with("/endpoint", json!("https://user@push.example/x")),
        ),
        ("endpoint", with("/endpoint", json!(long))),
        ("endpoint", with("/endpoint", json!(null))),
        ("endpoint", with("/endpoint", json!(5))),
        ("keys", with("/keys", json!(null))),
        ("keys", with("/keys/p256dh", json!(off_the_curve))),
        ("keys", with("/keys/p256dh", json!("x".repeat(100_000)))),
        ("keys", with("/keys/auth", json!("AAAA"))),
        ("keys", with("/keys/auth", json!(null))),
        ("expirationTime", with("/expirationTime", json!(1_000_000))),
        ("expirationTime", with("/expirationTime", json!("soon"))),
    ] {
        let (status, refused) = bob.post(SUBSCRIPTIONS, body).await;
        assert_eq!(
            (status, &refused["code"]),
            (400, &json!("validation_error")),
            "{field}"
        );
        assert!(refused[field][0].is_string(), "{field}: {refused}");
    }
    let later = with("/expirationTime", json!((unix() + 3600) * 1000));
    assert_eq!(bob.post(SUBSCRIPTIONS, later).await.0, 201);
    let request = server.request(reqwest::Method::GET, SUBSCRIPTIONS);
    assert_eq!(crate::support::answer(request).await.0, 401);

    let off = Server::start(&["--push-enabled=false"]);
    let bob = off.user("bob").await;
    let (status, refused) = bob.post(SUBSCRIPTIONS, right).await;
    assert_eq!((status, &refused["code"]), (404, &json!("push_off")));
    assert_eq!(
        bob.get("/api/config/").await.1["push_public_key"],
        Value::Null
    );
}

#[tokio::test]
async fn a_push_service_that_does_not_answer_slows_nobody_and_what_waits_is_bounded() {
    const ROOMS: usize = 210;
    let mut service = PushService::start().await;
    let server = service.server(&[]);
    let (ann, bob, eve) = (
        server.user("ann").await,
        server.user("bob").await,
        server.user("eve").await,
    );
    let browser = Browser::open();
    for n in 0..20 {
        // Two of them take all places that there are for bob.
        browser
            .subscribe(&bob, &service.endpoint(&format!("/never/{n}")))
            .await;
    }
    let elsewhere = format!("https://127.0.0.1:{}/ok/eve", service.port);
    browser.subscribe(&eve, &elsewhere).await;
    let path = "/api/push/settings/";
    let all = bob
        .request(reqwest::Method::PATCH, path)
        .json(&json!({"messages": "all"}));
    assert_eq!(crate::support::answer(all).await.0, 200);
    let mut rooms = Vec::new();
    for _ in 0..ROOMS {
        rooms.push(ann.room_with(&[&bob]).await);
    }
    let started = Instant::now();
    for room in rooms {
        say(&ann, room, "hello").await;
    }
    assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
    eventually("what is too much is given up", || async {
        figure(&server, "push_dropped_total").await > 0
    })
    .await;
    let fence = direct_room(&ann, &eve).await;
    say(&ann, fence, "hello").await;
    let to_eve = async { while service.next().await.path != "/ok/eve" {} };
    let in_time = tokio::time::timeout(SOON, to_eve).await;
    in_time.expect("eve does not wait for bob's push service");
    // Twenty for each room: what waits, what is being sent or has failed, and what was given up.
    let dropped = figure(&server, "push_dropped_total").await;
    assert!(dropped <= 20 * ROOMS as i64 - 4096, "{dropped}");
    assert!(server.resident() < 150, "{} MiB", server.resident());
}
