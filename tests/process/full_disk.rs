//! A disk without space: what is refused and how, that nothing acknowledged is lost, and that it ends by itself.

use std::path::Path;
use std::process::Command;

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Server, User, answer, eventually};

/// Set in the process that has mounts of its own.
const INSIDE: &str = "MOZNODS_TEST_MOUNTS";

/// Runs the test of this name in a process of its own, where it may mount what it likes. True inside, where the test is
/// to go on; false outside, where it is over and has passed.
pub fn with_own_mounts(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let output = Command::new("unshare")
        .args(["--map-root-user", "--mount", "--"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .expect("unshare, of Debian's package util-linux");
    let printed = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && printed.contains("1 passed"),
        "with mounts of its own (which needs root or user namespaces): {printed}{complained}"
    );
    false
}

pub fn mount(options: &str, directory: &Path) {
    let status = Command::new("mount")
        .args(["-t", "tmpfs", "-o", options, "tmpfs"])
        .arg(directory)
        .status();
    assert!(status.unwrap().success(), "mount -o {options}");
}

/// Some of 24 KB each, so that it does not take long; each one is another.
fn content(number: usize) -> String {
    format!("{number} {}", "ж€".repeat(3900))
}

async fn post(user: &User<'_>, room: i64, number: usize, language: &str) -> (u16, Value) {
    let path = format!("/api/chat/{room}/messages/");
    let request = user.request(Method::POST, &path);
    let request = request.header("Accept-Language", language);
    answer(request.json(&json!({"content": content(number)}))).await
}

/// Numbers of all messages, oldest first.
async fn stored(user: &User<'_>, room: i64) -> Vec<usize> {
    let mut numbers = Vec::new();
    let mut page = 1;
    loop {
        let path = format!("/api/chat/{room}/messages/?page_size=100&page={page}");
        let (status, answer) = user.get(&path).await;
        assert_eq!(status, 200, "{answer}");
        for message in answer["results"].as_array().unwrap() {
            let text = message["content"].as_str().unwrap();
            let number = text.split(' ').next().unwrap().parse().unwrap();
            assert_eq!(text, content(number));
            numbers.push(number);
        }
        if answer["next"].is_null() {
            numbers.reverse();
            return numbers;
        }
        page += 1;
    }
}

async fn readiness(server: &Server) -> (u16, String) {
    let response = server.request(Method::GET, "/readyz").send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

#[tokio::test]
async fn a_full_disk_is_said_and_ends_without_a_restart() {
    if !with_own_mounts("full_disk::a_full_disk_is_said_and_ends_without_a_restart") {
        return;
    }
    let disk = tempfile::tempdir().unwrap();
    // Longer than the WAL may become before it is moved into the database: both have to grow when it is full.
    mount("size=10m", disk.path());
    let data = disk.path().join("data");
    let mut server = Server::start(&[&format!("--data-dir={}", data.display())]);
    let (room, mut acknowledged, token);
    {
        let ann = server.user("ann").await;
        let bob = server.user("bob").await;
        room = ann.room_with(&[&bob]).await;
        token = ann.token.clone();
        acknowledged = Vec::new();
        let mut next = 0;
        let refused = loop {
            // Eight at a time: those that are committed together share their lot.
            let numbers: Vec<usize> = (next..next + 8).collect();
            next += 8;
            let posted = numbers.iter().map(|&number| post(&ann, room, number, "en"));
            let mut refusals = Vec::new();
            for (number, (status, body)) in numbers.iter().zip(join_all(posted).await) {
                match status {
                    201 => acknowledged.push((body["id"].as_i64().unwrap(), *number)),
                    _ => refusals.push((status, body)),
                }
            }
            if let Some(refused) = refusals.pop() {
                break refused;
            }
            assert!(next < 2000, "10 MiB are never full");
        };
        let said = json!({
            "detail": "The server has no space left: this was not saved. Try again later.",
            "code": "storage_full",
        });
        assert_eq!(refused, (507, said));

        // To the last byte, so that not even the smallest change finds a place.
        let filler = disk.path().join("filler");
        let mut file = std::fs::File::create(&filler).unwrap();
        while std::io::Write::write_all(&mut file, &[0; 4096]).is_ok() {}
        drop(file);
        let (status, body) = post(&ann, room, 5000, "ru").await;
        assert_eq!((status, &body["code"]), (507, &json!("storage_full")));
        let russian = "На сервере закончилось место: данные не сохранены. Попробуйте позже.";
        assert_eq!(body["detail"], russian);
        acknowledged.sort_unstable();

        let mut socket = bob.socket(&format!("/ws/chat/{room}/")).await;
        assert_eq!(post(&ann, room, 5001, "en").await.0, 507);
        // Nor is anybody told of what is not stored.
        socket.is_silent().await;
        let frame = json!({"type": "chat_message", "data": {"content": content(5002)}});
        socket.send(frame).await;
        let error = socket.next().await;
        assert_eq!(
            (&error["type"], &error["code"]),
            (&json!("error"), &json!("storage_full")),
        );
        let not_ready = (503, "the disk is full\n".to_owned());
        assert_eq!(readiness(&server).await, not_ready);
        // Small changes find a place for a while, where a large one that was undone has left it.
        for small in 0.. {
            let (status, body) = ann.post("/api/rooms/", json!({"name": "small"})).await;
            if status != 201 {
                assert_eq!((status, &body["code"]), (507, &json!("storage_full")));
                break;
            }
            assert!(small < 100, "there is space");
        }

        // What is there can be read.
        let in_order: Vec<usize> = acknowledged.iter().map(|&(_, number)| number).collect();
        assert_eq!(stored(&bob, room).await, in_order);
        assert_eq!(ann.get("/api/rooms/").await.0, 200);

        mount("remount,size=24m", disk.path());
        eventually("it is ready again", || async {
            readiness(&server).await == (200, "ready\n".to_owned())
        })
        .await;
        // Enough of them that the WAL is moved into the database again.
        for number in 6000..6300 {
            let (status, body) = post(&ann, room, number, "en").await;
            assert_eq!(status, 201, "{body}");
            acknowledged.push((body["id"].as_i64().unwrap(), number));
            let frame = socket.next_of("chat_message").await;
            assert_eq!(frame["data"]["content"], content(number));
        }
        let log = server.log();
        assert_eq!(log.matches("the disk is full").count(), 1, "{log}");
        assert_eq!(log.matches("there is space on the disk again").count(), 1);
    }
    server.crash_and_restart();
    let ann = server.signed_in(&json!({"user": {"id": 1}, "token": token}));
    let in_order: Vec<usize> = acknowledged.iter().map(|&(_, number)| number).collect();
    assert_eq!(stored(&ann, room).await, in_order);
}
