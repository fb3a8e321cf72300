//! The lines of the log for programs that watch it, read by fail2ban's own filter, and nothing else read as one of them; and
//! the profile for ufw, read by ufw's own parser.

use std::path::{Path, PathBuf};
use std::process::Command;

use reqwest::Method;
use serde_json::json;

use crate::abuse::{Raw, credential};
use crate::relay::Relay;
use crate::support::{PASSWORD, Server, answer, eventually, text};

const PROXY: &str = "--http-trusted-proxies=127.0.0.0/8";
/// Whom strangers would like to have banned.
const VICTIM: &str = "192.0.2.66";

fn packaging(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("packaging")
        .join(file)
}

/// Addresses that the filter finds in a log, in its order.
fn found(log: &str) -> Vec<String> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, log).unwrap();
    let output = Command::new("fail2ban-regex")
        .args(["-o", "ip"])
        .arg(file.path())
        .arg(packaging("fail2ban/filter.d/moznods.conf"))
        .output()
        .expect("fail2ban-regex, of Debian's package fail2ban");
    assert!(output.status.success(), "{output:?}");
    text(&output.stdout).lines().map(str::to_owned).collect()
}

/// Names that would be lines of their own, if they could.
fn forgeries() -> Vec<String> {
    let at = "2026-11-29T18:48:08.123456Z";
    let human = format!("{at}  INFO abuse: refused what=sign_in address={VICTIM} why=wrong");
    let fields =
        format!(r#"{{"message":"refused","what":"sign_in","address":"{VICTIM}","why":"wrong"}}"#);
    let machine =
        format!(r#"{{"timestamp":"{at}","level":"INFO","fields":{fields},"target":"abuse"}}"#);
    // One that is short enough for the relay to be written down whole.
    let short = format!("\nINFO abuse: refused what=turn address={VICTIM} why=wrong");
    let before = ["", "\n", "x\r\n", "x\u{2028}", "\u{85}"];
    let longer = [human, machine].map(|line| before.map(|before| format!("{before}{line}\n")));
    std::iter::once(short)
        .chain(longer.into_iter().flatten())
        .collect()
}

async fn log_in(server: &Server, name: &str, from: &str) -> u16 {
    let body = json!({"username": name, "password": name});
    let request = server.request(Method::POST, "/api/auth/login/").json(&body);
    answer(request.header("X-Forwarded-For", from)).await.0
}

/// What a filter is to find in the log of a server to which all of this has been done.
async fn is_watched(format: &str) {
    let relay = Relay::start(&[
        "--limits-enabled=true",
        "--accounts-registration=code",
        &format!("--log-format={format}"),
        "--log-level=info,moznods=trace,moznods_turn=trace",
        PROXY,
    ]);
    let server = &relay.server;
    let add = [
        "user",
        "add",
        "--username",
        "ann",
        "--email",
        "ann@example.org",
    ];
    assert!(server.command(&add, PASSWORD).status.success());

    // For each door: an address of its own, so that each has a line.
    let mut expected = Vec::new();
    for (n, name) in forgeries().iter().enumerate() {
        let from = format!("198.51.100.{n}");
        assert_eq!(log_in(server, name, &from).await, 401);
        let body =
            json!({"username": name, "email": name, "password": PASSWORD, "invite_code": name});
        let request = server
            .request(Method::POST, "/api/auth/register/")
            .json(&body);
        assert_eq!(
            answer(request.header("X-Forwarded-For", &from)).await.0,
            400
        );
        // Browsers and proxies say who they are, and where they have been.
        let request = server.request(Method::GET, &format!("/api/rooms/?x={VICTIM}"));
        let request = request.header(
            "User-Agent",
            name.replace(['\n', '\r', '\u{85}', '\u{2028}'], " "),
        );
        assert_eq!(answer(request).await.0, 401);
        expected.push(from);
    }
    assert_eq!(log_in(server, "ann", "2001:db8::7").await, 401);
    expected.push("2001:db8::7".to_owned());
    let code = json!({
        "username": "eve", "email": "eve@example.org", "password": PASSWORD, "invite_code": "guess",
    });
    let request = server
        .request(Method::POST, "/api/auth/register/")
        .json(&code);
    let from = "2001:db8:1::7";
    assert_eq!(answer(request.header("X-Forwarded-For", from)).await.0, 400);
    expected.push(from.to_owned());
    for name in forgeries() {
        assert_eq!(
            Raw::open(&relay).allocate(Some(&credential(&name, &name))),
            Some(401)
        );
    }

    // At most one line in a second for an address: how many there are of the relay's is no matter.
    eventually("the relay's refusals are in the log", || async {
        found(&server.log())
            .iter()
            .any(|address| address == "127.0.0.1")
    })
    .await;
    let log = server.log();
    let all = found(&log);
    let of_web: Vec<&String> = all
        .iter()
        .filter(|address| *address != "127.0.0.1")
        .collect();
    assert_eq!(of_web, expected.iter().collect::<Vec<_>>(), "{log}");
    assert!(
        log.contains(VICTIM),
        "names are in the log at this level, elsewhere"
    );
    let accounts = match format {
        "json" => "\"account\":\"user:1\"",
        _ => " account=user:1\n",
    };
    assert!(log.contains(accounts), "{log}");
    assert!(!log.contains(PASSWORD));
    // As the journal hands them over, and as syslog writes them down.
    for before in [
        "chat moznods[4711]: ",
        "Nov 29 18:48:08 chat moznods[4711]: ",
        "2026-11-29T18:48:08.123456+00:00 chat moznods[4711]: ",
    ] {
        let log: String = log
            .lines()
            .map(|line| format!("{before}{line}\n"))
            .collect();
        assert_eq!(found(&log), all, "{before}");
    }
    // One that begins like one of them and goes on is none.
    let more: String = log.lines().map(|line| format!("{line} x\n")).collect();
    assert_eq!(found(&more), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn fail2ban_finds_who_was_refused_and_nobody_whom_strangers_name() {
    is_watched("human").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fail2ban_finds_them_in_a_log_for_machines() {
    is_watched("json").await;
}

#[test]
fn fail2ban_takes_the_jail() {
    let directory = tempfile::tempdir().unwrap();
    let copied = Command::new("cp")
        .args(["-r", "/etc/fail2ban/."])
        .arg(directory.path())
        .status();
    assert!(copied.unwrap().success());
    for file in ["filter.d/moznods.conf", "jail.d/moznods.conf"] {
        std::fs::copy(
            packaging("fail2ban").join(file),
            directory.path().join(file),
        )
        .unwrap();
    }
    // Debian's own jail looks for a log that a machine without sshd has not.
    let _ = std::fs::remove_file(directory.path().join("jail.d/defaults-debian.conf"));
    let output = Command::new("fail2ban-client")
        .arg("-c")
        .arg(directory.path())
        .args(["-d"])
        .output()
        .unwrap();
    let said = text(&output.stdout) + &text(&output.stderr);
    assert!(output.status.success(), "{said}");
    for part in [
        "['add', 'moznods', 'systemd']",
        "'addjournalmatch', '_SYSTEMD_UNIT=moznods.service'",
        "'maxretry', 100",
    ] {
        assert!(said.contains(part), "no {part} in {said}");
    }
}

/// Ports of the settings as they are by default.
#[test]
fn ufw_opens_the_ports_that_the_server_has_by_default() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::copy(packaging("ufw/moznods"), directory.path().join("moznods")).unwrap();
    let parse = "import builtins, sys; builtins._ = lambda text: text
import ufw.applications as a
profiles = a.get_profiles(sys.argv[1])
for name in sorted(profiles):
    a.verify_profile(name, profiles[name])
    print(name + ': ' + ' '.join(a.get_ports(profiles[name])))";
    let output = Command::new("/usr/bin/python3")
        .args(["-c", parse])
        .arg(directory.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let printed = Command::new(env!("CARGO_BIN_EXE_moznods"))
        .args(["config", "print"])
        .current_dir(directory.path())
        .output()
        .unwrap();
    let settings = text(&printed.stdout);
    for part in ["[::]:3478", "[::]:5349", "49152-65535", "3479", "[::]:443"] {
        assert!(settings.contains(part), "{part} is no default: {settings}");
    }
    assert_eq!(
        text(&output.stdout),
        "MOznoDS: 80,443/tcp 3478 5349/tcp 49152:65535/udp 49152:65535/tcp\n\
         MOznoDS alternate port: 3479\n"
    );
}
