//! REST: what is refused, with status and code.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Server, User, answer};

/// What one user may not do, and how it is refused: method, path, body, status, code.
type Refused<'a> = (&'a str, String, Value, u16, &'a str);

async fn is_refused(user: &User<'_>, cases: &[Refused<'_>]) {
    for (method, path, body, status, code) in cases {
        let request = user.request(method.parse().unwrap(), path).json(body);
        let (got, answered) = answer(request).await;
        let got = (got, answered["code"].as_str().unwrap_or_default());
        assert_eq!(got, (*status, *code), "{method} {path} {body}: {answered}");
    }
}

#[tokio::test]
async fn what_a_stranger_to_a_room_may_not_do() {
    let server = Server::start(&[]);
    let ann = server.user("ann").await;
    let eve = server.user("eve").await;
    let room = ann.room("secret").await;
    let path = format!("/api/chat/{room}/messages/");
    let message = ann.done(&path, json!({"content": "x"})).await["id"].clone();
    let rooms = |path: &str| format!("/api/rooms/{room}/{path}");
    let denied = "permission_denied";
    is_refused(
        &eve,
        &[
            ("GET", rooms(""), json!({}), 403, denied),
            ("PATCH", rooms(""), json!({"name": "x"}), 403, denied),
            ("DELETE", rooms(""), json!({}), 403, denied),
            (
                "POST",
                rooms("join/"),
                json!({}),
                403,
                "invitation_required",
            ),
            ("POST", rooms("leave/"), json!({}), 403, denied),
            ("POST", rooms("pin/"), json!({}), 403, denied),
            ("GET", rooms("participants/"), json!({}), 403, denied),
            (
                "POST",
                rooms("add-participant/"),
                json!({"id": eve.id}),
                403,
                denied,
            ),
            (
                "POST",
                rooms("remove-participant/"),
                json!({"id": ann.id}),
                403,
                denied,
            ),
            ("GET", rooms("call-state/"), json!({}), 403, denied),
            ("POST", rooms("decline-call/"), json!({}), 403, denied),
            ("POST", rooms("invite/"), json!({}), 403, denied),
            ("GET", rooms("messages/"), json!({}), 403, denied),
            ("GET", path.clone(), json!({}), 403, denied),
            ("POST", path, json!({"content": "x"}), 403, denied),
            (
                "POST",
                format!("/api/chat/messages/{message}/read/"),
                json!({}),
                403,
                denied,
            ),
        ],
    )
    .await;
    let (_, page) = eve.get("/api/rooms/").await;
    assert_eq!(page["count"], 0);
}

