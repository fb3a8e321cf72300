//! The log of what administrators, owners and moderators do over others.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{PASSWORD, Server, User, answer, text};

/// A server, where `root` administers.
async fn administered(arguments: &[&str]) -> (Server, String) {
    let server = Server::start(arguments);
    let add = [
        "user",
        "add",
        "--username",
        "root",
        "--email",
        "root@example.org",
        "--admin",
    ];
    let output = server.command(&add, PASSWORD);
    assert!(output.status.success(), "{output:?}");
    let body = json!({"username": "root", "password": PASSWORD});
    let login = server.request(Method::POST, "/api/auth/login/").json(&body);
    let (status, login) = answer(login).await;
    assert_eq!(status, 200, "{login}");
    (server, login["token"].as_str().unwrap().to_owned())
}

/// A part of the log.
async fn log(server: &Server, token: &str, query: &str) -> Value {
    let path = format!("/api/admin/audit/{query}");
    let request = server.request(Method::GET, &path);
    let request = request.header("Authorization", format!("Token {token}"));
    let (status, found) = answer(request).await;
    assert_eq!(status, 200, "{found}");
    found
}

/// Who, what, and on what, newest first.
fn acts(log: &Value) -> Vec<String> {
    let results = log["results"].as_array().unwrap().iter();
    let name = |of: &Value| of["name"].as_str().unwrap().to_owned();
    results
        .map(|entry| {
            let who = match entry["actor"]["kind"].as_str() {
                Some("command_line") => "command line".to_owned(),
                _ => name(&entry["actor"]),
            };
            let action = entry["action"].as_str().unwrap();
            format!("{who} {action} {}", name(&entry["target"]))
        })
        .collect()
}

async fn gone(user: &User<'_>, path: &str) {
    let request = user.request(Method::DELETE, path);
    let (status, body) = answer(request).await;
    assert_eq!(status, 204, "{path}: {body}");
}

#[tokio::test]
async fn what_is_done_over_others_is_noted_with_names_of_then() {
    let (server, root) = administered(&[]).await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let eve = server.user("eve").await;
    let room = ann.room_with(&[&bob, &eve]).await;
    let path = |rest: &str| format!("/api/rooms/{room}/{rest}");
    let written = bob
        .done(&path("messages/"), json!({"content": "a secret of bob"}))
        .await;
    let own = ann
        .done(&path("messages/"), json!({"content": "own"}))
        .await;

    let role = json!({"role": "moderator"});
    let request = ann.request(Method::PATCH, &path(&format!("participants/{}/", bob.id)));
    assert_eq!(answer(request.json(&role)).await.0, 200);
    let renaming = json!({"name": "hall", "topic": "talk"});
    let request = ann.request(Method::PATCH, &path(""));
    assert_eq!(answer(request.json(&renaming)).await.0, 200);
    gone(&ann, &format!("/api/chat/messages/{}/", written["id"])).await;
    // Nothing over others.
    gone(&ann, &format!("/api/chat/messages/{}/", own["id"])).await;
    let ban = json!({"user_id": eve.id, "reason": "noise"});
    bob.done(&path("bans/"), ban.clone()).await;
    gone(&bob, &path(&format!("bans/{}/", eve.id))).await;
    // Refused, and so not noted.
    assert_eq!(eve.post(&path("bans/"), ban).await.0, 403);
    let twice = bob.request(Method::DELETE, &path(&format!("bans/{}/", eve.id)));
    assert_eq!(answer(twice).await.0, 404);
    bob.done(&path("leave/"), json!({})).await;
    ann.done(&path("add-participant/"), json!({"id": bob.id}))
        .await;
    gone(&ann, &path(&format!("participants/{}/", bob.id))).await;
    ann.done(&path("add-participant/"), json!({"id": eve.id}))
        .await;
    ann.done(&path("transfer/"), json!({"user_id": eve.id}))
        .await;
    gone(&eve, &path("")).await;

    let reset = server
        .request(
            Method::POST,
            &format!("/api/admin/users/{}/reset-link/", bob.id),
        )
        .header("Authorization", format!("Token {root}"))
        .header("X-Forwarded-For", "203.0.113.9");
    let (status, link) = answer(reset).await;
    assert_eq!(status, 200);
    for arguments in [
        &["user", "block", "bob"][..],
        &["user", "unblock", "bob"],
        &["user", "logout", "bob"],
        &["user", "delete", "bob"],
        &["turn", "secret", "add", "matrix"],
        &["turn", "secret", "rotate", "matrix"],
        &["turn", "secret", "revoke", "matrix"],
        &["turn", "user", "add", "door"],
        &["turn", "user", "remove", "door"],
    ] {
        let output = server.command(arguments, "");
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    }
    let passwd = ["user", "passwd", "eve", "--password-stdin"];
    let output = server.command(&passwd, "another password\n");
    assert!(output.status.success(), "{output:?}");

    let found = log(&server, &root, "").await;
    let mut expected = [
        "command line user.add root",
        "ann member.add bob",
        "ann member.add eve",
        "ann member.role bob",
        "ann room.change room",
        "ann message.delete ",
        "bob member.ban eve",
        "bob member.unban eve",
        "ann member.add bob",
        "ann member.remove bob",
        "ann member.add eve",
        "ann room.transfer hall",
        "eve room.delete hall",
        "root user.reset_link bob",
        "command line user.block bob",
        "command line user.unblock bob",
        "command line user.logout bob",
        "command line user.delete bob",
        "command line relay_secret.add matrix",
        "command line relay_secret.rotate matrix",
        "command line relay_secret.revoke matrix",
        "command line relay_device.add door",
        "command line relay_device.remove door",
        "command line user.password eve",
    ];
    expected.reverse();
    assert_eq!(acts(&found), expected);
    assert_eq!(found["has_more_before"], false);

    let entry = |action: &str| {
        let results = found["results"].as_array().unwrap();
        let found = results.iter().find(|entry| entry["action"] == action);
        found.unwrap().clone()
    };
    let ban = entry("member.ban");
    let in_hall = json!({"room_id": room, "room": "hall", "reason": "noise"});
    assert_eq!(ban["details"], in_hall);
    assert_eq!(
        ban["actor"],
        json!({"kind": "user", "id": bob.id, "name": "bob"})
    );
    assert_eq!(
        ban["target"],
        json!({"kind": "user", "id": eve.id, "name": "eve"})
    );
    assert_eq!(ban["address"], "127.0.0.1");
    assert!(ban["created_at"].as_str().unwrap().ends_with('Z'));
    assert_eq!(entry("message.delete")["details"]["author"], "bob");
    assert_eq!(entry("room.change")["details"], renaming);
    assert_eq!(entry("room.transfer")["details"]["to"], "eve");
    assert_eq!(entry("user.reset_link")["address"], "127.0.0.1");
    assert_eq!(entry("user.block")["address"], Value::Null);
    assert_eq!(
        entry("user.block")["actor"],
        json!({"kind": "command_line", "id": null, "name": ""})
    );
    let all = found.to_string();
    let token = link["url"].as_str().unwrap().rsplit('/').next().unwrap();
    for hidden in ["a secret of bob", token, "another password"] {
        assert!(!all.contains(hidden), "{hidden}");
    }
}

