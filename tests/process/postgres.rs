//! PostgreSQL in place of SQLite: all of a chat, two processes that are one server, and what happens while it is gone.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{SOON, Server, User, eventually, free_port, moznods, text};
use server::Postgres;

#[path = "../../storage/tests/support/postgres.rs"]
pub mod server;

/// A node on this database.
fn node(url: &str) -> Server {
    Server::start_in(&[], &[("MOZNODS_DATABASE_URL", PathBuf::from(url))])
}

/// The same user, at another node.
fn at<'a>(server: &'a Server, user: &User<'_>) -> User<'a> {
    server.signed_in(&json!({"user": {"id": user.id}, "token": user.token}))
}

async fn say(user: &User<'_>, room: i64, content: &str) -> Value {
    let path = format!("/api/chat/{room}/messages/");
    user.done(&path, json!({"content": content})).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_written_is_there_after_a_restart() {
    let postgres = Postgres::start(free_port());
    let url = postgres.database();
    let mut server = node(&url);
    let (room, ann) = {
        let (ann, bob) = (server.user("ann").await, server.user("bob").await);
        let room = ann.room_with(&[&bob]).await;
        say(&ann, room, "книга").await;
        (room, json!({"user": {"id": ann.id}, "token": ann.token}))
    };
    assert!(!server.directory().join("data/moznods.db").exists());
    server.crash_and_restart();
    let ann = server.signed_in(&ann);
    let (_, messages) = ann.get(&format!("/api/chat/{room}/messages/")).await;
    assert_eq!(messages["results"][0]["content"], "книга", "{messages}");
    eventually("it is found", async || {
        let (_, found) = ann
            .get("/api/search/?q=%D0%BA%D0%BD%D0%B8%D0%B3%D0%B8")
            .await;
        found["results"]
            .as_array()
            .is_some_and(|hits| hits.len() == 1)
    })
    .await;
    // Commands know it as well.
    let flag = format!("--storage-database-url={url}");
    let listed = server.command(&["user", "list", "--json", &flag], "");
    assert!(
        text(&listed.stdout).contains("bob"),
        "{}",
        text(&listed.stderr)
    );
    let refused = server.command(&["backup", "x.tar", &flag], "");
    assert!(text(&refused.stderr).contains("pg_dump"));
    let shown = server.command(&["config", "print", &flag], "");
    assert!(!text(&shown.stdout).contains("geheim"));
    assert!(!server.log().contains("geheim"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_on_one_database_hear_each_other() {
    let postgres = Postgres::start(free_port());
    let url = postgres.database();
    let (one, two) = (node(&url), node(&url));
    let (ann, bob) = (one.user("ann").await, one.user("bob").await);
    let room = ann.room_with(&[&bob]).await;
    let bob = at(&two, &bob);
    let mut sockets = [ann.socket("/ws/").await, bob.socket("/ws/").await];
    for socket in &mut sockets {
        socket.send(json!({"type": "ping"})).await;
        socket.next_of("pong").await;
    }
    // Both write at once; both hear all of it, once, in one order.
    let write = async |user: &User<'_>, name: &str| {
        for i in 0..20 {
            say(user, room, &format!("{name} {i}")).await;
        }
    };
    tokio::join!(write(&ann, "ann"), write(&bob, "bob"));
    let mut heard = Vec::new();
    for socket in &mut sockets {
        let mut contents = Vec::new();
        for _ in 0..40 {
            let frame = socket.next_of("chat_message").await;
            contents.push(frame["data"]["content"].as_str().unwrap().to_owned());
        }
        heard.push(contents);
    }
    assert_eq!(heard[0], heard[1]);
    // Who is blocked at one is out at the other.
    let flag = format!("--storage-database-url={url}");
    let blocked = one.command(&["user", "block", "bob", &flag], "");
    assert!(blocked.status.success(), "{}", text(&blocked.stderr));
    assert_eq!(sockets[1].close_code_at_last().await, 4401);
    eventually("his token is no more", async || {
        bob.get("/api/rooms/").await.0 == 401
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_it_is_gone_all_is_refused_clearly_and_then_goes_on() {
    let postgres = Postgres::start(free_port());
    let server = node(&postgres.database());
    let ann = server.user("ann").await;
    let room = ann.room("room").await;
    let mut socket = ann.socket("/ws/").await;
    socket.send(json!({"type": "ping"})).await;
    socket.next_of("pong").await;
    say(&ann, room, "before").await;
    postgres.stop("INT");
    let path = format!("/api/chat/{room}/messages/");
    for _ in 0..3 {
        let began = Instant::now();
        let (status, answer) = ann.get(&path).await;
        assert_eq!(
            (status, &answer["code"]),
            (503, &json!("database_unavailable")),
            "{answer}"
        );
        let (status, answer) = ann.post(&path, json!({"content": "lost"})).await;
        assert_eq!(
            (status, &answer["code"]),
            (503, &json!("database_unavailable")),
            "{answer}"
        );
        assert!(began.elapsed() < Duration::from_secs(10));
    }
    let ready = server.request(Method::GET, "/readyz").send().await.unwrap();
    assert_eq!(ready.status(), 503);
    let alive = server
        .request(Method::GET, "/healthz")
        .send()
        .await
        .unwrap();
    assert_eq!(alive.status(), 200);
    postgres.start_again();
    eventually("it is ready", async || {
        let ready = server.request(Method::GET, "/readyz").send().await.unwrap();
        ready.status() == 200
    })
    .await;
    say(&ann, room, "after").await;
    // The socket has lost nothing, nor was it closed.
    let mut contents = Vec::new();
    while contents.last().is_none_or(|last| last != "after") {
        let frame = socket.next_of("chat_message").await;
        contents.push(frame["data"]["content"].as_str().unwrap().to_owned());
    }
    assert_eq!(contents, ["before", "after"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_stands_still_holds_the_others_up_for_seconds_only() {
    let postgres = Postgres::start(free_port());
    let url = postgres.database();
    let (one, two) = (node(&url), node(&url));
    let ann = one.user("ann").await;
    let room = ann.room("room").await;
    let path = format!("/api/chat/{room}/messages/");
    let held = "SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid)
        WHERE l.locktype = 'advisory' AND l.objid = 1 AND l.granted AND a.state LIKE 'idle in transaction%'";
    // Until it is caught in the middle of a transaction.
    let writes = async {
        loop {
            let several = (0..20).map(|_| ann.post(&path, json!({"content": "x"})));
            futures_util::future::join_all(several).await;
        }
    };
    let caught = async {
        loop {
            tokio::time::sleep(Duration::from_millis(7)).await;
            one.signal("STOP");
            // What it has sent already is done by then.
            tokio::time::sleep(Duration::from_millis(50)).await;
            if postgres.sql("postgres", held) != "0" {
                return;
            }
            one.signal("CONT");
        }
    };
    let stopped = async {
        tokio::select! {
            () = writes => (),
            () = caught => (),
        }
    };
    tokio::time::timeout(SOON * 3, stopped)
        .await
        .expect("a node in the middle of a transaction");
    let bob = at(&two, &ann);
    let began = Instant::now();
    say(&bob, room, "meanwhile").await;
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "{:?}",
        began.elapsed()
    );
    one.signal("CONT");
    eventually("it goes on", async || {
        ann.post(&path, json!({"content": "again"})).await.0 == 201
    })
    .await;
}

#[test]
fn what_cannot_be_reached_or_read_stops_the_start_without_the_password() {
    let directory = tempfile::tempdir().unwrap();
    for (url, part) in [
        (
            format!("postgres://ann:geheim@127.0.0.1:{}/chat", free_port()),
            "refused",
        ),
        (
            "mysql://ann:geheim@db/chat".to_owned(),
            "storage.database_url",
        ),
    ] {
        let output = moznods(directory.path())
            .args(["serve", "--turn-enabled=false", "--http-listen=127.0.0.1:0"])
            .env("MOZNODS_DATABASE_URL", &url)
            .output()
            .unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(part) && !said.contains("geheim"), "{said}");
    }
}
