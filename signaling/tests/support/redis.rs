//! A Redis of a test's own, of Debian's package, which keeps nothing and ends with the test.
// Not every test that has this file needs all of it.
#![allow(dead_code)]

use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub struct Redis {
    port: u16,
    process: Option<Child>,
}

impl Redis {
    /// `port` has to be nobody's.
    pub fn start(port: u16) -> Self {
        let mut redis = Redis {
            port,
            process: None,
        };
        redis.run();
        redis
    }

    /// Returns when it answers.
    pub fn run(&mut self) {
        // Ends with the thread that starts it.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "redis-server", "--bind", "127.0.0.1"]);
        command.args(["--port", &self.port.to_string()]);
        command.args(["--save", "", "--appendonly", "no"]);
        command.args(["--requirepass", "geheim"]);
        let process = command.stdout(Stdio::null()).spawn().unwrap();
        self.process = Some(process);
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let late = began.elapsed() > Duration::from_secs(20);
            assert!(!late, "no Redis; scripts/setup test installs it");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    pub fn url(&self) -> String {
        format!("redis://default:geheim@127.0.0.1:{}", self.port)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}
