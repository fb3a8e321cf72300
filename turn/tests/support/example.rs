//! The example as a process of its own.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

pub const REALM: &str = "example";

/// Ends with its test.
pub struct Example(Child);

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Example {
    /// What it has used of processors, in hundredths of a second.
    pub fn processor_time(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0.id())).unwrap();
        // User's and system's time, the 14th and 15th field; the second is a name in parentheses.
        let (_, rest) = stat.rsplit_once(") ").unwrap();
        let field = |index| rest.split(' ').nth(index).unwrap().parse::<u64>().unwrap();
        field(11) + field(12)
    }
}

/// Starts it on loopback for the user `alice`, with at most so many open files; returns where it listens.
pub fn start(password: &str, files: Option<u32>) -> (Example, SocketAddr) {
    let limit = files.map_or_else(String::new, |files| format!("ulimit -n {files} && "));
    run(password, &limit, "")
}

/// The same with every system call written to a file, as `strace` does.
pub fn start_traced(password: &str, log: &Path) -> (Example, SocketAddr) {
    // It watches from beside, so that the process to end is the example's.
    let runner = format!("'strace', '-D', '-f', '-qq', '-o', '{}'", log.display());
    let config = format!("--config \"target.'cfg(all())'.runner = [{runner}]\"");
    run(password, "", &config)
}

fn run(password: &str, before: &str, config: &str) -> (Example, SocketAddr) {
    // Shell and Cargo become the program that they run, so that there is one process to end.
    let script =
        format!("{before}exec \"$0\" run --quiet --locked {config} --example relay -- \"$@\"");
    let mut command = Command::new("sh");
    // Cargo's word about this test would have it build anew what asks for the same of its own.
    for (name, _) in std::env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"CARGO_PKG_") || name == "CARGO_MANIFEST_DIR" {
            command.env_remove(name);
        }
    }
    let child = command
        .args([
            "-c",
            &script,
            env!("CARGO"),
            "127.0.0.1:0",
            "alice",
            password,
        ])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut example = Example(child);
    let mut line = String::new();
    let stdout = example.0.stdout.take().unwrap();
    BufReader::new(stdout).read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("relaying at ");
    (example, address.expect(&line).parse().unwrap())
}
