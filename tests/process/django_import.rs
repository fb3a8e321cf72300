//! `moznods import django`: from a database that Django itself has made, to what its users find here.

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use ring::digest::{SHA256, digest};
use rusqlite::Connection;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{SOON, Server, User, answer, eventually, moznods, text};

/// What Django makes of it, in a directory of its own.
fn django(place: &Path, arguments: &[&str]) -> Value {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(root.join("target/python/bin/python"))
        .arg(root.join("tests/clients/django_app/make.py"))
        .arg(place)
        .args(arguments)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .expect("target/python; run scripts/setup test");
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The program that is left, and what it holds.
struct Old {
    place: TempDir,
    made: Value,
}

impl Old {
    fn new(arguments: &[&str]) -> Self {
        let place = tempfile::tempdir().unwrap();
        let made = django(place.path(), arguments);
        Old { place, made }
    }

    fn database(&self) -> PathBuf {
        self.place.path().join("db.sqlite3")
    }

    fn media(&self) -> PathBuf {
        self.place.path().join("media")
    }

    fn sql(&self, statements: &str) {
        let c = Connection::open(self.database()).unwrap();
        c.pragma_update(None, "foreign_keys", false).unwrap();
        c.execute_batch(statements).unwrap();
    }

    fn command(&self, directory: &Path, more: &[&str]) -> Command {
        let mut command = moznods(directory);
        command
            .args(["import", "django", "--sqlite"])
            .arg(self.database())
            .arg("--media")
            .arg(self.media())
            .args(more);
        command
    }

    fn import(&self, directory: &Path, more: &[&str]) -> Report {
        let mut command = self.command(directory, &[&["--json"], more].concat());
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        Report(serde_json::from_slice(&output.stdout).unwrap())
    }

    fn refused(&self, directory: &Path, more: &[&str]) -> (Option<i32>, String) {
        said(&self.command(directory, more).output().unwrap())
    }
}

/// Exit code and the one line of the error.
fn said(output: &Output) -> (Option<i32>, String) {
    let line = text(&output.stderr);
    assert_eq!(line.lines().count(), 1, "{output:?}");
    (output.status.code(), line)
}

struct Report(Value);

impl Report {
    fn table(&self, name: &str) -> &Value {
        let tables = self.0["tables"].as_array().unwrap();
        tables.iter().find(|table| table["table"] == name).unwrap()
    }

    /// Taken, there already, left out.
    fn counts(&self, name: &str) -> (i64, i64, i64) {
        let table = self.table(name);
        let left_out = table["left_out"].as_array().unwrap();
        let left_out = left_out
            .iter()
            .map(|group| group["count"].as_i64().unwrap());
        (
            table["taken"].as_i64().unwrap(),
            table["already_there"].as_i64().unwrap(),
            left_out.sum(),
        )
    }

    /// Each row of which there is something to say: why, number, detail.
    fn rows(&self, name: &str, part: &str) -> Vec<(String, i64, String)> {
        let mut rows = Vec::new();
        for group in self.table(name)[part].as_array().unwrap() {
            let explained = group["text"].as_str().unwrap();
            assert!(!explained.starts_with("django_"), "{group}");
            for row in group["rows"].as_array().unwrap() {
                rows.push((
                    group["why"].as_str().unwrap().to_owned(),
                    row["id"].as_i64().unwrap(),
                    row["detail"].as_str().unwrap().to_owned(),
                ));
            }
        }
        rows
    }

    fn left_out(&self, name: &str) -> Vec<(String, i64, String)> {
        self.rows(name, "left_out")
    }

    fn changed(&self, name: &str) -> Vec<(String, i64, String)> {
        self.rows(name, "changed")
    }
}

fn row(why: &str, id: i64, detail: &str) -> (String, i64, String) {
    (why.to_owned(), id, detail.to_owned())
}

/// Each file in a directory by the hash of its bytes.
fn hashes(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(hashes(&path));
        } else {
            let bytes = std::fs::read(&path).unwrap();
            // What is of those who read, or says nothing, is not what is kept.
            let name = path.to_str().unwrap();
            if name.ends_with("-shm") || name.ends_with("-wal") && bytes.is_empty() {
                continue;
            }
            found.insert(path, digest(&SHA256, &bytes).as_ref().to_vec());
        }
    }
    found
}

fn data(directory: &Path) -> Connection {
    Connection::open(directory.join("data/moznods.db")).unwrap()
}

fn count(c: &Connection, sql: &str) -> i64 {
    c.query_row(sql, [], |row| row.get(0)).unwrap()
}

async fn log_in(server: &Server, name: &str, password: &str) -> (u16, Value) {
    let body = json!({"username": name, "password": password});
    let request = server.request(reqwest::Method::POST, "/api/auth/login/");
    answer(request.json(&body)).await
}

async fn got(user: &User<'_>, path: &str) -> Value {
    let (status, answer) = user.get(path).await;
    assert_eq!(status, 200, "{path}: {answer}");
    answer
}

