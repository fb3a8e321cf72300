//! Relays on machines of their own: a server that does not relay itself, relays that know nothing but its database and Redis, and
//! clients of both.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use webrtc_util::Conn;

use crate::postgres::server::Postgres;
use crate::redis::Redis;
use crate::relay::{Credential, Relay, assert_no_loss, credential, rest_password};
use crate::relay_admin::{admin, printed};
use crate::support::{SOON, Server, User, answer, eventually, free_port, moznods, text};

/// What all nodes share.
struct Shared {
    _postgres: Postgres,
    redis: Redis,
    database: String,
}

impl Shared {
    fn start() -> Self {
        let postgres = Postgres::start(free_port());
        Shared {
            database: postgres.database(),
            _postgres: postgres,
            redis: Redis::start(free_port()),
        }
    }

    /// A node: `serve`, which does not relay unless it is told to, or `relay`.
    fn node(&self, command: &str, arguments: &[&str]) -> Relay {
        let directory = tempfile::tempdir().unwrap();
        let port = free_port();
        // In a file, so that commands find them as well.
        let settings = format!(
            "[storage]\ndatabase_url = \"{}\"\nredis_url = \"{}\"\n\
             [turn]\nlisten = \"127.0.0.1:{port}\"\nexternal_ip = \"127.0.0.1\"\nallow_peers = \"127.0.0.0/8\"\n",
            self.database,
            self.redis.url(),
        );
        std::fs::write(directory.path().join("moznods.toml"), settings).unwrap();
        let server = Server::start_as(command, directory, arguments, &[]);
        Relay { server, port }
    }

    fn relay(&self, arguments: &[&str]) -> Relay {
        self.node("relay", arguments)
    }
}

fn uri(relay: &Relay) -> String {
    format!("turn:127.0.0.1:{}?transport=udp", relay.port)
}

fn name(relay: &Relay) -> String {
    format!("127.0.0.1:{}", relay.port)
}

/// The answer to who asks for credentials.
async fn told(user: &User<'_>, query: &str) -> Value {
    let (status, told) = user.get(&format!("/api/turn/credentials/{query}")).await;
    assert_eq!(status, 200, "{told}");
    told
}

/// Relays that a client is told of, by their URIs of UDP, sorted.
async fn offered(user: &User<'_>, query: &str) -> Vec<String> {
    let told = told(user, query).await;
    let servers = told["iceServers"].as_array().unwrap().iter();
    let uris = servers.filter_map(|server| {
        let first = server["urls"][0].as_str().unwrap();
        first.starts_with("turn:").then(|| first.to_owned())
    });
    let mut uris: Vec<String> = uris.collect();
    uris.sort();
    uris
}

async fn are_offered(user: &User<'_>, relays: &[&Relay]) {
    let mut expected: Vec<String> = relays.iter().map(|relay| uri(relay)).collect();
    expected.sort();
    eventually(&format!("{expected:?} are offered"), || async {
        offered(user, "").await == expected
    })
    .await;
}

async fn credential_of(user: &User<'_>) -> Credential {
    credential(&told(user, "").await)
}

/// What the command lists, by relay.
fn listed(server: &Server) -> Vec<Value> {
    let all = printed(server, &["turn", "allocations", "--json"]);
    serde_json::from_str(&all).unwrap()
}

