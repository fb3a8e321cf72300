//! Behind a tunnel whose name changes while the server runs: nothing is set up anew, and callers are told an address that
//! relays, which the tunnel does not.

use std::net::SocketAddr;
use std::process::Command;

use reqwest::Method;
use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::full_disk::with_own_mounts;
use crate::relay::{Relay, assert_no_loss, credential};
use crate::support::{PASSWORD, answer};

/// Where names of tunnels lead, as far as this machine knows.
const HOSTS: &str = "127.0.0.1 localhost\n198.51.100.9 one.tunnel.example two.tunnel.example\n2001:db8::9 six.example\n";

/// Where the client of a tunnel brings in what people send to `name`, over HTTPS: as that of Cloudflare's or of localhost.run
/// does, by a connection from this machine.
async fn tunnel(server: SocketAddr, name: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut server = TcpStream::connect(server).await.unwrap();
                let Some(head) = head(&mut client, name).await else {
                    return;
                };
                server.write_all(&head).await.unwrap();
                let _ = copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    address
}

/// The head of the one request of a connection, as the tunnel passes it on.
async fn head(client: &mut TcpStream, name: &str) -> Option<Vec<u8>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap();
    let mut lines: Vec<String> = head
        .lines()
        .filter(|line| !line.to_lowercase().starts_with("host:") && !line.is_empty())
        .map(str::to_owned)
        .collect();
    lines.extend([
        format!("Host: {name}"),
        "X-Forwarded-For: 192.0.2.77".to_owned(),
        "X-Forwarded-Proto: https".to_owned(),
    ]);
    if !head.to_lowercase().contains("upgrade:") {
        lines.push("Connection: close".to_owned());
    }
    Some((lines.join("\r\n") + "\r\n\r\n").into_bytes())
}

/// Somebody who comes by a tunnel.
struct Guest {
    at: SocketAddr,
    token: String,
}

impl Guest {
    async fn sign_up(at: SocketAddr, username: &str) -> Self {
        let body = json!({
            "username": username,
            "email": format!("{username}@example.org"),
            "password": PASSWORD,
        });
        let request = reqwest::Client::new().post(format!("http://{at}/api/auth/register/"));
        let (status, answer) = answer(request.json(&body)).await;
        assert_eq!(status, 201, "{answer}");
        let token = answer["token"].as_str().unwrap().to_owned();
        Guest { at, token }
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let client = reqwest::Client::new();
        let request = client.request(method, format!("http://{}{path}", self.at));
        request.header("Authorization", format!("Token {}", self.token))
    }

    async fn done(&self, method: Method, path: &str, body: Value) -> Value {
        let (status, answer) = answer(self.request(method, path).json(&body)).await;
        assert!((200..300).contains(&status), "{path}: {status} {answer}");
        answer
    }

    /// The status with which a socket is refused to a page of this origin.
    async fn socket(&self, origin: &str) -> Result<(), u16> {
        let url = format!("ws://{}/ws/?token={}", self.at, self.token);
        let mut request = url.into_client_request().unwrap();
        let origin = origin.parse().unwrap();
        request.headers_mut().insert("Origin", origin);
        match tokio_tungstenite::connect_async(request).await {
            Ok(_) => Ok(()),
            Err(Error::Http(response)) => Err(response.status().as_u16()),
            Err(error) => panic!("{error}"),
        }
    }
}

fn server_at(relay: &Relay) -> SocketAddr {
    let address = relay.server.url.strip_prefix("http://").unwrap();
    address.parse().unwrap()
}

