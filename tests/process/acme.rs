//! Certificates by ACME, from Pebble: Let's Encrypt's own server for tests, of Debian's package pebble.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

use crate::https::{Files, connect};
use crate::relay::{Credential, Relay, Running, assert_no_loss};
use crate::support::{PASSWORD, SOON, eventually, free_port, text};

const DOMAIN: &str = "chat.example.org";

/// An authority that comes to these ports, at an address for every name: this machine's.
struct Pebble {
    server: Option<Running>,
    _names: Running,
    files: Files,
    port: u16,
    management: u16,
}

impl Pebble {
    /// Certificates live for so many seconds.
    async fn start(http: u16, tls: u16, life: u32) -> Self {
        let files = Files::new();
        let (port, management, names) = (free_port(), free_port(), free_port());
        let config = json!({"pebble": {
            "listenAddress": format!("127.0.0.1:{port}"),
            "managementListenAddress": format!("127.0.0.1:{management}"),
            "certificate": files.chain(),
            "privateKey": files.key(),
            "httpPort": http,
            "tlsPort": tls,
            "certificateValidityPeriod": life,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": false,
        }});
        let file = files.chain().with_file_name("pebble.json");
        std::fs::write(&file, config.to_string()).unwrap();
        let quiet = |command: &mut Command| {
            let started = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
            Running(started.expect("Debian's package pebble"))
        };
        let nowhere = ["-http01=", "-https01=", "-tlsalpn01=", "-defaultIPv6="];
        let names_server = quiet(
            Command::new("pebble-challtestsrv")
                .args(nowhere)
                .arg(format!("-dns01=127.0.0.1:{names}"))
                .arg(format!("-management=127.0.0.1:{}", free_port())),
        );
        let server = quiet(
            Command::new("pebble")
                .arg(format!("-config={}", file.display()))
                .arg(format!("-dnsserver=127.0.0.1:{names}"))
                // No waiting for its own sake, and no certificate without a challenge.
                .env("PEBBLE_VA_NOSLEEP", "1")
                .env("PEBBLE_AUTHZREUSE", "0"),
        );
        let pebble = Pebble {
            server: Some(server),
            _names: names_server,
            files,
            port,
            management,
        };
        eventually("Pebble answers", || async {
            TcpStream::connect(("127.0.0.1", port)).await.is_ok()
                && TcpStream::connect(("127.0.0.1", management)).await.is_ok()
        })
        .await;
        pebble
    }

    fn directory(&self) -> String {
        format!("https://localhost:{}/dir", self.port)
    }

    /// The authority that signs, as a file.
    fn root(&self) -> PathBuf {
        let file = self.files.chain().with_file_name("root.pem");
        let url = format!("https://localhost:{}/roots/0", self.management);
        let output = Command::new("curl")
            .args(["--silent", "--show-error", "--cacert"])
            .arg(self.files.chain())
            .arg("--output")
            .arg(&file)
            .arg(url)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        file
    }

    /// A server that has its certificate from here.
    fn serve(&self, ports: &Ports, more: &[&str]) -> Relay {
        let mut arguments = vec![
            format!("--domain={DOMAIN}"),
            // By which the tests find it.
            format!("--public-url=https://127.0.0.1:{}", ports.tls),
            format!("--acme-directory={}", self.directory()),
            format!("--http-listen=127.0.0.1:{}", ports.http),
            format!("--http-tls-listen=127.0.0.1:{}", ports.tls),
            format!("--turn-tls-listen=127.0.0.1:{}", ports.turn),
        ];
        arguments.extend(more.iter().map(|&argument| argument.to_owned()));
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        // Whom the machine trusts, for the server's requests.
        let mut relay = Relay::start_in(&arguments, &[("SSL_CERT_FILE", self.files.chain())]);
        relay.server.url = format!("http://127.0.0.1:{}", ports.http);
        relay
    }
}

struct Ports {
    http: u16,
    tls: u16,
    turn: u16,
}

impl Ports {
    fn free() -> Self {
        Ports {
            http: free_port(),
            tls: free_port(),
            turn: free_port(),
        }
    }
}

/// Serial number of the certificate that is shown at a port to who trusts this authority alone.
async fn serial(root: &Path, port: u16) -> Option<Vec<u8>> {
    let stream = connect(root, DOMAIN, port, &[]).await.ok()?;
    let chain = stream.get_ref().1.peer_certificates()?;
    let (_, own) = x509_parser::parse_x509_certificate(chain.first()?).ok()?;
    Some(own.raw_serial().to_vec())
}

