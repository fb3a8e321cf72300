//! From one version to the next, and back: databases as each version has left them, and one that is of a version to come. And
//! the settings file of the packages.

use std::path::{Path, PathBuf};

use reqwest::Method;
use rusqlite::Connection;
use serde_json::json;

use crate::support::{PASSWORD, Server, answer, moznods, text};

const OURS: i32 = 0x4D4F_7A44;

/// The changes that versions have made of the database, in order.
fn migrations() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("storage/src/sqlite/migrations");
    let mut files: Vec<_> = directory
        .read_dir()
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files
}

/// What the version left that knew so many of them: a user, a room, and what was said there.
fn older(data: &Path, schema: usize) {
    std::fs::create_dir(data).unwrap();
    let database = Connection::open(data.join("moznods.db")).unwrap();
    for file in migrations().iter().take(schema) {
        let sql = std::fs::read_to_string(file).unwrap();
        database.execute_batch(&sql).unwrap();
        if file.ends_with("0001_initial.sql") {
            database
                .execute_batch(
                    "INSERT INTO users (id, username, username_key, email, email_key, display_name, password_hash, is_admin, created_at)
                        VALUES (1, 'ann', 'ann', 'ann@example.org', 'ann@example.org', 'Ann', 'x', 1, 1700000000000);
                    INSERT INTO rooms (id, name, owner_id, is_public, created_at, updated_at)
                        VALUES (1, 'hall', 1, 0, 1700000000000, 1700000000000);
                    INSERT INTO participants (room_id, user_id, joined_at) VALUES (1, 1, 1700000000000);
                    INSERT INTO messages (room_id, author_id, content, created_at)
                        VALUES (1, 1, 'said long ago', 1700000000001);",
                )
                .unwrap();
        }
    }
    database
        .pragma_update(None, "user_version", i64::try_from(schema).unwrap())
        .unwrap();
    database
        .pragma_update(None, "application_id", OURS)
        .unwrap();
}

#[tokio::test]
async fn what_any_version_has_left_is_served_by_this_one() {
    for schema in 1..=migrations().len() {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path().join("data");
        older(&data, schema);
        let server = Server::start(&[&format!("--data-dir={}", data.display())]);
        let set = moznods(directory.path())
            .args(["user", "passwd", "ann", "--password-stdin"])
            .stdin(password(directory.path()))
            .output()
            .unwrap();
        assert!(set.status.success(), "schema {schema}: {set:?}");
        let body = json!({"username": "ann", "password": PASSWORD});
        let request = server.request(Method::POST, "/api/auth/login/").json(&body);
        let (status, signed_in) = answer(request).await;
        assert_eq!(status, 200, "schema {schema}: {signed_in}");
        let ann = server.signed_in(&signed_in);
        let (_, said) = ann.get("/api/chat/1/messages/").await;
        assert_eq!(
            said["results"][0]["content"], "said long ago",
            "schema {schema}: {said}"
        );
        ann.done("/api/chat/1/messages/", json!({"content": "and now"}))
            .await;
    }
}

fn password(directory: &Path) -> std::fs::File {
    let file = directory.join("password");
    std::fs::write(&file, PASSWORD).unwrap();
    std::fs::File::open(file).unwrap()
}

#[tokio::test]
async fn a_database_of_a_newer_version_is_left_alone_and_a_backup_leads_back() {
    let mut server = Server::start(&[]);
    server.user("ann").await;
    let directory = server.directory().to_owned();
    let run = |arguments: &[&str]| moznods(&directory).args(arguments).output().unwrap();
    assert!(run(&["backup", "before.tar"]).status.success());
    server.signal("TERM");
    assert!(server.ended().await.success());

    let file = directory.join("data/moznods.db");
    let newer = i64::try_from(migrations().len()).unwrap() + 1;
    let database = Connection::open(&file).unwrap();
    database.pragma_update(None, "user_version", newer).unwrap();
    database.close().unwrap();
    let left = std::fs::read(&file).unwrap();
    let serve = ["serve", "--turn-enabled=false", "--http-listen=127.0.0.1:0"];
    for command in [&serve[..], &["user", "list"]] {
        let refused = run(command);
        assert_eq!(refused.status.code(), Some(2));
        let known = newer - 1;
        assert_eq!(
            text(&refused.stderr),
            format!(
                "moznods: data/moznods.db: made by a newer moznods (schema {newer}, this one knows {known}); expected a moznods at least as new, or what `moznods restore` makes of a backup from before the upgrade, in an empty directory\n"
            )
        );
    }
    assert_eq!(std::fs::read(&file).unwrap(), left, "it was written to");

    let back = run(&["restore", "before.tar", "--data-dir=back"]);
    assert!(back.status.success(), "{back:?}");
    let listed = run(&["user", "list", "--data-dir=back"]);
    assert!(
        text(&listed.stdout).contains("ann@example.org"),
        "{listed:?}"
    );
}

#[test]
fn the_settings_file_of_the_packages_is_one_and_so_is_what_it_suggests() {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/moznods.toml");
    let directory = tempfile::tempdir().unwrap();
    let print = |name: &str, settings: &str| {
        std::fs::write(directory.path().join(name), settings).unwrap();
        let check = ["config", "check", "--config", name];
        let checked = moznods(directory.path()).args(check).output().unwrap();
        assert!(checked.status.success(), "{}", text(&checked.stderr));
        let print = ["config", "print", "--config", name];
        let printed = moznods(directory.path()).args(print).output().unwrap();
        text(&printed.stdout)
    };
    let settings = std::fs::read_to_string(shipped).unwrap();
    // How many of them the file sets.
    let set = |name: &str, settings: &str| {
        let origin = format!("# {name}");
        let printed = print(name, settings);
        printed
            .lines()
            .filter(|line| line.ends_with(&origin))
            .count()
    };
    let printed = print("as_it_is.toml", &settings);
    assert!(
        printed.contains("data_dir = \"/var/lib/moznods\"  # as_it_is.toml"),
        "{printed}"
    );

    // Lines such as `#domain = "…"`; prose has a space behind the #.
    let suggested = |line: &&str| line.starts_with('#') && !line.starts_with("# ");
    let with = |name: &str, taken: &dyn Fn(&str) -> bool| {
        let mut count = 0;
        let mut lines = String::new();
        for line in settings.lines() {
            let is_taken = suggested(&line) && taken(line);
            count += usize::from(is_taken);
            lines.push_str(if is_taken { &line[1..] } else { line });
            lines.push('\n');
        }
        assert_eq!(set(name, &lines), 1 + count, "{name}");
        count
    };
    // A proxy has the certificate, or the server.
    let of_a_proxy = |line: &str| line.starts_with("#behind_proxy");
    let others = with("others.toml", &|line| !of_a_proxy(line));
    assert!(others > 15, "{others}");
    assert_eq!(with("proxy.toml", &of_a_proxy), 1);
}
