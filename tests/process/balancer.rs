//! Behind HAProxy, which passes connections on as they are and says by the PROXY protocol whose each is: who is seen, and
//! what becomes of bytes that are no such header.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Command, Stdio};

use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::https::Files;
use crate::relay::{Credential, Relay, Running, assert_no_loss, credential};
use crate::relay_admin::printed;
use crate::support::{PASSWORD, SOON, Server, answer, eventually, free_port};

/// A client whose address is not that of the balancer.
const CLIENT: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
/// Another, of another network.
const OTHER: Ipv4Addr = Ipv4Addr::new(127, 0, 9, 3);
const BALANCER: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// Where clients come to HAProxy, how it listens, and how it passes them on: to a port of 127.0.0.1, by `send-proxy…`.
struct Front<'a> {
    bind: String,
    to: u16,
    how: &'a str,
}

/// HAProxy, which connects from [`BALANCER`].
async fn haproxy(directory: &Path, fronts: &[Front<'_>]) -> Running {
    let mut config =
        "defaults\n mode tcp\n timeout connect 1m\n timeout client 2m\n timeout server 2m\n"
            .to_owned();
    for (number, Front { bind, to, how }) in fronts.iter().enumerate() {
        config.push_str(&format!(
            "listen front{number}\n bind {bind}\n server one 127.0.0.1:{to} {how}\n"
        ));
    }
    let file = directory.join("haproxy.cfg");
    std::fs::write(&file, config).unwrap();
    // Debian keeps it from the path of those who are not root.
    let program = ["/usr/sbin/haproxy", "haproxy"];
    let program = program.iter().find(|name| Path::new(name).exists());
    let child = Command::new(program.unwrap_or(&"haproxy"))
        .args(["-db", "-q", "-f"])
        .arg(&file)
        .spawn()
        .expect("haproxy, of Debian's package of this name");
    let running = Running(child);
    for front in fronts {
        let at = front.bind.split(' ').next().unwrap();
        let listens = || async { TcpStream::connect(at).await.is_ok() };
        eventually("HAProxy listens", listens).await;
    }
    running
}

/// Asks as somebody at this address would.
fn http(from: impl Into<IpAddr>) -> reqwest::Client {
    let client = reqwest::Client::builder().local_address(from.into());
    client.build().unwrap()
}

async fn connect(from: Ipv4Addr, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((from, 0).into()).unwrap();
    socket.connect(to).await.unwrap()
}

fn at(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// Everything that the other side says before it closes.
async fn all_of(stream: &mut TcpStream) -> String {
    let mut said = Vec::new();
    // It may be reset, which is an end as well.
    let read = stream.read_to_end(&mut said);
    let _ = tokio::time::timeout(3 * SOON, read).await.expect("an end");
    String::from_utf8_lossy(&said).into_owned()
}

const HEALTH: &str = "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_to_a_balancer_is_who_is_seen() {
    let (plain, v1, v2, v6, tls) = (
        free_port(),
        free_port(),
        free_port(),
        free_port(),
        free_port(),
    );
    let mut server = Server::start(&[
        &format!("--http-listen=127.0.0.1:{plain}"),
        "--http-proxy-protocol=127.0.0.1",
        "--http-trusted-proxies=127.0.0.1",
        "--limits-enabled=true",
    ]);
    let files = Files::new();
    let both = files.chain().with_file_name("both.pem");
    let pem = [files.chain(), files.key()].map(|file| std::fs::read_to_string(file).unwrap());
    std::fs::write(&both, pem.concat()).unwrap();
    let front = |bind: String, how| Front {
        bind,
        to: plain,
        how,
    };
    let _haproxy = haproxy(
        server.directory(),
        &[
            front(format!("127.0.0.1:{v1}"), "send-proxy"),
            front(format!("127.0.0.1:{v2}"), "send-proxy-v2"),
            front(format!("[::1]:{v6}"), "send-proxy-v2"),
            front(
                format!("127.0.0.1:{tls} ssl crt {}", both.display()),
                "send-proxy-v2-ssl",
            ),
        ],
    )
    .await;
    server.url = format!("http://127.0.0.1:{v1}");
    let ann = server.user("ann").await;
    assert!(
        server
            .command(&["user", "admin", "ann"], "")
            .status
            .success()
    );
    let bob = server.user("bob").await;

    // What the log of acts says of where they were done, whatever the client writes before the balancer.
    let act = async |url: String, from: IpAddr| {
        let path = format!("{url}/api/admin/users/{}/reset-link/", bob.id);
        let request = http(from)
            .post(path)
            .header("Authorization", format!("Token {}", ann.token))
            .header("X-Forwarded-For", "203.0.113.9");
        let (status, link) = answer(request).await;
        assert_eq!(status, 200, "{link}");
        let log: Value = serde_json::from_str(&printed(&server, &["audit", "--json"])).unwrap();
        let address = log[0]["address"].as_str();
        address.unwrap_or_else(|| panic!("{log}")).to_owned()
    };
    let v6_url = format!("http://[::1]:{v6}");
    assert_eq!(act(server.url.clone(), CLIENT.into()).await, "127.0.0.2");
    let v2_url = format!("http://127.0.0.1:{v2}");
    assert_eq!(act(v2_url.clone(), OTHER.into()).await, "127.0.9.3");
    assert_eq!(act(v6_url, "::1".parse().unwrap()).await, "::1");
    // A proxy that is believed, behind a balancer.
    assert_eq!(act(v2_url.clone(), BALANCER.into()).await, "203.0.113.9");

    // Attempts are counted for him, not for the balancer.
    let attempt = async |from: Ipv4Addr, name: &str| {
        let body = json!({"username": name, "password": "wrong"});
        let request = http(from).post(format!("{v2_url}/api/auth/login/"));
        answer(request.json(&body)).await.0
    };
    let mut statuses = Vec::new();
    for number in 0..12 {
        statuses.push(attempt(CLIENT, &format!("user{number}")).await);
    }
    assert_eq!((statuses[0], statuses[11]), (401, 429), "{statuses:?}");
    assert_eq!(attempt(OTHER, "user99").await, 401);
    // And so are connections: of one network there are so many, and others get in.
    let mut open = Vec::new();
    loop {
        let mut stream = connect(CLIENT, at(v2)).await;
        let asked = stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
        if asked.await.is_err() || stream.read(&mut [0; 1000]).await.unwrap_or(0) == 0 {
            break;
        }
        open.push(stream);
        assert!(open.len() < 2000, "the balancer's network is not full");
    }
    assert!(open.len() >= 250, "only {}", open.len());
    let mut other = connect(OTHER, at(v2)).await;
    other.write_all(HEALTH.as_bytes()).await.unwrap();
    assert!(all_of(&mut other).await.starts_with("HTTP/1.1 200 "));
    drop(open);

    // Sockets, and what they are told of where they are.
    let stream = connect(OTHER, at(v2)).await;
    let url = format!("ws://127.0.0.1:{v2}/ws/?token={}", ann.token);
    let (mut socket, _) = tokio_tungstenite::client_async(url, stream).await.unwrap();
    let hello = futures_util::StreamExt::next(&mut socket)
        .await
        .unwrap()
        .unwrap();
    assert!(hello.to_text().unwrap().contains("\"hello\""), "{hello}");

    // Over TLS to the balancer is over TLS.
    let asked = |url: String| {
        let output = Command::new("curl")
            .args(["--silent", "--show-error", "--cacert"])
            .arg(files.chain())
            .arg(url)
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let over_tls = asked(format!("https://127.0.0.1:{tls}/config.js"));
    assert!(
        over_tls.contains(&format!("https://127.0.0.1:{tls}")),
        "{over_tls}"
    );
    let plainly = asked(format!("{v2_url}/config.js"));
    assert!(plainly.contains(&format!("\"{v2_url}\"")), "{plainly}");

    // Nobody comes from this machine who comes through a balancer, whatever it says.
    let metrics = server.request(Method::GET, "/metrics");
    assert_eq!(answer(metrics).await.0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_relay_sees_who_comes_to_a_balancer_over_tcp_and_tls() {
    let files = Files::new();
    let [plain, https, tls, web, web_tls, turn_tls, turn] = std::array::from_fn(|_| free_port());
    let mut relay = Relay::start(&[
        &format!("--http-listen=127.0.0.1:{plain}"),
        &format!("--http-tls-listen=127.0.0.1:{https}"),
        &format!("--http-tls-cert={}", files.chain().display()),
        &format!("--http-tls-key={}", files.key().display()),
        &format!("--turn-tls-listen=127.0.0.1:{tls}"),
        "--http-proxy-protocol=127.0.0.1",
        "--turn-proxy-protocol=127.0.0.1",
        "--turn-workers=2",
    ]);
    let front = |port: u16, to: u16, how| Front {
        bind: format!("127.0.0.1:{port}"),
        to,
        how,
    };
    let _haproxy = haproxy(
        relay.server.directory(),
        &[
            front(web, plain, "send-proxy-v2"),
            front(web_tls, https, "send-proxy-v2"),
            front(turn_tls, tls, "send-proxy"),
            front(turn, relay.port, "send-proxy-v2"),
        ],
    )
    .await;
    relay.server.url = format!("http://127.0.0.1:{web}");
    let server = &relay.server;
    let add = [
        "user",
        "add",
        "--username",
        "ann",
        "--email",
        "ann@example.org",
    ];
    assert!(server.command(&add, PASSWORD).status.success());
    let told = printed(server, &["turn", "credential", "--user", "ann", "--json"]);
    let credential = credential(&serde_json::from_str(&told).unwrap());

    // Over UDP there is no balancer.
    let relays = || async {
        let output = relay.uclient(&credential, &["-y", "-c", "-n", "1"]);
        output.status.success()
    };
    eventually("the server knows the account", relays).await;
    printed(server, &["turn", "kill", "--user", "ann"]);

    for (port, over_tls) in [(turn, false), (turn_tls, true), (web_tls, true)] {
        let mut call = uclient(port, over_tls, &credential);
        let mut call = Running(call.spawn().unwrap());
        let seen = || async {
            let listed = printed(server, &["turn", "allocations", "--json"]);
            let listed: Value = serde_json::from_str(&listed).unwrap();
            let clients = listed.as_array().unwrap().iter();
            let clients: Vec<_> = clients
                .map(|live| live["client"].as_str().unwrap())
                .collect();
            let is_client = |client: &&str| client.starts_with("127.0.0.2:");
            assert!(clients.iter().all(is_client), "{clients:?}");
            clients.len() >= 2
        };
        eventually("the clients are seen", seen).await;
        assert!(call.0.try_wait().unwrap().is_none(), "the call goes on");
        printed(server, &["turn", "kill", "--user", "ann"]);
    }
    for (port, over_tls) in [(turn, false), (turn_tls, true), (web_tls, true)] {
        let output = uclient(port, over_tls, &credential)
            .args(["-n", "5"])
            .output();
        assert_no_loss(&output.unwrap());
    }

    // What a client is told of itself.
    let mut client = connect(CLIENT, at(turn)).await;
    client.write_all(&BINDING).await.unwrap();
    let mut told = [0; 32];
    client.read_exact(&mut told).await.unwrap();
    assert_eq!(mapped(&told), client.local_addr().unwrap());
}

/// coturn's client, from [`CLIENT`].
fn uclient(port: u16, over_tls: bool, credential: &Credential) -> Command {
    let mut command = Command::new("turnutils_uclient");
    command
        .args(["-t", "-y", "-L", "127.0.0.2", "-n", "1000", "-z", "50"])
        .args(["-p", &port.to_string()])
        .args(["-u", &credential.username, "-w", &credential.password])
        .args(over_tls.then_some("-S"))
        .arg("127.0.0.1")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// RFC 8489 §5: a Binding request.
const BINDING: [u8; 20] = *b"\x00\x01\x00\x00\x21\x12\xa4\x42twelve bytes";

/// XOR-MAPPED-ADDRESS of IPv4 (RFC 8489 §14.2), the first attribute of this answer.
fn mapped(answer: &[u8; 32]) -> SocketAddr {
    assert_eq!(answer[..2], [1, 1]);
    assert_eq!(answer[20..24], [0, 0x20, 0, 8]);
    let xored = |at: usize, cookie: u8| answer[at] ^ cookie;
    let port = u16::from_be_bytes([xored(26, 0x21), xored(27, 0x12)]);
    let ip = [
        xored(28, 0x21),
        xored(29, 0x12),
        xored(30, 0xa4),
        xored(31, 0x42),
    ];
    (ip, port).into()
}

/// What is no header of a balancer, by a word.
fn hostile() -> Vec<(&'static str, Vec<u8>)> {
    let v2 = |rest: &[u8]| [b"\r\n\r\n\0\r\nQUIT\n", rest].concat();
    let (long, all) = (536 - 16 + 1, u16::MAX);
    let with_length = |length: u16| {
        let head = [&b"\x21\x11"[..], &length.to_be_bytes()].concat();
        v2(&[head, vec![7; length.into()]].concat())
    };
    vec![
        ("none", HEALTH.as_bytes().to_vec()),
        ("none of TURN", BINDING.to_vec()),
        ("noise", (0..=255).rev().cycle().take(5000).collect()),
        ("zeros", vec![0; 5000]),
        (
            "a line without end",
            [b"PROXY TCP4 ", &[b'1'; 5000][..]].concat(),
        ),
        ("no addresses", b"PROXY TCP4 a b c d\r\n".to_vec()),
        ("over UDP", v2(b"\x21\x12\0\x0c123456789012")),
        ("no such version", v2(b"\x31\x11\0\x0c123456789012")),
        ("no such command", v2(b"\x2f\x11\0\x0c123456789012")),
        ("no such family", v2(b"\x21\x51\0\x0c123456789012")),
        ("less than it says", v2(b"\x21\x21\0\x0c123456789012")),
        ("too long by one", with_length(long)),
        ("too long", with_length(all)),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_header_is_closed_and_the_rest_goes_on() {
    let plain = free_port();
    let relay = Relay::start(&[
        &format!("--http-listen=127.0.0.1:{plain}"),
        "--http-proxy-protocol=127.0.0.1",
        "--turn-proxy-protocol=127.0.0.1",
        "--turn-workers=1",
    ]);
    let (web, turn) = (at(plain), at(relay.port));
    for (what, bytes) in hostile() {
        for place in [web, turn] {
            let mut stream = connect(BALANCER, place).await;
            // It may be closed before all of it has been sent.
            let _ = stream.write_all(&bytes).await;
            assert_eq!(all_of(&mut stream).await, "", "{what} at {place}");
        }
    }
    let log = relay.server.log();
    for complaint in [
        "from a network in http.proxy_protocol does not begin with a PROXY header",
        "a stream from a balancer does not begin with a PROXY header",
    ] {
        // It is said, and not each time.
        assert_eq!(log.matches(complaint).count(), 1, "{log}");
    }
    // One that does not come to an end, and nothing at all.
    for beginning in [
        &b""[..],
        b"PROXY ",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c1234",
    ] {
        for place in [web, turn] {
            let mut stream = connect(BALANCER, place).await;
            stream.write_all(beginning).await.unwrap();
            assert_eq!(all_of(&mut stream).await, "", "{beginning:?} at {place}");
        }
    }

    // From elsewhere no header is taken, and none is needed.
    let header = "PROXY TCP4 203.0.113.9 192.0.2.1 50000 80\r\n";
    let mut stream = connect(CLIENT, web).await;
    stream
        .write_all(format!("{header}{HEALTH}").as_bytes())
        .await
        .unwrap();
    let said = all_of(&mut stream).await;
    assert!(said.starts_with("HTTP/1.1 400 "), "{said}");
    let mut stream = connect(CLIENT, turn).await;
    stream
        .write_all(&[header.as_bytes(), &BINDING].concat())
        .await
        .unwrap();
    assert_eq!(all_of(&mut stream).await, "");
    let mut stream = connect(CLIENT, web).await;
    stream.write_all(HEALTH.as_bytes()).await.unwrap();
    assert!(all_of(&mut stream).await.starts_with("HTTP/1.1 200 "));

    // Right ones, in one piece with what follows, and byte by byte.
    let local: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
    let unknown: &[u8] = b"PROXY UNKNOWN and more\r\n";
    let of_unix = [b"\r\n\r\n\0\r\nQUIT\n\x21\x31\0\xd8", &[0; 216][..]].concat();
    for header in [header.as_bytes(), local, unknown, &of_unix] {
        for piece in [usize::MAX, 1] {
            let pieces = |bytes: Vec<u8>| {
                let parts = bytes.chunks(piece.min(bytes.len())).map(<[u8]>::to_vec);
                parts.collect::<Vec<_>>()
            };
            let mut stream = connect(BALANCER, web).await;
            for part in pieces([header, HEALTH.as_bytes()].concat()) {
                stream.write_all(&part).await.unwrap();
            }
            let said = all_of(&mut stream).await;
            assert!(said.starts_with("HTTP/1.1 200 "), "{header:?}: {said}");

            let mut stream = connect(BALANCER, turn).await;
            stream.set_nodelay(true).unwrap();
            for part in pieces([header, &BINDING].concat()) {
                stream.write_all(&part).await.unwrap();
            }
            let mut told = [0; 32];
            stream.read_exact(&mut told).await.unwrap();
            let seen = match header.starts_with(b"PROXY TCP4") {
                true => "203.0.113.9:50000".parse().unwrap(),
                // It speaks for itself.
                false => stream.local_addr().unwrap(),
            };
            assert_eq!(mapped(&told), seen, "{header:?}");
        }
    }
}
