//! What administrators are shown of the server itself: its settings in force, and what its log warns of.

use std::path::PathBuf;

use reqwest::Method;
use serde_json::{Value, json};

use crate::relay_admin::{admin, printed};
use crate::relay_reload::{READ, Settings};
use crate::support::{Server, User, answer, eventually, keys};

const SETTINGS: &str = "/api/admin/settings/";
const WARNINGS: &str = "/api/admin/warnings/";
/// What a change is answered by that cannot be taken over.
const WAITS: &str = "these take effect at the next start of the server";

async fn setting(root: &User<'_>, key: &str) -> Value {
    let (status, all) = root.get(SETTINGS).await;
    assert_eq!(status, 200, "{all}");
    let all = all.as_array().unwrap();
    let found = all.iter().find(|setting| setting["key"] == key);
    found.unwrap_or_else(|| panic!("no {key}")).clone()
}

#[tokio::test]
async fn settings_are_shown_as_they_are_in_force_and_no_secret_is() {
    let settings = Settings::of("limits", "rooms_per_user = 20\n[audit]\nkeep_days = 30");
    let code = "a code for the test";
    let server = Server::start_in(
        &[
            &settings.flag(),
            "--files-max-size=3MiB",
            "--accounts-registration=code",
        ],
        &[("MOZNODS_ACCOUNTS_INVITE_CODE", PathBuf::from(code))],
    );
    let root = admin(&server).await;

    let file = settings.flag().replace("--config=", "");
    assert_eq!(
        setting(&root, "limits.rooms_per_user").await,
        json!({
            "key": "limits.rooms_per_user", "value": "20", "is_secret": false, "is_set": true,
            "origin": file, "is_reloaded": true, "is_waiting": false,
        })
    );
    let size = setting(&root, "files.max_size").await;
    assert_eq!(
        (&size["value"], &size["origin"], &size["is_reloaded"]),
        (&json!("3MiB"), &json!("--files-max-size"), &json!(false))
    );
    assert_eq!(
        setting(&root, "accounts.invite_code").await,
        json!({
            "key": "accounts.invite_code", "value": null, "is_secret": true, "is_set": true,
            "origin": "MOZNODS_ACCOUNTS_INVITE_CODE", "is_reloaded": false,
            "is_waiting": false,
        })
    );
    let secret = setting(&root, "accounts.oidc_client_secret").await;
    assert_eq!(
        (&secret["is_set"], &secret["origin"]),
        (&json!(false), &json!("default"))
    );
    let (_, all) = root.get(SETTINGS).await;
    assert!(!all.to_string().contains(code));
    let all: Vec<_> = all
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["key"].as_str().unwrap())
        .collect();
    let print = printed(&server, &["config", "print"]);
    let names = print
        .lines()
        .filter(|line| line.contains(" (") || line.contains(" = "));
    assert_eq!(all.len(), names.count(), "as many as `config print` has");

    // Of what changes, only what is taken over is in force; and what is refused changes nothing.
    settings
        .reload(
            &server,
            "rooms_per_user = 30\n[audit]\nkeep_days = 60",
            READ,
        )
        .await;
    let changed = setting(&root, "limits.rooms_per_user").await;
    assert_eq!(changed["value"], "30");
    let waiting = setting(&root, "audit.keep_days").await;
    assert_eq!(
        (&waiting["value"], &waiting["is_waiting"]),
        (&json!("30"), &json!(true))
    );
    assert_eq!(changed["is_waiting"], false);
    let stays = "the settings stay as they were";
    settings
        .reload(&server, "rooms_per_user = \"many\"", stays)
        .await;
    assert_eq!(setting(&root, "limits.rooms_per_user").await["value"], "30");
    settings.reload(&server, "", READ).await;
    let default = setting(&root, "limits.rooms_per_user").await;
    assert_eq!(
        (&default["value"], &default["origin"]),
        (&json!("1000"), &json!("default"))
    );
}

#[tokio::test]
async fn warnings_are_shown_though_the_log_is_silent() {
    let settings = Settings::of("audit", "keep_days = 30");
    let server = Server::start(&[&settings.flag(), "--log-level=off"]);
    let root = admin(&server).await;
    assert_eq!(root.get(WARNINGS).await, (200, json!([])));

    let reread = async |text: &str, count: usize| {
        settings.write(text);
        server.signal("HUP");
        eventually("the server warns", || async {
            root.get(WARNINGS).await.1.as_array().unwrap().len() >= count
        })
        .await;
    };
    reread("keep_days = 60", 1).await;
    reread("keep_days = \"ever\"", 2).await;
    let (_, found) = root.get(WARNINGS).await;
    assert_eq!(
        keys(&found[0]),
        ["at", "count", "first_at", "level", "target", "text"]
    );
    assert_eq!(
        (&found[0]["level"], &found[1]["level"]),
        (&json!("error"), &json!("warn"))
    );
    let text = |warning: &Value| warning["text"].as_str().unwrap().to_owned();
    assert!(text(&found[0]).contains("keep_days = \"ever\""), "{found}");
    assert!(text(&found[1]).contains(WAITS), "{found}");
    assert!(text(&found[1]).contains("audit.keep_days"), "{found}");
    assert!(found[0]["at"].as_str() > found[1]["at"].as_str());
    assert!(found[0]["target"].as_str().unwrap().starts_with("moznods"));
    assert_eq!(server.log(), "", "nothing is written");

    // What is said again is kept once.
    reread("keep_days = 60", 2).await;
    eventually("the first one comes again", || async {
        root.get(WARNINGS).await.1[0]["count"] == 2
    })
    .await;
    let (_, again) = root.get(WARNINGS).await;
    assert_eq!(again.as_array().unwrap().len(), 2);
    assert_eq!(text(&again[0]), text(&found[1]));
    assert_eq!(again[0]["first_at"], found[1]["at"]);
    assert!(again[0]["at"].as_str() > again[0]["first_at"].as_str());

    // No text is endless.
    let long = format!("keep_days = \"{}\"", "ж".repeat(3000));
    reread(&long, 3).await;
    let (_, found) = root.get(WARNINGS).await;
    assert!(
        text(&found[0]).len() <= 1000 && text(&found[0]).ends_with("ж…"),
        "{found}"
    );
}

#[tokio::test]
async fn settings_and_warnings_are_for_administrators() {
    let server = Server::start(&[]);
    let ann = server.user("ann").await;
    for path in [SETTINGS, WARNINGS] {
        let nobody = server.request(Method::GET, path);
        assert_eq!(answer(nobody).await.0, 401, "{path}");
        let (status, refused) = ann.get(path).await;
        assert_eq!(
            (status, &refused["code"]),
            (403, &json!("permission_denied")),
            "{path}"
        );
    }
}
