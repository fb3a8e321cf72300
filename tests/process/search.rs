//! Search: what is found, by whom, how it is shown, and that it follows what is said.

use reqwest::{Method, Url};
use serde_json::{Value, json};

use crate::support::{SOON, Server, User, answer, moznods};

async fn say(user: &User<'_>, room: i64, content: &str) -> i64 {
    let path = format!("/api/chat/{room}/messages/");
    let message = user.done(&path, json!({"content": content})).await;
    message["id"].as_i64().unwrap()
}

/// The query is the rest of the URL, where spaces and so on stand as they are.
async fn search(user: &User<'_>, query: &str) -> (u16, Value) {
    let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap());
    let url = Url::parse_with_params("http://localhost/", pairs).unwrap();
    user.get(&format!("/api/search/?{}", url.query().unwrap()))
        .await
}

async fn found(user: &User<'_>, query: &str) -> Vec<i64> {
    let (status, found) = search(user, query).await;
    assert_eq!(status, 200, "{query}: {found}");
    let results = found["results"].as_array().unwrap();
    results
        .iter()
        .map(|hit| hit["id"].as_i64().unwrap())
        .collect()
}

/// Until the index has it.
async fn is_found(user: &User<'_>, query: &str, expected: &[i64]) {
    let waiting = async {
        while found(user, query).await != expected {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    let in_time = tokio::time::timeout(SOON, waiting).await;
    assert!(in_time.is_ok(), "{query}: {:?}", found(user, query).await);
}

#[tokio::test]
async fn what_is_said_is_found_by_those_who_take_part() {
    let server = Server::start(&[]);
    let ann = server.user("ann").await;
    let bob = server.user("bob").await;
    let shared = ann.room_with(&[&bob]).await;
    let own = ann.room("own").await;
    let first = say(&ann, shared, "Завтра принесу книги, и <b>Ёлку</b>.").await;
    let second = say(&bob, shared, "Which books? I was running.").await;
    let third = say(&ann, own, "книга о собаках").await;
    is_found(&ann, "q=книга", &[third, first]).await;
    assert_eq!(found(&bob, "q=книга").await, [first]);
    assert_eq!(found(&bob, "q=run ").await, [second]);
    // While it is typed.
    assert_eq!(found(&bob, "q=прин").await, [first]);
    assert_eq!(found(&ann, &format!("q=книг&room={own}")).await, [third]);
    assert_eq!(
        found(&ann, &format!("q=book&author={}", bob.id)).await,
        [second]
    );
    assert_eq!(found(&ann, "q=\"книги и\"").await, [first]);

    let (_, answered) = search(&bob, "q=елка").await;
    assert_eq!(answered["next_before"], Value::Null);
    let hit = &answered["results"][0];
    assert_eq!(
        hit["excerpt"],
        json!([
            {"text": "Завтра принесу книги, и <b>", "is_match": false},
            {"text": "Ёлку", "is_match": true},
            {"text": "</b>.", "is_match": false},
        ])
    );
    // Beside what it is anyway.
    let (_, message) = bob.get(&format!("/api/chat/messages/{first}/")).await;
    let mut hit = hit.clone();
    hit.as_object_mut().unwrap().remove("excerpt");
    assert_eq!(hit, message);

    // From one moment to the next.
    let removed = json!({"id": bob.id});
    let path = format!("/api/rooms/{shared}/remove-participant/");
    ann.done(&path, removed).await;
    assert_eq!(found(&bob, "q=книга").await, [0; 0]);
    let (status, refused) = search(&bob, &format!("q=книга&room={shared}")).await;
    assert_eq!(
        (status, refused["code"].as_str()),
        (403, Some("permission_denied"))
    );
}

#[tokio::test]
async fn what_is_changed_or_deleted_is_not_found_any_more() {
    let server = Server::start(&[]);
    let ann = server.user("ann").await;
    let room = ann.room("room").await;
    let first = say(&ann, room, "кошка").await;
    let second = say(&ann, room, "кошка").await;
    is_found(&ann, "q=кошки", &[second, first]).await;
    let path = |message: i64| format!("/api/chat/messages/{message}/");
    let edit = ann.request(Method::PATCH, &path(first));
    let edited = edit.json(&json!({"content": "хомяк"})).send().await;
    assert_eq!(edited.unwrap().status(), 200);
    let deleted = ann.request(Method::DELETE, &path(second));
    assert_eq!(deleted.send().await.unwrap().status(), 204);
    // At once, whatever the index has.
    assert_eq!(found(&ann, "q=кошки").await, [0; 0]);
    is_found(&ann, "q=хомяки", &[first]).await;
    assert_eq!(found(&ann, "q=кошки").await, [0; 0]);
}

#[tokio::test]
async fn a_search_is_read_page_by_page() {
    let server = Server::start(&[]);
    let ann = server.user("ann").await;
    let room = ann.room("room").await;
    let mut said = Vec::new();
    for n in 0..7 {
        said.insert(0, say(&ann, room, &format!("слово {n}")).await);
    }
    is_found(&ann, "q=слово", &said).await;
    let mut pages = Vec::new();
    let mut query = "q=слово&page_size=3".to_owned();
    loop {
        let (_, page) = search(&ann, &query).await;
        let results = page["results"].as_array().unwrap();
        pages.push(results.len());
        let ids = results.iter().map(|hit| hit["id"].as_i64().unwrap());
        assert!(ids.eq(said.drain(..results.len())));
        let Some(next) = page["next_before"].as_i64() else {
            break;
        };
        query = format!("q=слово&page_size=3&before={next}");
    }
    assert_eq!(pages, [3, 3, 1]);
}

#[tokio::test]
async fn whatever_is_typed_is_answered() {
    let server = Server::start(&[]);
    let ann = server.user("ann").await;
    let room = ann.room("room").await;
    let message = say(&ann, room, "C++ и \"x' OR 1=1").await;
    is_found(&ann, "q=x", &[message]).await;
    for typed in [
        "c++",
        "\"c",
        "\"\"c",
        "x' OR 1",
        "(c",
        "c)",
        "*c*",
        "^c",
        "-c",
        "c:",
        "{c}",
        "c AND",
        "NOT c",
        "NEAR(c",
        "c\\",
        "c;--",
        "#1 @1",
        "c\u{0}",
        "«c",
        "c=",
        "\u{202e}c",
        "c\u{301}\u{301}",
    ] {
        let (status, answered) = search(&ann, &format!("q={typed}")).await;
        assert_eq!(status, 200, "{typed}: {answered}");
    }
    let long = "x".repeat(201);
    for (query, field) in [
        ("q=", "q"),
        ("q= ", "q"),
        ("q=*", "q"),
        ("q=👍", "q"),
        (&*format!("q={long}"), "q"),
        ("room=1", "q"),
        ("q=x&room=x", "room"),
        ("q=x&room=-1", "room"),
        ("q=x&author=ann", "author"),
        ("q=x&before=0", "before"),
        ("q=x&before=99999999999999999999", "before"),
        ("q=x&page_size=many", "page_size"),
    ] {
        let (status, refused) = search(&ann, query).await;
        assert_eq!(status, 400, "{query}: {refused}");
        assert!(refused[field].is_array(), "{query}: {refused}");
    }
    assert_eq!(search(&ann, "q=x&room=99").await.0, 404);
    assert_eq!(found(&ann, &format!("q={}", &long[1..])).await, [0; 0]);
    assert_eq!(found(&ann, "q=x&page_size=1000").await, [message]);
    let (status, _) = answer(server.request(Method::GET, "/api/search/?q=x")).await;
    assert_eq!(status, 401);
}

#[tokio::test]
async fn the_index_is_there_after_a_crash_and_in_a_backup() {
    let mut server = Server::start(&[]);
    let ann = server.user("ann").await;
    let room = ann.room("room").await;
    let first = say(&ann, room, "слово").await;
    is_found(&ann, "q=слова", &[first]).await;
    let second = say(&ann, room, "слово").await;
    let signed_in = json!({"user": {"id": ann.id}, "token": ann.token});
    server.crash_and_restart();
    let ann = server.signed_in(&signed_in);
    is_found(&ann, "q=слова", &[second, first]).await;

    let run = |directory: &std::path::Path, arguments: &[&str]| {
        let output = moznods(directory).args(arguments).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    };
    let third = say(&ann, room, "слово").await;
    run(server.directory(), &["backup", "a.tar"]);
    let elsewhere = tempfile::tempdir().unwrap();
    let archive = server.directory().join("a.tar");
    run(elsewhere.path(), &["restore", archive.to_str().unwrap()]);
    run(elsewhere.path(), &["check"]);
    let data = format!("--data-dir={}/data", elsewhere.path().display());
    let restored = Server::start(&[&data]);
    let ann = restored.signed_in(&signed_in);
    is_found(&ann, "q=слова", &[third, second, first]).await;
}
