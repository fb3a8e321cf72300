//! REST: files, from their upload to their end.

use std::io::{Cursor, Read, Write};
use std::net::TcpStream;
use std::path::Path;

use futures_util::future::join_all;
use image::{DynamicImage, ImageFormat, Rgb, RgbImage};
use reqwest::multipart::{Form, Part};
use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::bucket::Bucket;
use crate::full_disk::{mount, with_own_mounts};
use crate::postgres::server::Postgres;
use crate::support::{Server, Socket, User, answer, eventually, free_port, keys};

const MIB: usize = 1024 * 1024;

pub fn picture(format: ImageFormat, width: u32, height: u32) -> Vec<u8> {
    let pixel = |x: u32, y: u32| Rgb([(x % 256) as u8, (y % 256) as u8, 100]);
    let picture: DynamicImage = RgbImage::from_fn(width, height, pixel).into();
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// A small PNG that says it has 10,000 by 10,000 pixels.
pub fn bomb() -> Vec<u8> {
    let mut bytes = picture(ImageFormat::Png, 64, 64);
    bytes[16..24].copy_from_slice(&[0, 0, 0x27, 0x10, 0, 0, 0x27, 0x10]);
    let checksum = !bytes[12..29].iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| match sum & 1 {
            1 => sum >> 1 ^ 0xEDB8_8320,
            _ => sum >> 1,
        })
    });
    bytes[29..33].copy_from_slice(&checksum.to_be_bytes());
    bytes
}

pub fn form(field: &'static str, name: &str, kind: &str, bytes: impl Into<Vec<u8>>) -> Form {
    let part = Part::bytes(bytes.into()).file_name(name.to_owned());
    Form::new().part(field, part.mime_str(kind).unwrap())
}

async fn upload(by: &User<'_>, name: &str, kind: &str, bytes: impl Into<Vec<u8>>) -> (u16, Value) {
    let request = by.request(Method::POST, "/api/files/upload/");
    answer(request.multipart(form("file", name, kind, bytes))).await
}

/// One that must be taken; its id.
async fn uploaded(by: &User<'_>, name: &str, kind: &str, bytes: impl Into<Vec<u8>>) -> i64 {
    let (status, file) = upload(by, name, kind, bytes).await;
    assert_eq!(status, 201, "{file}");
    file["id"].as_i64().unwrap()
}

/// By a URL as it is, without a token.
async fn fetch(url: &Value) -> Response {
    reqwest::get(url.as_str().unwrap()).await.unwrap()
}

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    let value = response.headers().get(name);
    value.map_or("", |value| value.to_str().unwrap())
}

/// Names of all that lies below `files` in the data directory.
fn on_disk(server: &Server) -> Vec<String> {
    let root = server.directory().join("data/files");
    let mut found = Vec::new();
    for directory in std::fs::read_dir(&root).unwrap() {
        let directory = directory.unwrap().path();
        let names = std::fs::read_dir(&directory).unwrap();
        found.extend(names.map(|name| {
            let name = name.unwrap().path();
            name.strip_prefix(&root).unwrap().display().to_string()
        }));
    }
    found.sort();
    found
}

/// The database that a test has there.
const CHAT: &str = "chat0";

/// Where the bytes of files are.
enum Place {
    Beside,
    Bucket(Box<Bucket>),
    /// PostgreSQL has them, and all else.
    Database(Postgres),
}

impl Place {
    async fn beside() -> Self {
        Place::Beside
    }

    async fn bucket() -> Self {
        Place::Bucket(Box::new(Bucket::open().await))
    }

    async fn database() -> Self {
        let postgres = Postgres::start(free_port());
        postgres.database();
        Place::Database(postgres)
    }

    fn start(&self, arguments: &[&str]) -> Server {
        let own = match self {
            Place::Beside => Vec::new(),
            Place::Bucket(bucket) => bucket.arguments(),
            Place::Database(postgres) => {
                vec![format!("--storage-database-url={}", postgres.url(CHAT))]
            }
        };
        let own = own.iter().map(String::as_str);
        Server::start(&own.chain(arguments.iter().copied()).collect::<Vec<_>>())
    }

