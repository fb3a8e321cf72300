//! schemathesis against the whole API: whatever it makes up from the document, no answer is a 5xx, has a status or a shape
//! that the document does not name, or is given to somebody who may not have it.
//!
//! `MOZNODS_SCHEMATHESIS_EXAMPLES` and `MOZNODS_SCHEMATHESIS_SEED` make it longer and other.

use std::path::Path;
use std::process::Command;

use reqwest::Method;
use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};

use crate::relay::Relay;
use crate::relay_admin::admin;
use crate::support::{PASSWORD, Server, User, answer, text};

/// Of each operation.
const EXAMPLES: &str = "12";
const SEED: &str = "1";
const ROOMS: usize = 10;
/// Who may be signed out.
const VICTIMS: usize = 3;

/// What an answer must be.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
    response_headers_conformance,response_schema_conformance,unsupported_method,ignored_auth,\
    missing_required_header,allow_header_conformance";

/// What it cannot know: ids by the names that paths give them, and tokens. `root` asks.
async fn fill(server: &Server, root: &User<'_>) -> Value {
    let (bob, eve) = (server.user("bob").await, server.user("eve").await);
    let (mut rooms, mut messages, mut tokens, mut files) = (vec![], vec![], vec![], vec![]);
    // What is deleted on the way must not be all that there is.
    for n in 0..ROOMS {
        let (own, foreign) = (root.room(&format!("room {n}")).await, bob.room("его").await);
        let adding = format!("/api/rooms/{own}/add-participant/");
        root.done(&adding, json!({"id": bob.id})).await;
        for (who, content) in [
            (root, "hello @bob"),
            (&bob, "hello @root"),
            (root, "третье"),
        ] {
            let path = format!("/api/chat/{own}/messages/");
            let sent = who.done(&path, json!({"content": content})).await;
            messages.push(sent["id"].clone());
        }
        let inviting = format!("/api/rooms/{foreign}/invite/");
        tokens.push(bob.done(&inviting, json!({})).await["token"].clone());
        rooms.extend([own, own, foreign]);
        let part = Part::bytes(b"some text".to_vec()).file_name(format!("{n}.txt"));
        let upload = root.request(Method::POST, "/api/files/upload/");
        let (status, file) = answer(upload.multipart(Form::new().part("file", part))).await;
        assert_eq!(status, 201, "{file}");
        files.push(file["id"].clone());
    }
    let victims: Vec<_> = (0..VICTIMS).map(|n| format!("victim{n}")).collect();
    for name in &victims {
        server.user(name).await;
    }
    json!({
        "url": server.url,
        "user_token": root.token,
        "password": PASSWORD,
        "victims": victims,
        "ids": {
            "room": rooms,
            "message": messages,
            "file": files,
            "user": [bob.id, bob.id, eve.id, root.id],
            "token": tokens,
            "emoji": ["👍", "❤", "x"],
        },
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_made_up_from_the_document_is_answered_as_it_says() {
    let relay = Relay::start(&[]);
    let server = &relay.server;
    let root = admin(server).await;
    let known = fill(server, &root).await;
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let of_environment = |name, default: &str| std::env::var(name).unwrap_or(default.to_owned());
    let mut command = Command::new(root.join("target/python/bin/schemathesis"));
    command
        .current_dir(server.directory())
        .env(
            "SCHEMATHESIS_HOOKS",
            root.join("tests/clients/schemathesis_hooks.py"),
        )
        .env("PYTHONPATH", root.join("tests/clients"))
        .env("MOZNODS_KNOWN", known.to_string())
        .args(["--no-color", "run"])
        .arg(format!("{}/api/openapi.json", server.url))
        .arg("--generation-with-security-parameters=false")
        .arg(format!("--checks={CHECKS}"))
        .args([
            "--phases=examples,coverage,fuzzing",
            "--continue-on-failure",
            "--no-shrink",
        ])
        .args([
            "--generation-database=none",
            "--suppress-health-check=all",
            "--warnings=off",
        ])
        .arg(format!(
            "--max-examples={}",
            of_environment("MOZNODS_SCHEMATHESIS_EXAMPLES", EXAMPLES)
        ))
        .arg(format!(
            "--seed={}",
            of_environment("MOZNODS_SCHEMATHESIS_SEED", SEED)
        ));
    let run = tokio::task::spawn_blocking(move || command.output());
    let output = run
        .await
        .unwrap()
        .expect("the Python that scripts/setup brings");
    let printed = text(&output.stdout) + &text(&output.stderr);
    assert!(output.status.success(), "{printed}");
    assert!(printed.contains("Test cases"), "{printed}");
}