fn with_token<'a>(server: &'a Server, made: &Value, name: &str) -> User<'a> {
    server.signed_in(&json!({"token": made["tokens"][name], "user": {"id": made["users"][name]}}))
}

async fn bytes(url: &Value) -> Vec<u8> {
    let response = reqwest::get(url.as_str().unwrap()).await.unwrap();
    assert_eq!(response.status(), 200);
    response.bytes().await.unwrap().to_vec()
}

#[tokio::test]
async fn everybody_finds_what_was_there_before() {
    let old = Old::new(&["first"]);
    let made = &old.made;
    let (team, password) = (&made["team"], made["password"].as_str().unwrap());
    let directory = tempfile::tempdir().unwrap();
    let before = hashes(old.place.path());

    // What is only asked for is the same, and nothing is made.
    let dry = old.import(directory.path(), &["--dry-run"]);
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    let report = old.import(directory.path(), &[]);
    assert_eq!(dry.0["tables"], report.0["tables"]);
    assert_eq!(
        hashes(old.place.path()),
        before,
        "the source was written to"
    );
    assert_eq!(report.counts("auth_user"), (5, 0, 0));
    assert_eq!(report.counts("chat_message"), (31, 0, 0));
    assert_eq!(report.counts("chat_message_read_by"), (27, 0, 0));
    assert_eq!(
        report.changed("auth_user"),
        [row("admin", 1, ""), row("other_hasher", 4, "pbkdf2_sha1")]
    );
    assert_eq!(report.left_out("authtoken_token"), [row("blocked", 3, "")]);
    assert_eq!(
        report.left_out("rooms_roominvitation"),
        [row("expired", 2, "")]
    );
    assert_eq!(report.0["remarks"], json!([]));
    let stored = |name: &str| -> String {
        let query = "SELECT password_hash FROM users WHERE username = ?";
        data(directory.path())
            .query_row(query, [name], |row| row.get(0))
            .unwrap()
    };
    assert!(stored("ann").starts_with("pbkdf2_sha256$"));

    let server = Server::start_on(directory, &[], &[]);
    // Tokens go on.
    let (ann, ben) = (
        with_token(&server, made, "ann"),
        with_token(&server, made, "ben"),
    );
    let me = got(&ann, "/api/auth/me/").await;
    assert_eq!(
        (&me["id"], &me["display_name"]),
        (&made["users"]["ann"], &json!("Ann"))
    );
    assert_eq!(
        &bytes(&me["avatar_url"]).await[1..4],
        b"PNG",
        "made anew of a picture that shines through"
    );
    assert_eq!(
        with_token(&server, made, "cas")
            .get("/api/auth/me/")
            .await
            .0,
        401
    );
    assert_eq!(ann.get("/api/admin/users/").await.0, 200);
    assert_eq!(ben.get("/api/admin/users/").await.0, 403);

    // Passwords do, are stored anew, and go on then.
    assert_eq!(log_in(&server, "ben", "not his password").await.0, 401);
    assert_eq!(log_in(&server, "ben", password).await.0, 200);
    let hash = |name: &str| -> String {
        let query = "SELECT password_hash FROM users WHERE username = ?";
        data(server.directory())
            .query_row(query, [name], |row| row.get(0))
            .unwrap()
    };
    assert!(hash("ben").starts_with("$argon2id$"), "stored anew");
    assert!(
        hash("ann").starts_with("pbkdf2_sha256$"),
        "who did not come is as he was"
    );
    assert_eq!(log_in(&server, "ben@example.org", password).await.0, 200);
    assert_eq!(log_in(&server, "ben", "not his password").await.0, 401);
    let (status, refusal) = log_in(&server, "cas", password).await;
    assert_eq!(
        (status, &refusal["code"]),
        (403, &json!("account_blocked")),
        "{refusal}"
    );
    // What cannot be checked is no password, nor is none.
    assert_eq!(log_in(&server, "dan", password).await.0, 401);
    assert_eq!(log_in(&server, "dan", "").await.0, 400);
    let link = server.command(&["user", "reset-link", "dan"], "");
    assert!(link.status.success(), "{link:?}");

    // Rooms, pins, and what is unread.
    let rooms = got(&ben, "/api/rooms/").await;
    assert_eq!(rooms["count"], 2);
    let room = got(&ben, &format!("/api/rooms/{team}/")).await;
    assert_eq!(room["name"], "Команда");
    assert_eq!(room["is_pinned"], true);
    assert_eq!(room["participant_count"], 4);
    assert_eq!(room["owner"]["username"], "ann");
    // Of the ten after the twentieth, five are his own.
    assert_eq!(room["unread_count"], 5);
    assert_eq!(
        got(&ann, &format!("/api/rooms/{team}/")).await["is_pinned"],
        false
    );
    let pair = &made["pair"];
    let direct = got(&ann, &format!("/api/rooms/{pair}/")).await;
    assert_eq!(
        (&direct["is_direct"], &direct["unread_count"]),
        (&json!(true), &json!(1))
    );
    let same = ann
        .done("/api/rooms/direct/", json!({"user_id": ben.id}))
        .await;
    assert_eq!(same["id"], *pair);

    // Messages, their times and who has read them.
    let page = got(&ann, &format!("/api/chat/{team}/messages/?page_size=100")).await;
    let mut messages = page["results"].as_array().unwrap().clone();
    messages.reverse();
    let told: Vec<Value> = messages
        .iter()
        .map(|m| {
            json!([
                m["id"],
                m["author"]["username"],
                m["content"],
                m["created_at"]
            ])
        })
        .collect();
    assert_eq!(json!(told), made["messages"]);
    for message in &messages {
        let author = message["author"]["id"].as_i64();
        let readers = made["read_by"][message["id"].to_string()]
            .as_array()
            .unwrap();
        let others: Vec<&Value> = readers.iter().filter(|id| id.as_i64() != author).collect();
        assert_eq!(json!(message["read_by_ids"]), json!(others), "{message}");
    }

    // Attachments by their old numbers, byte for byte.
    let attachments = messages[3]["attachments"].as_array().unwrap();
    for (attachment, name) in attachments.iter().zip(["picture", "text"]) {
        let file = &attachment["file"];
        assert_eq!(file["id"], made[name][0]);
        let original = std::fs::read(old.media().join(made[name][1].as_str().unwrap())).unwrap();
        assert_eq!(bytes(&file["file"]).await, original);
        let path = format!("/api/files/{}/download/", file["id"]);
        let response = ann
            .request(reqwest::Method::GET, &path)
            .send()
            .await
            .unwrap();
        assert_eq!(response.bytes().await.unwrap(), original);
    }
    assert_eq!(attachments[1]["file"]["name"], "заметки.txt");

    // Search, once the index has come to them.
    eventually("old messages are found", || async {
        let found = got(&ben, "/api/search/?q=слово-17").await;
        found["results"]
            .as_array()
            .is_some_and(|found| found.len() == 1)
    })
    .await;

    // Invitations; and life goes on.
    let dora = server.user("dora").await;
    let path = |token: &Value| format!("/api/rooms/join/{}/", token.as_str().unwrap());
    let none = dora.post(&path(&made["ended"]), json!({})).await;
    assert_eq!(none.0, 400);
    assert_eq!(
        dora.done(&path(&made["invitation"]), json!({})).await["id"],
        *team
    );
    // One to a direct room, which no version of this makes, lets nobody in.
    let token = json!("00000000-0000-4000-8000-000000000001");
    data(server.directory())
        .execute(
            "INSERT INTO invitations (token, room_id, created_by, created_at) SELECT ?, id, owner_id, created_at FROM rooms WHERE id = ?",
            (token.as_str(), pair.as_i64()),
        )
        .unwrap();
    assert_eq!(dora.post(&path(&token), json!({})).await, none);
    assert!(dora.id > made["users"]["eve"].as_i64().unwrap());
    let new = ann
        .done(
            &format!("/api/chat/{team}/messages/"),
            json!({"content": "new"}),
        )
        .await;
    assert!(new["id"].as_i64() > messages[29]["id"].as_i64());

    // Nobody takes over under a server.
    let (code, refusal) = old.refused(server.directory(), &[]);
    assert_eq!(code, Some(2));
    assert!(refusal.contains("expected it to be stopped"), "{refusal}");
}

