//! Starting and ending: what stops a start and what is left of it, signals, and what the logs hold.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::json;

use crate::support::{PASSWORD, Server, Socket, moznods, text};

fn run(directory: &Path, arguments: &[&str]) -> Output {
    moznods(directory).args(arguments).output().unwrap()
}

/// One line on stderr, exit code 2, and nothing made.
fn is_refused(directory: &Path, arguments: &[&str], line: &str) {
    let before = names(directory);
    let output = run(directory, arguments);
    assert_eq!(text(&output.stderr), format!("moznods: {line}\n"));
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(text(&output.stdout), "");
    assert_eq!(names(directory), before, "something was made");
}

fn names(directory: &Path) -> Vec<std::ffi::OsString> {
    let mut names: Vec<_> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    names
}

#[test]
fn a_start_that_fails_says_why_in_one_line_and_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let listen = format!("--http-listen={address}");
    is_refused(
        path,
        &["serve", "--turn-enabled=false", &listen],
        &format!(
            "http.listen = \"{address}\": TCP: Address already in use (os error 98); expected an address of this machine and a free port"
        ),
    );
    is_refused(
        path,
        &["serve", "--turn-enabled=maybe"],
        "turn.enabled = \"maybe\" (--turn-enabled): expected true or false",
    );
    is_refused(
        path,
        &["config", "check", "--http-listen=8080"],
        "http.listen = \"8080\" (--http-listen): expected ADDRESS:PORT, such as [::]:8080 or 127.0.0.1:8080",
    );
    is_refused(
        path,
        &["user", "list"],
        "data/moznods.db: there is no database; expected to be run where `moznods serve` runs, or its --data-dir",
    );
    std::fs::write(path.join("file"), "").unwrap();
    is_refused(
        path,
        &[
            "serve",
            "--turn-enabled=false",
            "--http-listen=127.0.0.1:0",
            "--data-dir=file/data",
        ],
        "data_dir = \"file/data\": Not a directory (os error 20); expected a directory that can be written",
    );
    is_refused(
        path,
        &["serve", "--http-lsten=x"],
        "unexpected argument '--http-lsten' found; a similar argument exists: '--http-listen'",
    );
    is_refused(
        path,
        &["user", "add"],
        "the following required arguments were not provided: --username <USERNAME> --email <EMAIL>",
    );
    is_refused(
        path,
        &["turn", "credential", "--user=x", "--ttl=0"],
        "invalid value '0' for '--ttl <SECONDS>': 0 is not in 1..=31536000",
    );
    let help = run(path, &["--help"]);
    assert!(help.status.success() && text(&help.stdout).contains("Usage: moznods"));
}

#[tokio::test]
async fn a_data_directory_serves_one_server() {
    let server = Server::start(&[]);
    let serve = ["serve", "--turn-enabled=false", "--http-listen=127.0.0.1:0"];
    is_refused(
        server.directory(),
        &serve,
        "data_dir = \"data\": another `moznods serve` is running on it; expected a directory of its own",
    );
    let mode = |name: &str| {
        let path = server.directory().join(name);
        path.metadata().unwrap().permissions().mode() & 0o777
    };
    assert_eq!((mode("data"), mode("data/moznods.db")), (0o700, 0o600));
}

#[tokio::test]
async fn a_signal_ends_the_server_cleanly() {
    for signal in ["TERM", "INT"] {
        let mut server = Server::start(&[]);
        let mut socket = {
            let ann = server.user("ann").await;
            ann.socket("/ws/notifications/").await
        };
        socket.is_silent().await;
        let mut not_signed_in = Socket::open(&server, "/ws/notifications/", &[]).await;
        server.signal(signal);
        assert_eq!(socket.close_code().await, 1001);
        assert_eq!(not_signed_in.close_code().await, 1001);
        assert_eq!(server.ended().await.code(), Some(0), "{signal}");
        assert!(!server.log().contains("did not end in time"));

        // All is in the one file, which can be copied alone.
        let copy = tempfile::tempdir().unwrap();
        std::fs::create_dir(copy.path().join("data")).unwrap();
        let file = "data/moznods.db";
        std::fs::copy(server.directory().join(file), copy.path().join(file)).unwrap();
        let listed = moznods(copy.path())
            .args(["user", "list"])
            .output()
            .unwrap();
        assert!(
            text(&listed.stdout).contains("ann@example.org"),
            "{listed:?}"
        );
    }
}

