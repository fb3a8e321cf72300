//! `/api/chat/`: messages and read marks.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::State;
use super::error::ApiResult;
use super::extract::{Body, Id, Paging, SignedIn, Writing};
use crate::wire::MessageJson;

pub async fn list(edge: State, by: SignedIn, Id(room): Id, paging: Paging) -> ApiResult<Response> {
    let messages = edge.app.messages(&by.user, room, paging.page()).await?;
    Ok(paging.answer(&messages, |message| {
        serde_json::to_value(MessageJson::from(message))
    }))
}

#[derive(Deserialize)]
pub struct MessageBody {
    content: Option<String>,
    attachment_ids: Option<Vec<i64>>,
}

pub async fn create(
    edge: State,
    Writing(by): Writing,
    Id(room): Id,
    Body(body): Body<MessageBody>,
) -> ApiResult<Response> {
    let content = body.content.unwrap_or_default();
    let attachment_ids = body.attachment_ids.unwrap_or_default();
    let message = edge
        .app
        .post_message(&by.user, room, content, &attachment_ids)
        .await?;
    Ok((StatusCode::CREATED, Json(MessageJson::from(&message))).into_response())
}

pub async fn read(edge: State, by: SignedIn, Id(message): Id) -> ApiResult<StatusCode> {
    edge.limits.signal(by.user.id)?;
    edge.app.mark_read(&by.user, message).await?;
    Ok(StatusCode::NO_CONTENT)
}