/// Has this process, which has its own mounts, know the names.
fn know_names(directory: &std::path::Path) {
    let hosts = directory.join("hosts");
    std::fs::write(&hosts, HOSTS).unwrap();
    let mount = Command::new("mount")
        .arg("--bind")
        .arg(hosts)
        .arg("/etc/hosts")
        .status();
    assert!(mount.unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_may_change_and_callers_are_told_where_the_relay_is() {
    if !with_own_mounts("tunnel::a_name_may_change_and_callers_are_told_where_the_relay_is") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    know_names(directory.path());
    let relay = Relay::start(&["--behind-proxy"]);
    let port = relay.port;
    let names = ["one.tunnel.example", "two.tunnel.example"];
    for (name, person) in names.into_iter().zip(["ann", "bob"]) {
        let own = format!("https://{name}");
        let guest = Guest::sign_up(tunnel(server_at(&relay), name).await, person).await;

        let config = guest.done(Method::GET, "/api/config/", Value::Null).await;
        assert_eq!(config["public_url"], own);
        let form = Form::new().part("file", Part::text("words").file_name("words.txt"));
        let upload = guest
            .request(Method::POST, "/api/files/upload/")
            .multipart(form);
        let (status, file) = answer(upload).await;
        assert_eq!(status, 201, "{file}");
        let link = file["file"].as_str().unwrap();
        let path = link.strip_prefix(&own).unwrap_or_else(|| panic!("{link}"));
        let fetched = reqwest::get(format!("http://{}{path}", guest.at))
            .await
            .unwrap();
        assert_eq!(fetched.text().await.unwrap(), "words");
        let room = guest
            .done(Method::POST, "/api/rooms/", json!({"name": "room"}))
            .await;
        let hooks = format!("/api/rooms/{}/hooks/", room["id"]);
        let hook = guest
            .done(Method::POST, &hooks, json!({"name": "CI"}))
            .await;
        let url = hook["url"].as_str().unwrap();
        assert!(url.starts_with(&own), "{url}");

        assert_eq!(guest.socket(&own).await, Ok(()));
        let other = if person == "ann" { names[1] } else { names[0] };
        assert_eq!(guest.socket(&format!("https://{other}")).await, Err(403));

        let ice = guest
            .done(Method::GET, "/api/turn/credentials/", Value::Null)
            .await;
        let ways = ["udp", "tcp"].map(|way| format!("turn:127.0.0.1:{port}?transport={way}"));
        assert_eq!(ice["uris"], json!(ways));
        assert_eq!(
            ice["iceServers"][0]["urls"],
            json!([format!("stun:127.0.0.1:{port}")])
        );
        assert_no_loss(&relay.uclient(&credential(&ice), &["-y"]));
    }
    let log = relay.server.log();
    let said = log.lines().filter(|line| line.contains("leads elsewhere"));
    let said: Vec<&str> = said.collect();
    // The second name came soon after.
    assert_eq!(said.len(), 1, "{log}");
    for word in [
        "WARN",
        names[0],
        "relay=127.0.0.1",
        "turn.relay_ports",
        "turn.host",
    ] {
        assert!(said[0].contains(word), "{word}: {}", said[0]);
    }

    let listen = format!("--turn-listen=127.0.0.1:{port}");
    let doctor = ["doctor", "--json", &listen, "--turn-external-ip=127.0.0.1"];
    let output = relay.server.command(&doctor, "");
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    let checks = told["checks"].as_array().unwrap().iter();
    let found: Vec<&Value> = checks
        .filter(|check| check["code"] == "name_tunnel")
        .collect();
    assert_eq!(found.len(), 2, "{told}");
    for (check, name) in found.iter().zip(names) {
        assert_eq!(check["state"], "advice");
        assert_eq!(check["values"]["host"], name);
        assert_eq!(check["values"]["own"], "127.0.0.1");
        let advice = check["advice"].as_str().unwrap();
        assert!(advice.contains(&port.to_string()), "{advice}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_relay_may_have_a_name_of_its_own_and_is_not_guessed_where_it_is_not_known() {
    let test =
        "tunnel::the_relay_may_have_a_name_of_its_own_and_is_not_guessed_where_it_is_not_known";
    if !with_own_mounts(test) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    know_names(directory.path());
    let uris = async |relay: &Relay, name| {
        let at = tunnel(server_at(relay), name).await;
        let ann = Guest::sign_up(at, "ann").await;
        let ice = ann
            .done(Method::GET, "/api/turn/credentials/", Value::Null)
            .await;
        ice["uris"][0].as_str().unwrap().to_owned()
    };
    let named = Relay::start(&["--behind-proxy", "--turn-host=relay.example.org"]);
    let uri = format!("turn:relay.example.org:{}?transport=udp", named.port);
    assert_eq!(uris(&named, "one.tunnel.example").await, uri);
    assert!(!named.server.log().contains("leads elsewhere"));

    // Who comes by a name of IPv6 alone may not reach an address of IPv4.
    let of_ipv4 = Relay::start(&["--behind-proxy"]);
    let uri = format!("turn:six.example:{}?transport=udp", of_ipv4.port);
    assert_eq!(uris(&of_ipv4, "six.example").await, uri);

    // This machine's own address is not public, or we would know it.
    let alone = Relay::start(&["--behind-proxy", "--turn-external-ip=auto"]);
    let relaying = alone.server.log();
    let is_public = relaying.lines().any(|line| {
        line.contains("relaying public=")
            && !relaying.contains("callers from the internet cannot reach")
    });
    let told = uris(&alone, "one.tunnel.example").await;
    if !is_public {
        assert_eq!(
            told,
            format!("turn:one.tunnel.example:{}?transport=udp", alone.port)
        );
        assert!(
            alone
                .server
                .log()
                .contains("no public address of this machine is known")
        );
    }
}
