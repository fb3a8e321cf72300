//! `moznods backup`, `restore` and `check`, beside a server that is busy and without one.

use std::collections::HashMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Output;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::support::{Server, User, moznods, text};

fn run(directory: &Path, arguments: &[&str]) -> Output {
    moznods(directory).args(arguments).output().unwrap()
}

/// What it says; it must have done it.
fn done(directory: &Path, arguments: &[&str]) -> String {
    let output = run(directory, arguments);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    assert_eq!(text(&output.stderr), "");
    text(&output.stdout)
}

/// Exit code and the one line of the error.
fn refused(directory: &Path, arguments: &[&str]) -> (i32, String) {
    let output = run(directory, arguments);
    let said = text(&output.stderr);
    assert_eq!(said.lines().count(), 1, "{said}");
    (output.status.code().unwrap(), said)
}

/// What each of those who write has written, in the order of the room.
async fn by_writer(user: &User<'_>, room: i64) -> HashMap<String, Vec<usize>> {
    let mut found: HashMap<String, Vec<usize>> = HashMap::new();
    let mut path = format!("/api/chat/{room}/messages/?page_size=100");
    let mut contents = Vec::new();
    loop {
        let (status, page) = user.get(&path).await;
        assert_eq!(status, 200, "{page}");
        for message in page["results"].as_array().unwrap() {
            contents.push(message["content"].as_str().unwrap().to_owned());
        }
        let Some(next) = page["next"].as_str() else {
            break;
        };
        path = next[next.find("/api/").unwrap()..].to_owned();
    }
    for content in contents.iter().rev() {
        let (writer, number) = content.split_once(' ').unwrap();
        let numbers = found.entry(writer.to_owned()).or_default();
        numbers.push(number.parse().unwrap());
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_of_a_busy_server_is_of_one_moment() {
    let server = Server::start(&[]);
    let ann = server.user("ann").await;
    let room = ann.room("room").await;
    let stop = Arc::new(AtomicBool::new(false));
    // How many each writer knows to be stored.
    let acknowledged = Mutex::new(HashMap::<String, usize>::new());
    let write = async |writer: usize| {
        for number in 0.. {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            let content = json!({"content": format!("w{writer} {number}")});
            ann.done(&format!("/api/chat/{room}/messages/"), content)
                .await;
            let mut acknowledged = acknowledged.lock().unwrap();
            acknowledged.insert(format!("w{writer}"), number + 1);
        }
    };
    let take = async {
        let mut taken = Vec::new();
        for number in 0..3 {
            let known = loop {
                let known = acknowledged.lock().unwrap().clone();
                if known.len() == 4 && known.values().all(|&count| count > 10 * (number + 1)) {
                    break known;
                }
                tokio::task::yield_now().await;
            };
            let name = format!("backup-{number}.tar");
            let arguments = ["backup".to_owned(), name.clone()];
            let directory = server.directory().to_owned();
            let output = tokio::task::spawn_blocking(move || {
                moznods(&directory).args(arguments).output().unwrap()
            });
            let output = output.await.unwrap();
            assert!(output.status.success(), "{output:?}");
            taken.push((name, known));
        }
        stop.store(true, Ordering::Relaxed);
        taken
    };
    let (taken, ..) = tokio::join!(take, write(0), write(1), write(2), write(3));

    for (name, known) in taken {
        let file = server.directory().join(&name);
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let elsewhere = tempfile::tempdir().unwrap();
        done(elsewhere.path(), &["restore", file.to_str().unwrap()]);
        assert_eq!(done(elsewhere.path(), &["check"]), "The data are sound.\n");
        let data = format!("--data-dir={}/data", elsewhere.path().display());
        let again = Server::start(&[&data]);
        // The same token is good there.
        let ann = again.signed_in(&json!({"user": {"id": ann.id}, "token": ann.token}));
        let found = by_writer(&ann, room).await;
        for (writer, count) in known {
            let numbers = &found[&writer];
            assert_eq!(*numbers, (0..numbers.len()).collect::<Vec<_>>());
            assert!(
                numbers.len() >= count,
                "{writer}: {} < {count}",
                numbers.len()
            );
        }
    }
}

#[tokio::test]
async fn backups_are_not_overwritten_and_go_through_pipes() {
    let server = Server::start(&[]);
    let directory = server.directory();
    let ann = server.user("ann").await;
    let said = done(directory, &["backup", "a.tar"]);
    assert!(said.starts_with("a.tar: the database of 0."), "{said}");
    let first = std::fs::read(directory.join("a.tar")).unwrap();
    assert_eq!(
        refused(directory, &["backup", "a.tar"]),
        (
            1,
            "moznods: a.tar: it is there already; expected another name, or --force\n".to_owned()
        )
    );
    assert_eq!(std::fs::read(directory.join("a.tar")).unwrap(), first);
    ann.room("room").await;
    done(directory, &["backup", "--force", "a.tar"]);
    assert_ne!(std::fs::read(directory.join("a.tar")).unwrap(), first);
    for no_file in ["data", "/dev/null"] {
        let (code, said) = refused(directory, &["backup", "--force", no_file]);
        assert_eq!(code, 1);
        assert!(said.contains("it is no plain file"), "{said}");
    }
    let (_, said) = refused(directory, &["backup", "nowhere/a.tar"]);
    assert!(
        said.starts_with("moznods: nowhere/a.tar: No such file"),
        "{said}"
    );

    let piped = run(directory, &["backup", "-"]);
    assert!(
        piped.status.success() && piped.stderr.is_empty(),
        "{piped:?}"
    );
    let elsewhere = tempfile::tempdir().unwrap();
    let output = feed(elsewhere.path(), &["restore", "-"], &piped.stdout);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(text(&output.stdout), "data: the database and 0 files.\n");
    let users = done(elsewhere.path(), &["user", "list"]);
    assert!(users.contains("ann@example.org"), "{users}");

    // Nor into what is there, whether it is served or not.
    for directory in [directory, elsewhere.path()] {
        std::fs::write(directory.join("b.tar"), &piped.stdout).unwrap();
        let (code, said) = refused(directory, &["restore", "b.tar"]);
        assert_eq!(code, 2);
        assert!(said.contains("\"data\": it is not empty"), "{said}");
    }
    let nobody = tempfile::tempdir().unwrap();
    assert_eq!(refused(nobody.path(), &["backup", "a.tar"]).0, 2);
    assert_eq!(std::fs::read_dir(nobody.path()).unwrap().count(), 0);
}

fn feed(directory: &Path, arguments: &[&str], input: &[u8]) -> Output {
    let file = directory.join("input");
    std::fs::write(&file, input).unwrap();
    moznods(directory)
        .args(arguments)
        .stdin(std::fs::File::open(file).unwrap())
        .output()
        .unwrap()
}

#[tokio::test]
async fn check_names_each_fault() {
    let mut server = Server::start(&[]);
    let directory = server.directory().to_owned();
    server.user("ann").await.room("room").await;
    assert_eq!(done(&directory, &["check"]), "The data are sound.\n");
    assert_eq!(done(&directory, &["check", "--json"]), "[]\n");
    server.signal("TERM");
    server.ended().await;
    assert_eq!(done(&directory, &["check"]), "The data are sound.\n");

    // The second half of the database: the schema can be read, tables and indices cannot.
    let file = directory.join("data/moznods.db");
    let mut bytes = std::fs::read(&file).unwrap();
    let half = bytes.len() / 2;
    bytes[half..].fill(0x55);
    std::fs::write(&file, &bytes).unwrap();
    let output = run(&directory, &["check"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let lines = text(&output.stdout).lines().count();
    assert!(lines > 0, "{output:?}");
    let said = text(&output.stderr);
    let counted = format!("moznods: what is wrong with the data: {lines};");
    assert!(said.starts_with(&counted), "{said}");
    let output = run(&directory, &["check", "--json"]);
    let faults: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(faults.len(), lines);
    assert_eq!(faults[0]["code"], "database_damaged");
    bytes.fill(0x55);
    std::fs::write(&file, &bytes).unwrap();
    let (code, said) = refused(&directory, &["check"]);
    assert_eq!(code, 2);
    assert!(said.contains("expected a database of moznods"), "{said}");
}

#[tokio::test]
async fn so_many_backups_are_kept_and_nothing_else_is_removed() {
    let server = Server::start(&[]);
    server.user("ann").await;
    let directory = server.directory();
    let kept = directory.join("kept");
    std::fs::create_dir(&kept).unwrap();
    let others = [
        "moznods-2026-01-01T000000Z.tar.gpg",
        "moznods-1.tar",
        "moznods-2026-13-01T000000Z.tar",
        "notes",
    ];
    let older = [
        "moznods-2026-01-01T000000Z.tar",
        "moznods-2026-01-02T000000Z.tar",
        "moznods-2026-01-03T000000Z.tar",
    ];
    for name in others.iter().chain(&older) {
        std::fs::write(kept.join(name), "").unwrap();
    }
    done(directory, &["backup", "--keep=3", "kept"]);
    let names_now = || {
        let mut names: Vec<_> = kept
            .read_dir()
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    let names = names_now();
    let made: Vec<_> = names
        .iter()
        .filter(|name| !others.contains(&&***name))
        .cloned()
        .collect();
    assert_eq!(made.len(), 3, "{names:?}");
    assert_eq!(made[..2], older[1..]);
    assert_eq!(names.len(), 3 + others.len(), "{names:?}");
    let newest = format!("kept/{}", made[2]);
    done(directory, &["restore", "--data-dir=again", &newest]);

    // The clock was put back: what is made now is not what is removed.
    let later = "moznods-2999-01-01T000000Z.tar";
    std::fs::write(kept.join(later), "").unwrap();
    // It may be the same second still.
    std::fs::remove_file(directory.join(&newest)).unwrap();
    done(directory, &["backup", "--keep=1", "kept"]);
    let names = names_now();
    assert_eq!(names.len(), 1 + others.len(), "{names:?}");
    assert!(
        !names
            .iter()
            .any(|name| name == later || older.contains(&&**name)),
        "{names:?}"
    );

    // One that cannot be made costs none of those there are.
    std::fs::remove_file(directory.join("data/moznods.db")).unwrap();
    refused(directory, &["backup", "--keep=1", "kept"]);
    assert_eq!(names, names_now());
    let (code, why) = refused(directory, &["backup", "--keep=1", "nowhere"]);
    let right = "moznods: nowhere: it is no directory; expected one in which backups are kept\n";
    assert_eq!((code, &*why), (1, right));
    let (code, _) = refused(directory, &["backup", "--keep=0", "kept"]);
    assert_eq!(code, 2);
}
