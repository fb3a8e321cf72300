//! A running server, and clients of it that know no more than its URL.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::net::{TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::http::Response;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::nodes;
use crate::proxy::Proxy;

/// For what should happen at once; long, as a test must fail because it is wrong, not because it is slow.
pub const SOON: Duration = Duration::from_secs(20);

pub const PASSWORD: &str = "correct horse battery";

/// The binary, with nothing in its environment or on this machine that could set it up.
pub fn moznods(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_moznods"));
    command.current_dir(directory);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("MOZNODS_") {
            command.env_remove(name);
        }
    }
    if !directory.join("moznods.toml").exists() {
        // Rather than those of a server that this machine runs.
        command.env("MOZNODS_CONFIG", "/dev/null");
    }
    command
}

/// What a command printed, as text.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A port of UDP and TCP that nobody has, and that this process gives out once. It lies below those from which the system
/// chooses for callers, so nobody gets it before it is bound, nor while a server is started again on it. The one above it
/// goes with it: some of coturn's programs use two.
pub fn free_port() -> u16 {
    const FIRST: u32 = 20_000;
    const EACH: u32 = 600;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Test processes that run side by side have ports of their own.
    let first = FIRST + std::process::id() % 20 * EACH;
    loop {
        let port = first + NEXT.fetch_add(2, Ordering::Relaxed) % EACH;
        let port = u16::try_from(port).unwrap();
        let everywhere = ("0.0.0.0", port);
        if UdpSocket::bind(everywhere).is_ok() && TcpListener::bind(everywhere).is_ok() {
            return port;
        }
    }
}

pub struct Server {
    child: Child,
    directory: TempDir,
    arguments: Vec<String>,
    environment: Vec<(&'static str, PathBuf)>,
    lines: mpsc::Receiver<String>,
    pub url: String,
    http: reqwest::Client,
    others: Option<Others>,
}

/// Nodes that serve the same as this one, which is before them.
struct Others {
    nodes: Vec<Server>,
    proxy: Proxy,
}

impl Server {
    /// Registration is open and attempts are not limited, unless `arguments` say otherwise.
    pub fn start(arguments: &[&str]) -> Self {
        Self::start_in(arguments, &[])
    }

