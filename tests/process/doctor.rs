//! `moznods doctor`: a server that runs and one before its start, and set-ups that are broken, whose cause it names.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::net::{TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, SystemTime};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use serde_json::{Value, json};

use crate::full_disk::{mount, with_own_mounts};
use crate::relay::Relay;
use crate::relay_admin::printed;
use crate::support::{Server, free_port, moznods, text};

/// What it found, with these arguments, in this directory.
struct Found {
    ok: bool,
    checks: Vec<Value>,
}

impl Found {
    fn of(output: &Output) -> Self {
        let told: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|_| panic!("no JSON: {output:?}"));
        let ok = told["ok"].as_bool().unwrap();
        let code = if ok { 0 } else { 1 };
        assert_eq!(output.status.code(), Some(code), "{told}");
        let checks = told["checks"].as_array().unwrap().clone();
        for check in &checks {
            // A text that there is not would be its own key.
            for text in [&check["text"], &check["advice"]] {
                let text = text.as_str().unwrap_or_default();
                assert!(!text.contains("doctor_") && !text.contains('{'), "{check}");
            }
            let is_fault = matches!(check["state"].as_str().unwrap(), "wrong" | "advice");
            assert_eq!(check["advice"].is_string(), is_fault, "{check}");
        }
        Found { ok, checks }
    }

    fn with(&self, code: &str) -> Option<&Value> {
        self.checks.iter().find(|check| check["code"] == code)
    }

    /// The one finding of this code, which must be there.
    fn the(&self, code: &str) -> &Value {
        self.with(code)
            .unwrap_or_else(|| panic!("no {code} in {:#?}", self.checks))
    }

    /// That this is wrong, and nothing but it and `others`.
    fn is_wrong(&self, code: &str, others: &[&str]) -> &Value {
        let wrong: Vec<&str> = self
            .checks
            .iter()
            .filter(|check| check["state"] == "wrong")
            .map(|check| check["code"].as_str().unwrap())
            .filter(|found| !others.contains(found))
            .collect();
        assert_eq!(wrong, [code], "{:#?}", self.checks);
        assert!(!self.ok);
        self.the(code)
    }
}

/// Settings of a server of which nothing is wrong on this machine, whatever its limits.
fn settings(http: u16, turn: u16) -> Vec<String> {
    vec![
        format!("--http-listen=127.0.0.1:{http}"),
        format!("--turn-listen=127.0.0.1:{turn}"),
        "--turn-external-ip=127.0.0.1".to_owned(),
        "--turn-relay-ports=49152-50151".to_owned(),
    ]
}

fn look(directory: &Path, arguments: &[String]) -> Found {
    let output = moznods(directory)
        .args(["doctor", "--json"])
        .args(arguments)
        .output()
        .unwrap();
    Found::of(&output)
}

/// Before a start, on ports that are free.
fn look_before(directory: &Path, more: &[&str]) -> Found {
    let mut all = settings(free_port(), free_port());
    all.retain(|default| {
        let (name, _) = default.split_once('=').unwrap();
        !more.iter().any(|argument| argument.starts_with(name))
    });
    all.extend(more.iter().map(|&argument| argument.to_owned()));
    look(directory, &all)
}

