//! Asks the server that runs on the data directory, at its control socket.

use std::io::ErrorKind;

use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, StatusCode, header};
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::UnixStream;

use super::Failure;
use crate::config::Config;
use crate::http::CONTROL_FILE;

/// Bytes of an answer: that of a server with all its ports taken is a fourth.
const MAX_ANSWER: usize = 64 * 1024 * 1024;

/// Status and body (null when there is none).
pub async fn ask(
    config: &Config,
    method: Method,
    path: &str,
) -> Result<(StatusCode, Value), Failure> {
    let file = config.data_dir.join(CONTROL_FILE);
    let stream = UnixStream::connect(&file)
        .await
        .map_err(|why| match why.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::ConnectionRefused => {
                Failure::NoServer {
                    directory: config.data_dir.clone(),
                }
            }
            _ => Failure::Control { file, why },
        })?;
    let broken = |error: &dyn std::error::Error| Failure::Answer(error.to_string());
    let (mut sender, connection) = handshake(TokioIo::new(stream))
        .await
        .map_err(|e| broken(&e))?;
    tokio::spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, "localhost")
        .body(Body::empty())
        .map_err(|e| broken(&e))?;
    let answer = sender.send_request(request).await.map_err(|e| broken(&e))?;
    let status = answer.status();
    let body = to_bytes(Body::new(answer.into_body()), MAX_ANSWER).await;
    let body = body.map_err(|e| broken(&e))?;
    let json = match body.is_empty() {
        true => Value::Null,
        false => serde_json::from_slice(&body).map_err(|e| broken(&e))?,
    };
    Ok((status, json))
}

/// As [`ask`]; what the server refuses is a failure, in its own words.
pub async fn done(config: &Config, method: Method, path: &str) -> Result<Value, Failure> {
    let (status, answer) = ask(config, method, path).await?;
    if status.is_success() {
        return Ok(answer);
    }
    Err(failure(status, &answer))
}

/// What the server refuses, in its own words.
pub fn failure(status: StatusCode, answer: &Value) -> Failure {
    // {"detail": "…"}, or {"field": ["…"]}
    let said = answer.as_object().and_then(|fields| {
        fields.iter().find_map(|(field, text)| match text {
            Value::String(text) if field == "detail" => Some(text.clone()),
            Value::Array(texts) => Some(format!("{field}: {}", texts.first()?.as_str()?)),
            _ => None,
        })
    });
    Failure::Answer(said.unwrap_or_else(|| status.to_string()))
}

/// A text as it may stand in a query.
pub fn encoded(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => {
            char::from(byte).to_string()
        }
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}
