//! Behind a 1:1 NAT, as in most clouds: the server at a private address, its clients beyond a router that gives it a public one.
//! All of it in network namespaces of the test's own.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::relay::{Credential, Relay, Running, assert_no_loss};
use crate::support::{eventually, text};

/// Set in the process that runs inside.
const INSIDE: &str = "MOZNODS_TEST_NAT";

/// The server is where the test runs, at 10.9.0.2; others know it as 5.9.0.7. They are outside, at 5.9.1.2, and a STUN server at
/// 5.9.1.3. What the server sends to its own public address does not come back.
const NETWORK: &str = r#"
PATH=$PATH:/usr/sbin:/sbin
mount -t tmpfs none /run
ip link set lo up
ip netns add router
ip netns add outside
ip link add near type veth peer name near netns router
ip -n router link add far type veth peer name far netns outside
ip link set near up
ip -n router link set near up
ip -n router link set far up
ip -n outside link set far up
ip -n outside link set lo up
ip address add 10.9.0.2/24 dev near
ip -n router address add 10.9.0.1/24 dev near
ip -n router address add 5.9.1.1/24 dev far
ip -n outside address add 5.9.1.2/24 dev far
ip -n outside address add 5.9.1.3/24 dev far
ip route add default via 10.9.0.1
ip -n outside route add 5.9.0.7 via 5.9.1.1
ip netns exec router sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward'
ip netns exec router iptables -t nat -A PREROUTING -i far -d 5.9.0.7 -j DNAT --to-destination 10.9.0.2
ip netns exec router iptables -t nat -A POSTROUTING -o far -s 10.9.0.2 -j SNAT --to-source 5.9.0.7
exec "$0" "$@"
"#;

/// Port of the first of the relays that the test starts.
const FIRST: u16 = 3478;

/// Has the router bring back what the server sends to its own public address.
const BRING_BACK: &str = r"
PATH=$PATH:/usr/sbin:/sbin
ip netns exec router iptables -t nat -A PREROUTING -i near -d 5.9.0.7 -j DNAT --to-destination 10.9.0.2
ip netns exec router iptables -t nat -A POSTROUTING -o near -s 10.9.0.2 -j SNAT --to-source 5.9.0.7
";

/// Runs the test of this name in that network. True inside, where the test is to go on.
fn behind_nat(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let output = Command::new("unshare")
        .args(["--map-root-user", "--net", "--mount", "--"])
        .args(["sh", "-ec", NETWORK])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .expect("unshare, of Debian's package util-linux");
    let printed = text(&output.stdout) + &text(&output.stderr);
    assert!(
        output.status.success() && printed.contains("1 passed"),
        "behind a NAT (which needs iproute2, iptables, and root or user namespaces): {printed}"
    );
    false
}

