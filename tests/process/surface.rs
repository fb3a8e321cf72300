//! The surface that existing clients speak, row by row: each path with and without its slash, the status, and the shape
//! of the answer. What is refused stands in `refusals`.

use std::collections::HashMap;

use reqwest::Method;
use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};

use crate::support::{PASSWORD, Server, Socket, User, answer};

/// What an object has at least, by example: each key, with a value of the same kind; `null` is anything. Of a list, each item is like
/// the one shown.
fn shape(name: &str) -> Value {
    let user =
        || json!({"id": 1, "username": "", "email": "", "display_name": "", "avatar_url": ""});
    let file = || json!({"id": 1, "file": "", "name": "", "size": 1, "content_type": "", "created_at": ""});
    let room = || {
        json!({
            "id": 1, "name": "", "owner": user(), "participant_count": 1, "active_call_participants": [""],
            "unread_count": 1, "is_pinned": true,
            "participant_users": [{"id": 1, "username": "", "display_name": ""}], "is_direct": true,
            "created_at": "", "updated_at": "",
        })
    };
    let message = || {
        json!({
            "id": 1, "room": 1, "author": user(), "content": "", "attachments": [{"id": 1, "file": file()}],
            "created_at": "", "read_by_ids": [1],
        })
    };
    let participant = || json!({"id": 1, "user": user(), "joined_at": "", "is_admin": true});
    let page = |of: Value| json!({"count": 1, "next": null, "previous": null, "results": [of]});
    match name {
        "login" => json!({"token": "", "user": user()}),
        "user" => user(),
        "room" => room(),
        "rooms" => page(room()),
        "participants" => json!([participant()]),
        "participant" => participant(),
        "call" => json!({
            "participants": [{"user_id": 1, "username": "", "state": ""}], "room_state": "",
        }),
        "invitation" => json!({"token": "", "expires_at": null, "room_name": ""}),
        "message" => message(),
        "messages" => page(message()),
        "file" => file(),
        "relay" => {
            json!({"username": "", "password": "", "ttl": 1, "uris": [""], "iceServers": [{"urls": null}]})
        }
        "detail" => json!({"detail": "", "code": ""}),
        other => panic!("no shape {other}"),
    }
}

fn is_like(value: &Value, shape: &Value, at: &str) -> Result<(), String> {
    match (value, shape) {
        (_, Value::Null) => Ok(()),
        (Value::Object(value), Value::Object(shape)) => {
            for (key, shape) in shape {
                let value = value.get(key).ok_or(format!("no {at}.{key}"))?;
                is_like(value, shape, &format!("{at}.{key}"))?;
            }
            Ok(())
        }
        (Value::Array(items), Value::Array(shape)) => items
            .iter()
            .try_for_each(|item| is_like(item, &shape[0], &format!("{at}[]"))),
        (Value::String(time), Value::String(_)) if at.ends_with("_at") => {
            let form = "0000-00-00T00:00:00.000000Z";
            let fits = |(got, wanted): (char, char)| match wanted {
                '0' => got.is_ascii_digit(),
                wanted => got == wanted,
            };
            (time.len() == form.len() && time.chars().zip(form.chars()).all(fits))
                .then_some(())
                .ok_or(format!("{at} is {time}"))
        }
        (Value::Number(_), Value::Number(_))
        | (Value::String(_), Value::String(_))
        | (Value::Bool(_), Value::Bool(_)) => Ok(()),
        _ => Err(format!("{at} is {value}")),
    }
}

/// Who, method, path, JSON body, status, shape of the answer (none: an empty one), and under which name its `id` or `token`
/// is kept for later rows, whose paths and bodies hold `{name}`.
type Row = (
    &'static str,
    &'static str,
    &'static str,
    Value,
    u16,
    &'static str,
    &'static str,
);

