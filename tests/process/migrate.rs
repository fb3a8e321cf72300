//! `moznods migrate`: a server's data go from SQLite to PostgreSQL, beside the running server and then without it.

use std::io::{BufRead, BufReader};
use std::process::{Output, Stdio};

use image::ImageFormat;
use moznods_storage::{MigrateError, Migration, Missing, SqlStore};
use reqwest::Method;
use serde_json::{Value, json};

use crate::bucket::Bucket;
use crate::files::{form, picture};
use crate::postgres::server::Postgres;
use crate::support::{Server, User, answer, eventually, free_port, moznods, text};

async fn upload(by: &User<'_>, name: &str, kind: &str, bytes: Vec<u8>) -> Value {
    let request = by.request(Method::POST, "/api/files/upload/");
    let (status, file) = answer(request.multipart(form("file", name, kind, bytes))).await;
    assert_eq!(status, 201, "{file}");
    file
}

async fn say(by: &User<'_>, room: i64, content: &str) -> i64 {
    let path = format!("/api/chat/{room}/messages/");
    let message = by.done(&path, json!({"content": content})).await;
    message["id"].as_i64().unwrap()
}

fn table<'a>(report: &'a Value, name: &str) -> &'a Value {
    let tables = report["tables"].as_array().unwrap();
    tables
        .iter()
        .find(|table| table["name"] == name)
        .expect(name)
}

