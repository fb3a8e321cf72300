//! What stands on the other side of web push: a push service over TLS, and a browser that opens what has been pushed. The
//! browser is others' work: http-ece and py-vapid.

use std::convert::Infallible;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::HeaderMap;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use reqwest::Method;
use rustls::pki_types::PrivatePkcs8KeyDer;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

use crate::support::{SOON, Server, User, answer};

/// What a push service was sent.
pub struct Pushed {
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub at: Instant,
}

impl Pushed {
    pub fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }
}

/// What it answers stands in the path: `/ok/…`, `/gone/…`, `/never/…`, and so on.
pub struct PushService {
    pub port: u16,
    directory: TempDir,
    pushed: mpsc::UnboundedReceiver<Pushed>,
    connections: Arc<AtomicUsize>,
}

impl PushService {
    pub async fn start() -> Self {
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("root.pem"), made.cert.pem()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key.into())
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (sender, pushed) = mpsc::unbounded_channel();
        let connections = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&connections);
        let acceptor = TlsAcceptor::from(Arc::new(config));
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                counter.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(serve(acceptor.clone(), stream, sender.clone()));
            }
        });
        PushService {
            port,
            directory,
            pushed,
            connections,
        }
    }

    /// For a server that is to trust it.
    pub fn environment(&self) -> [(&'static str, PathBuf); 1] {
        [("SSL_CERT_FILE", self.directory.path().join("root.pem"))]
    }

    /// A server that may reach it.
    pub fn server(&self, arguments: &[&str]) -> Server {
        let mut all = vec!["--push-allow-private=127.0.0.0/8"];
        all.extend(arguments);
        Server::start_in(&all, &self.environment())
    }

    pub fn endpoint(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.port)
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    pub async fn next(&mut self) -> Pushed {
        let next = tokio::time::timeout(SOON, self.pushed.recv());
        next.await.expect("a push message in time").unwrap()
    }

    /// Whether there is nothing that has not been taken.
    pub fn is_silent(&mut self) -> bool {
        self.pushed.try_recv().is_err()
    }
}

async fn serve(
    acceptor: TlsAcceptor,
    stream: tokio::net::TcpStream,
    sender: mpsc::UnboundedSender<Pushed>,
) {
    let Ok(stream) = acceptor.accept(stream).await else {
        return;
    };
    let answer = |request: Request<Incoming>| {
        let sender = sender.clone();
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            let path = head.uri.path().to_owned();
            let pushed = Pushed {
                path: path.clone(),
                headers: head.headers,
                body,
                at: Instant::now(),
            };
            // The test may be over.
            let _ = sender.send(pushed);
            let (status, header, length) = match path.split('/').nth(1).unwrap_or_default() {
                "gone" => (410, None, 0),
                "busy" => (503, None, 0),
                "later" => (429, Some(("retry-after", "4")), 0),
                "bad" => (400, None, 0),
                "redirect" => (307, Some(("location", "/ok/elsewhere")), 0),
                "endless" => (201, None, 5000),
                "never" => std::future::pending().await,
                _ => (201, None, 3),
            };
            let mut response = Response::builder().status(status);
            if let Some((name, value)) = header {
                response = response.header(name, value);
            }
            let body = Full::new(Bytes::from(vec![b'x'; length]));
            Ok::<_, Infallible>(response.body(body).unwrap())
        }
    };
    let service = hyper::service::service_fn(answer);
    // Whoever sent may have hung up.
    let _ = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

/// One that subscribes, and opens what is pushed to it.
pub struct Browser {
    child: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
    keys: Value,
}

impl Browser {
    pub fn open() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut child = Command::new(root.join("target/python/bin/python"))
            .arg(root.join("tests/clients/push_browser.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("target/python; run scripts/setup test");
        let questions = child.stdin.take().unwrap();
        let mut answers = BufReader::new(child.stdout.take().unwrap());
        let keys = line(&mut answers);
        Browser {
            child,
            questions,
            answers,
            keys,
        }
    }

    /// As `PushSubscription.toJSON()`.
    pub fn subscription(&self, endpoint: &str) -> Value {
        json!({"endpoint": endpoint, "expirationTime": null, "keys": self.keys})
    }

    /// The subscription that was made.
    pub async fn subscribe(&self, user: &User<'_>, endpoint: &str) -> Value {
        user.done("/api/push/subscriptions/", self.subscription(endpoint))
            .await
    }

    /// What was pushed, and what its token says.
    pub fn read(&mut self, pushed: &Pushed) -> Value {
        let question = json!({
            "authorization": pushed.header("authorization"),
            "body": URL_SAFE_NO_PAD.encode(&pushed.body),
        });
        writeln!(self.questions, "{question}").unwrap();
        line(&mut self.answers)
    }

    pub fn payload(&mut self, pushed: &Pushed) -> Value {
        self.read(pushed)["payload"].take()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn line(answers: &mut BufReader<ChildStdout>) -> Value {
    let mut line = String::new();
    answers.read_line(&mut line).unwrap();
    serde_json::from_str(&line).expect("an answer")
}

/// The room that the two have for themselves.
pub async fn direct_room(one: &User<'_>, other: &User<'_>) -> i64 {
    let room = one.done("/api/rooms/direct/", json!({"user_id": other.id}));
    room.await["id"].as_i64().unwrap()
}

/// The id of what was said.
pub async fn say(user: &User<'_>, room: i64, text: &str) -> i64 {
    let path = format!("/api/chat/{room}/messages/");
    let message = user.done(&path, json!({"content": text})).await;
    message["id"].as_i64().unwrap()
}

/// One of the figures of `/metrics`.
pub async fn figure(server: &Server, name: &str) -> i64 {
    let request = server.request(Method::GET, "/metrics").send();
    let figures = request.await.unwrap().text().await.unwrap();
    let line = figures
        .lines()
        .find_map(|line| line.strip_prefix(&format!("moznods_{name} ")));
    line.expect("a figure").parse().unwrap()
}

/// Status and body of a DELETE.
pub async fn delete(user: &User<'_>, path: &str, body: Value) -> (u16, Value) {
    answer(user.request(Method::DELETE, path).json(&body)).await
}