/// A program that runs outside.
fn outside(program: &str) -> Command {
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new("ip");
    command
        .env("PATH", format!("{path}:/usr/sbin:/sbin"))
        .args(["netns", "exec", "outside", program])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// A server behind the NAT, whose settings say so of its address.
struct Natted {
    relay: Relay,
    listen: String,
    more: Vec<String>,
}

impl Natted {
    fn start(port: u16, more: &[&str]) -> Self {
        let listen = format!("--turn-listen=0.0.0.0:{port}");
        let relay = Relay::start(&[&[&*listen, "--turn-workers=2"], more].concat());
        Natted {
            relay: Relay { port, ..relay },
            listen,
            more: more.iter().map(|&setting| setting.to_owned()).collect(),
        }
    }

    fn uclient(&self, credential: &Credential, more: &[&str]) -> Output {
        outside("turnutils_uclient")
            .args(["-p", &self.relay.port.to_string()])
            .args(["-u", &credential.username, "-w", &credential.password])
            .args(more)
            .arg("5.9.0.7")
            .output()
            .unwrap()
    }

    /// What doctor finds, by its codes.
    fn doctor(&self) -> Vec<(String, Value)> {
        let mut arguments = vec!["doctor", "--json", &self.listen];
        arguments.extend(self.more.iter().map(String::as_str));
        let output = self.relay.server.command(&arguments, "");
        let told: Value = serde_json::from_slice(&output.stdout).unwrap();
        let checks = told["checks"].as_array().unwrap().iter();
        let code = |check: &Value| check["code"].as_str().unwrap().to_owned();
        checks.map(|check| (code(check), check.clone())).collect()
    }

    fn finds(&self, code: &str) -> Value {
        let found = self.doctor();
        let one = found.iter().find(|(other, _)| other == code);
        one.unwrap_or_else(|| panic!("no {code} in {found:#?}"))
            .1
            .clone()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_from_outside_are_relayed_and_doctor_knows_of_the_nat() {
    if !behind_nat("nat::calls_from_outside_are_relayed_and_doctor_knows_of_the_nat") {
        return;
    }
    let stun = outside("turnserver")
        .args([
            "-n",
            "-S",
            "--listening-ip=5.9.1.3",
            "--listening-port=3478",
        ])
        .args([
            "--no-tls",
            "--no-dtls",
            "--no-cli",
            "--pidfile=/dev/null",
            "--log-file=stdout",
        ])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let _stun = Running(stun.expect("turnserver, of Debian's package coturn"));
    eventually("the STUN server answers", || async {
        // It waits for ever for one that does not listen yet.
        let asked = outside("timeout")
            .args(["1", "turnutils_stunclient", "5.9.1.3"])
            .output();
        text(&asked.unwrap().stdout).contains("reflexive")
    })
    .await;
    let peer = outside("turnutils_peer")
        .args(["-L", "5.9.1.2", "-p", "3480"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let _peer = Running(peer.unwrap());

    let (auto, known) = ("--turn-external-ip=auto", "--ice-extra-stun=5.9.1.3:3478");
    let settings: [&[&str]; 3] = [
        &[auto, known],
        &["--turn-external-ip=5.9.0.7"],
        &["--turn-external-ip=5.9.0.7/10.9.0.2"],
    ];
    for (port, settings) in (FIRST..).zip(settings) {
        let natted = Natted::start(port, settings);
        let log = natted.relay.server.log();
        assert!(
            log.contains("relaying public=5.9.0.7 local=10.9.0.2"),
            "{log}"
        );
        let ann = natted.relay.server.user("ann").await;
        let credential = natted.relay.credential(&ann).await;
        // Both callers relayed.
        assert_no_loss(&natted.uclient(&credential, &["-y"]));
        if port > FIRST {
            continue;
        }
        // Over TCP as well, and one of them with a peer that is not relayed.
        for mode in [&["-y", "-t"][..], &["-e", "5.9.1.2", "-r", "3480"]] {
            assert_no_loss(&natted.uclient(&credential, mode));
        }
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let python = root.join("target/python/bin/python");
        let call = outside(python.to_str().unwrap())
            .arg(root.join("tests/clients/aioice_call.py"))
            .args(["5.9.0.7", &port.to_string(), "udp"])
            .args([&credential.username, &credential.password])
            .output()
            .unwrap();
        let printed = text(&call.stdout) + &text(&call.stderr);
        let candidates = printed.matches("relay 5.9.0.7 ").count();
        assert!(
            candidates == 2 && printed.contains("heard 20000"),
            "{printed}"
        );
    }

    // What does not come back from the NAT cannot be tried from here, but a STUN server knows.
    let natted = Natted::start(3490, &[auto, known]);
    let seen = natted.finds("address_seen");
    assert_eq!(seen["state"], "ok");
    assert_eq!(seen["values"]["public"], "5.9.0.7");
    assert_eq!(seen["values"]["local"], "10.9.0.2");
    assert_eq!(natted.finds("address_silent")["state"], "advice");
    let other = Natted::start(3491, &["--turn-external-ip=5.9.0.8", known]);
    let wrong = other.finds("address_other");
    assert_eq!(
        (&wrong["state"], &wrong["values"]["seen"]),
        (&"wrong".into(), &"5.9.0.7".into())
    );
    // Nobody is there to ask.
    let alone = Natted::start(3492, &[auto]);
    let private = alone.finds("address_private");
    assert_eq!(private["values"]["public"], "10.9.0.2");
    let log = alone.relay.server.log();
    assert!(
        log.contains("callers from the internet cannot reach the relay"),
        "{log}"
    );

    let status = Command::new("sh").args(["-ec", BRING_BACK]).status();
    assert!(status.unwrap().success());
    let told = Natted::start(3493, &["--turn-external-ip=5.9.0.7"]);
    assert_eq!(told.finds("address_back")["state"], "ok");
}