/// Until what one sends reaches the other: the first packets come before the other side permits them.
async fn talk(one: &impl Conn, other: &impl Conn) {
    let (of_one, of_other) = (one.local_addr().unwrap(), other.local_addr().unwrap());
    let mut heard = [0; 100];
    let mut tries = tokio::time::interval(Duration::from_millis(50));
    let hearing = async {
        loop {
            tokio::select! {
                got = other.recv_from(&mut heard) => {
                    let (length, from) = got.unwrap();
                    if (&heard[..length], from) == (b"hello", of_one) {
                        return;
                    }
                }
                _ = tries.tick() => {
                    other.send_to(b"permits", of_one).await.unwrap();
                    one.send_to(b"hello", of_other).await.unwrap();
                }
            }
        }
    };
    tokio::time::timeout(SOON, hearing)
        .await
        .expect("it is heard");
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_are_told_of_relays_that_live_and_take_calls() {
    let shared = Shared::start();
    let chat = shared.node("serve", &[]);
    let ann = chat.server.user("ann").await;
    assert!(
        offered(&ann, "").await.is_empty(),
        "it does not relay itself"
    );
    let one = shared.relay(&[]);
    let mut two = shared.relay(&["--turn-drain-seconds=600"]);
    are_offered(&ann, &[&one, &two]).await;
    let told = told(&ann, "").await;
    assert_eq!(
        told["uris"].as_array().unwrap().len(),
        4,
        "UDP and TCP of each"
    );
    assert_eq!(told["iceServers"].as_array().unwrap().len(), 4, "{told}");

    // By another program's client, and by two relays at once.
    let credential = credential_of(&ann).await;
    assert_no_loss(&one.uclient(&credential, &["-y"]));
    let (_at_one, end_one) = one.webrtc_rs(&credential).await.unwrap();
    let (_at_two, end_two) = two.webrtc_rs(&credential).await.unwrap();
    talk(&end_one, &end_two).await;
    talk(&end_two, &end_one).await;

    // One that is told to stop is offered no more, while what it relays goes on.
    two.server.signal("TERM");
    are_offered(&ann, &[&one]).await;
    talk(&end_one, &end_two).await;
    let nodes = printed(&chat.server, &["turn", "nodes"]);
    assert!(
        nodes.contains(&format!("{}  -  draining  1 allocations", name(&two))),
        "{nodes}"
    );
    assert!(two.webrtc_rs(&credential).await.is_err(), "no new ones");
    two.server.signal("TERM");
    assert!(two.server.ended().await.success());
    eventually("who has ended is forgotten", || async {
        !printed(&chat.server, &["turn", "nodes"]).contains(&name(&two))
    })
    .await;

    // One that is killed cannot say so.
    let three = shared.relay(&[]);
    are_offered(&ann, &[&one, &three]).await;
    one.server.signal("KILL");
    are_offered(&ann, &[&three]).await;
    let output = chat.server.command(&["turn", "allocations"], "");
    let silent = format!("moznods: relay {} does not answer\n", name(&one));
    assert_eq!(text(&output.stderr), silent, "and is named");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_all_relays_relay_is_listed_counted_and_ended_from_anywhere() {
    let shared = Shared::start();
    // This one relays itself as well.
    let chat = shared.node("serve", &["--turn-enabled=true"]);
    let far = shared.relay(&[]);
    let ann = chat.server.user("ann").await;
    let bob = chat.server.user("bob").await;
    are_offered(&ann, &[&chat, &far]).await;
    let (anns, bobs) = (credential_of(&ann).await, credential_of(&bob).await);
    let (_ann_here, ann_here) = chat.webrtc_rs(&anns).await.unwrap();
    let (_ann_far, ann_far) = far.webrtc_rs(&anns).await.unwrap();
    let (_bob_far, bob_far) = far.webrtc_rs(&bobs).await.unwrap();

    for node in [&chat, &far] {
        let all = listed(&node.server);
        let seen = |end: &dyn Conn| {
            let address = json!([end.local_addr().unwrap()]);
            let found = all.iter().find(|seen| seen["relay"] == address).unwrap();
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            (text(&found["node"]), text(&found["owner"]["name"]))
        };
        assert_eq!(all.len(), 3, "{all:?}");
        assert_eq!(seen(&ann_here), (name(&chat), "ann".to_owned()));
        assert_eq!(seen(&ann_far), (name(&far), "ann".to_owned()));
        assert_eq!(seen(&bob_far), (name(&far), "bob".to_owned()));
    }
    let lines = printed(&chat.server, &["turn", "allocations", "--user", "bob"]);
    assert!(lines.contains("  bob  udp "), "{lines}");

    // What each has relayed is one sum, wherever it is asked for.
    for end in [&ann_far as &dyn Conn, &ann_here] {
        for _ in 0..10 {
            end.send_to(&[0; 1000], bob_far.local_addr().unwrap())
                .await
                .unwrap();
        }
    }
    for node in [&chat, &far] {
        eventually("it is counted", || async {
            let all = printed(&node.server, &["turn", "usage", "--json"]);
            let all: Vec<Value> = serde_json::from_str(&all).unwrap();
            let of_ann = all.iter().find(|seen| seen["owner"]["name"] == "ann");
            of_ann.is_some_and(|seen| seen["bytes_to_peers"] == 20_000 && seen["allocations"] == 2)
        })
        .await;
    }

    // One by its name, at another node than it is at; then all of a user.
    let id = |end: &dyn Conn| {
        let address = json!([end.local_addr().unwrap()]);
        let all = listed(&chat.server);
        let found = all.iter().find(|seen| seen["relay"] == address).unwrap();
        found["id"].as_str().unwrap().to_owned()
    };
    let of_bob = id(&bob_far);
    assert_eq!(
        printed(&chat.server, &["turn", "kill", &of_bob]),
        format!("Ended {of_bob}.\n")
    );
    assert_eq!(far.live().await, 1.0);
    assert_eq!(
        printed(&far.server, &["turn", "kill", "--user", "ann"]),
        "Ended 2 allocations.\n"
    );
    assert_eq!((chat.live().await, far.live().await), (0.0, 0.0));

    // One that stands still is named, and what it may have is not said to be nowhere.
    let (_again, _end) = far.webrtc_rs(&anns).await.unwrap();
    let of_ann = listed(&chat.server)[0]["id"].as_str().unwrap().to_owned();
    far.server.signal("STOP");
    let output = chat.server.command(&["turn", "kill", "--user", "ann"], "");
    assert_eq!(text(&output.stdout), "Ended 0 allocations.\n");
    let silent = format!("moznods: relay {} does not answer\n", name(&far));
    assert_eq!(text(&output.stderr), silent);
    let root = admin(&chat.server).await;
    let path = format!("/api/admin/relay/allocations/{of_ann}/");
    let (status, refused) = answer(root.request(Method::DELETE, &path)).await;
    assert_eq!((status, &refused["code"]), (503, &json!("relay_silent")));
    let (_, nodes) = root.get("/api/admin/relay/nodes/").await;
    assert_eq!(nodes[1]["state"], "silent", "{nodes}");
    are_offered(&ann, &[&chat]).await;
    far.server.signal("CONT");
    are_offered(&ann, &[&chat, &far]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_relay_loses_what_any_relay_has() {
    let shared = Shared::start();
    let chat = shared.node("serve", &[]);
    let (one, two) = (shared.relay(&[]), shared.relay(&[]));
    let ann = chat.server.user("ann").await;
    are_offered(&ann, &[&one, &two]).await;
    let anns = credential_of(&ann).await;
    let mut ends = Vec::new();
    for relay in [&one, &two] {
        ends.push(relay.webrtc_rs(&anns).await.unwrap());
        assert_eq!(relay.live().await, 1.0);
    }
    printed(&chat.server, &["user", "block", "ann"]);
    for relay in [&one, &two] {
        eventually("it has ended", || async { relay.live().await == 0.0 }).await;
        assert!(relay.webrtc_rs(&anns).await.is_err());
    }

    // Secrets of other programs, made while relays run.
    let made = printed(&chat.server, &["turn", "secret", "add", "matrix"]);
    let secret = made.split_whitespace().next_back().unwrap().to_owned();
    let username = "2000000000:bob".to_owned();
    let matrix = Credential {
        password: rest_password(&secret, &username),
        username,
    };
    for relay in [&one, &two] {
        eventually("the secret is known", || async {
            relay.webrtc_rs(&matrix).await.is_ok()
        })
        .await;
    }
    printed(&chat.server, &["turn", "secret", "revoke", "matrix"]);
    for relay in [&one, &two] {
        eventually("its allocations have ended", || async {
            relay.live().await == 0.0
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_has_had_at_all_relays_counts_for_the_month() {
    let shared = Shared::start();
    let quota = "--turn-max-bytes-per-month-per-user=100000";
    let chat = shared.node("serve", &[]);
    let (one, two) = (shared.relay(&[quota]), shared.relay(&[quota]));
    let ann = chat.server.user("ann").await;
    are_offered(&ann, &[&one, &two]).await;
    let anns = credential_of(&ann).await;
    let mut ends = Vec::new();
    for relay in [&one, &two] {
        let (client, end) = relay.webrtc_rs(&anns).await.unwrap();
        for _ in 0..60 {
            end.send_to(&[0; 1000], "127.0.0.1:9".parse().unwrap())
                .await
                .unwrap();
        }
        ends.push((client, end));
    }
    for relay in [&one, &two] {
        eventually("it has ended", || async {
            // Has all written what they have relayed.
            printed(&chat.server, &["turn", "usage"]);
            relay.live().await == 0.0
        })
        .await;
        assert!(relay.webrtc_rs(&anns).await.is_err());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_redis_is_gone_the_relays_known_last_are_told_of() {
    let mut shared = Shared::start();
    let chat = shared.node("serve", &[]);
    let (mut one, two) = (shared.relay(&[]), shared.relay(&[]));
    let ann = chat.server.user("ann").await;
    are_offered(&ann, &[&one, &two]).await;
    shared.redis.kill();
    eventually("the server knows", || async {
        chat.metric("moznods_bus_connected").await == 0.0
    })
    .await;
    // Longer than a relay may be silent otherwise.
    let gone = Instant::now();
    while gone.elapsed() < Duration::from_secs(7) {
        assert_eq!(offered(&ann, "").await.len(), 2);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // There may be others by now.
    let output = chat.server.command(&["turn", "kill", "--user", "ann"], "");
    let redis = "moznods: relay Redis does not answer\n";
    assert!(text(&output.stderr).contains(redis), "{output:?}");
    let credential = credential_of(&ann).await;
    assert_no_loss(&two.uclient(&credential, &["-y", "-c"]));
    one.server.signal("KILL");
    one.server.ended().await;
    shared.redis.start_again();
    are_offered(&ann, &[&two]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_are_told_of_relays_in_their_region_first() {
    let shared = Shared::start();
    let chat = shared.node(
        "serve",
        &[
            "--turn-offer-relays=1",
            "--turn-region-header=CF-IPCountry",
            "--http-trusted-proxies=127.0.0.1",
        ],
    );
    let europe = shared.relay(&["--turn-region=EU,de"]);
    let america = shared.relay(&["--turn-region=us"]);
    let ann = chat.server.user("ann").await;
    eventually("both are known", || async {
        let nodes = printed(&chat.server, &["turn", "nodes"]);
        nodes.contains("  eu,de  serving  ") && nodes.contains("  us  serving  ")
    })
    .await;
    let by_header = async |country: &str| {
        let request = ann.request(Method::GET, "/api/turn/credentials/");
        let (_, told) = answer(request.header("CF-IPCountry", country)).await;
        told["uris"][0].clone()
    };
    for _ in 0..20 {
        assert_eq!(offered(&ann, "?region=eu").await, [uri(&europe)]);
        assert_eq!(offered(&ann, "?region=US").await, [uri(&america)]);
        assert_eq!(by_header("DE").await, uri(&europe));
        assert_eq!(by_header("US").await, uri(&america));
    }
    // Where none is near, any is told of.
    let seen = Mutex::new(BTreeSet::new());
    eventually("both are drawn", || async {
        let drawn = offered(&ann, "?region=asia").await;
        let mut seen = seen.lock().unwrap();
        seen.extend(drawn);
        seen.len() == 2
    })
    .await;
    let (status, refused) = ann.get("/api/turn/credentials/?region=north%20sea").await;
    assert_eq!(
        (status, refused),
        (
            400,
            json!({"code": "validation_error", "region": ["A label of 1 to 32 letters, digits, - and _."]})
        )
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_alone_shows_how_it_is_and_nothing_else() {
    let shared = Shared::start();
    let _chat = shared.node("serve", &[]);
    let relay = shared.relay(&[]);
    for (path, expected) in [
        ("/healthz", 200),
        ("/readyz", 200),
        ("/metrics", 200),
        ("/", 404),
        ("/api/config/", 404),
        ("/api/auth/login/", 404),
        ("/ws/", 404),
        ("/config.js", 404),
    ] {
        let answered = relay
            .server
            .request(Method::GET, path)
            .send()
            .await
            .unwrap();
        assert_eq!(answered.status(), expected, "{path}");
    }
    assert_eq!(printed(&relay.server, &["ready"]), "The server is ready.\n");
    let output = relay.server.command(&["doctor", "--json"], "");
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let checks = found["checks"].as_array().unwrap();
    let of = |check: &str| -> Vec<&Value> {
        let found = checks.iter().filter(|found| found["check"] == check);
        found.collect()
    };
    assert!(
        of("relay").iter().all(|found| found["state"] == "ok"),
        "{found}"
    );
    assert_eq!(of("relay_host")[0]["code"], "relay_host_address");
    assert!(of("name").is_empty(), "{found}");
}

#[test]
fn a_relay_without_the_database_of_others_is_refused() {
    let directory: TempDir = tempfile::tempdir().unwrap();
    let refused = |arguments: &[&str]| {
        let output = moznods(directory.path()).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{}", text(&output.stdout));
        text(&output.stderr)
    };
    assert!(refused(&["relay"]).starts_with("moznods: storage.database_url = \"\": expected"),);
    let postgres = "--storage-database-url=postgres://nobody:secret@127.0.0.1:1/none";
    let error = refused(&["relay", postgres]);
    assert!(
        error.starts_with("moznods: storage.redis_url = \"\": expected"),
        "{error}"
    );
    assert!(!error.contains("secret"), "{error}");
}