#[rustfmt::skip]
fn rows() -> Vec<Row> {
    vec![
        ("-", "POST", "/api/auth/register/", json!({"username": "cid", "email": "cid@example.org", "password": PASSWORD, "display_name": "Cid"}), 201, "login", ""),
        ("-", "POST", "/api/auth/register/", json!({"username": "cid", "email": "other@example.org", "password": PASSWORD}), 400, "", ""),
        ("-", "POST", "/api/auth/login/", json!({"username": "cid", "password": PASSWORD}), 200, "login", "cid"),
        ("-", "POST", "/api/auth/login/", json!({"email": "cid@example.org", "password": PASSWORD}), 200, "login", ""),
        ("-", "POST", "/api/auth/login/", json!({"username": "cid", "password": "wrong one"}), 401, "detail", ""),
        ("cid", "GET", "/api/auth/me/", json!({}), 200, "user", "cid_id"),
        ("cid", "PATCH", "/api/auth/profile/", json!({"display_name": "C."}), 200, "user", ""),
        ("cid", "POST", "/api/auth/logout/", json!({}), 204, "", ""),
        ("cid", "GET", "/api/auth/me/", json!({}), 401, "detail", ""),

        ("ann", "POST", "/api/rooms/", json!({"name": "first"}), 201, "room", "room"),
        ("ann", "GET", "/api/rooms/", json!({}), 200, "rooms", ""),
        ("ann", "GET", "/api/rooms/?page=1&page_size=1", json!({}), 200, "rooms", ""),
        ("ann", "POST", "/api/rooms/direct/", json!({"user_id": "{bob_id}"}), 200, "room", "direct"),
        ("bob", "POST", "/api/rooms/direct/", json!({"user_id": "{ann_id}"}), 200, "room", "direct_again"),
        ("ann", "GET", "/api/rooms/{room}/", json!({}), 200, "room", ""),
        ("ann", "PATCH", "/api/rooms/{room}/", json!({"name": "second"}), 200, "room", ""),
        ("bob", "POST", "/api/rooms/{room}/join/", json!({}), 403, "detail", ""),
        ("ann", "POST", "/api/rooms/{room}/join/", json!({}), 400, "detail", ""),
        ("ann", "POST", "/api/rooms/{room}/invite/", json!({"expires_in_hours": 1}), 201, "invitation", "invitation"),
        ("bob", "POST", "/api/rooms/join/{invitation}/", json!({}), 200, "room", ""),
        ("bob", "POST", "/api/rooms/{room}/pin/", json!({}), 200, "room", ""),
        ("bob", "DELETE", "/api/rooms/{room}/pin/", json!({}), 200, "room", ""),
        ("bob", "GET", "/api/rooms/{room}/participants/", json!({}), 200, "participants", ""),
        ("bob", "PATCH", "/api/rooms/{room}/", json!({"name": "mine"}), 403, "detail", ""),
        ("bob", "POST", "/api/rooms/{room}/add-participant/", json!({"id": "{eve_id}"}), 403, "detail", ""),
        ("ann", "POST", "/api/rooms/{room}/add-participant/", json!({"username": "eve"}), 201, "participant", ""),
        ("ann", "POST", "/api/rooms/{room}/remove-participant/", json!({"email": "eve@example.org"}), 204, "", ""),
        ("ann", "POST", "/api/rooms/{room}/add-participant/", json!({"username": "nobody"}), 404, "detail", ""),
        ("bob", "GET", "/api/rooms/{room}/call-state/", json!({}), 200, "call", ""),
        ("eve", "GET", "/api/rooms/{room}/", json!({}), 403, "detail", ""),
        ("eve", "POST", "/api/rooms/{room}/leave/", json!({}), 403, "detail", ""),
        ("eve", "GET", "/api/rooms/987654/", json!({}), 404, "detail", ""),

        ("bob", "POST", "/api/chat/{room}/messages/", json!({"content": "by one path", "attachment_ids": ["{file}"]}), 201, "message", "message"),
        ("ann", "POST", "/api/rooms/{room}/messages/", json!({"content": "by the other"}), 201, "message", ""),
        ("ann", "GET", "/api/chat/{room}/messages/", json!({}), 200, "messages", ""),
        ("bob", "GET", "/api/rooms/{room}/messages/?page=2&page_size=1", json!({}), 200, "messages", ""),
        ("ann", "POST", "/api/chat/messages/{message}/read/", json!({}), 204, "", ""),
        ("eve", "POST", "/api/chat/messages/{message}/read/", json!({}), 403, "detail", ""),
        ("ann", "GET", "/api/files/{file}/", json!({}), 200, "file", ""),
        ("eve", "GET", "/api/files/{file}/", json!({}), 404, "detail", ""),
        ("ann", "GET", "/api/turn/credentials/", json!({}), 200, "relay", ""),

        ("bob", "POST", "/api/rooms/{room}/leave/", json!({}), 204, "", ""),
        ("ann", "DELETE", "/api/rooms/{room}/", json!({}), 204, "", ""),
        ("ann", "GET", "/api/rooms/{room}/", json!({}), 404, "detail", ""),
    ]
}