    /// The first column of the first row, if there is one.
    fn sql(&self, server: &Server, sql: &str) -> String {
        if let Place::Database(postgres) = self {
            return postgres.sql(CHAT, sql);
        }
        let file = server.directory().join("data/moznods.db");
        let database = rusqlite::Connection::open(file).unwrap();
        let mut statement = database.prepare(sql).unwrap();
        let mut rows = statement.query([]).unwrap();
        let first = rows.next().unwrap();
        first.map_or_else(String::new, |row| row.get::<_, i64>(0).unwrap().to_string())
    }

    /// Of all that is stored, or is about to be.
    fn names(&self, server: &Server) -> Vec<String> {
        let mut names = on_disk(server);
        let elsewhere = match self {
            Place::Beside => return names,
            Place::Bucket(bucket) => bucket.names(),
            Place::Database(postgres) => {
                let all = "SELECT DISTINCT encode(hash, 'hex') || '-' || variant FROM blob_chunks";
                let all = postgres.sql(CHAT, all);
                all.split_whitespace().map(str::to_owned).collect()
            }
        };
        // Only what has no name yet is on this machine.
        let unnamed = |name: &String| name.starts_with("tmp/");
        assert!(names.iter().all(unnamed), "{names:?}");
        names.extend(elsewhere);
        names
    }
}

macro_rules! wherever_they_are {
    ($($test:ident,)+) => {
        mod beside {
            $(#[tokio::test]
            async fn $test() {
                super::$test(super::Place::beside().await).await;
            })+
        }

        mod bucket {
            $(#[tokio::test]
            async fn $test() {
                super::$test(super::Place::bucket().await).await;
            })+
        }

        mod database {
            $(#[tokio::test]
            async fn $test() {
                super::$test(super::Place::database().await).await;
            })+
        }
    };
}

wherever_they_are! {
    a_picture_goes_from_one_to_the_others_of_a_room,
    parts_of_a_file_are_sent_as_they_are_asked_for,
    what_is_not_to_be_taken_is_refused_and_leaves_nothing,
    what_no_message_has_is_deleted_by_who_has_uploaded_it,
    half_an_upload_leaves_nothing,
    a_link_is_good_for_its_file_alone_and_not_for_ever,
    what_nobody_needs_is_removed,
    the_same_bytes_at_once_are_kept_once,
    uploads_and_bombs_do_not_fill_the_memory,
}

async fn attach(by: &User<'_>, room: i64, ids: &[i64]) -> (u16, Value) {
    let path = format!("/api/chat/{room}/messages/");
    by.post(&path, json!({"content": "", "attachment_ids": ids}))
        .await
}

