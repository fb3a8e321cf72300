//! HTTPS, and the one port by which browsers, sockets and clients of TURN come: curl, OpenSSL, coturn's client.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::Message;

use crate::relay::{Credential, Relay, assert_no_loss, credential};
use crate::relay_reload::{READ, Settings};
use crate::support::{PASSWORD, SOON, Server, eventually, free_port, moznods, text};

/// Certificate and key, as files.
pub struct Files {
    directory: tempfile::TempDir,
}

impl Files {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let files = Files { directory };
        files.renew();
        files
    }

    fn renew(&self) {
        let names = ["localhost", "127.0.0.1"].map(str::to_owned);
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        std::fs::write(self.chain(), made.cert.pem()).unwrap();
        std::fs::write(self.key(), made.signing_key.serialize_pem()).unwrap();
    }

    pub fn chain(&self) -> PathBuf {
        self.directory.path().join("cert.pem")
    }

    pub fn key(&self) -> PathBuf {
        self.directory.path().join("key.pem")
    }
}

/// A server with HTTPS, whose relay is at its own ports, too.
struct Secure {
    relay: Relay,
    files: Files,
    plain: String,
    port: u16,
    tls_port: u16,
}

impl Secure {
    fn start(more: &[&str]) -> Self {
        let files = Files::new();
        let (plain, port, tls_port) = (free_port(), free_port(), free_port());
        let mut arguments = vec![
            format!("--http-listen=127.0.0.1:{plain}"),
            format!("--http-tls-listen=127.0.0.1:{port}"),
            format!("--http-tls-cert={}", files.chain().display()),
            format!("--http-tls-key={}", files.key().display()),
            format!("--turn-tls-listen=127.0.0.1:{tls_port}"),
        ];
        arguments.extend(more.iter().map(|&argument| argument.to_owned()));
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let mut relay = Relay::start(&arguments);
        assert_eq!(relay.server.url, format!("https://127.0.0.1:{port}"));
        // For figures, which are told without TLS as well.
        let plain = format!("http://127.0.0.1:{plain}");
        relay.server.url.clone_from(&plain);
        Secure {
            relay,
            files,
            plain,
            port,
            tls_port,
        }
    }

    fn server(&self) -> &Server {
        &self.relay.server
    }

    fn url(&self, path: &str) -> String {
        format!("https://127.0.0.1:{}{path}", self.port)
    }

    /// What curl prints, which trusts the certificate as it is now.
    fn curl(&self, arguments: &[&str]) -> String {
        let output = Command::new("curl")
            .args(["--silent", "--show-error", "--max-time", "60", "--cacert"])
            .arg(self.files.chain())
            .args(arguments)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    }

    /// Registers by way of the plain port, which leads on, and is signed in.
    fn token(&self) -> String {
        let body = json!({"username": "ann", "email": "ann@example.org", "password": PASSWORD});
        let address = format!("{}/api/auth/register/", self.plain);
        let printed = self.curl(&[
            "--location",
            "--header",
            "Content-Type: application/json",
            "--data",
            &body.to_string(),
            &address,
        ]);
        let json: Value = serde_json::from_str(&printed).unwrap_or_else(|_| panic!("{printed}"));
        json["token"].as_str().unwrap().to_owned()
    }

    fn ice(&self, token: &str) -> Value {
        let header = format!("Authorization: Token {token}");
        let printed = self.curl(&["--header", &header, &self.url("/api/turn/credentials/")]);
        serde_json::from_str(&printed).unwrap()
    }

    /// Who trusts nothing but the certificate as it is now.
    async fn connect(&self, alpn: &[&[u8]]) -> std::io::Result<TlsStream<TcpStream>> {
        connect(&self.files.chain(), "localhost", self.port, alpn).await
    }

    async fn count(&self, protocol: &str) -> f64 {
        let name = format!("moznods_tls_connections_total{{protocol=\"{protocol}\"}}");
        self.relay.metric(&name).await
    }

