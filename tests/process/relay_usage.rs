//! What is relayed for whom: counted while calls run, kept over crashes, shown by month.

use reqwest::Method;
use serde_json::{Value, json};
use webrtc_util::Conn;

use crate::relay::Relay;
use crate::relay_admin::{admin, printed};
use crate::support::{Server, answer, eventually, moznods, text};

const USAGE: &str = "/api/admin/relay/usage/";

/// What the command says of the owner of this name.
fn of(server: &Server, name: &str) -> Value {
    let all = printed(server, &["turn", "usage", "--json"]);
    let all: Vec<Value> = serde_json::from_str(&all).unwrap();
    let found = all.into_iter().find(|seen| seen["owner"]["name"] == name);
    found.unwrap_or(Value::Null)
}

/// Payload that came and went for the owner of this name.
fn bytes(server: &Server, name: &str) -> (u64, u64) {
    let seen = of(server, name);
    let number = |key: &str| seen[key].as_u64().unwrap_or(0);
    (number("bytes_to_peers"), number("bytes_to_clients"))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_relayed_is_counted_while_calls_run_and_a_crash_loses_little() {
    let mut relay = Relay::start(&["--turn-workers=2"]);
    let (id, anns, bobs) = {
        let (ann, bob) = (
            relay.server.user("ann").await,
            relay.server.user("bob").await,
        );
        (
            bob.id,
            relay.credential(&ann).await,
            relay.credential(&bob).await,
        )
    };
    assert_eq!(printed(&relay.server, &["turn", "usage"]), "");
    let (_ann, ann_end) = relay.webrtc_rs(&anns).await.unwrap();
    let (_bob, bob_end) = relay.webrtc_rs(&bobs).await.unwrap();
    let (of_ann, of_bob) = (ann_end.local_addr().unwrap(), bob_end.local_addr().unwrap());
    // Until the other side has permitted it, it is lost, and has been passed on all the same.
    for _ in 0..10 {
        ann_end.send_to(&[0; 1000], of_bob).await.unwrap();
        bob_end.send_to(&[0; 100], of_ann).await.unwrap();
    }
    eventually("both are counted", || async {
        (bytes(&relay.server, "ann").0, bytes(&relay.server, "bob").0) == (10_000, 1000)
    })
    .await;
    assert!(bytes(&relay.server, "ann").1 <= 1000);
    assert_eq!(of(&relay.server, "ann")["allocations"], 1);
    assert_eq!(relay.live().await, 2.0, "the call still runs");

    // Nobody asks now: it is written by itself.
    let written = || {
        relay
            .server
            .log()
            .matches("what was relayed has been written")
            .count()
    };
    let before = written();
    ann_end.send_to(&[0; 1000], of_bob).await.unwrap();
    eventually("it is written", || async { written() > before }).await;
    relay.server.crash_and_restart();
    assert_eq!(bytes(&relay.server, "ann").0, 11_000);
    let (_ann, ann_end) = relay.webrtc_rs(&anns).await.unwrap();
    let (_bob, bob_end) = relay.webrtc_rs(&bobs).await.unwrap();
    let of_bob = bob_end.local_addr().unwrap();
    ann_end.send_to(&[0; 500], of_bob).await.unwrap();
    eventually("it goes on from there", || async {
        bytes(&relay.server, "ann").0 == 11_500
    })
    .await;

    // A clean stop loses nothing, and the command needs no server.
    ann_end.send_to(&[0; 7], of_bob).await.unwrap();
    eventually("it has been passed on", || async {
        relay
            .metric("moznods_turn_relayed_bytes_total{direction=\"to_peer\"}")
            .await
            == 507.0
    })
    .await;
    relay.server.signal("TERM");
    assert_eq!(relay.server.ended().await.code(), Some(0));
    assert_eq!(bytes(&relay.server, "ann").0, 11_507);
    printed(&relay.server, &["user", "delete", "bob"]);
    let all = printed(&relay.server, &["turn", "usage"]);
    let lines: Vec<&str> = all.lines().collect();
    assert!(lines[0].starts_with("ann  11507 bytes to peers, "), "{all}");
    assert!(lines[0].ends_with(" s in 2 allocations"), "{all}");
    assert!(
        lines[1].starts_with(&format!("user {id} (gone)  1000 bytes to peers, ")),
        "{all}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn usage_is_shown_to_administrators_by_month() {
    let relay = Relay::start(&[]);
    let server = &relay.server;
    let ann = server.user("ann").await;
    let root = admin(server).await;
    let (client, end) = relay
        .webrtc_rs(&relay.credential(&ann).await)
        .await
        .unwrap();
    let _ = (end.close().await, client.close().await);
    eventually("the allocation has ended", || async {
        relay.live().await == 0.0
    })
    .await;
    let (status, used) = root.get(USAGE).await;
    assert_eq!(status, 200);
    let month = used[0]["month"].as_str().unwrap().to_owned();
    let seconds = used[0]["seconds"].as_u64().unwrap();
    assert!(seconds < 60);
    let expected = json!([{
        "month": month, "owner": {"kind": "user", "id": ann.id, "name": "ann"}, "bytes_to_peers": 0,
        "bytes_to_clients": 0, "seconds": seconds, "allocations": 1,
    }]);
    assert_eq!(used, expected);
    assert_eq!(
        root.get(&format!("{USAGE}?month={month}")).await.1,
        expected
    );
    assert_eq!(
        root.get(&format!("{USAGE}?month=2020-01")).await,
        (200, json!([]))
    );
    let (status, refused) = root.get(&format!("{USAGE}?month=2020")).await;
    assert_eq!(
        (status, &refused["code"]),
        (400, &json!("validation_error"))
    );
    assert_eq!(answer(ann.request(Method::GET, USAGE)).await.0, 403);
    assert_eq!(
        printed(server, &["turn", "usage", "--month", "2020-01", "--json"]),
        "[]\n"
    );
    let ended = "moznods_turn_allocations_ended_total{reason=\"released\"}";
    assert_eq!(relay.metric(ended).await, 1.0);

    let output = moznods(server.directory())
        .args(["turn", "usage", "--month", "May"])
        .output();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("not a month as YYYY-MM, such as 2026-01"));
}