async fn a_picture_goes_from_one_to_the_others_of_a_room(place: Place) {
    let server = place.start(&[]);
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let eve = server.user("eve").await;
    let room = ann.room_with(&[&bob]).await;
    let png = picture(ImageFormat::Png, 800, 400);
    let (status, file) = upload(&ann, "кот.png", "image/png", png.clone()).await;
    assert_eq!(status, 201, "{file}");
    assert_eq!(
        keys(&file),
        [
            "content_type",
            "created_at",
            "file",
            "height",
            "id",
            "name",
            "size",
            "thumbnail_url",
            "width"
        ]
    );
    assert_eq!(
        (&file["name"], &file["content_type"], &file["size"]),
        (&json!("кот.png"), &json!("image/png"), &json!(png.len()))
    );
    assert_eq!(
        (&file["width"], &file["height"]),
        (&json!(800), &json!(400))
    );
    let id = file["id"].as_i64().unwrap();
    let own = format!("{}/api/files/{id}/download/?expires=", server.url);
    assert!(file["file"].as_str().unwrap().starts_with(&own), "{file}");

    // As a page has it: by the URL alone.
    let response = fetch(&file["file"]).await;
    assert_eq!(response.status(), 200);
    assert_eq!(header(&response, "content-type"), "image/png");
    assert_eq!(
        header(&response, "content-disposition"),
        "inline; filename=\"___.png\"; filename*=UTF-8''%D0%BA%D0%BE%D1%82.png"
    );
    assert_eq!(header(&response, "x-content-type-options"), "nosniff");
    assert!(header(&response, "content-security-policy").contains("sandbox"));
    assert!(header(&response, "cache-control").starts_with("private"));
    assert_eq!(response.bytes().await.unwrap(), png);
    let response = fetch(&file["thumbnail_url"]).await;
    assert_eq!(header(&response, "content-type"), "image/jpeg");
    let small = image::load_from_memory(&response.bytes().await.unwrap()).unwrap();
    assert_eq!((small.width(), small.height()), (320, 160));

    let paths = ["", "download/", "thumbnail/"].map(|what| format!("/api/files/{id}/{what}"));
    let statuses = async |by: &User<'_>| {
        let asked = paths
            .iter()
            .map(|path| by.request(Method::GET, path).send());
        let answers = join_all(asked).await.into_iter();
        answers
            .map(|answer| answer.unwrap().status().as_u16())
            .collect::<Vec<_>>()
    };
    assert_eq!(statuses(&ann).await, [200; 3]);
    assert_eq!(statuses(&bob).await, [404; 3]);

    let mut of_bob = bob.socket(&format!("/ws/chat/{room}/")).await;
    let (status, message) = attach(&ann, room, &[id]).await;
    assert_eq!(status, 201, "{message}");
    let attached = &message["attachments"][0];
    assert_eq!(keys(attached), ["file", "id"]);
    assert_eq!(attached["file"], file);
    let frame = of_bob.next_of("chat_message").await;
    assert_eq!(frame["data"]["attachments"], message["attachments"]);
    let (_, page) = bob.get(&format!("/api/chat/{room}/messages/")).await;
    assert_eq!(page["results"][0]["attachments"], message["attachments"]);
    assert_eq!(statuses(&bob).await, [200; 3]);
    assert_eq!(statuses(&eve).await, [404; 3]);

    // Nothing is attached twice, nor by others, nor without end.
    let second = uploaded(&ann, "a.txt", "text/plain", "text").await;
    let many: Vec<i64> = (0..11).map(|n| second + n).collect();
    for (by, ids) in [
        (&ann, &[id][..]),
        (&bob, &[second]),
        (&ann, &[second, second]),
        (&ann, &[second + 1]),
        (&ann, &many),
    ] {
        let (status, refused) = attach(by, room, ids).await;
        assert_eq!(status, 400, "{ids:?}");
        assert_eq!(keys(&refused), ["attachment_ids", "code"]);
    }
    let mut of_ann = ann.socket(&format!("/ws/chat/{room}/")).await;
    let data = json!({"content": "see", "attachment_ids": [second]});
    of_ann
        .send(json!({"type": "chat_message", "data": data}))
        .await;
    let frame = of_bob.next_of("chat_message").await;
    let text = &frame["data"]["attachments"][0]["file"];
    assert_eq!(
        (&text["id"], &text["width"]),
        (&json!(second), &Value::Null)
    );
    let response = fetch(&text["file"]).await;
    assert_eq!(
        header(&response, "content-type"),
        "text/plain; charset=utf-8"
    );

    let path = format!("/api/rooms/{room}/leave/");
    assert_eq!(bob.post(&path, json!({})).await.0, 204);
    assert_eq!(statuses(&bob).await, [404; 3]);
    assert_eq!(statuses(&ann).await, [200; 3]);
    let log = server.log();
    assert!(!log.contains("signature="), "{log}");
}

