//! Files in a bucket of an S3-compatible store that is not ours: what comes and goes there, also when the store does not
//! answer. That files are the same wherever they are is shown by the tests of files.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use image::ImageFormat;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::files::{form, picture};
use crate::support::{Server, User, answer, eventually, moznods, text};

const MIB: usize = 1024 * 1024;

/// The store, and its bucket's owner.
pub struct Bucket {
    owner: Mutex<Owner>,
    told: Value,
    gate: Gate,
}

struct Owner {
    child: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Drop for Owner {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Through which servers come to the store.
struct Gate {
    address: String,
    store: String,
    /// Bytes that still pass towards the store before all is shut.
    left: Arc<AtomicU64>,
    open: Mutex<Option<JoinHandle<()>>>,
}

impl Bucket {
    pub async fn open() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut child = Command::new(root.join("target/python/bin/python"))
            .arg(root.join("tests/clients/s3_server.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("target/python; run scripts/setup test");
        let mut owner = Owner {
            questions: child.stdin.take().unwrap(),
            answers: BufReader::new(child.stdout.take().unwrap()),
            child,
        };
        let told = owner.line();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let gate = Gate {
            address: listener.local_addr().unwrap().to_string(),
            store: told["address"].as_str().unwrap().to_owned(),
            left: Arc::new(AtomicU64::new(u64::MAX)),
            open: Mutex::new(None),
        };
        gate.serve(listener);
        Bucket {
            owner: Mutex::new(owner),
            told,
            gate,
        }
    }

    /// With which a server uses it.
    pub fn arguments(&self) -> Vec<String> {
        let key = &self.told["owner"];
        self.arguments_with(&key["id"], &key["secret"])
    }

    fn arguments_with(&self, id: &Value, secret: &Value) -> Vec<String> {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        vec![
            format!("--files-s3-bucket={}", text(&self.told["bucket"])),
            format!("--files-s3-endpoint=http://{}", self.gate.address),
            format!("--files-s3-region={}", text(&self.told["region"])),
            format!("--files-s3-access-key-id={}", text(id)),
            format!("--files-s3-secret-access-key={}", text(secret)),
            "--files-s3-prefix=chat/files".to_owned(),
        ]
    }

    pub fn ask(&self, question: Value) -> Value {
        let mut owner = self.owner.lock().unwrap();
        writeln!(owner.questions, "{question}").unwrap();
        let mut said = owner.line();
        assert!(said["error"].is_null(), "{question}: {said}");
        said["done"].take()
    }

    /// What lies below the prefix, sorted.
    pub fn names(&self) -> Vec<String> {
        let found = self.ask(json!({"list": true}));
        let names = found.as_object().unwrap().keys();
        let mut names: Vec<String> = names
            .map(|name| name.strip_prefix("chat/files/").unwrap().to_owned())
            .collect();
        names.sort();
        names
    }

    /// Those that have begun and not ended.
    fn uploads(&self) -> Vec<Value> {
        self.ask(json!({"uploads": true}))
            .as_array()
            .unwrap()
            .clone()
    }
}

impl Owner {
    fn line(&mut self) -> Value {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        serde_json::from_str(&line).expect("an answer")
    }
}

impl Gate {
    fn serve(&self, listener: TcpListener) {
        let (store, left) = (self.store.clone(), Arc::clone(&self.left));
        let task = tokio::spawn(async move {
            // Whose end is that of all connections.
            let mut passing = tokio::task::JoinSet::new();
            while left.load(Ordering::Relaxed) > 0 {
                tokio::select! {
                    accepted = listener.accept() => {
                        let (client, _) = accepted.unwrap();
                        passing.spawn(pass(client, store.clone(), Arc::clone(&left)));
                    }
                    Some(_) = passing.join_next() => {}
                }
            }
        });
        *self.open.lock().unwrap() = Some(task);
    }

    /// Nobody answers there any more.
    async fn shut(&self) {
        let task = self.open.lock().unwrap().take().unwrap();
        task.abort();
        let _ = task.await;
    }

    /// As [`Self::shut`], once so many bytes more have passed towards the store.
    fn shut_after(&self, bytes: usize) {
        self.left.store(bytes as u64, Ordering::Relaxed);
    }

    async fn open(&self) {
        self.left.store(u64::MAX, Ordering::Relaxed);
        self.serve(TcpListener::bind(&self.address).await.unwrap());
    }
}

async fn pass(client: TcpStream, store: String, left: Arc<AtomicU64>) {
    let Ok(store) = TcpStream::connect(store).await else {
        return;
    };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_store, mut to_store) = store.into_split();
    let back = async { tokio::io::copy(&mut from_store, &mut to_client).await };
    let forth = async {
        let mut piece = vec![0; 16 * 1024];
        while let Ok(length @ 1..) = from_client.read(&mut piece).await {
            let before = left.load(Ordering::Relaxed);
            let after = before.saturating_sub(if before == u64::MAX { 0 } else { length as u64 });
            left.store(after, Ordering::Relaxed);
            if after == 0 || to_store.write_all(&piece[..length]).await.is_err() {
                return;
            }
        }
        let _ = to_store.shutdown().await;
        // What the store still says.
        std::future::pending::<()>().await;
    };
    tokio::select! {
        _ = back => {}
        () = forth => {}
    }
}

fn server(bucket: &Bucket, more: &[&str]) -> Server {
    let arguments = bucket.arguments();
    let mut all: Vec<&str> = arguments.iter().map(String::as_str).collect();
    all.extend(more);
    Server::start(&all)
}

async fn upload(by: &User<'_>, name: &str, kind: &str, bytes: Vec<u8>) -> (u16, Value) {
    let request = by.request(Method::POST, "/api/files/upload/");
    answer(request.multipart(form("file", name, kind, bytes))).await
}

async fn status(url: &Value) -> u16 {
    reqwest::get(url.as_str().unwrap())
        .await
        .unwrap()
        .status()
        .as_u16()
}

#[tokio::test]
async fn a_store_that_does_not_answer_is_said_and_nothing_is_lost() {
    let bucket = Bucket::open().await;
    let server = server(&bucket, &[]);
    let ann = server.user("ann").await;
    let room = ann.room("room").await;
    let png = picture(ImageFormat::Png, 800, 400);
    let (code, file) = upload(&ann, "a.png", "image/png", png.clone()).await;
    assert_eq!(code, 201, "{file}");
    let kept = bucket.names();
    assert_eq!(kept.len(), 2, "with its thumbnail");

    bucket.gate.shut().await;
    for (name, kind, bytes) in [
        ("b.txt", "text/plain", vec![b'x'; 1000]),
        ("b.png", "image/png", picture(ImageFormat::Png, 100, 100)),
    ] {
        let (code, refused) = upload(&ann, name, kind, bytes).await;
        assert_eq!((code, &refused["code"]), (503, &json!("files_unavailable")));
    }
    assert_eq!(status(&file["file"]).await, 503);
    assert_eq!(status(&file["thumbnail_url"]).await, 503);
    // Chat goes on.
    let path = format!("/api/chat/{room}/messages/");
    ann.done(
        &path,
        json!({"content": "still here", "attachment_ids": [file["id"]]}),
    )
    .await;
    let health = server
        .request(Method::GET, "/healthz")
        .send()
        .await
        .unwrap();
    assert_eq!(health.status(), 200);
    let (_, about) = ann.get("/api/auth/me/files/").await;
    assert!(about.is_object() || about.is_null());

    bucket.gate.open().await;
    assert_eq!(status(&file["file"]).await, 200);
    assert_eq!(status(&file["thumbnail_url"]).await, 200);
    let whole = reqwest::get(file["file"].as_str().unwrap()).await.unwrap();
    assert_eq!(whole.bytes().await.unwrap(), png);
    let (code, file) = upload(&ann, "b.txt", "text/plain", vec![b'x'; 1000]).await;
    assert_eq!(code, 201, "{file} {}", server.log());
    eventually("what was refused is not there", || async {
        bucket.names().len() == kept.len() + 1
    })
    .await;
    let log = server.log();
    for secret in [&bucket.told["owner"]["secret"], &bucket.told["owner"]["id"]] {
        assert!(!log.contains(secret.as_str().unwrap()), "{log}");
    }
}

#[tokio::test]
async fn bytes_that_are_lost_are_not_found() {
    let bucket = Bucket::open().await;
    let server = server(&bucket, &[]);
    let ann = server.user("ann").await;
    let (_, file) = upload(&ann, "b.txt", "text/plain", vec![b'x'; 1000]).await;
    let name = format!("chat/files/{}", bucket.names()[0]);
    bucket.ask(json!({"put": name, "bytes": "short"}));
    assert_eq!(status(&file["file"]).await, 503);
    bucket.ask(json!({"remove": name}));
    assert_eq!(status(&file["file"]).await, 404);
}

#[tokio::test]
async fn what_was_begun_and_not_ended_is_given_up() {
    let bucket = Bucket::open().await;
    let mut server = server(&bucket, &["--files-max-size=64MiB"]);
    {
        let ann = server.user("ann").await;
        let long = "0123456789abcde\n".repeat(20 * MIB / 16).into_bytes();
        let (code, file) = upload(&ann, "a.txt", "text/plain", long.clone()).await;
        assert_eq!(code, 201, "{file}");
        assert!(bucket.uploads().is_empty());
        // In the second of three parts.
        bucket.gate.shut_after(12 * MIB);
        let other = [b"x", &long[1..]].concat();
        let (code, refused) = upload(&ann, "b.txt", "text/plain", other).await;
        assert_eq!((code, &refused["code"]), (503, &json!("files_unavailable")));
        assert_eq!(
            bucket.uploads().len(),
            1,
            "nobody could say that it is over"
        );
        bucket.gate.open().await;
        assert_eq!(bucket.names().len(), 1);
    }
    server.crash_and_restart();
    eventually("it is given up", || async { bucket.uploads().is_empty() }).await;
    assert_eq!(bucket.names().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn backup_leaves_the_bucket_alone_and_check_reads_it() {
    let bucket = Bucket::open().await;
    let server = server(&bucket, &[]);
    let ann = server.user("ann").await;
    let png = picture(ImageFormat::Png, 800, 400);
    for (name, kind, bytes) in [
        ("a.png", "image/png", png),
        ("b.txt", "text/plain", vec![b'x'; 1000]),
    ] {
        assert_eq!(upload(&ann, name, kind, bytes).await.0, 201);
    }
    let own = bucket.arguments();
    let own: Vec<&str> = own.iter().map(String::as_str).collect();
    let run = |arguments: &[&str]| server.command(&[arguments, &own].concat(), "");
    let packed = run(&["backup", "whole.tar"]);
    let said = text(&packed.stdout);
    assert!(packed.status.success(), "{}", text(&packed.stderr));
    assert!(
        said.contains("stay in s3://attachments/chat/files/"),
        "{said}"
    );
    let restored = moznods(server.directory())
        .args(["restore", "whole.tar", "--data-dir=again"])
        .args(&own)
        .output()
        .unwrap();
    assert!(restored.status.success(), "{}", text(&restored.stderr));
    assert_eq!(text(&restored.stderr), "");

    let sound = run(&["check"]);
    assert!(sound.status.success(), "{}", text(&sound.stdout));
    let names = bucket.names();
    let [small, text_name] = [true, false].map(|small| {
        let of = |name: &&String| name.ends_with(".thumb") == small;
        names.iter().find(of).unwrap()
    });
    let full = |name: &str| format!("chat/files/{name}");
    bucket.ask(json!({"put": full(text_name), "bytes": "other"}));
    bucket.ask(json!({"remove": full(small)}));
    let faults = run(&["check", "--json"]);
    assert!(!faults.status.success());
    let faults: Value = serde_json::from_str(&text(&faults.stdout)).unwrap();
    let mut codes: Vec<&str> = faults
        .as_array()
        .unwrap()
        .iter()
        .map(|fault| fault["code"].as_str().unwrap())
        .collect();
    codes.sort_unstable();
    assert_eq!(codes, ["file_changed", "file_missing"]);
    bucket.gate.shut().await;
    let silent = run(&["check"]);
    assert!(!silent.status.success());
    assert!(
        text(&silent.stderr).contains("s3://attachments"),
        "{}",
        text(&silent.stderr)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_tries_the_bucket_and_says_what_is_wrong() {
    let bucket = Bucket::open().await;
    let directory = tempfile::tempdir().unwrap();
    let (owner, reader) = (&bucket.told["owner"], &bucket.told["reader"]);
    let other = json!("no-such-key");
    let right = bucket.arguments_with(&owner["id"], &owner["secret"]);
    let elsewhere = [&right[1..], &["--files-s3-bucket=elsewhere".to_owned()]].concat();
    let look = |arguments: &[String]| {
        let output = moznods(directory.path())
            .args(["doctor", "--json"])
            .args(arguments)
            .output()
            .unwrap();
        let said: Value = serde_json::from_str(&text(&output.stdout)).unwrap();
        let found = said["checks"].as_array().unwrap().iter();
        let found = found.clone().find(|one| one["check"] == "bucket");
        let shown = text(&output.stdout);
        for key in [owner, reader] {
            assert!(!shown.contains(key["secret"].as_str().unwrap()), "{shown}");
        }
        found.expect("a finding").clone()
    };
    let code = |found: &Value| found["code"].as_str().unwrap().to_owned();
    assert_eq!(code(&look(&right)), "bucket_right");
    assert!(bucket.names().is_empty(), "what was tried is gone");
    for (arguments, expected) in [
        (
            bucket.arguments_with(&other, &owner["secret"]),
            "bucket_key",
        ),
        (bucket.arguments_with(&owner["id"], &other), "bucket_secret"),
        (
            bucket.arguments_with(&reader["id"], &reader["secret"]),
            "bucket_denied",
        ),
        (elsewhere, "bucket_none"),
    ] {
        assert_eq!(code(&look(&arguments)), expected);
    }
    bucket.gate.shut().await;
    assert_eq!(code(&look(&right)), "bucket_silent");
}
