//! What programs that watch a server go by: figures, alerts and the dashboard, whose names have to be the same; and the fields
//! of its log.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use reqwest::Method;
use serde_json::{Value, json};
use webrtc_util::Conn;

use crate::abuse::{Raw, credential};
use crate::relay::Relay;
use crate::support::{Server, answer, eventually, keys, text};

fn packaging(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("packaging")
        .join(file)
}

async fn figures(server: &Server, accept: &str) -> (String, String) {
    let request = server
        .request(Method::GET, "/metrics")
        .header("Accept", accept);
    let answer = request.send().await.unwrap();
    let kind = answer.headers()["content-type"]
        .to_str()
        .unwrap()
        .to_owned();
    (kind, answer.text().await.unwrap())
}

fn promtool(arguments: &[&str], stdin: &str) -> Output {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, stdin).unwrap();
    Command::new("promtool")
        .args(arguments)
        .stdin(file.reopen().unwrap())
        .stdout(Stdio::piped())
        .output()
        .expect("promtool, of Debian's package prometheus")
}

/// Names of all lines of the figures.
fn exported(figures: &str) -> BTreeSet<String> {
    let lines = figures.lines().filter(|line| !line.starts_with('#'));
    let name = |line: &str| line.split(['{', ' ']).next().unwrap().to_owned();
    lines.map(name).collect()
}

/// Names of figures in expressions, by their beginnings.
fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let is_name = |word: &&str| word.starts_with("moznods_") || word.starts_with("process_");
    words.filter(is_name).map(str::to_owned).collect()
}

/// All that stands at this key, however deep.
fn all_of<'a>(value: &'a Value, key: &str, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(text) if name == key => found.push(text),
                    value => all_of(value, key, found),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| all_of(value, key, found)),
        _ => {}
    }
}