#[tokio::test]
async fn each_client_is_given_urls_by_which_it_reaches_the_server() {
    let server = Server::start(&[]);
    let ann = server.user("ann").await;
    let room = ann.room("room").await;
    let id = uploaded(&ann, "a.txt", "text/plain", "text").await;
    let path = format!("/ws/chat/{room}/?token={}", ann.token);
    let mut sockets = Vec::new();
    for host in ["a.example", "b.example:81"] {
        for _ in 0..2 {
            let socket = Socket::open(&server, &path, &[("Host", host)]).await;
            sockets.push((socket, format!("http://{host}/api/files/{id}/download/?")));
        }
    }
    let request = ann.request(Method::POST, &format!("/api/chat/{room}/messages/"));
    let request = request.header("Host", "c.example");
    let (_, message) = answer(request.json(&json!({"content": "", "attachment_ids": [id]}))).await;
    let url_in = |message: &Value| {
        let url = &message["attachments"][0]["file"]["file"];
        url.as_str().unwrap().to_owned()
    };
    let own = format!("http://c.example/api/files/{id}/download/?");
    assert!(url_in(&message).starts_with(&own), "{message}");
    for (socket, own) in &mut sockets {
        let frame = socket.next_of("chat_message").await;
        assert!(url_in(&frame["data"]).starts_with(own.as_str()), "{frame}");
    }

    let port = free_port();
    let url = format!("http://127.0.0.1:{port}");
    let public = Server::start(&[
        &format!("--http-listen=127.0.0.1:{port}"),
        &format!("--public-url={url}"),
    ]);
    let bob = public.user("bob").await;
    let request = bob.request(Method::POST, "/api/files/upload/");
    let request = request.header("Host", "a.example");
    let (_, file) = answer(request.multipart(form("file", "a.txt", "text/plain", "text"))).await;
    let own = format!("{url}/api/files/");
    assert!(file["file"].as_str().unwrap().starts_with(&own), "{file}");
}

