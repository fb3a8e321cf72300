//! Nodes, Redis and PostgreSQL fail in all ways, one after the other, while people write and read: what was acknowledged is there
//! once, all hear the same in one order, and what has been read stays read.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

use crate::nodes::settings;
use crate::postgres::server::Postgres;
use crate::proxy::Proxy;
use crate::random::Random;
use crate::redis::Redis;
use crate::support::{Server, free_port};

const NODES: usize = 3;
const FAULTS: usize = 200;
const WRITERS: usize = 3;
const READERS: usize = 3;
/// How long a request may take before it is asked again.
const PATIENCE: Duration = Duration::from_secs(12);
/// For all to be as it should once nothing fails any more.
const AT_LAST: Duration = Duration::from_secs(60);
/// Between two messages of one writer, so that there are not too many.
const PACE: Duration = Duration::from_millis(25);

/// Everything that can fail.
struct Machines {
    nodes: Vec<Server>,
    proxy: Proxy,
    postgres: Postgres,
    redis: Redis,
}

/// What one has heard.
#[derive(Default)]
struct Heard {
    last_event: i64,
    /// Id and content of each message, in the order of hearing.
    messages: Vec<(i64, String)>,
    /// The newest message that the one who reads is known to have read.
    read_up_to: i64,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_faults_lose_double_and_disorder_nothing() {
    let mut random = Random::seeded();
    let mut machines = Machines::start();
    let server = &machines.nodes[0];
    let (room, token) = {
        let (ann, bob) = (server.user("ann").await, server.user("bob").await);
        (ann.room_with(&[&bob]).await, [ann.token, bob.token])
    };
    let url = machines.proxy.url.clone();
    let is_over = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let (url, token) = (url.clone(), token[writer % 2].clone());
            tokio::spawn(write(url, token, room, writer, Arc::clone(&is_over)))
        })
        .collect();
    let (acknowledged, known) = tokio::sync::watch::channel(None);
    let readers: Vec<_> = (0..READERS)
        .map(|reader| {
            let (url, token) = (url.clone(), token[reader % 2].clone());
            // The first one also says what he has read.
            tokio::spawn(read(url, token, room, reader == 0, known.clone()))
        })
        .collect();

    for fault in 0..FAULTS {
        machines.fail(&mut random, fault).await;
        tokio::time::sleep(Duration::from_millis(50 + random.below(250))).await;
    }
    is_over.store(true, Ordering::Relaxed);
    let written: Vec<(i64, String)> = timeout(AT_LAST, join_all(writers))
        .await
        .expect("all that is written is acknowledged")
        .into_iter()
        .flat_map(Result::unwrap)
        .collect();
    assert!(written.len() > 2 * FAULTS, "hardly anything was written");
    println!("{} messages were acknowledged", written.len());
    acknowledged.send(Some(written.len())).unwrap();
    let heard: Vec<Heard> = timeout(AT_LAST, join_all(readers))
        .await
        .expect("all hear of all that was written")
        .into_iter()
        .map(Result::unwrap)
        .collect();

    let stored = history(&url, &token[0], room).await;
    let mut ids = HashMap::new();
    for (id, content) in &stored {
        let twice = ids.insert(content.as_str(), *id);
        assert_eq!(twice, None, "{content} is there twice");
    }
    for (id, content) in &written {
        assert_eq!(ids.get(content.as_str()), Some(id), "{content}");
    }
    assert_eq!(stored.len(), written.len());
    for heard in heard {
        assert_eq!(heard.messages, stored);
        assert!(heard.read_up_to > 0, "nobody has said what was read");
    }
}

impl Machines {
    fn start() -> Self {
        let postgres = Postgres::start(free_port());
        let redis = Redis::start(free_port());
        let settings = settings(postgres.database(), &redis);
        let nodes: Vec<Server> = (0..NODES)
            .map(|_| Server::start_in(&["--log-level=info"], &settings))
            .collect();
        Machines {
            proxy: Proxy::start(nodes.iter().map(|node| node.url.as_str())),
            nodes,
            postgres,
            redis,
        }
    }

    /// One of all faults, which is over when it returns.
    async fn fail(&mut self, random: &mut Random, number: usize) {
        let node = random.below(NODES as u64) as usize;
        let wait = Duration::from_millis(random.below(400));
        let fault = random.below(10);
        println!("{number}: fault {fault} of node {node} for {wait:?}");
        match fault {
            0 | 1 => {
                self.nodes[node].signal("KILL");
                tokio::time::sleep(wait).await;
                self.restart(node);
            }
            2 => {
                self.nodes[node].signal("TERM");
                self.nodes[node].ended().await;
                self.restart(node);
            }
            3 | 4 => {
                // Now and then for longer than others take it for living.
                let wait = if random.below(8) == 0 {
                    Duration::from_secs(6)
                } else {
                    wait
                };
                self.nodes[node].signal("STOP");
                tokio::time::sleep(wait).await;
                self.nodes[node].signal("CONT");
            }
            5 | 6 => self.proxy.cut(node),
            7 => {
                self.redis.kill();
                tokio::time::sleep(wait).await;
                self.redis.start_again();
            }
            8 => {
                self.redis.signal("STOP");
                tokio::time::sleep(wait).await;
                self.redis.signal("CONT");
            }
            _ => {
                // As if its machine had failed.
                self.postgres.stop("QUIT");
                tokio::time::sleep(wait).await;
                self.postgres.start_again();
            }
        }
    }