#[tokio::test]
async fn what_is_new_comes_and_nothing_comes_twice() {
    let old = Old::new(&["first"]);
    let made = &old.made;
    let team = &made["team"];
    let directory = tempfile::tempdir().unwrap();
    old.import(directory.path(), &[]);
    let before = hashes(&directory.path().join("data"));
    let again = old.import(directory.path(), &[]);
    assert_eq!(hashes(&directory.path().join("data")), before);
    for table in again.0["tables"].as_array().unwrap() {
        assert_eq!(table["taken"], 0, "{table}");
    }
    assert_eq!(again.counts("chat_message"), (0, 31, 0));

    // People use both for a day: here one signs out, leaves a word, and removes another.
    let server = Server::start_on(directory, &[], &[]);
    let (ann, ben) = (
        with_token(&server, made, "ann"),
        with_token(&server, made, "ben"),
    );
    let path = format!("/api/chat/{team}/messages/");
    let own = ann.done(&path, json!({"content": "said here"})).await;
    let gone = format!("/api/chat/messages/{}/", made["messages"][7][0]);
    assert_eq!(
        answer(ben.request(reqwest::Method::DELETE, &gone)).await.0,
        204
    );
    ben.done("/api/auth/logout/", json!({})).await;
    let directory = server.stop().await;
    let later = django(old.place.path(), &["later"]);

    let before = hashes(&directory.path().join("data"));
    let dry = old.import(directory.path(), &["--dry-run"]);
    assert_eq!(hashes(&directory.path().join("data")), before);
    let report = old.import(directory.path(), &[]);
    assert_eq!(dry.0["tables"], report.0["tables"]);
    assert_eq!(report.counts("auth_user"), (1, 5, 0));
    assert_eq!(report.counts("chat_message"), (1, 31, 0));
    assert_eq!(report.counts("authtoken_token"), (0, 2, 1));
    assert_eq!(report.counts("files_file"), (1, 2, 0));
    // Its number was given out here meanwhile.
    let moved = later["message"].as_i64().unwrap();
    assert_eq!(report.changed("chat_message"), [row("moved", moved, "+1")]);
    // Those of the message which was deleted.
    let read = report.left_out("chat_message_read_by");
    assert_eq!(read.len(), 2, "{read:?}");
    assert!(read.iter().all(|mark| mark.0 == "gone"), "{read:?}");

    let server = Server::start_on(directory, &[], &[]);
    let ann = with_token(&server, made, "ann");
    assert_eq!(
        with_token(&server, made, "ben")
            .get("/api/auth/me/")
            .await
            .0,
        401,
        "signed out"
    );
    let page = got(&ann, &format!("{path}?page_size=100")).await;
    let messages = page["results"].as_array().unwrap();
    assert_eq!(messages.len(), 31);
    assert_eq!(messages[0]["content"], "a day later");
    assert_eq!(messages[0]["author"]["id"], later["fay"]);
    assert_eq!(
        bytes(&messages[0]["attachments"][0]["file"]["file"]).await,
        b"new"
    );
    assert_eq!(messages[1]["id"], own["id"]);
    let ben = log_in(&server, "ben", made["password"].as_str().unwrap())
        .await
        .1;
    let ben = server.signed_in(&ben);
    let room = got(&ben, &format!("/api/rooms/{team}/")).await;
    // What ann said here, and fay there: the rest is read.
    assert_eq!(room["unread_count"], 2);
}