async fn parts_of_a_file_are_sent_as_they_are_asked_for(place: Place) {
    let server = place.start(&[]);
    let ann = server.user("ann").await;
    let text: String = (0..100_000).map(|n| format!("{n}\n")).collect();
    let id = uploaded(&ann, "a.txt", "text/plain", text.clone()).await;
    let path = format!("/api/files/{id}/download/");
    let size = text.len();
    let ask = async |method: Method, headers: &[(&str, &str)]| {
        let mut request = ann.request(method, &path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.send().await.unwrap()
    };
    let whole = ask(Method::GET, &[]).await;
    assert_eq!(header(&whole, "accept-ranges"), "bytes");
    assert_eq!(header(&whole, "content-length"), size.to_string());
    let tag = header(&whole, "etag").to_owned();
    assert_eq!(whole.text().await.unwrap(), text);

    let head = ask(Method::HEAD, &[]).await;
    assert_eq!(head.status(), 200);
    assert_eq!(header(&head, "content-length"), size.to_string());
    assert_eq!(head.bytes().await.unwrap().len(), 0);

    for (range, from, to) in [
        ("bytes=0-9", 0, 10),
        ("bytes=100000-300000", 100_000, 300_001),
        ("bytes=-5", size - 5, size),
        ("bytes=500000-", 500_000, size),
    ] {
        for headers in [
            &[("Range", range)][..],
            &[("Range", range), ("If-Range", &tag)],
        ] {
            let part = ask(Method::GET, headers).await;
            assert_eq!(part.status(), 206, "{range}");
            let place = format!("bytes {from}-{}/{size}", to - 1);
            assert_eq!(header(&part, "content-range"), place);
            assert_eq!(part.text().await.unwrap(), text[from..to]);
        }
    }
    let beyond = ask(Method::GET, &[("Range", "bytes=9999999-")]).await;
    assert_eq!(beyond.status(), 416);
    assert_eq!(header(&beyond, "content-range"), format!("bytes */{size}"));
    let several = ask(Method::GET, &[("Range", "bytes=0-1,4-5")]).await;
    assert_eq!(several.status(), 200);
    let other = ask(
        Method::GET,
        &[("Range", "bytes=0-9"), ("If-Range", "\"x\"")],
    )
    .await;
    assert_eq!(
        (other.status().as_u16(), other.text().await.unwrap()),
        (200, text)
    );
    let known = ask(Method::GET, &[("If-None-Match", &tag)]).await;
    assert_eq!(known.status(), 304);
}

async fn what_is_not_to_be_taken_is_refused_and_leaves_nothing(place: Place) {
    let server = place.start(&["--files-max-size=100KiB"]);
    let ann = server.user("ann").await;
    let html = "<!DOCTYPE html><script>alert(1)</script>";
    let svg = "<svg xmlns=\"http://www.w3.org/2000/svg\"><script>alert(1)</script></svg>";
    let polyglot = [&b"GIF89a/*\0\0*/=1;"[..], html.as_bytes()].concat();
    let unsupported = "unsupported_media_type";
    for (name, kind, bytes, expected) in [
        ("a.png", "image/png", html.into(), (415, unsupported)),
        ("a.svg", "image/svg+xml", svg.into(), (415, unsupported)),
        ("a.png", "image/png", svg.into(), (415, unsupported)),
        ("a.gif", "image/gif", polyglot, (415, unsupported)),
        ("a.png", "image/png", vec![0, 1, 2, 3], (415, unsupported)),
        (
            "a.zip",
            "application/zip",
            b"PK\x03\x04\0\0\0\0".to_vec(),
            (415, unsupported),
        ),
        (
            "a.txt",
            "text/plain",
            vec![b'x'; 100 * 1024 + 1],
            (413, "payload_too_large"),
        ),
        (
            "a.txt",
            "text/plain",
            vec![b'x'; 20 * MIB],
            (413, "payload_too_large"),
        ),
        ("a.txt", "text/plain", Vec::new(), (400, "validation_error")),
    ] {
        let length = bytes.len();
        let (status, refused) = upload(&ann, name, kind, bytes).await;
        let code = refused["code"].as_str().unwrap();
        assert_eq!(
            (status, code),
            expected,
            "{name} of {length} bytes: {refused}"
        );
    }
    let send = |form: Form| {
        let request = ann.request(Method::POST, "/api/files/upload/");
        answer(request.multipart(form))
    };
    let (status, refused) = send(Form::new().text("file", "no file")).await;
    assert_eq!((status, keys(&refused)), (400, vec!["code", "file"]));
    let (status, refused) = send(form("other", "a.txt", "text/plain", "text")).await;
    assert_eq!((status, keys(&refused)), (400, vec!["code", "file"]));
    let request = ann.request(Method::POST, "/api/files/upload/");
    assert_eq!(answer(request.json(&json!({"file": "x"}))).await.0, 415);
    let request = server.request(Method::POST, "/api/files/upload/");
    let anonymous = request.multipart(form("file", "a.txt", "text/plain", "text"));
    assert_eq!(answer(anonymous).await.0, 401);
    assert!(
        place.names(&server).is_empty(),
        "{:?}",
        place.names(&server)
    );

    // The longest that may be, with a name that leads elsewhere.
    let name = "../../../etc/\u{202E}gpj.txt";
    let (status, file) = upload(&ann, name, "text/plain", vec![b'x'; 100 * 1024]).await;
    assert_eq!((status, &file["name"]), (201, &json!("gpj.txt")));
    assert_eq!(place.names(&server).len(), 1);
    // HTML may be text, and is never shown as more.
    let (status, file) = upload(&ann, "a.html", "text/html", html).await;
    assert_eq!(status, 201, "{file}");
    let response = fetch(&file["file"]).await;
    assert_eq!(
        header(&response, "content-type"),
        "text/plain; charset=utf-8"
    );
    assert!(header(&response, "content-disposition").starts_with("attachment"));
    let metrics = server
        .request(Method::GET, "/metrics")
        .send()
        .await
        .unwrap();
    let metrics = metrics.text().await.unwrap();
    for line in [
        "moznods_uploads_refused_total{reason=\"type\"} 6",
        "moznods_uploads_refused_total{reason=\"too_large\"} 2",
        "moznods_files 2",
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
}

#[tokio::test]
async fn a_user_has_so_much_room_and_so_many_uploads() {
    let server = Server::start(&["--files-quota-per-user=100KiB", "--limits-enabled=true"]);
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let much = || vec![b'x'; 60 * 1024];
    uploaded(&ann, "a.txt", "text/plain", much()).await;
    for _ in 0..2 {
        let (status, refused) = upload(&ann, "b.txt", "text/plain", much()).await;
        assert_eq!((status, &refused["code"]), (413, &json!("quota_exceeded")));
    }
    uploaded(&ann, "b.txt", "text/plain", vec![b'x'; 40 * 1024]).await;
    // Of several at once as many are taken as there is room for.
    let at_once = (0..4).map(|_| upload(&bob, "a.txt", "text/plain", vec![b'y'; 40 * 1024]));
    let mut statuses: Vec<u16> = join_all(at_once).await.iter().map(|(s, _)| *s).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 201, 413, 413]);

    for _ in 4..10 {
        upload(&ann, "b.txt", "text/plain", much()).await;
    }
    let request = ann.request(Method::POST, "/api/files/upload/");
    let request = request.multipart(form("file", "a.txt", "text/plain", "x"));
    let limited = request.send().await.unwrap();
    assert_eq!(limited.status(), 429);
    assert!(header(&limited, "retry-after").parse::<u32>().unwrap() >= 1);
}

