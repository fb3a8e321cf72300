//! The relay and who may use it, with coturn's and webrtc-rs's clients and credentials from the command line and from
//! the API. How other people's clients fare over each transport is left to `foreign`.

use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use ring::hmac;
use serde_json::{Value, json};
use turn::client::{Client, ClientConfig};
use webrtc_util::Conn;

use crate::support::{PASSWORD, SOON, Server, User, answer, eventually, free_port, moznods, text};

/// A server that relays on loopback, reachable at `port`.
pub struct Relay {
    pub server: Server,
    pub port: u16,
}

/// A client that is ended with the test.
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub struct Credential {
    pub username: String,
    pub password: String,
}

impl Relay {
    pub fn start(arguments: &[&str]) -> Self {
        Self::start_in(arguments, &[])
    }

    /// As [`Self::start`], with these in the server's environment.
    pub fn start_in(arguments: &[&str], environment: &[(&'static str, PathBuf)]) -> Self {
        let port = free_port();
        let listen = format!("--turn-listen=127.0.0.1:{port}");
        let mut all = vec!["--turn-enabled=true"];
        for default in [&*listen, "--turn-external-ip=127.0.0.1"] {
            let (name, _) = default.split_once('=').unwrap();
            if !arguments.iter().any(|argument| argument.starts_with(name)) {
                all.push(default);
            }
        }
        all.extend(arguments);
        Relay {
            server: Server::start_in(&all, environment),
            port,
        }
    }

    /// From the API.
    pub async fn credential(&self, user: &User<'_>) -> Credential {
        let (status, json) = user.get("/api/turn/credentials/").await;
        assert_eq!(status, 200, "{json}");
        credential(&json)
    }

    /// From the command line.
    pub fn printed_credential(&self, user: &str, ttl: &str) -> Credential {
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
    pub fn coturn(&self, program: &str, arguments: &[&str]) -> Output {
        Command::new(program)
            .args(["-p", &self.port.to_string()])
            .args(arguments)
            .arg("127.0.0.1")
            .output()
            .unwrap_or_else(|error| panic!("{program}, of Debian's package coturn: {error}"))
    }

    pub fn uclient(&self, credential: &Credential, arguments: &[&str]) -> Output {
        let mut all = vec!["-u", &credential.username, "-w", &credential.password];
        all.extend(arguments);
        self.coturn("turnutils_uclient", &all)
    }

    pub async fn webrtc_rs(
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

    pub async fn metric(&self, name: &str) -> f64 {
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

    pub async fn live(&self) -> f64 {
        self.metric("moznods_turn_allocations").await
    }
}

pub fn credential(json: &Value) -> Credential {
    let text = |key: &str| json[key].as_str().unwrap().to_owned();
    Credential {
        username: text("username"),
        password: text("password"),
    }
}

/// Something was sent, and all of it came back.
pub fn assert_no_loss(output: &Output) {
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
    assert_no_loss(&relay.uclient(&credential, &["-y"]));
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
async fn programs_are_told_what_they_need() {
    let server = Server::start(&[]);
    let settings = [
        "--public-url=https://chat.example.org",
        "--turn-listen=[::]:3478",
        "--turn-tls-listen=[::]:5350",
        "--turn-tls-cert=cert.pem",
        "--turn-tls-key=key.pem",
    ];
    let printed = |arguments: &[&str]| {
        let all = [&["turn", "secret"], arguments, &settings].concat();
        let output = server.command(&all, "");
        assert!(output.status.success(), "{output:?}");
        text(&output.stdout)
    };
    let tls = "turns:chat.example.org:5350?transport=tcp";
    for (program, lines) in [
        (
            "synapse",
            &[
                "turn_shared_secret: \"SECRET\"",
                "  - \"turn:chat.example.org:3478?transport=udp\"",
            ][..],
        ),
        (
            "nextcloud",
            &[
                "php occ talk:turn:add turn chat.example.org:3478 udp,tcp --secret=SECRET",
                "php occ talk:turn:add turns chat.example.org:5350 tcp --secret=SECRET",
            ],
        ),
        (
            "jitsi",
            &[
                "external_service_secret = \"SECRET\"",
                "  { type = \"turns\", host = \"chat.example.org\", port = 5350, transport = \"tcp\", secret = true, \
                 ttl = 86400, algorithm = \"turn\" };",
            ],
        ),
        (
            "prosody",
            &[
                "turn_external_secret = \"SECRET\"",
                "turn_external_tls_port = 5350",
            ],
        ),
        ("mattermost", &["TURN Static Auth Secret: SECRET"]),
    ] {
        let added = printed(&["add", program, "--for", program]);
        let secret = added.split_whitespace().last().unwrap();
        for line in lines {
            let line = line.replace("SECRET", secret);
            assert!(
                added.lines().any(|found| found == line),
                "{line}\nin\n{added}"
            );
        }
        let names_tls = added.contains(tls) || added.contains("5350");
        assert!(names_tls, "{added}");
        let rotated = printed(&["rotate", program, "--for", program]);
        let new = rotated.split_whitespace().last().unwrap();
        assert!(
            new != secret && rotated.matches(new).count() >= 2,
            "{rotated}"
        );
        assert!(!rotated.contains(secret), "{rotated}");
    }
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

/// Of the TURN REST draft.
pub fn rest_password(secret: &str, username: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.as_bytes());
    STANDARD.encode(hmac::sign(&key, username.as_bytes()))
}

/// Programs write the expiry first, last or alone.
#[tokio::test(flavor = "multi_thread")]
async fn usernames_of_other_programs_are_read_in_each_order() {
    let relay = Relay::start(&[]);
    let output = relay
        .server
        .command(&["turn", "secret", "add", "cloud"], "");
    let printed = text(&output.stdout);
    let secret = printed.split_whitespace().last().unwrap();
    let credential = |username: String| Credential {
        password: rest_password(secret, &username),
        username,
    };
    let (later, before) = (unix() + 3600, unix() - 1);
    let forms: [fn(u64) -> String; 4] = [
        |expiry| format!("{expiry}:bob"),
        |expiry| format!("{expiry}"),
        |expiry| format!("bob:{expiry}"),
        |expiry| format!("{expiry}:@bob:example.org"),
    ];
    eventually("the secret is taken", || async {
        relay.webrtc_rs(&credential(forms[0](later))).await.is_ok()
    })
    .await;
    for form in forms {
        let made = relay.webrtc_rs(&credential(form(later))).await;
        assert!(made.is_ok(), "{}", form(later));
        let made = relay.webrtc_rs(&credential(form(before))).await;
        assert!(made.is_err(), "{}", form(before));
        // The name is what the password is of: no other time can be written into it.
        let stolen = Credential {
            username: form(later + 1),
            ..credential(form(later))
        };
        assert!(relay.webrtc_rs(&stolen).await.is_err(), "{}", form(later));
    }
}

/// Waits for this datagram; who sent it.
pub async fn hears(end: &impl Conn, expected: &[u8]) -> SocketAddr {
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
async fn who_is_signed_out_everywhere_relays_no_more_by_what_he_had_and_at_once_by_what_he_gets() {
    let relay = Relay::start(&["--turn-workers=2"]);
    let ann = relay.server.user("ann").await;
    let bob = relay.server.user("bob").await;
    let (_bobs, _bobs_end) = relay
        .webrtc_rs(&relay.credential(&bob).await)
        .await
        .unwrap();
    let login = || async {
        let body = json!({"username": "ann", "password": PASSWORD});
        let request = relay
            .server
            .request(Method::POST, "/api/auth/login/")
            .json(&body);
        let (status, login) = answer(request).await;
        assert_eq!(status, 200, "{login}");
        login["token"].as_str().unwrap().to_owned()
    };
    let fresh_credential = |token: String| {
        let request = relay.server.request(Method::GET, "/api/turn/credentials/");
        let request = request.header("Authorization", format!("Token {token}"));
        async { credential(&answer(request).await.1) }
    };

    let mut token = ann.token.clone();
    let mut void = Vec::new();
    for by in ["the API", "a new password", "logout", "passwd", "block"] {
        let credential = fresh_credential(token.clone()).await;
        // coturn's client leaves its allocation behind when it is killed; by TCP that ends with the connection.
        let mut calls = Vec::new();
        for transport in [&["-y", "-c"][..], &["-y", "-c", "-t"]] {
            let mut client = Command::new("turnutils_uclient");
            client.args(["-p", &relay.port.to_string(), "-u", &credential.username]);
            client.args(["-w", &credential.password, "-n", "100000"]);
            client.args(transport).arg("127.0.0.1");
            calls.push(Running(client.stdout(Stdio::null()).spawn().unwrap()));
        }
        eventually("ann's calls run", || async { relay.live().await >= 5.0 }).await;
        match by {
            "the API" => {
                let request = relay.server.request(Method::POST, "/api/auth/logout-all/");
                let request = request.header("Authorization", format!("Token {token}"));
                assert_eq!(answer(request).await.0, 204);
                // Nothing to wait for: the answer comes when it is so.
                let again = fresh_credential(login().await).await;
                let made = relay.webrtc_rs(&again).await;
                let (client, end) = made.expect("a new one is good at once");
                let _ = (end.close().await, client.close().await);
            }
            "a new password" => {
                let request = relay.server.request(Method::POST, "/api/auth/password/");
                let request = request.header("Authorization", format!("Token {token}"));
                let body = json!({"current_password": PASSWORD, "new_password": PASSWORD});
                assert_eq!(answer(request.json(&body)).await.0, 204);
                let again = fresh_credential(token.clone()).await;
                let made = relay.webrtc_rs(&again).await;
                let (client, end) = made.expect("a new one is good at once");
                let _ = (end.close().await, client.close().await);
            }
            command => {
                let arguments = ["user", command, "ann"];
                let output = relay.server.command(&arguments, PASSWORD);
                assert!(output.status.success(), "{}", text(&output.stderr));
            }
        }
        eventually("ann's allocations end", || async {
            relay.live().await <= 2.0
        })
        .await;
        drop(calls);
        void.push(credential);
        for old in &void {
            assert!(relay.webrtc_rs(old).await.is_err(), "void after {by}");
        }
        if by == "block" {
            relay.server.command(&["user", "unblock", "ann"], "");
        }
        token = login().await;
        let credential = fresh_credential(token.clone()).await;
        let new = async || match relay.webrtc_rs(&credential).await {
            Ok((client, end)) => end.close().await.is_ok() && client.close().await.is_ok(),
            Err(_) => false,
        };
        eventually("a new one is good", new).await;
        eventually("bob's alone is left", || async {
            relay.live().await == 1.0
        })
        .await;
    }
    let printed = relay.printed_credential("ann", "600");
    relay
        .webrtc_rs(&printed)
        .await
        .expect("the command line knows the epoch");
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
async fn a_call_outlasts_its_credential_unless_expiry_is_strict() {
    let lenient = Relay::start(&[]);
    let strict = Relay::start(&["--turn-strict-expiry=true"]);
    let mut calls = Vec::new();
    let mut expiries = Vec::new();
    for relay in [&lenient, &strict] {
        relay.server.user("ann").await;
        let credential = relay.printed_credential("ann", "8");
        let (expiry, _) = credential.username.split_once(':').unwrap();
        expiries.push(expiry.parse::<u64>().unwrap());
        calls.push((relay.webrtc_rs(&credential).await.unwrap(), credential));
        assert_eq!(relay.live().await, 1.0);
    }
    eventually("the strict one ends", || async {
        strict.live().await == 0.0
    })
    .await;
    assert!(unix() + 1 >= expiries[1], "not before its time");
    eventually("the credentials expire", || async {
        unix() > *expiries.iter().max().unwrap()
    })
    .await;
    assert_eq!(lenient.live().await, 1.0);
    for (relay, (_, credential)) in [&lenient, &strict].into_iter().zip(&calls) {
        assert!(relay.webrtc_rs(credential).await.is_err(), "a new call");
    }
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
