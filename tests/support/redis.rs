//! A Redis of a test's own, of Debian's package, which keeps nothing and ends with the process.

use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// For what should happen at once; long, as a test must fail because it is wrong, not because it is slow.
const SOON: Duration = Duration::from_secs(20);

pub struct Redis {
    port: u16,
    /// The system's id of the process.
    process: u32,
}

impl Redis {
    /// `port` has to be nobody's.
    pub fn start(port: u16) -> Self {
        let mut redis = Redis { port, process: 0 };
        redis.start_again();
        redis
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
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
            let child = command.stdout(Stdio::null()).spawn();
            let mut child = child.expect("redis-server; scripts/setup test installs it");
            started.send(child.id()).unwrap();
            child.wait().unwrap();
        });
        self.process = process.recv().unwrap();
        self.wait_until("it answers", true);
    }

    /// By the signal's name.
    pub fn signal(&self, name: &str) {
        let id = self.process.to_string();
        let sent = Command::new("kill").args(["-s", name, &id]).status();
        assert!(sent.unwrap().success());
    }

    /// Returns when it is gone.
    pub fn kill(&self) {
        self.signal("KILL");
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
        // A test may have killed it.
        let id = self.process.to_string();
        let _ = Command::new("kill").args(["-s", "KILL", &id]).status();
    }
}
