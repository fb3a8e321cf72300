//! REST: who may do what in a room, as `docs/rights.md` says.

use std::collections::HashMap;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Server, User, answer};

/// What one does: as the documentation calls it, method, path in the room, body. `{target}`, `{newcomer}` and
/// `{invitation}` stand for those of the room.
const ACTS: &[(&str, &str, &str, &str)] = &[
    (
        "read messages, participants and the state of the call",
        "GET",
        "",
        "",
    ),
    (
        "read messages, participants and the state of the call",
        "GET",
        "messages/",
        "",
    ),
    (
        "read messages, participants and the state of the call",
        "GET",
        "participants/",
        "",
    ),
    (
        "read messages, participants and the state of the call",
        "GET",
        "call-state/",
        "",
    ),
    (
        "write messages, react, take part in calls",
        "POST",
        "messages/",
        r#"{"content": "x"}"#,
    ),
    (
        "make invitations, see and revoke one's own",
        "POST",
        "invite/",
        "{}",
    ),
    ("make, see and end webhooks", "GET", "hooks/", ""),
    (
        "make, see and end webhooks",
        "POST",
        "hooks/",
        r#"{"name": "x"}"#,
    ),
    ("change the topic", "PATCH", "", r#"{"topic": "x"}"#),
    (
        "see and revoke all invitations",
        "DELETE",
        "invitations/{invitation}/",
        "",
    ),
    ("remove somebody", "DELETE", "participants/{target}/", ""),
    ("ban somebody, see bans and lift them", "GET", "bans/", ""),
    (
        "ban somebody, see bans and lift them",
        "POST",
        "bans/",
        r#"{"user_id": {target}}"#,
    ),
    (
        "add somebody without an invitation",
        "POST",
        "add-participant/",
        r#"{"id": {newcomer}}"#,
    ),
    (
        "add somebody without an invitation",
        "POST",
        "remove-participant/",
        r#"{"id": {target}}"#,
    ),
    ("change the name", "PATCH", "", r#"{"name": "x"}"#),
    (
        "change the name",
        "PATCH",
        "",
        r#"{"name": "x", "topic": "x"}"#,
    ),
    (
        "make the room public or private",
        "PATCH",
        "",
        r#"{"is_public": true}"#,
    ),
    (
        "appoint and dismiss moderators",
        "PATCH",
        "participants/{target}/",
        r#"{"role": "moderator"}"#,
    ),
    (
        "make somebody else the owner",
        "POST",
        "transfer/",
        r#"{"user_id": {target}}"#,
    ),
    ("delete the room", "DELETE", "", ""),
];

/// By the words of an act: whether members, moderators, the owner may, and who in a direct room.
fn documented() -> HashMap<&'static str, ([bool; 3], &'static str)> {
    let lines = include_str!("../../docs/rights.md").lines();
    lines
        .filter(|line| line.starts_with("| ") && !line.starts_with("| to "))
        .map(|line| {
            let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
            let may = [cells[1], cells[2], cells[3]].map(|cell| cell == "yes");
            (cells[0], (may, cells[4]))
        })
        .collect()
}

async fn send(user: &User<'_>, method: &str, path: &str, body: Value) -> (u16, Value) {
    answer(user.request(method.parse().unwrap(), path).json(&body)).await
}

async fn appoint(owner: &User<'_>, room: i64, whom: &User<'_>, role: &str) -> (u16, Value) {
    let path = format!("/api/rooms/{room}/participants/{}/", whom.id);
    send(owner, "PATCH", &path, json!({"role": role})).await
}

#[tokio::test]
async fn each_act_is_for_those_of_whom_the_documentation_says_so() {
    let server = Server::start(&[]);
    let owner = server.user("owner").await;
    let moderator = server.user("moderator").await;
    let member = server.user("member").await;
    let target = server.user("target").await;
    let newcomer = server.user("newcomer").await;
    let table = documented();
    for (words, method, path, body) in ACTS {
        let (may, direct) = table[words];
        let fill = |text: &str, invitation: &str, target: i64| {
            text.replace("{target}", &target.to_string())
                .replace("{newcomer}", &newcomer.id.to_string())
                .replace("{invitation}", invitation)
        };
        let roles = [&newcomer, &member, &moderator, &owner];
        for (user, may) in roles.iter().zip([false, may[0], may[1], may[2]]) {
            let room = owner.room_with(&[&moderator, &member, &target]).await;
            assert_eq!(appoint(&owner, room, &moderator, "moderator").await.0, 200);
            let invited = format!("/api/rooms/{room}/invite/");
            let invited = target.done(&invited, json!({})).await["token"].clone();
            let invited = invited.as_str().unwrap();
            let path = fill(&format!("/api/rooms/{room}/{path}"), invited, target.id);
            let body = fill(body, invited, target.id);
            let body = serde_json::from_str(&body).unwrap_or(Value::Null);
            let (status, answered) = send(user, method, &path, body).await;
            let what = format!("{words}: {method} {path} by {}: {answered}", user.id);
            if may {
                assert!((200..300).contains(&status), "{status} {what}");
            } else if path.contains("invitations/") && user.id == member.id {
                // Whether there is such a one is nothing for him to know.
                assert_eq!(status, 404, "{what}");
            } else {
                assert_eq!(
                    (status, &answered["code"]),
                    (403, &json!("permission_denied")),
                    "{what}"
                );
            }
        }

        let one = owner
            .done("/api/rooms/direct/", json!({"user_id": member.id}))
            .await;
        let path = format!("/api/rooms/{}/{path}", one["id"]);
        let none = "00000000-0000-4000-8000-000000000000";
        for (user, other, may) in [
            (&member, &owner, direct == "both"),
            (&owner, &member, direct != "nobody"),
        ] {
            let path = fill(&path, none, other.id);
            let body = fill(body, none, other.id);
            let body = serde_json::from_str(&body).unwrap_or(Value::Null);
            let (status, answered) = send(user, method, &path, body).await;
            let what = format!(
                "direct: {words}: {method} {path} by {}: {answered}",
                user.id
            );
            if may {
                assert!((200..300).contains(&status), "{status} {what}");
            } else {
                assert_eq!(
                    (status, &answered["code"]),
                    (403, &json!("permission_denied")),
                    "{what}"
                );
            }
        }
    }
}

#[tokio::test]
async fn nobody_acts_against_those_who_are_as_much_or_more() {
    let server = Server::start(&[]);
    let owner = server.user("owner").await;
    let moderator = server.user("moderator").await;
    let other = server.user("other").await;
    let room = owner.room_with(&[&moderator, &other]).await;
    for one in [&moderator, &other] {
        let (status, appointed) = appoint(&owner, room, one, "moderator").await;
        assert_eq!((status, &appointed["role"]), (200, &json!("moderator")));
    }
    let above = json!({"detail": "This person may do as much in this room as you, or more.", "code": "permission_denied"});
    for whom in [&owner, &other, &moderator] {
        let path = format!("/api/rooms/{room}/participants/{}/", whom.id);
        let removed = send(&moderator, "DELETE", &path, json!({})).await;
        assert_eq!(removed, (403, above.clone()));
        let ban = format!("/api/rooms/{room}/bans/");
        let banned = moderator.post(&ban, json!({"user_id": whom.id})).await;
        assert_eq!(banned, (403, above.clone()));
    }
    let old = format!("/api/rooms/{room}/remove-participant/");
    assert_eq!(
        owner.post(&old, json!({"id": owner.id})).await,
        (403, above.clone())
    );
    assert_eq!(appoint(&owner, room, &owner, "member").await, (403, above));

    // A moderator who is one no longer.
    assert_eq!(
        appoint(&owner, room, &other, "member").await.1["role"],
        "member"
    );
    let path = format!("/api/rooms/{room}/participants/{}/", other.id);
    assert_eq!(send(&moderator, "DELETE", &path, json!({})).await.0, 204);
    assert_eq!(appoint(&owner, room, &other, "moderator").await.0, 404);
    let (status, refused) = appoint(&owner, room, &moderator, "owner").await;
    assert_eq!((status, refused["role"].is_array()), (400, true));
    assert_eq!(send(&owner, "PATCH", &path, json!({})).await.0, 400);
}

#[tokio::test]
async fn who_is_banned_comes_in_by_no_way() {
    let server = Server::start(&[]);
    let owner = server.user("owner").await;
    let eve = server.user("eve").await;
    let room = owner.room_with(&[&eve]).await;
    let rooms = |path: &str| format!("/api/rooms/{room}/{path}");
    let old = owner.done(&rooms("invite/"), json!({})).await["token"].clone();
    let mut news = eve.socket("/ws/notifications/").await;
    let mut chat = eve.socket(&format!("/ws/chat/{room}/")).await;
    chat.is_silent().await;
    let body = json!({"user_id": eve.id, "reason": "spam"});
    assert_eq!(owner.post(&rooms("bans/"), body).await.0, 204);
    assert_eq!(chat.close_code().await, 4403);
    let told = news.next_of("room_removed").await;
    assert_eq!(
        told,
        json!({"type": "room_removed", "room_id": room, "reason": "banned"})
    );

    let (_, bans) = owner.get(&rooms("bans/")).await;
    let ban = &bans["results"][0];
    assert_eq!(
        (&bans["count"], &ban["reason"]),
        (&json!(1), &json!("spam"))
    );
    assert_eq!(
        (&ban["user"]["id"], &ban["banned_by"]["id"]),
        (&json!(eve.id), &json!(owner.id))
    );

    assert_eq!(
        send(&owner, "PATCH", &rooms(""), json!({"is_public": true}))
            .await
            .0,
        200
    );
    let fresh = owner.done(&rooms("invite/"), json!({})).await["token"].clone();
    let join = |token: &Value| format!("/api/rooms/join/{}/", token.as_str().unwrap());
    let add = json!({"id": eve.id});
    for (who, path, body) in [
        (&eve, rooms("join/"), json!({})),
        (&eve, join(&fresh), json!({})),
        (&owner, rooms("add-participant/"), add.clone()),
    ] {
        let (status, answered) = who.post(&path, body).await;
        assert_eq!(
            (status, &answered["code"]),
            (403, &json!("banned")),
            "{path}"
        );
    }
    assert_eq!(eve.get(&join(&fresh)).await.0, 403);
    assert_eq!(
        eve.post(&join(&old), json!({})).await.0,
        400,
        "the old link is gone"
    );
    assert_eq!(eve.get("/api/rooms/public/").await.1["count"], 0);

    let ban = rooms(&format!("bans/{}/", eve.id));
    assert_eq!(send(&owner, "DELETE", &ban, json!({})).await.0, 204);
    assert_eq!(send(&owner, "DELETE", &ban, json!({})).await.0, 404);
    eve.done(&join(&fresh), json!({})).await;
}

#[tokio::test]
async fn a_room_goes_to_another_owner() {
    let server = Server::start(&[]);
    let ann = server.user("ann").await;
    let bob = server.user("bob").await;
    let eve = server.user("eve").await;
    let room = ann.room_with(&[&bob]).await;
    let rooms = |path: &str| format!("/api/rooms/{room}/{path}");
    let transfer = rooms("transfer/");
    for (whom, status) in [(ann.id, 400), (eve.id, 404), (999, 404)] {
        let (got, answered) = ann.post(&transfer, json!({"user_id": whom})).await;
        assert_eq!(got, status, "{answered}");
    }
    let mut news = bob.socket("/ws/notifications/").await;
    news.is_silent().await;
    let given = ann.done(&transfer, json!({"user_id": bob.id})).await;
    assert_eq!(
        (&given["owner"]["id"], &given["role"]),
        (&json!(bob.id), &json!("moderator"))
    );
    let told = news.next_of("room_updated").await;
    assert_eq!(told["room"]["owner_id"], bob.id);
    assert_eq!(ann.post(&transfer, json!({"user_id": ann.id})).await.0, 403);
    assert_eq!(bob.get(&rooms("")).await.1["role"], "owner");

    // An owner who leaves is followed by a moderator, though others came before him.
    let room = ann.room_with(&[&eve, &bob]).await;
    assert_eq!(appoint(&ann, room, &bob, "moderator").await.0, 200);
    assert_eq!(
        ann.post(&format!("/api/rooms/{room}/leave/"), json!({}))
            .await
            .0,
        204
    );
    let (_, left) = eve.get(&format!("/api/rooms/{room}/")).await;
    assert_eq!(
        (&left["owner"]["id"], &left["role"]),
        (&json!(bob.id), &json!("member"))
    );
    let delete = bob.request(Method::DELETE, &format!("/api/rooms/{room}/"));
    assert_eq!(answer(delete).await.0, 204);
}
