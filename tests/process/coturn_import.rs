//! `moznods import coturn`: a verdict for each line of a turnserver.conf, and a server that takes over from it.

use std::path::Path;
use std::process::Output;

use serde_json::Value;

use crate::relay::{Credential, Relay, assert_no_loss, rest_password};
use crate::relay_admin::printed;
use crate::support::{eventually, free_port, moznods, text};

const SECRET: &str = "north-and-south-4711";
const PASSWORD: &str = "correct horse";

fn import(directory: &Path, conf: &str, arguments: &[&str]) -> Output {
    std::fs::write(directory.join("turnserver.conf"), conf).unwrap();
    moznods(directory)
        .args(["import", "coturn", "turnserver.conf"])
        .args(arguments)
        .env("LC_ALL", "C.UTF-8")
        .output()
        .unwrap()
}

/// Verdict and text of each option.
fn verdicts(directory: &Path, conf: &str) -> (Vec<(String, String, String)>, String) {
    let output = import(directory, conf, &["--json"]);
    let told: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
    let word = |line: &Value, key: &str| line[key].as_str().unwrap().to_owned();
    let lines = told["lines"].as_array().unwrap().iter();
    let lines = lines.map(|line| {
        (
            word(line, "option"),
            word(line, "verdict"),
            word(line, "text"),
        )
    });
    (lines.collect(), word(&told, "settings"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_takes_over_from_coturn() {
    let directory = tempfile::tempdir().unwrap();
    let port = free_port();
    let conf = format!(
        "# comment\n\nlistening-port={port}\nlistening-ip=127.0.0.1\nexternal-ip = 127.0.0.1\n\
         min-port=50000\nmax-port 50999\nrealm=\"old.example.org\"\nlt-cred-mech\nuse-auth-secret\n\
         static-auth-secret={SECRET}\nuser=door:{PASSWORD}\nuser-quota=12\nallow-loopback-peers\n\
         no-cli\nno-multicast-peers\nfingerprnt\nno-auth\n"
    );
    let output = import(directory.path(), &conf, &["--write", "moznods.toml"]);
    let said = text(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    assert!(!said.contains(SECRET) && !said.contains(PASSWORD), "{said}");
    for line in [
        format!("✓ 3: listening-port: [turn] listen = \"127.0.0.1:{port}\""),
        "✓ 8: realm: [turn] realm = \"old.example.org\"".to_owned(),
        "✓ 11: static-auth-secret: secret \"coturn\" of `moznods turn secret`.".to_owned(),
        "✓ 12: user: user \"door\" of `moznods turn user`.".to_owned(),
        "✓ 13: user-quota: [turn] max_allocations_per_user = 12".to_owned(),
        "? 17: fingerprnt: not an option of coturn's; did you mean fingerprint?".to_owned(),
        "✗ 18: no-auth: not taken: nobody relays without credentials here.".to_owned(),
    ] {
        assert!(
            said.lines().any(|found| found == line),
            "{line}\nin\n{said}"
        );
    }
    let written = std::fs::read_to_string(directory.path().join("moznods.toml")).unwrap();
    assert!(
        !written.contains(SECRET) && !written.contains(PASSWORD),
        "{written}"
    );
    let check = moznods(directory.path())
        .args(["config", "check"])
        .output()
        .unwrap();
    assert!(check.status.success(), "{check:?}");

    // A second time nothing is overwritten, and nothing is there twice.
    let again = import(directory.path(), &conf, &["--write", "moznods.toml"]);
    assert!(
        text(&again.stderr).contains("it is there already"),
        "{again:?}"
    );
    let again = import(
        directory.path(),
        &conf,
        &["--write", "moznods.toml", "--force"],
    );
    assert!(
        text(&again.stderr).contains("turn secret \"coturn\": there is a secret"),
        "{again:?}"
    );
    let now = std::fs::read_to_string(directory.path().join("moznods.toml")).unwrap();
    assert_eq!(now, written);

    // Both kinds of credentials of before are good at the server that is started on it.
    let file = format!(
        "--config={}",
        directory.path().join("moznods.toml").display()
    );
    let data = format!("--data-dir={}", directory.path().join("data").display());
    let listen = format!("--turn-listen=127.0.0.1:{port}");
    let relay = Relay::start(&[&file, &data, &listen]);
    let username = "4000000000:somebody";
    let of_program = Credential {
        username: username.to_owned(),
        password: rest_password(SECRET, username),
    };
    let of_device = Credential {
        username: "door".to_owned(),
        password: PASSWORD.to_owned(),
    };
    for credential in [&of_program, &of_device] {
        let program = [
            "-p",
            &port.to_string(),
            "-u",
            &credential.username,
            "-w",
            &credential.password,
        ]
        .map(str::to_owned);
        let arguments: Vec<&str> = program.iter().map(String::as_str).collect();
        eventually("it is let in", async || {
            let output = relay.coturn(
                "turnutils_uclient",
                &[&arguments[..], &["-y", "-c"]].concat(),
            );
            output
                .status
                .success()
                .then(|| assert_no_loss(&output))
                .is_some()
        })
        .await;
    }
    assert!(printed(&relay.server, &["turn", "secret", "list", &data]).starts_with("coturn\t"));
}

#[test]
fn each_line_gets_a_verdict_and_what_comes_out_can_be_used() {
    let directory = tempfile::tempdir().unwrap();
    let conf = "listening-ip=192.0.2.1\nlistening-ip=192.0.2.2\ntls-listening-port=443\n\
                external-ip=203.0.113.7/10.0.0.5\nexternal-ip=203.0.113.8\nrelay-ip=10.0.0.5\n\
                cert=/etc/cert.pem\npkey=/etc/key.pem\n\
                realm=a-realm-that-is-much-longer-than-answers-to-strangers-may-be\n\
                max-bps=64000\ntotal-quota=100\nstatic-auth-secret=abc\n\
                denied-peer-ip=10.0.0.0-10.255.255.255\nallowed-peer-ip=10.0.0.5\n\
                denied-peer-ip=rubbish\nmin-port=x\nuser=ann:0xbc807ee29df3c9ffa736523fb2c4e8ee\n\
                user=bob:short\nuser=nobody\nno-tlsv1\nmobility\nchannel-lifetime=600\npermission-lifetime=60\n\
                static-auth-secret:hunter2hunter2\n";
    let (lines, settings) = verdicts(directory.path(), conf);
    let of = |option: &str| -> Vec<&str> {
        let found = lines.iter().filter(|line| line.0 == option);
        found.map(|line| line.1.as_str()).collect()
    };
    for (option, expected) in [
        ("listening-ip", &["taken", "taken"][..]),
        ("external-ip", &["taken", "not_taken"]),
        ("relay-ip", &["taken"]),
        ("cert", &["taken"]),
        ("realm", &["not_taken"]),
        ("total-quota", &["taken"]),
        ("denied-peer-ip", &["taken", "not_taken"]),
        ("min-port", &["not_taken"]),
        ("user", &["not_taken", "not_taken", "not_taken"]),
        ("no-tlsv1", &["not_needed"]),
        ("channel-lifetime", &["not_needed"]),
        ("permission-lifetime", &["not_taken"]),
        ("…", &["unknown"]),
    ] {
        assert_eq!(of(option), expected, "{option} in {lines:#?}");
    }
    for line in [
        "listen = \"[::]:3478\"",
        "tls_listen = \"[::]:443\"",
        "external_ip = \"203.0.113.7/10.0.0.5\"",
        "max_bytes_per_second_per_user = 128000",
        "allow_peers = \"10.0.0.5/32\"",
        "mobility = true",
        "tls_key = \"/etc/key.pem\"",
    ] {
        assert!(
            settings.lines().any(|found| found == line),
            "{line} in {settings}"
        );
    }
    assert!(
        !settings.contains("10.0.0.0/8") && settings.contains("10.128.0.0/9"),
        "{settings}"
    );
    std::fs::write(directory.path().join("moznods.toml"), &settings).unwrap();
    let check = moznods(directory.path())
        .args(["config", "check"])
        .output()
        .unwrap();
    assert!(check.status.success(), "{check:?}");
    assert!(
        !directory.path().join("data").exists(),
        "nothing is made without --write"
    );

    // A key that is behind a password, or off, is no certificate.
    let (lines, settings) = verdicts(
        directory.path(),
        "cert=c\npkey=k\npkey-pwd=hunter2hunter2\n",
    );
    assert!(lines.iter().all(|line| line.1 == "not_taken"), "{lines:?}");
    assert!(!settings.contains("tls"), "{settings}");
    let (lines, settings) = verdicts(directory.path(), "cert=c\npkey=k\nno-tls\n");
    assert!(lines.iter().all(|line| line.1 == "not_needed"), "{lines:?}");
    assert!(!settings.contains("tls"), "{settings}");
    let output = moznods(directory.path())
        .args(["import", "coturn", "none.conf"])
        .output()
        .unwrap();
    assert!(text(&output.stderr).contains("none.conf: "), "{output:?}");
}

/// The file that coturn itself comes with, each of its options switched on.
#[test]
fn all_options_of_the_file_that_coturn_comes_with_are_known() {
    let directory = tempfile::tempdir().unwrap();
    let conf =
        std::fs::read_to_string("/etc/turnserver.conf").expect("that of Debian's package coturn");
    let is_option = |line: &str| {
        let name = line.split('=').next().unwrap();
        let letters = |c: char| c.is_ascii_alphanumeric() || c == '-';
        !name.is_empty() && name.chars().all(letters) && line.split(' ').count() == 1
    };
    let on: Vec<&str> = conf
        .lines()
        .map(|line| line.trim_start_matches('#').trim_end())
        .filter(|line| is_option(line))
        .collect();
    assert!(on.len() > 80, "{on:?}");
    let (lines, _) = verdicts(directory.path(), &on.join("\n"));
    let unknown: Vec<_> = lines.iter().filter(|line| line.1 == "unknown").collect();
    assert!(unknown.is_empty(), "{unknown:?}");
    assert!(
        lines.iter().all(|line| !line.2.contains("coturn_")),
        "{lines:?}"
    );
}