    /// As [`Self::start`], with these in its environment.
    pub fn start_in(arguments: &[&str], environment: &[(&'static str, PathBuf)]) -> Self {
        Self::start_on(tempfile::tempdir().unwrap(), arguments, environment)
    }

    /// As [`Self::start_in`], in a directory that may hold data already. Where [`nodes::WANTED`] says so it is several nodes
    /// behind one URL.
    pub fn start_on(
        directory: TempDir,
        arguments: &[&str],
        environment: &[(&'static str, PathBuf)],
    ) -> Self {
        let is_node = environment
            .iter()
            .any(|(name, _)| *name == nodes::DATABASE_URL);
        let Some(count) = nodes::wanted().filter(|_| !is_node) else {
            return Self::start_as("serve", directory, arguments, environment);
        };
        let mut all = environment.to_vec();
        all.extend(nodes::environment());
        let mut first = Self::start_as("serve", directory, arguments, &all);
        let settings = first.directory().join("moznods.toml");
        let others = (1..count).map(|_| {
            let directory = tempfile::tempdir().unwrap();
            if settings.exists() {
                std::fs::copy(&settings, directory.path().join("moznods.toml")).unwrap();
            }
            Self::start_as("serve", directory, arguments, &all)
        });
        let others: Vec<Server> = others.collect();
        let urls = others.iter().map(|other| other.url.as_str());
        let proxy = Proxy::start(std::iter::once(first.url.as_str()).chain(urls));
        first.url.clone_from(&proxy.url);
        // Each request to another node than the one before.
        let http = reqwest::Client::builder().pool_max_idle_per_host(0);
        first.http = http.build().unwrap();
        first.others = Some(Others {
            nodes: others,
            proxy,
        });
        first
    }

    /// As [`Self::start_on`], by another command.
    pub fn start_as(
        command: &str,
        directory: TempDir,
        arguments: &[&str],
        environment: &[(&'static str, PathBuf)],
    ) -> Self {
        let mut all = vec![command.to_owned()];
        for default in [
            "--http-listen=127.0.0.1:0",
            "--turn-enabled=false",
            "--accounts-registration=open",
            "--limits-enabled=false",
            "--log-level=info,moznods=trace,moznods_storage=trace,moznods_signaling=trace",
        ] {
            let (name, _) = default.split_once('=').unwrap();
            if !arguments.iter().any(|argument| argument.starts_with(name)) {
                all.push(default.to_owned());
            }
        }
        all.extend(arguments.iter().map(|&argument| argument.to_owned()));
        let (child, lines, url) = launch(directory.path(), &all, environment);
        Server {
            child,
            directory,
            arguments: all,
            environment: environment.to_vec(),
            lines,
            url,
            http: reqwest::Client::new(),
            others: None,
        }
    }

    /// Ends it as an administrator does, and leaves its data.
    pub async fn stop(mut self) -> TempDir {
        self.signal("TERM");
        assert!(self.ended().await.success());
        std::mem::replace(&mut self.directory, tempfile::tempdir().unwrap())
    }

    /// The next line of its output that holds `part`.
    pub fn line_with(&self, part: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(SOON).expect("a line of output");
            if line.contains(part) {
                return line;
            }
        }
    }

    /// What it still prints until it ends.
    pub fn rest_of_output(&self) -> String {
        self.lines.iter().collect::<Vec<_>>().join("\n")
    }

    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Of all nodes, one after the other.
    pub fn log(&self) -> String {
        let mut log = std::fs::read_to_string(log_file(self.directory())).unwrap();
        let others = self.others.iter().flat_map(|others| &others.nodes);
        log.extend(others.map(Server::log));
        log
    }

    /// Kills it without warning, and starts it again on the same directory.
    pub fn crash_and_restart(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        let (child, lines, url) = launch(self.directory.path(), &self.arguments, &self.environment);
        (self.child, self.lines) = (child, lines);
        let Some(others) = &mut self.others else {
            self.url = url;
            return;
        };
        others.proxy.moved(0, &url);
        for (index, node) in others.nodes.iter_mut().enumerate() {
            node.crash_and_restart();
            others.proxy.moved(index + 1, &node.url);
        }
    }

    /// The system's id of the thread of this name.
    pub fn thread(&self, name: &str) -> String {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        let is_named = |task: &PathBuf| {
            std::fs::read_to_string(task.join("comm")).is_ok_and(|found| found.trim() == name)
        };
        let task = tasks
            .map(|task| task.unwrap().path())
            .find(is_named)
            .expect(name);
        task.file_name().unwrap().to_str().unwrap().to_owned()
    }

    /// Memory that the process holds, in MiB.
    pub fn resident(&self) -> u64 {
        self.memory("VmRSS:")
    }

    /// As [`Self::resident`], when it was most.
    pub fn peak(&self) -> u64 {
        self.memory("VmHWM:")
    }

    fn memory(&self, what: &str) -> u64 {
        let status = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(status).unwrap();
        let line = status.lines().find(|line| line.starts_with(what));
        let kib = line.and_then(|line| line.split_whitespace().nth(1));
        kib.unwrap().parse::<u64>().unwrap() / 1024
    }

    /// Sends a signal by its name.
    pub fn signal(&self, name: &str) {
        for other in self.others.iter().flat_map(|others| &others.nodes) {
            other.signal(name);
        }
        let id = self.child.id().to_string();
        let status = Command::new("kill").args(["-s", name, &id]).status();
        assert!(status.unwrap().success());
    }

    pub async fn ended(&mut self) -> ExitStatus {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(started.elapsed() < SOON, "the server does not end");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Runs another command of the binary on the same data directory.
    pub fn command(&self, arguments: &[&str], stdin: &str) -> Output {
        let mut child = moznods(self.directory())
            .args(arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(stdin.as_bytes())
            .unwrap();
        child.wait_with_output().unwrap()
    }

    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url))
    }

    /// Registers; `name` is also the local part of the mail address.
    pub async fn user(&self, name: &str) -> User<'_> {
        let body = json!({
            "username": name,
            "email": format!("{name}@example.org"),
            "password": PASSWORD,
        });
        let request = self.request(Method::POST, "/api/auth/register/");
        let (status, answer) = answer(request.json(&body)).await;
        assert_eq!(status, 201, "{answer}");
        self.signed_in(&answer)
    }

    /// Whom registering or signing in was answered so.
    pub fn signed_in(&self, answer: &Value) -> User<'_> {
        User {
            server: self,
            id: answer["user"]["id"].as_i64().unwrap(),
            token: answer["token"].as_str().unwrap().to_owned(),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        // Whatever a test has asked: a debug build says when the API's document does not know the answer.
        let unnamed = "an answer that the document does not name";
        let log = std::fs::read_to_string(log_file(self.directory())).unwrap_or_default();
        let found = log.lines().find(|line| line.contains(unnamed));
        if let (Some(line), false) = (found, std::thread::panicking()) {
            panic!("{line}");
        }
    }
}

fn log_file(directory: &Path) -> PathBuf {
    directory.join("log")
}

/// Starts the server and waits until it says that it serves.
fn launch(
    directory: &Path,
    arguments: &[String],
    environment: &[(&str, PathBuf)],
) -> (Child, mpsc::Receiver<String>, String) {
    let log = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(log_file(directory))
        .unwrap();
    let mut child = moznods(directory)
        .args(arguments)
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        for line in output.lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    let first = match lines.recv_timeout(SOON) {
        Ok(line) => line,
        Err(_) => panic!(
            "no server: {}",
            std::fs::read_to_string(log_file(directory)).unwrap()
        ),
    };
    let url = first.split_whitespace().last().unwrap().to_owned();
    assert!(url.contains("://127.0.0.1:"), "{first}");
    (child, lines, url)
}

/// Status and JSON body (null when there is none).
pub async fn answer(request: reqwest::RequestBuilder) -> (u16, Value) {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let body = response.bytes().await.unwrap();
    let json = match body.is_empty() {
        true => Value::Null,
        false => serde_json::from_slice(&body)
            .unwrap_or_else(|_| panic!("{status}: not JSON: {}", text(&body))),
    };
    (status, json)
}

/// The keys of an object, sorted.
pub fn keys(object: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> = object
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    keys.sort_unstable();
    keys
}

/// Somebody who is signed in.
pub struct User<'a> {
    server: &'a Server,
    pub id: i64,
    pub token: String,
}

impl User<'_> {
    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.server
            .request(method, path)
            .header("Authorization", format!("Token {}", self.token))
    }

