//! Links for a new password, and accounts that their users delete.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{PASSWORD, Server, User, answer, keys, text};

const OTHER: &str = "staple battery horse";

async fn login(server: &Server, name: &str, password: &str) -> (u16, Value) {
    let body = json!({"username": name, "password": password});
    answer(server.request(Method::POST, "/api/auth/login/").json(&body)).await
}

async fn reset(server: &Server, token: &str, password: &str) -> (u16, Value) {
    let body = json!({"token": token, "password": password, "device_name": "new phone"});
    answer(server.request(Method::POST, "/api/auth/reset/").json(&body)).await
}

/// The token of a link that the administrator makes on the command line.
fn link(server: &Server, name: &str, before: &str) -> String {
    let output = server.command(&["user", "reset-link", name], "");
    assert!(output.status.success(), "{}", text(&output.stderr));
    let printed = text(&output.stdout);
    let token = printed
        .trim_end()
        .strip_prefix(&format!("{before}/#/reset/"));
    token.unwrap_or_else(|| panic!("{printed}")).to_owned()
}

/// An account made by the command line, signed in.
async fn admin<'a>(server: &'a Server, name: &str) -> User<'a> {
    let email = format!("{name}@example.org");
    let output = server.command(
        &[
            "user",
            "add",
            "--username",
            name,
            "--email",
            &email,
            "--admin",
        ],
        PASSWORD,
    );
    assert!(output.status.success(), "{}", text(&output.stderr));
    let (status, signed_in) = login(server, name, PASSWORD).await;
    assert_eq!(status, 200, "{signed_in}");
    server.signed_in(&signed_in)
}

#[tokio::test]
async fn a_link_sets_a_new_password_once_and_ends_all_sign_ins() {
    let server = Server::start(&[]);
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let mut socket = ann.socket("/ws/notifications/").await;
    let mut of_bob = bob.socket("/ws/notifications/").await;
    let here = "http://localhost:8080";
    let first = link(&server, "ann", here);
    let token = link(&server, "ANN@example.org", here);
    for void in [&first, "guess"] {
        let (status, refused) = reset(&server, void, OTHER).await;
        assert_eq!((status, keys(&refused)), (400, vec!["code", "token"]));
    }
    let (status, refused) = reset(&server, "", OTHER).await;
    assert_eq!((status, keys(&refused)), (400, vec!["code", "token"]));
    for bad in ["short", ""] {
        let (status, refused) = reset(&server, &token, bad).await;
        assert_eq!((status, keys(&refused)), (400, vec!["code", "password"]));
    }
    socket.is_silent().await;

    let (a, b) = tokio::join!(reset(&server, &token, OTHER), reset(&server, &token, OTHER));
    assert_eq!(a.0 + b.0, 200 + 400, "one of the two: {} {}", a.1, b.1);
    let signed_in = if a.0 == 200 { a.1 } else { b.1 };
    assert_eq!(socket.close_code_at_last().await, 4401);
    of_bob.is_silent().await;
    assert_eq!(ann.get("/api/auth/me/").await.0, 401);
    assert_eq!(signed_in["user"]["email"], "ann@example.org");
    let ann = server.signed_in(&signed_in);
    let (_, devices) = ann.get("/api/auth/devices/").await;
    assert_eq!(devices[0]["name"], "new phone");
    assert_eq!(login(&server, "ann", PASSWORD).await.0, 401);
    assert_eq!(login(&server, "ann", OTHER).await.0, 200);

    // One that was not used ends with any new password.
    let token = link(&server, "ann", here);
    let body = json!({"current_password": OTHER, "new_password": PASSWORD});
    assert_eq!(ann.post("/api/auth/password/", body).await.0, 204);
    assert_eq!(reset(&server, &token, OTHER).await.0, 400);

    let token = link(&server, "ann", here);
    server.command(&["user", "block", "ann"], "");
    let (status, refused) = reset(&server, &token, OTHER).await;
    assert_eq!((status, &refused["code"]), (403, &json!("account_blocked")));
    let log = server.log();
    assert!(!log.contains(&token) && !log.contains(&first));
}

