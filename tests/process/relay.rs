//! The relay as other people's clients see it: coturn's, aioice's and webrtc-rs's, with credentials from the command
//! line and from the API.

use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use reqwest::Method;
use serde_json::Value;
use turn::client::{Client, ClientConfig};
use webrtc_util::Conn;

use crate::support::{SOON, Server, User, answer, eventually, moznods, text};

/// A server that relays on loopback, reachable at `port`.
struct Relay {
    server: Server,
    port: u16,
}

struct Credential {
    username: String,
    password: String,
}

impl Relay {
    fn start(arguments: &[&str]) -> Self {
        let port = free_port();
        let listen = format!("--turn-listen=127.0.0.1:{port}");
        let mut all = vec![
            "--turn-enabled=true",
            &listen,
            "--turn-external-ip=127.0.0.1",
        ];
        all.extend(arguments);
        Relay {
            server: Server::start(&all),
            port,
        }
    }

    /// From the API.
    async fn credential(&self, user: &User<'_>) -> Credential {
        let (status, json) = user.get("/api/turn/credentials/").await;
        assert_eq!(status, 200, "{json}");
        credential(&json)
    }

    /// From the command line.
    fn printed_credential(&self, user: &str, ttl: &str) -> Credential {
        let listen = format!("--turn-listen=127.0.0.1:{}", self.port);
        let arguments = [
            "turn",
            "credential",
            "--user",
            user,
            "--ttl",
            ttl,
            "--json",
            &listen,
        ];
        let output = self.server.command(&arguments, "");
        assert!(output.status.success(), "{}", text(&output.stderr));
        let json: Value = serde_json::from_slice(&output.stdout).unwrap();
        let uri = format!("turn:127.0.0.1:{}?transport=udp", self.port);
        assert_eq!(json["uris"][0], uri.as_str());
        credential(&json)
    }

    /// One of coturn's test clients, which are not ours to change.
    fn coturn(&self, program: &str, arguments: &[&str]) -> Output {
        Command::new(program)
            .args(["-p", &self.port.to_string()])
            .args(arguments)
            .arg("127.0.0.1")
            .output()
            .unwrap_or_else(|error| panic!("{program}, of Debian's package coturn: {error}"))
    }

    fn uclient(&self, credential: &Credential, arguments: &[&str]) -> Output {
        let mut all = vec!["-u", &credential.username, "-w", &credential.password];
        all.extend(arguments);
        self.coturn("turnutils_uclient", &all)
    }

    async fn webrtc_rs(
        &self,
        credential: &Credential,
    ) -> Result<(Client, impl Conn + use<>), turn::Error> {
        let address = format!("127.0.0.1:{}", self.port);
        let client = Client::new(ClientConfig {
            stun_serv_addr: address.clone(),
            turn_serv_addr: address,
            username: credential.username.clone(),
            password: credential.password.clone(),
            realm: "moznods".to_owned(),
            software: String::new(),
            rto_in_ms: 0,
            conn: Arc::new(tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap()),
            vnet: None,
        })
        .await?;
        client.listen().await?;
        let relayed = client.allocate().await?;
        Ok((client, relayed))
    }

    async fn metric(&self, name: &str) -> f64 {
        let response = self
            .server
            .request(Method::GET, "/metrics")
            .send()
            .await
            .unwrap();
        let text = response.text().await.unwrap();
        let line = text
            .lines()
            .find(|line| line.starts_with(&format!("{name} ")));
        let line = line.unwrap_or_else(|| panic!("no {name} in {text}"));
        line.rsplit(' ').next().unwrap().parse().unwrap()
    }

    async fn live(&self) -> f64 {
        self.metric("moznods_turn_allocations").await
    }
}

fn credential(json: &Value) -> Credential {
    let text = |key: &str| json[key].as_str().unwrap().to_owned();
    Credential {
        username: text("username"),
        password: text("password"),
    }
}

/// A port that nobody has, for UDP; by far the most likely, for TCP either.
fn free_port() -> u16 {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.local_addr().unwrap().port()
}

