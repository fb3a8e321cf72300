//! Export of a room: what is in it, who may have it, and that one that is cut off is none.

use reqwest::multipart::{Form, Part};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{SOON, Server, User, answer, moznods, text};

async fn say(user: &User<'_>, room: i64, body: Value) -> i64 {
    let message = user
        .done(&format!("/api/chat/{room}/messages/"), body)
        .await;
    message["id"].as_i64().unwrap()
}

fn path(room: i64) -> String {
    format!("/api/rooms/{room}/export/")
}

/// More than fits into the buffers between server and client.
fn fill(server: &Server, room: i64, author: i64) {
    let database = server.directory().join("data/moznods.db");
    let c = rusqlite::Connection::open(database).unwrap();
    c.busy_timeout(SOON).unwrap();
    let insert = "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 3000)
        INSERT INTO messages (room_id, author_id, content, created_at) SELECT ?, ?, ?, n FROM n";
    c.execute(insert, (room, author, "ы".repeat(8000))).unwrap();
}

#[tokio::test]
async fn all_of_a_room_is_in_its_export() {
    let server = Server::start(&[]);
    let ann = server.user("ann").await;
    let bob = server.user("bob").await;
    let room = ann.room_with(&[&bob]).await;
    let form = Form::new().part("file", Part::text("text").file_name("отчёт.txt"));
    let upload = ann
        .request(Method::POST, "/api/files/upload/")
        .multipart(form);
    let (_, file) = answer(upload).await;
    let first = say(
        &ann,
        room,
        json!({"content": "раз", "attachment_ids": [file["id"]]}),
    )
    .await;
    let second = say(
        &bob,
        room,
        json!({"content": "дав @ann", "reply_to": first}),
    )
    .await;
    let gone = say(&bob, room, json!({"content": "лишнее"})).await;
    let message = |id: i64| format!("/api/chat/messages/{id}/");
    let edit = bob.request(Method::PATCH, &message(second));
    answer(edit.json(&json!({"content": "два @ann"}))).await;
    answer(bob.request(Method::DELETE, &message(gone))).await;
    answer(ann.request(Method::PUT, &format!("{}reactions/👍/", message(second)))).await;
    // So that there are some parts of it.
    for n in 0..250 {
        say(&ann, room, json!({"content": n.to_string()})).await;
    }

    let response = ann.request(Method::GET, &path(room)).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["content-type"], "application/json");
    assert_eq!(
        response.headers()["content-disposition"],
        format!("attachment; filename=\"room-{room}.json\"")
    );
    let body = response.text().await.unwrap();
    let export: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(
        (&export["format"], &export["version"]),
        (&json!("moznods-room"), &json!(1))
    );
    assert_eq!(export["room"]["name"], "room");
    assert_eq!(export["room"]["owner_id"], ann.id);
    let members: Vec<_> = export["members"].as_array().unwrap().iter().collect();
    let names: Vec<_> = members
        .iter()
        .map(|member| &member["user"]["username"])
        .collect();
    assert_eq!(names, ["ann", "bob"]);
    let roles: Vec<_> = members.iter().map(|member| &member["role"]).collect();
    assert_eq!(roles, ["owner", "member"]);
    // In order; as the API has them, but for who has read them.
    let messages = export["messages"].as_array().unwrap();
    assert_eq!(messages.len(), 252);
    for (n, exported) in messages
        .iter()
        .enumerate()
        .filter(|(n, _)| *n < 2 || *n > 249)
    {
        let (_, mut said) = ann.get(&message(exported["id"].as_i64().unwrap())).await;
        said.as_object_mut().unwrap().remove("read_by_ids");
        assert_eq!(*exported, said, "{n}");
    }
    let ids: Vec<_> = messages
        .iter()
        .map(|message| message["id"].as_i64())
        .collect();
    assert!(ids.is_sorted());
    assert_eq!(ids[..2], [Some(first), Some(second)]);
    // What is attached can be fetched by the link in it.
    let attached = &messages[0]["attachments"][0]["file"];
    assert_eq!(
        (&attached["name"], &attached["size"]),
        (&json!("отчёт.txt"), &json!(4))
    );
    let url = attached["file"].as_str().unwrap();
    assert!(url.starts_with(&server.url), "{url}");
    assert_eq!(
        reqwest::get(url).await.unwrap().text().await.unwrap(),
        "text"
    );

    let written = server.command(&["room", "export", &room.to_string(), "room.json"], "");
    assert!(written.status.success(), "{written:?}");
    let file = std::fs::read(server.directory().join("room.json")).unwrap();
    let piped = server.command(&["room", "export", &room.to_string(), "-"], "");
    for bytes in [file, piped.stdout] {
        let same: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(same["members"], export["members"]);
        assert_eq!(same["messages"].as_array().unwrap().len(), 252);
        assert_eq!(same["messages"][1], export["messages"][1]);
    }
    let again = server.command(&["room", "export", &room.to_string(), "room.json"], "");
    assert_eq!(again.status.code(), Some(1));
    assert!(
        text(&again.stderr).contains("it is there already"),
        "{again:?}"
    );
    let none = moznods(server.directory())
        .args(["room", "export", "99", "x.json"])
        .output();
    let said = text(&none.unwrap().stderr);
    assert_eq!(said, "moznods: room 99: there is none of this number\n");
    assert!(!server.directory().join("x.json").exists());
}

