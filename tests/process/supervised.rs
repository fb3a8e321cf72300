//! Run by a service manager: what it is told, what the administrator of the machine is told, and that root's commands leave
//! the service its data.

use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use reqwest::Method;
use serde_json::json;
use tempfile::TempDir;

use crate::support::{PASSWORD, SOON, Server, answer, eventually, free_port, moznods, text};

/// What systemd would listen at.
struct Manager {
    directory: TempDir,
    socket: UnixDatagram,
}

impl Manager {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(directory.path().join("notify")).unwrap();
        Manager { directory, socket }
    }

    fn environment(&self) -> Vec<(&'static str, PathBuf)> {
        vec![("NOTIFY_SOCKET", self.directory.path().join("notify"))]
    }

    /// The next thing that it is told, but of the watchdog.
    fn told(&self) -> String {
        loop {
            let told = self.any();
            if told != "WATCHDOG=1\n" {
                return told;
            }
        }
    }

    fn any(&self) -> String {
        self.socket.set_read_timeout(Some(SOON)).unwrap();
        let mut bytes = [0; 1024];
        let length = self.socket.recv(&mut bytes).expect("a word in time");
        text(&bytes[..length])
    }

    /// What has been told up to now and was not looked at.
    fn waiting(&self) -> Vec<String> {
        self.socket.set_nonblocking(true).unwrap();
        let mut all = Vec::new();
        let mut bytes = [0; 1024];
        loop {
            match self.socket.recv(&mut bytes) {
                Ok(length) => all.push(text(&bytes[..length])),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error}"),
            }
        }
        self.socket.set_nonblocking(false).unwrap();
        all
    }
}

#[tokio::test]
async fn a_service_manager_is_told_that_the_server_serves_reloads_and_stops() {
    let manager = Manager::new();
    let mut server = Server::start_in(&["--turn-drain-seconds=7000"], &manager.environment());
    assert_eq!(manager.told(), "READY=1\n");
    server.signal("HUP");
    let reloading = manager.told();
    let since = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=");
    let since: u64 = since.expect(&reloading).trim_end().parse().unwrap();
    assert!(since > 0);
    assert_eq!(manager.told(), "READY=1\n");
    server.signal("TERM");
    // As long as calls may go on, and some more.
    let stopping = "STOPPING=1\nEXTEND_TIMEOUT_USEC=7060000000\n";
    assert_eq!(manager.told(), stopping);
    assert_eq!(server.ended().await.code(), Some(0));
    assert_eq!(
        manager.waiting(),
        Vec::<String>::new(),
        "without a watchdog"
    );
}

/// Has a thread of `server` wait before it looks for what has come, until this is dropped.
struct Halted(Child);

