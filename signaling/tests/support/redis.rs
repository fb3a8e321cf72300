//! A Redis of a test's own, of Debian's package, which keeps nothing and ends with the process.
// Not every test that has this file needs all of it.
#![allow(dead_code)]

use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// For what should happen at once; long, as a test must fail because it is wrong, not because it is slow.
const SOON: Duration = Duration::from_secs(20);

pub struct Redis {
    port: u16,
    /// The system's id of the process, while it runs.
    process: Option<u32>,
}

impl Redis {
    /// `port` has to be nobody's.
    pub fn start(port: u16) -> Self {
        let mut redis = Redis {
            port,
            process: None,
        };
        redis.start_again();
        redis
    }

    pub fn url(&self) -> String {
        format!("redis://default:geheim@127.0.0.1:{}", self.port)
    }

    /// Returns when it answers.
    pub fn start_again(&mut self) {
        let port = self.port.to_string();
        let (started, process) = mpsc::channel();
        std::thread::spawn(move || {
            // With this thread, which is there as long as the process is.
            let mut command = Command::new("setpriv");
            command.args(["--pdeathsig", "KILL", "redis-server", "--port", &port]);
            command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
            command.args(["--requirepass", "geheim"]);
            let child = command.stdout(Stdio::null()).spawn();
            let mut child = child.expect("redis-server; scripts/setup test installs it");
            started.send(child.id()).unwrap();
            child.wait().unwrap();
        });
        self.process = Some(process.recv().unwrap());
        self.wait_until("it answers", true);
    }

    /// By the signal's name.
    pub fn signal(&self, name: &str) {
        let id = self.process.expect("a running Redis").to_string();
        let sent = Command::new("kill").args(["-s", name, &id]).status();
        assert!(sent.unwrap().success());
    }

    /// Returns when it is gone.
    pub fn kill(&mut self) {
        self.signal("KILL");
        self.process = None;
        self.wait_until("it is gone", false);
    }

    fn wait_until(&self, what: &str, is_there: bool) {
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_ok() != is_there {
            assert!(began.elapsed() < SOON, "Redis: {what}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        if self.process.is_some() {
            self.signal("KILL");
        }
    }
}