#[tokio::test]
async fn what_nobody_may_do_in_a_room() {
    let server = Server::start(&[]);
    let ann = server.user("ann").await;
    let bob = server.user("bob").await;
    let room = ann.room_with(&[&bob]).await;
    let rooms = |path: &str| format!("/api/rooms/{room}/{path}");
    let messages = rooms("messages/");
    let invalid = "validation_error";
    is_refused(
        &ann,
        &[
            (
                "POST",
                "/api/rooms/".into(),
                json!({"name": "  "}),
                400,
                invalid,
            ),
            (
                "POST",
                "/api/rooms/".into(),
                json!({"name": "x".repeat(256)}),
                400,
                invalid,
            ),
            (
                "POST",
                "/api/rooms/".into(),
                json!({"name": ["x"]}),
                400,
                invalid,
            ),
            ("POST", "/api/rooms/".into(), json!([1]), 400, "parse_error"),
            ("PATCH", rooms(""), json!({"name": ""}), 400, invalid),
            ("GET", "/api/rooms/0/".into(), json!({}), 404, "not_found"),
            ("GET", "/api/rooms/-1/".into(), json!({}), 404, "not_found"),
            ("GET", "/api/rooms/x/".into(), json!({}), 404, "not_found"),
            (
                "GET",
                "/api/rooms/99999999999999999999/".into(),
                json!({}),
                404,
                "not_found",
            ),
            (
                "POST",
                rooms("join/"),
                json!({}),
                400,
                "already_participant",
            ),
            (
                "POST",
                rooms("add-participant/"),
                json!({"id": bob.id}),
                400,
                "already_participant",
            ),
            (
                "POST",
                rooms("add-participant/"),
                json!({"username": "x"}),
                404,
                "not_found",
            ),
            ("POST", rooms("add-participant/"), json!({}), 400, invalid),
            (
                "POST",
                rooms("remove-participant/"),
                json!({"email": "x@x"}),
                404,
                "not_found",
            ),
            (
                "POST",
                rooms("invite/"),
                json!({"expires_in_hours": 0}),
                400,
                invalid,
            ),
            (
                "POST",
                rooms("invite/"),
                json!({"expires_in_hours": i64::MAX}),
                400,
                invalid,
            ),
            (
                "POST",
                rooms("invite/"),
                json!({"expires_in_hours": "soon"}),
                400,
                invalid,
            ),
            (
                "POST",
                "/api/rooms/direct/".into(),
                json!({"user_id": ann.id}),
                400,
                invalid,
            ),
            (
                "POST",
                "/api/rooms/direct/".into(),
                json!({"user_id": 999}),
                404,
                "not_found",
            ),
            ("POST", "/api/rooms/direct/".into(), json!({}), 400, invalid),
            (
                "POST",
                messages.clone(),
                json!({"content": " \n\t"}),
                400,
                invalid,
            ),
            ("POST", messages.clone(), json!({}), 400, invalid),
            (
                "POST",
                messages.clone(),
                json!({"content": "x".repeat(8001)}),
                400,
                invalid,
            ),
            (
                "POST",
                messages.clone(),
                json!({"content": "x", "attachment_ids": [1]}),
                400,
                invalid,
            ),
            (
                "POST",
                messages.clone(),
                json!({"content": "x", "attachment_ids": "1"}),
                400,
                invalid,
            ),
            (
                "POST",
                messages.clone(),
                json!({"content": "x".repeat(140_000)}),
                413,
                "payload_too_large",
            ),
            (
                "GET",
                format!("{messages}?page=0"),
                json!({}),
                404,
                "not_found",
            ),
            (
                "GET",
                format!("{messages}?page=2"),
                json!({}),
                404,
                "not_found",
            ),
            (
                "POST",
                "/api/rooms/".into(),
                json!({"name": "a\u{202e}b"}),
                400,
                invalid,
            ),
            ("PUT", messages, json!({}), 405, "method_not_allowed"),
            (
                "POST",
                "/api/chat/messages/999/read/".into(),
                json!({}),
                404,
                "not_found",
            ),
            ("GET", "/api/nothing/".into(), json!({}), 404, "not_found"),
            ("POST", "/api".into(), json!({}), 404, "not_found"),
        ],
    )
    .await;
    is_refused(
        &bob,
        &[
            (
                "PATCH",
                rooms(""),
                json!({"name": "x"}),
                403,
                "permission_denied",
            ),
            ("DELETE", rooms(""), json!({}), 403, "permission_denied"),
            (
                "POST",
                rooms("remove-participant/"),
                json!({"id": ann.id}),
                403,
                "permission_denied",
            ),
        ],
    )
    .await;
    for (kind, body, status, code) in [
        ("application/json", "{", 400, "parse_error"),
        ("text/plain", "x", 415, "unsupported_media_type"),
        ("multipart/form-data", "x", 400, "parse_error"),
    ] {
        let request = ann
            .request(Method::POST, "/api/rooms/")
            .header("Content-Type", kind)
            .body(body);
        let (got, answered) = answer(request).await;
        assert_eq!(
            (got, answered["code"].as_str()),
            (status, Some(code)),
            "{kind}"
        );
    }
}

