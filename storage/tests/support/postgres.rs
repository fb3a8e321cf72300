//! A PostgreSQL of a test's own, of Debian's package, which ends with the test.
// Not every test that has this file needs all of it.
#![allow(dead_code)]

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// For what should happen at once; long, as a test must fail because it is wrong, not because it is slow.
const SOON: Duration = Duration::from_secs(30);
const DIRECTORIES: &str = "moznods-postgres-";

pub struct Postgres {
    directory: PathBuf,
    /// Of its socket, and of TCP at 127.0.0.1.
    port: u16,
    databases: AtomicU32,
}

impl Postgres {
    /// `port` has to be nobody's.
    pub fn start(port: u16) -> Self {
        Self::start_with(port, |_| ())
    }

    /// As [`Self::start`]; `prepare` may change what is there before it starts.
    pub fn start_with(port: u16, prepare: impl FnOnce(&Self)) -> Self {
        remove_leftovers();
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{DIRECTORIES}{}-{count}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        fs::create_dir(&directory).unwrap();
        if let Some((user, group)) = other() {
            chown(&directory, Some(user), Some(group)).unwrap();
        }
        let server = Postgres {
            directory,
            port,
            databases: AtomicU32::new(0),
        };
        let made = server
            .program("initdb")
            .args([
                "--username=moznods",
                "--auth=trust",
                "--encoding=UTF8",
                "--locale=C",
                "--no-sync",
                "-D",
            ])
            .arg(server.data())
            .output()
            .unwrap();
        assert!(
            made.status.success(),
            "{}",
            String::from_utf8_lossy(&made.stderr)
        );
        prepare(&server);
        server.start_again();
        server
    }

    /// Of `localhost`, signed by itself; and TLS with it.
    pub fn make_certificate(&self) {
        let (key, certificate) = (
            self.data().join("server.key"),
            self.data().join("server.crt"),
        );
        let made = Command::new("openssl")
            .args([
                "req",
                "-x509",
                "-newkey",
                "rsa:2048",
                "-nodes",
                "-days",
                "2",
                "-subj",
                "/CN=localhost",
            ])
            .args([
                "-addext",
                "subjectAltName=DNS:localhost",
                "-addext",
                "basicConstraints=critical,CA:FALSE",
            ])
            .arg("-keyout")
            .arg(&key)
            .arg("-out")
            .arg(&certificate)
            .output()
            .unwrap();
        assert!(
            made.status.success(),
            "{}",
            String::from_utf8_lossy(&made.stderr)
        );
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        if let Some((user, group)) = other() {
            chown(&key, Some(user), Some(group)).unwrap();
        }
        let settings = self.data().join("postgresql.auto.conf");
        fs::write(settings, "ssl = on\n").unwrap();
    }

    /// What it proves itself by.
    pub fn certificate(&self) -> String {
        self.data().join("server.crt").display().to_string()
    }

    fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// Run as somebody who is not root, as it asks for.
    fn program(&self, name: &str) -> Command {
        let mut command = Command::new("setpriv");
        if let Some((user, group)) = other() {
            command
                .arg(format!("--reuid={user}"))
                .arg(format!("--regid={group}"))
                .arg("--clear-groups");
        }
        // With the thread that starts it.
        command
            .args(["--pdeathsig", "QUIT"])
            .arg(programs().join(name));
        command.current_dir(&self.directory).stdin(Stdio::null());
        command
    }