#[tokio::test]
async fn the_log_is_read_in_parts_by_administrators_and_the_command_line() {
    let (server, root) = administered(&[]).await;
    let ann = server.user("ann").await;
    let eve = server.user("eve").await;
    server.user("bob").await;
    for _ in 0..3 {
        server.command(&["user", "block", "bob"], "");
        server.command(&["user", "unblock", "bob"], "");
    }
    let room = ann.room_with(&[&eve]).await;
    assert_eq!(ann.get("/api/admin/audit/").await.0, 403);
    let nobody = server.request(Method::GET, "/api/admin/audit/");
    assert_eq!(answer(nobody).await.0, 401);

    let first = log(&server, &root, "?actor=command-line&limit=4").await;
    assert_eq!(acts(&first).len(), 4);
    assert_eq!(first["has_more_before"], true);
    let last = &first["results"][3]["id"];
    let query = format!("?actor=command-line&before={last}");
    let second = log(&server, &root, &query).await;
    assert_eq!(
        acts(&second),
        [
            "command line user.unblock bob",
            "command line user.block bob",
            "command line user.add root"
        ]
    );
    assert_eq!(second["has_more_before"], false);
    for actor in ["ann", "ann@example.org", &ann.id.to_string()] {
        let found = log(&server, &root, &format!("?actor={actor}")).await;
        assert_eq!(acts(&found), ["ann member.add eve"], "{actor}");
        assert_eq!(found["results"][0]["details"]["room_id"], room);
    }
    let blocks = log(&server, &root, "?action=user.block").await;
    assert_eq!(acts(&blocks).len(), 3);
    let middle = blocks["results"][1]["created_at"].as_str().unwrap();
    let since = log(
        &server,
        &root,
        &format!("?action=user.block&since={middle}"),
    )
    .await;
    assert_eq!(acts(&since).len(), 2);
    let until = log(
        &server,
        &root,
        &format!("?action=user.block&until={middle}"),
    )
    .await;
    assert_eq!(acts(&until).len(), 1);
    for (query, field) in [
        ("action=user.hug", "action"),
        ("actor=nobody", "actor"),
        ("since=yesterday", "since"),
        ("before=x", "before"),
        ("limit=0", "limit"),
    ] {
        let request = server
            .request(Method::GET, &format!("/api/admin/audit/?{query}"))
            .header("Authorization", format!("Token {root}"));
        let (status, refused) = answer(request).await;
        assert_eq!(status, 400, "{query}");
        assert!(refused[field].is_array(), "{query}: {refused}");
    }

    let output = server.command(&["audit", "--action", "user.block", "--json"], "");
    let printed: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(printed, blocks["results"]);
    let output = server.command(&["audit", "--limit", "1"], "");
    let line = text(&output.stdout);
    assert!(
        line.contains(&format!(
            "user {} \"ann\"  member.add  user {} \"eve\"",
            ann.id, eve.id
        )) && line.ends_with("from 127.0.0.1\n"),
        "{line}"
    );
    let output = server.command(&["audit", "--action", "user.hug"], "");
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains("no such action"),
        "{output:?}"
    );
}

#[tokio::test]
async fn what_was_noted_long_ago_is_forgotten() {
    let (mut server, root) = administered(&["--audit-keep-days=1"]).await;
    server.user("bob").await;
    server.command(&["user", "block", "bob"], "");
    let database = server.directory().join("data/moznods.db");
    let old = rusqlite::Connection::open(&database).unwrap();
    let day = 86_400_000_000_i64;
    let age = "UPDATE audit_log SET created_at = created_at - ? WHERE action = 'user.add'";
    assert_eq!(old.execute(age, [day + 1]).unwrap(), 1);
    drop(old);
    // What is old is looked for at the start, and then every hour.
    server.crash_and_restart();
    crate::support::eventually("the old row goes", || async {
        acts(&log(&server, &root, "").await) == ["command line user.block bob"]
    })
    .await;
}
