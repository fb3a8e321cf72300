//! The shipped examples for proxies in front, in the proxies that Debian has: with other addresses, and nothing else changed.

use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_tungstenite::tungstenite::Message;

use crate::https::{Files, connect};
use crate::support::{PASSWORD, SOON, Server, free_port, text};

/// Where the client is: an address of this machine that is neither the proxy's nor trusted.
const CLIENT: &str = "127.0.0.5";

struct Proxy {
    child: Child,
    directory: TempDir,
}

impl Proxy {
    async fn start(program: &str, arguments: &[&str], directory: TempDir, port: u16) -> Self {
        let log = std::fs::File::create(directory.path().join("log")).unwrap();
        let mut command = Command::new(program);
        command.args(arguments).current_dir(directory.path());
        for name in ["HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"] {
            command.env(name, directory.path());
        }
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("{program}: {error}; scripts/setup installs it"));
        let mut proxy = Proxy { child, directory };
        let answers = || TcpStream::connect(("127.0.0.1", port)).is_ok();
        let started = Instant::now();
        while !answers() {
            let ended = proxy.child.try_wait().unwrap();
            assert!(ended.is_none(), "{program}: {}", proxy.log());
            assert!(started.elapsed() < SOON, "{program} does not answer");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        proxy
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // As its administrator would, so that nginx ends its workers, too.
        let id = self.child.id().to_string();
        let _ = Command::new("kill").args(["-s", "TERM", &id]).status();
        let _ = self.child.wait();
    }
}

/// The example of this name, with each of `changes` made somewhere.
fn example(name: &str, changes: &[(&str, &str)]) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/proxy");
    let mut example = std::fs::read_to_string(file.join(name)).unwrap();
    for (from, to) in changes {
        assert!(example.contains(from), "{name} has no {from}");
        example = example.replace(from, to);
    }
    example
}

async fn caddy(upstream: u16, port: u16, files: &Files) -> Proxy {
    let directory = tempfile::tempdir().unwrap();
    let (chain, key) = (files.chain(), files.key());
    let site = format!(
        "https://127.0.0.1:{port} {{\n\tbind 127.0.0.1\n\ttls {} {}",
        chain.display(),
        key.display()
    );
    let upstream = format!("127.0.0.1:{upstream}");
    let changes = [
        ("127.0.0.1:8080\n}", format!("{upstream}\n}}")),
        ("chat.example.org {", site),
    ];
    let changes = changes.each_ref().map(|(from, to)| (*from, to.as_str()));
    // No ports but this one.
    let site = format!(
        "{{\n\tadmin off\n\tauto_https off\n}}\n{}",
        example("Caddyfile", &changes)
    );
    std::fs::write(directory.path().join("Caddyfile"), site).unwrap();
    let arguments = ["run", "--adapter", "caddyfile", "--config", "Caddyfile"];
    Proxy::start("caddy", &arguments, directory, port).await
}

async fn nginx(upstream: u16, port: u16, files: &Files) -> Proxy {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path().display();
    let changes = [
        (
            "server 127.0.0.1:8080;",
            format!("server 127.0.0.1:{upstream};"),
        ),
        ("listen 80;", format!("listen 127.0.0.1:{};", free_port())),
        ("listen 443 ssl", format!("listen 127.0.0.1:{port} ssl")),
        ("    listen [::]:80;\n", String::new()),
        ("    listen [::]:443 ssl http2;\n", String::new()),
        (
            "/etc/letsencrypt/live/chat.example.org/fullchain.pem",
            files.chain().display().to_string(),
        ),
        (
            "/etc/letsencrypt/live/chat.example.org/privkey.pem",
            files.key().display().to_string(),
        ),
    ];
    let changes = changes.each_ref().map(|(from, to)| (*from, to.as_str()));
    std::fs::write(
        directory.path().join("site.conf"),
        example("nginx.conf", &changes),
    )
    .unwrap();
    // What Debian's own nginx.conf has around it, in a directory of the test's.
    let paths: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|of| format!("{of}_temp_path {here}/{of};\n"))
        .concat();
    let around = format!(
        "daemon off;\npid {here}/pid;\nerror_log stderr;\nuser root;\nworker_processes 1;\nevents {{}}\n\
         http {{\naccess_log off;\n{paths}include {here}/site.conf;\n}}\n"
    );
    std::fs::write(directory.path().join("nginx.conf"), around).unwrap();
    let prefix = here.to_string();
    let arguments = ["-p", &prefix, "-e", "stderr", "-c", "nginx.conf"];
    Proxy::start("nginx", &arguments, directory, port).await
}

