//! REST: the devices on which one is signed in.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{PASSWORD, Server, User, answer, keys};

async fn sign_in<'a>(server: &'a Server, body: &Value, agent: &str) -> User<'a> {
    let request = server
        .request(Method::POST, "/api/auth/login/")
        .header("User-Agent", agent);
    let (status, login) = answer(request.json(body)).await;
    assert_eq!(status, 200, "{login}");
    server.signed_in(&login)
}

async fn devices(of: &User<'_>) -> Vec<Value> {
    let (status, listed) = of.get("/api/auth/devices/").await;
    assert_eq!(status, 200);
    listed.as_array().unwrap().clone()
}

#[tokio::test]
async fn devices_are_listed_named_and_ended_one_by_one() {
    let server = Server::start(&[]);
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let login = json!({"username": "ann", "password": PASSWORD});
    let firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
    let laptop = sign_in(&server, &login, firefox).await;
    let mut named = login.clone();
    named["device_name"] = json!(" Ann's phone ");
    let phone = sign_in(&server, &named, firefox).await;

    let listed = devices(&phone).await;
    let seen: Vec<_> = listed
        .iter()
        .map(|one| (&one["name"], &one["current"]))
        .collect();
    assert_eq!(
        seen,
        [
            (&json!("Ann's phone"), &json!(true)),
            (&json!("Firefox on Linux"), &json!(false)),
            (&json!(""), &json!(false)),
        ]
    );
    assert_eq!(
        keys(&listed[0]),
        ["created_at", "current", "id", "last_used_at", "name"]
    );
    assert!(listed[0]["created_at"].as_str().unwrap().ends_with('Z'));

    let path = format!("/api/auth/devices/{}/", listed[1]["id"]);
    let patch = |by: &User<'_>, body: Value| answer(by.request(Method::PATCH, &path).json(&body));
    let (status, renamed) = patch(&phone, json!({"name": "work"})).await;
    assert_eq!((status, &renamed["name"]), (200, &json!("work")));
    assert_eq!(renamed["current"], false);
    for bad in [
        json!("x".repeat(101)),
        json!("a\u{202e}b"),
        json!(""),
        Value::Null,
        json!(5),
    ] {
        let (status, refused) = patch(&phone, json!({"name": bad})).await;
        assert_eq!(
            (status, keys(&refused)),
            (400, vec!["code", "name"]),
            "{bad}"
        );
    }
    assert_eq!(patch(&bob, json!({"name": "mine"})).await.0, 404);

    let mut socket = laptop.socket("/ws/notifications/").await;
    let mut other = phone.socket("/ws/notifications/").await;
    socket.is_silent().await;
    let delete = |by: &User<'_>| answer(by.request(Method::DELETE, &path));
    assert_eq!(delete(&bob).await.0, 404);
    socket.is_silent().await;
    assert_eq!(delete(&phone).await.0, 204);
    assert_eq!(socket.close_code_at_last().await, 4401);
    assert_eq!(laptop.get("/api/auth/me/").await.0, 401);
    other.is_silent().await;
    assert_eq!(delete(&phone).await.0, 404);
    assert_eq!(devices(&ann).await.len(), 2);
}

#[tokio::test]
async fn a_device_name_that_cannot_be_makes_no_account_and_no_sign_in() {
    let server = Server::start(&[]);
    let body = json!({
        "username": "ann", "email": "ann@example.org", "password": PASSWORD, "device_name": "x".repeat(101),
    });
    let register = |body: &Value| {
        let request = server.request(Method::POST, "/api/auth/register/");
        answer(request.header("User-Agent", "curl/8.14.1").json(body))
    };
    let (status, refused) = register(&body).await;
    assert_eq!((status, keys(&refused)), (400, vec!["code", "device_name"]));
    let mut good = body.clone();
    good["device_name"] = json!("");
    let (status, login) = register(&good).await;
    assert_eq!(status, 201);
    assert_eq!(devices(&server.signed_in(&login)).await[0]["name"], "curl");
    let request = server.request(Method::POST, "/api/auth/login/");
    let (status, refused) = answer(request.json(&body)).await;
    assert_eq!((status, keys(&refused)), (400, vec!["code", "device_name"]));
}

#[tokio::test]
async fn of_more_than_a_hundred_sign_ins_the_one_unused_for_longest_ends() {
    let server = Server::start(&[]);
    let ann = server.user("ann").await;
    let mut socket = ann.socket("/ws/notifications/").await;
    let login = json!({"username": "ann", "password": PASSWORD});
    let mut last = None;
    for n in 0..100 {
        if n == 99 {
            socket.is_silent().await;
        }
        last = Some(sign_in(&server, &login, "curl/8").await);
    }
    assert_eq!(socket.close_code_at_last().await, 4401);
    assert_eq!(ann.get("/api/auth/me/").await.0, 401);
    assert_eq!(devices(&last.unwrap()).await.len(), 100);
}