async fn what_no_message_has_is_deleted_by_who_has_uploaded_it(place: Place) {
    let server = place.start(&["--files-quota-per-user=100KiB"]);
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let much = || vec![b'x'; 60 * 1024];
    let (_, file) = upload(&ann, "a.txt", "text/plain", much()).await;
    assert_eq!(upload(&ann, "b.txt", "text/plain", much()).await.0, 413);
    let delete = async |user: &User<'_>, file: &Value| {
        let path = format!("/api/files/{}/", file["id"]);
        answer(user.request(Method::DELETE, &path)).await
    };
    assert_eq!(delete(&bob, &file).await.0, 404);
    assert_eq!(delete(&ann, &file).await, (204, Value::Null));
    assert_eq!(delete(&ann, &file).await.0, 404);
    eventually("its bytes are gone", || async {
        place.names(&server).is_empty()
    })
    .await;
    let (status, file) = upload(&ann, "b.txt", "text/plain", much()).await;
    assert_eq!(status, 201);

    let room = ann.room_with(&[&bob]).await;
    let path = format!("/api/chat/{room}/messages/");
    ann.done(&path, json!({"attachment_ids": [file["id"]]}))
        .await;
    for user in [&ann, &bob] {
        let (status, refused) = delete(user, &file).await;
        assert_eq!((status, &refused["code"]), (409, &json!("file_attached")));
    }
    let path = format!("/api/files/{}/", file["id"]);
    assert_eq!(bob.get(&path).await.0, 200);
}

