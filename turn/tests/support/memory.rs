//! What this process holds. To be asked in a namespace, where no other test runs beside.

use std::time::Duration;

/// Bytes of memory.
pub fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1));
    kib.unwrap().parse::<usize>().unwrap() << 10
}

pub fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// The figure when it has come to rest: what was closed may still be on its way out.
pub fn settle(figure: fn() -> usize) -> usize {
    let mut last = figure();
    loop {
        std::thread::sleep(Duration::from_millis(50));
        let now = figure();
        if now == last {
            return now;
        }
        last = now;
    }
}