fn curl(files: &Files, arguments: &[&str]) -> Value {
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--max-time", "60", "--cacert"])
        .arg(files.chain())
        .args(["--interface", CLIENT])
        // What a client would like to be taken for.
        .args(["--header", "X-Forwarded-For: 203.0.113.9"])
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let printed = text(&output.stdout);
    serde_json::from_str(&printed).unwrap_or_else(|_| panic!("{printed}"))
}

/// Signs up, talks over a socket, uploads as much as may be, and is seen where he is.
async fn is_passed_on(port: u16, files: &Files, server: &Server) {
    let url = |path: &str| format!("https://127.0.0.1:{port}{path}");
    let post = |path: &str, token: &str, body: Value| {
        let authorization = format!("Authorization: Token {token}");
        let mut arguments = vec!["--header", "Content-Type: application/json"];
        if !token.is_empty() {
            arguments.extend(["--header", authorization.as_str()]);
        }
        let (body, path) = (body.to_string(), url(path));
        arguments.extend(["--data", body.as_str(), path.as_str()]);
        curl(files, &arguments)
    };
    let welcome = text(&server.command(&["welcome"], "").stdout);
    let setup = welcome.lines().find_map(|line| line.split_once("#/setup/"));
    let (_, setup) = setup.expect(&welcome);
    let account = json!({"username": "ann", "email": "ann@example.org", "password": PASSWORD, "setup_token": setup});
    let made = post("/api/auth/register/", "", account);
    let token = made["token"].as_str().unwrap_or_else(|| panic!("{made}"));

    let stream = connect(&files.chain(), "127.0.0.1", port, &[b"http/1.1"])
        .await
        .unwrap();
    let socket = format!("wss://127.0.0.1:{port}/ws/?token={token}");
    let (mut socket, _) = tokio_tungstenite::client_async(socket, stream)
        .await
        .unwrap();
    socket
        .send(Message::text(r#"{"type":"ping"}"#))
        .await
        .unwrap();
    let answered = async {
        while socket.next().await.unwrap().unwrap().to_text().unwrap() != r#"{"type":"pong"}"# {}
    };
    tokio::time::timeout(SOON, answered).await.unwrap();

    // The default of files.max_size.
    let upload = files.chain().with_file_name("text.txt");
    std::fs::write(&upload, "a".repeat(10 * 1024 * 1024)).unwrap();
    let form = format!("file=@{};type=text/plain", upload.display());
    let authorization = format!("Authorization: Token {token}");
    let path = url("/api/files/upload/");
    let stored = curl(files, &["--header", &authorization, "--form", &form, &path]);
    assert_eq!(stored["size"], 10 * 1024 * 1024, "{stored}");
    // What others follow leads by the proxy again.
    let link = stored["file"].as_str().unwrap();
    assert!(link.starts_with(&url("/")), "{link}");

    let bob = server.command(
        &[
            "user",
            "add",
            "--username=bob",
            "--email=bob@example.org",
            "--password-stdin",
        ],
        PASSWORD,
    );
    assert!(bob.status.success(), "{bob:?}");
    let found = curl(
        files,
        &["--header", &authorization, &url("/api/admin/users/?q=bob")],
    );
    let id = &found["results"][0]["id"];
    let linked = post(
        &format!("/api/admin/users/{id}/reset-link/"),
        token,
        json!({}),
    );
    assert!(linked["url"].as_str().is_some(), "{linked}");
    let acts = curl(
        files,
        &[
            "--header",
            &authorization,
            &url("/api/admin/audit/?action=user.reset_link"),
        ],
    );
    assert_eq!(acts["results"][0]["address"], CLIENT, "{acts}");
}

fn server(upstream: u16, port: u16) -> Server {
    Server::start(&[
        &format!("--http-listen=127.0.0.1:{upstream}"),
        &format!("--public-url=https://127.0.0.1:{port}"),
        "--http-trusted-proxies=127.0.0.1/32",
        "--accounts-registration=code",
    ])
}

#[tokio::test]
async fn caddy_passes_on_what_it_should() {
    let (upstream, port) = (free_port(), free_port());
    let (files, server) = (Files::new(), server(upstream, port));
    let _caddy = caddy(upstream, port, &files).await;
    is_passed_on(port, &files, &server).await;
}

#[tokio::test]
async fn nginx_passes_on_what_it_should() {
    let (upstream, port) = (free_port(), free_port());
    let (files, server) = (Files::new(), server(upstream, port));
    let _nginx = nginx(upstream, port, &files).await;
    is_passed_on(port, &files, &server).await;
}
