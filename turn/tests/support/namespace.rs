//! A network of a test's own, in which every address there is leads back to this machine: nothing leaves it, whatever
//! the relay would do, and a listener hears what is sent to any address.

use std::process::Command;

/// Set in the process that runs inside.
const INSIDE: &str = "MOZNODS_TEST_NAMESPACE";

/// IPv4 addresses can be bound as they are; of IPv6 those here can.
const SET_UP: &str = "ip link set lo up \
    && ip route add local 0.0.0.0/0 dev lo \
    && ip -6 route add local ::/0 dev lo \
    && ip addr add 2606:4700::7/128 dev lo nodad \
    && ip addr add 2606:4700::8/128 dev lo nodad \
    && exec \"$0\" \"$@\"";

/// Runs the test of this name (with its modules) in a process and a network of its own. True inside, where the test is
/// to go on; false outside, where it is over and has passed.
pub fn enter(test: &str) -> bool {
    enter_as(test, SET_UP)
}

/// As [`enter`], with another network: made by a shell that then does what its arguments say, and may mount what it
/// likes.
pub fn enter_as(test: &str, set_up: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let output = Command::new("unshare")
        .args(["--map-root-user", "--net", "--mount", "--"])
        .args(["sh", "-ec", set_up])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--include-ignored"])
        .env(INSIDE, "1")
        // So that what this process holds is what is in use: glibc keeps what past threads have freed in arenas of theirs.
        .env("MALLOC_ARENA_MAX", "1")
        .env("MALLOC_TRIM_THRESHOLD_", "65536")
        .output()
        .expect("unshare, of Debian's package util-linux");
    let printed = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && printed.contains("1 passed"),
        "in a network namespace of its own (which needs iproute2, and root or user namespaces): \
         {printed}{complained}"
    );
    print!("{printed}");
    false
}
