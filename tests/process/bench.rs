//! `moznods bench relay`: what it finds on a server that runs, and what it says when it cannot.

use serde_json::Value;

use crate::relay::Relay;
use crate::relay_admin::printed;
use crate::support::text;

#[tokio::test(flavor = "multi_thread")]
async fn an_admin_learns_what_the_relay_carries() {
    let relay = Relay::start(&[]);
    let listen = format!("--turn-listen=127.0.0.1:{}", relay.port);
    let short = ["bench", "relay", "--seconds=1", "--clients=4", &listen];
    let found = printed(&relay.server, &[&short[..], &["--json"]].concat());
    let found: Value = serde_json::from_str(&found).unwrap();
    for figure in ["voice_calls", "video_calls", "voice_packets_per_second"] {
        assert!(found[figure].as_u64().unwrap() > 0, "{found}");
    }
    let [p50, p99] = ["delay_p50_us", "delay_p99_us"].map(|key| found[key].as_f64().unwrap());
    assert!(0.0 < p50 && p50 <= p99, "{found}");
    assert_eq!(
        printed(&relay.server, &["turn", "user", "list"]),
        "",
        "the account made for it is gone"
    );

    // The same by name and password, at an address of this machine that the server does not relay to.
    let device = ["turn", "user", "add", "door", "--password-stdin"];
    assert!(
        relay
            .server
            .command(&device, "secret words\n")
            .status
            .success()
    );
    let address = format!("--server=127.0.0.1:{}", relay.port);
    let other = [
        "bench",
        "relay",
        "--seconds=1",
        "--clients=2",
        "--user=door",
        &address,
    ];
    let output = relay.server.command(&other, "secret words\n");
    assert!(output.status.success(), "{}", text(&output.stderr));
    let said = text(&output.stdout);
    assert!(said.starts_with("This machine carries about "), "{said}");
    assert!(said.contains("голосовых звонков"), "{said}");
    let output = relay.server.command(
        &[&other[..], &["--peer=127.0.0.9"]].concat(),
        "secret words\n",
    );
    let said = text(&output.stderr);
    assert!(
        said.contains("turn.allow_peers = \"127.0.0.9/32\""),
        "{said}"
    );
    assert_eq!(said.lines().count(), 1, "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_there_is_named() {
    let relay = Relay::start(&[]);
    let closed = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = closed.local_addr().unwrap();
    let server = format!("--server={address}");
    let arguments = ["bench", "relay", "--user=door", &server];
    let output = relay.server.command(&arguments, "wrong\n");
    let said = text(&output.stderr);
    assert!(
        said.contains(&format!("{address} does not answer over UDP")),
        "{said}"
    );
    let nowhere = ["bench", "relay", "--user=door", "--server=nowhere"];
    let output = relay.server.command(&nowhere, "");
    let said = text(&output.stderr);
    assert!(said.contains("expected HOST:PORT"), "{said}");
    let both = ["bench", "relay", "--server=127.0.0.1:3478"];
    assert_eq!(relay.server.command(&both, "").status.code(), Some(2));
}
