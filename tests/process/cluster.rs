//! Several processes that are one server, on one PostgreSQL and one Redis, behind a balancer that gives each connection to
//! the next one: what one node knows all know, and nobody misses anything when a node, Redis or PostgreSQL is gone.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};

use crate::postgres::server::Postgres;
use crate::redis::Redis;
use crate::support::{PASSWORD, Server, Socket, User, answer, eventually, free_port};

/// Longer than anything waits, and than a node would need to be taken for dead.
const OUTAGE: Duration = Duration::from_secs(20);

struct Cluster {
    nodes: Vec<Server>,
    redis: Redis,
    postgres: Postgres,
}

impl Cluster {
    fn of_three(arguments: &[&str]) -> Self {
        let postgres = Postgres::start(free_port());
        let redis = Redis::start(free_port());
        let database = postgres.database();
        let node = |_| {
            let environment = [
                ("MOZNODS_DATABASE_URL", PathBuf::from(&database)),
                ("MOZNODS_REDIS_URL", PathBuf::from(redis.url())),
            ];
            Server::start_in(arguments, &environment)
        };
        Cluster {
            nodes: (0..3).map(node).collect(),
            redis,
            postgres,
        }
    }

    async fn know_each_other(&self) {
        for node in &self.nodes {
            eventually("it knows the others", async || {
                figure(node, "moznods_bus_other_nodes").await == Some(2.0)
            })
            .await;
        }
    }

    fn no_secret_is_in_a_log(&self) {
        assert!(self.nodes.iter().all(|node| !node.log().contains("geheim")));
    }
}

/// The same user, at another node.
fn at<'a>(server: &'a Server, user: &User<'_>) -> User<'a> {
    server.signed_in(&json!({"user": {"id": user.id}, "token": user.token}))
}

async fn figure(node: &Server, name: &str) -> Option<f64> {
    let text = node.request(Method::GET, "/metrics").send().await.unwrap();
    let text = text.text().await.unwrap();
    let line = text.lines().find(|line| line.starts_with(name))?;
    line.split_whitespace().last()?.parse().ok()
}

async fn say(user: &User<'_>, room: i64, content: &str) {
    let path = format!("/api/chat/{room}/messages/");
    user.done(&path, json!({"content": content})).await;
}

fn of(kind: &str, room: i64) -> Value {
    json!({"type": kind, "data": {"room_id": room}})
}

/// Hears everything from now on.
async fn everything(user: &User<'_>) -> Socket {
    let mut socket = user.socket("/ws/").await;
    assert_eq!(socket.next().await["type"], "hello");
    socket.is_silent().await;
    socket
}

/// Frames up to a state of the call in which these are active.
async fn up_to_call_of(socket: &mut Socket, users: &[i64]) -> Vec<Value> {
    let users: BTreeSet<i64> = users.iter().copied().collect();
    let mut frames = Vec::new();
    loop {
        let frame = socket.next().await;
        let members = frame["data"]["participants"].as_array();
        let active = members.into_iter().flatten();
        let active = active.filter(|member| member["state"] == "active");
        let active: BTreeSet<i64> = active
            .map(|member| member["user_id"].as_i64().unwrap())
            .collect();
        let is_it = frame["type"] == "call_state" && active == users;
        frames.push(frame);
        if is_it {
            return frames;
        }
    }
}

/// One after the other, each once the one before is seen to be in the call.
async fn join_in_turn(room: i64, people: [(&mut Socket, i64); 2]) {
    let mut all = Vec::new();
    for (socket, user) in people {
        for kind in ["open_call", "join_call"] {
            socket.send(of(kind, room)).await;
        }
        all.push(user);
        up_to_call_of(socket, &all).await;
    }
}

async fn pass_offer(from: &mut Socket, target: i64, room: i64, to: &mut Socket) {
    let data =
        json!({"room_id": room, "target_user_id": target, "sdp": {"type": "offer", "sdp": "v=0"}});
    from.send(json!({"type": "offer", "data": data})).await;
    assert_eq!(to.next_of("offer").await["data"]["sdp"]["sdp"], "v=0");
}