/// An authority, and certificates of it.
struct Authority {
    directory: tempfile::TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let directory = tempfile::tempdir().unwrap();
        let own = params.self_signed(&key).unwrap();
        fs::write(directory.path().join("authority.pem"), own.pem()).unwrap();
        Authority {
            issuer: Issuer::new(params, key),
            directory,
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Settings that name one for `host`, which is written to files of this name.
    fn issue(&self, name: &str, host: &str, until: i32) -> [String; 2] {
        let mut params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        params.not_after = date_time_ymd(until, 1, 1);
        let key = KeyPair::generate().unwrap();
        let made = params.signed_by(&key, &self.issuer).unwrap();
        let (cert_file, key_file) = (format!("{name}.pem"), format!("{name}-key.pem"));
        fs::write(self.file(&cert_file), made.pem()).unwrap();
        fs::write(self.file(&key_file), key.serialize_pem()).unwrap();
        [("cert", cert_file), ("key", key_file)]
            .map(|(what, file)| format!("--turn-tls-{what}={}", self.file(&file).display()))
    }

    /// As seen by one who trusts it.
    fn look(&self, directory: &Path, arguments: &[String]) -> Found {
        let output = moznods(directory)
            .args(["doctor", "--json"])
            .args(arguments)
            .env("SSL_CERT_FILE", self.file("authority.pem"))
            .output()
            .unwrap();
        Found::of(&output)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_runs_is_looked_at_and_nothing_of_it_stays() {
    let authority = Authority::new();
    let (http, turn, tls) = (free_port(), free_port(), free_port());
    let mut all = settings(http, turn);
    all.push(format!("--public-url=http://127.0.0.1:{http}"));
    all.push(format!("--turn-tls-listen=127.0.0.1:{tls}"));
    all.extend(authority.issue("server", "127.0.0.1", 2100));
    let arguments: Vec<&str> = all.iter().map(String::as_str).collect();
    let relay = Relay::start(&arguments);
    let server = &relay.server;

    let found = authority.look(server.directory(), &all);
    assert!(found.ok, "{:#?}", found.checks);
    for code in [
        "settings_right",
        "server_runs",
        "data_right",
        "database_right",
        "certificate_right",
        "http_right",
        "address_private",
        "name_right",
        "url_right",
    ] {
        found.the(code);
    }
    let trips: Vec<_> = found
        .checks
        .iter()
        .filter(|check| check["code"] == "trip_right")
        .map(|check| check["values"]["transport"].as_str().unwrap())
        .collect();
    assert_eq!(trips, ["UDP", "TCP", "TLS"]);

    for listed in [
        &["audit", "--json"][..],
        &["turn", "usage", "--json"],
        &["turn", "user", "list", "--json"],
        &["turn", "allocations", "--json"],
    ] {
        let listed: Value = serde_json::from_str(&printed(server, listed)).unwrap();
        let entries = listed.get("entries").unwrap_or(&listed);
        assert_eq!(entries, &json!([]), "{listed}");
    }

    // It shows what it was started with, whatever the settings name now.
    let is_of_certificate = |setting: &String| {
        ["--turn-tls-cert=", "--turn-tls-key="]
            .iter()
            .any(|name| setting.starts_with(name))
    };
    let mut changed = all.clone();
    changed.retain(|setting| !is_of_certificate(setting));
    changed.extend(authority.issue("other", "127.0.0.1", 2100));
    authority
        .look(server.directory(), &changed)
        .is_wrong("certificate_old", &[]);
    // What is renewed in place it takes by itself.
    authority.issue("server", "127.0.0.1", 2101);
    crate::support::eventually("the new certificate is shown", async || {
        authority.look(server.directory(), &all).ok
    })
    .await;

    // Who runs under another name than the one that leads here.
    let other = Server::start(&[]);
    all.retain(|setting| !setting.starts_with("--public-url"));
    all.push(format!("--public-url={}", other.url));
    authority
        .look(server.directory(), &all)
        .is_wrong("url_other", &[]);
}

#[test]
fn before_a_start_ports_are_tried_and_a_relay_of_its_own_relays() {
    let directory = tempfile::tempdir().unwrap();
    let found = look_before(directory.path(), &[]);
    assert!(found.ok, "{:#?}", found.checks);
    for code in ["server_none", "data_none", "port_right", "trip_right"] {
        found.the(code);
    }
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);

    // Each line by itself, in the language of the terminal.
    let arguments = settings(free_port(), free_port());
    for (language, line) in [
        ("en_US.UTF-8", "✓ The settings can be used.\n"),
        ("ru_RU.UTF-8", "✓ Настройки годятся.\n"),
    ] {
        let output = moznods(directory.path())
            .arg("doctor")
            .args(&arguments)
            .env("LC_ALL", language)
            .output()
            .unwrap();
        let said = text(&output.stdout);
        assert!(output.status.success() && said.starts_with(line), "{said}");
        let marked = |line: &str| ["✓ ", "! ", "– "].iter().any(|mark| line.starts_with(mark));
        assert!(said.lines().all(marked), "{said}");
        assert!(!said.contains("doctor_"), "{said}");
    }
}

#[test]
fn settings_that_cannot_be_used_are_said() {
    let directory = tempfile::tempdir().unwrap();
    let found = look_before(directory.path(), &["--turn-relay-ports=9-8"]);
    let wrong = found.is_wrong("settings_wrong", &[]);
    let text = wrong["text"].as_str().unwrap();
    assert!(text.contains("turn.relay_ports = \"9-8\""), "{text}");
}

#[test]
fn who_has_a_port_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let this = format!("(process {})", std::process::id());
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = format!("--http-listen={}", held.local_addr().unwrap());
    let found = look_before(directory.path(), &[&listen]);
    let values = &found.is_wrong("port_taken", &[])["values"];
    assert_eq!(
        (&values["key"], &values["transport"]),
        (&json!("http.listen"), &json!("TCP"))
    );
    assert!(
        values["holder"].as_str().unwrap().contains(&this),
        "{values}"
    );

    let held = UdpSocket::bind("127.0.0.1:0").unwrap();
    let listen = format!("--turn-listen={}", held.local_addr().unwrap());
    let found = look_before(directory.path(), &[&listen]);
    let values = &found.is_wrong("port_taken", &[])["values"];
    assert_eq!(
        (&values["key"], &values["transport"]),
        (&json!("turn.listen"), &json!("UDP"))
    );
    assert!(
        values["holder"].as_str().unwrap().contains(&this),
        "{values}"
    );

    let foreign = look_before(directory.path(), &["--http-listen=203.0.113.7:8080"]);
    foreign.is_wrong("port_refused", &[]);
}

#[test]
fn an_external_ip_that_is_not_this_machines_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let external = "--turn-external-ip=203.0.113.7";
    let found = look_before(directory.path(), &[external]);
    let wrong = found.is_wrong("address_silent", &[]);
    assert_eq!(wrong["values"]["public"], "203.0.113.7");