    /// Returns when it answers.
    pub fn start_again(&self) {
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.directory.join("log"))
            .unwrap();
        let mut server = self.program("postgres");
        server
            .arg("-D")
            .arg(self.data())
            .args(["-p", &self.port.to_string(), "-k"])
            .arg(&self.directory)
            .args([
                "-c",
                "listen_addresses=127.0.0.1",
                "-c",
                "max_connections=300",
                "-c",
                "fsync=on",
            ])
            .stdout(Stdio::null())
            .stderr(log);
        let (started, wait) = mpsc::channel();
        std::thread::spawn(move || {
            let mut child = server.spawn().unwrap();
            started.send(()).unwrap();
            // As long as this process lives, or the server.
            child.wait().unwrap();
        });
        wait.recv().unwrap();
        let began = Instant::now();
        while !self.try_sql("postgres", "SELECT 1").0 {
            let log = || fs::read_to_string(self.directory.join("log")).unwrap_or_default();
            assert!(began.elapsed() < SOON, "no PostgreSQL: {}", log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn process(&self) -> Option<String> {
        let file = fs::read_to_string(self.data().join("postmaster.pid")).ok()?;
        Some(file.lines().next()?.to_owned())
    }

    /// Sends a signal by its name: `QUIT` ends it as a failure of the machine does, `INT` as an administrator.
    pub fn signal(&self, name: &str) {
        let process = self.process().expect("a running PostgreSQL");
        let sent = Command::new("kill").args(["-s", name, &process]).status();
        assert!(sent.unwrap().success());
    }

    /// To all of its processes, as one that stands still has its sessions stand still.
    pub fn signal_all(&self, name: &str) {
        let process = self.process().expect("a running PostgreSQL");
        let children = Command::new("pgrep")
            .args(["-P", &process])
            .output()
            .unwrap();
        let children = String::from_utf8(children.stdout).unwrap();
        for process in std::iter::once(process.as_str()).chain(children.lines()) {
            // A session may have ended meanwhile.
            let _ = Command::new("kill").args(["-s", name, process]).status();
        }
    }

    /// Ends it by the signal, and returns when it has ended.
    pub fn stop(&self, signal: &str) {
        self.signal(signal);
        let began = Instant::now();
        while self.process().is_some_and(|id| {
            Path::new("/proc").join(id).join("stat").exists()
                && self.data().join("postmaster.pid").exists()
        }) {
            assert!(began.elapsed() < SOON, "PostgreSQL does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// A new, empty database: its URL by TCP.
    pub fn database(&self) -> String {
        let number = self.databases.fetch_add(1, Ordering::Relaxed);
        let name = format!("chat{number}");
        self.sql("postgres", &format!("CREATE DATABASE {name}"));
        self.url(&name)
    }

    pub fn url(&self, database: &str) -> String {
        format!(
            "postgres://moznods:geheim@127.0.0.1:{}/{database}",
            self.port
        )
    }

    /// What `psql` prints for it.
    pub fn sql(&self, database: &str, sql: &str) -> String {
        let (done, text) = self.try_sql(database, sql);
        assert!(done, "{sql}: {text}");
        text
    }

    /// As [`Self::sql`], and whether all went well.
    pub fn try_sql(&self, database: &str, sql: &str) -> (bool, String) {
        let output = Command::new("psql")
            .args([
                "-X",
                "-q",
                "-A",
                "-t",
                "-U",
                "moznods",
                "-p",
                &self.port.to_string(),
                "-d",
                database,
                "-c",
                sql,
                "-h",
            ])
            .arg(&self.directory)
            .output()
            .expect("psql; scripts/setup test installs it");
        let text = [output.stdout, output.stderr].concat();
        (
            output.status.success(),
            String::from_utf8_lossy(&text).trim().to_owned(),
        )
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Some(process) = self.process() {
            let _ = Command::new("kill").args(["-s", "QUIT", &process]).status();
            let _ = Command::new("kill")
                .args(["-s", "CONT", &process])
                .stderr(Stdio::null())
                .status();
        }
        let began = Instant::now();
        while self.data().join("postmaster.pid").exists() && began.elapsed() < SOON {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// The newest that is installed.
fn programs() -> PathBuf {
    let versions =
        fs::read_dir("/usr/lib/postgresql").expect("PostgreSQL; scripts/setup test installs it");
    let newest = versions
        .filter_map(|version| version.unwrap().file_name().to_str()?.parse::<u32>().ok())
        .max();
    Path::new("/usr/lib/postgresql")
        .join(newest.unwrap().to_string())
        .join("bin")
}

/// Whom root starts it as.
fn other() -> Option<(u32, u32)> {
    let id = |arguments: &[&str]| -> Option<u32> {
        let output = Command::new("id").args(arguments).output().ok()?;
        String::from_utf8(output.stdout).ok()?.trim().parse().ok()
    };
    (id(&["-u"]) == Some(0)).then(|| {
        (
            id(&["-u", "postgres"]).unwrap(),
            id(&["-g", "postgres"]).unwrap(),
        )
    })
}

/// Of test processes that have ended without a word.
fn remove_leftovers() {
    for entry in fs::read_dir(std::env::temp_dir()).unwrap().flatten() {
        let name = entry.file_name();
        let Some(rest) = name
            .to_str()
            .and_then(|name| name.strip_prefix(DIRECTORIES))
        else {
            continue;
        };
        let process = rest.split('-').next().unwrap_or_default();
        if !Path::new("/proc").join(process).exists() {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