/// By the name that the certificate has.
fn register(root: &Path, port: u16) -> String {
    let body = json!({"username": "ann", "email": "ann@example.org", "password": PASSWORD});
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--max-time", "60", "--cacert"])
        .arg(root)
        .arg("--resolve")
        .arg(format!("{DOMAIN}:{port}:127.0.0.1"))
        .args(["--header", "Content-Type: application/json", "--data"])
        .arg(body.to_string())
        .arg(format!("https://{DOMAIN}:{port}/api/auth/register/"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    json["token"].as_str().unwrap().to_owned()
}

fn mode(file: &Path) -> u32 {
    std::fs::metadata(file).unwrap().permissions().mode() & 0o777
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_had_by_either_challenge_and_kept() {
    for challenge in ["tls-alpn-01", "http-01"] {
        let ports = Ports::free();
        let mut pebble = Pebble::start(ports.http, ports.tls, 3600).await;
        let root = pebble.root();
        let chosen = format!("--acme-challenge={challenge}");
        let mut relay = pebble.serve(&ports, &[&chosen, "--acme-contact=mailto:ann@example.org"]);
        eventually("there is a certificate", || async {
            serial(&root, ports.tls).await.is_some()
        })
        .await;
        let had = serial(&root, ports.tls).await;
        assert_eq!(
            serial(&root, ports.turn).await,
            had,
            "the relay shows the same"
        );
        assert!(
            relay
                .server
                .log()
                .contains(&format!("challenge=\"{challenge}\""))
        );
        // It is shown before it is kept and counted.
        eventually("it is kept", || async {
            let obtained = "moznods_acme_attempts_total{result=\"obtained\"}";
            relay.metric(obtained).await == 1.0
        })
        .await;
        assert!(
            relay
                .metric("moznods_acme_certificate_expiry_seconds")
                .await
                > 0.0
        );

        // For nobody else to read.
        let kept = relay.server.directory().join("data/acme");
        let kept = kept.join(format!("localhost_{}", pebble.port));
        assert_eq!(mode(&kept), 0o700);
        for file in [format!("{DOMAIN}.pem"), "account.json".to_owned()] {
            let file = kept.join(file);
            assert_eq!(mode(&file), 0o600);
            let secret = std::fs::read_to_string(file).unwrap();
            let part = &secret[secret.len() / 2 - 10..secret.len() / 2 + 10];
            assert!(!relay.server.log().contains(part), "no secret in the log");
        }
        // It needs nobody to show it again.
        pebble.server = None;
        relay.server.crash_and_restart();
        assert_eq!(serial(&root, ports.tls).await, had);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_renewed_and_nobody_is_disturbed() {
    let ports = Ports::free();
    let pebble = Pebble::start(ports.http, ports.tls, 45).await;
    let root = pebble.root();
    let relay = pebble.serve(&ports, &[]);
    eventually("there is a certificate", || async {
        serial(&root, ports.tls).await.is_some()
    })
    .await;
    let token = register(&root, ports.tls);
    let credential = relay.printed_credential("ann", "600");

    // Longer than it takes to the next certificate: 45 seconds.
    let calls = [ports.tls, ports.turn].map(|port| call(port, &credential, "900"));
    eventually("calls are relayed", || async { relay.live().await >= 2.0 }).await;
    let stream = connect(&root, DOMAIN, ports.tls, &[b"http/1.1"])
        .await
        .unwrap();
    let url = format!("wss://{DOMAIN}:{}/ws/?token={token}", ports.tls);
    let (mut socket, _) = tokio_tungstenite::client_async(url, stream).await.unwrap();
    let first = serial(&root, ports.tls).await;
    let renewed = || async {
        let now = serial(&root, ports.tls).await;
        now.is_some() && now != first && serial(&root, ports.turn).await == now
    };
    within(6 * SOON, "another one", renewed).await;
    socket.send(Message::Ping("still".into())).await.unwrap();
    let answered = async {
        while !matches!(socket.next().await, Some(Ok(Message::Pong(said))) if &said[..] == b"still")
        {
        }
    };
    tokio::time::timeout(SOON, answered).await.unwrap();
    for call in calls {
        assert_no_loss(&call.wait_with_output().unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_work_is_said_and_tried_again() {
    // The authority comes to a port of TLS where nobody is.
    let ports = Ports::free();
    let pebble = Pebble::start(ports.http, free_port(), 3600).await;
    let root = pebble.root();
    let relay = pebble.serve(&ports, &["--acme-challenge=tls-alpn-01"]);
    let said = "expected port 443 of chat.example.org to lead to http.tls_listen";
    eventually("the failure is said", || async {
        relay.server.log().contains(said)
    })
    .await;
    assert!(relay.server.log().contains("next_attempt_seconds=120"));
    assert!(serial(&root, ports.tls).await.is_none());
    let failed = || relay.metric("moznods_acme_attempts_total{result=\"failed\"}");
    assert_eq!(failed().await, 1.0);
    relay.server.signal("HUP");
    eventually("it is tried again at once", || async {
        failed().await == 2.0
    })
    .await;
    drop(relay);

    // With another challenge it needs no second word.
    let relay = pebble.serve(&ports, &[]);
    eventually("there is a certificate", || async {
        serial(&root, ports.tls).await.is_some()
    })
    .await;
    assert_eq!(
        relay
            .metric("moznods_acme_attempts_total{result=\"failed\"}")
            .await,
        1.0
    );
}

fn call(port: u16, credential: &Credential, messages: &str) -> std::process::Child {
    Command::new("turnutils_uclient")
        .args(["-S", "-t", "-y", "-z", "50", "-n", messages])
        .args(["-p", &port.to_string()])
        .args(["-u", &credential.username, "-w", &credential.password])
        .arg("127.0.0.1")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

async fn within<F: Future<Output = bool>>(
    wait: Duration,
    what: &str,
    mut condition: impl FnMut() -> F,
) {
    let waited = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let done = tokio::time::timeout(wait, waited).await;
    assert!(done.is_ok(), "not in time: {what}");
}