    // A STUN server knows better.
    let stun = Relay::start(&[]);
    let extra = format!("--ice-extra-stun=127.0.0.1:{}", stun.port);
    let found = look_before(directory.path(), &[external, &extra]);
    let wrong = found.is_wrong("address_other", &[]);
    let advice = wrong["advice"].as_str().unwrap();
    let seen = wrong["values"]["seen"].as_str().unwrap();
    assert!(
        advice.contains(&format!("turn.external_ip = \"{seen}\"")),
        "{advice}"
    );
}

#[test]
fn what_is_wrong_with_a_certificate_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let base = || {
        let mut all = settings(free_port(), free_port());
        all.push(format!("--turn-tls-listen=127.0.0.1:{}", free_port()));
        all.push("--public-url=http://127.0.0.1".to_owned());
        all
    };
    let with = |certificate: [String; 2]| [base(), certificate.to_vec()].concat();
    let seen = |certificate| authority.look(directory.path(), &with(certificate));

    assert!(seen(authority.issue("good", "127.0.0.1", 2100)).ok);
    let expired = seen(authority.issue("expired", "127.0.0.1", 2020));
    let days = &expired.is_wrong("certificate_expired", &[])["values"]["days"];
    assert!(
        days.as_str().unwrap().parse::<u32>().unwrap() > 365,
        "{days}"
    );
    let named = seen(authority.issue("named", "chat.example.org", 2100));
    let names = &named.is_wrong("certificate_name", &[])["values"]["names"];
    assert!(
        names.as_str().unwrap().contains("chat.example.org"),
        "{names}"
    );

    let [cert, _] = authority.issue("good", "127.0.0.1", 2100);
    let [_, key] = authority.issue("other", "127.0.0.1", 2100);
    seen([cert.clone(), key]).is_wrong("certificate_mismatch", &[]);
    let missing = format!("--turn-tls-key={}", authority.file("none.pem").display());
    let found = seen([cert, missing]);
    let text = found.is_wrong("certificate_unusable", &[])["text"].clone();
    assert!(text.as_str().unwrap().contains("none.pem"), "{text}");

    let stranger = Authority::new();
    let certificate = stranger.issue("server", "127.0.0.1", 2100);
    seen(certificate).is_wrong("certificate_untrusted", &[]);
}