/// Gives each connection to the next node that takes it.
async fn balance(nodes: &[Server]) -> String {
    let backends: Vec<String> = nodes
        .iter()
        .map(|node| node.url.strip_prefix("http://").unwrap().to_owned())
        .collect();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let next = Arc::new(AtomicUsize::new(0));
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let (backends, next) = (backends.clone(), Arc::clone(&next));
            tokio::spawn(async move {
                for _ in 0..backends.len() {
                    let at = next.fetch_add(1, Ordering::Relaxed) % backends.len();
                    if let Ok(mut node) = TcpStream::connect(&backends[at]).await {
                        let _ = tokio::io::copy_bidirectional(&mut client, &mut node).await;
                        return;
                    }
                }
            });
        }
    });
    url
}

/// Each of its requests goes by a connection of its own.
fn client() -> reqwest::Client {
    let client = reqwest::Client::builder().pool_max_idle_per_host(0);
    client.build().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_at_different_nodes_chat_and_call() {
    let cluster = Cluster::of_three(&[]);
    cluster.know_each_other().await;
    let [one, two, three] = cluster.nodes.as_slice() else {
        unreachable!()
    };
    let (ann, bob) = (one.user("ann").await, at(two, &one.user("bob").await));
    let room = ann.room_with(&[&at(one, &bob)]).await;
    let mut of_ann = everything(&ann).await.with_presence();
    let mut of_bob = everything(&bob).await.with_presence();
    // Each is told that the other one is there.
    let online = async |socket: &mut Socket, user: i64| loop {
        let frame = socket.next_of("presence").await;
        if frame["data"]["online"]
            .as_array()
            .unwrap()
            .contains(&json!(user))
        {
            return;
        }
    };
    online(&mut of_ann, bob.id).await;
    online(&mut of_bob, ann.id).await;

    of_bob.send(of("typing", room)).await;
    assert_eq!(of_ann.next_of("typing").await["data"]["user_id"], bob.id);
    say(&bob, room, "hello").await;
    for socket in [&mut of_ann, &mut of_bob] {
        assert_eq!(
            socket.next_of("chat_message").await["data"]["content"],
            "hello"
        );
    }

    for kind in ["open_call", "join_call"] {
        of_ann.send(of(kind, room)).await;
    }
    let ringing = of_bob.next_of("room_presence_update").await;
    assert_eq!(
        ringing["data"]["active_participants"],
        json!(["ann"]),
        "{ringing}"
    );
    let state = format!("/api/rooms/{room}/call-state/");
    let (_, seen) = at(three, &bob).get(&state).await;
    assert_eq!(seen["participants"][0]["user_id"], ann.id);
    for kind in ["open_call", "join_call"] {
        of_bob.send(of(kind, room)).await;
    }
    up_to_call_of(&mut of_ann, &[ann.id, bob.id]).await;
    up_to_call_of(&mut of_bob, &[ann.id, bob.id]).await;
    pass_offer(&mut of_ann, bob.id, room, &mut of_bob).await;
    pass_offer(&mut of_bob, ann.id, room, &mut of_ann).await;

    // With another device, at the third node.
    let mut other = everything(&at(three, &bob)).await;
    for kind in ["open_call", "join_call"] {
        other.send(of(kind, room)).await;
    }
    let out = of_bob.next_of("error").await;
    assert_eq!(out["code"], "call_taken_over", "{out}");
    of_ann.next_of("user_left").await;
    of_ann.next_of("user_joined").await;
    pass_offer(&mut of_ann, bob.id, room, &mut other).await;

    // Who signs out at one node is out at all.
    let logged_out = at(one, &bob).request(Method::POST, "/api/auth/logout/");
    assert!(logged_out.send().await.unwrap().status().is_success());
    assert_eq!(of_bob.close_code_at_last().await, 4401);
    assert_eq!(other.close_code_at_last().await, 4401);
    up_to_call_of(&mut of_ann, &[ann.id]).await;
    cluster.no_secret_is_in_a_log();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_balancer_is_no_way_around_limits_and_no_hindrance() {
    let arguments = [
        "--limits-enabled=true",
        "--limits-api-per-minute=20",
        "--accounts-registration=code",
    ];
    let cluster = Cluster::of_three(&arguments);
    cluster.know_each_other().await;
    let (balancer, client) = (balance(&cluster.nodes).await, client());
    // The link of any node is good at all, and once.
    let links: BTreeSet<String> = cluster
        .nodes
        .iter()
        .map(|node| node.line_with("/#/setup/"))
        .map(|line| line.split("/#/setup/").nth(1).unwrap().trim().to_owned())
        .collect();
    assert_eq!(links.len(), 1, "{links:?}");
    let account = json!({
        "username": "root", "email": "root@example.org", "password": PASSWORD, "setup_token": links.first(),
    });
    let register = client.post(format!("{balancer}/api/auth/register/"));
    let (status, root) = answer(register.json(&account)).await;
    assert_eq!(status, 201, "{root}");

    let token = format!("Token {}", root["token"].as_str().unwrap());
    let mut taken = 0;
    let began = Instant::now();
    for n in 0..60 {
        let making = client
            .post(format!("{balancer}/api/rooms/"))
            .header("Authorization", &token)
            .json(&json!({"name": format!("room {n}")}));
        let status = making.send().await.unwrap().status();
        taken += u64::from(status == StatusCode::CREATED);
        // What was taken is told five times a second.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // Twenty at once, one each three seconds, and those of which the other two did not know yet.
    let most = 20 + began.elapsed().as_secs() / 3 + 12;
    assert!((20..=most).contains(&taken), "{taken} of {most}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_a_node_is_killed_in_mid_call_its_people_go_on_at_another() {
    let mut cluster = Cluster::of_three(&[]);
    cluster.know_each_other().await;
    let doomed = cluster.nodes.remove(0);
    let [two, three] = cluster.nodes.as_slice() else {
        unreachable!()
    };
    let ann = doomed.user("ann").await;
    let bob = at(two, &doomed.user("bob").await);
    let room = ann.room_with(&[&at(&doomed, &bob)]).await;
    let mut of_ann = everything(&ann).await;
    let mut of_bob = everything(&bob).await;
    join_in_turn(room, [(&mut of_ann, ann.id), (&mut of_bob, bob.id)]).await;
    let carl = at(two, &two.user("carl").await);
    say(&bob, room, "before").await;
    let last = of_ann.next_of("chat_message").await["event_id"].clone();
    doomed.signal("KILL");
    let killed = Instant::now();
    say(&bob, room, "meanwhile").await;
    while of_ann.try_next().await.is_some() {}
    let back = at(three, &ann);
    let path = format!("/ws/?token={}&last_event_id={last}", back.token);
    let mut of_ann = Socket::open(three, &path, &[]).await;
    assert_eq!(of_ann.next().await["type"], "hello");
    let missed = of_ann.next().await;
    assert_eq!(missed["data"]["content"], "meanwhile", "{missed}");
    for kind in ["open_call", "join_call"] {
        of_ann.send(of(kind, room)).await;
    }
    up_to_call_of(&mut of_ann, &[ann.id, bob.id]).await;
    // Her peers begin anew with her.
    of_bob.next_of("user_joined").await;
    pass_offer(&mut of_bob, ann.id, room, &mut of_ann).await;
    assert!(
        killed.elapsed() < Duration::from_secs(5),
        "{:?}",
        killed.elapsed()
    );
    eventually("the dead one is known to be", async || {
        figure(two, "moznods_bus_other_nodes").await == Some(1.0)
    })
    .await;
    say(&bob, room, "after").await;
    assert_eq!(
        of_ann.next_of("chat_message").await["data"]["content"],
        "after"
    );
    let state = format!("/api/rooms/{room}/call-state/");
    let (_, seen) = bob.get(&state).await;
    assert_eq!(seen["participants"].as_array().unwrap().len(), 2, "{seen}");
    drop((carl, doomed));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_and_postgresql_may_be_gone_for_a_while() {
    let mut cluster = Cluster::of_three(&[]);
    cluster.know_each_other().await;
    let Cluster {
        nodes,
        redis,
        postgres,
    } = &mut cluster;
    let [one, two, three] = nodes.as_slice() else {
        unreachable!()
    };
    let (ann, bob) = (one.user("ann").await, at(two, &one.user("bob").await));
    let room = ann.room_with(&[&at(one, &bob)]).await;
    let mut of_ann = everything(&ann).await;
    let mut of_bob = everything(&bob).await;
    join_in_turn(room, [(&mut of_ann, ann.id), (&mut of_bob, bob.id)]).await;
    up_to_call_of(&mut of_ann, &[ann.id, bob.id]).await;

    redis.kill();
    let began = Instant::now();
    let mut count = 0;
    while began.elapsed() < OUTAGE {
        count += 1;
        say(&bob, room, &format!("{count}")).await;
        let heard = of_ann.next_of("chat_message").await;
        assert_eq!(
            heard["data"]["content"],
            format!("{count}"),
            "by the database alone"
        );
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    assert_eq!(figure(one, "moznods_bus_connected").await, Some(0.0));
    let ready = one.request(Method::GET, "/readyz").send().await.unwrap();
    assert_eq!(ready.status(), 200);
    let state = format!("/api/rooms/{room}/call-state/");
    let (_, seen) = at(three, &bob).get(&state).await;
    assert_eq!(seen["participants"].as_array().unwrap().len(), 2, "{seen}");
    redis.start_again();
    for node in nodes.iter() {
        eventually("it is back", async || {
            figure(node, "moznods_bus_connected").await == Some(1.0)
        })
        .await;
    }
    pass_offer(&mut of_bob, ann.id, room, &mut of_ann).await;
    for node in nodes.iter() {
        let log = node.log();
        assert_eq!(log.matches("Redis is away").count(), 1, "{log}");
        assert_eq!(log.matches("Redis is back").count(), 1, "{log}");
    }

    postgres.stop("INT");
    let path = format!("/api/chat/{room}/messages/");
    let began = Instant::now();
    while began.elapsed() < OUTAGE {
        let (status, _) = bob.post(&path, json!({"content": "lost"})).await;
        assert_eq!(status, 503);
        pass_offer(&mut of_bob, ann.id, room, &mut of_ann).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    postgres.start_again();
    for node in nodes.iter() {
        eventually("it is ready", async || {
            let ready = node.request(Method::GET, "/readyz").send().await.unwrap();
            ready.status() == 200
        })
        .await;
    }
    say(&at(three, &bob), room, "after").await;
    let next = of_ann.next_of("chat_message").await;
    assert_eq!(
        next["data"]["content"], "after",
        "and nothing of what was refused"
    );
    pass_offer(&mut of_ann, bob.id, room, &mut of_bob).await;
    cluster.no_secret_is_in_a_log();
}

#[test]
fn redis_without_a_shared_database_stops_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let start = |redis: &str, database: &str| {
        let output = crate::support::moznods(directory.path())
            .args(["config", "check"])
            .env("MOZNODS_STORAGE_REDIS_URL", redis)
            .env("MOZNODS_STORAGE_DATABASE_URL", database)
            .output()
            .unwrap();
        let said = crate::support::text(&output.stderr);
        assert!(!said.contains("geheim"), "{said}");
        (output.status.success(), said)
    };
    let (done, said) = start("redis://:geheim@127.0.0.1", "");
    assert!(!done && said.contains("storage.database_url"), "{said}");
    let (done, said) = start("amqp://:geheim@127.0.0.1", "postgres://a:b@c/d");
    assert!(!done && said.contains("rediss://"), "{said}");
    let (done, said) = start(
        "rediss://:geheim@cache.example.org:6380",
        "postgres://a:b@c/d",
    );
    assert!(done, "{said}");
}