#[tokio::test]
async fn an_export_is_for_owners_and_for_both_of_a_direct_room() {
    let server = Server::start(&[]);
    let ann = server.user("ann").await;
    let bob = server.user("bob").await;
    let eve = server.user("eve").await;
    let room = ann.room_with(&[&bob]).await;
    let status = async |user: &User<'_>, room: i64| user.get(&path(room)).await.0;
    assert_eq!(status(&ann, room).await, 200);
    assert_eq!(status(&bob, room).await, 403);
    assert_eq!(status(&eve, room).await, 403);
    assert_eq!(status(&ann, 99).await, 404);
    let moderator = ann.request(
        Method::PATCH,
        &format!("/api/rooms/{room}/participants/{}/", bob.id),
    );
    answer(moderator.json(&json!({"role": "moderator"}))).await;
    let (code, refused) = bob.get(&path(room)).await;
    assert_eq!((code, &refused["code"]), (403, &json!("permission_denied")));
    let direct = bob
        .done("/api/rooms/direct/", json!({"user_id": ann.id}))
        .await;
    let direct = direct["id"].as_i64().unwrap();
    say(&bob, direct, json!({"content": "x"})).await;
    for both in [&ann, &bob] {
        let (code, export) = both.get(&path(direct)).await;
        assert_eq!(
            (code, export["messages"].as_array().unwrap().len()),
            (200, 1)
        );
    }
    assert_eq!(status(&eve, direct).await, 403);
}

#[tokio::test]
async fn an_export_that_is_cut_off_is_no_json() {
    let server = Server::start(&[]);
    let ann = server.user("ann").await;
    let bob = server.user("bob").await;
    let room = ann.room_with(&[&bob]).await;
    fill(&server, room, ann.id);
    let request = || ann.request(Method::GET, &path(room));
    let mut response = request().send().await.unwrap();
    let mut body = response.chunk().await.unwrap().unwrap().to_vec();
    // One at a time.
    let (status, refused) = answer(request()).await;
    assert_eq!((status, &refused["code"]), (429, &json!("rate_limited")));
    // The right ends while it goes on.
    let transfer = json!({"user_id": bob.id});
    ann.done(&format!("/api/rooms/{room}/transfer/"), transfer)
        .await;
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => panic!("it ended as if it were whole"),
            Err(_) => break,
        }
    }
    assert!(serde_json::from_slice::<Value>(&body).is_err());
    assert!(body.starts_with(b"{\"format\":\"moznods-room\""));

    // Who goes away makes place for the next, who gets all of it.
    let request = || bob.request(Method::GET, &path(room));
    let mut begun = request().send().await.unwrap();
    begun.chunk().await.unwrap().unwrap();
    drop(begun);
    let whole = async {
        loop {
            let response = request().send().await.unwrap();
            if response.status() != StatusCode::TOO_MANY_REQUESTS {
                return response.json::<Value>().await.unwrap();
            }
        }
    };
    let whole = tokio::time::timeout(SOON, whole).await.unwrap();
    assert_eq!(whole["messages"].as_array().unwrap().len(), 3000);
    // 48 MB of text; what it takes is what one part of it takes.
    assert!(server.peak() < 120, "{} MiB", server.peak());
}