/// Of a run that must succeed.
fn report(output: &Output) -> Value {
    assert!(output.status.success(), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_goes_on_from_postgresql_as_it_was() {
    let postgres = Postgres::start(free_port());
    let url = postgres.database();
    let server = Server::start(&[]);
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let room = ann.room_with(&[&bob]).await;
    let png = picture(ImageFormat::Png, 800, 400);
    let long = "0123456789abcde\n".repeat(50_000).into_bytes();
    let picture = upload(&ann, "a.png", "image/png", png.clone()).await;
    let file = upload(&ann, "a.txt", "text/plain", long.clone()).await;
    let path = format!("/api/chat/{room}/messages/");
    let body = json!({"content": "книга", "attachment_ids": [picture["id"], file["id"]]});
    ann.done(&path, body).await;
    // More than are compared at once.
    let database = server.directory().join("data/moznods.db");
    let sql = rusqlite::Connection::open(&database).unwrap();
    sql.execute(
        "INSERT INTO messages (room_id, author_id, content, created_at)
         WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1300)
         SELECT ?, ?, 'number ' || i || char(0), i FROM n",
        [room, ann.id],
    )
    .unwrap();
    let [changed, removed] = [
        say(&bob, room, "before").await,
        say(&bob, room, "gone").await,
    ];
    let directory = server.directory().join("data");
    let from = format!("--from=sqlite:{}", directory.display());
    let to = format!("--to={url}");
    let arguments = ["migrate", &from, &to, "--json"];
    let run = || {
        moznods(server.directory())
            .args(arguments)
            .output()
            .unwrap()
    };

    let online = report(&run());
    assert_eq!(online["finished"], false);
    assert_eq!(table(&online, "messages")["added"], 1303);
    assert_eq!(online["files"]["copied"], 3, "{online}");
    let unfinished = moznods(server.directory())
        .args([
            "serve",
            "--data-dir=other",
            &format!("--storage-database-url={url}"),
        ])
        .output()
        .unwrap();
    assert_eq!(unfinished.status.code(), Some(2));
    assert!(text(&unfinished.stderr).contains("moznods migrate"));

    // It goes on meanwhile.
    let message = |id: i64| format!("/api/chat/messages/{id}/");
    let edit = bob.request(Method::PATCH, &message(changed));
    assert_eq!(answer(edit.json(&json!({"content": "after"}))).await.0, 200);
    let delete = bob.request(Method::DELETE, &message(removed));
    assert_eq!(delete.send().await.unwrap().status(), 204);
    let last = say(&bob, room, "while it was copied").await;
    let user = |user: &User<'_>| json!({"user": {"id": user.id}, "token": user.token});
    let (ann, bob) = (user(&ann), user(&bob));
    let directory = server.stop().await;
    let run = |arguments: &[&str]| moznods(directory.path()).args(arguments).output().unwrap();

    // Broken off in the middle, and something in the target is not what it should be.
    let mut broken = moznods(directory.path())
        .args(["migrate", "--from=sqlite:data", &to])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(broken.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert!(line.contains(" rows added"), "{line}");
    broken.kill().unwrap();
    broken.wait().unwrap();
    postgres.sql(
        "chat0",
        "UPDATE messages SET content = 'number 8' WHERE content LIKE 'number 7_'",
    );
    postgres.sql(
        "chat0",
        "DELETE FROM reactions; UPDATE users SET display_name = 'x'",
    );
    postgres.sql(
        "chat0",
        "UPDATE blob_chunks SET bytes = overlay(bytes PLACING 'x'::BYTEA FROM 1) WHERE number = 2",
    );
    let arguments = ["migrate", "--from=sqlite:data/moznods.db", &to, "--json"];
    let last_run = report(&run(&arguments));
    assert_eq!(last_run["finished"], true);
    let messages = table(&last_run, "messages");
    assert_eq!(messages["rows"], 1303);
    assert!(messages["changed"].as_u64().unwrap() >= 1, "{messages}");
    assert_eq!(table(&last_run, "users")["changed"], 2);
    assert_eq!(messages["sha256"].as_str().unwrap().len(), 64);
    let again = run(&arguments);
    assert_eq!(again.status.code(), Some(1));
    assert!(
        text(&again.stderr).contains("filled already"),
        "{}",
        text(&again.stderr)
    );

    let server = Server::start(&[&format!("--storage-database-url={url}")]);
    let (ann, bob) = (server.signed_in(&ann), server.signed_in(&bob));
    let (_, page) = bob.get(&path).await;
    let contents: Vec<&str> = page["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|message| message["content"].as_str().unwrap())
        .collect();
    assert!(
        contents.contains(&"after") && !contents.contains(&"gone"),
        "{contents:?}"
    );
    for (file, bytes) in [(&picture, &png), (&file, &long)] {
        let path = format!("/api/files/{}/download/", file["id"]);
        let found = bob.request(Method::GET, &path).send().await.unwrap();
        assert_eq!(found.status(), 200);
        assert!(found.bytes().await.unwrap() == *bytes);
    }
    assert!(
        say(&ann, room, "and on").await > last,
        "no number comes twice"
    );
    assert!(server.user("cat").await.id > bob.id);
    eventually("the index is there", async || {
        let (_, found) = ann
            .get("/api/search/?q=%D0%BA%D0%BD%D0%B8%D0%B3%D0%B8")
            .await;
        found["results"]
            .as_array()
            .is_some_and(|hits| hits.len() == 1)
    })
    .await;
}

/// A `moznods migrate` that goes on after a later one has begun, or is done, would put back what was before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_run_alone_changes_the_target() {
    let postgres = Postgres::start(free_port());
    let url = postgres.database();
    let server = Server::start(&[]);
    let (ann, bob) = (server.user("ann").await.id, server.user("bob").await.id);
    let directory = server.stop().await;
    let data = directory.path().join("data");
    let source = SqlStore::open(&data, Missing::Refuse).unwrap();
    let target = SqlStore::connect(&url.parse().unwrap(), Missing::Create).unwrap();

    let first = Migration::begin(&source, &target).await.unwrap();
    let last = Migration::begin(&source, &target).await.unwrap();
    let overtaken = first.copy(|_| ()).await;
    assert!(
        matches!(overtaken, Err(MigrateError::Overtaken)),
        "{overtaken:?}"
    );
    assert!(matches!(first.finish().await, Err(MigrateError::Overtaken)));
    assert_eq!(postgres.sql("chat0", "SELECT count(*) FROM users"), "0");
    last.copy(|_| ()).await.unwrap();

    // Each has the other's name now, and a file was copied that is gone.
    let sql = rusqlite::Connection::open(data.join("moznods.db")).unwrap();
    for (user, name) in [(ann, "none"), (bob, "ann"), (ann, "bob")] {
        let rename = "UPDATE users SET username = ?1, username_key = ?1 WHERE id = ?2";
        sql.execute(rename, (name, user)).unwrap();
    }
    postgres.sql(
        "chat0",
        "INSERT INTO blob_chunks (hash, variant, number, bytes) VALUES (decode(repeat('ab', 32), 'hex'), 0, 0, 'x')",
    );
    let yet = "INSERT INTO loose_blobs (hash) VALUES (?)";
    sql.execute(yet, [[0xCD; 32]]).unwrap();
    last.copy(|_| ()).await.unwrap();
    last.verify(|_| ()).await.unwrap();
    last.finish().await.unwrap();
    let loose = "SELECT encode(hash, 'hex') FROM loose_blobs ORDER BY hash";
    let both = ["ab", "cd"].map(|byte| byte.repeat(32));
    assert_eq!(postgres.sql("chat0", loose), both.join("\n"));

    postgres.sql("chat0", "UPDATE users SET display_name = 'since'");
    let late = last.copy(|_| ()).await;
    assert!(matches!(late, Err(MigrateError::Finished)), "{late:?}");
    let since = "SELECT count(*) FROM users WHERE display_name = 'since'";
    assert_eq!(postgres.sql("chat0", since), "2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_are_in_the_bucket_or_it_is_not_done() {
    let postgres = Postgres::start(free_port());
    let to = format!("--to={}", postgres.database());
    let bucket = Bucket::open().await;
    let own = bucket.arguments();
    let own: Vec<&str> = own.iter().map(String::as_str).collect();
    let server = Server::start(&own);
    let ann = server.user("ann").await;
    for text in ["one", "another"] {
        upload(&ann, "a.txt", "text/plain", text.into()).await;
    }
    let names = bucket.names();
    let directory = server.stop().await;
    let path = directory.path().join("data/files").join(&names[0]);
    bucket.ask(json!({"remove": format!("chat/files/{}", names[0])}));
    let run = || {
        moznods(directory.path())
            .args(["migrate", "--from=sqlite:data", &to])
            .args(&own)
            .output()
            .unwrap()
    };
    let lost = run();
    let (out, error) = (text(&lost.stdout), text(&lost.stderr));
    assert_eq!(lost.status.code(), Some(1), "{out}{error}");
    assert!(error.contains(": 1, the first is data/files/"), "{error}");
    assert!(!out.contains("the same"), "{out}");

    // It is beside the database, from before there was a bucket.
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let hash = |bytes: &[u8]| {
        let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
        digest
            .as_ref()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    };
    let bytes = match hash(b"one") == names[0].replace('/', "") {
        true => "one",
        false => "another",
    };
    std::fs::write(&path, bytes).unwrap();
    let whole = run();
    let out = text(&whole.stdout);
    assert!(whole.status.success(), "{}", text(&whole.stderr));
    assert!(out.contains("1 copied"), "{out}");
    assert!(
        out.contains("in s3://attachments/chat/files/, and the same"),
        "{out}"
    );
    assert_eq!(bucket.names(), names);
}

#[test]
fn what_cannot_be_moved_is_said_without_the_password() {
    let directory = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let output = moznods(directory.path())
            .arg("migrate")
            .args(arguments)
            .output()
            .unwrap();
        let said = text(&output.stderr);
        assert!(!said.contains("geheim"), "{said}");
        assert_eq!(output.status.code(), Some(2), "{said}");
        said
    };
    let to = "--to=postgres://ann:geheim@127.0.0.1:1/chat";
    assert!(run(&["--from=data", to]).contains("expected sqlite:"));
    assert!(run(&["--from=sqlite:data"]).starts_with("moznods: --to: "));
    assert!(run(&["--from=sqlite:data", "--to=mysql://ann:geheim@x/y"]).contains("--to: "));
    assert!(run(&["--from=sqlite:data", to]).contains("there is no database"));
    assert!(!directory.path().join("data").exists());
}
