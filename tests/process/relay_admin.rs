//! The relay as its administrator sees it: what is relayed at this moment, by whom, and its end.

use std::os::unix::fs::{FileTypeExt, PermissionsExt};

use reqwest::Method;
use serde_json::{Value, json};
use webrtc_util::Conn;

use crate::relay::Relay;
use crate::support::{PASSWORD, Server, User, answer, eventually, text};

const ALLOCATIONS: &str = "/api/admin/relay/allocations/";

/// Makes the account of an administrator and signs it in.
pub async fn admin(server: &Server) -> User<'_> {
    let add = [
        "user",
        "add",
        "--username",
        "root",
        "--email",
        "root@example.org",
        "--admin",
    ];
    let output = server.command(&add, PASSWORD);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let body = json!({"username": "root", "password": PASSWORD});
    let (status, login) =
        answer(server.request(Method::POST, "/api/auth/login/").json(&body)).await;
    assert_eq!(status, 200, "{login}");
    server.signed_in(&login)
}

/// What a command prints that must succeed.
pub fn printed(server: &Server, arguments: &[&str]) -> String {
    let output = server.command(arguments, "");
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

fn listed(server: &Server, arguments: &[&str]) -> Vec<Value> {
    let all = [&["turn", "allocations", "--json"], arguments].concat();
    serde_json::from_str(&printed(server, &all)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_relayed_is_listed_and_ended_by_the_api_and_by_commands() {
    let relay = Relay::start(&["--turn-workers=2"]);
    let server = &relay.server;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let root = admin(server).await;
    assert_eq!(root.get(ALLOCATIONS).await, (200, json!([])));
    assert_eq!(printed(server, &["turn", "allocations"]), "");

    let credential = relay.credential(&ann).await;
    let mut ends = Vec::new();
    for _ in 0..3 {
        ends.push(relay.webrtc_rs(&credential).await.unwrap());
    }
    let (_client, of_bob) = relay
        .webrtc_rs(&relay.credential(&bob).await)
        .await
        .unwrap();
    let address = |end: &dyn Conn| json!([end.local_addr().unwrap()]);
    // What is sent before the other side permits it may be lost, and counts all the same for the one who sent it.
    of_bob
        .send_to(b"12345", ends[0].1.local_addr().unwrap())
        .await
        .unwrap();

    let of = |all: &[Value], relay: &Value| {
        let found = all.iter().find(|seen| &seen["relay"] == relay);
        found
            .unwrap_or_else(|| panic!("no {relay} in {all:?}"))
            .clone()
    };
    let bobs = address(&of_bob);
    eventually("what was sent is counted", || async {
        of(&listed(server, &[]), &bobs)["to_peer"]["bytes"] == 5
    })
    .await;
    let (status, all) = root.get(ALLOCATIONS).await;
    let all = all.as_array().unwrap().clone();
    assert_eq!((status, all.len()), (200, 4));
    let seen = of(&all, &bobs);
    assert_eq!(
        seen["owner"],
        json!({"kind": "user", "id": bob.id, "name": "bob"})
    );
    assert!(
        seen["username"]
            .as_str()
            .unwrap()
            .ends_with(&format!(":{}", bob.id))
    );
    assert_eq!(seen["transport"], "udp");
    assert_eq!(seen["relay_protocol"], "udp");
    assert_eq!(seen["server"], format!("127.0.0.1:{}", relay.port));
    assert_eq!(seen["node"], format!("127.0.0.1:{}", relay.port));
    assert!(seen["client"].as_str().unwrap().starts_with("127.0.0.1:"));
    assert_eq!(seen["to_peer"], json!({"packets": 1, "bytes": 5}));
    assert!(seen["age"].as_u64().unwrap() < 60 && seen["remaining"].as_u64().unwrap() > 500);
    let line = printed(
        server,
        &["turn", "allocations", "--user", "BOB@example.org"],
    );
    assert_eq!(line.lines().count(), 1);
    let id = seen["id"].as_str().unwrap();
    assert!(
        line.starts_with(&format!("{id}  bob  udp 127.0.0.1:")),
        "{line}"
    );
    assert_eq!(listed(server, &["--user", "bob"]).len(), 1);
    assert_eq!(
        root.get(&format!("{ALLOCATIONS}?user=ann"))
            .await
            .1
            .as_array()
            .unwrap()
            .len(),
        3
    );

    // One by the command, one by the API, the rest of ann's by her name; nobody else's goes.
    let id_of = |end: &dyn Conn| of(&all, &address(end))["id"].as_str().unwrap().to_owned();
    let first = id_of(&ends[0].1);
    assert_eq!(
        printed(server, &["turn", "kill", &first]),
        format!("Ended {first}.\n")
    );
    std::net::UdpSocket::bind(ends[0].1.local_addr().unwrap()).expect("its port is free");
    let again = server.command(&["turn", "kill", &first], "");
    assert_eq!(again.status.code(), Some(1));
    assert_eq!(
        text(&again.stderr),
        format!(
            "moznods: allocation {first}: there is none of this name; `moznods turn allocations` lists those there are\n"
        )
    );
    let second = format!("{ALLOCATIONS}{}/", id_of(&ends[1].1));
    assert_eq!(answer(root.request(Method::DELETE, &second)).await.0, 204);
    assert_eq!(answer(root.request(Method::DELETE, &second)).await.0, 404);
    assert_eq!(relay.live().await, 2.0);
    assert_eq!(
        printed(server, &["turn", "kill", "--user", "ann"]),
        "Ended 1 allocations.\n"
    );
    assert_eq!(relay.live().await, 1.0);
    let (status, ended) =
        answer(root.request(Method::DELETE, &format!("{ALLOCATIONS}?user=bob"))).await;
    assert_eq!((status, ended), (200, json!({"ended": 1, "silent": []})));
    assert!(listed(server, &[]).is_empty());
    let (_, nodes) = root.get("/api/admin/relay/nodes/").await;
    assert_eq!(
        nodes,
        json!([{
            "name": format!("127.0.0.1:{}", relay.port),
            "regions": [],
            "state": "serving",
            "allocations": 0,
            "bytes_per_second": 0,
            "load": 0.0,
        }])
    );
    let (_, log) = root.get("/api/admin/audit/?limit=4").await;
    let noted = log["results"].as_array().unwrap().iter().map(|entry| {
        let kind = entry["actor"]["kind"].as_str().unwrap();
        let action = entry["action"].as_str().unwrap();
        (kind, action, entry["target"]["name"].as_str().unwrap())
    });
    let second = id_of(&ends[1].1);
    assert_eq!(
        noted.collect::<Vec<_>>(),
        [
            ("user", "allocation.end_all", "bob"),
            ("command_line", "allocation.end_all", "ann"),
            ("user", "allocation.end", second.as_str()),
            ("command_line", "allocation.end", first.as_str()),
        ],
        "what found nothing is not noted"
    );
    relay
        .webrtc_rs(&credential)
        .await
        .expect("killed is not blocked");
}

#[tokio::test(flavor = "multi_thread")]
async fn live_allocations_are_for_administrators_alone() {
    let relay = Relay::start(&[]);
    let server = &relay.server;
    let ann = server.user("ann").await;
    let root = admin(server).await;
    let (_client, _end) = relay
        .webrtc_rs(&relay.credential(&ann).await)
        .await
        .unwrap();
    let (_, all) = root.get(ALLOCATIONS).await;
    let one = format!("{ALLOCATIONS}{}/", all[0]["id"].as_str().unwrap());
    let all_of_ann = format!("{ALLOCATIONS}?user=ann");
    for (method, path) in [
        (Method::GET, ALLOCATIONS),
        (Method::DELETE, &all_of_ann),
        (Method::DELETE, &one),
    ] {
        let (status, refused) = answer(ann.request(method.clone(), path)).await;
        assert_eq!(
            (status, &refused["code"]),
            (403, &json!("permission_denied")),
            "{path}"
        );
        assert_eq!(answer(server.request(method, path)).await.0, 401, "{path}");
    }
    assert_eq!(relay.live().await, 1.0);
    for (path, status) in [
        (format!("{ALLOCATIONS}rubbish/"), 404),
        (format!("{ALLOCATIONS}0-1/"), 404),
        (ALLOCATIONS.to_owned(), 400),
        (format!("{ALLOCATIONS}?user=nobody"), 400),
    ] {
        let refused = answer(root.request(Method::DELETE, &path)).await;
        assert_eq!(refused.0, status, "{path}: {}", refused.1);
    }
    assert_eq!(relay.live().await, 1.0);
}

#[tokio::test]
async fn the_control_socket_is_its_owners_alone_and_goes_with_the_server() {
    let mut server = Server::start(&[]);
    let file = server.directory().join("data/control.sock");
    let mode = |file| {
        let found = std::fs::symlink_metadata(file).unwrap();
        assert!(found.file_type().is_socket());
        found.permissions().mode() & 0o777
    };
    assert_eq!(mode(&file), 0o600);
    // It answers what administrators ask and nothing else.
    let error = |arguments: &[&str]| {
        let output = server.command(arguments, "");
        assert_eq!(output.status.code(), Some(1), "{}", text(&output.stdout));
        text(&output.stderr)
    };
    assert_eq!(
        error(&["turn", "allocations"]),
        "moznods: the server: The relay is not running here.\n"
    );
    assert_eq!(
        error(&["turn", "kill", "--user", "no body"]),
        "moznods: the server: user: There is no such user.\n"
    );
    // One that a crash left is replaced.
    server.crash_and_restart();
    assert_eq!(mode(&file), 0o600);
    server.command(&["turn", "allocations"], "");
    server.signal("TERM");
    assert_eq!(server.ended().await.code(), Some(0));
    assert!(!file.exists());
    let output = server.command(&["turn", "kill", "0-1"], "");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        text(&output.stderr),
        "moznods: data_dir = \"data\": no `moznods serve` is running on it; expected to be run where it runs, or its \
         --data-dir\n"
    );
}

#[tokio::test]
async fn what_is_to_be_killed_must_be_said() {
    let directory = tempfile::tempdir().unwrap();
    for (arguments, part) in [
        (&["turn", "kill"][..], "required"),
        (
            &["turn", "kill", "rubbish"],
            "not the name of an allocation, such as 0-5f3a9c21d",
        ),
        (
            &["turn", "kill", "0-1", "--user", "ann"],
            "cannot be used with",
        ),
    ] {
        let output = crate::support::moznods(directory.path())
            .args(arguments)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2));
        let error = text(&output.stderr);
        assert!(
            error.contains(part) && error.lines().count() == 1,
            "{error}"
        );
    }
}