#[test]
fn a_low_limit_of_open_files_is_raised_without_a_relay_too() {
    let directory = tempfile::tempdir().unwrap();
    let serve =
        r#"ulimit -Sn 100 && exec "$0" serve --turn-enabled=false --http-listen=127.0.0.1:0"#;
    let mut server = Command::new("sh")
        .args(["-c", serve, env!("CARGO_BIN_EXE_moznods")])
        .current_dir(directory.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut first = String::new();
    let mut output = BufReader::new(server.stdout.take().unwrap());
    output.read_line(&mut first).unwrap();
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", server.id()));
    server.kill().unwrap();
    server.wait().unwrap();
    assert!(first.contains("serves"), "{first}");
    let limits = limits.unwrap();
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    let line: Vec<&str> = line.unwrap().split_whitespace().collect();
    assert_eq!(line[3], line[4], "soft and hard");
}

#[test]
fn settings_are_printed_without_secrets() {
    let directory = tempfile::tempdir().unwrap();
    let secret = "--accounts-invite-code=hunter2-hunter2";
    let output = run(directory.path(), &["config", "print", secret]);
    let printed = text(&output.stdout);
    assert!(
        printed.contains("listen = \"[::]:8080\"  # default"),
        "{printed}"
    );
    assert!(!printed.contains("hunter2"));
    assert!(run(directory.path(), &["config", "check"]).status.success());
}

#[tokio::test]
async fn logs_hold_no_secret() {
    for format in ["--log-format=human", "--log-format=json"] {
        let everything = "--log-level=trace";
        let mut server = Server::start(&[format, everything, "--accounts-registration=code"]);
        let setup = server.line_with("/#/setup/");
        let setup = setup.rsplit('/').next().unwrap().to_owned();
        let code = server.line_with("Invite code");
        let code = code.split_whitespace().last().unwrap().to_owned();
        let body = json!({
            "username": "ann", "email": "ann@example.org", "password": PASSWORD,
            "setup_token": setup, "invite_code": code,
        });
        let registered: serde_json::Value = server
            .request(reqwest::Method::POST, "/api/auth/register/")
            .json(&body)
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        let token = registered["token"].as_str().unwrap().to_owned();
        let path = format!("/ws/notifications/?token={token}");
        Socket::open(&server, &path, &[]).await.is_silent().await;
        let protocols = format!("moznods, token.{token}");
        let header = ("Sec-WebSocket-Protocol", protocols.as_str());
        Socket::open(&server, "/ws/notifications/", &[header])
            .await
            .is_silent()
            .await;
        let relay: serde_json::Value = server
            .request(
                reqwest::Method::GET,
                &format!("/api/turn/credentials/?token={token}"),
            )
            .header("Authorization", format!("Token {token}"))
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        let room: serde_json::Value = server
            .request(
                reqwest::Method::POST,
                "/api/rooms/join/8d2e0c4e-0000-4000-8000-secret/",
            )
            .header("Authorization", format!("Token {token}"))
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        assert_eq!(room["code"], "validation_error");
        server.signal("TERM");
        server.ended().await;

        let log = server.log();
        assert!(
            log.contains("/api/auth/register"),
            "requests are logged: {log}"
        );
        let relay = relay["password"].as_str().unwrap();
        for secret in [PASSWORD, &token, &setup, &code, relay, "8d2e0c4e"] {
            assert!(!log.contains(secret), "{secret} in {log}");
        }
        if format.ends_with("json") {
            for line in log.lines() {
                serde_json::from_str::<serde_json::Value>(line).unwrap();
            }
        }
    }
}
