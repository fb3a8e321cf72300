//! Secrets of other programs as administrators make and end them by the API.

use reqwest::Method;
use serde_json::{Value, json};

use crate::relay::Relay;
use crate::relay_admin::{admin, printed};
use crate::support::{Server, User, answer, eventually};

const SECRETS: &str = "/api/admin/relay/secrets/";

async fn delete(by: &User<'_>, path: &str) -> (u16, Value) {
    answer(by.request(Method::DELETE, path)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn administrators_make_replace_and_end_secrets_of_other_programs() {
    let relay = Relay::start(&[]);
    let server = &relay.server;
    let root = admin(server).await;
    assert_eq!(root.get(SECRETS).await, (200, json!([])));
    // coturn's client makes the credential from the secret by itself.
    let relays = |key: &str| {
        let output = relay.coturn(
            "turnutils_uclient",
            &["-W", key, "-u", "bob", "-y", "-c", "-n", "1"],
        );
        output.status.success()
    };

    let wanted = json!({"name": "matrix"});
    let (status, made) = root.post(SECRETS, wanted).await;
    assert_eq!((status, &made["name"]), (201, &json!("matrix")));
    let first = made["secret"].as_str().unwrap().to_owned();
    assert!(relays(&first), "at once");
    let bounded =
        json!({"name": "cloud", "max_allocations": "5", "max_bytes_per_month": 1_i64 << 40});
    assert_eq!(root.post(SECRETS, bounded).await.0, 201);
    let (_, listed) = root.get(SECRETS).await;
    assert_eq!(
        (&listed[0]["name"], &listed[0]["max_allocations"]),
        (&json!("cloud"), &json!(5))
    );
    assert_eq!(listed[0]["max_bytes_per_month"], json!(1_i64 << 40));
    assert_eq!(
        (&listed[1]["name"], &listed[1]["max_allocations"]),
        (&json!("matrix"), &Value::Null)
    );
    assert_eq!(listed[1]["previous_until"], Value::Null);
    assert!(!listed.to_string().contains(&first));
    let by_command: Value =
        serde_json::from_str(&printed(server, &["turn", "secret", "list", "--json"])).unwrap();
    assert_eq!(by_command, listed);

    let rotate = format!("{SECRETS}matrix/rotate/");
    let second = root.done(&rotate, json!({})).await["secret"].clone();
    let second = second.as_str().unwrap();
    assert!(relays(second) && relays(&first), "both, for a while");
    let (_, listed) = root.get(SECRETS).await;
    assert!(listed[1]["previous_until"].is_string());
    let third = root.done(&rotate, json!({"keep_seconds": 0})).await["secret"].clone();
    let third = third.as_str().unwrap();
    assert!(relays(third), "the newest");
    assert!(!relays(&first) && !relays(second), "no older one");

    assert!(
        relay.live().await > 0.0,
        "coturn's client leaves its allocations behind"
    );
    let one = format!("{SECRETS}matrix/");
    assert_eq!(delete(&root, &one).await.0, 204);
    eventually("all of its allocations end", || async {
        relay.live().await == 0.0
    })
    .await;
    assert!(!relays(third));

    let (_, found) = root.get("/api/admin/audit/?actor=root").await;
    let noted: Vec<_> = found["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| (entry["action"].as_str(), entry["target"]["name"].as_str()))
        .collect();
    assert_eq!(
        noted,
        [
            (Some("relay_secret.revoke"), Some("matrix")),
            (Some("relay_secret.rotate"), Some("matrix")),
            (Some("relay_secret.rotate"), Some("matrix")),
            (Some("relay_secret.add"), Some("cloud")),
            (Some("relay_secret.add"), Some("matrix")),
        ]
    );
    assert_eq!(found["results"][3]["details"]["max_allocations"], 5);
    for secret in [&first, second, third] {
        assert!(!found.to_string().contains(secret) && !server.log().contains(secret));
    }
}

#[tokio::test]
async fn secrets_are_for_administrators_and_what_is_wrong_with_one_is_said() {
    let server = Server::start(&[]);
    let root = admin(&server).await;
    let ann = server.user("ann").await;
    let rotate = format!("{SECRETS}matrix/rotate/");
    let one = format!("{SECRETS}matrix/");
    let matrix = json!({"name": "matrix"});
    assert_eq!(root.post(SECRETS, matrix.clone()).await.0, 201);

    for (method, path) in [
        (Method::GET, SECRETS),
        (Method::POST, SECRETS),
        (Method::POST, &rotate),
        (Method::DELETE, &one),
    ] {
        let nobody = server.request(method.clone(), path).json(&matrix);
        assert_eq!(answer(nobody).await.0, 401, "{method} {path}");
        let user = ann.request(method.clone(), path).json(&matrix);
        assert_eq!(answer(user).await.0, 403, "{method} {path}");
    }

    let long = "x".repeat(65);
    for (field, body, part) in [
        ("name", json!({}), "1 to 64 letters"),
        ("name", json!({"name": ""}), "1 to 64 letters"),
        ("name", json!({"name": "two words"}), "1 to 64 letters"),
        ("name", json!({"name": ".."}), "begin with a letter"),
        ("name", json!({"name": "имя"}), "letters (a-z)"),
        ("name", json!({"name": long}), "1 to 64 letters"),
        ("name", matrix, "taken"),
        (
            "max_allocations",
            json!({"name": "x", "max_allocations": 0}),
            "1 to 4294967295",
        ),
        (
            "max_allocations",
            json!({"name": "x", "max_allocations": 1_i64 << 32}),
            "1 to 4294967295",
        ),
        (
            "max_allocations",
            json!({"name": "x", "max_allocations": []}),
            "wrong type",
        ),
        (
            "max_bytes_per_month",
            json!({"name": "x", "max_bytes_per_month": -1}),
            "positive",
        ),
    ] {
        let (status, refused) = root.post(SECRETS, body.clone()).await;
        assert_eq!(status, 400, "{body}: {refused}");
        let text = refused[field][0].as_str().unwrap();
        assert!(text.contains(part), "{body}: {refused}");
    }
    for seconds in [-1, 31_536_001] {
        let (status, refused) = root.post(&rotate, json!({"keep_seconds": seconds})).await;
        assert_eq!(status, 400);
        let text = refused["keep_seconds"][0].as_str().unwrap();
        assert!(text.contains("0 to 31536000"), "{refused}");
    }
    let (_, listed) = root.get(SECRETS).await;
    assert_eq!(listed.as_array().unwrap().len(), 1, "nothing was made");

    for name in ["cloud", "two%20words", "%D0%B8"] {
        let path = format!("{SECRETS}{name}/");
        assert_eq!(delete(&root, &path).await.0, 404, "{name}");
        let path = format!("{path}rotate/");
        assert_eq!(root.post(&path, json!({})).await.0, 404, "{name}");
    }
}
