//! Commands beside a running server: what they change, what they print, and that the server obeys.

use serde_json::{Value, json};

use crate::support::{PASSWORD, Server, answer, eventually, moznods, text};

#[tokio::test]
async fn a_blocked_user_is_out_at_once() {
    let server = Server::start(&[]);
    let ann = server.user("ann").await;
    let bob = server.user("bob").await;
    let room = ann.room_with(&[&bob]).await;
    let mut sockets = vec![
        bob.socket(&format!("/ws/chat/{room}/")).await,
        bob.socket("/ws/notifications/").await,
    ];
    for socket in &mut sockets {
        socket.send(json!({"type": "ping"})).await;
        socket.next_of("pong").await;
    }
    let mut of_ann = ann.socket(&format!("/ws/chat/{room}/")).await;

    let output = server.command(&["user", "block", "BOB"], "");
    assert_eq!(text(&output.stdout), "Blocked bob.\n");
    assert_eq!(bob.get("/api/auth/me/").await.0, 401);
    for socket in &mut sockets {
        assert_eq!(socket.close_code_at_last().await, 4401);
    }
    of_ann.is_silent().await;
    assert_eq!(ann.get("/api/auth/me/").await.0, 200);
    let login = || {
        let body = json!({"username": "bob", "password": PASSWORD});
        answer(
            server
                .request(reqwest::Method::POST, "/api/auth/login/")
                .json(&body),
        )
    };
    let (status, refused) = login().await;
    assert_eq!((status, &refused["code"]), (403, &json!("account_blocked")));
    assert_eq!(
        bob.socket("/ws/notifications/").await.close_code().await,
        4401
    );

    assert!(
        server
            .command(&["user", "unblock", "bob@example.org"], "")
            .status
            .success()
    );
    assert_eq!(login().await.0, 200);
    assert_eq!(
        bob.get("/api/auth/me/").await.0,
        401,
        "the old sign-in stays dead"
    );
}

#[tokio::test]
async fn a_new_password_ends_sign_ins_and_a_deleted_user_is_gone() {
    let server = Server::start(&[]);
    let ann = server.user("ann").await;
    let bob = server.user("bob").await;
    let room = ann.room_with(&[&bob]).await;
    bob.done(
        &format!("/api/chat/{room}/messages/"),
        json!({"content": "I was here"}),
    )
    .await;
    let mut socket = bob.socket("/ws/notifications/").await;
    socket.is_silent().await;
    let output = server.command(
        &["user", "passwd", "bob", "--password-stdin"],
        "another password\n",
    );
    assert!(output.status.success(), "{output:?}");
    assert_eq!(socket.close_code_at_last().await, 4401);
    let login = |password: &str| {
        let body = json!({"username": "bob", "password": password});
        answer(
            server
                .request(reqwest::Method::POST, "/api/auth/login/")
                .json(&body),
        )
    };
    assert_eq!(login(PASSWORD).await.0, 401);
    assert_eq!(login("another password").await.0, 200);

    assert!(
        server
            .command(&["user", "delete", "bob"], "")
            .status
            .success()
    );
    assert_eq!(login("another password").await.0, 401);
    let (_, page) = ann.get(&format!("/api/chat/{room}/messages/")).await;
    assert_eq!(page["results"][0]["content"], "I was here");
    let name = page["results"][0]["author"]["username"].as_str().unwrap();
    assert_eq!(name, format!("deleted-{}", bob.id));
    let (_, view) = ann.get(&format!("/api/rooms/{room}/")).await;
    assert_eq!(view["participant_count"], 1);
    eventually("the figure follows", || async {
        let request = server.request(reqwest::Method::GET, "/metrics");
        let figures = request.send().await.unwrap().text().await.unwrap();
        figures.contains("moznods_users 1\n")
    })
    .await;
}

#[tokio::test]
async fn accounts_are_added_and_listed() {
    let directory = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str], stdin: &str| {
        use std::io::Write;
        let mut child = moznods(directory.path())
            .args(arguments)
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        // A command that reads nothing may have ended.
        let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
        child.wait_with_output().unwrap()
    };
    let add = [
        "user",
        "add",
        "--username",
        "ann",
        "--email",
        "ann@example.org",
    ];
    let output = run(&add, "short");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("At least 8"), "{output:?}");
    assert!(!directory.path().join("data").exists(), "nothing is made");
    let output = run(
        &[&add[..], &["--admin", "--display-name", "Ann B."]].concat(),
        PASSWORD,
    );
    assert_eq!(text(&output.stdout), "Added ann (id 1).\n", "{output:?}");
    let output = run(&add, PASSWORD);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        text(&output.stderr),
        "moznods: username: This username is taken.\n"
    );
    let output = run(
        &["user", "add", "--username", "b b", "--email", "b"],
        "short",
    );
    assert_eq!(
        text(&output.stderr),
        "moznods: username: Letters, digits and . _ + - only. email: This is not an email address. \
         password: At least 8 characters.\n"
    );
    let output = run(&["user", "list", "--json"], "");
    let users: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        users,
        json!([{
            "id": 1, "username": "ann", "email": "ann@example.org", "display_name": "Ann B.",
            "is_admin": true, "is_bot": false, "blocked": false,
        }])
    );
    let output = run(&["user", "list"], "");
    assert!(text(&output.stdout).contains("ann@example.org"));
    let output = run(&["user", "block", "nobody"], "");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        text(&output.stderr),
        "moznods: user: There is no such user.\n"
    );
}

#[tokio::test]
async fn relay_credentials_are_the_same_from_both_sides() {
    let server = Server::start(&["--turn-realm=x"]);
    let ann = server.user("ann").await;
    let relay = [
        "--public-url=https://chat.example.org",
        "--turn-listen=[::]:13478",
    ];
    let credential = ["turn", "credential", "--user", "ann", "--ttl", "60"];
    let output = server.command(&[&credential[..], &relay].concat(), "");
    assert!(output.status.success(), "{output:?}");
    let lines: Vec<(String, String)> = text(&output.stdout)
        .lines()
        .map(|line| line.split_once(' ').unwrap())
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let names: Vec<_> = lines.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["username", "password", "ttl", "uri", "uri"]);
    assert!(lines[0].1.ends_with(&format!(":{}", ann.id)));
    assert_eq!(lines[2].1, "60");
    assert_eq!(lines[3].1, "turn:chat.example.org:13478?transport=udp");
    assert_eq!(lines[4].1, "turn:chat.example.org:13478?transport=tcp");

    let output = server.command(&[&credential[..], &["--json"], &relay].concat(), "");
    let written: Value = serde_json::from_slice(&output.stdout).unwrap();
    let ice = &written["iceServers"];
    assert_eq!(ice[0], json!({"urls": ["stun:chat.example.org:13478"]}));
    assert_eq!(ice[1]["credential"], written["password"]);
    let (_, by_rest) = ann.get("/api/turn/credentials/").await;
    assert_eq!(by_rest["password"].as_str().unwrap().len(), 28);
    let output = server.command(&["turn", "credential", "--user", "nobody"], "");
    assert_eq!(output.status.code(), Some(1));
    server.command(&["user", "block", "ann"], "");
    let output = server.command(&credential, "");
    assert_eq!(text(&output.stderr), "moznods: This account is blocked.\n");
    assert_eq!(text(&output.stdout), "");
}