    fn restart(&mut self, node: usize) {
        self.nodes[node].crash_and_restart();
        let url = self.nodes[node].url.clone();
        self.proxy.moved(node, &url);
    }
}

/// Writes one message after the other, each until it is acknowledged; what was, by id and content.
async fn write(
    url: String,
    token: String,
    room: i64,
    writer: usize,
    is_over: Arc<AtomicBool>,
) -> Vec<(i64, String)> {
    let http = client();
    let mut written = Vec::new();
    for number in 0.. {
        if is_over.load(Ordering::Relaxed) {
            break;
        }
        let content = format!("{writer}-{number}");
        let body = json!({"content": content, "client_id": content});
        let id = loop {
            let request = http
                .post(format!("{url}/api/chat/{room}/messages/"))
                .header("Authorization", format!("Token {token}"));
            // Half an answer acknowledges nothing.
            if let Ok(response) = request.json(&body).send().await {
                let status = response.status().as_u16();
                assert!(matches!(status, 200 | 201 | 500..), "{status}");
                if let (200 | 201, Ok(message)) = (status, response.json::<Value>().await) {
                    break message["id"].as_i64().unwrap();
                }
            }
            tokio::time::sleep(PACE).await;
        };
        written.push((id, content));
        tokio::time::sleep(PACE).await;
    }
    written
}

/// Hears of messages over one socket after the other, each of which goes on after the last event of the one before, until there
/// are as many as `enough` says.
async fn read(
    url: String,
    token: String,
    room: i64,
    marks: bool,
    mut enough: tokio::sync::watch::Receiver<Option<usize>>,
) -> Heard {
    let mut heard = Heard::default();
    let url = url.replace("http://", "ws://");
    loop {
        let path = format!("{url}/ws/?token={token}&last_event_id={}", heard.last_event);
        let connecting = timeout(PATIENCE, tokio_tungstenite::connect_async(path));
        let Ok(Ok((mut socket, _))) = connecting.await else {
            tokio::time::sleep(PACE).await;
            continue;
        };
        loop {
            if enough
                .borrow_and_update()
                .is_some_and(|count| heard.messages.len() >= count)
            {
                return heard;
            }
            let frame = tokio::select! {
                frame = timeout(PATIENCE, socket.next()) => frame,
                _ = enough.changed() => continue,
            };
            let text = match frame {
                Ok(Some(Ok(Message::Text(text)))) => text,
                Ok(Some(Ok(Message::Ping(_) | Message::Pong(_)))) => continue,
                _ => break,
            };
            let frame: Value = serde_json::from_str(&text).unwrap();
            if let Some(message) = heard.take(&frame, room)
                && marks
                && message % 5 == 0
            {
                let data = json!({"room_id": room, "message_id": message});
                let frame = json!({"type": "message_read", "data": data});
                if socket.send(Message::text(frame.to_string())).await.is_err() {
                    break;
                }
            }
        }
    }
}

impl Heard {
    /// The id of a message that it tells of.
    fn take(&mut self, frame: &Value, room: i64) -> Option<i64> {
        let data = &frame["data"];
        assert_ne!(frame["type"], "resync", "{frame}");
        let event = frame["event_id"].as_i64()?;
        assert!(event > self.last_event, "{frame} after {}", self.last_event);
        self.last_event = event;
        if data["room_id"] != room {
            return None;
        }
        match frame["type"].as_str() {
            Some("chat_message") => {
                let id = data["id"].as_i64().unwrap();
                let content = data["content"].as_str().unwrap().to_owned();
                self.messages.push((id, content));
                Some(id)
            }
            Some("message_read") => {
                let read = data["message_id"].as_i64().unwrap();
                assert!(read > self.read_up_to, "{read} after {}", self.read_up_to);
                self.read_up_to = read;
                None
            }
            _ => None,
        }
    }
}

fn client() -> reqwest::Client {
    // Each request to another node than the one before.
    let client = reqwest::Client::builder().pool_max_idle_per_host(0);
    client.timeout(PATIENCE).build().unwrap()
}

/// All messages of the room, the oldest first.
async fn history(url: &str, token: &str, room: i64) -> Vec<(i64, String)> {
    let http = client();
    let mut all = Vec::new();
    let mut next = Some(format!("{url}/api/chat/{room}/messages/?page_size=100"));
    while let Some(page) = next {
        let request = http
            .get(page)
            .header("Authorization", format!("Token {token}"));
        let page: Value = request.send().await.unwrap().json().await.unwrap();
        all.extend(page["results"].as_array().unwrap().iter().map(|message| {
            let content = message["content"].as_str().unwrap().to_owned();
            (message["id"].as_i64().unwrap(), content)
        }));
        next = page["next"].as_str().map(str::to_owned);
    }
    all.reverse();
    all
}