    pub async fn get(&self, path: &str) -> (u16, Value) {
        answer(self.request(Method::GET, path)).await
    }

    pub async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        answer(self.request(Method::POST, path).json(&body)).await
    }

    /// As [`Self::post`], which must be done; the answer's body.
    pub async fn done(&self, path: &str, body: Value) -> Value {
        let (status, answer) = self.post(path, body).await;
        assert!((200..300).contains(&status), "{path}: {status} {answer}");
        answer
    }

    pub async fn room(&self, name: &str) -> i64 {
        let room = self.done("/api/rooms/", json!({"name": name})).await;
        room["id"].as_i64().unwrap()
    }

    /// A room that `others` have been added to.
    pub async fn room_with(&self, others: &[&User<'_>]) -> i64 {
        let room = self.room("room").await;
        for other in others {
            let path = format!("/api/rooms/{room}/add-participant/");
            let mut news = other.socket("/ws/notifications/").await;
            news.send(json!({"type": "ping"})).await;
            news.next_of("pong").await;
            self.done(&path, json!({"id": other.id})).await;
            // News of this do not come to sockets that are opened from now on.
            news.next_of("room_added").await;
        }
        room
    }

    /// A socket, signed in by the query.
    pub async fn socket(&self, path: &str) -> Socket {
        let path = format!("{path}?token={}", self.token);
        Socket::open(self.server, &path, &[]).await
    }
}

pub struct Socket {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// Who is online comes at any time; most do not wait for it.
    hears_presence: bool,
    pub response: Response<Option<Vec<u8>>>,
}

impl Socket {
    pub async fn open(server: &Server, path: &str, headers: &[(&'static str, &str)]) -> Self {
        Self::try_open(server, path, headers).await.unwrap()
    }

    /// `Err`: the status with which the upgrade was refused; `None`: the connection was closed without an answer, as it
    /// is where there are too many.
    pub async fn try_open(
        server: &Server,
        path: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<Self, Option<u16>> {
        let url = format!("{}{path}", server.url.replace("http://", "ws://"));
        let mut request = url.into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        match tokio_tungstenite::connect_async(request).await {
            Ok((stream, response)) => Ok(Socket {
                stream,
                hears_presence: false,
                response,
            }),
            Err(Error::Http(response)) => Err(Some(response.status().as_u16())),
            Err(Error::Io(error)) if error.kind() == ErrorKind::ConnectionReset => Err(None),
            Err(Error::Protocol(ProtocolError::HandshakeIncomplete)) => Err(None),
            Err(error) => panic!("{error}"),
        }
    }

    pub async fn send(&mut self, frame: Value) {
        self.send_text(&frame.to_string()).await;
    }

    pub async fn send_text(&mut self, text: &str) {
        self.send_raw(Message::text(text)).await;
    }

    pub async fn send_raw(&mut self, message: Message) {
        self.stream.send(message).await.unwrap();
    }

    /// All of them in as few writes as there can be.
    pub async fn send_all(&mut self, messages: impl Iterator<Item = Message>) {
        for message in messages {
            self.stream.feed(message).await.unwrap();
        }
        self.stream.flush().await.unwrap();
    }

    /// From now on `presence` is a frame like others.
    pub fn with_presence(mut self) -> Self {
        self.hears_presence = true;
        self
    }

    fn hears(&self, message: &Message) -> bool {
        let of_presence = |text: &str| text.starts_with(r#"{"type":"presence""#);
        self.hears_presence || !message.to_text().is_ok_and(of_presence)
    }

    async fn message(&mut self) -> Message {
        self.message_within(SOON).await
    }

    async fn message_within(&mut self, wait: Duration) -> Message {
        let next = async {
            loop {
                let message = self.stream.next().await;
                let message = message.expect("the connection is there").unwrap();
                // The server asks now and then whether we live; that is not what is waited for.
                if !matches!(message, Message::Ping(_) | Message::Pong(_)) && self.hears(&message) {
                    return message;
                }
            }
        };
        tokio::time::timeout(wait, next)
            .await
            .expect("a frame in time")
    }

    /// The next frame.
    pub async fn next(&mut self) -> Value {
        serde_json::from_str(&self.next_text().await).unwrap()
    }

    /// The next frame; `None`: the connection has ended.
    pub async fn try_next(&mut self) -> Option<Value> {
        let next = async {
            loop {
                match self.stream.next().await {
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                    Some(Ok(message)) if !self.hears(&message) => {}
                    Some(Ok(Message::Text(text))) => return Some(text),
                    _ => return None,
                }
            }
        };
        let text = tokio::time::timeout(SOON, next).await;
        let text = text.expect("a frame in time, or the end")?;
        Some(serde_json::from_str(&text).unwrap())
    }

    /// The next frame as it was written.
    pub async fn next_text(&mut self) -> String {
        text_of(self.message().await)
    }

    /// As [`Self::next`], for what may take longer.
    pub async fn next_within(&mut self, wait: Duration) -> Value {
        serde_json::from_str(&text_of(self.message_within(wait).await)).unwrap()
    }

    /// The next frame of this type; others are passed over.
    pub async fn next_of(&mut self, kind: &str) -> Value {
        loop {
            let frame = self.next().await;
            if frame["type"] == kind {
                return frame;
            }
        }
    }

    /// That nothing has come up to now: what is asked for next is also what is answered next.
    pub async fn is_silent(&mut self) {
        self.send(json!({"type": "ping"})).await;
        assert_eq!(self.next().await, json!({"type": "pong"}));
    }

    /// The code with which the other side closes; it may send nothing before.
    pub async fn close_code(&mut self) -> u16 {
        match self.message().await {
            Message::Close(frame) => {
                // Sends the answer that the other side waits for.
                let _ = self.stream.close(None).await;
                frame.expect("a code").code.into()
            }
            other => panic!("no close but {other:?}"),
        }
    }

    /// As [`Self::close_code`], of one that may have been sent much before.
    pub async fn close_code_at_last(&mut self) -> u16 {
        loop {
            if let Message::Close(frame) = self.message().await {
                let _ = self.stream.close(None).await;
                return frame.expect("a code").code.into();
            }
        }
    }
}

fn text_of(message: Message) -> String {
    match message {
        Message::Text(text) => text.to_string(),
        other => panic!("no frame but {other:?}"),
    }
}

/// Waits until `condition` holds.
pub async fn eventually<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let started = Instant::now();
    while !condition().await {
        assert!(started.elapsed() < SOON, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