    /// coturn's client, by TLS at this port.
    fn uclient(&self, port: u16, credential: &Credential, more: &[&str]) -> Command {
        let mut command = Command::new("turnutils_uclient");
        command
            .args(["-S", "-t", "-y", "-p", &port.to_string()])
            .args(["-u", &credential.username, "-w", &credential.password])
            .args(more)
            .arg("127.0.0.1")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }
}

/// Who trusts nothing but the certificate in this file.
pub async fn connect(
    trusted: &Path,
    name: &'static str,
    port: u16,
    alpn: &[&[u8]],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(trusted).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let name = name.try_into().unwrap();
    TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
}

/// RFC 8489 §5: a Binding request.
const BINDING: [u8; 20] = *b"\x00\x01\x00\x00\x21\x12\xa4\x42twelve bytes";
/// And the head of the answer.
const BOUND: [u8; 2] = [1, 1];

#[tokio::test(flavor = "multi_thread")]
async fn one_port_serves_the_web_sockets_and_turn() {
    let secure = Secure::start(&[]);
    let token = secure.token();

    // HTTP, as the client would have it.
    let said = "%{http_version} %{http_code} %{header_json}";
    let config = secure.url("/api/config/");
    for (how, version) in [("--http1.1", "1.1"), ("--http2", "2"), ("--no-alpn", "1.1")] {
        let printed = secure.curl(&[how, "--output", "/dev/null", "--write-out", said, &config]);
        assert!(
            printed.starts_with(&format!("{version} 200 ")),
            "{how}: {printed}"
        );
        assert!(printed.contains("max-age=31536000"), "{how}: {printed}");
    }
    let address = secure.curl(&["--http2", &secure.url("/config.js")]);
    assert!(address.contains(&secure.url("")), "{address}");

    // Sockets, for which browsers ask for HTTP/1.1.
    for alpn in [&[&b"http/1.1"[..]][..], &[]] {
        let stream = secure.connect(alpn).await.unwrap();
        let url = format!("wss://127.0.0.1:{}/ws/?token={token}", secure.port);
        let (mut socket, _) = tokio_tungstenite::client_async(url, stream).await.unwrap();
        socket
            .send(Message::text(r#"{"type":"ping"}"#))
            .await
            .unwrap();
        let answered = async {
            while socket.next().await.unwrap().unwrap().to_text().unwrap() != r#"{"type":"pong"}"# {
            }
        };
        tokio::time::timeout(SOON, answered).await.unwrap();
    }

    // TURN: as OpenSSL does, with a name for it and without any; and as coturn's client, which knows no names.
    for named in [
        &["-alpn", "stun.turn"][..],
        &["-alpn", "stun.nat-discovery"],
        &[],
    ] {
        let mut client = Command::new("openssl")
            .args(["s_client", "-quiet", "-connect"])
            .arg(format!("127.0.0.1:{}", secure.port))
            .args(named)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut stdin = client.stdin.take().unwrap();
        stdin.write_all(&BINDING).unwrap();
        let mut answer = [0; 20];
        std::io::Read::read_exact(client.stdout.as_mut().unwrap(), &mut answer).unwrap();
        assert_eq!(answer[..2], BOUND, "{named:?}");
        assert_eq!(answer[4..], BINDING[4..], "{named:?}");
        client.kill().unwrap();
        client.wait().unwrap();
    }
    let ice = secure.ice(&token);
    let turn = secure.relay.port;
    let ways = json!([
        format!("turn:127.0.0.1:{turn}?transport=udp"),
        format!("turn:127.0.0.1:{turn}?transport=tcp"),
        format!("turns:127.0.0.1:{}?transport=tcp", secure.port),
        format!("turns:127.0.0.1:{}?transport=tcp", secure.tls_port),
    ]);
    assert_eq!(ice["uris"], ways);
    assert_eq!(ice["iceServers"][1]["urls"], ways);
    let credential = credential(&ice);
    for port in [secure.port, secure.tls_port] {
        let output = secure.uclient(port, &credential, &[]).output().unwrap();
        assert_no_loss(&output);
    }
    // Whoever names what is not spoken hears so.
    let refused = secure.connect(&[b"imap"]).await.unwrap_err();
    assert!(
        refused.to_string().contains("NoApplicationProtocol"),
        "{refused}"
    );

    for protocol in ["http/1.1", "h2", "turn", "failed"] {
        assert!(secure.count(protocol).await > 0.0, "{protocol}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_plain_port_leads_to_https() {
    let secure = Secure::start(&["--http-hsts-days=0"]);
    let asked = format!("{}/api/config/?a=b", secure.plain);
    let printed = secure.curl(&["--include", &asked]);
    assert!(printed.starts_with("HTTP/1.1 308 "), "{printed}");
    let location = format!("location: {}\r\n", secure.url("/api/config/?a=b"));
    assert!(printed.contains(&location), "{printed}");
    let all = secure.curl(&["--include", &asked, &secure.url("/api/config/")]);
    assert!(
        !all.to_lowercase().contains("strict-transport-security"),
        "{all}"
    );
    // For who looks after the server.
    for path in ["/healthz", "/readyz", "/metrics"] {
        let printed = secure.curl(&["--include", &format!("{}{path}", secure.plain)]);
        assert!(printed.starts_with("HTTP/1.1 200 "), "{path}: {printed}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_changes_is_shown_to_newcomers_and_disturbs_nobody() {
    let secure = Secure::start(&[]);
    let token = secure.token();
    let credential = credential(&secure.ice(&token));
    let stream = secure.connect(&[b"http/1.1"]).await.unwrap();
    let url = format!("wss://127.0.0.1:{}/ws/?token={token}", secure.port);
    let (mut socket, _) = tokio_tungstenite::client_async(url, stream).await.unwrap();
    // 200 messages in ten seconds.
    let calls = [secure.port, secure.tls_port].map(|port| {
        let mut client = secure.uclient(port, &credential, &["-n", "200", "-z", "50"]);
        client.spawn().unwrap()
    });
    eventually("calls are relayed", || async {
        secure.relay.live().await >= 2.0
    })
    .await;

    secure.files.renew();
    eventually("the new certificate is shown", || async {
        secure.connect(&[b"http/1.1"]).await.is_ok()
    })
    .await;
    socket
        .send(Message::text(r#"{"type":"ping"}"#))
        .await
        .unwrap();
    let answered = async {
        while socket.next().await.unwrap().unwrap().to_text().unwrap() != r#"{"type":"pong"}"# {}
    };
    tokio::time::timeout(SOON, answered).await.unwrap();
    for call in calls {
        assert_no_loss(&call.wait_with_output().unwrap());
    }

    // Half a renewal is none.
    let good = std::fs::read(secure.files.key()).unwrap();
    std::fs::write(secure.files.key(), "rubbish").unwrap();
    let refused = || async {
        secure
            .server()
            .log()
            .contains("the certificate stays as it was")
    };
    eventually("a bad one is refused", refused).await;
    secure.connect(&[]).await.unwrap();
    std::fs::write(secure.files.key(), good).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_shake_hands_or_says_nothing_is_dropped() {
    let secure = Secure::start(&[]);
    let mut mute = TcpStream::connect(("127.0.0.1", secure.port))
        .await
        .unwrap();
    let mut shaken = secure.connect(&[]).await.unwrap();
    let mut byte = [0];
    let patience = 5 * SOON;
    let first = tokio::time::timeout(patience, mute.read(&mut byte)).await;
    assert_eq!(first.unwrap().unwrap_or(0), 0);
    let second = tokio::time::timeout(patience, shaken.read(&mut byte)).await;
    assert_eq!(second.unwrap().unwrap_or(0), 0);
    assert_eq!(secure.count("failed").await, 2.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_has_so_many_connections_over_tls_too() {
    let secure = Secure::start(&["--limits-enabled=true"]);
    let mut open = Vec::new();
    for _ in 0..256 {
        open.push(
            TcpStream::connect(("127.0.0.1", secure.port))
                .await
                .unwrap(),
        );
    }
    let refused = || async {
        let mut one_more = TcpStream::connect(("127.0.0.1", secure.port))
            .await
            .unwrap();
        let read = tokio::time::timeout(Duration::from_secs(1), one_more.read(&mut [0])).await;
        read.is_ok_and(|count| count.unwrap_or(0) == 0)
    };
    eventually("one more is closed", refused).await;
    open.clear();
    eventually("there is room again", || async {
        secure.connect(&[]).await.is_ok()
    })
    .await;
}

#[test]
fn a_certificate_of_https_that_cannot_be_used_is_one_clear_line() {
    let directory = tempfile::tempdir().unwrap();
    let start = |arguments: &[&str]| {
        let output = moznods(directory.path())
            .args(["serve", "--http-listen=127.0.0.1:0", "--turn-enabled=false"])
            .args(arguments)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2));
        text(&output.stderr)
    };
    let error = start(&["--http-tls-cert=missing.pem", "--http-tls-key=key.pem"]);
    assert!(
        error.starts_with("moznods: http.tls_cert, http.tls_key: missing.pem: "),
        "{error}"
    );
    assert_eq!(error.lines().count(), 1, "{error}");
    let error = start(&["--http-tls-key=key.pem"]);
    assert_eq!(
        error,
        "moznods: http.tls_cert = \"\" (default): expected a PEM file, since http.tls_key is set\n"
    );
    assert_eq!(
        std::fs::read_dir(Path::new(directory.path()))
            .unwrap()
            .count(),
        0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_by_the_port_of_https_outlive_new_settings_and_end_before_the_server_does() {
    let settings = Settings::new("");
    let mut secure = Secure::start(&[&settings.flag(), "--turn-drain-seconds=600"]);
    let token = secure.token();
    let credential = credential(&secure.ice(&token));
    let stream = secure.connect(&[b"http/1.1"]).await.unwrap();
    let url = format!("wss://127.0.0.1:{}/ws/?token={token}", secure.port);
    let (mut socket, _) = tokio_tungstenite::client_async(url, stream).await.unwrap();
    let mut pong = async || {
        socket
            .send(Message::text(r#"{"type":"ping"}"#))
            .await
            .unwrap();
        while socket.next().await.unwrap().unwrap().to_text().unwrap() != r#"{"type":"pong"}"# {}
    };
    // Some ten seconds.
    let call = secure.uclient(secure.port, &credential, &["-n", "200", "-z", "50"]);
    let call = { call }.spawn().unwrap();
    eventually("a call is relayed", || async {
        secure.relay.live().await >= 2.0
    })
    .await;

    settings
        .reload(
            secure.server(),
            "max_bytes_per_second_per_user = 10000000",
            READ,
        )
        .await;
    tokio::time::timeout(SOON, pong()).await.unwrap();

    secure.server().signal("TERM");
    let draining = || async { secure.server().log().contains("draining") };
    eventually("the signal is heard", draining).await;
    // Those who are here go on; nobody begins a call.
    tokio::time::timeout(SOON, pong()).await.unwrap();
    let refused = secure
        .uclient(secure.port, &credential, &["-c", "-n", "1"])
        .output()
        .unwrap();
    let said = text(&refused.stdout) + &text(&refused.stderr);
    assert!(said.contains("508"), "{said}");
    assert_no_loss(&call.wait_with_output().unwrap());
    let status = secure.relay.server.ended().await;
    assert!(status.success(), "{status}");
}