/// A server at which something of all kinds has been done: said, called, relayed, and guessed.
async fn used(relay: &Relay) {
    let server = &relay.server;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let room = ann.room_with(&[&bob]).await;
    ann.done(
        &format!("/api/chat/{room}/messages/"),
        json!({"content": "hello"}),
    )
    .await;
    let mut call = ann.socket(&format!("/ws/call/{room}/")).await;
    call.send(json!({"type": "join_call"})).await;
    call.next_of("call_state").await;
    eventually("the call is counted", || async {
        let (_, figures) = figures(server, "*/*").await;
        figures.contains("\nmoznods_calls 1\n")
            && figures.contains("\nmoznods_call_participants 1\n")
    })
    .await;
    let (_client, end) = relay
        .webrtc_rs(&relay.credential(&ann).await)
        .await
        .unwrap();
    end.close().await.unwrap();
    assert_eq!(
        Raw::open(relay).allocate(Some(&credential("guess", "guess"))),
        Some(401)
    );
    let body = json!({"username": "ann", "password": "guess"});
    let guess = server.request(Method::POST, "/api/auth/login/").json(&body);
    assert_eq!(answer(guess).await.0, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_have_the_names_that_are_usual_and_that_alerts_and_the_dashboard_know() {
    let relay = Relay::start(&[]);
    used(&relay).await;
    let server = &relay.server;

    // As people see it, and as Prometheus asks for it.
    let (kind, plain) = figures(server, "*/*").await;
    assert_eq!(kind, "text/plain; version=0.0.4; charset=utf-8");
    let asked = "application/openmetrics-text;version=1.0.0;q=0.8,text/plain;version=0.0.4;q=0.3";
    let (kind, open) = figures(server, asked).await;
    assert_eq!(
        kind,
        "application/openmetrics-text; version=1.0.0; charset=utf-8"
    );
    assert!(
        open.ends_with("# EOF\n") && !plain.contains("# EOF"),
        "{open}"
    );
    let names = exported(&plain);
    assert_eq!(names, exported(&open));
    let checked = promtool(&["check", "metrics"], &plain);
    let complaints = text(&checked.stdout) + &text(&checked.stderr);
    assert!(checked.status.success(), "{complaints}");
    assert_eq!(complaints, "");
    for part in [
        "\nmoznods_build_info{version=\"",
        "\nmoznods_ready 1\n",
        "\nmoznods_messages_total 1\n",
        "\nmoznods_attempts_refused_total{what=\"turn\",why=\"wrong\"} 1\n",
        "\nmoznods_attempts_refused_total{what=\"sign_in\",why=\"wrong\"} 1\n",
    ] {
        assert!(plain.contains(part), "no {part} in {plain}");
    }
    for name in [
        "cpu_seconds_total",
        "resident_memory_bytes",
        "virtual_memory_bytes",
        "open_fds",
        "max_fds",
        "start_time_seconds",
        "threads",
    ] {
        let name = format!("process_{name} ");
        let value = plain.lines().find_map(|line| line.strip_prefix(&name));
        let value: f64 = value
            .unwrap_or_else(|| panic!("no {name}"))
            .parse()
            .unwrap();
        assert!(value > 0.0 || name.contains("cpu"), "{name}{value}");
    }

    // There only where a certificate is had by ACME.
    let elsewhere = "moznods_acme_certificate_expiry_seconds";
    let alerts = std::fs::read_to_string(packaging("prometheus/alerts.yml")).unwrap();
    let expressions: String = alerts
        .lines()
        .filter(|line| line.contains(" expr: "))
        .collect();
    let dashboard = std::fs::read_to_string(packaging("grafana/moznods.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&dashboard).unwrap();
    let mut shown = Vec::new();
    all_of(&dashboard, "expr", &mut shown);
    all_of(&dashboard, "query", &mut shown);
    for (what, known) in [
        ("alerts.yml", named(&expressions)),
        ("moznods.json", named(&shown.join(" "))),
    ] {
        assert!(known.len() > 5, "{what}: {known:?}");
        let missing: Vec<_> = known
            .iter()
            .filter(|name| *name != elsewhere && !names.contains(*name))
            .collect();
        assert!(missing.is_empty(), "{what} asks for {missing:?}");
    }
}

#[test]
fn alerts_speak_when_they_should() {
    let rules = packaging("prometheus/alerts.yml");
    let checked = promtool(&["check", "rules", rules.to_str().unwrap()], "");
    assert!(checked.status.success(), "{checked:?}");
    let tests = packaging("prometheus/alerts_test.yml");
    let tested = promtool(&["test", "rules", tests.to_str().unwrap()], "");
    assert!(tested.status.success(), "{tested:?}");
    // Each rule has a test.
    let (rules, tests) = (
        std::fs::read_to_string(rules).unwrap(),
        std::fs::read_to_string(tests).unwrap(),
    );
    for line in rules.lines() {
        if let Some((_, name)) = line.split_once("- alert: ") {
            assert!(
                tests.contains(&format!("alertname: {name}\n")),
                "{name} has no test"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_for_machines_has_the_same_fields_in_each_line() {
    let relay = Relay::start(&["--log-format=json", "--log-level=trace"]);
    used(&relay).await;
    let log = relay.server.log();
    let mut ours = 0;
    for line in log.lines() {
        let event: Value =
            serde_json::from_str(line).unwrap_or_else(|_| panic!("not JSON: {line}"));
        let target = event["target"].as_str().unwrap();
        if !target.starts_with("moznods") && target != "abuse" {
            continue;
        }
        ours += 1;
        assert_eq!(
            keys(&event),
            ["fields", "level", "target", "timestamp"],
            "{line}"
        );
        assert!(event["fields"]["message"].is_string(), "{line}");
        for field in keys(&event["fields"]) {
            let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
            assert!(field.chars().all(is_plain), "{field} in {line}");
        }
    }
    assert!(ours > 10, "{log}");
}