async fn uploaded(by: &User<'_>) -> Value {
    let file = Part::bytes(b"some text".to_vec()).file_name("note.txt");
    let file = file.mime_str("text/plain").unwrap();
    let request = by.request(Method::POST, "/api/files/upload/");
    let (status, file) = answer(request.multipart(Form::new().part("file", file))).await;
    assert_eq!(status, 201, "{file}");
    is_like(&file, &shape("file"), "file").unwrap();
    file
}

#[tokio::test]
async fn each_row_of_the_api_is_answered_as_existing_clients_expect() {
    for slash in ["/", ""] {
        let server = Server::start(&["--turn-enabled=true", "--turn-listen=127.0.0.1:0"]);
        let mut known: HashMap<String, String> = HashMap::new();
        for name in ["ann", "bob", "eve"] {
            let user = server.user(name).await;
            if name == "bob" {
                known.insert("file".into(), uploaded(&user).await["id"].to_string());
            }
            known.insert(name.to_owned(), user.token.clone());
            known.insert(format!("{name}_id"), user.id.to_string());
        }
        for (who, method, path, body, status, shape_name, keep) in rows() {
            let filled = |text: &str| {
                known.iter().fold(text.to_owned(), |text, (name, value)| {
                    text.replace(&format!("{{{name}}}"), value)
                })
            };
            let path = filled(path);
            let path = match path.split_once('?') {
                _ if slash == "/" => path,
                Some((path, query)) => format!("{}?{query}", path.trim_end_matches('/')),
                None => path.trim_end_matches('/').to_owned(),
            };
            let body: Value = serde_json::from_str(&filled(&body.to_string())).unwrap();
            let mut request = server.request(method.parse().unwrap(), &path).json(&body);
            if who != "-" {
                request = request.header("Authorization", format!("Token {}", known[who]));
            }
            let (got, answered) = answer(request).await;
            assert_eq!(got, status, "{who} {method} {path} {body}: {answered}");
            if shape_name.is_empty() {
                assert!(
                    status != 204 || answered.is_null(),
                    "{method} {path}: {answered}"
                );
            } else {
                is_like(&answered, &shape(shape_name), shape_name)
                    .unwrap_or_else(|error| panic!("{method} {path}: {error} in {answered}"));
            }
            if !keep.is_empty() {
                let value = answered.get("token").or(answered.get("id"));
                let value = value.expect("what is to be kept");
                let text = value.as_str().map_or(value.to_string(), str::to_owned);
                known.insert(keep.to_owned(), text);
            }
        }
        assert_eq!(known["direct"], known["direct_again"], "one for that pair");
    }
}

#[tokio::test]
async fn a_file_is_downloaded_by_its_url_alone() {
    let server = Server::start(&[]);
    let ann = server.user("ann").await;
    let file = uploaded(&ann).await;
    let url = file["file"].as_str().unwrap();
    assert!(url.starts_with(&server.url), "{url}");
    let response = reqwest::get(url).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["x-content-type-options"], "nosniff");
    assert_eq!(response.text().await.unwrap(), "some text");
    let path = format!("/api/files/{}/download/", file["id"]);
    let response = ann.request(Method::GET, &path).send().await.unwrap();
    assert_eq!(response.text().await.unwrap(), "some text");
}

