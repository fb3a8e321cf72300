//! `/api/files/` and `/api/avatars/`.

mod range;
mod receive;
mod send;

use axum::Json;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use moznods_storage::{BlobHash, File, FileId, User};
use serde::Deserialize;
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};

use super::error::{ApiError, ApiResult};
use super::extract::{Asked, Head, Id, Segment, SignedIn, Writing};
use super::openapi::{Binary, refused};
use super::{Edge, Routes, State, client, routes};
use crate::app::{Error, Limited, Problem, Refusal, now};
use crate::wire::{FileJson, urls};
use send::{About, disposition, send, shown_as};

use receive::Place;
pub use receive::{Form, Received, Uploads};

/// Links are the same for a day; the bytes behind one never change.
const PRIVATE: &str = "private, max-age=86400, immutable";
const PUBLIC: &str = "public, max-age=31536000, immutable";

pub fn routes() -> Routes {
    vec![
        routes![upload],
        routes![about, delete],
        routes![download],
        routes![thumbnail],
        routes![avatar],
    ]
}

#[derive(ToSchema)]
#[expect(dead_code, reason = "it is read part by part, by `Form::receive`")]
struct UploadForm {
    #[schema(format = Binary)]
    file: String,
}

/// Uploads a file.
#[utoipa::path(post, path = "/api/files/upload/", responses(
    (status = 201, body = FileJson),
    refused::Upload, refused::Malformed, refused::UnsupportedMediaType, refused::TooLarge,
), request_body(content = UploadForm, content_type = "multipart/form-data"))]
pub async fn upload(edge: State, by: SignedIn, request: Request) -> ApiResult<Response> {
    let form = Form::of(request);
    match receive(&edge, &by.user, &form).await {
        Ok(file) => Ok((StatusCode::CREATED, Json(FileJson::from(&file))).into_response()),
        Err(error) => {
            edge.app.upload_refused(error.reason());
            form.drain().await;
            Err(error)
        }
    }
}

async fn receive(edge: &Arc<Edge>, user: &User, form: &Form) -> ApiResult<File> {
    edge.limits.upload(user.id)?;
    let _place = begin(edge, user)?;
    // Whatever stands beside the file is not counted against it.
    let beside = 64 * 1024;
    let expected = form.announced().map(|all| all.saturating_sub(beside));
    let begin = async || Ok(edge.app.begin_upload(user, expected).await?);
    let Received { file, .. } = form.receive("file", begin).await?;
    let (incoming, claim) = file.ok_or_else(|| Error::field("file", Problem::Required))?;
    Ok(edge.app.finish_upload(user, incoming, claim).await?)
}

/// A place among the uploads that go on.
pub fn begin(edge: &Edge, user: &User) -> ApiResult<Place> {
    match edge.uploads.begin(user.id) {
        Err(ApiError::RateLimited(wait)) => Err(edge.limits.refuse(Limited::Uploads, wait)),
        begun => begun,
    }
}

/// What is known of a file.
#[utoipa::path(get, path = "/api/files/{file}/", responses((status = 200, body = FileJson)))]
pub async fn about(edge: State, by: SignedIn, Id(file): Id) -> ApiResult<Response> {
    let file = edge.app.file(&by.user, file).await?;
    Ok(Json(FileJson::from(&file)).into_response())
}

/// Deletes what one has uploaded, unless a message has it.
#[utoipa::path(delete, path = "/api/files/{file}/", responses(
    (status = 204),
    refused::FileAttached,
))]
pub async fn delete(edge: State, Writing(by): Writing, Id(file): Id) -> ApiResult<StatusCode> {
    edge.app.delete_file(&by.user, file).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What makes a link good without a token.
#[derive(Deserialize, IntoParams)]
pub struct Link {
    expires: Option<i64>,
    signature: Option<String>,
}

impl Link {
    /// The file, for whoever holds a link that this server has signed, or may have it anyway.
    async fn file(&self, edge: &Edge, head: &Parts, file: FileId) -> ApiResult<File> {
        if let (Some(expires), Some(signature)) = (self.expires, &self.signature)
            && urls::is_signed(file, expires, signature, now())
        {
            edge.limits.stranger(client::address(edge, head))?;
            return Ok(edge.app.linked_file(file).await?);
        }
        let by = SignedIn::by(edge, head).await?;
        Ok(edge.app.file(&by.user, file).await?)
    }
}

/// The bytes of a file; with what the URL of the file says, without a token.
#[utoipa::path(get, path = "/api/files/{file}/download/", responses(
    (status = 200, body = inline(Binary), content_type = "*/*", description = "The bytes."),
    (status = 206, body = inline(Binary), content_type = "*/*", description = "The part that `Range` asks for."),
    (status = 304),
    refused::RangeNotSatisfiable, refused::AuthenticationRequired, refused::FilesUnavailable,
), security((), ("token" = []), ("bearer" = [])))]
pub async fn download(
    edge: State,
    Id(file): Id,
    Asked(link): Asked<Link>,
    Head(head): Head,
) -> ApiResult<Response> {
    let file = link.file(&edge, &head, file).await?;
    let content = edge.app.content(&file).await?;
    let (content_type, inline) = shown_as(&file.content_type);
    let about = About {
        content_type,
        disposition: Some(disposition(inline, &file.name)),
        tag: format!("\"{}\"", file.hash),
        caching: PRIVATE,
    };
    send(&head.headers, content, about).await
}

/// A small picture of a picture; with what its URL says, without a token.
#[utoipa::path(get, path = "/api/files/{file}/thumbnail/", responses(
    (status = 200, body = inline(Binary), content_type = "image/*", description = "The bytes."),
    (status = 206, body = inline(Binary), content_type = "image/*", description = "The part that `Range` asks for."),
    (status = 304),
    refused::RangeNotSatisfiable, refused::AuthenticationRequired, refused::FilesUnavailable,
), security((), ("token" = []), ("bearer" = [])))]
pub async fn thumbnail(
    edge: State,
    Id(file): Id,
    Asked(link): Asked<Link>,
    Head(head): Head,
) -> ApiResult<Response> {
    let file = link.file(&edge, &head, file).await?;
    let mut content = edge.app.thumbnail(&file).await?;
    let about = About {
        content_type: content.picture_type().await?,
        disposition: None,
        tag: format!("\"{}-thumbnail\"", file.hash),
        caching: PRIVATE,
    };
    send(&head.headers, content, about).await
}

/// The picture of an account.
#[utoipa::path(get, path = "/api/avatars/{hash}/", responses(
    (status = 200, body = inline(Binary), content_type = "image/*", description = "The bytes."),
    (status = 206, body = inline(Binary), content_type = "image/*", description = "The part that `Range` asks for."),
    (status = 304),
    refused::RangeNotSatisfiable, refused::FilesUnavailable,
))]
pub async fn avatar(edge: State, Segment(hash): Segment, Head(head): Head) -> ApiResult<Response> {
    edge.limits.stranger(client::address(&edge, &head))?;
    let hash = BlobHash::parse(&hash).ok_or(Refusal::NotFound)?;
    let mut content = edge.app.avatar(hash).await?;
    let about = About {
        content_type: content.picture_type().await?,
        disposition: None,
        tag: format!("\"{hash}\""),
        caching: PUBLIC,
    };
    send(&head.headers, content, about).await
}