/// The head and half of the body of an upload.
fn begin_upload(server: &Server, token: &str) -> TcpStream {
    let address = server.url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    let head = format!(
        "POST /api/files/upload/ HTTP/1.1\r\nHost: {address}\r\nAuthorization: Token {token}\r\n\
         Content-Type: multipart/form-data; boundary=X\r\nContent-Length: 1000000\r\n\r\n\
         --X\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.txt\"\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&[b'x'; 500_000]).unwrap();
    stream
}

async fn half_an_upload_leaves_nothing(place: Place) {
    let mut server = place.start(&[]);
    let token = server.user("ann").await.token;
    let stream = begin_upload(&server, &token);
    eventually("it is written", || async {
        place.names(&server).len() == 1
    })
    .await;
    drop(stream);
    eventually("it is gone", || async { place.names(&server).is_empty() }).await;

    let mut stream = begin_upload(&server, &token);
    eventually("it is written", || async {
        place.names(&server).len() == 1
    })
    .await;
    assert!(place.names(&server)[0].starts_with("tmp/"));
    server.crash_and_restart();
    let mut rest = Vec::new();
    // The end, or a reset.
    let _ = stream.read_to_end(&mut rest);
    assert!(rest.is_empty() && place.names(&server).is_empty());
    let rows = "SELECT (SELECT count(*) FROM files) + (SELECT count(*) FROM loose_blobs)";
    assert_eq!(place.sql(&server, rows), "0");
}

async fn a_link_is_good_for_its_file_alone_and_not_for_ever(place: Place) {
    let mut server = place.start(&[]);
    let (mine, token, file);
    {
        let ann = server.user("ann").await;
        let other = uploaded(&ann, "a.txt", "text/plain", "other").await;
        (_, file) = upload(&ann, "b.txt", "text/plain", "mine").await;
        mine = file["id"].as_i64().unwrap();
        token = ann.token.clone();
        let url = file["file"].as_str().unwrap();
        let (_, query) = url.split_once('?').unwrap();
        let (expires, signature) = query.split_once("&signature=").unwrap();
        let seconds: i64 = expires.strip_prefix("expires=").unwrap().parse().unwrap();
        let link = |id: i64, expires: i64, signature: &str| {
            let path = format!("/api/files/{id}/download/?expires={expires}&signature={signature}");
            server.request(Method::GET, &path).send()
        };
        assert_eq!(link(mine, seconds, signature).await.unwrap().status(), 200);
        for (id, expires, signature) in [
            (other, seconds, signature),
            (mine, seconds + 86_400, signature),
            (mine, 1, signature),
            (mine, seconds, "AAAA"),
            (mine, seconds, ""),
        ] {
            let refused = link(id, expires, signature).await.unwrap();
            assert_eq!(refused.status(), 401, "{id} {expires} {signature}");
        }
        // With a right of one's own a bad link does not matter.
        let path = format!("/api/files/{mine}/download/?expires=1&signature=x");
        let own = ann.request(Method::GET, &path).send().await.unwrap();
        assert_eq!(own.text().await.unwrap(), "mine");
    }
    // Links outlive the process, and so do the bytes.
    server.crash_and_restart();
    let url = file["file"].as_str().unwrap();
    let (_, path) = url.split_once("/api/").unwrap();
    let again = server.request(Method::GET, &format!("/api/{path}"));
    let again = again.send().await.unwrap();
    assert_eq!(again.text().await.unwrap(), "mine");
    let ann = server.signed_in(&json!({"user": {"id": 1}, "token": token}));
    assert_eq!(ann.get(&format!("/api/files/{mine}/")).await.0, 200);
}

async fn what_nobody_needs_is_removed(place: Place) {
    let mut server = place.start(&[]);
    let (room, orphan, young, kept, ids, token);
    {
        let (ann, bob) = (server.user("ann").await, server.user("bob").await);
        room = ann.room("room").await;
        // The same bytes twice, and once more of another user.
        let png = picture(ImageFormat::Png, 50, 50);
        orphan = uploaded(&ann, "a.png", "image/png", png.clone()).await;
        kept = uploaded(&bob, "a.png", "image/png", png.clone()).await;
        let attached = uploaded(&ann, "b.png", "image/png", png).await;
        young = uploaded(&ann, "c.txt", "text/plain", "young").await;
        let gone = uploaded(&ann, "d.txt", "text/plain", "gone").await;
        assert_eq!(attach(&ann, room, &[attached]).await.0, 201);
        ids = (ann.id, bob.id);
        token = (ann.token.clone(), bob.token.clone());
        // Picture, thumbnail, two texts.
        assert_eq!(place.names(&server).len(), 4);
        let older = format!(
            "UPDATE files SET created_at = created_at - 25 * 3600 * CAST(1000000 AS BIGINT)
             WHERE id IN ({orphan}, {gone}, {attached})"
        );
        place.sql(&server, &older);
    }
    server.crash_and_restart();
    {
        let ann = server.signed_in(&json!({"user": {"id": ids.0}, "token": token.0}));
        let bob = server.signed_in(&json!({"user": {"id": ids.1}, "token": token.1}));
        eventually("one text is gone", || async {
            place.names(&server).len() == 3
        })
        .await;
        assert_eq!(ann.get(&format!("/api/files/{orphan}/")).await.0, 404);
        assert_eq!(ann.get(&format!("/api/files/{young}/")).await.0, 200);
        let path = format!("/api/files/{kept}/download/");
        let same = bob.request(Method::GET, &path).send().await.unwrap();
        assert_eq!(same.status(), 200);
        let (_, page) = ann.get(&format!("/api/chat/{room}/messages/")).await;
        let url = &page["results"][0]["attachments"][0]["file"]["file"];
        assert_eq!(fetch(url).await.status(), 200);
        let path = format!("/api/rooms/{room}/");
        let deleted = ann.request(Method::DELETE, &path).send().await.unwrap();
        assert_eq!(deleted.status(), 204);
        let older = format!("UPDATE files SET created_at = 0 WHERE id = {kept}");
        place.sql(&server, &older);
    }
    server.crash_and_restart();
    eventually("one text is left", || async {
        place.names(&server).len() == 1
    })
    .await;
}

async fn the_same_bytes_at_once_are_kept_once(place: Place) {
    let server = place.start(&[]);
    let ann = server.user("ann").await;
    let png = picture(ImageFormat::Png, 100, 100);
    let at_once = (0..4).map(|_| upload(&ann, "a.png", "image/png", png.clone()));
    for (status, file) in join_all(at_once).await {
        assert_eq!(status, 201, "{file}");
        assert_eq!(fetch(&file["file"]).await.bytes().await.unwrap(), png);
    }
    assert_eq!(place.names(&server).len(), 2, "with its thumbnail");
}

async fn uploads_and_bombs_do_not_fill_the_memory(place: Place) {
    let server = place.start(&["--files-max-size=32MiB"]);
    let mut users = Vec::new();
    for n in 0..3 {
        users.push(server.user(&format!("user{n}")).await);
    }
    uploaded(
        &users[0],
        "a.png",
        "image/png",
        picture(ImageFormat::Png, 10, 10),
    )
    .await;
    let before = server.peak();
    let text = "0123456789abcde\n".repeat(2 * MIB);
    let at_once = (0..10).map(|n| {
        let bytes = format!("{n}{}", &text[1..]);
        upload(&users[n % 3], "a.txt", "text/plain", bytes)
    });
    for (status, file) in join_all(at_once).await {
        assert_eq!(status, 201, "{file}");
    }
    let (status, file) = upload(&users[0], "a.png", "image/png", bomb()).await;
    assert_eq!((status, &file["width"]), (201, &json!(10_000)));
    assert_eq!(file["thumbnail_url"], Value::Null);
    let grown = server.peak() - before;
    assert!(grown < 64, "{grown} MiB for 320 MiB of files");
}

#[tokio::test]
async fn a_full_disk_is_said_and_what_was_begun_is_gone() {
    if !with_own_mounts("files::a_full_disk_is_said_and_what_was_begun_is_gone") {
        return;
    }
    let server = Server::start(&["--files-max-size=100MiB"]);
    // Made before, so that the files alone have no room.
    let files = server.directory().join("data/files");
    mount("size=2m", Path::new(&files));
    std::fs::create_dir(files.join("tmp")).unwrap();
    let ann = server.user("ann").await;
    let (status, refused) = upload(&ann, "a.txt", "text/plain", vec![b'x'; 5 * MIB]).await;
    assert_eq!((status, &refused["code"]), (507, &json!("storage_full")));
    assert!(on_disk(&server).is_empty());
    uploaded(&ann, "a.txt", "text/plain", vec![b'x'; MIB]).await;
}