/// Each frame of the three older sockets: who sends what where, and what each of them hears.
#[tokio::test]
async fn each_frame_of_the_older_sockets_is_as_existing_clients_expect() {
    let server = Server::start(&[]);
    let ann = server.user("ann").await;
    let bob = server.user("bob").await;
    let mut told = bob.socket("/ws/notifications/").await;
    told.is_silent().await;
    let room = ann.room_with(&[&bob]).await;
    let added = told.next_of("room_added").await;
    assert_eq!(added.as_object().unwrap().len(), 2, "flat: {added}");
    is_like(&added["room"], &shape("room"), "room").unwrap();

    let path = format!("/ws/chat/{room}/");
    let (mut hers, mut his) = (ann.socket(&path).await, bob.socket(&path).await);
    let heard = async |socket: &mut Socket, kind: &str| socket.next_of(kind).await["data"].clone();
    let said = json!({"content": "hello", "attachment_ids": []});
    hers.send(json!({"type": "chat_message", "data": said}))
        .await;
    for socket in [&mut hers, &mut his] {
        let message = heard(socket, "chat_message").await;
        is_like(&message, &shape("message"), "message").unwrap();
        assert_eq!(message["author"]["id"], ann.id);
    }
    hers.send(json!({"type": "chat_message", "data": said}))
        .await;
    let message = heard(&mut his, "chat_message").await["id"].clone();
    for (frame, id) in [
        (
            json!({"type": "message_read", "data": {"message_id": message}}),
            &message,
        ),
        (json!({"type": "mark_room_as_read"}), &Value::Null),
    ] {
        his.send(frame).await;
        his.send(json!({"type": "ping"})).await;
        if !id.is_null() {
            let read = heard(&mut hers, "message_read").await;
            assert_eq!(read, json!({"message_id": id, "user_id": bob.id}));
        }
        his.next_of("pong").await;
    }
    his.send(json!({"type": "nonsense"})).await;
    let error = his.next_of("error").await;
    is_like(&error, &shape("detail"), "error").unwrap();

    let path = format!("/ws/call/{room}/");
    let (mut hers, mut his) = (ann.socket(&path).await, bob.socket(&path).await);
    for socket in [&mut hers, &mut his] {
        is_like(&heard(socket, "call_state").await, &shape("call"), "call").unwrap();
        socket.send(json!({"type": "join_call"})).await;
    }
    let joined = heard(&mut hers, "user_joined").await;
    assert_eq!(joined, json!({"user": {"id": bob.id, "username": "bob"}}));
    let present = told.next_of("room_presence_update").await;
    assert_eq!(present["room_id"], room);
    assert!(present["active_participants"].is_array(), "flat: {present}");
    for (kind, part) in [
        ("offer", json!({"sdp": {"type": "offer", "sdp": "v=0"}})),
        ("answer", json!({"sdp": "v=0"})),
        (
            "ice_candidate",
            json!({"candidate": {"candidate": "x", "sdpMid": null}}),
        ),
    ] {
        let mut data = part.clone();
        data["target_user_id"] = bob.id.into();
        hers.send(json!({"type": kind, "data": data})).await;
        let got = heard(&mut his, kind).await;
        data["from_user_id"] = ann.id.into();
        data["from_username"] = "ann".into();
        assert_eq!(got, data, "as it was sent");
    }
    hers.send(json!({"type": "request_mic", "data": {"target_user_id": bob.id}}))
        .await;
    let asked = heard(&mut his, "request_mic").await;
    assert_eq!(
        asked,
        json!({"from_user_id": ann.id, "from_username": "ann"})
    );
    his.send(json!({"type": "request_mic", "data": {"target_user_id": ann.id}}))
        .await;
    assert_eq!(his.next_of("error").await["code"], "permission_denied");
    his.send(json!({"type": "leave_call"})).await;
    assert_eq!(
        heard(&mut hers, "user_left").await,
        json!({"user_id": bob.id})
    );
    let state = heard(&mut hers, "call_state").await;
    assert_eq!(state["room_state"], "active");
}