impl Halted {
    fn new(thread: &str) -> Self {
        let mut strace = Command::new("strace");
        strace.args(["-qq", "-o", "/dev/null", "-p", thread]);
        strace.args(["-e", "inject=epoll_wait,epoll_pwait:delay_exit=600s"]);
        Halted(strace.stdin(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Halted {
    fn drop(&mut self) {
        // Killed by what cannot be caught, it would leave the thread halted.
        let id = self.0.id().to_string();
        let _ = Command::new("kill").args(["-s", "TERM", &id]).status();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn the_watchdog_is_told_as_long_as_each_thread_of_the_relay_answers() {
    let manager = Manager::new();
    let mut environment = manager.environment();
    environment.push(("WATCHDOG_USEC", "2000000".into()));
    let port = free_port();
    let server = Server::start_in(
        &[
            "--turn-enabled=true",
            &format!("--turn-listen=127.0.0.1:{port}"),
            "--turn-workers=2",
            "--turn-external-ip=127.0.0.1",
        ],
        &environment,
    );
    for _ in 0..3 {
        while manager.any() != "WATCHDOG=1\n" {}
    }
    let halted = Halted::new(&server.thread("relay-1"));
    let complaints = || {
        let log = server.log();
        log.matches("the watchdog is not told").count()
    };
    // A turn may come to nothing on a busy machine, too; from some moment on none comes to anything.
    let is_quiet = async || {
        let before = complaints();
        manager.waiting();
        eventually("a complaint", async || complaints() > before).await;
        manager.waiting().is_empty()
    };
    eventually("the watchdog is told no longer", is_quiet).await;
    // The rest of the server goes on, and the thread as soon as it may.
    assert!(server.command(&["ready"], "").status.success());
    drop(halted);
    while manager.any() != "WATCHDOG=1\n" {}
}

#[tokio::test]
async fn who_runs_the_server_is_told_whether_it_is_ready_and_how_to_begin() {
    let server = Server::start(&["--accounts-registration=code"]);
    let ready = server.command(&["ready"], "");
    assert_eq!(text(&ready.stdout), "The server is ready.\n");

    let said = || {
        let welcome = server.command(&["welcome"], "");
        assert!(welcome.status.success(), "{welcome:?}");
        text(&welcome.stdout)
    };
    let first = said();
    let after = |said: &str, mark: &str| {
        let line = said.lines().find_map(|line| line.split_once(mark));
        line.map(|(_, rest)| rest.to_owned())
    };
    assert_eq!(
        first.lines().next().unwrap().split(" serves ").nth(1),
        Some(&*server.url)
    );
    let token = after(&first, "#/setup/").expect(&first);
    let code = after(&first, "registration: ").expect(&first);
    let register = |name: &str, more: serde_json::Value| {
        let mut body =
            json!({"username": name, "email": format!("{name}@example.org"), "password": PASSWORD});
        let more = more.as_object().unwrap().clone();
        body.as_object_mut().unwrap().extend(more);
        answer(
            server
                .request(Method::POST, "/api/auth/register/")
                .json(&body),
        )
    };
    // Another time, another link: the one before is void.
    let newer = after(&said(), "#/setup/").unwrap();
    let (status, _) = register("ann", json!({"setup_token": token})).await;
    assert_eq!(status, 400);
    let (status, made) = register("ann", json!({"setup_token": newer})).await;
    assert_eq!(
        (status, &made["user"]["is_admin"]),
        (201, &json!(true)),
        "{made}"
    );
    let (status, made) = register("ben", json!({"invite_code": code})).await;
    assert_eq!(status, 201, "{made}");
    assert!(!said().contains("#/setup/"), "there is an administrator");
    // Neither has a place in a log.
    assert!(
        ![token, newer, code]
            .iter()
            .any(|secret| server.log().contains(secret))
    );

    let nowhere = tempfile::tempdir().unwrap();
    for command in ["ready", "welcome"] {
        let refused = moznods(nowhere.path()).arg(command).output().unwrap();
        let why = text(&refused.stderr);
        assert!(why.contains("no `moznods serve` is running"), "{why}");
        assert_eq!(refused.status.code(), Some(1));
    }
}

fn owners(directory: &Path) -> Vec<(String, u32)> {
    let mut found = Vec::new();
    for entry in directory.read_dir().unwrap() {
        let entry = entry.unwrap();
        let owner = entry.metadata().unwrap().uid();
        found.push((entry.file_name().into_string().unwrap(), owner));
        if entry.file_type().unwrap().is_dir() {
            found.extend(owners(&entry.path()));
        }
    }
    found
}

#[test]
fn what_root_does_leaves_the_data_to_their_owner() {
    // Nobody's of this machine.
    const SERVICE: u32 = 61_234;
    let directory = tempfile::tempdir().unwrap();
    if directory.path().metadata().unwrap().uid() != 0 {
        // Only root can be root.
        return;
    }
    let data = directory.path().join("data");
    std::fs::create_dir(&data).unwrap();
    chown(&data, Some(SERVICE), Some(SERVICE)).unwrap();
    // The service gets to its data, and no further.
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o711);
    std::fs::set_permissions(directory.path(), open).unwrap();
    let run = |arguments: &[&str]| moznods(directory.path()).args(arguments).output().unwrap();

    let serve = run(&["serve", "--turn-enabled=false", "--http-listen=127.0.0.1:0"]);
    assert_eq!(
        text(&serve.stderr),
        "moznods: data_dir = \"data\": it is of user 61234, and root would leave there what he cannot read; expected to be run as that user\n"
    );
    assert_eq!(serve.status.code(), Some(2));
    assert_eq!(owners(&data), []);

    let mut add = moznods(directory.path());
    add.args([
        "user",
        "add",
        "--username=ann",
        "--email=ann@example.org",
        "--password-stdin",
    ]);
    let password = directory.path().join("password");
    std::fs::write(&password, PASSWORD).unwrap();
    add.stdin(std::fs::File::open(password).unwrap());
    let add = add.output().unwrap();
    assert!(add.status.success(), "{add:?}");
    let made = owners(&data);
    assert!(made.iter().any(|(name, _)| name == "moznods.db"));
    assert!(made.iter().all(|(_, owner)| *owner == SERVICE), "{made:?}");

    // What only reads, too, has no more rights than the owner: he could lead it to what is not his.
    let kept = directory.path().join("kept.tar");
    let roots = directory.path().join("roots");
    std::fs::create_dir_all(roots.join("deeper")).unwrap();
    let closed = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    std::fs::set_permissions(&roots, closed).unwrap();
    for arguments in [
        &["backup", "kept.tar"][..],
        &["backup", "--keep=2", "roots"],
        &["backup", "--keep=2", "roots/deeper"],
    ] {
        let refused = run(arguments);
        assert_eq!(refused.status.code(), Some(1), "{refused:?}");
        let why = text(&refused.stderr);
        assert!(
            why.contains("Permission denied") && why.contains("`- > FILE`"),
            "{why}"
        );
    }
    let mut backup = moznods(directory.path());
    backup.args(["backup", "-"]);
    backup.stdout(std::fs::File::create(&kept).unwrap());
    let backup = backup.output().unwrap();
    assert!(backup.status.success(), "{backup:?}");
    assert!(run(&["check"]).status.success());
    let (database, aside) = (data.join("moznods.db"), data.join("aside.db"));
    let secret = roots.join("secret.db");
    std::fs::copy(&database, &secret).unwrap();
    std::fs::rename(&database, &aside).unwrap();
    std::os::unix::fs::symlink(&secret, &database).unwrap();
    for arguments in [&["backup", "-"][..], &["check"]] {
        let refused = run(arguments);
        assert!(!refused.status.success(), "{refused:?}");
        assert!(refused.stdout.is_empty(), "{refused:?}");
    }
    std::fs::remove_file(&database).unwrap();
    std::fs::rename(&aside, &database).unwrap();
    let made = owners(&data);
    assert!(made.iter().all(|(_, owner)| *owner == SERVICE), "{made:?}");
    let restored = directory.path().join("restored");
    std::fs::create_dir(&restored).unwrap();
    chown(&restored, Some(SERVICE), Some(SERVICE)).unwrap();
    let mut restore = moznods(directory.path());
    restore.args(["restore", "--data-dir=restored", "-"]);
    restore.stdin(std::fs::File::open(&kept).unwrap());
    let restore = restore.output().unwrap();
    assert!(restore.status.success(), "{restore:?}");
    let made = owners(&restored);
    assert!(made.iter().any(|(name, _)| name == "moznods.db"));
    assert!(made.iter().all(|(_, owner)| *owner == SERVICE), "{made:?}");
}
