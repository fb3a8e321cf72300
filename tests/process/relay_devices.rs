//! Accounts of devices: a name and a password that do not expire.

use std::net::SocketAddr;

use reqwest::Method;
use serde_json::{Value, json};

use crate::librice::over_udp;
use crate::relay::{Credential, Relay, assert_no_loss};
use crate::relay_admin::{admin, printed};
use crate::relay_reload::Settings;
use crate::support::{answer, eventually, moznods, text};

fn credential(username: &str, password: &str) -> Credential {
    Credential {
        username: username.to_owned(),
        password: password.to_owned(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_relays_by_name_and_password_until_it_is_removed() {
    let relay = Relay::start(&["--turn-max-allocations-per-user=4"]);
    let server = &relay.server;
    let made = printed(server, &["turn", "user", "add", "door"]);
    let password = made.split_whitespace().last().unwrap();
    assert_eq!(made, format!("Added door. Its password: {password}\n"));
    let given = ["turn", "user", "add", "cam-1@garage", "--password-stdin"];
    let output = server.command(&given, "correct horse\n");
    assert_eq!(text(&output.stdout), "Added cam-1@garage.\n", "{output:?}");

    let door = credential("door", password);
    let camera = credential("cam-1@garage", "correct horse");
    let works = |credential| {
        let relay = &relay;
        move || async move { relay.uclient(credential, &["-y", "-c"]).status.success() }
    };
    eventually("the door is known", works(&door)).await;
    assert_no_loss(&relay.uclient(&camera, &["-y", "-c", "-t"]));
    // By SHA-256 alone; and a wrong password is one by whichever algorithm.
    let address = SocketAddr::new([127, 0, 0, 1].into(), relay.port);
    over_udp(address, &camera).allocated();
    assert!(
        !relay
            .uclient(&credential("door", "correct horse"), &["-y", "-c"])
            .status
            .success()
    );
    let listed = printed(server, &["turn", "allocations", "--json"]);
    let listed: Vec<Value> = serde_json::from_str(&listed).unwrap();
    let of = |name: &str| {
        let owned = listed.iter().filter(|seen| seen["owner"]["name"] == name);
        assert!(owned.clone().all(|seen| seen["owner"]["kind"] == "device"));
        owned.count()
    };
    assert!(of("door") > 0 && of("cam-1@garage") > 0, "{listed:?}");
    let many = relay.uclient(&door, &["-y", "-c", "-m", "10"]);
    let printed_by_many = text(&many.stdout) + &text(&many.stderr);
    assert!(
        printed_by_many.contains("486"),
        "quotas are as for users: {printed_by_many}"
    );

    assert_eq!(
        printed(server, &["turn", "user", "list"]),
        "cam-1@garage\ndoor\n"
    );
    let all: Value =
        serde_json::from_str(&printed(server, &["turn", "user", "list", "--json"])).unwrap();
    assert_eq!(all[1]["name"], "door");
    assert_eq!(
        (&all[1]["realm"], &all[1]["usable"]),
        (&json!("moznods"), &json!(true))
    );

    assert_eq!(
        printed(server, &["turn", "user", "remove", "cam-1@garage"]),
        "Removed cam-1@garage.\n"
    );
    assert_eq!(
        printed(server, &["turn", "user", "remove", "door"]),
        "Removed door.\n"
    );
    eventually("what they had ends", || async { relay.live().await == 0.0 }).await;
    for gone in [&door, &camera] {
        assert!(!relay.uclient(gone, &["-y", "-c"]).status.success());
    }
    let usage = printed(server, &["turn", "usage"]);
    assert!(usage.contains("device 1 (gone)  "), "{usage}");

    // Nobody finds a password in what is stored or said.
    let mut kept = server.log().into_bytes();
    for file in std::fs::read_dir(server.directory().join("data")).unwrap() {
        kept.extend(std::fs::read(file.unwrap().path()).unwrap_or_default());
    }
    for secret in [password, "correct horse"] {
        let found = kept
            .windows(secret.len())
            .any(|part| part == secret.as_bytes());
        assert!(!found, "{secret}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_of_another_realm_is_shut_out_and_named() {
    let settings = Settings::new("");
    let mut relay = Relay::start(&[&settings.flag()]);
    let made = printed(&relay.server, &["turn", "user", "add", "door"]);
    let door = credential("door", made.split_whitespace().last().unwrap());
    let works = async |relay: &Relay| relay.uclient(&door, &["-y", "-c"]).status.success();
    eventually("the door is known", || works(&relay)).await;
    settings.write("realm = \"other\"");
    relay.server.crash_and_restart();
    let log = relay.server.log();
    let warning = log
        .lines()
        .find(|line| line.contains("its keys are of another realm"));
    let warning = warning.unwrap_or_else(|| panic!("{log}"));
    assert!(
        warning.contains("WARN") && warning.contains("door"),
        "{warning}"
    );
    assert!(!works(&relay).await);
    let list = printed(&relay.server, &["turn", "user", "list", &settings.flag()]);
    assert_eq!(
        list,
        "door\tcannot sign in: made for the realm \"moznods\", and turn.realm is \"other\"; remove it and add it again\n"
    );
    settings.write("realm = \"moznods\"");
    relay.server.crash_and_restart();
    assert!(works(&relay).await, "as before");
}

#[tokio::test]
async fn what_no_device_can_be_called_is_one_clear_line() {
    let directory = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let all = [&["turn", "user"], arguments].concat();
        moznods(directory.path()).args(all).output().unwrap()
    };
    let made = [
        "user",
        "add",
        "--username",
        "a",
        "--email",
        "a@example.org",
        "--password-stdin",
    ];
    let mut first = moznods(directory.path());
    let mut first = first
        .args(made)
        .stdin(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut first.stdin.take().unwrap(), b"a long password").unwrap();
    assert!(first.wait().unwrap().success());
    assert!(run(&["add", "door"]).status.success());
    for (arguments, expected) in [
        (
            &["add", "door"][..],
            "there is a device of this name already; expected another name",
        ),
        (&["add", "1800000000"], "expected a name of 1 to 64 letters"),
        (
            &["add", "1800000000:17"],
            "expected a name of 1 to 64 letters",
        ),
        (
            &["remove", "gate"],
            "there is no device of this name; `moznods turn user list` shows",
        ),
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        let error = text(&output.stderr);
        let start = format!("moznods: turn user \"{}\": {expected}", arguments[1]);
        assert!(
            error.starts_with(&start) && error.lines().count() == 1,
            "{error}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn administrators_make_and_remove_devices_by_the_api() {
    const DEVICES: &str = "/api/admin/relay/devices/";
    let relay = Relay::start(&[]);
    let server = &relay.server;
    let root = admin(server).await;
    assert_eq!(root.get(DEVICES).await, (200, json!([])));

    let (status, made) = root.post(DEVICES, json!({"name": "door"})).await;
    assert_eq!((status, &made["name"]), (201, &json!("door")));
    let door = credential("door", made["password"].as_str().unwrap());
    assert_no_loss(&relay.uclient(&door, &["-y", "-c"]));
    let given = json!({"name": "cam@garage", "password": "correct horse"});
    let unsaid = json!({"name": "cam@garage", "password": null});
    assert_eq!(root.post(DEVICES, given.clone()).await, (201, unsaid));
    let camera = credential("cam@garage", "correct horse");
    assert_no_loss(&relay.uclient(&camera, &["-y", "-c"]));

    for (wanted, field) in [
        (given, "name"),
        (json!({}), "name"),
        (json!({"name": "4711"}), "name"),
        (json!({"name": ".."}), "name"),
        (json!({"name": "a b"}), "name"),
        (json!({"name": "gate", "password": "short"}), "password"),
        (
            json!({"name": "gate", "password": "пароль длинный"}),
            "password",
        ),
    ] {
        let (status, refused) = root.post(DEVICES, wanted.clone()).await;
        assert_eq!(status, 400, "{wanted}");
        assert!(refused[field][0].is_string(), "{wanted}: {refused}");
    }

    let (_, listed) = root.get(DEVICES).await;
    let by_command: Value =
        serde_json::from_str(&printed(server, &["turn", "user", "list", "--json"])).unwrap();
    assert_eq!(by_command, listed);
    assert_eq!(listed[1]["name"], "door");
    assert!(!listed.to_string().contains("correct horse"));

    assert!(
        relay.live().await > 0.0,
        "coturn's client leaves its allocations behind"
    );
    for name in ["door", "cam@garage"] {
        let one = format!("{DEVICES}{name}/");
        assert_eq!(answer(root.request(Method::DELETE, &one)).await.0, 204);
        assert_eq!(answer(root.request(Method::DELETE, &one)).await.0, 404);
    }
    eventually("all of their allocations end", || async {
        relay.live().await == 0.0
    })
    .await;
    assert!(!relay.uclient(&door, &["-y", "-c"]).status.success());

    let anna = server.user("anna").await;
    assert_eq!(anna.get(DEVICES).await.0, 403);
    assert_eq!(anna.post(DEVICES, json!({"name": "hers"})).await.0, 403);
}