/// Something was sent, and all of it came back.
fn assert_no_loss(output: &Output) {
    let printed = text(&output.stdout) + &text(&output.stderr);
    assert!(output.status.success(), "{printed}");
    let total = printed
        .lines()
        .find_map(|line| line.split_once("start_mclient: tot_send_msgs="));
    let (sent, received) = total
        .and_then(|(_, counts)| counts.split_once(", tot_recv_msgs="))
        .unwrap_or_else(|| panic!("no total in {printed}"));
    assert_eq!(sent, received, "{printed}");
    assert_ne!(sent, "0", "{printed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn coturns_clients_relay_with_a_credential_from_the_command_line() {
    let relay = Relay::start(&["--turn-allow-peers=127.0.0.0/8"]);
    relay.server.user("ann").await;
    let output = relay.coturn("turnutils_stunclient", &[]);
    assert!(
        text(&output.stdout).contains("UDP reflexive addr: 127.0.0.1:"),
        "{output:?}"
    );

    let credential = relay.printed_credential("ann", "600");
    for mode in [
        &["-y"][..],               // channels, two clients of this server
        &["-y", "-s"],             // indications
        &["-y", "-t"],             // client to server by TCP
        &["-y", "-m", "10", "-c"], // ten at once
        &["-y", "-G", "-n", "20"], // with refreshed permissions and channels
        &["-y", "-l", "1400"],     // long ones
    ] {
        println!("turnutils_uclient {}", mode.join(" "));
        assert_no_loss(&relay.uclient(&credential, mode));
    }
    assert!(
        relay
            .metric("moznods_turn_relayed_bytes_total{direction=\"to_peer\"}")
            .await
            > 0.0
    );
}

/// Writes a certificate of `localhost` and its key.
fn write_certificate(chain: &Path, key: &Path) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    std::fs::write(chain, made.cert.pem()).unwrap();
    std::fs::write(key, made.signing_key.serialize_pem()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn coturns_client_relays_over_tls_and_a_certificate_is_renewed_without_a_restart() {
    let files = tempfile::tempdir().unwrap();
    let (chain, key) = (files.path().join("cert.pem"), files.path().join("key.pem"));
    write_certificate(&chain, &key);
    let tls_port = free_port();
    let relay = Relay::start(&[
        &format!("--turn-tls-listen=127.0.0.1:{tls_port}"),
        &format!("--turn-tls-cert={}", chain.display()),
        &format!("--turn-tls-key={}", key.display()),
    ]);
    let ann = relay.server.user("ann").await;
    let (_, json) = ann.get("/api/turn/credentials/").await;
    let uri = format!("turns:127.0.0.1:{tls_port}?transport=tcp");
    assert_eq!(json["uris"][2], uri.as_str());
    assert_eq!(json["iceServers"][1]["urls"][2], uri.as_str());

    let credential = credential(&json);
    let over_tls = Relay {
        port: tls_port,
        ..relay
    };
    assert_no_loss(&over_tls.uclient(&credential, &["-S", "-t", "-y"]));
    write_certificate(&chain, &key);
    over_tls.server.signal("HUP");
    let log = || async {
        over_tls
            .server
            .log()
            .contains("the certificate has been read again")
    };
    eventually("the certificate is read again", log).await;
    assert_no_loss(&over_tls.uclient(&credential, &["-S", "-t", "-y"]));
    std::fs::write(&key, "rubbish").unwrap();
    over_tls.server.signal("HUP");
    let log = || async {
        over_tls
            .server
            .log()
            .contains("the certificate stays as it was")
    };
    eventually("a bad one is refused", log).await;
    assert_no_loss(&over_tls.uclient(&credential, &["-S", "-t", "-y"]));
}

#[tokio::test]
async fn a_certificate_that_cannot_be_used_is_one_clear_line() {
    let directory = tempfile::tempdir().unwrap();
    let start = |arguments: &[&str]| {
        let output = moznods(directory.path())
            .args([
                "serve",
                "--http-listen=127.0.0.1:0",
                "--turn-listen=127.0.0.1:0",
            ])
            .args(arguments)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2));
        text(&output.stderr)
    };
    let error = start(&["--turn-tls-cert=missing.pem", "--turn-tls-key=key.pem"]);
    assert!(
        error.starts_with("moznods: turn.tls_cert, turn.tls_key: missing.pem: "),
        "{error}"
    );
    assert_eq!(error.lines().count(), 1, "{error}");
    let error = start(&["--turn-tls-cert=missing.pem"]);
    assert_eq!(
        error,
        "moznods: turn.tls_key = \"\" (default): expected a PEM file, since turn.tls_cert is set\n"
    );
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn other_programs_make_credentials_with_a_secret_of_their_own() {
    let relay = Relay::start(&[]);
    let secret = |arguments: &[&str]| {
        let all: Vec<&str> = ["turn", "secret"]
            .iter()
            .chain(arguments)
            .copied()
            .collect();
        let output = relay.server.command(&all, "");
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    let last_word = |printed: String| printed.split_whitespace().last().unwrap().to_owned();
    // coturn's client makes the credential from the secret by itself; the server obeys within moments.
    let relays = |key: &str| {
        let output = relay.coturn(
            "turnutils_uclient",
            &["-W", key, "-u", "bob", "-y", "-c", "-n", "1"],
        );
        output.status.success()
    };
    let first = last_word(secret(&["add", "matrix"]));
    secret(&["add", "cloud", "--max-allocations", "5"]);
    eventually("the secret is taken", || async { relays(&first) }).await;

    let listed = secret(&["list"]);
    assert_eq!(listed, "cloud\tat most 5 allocations\nmatrix\tno limit\n");
    let json: Value = serde_json::from_str(&secret(&["list", "--json"])).unwrap();
    assert_eq!(json[1]["name"], "matrix");
    assert_eq!(json[0]["max_allocations"], 5);
    assert!(!json.to_string().contains(&first));

    let second = last_word(secret(&["rotate", "matrix"]));
    eventually("the new one is taken", || async { relays(&second) }).await;
    assert!(relays(&first), "the old one as well, for a while");
    let third = last_word(secret(&["rotate", "matrix", "--keep", "0"]));
    eventually("the newest one is taken", || async { relays(&third) }).await;
    assert!(!relays(&first) && !relays(&second), "no older one");

    assert!(
        relay.live().await > 0.0,
        "coturn's client leaves its allocations behind"
    );
    secret(&["revoke", "matrix"]);
    eventually("all of its allocations end", || async {
        relay.live().await == 0.0
    })
    .await;
    assert!(!relays(&third));
    assert!(!relay.server.log().contains(&third));
}

#[tokio::test]
async fn secrets_that_are_not_there_or_there_already_are_one_clear_line() {
    let server = Server::start(&[]);
    let error = |arguments: &[&str]| {
        let all: Vec<&str> = ["turn", "secret"]
            .iter()
            .chain(arguments)
            .copied()
            .collect();
        let output = server.command(&all, "");
        assert_eq!(output.status.code(), Some(1));
        text(&output.stderr)
    };
    assert!(
        server
            .command(&["turn", "secret", "add", "matrix"], "")
            .status
            .success()
    );
    assert_eq!(
        error(&["add", "matrix"]),
        "moznods: turn secret \"matrix\": there is a secret of this name already; expected another name, or `moznods turn \
         secret rotate`\n"
    );
    for command in ["rotate", "revoke"] {
        assert_eq!(
            error(&[command, "cloud"]),
            "moznods: turn secret \"cloud\": there is no secret of this name; `moznods turn secret list` shows those there \
             are\n"
        );
    }
    assert!(error(&["add", "two words"]).contains("expected a name of 1 to 64 letters"));
}

#[tokio::test(flavor = "multi_thread")]
async fn aioice_agents_meet_by_relay_candidates_alone() {
    let relay = Relay::start(&[]);
    let ann = relay.server.user("ann").await;
    let credential = relay.credential(&ann).await;
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for transport in ["udp", "tcp"] {
        let output = Command::new(root.join("target/python/bin/python"))
            .arg(root.join("tests/clients/aioice_call.py"))
            .args(["127.0.0.1", &relay.port.to_string(), transport])
            .args([&credential.username, &credential.password])
            .output()
            .expect("the Python environment that scripts/setup makes");
        let printed = text(&output.stdout);
        assert!(
            printed.ends_with("heard\n"),
            "{printed}{}",
            text(&output.stderr)
        );
        let candidates = printed
            .lines()
            .filter(|line| line.starts_with("relay 127.0.0.1 "));
        let ports = candidates.map(|line| line.rsplit(' ').next().unwrap().parse::<u16>().unwrap());
        assert_eq!(ports.filter(|port| *port >= 49152).count(), 2, "{printed}");
    }
}

/// Waits for this datagram; who sent it.
async fn hears(end: &impl Conn, expected: &[u8]) -> SocketAddr {
    let mut buffer = [0; 100];
    loop {
        let received = tokio::time::timeout(SOON, end.recv_from(&mut buffer));
        let (count, from) = received.await.expect("a datagram in time").unwrap();
        if &buffer[..count] == expected {
            return from;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_who_is_blocked_in_mid_call_is_cut_off_and_others_are_not() {
    let relay = Relay::start(&[]);
    let ann = relay.server.user("ann").await;
    let bob = relay.server.user("bob").await;
    let (ann_client, ann_end) = relay
        .webrtc_rs(&relay.credential(&ann).await)
        .await
        .unwrap();
    let bobs = relay.credential(&bob).await;
    let (bob_client, bob_end) = relay.webrtc_rs(&bobs).await.unwrap();
    let (of_ann, of_bob) = (ann_end.local_addr().unwrap(), bob_end.local_addr().unwrap());
    assert_eq!(of_bob.ip().to_string(), "127.0.0.1");

    // What is sent before the other side permits it may be lost.
    ann_end.send_to(b"may be lost", of_bob).await.unwrap();
    bob_end.send_to(b"hello", of_ann).await.unwrap();
    assert_eq!(hears(&ann_end, b"hello").await, of_bob);
    ann_end.send_to(b"and you", of_bob).await.unwrap();
    assert_eq!(hears(&bob_end, b"and you").await, of_ann);
    assert_eq!(relay.live().await, 2.0);

    let output = relay.server.command(&["user", "block", "bob"], "");
    assert!(output.status.success());
    let blocked = std::time::Instant::now();
    eventually("bob's allocation ends", || async {
        relay.live().await == 1.0
    })
    .await;
    println!("gone after {:?}", blocked.elapsed());
    UdpSocket::bind(of_bob).expect("his relay port is free");
    assert!(relay.webrtc_rs(&bobs).await.is_err(), "no new one for him");
    relay
        .webrtc_rs(&relay.credential(&ann).await)
        .await
        .expect("one for her");

    let output = relay.server.command(&["user", "delete", "ann"], "");
    assert!(output.status.success(), "{}", text(&output.stderr));
    eventually("ann's allocations end", || async {
        relay.live().await == 0.0
    })
    .await;
    let _ = (ann_client.close().await, bob_client.close().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_lets_calls_end() {
    let Relay { server, port } = Relay::start(&["--turn-drain-seconds=600"]);
    let credential = {
        let ann = server.user("ann").await;
        let (_, json) = ann.get("/api/turn/credentials/").await;
        credential(&json)
    };
    let mut relay = Relay { server, port };
    let (_client, end) = relay.webrtc_rs(&credential).await.unwrap();
    relay.server.signal("TERM");
    let draining = || async { relay.server.log().contains("draining") };
    eventually("the signal is heard", draining).await;
    assert!(relay.webrtc_rs(&credential).await.is_err(), "no new call");
    assert_eq!(relay.live().await, 1.0, "and it still answers");
    end.close().await.unwrap();
    assert_eq!(relay.server.ended().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_no_right_is_refused() {
    let relay = Relay::start(&[]);
    let ann = relay.server.user("ann").await;
    let good = relay.credential(&ann).await;
    let (now, user) = good.username.split_once(':').unwrap();
    let later: u64 = now.parse::<u64>().unwrap() + 1;

    let mut bad = vec![
        (
            "a wrong password",
            good.username.clone(),
            "wrong".to_owned(),
        ),
        (
            "another's name",
            format!("{now}:{}", ann.id + 1),
            good.password.clone(),
        ),
        (
            "a longer life",
            format!("{later}:{user}"),
            good.password.clone(),
        ),
        ("no expiry", user.to_owned(), good.password.clone()),
        ("nobody", String::new(), good.password.clone()),
    ];
    let expiring = relay.printed_credential("ann", "1");
    let expiry: u64 = expiring
        .username
        .split_once(':')
        .unwrap()
        .0
        .parse()
        .unwrap();
    eventually("the credential expires", || async move { unix() >= expiry }).await;
    bad.push(("an expired one", expiring.username, expiring.password));
    for (what, username, password) in bad {
        let credential = Credential { username, password };
        assert!(relay.webrtc_rs(&credential).await.is_err(), "{what}");
    }
    assert_eq!(relay.live().await, 0.0);
    relay.webrtc_rs(&good).await.expect("the right one");

    let listen = format!("--turn-listen=127.0.0.1:{}", relay.port);
    assert!(
        relay
            .server
            .command(&["user", "block", "ann"], "")
            .status
            .success()
    );
    let arguments = ["turn", "credential", "--user", "ann", &listen];
    let output = relay.server.command(&arguments, "");
    assert_eq!(output.status.code(), Some(1));
    let (status, _) = answer(relay.server.request(Method::GET, "/api/turn/credentials/")).await;
    assert_eq!(status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_that_are_not_public_are_refused_by_default() {
    let relay = Relay::start(&[]);
    relay.server.user("ann").await;
    let credential = relay.printed_credential("ann", "600");
    let victim = UdpSocket::bind("127.0.0.1:0").unwrap();
    victim.set_nonblocking(true).unwrap();
    let port = victim.local_addr().unwrap().port().to_string();
    let output = relay.uclient(&credential, &["-c", "-e", "127.0.0.1", "-r", &port]);
    let printed = text(&output.stdout) + &text(&output.stderr);
    assert!(printed.contains("403 (Forbidden)"), "{printed}");
    let heard = victim.recv(&mut [0; 10]).unwrap_err();
    assert_eq!(heard.kind(), std::io::ErrorKind::WouldBlock);
}

#[tokio::test]
async fn a_port_of_the_relay_that_is_taken_is_one_clear_line() {
    let directory = tempfile::tempdir().unwrap();
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let output = moznods(directory.path())
        .args([
            "serve",
            "--http-listen=127.0.0.1:0",
            &format!("--turn-listen={address}"),
        ])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        text(&output.stderr),
        format!(
            "moznods: turn.listen = \"{address}\": UDP: Address already in use (os error 98); expected an address of this \
             machine and a free port\n"
        )
    );
    assert_eq!(
        std::fs::read_dir(directory.path()).unwrap().count(),
        0,
        "nothing is made"
    );
}

fn unix() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.unwrap().as_secs()
}