#[tokio::test]
async fn a_damaged_database_and_a_clock_that_is_behind_are_named() {
    let mut server = Server::start(&[]);
    server.user("ann").await;
    server.signal("TERM");
    server.ended().await;
    let path = server.directory().join("data/moznods.db");
    let sound = fs::read(&path).unwrap();

    let mut file = File::options().write(true).open(&path).unwrap();
    // Past the first page, which says that it is a database at all.
    file.seek(SeekFrom::Start(3 * 4096)).unwrap();
    file.write_all(&[0xFF; 8 * 4096]).unwrap();
    drop(file);
    look_before(server.directory(), &[]).is_wrong("database_damaged", &[]);

    fs::write(&path, "no database").unwrap();
    look_before(server.directory(), &[]).is_wrong("database_closed", &[]);

    fs::write(&path, sound).unwrap();
    assert!(look_before(server.directory(), &[]).ok);
    let file = File::options().write(true).open(&path).unwrap();
    file.set_modified(SystemTime::now() + Duration::from_secs(86_400))
        .unwrap();
    look_before(server.directory(), &[]).is_wrong("clock_behind", &[]);
}

#[test]
fn a_data_directory_that_cannot_be_written_is_named() {
    if !with_own_mounts("doctor::a_data_directory_that_cannot_be_written_is_named") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    fs::create_dir(&data).unwrap();
    mount("size=64k", &data);
    let mut filler = File::create(data.join("filler")).unwrap();
    while filler.write_all(&[0; 4096]).is_ok() {}
    let found = look_before(directory.path(), &[]);
    found.the("disk_low");
    let wrong = found.is_wrong("data_wrong", &["disk_low", "disk_few"]);
    assert!(
        wrong["text"].as_str().unwrap().contains("No space left"),
        "{wrong}"
    );

    fs::write(directory.path().join("file"), "").unwrap();
    look_before(directory.path(), &["--data-dir=file/data"]).is_wrong("data_wrong", &[]);
}

#[test]
fn a_low_limit_of_open_files_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let arguments = settings(free_port(), free_port());
    let output = Command::new("sh")
        .args(["-c", r#"ulimit -n 300 && exec "$0" doctor --json "$@""#])
        .arg(env!("CARGO_BIN_EXE_moznods"))
        .args(&arguments)
        .current_dir(directory.path())
        .output()
        .unwrap();
    let found = Found::of(&output);
    let values = &found.is_wrong("files_low", &[])["values"];
    assert_eq!(
        (&values["limit"], &values["wanted"]),
        (&json!("300"), &json!("2024"))
    );
}

#[test]
fn a_name_that_leads_elsewhere_is_named() {
    if !with_own_mounts("doctor::a_name_that_leads_elsewhere_is_named") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let hosts = directory.path().join("hosts");
    let entries = "198.51.100.9 elsewhere.example.org\n127.0.0.1 both.example.org local.example.org\n\
                   198.51.100.9 both.example.org\n";
    fs::write(&hosts, entries).unwrap();
    let status = Command::new("mount")
        .arg("--bind")
        .arg(&hosts)
        .arg("/etc/hosts")
        .status();
    assert!(status.unwrap().success());
    let of = |host: &str| look_before(directory.path(), &[&format!("--public-url=https://{host}")]);
    let found = of("elsewhere.example.org");
    let values = &found.is_wrong("name_elsewhere", &[])["values"];
    assert_eq!(values["found"], "198.51.100.9");
    let found = of("both.example.org");
    let values = &found.is_wrong("name_partly", &[])["values"];
    assert_eq!(values["elsewhere"], "198.51.100.9");
    assert_eq!(
        of("local.example.org").the("name_hosts")["state"],
        "unknown"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_to_which_only_balancers_come_is_looked_at_as_by_one() {
    let authority = Authority::new();
    let tls = free_port();
    let mut all = settings(free_port(), free_port());
    all.push(format!("--turn-tls-listen=127.0.0.1:{tls}"));
    all.extend(authority.issue("server", "127.0.0.1", 2100));
    all.push("--http-proxy-protocol=127.0.0.0/8".to_owned());
    all.push("--turn-proxy-protocol=127.0.0.0/8".to_owned());
    let arguments: Vec<&str> = all.iter().map(String::as_str).collect();
    let relay = Relay::start(&arguments);
    let found = authority.look(relay.server.directory(), &all);
    assert!(found.ok, "{:#?}", found.checks);
    found.the("http_right");
    let trips = found.checks.iter();
    let trips = trips.filter(|check| check["code"] == "trip_right").count();
    assert_eq!(trips, 3, "{:#?}", found.checks);
}
