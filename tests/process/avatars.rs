//! REST: pictures of accounts.

use image::ImageFormat;
use reqwest::Method;
use reqwest::multipart::Form;
use serde_json::{Value, json};

use crate::files::{bomb, form, picture};
use crate::support::{Server, User, answer, keys};

async fn set(by: &User<'_>, form: Form) -> (u16, Value) {
    let request = by.request(Method::PATCH, "/api/auth/profile/");
    answer(request.multipart(form)).await
}

async fn fetch(url: &Value) -> reqwest::Response {
    reqwest::get(url.as_str().unwrap()).await.unwrap()
}

#[tokio::test]
async fn a_picture_is_made_small_and_seen_wherever_its_user_is() {
    let server = Server::start(&[]);
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let jpeg = picture(ImageFormat::Jpeg, 1000, 500);
    // A note that a camera might leave.
    let exif = b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0where it was taken";
    let length = u16::try_from(exif.len() + 2).unwrap().to_be_bytes();
    let noted = [&jpeg[..2], &[0xFF, 0xE1], &length, exif, &jpeg[2..]].concat();
    let (status, me) = set(
        &ann,
        form("avatar", "me.jpg", "image/jpeg", noted).text("display_name", "Ann B."),
    )
    .await;
    assert_eq!(
        (status, &me["display_name"]),
        (200, &json!("Ann B.")),
        "{me}"
    );
    let url = me["avatar_url"].clone();
    let own = format!("{}/api/avatars/", server.url);
    assert!(url.as_str().unwrap().starts_with(&own), "{url}");
    let response = fetch(&url).await;
    assert_eq!(response.status(), 200);
    let headers = response.headers();
    assert_eq!(headers["content-type"], "image/jpeg");
    assert!(
        headers["cache-control"]
            .to_str()
            .unwrap()
            .contains("immutable")
    );
    assert_eq!(headers["x-content-type-options"], "nosniff");
    let bytes = response.bytes().await.unwrap();
    let small = image::load_from_memory(&bytes).unwrap();
    assert_eq!((small.width(), small.height()), (512, 256));
    assert!(!bytes.windows(4).any(|part| part == b"Exif"));

    let (_, seen) = ann.get("/api/auth/me/").await;
    assert_eq!(seen["avatar_url"], url);
    let mut notified = bob.socket("/ws/notifications/").await;
    let room = ann.room_with(&[&bob]).await;
    let added = notified.next_of("room_added").await;
    assert_eq!(added["room"]["owner"]["avatar_url"], url);
    let (_, participants) = bob.get(&format!("/api/rooms/{room}/participants/")).await;
    assert_eq!(participants[0]["user"]["avatar_url"], url);
    assert_eq!(participants[1]["user"]["avatar_url"], "");
    let mut chat = bob.socket(&format!("/ws/chat/{room}/")).await;
    let path = format!("/api/chat/{room}/messages/");
    let message = ann.done(&path, json!({"content": "hi"})).await;
    assert_eq!(message["author"]["avatar_url"], url);
    let frame = chat.next_of("chat_message").await;
    assert_eq!(frame["data"]["author"]["avatar_url"], url);

    // Another one, then none.
    let png = picture(ImageFormat::Png, 20, 30);
    let (_, me) = set(&ann, form("avatar", "me.png", "image/png", png)).await;
    let second = me["avatar_url"].clone();
    assert_ne!(second, url);
    assert_eq!(fetch(&url).await.status(), 404);
    let (_, me) = set(&ann, Form::new().text("display_name", "Ann")).await;
    assert_eq!(me["avatar_url"], second, "it stays");
    for removal in [json!({"avatar": ""}), json!({"avatar": null})] {
        let (status, me) = answer(
            ann.request(Method::PATCH, "/api/auth/profile/")
                .json(&removal),
        )
        .await;
        assert_eq!((status, &me["avatar_url"]), (200, &json!("")));
    }
    assert_eq!(fetch(&second).await.status(), 404);
    let (status, me) = set(&ann, Form::new().text("avatar", "")).await;
    assert_eq!((status, &me["avatar_url"]), (200, &json!("")));
}

#[tokio::test]
async fn what_is_no_picture_is_refused() {
    let server = Server::start(&[]);
    let ann = server.user("ann").await;
    let before = server.peak();
    let webp = picture(ImageFormat::WebP, 40, 40);
    for (name, bytes) in [
        ("a.png", b"<html><script>".to_vec()),
        ("a.png", webp[..webp.len() / 2].to_vec()),
        ("a.gif", b"GIF89a".to_vec()),
        ("a.png", Vec::new()),
        ("a.png", bomb()),
    ] {
        let (status, refused) = set(&ann, form("avatar", name, "image/png", bytes)).await;
        assert_eq!((status, keys(&refused)), (400, vec!["avatar", "code"]));
    }
    assert!(
        server.peak() - before < 64,
        "{} MiB",
        server.peak() - before
    );
    let large = vec![0; 5 * 1024 * 1024 + 1];
    let (status, refused) = set(&ann, form("avatar", "a.png", "image/png", large)).await;
    assert_eq!(
        (status, &refused["code"]),
        (413, &json!("payload_too_large"))
    );
    // A bad name leaves the picture as it was.
    let named = form("avatar", "a.webp", "image/webp", webp).text("display_name", "x".repeat(200));
    let (status, refused) = set(&ann, named).await;
    assert_eq!(
        (status, keys(&refused)),
        (400, vec!["code", "display_name"])
    );
    let text = Form::new().text("avatar", "http://elsewhere.example/me.png");
    assert_eq!(set(&ann, text).await.0, 400);
    let request = ann.request(Method::PATCH, "/api/auth/profile/");
    assert_eq!(answer(request.json(&json!({"avatar": "x"}))).await.0, 400);
    let (_, me) = ann.get("/api/auth/me/").await;
    assert_eq!(me["avatar_url"], "");

    // Only pictures of accounts are there for everybody.
    let png = picture(ImageFormat::Png, 10, 10);
    let upload = ann.request(Method::POST, "/api/files/upload/");
    let (status, _) = answer(upload.multipart(form("file", "a.png", "image/png", png))).await;
    assert_eq!(status, 201);
    let root = server.directory().join("data/files");
    let mut hashes = Vec::new();
    for directory in std::fs::read_dir(root).unwrap() {
        let directory = directory.unwrap().path();
        let first = directory.file_name().unwrap().to_str().unwrap().to_owned();
        for file in std::fs::read_dir(&directory).unwrap() {
            let rest = file.unwrap().file_name().into_string().unwrap();
            hashes.push(format!("{first}{rest}"));
        }
    }
    assert!(!hashes.is_empty());
    hashes.push("00".repeat(32));
    hashes.push("..%2F..%2Fmoznods.db".to_owned());
    for hash in hashes {
        let path = format!("/api/avatars/{hash}/");
        assert_eq!(answer(server.request(Method::GET, &path)).await.0, 404);
    }
}