#[tokio::test]
async fn administrators_make_links_by_the_api() {
    let server = Server::start(&[]);
    let (root, ann) = (admin(&server, "root").await, server.user("ann").await);
    let path = format!("/api/admin/users/{}/reset-link/", ann.id);
    assert_eq!(ann.post(&path, json!({})).await.0, 403);
    assert_eq!(answer(server.request(Method::POST, &path)).await.0, 401);
    assert_eq!(
        root.post("/api/admin/users/999/reset-link/", json!({}))
            .await
            .0,
        404
    );
    let made = root.done(&path, json!({})).await;
    assert_eq!(keys(&made), ["expires_at", "url"]);
    let url = made["url"].as_str().unwrap();
    let token = url.strip_prefix(&format!("{}/#/reset/", server.url));
    let token = token.unwrap_or_else(|| panic!("{url}"));
    let public = [
        "user",
        "reset-link",
        "ann",
        "--public-url=https://chat.example.org",
    ];
    let printed = text(&server.command(&public, "").stdout);
    let newer = printed
        .trim_end()
        .strip_prefix("https://chat.example.org/#/reset/");
    assert_eq!(reset(&server, token, OTHER).await.0, 400);
    let newer = newer.unwrap_or_else(|| panic!("{printed}"));
    assert_eq!(reset(&server, newer, OTHER).await.0, 200);
}

#[tokio::test]
async fn guesses_of_a_link_are_limited_by_address() {
    let server = Server::start(&["--limits-enabled=true"]);
    let mut statuses = Vec::new();
    for _ in 0..22 {
        statuses.push(reset(&server, "guess", OTHER).await.0);
    }
    assert_eq!(statuses[0], 400);
    assert!(statuses.contains(&429), "{statuses:?}");
}

#[tokio::test]
async fn one_deletes_ones_own_account_with_all_that_hangs_on_it() {
    let server = Server::start(&[]);
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let room = ann.room_with(&[&bob]).await;
    let mut socket = ann.socket("/ws/notifications/").await;
    let delete = |by: &User<'_>, password: &str| {
        let request = by.request(Method::DELETE, "/api/auth/me/");
        answer(request.json(&json!({"password": password})))
    };
    for wrong in ["wrong password", ""] {
        let (status, refused) = delete(&ann, wrong).await;
        assert_eq!((status, keys(&refused)), (400, vec!["code", "password"]));
    }
    // It is open still; news of the room may come before the answer.
    socket.send(json!({"type": "ping"})).await;
    socket.next_of("pong").await;
    assert_eq!(delete(&ann, PASSWORD).await.0, 204);
    assert_eq!(socket.close_code_at_last().await, 4401);
    assert_eq!(ann.get("/api/auth/me/").await.0, 401);
    assert_eq!(login(&server, "ann", PASSWORD).await.0, 401);
    let (_, left) = bob.get(&format!("/api/rooms/{room}/")).await;
    assert_eq!(left["owner"]["id"], bob.id, "{left}");
    let again = server.user("ann").await;
    assert_ne!(again.id, ann.id);
}

#[tokio::test]
async fn the_last_administrator_cannot_go() {
    let server = Server::start(&[]);
    let root = admin(&server, "root").await;
    let delete = |by: &User<'_>| {
        let request = by.request(Method::DELETE, "/api/auth/me/");
        answer(request.json(&json!({"password": PASSWORD})))
    };
    let (status, refused) = delete(&root).await;
    assert_eq!((status, &refused["code"]), (403, &json!("last_admin")));
    assert_eq!(root.get("/api/auth/me/").await.0, 200);
    admin(&server, "second").await;
    assert_eq!(delete(&root).await.0, 204);
}
