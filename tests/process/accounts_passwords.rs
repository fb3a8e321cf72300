//! REST: new passwords.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{PASSWORD, Server, answer, keys};

const OTHER: &str = "staple battery horse";

async fn sign_in(server: &Server, password: &str) -> (u16, Value) {
    let body = json!({"username": "ann", "password": password});
    answer(server.request(Method::POST, "/api/auth/login/").json(&body)).await
}

fn change(current: &str, new: &str) -> Value {
    json!({"current_password": current, "new_password": new})
}

#[tokio::test]
async fn who_changes_his_password_stays_signed_in_where_he_did_it_alone() {
    let server = Server::start(&[]);
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let (_, login) = sign_in(&server, PASSWORD).await;
    let phone = server.signed_in(&login);
    let mut here = ann.socket("/ws/notifications/").await;
    let mut there = phone.socket("/ws/notifications/").await;
    let mut of_bob = bob.socket("/ws/notifications/").await;

    for (current, new, field) in [
        ("wrong password", OTHER, "current_password"),
        ("", OTHER, "current_password"),
        (PASSWORD, "short", "new_password"),
        (PASSWORD, "", "new_password"),
    ] {
        let (status, refused) = ann.post("/api/auth/password/", change(current, new)).await;
        assert_eq!(
            (status, keys(&refused)),
            (400, vec!["code", field]),
            "{new}"
        );
    }
    there.is_silent().await;
    let changed = ann
        .post("/api/auth/password/", change(PASSWORD, OTHER))
        .await;
    assert_eq!(changed.0, 204, "{}", changed.1);
    assert_eq!(there.close_code_at_last().await, 4401);
    here.is_silent().await;
    of_bob.is_silent().await;
    assert_eq!(ann.get("/api/auth/me/").await.0, 200);
    assert_eq!(phone.get("/api/auth/me/").await.0, 401);
    assert_eq!(sign_in(&server, PASSWORD).await.0, 401);
    assert_eq!(sign_in(&server, OTHER).await.0, 200);
    assert_eq!(
        phone
            .post("/api/auth/password/", change(OTHER, PASSWORD))
            .await
            .0,
        401
    );
}

#[tokio::test]
async fn of_two_changes_at_once_one_is_made() {
    let server = Server::start(&[]);
    let ann = server.user("ann").await;
    for _ in 0..5 {
        let (_, login) = sign_in(&server, PASSWORD).await;
        let phone = server.signed_in(&login);
        let (a, b) = tokio::join!(
            ann.post("/api/auth/password/", change(PASSWORD, "one one one")),
            phone.post("/api/auth/password/", change(PASSWORD, "two two two"))
        );
        let (winner, new) = match (a.0, b.0) {
            (204, 400 | 401) => (&ann, "one one one"),
            (400 | 401, 204) => (&phone, "two two two"),
            other => panic!("{other:?}"),
        };
        assert_eq!(sign_in(&server, new).await.0, 200);
        let back = winner
            .post("/api/auth/password/", change(new, PASSWORD))
            .await;
        assert_eq!(back.0, 204);
        if new != "one one one" {
            return;
        }
    }
}

#[tokio::test]
async fn guesses_of_the_password_are_limited_as_sign_in_is() {
    let server = Server::start(&["--limits-enabled=true"]);
    let ann = server.user("ann").await;
    let mut statuses = Vec::new();
    for _ in 0..12 {
        let body = change("wrong password", OTHER);
        statuses.push(ann.post("/api/auth/password/", body).await.0);
    }
    assert_eq!(statuses[..3], [400; 3]);
    assert_eq!(statuses[3..], [429; 9]);
    assert_eq!(sign_in(&server, PASSWORD).await.0, 429, "the same attempts");
    assert_eq!(ann.get("/api/auth/me/").await.0, 200);
}