#[tokio::test]
async fn a_direct_room_is_the_same_for_both_and_for_nobody_else() {
    let server = Server::start(&[]);
    let ann = server.user("ann").await;
    let bob = server.user("bob").await;
    let eve = server.user("eve").await;
    let room = ann
        .done("/api/rooms/direct/", json!({"user_id": bob.id}))
        .await;
    assert_eq!(
        (&room["name"], &room["is_direct"]),
        (&json!("DM: ann & bob"), &json!(true))
    );
    let again = bob
        .done("/api/rooms/direct/", json!({"user_id": ann.id}))
        .await;
    assert_eq!(again["id"], room["id"]);
    let rooms = |path: &str| format!("/api/rooms/{}/{path}", room["id"]);
    let denied = "permission_denied";
    is_refused(
        &ann,
        &[
            (
                "POST",
                rooms("add-participant/"),
                json!({"id": eve.id}),
                403,
                denied,
            ),
            (
                "POST",
                rooms("remove-participant/"),
                json!({"id": bob.id}),
                403,
                denied,
            ),
            ("POST", rooms("invite/"), json!({}), 403, denied),
            ("PATCH", rooms(""), json!({"is_public": true}), 403, denied),
            ("DELETE", rooms(""), json!({}), 403, denied),
        ],
    )
    .await;
    is_refused(&eve, &[("POST", rooms("join/"), json!({}), 403, denied)]).await;
}

#[tokio::test]
async fn without_a_token_there_is_nothing() {
    let server = Server::start(&[]);
    let ann = server.user("ann").await;
    let room = ann.room("room").await;
    // All that there are, but for those that sign somebody in and those that tell of the server.
    let routes = [
        ("POST", "/api/auth/logout/"),
        ("POST", "/api/auth/logout-all/"),
        ("GET", "/api/auth/me/"),
        ("GET", "/api/admin/relay/allocations/"),
        ("DELETE", "/api/admin/relay/allocations/"),
        ("DELETE", "/api/admin/relay/allocations/0-1/"),
        ("GET", "/api/admin/relay/usage/"),
        ("PATCH", "/api/auth/profile/"),
        ("GET", "/api/rooms/"),
        ("POST", "/api/rooms/"),
        ("POST", "/api/rooms/direct/"),
        (
            "POST",
            "/api/rooms/join/00000000-0000-4000-8000-000000000000/",
        ),
        ("GET", "/api/rooms/{room}/"),
        ("PATCH", "/api/rooms/{room}/"),
        ("DELETE", "/api/rooms/{room}/"),
        ("POST", "/api/rooms/{room}/join/"),
        ("POST", "/api/rooms/{room}/leave/"),
        ("POST", "/api/rooms/{room}/pin/"),
        ("DELETE", "/api/rooms/{room}/pin/"),
        ("GET", "/api/rooms/{room}/participants/"),
        ("POST", "/api/rooms/{room}/add-participant/"),
        ("POST", "/api/rooms/{room}/remove-participant/"),
        ("GET", "/api/rooms/{room}/call-state/"),
        ("POST", "/api/rooms/{room}/decline-call/"),
        ("POST", "/api/rooms/{room}/invite/"),
        (
            "GET",
            "/api/rooms/join/00000000-0000-4000-8000-000000000000/",
        ),
        ("GET", "/api/rooms/{room}/invitations/"),
        ("DELETE", "/api/rooms/{room}/invitations/x/"),
        ("PATCH", "/api/rooms/{room}/participants/1/"),
        ("DELETE", "/api/rooms/{room}/participants/1/"),
        ("GET", "/api/rooms/{room}/bans/"),
        ("POST", "/api/rooms/{room}/bans/"),
        ("DELETE", "/api/rooms/{room}/bans/1/"),
        ("POST", "/api/rooms/{room}/transfer/"),
        ("POST", "/api/rooms/{room}/mute/"),
        ("DELETE", "/api/rooms/{room}/mute/"),
        ("GET", "/api/rooms/public/"),
        ("GET", "/api/users/"),
        ("GET", "/api/rooms/{room}/messages/"),
        ("POST", "/api/rooms/{room}/messages/"),
        ("GET", "/api/chat/{room}/messages/"),
        ("POST", "/api/chat/{room}/messages/"),
        ("POST", "/api/chat/messages/1/read/"),
        ("GET", "/api/turn/credentials/"),
    ];
    for (method, path) in routes {
        let path = path.replace("{room}", &room.to_string());
        for header in [
            None,
            Some("Token nonsense"),
            Some("Basic eDp5"),
            Some("Token"),
        ] {
            let mut request = server.request(method.parse().unwrap(), &path);
            if let Some(header) = header {
                request = request.header("Authorization", header);
            }
            let (status, answered) = answer(request).await;
            assert_eq!(status, 401, "{path} {header:?}");
            assert_eq!(answered["code"], "authentication_required");
        }
    }
}