/// Who was told of an event before asks what came after it, and is told to fetch all.
#[tokio::test]
async fn clients_fetch_anew_what_was_taken_over() {
    let old = Old::new(&["first"]);
    let server = Server::start(&[]);
    let ann = server.user("admin").await;
    ann.room("mine").await;
    let hello = ann.socket("/ws/").await.next_of("hello").await;
    let last = hello["data"]["last_event_id"].clone();
    assert!(last.as_i64() > Some(0), "{hello}");
    let token = ann.token.clone();
    let directory = server.stop().await;
    old.import(directory.path(), &[]);
    let server = Server::start_on(directory, &[], &[]);
    let ann = server.signed_in(&json!({"token": token, "user": {"id": 1}}));
    let mut socket = ann.socket("/ws/").await;
    socket
        .send(json!({"type": "resume", "data": {"last_event_id": last}}))
        .await;
    socket.next_of("hello").await;
    assert_eq!(socket.next().await["type"], "resync");
}

#[test]
fn what_cannot_be_as_it_was_is_told_with_its_number() {
    let old = Old::new(&["first"]);
    let outside = old.place.path().join("secret.txt");
    std::fs::write(&outside, "not of the media directory").unwrap();
    std::fs::write(
        old.media().join("avatars/page.png"),
        "<html>no picture</html>",
    )
    .unwrap();
    std::fs::write(old.media().join("files/large.txt"), "x".repeat(3000)).unwrap();
    std::fs::write(old.media().join("files/mine.txt"), "x".repeat(1500)).unwrap();
    std::fs::write(old.media().join("files/empty.txt"), "").unwrap();
    std::os::unix::fs::symlink(&outside, old.media().join("files/link.txt")).unwrap();
    let cost = 1_u64 << 31;
    old.sql(&format!(
        "INSERT INTO auth_user (id, username, email, password, is_active, is_staff, is_superuser, date_joined, first_name, last_name)
         SELECT 20, 'ANN', 'other@example.org', password, 1, 0, 0, 'yesterday', '', '' FROM auth_user WHERE id = 1
         UNION ALL SELECT 21, 'zoe@example.org', '', '!unusable', 1, 1, 0, date_joined, '', '' FROM auth_user WHERE id = 1
         UNION ALL SELECT 22, 'a b', 'BEN@example.org', 'argon2$argon2id$x', 1, 0, 0, date_joined, '', '' FROM auth_user WHERE id = 1
         UNION ALL SELECT 23, '{long}', 'no address', 'pbkdf2_sha256${cost}$salt$AAAA', 1, 0, 0, date_joined, '', '' FROM auth_user WHERE id = 1
         UNION ALL SELECT -5, 'minus', '', '', 1, 0, 0, date_joined, '', '' FROM auth_user WHERE id = 1
         UNION ALL SELECT 25, 'eve@example.org', '', '!', 1, 0, 0, date_joined, '', '' FROM auth_user WHERE id = 1
         UNION ALL SELECT 24, x'FF', '', '', 1, 0, 0, date_joined, '', '' FROM auth_user WHERE id = 1;
         UPDATE accounts_profile SET display_name = char(8238) || 'eve', avatar = 'avatars/page.png' WHERE user_id = 6;
         INSERT INTO accounts_profile (id, user_id, display_name, avatar) VALUES (90, 20, '', '../secret.txt'), (91, 999, '', '');
         INSERT INTO authtoken_token VALUES ('short', '2026-01-01 00:00:00', 20);
         INSERT INTO rooms_room (id, name, owner_id, is_direct, created_at, updated_at) VALUES
             (30, '', 999, 0, '2026-01-01 00:00:00', '2026-01-01 00:00:00'),
             (31, 'alone', 2, 1, '2026-01-01 00:00:00', '2026-01-01 00:00:00'),
             (32, 'nobody''s', 999, 0, '2026-01-01 00:00:00', '2026-01-01 00:00:00'),
             (33, 'again', 1, 1, '2026-01-01 00:00:00', '2026-01-01 00:00:00'),
             (34, 'of two others', 1, 1, '2026-01-01 00:00:00', '2026-01-01 00:00:00');
         INSERT INTO rooms_roomparticipant (id, room_id, user_id, joined_at, is_pinned) VALUES
             (40, 30, 2, '2026-01-01 00:00:00', 0), (41, 888, 2, '2026-01-01 00:00:00', 0),
             (42, 30, 2, '2026-01-01 00:00:00', 0), (43, 33, 1, '2026-01-01 00:00:00', 0),
             (44, 33, 2, '2026-01-01 00:00:00', 0), (45, 30, 999, '2026-01-01 00:00:00', 0),
             (46, 34, 6, '2026-01-01 00:00:00', 0), (47, 34, 2, '2026-01-01 00:00:00', 0);
         INSERT INTO rooms_roominvitation (id, room_id, token, created_by_id, created_at) VALUES
             (90, 34, '00000000000040008000000000000001', 1, '2026-01-01 00:00:00'),
             (91, 33, '00000000000040008000000000000002', 1, '2026-01-01 00:00:00');
         INSERT INTO chat_message (id, room_id, author_id, content, created_at) VALUES
             (50, 1, 999, 'who was I' || char(0), '2026-01-01 00:00:00'), (51, 1, 1, 'when', 'soon'),
             (52, 888, 1, 'where', '2026-01-01 00:00:00'), (53, 1, 2, '', '2026-01-01 00:00:00');
         INSERT INTO chat_message_read_by (id, message_id, user_id) VALUES (60, 777, 1), (61, 1, 20);
         INSERT INTO files_file (id, file, name, size, content_type, uploader_id, created_at) VALUES
             (70, '../secret.txt', 'a.txt', 1, 'text/plain', 2, '2026-01-01 00:00:00'),
             (71, '{absolute}', 'b.txt', 1, 'text/plain', 2, '2026-01-01 00:00:00'),
             (72, 'files/link.txt', 'c.txt', 1, 'text/plain', 2, '2026-01-01 00:00:00'),
             (73, 'files/nowhere.txt', 'd.txt', 1, 'text/plain', 2, '2026-01-01 00:00:00'),
             (74, 'files/large.txt', 'e.txt', 1, 'text/plain', 2, '2026-01-01 00:00:00'),
             (75, 'files/mine.txt', 'f.png', 1, 'image/png', 2, '2026-01-01 00:00:00'),
             (76, 'files/empty.txt', 'g.txt', 1, 'text/plain', 2, '2026-01-01 00:00:00'),
             (77, 'files/mine.txt', 'h.txt', 1, 'text/plain', 6, '2026-01-01 00:00:00'),
             (78, 'files/mine.txt', 'i.txt', 1, 'text/plain', 6, '2026-01-01 00:00:00'),
             (79, 'files', 'j.txt', 1, 'text/plain', 2, '2026-01-01 00:00:00'),
             (80, 'files/mine.txt', 'k.txt', 1, 'text/plain', 2, '2026-01-01 00:00:00');
         INSERT INTO chat_messageattachment (id, message_id, file_id)
             SELECT id + 100, 53, id FROM files_file WHERE id BETWEEN 70 AND 79;
         INSERT INTO chat_messageattachment (id, message_id, file_id) VALUES (200, 1, 1), (201, 777, 1), (202, 1, 666);
         ALTER TABLE rooms_room ADD COLUMN colour TEXT;
         CREATE TABLE polls_poll (id INTEGER PRIMARY KEY);
         INSERT INTO polls_poll VALUES (1), (2);",
        long = "x".repeat(151),
        absolute = outside.display(),
    ));
    let directory = tempfile::tempdir().unwrap();
    let limits = ["--files-max-size=2KiB", "--files-quota-per-user=2KiB"];
    let report = old.import(directory.path(), &limits);
    let long = format!("{:?} → {:?}", "x".repeat(151), "x".repeat(150));
    assert_eq!(
        report.changed("auth_user"),
        [
            row("admin", 1, ""),
            row("admin", 21, ""),
            row("bad_time", 20, "date_joined"),
            row("email_bad", 23, ""),
            row("email_taken", 22, ""),
            row("no_password", 21, ""),
            row("no_password", 25, ""),
            row("other_hasher", 4, "pbkdf2_sha1"),
            row("other_hasher", 22, "argon2"),
            row("other_hasher", 23, "pbkdf2_sha256"),
            row("renamed", 20, r#""ANN" → "ANN-2""#),
            row("renamed", 21, r#""zoe@example.org" → "zoe_example.org""#),
            row("renamed", 22, r#""a b" → "a_b""#),
            row("renamed", 23, &long),
            row("renamed", 25, r#""eve@example.org" → "eve_example.org""#),
        ]
    );
    assert_eq!(
        report.left_out("auth_user"),
        [row("bad_id", -5, ""), row("bad_value", 24, "username")]
    );
    assert_eq!(
        report.left_out("authtoken_token"),
        [row("blocked", 3, ""), row("weak_key", 20, "")]
    );
    assert_eq!(
        report.left_out("accounts_profile"),
        [
            row("no_user", 91, ""),
            row("not_a_picture", 6, ""),
            row("outside", 90, "")
        ]
    );
    assert_eq!(report.changed("accounts_profile").len(), 1);
    assert_eq!(report.left_out("rooms_room"), [row("no_user", 32, "")]);
    assert_eq!(
        report.changed("rooms_room"),
        [
            row("new_owner", 30, ""),
            row("new_owner", 34, ""),
            row("not_direct", 31, ""),
            row("not_direct", 33, ""),
            row("owner_entered", 31, ""),
            row("renamed", 30, r#""" → "Room 30""#),
        ]
    );
    assert_eq!(
        report.left_out("rooms_roomparticipant"),
        [
            row("double", 42, ""),
            row("no_room", 41, ""),
            row("no_user", 45, "")
        ]
    );
    assert_eq!(
        report.left_out("rooms_roominvitation"),
        [row("direct", 90, ""), row("expired", 2, "")]
    );
    assert_eq!(report.left_out("chat_message"), [row("no_room", 52, "")]);
    assert_eq!(
        report.changed("chat_message"),
        [
            row("author_gone", 50, ""),
            row("bad_time", 51, "created_at"),
            row("no_zeroes", 50, "")
        ]
    );
    assert_eq!(
        report.left_out("chat_message_read_by"),
        [row("no_message", 60, ""), row("not_participant", 61, "")]
    );
    assert_eq!(
        report.left_out("files_file"),
        [
            row("empty", 76, ""),
            row("missing", 73, ""),
            row("missing", 79, ""),
            row("outside", 70, ""),
            row("outside", 71, ""),
            row("outside", 72, ""),
            row("quota", 78, ""),
            row("too_large", 2, ""),
            row("too_large", 74, ""),
            row("type", 75, ""),
            row("unattached", 80, ""),
        ]
    );
    let remarks: Vec<&Value> = report.0["remarks"].as_array().unwrap().iter().collect();
    let words: Vec<&Value> = remarks.iter().map(|remark| &remark["word"]).collect();
    assert_eq!(words, ["unknown_column", "unknown_table"]);
    assert!(
        remarks[0]["text"]
            .as_str()
            .unwrap()
            .contains("rooms_room.colour")
    );
    assert!(
        remarks[1]["text"]
            .as_str()
            .unwrap()
            .contains("polls_poll (2 rows)")
    );

    let c = data(directory.path());
    // Into a room of two nobody else comes, whoever it was said to be of.
    let of_two = "SELECT count(*) FROM rooms r JOIN participants p ON p.room_id = r.id
        WHERE r.id = 34 AND r.owner_id = 6 AND r.direct_low = 2 AND r.direct_high = 6 AND p.user_id";
    assert_eq!(count(&c, &format!("{of_two} IN (2, 6)")), 2);
    assert_eq!(count(&c, &format!("{of_two} NOT IN (2, 6)")), 0);
    // One who signed in by an address goes on doing so; what is too dear to check is no password.
    assert_eq!(
        count(
            &c,
            "SELECT count(*) FROM users WHERE id = 21 AND email = 'zoe@example.org'"
        ),
        1
    );
    assert_eq!(
        count(
            &c,
            "SELECT count(*) FROM users WHERE id IN (4, 21, 22, 23) AND password_hash <> ''"
        ),
        0
    );
    // Nobody gets an address by calling himself so.
    assert_eq!(
        count(
            &c,
            "SELECT id FROM users WHERE email_key = 'eve@example.org'"
        ),
        6
    );
    // What nobody is any more has an author all the same, who is nobody's name.
    let author = "SELECT u.deleted FROM messages m JOIN users u ON u.id = m.author_id WHERE m.id = 50 AND m.content = 'who was I'";
    assert_eq!(count(&c, author), 1);
    // That of the message before it.
    assert_eq!(
        count(
            &c,
            "SELECT count(DISTINCT created_at) FROM messages WHERE id IN (50, 51)"
        ),
        1
    );
    // The same picture for two messages is there twice, its bytes once.
    assert_eq!(
        count(
            &c,
            "SELECT count(*) FROM files f JOIN files g ON f.hash = g.hash AND f.id < g.id"
        ),
        1
    );
    drop(c);

    // With more room, what was left out for the lack of it comes.
    let more = old.import(directory.path(), &[]);
    assert_eq!(more.counts("files_file"), (3, 2, 8));
    let mut check = moznods(directory.path());
    let check = check.arg("check").output().unwrap();
    assert!(check.status.success(), "{check:?}");
}

/// The database of an administrator who was here first keeps what is his.
#[tokio::test]
async fn what_is_here_already_stays_and_others_get_other_numbers() {
    let old = Old::new(&["first"]);
    let server = Server::start(&[]);
    let here = server.user("ann").await;
    let room = here.room("mine").await;
    here.done(
        &format!("/api/chat/{room}/messages/"),
        json!({"content": "mine"}),
    )
    .await;
    assert_eq!((here.id, room), (1, 1));
    let token = here.token.clone();
    let directory = server.stop().await;
    let report = old.import(directory.path(), &[]);
    let users = report.changed("auth_user");
    assert!(users.contains(&row("new_id", 1, "→ 7")), "{users:?}");
    assert!(
        users.contains(&row("renamed", 1, r#""ann" → "ann-2""#)),
        "{users:?}"
    );
    assert!(users.contains(&row("email_taken", 1, "")), "{users:?}");
    assert_eq!(report.changed("rooms_room"), [row("new_id", 1, "→ 3")]);
    assert_eq!(report.changed("chat_message"), [row("moved", 1, "+1")]);

    let server = Server::start_on(directory, &[], &[]);
    let here = server.signed_in(&json!({"token": token, "user": {"id": 1}}));
    let rooms = got(&here, "/api/rooms/").await;
    assert_eq!(
        (&rooms["count"], &rooms["results"][0]["name"]),
        (&json!(1), &json!("mine"))
    );
    let ben = with_token(&server, &old.made, "ben");
    assert_eq!(got(&ben, "/api/auth/me/").await["id"], 2);
    let page = got(&ben, "/api/chat/3/messages/?page_size=100").await;
    let told: Vec<&Value> = page["results"]
        .as_array()
        .unwrap()
        .iter()
        .rev()
        .map(|m| &m["content"])
        .collect();
    let made: Vec<&Value> = old.made["messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| &m[2])
        .collect();
    assert_eq!(told, made);
    assert_eq!(page["results"][0]["author"]["username"], "ben");
    assert_eq!(page["results"][1]["author"]["id"], 7);
}

/// Kills the import as soon as `reached` holds of the data directory.
fn killed_when(old: &Old, directory: &Path, reached: impl Fn(&Path) -> bool) {
    let mut child = old
        .command(directory, &[])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let started = Instant::now();
    while !reached(&directory.join("data")) {
        assert!(started.elapsed() < SOON, "it does not come to that");
        assert_eq!(child.try_wait().unwrap(), None, "it was done before");
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(9));
}

#[test]
fn whenever_it_is_killed_it_is_done_the_next_time() {
    let old = Old::new(&["many", "60000"]);
    let directory = tempfile::tempdir().unwrap();
    let rows = |table: &str| {
        count(
            &data(directory.path()),
            &format!("SELECT count(*) FROM {table}"),
        )
    };
    // Where files have begun to come, and where rows have.
    killed_when(&old, directory.path(), |data| {
        let kept = std::fs::read_dir(data.join("files"));
        kept.is_ok_and(|kept| kept.count() > 5)
    });
    assert_eq!((rows("users"), rows("messages")), (0, 0));
    killed_when(&old, directory.path(), |data| {
        let wal = data.join("moznods.db-wal").metadata();
        wal.is_ok_and(|wal| wal.len() > 2 * 1024 * 1024)
    });
    assert_eq!((rows("users"), rows("messages")), (0, 0));
    let report = old.import(directory.path(), &[]);
    assert_eq!(report.counts("chat_message"), (60_000, 0, 0));
    assert_eq!(report.counts("files_file"), (60, 0, 0));
    assert_eq!((rows("users"), rows("messages")), (1, 60_000));
    assert_eq!(rows("loose_blobs"), 0);
    let check = moznods(directory.path()).arg("check").output().unwrap();
    assert!(check.status.success(), "{check:?}");
}

#[test]
fn a_source_that_cannot_be_read_says_why_and_changes_nothing() {
    let old = Old::new(&["first"]);
    let sound = std::fs::read(old.database()).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let refusal = || {
        let (code, line) = old.refused(directory.path(), &[]);
        assert_eq!(code, Some(1), "{line}");
        assert_eq!(
            std::fs::read_dir(directory.path()).unwrap().count(),
            0,
            "{line}"
        );
        assert!(line.contains("expected"), "{line}");
        line
    };
    let write = |bytes: &[u8]| std::fs::write(old.database(), bytes).unwrap();

    write(b"this is a text, and longer than the head of a database is: a hundred bytes, as everybody knows who has read so.");
    assert!(refusal().contains("no SQLite database"));
    write(b"");
    assert!(refusal().contains("it has no table auth_user, table authtoken_token"));
    let mut damaged = sound.clone();
    damaged.truncate(sound.len() / 2);
    write(&damaged);
    assert!(refusal().contains("damaged"), "{}", refusal());
    std::fs::remove_file(old.database()).unwrap();
    assert!(refusal().contains("No such file"));
    std::fs::create_dir(old.database()).unwrap();
    refusal();
    std::fs::remove_dir(old.database()).unwrap();

    write(&sound);
    old.sql("ALTER TABLE chat_message RENAME COLUMN content TO words; DROP TABLE files_file;");
    assert!(refusal().contains("it has no column chat_message.content, table files_file"));

    write(&sound);
    let locking = Connection::open(old.database()).unwrap();
    locking.execute_batch("BEGIN EXCLUSIVE").unwrap();
    assert!(refusal().contains("locked"));
    drop(locking);

    // What a crash in the middle of a write leaves: the file half written, and the journal beside it.
    let writing = Connection::open(old.database()).unwrap();
    writing
        .execute_batch("PRAGMA cache_size = 1; BEGIN; UPDATE chat_message SET content = hex(randomblob(5000));")
        .unwrap();
    let journal = old.place.path().join("db.sqlite3-journal");
    let (half, rest) = (
        std::fs::read(old.database()).unwrap(),
        std::fs::read(&journal).unwrap(),
    );
    drop(writing);
    write(&half);
    std::fs::write(&journal, rest).unwrap();
    assert!(refusal().contains("broken off"));
    // What puts it back is what the advice says.
    old.sql("SELECT 1 FROM chat_message");

    let media = old.place.path().join("elsewhere");
    std::fs::rename(old.media(), &media).unwrap();
    assert!(refusal().contains("the media directory"));
    std::fs::rename(&media, old.media()).unwrap();
    let report = old.import(directory.path(), &[]);
    assert_eq!(report.counts("chat_message"), (31, 0, 0));

    // Another one's numbers would be taken for those of the first.
    let other = Old::new(&["many", "10"]);
    let before = hashes(&directory.path().join("data"));
    let (code, line) = other.refused(directory.path(), &[]);
    assert_eq!(code, Some(1));
    assert!(line.contains("another Django program"), "{line}");
    assert_eq!(hashes(&directory.path().join("data")), before);
}

/// The program may run meanwhile, with whichever journal it has.
#[test]
fn a_source_in_use_is_read_as_it_is_at_one_moment() {
    let old = Old::new(&["first"]);
    old.sql("PRAGMA journal_mode = WAL");
    let running = Connection::open(old.database()).unwrap();
    let say = "INSERT INTO chat_message (room_id, author_id, content, created_at) VALUES (1, 1, 'x', '2026-11-01 00:00:00')";
    running.execute(say, []).unwrap();
    running.execute_batch("BEGIN IMMEDIATE").unwrap();
    running.execute(say, []).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let report = old.import(directory.path(), &[]);
    // What is committed, though it is in the WAL alone; and nothing else.
    assert_eq!(report.counts("chat_message"), (32, 0, 0));
    running.execute_batch("COMMIT").unwrap();
    assert_eq!(
        old.import(directory.path(), &[]).counts("chat_message"),
        (1, 32, 0)
    );
}

#[test]
fn root_takes_over_for_the_owner_of_the_data() {
    // Nobody's of this machine.
    const SERVICE: u32 = 61_234;
    let directory = tempfile::tempdir().unwrap();
    if directory.path().metadata().unwrap().uid() != 0 {
        // Only root can be root.
        return;
    }
    let old = Old::new(&["first"]);
    let data = directory.path().join("data");
    std::fs::create_dir(&data).unwrap();
    chown(&data, Some(SERVICE), Some(SERVICE)).unwrap();
    let allow = |path: &Path, mode| {
        std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    };
    allow(directory.path(), 0o711);
    // What root alone may read, the owner of the data does not have read for him.
    allow(old.place.path(), 0o700);
    let (code, refusal) = old.refused(directory.path(), &[]);
    assert_eq!(code, Some(1));
    assert!(refusal.contains("the right to read it"), "{refusal}");
    assert_eq!(std::fs::read_dir(&data).unwrap().count(), 0);
    allow(old.place.path(), 0o711);
    let report = old.import(directory.path(), &[]);
    assert_eq!(report.counts("files_file"), (2, 0, 0));
    let owners = |path: &PathBuf| path.metadata().unwrap().uid();
    assert!(
        hashes(&data)
            .keys()
            .map(owners)
            .all(|owner| owner == SERVICE)
    );
}
